"""The array API standard's namespace, recording: what `Backend.xp` is on the tape.

A call without a recorded array is the library's own. With one, it is the rule's; a function whose results have no
gradient gets the plain arrays; and one without a rule raises TypeError, never a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Any

from portgnn_numpy import elementwise, movement, products, reductions
from portgnn_numpy.tape import Var, value_of

RULES: dict[str, Callable[..., Any]] = {
    **elementwise.RULES,
    **movement.RULES,
    **reductions.RULES,
    **products.SHARED,
    **{f"linalg.{name}": rule for name, rule in products.LINALG.items()},
}
"""name -> rule(namespace, *arguments of the standard's function)."""

PLAIN = frozenset(
    (
        *elementwise.FLAT,
        *("all", "any", "argmax", "argmin", "argsort", "count_nonzero", "nonzero", "searchsorted"),
        *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
        *("isfinite", "isinf", "isnan", "signbit", "logical_and", "logical_not", "logical_or", "logical_xor"),
        *("can_cast", "result_type", "finfo", "iinfo", "empty_like", "ones_like", "zeros_like"),
        "linalg.matrix_rank",
    )
)
"""Functions that a recorded array enters as a plain one: steps, comparisons, indices, and what asks for a dtype."""

INSTEAD: dict[str, str] = {
    "arange": "Its length would depend on the array; use xp.arange(n) * x",
    "bitwise_": "It is for integers and booleans, and a recorded array is floating",
    "cumsum": "Use the standard's name, xp.cumulative_sum",
    "cumprod": "Use the standard's name, xp.cumulative_prod",
    "concatenate": "Use the standard's name, xp.concat",
    "fft.": "Its results are complex; use xp.matmul with matrices of cosines and sines",
    "from_dlpack": "Use xp.asarray",
    "linalg.norm": "Use xp.linalg.vector_norm or xp.linalg.matrix_norm",
    "linalg.svd": "Use xp.linalg.svdvals(x), or xp.linalg.eigh(x.mT @ x)",
    "linspace": "Use start + (stop - start) * xp.linspace(0, 1, n)",
    "nextafter": "It is a step of rounding; add a number instead",
    "power": "Use the standard's name, xp.pow",
    "transpose": "Use the standard's name, xp.permute_dims",
}
"""What to use for a function without a rule; a name or what it begins with."""


def _recorded(value: Any) -> bool:
    """Whether a Var is in an argument, which may be a list of arrays."""
    return isinstance(value, Var) or (isinstance(value, tuple | list) and any(map(_recorded, value)))


def _unrecorded(value: Any) -> Any:
    return [_unrecorded(x) for x in value] if isinstance(value, tuple | list) and _recorded(value) else value_of(value)


class TapeNamespace:
    """The array API standard's functions, recording where an argument is a `Var`.

    raw: the library's own namespace. What the library has beyond the standard is there for plain arrays alone.
    """

    def __init__(self, xp: Any, prefix: str = "", top: TapeNamespace | None = None) -> None:
        """prefix, top: of an extension, as "linalg.", and the namespace whose extension it is."""
        self.raw, self._prefix, self._top = xp, prefix, top or self

    def __getattr__(self, name: str) -> Any:
        if name in ("raw", "_prefix", "_top"):  # of an instance that is being copied, and has none yet
            raise AttributeError(name)
        own = getattr(self.raw, name)
        if self._prefix + name in ("linalg", "fft"):
            made: Any = TapeNamespace(own, f"{name}.", self)
        elif callable(own) and (not isinstance(own, type) or name in PLAIN):
            made = self._function(self._prefix + name, own)
        else:
            return own
        self.__dict__[name] = made  # found without this method from now on
        return made

    def _function(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        rule, top, options = RULES.get(name), self._top, reductions.ALWAYS.get(name)

        def function(*args: Any, **kwargs: Any) -> Any:
            if rule is not None and args and (type(args[0]) is Var or type(args[-1]) is Var):
                return rule(top, *args, **kwargs)  # the usual case, without a search of lists
            if not any(map(_recorded, args)) and not (kwargs and any(map(_recorded, kwargs.values()))):
                if (
                    options
                    and rule
                    and len(args) == 1
                    and hasattr(args[0], "flags")
                    and all(k in options for k in kwargs)
                ):
                    return rule(top, *args, **kwargs)
                return own(*args, **kwargs)
            if rule is not None:
                return rule(top, *args, **kwargs)
            if name in PLAIN:
                return own(*map(_unrecorded, args), **{key: _unrecorded(value) for key, value in kwargs.items()})
            raise TypeError(f"xp.{name} has no gradient on the tape. {_instead(name)}")

        return update_wrapper(function, own)


def _instead(name: str) -> str:
    found = next((text for start, text in INSTEAD.items() if name.startswith(start)), None)
    if found is None:
        found = (
            "Use functions of the array API standard (docs/gradients.md says which have one), or call it on plain "
            "arrays outside the loss"
        )
    return f"{found}."


@lru_cache(maxsize=8)
def tape_over(xp: Any) -> TapeNamespace:
    """The recording form of a namespace: one for each."""
    return TapeNamespace(xp)
