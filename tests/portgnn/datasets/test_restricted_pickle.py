"""No published pickle may run anything: names outside the list are refused before they are called."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from py2_pickles import dumps, global_call, planetoid_parts

from portgnn.datasets._restricted_pickle import load_pickle
from portgnn.errors import DatasetError


def write(path: Path, content: bytes) -> Path:
    file = path / "ind.toy.x"
    file.write_bytes(content)
    return file


class _Shell:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        import os

        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_shell_command_is_refused_before_it_runs(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    content = pickle.dumps(_Shell(f"echo ran > {mark}"), protocol)
    pickle.loads(content)
    assert mark.exists(), "the pickle is meant to be harmful"
    mark.unlink()
    with pytest.raises(DatasetError, match=r"ind\.toy\.x asks for (posix|nt)\.system.* was not run"):
        load_pickle(write(tmp_path, content))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("numpy", "load"),
        ("collections", "OrderedDict"),
        ("numpy.core.multiarray", "scalar"),
        ("_codecs", "encode"),
        ("scipy.sparse.csr", "_sparsetools"),
        ("numpy", "dtype.newbyteorder"),
    ],
)
def test_other_names_are_refused(tmp_path: Path, module: str, name: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load_pickle(write(tmp_path, global_call(module, name, "1")))
    assert f"asks for {module}.{name}" in str(caught.value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="<i4").reshape(2, 3),
        np.arange(3, dtype=">f8"),
        np.zeros((0, 4), dtype=np.float32),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([True, False]),
        np.arange(256, dtype=np.uint8),
    ],
    ids=["int32", "big-endian", "empty", "fortran", "bool", "every byte"],
)
def test_arrays_come_back(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    loaded = load_pickle(write(tmp_path, dumps(array)))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype.newbyteorder("=")


def test_sparse_matrices_come_back(tmp_path: Path) -> None:
    matrix = planetoid_parts()["tx"]
    loaded = load_pickle(write(tmp_path, dumps(matrix)))
    assert isinstance(loaded, sp.csr_array)
    np.testing.assert_array_equal(loaded.toarray(), matrix.toarray())


def test_a_wrong_length_is_an_error(tmp_path: Path) -> None:
    content = dumps(np.arange(4, dtype=np.int32))
    with pytest.raises(DatasetError, match="not a readable pickle"):
        load_pickle(write(tmp_path, content.replace(b"K\x04\x85", b"K\x7f\x85")))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_bytes_give_a_value_or_a_dataset_error(tmp_path_factory: Any, data: Any) -> None:
    content = bytearray(dumps(planetoid_parts()["allx"]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = write(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        loaded = load_pickle(file)
    except DatasetError as error:
        assert "ind.toy.x" in str(error)  # noqa: PT017 (a value is as good)
    else:
        if isinstance(loaded, sp.csr_array):
            loaded.check_format(full_check=True)


@pytest.mark.parametrize("number", [b"r\xff\xff\xff\x7f", b"p2147483647\n"])
def test_a_memo_that_would_fill_the_memory_is_refused(tmp_path: Path, number: bytes) -> None:
    (tmp_path / "f").write_bytes(b"\x80\x02]" + number + b".")
    with pytest.raises(DatasetError, match="a memo of 2147483647 entries in"):
        load_pickle(tmp_path / "f")
