"""A network of one's own: a node's row mixed with the mean of its neighbours', each times a weight of its own."""

from dataclasses import dataclass

from portgnn import Layer, Parameter, Stacked


@dataclass(frozen=True)
class Mixing(Layer):
    mix: float = 0.5
    keeps = True

    def parameters(self):
        weight = Parameter((self.fan_in, self.fan_out))
        return {"own": weight, "near": weight, "bias": Parameter((self.fan_out,), "zeros", "bias")}

    def message(self, backend, params, x):
        return backend.matmul(x, params["near"]), backend.matmul(x, params["own"])

    def update(self, backend, params, total, kept):
        return backend.xp.add((1.0 - self.mix) * kept + self.mix * total, params["bias"])


@dataclass(frozen=True)
class MyNet(Stacked):
    """Each node's own row, mixed with the mean of its neighbours'."""

    weighting = "mean"
    mix: float = 0.5

    def layer(self, **place):
        return Mixing(mix=self.mix, **place)
