"""Start levels of a policy on the built-in tasks, and the model card that states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

import llm_morl_env
from llm_morl_agents.evaluate import Evaluation, evaluate_policy
from llm_morl_agents.policy import Policy, Sampling
from llm_morl_agents.rollout import stream
from llm_morl_agents.threads import one_thread
from llm_morl_env.registration import IDS

#: Objectives that a card states beyond the task's default ones.
EXTRA_OBJECTIVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"toolcall": ("name", "keys", "values"), "mathreasoning": ("validity",)}
)
#: The objective by whose full score an answer counts as right; a task's hardest.
MAIN_OBJECTIVE: Mapping[str, str] = MappingProxyType(
    {
        "toolcall": "correctness",
        "toolcall-multiturn": "success",
        "summarize": "coverage",
        "mathreasoning": "accuracy",
        "safeassist": "helpfulness",
    }
)


@dataclass(frozen=True)
class Level:
    """Mean rewards on one tier and split of a task, by objective, with ``full``: the share of right answers."""

    task: str
    difficulty: str
    split: str
    sampled: dict[str, float]
    greedy: dict[str, float]


@one_thread()
def start_levels(
    policy: Policy,
    *,
    task: str,
    difficulty: str = "standard",
    n_problems: int = 512,
    seed: int = 0,
    splits: Sequence[str] | None = None,
) -> list[Level]:
    """Levels at temperature 1 and greedy on splits of a task, through the environment.

    Args:
        policy: What is measured.
        task: A key of `MAIN_OBJECTIVE`.
        difficulty: Tier of its problems.
        n_problems: Of each split.
        seed: Of the problems and of the samples.
        splits: None takes all.
    """
    env_id = next(name for name, of in IDS.items() if of == task)
    arguments: dict[str, Any] = {"difficulty": difficulty, "seed": seed}
    made = llm_morl_env.make_task(task, **arguments)
    env = gym.make_vec(
        env_id,
        num_envs=128,
        group_size=1,
        objectives=(*made.rewards.names, *EXTRA_OBJECTIVES.get(task, ())),
        **arguments,
    )
    levels = []
    for split in splits or made.problems:
        evaluation = evaluate_policy(
            policy,
            env,
            Sampling(max_new_tokens=made.max_response_tokens),
            n_problems=n_problems,
            split=split,
            generator=stream(seed, "evaluate"),
        )
        main = made.rewards.select([MAIN_OBJECTIVE[task]])
        means = [_means(evaluation, which, main.names[0], float(main.high[0])) for which in ("sampled", "greedy")]
        levels.append(Level(task, difficulty, split, *means))
    return levels


def _means(evaluation: Evaluation, which: str, main: str, top: float) -> dict[str, float]:
    rewards = getattr(evaluation, f"{which}_rewards")
    means = dict(zip(evaluation.objectives, rewards.mean(axis=0).tolist(), strict=True))
    reached = rewards[:, evaluation.objectives.index(main)] >= top - 1e-6
    return {**means, "full": float(np.mean(reached))}


def model_card(levels: Sequence[Level], facts: Mapping[str, Any]) -> str:
    """Markdown with the levels and how the model was made."""
    ids = ", ".join(f"`{name}`" for name, task in IDS.items() if task in {level.task for level in levels})
    lines = [
        "---",
        "license: mit",
        "language: en",
        "library_name: transformers",
        "---",
        "",
        "# The embedded policy of llm-morl-env",
        "",
        f"A very small Llama that answers {ids}.",
        "It exists so that every example, test and benchmark of the package runs on one CPU core without a download.",
        "It is imperfect on purpose: the second phase of its training shows corrupted answers, so that reinforcement",
        "learning has something to do.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        "Start levels: mean rewards; `full` is the share of answers with the full score of the hardest objective.",
    ]
    for task, rows in groupby(levels, key=lambda level: level.task):
        lines += ["", *_table(task, list(rows))]
    lines += [
        "",
        "`train`: seen phrasings. `eval`: held-out phrasings, numbers and word combinations. `unseen`: moreover words",
        "that training never showed.",
        "",
        "Not for use outside the package: it knows a few hundred words and no facts.",
        "",
    ]
    return "\n".join(lines)


def _table(task: str, levels: Sequence[Level]) -> list[str]:
    columns = list(levels[0].sampled)
    lines = [
        f"## {next(name for name, of in IDS.items() if of == task)}",
        "",
        f"| tier | split | decoding | {' | '.join(columns)} |",
        f"|---|---|---|{'---|' * len(columns)}",
    ]
    for level in levels:
        for kind, means in (("temperature 1", level.sampled), ("greedy", level.greedy)):
            numbers = " | ".join(f"{means[c]:.2f}" for c in columns)
            lines.append(f"| {level.difficulty} | {level.split} | {kind} | {numbers} |")
    return lines
