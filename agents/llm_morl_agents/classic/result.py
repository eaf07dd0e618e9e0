"""`ClassicResult`: what a classic algorithm leaves behind. Shapes: n policies, K objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from llm_morl_agents.classic.algorithms import Floats, on_simplex
from llm_morl_agents.classic.clock import Stopped
from llm_morl_agents.fronts.policy import FrontPolicy


@dataclass(frozen=True, eq=False)
class ClassicResult:
    """A `llm_morl_agents.fronts.policy.PolicyFamily`, with the record of its training.

    Args:
        algo: Name of the algorithm.
        env_id: What it was trained on.
        view: How it saw it.
        seed: Of everything.
        policies: What the algorithm keeps, n of them.
        history: Rows of the training, see `llm_morl_agents.classic.recorder.History`.
        cpu_seconds: Of the training, evaluations by the library included, in this process.
        steps: Of the training environment.
        stopped: ``"time"`` or ``"interrupt"`` where it ended early, else None.
        low: Lower bounds (K,) of an episode's return, which claims are scaled by where `policy` compares them.
        width: Widths (K,) of the bounds.
        settings: Of the algorithm, the preset's and the user's.
        env_kwargs: Of the environment.
        choose: See `llm_morl_agents.classic.algorithms.Trained`.
        exploration_steps: Steps over which random actions became fewer; None where nothing of the kind fell with the
            steps, or the user said where. A training that ``stopped`` before them never acted much by what it learned.
    """

    algo: str
    env_id: str
    view: str
    seed: int
    policies: tuple[FrontPolicy, ...]
    history: list[dict[str, Any]]
    cpu_seconds: float
    steps: int
    stopped: Stopped | None
    low: Floats
    width: Floats
    settings: Mapping[str, Any]
    env_kwargs: Mapping[str, Any]
    choose: Callable[[Floats], FrontPolicy] | None = field(default=None, repr=False)
    exploration_steps: int | None = None

    @property
    def front(self) -> Floats:
        """What the policies claim to earn, (n, K); a row of NaN for one that claims nothing.

        Claims are the algorithm's own numbers, of few training episodes: they are optimistic. Re-evaluate.
        """
        nothing = np.full(len(self.low), np.nan)
        rows = [nothing if policy.claimed is None else policy.claimed for policy in self.policies]
        return np.array(rows).reshape(len(rows), len(self.low))

    def policy(self, weights: ArrayLike) -> FrontPolicy:
        """The policy that serves a preference.

        A weight-conditioned network is asked for these weights; of a set, the member is taken whose claim, scaled by
        the bounds, is worth most.

        Args:
            weights: Array (K,), not negative, with a positive sum.

        Raises:
            ValueError: If the weights are no preference, or the training ended before there was any policy.
        """
        preference = on_simplex(weights, len(self.low), "policy(weights=)")
        if self.choose is not None:
            return self.choose(preference)
        if not self.policies:
            raise ValueError(f"{self.algo} has no policy: its training ended after {self.steps} steps")
        worth = ((self.front - self.low) / self.width) @ preference
        return self.policies[int(np.argmax(np.where(np.isnan(worth), -np.inf, worth)))]
