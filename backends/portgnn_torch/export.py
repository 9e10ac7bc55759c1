"""A program as a file of Python for PyTorch and its weights beside it, or the weights alone."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from portgnn.programs import Counterpart, Instruction, Operand, Program, Value

MODEL, WEIGHTS, FACTS = "model.py", "weights.pt", "model.json"
WIDTH = 100
"""Letters of a line up to which a value that is read once is written where it is read."""

SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "pow": "**", "equal": "==", "not_equal": "!=",
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "logical_and": "&", "logical_or": "|",
}  # fmt: skip
REDUCED = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin"}

HELPERS = {
    "total": '''
def total(values, index, nodes):
    """The sum of the rows that have a node's number in index: [nodes, ...]."""
    return values.new_zeros(nodes, *values.shape[1:]).index_add_(0, index, values)
''',
    "largest": '''
def largest(values, index, nodes):
    """The largest of the rows that have a node's number in index: [nodes, ...]."""
    lowest = values.new_full((nodes, *values.shape[1:]), torch.finfo(values.dtype).min)
    index = index.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    return lowest.scatter_reduce(0, index, values, "amax")
''',
}
"""Functions that a file has where its network needs them."""

HEAD = '''"""{title}.

    network = Network.load()               # the weights beside this file
    answers = network({call})

x: {dtype} [nodes, {features}], as they come: what is done to them first is part of the network.
{edges}A row of the answers is a node's; what its columns are is in CLASSES, and all else that is known in model.json.
"""

from pathlib import Path

