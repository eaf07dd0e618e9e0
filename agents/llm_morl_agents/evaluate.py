"""Evaluation of a policy through the environment: greedy and sampled reward vectors on given problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.dialogue_rollout import Dialogues, replies_of, turns_of
from llm_morl_agents.policy import Policy, Sampling, draw_uniforms
from llm_morl_agents.rollout import prompts_by_group, said_of_rows, went_on, without_missing


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Reward vectors of n problems under both ways of decoding; row i of each is problem i.

    Args:
        objectives: K names.
        greedy_rewards: float64 (n, K); NaN where greedy decoding was left out or an objective does not apply.
        sampled_rewards: float64 (n, K), mean over a problem's samples at the agent's temperature; NaN likewise.
    """

    objectives: tuple[str, ...]
    greedy_rewards: NDArray[np.float64]
    sampled_rewards: NDArray[np.float64]

    @property
    def greedy(self) -> NDArray[np.float64]:
        """Mean reward vector of greedy decoding, (K,); each objective over the problems that it applies to."""
        return mean_present(self.greedy_rewards)

    @property
    def sampled(self) -> NDArray[np.float64]:
        """Mean reward vector of sampling, (K,), likewise."""
        return mean_present(self.sampled_rewards)

    @property
    def sampled_standard_error(self) -> NDArray[np.float64]:
        """Standard error of `sampled` over the problems that an objective applies to, (K,); NaN for one problem."""
        count = np.sum(~np.isnan(self.sampled_rewards), axis=0)
        squares = mean_present((self.sampled_rewards - self.sampled) ** 2)
        return np.asarray(np.sqrt(squares / np.where(count > 1, count - 1, np.nan)))

    def as_row(self) -> dict[str, float]:
        """Flat and JSON-able: ``greedy/format``, ``sampled/format``, ...; without what was not measured (NaN)."""
        return {
            f"{kind}/{name}": float(value)
            for kind in ("greedy", "sampled")
            for name, value in zip(self.objectives, getattr(self, kind), strict=True)
            if not np.isnan(value)
        }

    def __str__(self) -> str:
        means = zip(self.objectives, self.greedy, self.sampled, strict=True)
        return ", ".join(f"{name} {greedy:.3f} (sampled {sampled:.3f})" for name, greedy, sampled in means)


def mean_present(values: ArrayLike, axis: int | tuple[int, ...] = 0) -> NDArray[np.float64]:
    """Mean without the entries that are NaN, which do not apply; NaN where all are.

    >>> mean_present([[1.0, np.nan, 2.0], [np.nan, np.nan, 4.0]]).tolist()
    [1.0, nan, 3.0]
    """
    table = np.asarray(values, dtype=np.float64)
    count = np.sum(~np.isnan(table), axis=axis)
    return np.asarray(np.nansum(table, axis=axis) / np.where(count, count, np.nan))


