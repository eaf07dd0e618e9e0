"""Answers of different quality to a tool-call problem."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llm_morl_rewards import Problem

_DOUBTS = "let me think about it. i should look at all the tools first. so i will decide."


def toolcall_examples(problem: Problem) -> Mapping[str, str]:
    """Good: the gold answer. Mediocre: a wordy thought and one wrong value. Bad: the calls without any tags.

    Where no call is needed, the mediocre answer is wordy alone, and the bad one calls a tool.
    """
    gold = str(problem.meta["gold"])
    calls: list[dict[str, Any]] = problem.target["calls"]
    lines = [json.dumps({"name": c["name"], "parameters": c["arguments"]}, ensure_ascii=False) for c in calls]
    if not calls:
        names = [function["name"] for function in problem.target["functions"]] or ["tool"]
        needless = json.dumps({"name": names[0], "parameters": {}}, ensure_ascii=False)
        bad = f"<think>use it.</think>\n<tool_call>\n{needless}\n</tool_call>"
        return {"good": gold, "mediocre": gold.replace("<think>", f"<think>{_DOUBTS} ", 1), "bad": bad}
    first = {"name": calls[0]["name"], "parameters": {**calls[0]["arguments"]}}
    for name in list(first["parameters"])[:1]:
        first["parameters"][name] = "something else"
    body = "\n".join([json.dumps(first, ensure_ascii=False), *lines[1:]])
    wordy = f"<think>{_DOUBTS}</think>\n<tool_call>\n{body}\n</tool_call>"
    return {"good": gold, "mediocre": wordy, "bad": "\n".join(lines)}
