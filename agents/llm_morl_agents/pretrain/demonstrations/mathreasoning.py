"""Demonstrations of the procedural word problems, clean or with the errors that a beginner makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llm_morl_agents.pretrain.demonstrations.base import Demonstrator, Segments
from llm_morl_env.tasks.math_problems import TIERS, Operation, math_problems, write_bare

_FILLERS = ("let me see.", "this is easy.", "i should be careful.")
_ORDINALS = ("first, ", "then, ", "next, ")


@dataclass(frozen=True)
class Errors:
    """Rates of a beginner's errors at noise 1.

    Args:
        bare: No steps, only the answer.
        unmarked: The answer is not marked: its ``answer: `` is missing.
        arithmetic: Each step's result is off, and the next steps go on from it.
        operator: Each step's operator is another one.
        answer: The answer is another number than the last result.
    """

    bare: float = 0.15
    unmarked: float = 0.25
    arithmetic: float = 0.25
    operator: float = 0.06
    answer: float = 0.08


@dataclass(frozen=True)
class MathDemonstrations:
    """The `Demonstrator` of the mathematics task.

    Args:
        seed: Of the problems.
        difficulty: A tier of `llm_morl_env.tasks.math_problems.TIERS`.
        errors: Their rates at noise 1.
        ordinals: Share of solutions whose steps begin with ordinal words.
        fillers: Share of solutions that begin with an idle sentence.
    """

    seed: int
    difficulty: str = "standard"
    errors: Errors = Errors()
    ordinals: float = 0.2
    fillers: float = 0.2

    def __call__(self, index: int, noise: float, rng: np.random.Generator) -> Segments:
        """See `llm_morl_agents.pretrain.demonstrations.base.Demonstrator`."""
        problems = math_problems(TIERS[self.difficulty], "train", seed=self.seed, count=len)
        problem = problems[index]
        operations = [_read(sentence) for sentence in problem.meta["gold"].split(". ")[:-1]]
        return (problem.prompt, False), (self._response(operations, noise, rng), True)

    def _response(self, operations: Sequence[Operation], noise: float, rng: np.random.Generator) -> str:
        operations = _corrupt(operations, self.errors, noise, rng)
        answer = operations[-1].result
        if rng.random() < noise * self.errors.answer:
            answer = _other(answer, rng)
        final = write_bare(str(answer))
        if rng.random() < noise * self.errors.unmarked:
            final = str(answer)
        if rng.random() < noise * self.errors.bare:
            return final
        words = [""] * len(operations)
        if rng.random() < self.ordinals:
            words = [_ORDINALS[0], *(_ORDINALS[int(rng.integers(1, 3))] for _ in operations[1:])]
        steps = [f"{word}{operation}." for word, operation in zip(words, operations, strict=True)]
        idle = [_FILLERS[int(rng.integers(len(_FILLERS)))]] if rng.random() < self.fillers else []
        return " ".join([*idle, *steps, final])


def mathreasoning_demonstrations(*, seed: int, difficulty: str = "standard") -> Demonstrator:
    """Demonstrations of `llm_morl_env.tasks.mathreasoning.mathreasoning_task`.

    Args:
        seed: Of the problems.
        difficulty: A tier.

    Raises:
        ValueError: If there is no such tier.
    """
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    return MathDemonstrations(seed, difficulty)


def _read(step: str) -> Operation:
    left, operator, right, _, result = step.split(" ")
    return Operation(int(left), operator, int(right), int(result))


def _corrupt(
    operations: Sequence[Operation], errors: Errors, noise: float, rng: np.random.Generator
) -> list[Operation]:
    corrupted: list[Operation] = []
    for operation in operations:
        if corrupted:
            operation = replace(operation, left=corrupted[-1].result)
            operation = replace(operation, result=_calculate(operation))
        if rng.random() < noise * errors.operator:
            operation = replace(operation, operator="+-*/"[int(rng.integers(4))])
            operation = replace(operation, result=_calculate(operation))
        if rng.random() < noise * errors.arithmetic:
            operation = replace(operation, result=_other(operation.result, rng))
        corrupted.append(operation)
    return corrupted


def _calculate(operation: Operation) -> int:
    """The result of an operation, as a beginner says it where it is no whole number from 1 on."""
    left, right = operation.left, operation.right
    results = {"+": left + right, "-": abs(left - right), "*": left * right, "/": left // right}
    return max(1, results[operation.operator])


def _other(number: int, rng: np.random.Generator) -> int:
    """A number near another one: off by one to three, or by ten."""
    off = (-10, -3, -2, -1, 1, 2, 3, 10)[int(rng.integers(8))]
    return number + abs(off) if number + off < 1 else number + off
