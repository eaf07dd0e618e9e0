r"""The reward functions of tool calling, and all public names of the tool-call rewards in one place.

A problem of the task holds::

    problem.target = {
        "calls": [{"name": str, "arguments": {...}}, ...],   # the gold calls; empty where no call is right
        "accepted": None | [{function: {parameter: [every accepted value]}}, ...],   # BFCL, one entry for each call
        "functions": [{"name": ..., "parameters": {...}}, ...],   # schemas; needed beside "accepted" only
    }
    problem.meta["gold"] = "<think>...</think>\n<tool_call>\n...\n</tool_call>"    # the gold response

`tool_format` and `tool_correctness` are ToolRL's two rewards; `tool_name`, `tool_keys` and `tool_values` split the
second into shares in [0, 1], from easy to hard, that are all 1 exactly when it is 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llm_morl_rewards.base import Problem, reward
from llm_morl_rewards.bfcl import (
    Verdict,
    bfcl_gold_calls,
    bfcl_valid,
    must_be_given,
    parameters_of,
    split_truth,
    standardize_string,
    value_accepted,
)
from llm_morl_rewards.extract import (
    CALL_CLOSE,
    CALL_OPEN,
    THINK_CLOSE,
    THINK_OPEN,
    ParsedCalls,
    ToolCall,
    extract_tool_calls,
    parse_tool_calls,
    strip_thoughts,
)
from llm_morl_rewards.text import brevity, count_words
from llm_morl_rewards.toolrl import (
    RESPONSE_CLOSE,
    RESPONSE_OPEN,
    CallMatch,
    CallScores,
    multiset_jaccard,
    score_calls,
    toolrl_correctness,
    toolrl_format,
)

__all__ = [
    "CallMatch",
    "CallScores",
    "ParsedCalls",
    "ToolCall",
    "Verdict",
    "bfcl_gold_calls",
    "bfcl_valid",
    "brevity",
    "count_words",
    "extract_tool_calls",
    "format_gold",
    "parse_tool_calls",
    "score_tool_calls",
    "standardize_string",
    "strip_thoughts",
    "tool_correctness",
    "tool_format",
    "tool_keys",
    "tool_name",
    "tool_values",
    "toolrl_correctness",
    "toolrl_format",
    "value_accepted",
]

#: Scores of a response that has no well-formed calls although the problem needs some, or a call that it must not have.
_FLOOR = CallScores(0.0, ())


@reward(low=0.0, high=1.0, name="format")
def tool_format(problem: Problem, response: str) -> float:
    """ToolRL's format reward against the gold response in ``problem.meta["gold"]``, in {0, 1}. See `toolrl_format`."""
    return toolrl_format(problem.meta["gold"], response)


@reward(low=-3.0, high=3.0, name="correctness")
def tool_correctness(problem: Problem, response: str) -> float:
    """ToolRL's correctness of the calls against ``problem.target``, in [-3, 3]. See `score_tool_calls`."""
    return score_tool_calls(problem.target, response).correctness


@reward(low=0.0, high=1.0, name="name")
def tool_name(problem: Problem, response: str) -> float:
    """Similarity of the tool names (a Jaccard that counts repetitions), in [0, 1]. See `score_tool_calls`."""
    return score_tool_calls(problem.target, response).name


@reward(low=0.0, high=1.0, name="keys")
def tool_keys(problem: Problem, response: str) -> float:
    """Similarity of the parameter names, mean over the gold calls, in [0, 1]. See `score_tool_calls`."""
    return score_tool_calls(problem.target, response).keys


@reward(low=0.0, high=1.0, name="values")
def tool_values(problem: Problem, response: str) -> float:
    """Share of right parameter values, mean over the gold calls, in [0, 1]. See `score_tool_calls`."""
    return score_tool_calls(problem.target, response).values


