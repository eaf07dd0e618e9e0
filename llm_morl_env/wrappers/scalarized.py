"""`ScalarizedReward`: a vector-reward environment as a scalar one, for single-objective agents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, SupportsFloat, TypeVar, cast, get_args

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_morl_env.wrappers.declared import return_box, reward_box

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")

Floats = NDArray[np.float64]
#: ``(vector (K,), weights (K,)) -> number``, larger is better.
Utility = Callable[[Floats, Floats], SupportsFloat]
Scalarization = Literal["linear", "chebyshev"]


class ScalarizedReward(gym.Wrapper[ObsType, ActType, ObsType, ActType], gym.utils.RecordConstructorArgs):
    """The environment with one number in place of the reward vector; vector and weights stay in the info.

    A drop-in for MO-Gymnasium's ``LinearReward`` with the same info keys, ``"vector_reward"`` (the step's reward, (K,))
    and ``"reward_weights"``. That one puts its own weight array into every info, which Gymnasium 1.4's ``check_env``
    rejects, and has linear weights only; here both are copies and the environment's info is left as it was.

    - ``"linear"``: ``w . r`` at every step (it adds up to ``w . sum of r``).
    - ``"chebyshev"``: ``-max_k w_k (ideal_k - R_k)``, which reaches the concave parts of a front too.
    - a callable ``(R, w) -> number``: your own utility.

    The last two are not linear, so a sum of per-step utilities would not be the utility of the sum (the token view pays
    zero vectors before the end, each of which would cost a full Chebyshev distance). They are therefore paid once, at
    the end of the episode (terminated or truncated), on the vector R that the episode accumulated, without discount;
    before that the reward is 0. This is the expected scalarised return criterion (Hayes et al., 2022). A one-step
    episode is paid at once.

    Args:
        env: An environment with a ``reward_space``, a Box of shape (K,).
        scalarization: See above.
        weights: Array (K,); ones by default.
        ideal: Array (K,), for ``"chebyshev"`` only: a return that no episode exceeds. By default
            ``return_space.high`` where the environment says what an episode adds up to (all of this package do), else
            ``reward_space.high``, which is right for one step; give it for others of several steps.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If weights or ideal have another shape or are not finite, or Chebyshev weights are negative.
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        scalarization: Scalarization | Utility = "linear",
        *,
        weights: ArrayLike | None = None,
        ideal: ArrayLike | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, scalarization=scalarization, weights=plain(weights), ideal=plain(ideal)
        )
        gym.Wrapper.__init__(self, env)
        space = reward_box(env, "ScalarizedReward")
        if not callable(scalarization) and scalarization not in get_args(Scalarization):
            raise ValueError(
                f"ScalarizedReward(scalarization=) must be one of {get_args(Scalarization)} or a callable, "
                f"got {scalarization!r}"
            )
        if ideal is not None and scalarization != "chebyshev":
            raise ValueError(f"ScalarizedReward(ideal=) belongs to scalarization='chebyshev', got {scalarization!r}")
        self._scalarization = scalarization
        self._shape = space.shape
        self._ideal = np.zeros(space.shape)
        if scalarization == "chebyshev":
            highest = return_box(env, "ScalarizedReward").high
            self._ideal = self._vector("ideal", highest if ideal is None else ideal)
        self._return = np.zeros(space.shape)
        self._weights = np.ones(space.shape)
        if weights is not None:
            self.set_weights(weights)

    @property
    def weights(self) -> Floats:
        """The weights (K,), a copy."""
        return self._weights.copy()

    def set_weights(self, weights: ArrayLike) -> None:
        """Take other weights, a copy of (K,) numbers, from the next step on.

        Raises:
            ValueError: If the shape is another, a value is not finite, or a Chebyshev weight is negative.
        """
        checked = self._vector("weights", weights)
        if self._scalarization == "chebyshev" and (checked < 0).any():
            raise ValueError(f"ScalarizedReward(weights=) must not be negative for 'chebyshev', got {checked.tolist()}")
        self._weights = checked

    #: MO-Gymnasium's name for it.
    set_weight = set_weights

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Begin an episode; the accumulated vector starts at zero."""
        self._return = np.zeros(self._shape)
        return super().reset(seed=seed, options=options)

    def step(self, action: ActType) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Step, with a Python float as the reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        vector: NDArray[Any] = np.array(reward)
        self._return = self._return + vector
        if self._scalarization == "linear":
            scalar = float(np.dot(self._weights, vector))
        else:
            scalar = self._utility() if terminated or truncated else 0.0
        described = {**info, "vector_reward": vector, "reward_weights": self._weights.copy()}
        return observation, scalar, terminated, truncated, described

    def _utility(self) -> float:
        if self._scalarization == "chebyshev":
            return -float(np.max(self._weights * (self._ideal - self._return)))
        utility = float(cast(Utility, self._scalarization)(self._return.copy(), self._weights.copy()))
        if not math.isfinite(utility):
            raise ValueError(
                f"ScalarizedReward: the utility must be finite, got {utility} for the vector {self._return.tolist()} "
                f"and the weights {self._weights.tolist()}"
            )
        return utility

    def _vector(self, name: str, values: ArrayLike) -> Floats:
        vector = np.array(values, dtype=np.float64)
        if vector.shape != self._shape or not np.isfinite(vector).all():
            raise ValueError(
                f"ScalarizedReward({name}=) must be finite and of shape {self._shape}, got {vector.tolist()}"
            )
        return vector


def plain(values: ArrayLike | None) -> Any:
    """As lists, so that the spec can be written as JSON."""
    return None if values is None else np.asarray(values, dtype=np.float64).tolist()
