"""The runs behind docs/classic.md: train, evaluate, export a row for each run, write the page.

    python docs/build_classic.py run [SECTION ...]   # about an hour of CPU time; an interruption resumes
    python docs/build_classic.py export              # docs/results/classic-<section>.csv and the picture, from the runs
    python docs/build_classic.py write               # docs/classic.md from those files and classic.md.j2

``make classic-results`` does the three in a row. Runs are commands (``llm-morl classic``, ``llm-morl family``), as many
at a time as ``--jobs`` says. The tables of the page come from the exported files alone; a test holds it against them.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import jinja2
import numpy as np
import tyro
from classic_suites import CHOICE, CHOICE_EASY, CHOICE_SUMMARIES, ROOT, RUNS, SECTIONS, TABLES, Entry, Section
from numpy.typing import NDArray

from llm_morl_agents.experiments.controls import simplex_lattice
from llm_morl_agents.experiments.statistics import scaled
from llm_morl_agents.fronts.baselines import GoldPolicy, RandomPolicy, random_to_oracle_gap
from llm_morl_agents.fronts.evaluation import WEIGHTS, FrontEvaluation, evaluate_front
from llm_morl_agents.fronts.first_option import FirstOptionPolicy
from llm_morl_agents.fronts.record import FRONT, FrontRecord, read_record
from llm_morl_env.candidates import candidate_scores, random_and_oracle
from llm_morl_env.metrics import hypervolume

Floats = NDArray[np.float64]

PAGE, TEMPLATE = ROOT / "docs" / "classic.md", ROOT / "docs" / "classic.md.j2"
PICTURE = ROOT / "docs" / "images" / "front-dent.png"
#: Methods that the picture shows.
PICTURED = ("pcn", "envelope", "envelope-bent", "gpi_ls", "gpi_ls-bent", "lm-conditioned-tchebycheff")
#: How near a policy's mean must be to a point of the front, objectives on [0, 1], to have found it.
FOUND = 0.02
COLUMNS = (
    "method", "seed", "view", "policies", "steps", "cpu_seconds", "claimed_hypervolume", "hypervolume",
    "hypervolume_low", "hypervolume_high", "expected_utility", "share", "front_share", "concave_points",
)  # fmt: skip


@dataclass(frozen=True)
class Baselines:
    """The two ends of the gap, and the known front.

    Args:
        random: Mean utility over the weights of chance.
        oracle: The same of the oracle.
        random_hypervolume: Of chance.
        oracle_hypervolume: Of the oracle; of a known front, of that.
        unlearned: By name, hypervolume and share of the gap of what learns nothing.
    """

    random: float
    oracle: float
    random_hypervolume: float
    oracle_hypervolume: float
    unlearned: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A command and the folders of the records that it writes."""

    name: str
    command: tuple[str, ...]
    folders: tuple[Path, ...]

    @property
    def finished(self) -> bool:
        """Whether all records are there, and made by this command."""
        return self.known and all((folder / FRONT).is_file() for folder in self.folders)

    @property
    def note(self) -> Path:
        """Where the command is kept that made, or makes, the records."""
        return RUNS / "logs" / f"{self.name}.json"

    @property
    def known(self) -> bool:
        """Whether what is there was begun by this command."""
        return self.note.is_file() and json.loads(self.note.read_text(encoding="utf-8")) == list(self.command[1:])

    def begin(self) -> None:
        """Note the command; what another one left is removed."""
        if not self.known:
            for folder in self.folders:
                shutil.rmtree(folder, ignore_errors=True)
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(json.dumps(self.command[1:]) + "\n", encoding="utf-8")


