"""What each weighter costs beside a training step, for 2 to 8 objectives, and how well the cheap gradients agree.

A step is that of `GDPO` under `Static` on tool calls. The cost of a weighter is what it adds to it: the measurements
that it needs, and its own call. All weighters are measured on one batch, with one thread; the medians over the repeats
are shown, as a share of the CPU-seconds of a step.

The agreement is the largest error of the influences from one backward pass (by forward-mode differentiation, and by
finite differences), as a share of the largest influence, against those of K backward passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from csv import writer as csv_writer
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import llm_morl_env  # noqa: F401  # registers the ids
from llm_morl_agents import GDPO, load_policy
from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.gradients import objective_gramian, objective_influence
from llm_morl_agents.policy import Policy
from llm_morl_agents.rollout import derived_seed, rollout, stream
from llm_morl_agents.signals import objective_advantages
from llm_morl_agents.weighters import SAW, WEIGHTERS, GradientInfluence, Signals, Weighter
from llm_morl_agents.weighters.base import Probe
from llm_morl_env.task import Task
from llm_morl_env.tasks.toolcall import OBJECTIVES
from llm_morl_rewards import Problem, RewardVector, reward

Floats = NDArray[np.float64]
COUNTS = (2, 3, 5, 8)
#: Options of the weighters that cannot do without, given the number of objectives.
OPTIONS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    **dict.fromkeys(("smoothed", "floored", "clipped", "rescaled"), lambda k: {"inner": SAW()}),
    "frozen": lambda k: {"weights": (1.0,) * k},
    "replay": lambda k: {"weights": ((1.0,) * k,)},
}


@reward(low=0.0, high=1.0)
def letters(problem: Problem, response: str) -> float:
    """Share of letters."""
    return sum(c.isalpha() for c in response) / max(len(response), 1)


@reward(low=0.0, high=1.0)
def long(problem: Problem, response: str) -> float:
    """Length in characters, up to 200."""
    return min(len(response) / 200, 1.0)


@dataclass(frozen=True)
class FirstObjectives:
    """A task's first K objectives, after its own the share of letters and the length."""

    k: int

    def __call__(self, task: Task) -> Task:
        """The task with these objectives."""
        return replace(task, rewards=RewardVector([*task.rewards.functions, letters, long][: self.k]))


def weighters(k: int) -> dict[str, Weighter]:
    """Every weighter of the table, those of gradients in all their modes; without those whose extras are missing."""
    found: dict[str, Weighter] = {}
    for name, cls in WEIGHTERS.items():
        if cls is GradientInfluence:
            found |= {f"gradient, {mode}": cls(mode=mode) for mode in ("exact", "jvp", "realised")}
            found["gradient, jvp, finite"] = cls(mode="jvp", method="finite")
            continue
        try:
            found[name] = cls(**OPTIONS.get(name, lambda k: {})(k))
        except ImportError:
            continue
    return found


def agent_of(env: Any, policy: Policy, weighter: Weighter | None, seed: int) -> GDPO:
    """An agent that stays where it is, so that every step measures the same policy."""
    return GDPO(env, policy, weighter=weighter, seed=seed, learning_rate=1e-12, allow_whiten=True)


