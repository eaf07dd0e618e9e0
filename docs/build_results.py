"""The comparisons behind docs/results.md: run them, export a row for each run, write the page.

    python docs/build_results.py run        # hours of CPU time; every interruption resumes
    python docs/build_results.py export     # docs/results/<suite>.csv from the run folders
    python docs/build_results.py write      # docs/results.md from those files and results.md.j2

``make results`` does the three in a row. The tables of the page come from the exported files alone, so that anyone can
make them again without running anything; a test holds the page against them.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jinja2
import numpy as np
import scipy.stats
import tyro
from results_suites import (
    FRONT,
    LAGGING,
    NOISY_TASKS,
    POLICIES,
    PRETRAIN,
    ROOT,
    RUNS,
    SCREENED_TASKS,
    TABLES,
    TASKS,
    TRAPPED,
    TRAPS,
    frozen_source,
    suites,
)
from results_tables import PRIMARY, Table, read_table, rows_of, short, with_interval
from rich.console import Console

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.compare import Interrupted, compare
from llm_morl_agents.experiments.report import make_report
from llm_morl_agents.experiments.statistics import interquartile_mean, iqm_interval
from llm_morl_env.metrics import hypervolume

PAGE, TEMPLATE = ROOT / "docs" / "results.md", ROOT / "docs" / "results.md.j2"
#: What ``benchmarks/weighters.py --csv`` wrote.
COST = TABLES / "cost-of-weighters.csv"
#: Share of a step below which the cost of a weighter is not told apart.
CHEAP = 0.01
#: Ends the names of the tables of a trap's accuracy over training.
CURVE = "-over-training.csv"


def make_policies() -> None:
    """The initial policies of the tool-call suites, where they are missing."""
    for seed, directory in enumerate(POLICIES):
        if not Path(directory).is_dir():
            command = ["llm-morl", "pretrain", "toolcall", *PRETRAIN, "--seed", str(seed), "--out", directory]
            subprocess.run(command, check=True)


def run(names: Sequence[str], console: Console) -> None:
    """Run suites, or continue them, export each, and go on to the next."""
    make_policies()
    for name in names or suites():
        config = suites()[name]  # anew: the finalists depend on the screening
        for failure in compare(config, console):
            console.print(f"[red]{failure.job.name}: {failure.reason} ({failure.details})")
        make_report(config.folder, Console(file=(config.folder / "report.txt").open("w"), width=160))
        export([name])


def export(names: Sequence[str]) -> None:
    """Copy the row of every run out of the run folders, and note the machine."""
    TABLES.mkdir(exist_ok=True)
    for name in names or suites():
        source = RUNS / name / "seeds.csv"
        if source.is_file():
            _copy(source, TABLES / f"{name}.csv")
            if name in TRAPS:
                _export_curve(name)
    about = {"python": platform.python_version(), "machine": _processor(), "cpus": os.cpu_count()}
    (TABLES / "machine.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _export_curve(suite: str) -> None:
    """Accuracy at every evaluation, a row for each run and step."""
    with (RUNS / suite / "metrics.jsonl").open(encoding="utf-8") as file:
        rows = [row for line in file if (row := json.loads(line))["kind"] == "evaluation"]
    lines = [f"{row['arm']},{row['seed']},{row['step']},{row['sampled/accuracy']:.4g}" for row in rows]
    text = "\n".join(["arm,seed,step,accuracy", *lines]) + "\n"
    (TABLES / f"{suite}{CURVE}").write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    """The same rows, with the names of the initial policies in place of where they lay."""
    with source.open(encoding="utf-8", newline="") as old, target.open("w", encoding="utf-8", newline="") as new:
        reader = csv.DictReader(old)
        writer = csv.DictWriter(new, reader.fieldnames or (), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "policy": Path(row["policy"]).name} for row in reader)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def page() -> str:
    """The page, from the exported tables."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals.update(
        tasks=TASKS,
        missing=[name for name in suites() if not (TABLES / f"{name}.csv").is_file()],
        lagging=LAGGING,
        lattice_best=lambda task: _grid_of(table_of(f"final-{task}"))[0],
        has=lambda suite: (TABLES / f"{suite}.csv").is_file(),
        screening=screening,
        final=final_table,
        ranking=rank_table,
        noise=noise_table,
        level=level,
        gain=gain,
        trap=trap_table,
        front=front_table,
        cost=cost_table,
        errors=error_table,
        machine=json.loads((TABLES / "machine.json").read_text(encoding="utf-8")),
    )
    return environment.get_template(TEMPLATE.name).render()


