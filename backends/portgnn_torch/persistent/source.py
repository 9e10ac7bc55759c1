"""The text of a kernel that runs epochs of a planned step, and the arrays that it works on."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, keep_threshold
from portgnn_torch.persistent.plan import Group, Plan
from portgnn_torch.persistent.trace import Operand, Operation, Untraceable, Value

FOLDER = Path(__file__).parent
MOST_ARGUMENTS = 4000
"""Bytes; every device takes 4,096."""
BINARY = {"add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}"}
OTHERS = {
    "eq": "pick({} == {}, num(1), num(0))",
    "neg": "num(0) - {}",
    # A NaN stays one.
    "relu": "pick({0} <= num(0), num(0), {0})",
    "threshold_backward": "pick({1} <= num(0), num(0), {0})",
}


@dataclass(frozen=True)
class Program:
    """text: in C++ over the words of rows.cuh. arrays, sizes: of the arguments. state: the arrays that it changes, by
    name. metrics: how many an epoch has. blocks: how many have work.
    """

    text: str
    arrays: tuple[torch.Tensor, ...]
    sizes: tuple[int, ...]
    state: dict[str, torch.Tensor]
    metrics: int
    blocks: int

    def arguments(self, *further: torch.Tensor) -> ctypes.Array[ctypes.c_char]:
        """The kernel's Args. further: keys int32 [epochs, streams, 2], metrics [epochs, metrics], and a counter."""
        addresses = [each.data_ptr() for each in (*self.arrays, *further)]
        packed = struct.pack(f"{len(addresses)}P{len(self.sizes)}i", *addresses, *self.sizes)
        return ctypes.create_string_buffer(packed, len(packed))


def program(plan: Plan, dtype: torch.dtype) -> Program:
    """dtype: float32 or float64, of all numbers."""
    return _Writer(plan, dtype).program()


