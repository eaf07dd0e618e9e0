"""Which language model an experiment starts from, where that depends on the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gymnasium.vector import VectorEnv

if TYPE_CHECKING:
    from llm_morl_agents.policy import Policy

#: The embedded model where it knows the environment's tokens, else one from scratch.
AUTO = "auto"
SCRATCH = "scratch"
#: Of a model from scratch that `AUTO` chose, unless the experiment names one: there is nothing to unlearn.
SCRATCH_LEARNING_RATE = 3e-3


def resolve_policy(source: str, envs: VectorEnv[Any, Any, Any]) -> str:
    """What ``source`` means on this environment: `AUTO` decides by the tokenizer, everything else stands for itself."""
    from llm_morl_env.tokenizer import BUILT_IN

    task = getattr(envs.unwrapped, "task", None)
    if source != AUTO:
        return source
    return "tiny" if task is None or task.tokenizer.path.resolve() == BUILT_IN.resolve() else SCRATCH


def suited_settings(source: str, envs: VectorEnv[Any, Any, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the learning rate that a model from scratch needs where `AUTO` chose it."""
    chosen: dict[str, Any] = {}
    if source == AUTO and resolve_policy(source, envs) == SCRATCH:
        chosen["learning_rate"] = SCRATCH_LEARNING_RATE
    return {**chosen, **settings}


def starting_policy(source: str, envs: VectorEnv[Any, Any, Any], *, seed: int, device: str, dtype: str) -> Policy:
    """Load the language model.

    Args:
        source: As on the command line.
        envs: Its tokenizer is that of a model from scratch.
        seed: Of the weights of a model from scratch.
        device: Where to put it.
        dtype: See `llm_morl_agents.load_policy`.

    Raises:
        ValueError: If it is to be made from scratch, and the environment is not made of a task of this project.
    """
    from llm_morl_agents.policies.load import load_policy

    source = resolve_policy(source, envs)
    if source != SCRATCH:
        return load_policy(source, device=device, dtype=dtype)
    task = getattr(envs.unwrapped, "task", None)
    if task is None:
        raise ValueError(f"policy {SCRATCH!r} needs the tokenizer of a task, which the environment has not")
    return load_policy(source, tokenizer=task.tokenizer, seed=seed, device=device, dtype=dtype)
