"""Parquet files that nobody vouches for, through pyarrow, with what they would unpack to known beforehand.

A column may name one text for a million rows, share the beginning of each value with the one before, or be a list
of lists; a header says how much room to make before a byte of it is unpacked. pyarrow has no bound for any of
this. So types that are neither numbers nor text are refused unread, the headers of all pages are read here (Thrift's
compact protocol; https://github.com/apache/parquet-format, PageHeader in parquet.thrift), and text is unpacked some
rows at a time, by its dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from portgnn._system.untrusted import admitted, check_need, check_regular, opened
from portgnn.errors import DatasetError

_NUMBER, _TEXT, _COLUMN = 48, 200, 12_000
"""Bytes at the peak of making a table, measured: for a number, for a text beside its letters, for a column."""
_ROWS = 1 << 16
_DELTA_LENGTH_BYTE_ARRAY, _DELTA_BYTE_ARRAY = 6, 7
_STRUCT, _MAX_HEADER, _MAX_DEPTH = 12, 1 << 16, 20


def read_columns(
    path: Path, is_text: Callable[[str], bool], check: Callable[[list[str]], None], ignore: Collection[str] = ()
) -> tuple[list[str], Any]:
    """All names of columns, and a pyarrow Table of those that are not among `ignore`.

    is_text: which columns are text. check: raises where the names will not do.

    Raises DatasetError for types that are neither numbers nor text, and for a file that would take more memory than
    `untrusted.admitted`; pyarrow's exceptions and ValueError for a damaged one.
    """
    import pyarrow as pa
    from pyarrow import parquet

    size = check_regular(path)
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = list(schema.names)
        check(names)
        kept = [name for name in names if name not in ignore]
        text = [name for name in kept if is_text(name)]
        _check_types(path, [schema.field(name) for name in kept], is_text)
        with opened(path) as content:
            footer = _footer(content, size)
            pages = list(_pages(content, footer.chunks))
        rows = footer.rows
        need = _COLUMN * len(schema.names) + rows * (_NUMBER * (len(schema.names) - len(text)) + _TEXT * len(text))
        unpacked = 3 * sum(page[0] for page in pages)  # the page, the column, and its text or its numbers
        check_need(path, need + unpacked, size)
        room = admitted(size) - need - unpacked
        # Values that share their beginnings unpack to any size; a few at a time show how it grows.
        shared = max((page[0] for page in pages if page[1] == _DELTA_BYTE_ARRAY), default=0)
        at_once = _ROWS if not shared else int(min(max(room // (8 * shared), 16), _ROWS))
    # pyarrow reads no dictionary out of these encodings, which have none.
    plain = {_DELTA_LENGTH_BYTE_ARRAY, _DELTA_BYTE_ARRAY} & {page[1] for page in pages}
    strings = [] if plain else [name for name in text if pa.types.is_string(schema.field(name).type)]
    parts = []
    with parquet.ParquetFile(path, read_dictionary=strings) as file:
        for batch in file.iter_batches(batch_size=at_once, columns=kept):
            part = pa.Table.from_batches([batch])
            taken = sum(3 * _letters(part[name]) for name in text) + part.nbytes
            room -= taken
            if room < 0:
                check_need(path, admitted(size) + taken, size)
            parts.append(part)
    if not parts:
        return names, schema.empty_table().select(kept)
    # Each row group may bring a dictionary of its own.
    return names, pa.concat_tables([_plain(part, strings) for part in parts])


def _plain(part: Any, names: list[str]) -> object:
    import pyarrow as pa

    for name in names:
        part = part.set_column(part.schema.get_field_index(name), name, part[name].cast(pa.string()))
    return part


def _check_types(path: Path, fields: list[Any], is_text: Callable[[str], bool]) -> None:
    from pyarrow import types

    numbers = (types.is_integer, types.is_floating, types.is_boolean)
    texts = (*numbers, types.is_string, types.is_large_string, types.is_binary, types.is_large_binary,
             types.is_temporal, types.is_decimal, types.is_null)  # fmt: skip
    for field in fields:
        kind = field.type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if not any(admits(kind) for admits in (texts if is_text(field.name) else numbers)):
            wanted = "text or numbers are" if is_text(field.name) else "numbers are"
            raise DatasetError(f"{path}, column {field.name[:40]!r}: {str(kind)[:40]}, where {wanted} needed")


@dataclass(frozen=True)
class _Footer:
    """rows: as many as any part of it says, which need not agree. chunks: start and length of each column's pages."""

    rows: int
    chunks: list[tuple[int, int]]


