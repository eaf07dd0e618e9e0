"""What an experiment left in its folder, as arrays.

Shapes: T steps, E evaluations, n problems, K objectives, S seeds.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.compare import TASK, Job, jobs_of, read_task
from llm_morl_agents.experiments.config import CompareConfig, RunOptions, TrainConfig, read_toml
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.runner import (
    FINISHED,
    METRICS,
    Row,
    evaluation_file,
    examples_file,
    read_rows,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Args:
        arm: As the user wrote it.
        seed: Of the agent.
        series: Of the training steps: names of `StepReport`'s arrays to (T, K), of its numbers to (T,).
        evaluation_steps: (E,) steps taken before each evaluation.
        evaluations: (E, K) mean sampled rewards on the evaluation split.
        start: (n, K) sampled rewards of each problem before training; NaN where an objective does not apply.
        final: (n, K) after it, the same problems.
        greedy: (2, K) mean reward of greedy decoding, before training and after it.
        examples: Sampled answers before and after.
        facts: `finished.json`.
    """

    arm: str
    seed: int
    series: Mapping[str, Floats]
    evaluation_steps: NDArray[np.int64]
    evaluations: Floats
    start: Floats
    final: Floats
    greedy: Floats
    examples: tuple[list[Row], list[Row]]
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Results:
    """All finished runs of an experiment.

    Args:
        folder: Of the experiment.
        config: Its options.
        objectives: K names.
        low: (K,) bounds.
        high: (K,) bounds.
        arms: Runs by arm, in the order of the configuration, seeds ascending; arms without any are left out.
        unfinished: Names of the runs that did not come to their end.
        pareto_front: (F, K) the task's exact front, where it is known.
    """

    folder: Path
    config: RunOptions
    objectives: tuple[str, ...]
    low: Floats
    high: Floats
    arms: Mapping[str, list[Run]]
    unfinished: list[str]
    pareto_front: Floats | None = None


def load_results(folder: Path) -> Results:
    """Read an experiment of ``llm-morl compare`` or ``llm-morl train``.

    Raises:
        UserError: If the folder holds none, or no run of it is finished.
    """
    config, jobs = read_experiment(folder)
    finished = [job for job in jobs if job.finished]
    if not finished:
        raise UserError(f"{folder}: no run has finished yet")
    runs = [_load_run(job) for job in finished]
    facts = runs[0].facts
    arms: dict[str, list[Run]] = {}
    for text in dict.fromkeys(job.arm.text for job in jobs):
        mine = sorted((run for run in runs if run.arm == text), key=lambda run: run.seed)
        if mine:
            arms[text] = mine
    return Results(
        folder=folder,
        config=config,
        objectives=tuple(facts["objectives"]),
        low=np.array(facts["low"]),
        high=np.array(facts["high"]),
        arms=arms,
        unfinished=[job.name for job in jobs if not job.finished],
        pareto_front=_known_front(folder),
    )


def _known_front(folder: Path) -> Floats | None:
    front = read_task(folder)["pareto_front"] if (folder / TASK).is_file() else None
    return None if front is None else np.array(front, dtype=np.float64)


def read_experiment(folder: Path) -> tuple[RunOptions, list[Job]]:
    """The options of an experiment, and its runs where they are now (the folder may have been moved)."""
    record = folder / "config.toml"
    if not record.is_file():
        raise UserError(f"{folder} is not the folder of an experiment: it has no config.toml")
    try:
        values = tomllib.loads(record.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{record} is not TOML: {error}") from error
    if "arm" in values:
        train = read_toml(record, TrainConfig)
        return train, [Job(parse_arm(train.arm), train.seed, folder)]
    compare = read_toml(record, CompareConfig)
    return compare, jobs_of(compare, folder)


def merge_metrics(folder: Path) -> None:
    """Write the rows of all runs, finished or not, to the experiment's ``metrics.jsonl``, with arm and seed."""
    config, jobs = read_experiment(folder)
    if isinstance(config, TrainConfig):
        return  # its only run lives in this folder, and so do its rows
    with (folder / METRICS).open("w", encoding="utf-8") as file:
        for job in jobs:
            for row in read_rows(job.folder / METRICS):
                file.write(json.dumps({"arm": job.arm.text, "seed": job.seed, **row}) + "\n")


def _load_run(job: Job) -> Run:
    facts = json.loads((job.folder / FINISHED).read_text(encoding="utf-8"))
    rows = read_rows(job.folder / METRICS)
    steps = [row for row in rows if row["kind"] == "step"]
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    objectives, last = facts["objectives"], facts["steps"]
    scalars = [key for key, value in steps[0].items() if "/" not in key and isinstance(value, (int, float))]
    vectors = dict.fromkeys(key.split("/")[0] for key in steps[0] if "/" in key)
    series = {name: np.array([row[name] for row in steps], dtype=np.float64) for name in scalars}
    series.update({name: _table(steps, name, objectives) for name in vectors})
    levels = _table(evaluations, "sampled", objectives)
    unknown = np.argwhere(np.isnan(levels))
    if len(unknown):
        (at, k), *_ = unknown
        raise UserError(
            f"{job.folder}: objective {objectives[k]!r} applies to no answer of the evaluation after "
            f"{evaluations[at]['step']} steps; leave it out (--objectives) or evaluate more problems"
        )
    before, after = (json.loads(examples_file(job.folder, step).read_text(encoding="utf-8")) for step in (0, last))
    return Run(
        arm=job.arm.text,
        seed=job.seed,
        series=series,
        evaluation_steps=np.array([row["step"] for row in evaluations], dtype=np.int64),
        evaluations=levels,
        start=np.load(evaluation_file(job.folder, 0), allow_pickle=False),
        final=np.load(evaluation_file(job.folder, last), allow_pickle=False),
        greedy=_table([evaluations[0], evaluations[-1]], "greedy", objectives),
        examples=(before, after),
        facts=facts,
    )


def _table(rows: list[Row], name: str, objectives: list[str]) -> Floats:
    return np.array([[row.get(f"{name}/{o}", np.nan) for o in objectives] for row in rows], dtype=np.float64)
