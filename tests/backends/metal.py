"""MLX's `metal_kernel` without Metal: the text that MLX would compile, read as Metal would read it, and run on the CPU.

The text is made as MLX 0.32 makes it (`write_signature` in mlx/backend/common/metal_kernel.cpp): header, template
arguments, address space by the number of elements, buffers and attributes in order, instantiation. `problems` holds it
to Metal's own rules; pointers then become objects that know their address space and bounds, and g++ compiles the rest
with metal.h.
"""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlx.core as mx
import numpy as np
from host_compiler import CompileError, compiled

BUFFERS = 31
"""What a Metal kernel takes at most."""
SMALL = 8
"""Inputs with fewer elements are passed in the constant address space."""
SPACES = ("device", "constant", "threadgroup", "thread")
TYPES = {
    mx.float32: "float", mx.float16: "float16_t", mx.bfloat16: "bfloat16_t", mx.bool_: "bool", mx.int8: "int8_t",
    mx.int16: "int16_t", mx.int32: "int32_t", mx.int64: "int64_t", mx.uint8: "uint8_t", mx.uint16: "uint16_t",
    mx.uint32: "uint32_t", mx.uint64: "uint64_t", mx.float64: "double", mx.complex64: "complex64_t",
}  # fmt: skip
ATTRIBUTES = {
    "thread_index_in_simdgroup": "uint", "thread_index_in_threadgroup": "uint", "thread_position_in_grid": "uint3",
    "thread_position_in_threadgroup": "uint3", "threadgroup_position_in_grid": "uint3", "threads_per_grid": "uint3",
    "simdgroup_index_in_threadgroup": "uint", "threads_per_simdgroup": "uint", "threads_per_threadgroup": "uint3",
}  # fmt: skip
FORBIDDEN = {
    "a word of CUDA": r"\b(?:__\w+|blockIdx|threadIdx|blockDim|gridDim|warpSize|atomic(?:Add|CAS|Max|Min|Exch)|dim3)\b",
    "a function of C that Metal lacks": r"\b(?:sqrtf|expf|logf|powf|fmaf|fabsf|tanhf|rsqrtf|printf|memcpy|malloc)\b",
    "a type that Metal lacks": r"\b(?:double|long\s+double|__int128|std::\w+|float64_t)\b",
    "an atomic of 64 bits": r"\batomic_?u?long\b|\batomic\s*<\s*(?:u?int64_t|u?long|size_t|double)\b",
    "an addition of floats in no fixed order": r"\batomic\s*<\s*float\s*>|\batomic_float\b",
    "C++ that Metal leaves out": r"\b(?:new|delete|throw|try|catch|virtual|dynamic_cast|typeid|goto|thread_local)\b",
}
RESERVED = (
    "kernel",
    "vertex",
    "fragment",
    "sampler",
    "texture",
    "half",
    "bfloat",
    "ray_data",
    "object_data",
    "visible",
)
_TYPE = r"[A-Za-z_][\w:]*(?:\s+int)?(?:<[^<>;(){}]*>)?"
_POINTER = re.compile(rf"(const\s+)?\b({'|'.join(SPACES)})\s+(const\s+)?({_TYPE})\s*\*")
_SHARED = re.compile(rf"\bthreadgroup\s+({_TYPE})\s+(\w+)\s*\[([^\]]+)\]\s*;")


class MetalError(Exception):
    """What Metal would refuse, or what a run on it would get wrong."""


def _bare(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/|\[\[host_name[^\]]*\]\]", "", text, flags=re.DOTALL)


def problems(text: str) -> list[str]:
    """What Metal's compiler would say to a kernel's text, as far as its words tell."""
    bare = _bare(text)
    found = [f"{what}: {match[0]}" for what, words in FORBIDDEN.items() for match in re.finditer(words, bare)]
    left = _SHARED.sub("", _POINTER.sub("", bare)).replace("[[kernel]]", "")
    reserved = re.finditer(rf"\b(?:{'|'.join((*SPACES, *RESERVED))})\b", left)
    found += [f"a word of Metal used as a name, or a space without a pointer: {match[0]}" for match in reserved]
    count = len(re.findall(r"\[\[buffer\(\d+\)\]\]", bare))
    return found + ([f"{count} buffers, and Metal has {BUFFERS}"] if count > BUFFERS else [])