def evaluate_policy(
    policy: Policy,
    env: VectorEnv[Any, Any, Any],
    sampling: Sampling,
    *,
    n_problems: int,
    split: str,
    generator: np.random.Generator,
    greedy: bool = True,
    sampled: bool = True,
    samples: int = 1,
) -> Evaluation:
    """Score one greedy response and the mean of ``samples`` sampled ones to each of the first problems of a split.

    The environment shows a problem to the G rows of a group; one response is generated for it and handed in G times. So
    the cost is one generation a problem whatever G is, and generation runs on batches of N prompts, not of P = N / G.
    For that a dialogue is played again from its beginning with each turn it gains: what an environment replies must
    depend on problem and responses alone.

    Args:
        policy: Generates.
        env: The batched text environment.
        sampling: How to sample; greedy decoding shares its caps and stops.
        n_problems: At most the size of the split (which is then taken whole).
        split: Of the environment's task.
        generator: Draws the samples.
        greedy: False leaves greedy decoding out; its rewards are then NaN.
        sampled: False leaves sampling out, likewise.
        samples: Sampled responses to each problem, whose rewards are averaged: with few problems one says little.

    Raises:
        ValueError: If there are no problems or samples to score, or both ways of decoding are left out; and as in
            `llm_morl_agents.rollout.rollout`.
        RuntimeError: As there.
    """
    if n_problems < 1:
        raise ValueError(f"n_problems must be at least 1, got {n_problems}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not (greedy or sampled):
        raise ValueError("evaluate_policy: greedy=False and sampled=False leave nothing to measure")
    names = tuple(env.unwrapped.objective_names)  # type: ignore[attr-defined]  # not in Gymnasium
    task = getattr(env.unwrapped, "task", None)
    if task is not None:
        n_problems = min(n_problems, len(task.with_split(split)))
    scores = []
    for decoding, repeats, wanted in ((replace(sampling, greedy=True), 1, greedy), (sampling, samples, sampled)):
        rows = np.tile(np.arange(n_problems), repeats)
        rewards = np.full((len(rows), len(names)), np.nan)
        if wanted:
            shape = len(rows), turns_of(env) * sampling.max_new_tokens
            uniforms = np.zeros(shape, np.float32) if decoding.greedy else draw_uniforms(generator, *shape)
            for start in range(0, len(rows), env.num_envs):
                part = slice(start, start + env.num_envs)
                rewards[part] = answer(policy, env, rows[part], split, decoding, uniforms[part]).rewards
        scores.append(mean_present(rewards.reshape(repeats, n_problems, len(names))))
    return Evaluation(names, *scores)


def _chunks(env: VectorEnv[Any, Any, Any], problems: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Problems in parts of P, what one reset of the environment shows; the last part is filled with its last one."""
    n_groups = env.num_envs // int(env.unwrapped.group_size)  # type: ignore[attr-defined]  # not in Gymnasium
    for start in range(0, len(problems), n_groups):
        part = problems[start : start + n_groups]
        yield np.pad(part, (0, n_groups - len(part)), mode="edge")


def _shown(
    env: VectorEnv[Any, Any, Any], chunk: NDArray[np.int64], split: str
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64], dict[str, Any]]:
    """Reset to these P problems: their prompts, the prompt of each row, the first row of each prompt, the info."""
    prompts, info = env.reset(options={"split": split, "problem": chunk})
    return *prompts_by_group(prompts, np.asarray(info["group"], dtype=np.int64)), info


def _prompts(env: VectorEnv[Any, Any, Any], problems: NDArray[np.int64], split: str) -> list[str]:
    shown = [prompt for chunk in _chunks(env, problems) for prompt in _shown(env, chunk, split)[0]]
    return shown[: len(problems)]


@dataclass(frozen=True, eq=False)
class Answers:
    """Scored answers to n problems.

    Args:
        prompts: n texts.
        texts: n answers; of a dialogue, turns and replies one after the other.
        rewards: float64 (n, K); NaN where an objective does not apply.
    """

    prompts: tuple[str, ...]
    texts: tuple[str, ...]
    rewards: NDArray[np.float64]


def answer(
    policy: Policy,
    env: VectorEnv[Any, Any, Any],
    problems: NDArray[np.int64],
    split: str,
    decoding: Sampling,
    uniforms: NDArray[np.float32],
) -> Answers:
    """One response, or one dialogue, to each of these problems.

    Args:
        policy: Generates.
        env: The batched text environment.
        problems: int64 (n,), at most ``env.num_envs`` for memory's sake.
        split: Of the environment's task.
        decoding: How to generate.
        uniforms: float32 (n, turns times ``decoding.max_new_tokens``).
    """
    prompts = _prompts(env, problems, split)
    prompt_ids = policy.encode_prompts(prompts)
    dialogues = Dialogues(prompt_ids, np.arange(len(prompt_ids)))
    live, spoken, replies = np.ones(len(problems), np.bool_), list[list[str]](), list[str]()
    texts = [""] * len(problems)
    for turn in range(turns_of(env)):
        if turn:
            dialogues.read(policy, live, replies)
            for row, reply in zip(np.flatnonzero(live).tolist(), replies, strict=True):
                texts[row] += reply
        columns = slice(turn * decoding.max_new_tokens, (turn + 1) * decoding.max_new_tokens)
        spoken.append(dialogues.respond(policy, live, decoding, uniforms[:, columns]))
        texts = [text + said for text, said in zip(texts, spoken[-1], strict=True)]
        rewards, live, replies = _play(env, problems, split, spoken)
        if not live.any():
            return Answers(tuple(prompts), tuple(texts), rewards)
    raise went_on(live, len(spoken))


def _play(
    env: VectorEnv[Any, Any, Any], problems: NDArray[np.int64], split: str, spoken: Sequence[Sequence[str]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Play the turns so far, n texts each: returns (n, K), which rows go on (n,), and what those read next."""
    totals, ongoing, replies, done = [], [], list[str](), 0
    for chunk in _chunks(env, problems):
        _, index, first, about = _shown(env, chunk, split)
        count = min(len(first), len(problems) - done)
        live, rewards = np.ones(len(index), np.bool_), np.zeros(0)
        for turn, texts in enumerate(spoken):
            if not live.any():  # other chunks go on
                break
            part = [*texts[done : done + count], *[""] * (len(first) - count)]
            _, scored, terminated, truncated, info = env.step(tuple(part[i] for i in index))
            scored = np.asarray(scored, dtype=np.float64)
            rewards = rewards + np.where(live[:, None], scored, 0.0) if turn else scored
            live = live & ~np.asarray(terminated) & ~np.asarray(truncated)
        rewards = without_missing(rewards, said_of_rows("objective_mask", rewards.shape, about, info))
        kept = first[:count]
        asked = np.isin(np.arange(len(index)), kept) & live
        said = dict(zip(np.flatnonzero(asked).tolist(), replies_of(info, asked), strict=True))
        replies += [said[row] for row in kept.tolist() if row in said]
        totals.append(rewards[kept])
        ongoing.append(live[kept])
        done += count
    return np.concatenate(totals), np.concatenate(ongoing), replies
