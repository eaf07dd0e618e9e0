"""Controls of a comparison: static weights over the simplex, frozen mean weights, random weights; and preferences.

A dynamic weighter may win because it finds better weights, because it changes them over time, or because anything other
than equal weights would have won. The static grid, the arm's own mean weights held fixed, and random weights tell these
apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from llm_morl_agents.experiments.arms import FROZEN_MEAN, Arm, parse_arm, parse_arms
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.runner import FINISHED, METRICS, read_rows, run_folder
from llm_morl_env.metrics import equally_spaced_weights


def simplex_lattice(n_objectives: int, at_least: int) -> list[tuple[float, ...]]:
    """The smallest evenly spaced lattice on the simplex with so many points, corners among them, to 6 digits.

    With H divisions there are ``C(H + K - 1, K - 1)`` points (Das and Dennis, 1998).

    >>> simplex_lattice(2, 3)
    [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    >>> len(simplex_lattice(2, 21)), len(simplex_lattice(3, 21)), len(simplex_lattice(5, 21))
    (21, 21, 35)
    """
    if n_objectives == 1:
        return [(1.0,)]
    divisions = 1
    while comb(divisions + n_objectives - 1, n_objectives - 1) < at_least:
        divisions += 1
    points = equally_spaced_weights(n_objectives, divisions=divisions)
    return [tuple(float(value) for value in row) for row in np.round(points, 6)]


def all_arms(config: CompareConfig, n_objectives: int | None) -> list[Arm]:
    """The arms of the user, then their controls; all of them for every preference where there are any.

    Args:
        config: Of the comparison.
        n_objectives: K; may be None where `needs_objectives` says so.

    Raises:
        ValueError: If an arm is malformed, or freezes one that is not compared.
    """
    arms = parse_arms(config.arms)
    texts = [arm.text for arm in arms]
    given = {arm.slug for arm in arms}
    for text in _controls(config, arms, n_objectives):
        arm = parse_arm(text)
        if arm.slug not in given:
            given.add(arm.slug)
            arms.append(arm)
    for arm in arms:
        if arm.frozen_from is not None and arm.frozen_from not in texts:
            raise ValueError(f"arm {arm.text!r} freezes {arm.frozen_from!r}, which is not among the arms {texts}")
    if config.preferences:
        assert n_objectives is not None
        lattice = simplex_lattice(n_objectives, config.preferences)
        arms = [arm.with_preference(preference) for arm in arms for preference in lattice]
    return arms


def needs_objectives(config: CompareConfig) -> bool:
    """Whether the arms depend on the number of objectives."""
    return bool(config.preferences) or "grid" in config.controls


def _controls(config: CompareConfig, arms: Sequence[Arm], n_objectives: int | None) -> list[str]:
    weighed = [arm for arm in arms if arm.weighter is not None]
    agents = list(dict.fromkeys(arm.agent_text for arm in weighed))
    texts: list[str] = []
    if "frozen" in config.controls:
        texts += [f"{arm.agent_text}:{FROZEN_MEAN}({arm.weighter})" for arm in weighed if arm.dynamic]
    if "random" in config.controls:
        texts += [f"{agent}:random" for agent in agents]
    if "grid" in config.controls:
        assert n_objectives is not None
        lattice = simplex_lattice(n_objectives, config.grid_size)
        texts += [f"{agent}:static(weights={weights})" for agent in agents for weights in lattice]
    return texts


@dataclass(frozen=True)
class FrozenMean:
    """Mean weights of an arm's runs.

    Args:
        of: The arm.
        seeds: Of its runs.
        weights: Mean over steps and seeds, by objective.
        scale: Mean over steps and seeds of the factor on the advantages.
    """

    of: str
    seeds: tuple[int, ...]
    weights: tuple[float, ...]
    scale: float

    @property
    def weighter(self) -> str:
        """As text."""
        return f"frozen(weights={self.weights}, scale={self.scale})"

    def as_facts(self) -> dict[str, Any]:
        """JSON-able."""
        return {"of": self.of, "seeds": list(self.seeds), "weights": list(self.weights), "scale": self.scale}


def frozen_mean(experiment: Path, arm: Arm, seeds: int) -> FrozenMean:
    """What an arm that freezes another one's weights holds fixed.

    Args:
        experiment: Folder of the comparison.
        arm: The one that freezes.
        seeds: Runs of each arm.

    Raises:
        UserError: If a run of the other arm has not finished.
    """
    assert arm.frozen_from is not None
    source = parse_arm(arm.frozen_from)
    folders = [run_folder(experiment, source, seed) for seed in range(seeds)]
    missing = [folder.name for folder in folders if not (folder / FINISHED).is_file()]
    if missing:
        raise UserError(f"{arm.text} needs the mean weights of {source.text}, but {missing[0]} has not finished")
    names = json.loads((folders[0] / FINISHED).read_text(encoding="utf-8"))["objectives"]
    rows = [row for folder in folders for row in read_rows(folder / METRICS) if row["kind"] == "step"]
    weights = np.mean([[row[f"weight/{name}"] for name in names] for row in rows], axis=0)
    scale = float(np.mean([row["scale"] for row in rows]))
    return FrozenMean(source.text, tuple(range(seeds)), tuple(float(value) for value in weights), scale)
