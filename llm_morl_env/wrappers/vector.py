"""Wrappers around batched environments with vector rewards. Shapes: N rows, K objectives."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from llm_morl_env.wrappers.record import KEY, Floats, check_absent, check_arguments, reward_shape

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")


class RecordVectorReturn(VectorWrapper, gym.utils.RecordConstructorArgs):
    """Episode statistics with vector returns, of each row: ``info["mo_episode"]`` where episodes end.

    ``r`` and ``dr`` are float64 (N, K), ``l`` int64 (N,) and ``t`` float64 (N,), as in
    `llm_morl_env.wrappers.RecordVectorReturn`; ``info["_mo_episode"]``, bool (N,), says which rows ended in this step,
    and the others are zero. Without an episode that ended, the info has neither.

    The three autoreset modes are told apart. Under ``SAME_STEP`` the next step belongs to the next episode; under
    ``NEXT_STEP`` the step after the end is the reset, and counts for nothing; under ``DISABLED`` a row that has ended
    counts for nothing until it is reset (with ``options["reset_mask"]``, only those rows are). So a dialogue that has
    ended is recorded once, however long the others go on.

    Args:
        env: A batched environment with ``unwrapped.reward_space``, the Box (K,) of one row.
        gamma: Discount of ``dr``, in [0, 1].
        buffer_length: How many episodes the queues hold.
        timed: Whether to say ``t``, which differs from run to run.

    Attributes:
        episode_count: Episodes so far.
        return_queue: ``r`` of the last episodes, (K,) each; those of one step in the order of their rows.
        discounted_return_queue: ``dr`` of the last episodes.
        length_queue: ``l`` of the last episodes.
        time_queue: ``t`` of the last episodes, also where it is not said.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If an argument is out of its range, or the environment does not say its autoreset mode; in `step`,
            if the info has the key already.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], gamma: float = 1.0, *, buffer_length: int = 100, timed: bool = True
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, gamma=gamma, buffer_length=buffer_length, timed=timed)
        VectorWrapper.__init__(self, env)
        (self._size,) = reward_shape(env, "RecordVectorReturn")
        check_arguments("RecordVectorReturn", gamma, buffer_length)
        mode = (env.metadata or {}).get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ValueError(f"RecordVectorReturn(env=) must say metadata['autoreset_mode'], got {mode!r}")
        self.gamma, self.timed, self._mode = gamma, timed, mode
        self.episode_count = 0
        self.return_queue: deque[Floats] = deque(maxlen=buffer_length)
        self.discounted_return_queue: deque[Floats] = deque(maxlen=buffer_length)
        self.length_queue: deque[int] = deque(maxlen=buffer_length)
        self.time_queue: deque[float] = deque(maxlen=buffer_length)
        rows = env.num_envs
        self._returns, self._discounted = np.zeros((rows, self._size)), np.zeros((rows, self._size))
        self._lengths, self._starts = np.zeros(rows, np.int64), np.zeros(rows)
        self._over = np.zeros(rows, np.bool_)

    def _start_episodes(self, rows: NDArray[np.bool_]) -> None:
        self._returns[rows], self._discounted[rows], self._lengths[rows] = 0.0, 0.0, 0
        self._starts[rows], self._over[rows] = time.perf_counter(), False

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes in all rows, or in those of ``options["reset_mask"]``."""
        mask = (options or {}).get("reset_mask")  # before the call: vector environments take it out of the options
        rows = np.ones(self.num_envs, np.bool_) if mask is None else np.array(mask, np.bool_)
        returned = self.env.reset(seed=seed, options=options)
        self._start_episodes(rows)
        return returned

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step; the rewards are those of the environment."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        running = ~self._over
        self._count(np.asarray(rewards, np.float64), running)
        ended = (np.asarray(terminated) | np.asarray(truncated)) & running
        if self._mode is AutoresetMode.NEXT_STEP:
            self._start_episodes(self._over.copy())
        if ended.any():
            check_absent("RecordVectorReturn", info)
            info = {**info, KEY: self._statistics(ended), f"_{KEY}": ended.copy()}
            self._over |= ended
        if self._mode is AutoresetMode.SAME_STEP:
            self._start_episodes(ended)
        return observations, rewards, terminated, truncated, info

    def _count(self, rewards: Floats, rows: NDArray[np.bool_]) -> None:
        self._returns[rows] += rewards[rows]
        self._discounted[rows] += (self.gamma ** self._lengths[rows])[:, None] * rewards[rows]
        self._lengths[rows] += 1

    def _statistics(self, rows: NDArray[np.bool_]) -> dict[str, Any]:
        seconds = np.round(time.perf_counter() - self._starts, 6)
        self.episode_count += int(rows.sum())
        for row in np.flatnonzero(rows):
            self.return_queue.append(self._returns[row].copy())
            self.discounted_return_queue.append(self._discounted[row].copy())
            self.length_queue.append(int(self._lengths[row]))
            self.time_queue.append(float(seconds[row]))
        said: dict[str, Any] = {"r": self._returns, "dr": self._discounted, "l": self._lengths, "t": seconds}
        described: dict[str, Any] = {}
        for key, values in said.items():
            if key != "t" or self.timed:
                where = rows[:, None] if values.ndim == 2 else rows
                described[key] = np.where(where, values, np.zeros((), values.dtype))
                described[f"_{key}"] = rows.copy()
        return described