def timed(function: Callable[[], Any], repeats: int) -> float:
    """Median CPU-seconds of a call, after one to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.process_time()
        function()
        seconds.append(time.process_time() - started)
    return median(seconds[1:])


def weigh(agent: GDPO, batch: RolloutBatch) -> None:
    """What a weighter adds to a step: measurements before the update, its call, measurements after the update."""
    measured = agent.meter.before_update(0, batch)
    signals = Signals(
        rewards=batch.rewards,
        group=batch.group,
        low=agent.objectives.low,
        high=agent.objectives.high,
        preference=agent.preference,
        level=agent.estimator.level,
        step=0,
        **measured,
    )
    agent.weighter(signals, agent.weighter_state)
    agent.meter.after_update(0, batch)


def agreement(agent: GDPO, batch: RolloutBatch) -> dict[str, float]:
    """Relative error of the influences by each derivative."""
    arguments = (agent.policy, batch, objective_advantages(agent.estimator, batch), agent.settings)
    exact = objective_gramian(*arguments).sum(axis=1)
    errors = {}
    for method in ("forward", "finite"):
        found = objective_influence(*arguments, Probe(method=method))
        errors[method] = float(np.abs(found - exact).max() / np.abs(exact).max())
    return errors


def environment(k: int, prompts: int, group_size: int, difficulty: str) -> Any:
    """Tool calls with K objectives."""
    return gym.make_vec(
        "ToolCall-MO-v0",
        num_envs=prompts * group_size,
        group_size=group_size,
        difficulty=difficulty,
        objectives=OBJECTIVES,
        transforms=[FirstObjectives(k)],
    )


def main(
    repeats: Annotated[int, tyro.conf.arg(help="Measurements of each weighter, after one to warm up.")] = 3,
    prompts: Annotated[int, tyro.conf.arg(help="Prompts of a step.")] = 16,
    group_size: Annotated[int, tyro.conf.arg(help="Responses to each prompt.")] = 8,
    policy: Annotated[str, tyro.conf.arg(help="tiny, a directory of transformers, or a hub id.")] = "tiny",
    difficulty: Annotated[str, tyro.conf.arg(help="Tier of the tool calls.")] = "easy",
    seed: Annotated[int, tyro.conf.arg(help="Seed of problems and samples.")] = 0,
    csv: Annotated[Path | None, tyro.conf.arg(help="Write the figures there too.")] = None,
) -> None:
    """Cost of each weighter as a share of a training step, and agreement of the gradients."""
    if min(repeats, prompts, group_size) < 1:
        raise SystemExit("--repeats, --prompts and --group-size must be at least 1")
    torch.set_num_threads(1)
    loaded = load_policy(policy)
    seconds: dict[int, float] = {}
    costs: dict[str, list[float]] = {}
    errors: dict[int, dict[str, float]] = {}
    for k in range(2, 9):
        env = environment(k, prompts, group_size, difficulty)
        plain = agent_of(env, loaded, None, seed)
        batch = rollout(
            loaded,
            env,
            plain.settings.sampling(default_max_new_tokens=plain.max_response_tokens),
            env_seed=derived_seed(seed, "rollout", 0, 0),
            generator=stream(seed, "sample", 0, 0),
        )
        errors[k] = agreement(plain, batch)
        if k not in COUNTS:
            continue
        reports = [plain.step() for _ in range(repeats + 1)]
        seconds[k] = median(report.cpu_seconds - report.weighter_seconds for report in reports[1:])
        for name, weighter in weighters(k).items():
            agent = agent_of(env, loaded, weighter, seed)
            cost = timed(partial(weigh, agent, batch), repeats)
            costs.setdefault(name, []).append(cost / seconds[k])
    console = Console()
    table = Table(
        title=f"ToolCall-MO-v0 {difficulty}, {prompts} x {group_size} responses, {policy}",
        caption="CPU-seconds beside those of a step; medians",
        title_justify="left",
    )
    table.add_column("weighter")
    for k in COUNTS:
        table.add_column(f"K = {k}", justify="right")
    for name, shares in costs.items():
        table.add_row(name, *(f"{100 * share:.2f} %" for share in shares))
    table.add_section()
    table.add_row("step, seconds", *(f"{seconds[k]:.2f}" for k in COUNTS))
    console.print(table)
    table = Table(title="Relative error of the influences", title_justify="left")
    table.add_column("derivative")
    for k in errors:
        table.add_column(f"K = {k}", justify="right")
    for method in ("forward", "finite"):
        table.add_row(method, *(f"{found[method]:.0e}" for found in errors.values()))
    console.print(table)
    if csv is not None:
        rows = [
            ("cost", name, k, share) for name, shares in costs.items() for k, share in zip(COUNTS, shares, strict=True)
        ]
        rows += [("step", "seconds", k, value) for k, value in seconds.items()]
        rows += [("error", method, k, found[method]) for k, found in errors.items() for method in ("forward", "finite")]
        with csv.open("w", encoding="utf-8", newline="") as file:
            writer = csv_writer(file, lineterminator="\n")
            writer.writerow(["kind", "name", "objectives", "value"])
            writer.writerows([kind, name, k, f"{value:.4g}"] for kind, name, k, value in rows)


if __name__ == "__main__":
    tyro.cli(main)
