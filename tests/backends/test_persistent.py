"""The torch adapter's persistent kernel: traced, planned and written here as on CUDA, and run on the CPU."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")

import lanes  # noqa: E402

from portgnn import Graph  # noqa: E402
from portgnn.models.layer import streams_of  # noqa: E402
from portgnn.placing.prepared import Prepared  # noqa: E402
from portgnn.presets import preset  # noqa: E402
from portgnn.random import dropout_keys  # noqa: E402
from portgnn.training import initial_state  # noqa: E402
from portgnn.training.whole import WholeGraph  # noqa: E402
from portgnn_torch import TorchBackend  # noqa: E402
from portgnn_torch.persistent.launch import CudaError, check  # noqa: E402
from portgnn_torch.persistent.plan import LONG, Plan, plan  # noqa: E402
from portgnn_torch.persistent.source import Program, program  # noqa: E402
from portgnn_torch.persistent.trace import Untraceable, trace  # noqa: E402
from portgnn_torch.sparse import Form  # noqa: E402

EPOCHS = 4
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ compiles what is run here")


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> TorchBackend:
    """An instance that takes the ways that it has on CUDA, with Triton's kernels stood in for."""
    for name, module in lanes.stand_ins().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    backend = TorchBackend("cpu", "float64")
    backend._form, backend._on_host = Form.KERNEL, False
    return backend


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A hub that whole blocks sum up, isolated nodes, rows of few and of many features."""
    draw = np.random.default_rng(3)
    nodes, width = 90, 50
    hub = np.stack([np.zeros(nodes - 9, dtype=int), np.arange(1, nodes - 8)], axis=1)
    edges = np.concatenate([hub, draw.integers(0, nodes - 5, size=(150, 2))])
    features = draw.random((nodes, width)) * (draw.random((nodes, width)) < np.linspace(0.02, 0.9, width))
    order = draw.permutation(nodes)
    split = {"train": order[:40], "val": order[40:60], "test": order[60:]}
    return Graph.from_edges(
        edges[edges[:, 0] != edges[:, 1]], sp.csr_array(features), np.arange(nodes) % 5, name="hub", **split
    )


def made(
    backend: TorchBackend,
    graph: Graph,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    validate: bool = True,
    **fields: Any,
) -> tuple[Any, dict[str, Any], Any, Callable[[], Plan]]:
    """A step, the state that it begins with, keys of some epochs, and what plans it."""
    prepared = Prepared.of(graph, preset(recipe, **fields))
    steps: list[Any] = []
    monkeypatch.setattr(backend, "compile", lambda step: steps.append(step), raising=False)
    WholeGraph(backend, prepared).make_run(validate)
    state = initial_state(backend, prepared, 0)
    keys = torch.from_numpy(dropout_keys(0, range(EPOCHS), streams_of(prepared.layers)).view(np.int32))

    def planned() -> Plan:
        steps[0]({name: value.clone() for name, value in state.items()}, keys[0])
        return plan(trace(steps[0], {name: value.clone() for name, value in state.items()}, keys[0]))

    return steps[0], state, keys, planned


RECIPES: dict[str, dict[str, Any]] = {
    "pyg": {"hidden": 16, "rows": "all"},
    "kipf": {"hidden": 40},
    "sage-hamilton": {"hidden": 7},
    "gin-xu": {"hidden": 12},
    "appnp-klicpera": {"hidden": 33, "hops": 3},
}


@needs_compiler
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_kernel_computes_the_epochs_of_the_step(
    recipe: str, on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step, state, keys, planned = made(on_cuda, graph, monkeypatch, recipe, **RECIPES[recipe])
    written = program(planned(), torch.float64)
    kernel = lanes.Compiled(written, tmp_path)
    expected, rows = {name: value.clone() for name, value in state.items()}, []
    for key in keys:
        expected, row = step(expected, key)
        rows.append([float(value) for value in row])
    for name, value in state.items():
        written.state[name].copy_(value)
    np.testing.assert_allclose(kernel(keys).numpy(), rows, rtol=1e-12)
    for name, value in expected.items():
        np.testing.assert_allclose(written.state[name].numpy(), value.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


@needs_compiler
def test_a_kernel_that_is_wrong_is_not_used(
    on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step, state, keys, planned = made(on_cuda, graph, monkeypatch, "pyg")
    written = program(planned(), torch.float64)
    check(lanes.Compiled(written, tmp_path), written, step, state, keys)
    for number, (right, wrong) in enumerate(
        {
            "p < word(end)": "p < word(end - 1)",  # the last of each sum is lost
            "keys + 2, ": "keys, ",  # another layer's dropout
            "exponential(y[j]) * total": "total",
        }.items()
    ):
        assert right in written.text
        mistaken = replace(written, text=written.text.replace(right, wrong))
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(CudaError, match="apart"):
            check(lanes.Compiled(mistaken, folder), mistaken, step, state, keys)


def test_a_nan_is_no_right_number(on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    step, state, keys, planned = made(on_cuda, graph, monkeypatch, "pyg")
    written = program(planned(), torch.float64)
    with pytest.raises(CudaError, match="nan apart"):
        check(lambda keys: torch.full((len(keys), written.metrics), torch.nan), written, step, state, keys)


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_is_read_before_it_is_there_or_after_it_is_gone(
    recipe: str, validate: bool, on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = made(on_cuda, graph, monkeypatch, recipe, validate, **RECIPES[recipe])[3]().phases
    groups = [(number, group) for number, phase in enumerate(phases) for group in phase]
    written: dict[int, tuple[int, Any]] = {}  # memory -> when, by whom
    for number, group in groups:
        for operation in group.operations:
            for value in operation.outputs:
                memory = value.tensor.data_ptr() if value.state else id(value)
                assert memory not in written, "two groups write the same"
                written[memory] = (number, group)
    for number, group in groups:
        for operation in group.operations:
            for operand, anywhere in (*((x, False) for x in operation.rowwise), *((x, True) for x in operation.whole)):
                value = operand.value
                memory = value.tensor.data_ptr() if value.state else id(value)
                if memory not in written:
                    continue
                when, writer = written[memory]
                if writer is group:
                    assert not anywhere, "another row of it may not be there yet, or be written over already"
                elif group.late != writer.late:
                    assert group.late, "the epoch before has left it"
                    assert number < when, "the next epoch has written over it"
                elif value.made_by is None:
                    assert number < when, "state is written over before it is read"
                else:
                    assert number > when, "it is not there yet"


def test_validation_shares_the_phases_of_the_next_epoch(
    on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = made(on_cuda, graph, monkeypatch, "pyg", False)[3]()
    validated = made(on_cuda, graph, monkeypatch, "pyg", True)[3]()
    late, phases = (alone.late, validated.late), (len(alone.phases), len(validated.phases))
    assert late == (False, True)
    assert phases[0] == phases[1]


def test_long_rows_come_first_and_are_a_blocks(
    on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(on_cuda, graph, monkeypatch, "pyg")[3]()
    for group in (group for phase in found.phases for group in phase if group.order is not None):
        assert group.order is not None
        assert sorted(group.order) == list(range(group.rows))
        for operation in group.operations:
            if operation.name == "spmm" and len(group.operations) == 1:
                lengths = np.diff(operation.options["handle"].indptr.numpy())[group.order]
                assert (np.diff(lengths) <= 0).all()
                assert (lengths[: group.long] > LONG).all()
                assert (lengths[group.long :] <= LONG).all()


@pytest.mark.parametrize(
    ("recipe", "fields", "reason"),
    [
        ("cheb-defferrard", {}, "axes|aten|shape"),
        ("pyg", {"hidden": 160}, "rows wider than 128"),
        ("pyg", {"schedule": "cosine"}, "aten.where"),
    ],
)
def test_what_has_no_kernel_says_why(
    recipe: str, fields: Any, reason: str, on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, planned = made(on_cuda, graph, monkeypatch, recipe, **fields)
    with pytest.raises(Untraceable, match=reason):
        program(planned(), torch.float64)


def test_the_step_alone_is_as_before_it_was_traced(
    on_cuda: TorchBackend, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, state, keys, planned = made(on_cuda, graph, monkeypatch, "kipf")
    before = [float(x) for x in step({name: value.clone() for name, value in state.items()}, keys[0])[1]]
    written: Program = program(planned(), torch.float64)
    assert written.state.keys() == state.keys()
    assert [float(x) for x in step({name: value.clone() for name, value in state.items()}, keys[0])[1]] == before
