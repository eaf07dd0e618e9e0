"""The exported rows of the comparisons behind docs/results.md, and how their numbers are written."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.experiments.statistics import Interval, iqm_interval, paired_interval

Floats = NDArray[np.float64]

#: What arms are ranked by: the hypervolume of the mean reward vector after training.
PRIMARY = "hypervolume"


@dataclass(frozen=True, eq=False)
class Table:
    """The exported rows of a suite: per arm and column, a value for each seed."""

    columns: Mapping[str, Mapping[str, Floats]]
    seeds: Mapping[str, Sequence[int]]

    @property
    def arms(self) -> list[str]:
        """In the order of the file."""
        return list(self.columns)

    def values(self, arm: str, column: str = PRIMARY) -> Floats:
        """(S,) values of an arm's runs."""
        return self.columns[arm][column]

    def interval(self, arm: str, column: str = PRIMARY) -> Interval:
        """Interquartile mean over seeds, with its interval, (1,) each."""
        return iqm_interval(self.values(arm, column)[:, None], generator=np.random.default_rng(0))

    def difference(self, arm: str, other: str, column: str = PRIMARY) -> Interval:
        """Mean of the differences paired by seed, with its interval, (1,) each."""
        mine, theirs = (dict(zip(self.seeds[a], self.values(a, column), strict=True)) for a in (arm, other))
        return paired_interval([[mine[seed] - theirs[seed]] for seed in mine if seed in theirs])


def read_table(path: Path) -> Table:
    """Read an exported file; numbers only, an empty cell is NaN."""
    columns: dict[str, dict[str, list[float]]] = {}
    seeds: dict[str, list[int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            seeds.setdefault(row["arm"], []).append(int(row["seed"]))
            of_arm = columns.setdefault(row["arm"], {})
            for name, cell in row.items():
                if name not in ("arm", "seed", "policy"):
                    of_arm.setdefault(name, []).append(float(cell) if cell else np.nan)
    return Table({arm: {n: np.array(v) for n, v in of.items()} for arm, of in columns.items()}, seeds)


def with_interval(interval: Interval, *, signed: bool) -> str:
    mean, low, high = (short(end[0], signed=signed) for end in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def short(value: float, *, signed: bool = False) -> str:
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