class _Writer:
    def __init__(self, plan: Plan, dtype: torch.dtype) -> None:
        self._plan, self._dtype = plan, dtype
        self._arrays: dict[int, tuple[str, str, torch.Tensor]] = {}  # by address: name, kind, array
        self._buffers: dict[Value, torch.Tensor] = {}
        self._sizes: list[int] = []
        self._orders: list[torch.Tensor] = []
        self._functions: dict[str, str] = {}  # text -> name: groups that do the same with other arrays share one
        self._taken: dict[str, tuple[str, str]] = {}  # the arrays of one function: name -> parameter, kind

    def program(self) -> Program:
        calls = [[self._call(group) for group in phase] for phase in self._plan.phases]
        real = {torch.float32: "float", torch.float64: "double"}[self._dtype]
        kernel = self._kernel(calls)
        text = "\n".join(
            [
                f"typedef {real} real;",
                *(f"#define SHIFT_{i} {shift}" for i, shift in enumerate(SHIFTS)),
                f"#define MULTIPLIER_1 {MULTIPLIER_1}u",
                f"#define MULTIPLIER_2 {MULTIPLIER_2}u",
                "// meaning of the lanes",
                (FOLDER / "rows.cuh").read_text(),
                "struct Args {",
                *(f"  {kind} *{name};" for name, kind, _ in self._arrays.values()),
                f"  const int *keys;\n  real *metrics;\n  unsigned *counter;\n  int n[{len(self._sizes)}];\n}};",
                *(body.replace("TASK", name) for body, name in self._functions.items()),
                kernel,
            ]
        )
        most = max(sum(g.long + -(-(g.rows - g.long) // 8) for g in phase) for phase in self._plan.phases)
        state = {name: value.tensor for name, value in self._plan.trace.state.items()}
        arrays = tuple(tensor for _, _, tensor in self._arrays.values())
        if 8 * len(arrays) + 4 * len(self._sizes) > MOST_ARGUMENTS:
            raise Untraceable(f"{len(arrays)} arrays")
        return Program(text, arrays, tuple(self._sizes), state, len(self._plan.trace.metrics), most)

    # Arrays.

    def _pointer(self, tensor: torch.Tensor) -> str:
        known = self._arrays.get(tensor.data_ptr())
        if known is None:
            if tensor.data_ptr() % 16:
                raise Untraceable("an array that does not begin where four numbers can be read at once")
            known = (f"p{len(self._arrays)}", self._kind(tensor), tensor)
            self._arrays[tensor.data_ptr()] = known
        name, kind, _ = known
        return self._taken.setdefault(name, (f"q{len(self._taken)}", f"{kind} *"))[0]

    def _size(self, number: int) -> str:
        """A number that differs from graph to graph: an argument, so that the compiled kernel serves all."""
        self._sizes.append(number)
        name = f"n[{len(self._sizes) - 1}]"
        return self._taken.setdefault(name, (f"q{len(self._taken)}", "int "))[0]

    def _kind(self, tensor: torch.Tensor) -> str:
        if tensor.dtype is torch.int32:
            return "const int"
        if tensor.dtype is not self._dtype:
            raise Untraceable(f"an array of {tensor.dtype}")
        return "real"

    def _memory(self, value: Value) -> str:
        """The pointer to a value that has memory: constants and state their own, others a buffer."""
        if value.made_by is None or value.state is not None:
            return self._pointer(value.tensor)
        if value not in self._buffers:
            size = max(1, value.rows * value.columns)
            self._buffers[value] = torch.zeros(size, dtype=self._dtype, device=value.tensor.device)
        return self._pointer(self._buffers[value])

    # Tasks.

    def _call(self, group: Group) -> str:
        """Writes the function of a group, unless there is one that does the same, and returns the call."""
        self._taken = {}
        lines: list[str] = []
        held: dict[Any, str] = {}
        for operation in group.operations:
            self._operation(operation, lines, held)
        for operation in group.operations:
            for value in operation.outputs:
                lines += self._stores(value, held[value])
        row = "q"
        if group.order is not None:
            device = group.operations[0].outputs[0].tensor.device
            self._orders.append(torch.from_numpy(group.order).to(device))
            row = f"{self._pointer(self._orders[-1])}[q]"
        arrays = [f"{kind}{parameter}" for parameter, kind in self._taken.values()]
        body = "\n".join(f"  {line}" for line in lines)
        task = ", ".join(parameter for parameter, _ in self._taken.values())
        shared = "const int *keys, real *metrics, int epoch"
        text = (
            f"LANES void TASK({', '.join([*arrays, shared])}, int row, word lane, bool block, bool stores) "
            f"{{\n{body}\n}}\n"
            f"GROUP TASK_rows({', '.join([*arrays, shared])}, int rows, int block_rows, int begun) {{\n"
            f"  TAKE_IN_TURN(TASK, {row}, {task}, keys, metrics, epoch)\n}}"
        )
        name = self._functions.setdefault(text, f"task{len(self._functions)}")
        given = ", ".join(f"a.{array}" for array in self._taken)
        epoch = "epoch - 1" if group.late else "epoch"
        sizes = f"{self._count(group.rows)}, {self._count(group.long)}"
        return f"{name}_rows({given}, keys, a.metrics, {epoch}, {sizes}, {{}});"

    def _count(self, number: int) -> str:
        """The same in the kernel itself."""
        self._sizes.append(number)
        return f"a.n[{len(self._sizes) - 1}]"

    def _stores(self, value: Value, registers: str) -> Iterator[str]:
        if value in self._plan.stored:
            start = f"row * {value.columns}"
            yield f"store<{value.columns}>({self._memory(value)}, {start}, {registers}, lane, stores);"
        metrics = self._plan.trace.metrics
        for slot, metric in enumerate(metrics):
            if metric is value:
                yield f"store<1>(metrics, epoch * {len(metrics)} + {slot}, {registers}, lane, stores);"

    def _row(self, operand: Operand, operation: Operation, lines: list[str], held: dict[Any, str]) -> tuple[str, int]:
        """The registers that hold what an operation reads of an operand, and how many columns they are for."""
        value, output = operand.value, operation.outputs[0]
        if value in held:
            return held[value], value.columns
        wide = value.columns if operation.name in ("matmul", "row_sum", "argmax") else output.columns
        size = value.rows * value.columns
        if size == 1:
            columns, start = 1, "0"
        elif size == output.rows * wide:
            columns, start = wide, f"row * {wide}"
        elif operand.shape in ((wide,), (1, wide)):
            columns, start = wide, "0"
        elif operand.shape == (output.rows, 1):
            columns, start = 1, "row"
        else:
            raise Untraceable(f"{operand.shape} beside {(output.rows, output.columns)}")
        known = held.get((value, start))
        if known is None:
            known = held[value, start] = f"x{len(held)}"
            if size == 1 and value.made_by is None and value.state is None:
                lines.append(f"num {known}[1]; {known}[0] = num(real({_literal(value)}));")
                return known, 1
            lines.append(f"num {known}[Wide<{columns}>::each];")
            lines.append(f"load<{columns}>({known}, {self._memory(value)}, word({start}), flag(true), lane);")
        return known, columns

    def _operation(self, operation: Operation, lines: list[str], held: dict[Any, str]) -> None:
        rows = [self._row(operand, operation, lines, held) for operand in operation.rowwise]
        names = []
        for value in operation.outputs:
            held[value] = f"x{len(held)}"
            names.append(held[value])
            lines.append(f"num {held[value]}[Wide<{value.columns}>::each];")
        write = getattr(self, f"_{operation.name}", None)
        if write is not None:
            lines.append(write(operation, names, [name for name, _ in rows]))
            return
        wide = operation.outputs[0].columns
        read = [f"{name}[{'j' if columns > 1 or wide == 1 else 0}]" for name, columns in rows]
        pattern = BINARY.get(operation.name) or OTHERS[operation.name]
        lines.append(self._each(wide, f"{names[0]}[j] = {pattern.format(*read)};"))

    @staticmethod
    def _each(columns: int, line: str) -> str:
        return f"for (int j = 0; j < Wide<{columns}>::each; ++j) {{ {line} }}"

    def _spmm(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        handle, dropped = operation.options["handle"], operation.options["dropped"]
        x, wide = self._memory(operation.whole[0].value), operation.outputs[0].columns
        places = f"{self._pointer(handle.indptr)}, {self._pointer(handle.indices)}"
        if dropped is None:
            return f"spmm<{wide}>({out[0]}, {places}, {self._pointer(handle.values)}, {x}, row, lane, block);"
        options = dropped.options
        values = self._memory(dropped.rowwise[0].value)
        numbers = "(const int *)0" if options["index"] is None else self._pointer(options["index"])
        arrays = f"{places}, {values}, {x}, {numbers}"
        return f"spmm_dropped<{wide}>({out[0]}, {arrays}, {self._drop(options)}, row, lane, block);"

    @staticmethod
    def _drop(options: dict[str, Any]) -> str:
        scale = repr(1.0 / (1.0 - options["rate"]))
        return f"keys + {2 * options['key']}, {keep_threshold(options['rate'])}, real({scale})"

    def _dropout(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        wide, options = operation.outputs[0].columns, operation.options
        place, index = f"word(row * {wide}) + column<{wide}>(lane, j)", options["index"]
        if index is not None and index.numel() < operation.outputs[0].tensor.numel():  # of each row's first element
            place = f"whole({self._pointer(index)}, word(row), flag(true)) + column<{wide}>(lane, j)"
        elif index is not None:
            place = f"whole({self._pointer(index)}, {place}, column<{wide}>(lane, j) < word({wide}))"
        key, threshold, scale = self._drop(options).split(", ")
        chosen = f"pick(kept({place}, {key}, {threshold}), {rows[0]}[j] * num({scale}), num(0))"
        return self._each(wide, f"{out[0]}[j] = {chosen};")

    def _matmul(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        right, deep = operation.whole[0], operation.rowwise[0].value.columns
        across = str(right.transposed).lower()
        wide = operation.outputs[0].columns
        return f"matmul<{deep}, {wide}, {across}>({out[0]}, {rows[0]}, {self._memory(right.value)}, lane);"

    def _transposed_matmul(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        left, right = (each.value for each in operation.whole)
        shape = f"{left.columns}, {right.columns}"
        arrays = f"{self._memory(left)}, {self._memory(right)}, {self._size(left.rows)}"
        return f"transposed_matmul<{shape}>({out[0]}, {arrays}, row, lane, block);"

    def _column_sums(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        value = operation.whole[0].value
        return f"column_sums<{value.columns}>({out[0]}, {self._memory(value)}, {self._size(value.rows)}, lane, block);"

    def _sum(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        value = operation.whole[0].value
        sums = f"num sums[Wide<{value.columns}>::each]; "
        sums += f"column_sums<{value.columns}>(sums, {self._memory(value)}, {self._size(value.rows)}, lane, block);"
        return f"{{ {sums} {out[0]}[0] = row_sum<{value.columns}>(sums, lane); }}"

    def _row_sum(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        return f"{out[0]}[0] = {operation.name}<{operation.rowwise[0].value.columns}>({rows[0]}, lane);"

    _argmax = _row_sum

    def _log_softmax(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        return f"{operation.name}<{operation.outputs[0].columns}>({out[0]}, {', '.join(rows)}, lane);"

    _log_softmax_backward = _log_softmax

    def _corrections(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        betas = (operation.options["beta1"], operation.options["beta2"])
        return " ".join(
            f"{name}[0] = correction({rows[0]}[0], {beta!r});" for name, beta in zip(out, betas, strict=True)
        )

    def _adam(self, operation: Operation, out: list[str], rows: list[str]) -> str:
        p, gradient, m, v, c1, c2 = rows
        o = operation.options
        rates = f"{o['rate']!r}, {o['beta1']!r}, {o['beta2']!r}, {o['eps']!r}, {o['decay']!r}"
        copies = " ".join(f"{new}[j] = {old}[j];" for new, old in zip(out, (p, m, v), strict=True))
        call = f"adam({out[0]}[j], {gradient}[j], {out[1]}[j], {out[2]}[j], {c1}[0], {c2}[0], {rates});"
        return self._each(operation.outputs[0].columns, f"{copies} {call}")

    # The kernel.

    def _kernel(self, calls: list[list[str]]) -> str:
        streams = self._plan.trace.streams
        turns = "count + 1" if self._plan.late else "count"
        lines = ["KERNEL {", "  unsigned target = 0;", f"  for (int epoch = 0; epoch < {turns}; ++epoch) {{"]
        lines.append(f"    const int *keys = a.keys + epoch * {2 * streams};")
        for phase, made in zip(self._plan.phases, calls, strict=True):
            begun: list[str] = ["0"]
            for group, call in zip(phase, made, strict=True):
                due = ("if (epoch > 0) " if group.late else "if (epoch < count) ") if self._plan.late else ""
                lines.append(f"    {due}{call.format(' + '.join(begun))}")
                begun.append(self._count(group.rows))
            lines.append("    meet(a.counter, target);")
        return "\n".join([*lines, "  }", "}"])


def _literal(value: Value) -> str:
    number = float(value.tensor.item())
    if not math.isfinite(number):
        raise Untraceable(f"a constant {number}")
    return repr(number)
