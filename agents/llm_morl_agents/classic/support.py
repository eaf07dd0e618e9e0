"""`assert_supported`: whether an algorithm can be trained on an environment, and what to do where it cannot."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from llm_morl_agents.classic.algorithms import ALGORITHMS, Algorithm, resolve_algorithm
from llm_morl_env.wrappers.declared import declared

#: Resets that are compared where every episode has to begin in the same state.
STARTS = 8


def assert_supported(algo: str | Algorithm, env: gym.Env[Any, Any]) -> None:
    """Refuse an environment that an algorithm cannot be trained on.

    What the compatibility context lifts is not refused: more than 256 actions for Envelope and GPI-LS, float
    observations for EUPG.

    Args:
        algo: Name, or row of the table.
        env: The environment; it is reset where its starts have to be compared.

    Raises:
        ValueError: If it cannot; the message names the fix: a view, a wrapper, or another algorithm.
    """
    row = resolve_algorithm(algo) if isinstance(algo, str) else algo
    for check in (_check_made, _check_actions, _check_observations, _check_objectives, _check_masks, _check_starts):
        problem = check(row, env)
        if problem is not None:
            raise ValueError(f"{row.name} cannot be trained on this environment: {problem}")


def _check_made(row: Algorithm, env: gym.Env[Any, Any]) -> str | None:
    if env.unwrapped.spec is None:
        return "it has no spec (libraries ask for env.unwrapped.spec.id): make it by gym.make, from a registered id"
    return None


def _check_actions(row: Algorithm, env: gym.Env[Any, Any]) -> str | None:
    space = env.action_space
    if isinstance(space, Discrete) and space.start == 0:
        return None
    return (
        f"actions must be Discrete(n) from 0, got {space}: take view='token', 'index' or 'choice'; "
        "agents of llm_morl_agents train on view='text'"
    )


def _check_observations(row: Algorithm, env: gym.Env[Any, Any]) -> str | None:
    space = env.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        shape = "" if space.shape is None else f" of shape {space.shape}"
        return (
            f"observations must be a flat Box, got {type(space).__name__}{shape}: take view='token', 'index' or "
            "'choice', or wrap it in gymnasium.wrappers.FlattenObservation"
        )
    return None


def _check_objectives(row: Algorithm, env: gym.Env[Any, Any]) -> str | None:
    rewards = declared(env, "reward_space")
    if not isinstance(rewards, Box) or len(rewards.shape) != 1:
        return f"it must declare reward_space, a Box of shape (K,), got {rewards!r}: unwrap what scalarises its rewards"
    size, least = rewards.shape[0], row.needs.min_objectives
    if size < least:
        others = [name for name, other in ALGORITHMS.items() if other.needs.min_objectives <= size]
        return f"it needs at least {least} objectives, got {size}: choose more by objectives=, or take one of {others}"
    return None


def _check_masks(row: Algorithm, env: gym.Env[Any, Any]) -> str | None:
    if row.needs.masks and not callable(declared(env, "action_masks")):
        return "it needs action_masks(): take view='token' or 'index'"
    return None


def _check_starts(row: Algorithm, env: gym.Env[Any, Any]) -> str | None:
    if not row.needs.one_start:
        return None
    first, _ = env.reset(seed=0)
    if any(not np.array_equal(first, env.reset()[0]) for _ in range(STARTS)):
        return (
            "every episode must begin in the same state (its table is read out at state 0), but prompts differ: take a "
            "task with one problem (DentFront-MO-v0, CountsFront-MO-v0), or mp_moql, whose table holds any state"
        )
    return None