def table_of(suite: str) -> Table:
    """An exported suite."""
    return read_table(TABLES / f"{suite}.csv")


def level(suite: str, arm: str, column: str = PRIMARY) -> str:
    """``.241 [.238, .243]``: interquartile mean over seeds with its interval."""
    return with_interval(table_of(suite).interval(arm, column), signed=False)


def gain(suite: str, arm: str, other: str, column: str = PRIMARY) -> str:
    """``+.012 [-.003, +.027]``: mean difference paired by seed with its interval."""
    return with_interval(table_of(suite).difference(arm, other, column), signed=True)


def _grid_of(table: Table) -> list[str]:
    return [arm for arm in table.arms if ":static(" in arm]


def screening() -> str:
    """Every arm of the screening by its mean rank over tasks, and what the grid of fixed weights spans."""
    tables = {task: table_of(f"screen-{task}") for task in SCREENED_TASKS if (TABLES / f"screen-{task}.csv").is_file()}
    first = next(iter(tables.values()))
    arms = [a for a in first.arms if a not in _grid_of(first) and all(a in t.arms for t in tables.values())]
    best = {task: max(_grid_of(t), key=lambda arm: t.interval(arm).mean[0]) for task, t in tables.items()}
    levels = {arm: [float(t.interval(arm).mean[0]) for t in tables.values()] for arm in arms}
    levels["best of the grid"] = [float(t.interval(best[task]).mean[0]) for task, t in tables.items()]
    ranks = scipy.stats.rankdata(-np.array(list(levels.values())).T.round(4), axis=1).mean(axis=0)
    ordered = sorted(zip(levels, ranks, strict=True), key=lambda pair: pair[1])
    rows = [
        [f"`{arm}`" if ":" in arm or arm == "dvao" else f"*{arm}*", f"{rank:.1f}", *map(short, levels[arm])]
        for arm, rank in ordered
    ]
    return rows_of(["arm", "mean rank", *(TASKS[task].title for task in tables)], rows)


def final_table(task: str) -> str:
    """The finalists on one task."""
    table = table_of(f"final-{task}")
    grid = _grid_of(table)
    rows = []
    for arm in sorted(table.arms, key=lambda arm: -table.interval(arm).mean[0]):
        frozen = next((other for other in table.arms if "frozen_mean" in other and frozen_source(other) == arm), None)
        rows.append(
            [
                f"`{arm}`",
                with_interval(table.interval(arm), signed=False),
                with_interval(table.difference(arm, grid[0]), signed=True) if grid and arm != grid[0] else "",
                with_interval(table.difference(arm, frozen), signed=True) if frozen else "",
                short(float(table.interval(arm, "hypervolume_over_training").mean[0])),
                short(float(table.interval(arm, "worst_objective").mean[0])),
            ]
        )
    head = ["arm", "hypervolume", "minus best fixed", "minus own frozen mean", "over training", "worst objective"]
    return rows_of(head, rows)


def rank_table() -> str:
    """Mean rank over tasks of the finalists that all have; the best fixed weights of each task count as one arm."""
    tables = {task: table_of(f"final-{task}") for task in TASKS if (TABLES / f"final-{task}.csv").is_file()}
    common = [arm for arm in next(iter(tables.values())).arms if all(arm in table.arms for table in tables.values())]
    with_grid = {task: table for task, table in tables.items() if _grid_of(table)}
    names = [*common, "best of the grid"]
    levels = np.array(
        [
            [*(float(t.interval(arm).mean[0]) for arm in common), float(t.interval(_grid_of(t)[0]).mean[0])]
            for t in with_grid.values()
        ]
    )
    ranks = scipy.stats.rankdata(-levels.round(4), axis=1)
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    rows = [
        [
            f"`{names[i]}`" if ":" in names[i] or names[i] == "dvao" else f"*{names[i]}*",
            f"{ranks[:, i].mean():.1f}",
            *(f"{r:g}" for r in ranks[:, i]),
        ]
        for i in order
    ]
    return rows_of(["arm", "mean rank", *(TASKS[task].title for task in with_grid)], rows)


