"""Ranks of arms over tasks: what holds beyond the one task that a comparison was run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from llm_morl_agents.experiments.results import load_results
from llm_morl_agents.experiments.summary import Summary, summarise

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Arms over tasks, the best mean rank first.

    Args:
        tasks: T names.
        arms: A names; those that every task has.
        levels: (T, A) primary numbers.
        ranks: (T, A) from 1, the best; equal levels share the mean of their ranks.
        mean_rank: (A,) over tasks.
    """

    tasks: tuple[str, ...]
    arms: tuple[str, ...]
    levels: Floats
    ranks: Floats
    mean_rank: Floats


def ranks(summaries: Mapping[str, Summary]) -> Ranking:
    """Rank arms on every task by the interquartile mean of the final hypervolume, and average over tasks.

    A mean rank knows no distances: an arm that is a hair behind on every task ranks as one that is far behind. It also
    depends on which other arms are ranked. The levels stand beside it for that reason.

    Args:
        summaries: By task.

    Raises:
        ValueError: If there is no task, or no arm that all of them have.
    """
    if not summaries:
        raise ValueError("summaries: give at least one task")
    tables = {task: {arm.arm: float(arm.primary.mean[0]) for arm in s.arms} for task, s in summaries.items()}
    first, *others = tables.values()
    common = [arm for arm in first if all(arm in other for other in others)]
    if not common:
        raise ValueError(f"summaries: no arm is in all of the tasks {list(summaries)}")
    levels = np.array([[table[arm] for arm in common] for table in tables.values()])
    by_task = scipy.stats.rankdata(-levels, axis=1)
    order = np.argsort(by_task.mean(axis=0), kind="stable")
    arms = tuple(common[i] for i in order)
    placed = by_task[:, order]
    return Ranking(tuple(summaries), arms, levels[:, order], placed, placed.mean(axis=0))


def rank_folders(folders: Sequence[Path]) -> Ranking:
    """`ranks` of the experiments in several folders, each a task under its folder's name.

    Raises:
        UserError: If a folder holds no experiment with a finished run.
        ValueError: As `ranks`.
    """
    return ranks({folder.name: summarise(load_results(folder)) for folder in folders})
