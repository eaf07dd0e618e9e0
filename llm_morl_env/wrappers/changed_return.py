"""`ChangedReturn`: base of wrappers that change the vector return of an episode. Shapes: K objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from llm_morl_env.wrappers.declared import reward_box, with_components

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")
Floats = NDArray[np.float64]


class ChangedReturn(gym.Wrapper[ObsType, ActType, ObsType, ActType]):
    """An environment some of whose objectives are paid once, at the end of an episode, as a function of the return.

    Before the end these objectives are 0; then the changed value of what the episode accumulated, without discount, is
    paid. What is changed is the return, not a step: a gate or an offset at every step would make another objective of
    it. An episode of one step, or one that pays at its end alone as the token views do, keeps its times of payment. The
    other objectives pass through. ``reward_space`` and ``return_space`` are the new bounds (``env.get_wrapper_attr``;
    ``env.unwrapped`` has the old ones). ``info["reward_components"]``, where the environment has it, is of the new
    rewards. An objective that ``info["objective_mask"]`` says does not apply is paid its new lower bound.

    Args:
        env: An environment with a ``reward_space``, a Box (K,).
        change: ``(return (K,), generator) -> return (K,)``, a fresh array; picklable. NaN stands for an objective that
            does not apply; whatever becomes of it is ignored.
        columns: Those that it changes.
        bounds: Of the new returns, a Box (K,).
        who: The wrapper's name, for messages.
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        change: Callable[[Floats, np.random.Generator], Floats],
        columns: Sequence[int],
        bounds: Box,
        who: str,
    ) -> None:
        gym.Wrapper.__init__(self, env)
        space = reward_box(env, who)
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        changed = list(columns)
        low[changed], high[changed] = np.minimum(bounds.low, 0)[changed], np.maximum(bounds.high, 0)[changed]
        self.reward_space, self.return_space = Box(low, high, dtype=np.float32), bounds
        self._change, self._columns = change, changed
        self._return = np.zeros(bounds.shape)
        self._noise = np.random.default_rng()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Begin an episode; a seed is also that of what the wrapper draws."""
        self._return = np.zeros_like(self._return)
        if seed is not None:
            self._noise = np.random.default_rng([seed, 1])  # not the environment's own stream
        return super().reset(seed=seed, options=options)

    def step(self, action: ActType) -> tuple[ObsType, Any, bool, bool, dict[str, Any]]:
        """Step, with the changed reward vector, float32 (K,)."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        vector: NDArray[np.float32] = np.array(reward, np.float32)
        self._return = self._return + np.asarray(reward, np.float64)
        paid = np.zeros_like(self._return)
        if terminated or truncated:
            paid = self._changed(info)
        vector[self._columns] = np.clip(paid, self.return_space.low, self.return_space.high)[self._columns]
        return observation, vector, terminated, truncated, with_components(self.env, info, vector)

    def _changed(self, info: Mapping[str, Any]) -> Floats:
        """The changed return (K,) of the episode that ended."""
        applies = np.asarray(info.get("objective_mask", np.ones(self._return.shape, np.bool_)), np.bool_)
        changed = self._change(np.where(applies, self._return, np.nan), self._noise)
        return np.where(applies, changed, self.return_space.low)
