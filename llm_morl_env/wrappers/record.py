"""`RecordVectorReturn`: what an episode earned, as a vector, in the info of its last step."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")

Floats = NDArray[np.float64]
#: Where the statistics stand in an info.
KEY = "mo_episode"


class RecordVectorReturn(gym.Wrapper[ObsType, ActType, ObsType, ActType], gym.utils.RecordConstructorArgs):
    """Episode statistics with vector returns: ``info["mo_episode"]`` at the end of each episode.

    With rewards r_1 .. r_l of an episode, (K,) each, and the discount gamma::

        r  = sum_t r_t                     float64 (K,)
        dr = sum_t gamma^(t - 1) r_t       float64 (K,)
        l  = number of steps               int
        t  = seconds since the reset       float, to the microsecond

    As MO-Gymnasium's ``MORecordEpisodeStatistics``, with two differences: ``info["episode"]`` is left to Gymnasium's
    own wrapper, whose numbers loggers expect there, so that both may be used at once; and nothing is shared, neither
    with the environment's info nor with the queues. For batched environments: `llm_morl_env.wrappers.vector`.

    Args:
        env: An environment with ``unwrapped.reward_space``, a Box of shape (K,).
        gamma: Discount of ``dr``, in [0, 1].
        buffer_length: How many episodes the queues hold.
        timed: Whether to say ``t``. It differs from run to run: without it infos are reproducible, and the wrapper
            keeps all rules of `llm_morl_env.testing.check_mo_env`.

    Attributes:
        episode_count: Episodes so far.
        return_queue: ``r`` of the last episodes.
        discounted_return_queue: ``dr`` of the last episodes.
        length_queue: ``l`` of the last episodes.
        time_queue: ``t`` of the last episodes, also where it is not said.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If an argument is out of its range; in `step`, if the info has the key already.

    >>> import gymnasium as gym, llm_morl_env
    >>> env = RecordVectorReturn(gym.make("ToolCall-MO-v0", view="text"), timed=False)
    >>> _ = env.reset(seed=0)
    >>> info = env.step("no call")[4]
    >>> sorted(info["mo_episode"]), info["mo_episode"]["l"], info["mo_episode"]["r"].shape
    (['dr', 'l', 'r'], 1, (3,))
    """

    def __init__(
        self, env: gym.Env[ObsType, ActType], gamma: float = 1.0, *, buffer_length: int = 100, timed: bool = True
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, gamma=gamma, buffer_length=buffer_length, timed=timed)
        gym.Wrapper.__init__(self, env)
        self._shape = reward_shape(env, type(self).__name__)
        check_arguments(type(self).__name__, gamma, buffer_length)
        self.gamma, self.timed = gamma, timed
        self.episode_count = 0
        self.return_queue: deque[Floats] = deque(maxlen=buffer_length)
        self.discounted_return_queue: deque[Floats] = deque(maxlen=buffer_length)
        self.length_queue: deque[int] = deque(maxlen=buffer_length)
        self.time_queue: deque[float] = deque(maxlen=buffer_length)
        self._start_episode()

    def _start_episode(self) -> None:
        self._return, self._discounted = np.zeros(self._shape), np.zeros(self._shape)
        self._length, self._start = 0, time.perf_counter()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Begin an episode; an unfinished one is forgotten."""
        returned = super().reset(seed=seed, options=options)
        self._start_episode()
        return returned

    def step(self, action: ActType) -> tuple[ObsType, Any, bool, bool, dict[str, Any]]:
        """Step; the reward is that of the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._recorded(reward, terminated or truncated, info)

    def _recorded(self, reward: Any, ended: bool, info: dict[str, Any]) -> dict[str, Any]:
        """Count a step's reward vector (K,); the info, with the statistics where the episode ended."""
        vector = np.asarray(reward, dtype=np.float64)
        self._return = self._return + vector
        self._discounted = self._discounted + self.gamma**self._length * vector
        self._length += 1
        if not ended:
            return info
        check_absent(type(self).__name__, info)
        return {**info, KEY: self._statistics()}

    def _statistics(self) -> dict[str, Any]:
        seconds = round(time.perf_counter() - self._start, 6)
        self.episode_count += 1
        self.return_queue.append(self._return.copy())
        self.discounted_return_queue.append(self._discounted.copy())
        self.length_queue.append(self._length)
        self.time_queue.append(seconds)
        said = {"r": self._return.copy(), "dr": self._discounted.copy(), "l": self._length}
        return {**said, "t": seconds} if self.timed else said


def reward_shape(env: Any, who: str) -> tuple[int, ...]:
    """(K,), of a single or a batched environment.

    Raises:
        TypeError: If it has no ``unwrapped.reward_space`` of that shape.
    """
    space = getattr(env.unwrapped, "reward_space", None)
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise TypeError(f"{who}(env=) needs unwrapped.reward_space, a Box of shape (K,), got {space!r}")
    return space.shape


def check_arguments(who: str, gamma: float, buffer_length: int) -> None:
    """Raise a ValueError if one is out of its range."""
    if not 0 <= gamma <= 1:
        raise ValueError(f"{who}(gamma=) must lie in [0, 1], got {gamma!r}")
    if buffer_length < 1:
        raise ValueError(f"{who}(buffer_length=) must be at least 1, got {buffer_length!r}")


def check_absent(who: str, info: dict[str, Any]) -> None:
    """Raise a ValueError if another wrapper wrote statistics already."""
    if KEY in info:
        raise ValueError(f"{who}: the environment's info has the key {KEY!r} already, from another such wrapper")
