"""What the kit says of a namespace that is almost the array API standard's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy as own
import numpy as np

from portgnn.testing import _standard_names as standard


def almost(**changed: Any) -> SimpleNamespace:
    names = {name: getattr(own, name) for name in dir(own) if not name.startswith("__")}
    names["__array_namespace_info__"] = own.__array_namespace_info__
    return SimpleNamespace(**names | changed)


def test_the_standard_has_what_it_has() -> None:
    assert len(standard.SIGNATURES) + len(standard.ANY_NUMBER) == 133
    assert standard.SIGNATURES["reshape"] == (1, ("shape", "copy"))
    assert standard.SIGNATURES["where"] == (3, ())
    assert standard.joined("uint64", "int8") is None
    assert standard.joined("uint8", "int8") == "int16"
    assert standard.joined("int32", "float32") is None


def test_a_right_namespace_passes() -> None:
    assert standard.missing(almost()) == []
    assert standard.wrong_signatures(almost()) == []
    names = standard.dtypes_of(almost())
    assert [fault for a in names for b in names if (fault := standard.promotion_fault(almost(), a, b))] == []


def test_a_name_that_is_missing() -> None:
    broken = almost()
    del broken.hypot, broken.pi
    assert standard.missing(broken) == ["hypot", "pi"]


def test_a_keyword_that_is_missing_and_a_name_that_must_be_positional() -> None:
    wrong = standard.wrong_signatures(
        almost(sum=lambda x, /, *, axis=None, keepdims=False: x, hypot=lambda *, x1, x2: x1)
    )
    assert len(wrong) == 2
    assert "dtype" in next(text for text in wrong if "xp.sum" in text)


def test_a_dtype_of_another_rule() -> None:
    def widened(a: Any, b: Any) -> Any:
        return np.add(a, b, dtype=np.float64)

    assert "add of int8 and uint8 has dtype float64, not int16" in str(
        standard.promotion_fault(almost(add=widened), "int8", "uint8")
    )