def _as_cpp(text: str) -> str:
    """Pointers as objects with a space, threadgroup arrays as shared ones, attributes away."""

    def pointer(match: re.Match[str]) -> str:
        const = "const " if match[1] or match[3] else ""
        return f"Pointer<in_{match[2]}, {const}{match[4]}>"

    # Comments stay, so that what the compiler says names the text's own lines.
    text = _SHARED.sub(r"static Shared<\1, \3> \2;", text)
    return re.sub(r"\[\[[^\]]*\]\]", "", _POINTER.sub(pointer, text))


def _value(arg: Any) -> str:
    return TYPES[arg] if isinstance(arg, mx.Dtype) else str(arg).lower() if isinstance(arg, bool) else str(arg)


class MetalKernel:
    """What `mx.fast.metal_kernel` returns, for the CPU. `changed` changes the text on its way (see `planted`)."""

    made: list[MetalKernel] = []  # noqa: RUF012 (a log of all)
    changed: Any = staticmethod(lambda text: text)
    libraries: dict[str, ctypes.CDLL] = {}  # noqa: RUF012 (texts that were compiled)

    def __init__(
        self, name: str, input_names: Sequence[str], output_names: Sequence[str], source: str, header: str = ""
    ) -> None:
        self.name, self.inputs, self.outputs, self.source, self.header = name, input_names, output_names, source, header
        self.launches: list[dict[str, Any]] = []
        MetalKernel.made.append(self)

    def text(self, arrays: Sequence[mx.array], dtypes: Sequence[mx.Dtype], template: Sequence[Any]) -> tuple[str, str]:
        """What MLX would compile, without its instantiation, and the name of what it would instantiate."""
        args = "".join(f"_{_value(arg)}" for _, arg in template)
        kinds = "".join(
            f"_{TYPES[x.dtype]}" + ("s" if x.ndim == 0 else "c" if x.size < SMALL else "") for x in arrays
        ) + "".join(f"_{TYPES[dtype]}" for dtype in dtypes)
        name = f"custom_kernel_{self.name}{args}{kinds}"
        kind = {bool: "bool", int: "int"}
        params = ", ".join(f"{kind.get(type(arg), 'typename')} {word}" for word, arg in template)
        lines = [
            f"const {'constant' if x.size < SMALL else 'device'} {TYPES[x.dtype]}{'*' if x.ndim else '&'} {word}"
            for word, x in zip(self.inputs, arrays, strict=True)
        ] + [f"device {TYPES[dtype]}* {word}" for word, dtype in zip(self.outputs, dtypes, strict=True)]
        signature = [f"  {line} [[buffer({i})]]" for i, line in enumerate(lines)]
        used = [f"  {kind} {word} [[{word}]]" for word, kind in sorted(ATTRIBUTES.items()) if word in self.source]
        head = f"template <{params}>\n" if template else ""
        text = f"{self.header}{head}[[kernel]] void {name}(\n" + ",\n".join(signature + used) + ") {\n" + self.source
        instance = name + (f"<{', '.join(_value(arg) for _, arg in template)}>" if template else "")
        return MetalKernel.changed(text + "\n}\n"), instance

    def __call__(
        self,
        *,
        inputs: Sequence[mx.array],
        output_shapes: Sequence[Sequence[int]],
        output_dtypes: Sequence[mx.Dtype],
        grid: tuple[int, int, int],
        threadgroup: tuple[int, int, int],
        template: Sequence[tuple[str, Any]] = (),
    ) -> list[mx.array]:
        given = [x if isinstance(x, mx.array) else mx.array(x) for x in inputs]
        if min(grid) < 1:
            raise MetalError(f"a grid of {grid}: Metal takes none without threads")
        text, instance = self.text(given, output_dtypes, template)
        if found := problems(text):
            raise MetalError("; ".join(found))
        library = self._library(text, instance, given, output_dtypes)
        hosts = [_host(x) for x in given]
        outs = [
            np.full(max(1, int(np.prod(s)) * d.size), 255, np.uint8)
            for s, d in zip(output_shapes, output_dtypes, strict=True)
        ]
        sizes = [x.nbytes for x in hosts] + [
            int(np.prod(s)) * d.size for s, d in zip(output_shapes, output_dtypes, strict=True)
        ]
        places = (ctypes.c_void_p * len(sizes))(*(x.ctypes.data for x in (*hosts, *outs)))
        message = ctypes.create_string_buffer(256)
        groups = tuple(min(a, b) for a, b in zip(threadgroup, grid, strict=True))
        assert grid[1:] == (1, 1) == groups[1:], "portgnn's kernels have one axis"
        library.launch(places, (ctypes.c_size_t * len(sizes))(*sizes), grid[0], groups[0], message)
        if message.value:
            raise MetalError(message.value.decode())
        spaces = {word: "constant" if x.size < SMALL else "device" for word, x in zip(self.inputs, given, strict=True)}
        self.launches.append({"template": dict(template), "spaces": spaces, "grid": grid[0]})
        return [
            _array(out[:size], shape, dtype)
            for out, size, shape, dtype in zip(outs, sizes[len(hosts) :], output_shapes, output_dtypes, strict=True)
        ]

    def _library(
        self, text: str, instance: str, inputs: Sequence[mx.array], output_dtypes: Sequence[mx.Dtype]
    ) -> ctypes.CDLL:
        words = [*self.inputs, *self.outputs]
        spaces = ["constant" if x.size < SMALL else "device" for x in inputs] + ["device"] * len(self.outputs)
        types = [f"const {TYPES[x.dtype]}" for x in inputs] + [TYPES[dtype] for dtype in output_dtypes]
        scalars = [x.ndim == 0 for x in inputs] + [False] * len(self.outputs)
        args = [
            ("*" if scalar else "") + f"Pointer<in_{space}, {kind}>(&buffers[{i}], ({kind} *)buffers[{i}].start)"
            for i, (space, kind, scalar) in enumerate(zip(spaces, types, scalars, strict=True))
        ]
        values = {
            "thread_position_in_grid": "uint3{number, 0, 0}", "thread_index_in_simdgroup": "uint(group.running % 32)",
            "thread_position_in_threadgroup": "uint3{uint(group.running), 0, 0}", "threads_per_simdgroup": "32u",
            "thread_index_in_threadgroup": "uint(group.running)", "threads_per_threadgroup": "uint3{in_group, 1, 1}",
            "threadgroup_position_in_grid": "uint3{group.first / in_group, 0, 0}",
            "threads_per_grid": "uint3{all, 1, 1}",
            "simdgroup_index_in_threadgroup": "uint(group.running / 32)",
        }  # fmt: skip
        args += [values[word] for word in sorted(ATTRIBUTES) if word in self.source]
        names = ", ".join(f'"{word}"' for word in words)
        whole = f"""#include "metal.h"
{_as_cpp(text)}
static Buffer buffers[{len(words)}];
static uint all, in_group;
static void entry() {{
  const uint number = group.first + uint(group.running);
  (void)number;
  {instance}({", ".join(args)});
}}
extern "C" void launch(void **places, size_t *sizes, uint threads, uint each, char *message) {{
  const char *names[] = {{{names}}};
  for (int i = 0; i < {len(words)}; ++i)
    buffers[i] = Buffer{{(unsigned char *)places[i], sizes[i], names[i],
                        std::vector<int>(i < {len(inputs)} ? 0 : sizes[i])}};
  all = threads, in_group = each, failure[0] = 0;
  for (uint first = 0; first < threads; first += each)
    threadgroup_runs(entry, first, int(first + each > threads ? threads - first : each));
  std::memcpy(message, failure, sizeof failure);
}}
"""
        if whole not in self.libraries:
            folder = Path(tempfile.mkdtemp(prefix="metal-"))
            try:
                self.libraries[whole] = compiled(whole, folder, "program", "-fsingle-precision-constant")
            except CompileError as error:
                raise MetalError(str(error)) from None
        return self.libraries[whole]


def _host(x: mx.array) -> np.ndarray[Any, Any]:
    return np.array(x.view(mx.uint16) if x.dtype == mx.bfloat16 else x, copy=True)


def _array(raw: np.ndarray[Any, Any], shape: Sequence[int], dtype: mx.Dtype) -> mx.array:
    plain = mx.uint16 if dtype == mx.bfloat16 else dtype
    return mx.array(raw.view(str(plain).removeprefix("mlx.core.").rstrip("_")).reshape(shape)).view(dtype)


@contextmanager
def metal() -> Iterator[list[MetalKernel]]:
    """In its body MLX has a Metal that runs on the CPU. Gives the kernels that are made there."""
    MetalKernel.made = []
    with (
        patch.object(mx.metal, "is_available", return_value=True),
        patch.object(mx.fast, "metal_kernel", MetalKernel),
        patch.object(mx, "compile", lambda function, **_: function),  # a traced array has no values yet
    ):
        yield MetalKernel.made
