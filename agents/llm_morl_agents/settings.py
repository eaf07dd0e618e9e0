"""`Settings`: the numbers of a training run. Behaviour is chosen by objects (estimator, weighter), not by fields."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from llm_morl_agents.policy import Sampling

Aggregation = Literal["token_mean", "sequence_mean", "constant"]
RatioLevel = Literal["token", "sequence"]
Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Settings:
    """Settings of every grouped policy-gradient agent, by the names that the field expects.

    Args:
        learning_rate: Peak of the schedule.
        schedule: ``constant``; or ``linear`` or ``cosine`` decay to 0 at ``schedule_steps``.
        schedule_steps: Horizon of the decay in steps; None takes the first call of ``learn``.
        warmup_steps: Linear warm-up.
        betas: AdamW's.
        weight_decay: AdamW's, decoupled.
        max_grad_norm: Clip of the gradient's norm.
        epochs: Passes over each batch.
        mini_batches: Optimizer steps a pass; groups are never torn apart.
        micro_batches: Parts of a mini-batch that are held in memory at once. Exact: the gradient is the same.
        temperature: Of the sampling distribution, whose log-probabilities are trained.
        top_p: Nucleus sampling; with less than 1 importance ratios are off (see `Sampling`).
        max_new_tokens: Cap on a response in the policy's tokens; None takes the environment's cap.
        stop: Stop strings.
        clip_low: Lower clip of the importance ratio, 1 - clip_low; None (with ``clip_high`` None): no ratio at all,
            the plain REINFORCE loss.
        clip_high: Upper clip, 1 + clip_high (DAPO's clip-higher).
        dual_clip: Cap on the loss of negative advantages (verl's c); None for none.
        ratio: ``token``, or ``sequence`` (GSPO).
        aggregation: ``token_mean`` (DAPO), ``sequence_mean`` (GRPO's paper), ``constant`` (Dr.GRPO: divides by the
            response cap).
        kl_coef: Weight of the k3 divergence to the initial policy; 0 keeps no reference copy.
        entropy_coef: Weight of an entropy bonus.
        dynamic_sampling: Draw again until every group has an objective of non-zero weight that varies (DAPO's, for
            vectors: the sum of the rewards may be flat).
        max_resamples: Further rollouts that dynamic sampling may take in a step.
        checkpoint_every: Steps between checkpoints, where ``learn`` is given a path; 0: at the end only.

    Raises:
        ValueError: If a value is out of its range.
    """

    learning_rate: float = 4e-4
    schedule: Schedule = "constant"
    schedule_steps: int | None = None
    warmup_steps: int = 0
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    epochs: int = 1
    mini_batches: int = 1
    micro_batches: int = 4
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int | None = None
    stop: tuple[str, ...] = ()
    clip_low: float | None = 0.2
    clip_high: float | None = 0.28
    dual_clip: float | None = None
    ratio: RatioLevel = "token"
    aggregation: Aggregation = "token_mean"
    kl_coef: float = 0.0
    entropy_coef: float = 0.0
    dynamic_sampling: bool = False
    max_resamples: int = 3
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):  # else it would become a tuple of its characters
            raise ValueError(f"stop must be a sequence of strings, got the str {self.stop!r}")
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "stop", tuple(self.stop))
        choices = {"schedule": Schedule, "ratio": RatioLevel, "aggregation": Aggregation}
        for name, options in choices.items():
            if getattr(self, name) not in get_args(options):
                raise ValueError(f"{name} must be one of {get_args(options)}, got {getattr(self, name)!r}")
        self._check_counts()
        for name in ("weight_decay", "kl_coef", "entropy_coef"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be non-negative, got {getattr(self, name)!r}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")
        if (self.clip_low is None) != (self.clip_high is None):
            raise ValueError(f"clip_low and clip_high go together, got {self.clip_low!r} and {self.clip_high!r}")
        if self.clip is not None and not min(self.clip) >= 0:
            raise ValueError(f"clip_low and clip_high must be non-negative, got {self.clip}")
        if self.dual_clip is not None and (self.clip is None or not self.dual_clip > 1):
            raise ValueError(f"dual_clip must be above 1 and needs a clip, got {self.dual_clip!r} with {self.clip}")
        self.sampling(default_max_new_tokens=1)

    def _check_counts(self) -> None:
        least = {"epochs": 1, "mini_batches": 1, "micro_batches": 1, "schedule_steps": 1, "max_new_tokens": 1}
        least |= {"warmup_steps": 0, "max_resamples": 0, "checkpoint_every": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is None and name in ("schedule_steps", "max_new_tokens"):
                continue
            if not isinstance(value, int) or value < bound:
                raise ValueError(f"{name} must be an int of at least {bound}, got {value!r}")

    @classmethod
    def make(cls, **values: Any) -> Settings:
        """Settings from keyword arguments.

        Raises:
            TypeError: If a name is unknown; the error lists the known ones.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(values.keys() - known)
        if unknown:
            raise TypeError(f"unknown settings {unknown}; known are {sorted(known)}")
        return cls(**values)

    @property
    def clip(self) -> tuple[float, float] | None:
        """Both clips, or None for the plain REINFORCE loss."""
        return None if self.clip_low is None or self.clip_high is None else (self.clip_low, self.clip_high)

    def sampling(self, *, default_max_new_tokens: int, greedy: bool = False) -> Sampling:
        """How responses are drawn."""
        from llm_morl_agents.policy import Sampling  # here, so that the command line can show settings without torch

        cap = default_max_new_tokens if self.max_new_tokens is None else self.max_new_tokens
        return Sampling(self.temperature, self.top_p, cap, self.stop, greedy)

    def learning_rate_at(self, step: int, horizon: int | None) -> float:
        """Learning rate of a step (from 0), under a decay to 0 at ``horizon``.

        >>> Settings(learning_rate=1.0, schedule="linear", warmup_steps=2).learning_rate_at(0, 10)
        0.5
        """
        warm = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        if self.schedule == "constant" or not horizon:
            return self.learning_rate * warm
        done = min(max(step - self.warmup_steps, 0) / max(horizon - self.warmup_steps, 1), 1.0)
        decay = 1.0 - done if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return self.learning_rate * warm * decay
