"""Environments that a frozen language model reads for, in two phases, so that a batch of them is read at once.

`ReadingEnv` splits ``reset`` and ``step``: first a transition that needs no model (`ReadingEnv.begin`,
`ReadingEnv.advance`), then what is seen of it (`ReadingEnv.observe`), which may need what the model says after the last
token. Between the two a `ContextReader` reads what is new, in one environment or in many.

Shapes: M environments, V vocabulary, C hidden size, K objectives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_morl_env.envs.base import ActType, ObsType
from llm_morl_env.language_model import LanguageModel


@dataclass(frozen=True, eq=False)
class ContextReading:
    """What a model says at the last token of one context; a row of `llm_morl_env.language_model.Reading`.

    Args:
        log_probs: float32 (V,) of the next token.
        hidden: float32 (C,).
    """

    log_probs: NDArray[np.float32]
    hidden: NDArray[np.float32]


class ReadingEnv(gym.Env[ObsType, ActType], ABC):
    """An environment over tokens whose calls have two phases; stands before `TaskEnv` among the bases.

    Subclasses write the phases, and have `reset` and `step` from here. Their rewards of a step are float32 (K,), and no
    episode is ever truncated.

    Attributes:
        language_model: Reads the contexts; None where none is needed, and nothing is read then.
        max_context_tokens: Longest context of an episode.
        start_id: Stands for an empty prompt, since what follows needs a position to be predicted from.
    """

    language_model: LanguageModel | None = None
    max_context_tokens: int
    start_id: int
    _reader: ContextReader | None = None

    @abstractmethod
    def begin(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """The transition of ``reset``, without a look at the model."""

    @abstractmethod
    def advance(self, action: ActType) -> tuple[NDArray[np.float32], bool]:
        """The transition of ``step``, without a look at the model.

        Returns:
            Rewards (K,), and whether the episode ended.
        """

    @abstractmethod
    def observe(self, reading: ContextReading | None) -> tuple[ObsType, dict[str, Any]]:
        """Observation and info after a transition.

        Args:
            reading: Of the context as it is now; None where `wants_reading` is False.
        """

    def write_on(self, reading: ContextReading | None) -> tuple[NDArray[np.float32], bool] | None:
        """Write what needs no decision, given what the model says of the context; `observe` has to wait then.

        Returns:
            Rewards (K,) and whether the episode ended; None, always so by default, where nothing was written.
        """
        return None

    @property
    @abstractmethod
    def episode(self) -> int:
        """How many episodes were begun: a reader forgets the context when it changes."""

    @property
    @abstractmethod
    def context(self) -> NDArray[np.int64]:
        """All tokens of the running episode, the prompt's first. Within an episode it only grows; not to be kept."""

    @property
    def wants_reading(self) -> bool:
        """Whether `observe` needs a reading of the context as it is now."""
        return self.language_model is not None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Begin an episode, and see it."""
        self.begin(seed=seed, options=options)
        reading = self._read()
        while self.write_on(reading) is not None:
            reading = self._read()
        return self.observe(reading)

    def step(self, action: ActType) -> tuple[ObsType, NDArray[np.float32], bool, bool, dict[str, Any]]:
        """Take an action, and see what came of it.

        Returns:
            Observation, rewards (K,), whether the episode ended, False, info.
        """
        rewards, terminated = self.advance(action)
        reading = self._read()
        while (written := self.write_on(reading)) is not None:
            rewards, terminated = rewards + written[0], terminated or written[1]
            reading = self._read()
        observation, info = self.observe(reading)
        return observation, rewards, terminated, False, info

    def _read(self) -> ContextReading | None:
        if not self.wants_reading:
            return None
        if self._reader is None:
            self._reader = ContextReader([self])
        return self._reader.read([0], [self])[0]


class ContextReader:
    """A session of a language model over the contexts of M environments, and how far each was read. Picklable.

    Args:
        envs: M environments with the same model.

    Raises:
        ValueError: If one has no model, or another one.
    """

    def __init__(self, envs: Sequence[ReadingEnv[Any, Any]]) -> None:
        model = envs[0].language_model
        if model is None or any(env.language_model is not model for env in envs):
            raise ValueError(
                "ContextReader(envs=) must share one language model, got "
                f"{sorted({getattr(env.language_model, 'name', None) or 'none' for env in envs})}"
            )
        # One more than the longest, for the token that stands for an empty prompt.
        self._session = model.session(len(envs), 1 + max(env.max_context_tokens for env in envs))
        self._episodes = [-1] * len(envs)
        self._n_read = [0] * len(envs)

    def read(self, rows: Sequence[int], envs: Sequence[ReadingEnv[Any, Any]]) -> list[ContextReading | None]:
        """Read, in one batch, what is new in the contexts of some environments.

        Args:
            rows: Their places among the M, distinct.
            envs: The environments there, in that order.

        Returns:
            One reading each; None where none is wanted.

        Raises:
            ValueError: If one wants a reading and has written nothing since its last.
        """
        places, tokens, restart = [], [], []
        for row, env in zip(rows, envs, strict=True):
            if not env.wants_reading:
                continue
            begins = self._episodes[row] != env.episode
            context = env.context
            new = context[0 if begins else self._n_read[row] :].tolist()
            places.append(row)
            tokens.append(new or [env.start_id] if begins else new)
            restart.append(begins)
            self._episodes[row], self._n_read[row] = env.episode, len(context)
        if not places:
            return [None] * len(rows)
        reading = self._session.read(places, tokens, restart)
        pairs = zip(places, reading.log_probs, reading.hidden, strict=True)
        by_row = {row: ContextReading(log_probs, hidden) for row, log_probs, hidden in pairs}
        return [by_row.get(row) for row in rows]
