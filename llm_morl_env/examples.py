"""Answers of different quality with their reward vectors: what a task's rewards tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from llm_morl_env.task import Task
from llm_morl_rewards import Problem
from llm_morl_rewards.turns import split_turns

QUALITIES = ("good", "mediocre", "bad")


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer of a known quality.

    Args:
        quality: One of `QUALITIES`.
        text: The answer; of a dialogue, its turns with the replies between them.
        rewards: By objective, of those that apply to the problem.
    """

    quality: str
    text: str
    rewards: Mapping[str, float]


def cut_gold(problem: Problem) -> Mapping[str, str]:
    """For tasks without examples of their own: the gold answer, its first half, and silence.

    >>> cut_gold(Problem("?", meta={"gold": "abab"}))
    {'good': 'abab', 'mediocre': 'ab', 'bad': ''}
    """
    gold = str(problem.meta.get("gold", ""))
    return {"good": gold, "mediocre": gold[: len(gold) // 2], "bad": ""}


def scored_examples(task: Task, problem: Problem) -> list[ScoredAnswer]:
    """Answers to a problem, from good to bad, scored by the task (its noise, if any, always the same)."""
    answers = (task.examples or cut_gold)(problem)
    scored, applies = [], task.rewards.mask([problem])[0]
    for quality in QUALITIES:
        answer = answers[quality] if task.dialogue is not None else task.cut(answers[quality])[0]
        rewards = task.score([problem], [answer], np.zeros(1, np.int64), np.random.default_rng(0))[0]
        row = zip(task.rewards.names, rewards, applies, strict=True)
        by_name = {name: float(value) for name, value, counts in row if counts}
        scored.append(ScoredAnswer(quality, _transcript(task, problem, answer), by_name))
    return scored


def _transcript(task: Task, problem: Problem, answer: str) -> str:
    """The answer; of a dialogue, the turns and what the environment replied."""
    if task.dialogue is None:
        return answer
    turns = split_turns(answer)
    parts: list[str] = []
    for count, turn in enumerate(turns, start=1):
        reply = task.dialogue.reply(problem, turns[:count]) if count < len(turns) else None
        parts += [turn, *([] if reply is None else [reply])]
    return "\n".join(parts)
