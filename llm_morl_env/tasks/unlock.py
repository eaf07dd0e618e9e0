"""`unlock_task`: objectives that unlock one another, against brevity, on a flat Pareto front that is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import transformed
from llm_morl_env.tasks.letters import LETTERS, PROMPT, LettersGrammar, letters_tokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import Kind

#: What is to be written for the prompts "a?", "b?", ...; begins are distinct, so that no answer fits two prompts.
DEFAULT_WORDS = ("cab", "dba", "acd", "bdc")


@dataclass(frozen=True)
class Stage:
    """1 if the response begins with the first ``letters`` letters of the word, else 0.

    Args:
        name: Of the objective.
        letters: How many.

    >>> Stage("stage_1", letters=2)(Problem("a?", "cabd"), "cab")
    1.0
    """

    name: str
    letters: int
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """The reward, 0 or 1."""
        return float(response[: self.letters] == problem.target[: self.letters])


@dataclass(frozen=True)
class Brevity:
    """``1 - L / T`` for a response of L letters.

    Args:
        length: T.
    """

    length: int
    name: str = field(default="brevity", init=False)
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """The reward, in [0, 1]."""
        return 1.0 - min(len(response), self.length) / self.length


@dataclass(frozen=True)
class UnlockFront:
    """The Pareto front of `unlock_task`: means over the problems of one response each.

    A response that reaches b of B stages need not be longer than b stages, so it scores at best b ones, B - b zeros and
    a brevity of ``1 - b / B``. With ``s_j`` the share of the problems that reach stage j, the mean is
    ``(s_1, ..., s_B, 1 - sum_j s_j / B)``, ``s`` decreasing. What gains a stage loses brevity, so every such point is
    on the front, and all lie on one hyperplane.

    Args:
        stages: B.

    >>> UnlockFront(stages=1)([Problem("a?", "c")]).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    stages: int

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (F, B + 1), in lexicographic order; F is ``comb(problems + B, B)``."""
        n = len(problems)
        # Numbers of problems that reach each stage, decreasing.
        counts = [row[::-1] for row in combinations_with_replacement(range(n + 1), self.stages)]
        points = [[*(c / n for c in row), 1.0 - sum(row) / (n * self.stages)] for row in sorted(counts)]
        return np.array(points, dtype=np.float64)


def unlock_task(
    *,
    letters: int = 4,
    stages: int = 3,
    words: Sequence[str] = DEFAULT_WORDS,
    transforms: Sequence[TransformLike] = (),
) -> Task:
    """Write the prompt's word stage by stage; each stage counts only after the one before; be short.

    The prompts are "a?", "b?" and so on, one a word. The answer is up to T letters (the words' length), and may stop
    before. Objectives: ``stage_1`` to ``stage_B``, 1 if the answer begins with the first b/B of the word, and
    ``brevity``, ``1 - L / T``. A later stage is flat until the earlier one is found, and brevity, the easiest, pays for
    giving up. Two properties follow. Which objective teaches something changes over training, so weights that are right
    at the start are wrong later. And the front is flat (see `UnlockFront`): fixed weights make one corner the best
    or all points alike, and have no optimum in between.

    ## Version history

    - v0: first version.

    Args:
        letters: V, in 2..8.
        stages: B, at least 1; divides the words' length.
        words: One a prompt, at most V, of one length, of the first V letters, with distinct first stages.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If the words do not fit.

    >>> task = unlock_task(letters=3, stages=2, words=["cabb", "abca"])
    >>> task[0].prompt, task.score([task[0]] * 3, ["cabb", "caab", "ca"]).tolist()
    ('a?', [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.5]])
    """
    tokenizer = letters_tokenizer(letters)
    words = tuple(words)
    lengths = {len(word) for word in words}
    if not 1 <= len(words) <= letters or len(lengths) != 1 or not {*"".join(words)} <= {*LETTERS[:letters]}:
        raise ValueError(
            f"words must be 1..{letters}, of one length, of the letters {LETTERS[:letters]!r}, got {words!r}"
        )
    length = lengths.pop()
    if stages < 1 or length < 1 or length % stages:
        raise ValueError(f"stages must be at least 1 and divide the words' length {length}, got {stages!r}")
    step = length // stages
    if len({word[:step] for word in words}) < len(words):
        raise ValueError(f"words must differ in their first {step} letters, got {words!r}")
    problems = tuple(Problem(LETTERS[i] + PROMPT, word, {"gold": word}) for i, word in enumerate(words))
    reached = [Stage(f"stage_{b}", letters=b * step) for b in range(1, stages + 1)]
    task = Task(
        name="unlock",
        problems={"train": problems, "eval": problems},
        rewards=RewardVector([*reached, Brevity(length)]),
        tokenizer=tokenizer,
        max_prompt_tokens=1 + len(PROMPT),
        max_response_tokens=length,
        grammar=LettersGrammar(tokenizer, letters, length, may_stop=True),
        front=UnlockFront(stages),
    )
    return transformed(task, transforms)