def noise_table() -> str:
    """Hypervolume over the real objectives with and without an extra objective of noise."""
    rows = []
    tasks = [task for task in NOISY_TASKS if (TABLES / f"noise-{task}.csv").is_file()]
    tables = {task: (table_of(f"final-{task}"), table_of(f"noise-{task}")) for task in tasks}
    for arm in next(iter(tables.values()))[1].arms:
        cells = []
        for clean, noisy in tables.values():
            # The volume is a product; without the factor of the noise, which lies in [-0.5, 0.5].
            volumes = noisy.values(arm) / (noisy.values(arm, "final/noise") + 0.5)
            volume = float(interquartile_mean(volumes[:, None])[0])
            cells.append(f"{short(float(clean.interval(arm).mean[0]))} → {short(volume)}")
        rows.append([f"`{arm}`", *cells])
    return rows_of(["arm", *(TASKS[task].title for task in tasks)], rows)


def trap_table(suite: str) -> str:
    """Mean accuracy over training, and the seeds that ended below a tenth."""
    curves: dict[str, dict[int, list[float]]] = {}
    with (TABLES / f"{suite}{CURVE}").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            curves.setdefault(row["arm"], {}).setdefault(int(row["step"]), []).append(float(row["accuracy"]))
    steps = sorted(curves[TRAPPED[0]])
    rows = []
    for arm in TRAPPED:
        last = np.array(curves[arm][steps[-1]])
        means = [short(float(np.mean(curves[arm][step]))) for step in steps]
        rows.append([f"`{arm}`", *means, f"{(last < 0.1).sum()} of {len(last)}"])
    return rows_of(["arm", *(f"step {step}" for step in steps), "collapsed"], rows)


def front_table() -> str:
    """Hypervolume of each method's set of mean final vectors over preferences, by seed."""
    table = table_of("front-counts")
    objectives = [column for column in next(iter(table.columns.values())) if column.startswith("final/")]
    rows = []
    for method in FRONT:
        runs = [arm for arm in table.arms if parse_arm(arm).method == method]
        points = np.stack([[table.values(arm, o) for o in objectives] for arm in runs])  # (preferences, K, S)
        volumes = np.array([hypervolume(points[..., seed], 0.0) for seed in range(points.shape[-1])])
        inside = (points.mean(axis=-1).min(axis=1) > 0.1).sum()
        volume = iqm_interval(volumes[:, None], generator=np.random.default_rng(0))
        rows.append([f"`{method}`", with_interval(volume, signed=False), f"{inside} of {len(runs)}"])
    return rows_of(["method", "hypervolume of the set", "preferences that end with both objectives above .1"], rows)


def _benchmark(kind: str) -> dict[str, dict[int, float]]:
    """Figures of benchmarks/weighters.py by name and number of objectives."""
    found: dict[str, dict[int, float]] = {}
    with COST.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == kind:
                found.setdefault(row["name"], {})[int(row["objectives"])] = float(row["value"])
    return found


def cost_table() -> str:
    """Each weighter's cost as a share of a training step, the dearest first; the cheap ones in one row."""
    costs = _benchmark("cost")
    dear = {name: shares for name, shares in costs.items() if max(shares.values()) >= CHEAP}
    cheap = {name: shares for name, shares in costs.items() if name not in dear}
    counts = list(next(iter(costs.values())))
    rows = [
        [name, *(f"{100 * shares[k]:.0f} %" for k in counts)]
        for name, shares in sorted(dear.items(), key=lambda pair: -max(pair[1].values()))
    ]
    most = [max(shares[k] for shares in cheap.values()) for k in counts]
    rows.append([f"each of the other {len(cheap)}, at most", *(f"{100 * share:.2f} %" for share in most)])
    return rows_of(["weighter", *(f"K = {k}" for k in counts)], rows)


def error_table() -> str:
    """Error of the influences from one backward pass, as a share of the largest, beside K exact backward passes."""
    errors = _benchmark("error")
    counts = list(next(iter(errors.values())))
    rows = [[name, *(f"{values[k]:.0e}" for k in counts)] for name, values in errors.items()]
    return rows_of(["derivative", *(f"K = {k}" for k in counts)], rows)


def main(command: Annotated[str, tyro.conf.Positional], names: tyro.conf.Positional[tuple[str, ...]] = ()) -> None:
    """Run suites, export their rows, or write the page.

    Args:
        command: run, export or write.
        names: Of suites; all of them by default.
    """
    if command == "run":
        try:
            run(names, Console())
        except Interrupted:
            sys.exit("stopped; the same command continues")
    elif command == "export":
        export(names)
    elif command == "write":
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.exit(f"command must be run, export or write, got {command!r}")


if __name__ == "__main__":
    tyro.cli(main)
