"""`text_task`: a task from one's own prompts and one's own rewards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_morl_env.task import Grammar, Task, TransformLike
from llm_morl_env.tasks.building import counter_of, transformed
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector


def text_task(
    problems: Sequence[Problem | str],
    rewards: RewardVector | Sequence[Any],
    *,
    eval_problems: Sequence[Problem | str] | None = None,
    max_response_tokens: int = 256,
    max_prompt_tokens: int = 512,
    tokenizer: str | Path | TextTokenizer | None = None,
    grammar: Grammar | None = None,
    transforms: Sequence[TransformLike] = (),
    name: str = "custom",
) -> Task:
    """Make a task of problems and reward functions.

    Args:
        problems: The training split; a str is a problem of that prompt alone.
        rewards: A `RewardVector`, or functions declared by `llm_morl_rewards.reward`.
        eval_problems: The evaluation split; None takes ``problems``.
        max_response_tokens: A response is cut there before it is scored.
        max_prompt_tokens: Longest prompt that the token view shows (longer ones lose their beginning).
        tokenizer: Counts lengths: a ``tokenizer.json``, its directory or a `TextTokenizer`; None takes the built-in
            one, which spends many tokens on text that is unlike its own tasks.
        grammar: For action masks.
        transforms: Applied in order.
        name: For messages and reports.

    Raises:
        TypeError: If a problem is neither a `Problem` nor a str, or an entry of ``rewards`` is no reward function.
        ValueError: If a split is empty.
    """
    task = Task(
        name=name,
        problems={
            "train": _as_problems(problems, "problems"),
            "eval": _as_problems(problems if eval_problems is None else eval_problems, "eval_problems"),
        },
        rewards=rewards if isinstance(rewards, RewardVector) else RewardVector(rewards),
        tokenizer=counter_of(tokenizer),
        max_prompt_tokens=max_prompt_tokens,
        max_response_tokens=max_response_tokens,
        grammar=grammar,
    )
    return transformed(task, transforms)


def _as_problems(problems: Sequence[Problem | str], parameter: str) -> list[Problem]:
    made = []
    for position, problem in enumerate(problems):
        if not isinstance(problem, (Problem, str)):
            raise TypeError(f"{parameter}[{position}] must be a Problem or a str, got {problem!r}")
        made.append(Problem(problem) if isinstance(problem, str) else problem)
    return made
