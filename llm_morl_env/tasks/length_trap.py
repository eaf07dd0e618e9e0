"""`length_trap_task`: answers need a thought before them, and brevity, small as it is, pays for leaving out both."""

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
class Accuracy:
    """1 if the last character is the problem's target, after at least ``thought`` others; a target of None is missed.

    >>> [Accuracy(thought=1)(Problem("a?", "a"), r) for r in ("ba", "a", "ab")]
    [1.0, 0.0, 0.0]
    """

    thought: int
    name: str = field(default="accuracy", init=False)
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """0 or 1."""
        return float(problem.target is not None and len(response) > self.thought and response[-1] == problem.target)


@dataclass(frozen=True)
class GentleBrevity:
    """``1 - c L / T`` for L characters, at most T.

    >>> GentleBrevity(length=8, cost=0.25)(Problem("a?"), "abab")
    0.875
    """

    length: int
    cost: float
    name: str = field(default="brevity", init=False)
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """The reward, in [1 - c, 1]."""
        return 1.0 - self.cost * min(len(response), self.length) / self.length


@dataclass(frozen=True)
class LengthTrapFront:
    """The Pareto front of `length_trap_task`, a straight line: j of the S problems with an answer are answered::

        (j / P, 1 - c j (m + 1) / (T P)),   j = 0, ..., S, of P problems

    >>> LengthTrapFront(length=4, thought=1, cost=0.25)([Problem("a?", "a"), Problem("b?", None)]).tolist()
    [[0.0, 1.0], [0.5, 0.9375]]
    """

    length: int
    thought: int
    cost: float

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (S + 1, 2), by accuracy."""
        answered = np.arange(1 + sum(problem.target is not None for problem in problems)) / len(problems)
        return np.column_stack([answered, 1.0 - self.cost * answered * (self.thought + 1) / self.length])


def length_trap_task(
    *,
    letters: int = 3,
    length: int = 8,
    thought: int = 1,
    cost: float = 0.25,
    unanswerable: int = 0,
    transforms: Sequence[TransformLike] = (),
) -> Task:
    """End with the prompt's letter after a letter of thought; brevity differs little, and pays for giving up.

    The prompts are "a?", "b?" and so on, one for each letter. Objectives: ``accuracy``, 1 if the answer ends with the
    prompt's letter and has at least m letters before it; ``brevity``, ``1 - c L / T``. A policy at chance is right
    about once in six times. Where each objective is brought to unit variance in each group (GDPO, MO-GRPO), a
    small difference in length counts as much as a right answer: the policy learns to write nothing, and accuracy, once
    gone, is flat and never comes back. The sum of the rewards does not fall into the trap, nor do DVAO's weights, as
    long as most groups hold a right answer; in a group without one they too stretch brevity to unit variance.
    Without division by the standard deviation (Dr. GRPO, RLOO) it keeps its size.

    ## What happens

    Mean accuracy over 5 seeds, policy from scratch, 8 prompts x 16 answers, learning rate 0.01:

    | step | 0 | 10 | 25 | 50 | 75 | 100 | 150 |
    |---|---|---|---|---|---|---|---|
    | GDPO, MO-GRPO | .17 | .08 | .00 | .00 | .00 | .00 | .00 |
    | GRPO | .17 | .21 | .31 | .84 | .95 | .98 | 1.00 |
    | DVAO | .17 | .21 | .30 | .85 | .97 | .95 | 1.00 |
    | Dr. GRPO | .17 | .22 | .37 | .88 | .99 | 1.00 | .96 |
    | RLOO | .17 | .22 | .37 | .87 | .91 | .92 | .92 |
    | GDPO with SAW | .17 | .24 | .38 | .70 | .88 | .94 | .99 |
    | GDPO with proportional fairness | .17 | .24 | .39 | .78 | .94 | .97 | .95 |

    GRPO and DVAO are safe only as long as most groups hold a right answer. In a group without one they too stretch
    brevity to unit variance; `unanswerable=` adds prompts that nobody can answer, and makes such groups as frequent as
    wanted. With `unanswerable=2` they end at .06 and .00 (3 seeds, step 150); Dr. GRPO, which divides by no standard
    deviation, at .64 (2 seeds; three prompts in five can be answered).

    ## Version history

    - v0: first version.

    Args:
        letters: V, and the number of prompts that have an answer, in 2..8.
        length: T.
        thought: m, in 0..T - 1.
        cost: c, in (0, 1].
        unanswerable: Further prompts whose accuracy is always 0; with ``letters`` at most 8 in all. The more, the more
            groups have nothing but brevity.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a size is out of its range.

    >>> task = length_trap_task()
    >>> task.score([task[0]] * 3, ["ba", "a", ""]).tolist()
    [[1.0, 0.9375], [0.0, 0.96875], [0.0, 1.0]]
    """
    check_length(length)
    if not 2 <= letters <= len(LETTERS):
        raise ValueError(f"letters must lie in 2..{len(LETTERS)}, got {letters!r}")
    if not 0 <= unanswerable <= len(LETTERS) - letters:
        raise ValueError(f"unanswerable must lie in 0..{len(LETTERS) - letters}, got {unanswerable!r}")
    if not 0 <= thought < length:
        raise ValueError(f"thought must lie in 0..{length - 1}, got {thought!r}")
    if not 0 < cost <= 1:
        raise ValueError(f"cost must lie in (0, 1], got {cost!r}")
    tokenizer = letters_tokenizer(letters + unanswerable)
    problems = tuple(
        Problem(letter + PROMPT, letter, {"gold": "a" * thought + letter})
        if index < letters
        else Problem(letter + PROMPT, None, {"gold": ""})
        for index, letter in enumerate(LETTERS[: letters + unanswerable])
    )
    task = Task(
        name="lengthtrap",
        problems={"train": problems, "eval": problems},
        rewards=RewardVector([Accuracy(thought), GentleBrevity(length, cost)]),
        tokenizer=tokenizer,
        max_prompt_tokens=1 + len(PROMPT),
        max_response_tokens=length,
        grammar=LettersGrammar(tokenizer, letters, length, may_stop=True),
        front=LengthTrapFront(length, thought, cost),
    )
    return transformed(task, transforms)
