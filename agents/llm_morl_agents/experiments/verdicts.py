"""What a dynamic weighter beats: its own mean weights, the best static ones, random ones. In words.

Each verdict is about the hypervolume of the final mean vector, by the paired differences of the seeds that both arms
have. An interval that contains 0 is no evidence for either, and is called so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_morl_agents.experiments.arms import Arm, parse_arm
from llm_morl_agents.experiments.fronts import MethodFront, gain_over
from llm_morl_agents.experiments.results import Results
from llm_morl_agents.experiments.statistics import Interval
from llm_morl_agents.experiments.summary import Summary, difference


@dataclass(frozen=True, eq=False)
class Verdict:
    """A dynamic arm against one of its controls.

    Args:
        arm: The dynamic arm.
        control: The other arm.
        kind: What it is, in words.
        seeds: Those that both have.
        gap: (K,) whose first entry is the hypervolume, dynamic minus control.
        candidates: Arms that the control was chosen from, by the same runs that it is judged by.
    """

    arm: str
    control: str
    kind: str
    seeds: tuple[int, ...]
    gap: Interval
    candidates: int = 1

    @property
    def outcome(self) -> str:
        """``beats``, ``does not beat``, or ``loses to``; of one seed nothing is known."""
        low, high = self.gap.low[0], self.gap.high[0]
        if np.isnan(low):
            return "cannot be compared with"
        return "beats" if low > 0 else "loses to" if high < 0 else "does not beat"

    def __str__(self) -> str:
        gap, seeds = self.gap, len(self.seeds)
        chosen = f", the best of {self.candidates}" if self.candidates > 1 else ""
        said = f"{self.arm} {self.outcome} {self.kind} ({self.control}{chosen})"
        if np.isnan(gap.low[0]):
            return f"{said}: {'one seed says' if seeds else 'no common seed: it says'} nothing about the spread."
        return f"{said}: hypervolume {gap.mean[0]:+.3f} [{gap.low[0]:+.3f}, {gap.high[0]:+.3f}], {seeds} seeds."


def verdicts(results: Results, summary: Summary, fronts: Sequence[MethodFront] = ()) -> list[Verdict]:
    """One for each dynamic arm and each control of the same agent that has finished runs.

    With preferences they are about whole fronts: the hypervolume of the set that a method reaches.
    """
    if fronts:
        sets = {front.method: front for front in fronts}
        level = {method: float(front.hypervolume.mean[0]) for method, front in sets.items()}
        return _verdicts(level, lambda arm, other: _front_gap(sets[arm], sets[other]))
    level = {arm.arm: float(arm.primary.mean[0]) for arm in summary.arms}

    def gap(arm: str, other: str) -> tuple[tuple[int, ...], Interval]:
        found = difference(results, arm, other)
        return found.seeds, found.primary

    return _verdicts(level, gap)


def _front_gap(front: MethodFront, other: MethodFront) -> tuple[tuple[int, ...], Interval]:
    common, gain = tuple(seed for seed in front.seeds if seed in other.seeds), gain_over(front, other)
    nothing = np.full(1, np.nan)
    return common, gain or Interval(nothing, nothing, nothing)


def _verdicts(level: Mapping[str, float], gap: Callable[[str, str], tuple[tuple[int, ...], Interval]]) -> list[Verdict]:
    arms = {text: parse_arm(text) for text in level}
    found = []
    for text, arm in arms.items():
        if not arm.dynamic:
            continue
        frozen = [other for other, its in arms.items() if its.frozen_from == text]
        statics = [other for other, its in arms.items() if its.static and _same_agent(its, arm)]
        draws = [other for other, its in arms.items() if its.random and _same_agent(its, arm)]
        for kind, others in (
            ("its own mean weights, held fixed", frozen),
            ("the best static weights" if len(statics) > 1 else "static weights", statics),
            ("random weights", draws),
        ):
            if others:
                best = max(others, key=level.__getitem__)
                found.append(Verdict(text, best, kind, *gap(text, best), len(others)))
    return found


def _same_agent(first: Arm, second: Arm) -> bool:
    return (first.agent, dict(first.options)) == (second.agent, dict(second.options))
