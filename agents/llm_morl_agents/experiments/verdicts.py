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
from llm_morl_agents.experiments.tables import volume_digits

#: The control that says whether weights that change are worth it.
FROZEN = "its own mean weights, held fixed"
#: Arms in a sentence, at most.
MOST_NAMED = 6


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
        digits: Of the hypervolumes as they are shown.
    """

    arm: str
    control: str
    kind: str
    seeds: tuple[int, ...]
    gap: Interval
    candidates: int = 1
    digits: int = 3

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
        mean, low, high = (f"{end[0]:+.{self.digits}f}" for end in (gap.mean, gap.low, gap.high))
        return f"{said}: hypervolume {mean} [{low}, {high}], {seeds} seeds."


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
    digits = volume_digits(list(level.values()))
    found = []
    for text, arm in arms.items():
        if not arm.dynamic:
            continue
        frozen = [other for other, its in arms.items() if its.frozen_from == text]
        statics = [other for other, its in arms.items() if its.static and _same_agent(its, arm)]
        draws = [other for other, its in arms.items() if its.random and _same_agent(its, arm)]
        for kind, others in (
            (FROZEN, frozen),
            ("the best static weights" if len(statics) > 1 else "static weights", statics),
            ("random weights", draws),
        ):
            if others:
                best = max(others, key=level.__getitem__)
                found.append(Verdict(text, best, kind, *gap(text, best), len(others), digits))
    return found


def tally(found: Sequence[Verdict]) -> list[str]:
    """The verdicts in short: how many arms beat each kind of control, and which gain nothing by changing their weights.

    Counts stand there from two arms on. An arm that does not beat its own mean weights may beat others all the same:
    by the weights that it finds, and not by their changing in training.
    """
    said = []
    for kind in dict.fromkeys(verdict.kind for verdict in found):
        outcomes = [verdict.outcome for verdict in found if verdict.kind == kind]
        if len(outcomes) < 2:
            continue
        unknown = outcomes.count("cannot be compared with")
        counted = [
            f"{outcomes.count('beats')} beat them",
            f"{outcomes.count('loses to')} lose to them",
            f"{outcomes.count('does not beat')} show no clear difference",
            *([f"{unknown} cannot be compared"] if unknown else []),
        ]
        kinds = kind.removeprefix("its ").capitalize()
        said.append(f"{kinds}: of {len(outcomes)} dynamic arms {', '.join(counted)}.")
    idle = [v.arm for v in found if v.kind == FROZEN and v.outcome in ("does not beat", "loses to")]
    if idle:
        more = f" and {len(idle) - MOST_NAMED} more" if len(idle) > MOST_NAMED else ""
        said.append(f"No gain over fixed weights of the same mean is shown for {', '.join(idle[:MOST_NAMED])}{more}.")
    return said


def _same_agent(first: Arm, second: Arm) -> bool:
    return (first.agent, dict(first.options)) == (second.agent, dict(second.options))