def calls(section: Section) -> list[Call]:
    """The commands of a section: one for all seeds of a classic algorithm, one for each seed of a family."""
    python = (sys.executable, "-m", "llm_morl_agents.cli")
    found = []
    for entry in section.entries:
        name, task = f"{section.name}-{entry.method}", ("--env", section.env_id)
        evaluation = ("--eval-problems", str(section.problems))
        folders = tuple(folder_of(section, entry, seed) for seed in range(entry.seeds))
        if entry.command[0] == "classic":
            view = {key: value for key, value in entry.view.items() if key != "view"}
            kwargs = _pairs({**section.env_kwargs, **view})
            where = ("--view", entry.view["view"], "--seeds", str(entry.seeds), "--out", str(folders[0].parent))
            found.append(Call(name, (*python, *entry.command, *task, *kwargs, *where, *evaluation), folders))
            continue
        for seed, folder in enumerate(folders):
            where = ("--seed", str(seed), "--out", str(folder.parent), "--name", folder.name)
            command = (*python, *entry.command, *task, *_pairs(section.env_kwargs), *where, *evaluation)
            found.append(Call(f"{name}-{seed}", command, (folder,)))
    return found


def _pairs(env_kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    return ("--env-kwargs", *(f"{name}={value}" for name, value in env_kwargs.items())) if env_kwargs else ()


def folder_of(section: Section, entry: Entry, seed: int) -> Path:
    """Where a run's record is."""
    place = RUNS / section.name
    if entry.command[0] == "classic":
        return place / entry.method / f"{entry.command[2]}-seed{seed}"
    return place / f"{entry.method}-{seed}"


def run(names: Sequence[str], jobs: int) -> None:
    """Run what is not there yet; a run that fails is told and skipped."""
    chosen = [section for section in SECTIONS if not names or section.name in names]
    todo = [call for section in chosen for call in calls(section) if not call.finished]
    single = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    def one(call: Call) -> None:
        call.begin()
        log = call.note.with_suffix(".txt")
        with log.open("w", encoding="utf-8") as file:
            status = subprocess.run(call.command, stdout=file, stderr=subprocess.STDOUT, env=single, check=False)
        told = "finished" if call.finished else f"FAILED ({status.returncode}), see {log}"
        print(f"{call.name}: {told}", flush=True)

    write_candidates()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, todo))


def write_candidates() -> None:
    """The files of the choice views: 1,536 problems of the training split, 256 of the evaluation, where missing."""
    made_of = (
        (CHOICE, ("--env", "ToolCall-MO-v0")),
        (CHOICE_EASY, ("--env", "ToolCall-MO-v0", "--difficulty", "easy")),
        (CHOICE_SUMMARIES, ("--env", "Summarize-MO-v0")),
    )
    for view, task in made_of:
        file = Path(view["candidates"])
        if file.is_file():
            continue
        parts = [file.with_suffix(f".{split}") for split in ("train", "eval")]
        for part, split, count in zip(parts, ("train", "eval"), ("1536", "256"), strict=True):
            command = (sys.executable, "-m", "llm_morl_agents.cli", "candidates", *task, "--split", split, "--n", count)
            subprocess.run([*command, "--out", str(part)], check=True)
        file.write_text("".join(part.read_text(encoding="utf-8") for part in parts), encoding="utf-8")


def baselines(section: Section) -> Baselines:
    """The random policy of the section's view, and the oracle: both ends of the gap."""
    env_kwargs = dict(section.env_kwargs)
    if section.oracle == "candidates":
        return _candidate_baselines(section)
    chance = evaluate_front(
        [RandomPolicy(section.env_id, {**env_kwargs, **section.chance})],
        section.env_id,
        n_episodes=section.problems,
        env_kwargs=env_kwargs,
    )
    random, volume = _utility(chance), chance.measures["hypervolume"].value
    if section.oracle == "front":
        assert chance.front is not None
        front = scaled(chance.front, chance.low, chance.high)
        best = float((chance.conditions @ front.T).max(axis=1).mean())
        return Baselines(random, best, volume, hypervolume(front, 0.0))
    gold = evaluate_front(
        [GoldPolicy(section.env_id, env_kwargs)], section.env_id, n_episodes=section.problems, env_kwargs=env_kwargs
    )
    return Baselines(random, _utility(gold), volume, gold.measures["hypervolume"].value)


