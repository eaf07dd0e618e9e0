"""`GateObjective`, `ScaleToUnit`, `NoisyObjective`: thin forms of the transforms, for any single environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from llm_morl_env.wrappers.changed_return import ActType, ChangedReturn, Floats, ObsType
from llm_morl_env.wrappers.declared import column_named, return_box


class GateObjective(ChangedReturn[ObsType, ActType], gym.utils.RecordConstructorArgs):
    """An objective whose return counts only where another one's reaches a threshold, else it is its lower bound.

    See `llm_morl_env.transforms.GateObjective`, which works for batches too, and `ChangedReturn` for episodes of
    several steps.

    Args:
        env: An environment with a ``reward_space``, a Box (K,).
        easy: The objective that is gated: a name of ``objective_names``, or a number.
        on: The one that opens the gate.
        threshold: Of its return, above the lower bound and at most the upper one.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If there is no such objective, the two are one, or ``threshold`` leaves the bounds.
    """

    def __init__(self, env: gym.Env[ObsType, ActType], easy: str | int, on: str | int, threshold: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, easy=easy, on=on, threshold=threshold)
        bounds = return_box(env, "GateObjective")
        gated, opens = column_named(env, easy, "GateObjective(easy=)"), column_named(env, on, "GateObjective(on=)")
        if gated == opens:
            raise ValueError(f"GateObjective(easy=, on=) must be two objectives, got {easy!r} and {on!r}")
        low, high = float(bounds.low[opens]), float(bounds.high[opens])
        if not low < threshold <= high:
            raise ValueError(f"GateObjective(threshold=) must lie in ({low:g}, {high:g}], got {threshold!r}")
        change = GatedReturn(gated, opens, float(threshold), float(bounds.low[gated]))
        super().__init__(env, change, [gated], bounds, "GateObjective")


class ScaleToUnit(ChangedReturn[ObsType, ActType], gym.utils.RecordConstructorArgs):
    """Returns by their declared bounds on [0, 1]: ``(R_k - low_k) / (high_k - low_k)``.

    See `llm_morl_env.transforms.ScaleToUnit`, which works for batches too, and `ChangedReturn` for episodes of several
    steps.

    Args:
        env: An environment with a ``reward_space``, a Box (K,), finite where it is scaled.
        objectives: Names or numbers; None takes all.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If there is no such objective, or its bounds are not finite with low < high.
    """

    def __init__(self, env: gym.Env[ObsType, ActType], objectives: Sequence[str | int] | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, objectives=None if objectives is None else list(objectives))
        bounds = return_box(env, "ScaleToUnit")
        chosen = range(bounds.shape[0]) if objectives is None else objectives
        columns = [column_named(env, objective, "ScaleToUnit(objectives=)") for objective in chosen]
        low, width = np.zeros(bounds.shape), np.ones(bounds.shape)
        new_low, new_high = bounds.low.astype(np.float32), bounds.high.astype(np.float32)
        for k in columns:
            if not (np.isfinite(bounds.low[k]) and np.isfinite(bounds.high[k]) and bounds.low[k] < bounds.high[k]):
                raise ValueError(f"ScaleToUnit(env=): objective {k} needs finite bounds with low < high, got {bounds}")
            low[k], width[k] = bounds.low[k], float(bounds.high[k]) - float(bounds.low[k])
            new_low[k], new_high[k] = 0.0, 1.0
        change = ScaledReturn(tuple(low.tolist()), tuple(width.tolist()))
        super().__init__(env, change, columns, Box(new_low, new_high, dtype=np.float32), "ScaleToUnit")


class NoisyObjective(ChangedReturn[ObsType, ActType], gym.utils.RecordConstructorArgs):
    """An objective whose return bears noise that no policy can influence: ``scale * U``, U uniform on [-1, 1].

    See `llm_morl_env.transforms.NoisyObjective`, which works for batches too and can add an objective of nothing but
    noise, and `ChangedReturn` for episodes of several steps. The noise has a generator of its own, seeded by ``reset``.

    Args:
        env: An environment with a ``reward_space``, a Box (K,).
        on: The objective: a name of ``objective_names``, or a number.
        scale: Greatest size of the noise, above 0; the bounds grow by it.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If there is no such objective, or ``scale`` is not above 0.
    """

    def __init__(self, env: gym.Env[ObsType, ActType], on: str | int, scale: float = 0.5) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, on=on, scale=scale)
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"NoisyObjective(scale=) must be finite and above 0, got {scale!r}")
        bounds, column = return_box(env, "NoisyObjective"), column_named(env, on, "NoisyObjective(on=)")
        low, high = bounds.low.astype(np.float32), bounds.high.astype(np.float32)
        low[column] -= scale
        high[column] += scale
        change = NoisyReturn(column, float(scale))
        super().__init__(env, change, [column], Box(low, high, dtype=np.float32), "NoisyObjective")


@dataclass(frozen=True)
class GatedReturn:
    """``R_easy`` where ``R_on`` reaches the threshold, else ``low``.

    >>> GatedReturn(0, 1, 0.5, 0.0)(np.array([1.0, 0.4]), np.random.default_rng(0)).tolist()
    [0.0, 0.4]
    """

    easy: int
    on: int
    threshold: float
    low: float

    def __call__(self, returned: Floats, rng: np.random.Generator) -> Floats:
        """The new return (K,)."""
        gated = returned.copy()
        if returned[self.on] < self.threshold:
            gated[self.easy] = self.low
        return gated


@dataclass(frozen=True)
class ScaledReturn:
    """``(R - low) / width``."""

    low: tuple[float, ...]
    width: tuple[float, ...]

    def __call__(self, returned: Floats, rng: np.random.Generator) -> Floats:
        """The new return (K,)."""
        scaled: Floats = (returned - np.array(self.low)) / np.array(self.width)
        return scaled


@dataclass(frozen=True)
class NoisyReturn:
    """A column with ``scale * U``, U uniform on [-1, 1]."""

    column: int
    scale: float

    def __call__(self, returned: Floats, rng: np.random.Generator) -> Floats:
        """The new return (K,); draws one number."""
        noisy = returned.copy()
        noisy[self.column] += rng.uniform(-self.scale, self.scale)
        return noisy
