"""How the operations of a step are shared among the threads of one kernel: phases with a barrier between them, in each
phase groups of operations, and in each group a task for every row.

A row's task holds the row in registers, and takes it through all operations of its group. An operation is in the same
group as those whose output it reads row by row, and in a later phase than those whose output it reads anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from portgnn_torch.persistent.trace import Operand, Operation, Trace, Untraceable, Value

WIDEST = 128
"""Columns that a row's registers hold."""
LONG = 64
"""Numbers added for a row from which on a whole block of threads takes it."""
MOST = 1 << 26
"""Multiplications an epoch beyond which kernels that each have the whole device are no slower."""

OVER_ROWS = ("transposed_matmul", "column_sums", "sum")
"""Operations that add up all rows of what they read; a task is a whole block's."""


@dataclass(eq=False)
class Group:
    """Operations of one phase whose tasks are the same rows.

    order: the rows, those that take the longest first. long: how many of them a whole block takes. late: they work on
    what the epoch before has left.
    """

    rows: int
    operations: list[Operation] = field(default_factory=list)
    order: NDArray[np.int32] | None = None
    long: int = 0
    late: bool = False


@dataclass(frozen=True)
class Plan:
    """stored: the values that have memory of their own, since others than their own task read them.

    late: whether there are groups that are, so that one more turn than there are epochs ends the last.
    """

    trace: Trace
    phases: tuple[tuple[Group, ...], ...]
    stored: frozenset[Value]

    @property
    def late(self) -> bool:
        return any(group.late for phase in self.phases for group in phase)


def plan(trace: Trace) -> Plan:
    """Raises Untraceable where the step does not fit."""
    needed = _needed(trace)
    _check(needed)
    phase_of = _phases(needed)
    late = _late(needed, phase_of)
    groups = _groups(needed, phase_of, late)
    for group in dict.fromkeys(groups.values()):
        _order(group)
        group.late = group.operations[0] in late
    phases = tuple(
        tuple(group for group in dict.fromkeys(groups.values()) if phase_of[group.operations[0]] == phase)
        for phase in range(max(phase_of.values()) + 1)
    )
    return Plan(trace, phases, frozenset(_stored(trace, needed, groups)))


def _needed(trace: Trace) -> list[Operation]:
    """The operations without those whose result nobody reads, and without dropout of a matrix's stored values, which
    products do where they read them."""
    wanted: set[Value] = {*trace.metrics, *trace.state.values()}
    kept = []
    for operation in reversed(trace.operations):
        if wanted.isdisjoint(operation.outputs):
            continue
        kept.append(operation)
        wanted.update(each.value for each in (*operation.rowwise, *operation.whole))
    return kept[::-1]


def _check(operations: Iterable[Operation]) -> None:
    work = 0
    for operation in operations:
        output = operation.outputs[0]
        held = [each.value.columns for each in operation.rowwise if operation.name in ACROSS]
        if operation.name == "sum":
            held = [operation.whole[0].value.columns]
        if max([output.columns, *held]) > WIDEST:
            raise Untraceable(f"rows wider than {WIDEST}")
        if operation.name == "spmm":
            work += operation.options["handle"].nnz * output.columns
        elif operation.name in ("matmul", *OVER_ROWS):
            work += operation.whole[0].value.tensor.numel() * output.columns
    if work > MOST:
        raise Untraceable(f"{work} multiplications an epoch")


def _phases(operations: list[Operation]) -> dict[Operation, int]:
    phase_of: dict[Operation, int] = {}
    readers: dict[int, list[tuple[Operation, bool]]] = {}  # of state, by address: who has read it, whether row by row
    for operation in operations:
        phase_of[operation] = max(_when_read(operation, phase_of), _when_written(operation, phase_of, readers))
        for operand, rowwise in _operands(operation):
            if operand.value.state is not None:
                readers.setdefault(operand.value.tensor.data_ptr(), []).append((operation, rowwise))
    return phase_of


def _operands(operation: Operation) -> list[tuple[Operand, bool]]:
    """What it reads, and whether row by row."""
    return [*((each, True) for each in operation.rowwise), *((each, False) for each in operation.whole)]


