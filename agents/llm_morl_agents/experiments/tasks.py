"""Environments from the options of an experiment."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

import llm_morl_env
from llm_morl_agents.experiments.config import DEFAULT_ENV, TaskOptions
from llm_morl_env import expressions
from llm_morl_env.data import load_problems, split_rows
from llm_morl_env.task import Transform
from llm_morl_rewards import RewardVector

#: Options that are handed to a registered environment under their own names.
_PASSED_ON = ("difficulty", "objectives", "data", "data_format", "tokenizer", "max_response_tokens")


def make_envs(
    options: TaskOptions, *, num_envs: int, group_size: int, more: Sequence[Transform] = ()
) -> VectorEnv[Any, Any, Any]:
    """The batched text environment: a registered one, or one of the user's own problems and rewards.

    Args:
        options: Which.
        num_envs: Rows, a multiple of ``group_size``.
        group_size: Rows that share a prompt.
        more: Changes of the task after those of the options.

    Raises:
        ValueError: If options do not go together or a value is refused.
        TypeError: If the environment has no vector rewards, or does not know an argument.
    """
    named = {name: getattr(options, name) for name in _PASSED_ON if getattr(options, name) is not None}
    if options.transforms or more:
        named["transforms"] = [*load_transforms(options.transforms), *more]
    if options.rewards is not None:
        return _own_task(options, named, num_envs=num_envs, group_size=group_size)
    if "data" in named:
        named["data"] = str(named["data"])  # arguments of environments are plain
    if "tokenizer" in named:
        named["tokenizer"] = str(named["tokenizer"])
    arguments: dict[str, Any] = {**named, **options.env_kwargs}
    env_id = options.env or DEFAULT_ENV
    env = gym.make_vec(env_id, num_envs=num_envs, group_size=group_size, **arguments)
    if getattr(env.unwrapped, "reward_space", None) is None:
        raise TypeError(f"env {env_id!r} has no vector rewards (no reward_space)")
    return env


def load_transforms(texts: Sequence[str]) -> list[Transform]:
    """The changes of a task that the texts name, for example ``noisy(scale=0.5)``.

    Raises:
        ValueError: If a name or an option is unknown, or a value refused.
    """
    from llm_morl_env.transforms import TRANSFORMS

    try:
        return [expressions.construct(text, TRANSFORMS) for text in texts]
    except ValueError as error:
        raise ValueError(f"transforms: {error}") from None


def load_rewards(path: str) -> RewardVector:
    """The reward vector at ``module:attribute``: a `RewardVector`, or a sequence of reward functions.

    Raises:
        ValueError: If the text has another form.
        ImportError: If there is no such module.
        AttributeError: If the module has no such attribute.
        TypeError: If the attribute is something else.
    """
    module_name, colon, attribute = path.partition(":")
    if not (colon and module_name and attribute):
        raise ValueError(f"rewards must be of the form module:attribute, got {path!r}")
    here = os.getcwd()
    if here not in sys.path:  # a console script's path begins with its own folder
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise
        raise ImportError(f"rewards {path!r}: there is no module {module_name!r} in {here} or installed") from error
    if not hasattr(module, attribute):
        raise AttributeError(f"rewards {path!r}: {module.__file__} has no {attribute!r}")
    value = getattr(module, attribute)
    if isinstance(value, RewardVector):
        return value
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"rewards {path!r} must be a RewardVector or a list of reward functions, got {value!r}")
    return RewardVector(value)


def _own_task(
    options: TaskOptions, named: dict[str, Any], *, num_envs: int, group_size: int
) -> VectorEnv[Any, Any, Any]:
    if options.env is not None:
        raise ValueError(f"rewards replace an environment's: give rewards and data, or env, got env={options.env!r}")
    if options.data is None:
        raise ValueError("rewards need data, a JSON Lines file with the column prompt")
    refused = sorted(named.keys() & {"difficulty", "data_format"})
    if refused:
        raise ValueError(f"{refused[0]} belongs to a registered environment; with rewards, data has the column prompt")
    rewards = load_rewards(options.rewards or "")
    if options.objectives is not None:
        rewards = rewards.select(options.objectives)
    splits = split_rows(load_problems(options.data))
    more: dict[str, Any] = {
        name: named[name] for name in ("tokenizer", "max_response_tokens", "transforms") if name in named
    }
    more.update(options.env_kwargs)
    return llm_morl_env.make_text_vec(
        splits["train"],
        rewards,
        eval_problems=splits["eval"],
        num_envs=num_envs,
        group_size=group_size,
        **more,
    )
