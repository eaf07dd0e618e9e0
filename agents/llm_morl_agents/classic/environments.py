"""Environments as classic algorithms take them: scaled, watched, seeded. Shapes: K objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_agents.classic.clock import Clock
from llm_morl_env.transforms import ScaleToUnit
from llm_morl_env.wrappers.declared import declared, return_box

Floats = NDArray[np.float64]
AnyEnv = gym.Env[Any, Any]


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the environments of one training, all alike.

    Args:
        env_id: Id.
        view: View.
        env_kwargs: For ``gym.make``.
        scaled: Whether objectives are learned on [0, 1], by their declared bounds. Returns are given back as the task
            pays either way.
        curvature: c of `Curved`, above 0 for learning on curved objectives, 0 for the plain ones.

    Raises:
        ValueError: If ``curvature`` is negative, or not 0 where objectives are not scaled or dialogues are played.

    Attributes:
        low: Lower bounds (K,) of an episode's return, as the task pays.
        width: Widths (K,) of the bounds; 1 where an objective has none.
        n_objectives: K.
    """

    env_id: str
    view: str
    env_kwargs: Mapping[str, Any]
    scaled: bool = True
    curvature: float = 0.0
    low: Floats = field(init=False)
    width: Floats = field(init=False)
    n_objectives: int = field(init=False)

    def __post_init__(self) -> None:
        env = self._make(())
        bounds = return_box(env, "train_classic")
        if self.curvature < 0 or (self.curvature and (not self.scaled or declared(env, "max_turns", 1) != 1)):
            raise ValueError(
                "curvature must be 0, or above 0 for objectives scaled to [0, 1] of one-turn tasks, "
                f"got {self.curvature!r}"
            )
        low, high = bounds.low.astype(np.float64), bounds.high.astype(np.float64)
        width = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
        object.__setattr__(self, "low", np.where(np.isfinite(low), low, 0.0))
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "n_objectives", len(low))

    def _make(self, transforms: Sequence[Any]) -> AnyEnv:
        given = dict(self.env_kwargs)
        if transforms:
            given["transforms"] = [*given.pop("transforms", ()), *transforms]
        return gym.make(self.env_id, view=self.view, **given)

    def make(self) -> AnyEnv:
        """A fresh environment."""
        env = self._make((ScaleToUnit(),) if self.scaled else ())
        return Curved(env, self.curvature) if self.curvature else env

    def to_task(self, returns: Any) -> Floats:
        """Returns (..., K) of these environments as the task pays them."""
        values = np.asarray(returns, np.float64)
        if self.curvature:
            values = np.expm1(values * np.log1p(self.curvature)) / self.curvature
        return values * self.width + self.low if self.scaled else values.copy()

    def reference(self) -> Floats:
        """The point (K,) that hypervolumes are measured from, in the environments' own units: the lower bounds."""
        return np.zeros(self.n_objectives) if self.scaled else self.low.copy()


class Curved(gym.Wrapper[Any, Any, Any, Any]):
    """Rewards in [0, 1] that all fall in the last step, bent: ``log(1 + c r) / log(1 + c)``.

    A strictly increasing function of each objective leaves the Pareto set as it is, and a concave one lets the front
    bulge: points in a dent, which no linear weights prefer, come within reach of algorithms for linear weights
    (a compromise of many objectives, in the sense of Yu, 1973). Episodes are not added up in it; their returns are bent
    back by `Maker.to_task`.

    Args:
        env: The environment.
        curvature: c, above 0.

    >>> round(float(Curved.bend(np.array(0.5), 30.0)), 3)
    0.807
    """

    def __init__(self, env: AnyEnv, curvature: float) -> None:
        super().__init__(env)
        self._curvature = curvature

    @staticmethod
    def bend(rewards: Any, curvature: float) -> Any:
        """The bent rewards."""
        return np.log1p(curvature * np.asarray(rewards, np.float64)) / np.log1p(curvature)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self.bend(reward, self._curvature).astype(np.float32), terminated, truncated, info


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that a library steps: its steps tick a clock, its first reset is seeded, later ones are not.

    morl-baselines resets without a seed, but for `NLMOPPO`, whose evaluation gives the same seed before every episode
    and so sees one problem again and again.

    Args:
        env: The environment.
        clock: Is ticked.
        seed: Of the first reset, and of the action space.
        counted: Whether the steps are those of the training, and the episodes worth noting.
        to_task: `Maker.to_task`.
    """

    def __init__(self, env: AnyEnv, clock: Clock, seed: int, *, counted: bool, to_task: Any = np.asarray) -> None:
        super().__init__(env)
        self._clock, self._seed, self._counted, self._to_task = clock, seed, counted, to_task
        self._fresh = True
        self._return = np.zeros(return_box(env, "Watched").shape)
        env.action_space.seed(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; a seed is only heard where no episode was before, and then it is the wrapper's own."""
        self._return = np.zeros_like(self._return)
        first, self._fresh = self._fresh, False
        return self.env.reset(seed=self._seed if first else None, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and tick."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._counted:
            self._return = self._return + np.asarray(reward, np.float64)
            if terminated or truncated:
                self._clock.episode(self._to_task(self._return))
        self._clock.tick(int(self._counted))
        return observation, reward, terminated, truncated, info


class VisitedStates(gym.ObservationWrapper[Any, Any, Any]):
    """Observations as the number of the order in which they were first seen: an integer Box of shape (1,), for tables.

    State 0 is the first one after the first reset. All observations after the end of an episode are state 1, so that
    nothing is ever chosen there.

    Args:
        env: An environment with a Box observation.
        max_states: As many numbers there are.

    Raises:
        ValueError: In `step` and `reset`, if there are more states.
    """

    END = 1

    def __init__(self, env: AnyEnv, max_states: int) -> None:
        super().__init__(env)
        self._numbers: dict[bytes, int] = {}
        self.max_states = max_states
        self.observation_space = Box(0, max_states - 1, (1,), np.int64)

    def find(self, observation: Any) -> int:
        """The number of an observation; that of the end where it was never seen."""
        return self._numbers.get(np.ascontiguousarray(observation).tobytes(), self.END)

    def number(self, observation: Any) -> int:
        """The number of an observation, a new one where it was never seen."""
        key = np.ascontiguousarray(observation).tobytes()
        if key not in self._numbers:
            number = 0 if not self._numbers else len(self._numbers) + 1
            if number >= self.max_states:
                raise ValueError(
                    f"a table of max_states={self.max_states} states is full: use a view with fewer observations "
                    "(view='index' with a small k, or another task), or an algorithm with a network"
                )
            self._numbers[key] = number
        return self._numbers[key]

    def observation(self, observation: Any) -> NDArray[np.int64]:
        """The number, as an array (1,)."""
        return np.array([self.number(observation)], np.int64)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; the observation after the last step is state 1."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        over = terminated or truncated
        seen = np.array([self.END], np.int64) if over else self.observation(observation)
        return seen, reward, terminated, truncated, info
