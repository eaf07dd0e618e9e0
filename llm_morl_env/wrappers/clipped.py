"""`ClipObjectives`: rewards of each step within bounds of one's own. Shapes: K objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from llm_morl_env.wrappers.declared import column_named, reward_box, with_components

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")


class ClipObjectives(gym.Wrapper[ObsType, ActType, ObsType, ActType], gym.utils.RecordConstructorArgs):
    """An environment whose rewards are clipped, objective by objective, at every step.

    As MO-Gymnasium's ``MOClipReward`` for several objectives at once, with two differences: the array that the
    environment returned is left as it was, and ``reward_space`` has the new bounds (``env.get_wrapper_attr``;
    ``env.unwrapped`` has the old ones). ``info["reward_components"]``, where the environment has it, is of the clipped
    rewards.

    What is clipped is a step, not a return: ``return_space`` is None, since the sum of clipped rewards may leave the
    bounds of the sum (losses that are clipped no longer balance gains).

    Args:
        env: An environment with a ``reward_space``, a Box (K,).
        low: Least reward, one number or one for each of ``objectives``; None leaves the lower bounds.
        high: Greatest reward, likewise.
        objectives: Names or numbers; None takes all.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If there is no such objective, the numbers are not as many, one is NaN, or ``low`` exceeds ``high``.

    >>> import gymnasium as gym, llm_morl_env
    >>> env = ClipObjectives(gym.make("ToolCall-MO-v0", view="text"), -1.0, 1.0, ["correctness"])
    >>> env.reward_space.low.tolist(), env.reward_space.high.tolist()
    ([0.0, -1.0, 0.0], [1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        objectives: Sequence[str | int] | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, low=_plain(low), high=_plain(high), objectives=None if objectives is None else list(objectives)
        )
        gym.Wrapper.__init__(self, env)
        space = reward_box(env, "ClipObjectives")
        chosen = range(space.shape[0]) if objectives is None else objectives
        columns = [column_named(env, objective, "ClipObjectives(objectives=)") for objective in chosen]
        self._low, self._high = np.full(space.shape, -np.inf, np.float32), np.full(space.shape, np.inf, np.float32)
        self._low[columns] = _limits("low", low, -np.inf, len(columns))
        self._high[columns] = _limits("high", high, np.inf, len(columns))
        if (self._low > self._high).any():
            raise ValueError(f"ClipObjectives(low=) must not exceed high, got {low!r} and {high!r}")
        self.reward_space = Box(self._clipped(space.low), self._clipped(space.high), dtype=np.float32)
        self.return_space = None

    def step(self, action: ActType) -> tuple[ObsType, Any, bool, bool, dict[str, Any]]:
        """Step, with the clipped reward vector, float32 (K,)."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        vector = self._clipped(reward)
        return observation, vector, terminated, truncated, with_components(self.env, info, vector)

    def _clipped(self, values: Any) -> NDArray[np.float32]:
        return np.clip(np.asarray(values, np.float32), self._low, self._high)


def _limits(name: str, given: float | Sequence[float] | None, absent: float, size: int) -> NDArray[np.float32]:
    """One limit for each of ``size`` objectives."""
    values = np.asarray(absent if given is None else given, np.float64)
    if values.shape not in ((), (size,)) or np.isnan(values).any():
        raise ValueError(f"ClipObjectives({name}=) must be a number or {size} numbers, none of them NaN, got {given!r}")
    return np.broadcast_to(values, (size,)).astype(np.float32)


def _plain(given: float | Sequence[float] | None) -> Any:
    """As numbers, so that the spec can be written as JSON."""
    return None if given is None else np.asarray(given, np.float64).tolist()
