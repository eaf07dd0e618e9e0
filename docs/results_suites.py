"""The comparisons behind docs/results.md: tasks, arms, and which of them are run with how many seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_tables import read_table

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.controls import simplex_lattice

ROOT = Path(__file__).resolve().parents[1]
TABLES, RUNS = ROOT / "docs" / "results", ROOT / "runs" / "results"
#: Initial policies of the tool-call suites, made where they are missing: their seed varies with the run's.
POLICIES = tuple(str(ROOT / "runs" / "policies" / f"easy-{seed}") for seed in range(5))
PRETRAIN = ("--difficulty", "easy", "--budget", "0.4", "--eval-problems", "256")
#: Every weighter at its defaults, on the agent that it is meant for, and the agents without one.
SCREENED = (
    "gdpo:static",
    "grpo:static",
    "mo_grpo:static",
    "dr_grpo:static",
    "dvao",
    "gdpo:saw",
    "grpo:saw",
    "gdpo:saw(ema=0.7)",
    "gdpo:saw(released=True)",
    "gdpo:proportional_fair",
    "grpo:proportional_fair",
    "grpo:hypervolume",
    "gdpo:hypervolume(source='batch')",
    "gdpo:hypervolume_gradient",
    "grpo:gradient",
    "gdpo:gradient",
    "gdpo:gradient(mode='jvp')",
    "gdpo:gradient(mode='realised')",
    "gdpo:sa_mrpo",
    "gdpo:rvpo",
    "gdpo:gd2po",
    "gdpo:gd2po(mode='snr')",
    "gdpo:dara",
    "gdpo:dara(asymmetric=True)",
    "grpo:ctwa",
    "grpo:corr_grpo",
    "gdpo:corr_grpo",
    "gdpo:encore",
    "grpo:tchebycheff",
    "grpo:lagrangian",
    "grpo:gated",
    "gdpo:gated",
    "gdpo:gradient_combiner(method='upgrad')",
    "gdpo:gradient_combiner(method='mgda')",
    "gdpo:gradient_combiner(method='cagrad')",
    "gdpo:gradient_combiner(method='pcgrad')",
    "gdpo:gradient_combiner(method='nash_mtl')",
)
#: The realised gain of each objective, turned around: what gained most waits for the others.
LAGGING = "gdpo:gradient(mode='realised',favour='lagging',eta=3e-5)"
#: Those that are run with more seeds: the best of the screening, and the four methods that started the field.
FINALISTS = (
    "gdpo:static",
    "grpo:static",
    "dvao",
    "gdpo:saw",
    "grpo:saw",
    "gdpo:proportional_fair",
    "grpo:proportional_fair",
    "gdpo:hypervolume_gradient",
    "grpo:hypervolume",
    "gdpo:gradient",
    LAGGING,
    "gdpo:sa_mrpo",
)
#: On the ladder, which is not screened.
LADDER_FINALISTS = ("gdpo:static", "grpo:static", "dvao", "gdpo:saw", "gdpo:proportional_fair")
#: Those whose mean weights are held fixed as a control.
FROZEN = ("gdpo:saw", "grpo:saw", "gdpo:proportional_fair", "grpo:proportional_fair", "gdpo:gradient")
#: Agents whose best fixed weights are looked for on a lattice over the simplex.
GRID_AGENTS = ("gdpo",)


@dataclass(frozen=True)
class Task:
    """A task of the page: an environment with its number of objectives, and what suits it."""

    title: str
    n_objectives: int
    options: Mapping[str, Any]


_LETTERS: dict[str, Any] = {"policies": ("scratch",), "settings": {"learning_rate": 3e-3}, "eval_every": 20}
#: One micro-batch: cheaper for answers of like length, the same up to rounding.
_SHORT: dict[str, Any] = {**_LETTERS, "settings": {"learning_rate": 3e-3, "micro_batches": 1}}
_TOOLS: dict[str, Any] = {
    "env": "ToolCall-MO-v0",
    "difficulty": "easy",
    "policies": POLICIES,
    "steps": 24,
    "prompts": 8,
    "eval_every": 12,
    "eval_problems": 128,
}
_LADDER = ("format", "name", "keys", "values", "brevity")
TASKS = {
    "counts": Task("CountsFront", 2, {"env": "CountsFront-MO-v0", "steps": 120, "prompts": 8, **_LETTERS}),
    "dent": Task("DentFront", 2, {"env": "DentFront-MO-v0", "steps": 120, "prompts": 8, **_SHORT}),
    "context": Task("ContextFront", 3, {"env": "ContextFront-MO-v0", "steps": 160, **_SHORT}),
    "unlock": Task("Unlock", 4, {"env": "Unlock-MO-v0", "steps": 180, **_SHORT}),
    "toolcall": Task("ToolCall", 3, _TOOLS),
    "ladder": Task("ToolCall ladder", 5, {**_TOOLS, "objectives": _LADDER}),
}
_TRAP: dict[str, Any] = {
    "env": "LengthTrap-MO-v0",
    "policies": ("scratch",),
    "settings": {"learning_rate": 1e-2, "micro_batches": 1},
    "steps": 150,
    "prompts": 8,
    "group_size": 16,
    "eval_every": 25,
}
#: Where group z-scores of each objective give up the answers; the second has prompts that nothing answers.
TRAPS = {
    "trap": Task("LengthTrap", 2, _TRAP),
    "trap-hard": Task("LengthTrap, 2 of 5 prompts unanswerable", 2, {**_TRAP, "env_kwargs": {"unanswerable": 2}}),
}
TRAPPED = (
    *("gdpo:static", "mo_grpo:static", "grpo:static", "dvao", "dr_grpo:static", "rloo:static"),
    *("gdpo:saw", "gdpo:proportional_fair"),
)
#: Methods whose fronts over preferences are compared.
FRONT = ("gdpo:static", "grpo:static", "gdpo:saw", "gdpo:proportional_fair", "grpo:tchebycheff")
#: Tasks on which every weighter and the grids are run.
SCREENED_TASKS = ("counts", "dent", "context", "unlock", "toolcall")
#: Tasks with an extra objective that is nothing but noise.
NOISY_TASKS = ("counts", "context")


def suites() -> dict[str, CompareConfig]:
    """Every comparison by name. The finalists include the best fixed weights of the screening, once it is exported."""
    made = {}
    for name in SCREENED_TASKS:
        grid = [static_arm(agent, w) for agent in GRID_AGENTS for w in simplex_lattice(TASKS[name].n_objectives, 21)]
        made[f"screen-{name}"] = _config(f"screen-{name}", name, [*_screened(name), "gdpo:random", *grid], seeds=3)
    for name in TASKS:
        chosen = FINALISTS if name in SCREENED_TASKS else LADDER_FINALISTS
        frozen = [f"{agent}:frozen_mean({weighter})" for agent, weighter in (arm.split(":", 1) for arm in FROZEN)]
        arms = [*chosen, *best_static(name), *(arm for arm in frozen if frozen_source(arm) in chosen), "gdpo:random"]
        made[f"final-{name}"] = _config(f"final-{name}", name, arms, seeds=10)
    for name in NOISY_TASKS:
        arms = [arm for arm in FINALISTS if "hypervolume" not in arm]
        made[f"noise-{name}"] = _config(f"noise-{name}", name, arms, seeds=5, transforms=("noisy",))
    made["front-counts"] = _config("front-counts", "counts", FRONT, seeds=3, preferences=11)
    for name in TRAPS:
        made[name] = _config(name, name, TRAPPED, seeds=10)
    return made


def frozen_source(arm: str) -> str:
    """The arm that a frozen mean is of."""
    agent, _, rest = arm.partition(":frozen_mean(")
    return f"{agent}:{rest[:-1]}"


def _screened(task: str) -> list[str]:
    """What runs on a task: a gate at reward level turns a reward into 0, and refuses where -3 would gain by that."""
    return [arm for arm in SCREENED if not (task == "toolcall" and arm == "grpo:gated")]


def _config(suite: str, task: str, arms: Sequence[str], **options: Any) -> CompareConfig:
    merged = {
        **{**TASKS, **TRAPS}[task].options,
        **options,
        "arms": tuple(dict.fromkeys(arms)),
        "name": suite,
        "out": RUNS,
    }
    return CompareConfig(**merged)


def static_arm(agent: str, weights: Sequence[float]) -> str:
    """Fixed weights as an arm."""
    return f"{agent}:static(weights={tuple(float(w) for w in weights)})"


def best_static(task: str) -> list[str]:
    """Of each agent's lattice, the weights with the best primary number in the screening, once that is exported."""
    path = TABLES / f"screen-{task}.csv"
    if not path.is_file():
        return []
    table = read_table(path)
    found = []
    for agent in GRID_AGENTS:
        on_grid = [arm for arm in table.arms if arm.startswith(f"{agent}:static(")]
        found += [max(on_grid, key=lambda arm: table.interval(arm).mean[0])] if on_grid else []
    return found
