"""A task whose parts see the prompt as it was, for problems whose prompt was changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Dialogue, Examples, Front, Grammar, Sampler, Task
from llm_morl_env.tasks.building import MappedProblems
from llm_morl_env.transforms.objectives import Around
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import RewardFunction

#: The key of a problem's ``meta`` that holds the prompt as it was.
PLAIN_PROMPT = "plain_prompt"


def plain(problem: Problem) -> Problem:
    """The problem with the prompt that it had.

    >>> plain(Problem("be brief: hi", meta={"plain_prompt": "hi"})).prompt
    'hi'
    """
    return replace(problem, prompt=problem.meta[PLAIN_PROMPT])


def on_plain_prompts(task: Task) -> Task:
    """The task for problems with changed prompts: rewards, grammar, front, dialogue and examples see the old ones."""
    return replace(
        task,
        rewards=RewardVector([PlainReward(function) for function in task.rewards]),
        grammar=None if task.grammar is None else PlainGrammar(task.grammar),
        front=None if task.front is None else PlainFront(task.front),
        dialogue=None if task.dialogue is None else PlainDialogue(task.dialogue),
        examples=None if task.examples is None else PlainExamples(task.examples),
    )


class PlainReward(Around):
    """A reward function that sees problems with the prompt that they had.

    Args:
        inner: The reward function.
    """

    def __init__(self, inner: RewardFunction) -> None:
        super().__init__(inner)
        if hasattr(inner, "applies"):
            self.applies = PlainApplies(inner.applies)

    def __call__(self, *args: Any) -> Any:
        """What the inner function returns."""
        problems, *rest = args
        seen = plain(problems) if self.kind == "pointwise" else tuple(map(plain, problems))
        return self.inner(seen, *rest)


@dataclass(frozen=True)
class PlainApplies:
    """The ``applies`` of a reward function."""

    inner: Callable[[Problem], bool]

    def __call__(self, problem: Problem) -> bool:
        """Whether the reward applies."""
        return self.inner(plain(problem))


@dataclass(frozen=True)
class PlainGrammar:
    """A `Grammar`."""

    inner: Grammar

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """See `llm_morl_env.task.Grammar.allowed`."""
        return self.inner.allowed(plain(problem), response_ids)


@dataclass(frozen=True)
class PlainFront:
    """A `Front`."""

    inner: Front

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (F, K)."""
        return self.inner(MappedProblems(problems, plain))  # made when asked for: a split may be endless


@dataclass(frozen=True)
class PlainDialogue:
    """A `Dialogue`."""

    inner: Dialogue

    @property
    def max_turns(self) -> int:
        """Of the inner one."""
        return self.inner.max_turns

    @property
    def max_reply_tokens(self) -> int:
        """Of the inner one."""
        return self.inner.max_reply_tokens

    def reply(self, problem: Problem, responses: Sequence[str]) -> str | None:
        """See `llm_morl_env.task.Dialogue.reply`."""
        return self.inner.reply(plain(problem), responses)


@dataclass(frozen=True)
class PlainExamples:
    """`Examples`."""

    inner: Examples

    def __call__(self, problem: Problem) -> Mapping[str, str]:
        """Answers by quality."""
        return self.inner(plain(problem))


@dataclass(frozen=True)
class PlainSampler:
    """A `Sampler` of problems that stand in copies: it draws an original, and a copy of it uniformly."""

    inner: Sampler

    @property
    def scheduled(self) -> bool:
        """Of the inner one."""
        return self.inner.scheduled

    @property
    def upweights(self) -> bool:
        """Of the inner one."""
        return self.inner.upweights

    def draw(self, task: Task, count: int, rng: np.random.Generator, progress: float) -> list[int]:
        """See `llm_morl_env.task.Sampler.draw`."""
        from llm_morl_env.transforms.preference import PreferredProblems

        shown = task.problems[task.split]
        if not isinstance(shown, PreferredProblems):  # a slice of them
            return self.inner.draw(task, count, rng, progress)
        originals = replace(task, problems={**task.problems, task.split: shown.problems})
        indices = self.inner.draw(originals, count, rng, progress)
        if shown.copies == 1:
            return indices
        copies = rng.integers(shown.copies, size=count).tolist()
        return [index + copy * len(shown.problems) for index, copy in zip(indices, copies, strict=True)]

    def loss_weights(self, problems: Sequence[Problem], progress: float) -> NDArray[np.float64]:
        """See `llm_morl_env.task.Sampler.loss_weights`."""
        return self.inner.loss_weights([plain(problem) for problem in problems], progress)
