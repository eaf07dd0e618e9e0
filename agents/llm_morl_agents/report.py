"""`StepReport`: what a callback sees of a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class StepReport:
    """One training step, K objectives.

    Under dynamic sampling all figures are those of the groups that were kept.

    Args:
        step: Index of the step, from 0.
        objectives: K names.
        reward_mean: (K,) mean over the batch of raw rewards (their sum over the turns of a dialogue), each objective
            over the responses that it applies to; NaN where there are none, as in the two that follow.
        within_group_std: (K,) mean over groups of the population std.
        zero_variance_share: (K,) share of groups in which the objective is flat.
        weight: (K,) mean weight over the responses.
        scale: Mean over the responses of the weighting's factor on the advantages.
        advantage_share: (K,) signed share of the advantage; sums to 1, or to 0 without any advantage.
        loss: Of the last epoch: surrogate plus KL and entropy terms.
        grad_norm: Before the clip, mean over optimizer steps; 0 where there was nothing to learn.
        entropy: Mean over generated tokens of minus the log-probability of the drawn token, nats.
        kl: Mean k3 divergence to the initial policy over tokens; 0 without ``kl_coef``.
        clip_share: Share of tokens whose importance ratio left the clip range, last epoch.
        response_tokens: Mean number of generated tokens of a response, over all turns of a dialogue.
        finished_share: Share of responses that ended by themselves; of dialogues, each turn of which did.
        groups: Groups trained on.
        rollouts: Rollouts taken (more than 1 under dynamic sampling).
        learning_rate: Used in this step.
        cpu_seconds: CPU time of this process in this step.
        wall_seconds: Wall time of this step.
        weighter_seconds: CPU time of the weighter in it.
        turns: Mean number of responses in a dialogue; None in tasks of one turn.
        loss_weight: Mean factor on the advantages that the environment asks for; None where it asks for none.
    """

    step: int
    objectives: tuple[str, ...]
    reward_mean: NDArray[np.float64]
    within_group_std: NDArray[np.float64]
    zero_variance_share: NDArray[np.float64]
    weight: NDArray[np.float64]
    scale: float
    advantage_share: NDArray[np.float64]
    loss: float
    grad_norm: float
    entropy: float
    kl: float
    clip_share: float
    response_tokens: float
    finished_share: float
    groups: int
    rollouts: int
    learning_rate: float
    cpu_seconds: float
    wall_seconds: float
    weighter_seconds: float
    turns: float | None = None
    loss_weight: float | None = None

    def as_row(self) -> dict[str, Any]:
        """A flat JSON-able mapping; per-objective entries as ``reward_mean/format``. Without what does not apply."""
        row: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                entries = zip(self.objectives, value, strict=True)
                row.update({f"{name}/{o}": float(v) for o, v in entries if not np.isnan(v)})
            elif name != "objectives" and value is not None:
                row[name] = value
        return row