import torch
{imports}
CLASSES = {classes}
{helpers}

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
{members}

    @classmethod
    def load(cls, weights=Path(__file__).parent / "weights.pt"):
        network = cls()
        network.load_state_dict(torch.load(weights, weights_only=True))
        return network.eval()

    def forward(self, {signature}):
{body}
'''
EDGES = """edge_index: int64 [2, edges], sources and targets, each edge once{both}.
edge_weight: {dtype} [edges]; without it, all edges weigh 1.{told}
"""


class TorchFolder:
    """`model.py`, a module of plain PyTorch, and beside it its weights and what is known of it."""

    ending: ClassVar[str] = ""
    calls: ClassVar[bool] = False
    runs: ClassVar[bool] = True

    def written(self, program: Program) -> Mapping[str, bytes]:
        facts = json.dumps(program.facts, indent=1) + "\n"
        return {MODEL: source_of(program).encode(), WEIGHTS: saved(program), FACTS: facts.encode()}

    def computed(
        self, target: Path, features: NDArray[Any], edges: NDArray[np.int64], weights: NDArray[Any]
    ) -> NDArray[Any]:
        spec = importlib.util.spec_from_file_location("portgnn_exported_model", target / MODEL)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        given = [torch.from_numpy(each.copy()) for each in (features, edges, weights)]
        with torch.no_grad():
            found: NDArray[Any] = module.Network.load()(*given).numpy()
        return found

    def read(self, source: Path) -> Mapping[str, NDArray[Any]]:
        return read_state(source)


class PyGFolder(TorchFolder):
    """The same in PyTorch Geometric's layers, so that the weights' names and axes are theirs."""

    calls: ClassVar[bool] = True

    def __init__(self) -> None:
        importlib.import_module("torch_geometric")  # before any work, so that its absence is the first that is said


class StateDict:
    """The weights alone, by portgnn's names."""

    ending: ClassVar[str] = ".pt"
    calls: ClassVar[bool] = False
    runs: ClassVar[bool] = False

    def written(self, program: Program) -> Mapping[str, bytes]:
        return {WEIGHTS: saved(program)}

    def computed(
        self, target: Path, features: NDArray[Any], edges: NDArray[np.int64], weights: NDArray[Any]
    ) -> NDArray[Any]:
        raise NotImplementedError("weights alone compute nothing")

    def read(self, source: Path) -> Mapping[str, NDArray[Any]]:
        return read_state(source)


def saved(program: Program) -> bytes:
    """The state_dict as a file for `torch.load`."""
    file = io.BytesIO()
    torch.save(state_of(program), file)
    return file.getvalue()


def read_state(source: Path) -> dict[str, NDArray[Any]]:
    """A state_dict out of a file, or a folder of portgnn's, by `weights_only=True`, which runs nothing of it."""
    if source.is_dir():
        source = source / WEIGHTS
    try:
        found = torch.load(source, weights_only=True, map_location="cpu")
    except Exception as error:  # of torch's unpickler and of zip files, many kinds
        raise ValueError(
            f"torch.load(weights_only=True) does not read it: {str(error).splitlines()[0][:150]}"
        ) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError("it holds no state_dict, which is a dictionary of tensors")
    return {str(name): _wide(value.detach()).numpy() for name, value in found.items()}


def _wide(value: torch.Tensor) -> torch.Tensor:
    return value if value.dtype in (torch.float64, torch.float32) else value.to(torch.float32)


def state_of(program: Program) -> dict[str, torch.Tensor]:
    """The state_dict of the module that `source_of` writes."""
    arrays = dict(program.parameters)
    for number, (_, own) in enumerate(program.called):
        arrays |= {f"convs.{number}.{name}": value for name, value in own.items()}
    return {name: torch.from_numpy(np.array(value, order="C")) for name, value in arrays.items()}


def source_of(program: Program) -> str:
    """The text of the module."""
    writer = _Writer(program)
    body = writer.body()
    edges = program.source is not None
    both = ", both directions of an undirected one" if program.facts["undirected"] else ""
    told = "".join(f"\n{note}" for note in program.facts["notes"])
    said = EDGES.format(both=both, dtype=program.dtype, told=told) if edges else ""
    names = sorted({name for other, _ in program.called for name in _names(other)})
    return HEAD.format(
        title=program.title,
        call="x, edge_index" if edges else "x",
        dtype=program.dtype,
        features=program.features.shape[1],
        edges=said,
        imports=f"from torch_geometric.nn import {', '.join(names)}\n" if names else "",
        classes=repr(tuple(program.facts["classes"])),
        helpers="".join(f"\n{text}" for name, text in HELPERS.items() if f"{name}(" in body),
        members="\n".join(_members(program)) or "        pass",
        signature="x, edge_index, edge_weight=None" if edges else "x, edge_index=None, edge_weight=None",
        body=body,
    )


def _members(program: Program) -> list[str]:
    """What a module is made of."""
    dtype = f"dtype=torch.{program.dtype}"
    lines = []
    for name, value in program.parameters.items():
        empty = f"torch.empty({tuple(value.shape)}, {dtype})"
        if name.startswith("constant"):
            lines.append(f'        self.register_buffer("{name}", {empty})')
        else:
            lines.append(f"        self.{name} = torch.nn.Parameter({empty})")
    if program.called:
        made = ",\n".join(f"            {_made(other)}" for other, _ in program.called)
        wide = ".double()" if program.dtype == "float64" else ""
        lines.append(f"        self.convs = torch.nn.ModuleList([\n{made},\n        ]){wide}")
    return lines


def _made(other: Counterpart) -> str:
    arguments = [
        f"{name}={_made(value) if isinstance(value, Counterpart) else repr(value)}"
        for name, value in other.arguments.items()
    ]
    return f"{other.name}({', '.join(arguments)})"


def _names(other: Counterpart) -> list[str]:
    inner = (value for value in other.arguments.values() if isinstance(value, Counterpart))
    return [other.name, *(name for each in inner for name in _names(each))]


class _Writer:
    """Instructions as lines of Python. A value that is read once, on the next line, is written where it is read."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._names = {value: value.name for value in (program.features, program.source, program.target) if value}
        if program.weights is not None:
            self._names[program.weights] = "edge_weight"
        self._reads: dict[Value, int] = {program.output: 1}
        for each in program.instructions:
            for operand in each.operands:
                if isinstance(operand, Value):
                    self._reads[operand] = self._reads.get(operand, 0) + 1
        self._lines: list[str] = []

    def body(self) -> str:
        program = self._program
        read = {operand for each in program.instructions for operand in each.operands if isinstance(operand, Value)}
        if program.source in read or program.target in read:
            self._lines.append("source, target = edge_index[0], edge_index[1]")
        if program.weights in read:
            self._lines.append("if edge_weight is None:")
            self._lines.append("    edge_weight = x.new_ones(edge_index.shape[1])")
        if {"arange", "total", "largest"} & {each.op for each in program.instructions}:
            self._lines.append("nodes = x.shape[0]")
        for each in program.instructions:
            text = self._text(each)
            if self._reads.get(each.output, 0) == 1 and each.output is not program.output and len(text) <= WIDTH:
                self._names[each.output] = text
                continue
            name = f"h{len(self._lines)}"
            self._lines.append(f"{name} = {text}")
            self._names[each.output] = name
        self._lines.append(f"return {self._said(program.output)}")
        return "\n".join(f"        {_bare(line)}" for line in self._lines)

    def _said(self, operand: Operand) -> str:
        if not isinstance(operand, Value):
            return repr(int(operand)) if float(operand).is_integer() and abs(operand) < 1e6 else repr(float(operand))
        if operand in self._names:
            return self._names[operand]
        return f"self.{operand.name}"

    def _text(self, each: Instruction) -> str:
        said = [self._said(operand) for operand in each.operands]
        op, details = each.op, each.details
        if op in SIGNS:
            return f"({said[0]} {SIGNS[op]} {said[1]})"
        if op == "matmul":
            return f"({said[0]} @ {said[1]})"
        if op in ("maximum", "minimum"):
            bound = [text for text, operand in zip(said, each.operands, strict=True) if not isinstance(operand, Value)]
            if bound:
                array = next(text for text in said if text not in bound)
                return f"{array}.clamp({'min' if op == 'maximum' else 'max'}={bound[0]})"
            return f"torch.{op}({said[0]}, {said[1]})"
        if op in REDUCED:
            kept = ", keepdim=True" if details["keep"] else ""
            return f"{said[0]}.{REDUCED[op]}({tuple(details['axes'])}{kept})"
        if op == "called":
            other = self._program.called[details["layer"]][0]
            more = (["edge_index"] if other.edges else []) + (["edge_weight"] if other.edges and other.weighs else [])
            return f"self.convs[{details['layer']}]({', '.join([*map(_inner, said), *more])})"
        if op == "where":
            return self._where(each, said)
        own = said[:1] if op in SUFFIXED else []
        return _CALLS[op]([*own, *map(_inner, said[len(own) :])], details)

    def _where(self, each: Instruction, said: Sequence[str]) -> str:
        if all(not isinstance(operand, Value) for operand in each.operands[1:]):
            # Two numbers alone would be of torch's default dtype.
            said = [said[0], f"torch.tensor({float(each.operands[1])!r}, dtype=x.dtype, device=x.device)", said[2]]  # type: ignore[arg-type]
        return f"torch.where({', '.join(map(_inner, said))})"


_CALLS: dict[str, Any] = {
    "negative": lambda x, _: f"(-{x[0]})",
    "logical_not": lambda x, _: f"(~{x[0]})",
    **{name: (lambda x, _, name=name: f"torch.{name}({x[0]})")
       for name in ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "abs", "sin", "cos", "relu")},
    "arange": lambda x, _: "torch.arange(nodes, device=x.device)",
    "compress": lambda x, _: f"{x[0]}[{x[1]}]",
    "take": lambda x, _: f"{x[0]}[{x[1]}]",
    "total": lambda x, _: f"total({x[0]}, {x[1]}, nodes)",
    "largest": lambda x, _: f"largest({x[0]}, {x[1]}, nodes)",
    "cast": lambda x, _: f"{x[0]}.to(x.dtype)",
    "concat": lambda x, d: f"torch.cat([{', '.join(x)}], {d['axis']})",
    "reshape": lambda x, d: f"{x[0]}.reshape({', '.join(map(str, d['shape']))})",
    "permute": lambda x, d: f"{x[0]}.permute({', '.join(map(str, d['axes']))})",
    "slice": lambda x, d: f"{x[0]}[{':, ' * d['axis']}{d['start']}:{d['stop']}]",
}  # fmt: skip
"""The other instructions: (operands, details) -> text."""


SUFFIXED = ("compress", "take", "cast", "reshape", "permute", "slice", "negative", "logical_not")
"""Those that stand behind or before their operand, which then keeps its parentheses."""


def _inner(text: str) -> str:
    """Without parentheses around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for letter in text[1:-1]:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            return text
    return text[1:-1]


def _bare(line: str) -> str:
    """The line, without parentheses around all that it assigns or returns."""
    found = re.match(r"(\w+ = |return )(.*)$", line)
    return f"{found[1]}{_inner(found[2])}" if found else line
