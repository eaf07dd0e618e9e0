"""Rollout: reset the environment, generate, step. The agent knows no more of a task than this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.policy import Generation, Policy, Sampling, draw_uniforms
from llm_morl_agents.weighters import Objectives

#: What each random stream is for; part of its seed, so that no two streams coincide.
STREAMS = {"rollout": 0, "sample": 1, "shuffle": 2, "evaluate": 3, "predict": 4}


def stream(seed: int, name: str, *position: int) -> np.random.Generator:
    """The generator of one purpose at one position (step, attempt, ...): a pure function, so that nothing needs saving.

    The positions of a purpose must have one length: numpy pads seeds with zeros, so (1,) and (1, 0) are the same.

    >>> bool(stream(0, "sample", 3).random() == stream(0, "sample", 3).random())
    True
    """
    return np.random.default_rng([seed, STREAMS[name], *position])


def derived_seed(seed: int, name: str, *position: int) -> int:
    """An integer seed for ``env.reset``, derived as `stream` is."""
    return int(stream(seed, name, *position).integers(2**31 - 1))


def prompts_by_group(
    prompts: Sequence[str], group: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The P distinct prompts, the prompt of each row (N,), and the first row of each group (P,).

    Raises:
        ValueError: If the rows of a group have different prompts.
    """
    _, first, index = np.unique(group, return_index=True, return_inverse=True)
    distinct = [prompts[row] for row in first]
    for row, prompt in enumerate(prompts):
        if prompt != distinct[index[row]]:
            raise ValueError(f"the environment's rows {first[index[row]]} and {row} are one group but differ in prompt")
    return distinct, index.astype(np.int64), first.astype(np.int64)


def objectives_of(env: VectorEnv[Any, Any, Any]) -> Objectives:
    """The objectives that an environment declares.

    Raises:
        TypeError: If it has no vector rewards.
    """
    space = getattr(env.unwrapped, "reward_space", None)
    names = getattr(env.unwrapped, "objective_names", None)
    if space is None or names is None:
        raise TypeError(f"env must be a batched text environment with vector rewards, got {env!r}")
    return Objectives(tuple(names), space.low, space.high)


def rollout(
    policy: Policy,
    env: VectorEnv[Any, Any, Any],
    sampling: Sampling,
    *,
    env_seed: int,
    generator: np.random.Generator,
    split: str = "train",
) -> RolloutBatch:
    """One response for each of the environment's N rows, scored.

    Args:
        policy: Generates.
        env: A batched text environment; its ``reset`` says ``info["group"]``.
        sampling: How to generate.
        env_seed: Given to ``reset``: which problems.
        generator: Draws the responses.
        split: Which problems to draw from.
    """
    prompts, info = env.reset(seed=env_seed, options={"split": split})
    group = np.asarray(info["group"], dtype=np.int64)
    distinct, index, _ = prompts_by_group(prompts, group)
    prompt_ids = policy.encode_prompts(distinct)
    uniforms = draw_uniforms(generator, len(prompts), sampling.max_new_tokens)
    generation: Generation = policy.generate(prompt_ids, index, sampling, uniforms)
    _, rewards, _, _, _ = env.step(generation.texts)
    return RolloutBatch(
        prompt_ids=tuple(tuple(ids) for ids in prompt_ids),
        response_ids=generation.response_ids,
        response_mask=generation.response_mask,
        behaviour_logprobs=generation.logprobs,
        rewards=np.asarray(rewards, dtype=np.float64),
        group=group,
        finished=generation.finished,
    )
