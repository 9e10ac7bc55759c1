"""The simplified graph convolution (Wu et al. 2019, "Simplifying graph convolutional networks").

Y = softmax(S^K X Theta) with S = D^-1/2 (A + I) D^-1/2 (eq. 8), and a bias as in the authors' code. Theta comes first
here: S^K (X Theta) costs a class a column; and S^K X, which needs no gradient, is taken ahead of time where that leaves
less to do in a step.
"""

from __future__ import annotations

from dataclasses import dataclass

from portgnn.hyperparameters import NETWORK, as_in, hyperparameter
from portgnn.models.gcn import GCN, Convolution
from portgnn.models.layer import Layer
from portgnn.models.network import HOPS, Network
from portgnn.models.propagation import Propagation


@dataclass(frozen=True)
class SGC(Network):
    """One weight, on features that were averaged over K hops."""

    paper = "Wu et al. 2019, Simplifying graph convolutional networks"
    variants = ({"hops": 1}, {"hops": 3})

    hops: int = hyperparameter(2, "How many times features are propagated.", NETWORK, bounds=HOPS, names=("K", "k"))
    input_dropout: float = as_in(GCN, "input_dropout", 0.0)

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        # Nothing follows the first layer, as nothing follows a last one.
        first = Convolution(0, features, classes, self.input_dropout, True, "after" if self.hops == 1 else "none")
        last = self.hops - 1
        rest = (Propagation(k, classes, classes, is_last=k == last, bias=k == last) for k in range(1, self.hops))
        return (first, *rest)
