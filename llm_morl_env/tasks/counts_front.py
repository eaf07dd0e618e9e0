"""`counts_front_task`: a concave Pareto front that is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import transformed
from llm_morl_env.tasks.letters import LETTERS, PROMPT, LettersGrammar, check_length, letters_tokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import Kind


@dataclass(frozen=True)
class LetterShare:
    """The reward ``(n / T)^p`` for n times the letter among the first T characters; its name is the letter's.

    Args:
        name: The letter.
        length: T.
        power: p.

    >>> LetterShare("a", length=4, power=2.0)(Problem("?"), "abab")
    0.25
    """

    name: str
    length: int
    power: float
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """The reward, in [0, 1]."""
        return share_power(response[: self.length].count(self.name), self.length, self.power)


def share_power(count: int, length: int, power: float) -> float:
    """``(count / length)^power``."""
    return float((count / length) ** power)


@dataclass(frozen=True)
class CountsFront:
    """The Pareto front of `counts_front_task`::

        {((n_1 / T)^p, ..., (n_K / T)^p) : n_1 + ... + n_K = T}

    Each of these counts is reached, more of one letter is less of another, and every other response has as many or
    fewer of each letter than one of them: the C(T + K - 1, K - 1) points are the whole front.

    >>> CountsFront(objectives=2, length=2, power=2.0)([]).tolist()
    [[0.0, 1.0], [0.25, 0.25], [1.0, 0.0]]
    """

    objectives: int
    length: int
    power: float

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (F, K), in lexicographic order of the counts; the problems do not matter."""
        shares = [share_power(n, self.length, self.power) for n in range(self.length + 1)]
        return np.array([[shares[n] for n in counts] for counts in _compositions(self.length, self.objectives)])


def _compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    """All tuples of ``parts`` counts with this sum, in lexicographic order."""
    if parts == 1:
        return [(total,)]
    return [(first, *rest) for first in range(total + 1) for rest in _compositions(total - first, parts - 1)]


def counts_front_task(
    *,
    letters: int = 3,
    length: int = 6,
    objectives: int | Sequence[str] = 2,
    power: float = 2.0,
    transforms: Sequence[TransformLike] = (),
) -> Task:
    """Write letters; the more of one, the less of another, on a Pareto front that is known exactly.

    The answer is up to T letters. Objective k is ``(n_k / T)^p`` for n_k times its letter. With p above 1 the front is
    concave: of all its points, linear weights reach only those with a single letter. That holds for deterministic
    policies, and for one response at a time; a policy that draws "aaaaaa" or "bbbbbb" at random has an expected reward
    above the points in between.

    ## Version history

    - v0: first version.

    Args:
        letters: V, in 2..8; those without objective distract.
        length: T.
        objectives: K, the first so many letters; or the letters themselves.
        power: p, above 0. At 1 all of the front lies on one hyperplane; below 1 the front is convex.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a size is out of its range.

    >>> task = counts_front_task(length=3)
    >>> task.score([task[0]] * 2, ["aba", "bbb"]).round(2), len(task.pareto_front())
    (array([[0.44, 0.11],
           [0.  , 1.  ]], dtype=float32), 4)
    """
    check_length(length)
    tokenizer = letters_tokenizer(letters)
    known = tuple(LETTERS[:letters])
    names = known[:objectives] if isinstance(objectives, int) else tuple(objectives)
    asked = objectives if isinstance(objectives, int) else len(objectives)
    if asked < 2 or len({*names} & {*known}) != asked:
        raise ValueError(f"objectives must be 2..{letters}, or so many distinct letters of {known}, got {objectives!r}")
    if not (np.isfinite(power) and power > 0):
        raise ValueError(f"power must be finite and above 0, got {power!r}")
    problem = Problem(PROMPT, meta={"gold": ("".join(names) * length)[:length]})
    task = Task(
        name="countsfront",
        problems={"train": (problem,), "eval": (problem,)},
        rewards=RewardVector([LetterShare(name, length, power) for name in names]),
        tokenizer=tokenizer,
        max_prompt_tokens=1,
        max_response_tokens=length,
        grammar=LettersGrammar(tokenizer, letters, length),
        front=CountsFront(len(names), length, power),
    )
    return transformed(task, transforms)
