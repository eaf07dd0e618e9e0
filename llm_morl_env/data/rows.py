"""Reading rows of local files, and the checks and errors that all formats share.

JSON Lines (UTF-8, one object a line; blank lines are skipped) or, with pyarrow, Parquet. Rows are read in order and
none is left out: a row that is malformed is a `DataError` that names file, row and column.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from llm_morl_rewards import Problem

#: Every so many rows, one belongs to the evaluation split.
EVAL_EVERY = 5

Row = Mapping[str, Any]


class DataError(ValueError):
    """A file or a row of it is malformed.

    Attributes:
        path: The file.
        row: Line (of JSON Lines) or row (of Parquet) in it, from 1; None where the file as a whole is meant.
        column: The column, or None where the row as a whole is meant.
    """

    def __init__(self, path: str | Path, message: str, *, row: int | None = None, column: str | None = None) -> None:
        place = [str(path), *([f"row {row}"] if row is not None else []), *([f"column {column!r}"] if column else [])]
        super().__init__(f"{', '.join(place)}: {message}")
        self.path, self.row, self.column = Path(path), row, column


@dataclass(frozen=True)
class Format:
    """A public format of rows.

    Args:
        problem: Makes the problem of a row.
        columns: Those that tell the format; a row of it has them all.
    """

    problem: Callable[[Cells], Problem]
    columns: frozenset[str]


def load_rows(path: str | Path, data_format: str | None, formats: Mapping[str, Format]) -> list[Problem]:
    """The problems of a file, in the order of its rows.

    Args:
        path: A JSON Lines or Parquet file. In Parquet, columns that nest may be JSON strings.
        data_format: A name of ``formats``; None tells it from the columns of the first row.
        formats: What the rows may be, by name; the first that fits is taken.

    Raises:
        DataError: If the file is missing, empty, malformed or of an unknown format.
        ValueError: If ``data_format`` is unknown.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    if data_format is not None and data_format not in formats:
        raise ValueError(f"data_format must be None or one of {list(formats)}, got {data_format!r}")
    problems: list[Problem] = []
    for number, row in read_rows(path):
        data_format = data_format or _detect(row, path, number, formats)
        problems.append(formats[data_format].problem(Cells(path, number, row)))
    return problems


def _detect(row: Row, path: str | Path, number: int, formats: Mapping[str, Format]) -> str:
    for name, known_format in formats.items():
        if known_format.columns <= row.keys():
            return name
    known = "; ".join(f"{name} has {', '.join(sorted(f.columns))}" for name, f in formats.items())
    raise DataError(path, f"the format is unknown by its columns {list(row)} ({known})", row=number)


def split_rows(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    """Split real data: the fifth of every five rows evaluates, the others train.

    Of fewer than five rows the last one evaluates; a single row does both.
    """
    held_out = list(problems[EVAL_EVERY - 1 :: EVAL_EVERY]) or list(problems[-1:])
    kept = [p for i, p in enumerate(problems) if i % EVAL_EVERY != EVAL_EVERY - 1]
    if len(problems) < EVAL_EVERY:
        kept = kept[:-1]
    return {"train": kept or held_out, "eval": held_out}


def longest(texts: Sequence[str], count: Callable[[str], int]) -> int:
    """Length in tokens of the longest text, 0 for none, counting as few of them as possible.

    A byte-level token holds at least one byte, so a text that has no more bytes than the longest one so far has tokens
    is not counted.
    """
    most = 0
    for size, text in sorted(((len(text.encode("utf-8", "replace")), text) for text in texts), reverse=True):
        if size <= most:
            break
        most = max(most, count(text))
    return most


def read_rows(path: str | Path) -> Iterator[tuple[int, Row]]:
    """The rows of a JSON Lines or Parquet file (told by its ending), each with its number from 1.

    Raises:
        DataError: If the file is missing or empty, or a row is no JSON object.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(path, "there is no such file")
    empty = True
    for number, row in _parquet_rows(file) if file.suffix == ".parquet" else _json_rows(file):
        empty = False
        yield number, row
    if empty:
        raise DataError(path, "the file holds no rows")


def _json_rows(file: Path) -> Iterator[tuple[int, Row]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                raise DataError(file, f"is not JSON: {error}", row=number) from error
            if not isinstance(row, dict):
                raise DataError(file, f"must be a JSON object, got {show(row)}", row=number)
            yield number, row


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _parquet_rows(file: Path) -> Iterator[tuple[int, Row]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError(f"{file}: reading Parquet needs pyarrow: pip install 'llm-morl-env[data]'") from error
    try:
        rows = parquet.read_table(file).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
        raise DataError(file, f"is not Parquet: {error}") from error
    yield from enumerate(rows, start=1)


class Cells:
    """One row, whose cells are checked as they are taken."""

    def __init__(self, path: str | Path, number: int, row: Row) -> None:
        self.path, self.number, self.row = path, number, row

    def fail(self, column: str, message: str) -> NoReturn:
        """Raise the `DataError` of this row and column."""
        raise DataError(self.path, message, row=self.number, column=column)

    def get(self, column: str, kind: type | tuple[type, ...], what: str) -> Any:
        """The cell, of this type. A JSON string stands for what it encodes where no text is expected (Parquet)."""
        if column not in self.row:
            self.fail(column, f"is missing; the row has {list(self.row)}")
        value = self.row[column]
        if isinstance(value, str) and kind is not str:
            try:
                value = json.loads(value, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                self.fail(column, f"must be {what}, got {show(value)}")
        if not isinstance(value, kind):
            self.fail(column, f"must be {what}, got {show(value)}")
        return value


def show(value: Any) -> str:
    """At most 80 characters of a value, for messages."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
