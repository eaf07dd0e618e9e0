"""Reading tagged model output: thoughts, and the tool calls between ``<tool_call>`` tags.

Nothing here raises on model output, whatever it holds, and every function takes time linear in the text.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"

#: JSON nested deeper than this is malformed. The parser's own limit depends on the interpreter and on how deep the
#: caller's stack already is; a reward must depend on neither.
MAX_JSON_DEPTH = 100


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool: its name and its arguments, both as parsed from JSON."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class ParsedCalls:
    """What `extract_tool_calls` found.

    Args:
        status: ``"absent"`` (no ``<tool_call>`` tag outside the thoughts), ``"malformed"`` (a tag, but no well-formed
            block of calls) or ``"ok"``.
        calls: The calls, at least one when ``status`` is ``"ok"``, else none.
    """

    status: Literal["absent", "malformed", "ok"]
    calls: tuple[ToolCall, ...] = ()


def parse_tool_calls(text: str) -> list[ToolCall]:
    r"""The calls of the first ``<tool_call>`` block outside ``<think>...</think>``; none if absent or malformed.

    `extract_tool_calls` states the rules and tells the two kinds of none apart.

    >>> parse_tool_calls('<think>easy</think>\n<tool_call>\n{"name": "add", "parameters": {"a": 1}}\n</tool_call>')
    [ToolCall(name='add', arguments={'a': 1})]
    """
    return list(extract_tool_calls(text).calls)


def extract_tool_calls(text: str) -> ParsedCalls:
    r"""Find and parse the first ``<tool_call>`` block outside ``<think>...</think>``.

    The block holds one JSON object a line: a string ``name`` and an object ``parameters`` or ``arguments`` (the first
    of the two where both are there); further keys are ignored. One bad line makes the whole block malformed, as in
    ToolRL's released reward (a blank line between calls is a bad line; blanks around the block are not), and so do:
    a missing closing tag, ``NaN``, ``Infinity`` and numbers that overflow to it (none of them JSON), an integer longer
    than the interpreter's limit, nesting deeper than `MAX_JSON_DEPTH`. Of duplicate keys the last one counts (what
    JSON parsers commonly do, the released code's included). A thought that is never closed hides all that follows.

    >>> extract_tool_calls("<think>no tool needed</think>\n<response>Hello.</response>").status
    'absent'
    >>> extract_tool_calls('<tool_call>\n{"name": "add"\n</tool_call>').status
    'malformed'
    """
    start = _block_start(text)
    if start < 0:
        return ParsedCalls("absent")
    end = text.find(CALL_CLOSE, start)
    if end < 0:
        return ParsedCalls("malformed")
    try:
        calls = tuple(_parse_call(line) for line in text[start:end].strip().split("\n"))
    except ValueError:
        return ParsedCalls("malformed")
    return ParsedCalls("ok", calls)


def strip_thoughts(text: str) -> str:
    r"""The text without its ``<think>...</think>`` parts; a thought that is never closed runs to the end.

    >>> strip_thoughts("<think>shall I use <tool_call>?</think>\n<response>No.</response>")
    '\n<response>No.</response>'
    """
    kept, position = [], 0
    while (thought := text.find(THINK_OPEN, position)) >= 0:
        kept.append(text[position:thought])
        end = text.find(THINK_CLOSE, thought)
        if end < 0:
            return "".join(kept)
        position = end + len(THINK_CLOSE)
    return "".join([*kept, text[position:]])


def _block_start(text: str) -> int:
    """Where the content of the first block outside the thoughts begins, or -1."""
    position, call = 0, text.find(CALL_OPEN)
    while call >= 0:
        thought = text.find(THINK_OPEN, position, call)
        if thought < 0:
            return call + len(CALL_OPEN)
        end = text.find(THINK_CLOSE, thought)
        if end < 0:
            return -1
        position = end + len(THINK_CLOSE)
        if call < position:  # the tag was quoted inside the thought
            call = text.find(CALL_OPEN, position)
    return -1


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} overflows a float")
    return value


_DECODER = json.JSONDecoder(parse_constant=_reject_constant, parse_float=_finite_float)


def parse_json(text: str) -> Any:
    """The one JSON value that a text holds, blanks around it aside; strict as `extract_tool_calls` is.

    Raises:
        ValueError: If the text is no JSON, by ``NaN``, an overflow or a nesting deeper than `MAX_JSON_DEPTH` too.

    >>> parse_json(' {"a": [1, 2.5]} ')
    {'a': [1, 2.5]}
    """
    try:
        value = _DECODER.decode(text.strip())
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_JSON_DEPTH}") from None
    if text.count("{") + text.count("[") > MAX_JSON_DEPTH and _depth(value) > MAX_JSON_DEPTH:
        raise ValueError(f"nested deeper than {MAX_JSON_DEPTH}")
    return value


def _parse_call(line: str) -> ToolCall:
    """Parse one line of a block. Raises ValueError where it is malformed."""
    call = parse_json(line)
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise ValueError("a call is an object with a string 'name'")
    arguments = call.get("parameters", call.get("arguments"))
    if not isinstance(arguments, dict):
        raise ValueError("a call has an object 'parameters' or 'arguments'")
    return ToolCall(call["name"], arguments)


def _depth(value: Any) -> int:
    """Nesting depth of a JSON value, without recursion."""
    depth, level = 0, [value]
    while level := [node for node in level if isinstance(node, dict | list)]:
        depth += 1
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    return depth
