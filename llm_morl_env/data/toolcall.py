"""Tool calling: the Berkeley function-calling leaderboard and ToolRL's training set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.data.rows import Cells, Format, load_rows, show
from llm_morl_rewards import Problem
from llm_morl_rewards.toolcall import bfcl_gold_calls, extract_tool_calls, format_gold

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
    return load_rows(path, data_format, FORMATS)


def _bfcl_problem(cells: Cells) -> Problem:
    functions = cells.get("function", (list, dict), "a list of function descriptions")
    functions = functions if isinstance(functions, list) else [functions]
    for function in functions:
        if not (
            isinstance(function, dict)
            and isinstance(function.get("name"), str)
            and isinstance(function.get("parameters"), dict)
        ):
            cells.fail("function", f"each must be an object with 'name' and 'parameters', got {show(function)}")
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


def _bfcl_dialogue(cells: Cells) -> str:
    turns = cells.get("question", list, "a list of turns")
    if len(turns) != 1:
        cells.fail(
            "question", f"must hold exactly one turn (multi-turn categories are not supported), got {len(turns)}"
        )
    messages = turns[0]
    if not isinstance(messages, list) or not messages:
        cells.fail("question", f"a turn must be a list of messages, got {show(messages)}")
    for message in messages:
        if not (isinstance(message, dict) and all(isinstance(message.get(k), str) for k in ("role", "content"))):
            cells.fail("question", f"a message must have the texts 'role' and 'content', got {show(message)}")
    return "\n".join(f"{message['role'].capitalize()}: {message['content'].strip()}" for message in messages)


def _rlla_problem(cells: Cells) -> Problem:
    instruction, dialogue, gold = (cells.get(column, str, "a text") for column in ("instruction", "input", "output"))
    parsed = extract_tool_calls(gold)
    if parsed.status == "malformed":
        cells.fail("output", f"the <tool_call> section must hold one JSON object per line, got {show(gold)}")
    calls = [{"name": call.name, "arguments": call.arguments} for call in parsed.calls]
    return Problem(
        prompt=f"{instruction}\n\n{dialogue}\n",
        target={"calls": calls, "accepted": None, "functions": []},
        meta={"gold": gold, "row": cells.number},
    )


#: By name.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "bfcl": Format(_bfcl_problem, frozenset({"question", "function"})),
        "rlla": Format(_rlla_problem, frozenset({"instruction", "input", "output"})),
    }
)
