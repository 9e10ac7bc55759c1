"""Columns of text and of numbers out of CSV and Parquet files, each value with a place to name in a message."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

from portgnn._system.untrusted import opened
from portgnn.datasets._parquet import read_columns
from portgnn.errors import DatasetError

_ROWS_AT_ONCE = 1 << 12
_MAX_COLUMNS = 100_000
_MAX_FIELD = 1 << 17
_FAST_COLUMNS = 5000
"""pyarrow spends 5 KB and 20 us on a column of a CSV file, however short it is."""

_WAY_OUT = "; --ignore COLUMN leaves a column out"

IsText = Callable[[str], bool]
CheckNames = Callable[[Path, list[str]], None]


@dataclass(eq=False)
class Table:
    """text: column -> one string a row. numbers: column -> float64 [rows], all finite. In file order.

    names: all columns of the file, those that were left out among them.
    """

    path: Path
    names: list[str]
    rows: int = 0
    text: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def where(self, row: int, column: str) -> str:
        """The place of a value, for a message: file, line (or row) and column."""
        if self.path.suffix != ".csv":
            return f"{self.path}, row {row + 1}, column {column!r}"
        # Only for a message: to keep every row's line would cost each file that is in order.
        with _opened(self.path) as file:
            reader = csv.reader(file, strict=True)
            filled = (reader.line_num for values in reader if values)
            line = next(islice(filled, row + 1, None))
        return f"{self.path}, line {line}, column {column!r}"


def _any_names(path: Path, names: list[str]) -> None:
    pass


def read_csv(
    path: Path, is_text: IsText, check: CheckNames = _any_names, ignore: Collection[str] = frozenset()
) -> Table:
    """Reads a CSV file with a header: UTF-8, commas, double quotes. is_text: which columns are not numbers.

    check: raises where the columns' names will not do; called before any value is read. ignore: columns that are left
    out, whatever they hold.

    With pyarrow if it is installed, and else with Python's csv module: the same result either way. Raises
    DatasetError with line and column for what cannot be read.
    """
    try:
        with _opened(path) as file:
            names = _header(path, file)
        check(path, names)
        fast = _with_arrow(path, names, is_text, ignore)
        if fast is not None:
            return fast
        with _opened(path) as file:
            return _with_csv(path, file, names, is_text, ignore)
    except UnicodeDecodeError:
        raise DatasetError(f"{path}, line {_undecodable_line(path)}: not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None


def _opened(path: Path) -> TextIO:
    return io.TextIOWrapper(opened(path), encoding="utf-8-sig", newline="")


def _with_csv(path: Path, file: TextIO, names: list[str], is_text: IsText, ignore: Collection[str]) -> Table:
    kept = [name for name in names if name not in ignore]
    table = Table(path, names, text={name: [] for name in kept if is_text(name)})
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in kept if not is_text(name)}
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        line = next((reader.line_num for row in reader if row), 1)
        while block := list(islice(reader, _ROWS_AT_ONCE)):
            if set(map(len, block)) != {len(names)}:
                block = _filled(path, block, names, line)
            at_once = _wide(names, block, parts)
            for name, values in zip(names, zip(*block, strict=True), strict=bool(block)):
                if name in table.text:
                    table.text[name].extend(values)
                elif name in parts:
                    parts[name].append(at_once[name] if name in at_once else _numbers(table, name, values))
            table.rows += len(block)
            line = reader.line_num
    except csv.Error as error:
        raise DatasetError(f"{path}, line {max(reader.line_num, 1)}: {error}") from None
    table.numbers = {name: _joined(blocks) for name, blocks in parts.items()}
    return table


def _joined(blocks: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks) if blocks else np.empty(0)


def _wide(names: list[str], block: list[list[str]], wanted: Collection[str]) -> dict[str, NDArray[np.float64]]:
    """Columns of numbers of rows that are longer than there are rows: NumPy takes 10 us for one, however short it is.

    Empty where they are not, or where a value is no finite number: one column after another then says which.
    """
    if not len(block) < len(names) or len(wanted) < 2:
        return {}
    places = [place for place, name in enumerate(names) if name in wanted]
    try:
        numbers = np.array([[row[place] for place in places] for row in block], dtype=object).astype(np.float64)
    except ValueError:
        return {}
    if not np.isfinite(numbers).all() or any("_" in "".join(row) for row in block):
        return {}
    return dict(zip((names[place] for place in places), numbers.T, strict=True))


def _filled(path: Path, block: list[list[str]], names: list[str], before: int) -> list[list[str]]:
    """The rows that are not empty. Raises DatasetError for one with too few or too many values."""
    for number, row in enumerate(block):
        if row and len(row) != len(names):
            raise DatasetError(
                f"{path}, line {_line_of(path, before, number)}: {len(row)} values, where the header "
                f"names {len(names)} columns"
            )
    return [row for row in block if row]


def _line_of(path: Path, before: int, number: int) -> int:
    """The line on which the `number`-th row after line `before` ends."""
    with _opened(path) as file:
        reader = csv.reader(file, strict=True)
        after = (reader.line_num for _ in reader if reader.line_num > before)
        return next(islice(after, number, None))


def _numbers(table: Table, name: str, values: Sequence[str]) -> NDArray[np.float64]:
    try:
        numbers = np.array(values, dtype=object).astype(np.float64)
        # Python takes 1_0 for ten, where a file rather has a part of a name or a slip.
        if np.isfinite(numbers).all() and not any("_" in value for value in values):
            return numbers
    except ValueError:
        pass
    row = next(row for row, value in enumerate(values) if not _finite(value))
    raise DatasetError(f"{table.where(table.rows + row, name)}: {values[row][:40]!r} is not a finite number{_WAY_OUT}")


def _finite(value: str) -> bool:
    try:
        return bool(np.isfinite(float(value))) and "_" not in value
    except ValueError:
        return False


def _undecodable_line(path: Path) -> int:
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _header(path: Path, file: TextIO) -> list[str]:
    try:
        names = next(filter(None, csv.reader(file, strict=True)), [])
    except csv.Error as error:
        raise DatasetError(f"{path}, header: {error}") from None
    names = [name.strip() for name in names]
    if not names:
        raise DatasetError(f"{path} is empty; its first line must name the columns")
    if len(names) > _MAX_COLUMNS:
        raise DatasetError(
            f"{path} has {len(names)} columns, where at most {_MAX_COLUMNS} are admitted; put the "
            "features into features.npz"
        )
    check_names(path, names)
    return names


def check_names(path: Path, names: list[str]) -> None:
    """Raises DatasetError where a column has no name or shares one."""
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name:
            raise DatasetError(f"{path}: column {number} has no name in the header")
        if name in seen:
            raise DatasetError(f"{path}: two columns are named {name[:40]!r}")
        seen.add(name)


def _with_arrow(path: Path, names: list[str], is_text: IsText, ignore: Collection[str]) -> Table | None:
    """The table by pyarrow; None where that is not installed, or does not read the file as a matter of course."""
    try:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv
    except ImportError:
        return None
    # Two parsers can differ over quotes, and over fields too long for one of them.
    if len(names) > _FAST_COLUMNS or _has_quotes(path):
        return None
    kept = [name for name in names if name not in ignore]
    kinds = {name: pa.string() if is_text(name) else pa.float64() for name in kept}
    try:
        read = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(block_size=4 << 20),
            parse_options=arrow_csv.ParseOptions(quote_char=False),
            convert_options=arrow_csv.ConvertOptions(column_types=kinds, null_values=[], include_columns=kept),
        )
    # The careful reader decides: it has the better message, if there is a fault at all.
    except (pa.ArrowException, ValueError, OSError):
        return None
    return _from_arrow(path, names, read, is_text) if read.column_names == kept else None


def _has_quotes(path: Path) -> bool:
    # In pieces, and not through a map: a file that somebody cuts short meanwhile would end the process.
    with opened(path) as file:
        return any(b'"' in piece for piece in iter(lambda: file.read(1 << 20), b""))


def _from_arrow(path: Path, names: list[str], read: Any, is_text: IsText) -> Table | None:
    table = Table(path, names, rows=read.num_rows)
    for name in read.column_names:
        column = read[name]
        if is_text(name):
            table.text[name] = column.to_pylist()
            if path.suffix == ".csv" and max(map(len, table.text[name]), default=0) > _MAX_FIELD // 4:
                return None
        else:
            table.numbers[name] = column.to_numpy()
            if not np.isfinite(table.numbers[name]).all():
                return None
    return table


def read_parquet(
    path: Path, is_text: IsText, check: CheckNames = _any_names, ignore: Collection[str] = frozenset()
) -> Table:
    """Reads a Parquet file: columns of numbers, and of anything that has a text form where is_text says so.

    In a column of text, null and NaN are empty, and numbers that are all whole are written as integers: pandas makes
    floats of integers where one is missing. check, ignore: as for `read_csv`.

    Raises DatasetError without pyarrow, for a damaged file, for a column that is neither, and for a file that
    would take more memory than `untrusted.admitted`.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise DatasetError(f'{path} needs pyarrow. Install it with: pip install "portgnn[data]"') from None
    try:

        def check_all(names: list[str]) -> None:
            check_names(path, names)
            check(path, names)

        names, read = read_columns(path, is_text, check_all, ignore)
        kept = list(read.column_names)
        columns = [_as_text(read[name]) if is_text(name) else _as_numbers(path, name, read[name]) for name in kept]
        table = _from_arrow(path, names, pa.table(columns, names=kept), is_text)
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None
    except (pa.ArrowException, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise DatasetError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None
    if table is None:
        _not_finite(path, {name: read[name] for name in kept if not is_text(name)})
    return table


def _as_numbers(path: Path, name: str, column: Any) -> object:
    """A column as float64. Raises DatasetError where a value is missing, or they are no numbers."""
    import pyarrow as pa
    from pyarrow import compute

    if column.null_count:
        at = int(compute.index(compute.is_null(column), True).as_py())
        raise DatasetError(f"{path}, row {at + 1}, column {name!r}: there is no value{_WAY_OUT}")
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DatasetError(f"{path}, column {name!r}: {kind}, where numbers are needed{_WAY_OUT}")
    return column.cast(pa.float64(), safe=False)


def _not_finite(path: Path, numbers: dict[str, Any]) -> NoReturn:
    """Raises DatasetError for the first number that is not finite: only such a one has no table."""
    import pyarrow as pa

    for name, column in numbers.items():
        values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy())
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DatasetError(f"{path}, row {at + 1}, column {name!r}: {values[at]} is not a finite number{_WAY_OUT}")
    raise AssertionError("unreachable: only a number that is not finite has no table")


def _as_text(column: Any) -> object:
    """A column of any type as text, "" where there is no value."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        column = compute.if_else(compute.is_nan(column), None, column)
        whole = compute.and_(compute.equal(column, compute.floor(column)), compute.less(compute.abs(column), 2.0**53))
        if compute.all(whole, min_count=0).as_py():
            column = column.cast(pa.int64())
    return compute.fill_null(column.cast(pa.string(), safe=False), "")