def unlearned(section: Section, ends: Baselines) -> dict[str, dict[str, float]]:
    """What the section's views are worth to policies that learn nothing, by name."""
    found = {}
    for entry in section.unlearned:
        made = FirstOptionPolicy if entry.policy == "first" else RandomPolicy
        evaluation = evaluate_front(
            [made(section.env_id, {**section.env_kwargs, **entry.view}, label=entry.method)],
            section.env_id,
            n_episodes=section.problems,
            env_kwargs=dict(section.env_kwargs),
        )
        share = random_to_oracle_gap(_utility(evaluation), random=ends.random, oracle=ends.oracle)
        found[entry.method] = {"hypervolume": evaluation.measures["hypervolume"].value, "share": share}
    return found


def _candidate_baselines(section: Section) -> Baselines:
    """A candidate drawn at random, and the best one for each weight vector and problem."""
    env: Any = gym.make(section.env_id, **section.env_kwargs, **section.chance).unwrapped
    scores = candidate_scores(env.task, env.source, range(section.problems), split="eval")
    low, high = (np.asarray(bound, np.float64) for bound in (env.return_space.low, env.return_space.high))
    unit = (scores - low) / (high - low)
    weights = np.array(simplex_lattice(unit.shape[2], WEIGHTS))
    random, oracle = random_and_oracle(unit, weights)
    best = np.array([np.take_along_axis(unit, (unit @ w).argmax(axis=1)[:, None, None], 1).mean(0)[0] for w in weights])
    volumes = hypervolume(unit.mean(axis=(0, 1))[None], 0.0), hypervolume(best, 0.0)
    return Baselines(float(random.mean()), float(oracle.mean()), *volumes)


def _utility(evaluation: FrontEvaluation) -> float:
    """Mean utility over the weights: of the policies that serve them where every weight has one, else of the best."""
    measures = evaluation.measures
    return (measures.get("served_utility") or measures["expected_utility_held_out"]).value


