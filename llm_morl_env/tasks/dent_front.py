"""`dent_front_task`: a Pareto front with a dent, part convex and part concave, that is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import transformed
from llm_morl_env.tasks.counts_front import LetterShare
from llm_morl_env.tasks.letters import PROMPT, LettersGrammar, check_length, letters_tokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import Kind

#: Amplitudes below this keep the first objective increasing in the number of its letter.
MAX_AMPLITUDE = 1 / (2 * math.pi)


@dataclass(frozen=True)
class DentedShare:
    """The reward ``x + A sin(2 pi x)`` for the share ``x = n / T`` of the letter "a" in the first T characters.

    Args:
        length: T.
        amplitude: A.

    >>> DentedShare(length=4, amplitude=0.12)(Problem("?"), "abbb")
    0.37
    """

    length: int
    amplitude: float
    name: str = field(default="a", init=False)
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """The reward, in [0, 1]."""
        return dented(response[: self.length].count(self.name) / self.length, self.amplitude)


def dented(x: float, amplitude: float) -> float:
    """``x + A sin(2 pi x)`` for x in [0, 1]; exact at 0, 1/2 and 1, where the sine is zero."""
    return x if 2 * x == round(2 * x) else x + amplitude * math.sin(2 * math.pi * x)


@dataclass(frozen=True)
class DentFront:
    """The Pareto front of `dent_front_task`::

        {(x + A sin(2 pi x), 1 - x) : x = 0, 1/T, ..., 1}

    The first objective increases in x for A below 1/(2 pi), so none of these points dominates another, and every
    response with another letter in it is dominated by one that has an "a" in its place.

    >>> DentFront(length=2, amplitude=0.12)([]).tolist()
    [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    """

    length: int
    amplitude: float

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (T + 1, 2), from all "b" to all "a"; the problems do not matter."""
        t = self.length
        return np.array([[dented(n / t, self.amplitude), (t - n) / t] for n in range(t + 1)])


def dent_front_task(
    *, letters: int = 3, length: int = 6, amplitude: float = 0.12, transforms: Sequence[TransformLike] = ()
) -> Task:
    """Write letters, "a" against "b", on a Pareto front with a dent that is known exactly.

    The answer is up to T letters. With the shares x of "a" and y of "b" the objectives are ``x + A sin(2 pi x)`` and
    ``y``: where "a" is rare the front bulges out (convex), where it is frequent it is dented (concave). Linear weights
    reach 4 of the 7 points of the default sizes. That holds for deterministic policies, and for one response at a time;
    a policy that mixes responses at random has an expected reward on the convex hull, above the dent.

    ## Version history

    - v0: first version.

    Args:
        letters: V, in 2..8; those after "b" distract.
        length: T.
        amplitude: A, in [0, 1/(2 pi)); 0 is a straight line.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a size is out of its range.

    >>> dent_front_task().pareto_front()[:3].round(3).tolist()
    [[0.0, 1.0], [0.271, 0.833], [0.437, 0.667]]
    """
    check_length(length)
    tokenizer = letters_tokenizer(letters)
    if not 0 <= amplitude < MAX_AMPLITUDE:
        raise ValueError(f"amplitude must lie in [0, 1/(2 pi)), got {amplitude!r}")
    problem = Problem(PROMPT, meta={"gold": ("ab" * length)[:length]})
    task = Task(
        name="dentfront",
        problems={"train": (problem,), "eval": (problem,)},
        rewards=RewardVector([DentedShare(length, amplitude), LetterShare("b", length, 1.0)]),
        tokenizer=tokenizer,
        max_prompt_tokens=1,
        max_response_tokens=length,
        grammar=LettersGrammar(tokenizer, letters, length),
        front=DentFront(length, amplitude),
    )
    return transformed(task, transforms)
