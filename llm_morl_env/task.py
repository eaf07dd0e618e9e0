"""`Task`: problems in splits, the rewards that score them, and the tokenizer that counts lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector


class Grammar(Protocol):
    """Which tokens may follow a partial response, for the token views' action masks. Stateless and picklable."""

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """Mask over the vocabulary, (V,), a fresh array; at least one entry is True."""


class Perturbation(Protocol):
    """A small frozen picklable object that changes rewards at random, after they were computed from the text."""

    def __call__(self, rewards: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Perturbed rewards (N, K), a fresh array. The task's bounds must hold them: what leaves them is clipped.

        Entries of objectives that do not apply to a problem are NaN, and whatever becomes of them is ignored.
        """


class Front(Protocol):
    """The Pareto front of a task that is known exactly. A small frozen picklable object."""

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Mean reward vectors (F, K) over ``problems`` that no deterministic policy improves on, a fresh array."""


class Dialogue(Protocol):
    """What the environment answers in a task of several turns. A small frozen picklable object without state.

    The responses of an episode so far say everything: whatever world the task has is computed from them anew. Rewards
    read a dialogue as one text, `llm_morl_rewards.turns.join_turns` of the responses.

    Attributes:
        max_turns: After so many responses an episode ends with the finish reason ``"turns"``.
        max_reply_tokens: Longest reply, in tokens of the task's tokenizer, for the token view's observation.
    """

    @property
    def max_turns(self) -> int:
        """See above."""

    @property
    def max_reply_tokens(self) -> int:
        """See above."""

    def reply(self, problem: Problem, responses: Sequence[str]) -> str | None:
        """What the policy reads after the last of ``responses`` (at least one); None where the dialogue is over."""


class Sampler(Protocol):
    """Which problems an environment draws, where that is not uniform. A small frozen picklable object.

    Attributes:
        scheduled: Whether ``progress`` matters; agents then say it in ``reset(options={"progress": ...})``. An
            environment that is not told takes 0, the beginning of the training.
        upweights: Whether ``loss_weights`` are ever something else than 1; environments then say them in
            ``info["loss_weight"]``.
    """

    @property
    def scheduled(self) -> bool:
        """See above."""

    @property
    def upweights(self) -> bool:
        """See above."""

    def draw(self, task: Task, count: int, rng: np.random.Generator, progress: float) -> list[int]:
        """Indices of ``count`` problems of the split that ``task`` shows; ``progress`` of the training in [0, 1].

        Distinct ones, as far as there are so many.
        """

    def loss_weights(self, problems: Sequence[Problem], progress: float) -> NDArray[np.float64]:
        """What the advantages of responses to these problems are multiplied by, (N,); 1 leaves them as they are."""


class Preferences(Protocol):
    """What a problem's prompt asks for. A small frozen picklable object."""

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        """Weights of the objectives by name, not negative; 0 for those left out."""


class Examples(Protocol):
    """Answers of different quality, to show what a task's rewards tell apart. Picklable, without state."""

    def __call__(self, problem: Problem) -> Mapping[str, str]:
        """Answers by ``"good"`` (the gold one), ``"mediocre"`` and ``"bad"``, always the same for a problem."""


class Transform(Protocol):
    """A small frozen object that makes a task of a task: noise, gating, scaling, a preference in the prompt."""

    def __call__(self, task: Task) -> Task:
        """The transformed task; the given one is left as it was."""


#: A transform, or plain values that mean one, see `llm_morl_env.transforms.transform_of`.
TransformLike = Transform | str | Mapping[str, Any]


@dataclass(frozen=True)
class Task(Sequence[Problem]):
    """A sequence of problems with the rewards that score them; immutable and picklable.

    As a sequence it shows its current ``split``; a slice of a task is a task.

    Args:
        name: For messages and reports.
        problems: Problems by split; ``train`` and ``eval`` at least. May be lazy and practically endless.
        rewards: The objectives.
        tokenizer: Counts lengths, cuts responses, and is the action space of the token views.
        max_prompt_tokens: Longest prompt that the token views' observation holds.
        max_response_tokens: A response is cut there before it is scored.
        grammar: For action masks; None allows every token.
        split: The split shown.
        perturbations: Applied in order to the rewards of `score`, with the environment's generator.
        front: The exact Pareto front, for `pareto_front`; None where it is not known.
        dialogue: What the environment answers between turns; None for one turn. Caps then hold for each response.
        sampler: Draws problems; None draws uniformly.
        examples: Answers that illustrate the rewards.
        preferences: Weights that problems ask for, which environments say in ``info["preference"]``; None: they ask for
            none.
    """

    name: str
    problems: Mapping[str, Sequence[Problem]]
    rewards: RewardVector
    tokenizer: TextTokenizer
    max_prompt_tokens: int
    max_response_tokens: int
    grammar: Grammar | None = None
    split: str = "train"
    perturbations: tuple[Perturbation, ...] = ()
    front: Front | None = None
    dialogue: Dialogue | None = None
    sampler: Sampler | None = None
    examples: Examples | None = None
    preferences: Preferences | None = None

    def __post_init__(self) -> None:
        for needed in ("train", "eval"):
            if not len(self.problems.get(needed, ())):
                raise ValueError(f"task {self.name!r}: the split {needed!r} holds no problems")
        for limit in ("max_prompt_tokens", "max_response_tokens"):
            if getattr(self, limit) < 1:
                raise ValueError(f"task {self.name!r}: {limit} must be at least 1, got {getattr(self, limit)}")
        self._check_split(self.split)

    def _check_split(self, split: str) -> None:
        if split not in self.problems:
            raise ValueError(f"task {self.name!r}: split must be one of {sorted(self.problems)}, got {split!r}")

    def __len__(self) -> int:
        return len(self.problems[self.split])

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> Task: ...
    def __getitem__(self, index: int | slice) -> Problem | Task:
        current = self.problems[self.split]
        if isinstance(index, slice):
            return replace(self, problems={**self.problems, self.split: current[index]})
        if not -len(current) <= index < len(current):
            raise IndexError(f"problem {index} is out of range: the split {self.split!r} has {len(current)} problems")
        return current[index]

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems[self.split])

    def with_split(self, split: str) -> Task:
        """The same task, showing another split."""
        self._check_split(split)
        return replace(self, split=split)

    def cut(self, response: str) -> tuple[str, str]:
        """The response as it is scored, and why it ended: ``"stop"``, or ``"length"`` where it was cut at the cap."""
        text, was_cut = self.tokenizer.truncate(response, self.max_response_tokens)
        return text, "length" if was_cut else "stop"

    def score(
        self,
        problems: Sequence[Problem],
        responses: Sequence[str],
        group: NDArray[np.int64] | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.float32]:
        """Rewards (N, K) of responses that were cut already, as environments return them: float32 inside the bounds.

        Args:
            problems: N problems, one for each response.
            responses: N texts.
            group: int64 (N,); needed by rewards of kind ``group`` only.
            rng: Drawn from by ``perturbations`` only; untouched without any.

        Raises:
            ValueError: If there are perturbations and no ``rng``.
        """
        rewards = self.rewards(problems, responses, group)
        if self.perturbations:
            rewards = self._perturbed(problems, rewards, rng)
        low, high = self.rewards.low.astype(np.float32), self.rewards.high.astype(np.float32)
        return np.clip(rewards.astype(np.float32), low, high)

    def _perturbed(
        self, problems: Sequence[Problem], rewards: NDArray[np.float64], rng: np.random.Generator | None
    ) -> NDArray[np.float64]:
        if rng is None:
            raise ValueError(f"task {self.name!r} has perturbations, so score needs rng=, got None")
        applies = self.rewards.mask(problems) if self.rewards.masked else np.ones(rewards.shape, np.bool_)
        rewards = np.where(applies, rewards, np.nan)
        for perturb in self.perturbations:
            rewards = perturb(rewards, rng)
        return np.where(applies, rewards, self.rewards.low)

    def pareto_front(self, gamma: float = 1.0) -> NDArray[np.float64]:
        """The exact Pareto front of the split shown, (F, K), a fresh array: expected rewards, larger is better.

        A point is the mean reward vector over the problems under one deterministic policy (one response a problem). A
        policy that mixes responses at random reaches the convex hull of these points on average, though never in one
        response.

        Args:
            gamma: 1; the parameter is MO-Gymnasium's.

        Raises:
            ValueError: If the task has no known front, or for another ``gamma``.
        """
        if self.front is None:
            raise ValueError(f"task {self.name!r} has no known Pareto front")
        if gamma != 1:
            raise ValueError(f"task {self.name!r}: the front is known without discount only, got gamma={gamma!r}")
        return self.front(self)
