"""An environment for wrappers: what it pays are rows of tables that belong to its class."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class PaidRows(gym.Env):
    """Three steps; the action says the table, the step the row. The observation is where the episode stands."""

    TABLES = np.array([[[1.0, -2.0], [0.0, 4.0], [0.25, 0.25]], [[-1.0, 4.0], [0.5, 0.5], [0.0, -2.0]]], np.float32)
    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, truncates: bool = False, masks: bool = True) -> None:
        self.observation_space, self.action_space = Box(0, 4, (2,), np.float32), Discrete(2)
        self.reward_space = Box(np.float32([-1, -2]), np.float32([1, 4]))
        self.return_space = Box(np.float32([-3, -6]), np.float32([3, 12]))
        self.reward_dim, self.objective_names = 2, ("speed", "care")
        self.truncates, self.count = truncates, 0
        if masks:
            self.action_masks = self._masks

    def _masks(self) -> Any:
        return np.array([True, self.count < 2])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.start, self.count = float(self.np_random.uniform()), 0
        self.options = options
        return self._observation(), {"count": 0}

    def _observation(self) -> Any:
        return np.array([self.count, self.start], np.float32)

    def step(self, action: Any) -> Any:
        reward = self.TABLES[action][self.count]
        self.count += 1
        over = self.count == 3
        components = dict(zip(self.objective_names, reward.tolist(), strict=True))
        info = {"count": self.count, "reward_components": components}
        return self._observation(), reward, over and not self.truncates, over and self.truncates, info


gym.register("PaidRows-MO-v0", entry_point=f"{__name__}:PaidRows", disable_env_checker=True)


def played(env: gym.Env, actions: Any, **reset: Any) -> list[Any]:
    """What each step of an episode returned."""
    env.reset(**reset)
    return [env.step(action) for action in actions]
