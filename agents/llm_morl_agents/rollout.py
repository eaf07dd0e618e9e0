"""Rollout: reset the environment, generate, step until all rows ended. The agent knows no more of a task than this.

Shapes: N rows, K objectives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.dialogue_rollout import Dialogues, replies_of, turns_of
from llm_morl_agents.policy import Policy, Sampling, draw_uniforms
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
    """The objectives that an environment declares, with the bounds of an episode's return where it has several turns.

    Raises:
        TypeError: If it has no vector rewards.
    """
    space = getattr(env.unwrapped, "return_space", None)
    space = getattr(env.unwrapped, "reward_space", None) if space is None else space
    names = getattr(env.unwrapped, "objective_names", None)
    if space is None or names is None:
        raise TypeError(f"env must be a batched text environment with vector rewards, got {env!r}")
    return Objectives(tuple(names), space.low, space.high)


def is_scheduled(env: VectorEnv[Any, Any, Any]) -> bool:
    """Whether the environment's task draws its problems by the progress of the training."""
    sampler = getattr(getattr(env.unwrapped, "task", None), "sampler", None)
    return bool(getattr(sampler, "scheduled", False))


def said_of_rows(key: str, shape: tuple[int, ...], reset_info: Mapping[str, Any], step_info: Mapping[str, Any]) -> Any:
    """An array of ``info`` about the rows that were just scored, None where the environment does not say it.

    It belongs to the problem, so ``reset`` says it. Where only ``step`` does, ``final_info`` comes first: beside it the
    info of a step is about the next problems.

    Args:
        key: Of the info.
        shape: That the array must have.
        reset_info: Of the reset that began the rows.
        step_info: Of the step that scored them.

    Raises:
        ValueError: If it has another shape.
    """
    for info in (reset_info, step_info.get("final_info") or {}, step_info):
        if key in info:
            found = np.asarray(info[key])
            if found.shape != shape:
                raise ValueError(f"info[{key!r}] must have shape {shape}, got {found.shape}")
            return found
    return None


def went_on(live: NDArray[np.bool_], max_turns: int) -> RuntimeError:
    """The error of an environment whose rows, those of ``live`` (N,), outlast the turns that it declares."""
    return RuntimeError(f"{int(live.sum())} rows go on after turn {max_turns}, the last that the environment declares")


def without_missing(rewards: NDArray[np.float64], objective_mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """The rewards (N, K) with NaN where an objective does not apply, a fresh array; as they are without a mask.

    Raises:
        ValueError: If a reward is NaN although its objective applies.

    >>> without_missing(np.array([[0.5, 0.0]]), np.array([[True, False]])).tolist()
    [[0.5, nan]]
    """
    if objective_mask is None:
        return rewards
    bad = np.argwhere(np.isnan(rewards) & objective_mask)
    if len(bad):
        raise ValueError(f"rewards: NaN at row {bad[0][0]}, objective {bad[0][1]}, which info['objective_mask'] has")
    return np.where(objective_mask, rewards, np.nan)


def rollout(
    policy: Policy,
    env: VectorEnv[Any, Any, Any],
    sampling: Sampling,
    *,
    env_seed: int,
    generator: np.random.Generator,
    split: str = "train",
    progress: float = 0.0,
) -> RolloutBatch:
    """One response, or one dialogue, for each of the environment's N rows, scored.

    A step of the environment is a turn. Rows that it does not end read ``info["reply"]`` and answer again, behind the
    very tokens that were generated; the rewards of a row are summed over its turns.

    Args:
        policy: Generates.
        env: A batched text environment; its ``reset`` says ``info["group"]``.
        sampling: How to generate.
        env_seed: Given to ``reset``: which problems.
        generator: Draws the responses: for each turn uniforms for all rows, so that no row depends on when others end.
        split: Which problems to draw from.
        progress: Of the training, in [0, 1]; said to an environment whose task draws problems by it.

    Raises:
        ValueError: If what the environment says does not fit, or a dialogue outgrows the model's positions.
        RuntimeError: If rows go on after the last turn that the environment declares.
    """
    options = {"split": split} | ({"progress": progress} if is_scheduled(env) else {})
    prompts, about = env.reset(seed=env_seed, options=options)
    group = np.asarray(about["group"], dtype=np.int64)
    distinct, index, _ = prompts_by_group(prompts, group)
    prompt_ids = policy.encode_prompts(distinct)
    dialogues = Dialogues(prompt_ids, index)
    live, max_turns = np.ones(len(prompts), np.bool_), turns_of(env)
    rewards, info = np.zeros((len(prompts), 0)), dict[str, Any]()
    for turn in range(max_turns):
        if turn:
            dialogues.read(policy, live, replies_of(info, live))
        uniforms = draw_uniforms(generator, len(prompts), sampling.max_new_tokens)
        texts = dialogues.respond(policy, live, sampling, uniforms)
        _, scored, terminated, truncated, info = env.step(tuple(texts))
        scored = np.asarray(scored, dtype=np.float64)
        rewards = rewards + np.where(live[:, None], scored, 0.0) if turn else scored
        live = live & ~np.asarray(terminated) & ~np.asarray(truncated)
        if not live.any():
            break
    if live.any():
        raise went_on(live, max_turns)
    mask = said_of_rows("objective_mask", rewards.shape, about, info)
    weight = said_of_rows("loss_weight", group.shape, about, info)
    preference = said_of_rows("preference", rewards.shape, about, info)
    arrays = dialogues.arrays(policy.pad_id)
    if max_turns == 1:
        del arrays["own_mask"]
    return RolloutBatch(
        prompt_ids=tuple(tuple(ids) for ids in prompt_ids),
        rewards=without_missing(rewards, mask),
        group=group,
        finished=dialogues.finished,
        turns=None if max_turns == 1 else dialogues.turns,
        objective_mask=None if mask is None else mask.astype(np.bool_),
        loss_weight=None if weight is None else weight.astype(np.float64),
        preference=None if preference is None else preference.astype(np.float64),
        **arrays,
    )