def _footer(content: BinaryIO, size: int) -> _Footer:
    """Raises ValueError. Read here, since pyarrow's view of a damaged column's metadata can end the process."""
    content.seek(max(size - 8, 0))
    tail = content.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or not 0 < length <= size - 8:
        raise ValueError("it has no footer")
    content.seek(size - 8 - length)
    fields = _Compact(content.read(length)).struct()[0]
    rows, chunks, values = [_whole(fields.get(3))], [], 0
    for group in _items(fields.get(4)):
        rows.append(_whole(group.get(3)))
        largest = 0
        for chunk in _items(group.get(1)):
            about = chunk.get(3)
            if not isinstance(about, dict):
                raise ValueError("its footer does not say where a column lies")
            largest = max(largest, _whole(about.get(5)))
            starts = [_whole(about.get(key)) for key in (9, 11) if key in about]
            chunks.append((min((start for start in starts if start > 0), default=0), _whole(about.get(7))))
        values += largest
    return _Footer(max(rows[0], sum(rows[1:]), values), chunks)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("its footer has no number, or a negative one, where it counts")
    return value


def _items(value: object) -> list[dict[int, object]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("its footer has no list where columns are listed")
    return value


def _letters(column: Any) -> int:
    """Bytes of text in a column, repeated ones as often as they are there."""
    import pyarrow as pa
    from pyarrow import compute

    total = 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type) and len(chunk.dictionary):
            if pa.types.is_string(chunk.dictionary.type):
                total += int(compute.sum(compute.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0)
        elif pa.types.is_string(chunk.type) or pa.types.is_binary(chunk.type):
            total += int(compute.sum(compute.binary_length(chunk)).as_py() or 0)
    return total


def _pages(content: BinaryIO, chunks: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(bytes unpacked, encoding) of every page. Raises ValueError where a header cannot be read."""
    for start, length in chunks:
        at = start
        while at < start + length:
            content.seek(at)
            fields, read = _Compact(content.read(_MAX_HEADER)).struct()
            about: Any = next((fields[key] for key in (5, 7, 8) if isinstance(fields.get(key), dict)), {})
            encoding = about.get(4 if 8 in fields else 2, 0)
            yield _whole(fields.get(2)), encoding if isinstance(encoding, int) else 0
            at += read + _whole(fields.get(3))


class _Compact:
    """A structure in Thrift's compact protocol: field number -> number, list or structure; text is passed over."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def struct(self, depth: int = 0) -> tuple[dict[int, Any], int]:
        """The structure, and how many bytes have been read. Raises ValueError."""
        if depth > _MAX_DEPTH:
            raise ValueError("a header is nested too deeply")
        fields: dict[int, object] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._signed()
            fields[number] = self._value(kind & 15, depth)
        return fields, self._at

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._unsigned())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            if count > len(self._content) - self._at:
                raise ValueError("a list is longer than what holds it")
            # In a list a truth value takes a byte; in a field it is the type.
            kind = 3 if head & 15 in (1, 2) else head & 15
            return [self._value(kind, depth + 1) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth + 1)[0]
        raise ValueError("a header cannot be read")

    def _byte(self) -> int:
        if self._at >= len(self._content):
            raise ValueError("a header is cut short")
        self._at += 1
        return self._content[self._at - 1]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._content):
            raise ValueError("a header is cut short")

    def _unsigned(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a header cannot be read")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
