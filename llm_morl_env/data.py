"""Problems from local files: tool calling in the public formats of its field, and one's own prompts.

JSON Lines (UTF-8, one object a line; blank lines are skipped) or, with pyarrow, Parquet. Rows are read in order and
none is left out: a row that is malformed is a `DataError` that names file, row and column.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from llm_morl_rewards import Problem
from llm_morl_rewards.toolcall import bfcl_gold_calls, extract_tool_calls, format_gold

#: Every so many rows, one belongs to the evaluation split.
EVAL_EVERY = 5

_INSTRUCTIONS = """\
Answer the user with calls of the tools below. Think first, and write exactly in this form, one JSON object per call:
<think>your thoughts</think>
<tool_call>
{"name": "tool name", "parameters": {"parameter name": "value"}}
</tool_call>
If none of the tools can do what is asked, write instead of the calls:
<think>your thoughts</think>
<response>your reply</response>"""
_NO_CALL_THOUGHT, _NO_CALL_REPLY = "no tool.", "None of the tools can do that."

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


def load_toolcall(path: str | Path, data_format: str | None = None) -> list[Problem]:
    """Tool-call problems from a file in a public format.

    - ``"bfcl"``, the Berkeley function-calling leaderboard with its questions and possible answers joined: columns
      ``question`` (one turn of chat messages), ``function`` (descriptions) and ``ground_truth`` (null where no call is
      right). The prompt states the response format, the descriptions and the messages; the gold response has the first
      accepted value of every parameter. Left out: the multi-turn categories, whose answers are states, not calls.
    - ``"rlla"``, ToolRL's training set: columns ``instruction``, ``input`` and ``output``. The prompt is the first two;
      the gold response is ``output`` as it stands, its calls read from it.

    Args:
        path: A JSON Lines or Parquet file. In Parquet, columns that nest may be JSON strings.
        data_format: A name of `FORMATS`; None tells it from the columns of the first row.

    Returns:
        Problems in the order of the rows, with ``target`` as `llm_morl_rewards.toolcall` describes it,
        ``meta["gold"]``, and ``meta["row"]``, the row's number in the file.

    Raises:
        DataError: If the file is missing, empty, malformed or of an unknown format.
        ValueError: If ``data_format`` is unknown.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    if data_format is not None and data_format not in FORMATS:
        raise ValueError(f"data_format must be None or one of {list(FORMATS)}, got {data_format!r}")
    problems: list[Problem] = []
    for number, row in read_rows(path):
        data_format = data_format or _detect(row, path, number)
        problems.append(FORMATS[data_format](_Cells(path, number, row)))
    return problems


def load_problems(path: str | Path) -> list[Problem]:
    """One's own problems: columns ``prompt`` (a text) and, optionally, ``target`` (any JSON) and ``meta`` (an object).

    Raises:
        DataError: If the file is missing, empty or malformed, or has other columns.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    problems = []
    for number, row in read_rows(path):
        cells = _Cells(path, number, row)
        other = [column for column in row if column not in ("prompt", "target", "meta")]
        if other:
            cells.fail(other[0], "is unknown: the columns are prompt, target and meta; put further facts into meta")
        meta = cells.get("meta", dict, "an object") if row.get("meta") is not None else {}
        problems.append(Problem(cells.get("prompt", str, "a text"), row.get("target"), meta))
    return problems


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
                raise DataError(file, f"must be a JSON object, got {_show(row)}", row=number)
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


class _Cells:
    """One row, whose cells are checked as they are taken."""

    def __init__(self, path: str | Path, number: int, row: Row) -> None:
        self.path, self.number, self.row = path, number, row

    def fail(self, column: str, message: str) -> NoReturn:
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
                self.fail(column, f"must be {what}, got {_show(value)}")
        if not isinstance(value, kind):
            self.fail(column, f"must be {what}, got {_show(value)}")
        return value


def _bfcl_problem(cells: _Cells) -> Problem:
    functions = cells.get("function", (list, dict), "a list of function descriptions")
    functions = functions if isinstance(functions, list) else [functions]
    for function in functions:
        if not (
            isinstance(function, dict)
            and isinstance(function.get("name"), str)
            and isinstance(function.get("parameters"), dict)
        ):
            cells.fail("function", f"each must be an object with 'name' and 'parameters', got {_show(function)}")
    truth = cells.get("ground_truth", (list, type(None)), "a list of expected calls, or null for none")
    try:
        calls = bfcl_gold_calls(truth)
        thought = f"use {', '.join(json.dumps(c['name']) for c in calls)}." if calls else _NO_CALL_THOUGHT
        gold = format_gold(calls, thought=thought, response=None if calls else _NO_CALL_REPLY)
    except ValueError as error:
        cells.fail("ground_truth", str(error))
    tools = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    meta = {key: cells.row[key] for key in ("id", "category") if key in cells.row}
    return Problem(
        prompt=f"{_INSTRUCTIONS}\n\nTools:\n{tools}\n\n{_bfcl_dialogue(cells)}\n",
        target={"calls": calls, "accepted": truth or None, "functions": functions},
        meta={**meta, "gold": gold, "row": cells.number},
    )


def _bfcl_dialogue(cells: _Cells) -> str:
    turns = cells.get("question", list, "a list of turns")
    if len(turns) != 1:
        cells.fail(
            "question", f"must hold exactly one turn (multi-turn categories are not supported), got {len(turns)}"
        )
    messages = turns[0]
    if not isinstance(messages, list) or not messages:
        cells.fail("question", f"a turn must be a list of messages, got {_show(messages)}")
    for message in messages:
        if not (isinstance(message, dict) and all(isinstance(message.get(k), str) for k in ("role", "content"))):
            cells.fail("question", f"a message must have the texts 'role' and 'content', got {_show(message)}")
    return "\n".join(f"{message['role'].capitalize()}: {message['content'].strip()}" for message in messages)


def _rlla_problem(cells: _Cells) -> Problem:
    instruction, dialogue, gold = (cells.get(column, str, "a text") for column in ("instruction", "input", "output"))
    parsed = extract_tool_calls(gold)
    if parsed.status == "malformed":
        cells.fail("output", f"the <tool_call> section must hold one JSON object per line, got {_show(gold)}")
    calls = [{"name": call.name, "arguments": call.arguments} for call in parsed.calls]
    return Problem(
        prompt=f"{instruction}\n\n{dialogue}\n",
        target={"calls": calls, "accepted": None, "functions": []},
        meta={"gold": gold, "row": cells.number},
    )


#: Readers of a row, by name of the format.
FORMATS: Mapping[str, Callable[[_Cells], Problem]] = MappingProxyType({"bfcl": _bfcl_problem, "rlla": _rlla_problem})
#: The columns that tell a format.
_TELLING = {"bfcl": {"question", "function"}, "rlla": {"instruction", "input", "output"}}


def _detect(row: Row, path: str | Path, number: int) -> str:
    for name, columns in _TELLING.items():
        if columns <= row.keys():
            return name
    known = "; ".join(f"{name} has {', '.join(sorted(columns))}" for name, columns in _TELLING.items())
    raise DataError(path, f"the format is unknown by its columns {list(row)} ({known})", row=number)


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