def _when_read(operation: Operation, phase_of: dict[Operation, int]) -> int:
    """The first phase in which all that it reads is there."""
    phase = 0
    for operand, rowwise in _operands(operation):
        maker = operand.value.made_by
        if maker in phase_of:
            phase = max(phase, phase_of[maker] + (not rowwise or not _in_rows(operation, operand.value)))
    return phase


def _when_written(
    operation: Operation, phase_of: dict[Operation, int], readers: dict[int, list[tuple[Operation, bool]]]
) -> int:
    """The first phase in which nobody else reads the state that it writes over."""
    phase = 0
    for value in operation.outputs:
        for reader, rowwise in readers.get(value.tensor.data_ptr(), ()) if value.state is not None else ():
            follows = rowwise and any(each.value in reader.outputs for each in operation.rowwise)
            phase = max(phase, phase_of[reader] + (not follows))
    return phase


def _late(operations: list[Operation], phase_of: dict[Operation, int]) -> set[Operation]:
    """The operations behind the last change of state, which is to say validation: moved beside the first phases of the
    next epoch, if what they read is still there then."""
    written = {operation: phase_of[operation] for operation in operations if _writes(operation)}
    first = max(written.values()) + 1
    late = {operation for operation in operations if phase_of[operation] >= first}
    for operation in late:
        if operation.name == "dropout" or operation.options.get("dropped"):
            return set()  # the next epoch's keys are others
        for operand, _ in _operands(operation):
            maker = operand.value.made_by
            if maker is not None and maker not in late and phase_of[operation] - first >= phase_of[maker]:
                return set()
            if operand.value.state is not None and maker is None:
                return set()
    for operation in late:
        phase_of[operation] -= first
    return late


def _writes(operation: Operation) -> bool:
    return any(value.state is not None for value in operation.outputs)


def _in_rows(operation: Operation, value: Value) -> bool:
    """Whether the operation's task of a row holds the row of this value, rather than reading it from memory."""
    output = operation.outputs[0]
    if (value.rows, value.columns) == (1, 1):
        return output.rows == 1
    return value.rows == output.rows and (value.columns == output.columns or operation.name in ACROSS)


ACROSS = ("matmul", "row_sum", "argmax")
"""Operations whose output has other columns than the row that they read."""


def _groups(
    operations: list[Operation], phase_of: dict[Operation, int], late: set[Operation]
) -> dict[Operation, Group]:
    group_of: dict[Operation, Group] = {}
    for operation in operations:
        makers = [each.value.made_by for each in operation.rowwise]
        beside = dict.fromkeys(
            group_of[maker]
            for maker in makers
            if maker in group_of and phase_of[maker] == phase_of[operation] and (maker in late) == (operation in late)
        )
        group, *others = beside or [Group(operation.rows)]
        for other in others:
            group.operations += other.operations
            group_of.update(dict.fromkeys(other.operations, group))
        group.operations.append(operation)
        group_of[operation] = group
    at = {operation: number for number, operation in enumerate(operations)}
    for group in dict.fromkeys(group_of.values()):
        group.operations.sort(key=at.__getitem__)
    return group_of


def _order(group: Group) -> None:
    lengths = np.zeros(group.rows, dtype=np.int64)
    for operation in group.operations:
        if operation.name == "spmm":
            lengths += np.diff(operation.options["handle"].indptr.cpu().numpy())
        elif operation.name in OVER_ROWS:
            lengths += operation.whole[-1].value.rows
    group.long = int(np.count_nonzero(lengths > LONG))
    if group.long or lengths.any():
        group.order = np.argsort(-lengths, kind="stable").astype(np.int32)


def _stored(trace: Trace, operations: list[Operation], groups: dict[Operation, Group]) -> Iterable[Value]:
    yield from trace.state.values()
    yield from trace.metrics
    for operation in operations:
        for operand in operation.whole:
            yield operand.value
        for operand in operation.rowwise:
            maker = operand.value.made_by
            if maker is None or groups[maker] is not groups[operation]:
                yield operand.value