def score_tool_calls(target: Mapping[str, Any], response: str) -> CallScores:
    """Score a response's calls against a problem's target by ToolRL's formula (see `llm_morl_rewards.toolrl`).

    The calls are those of `parse_tool_calls`; without a well-formed block of them all scores are at their floor. Two
    points differ from ToolRL's released code:

    - A problem that needs no call has the top scores without a call and the floor with one, be it malformed: any
      ``<tool_call>`` tag outside the thought counts. (There: 0 either way, so a needless call costs nothing.)
    - With ``accepted`` a value is right if `value_accepted` accepts it; a parameter that may be left out (``""`` among
      its accepted values, and not required by the schema) counts as a gold parameter only where it is predicted; and
      the matching is the optimal one, since a greedy one can miss that all calls are right when gold calls overlap in
      what they accept. Without ``accepted`` the matching is greedy, as released.

    Args:
        target: ``problem.target`` as described at the top of this module.
        response: The response with its tags.

    Raises:
        ValueError: If the target has another form.
    """
    if not isinstance(target, Mapping) or not isinstance(target.get("calls"), Sequence):
        raise ValueError(f"a tool-call target must be a mapping with a list 'calls', got {target!r}")
    parsed = extract_tool_calls(response)
    if not target["calls"]:
        return CallScores(1.0, ()) if parsed.status == "absent" else _FLOOR
    if parsed.status != "ok":
        return _FLOOR
    if target.get("accepted"):
        return _score_accepted(target["accepted"], target.get("functions") or (), parsed.calls)
    return _score_exact(target["calls"], parsed.calls)


def format_gold(calls: Sequence[Mapping[str, Any]], *, thought: str = "", response: str | None = None) -> str:
    """Render a gold response in ToolRL's format.

    Args:
        calls: ``[{"name": ..., "arguments": {...}}]``; none for an answer without a call.
        thought: Text between the think tags, taken as it is.
        response: Text for the user, or None for an answer that only calls.

    Raises:
        ValueError: If there is neither a call nor a response, or a part quotes a structural tag so that the result
            would break the format that it is to show.

    >>> print(format_gold([{"name": "add", "arguments": {"a": 1}}], thought="easy"))
    <think>easy</think>
    <tool_call>
    {"name": "add", "parameters": {"a": 1}}
    </tool_call>
    """
    if not calls and response is None:
        raise ValueError(f"format_gold needs calls or a response, got calls={calls!r}, response=None")
    sections = [f"{THINK_OPEN}{thought}{THINK_CLOSE}"]
    if calls:
        rendered = [{"name": call["name"], "parameters": call["arguments"]} for call in calls]
        sections += [CALL_OPEN, *(json.dumps(call, ensure_ascii=False) for call in rendered), CALL_CLOSE]
    if response is not None:
        sections.append(f"{RESPONSE_OPEN}{response}{RESPONSE_CLOSE}")
    text = "\n".join(sections)
    if toolrl_format(text, text) != 1.0 or len(extract_tool_calls(text).calls) != len(calls):
        raise ValueError(f"format_gold: thought, calls and response may not hold structural tags or NaN, got {text!r}")
    return text


def _score_exact(gold_calls: Sequence[Mapping[str, Any]], calls: Sequence[ToolCall]) -> CallScores:
    def pair(row: int, column: int) -> CallMatch:
        expected, given = gold_calls[row]["arguments"], calls[column].arguments
        right = sum(key in given and given[key] == value for key, value in expected.items())
        return CallMatch(multiset_jaccard(list(expected), list(given)), right, len(expected))

    gold_names, names = [call["name"] for call in gold_calls], [call.name for call in calls]
    sizes = [len(call["arguments"]) for call in gold_calls]
    share = multiset_jaccard(gold_names, names)
    return score_calls(gold_names, names, sizes, pair, matching="greedy", name_share=share)


def _score_accepted(
    accepted: Sequence[Any], functions: Sequence[Mapping[str, Any]], calls: Sequence[ToolCall]
) -> CallScores:
    truths = [split_truth(entry) for entry in accepted]
    described = {function["name"]: function for function in functions}
    schemas = [parameters_of(described.get(name)) for name, _ in truths]
    needed = [must_be_given(truth, required) for (_, truth), (_, required) in zip(truths, schemas, strict=True)]

    def pair(row: int, column: int) -> CallMatch:
        (_, truth), (properties, _), given = truths[row], schemas[row], calls[column].arguments
        expected = [key for key in truth if key in needed[row] or key in given]
        right = sum(key in given and value_accepted(given[key], truth[key], properties.get(key)) for key in expected)
        return CallMatch(multiset_jaccard(expected, list(given)), right, len(expected))

    gold_names, names = [name for name, _ in truths], [call.name for call in calls]
    sizes = [len(keys) for keys in needed]
    share = multiset_jaccard(gold_names, names)
    return score_calls(gold_names, names, sizes, pair, matching="optimal", name_share=share)
