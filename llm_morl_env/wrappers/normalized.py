"""`NormalizeObjectives`: all objectives on one scale, step by step. Shapes: K objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from llm_morl_env.wrappers.declared import return_box, reward_box, with_components

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")

Floats = NDArray[np.float64]
#: What rewards are divided by.
By = Literal["bounds", "running"]
#: Weight of the variance 1 that the statistics begin with, in observations (Gymnasium's).
FIRST_COUNT = 1e-4


class NormalizeObjectives(gym.Wrapper[ObsType, ActType, ObsType, ActType], gym.utils.RecordConstructorArgs):
    """An environment whose rewards are divided, objective by objective, by a scale of the objective.

    - ``"bounds"``: the declared width of an episode's return, ``return_space.high - return_space.low`` (of
      ``reward_space`` where the former is not declared). Returns then span an interval of length 1. Static: the same
      for every run, and ``reward_space`` and ``return_space`` are divided likewise.
    - ``"running"``: the standard deviation of the discounted return so far, ``sqrt(var + epsilon)``, as MO-Gymnasium's
      ``MONormalizeReward`` for all objectives at once, except that a return begins at 0 with each episode (there, the
      last reward of one goes on into the next). It follows the data, so two runs differ, and a return is a sum of
      rewards on several scales: ``return_space`` is None, and ``reward_space`` has the bounds at a variance of 0.

    Nothing is subtracted: an offset at every step would reward or punish the length of an episode
    (`llm_morl_env.wrappers.ScaleToUnit` shifts returns, and pays at the end). The array that the environment returned
    is left as it was; ``info["reward_components"]``, where there is one, is of the normalised rewards. An objective
    that ``info["objective_mask"]`` says does not apply leaves its statistics alone.

    Args:
        env: An environment with a ``reward_space``, a Box (K,).
        by: See above.
        gamma: Discount of the returns, in [0, 1]; for ``"running"``.
        epsilon: Added to the variance, above 0; for ``"running"``.

    Attributes:
        update: Whether steps change the running statistics; False freezes them, for an evaluation.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If an argument is out of its range, or a width is not finite and above 0.

    >>> import gymnasium as gym, llm_morl_env
    >>> env = NormalizeObjectives(gym.make("ToolCall-MO-v0", view="text"))
    >>> env.return_space.low.tolist(), env.return_space.high.tolist()
    ([0.0, -0.5, 0.0], [1.0, 0.5, 1.0])
    """

    def __init__(
        self, env: gym.Env[ObsType, ActType], by: By = "bounds", *, gamma: float = 0.99, epsilon: float = 1e-8
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, by=by, gamma=gamma, epsilon=epsilon)
        gym.Wrapper.__init__(self, env)
        space, returns = reward_box(env, "NormalizeObjectives"), return_box(env, "NormalizeObjectives")
        if by not in get_args(By):
            raise ValueError(f"NormalizeObjectives(by=) must be one of {get_args(By)}, got {by!r}")
        if not 0 <= gamma <= 1:
            raise ValueError(f"NormalizeObjectives(gamma=) must lie in [0, 1], got {gamma!r}")
        if not (np.isfinite(epsilon) and epsilon > 0):
            raise ValueError(f"NormalizeObjectives(epsilon=) must be finite and above 0, got {epsilon!r}")
        self._by, self.gamma, self.epsilon, self.update = by, gamma, epsilon, True
        size = space.shape
        self._mean, self._var, self._count = np.zeros(size), np.ones(size), np.full(size, FIRST_COUNT)
        self._discounted = np.zeros(size)
        self._width = np.full(size, np.sqrt(epsilon))
        if by == "bounds":
            self._width = returns.high.astype(np.float64) - returns.low
            if not (np.isfinite(self._width) & (self._width > 0)).all():
                raise ValueError(f"NormalizeObjectives(env=) needs finite bounds with low < high, got {returns}")
        self.reward_space = self._divided(space)
        self.return_space = self._divided(returns) if by == "bounds" else None

    @property
    def scale(self) -> Floats:
        """What rewards are divided by now, (K,), a fresh array."""
        return self._width.copy() if self._by == "bounds" else np.sqrt(self._var + self.epsilon)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Begin an episode; the statistics go on."""
        self._discounted = np.zeros_like(self._discounted)
        return super().reset(seed=seed, options=options)

    def step(self, action: ActType) -> tuple[ObsType, Any, bool, bool, dict[str, Any]]:
        """Step, with the normalised reward vector, float32 (K,)."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        given = np.asarray(reward, np.float64)
        if self._by == "running" and self.update:
            self._observe(given, info)
        vector = (given / self.scale).astype(np.float32)
        return observation, vector, terminated, truncated, with_components(self.env, info, vector)

    def state_dict(self) -> dict[str, Floats]:
        """The statistics as arrays (K,): ``mean``, ``var`` and ``count`` of the discounted returns. Fresh ones."""
        return {"mean": self._mean.copy(), "var": self._var.copy(), "count": self._count.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take statistics as `state_dict` gave them; an episode that is running goes on.

        Raises:
            ValueError: If the keys or shapes are others, a number is not finite, or a variance or count is negative.
        """
        if set(state) != {"mean", "var", "count"}:
            raise ValueError(f"NormalizeObjectives.load_state_dict: needs mean, var and count, got {sorted(state)}")
        read = {name: np.array(values, np.float64) for name, values in state.items()}
        for name, values in read.items():
            sound = values.shape == self._mean.shape and np.isfinite(values).all()
            if not sound or (name != "mean" and (values < 0).any()):
                raise ValueError(
                    f"NormalizeObjectives.load_state_dict: {name} must be {self._mean.shape[0]} finite numbers, "
                    f"var and count not negative, got {values.tolist()}"
                )
        self._mean, self._var, self._count = read["mean"], read["var"], read["count"]

    def _observe(self, reward: Floats, info: Mapping[str, Any]) -> None:
        self._discounted = self._discounted * self.gamma + reward
        applies = np.asarray(info.get("objective_mask", np.ones(reward.shape, np.bool_)), np.bool_)
        away, total = self._discounted - self._mean, self._count + 1
        mean, var = self._mean + away / total, (self._var + away**2 / total) * self._count / total
        self._mean, self._var = np.where(applies, mean, self._mean), np.where(applies, var, self._var)
        self._count = np.where(applies, total, self._count)

    def _divided(self, space: Box) -> Box:
        """The bounds as rewards are: divided in float64, then rounded."""
        low, high = (bound.astype(np.float64) / self._width for bound in (space.low, space.high))
        return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
