"""`toolcall_task`: requests over a catalogue of tools, to be answered with calls in ToolRL's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.task import Task, Transform
from llm_morl_env.tasks.toolcall_problems import SPLITS, TIERS, ToolCallProblems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.toolcall import (
    brevity,
    tool_correctness,
    tool_format,
    tool_keys,
    tool_name,
    tool_values,
)

#: Longest prompt of each tier, in tokens of the built-in tokenizer, with some room.
MAX_PROMPT_TOKENS = MappingProxyType({"easy": 96, "standard": 192, "hard": 288})
#: Room for the longest gold answer of any tier (about 95 tokens) and then some.
MAX_RESPONSE_TOKENS = 128
#: In the order of a report; the default are the first three.
OBJECTIVES = ("format", "correctness", "brevity", "name", "keys", "values")


def toolcall_task(
    *,
    difficulty: str = "standard",
    objectives: Sequence[str] = OBJECTIVES[:3],
    seed: int = 0,
    tokenizer: str | Path | TextTokenizer | None = None,
    max_response_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    transforms: Sequence[Transform] = (),
) -> Task:
    """Make the tool-call task."""
    counter = tokenizer if isinstance(tokenizer, TextTokenizer) else TextTokenizer(tokenizer)
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    problems: dict[str, Sequence[Problem]] = {
        split: ToolCallProblems(TIERS[difficulty], split, seed=seed, count_tokens=counter.count) for split in SPLITS
    }
    task = Task(
        name="toolcall",
        problems=problems,
        rewards=tool_rewards(counter).select(objectives),
        tokenizer=counter,
        max_prompt_tokens=max_prompt_tokens or MAX_PROMPT_TOKENS[difficulty],
        max_response_tokens=max_response_tokens or MAX_RESPONSE_TOKENS,
    )
    for transform in transforms:
        task = transform(task)
    return task


def tool_rewards(tokenizer: TextTokenizer) -> RewardVector:
    """All objectives of the task, lengths counted by ``tokenizer``."""
    short = brevity(target="brevity_target", cap="brevity_cap", count=tokenizer.count)
    return RewardVector([tool_format, tool_correctness, short, tool_name, tool_keys, tool_values])
