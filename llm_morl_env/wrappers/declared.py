"""What an environment declares of its vector rewards, the outermost wrapper's word first."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box
from numpy.typing import NDArray


def declared(env: gym.Env[Any, Any], name: str, default: Any = None) -> Any:
    """An attribute of the outermost wrapper that has it, or of the environment, else ``default``."""
    try:
        return env.get_wrapper_attr(name)
    except AttributeError:
        return default


def reward_box(env: gym.Env[Any, Any], who: str) -> Box:
    """The bounds of a step's rewards.

    Raises:
        TypeError: If the environment declares no ``reward_space``, a Box of shape (K,).
    """
    space = declared(env, "reward_space")
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise TypeError(f"{who}(env=) needs a reward_space, a Box of shape (K,), got {space!r}")
    return space


def return_box(env: gym.Env[Any, Any], who: str) -> Box:
    """The bounds of an episode's vector return: ``return_space`` where it is declared, else those of a step.

    Raises:
        TypeError: As `reward_box`.
    """
    space = declared(env, "return_space")
    return space if isinstance(space, Box) else reward_box(env, who)


def column_named(env: gym.Env[Any, Any], objective: str | int, parameter: str) -> int:
    """The column of an objective, given by name or by number.

    Raises:
        ValueError: If there is no such objective, or a name is given and the environment names none.
    """
    size = reward_box(env, parameter.partition("(")[0]).shape[0]
    names = declared(env, "objective_names")
    if isinstance(objective, str) and names is not None and objective in names:
        return list(names).index(objective)
    if not isinstance(objective, str) and 0 <= objective < size:
        return int(objective)
    raise ValueError(f"{parameter} must be one of {names} or a number in 0..{size - 1}, got {objective!r}")


def with_components(env: gym.Env[Any, Any], info: dict[str, Any], rewards: NDArray[Any]) -> dict[str, Any]:
    """The info with ``"reward_components"`` of other rewards (K,), where the environment says them and names them."""
    names = declared(env, "objective_names")
    if names is None or "reward_components" not in info:
        return info
    components = {name: float(value) for name, value in zip(names, rewards, strict=True)}
    return {**info, "reward_components": components}
