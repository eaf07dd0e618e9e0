"""What a dynamic weighter beats: its own mean weights, the best static ones, random ones. In words.

Each verdict is about the hypervolume of the final mean vector, by the paired differences of the seeds that both arms
have. An interval that contains 0 is no evidence for either, and is called so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_morl_agents.experiments.arms import Arm, parse_arm
from llm_morl_agents.experiments.results import Results
from llm_morl_agents.experiments.summary import Difference, Summary, difference


@dataclass(frozen=True, eq=False)
class Verdict:
    """A dynamic arm against one of its controls.

    Args:
        arm: The dynamic arm.
        control: The other arm.
        kind: What it is, in words.
        difference: Dynamic minus control.
        candidates: Arms that the control was chosen from, by the same runs that it is judged by.
    """

    arm: str
    control: str
    kind: str
    difference: Difference
    candidates: int = 1

    @property
    def outcome(self) -> str:
        """``beats``, ``does not beat``, or ``loses to``; of one seed nothing is known."""
        low, high = self.difference.primary.low[0], self.difference.primary.high[0]
        if np.isnan(low):
            return "cannot be compared with"
        return "beats" if low > 0 else "loses to" if high < 0 else "does not beat"

    def __str__(self) -> str:
        gap, seeds = self.difference.primary, len(self.difference.seeds)
        chosen = f", the best of {self.candidates}" if self.candidates > 1 else ""
        said = f"{self.arm} {self.outcome} {self.kind} ({self.control}{chosen})"
        if np.isnan(gap.low[0]):
            return f"{said}: {'one seed says' if seeds else 'no common seed: it says'} nothing about the spread."
        return f"{said}: hypervolume {gap.mean[0]:+.3f} [{gap.low[0]:+.3f}, {gap.high[0]:+.3f}], {seeds} seeds."


def verdicts(results: Results, summary: Summary) -> list[Verdict]:
    """One for each dynamic arm and each control of the same agent that has finished runs."""
    arms = {text: parse_arm(text) for text in results.arms}
    level = {arm.arm: float(arm.primary.mean[0]) for arm in summary.arms}
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
                found.append(Verdict(text, best, kind, difference(results, text, best), len(others)))
    return found


def _same_agent(first: Arm, second: Arm) -> bool:
    return (first.agent, dict(first.options)) == (second.agent, dict(second.options))
