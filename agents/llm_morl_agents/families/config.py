"""Options of a family: those of a run, and how its policies come to serve preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import tyro

from llm_morl_agents.experiments.config import RunOptions
from llm_morl_agents.experiments.errors import UserError

Kind = Literal["conditioned", "soup", "sweep"]


@dataclass(frozen=True)
class FamilyOptions:
    """What the family is.

    Args:
        kind: conditioned: one policy that reads the preference; soup: a policy for each objective, their parameters
            interpolated; sweep: a policy for each of several preferences.
        arm: How each policy is trained, as agent:weighter, options in parentheses (quote them for the shell).
        seed: Of every random stream.
        conditioning: How a conditioned policy reads the preference: prompt (in words; a character for each weight where
            the vocabulary is small) or embedding (a soft token before the prompt).
        parts: Preferences that a conditioned policy is trained with are multiples of 1 / parts.
        focus: Weight of its own objective in the training of each policy of a soup; the others share the rest.
        preferences: Preferences of a sweep, at least: the smallest evenly spaced lattice with so many.
        choose: Which policy of a sweep answers: nearest (of nearest preference) or best (of greatest utility on
            training problems).
        scale: Train on objectives scaled to [0, 1] by their bounds, so that a weight means the same for all. Results
            are not scaled.
        max_cpu_seconds: CPU time of all training steps together, shared evenly by the policies; without it, steps
            alone end the training.
        evaluation_preferences: Preferences at which the finished family is evaluated, at least; by default the ones at
            which every front is valued. With another number a trained family is evaluated again, not trained.
    """

    kind: tyro.conf.Positional[Kind] = "conditioned"
    arm: str = "grpo:static"
    seed: int = 0
    conditioning: Literal["prompt", "embedding"] = "prompt"
    parts: int = 10
    focus: float = 1.0
    preferences: int = 5
    choose: Literal["nearest", "best"] = "nearest"
    scale: bool = True
    max_cpu_seconds: float | None = None
    evaluation_preferences: int = 21


# The first base comes last: the command line shows the options of a command before those that all share.
@dataclass(frozen=True)
class FamilyConfig(RunOptions, FamilyOptions):
    """Policies for every preference, of one language model."""

    command: ClassVar[str] = "family"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("parts", 1), ("preferences", 2), ("evaluation_preferences", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0.5 < self.focus <= 1:
            raise UserError(f"focus must lie in (0.5, 1], got {self.focus}")
        if self.max_cpu_seconds is not None and not self.max_cpu_seconds > 0:
            raise UserError(f"max_cpu_seconds must be above 0, got {self.max_cpu_seconds}")
