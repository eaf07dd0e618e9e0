"""`WeightConditioned`: the weights of the objectives are part of the observation. Shapes: K objectives, D features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike, NDArray

from llm_morl_env.wrappers.declared import reward_box
from llm_morl_env.wrappers.scalarized import Floats, Scalarization, ScalarizedReward, Utility, plain

ActType = TypeVar("ActType")

#: ``generator -> weights (K,)``: not negative, with the sum 1.
Sampler = Callable[[np.random.Generator], ArrayLike]
#: How far a sum of weights may be from 1: they may have been float32.
SUM_TOLERANCE = 1e-5


class WeightConditioned(ScalarizedReward[NDArray[Any], ActType]):
    """A scalar environment for each weighting of the objectives, which the agent sees: one policy, a whole front.

    The weights (K,) are appended to a flat float observation (D,), drawn anew at every reset, and scalarise the rewards
    as `ScalarizedReward` does (conditioned networks: Abels et al., 2019). Any single-objective algorithm trains on it;
    the policy for some weights is that of ``reset(options={"weights": w})``. Action masks pass through.

    ``info["reward_weights"]`` is there after resets too; all arrays are copies. The weights come from a generator of
    their own, which a seeded ``reset`` restarts, so that the problems that are drawn do not depend on them.

    Args:
        env: An environment with a ``reward_space``, a Box (K,), and observations in a flat float Box (D,).
        sampler: Of the weights of an episode, ``generator -> (K,)``; or weights that all episodes have; None draws
            uniformly from the simplex (Dirichlet with parameters 1).
        scalarization: See `ScalarizedReward`.

    Raises:
        TypeError: If the environment has no such reward space, or observations of another kind.
        ValueError: If weights are not K numbers, not negative, with the sum 1; in `reset`, also those drawn or given.

    >>> import gymnasium as gym, llm_morl_env
    >>> env = WeightConditioned(gym.make("DentFront-MO-v0", obs_mode="onehot"))
    >>> observation, info = env.reset(seed=0, options={"weights": [0.25, 0.75]})
    >>> observation[-2:].tolist(), info["reward_weights"].tolist()
    ([0.25, 0.75], [0.25, 0.75])
    """

    def __init__(
        self,
        env: gym.Env[NDArray[Any], ActType],
        sampler: Sampler | ArrayLike | None = None,
        scalarization: Scalarization | Utility = "linear",
    ) -> None:
        drawn = sampler if callable(sampler) else None
        fixed = None if callable(sampler) else plain(sampler)
        gym.utils.RecordConstructorArgs.__init__(self, sampler=drawn or fixed, scalarization=scalarization)
        space = env.observation_space
        if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype.kind != "f":
            raise TypeError(
                "WeightConditioned(env=) needs observations in a flat float Box: weights cannot be appended to "
                f"{space!r}. Make the environment with obs_mode='onehot' or 'embed' or view='index' or 'choice', or "
                "flatten and convert its observations (gymnasium.wrappers.FlattenObservation, TransformObservation)"
            )
        size = reward_box(env, "WeightConditioned").shape[0]
        super().__init__(env, scalarization, weights=np.full(size, 1 / size) if fixed is None else fixed)
        self._sampler = drawn
        self._fixed = None if fixed is None else self.weights
        self._generator = np.random.default_rng()
        self.observation_space = Box(
            np.concatenate([space.low, np.zeros(size, space.dtype)]),
            np.concatenate([space.high, np.ones(size, space.dtype)]),
            dtype=space.dtype.type,
        )

    @property
    def action_masks(self) -> Callable[[], NDArray[np.bool_]]:
        """The environment's method of that name; there is none where it has none, as MaskablePPO asks."""
        masks: Callable[[], NDArray[np.bool_]] = self.env.get_wrapper_attr("action_masks")
        return masks

    def set_weights(self, weights: ArrayLike) -> None:
        """Take other weights, a copy of (K,) numbers, until the next reset.

        Raises:
            ValueError: If they are not K numbers, not negative, with the sum 1.
        """
        checked = self._vector("weights", weights)
        if (checked < 0).any() or abs(checked.sum() - 1) > SUM_TOLERANCE:
            raise ValueError(f"WeightConditioned: weights must not be negative, with the sum 1, got {checked.tolist()}")
        super().set_weights(checked)

    set_weight = set_weights

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin an episode with its weights: ``options["weights"]`` where they are given, else the sampler's.

        Returns:
            Observation (D + K,), info.
        """
        if seed is not None:
            self._generator = np.random.default_rng([seed, 3])  # not the environment's own stream
        rest = dict(options or {})
        given = rest.pop("weights", None)
        self.set_weights(self._draw() if given is None else given)
        observation, info = super().reset(seed=seed, options=rest)
        return self._conditioned(observation), {**info, "reward_weights": self.weights}

    def step(self, action: ActType) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Step, with a Python float as the reward."""
        observation, reward, terminated, truncated, info = super().step(action)
        return self._conditioned(observation), reward, terminated, truncated, info

    def _draw(self) -> ArrayLike:
        if self._sampler is not None:
            return self._sampler(self._generator)
        return self._generator.dirichlet(np.ones(self._shape)) if self._fixed is None else self._fixed

    def _conditioned(self, observation: NDArray[Any]) -> NDArray[Any]:
        weights: Floats = np.minimum(self._weights, 1.0)  # a rounded sum may leave the bounds
        return np.concatenate([observation, weights.astype(observation.dtype)])
