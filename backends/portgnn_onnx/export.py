"""A program as a file of ONNX: inputs `x`, `edge_index` and `edge_weight`, output `answers`, any number of nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from portgnn.programs import Instruction, Operand, Program, Value

OPSET = 18
"""The first in which sums and largest values are scattered, and axes of reductions are inputs: since 2022."""
IR = 10
"""Of the file; readers since 2024 know it."""

NAMES = {
    "negative": "Neg", "exp": "Exp", "log": "Log", "tanh": "Tanh", "sqrt": "Sqrt", "abs": "Abs", "sin": "Sin",
    "cos": "Cos", "relu": "Relu", "logical_not": "Not", "add": "Add", "subtract": "Sub", "multiply": "Mul",
    "divide": "Div", "pow": "Pow", "maximum": "Max", "minimum": "Min", "equal": "Equal", "less": "Less",
    "less_equal": "LessOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual", "logical_and": "And",
    "logical_or": "Or", "where": "Where", "matmul": "MatMul",
}  # fmt: skip
REDUCED = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


class OnnxFile:
    """One file with network, weights and, as the metadata `portgnn`, what is known of it."""

    ending: ClassVar[str] = ".onnx"
    calls: ClassVar[bool] = False
    runs: ClassVar[bool] = True

    def written(self, program: Program) -> Mapping[str, bytes]:
        return {"model.onnx": model_of(program).SerializeToString()}

    def computed(
        self, target: Path, features: NDArray[Any], edges: NDArray[np.int64], weights: NDArray[Any]
    ) -> NDArray[Any]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # of an error; a warning of an optimizer is nothing to its user
        session = onnxruntime.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
        known = {"x": features, "edge_index": edges, "edge_weight": weights}
        found: NDArray[Any] = session.run(None, {each.name: known[each.name] for each in session.get_inputs()})[0]
        return found

    def read(self, source: Path) -> Mapping[str, NDArray[Any]]:
        raise ValueError("a file of ONNX is not read back: it has lost what its arrays are in a network")


def model_of(program: Program) -> onnx.ModelProto:
    """The file. Raises onnx.checker.ValidationError where onnx itself does not take it."""
    writer = _Writer(program)
    writer.write()
    dtype = TYPES[program.dtype]
    width = program.features.shape[1]
    inputs = [helper.make_tensor_value_info("x", dtype, ["nodes", width])]
    if program.source is not None:
        inputs.append(helper.make_tensor_value_info("edge_index", TensorProto.INT64, [2, "edges"]))
        inputs.append(helper.make_tensor_value_info("edge_weight", dtype, ["edges"]))
    outputs = [helper.make_tensor_value_info("answers", dtype, ["nodes", program.output.shape[1]])]
    graph = helper.make_graph(writer.nodes, "portgnn", inputs, outputs, list(writer.constants.values()))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="portgnn",
        doc_string=program.title,
    )  # fmt: skip
    helper.set_model_props(model, {"portgnn": json.dumps(program.facts)})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Instructions as nodes of ONNX."""

    def __init__(self, program: Program) -> None:
        self._program, self._dtype = program, np.dtype(program.dtype)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._names: dict[Value, str] = {program.features: "x"}
        self._once: dict[str, str] = {}

    def write(self) -> None:
        program = self._program
        for name, value in program.parameters.items():
            self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        if program.source is not None and program.target is not None and program.weights is not None:
            for at, end in enumerate((program.source, program.target)):
                self._names[end] = self._node("Gather", "edge_index", self._whole(at), axis=0)
            self._names[program.weights] = "edge_weight"
        for each in program.instructions:
            self._names[each.output] = self._instruction(each)
        self._node("Identity", self._names[program.output], out="answers")

    def _node(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"{array.dtype.name}:{array.tolist()}"
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def _whole(self, *numbers: int) -> str:
        """int64 numbers; one alone has no axis."""
        return self._constant(np.array(numbers if len(numbers) > 1 else numbers[0], dtype=np.int64))

    def _axes(self, axes: Sequence[int]) -> str:
        return self._constant(np.array(axes, dtype=np.int64))

    def _name(self, operand: Operand, kind: str) -> str:
        if isinstance(operand, Value):
            return self._names.get(operand, operand.name)
        dtype: Any = {"int": np.int64, "bool": np.bool_}.get(kind, self._dtype)
        return self._constant(np.array(operand, dtype=dtype))

    def _instruction(self, each: Instruction) -> str:
        kinds = [operand.kind for operand in each.operands if isinstance(operand, Value)]
        of_values = kinds[1:] if each.op == "where" else kinds
        kind = of_values[0] if of_values else each.output.kind
        given = [self._name(operand, kind) for operand in each.operands]
        if each.op in NAMES:
            return self._node(NAMES[each.op], *given)
        if each.op in REDUCED:
            return self._node(
                REDUCED[each.op], given[0], self._axes(each.details["axes"]), keepdims=int(each.details["keep"])
            )
        found: str = getattr(self, f"_{each.op}")(each, *given)
        return found

    def _not_equal(self, each: Instruction, x: str, y: str) -> str:
        return self._node("Not", self._node("Equal", x, y))

    def _expm1(self, each: Instruction, x: str) -> str:
        return self._node("Sub", self._node("Exp", x), self._name(1.0, "float"))

    def _log1p(self, each: Instruction, x: str) -> str:
        return self._node("Log", self._node("Add", x, self._name(1.0, "float")))

    def _cast(self, each: Instruction, x: str) -> str:
        to = {"int": TensorProto.INT64, "bool": TensorProto.BOOL}.get(each.output.kind, TYPES[self._program.dtype])
        return self._node("Cast", x, to=to)

    def _concat(self, each: Instruction, *arrays: str) -> str:
        return self._node("Concat", *arrays, axis=each.details["axis"])

    def _reshape(self, each: Instruction, x: str) -> str:
        return self._node("Reshape", x, self._axes(each.details["shape"]))

    def _permute(self, each: Instruction, x: str) -> str:
        return self._node("Transpose", x, perm=list(each.details["axes"]))

    def _slice(self, each: Instruction, x: str) -> str:
        details = each.details
        return self._node("Slice", x, *(self._axes([details[name]]) for name in ("start", "stop", "axis")))

    def _take(self, each: Instruction, x: str, index: str) -> str:
        return self._node("Gather", x, index, axis=0)

    def _compress(self, each: Instruction, x: str, mask: str) -> str:
        return self._node("Compress", x, mask, axis=0)

    def _arange(self, each: Instruction) -> str:
        return self._node("Range", self._whole(0), self._count(), self._whole(1))

    def _total(self, each: Instruction, values: str, index: str) -> str:
        return self._scattered(each, values, index, "add", 0.0)

    def _largest(self, each: Instruction, values: str, index: str) -> str:
        return self._scattered(each, values, index, "max", float(np.finfo(self._dtype).min))

    def _scattered(self, each: Instruction, values: str, index: str, how: str, first: float) -> str:
        """ScatterElements, which wants a number for each element: the nodes' numbers, as wide as the values."""
        tail = each.output.shape[1:]
        count = self._node("Reshape", self._count(), self._axes([1]))
        shape = self._node("Concat", count, self._axes(tail), axis=0) if tail else count
        start = numpy_helper.from_array(np.array([first], dtype=self._dtype))
        begin = self._node("ConstantOfShape", shape, value=start)
        if tail:
            index = self._node("Reshape", index, self._axes([-1, *(1 for _ in tail)]))
            index = self._node("Expand", index, self._axes([1, *tail]))
        return self._node("ScatterElements", begin, index, values, axis=0, reduction=how)

    def _count(self) -> str:
        """How many nodes there are."""
        if "count" not in self._once:
            self._once["count"] = self._node("Gather", self._node("Shape", "x"), self._whole(0), axis=0)
        return self._once["count"]
