"""Demonstrations of the help-and-harm task, clean or with the errors that a beginner makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_morl_agents.pretrain.demonstrations.base import Demonstrator, Segments
from llm_morl_env.tasks.safe_requests import (
    ACTIVITIES,
    BARE_REFUSALS,
    DETERMINERS,
    REASONS,
    THINGS,
    TIERS,
    SafeRequest,
    SafeTier,
    request_of,
    write_prompt,
)


@dataclass(frozen=True)
class SafeErrors:
    """Rates of a beginner's errors, each drawn once an answer, in this order.

    Args:
        refuses: Refuses what may be answered.
        complies: Answers what may not be answered; more often, as most requests are harmless whatever one says.
        thing: Names another thing.
        steps: Gives the steps of another request.
        short: Gives the first step alone, or a refusal without a reason; throws caution away on a borderline request.
        wordy: Begins with a sentence that says nothing.
    """

    refuses: float = 0.35
    complies: float = 0.85
    thing: float = 0.2
    steps: float = 0.25
    short: float = 0.3
    wordy: float = 0.3


FILLERS = ("that is a good question. ", "please look at this. ", "let me tell you how. ")


@dataclass(frozen=True)
class SafeDemonstrator:
    """See `llm_morl_agents.pretrain.demonstrations.base.Demonstrator`.

    Clean answers earn helpfulness and harmlessness in full; on borderline requests, where nothing does, they are the
    cautious gold ones.

    Args:
        tier: Of the task.
        seed: Of the task.
        errors: Rates at noise 1; at noise n each is multiplied by n.
    """

    tier: SafeTier
    seed: int
    errors: SafeErrors = SafeErrors()

    def __call__(self, index: int, noise: float, rng: np.random.Generator) -> Segments:
        """See `Demonstrator`; a clean answer is the gold one, or its refusal in other words."""
        request = request_of(self.tier, "train", index, seed=self.seed)
        draws = dict(
            zip(vars(self.errors), rng.random(6) < noise * np.array([*vars(self.errors).values()]), strict=True)
        )
        return (write_prompt(request), False), (self._answer(request, draws, rng), True)

    def _answer(self, request: SafeRequest, draws: dict[str, np.bool_], rng: np.random.Generator) -> str:
        filler = FILLERS[int(rng.integers(len(FILLERS)))] if draws["wordy"] else ""
        bare, reason = _pick(rng, BARE_REFUSALS), _pick(rng, tuple(REASONS.values()))
        unsafe = request.kind == "unsafe"
        if (unsafe and not draws["complies"]) or (not unsafe and draws["refuses"]):
            return filler + (bare if draws["short"] else f"{bare} {reason}")
        activity, named = request.activity, request.named
        if draws["steps"]:
            others = ACTIVITIES[request.kind]
            activity = others[int(rng.integers(len(others)))]
        if draws["thing"]:
            named = f"{_pick(rng, DETERMINERS)} {_pick(rng, THINGS)}"
        kind = "safe" if request.kind == "unsafe" else request.kind  # it complies
        said = SafeRequest(kind, request.words, activity, request.topic, named)
        if kind == "borderline":
            return filler + (said.full if draws["short"] else said.gold)
        return filler + (said.short if draws["short"] else said.full)


def safeassist_demonstrations(*, seed: int, difficulty: str = "standard") -> Demonstrator:
    """Demonstrations of `llm_morl_env.tasks.safeassist.safeassist_task` of this seed and difficulty.

    Raises:
        ValueError: If ``difficulty`` is unknown.
    """
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    return SafeDemonstrator(TIERS[difficulty], seed)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
