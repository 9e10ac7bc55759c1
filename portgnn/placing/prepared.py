"""A graph as the recipe wants it, on the host in float64: normalised once, placed as often as needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.graphs.graph import Features, Graph
from portgnn.models.layer import Layer, widths_of
from portgnn.placing.edges import Looped
from portgnn.placing.features import Moments, form_of, in_form, normalized, row_scaled, settled
from portgnn.placing.field import widest
from portgnn.presets import Config


@dataclass(frozen=True, eq=False)
class Prepared:
    """A graph and a recipe. adjacency: what its edges weigh in the recipe's network, at the places of A + I."""

    graph: Graph
    config: Config
    adjacency: sp.csr_array
    moments: Moments | None = None

    @classmethod
    def of(cls, graph: Graph, config: Config, moments: Moments | None = None) -> Prepared:
        """The graph by a recipe, whose rule for features is settled on this graph.

        moments: of the graph that the model was trained on, where this is another.
        """
        config, moments = settled(graph, tasks.settled(config, graph), moments)
        return cls(graph, config, Looped.of(graph.adjacency).weighted(config.network.weighting), moments)

    @cached_property
    def task(self) -> tasks.Task:
        """The recipe's, on this graph."""
        return tasks.of(self.config, self.graph)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The network's, for this graph's features and the task's outputs."""
        return self.config.network.built(self.graph.num_features, self.task.width(self.task.outputs))

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Widths from the features to the classes: layers + 1 of them."""
        return widths_of(self.layers)

    @cached_property
    def widest(self) -> int:
        """How many nodes a level of a receptive field has at most; one with more has all of them."""
        return widest(self.config, self.adjacency.nnz, self.graph.num_nodes)

    @cached_property
    def features(self) -> Features:
        """[n, f], normalised and in the form that the recipe asks for."""
        form = "sparse" if self.has_sparse_features else "dense"
        if self.moments is not None:  # a dense row of standardised features cannot be told from its zeros
            return normalized(in_form(self.graph.features, form), self.config.normalize_features, self.moments)
        return in_form(normalized(self.graph.features, self.config.normalize_features, None), form)

    @cached_property
    def row_scaled(self) -> tuple[Features, NDArray[np.float64] | None]:
        """Features and what to multiply each of their rows by, [n]; None where rows are not normalised."""
        if self.config.normalize_features == "row":
            return row_scaled(self.graph.features)
        return self.graph.features, None

    @cached_property
    def has_sparse_features(self) -> bool:
        """Whether `features` are CSR, found without making them. Centred columns have few zeros and never are."""
        if self.layers[0].reads_dense:
            return False
        if self.moments is not None and self.moments.mean is not None:
            return False
        return form_of(self.graph.features, self.config.features) == "sparse"
