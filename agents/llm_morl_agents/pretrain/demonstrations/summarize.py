"""Demonstrations of the procedural summarisation task, clean or with the errors that a beginner makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_morl_agents.pretrain.demonstrations.base import Demonstrator, Segments
from llm_morl_env.tasks.summarize_problems import TIERS, summary_problems
from llm_morl_env.tasks.summarize_words import ATTRIBUTES
from llm_morl_rewards import Problem
from llm_morl_rewards.summary import CLAUSE_SEPARATOR, VALUE_SEPARATOR

#: How a beginner gets the separator wrong; what it separates is one unsupported clause then.
_WRONG_SEPARATORS = (", ", ";", " ")


@dataclass(frozen=True)
class Corruption:
    """Rates of the errors in a demonstration.

    Args:
        leave_out: Each fact is not told.
        value: Each told fact has another value of the document.
        key: Each told fact has another key, of the document or not.
        repeat: Each clause is told twice.
        separator: Each separator is another one.
    """

    leave_out: float = 0.0
    value: float = 0.0
    key: float = 0.0
    repeat: float = 0.0
    separator: float = 0.0

    def scaled(self, noise: float) -> Corruption:
        """All rates times ``noise``."""
        return Corruption(*(noise * rate for rate in vars(self).values()))


#: At noise 1: means of coverage about .53, of faithfulness about .64, in every tier.
BEGINNER = Corruption(leave_out=0.2, value=0.2, key=0.12, repeat=0.05, separator=0.03)


def demonstrate(problem: Problem, corruption: Corruption, rng: np.random.Generator) -> str:
    """A summary of the problem's facts in the order of the document, with errors at these rates."""
    keys = sorted({*problem.target["keys"], *(attribute.name for attribute in ATTRIBUTES)})
    clauses: list[str] = []
    for key, value in problem.target["facts"].items():
        if rng.random() < corruption.leave_out:
            continue
        said_value = _other(rng, problem.target["values"], value) if rng.random() < corruption.value else value
        said_key = _other(rng, keys, key) if rng.random() < corruption.key else key
        clauses += [f"{said_key}{VALUE_SEPARATOR}{said_value}"] * (1 + int(rng.random() < corruption.repeat))
    summary = ""
    for clause in clauses:
        wrong = rng.random() < corruption.separator
        separator = _WRONG_SEPARATORS[int(rng.integers(len(_WRONG_SEPARATORS)))] if wrong else CLAUSE_SEPARATOR
        summary += (separator if summary else "") + clause
    return summary


def _other(rng: np.random.Generator, options: Sequence[str], right: str) -> str:
    """Another one of the options; the right one where there is none."""
    others = [option for option in options if option != right] or [right]
    return others[int(rng.integers(len(others)))]


@dataclass(frozen=True)
class SummarizeDemonstrations:
    """Demonstrations of the training split.

    Args:
        difficulty: See `llm_morl_env.tasks.summarize_problems.TIERS`.
        seed: Of the task whose training problems are drawn.
        beginner: Rates at ``noise=1``.
    """

    difficulty: str
    seed: int
    beginner: Corruption = BEGINNER

    def __call__(self, index: int, noise: float, rng: np.random.Generator) -> Segments:
        """See `llm_morl_agents.pretrain.demonstrations.base.Demonstrator`."""
        problem = summary_problems(TIERS[self.difficulty], "train", seed=self.seed, count_tokens=len)[index]
        return (problem.prompt, False), (demonstrate(problem, self.beginner.scaled(noise), rng), True)


def summarize_demonstrations(*, seed: int, difficulty: str = "standard") -> Demonstrator:
    """Demonstrations of `llm_morl_env.tasks.summarize.summarize_task`.

    Args:
        seed: Of the procedural problems.
        difficulty: The tier.

    Raises:
        ValueError: If the difficulty is unknown.
    """
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    return SummarizeDemonstrations(difficulty, seed)
