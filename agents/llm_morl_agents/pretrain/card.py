"""Start levels of a policy on the tool-call environment, and the model card that states them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

import llm_morl_env  # noqa: F401  # registers the ids
from llm_morl_agents.evaluate import Evaluation, evaluate_policy
from llm_morl_agents.policy import Policy, Sampling
from llm_morl_agents.rollout import stream
from llm_morl_agents.threads import one_thread

OBJECTIVES = ("format", "correctness", "brevity", "name", "keys", "values")
#: Splits of the card: as in training; held-out phrasings, numbers and combinations; moreover words never trained on.
SPLITS = ("train", "eval", "unseen")


@dataclass(frozen=True)
class Level:
    """Mean rewards of one tier and split, by objective, with ``full``: the share of fully correct answers."""

    difficulty: str
    split: str
    sampled: dict[str, float]
    greedy: dict[str, float]


@one_thread()
def start_levels(policy: Policy, *, difficulty: str, n_problems: int, seed: int = 0) -> list[Level]:
    """Levels at temperature 1 and greedy, through the environment."""
    levels = []
    for split in SPLITS:
        env = gym.make_vec(
            "ToolCall-MO-v0", num_envs=128, group_size=1, difficulty=difficulty, objectives=OBJECTIVES, seed=seed
        )
        cap: int = env.unwrapped.task.max_response_tokens  # type: ignore[attr-defined]  # not in Gymnasium
        evaluation = evaluate_policy(
            policy,
            env,
            Sampling(max_new_tokens=cap),
            n_problems=n_problems,
            split=split,
            generator=stream(seed, "evaluate"),
        )
        levels.append(
            Level(difficulty, split, _means(evaluation, "sampled_rewards"), _means(evaluation, "greedy_rewards"))
        )
    return levels


def _means(evaluation: Evaluation, which: str) -> dict[str, float]:
    rewards = getattr(evaluation, which)
    means = dict(zip(evaluation.objectives, rewards.mean(axis=0).tolist(), strict=True))
    correctness = rewards[:, evaluation.objectives.index("correctness")]
    return {**means, "full": float(np.mean(correctness >= 3.0 - 1e-6))}


def model_card(levels: list[Level], facts: dict[str, Any]) -> str:
    """Markdown with the levels and how the model was made."""
    columns = ("format", "correctness", "full", "brevity", "name", "keys", "values")
    lines = [
        "---",
        "license: mit",
        "language: en",
        "library_name: transformers",
        "---",
        "",
        "# The embedded policy of llm-morl-env",
        "",
        "A very small Llama that writes tool calls for `ToolCall-MO-v0`. It exists so that every example, test and",
        "benchmark of the package runs on one CPU core without a download. It is imperfect on purpose: the second",
        "phase of its training shows corrupted answers, so that reinforcement learning has something to do.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        "Start levels (mean rewards; `full` is the share of fully correct answers):",
        "",
        f"| tier | split | decoding | {' | '.join(columns)} |",
        f"|---|---|---|{'---|' * len(columns)}",
    ]
    for level in levels:
        for kind, means in (("temperature 1", level.sampled), ("greedy", level.greedy)):
            lines.append(
                f"| {level.difficulty} | {level.split} | {kind} | {' | '.join(f'{means[c]:.2f}' for c in columns)} |"
            )
    lines += [
        "",
        "`train`: seen phrasings. `eval`: held-out phrasings, numbers and word combinations. `unseen`: moreover words",
        "that training never showed.",
        "",
        "Not for use outside the package: it knows a few hundred words and no facts.",
        "",
    ]
    return "\n".join(lines)