def export(names: Sequence[str]) -> None:
    """A row for each finished run, and the baselines."""
    TABLES.mkdir(exist_ok=True)
    for section in SECTIONS:
        if names and section.name not in names:
            continue
        stale = {folder for call in calls(section) if not call.known for folder in call.folders}
        found = [(e, s, folder_of(section, e, s)) for e in section.entries for s in range(e.seeds)]
        found = [part for part in found if part[2] not in stale and (part[2] / FRONT).is_file()]
        records = [(entry, seed, read_record(folder)) for entry, seed, folder in found]
        if not records:
            continue
        ends = baselines(section)
        ends = replace(ends, unlearned=unlearned(section, ends))
        with (TABLES / f"classic-{section.name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_row(entry, seed, record, ends) for entry, seed, record in records)
        (TABLES / f"classic-{section.name}.json").write_text(json.dumps(vars(ends), indent=1) + "\n", encoding="utf-8")


def draw() -> None:
    """The page's picture, by ``llm-morl front``, of the first seeds of some methods of the first section."""
    dent = next(section for section in SECTIONS if section.name == "dent")
    chosen = [folder_of(dent, entry, 0) for entry in dent.entries if entry.method in PICTURED]
    command = (sys.executable, "-m", "llm_morl_agents.cli", "front", "--env", dent.env_id, "--from")
    out = RUNS / "front-dent"
    subprocess.run([*command, *map(str, chosen), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    shutil.copyfile(out / "front.png", PICTURE)


def _row(entry: Entry, seed: int, record: FrontRecord, ends: Baselines) -> dict[str, Any]:
    evaluation = record.evaluation
    volume, utility = evaluation.measures["hypervolume"], _utility(evaluation)
    numbers = {
        "cpu_seconds": record.cpu_seconds,
        "claimed_hypervolume": evaluation.claimed_hypervolume,
        "hypervolume": volume.value,
        "hypervolume_low": volume.low,
        "hypervolume_high": volume.high,
        "expected_utility": utility,
        "share": random_to_oracle_gap(utility, random=ends.random, oracle=ends.oracle),
        "front_share": None if evaluation.front is None else volume.value / ends.oracle_hypervolume,
        "concave_points": None if evaluation.front is None else concave_points_found(evaluation),
    }
    told = {name: "" if value is None else f"{value:.5g}" for name, value in numbers.items()}
    about = {"method": entry.method, "seed": seed, "view": record.view, "policies": len(evaluation.labels)}
    return {**about, "steps": record.steps, **told}


def concave_points_found(evaluation: FrontEvaluation) -> int:
    """How many points of the known front that no linear weights prefer are some policy's mean."""
    assert evaluation.front is not None
    front = scaled(evaluation.front, evaluation.low, evaluation.high)
    means = scaled(evaluation.means, evaluation.low, evaluation.high)
    preferred = np.array(simplex_lattice(front.shape[1], 1001)) @ front.T
    supported = (preferred >= preferred.max(axis=1, keepdims=True) - 1e-9).any(axis=0)
    near = np.abs(front[:, None] - means[None]).max(axis=2).min(axis=1) <= FOUND
    return int((near & ~supported).sum())


@dataclass(frozen=True)
class Line:
    """A row of the page's table: one method over its seeds."""

    entry: Entry
    rows: tuple[Mapping[str, str], ...]

    @property
    def title(self) -> str:
        """The method, and what is to be said of it."""
        code = f"`{self.entry.method}`" if self.entry.command[0] == "classic" else self.entry.method
        return f"{code} ({self.entry.note})" if self.entry.note else code

    def over_seeds(self, column: str, digits: int = 3) -> str:
        """Mean over the seeds, with the smallest and the largest; empty where there is no number."""
        cells = [float(row[column]) for row in self.rows if row[column]]
        if not cells:
            return ""
        shown = [f"{value:.{digits}f}".replace("0.", ".", 1) for value in (np.mean(cells), min(cells), max(cells))]
        return shown[0] if len(cells) == 1 else f"{shown[0]} [{shown[1]}, {shown[2]}]"

    def mean(self, column: str, digits: int = 0) -> str:
        """Mean over the seeds alone."""
        cells = [float(row[column]) for row in self.rows if row[column]]
        return f"{np.mean(cells):,.{digits}f}" if cells else ""


def tables() -> dict[str, Any]:
    """What the template is given."""
    sections = []
    for section in SECTIONS:
        file = TABLES / f"classic-{section.name}.csv"
        if not file.is_file():
            continue
        with file.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
        lines = [Line(e, tuple(row for row in rows if row["method"] == e.method)) for e in section.entries]
        ends = Baselines(**json.loads((TABLES / f"classic-{section.name}.json").read_text(encoding="utf-8")))
        shown = [line for line in lines if line.rows]
        by_method = {line.entry.method: line for line in shown}
        sections.append({"section": section, "lines": shown, "by": by_method, "ends": ends})
    return {"sections": {part["section"].name: part for part in sections}}


def page() -> str:
    """The page, from the exported tables."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(TEMPLATE.name).render(**tables())


def main(
    action: Annotated[str, tyro.conf.Positional],
    sections: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    jobs: int = os.cpu_count() or 1,
) -> None:
    """Run, export or write.

    Args:
        action: run, export or write.
        sections: Of the page; all by default.
        jobs: Runs at a time.
    """
    unknown: Iterable[str] = set(sections) - {section.name for section in SECTIONS}
    if action not in ("run", "export", "write") or unknown:
        sys.exit(f"build_classic.py: unknown {sorted(unknown) or action}")
    if action == "run":
        run(sections, jobs)
    elif action == "export":
        export(sections)
        if not sections or "dent" in sections:
            draw()
    else:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
