"""The named agents: thin compositions of `GroupedPG` with an estimator, a weighter and a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

from gymnasium.vector import VectorEnv

from llm_morl_agents.advantages import (
    Estimator,
    batch_centred,
    combine_advantages,
    combine_rewards,
    group_zscore,
    leave_one_out,
    mean_centred,
    raw,
)
from llm_morl_agents.grouped_pg import GroupedPG
from llm_morl_agents.policy import Policy
from llm_morl_agents.weighters import DVAOWeights, Weighter

#: The plain policy-gradient loss: no importance ratio, no clip.
_UNCLIPPED: dict[str, Any] = {"clip_low": None, "clip_high": None}


class _Composed(GroupedPG):
    """A `GroupedPG` whose estimator the class fixes."""

    composition: ClassVar[Estimator]

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        policy: Policy,
        *,
        weighter: Weighter | None = None,
        preference: Sequence[float] | None = None,
        seed: int = 0,
        allow_whiten: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(
            env,
            policy,
            estimator=self.composition,
            weighter=weighter,
            preference=preference,
            seed=seed,
            allow_whiten=allow_whiten,
            **settings,
        )


class GRPO(_Composed):
    """Group relative policy optimisation (arXiv 2402.03300): weigh the rewards, sum, z-score in the group.

    The loss defaults to DAPO's token mean with clip-higher; ``aggregation="sequence_mean"`` is the paper's,
    ``ratio="sequence"`` is GSPO's.
    """

    composition = combine_rewards(group_zscore)


class DrGRPO(_Composed):
    """Dr.GRPO (arXiv 2503.20783): GRPO without the division by the group's std, with a constant loss denominator."""

    composition = combine_rewards(mean_centred)
    defaults: ClassVar[dict[str, Any]] = {"aggregation": "constant"}


class GDPO(_Composed):
    """Group reward-decoupled normalisation (arXiv 2601.05242): z-score each objective in the group, weigh and sum the
    advantages, whiten the batch.
    """

    composition = combine_advantages(group_zscore, whiten=True)


class MOGRPO(_Composed):
    """MO-GRPO (arXiv 2509.22047): z-score each objective in the group, weigh and sum; GDPO without the whitening.

    Every objective that varies in a group has the same variance in the advantage, whatever its scale.
    """

    composition = combine_advantages(group_zscore)


class RLOO(_Composed):
    """REINFORCE leave-one-out (arXiv 2402.14740): the baseline is the mean of the group's other rewards; plain loss."""

    composition = combine_rewards(leave_one_out)
    defaults: ClassVar[dict[str, Any]] = _UNCLIPPED


class REINFORCE(_Composed):
    """REINFORCE (Williams 1992) with the batch mean as baseline; ``baseline=None`` for none. Plain loss."""

    composition = combine_rewards(batch_centred)
    defaults: ClassVar[dict[str, Any]] = _UNCLIPPED

    def __init__(
        self, env: VectorEnv[Any, Any, Any], policy: Policy, *, baseline: str | None = "batch", **options: Any
    ) -> None:
        if baseline not in ("batch", None):
            raise ValueError(f"REINFORCE(baseline=) must be 'batch' or None, got {baseline!r}")
        if baseline is None:
            self.composition = combine_rewards(raw)  # type: ignore[misc]  # shadows the class's on this object alone
        self.baseline = baseline
        super().__init__(env, policy, **options)

    def constructor_options(self) -> dict[str, Any]:
        """With the baseline."""
        return {**super().constructor_options(), "baseline": self.baseline}


class DVAO(GroupedPG):
    """Dynamic variance-adaptive advantages (arXiv 2605.25604): group z-scores weighed by their std, not whitened.

    The paper's rewards lie in [0, 1], so objectives are brought there by their declared bounds; its direction is then
    that of GRPO on the sum of the scaled rewards, and only the size of each group's update differs.

    Args:
        env: As in `GroupedPG`.
        policy: As in `GroupedPG`.
        preference: (K,) base weights of the paper; equal by default.
        unit_interval: Scale by the declared bounds; False takes the rewards as they are.
        seed: Seed of every random stream.
        **settings: Fields of `Settings`.

    Raises:
        TypeError: If a ``weighter`` is given: this agent is its weighter.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        policy: Policy,
        *,
        preference: Sequence[float] | None = None,
        unit_interval: bool = True,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if "weighter" in settings:
            raise TypeError(
                "DVAO fixes its weighter (DVAOWeights); give it preference=, or use GDPO or GRPO with weighter="
            )
        super().__init__(
            env,
            policy,
            estimator=combine_advantages(group_zscore),
            weighter=DVAOWeights(unit_interval=unit_interval),
            preference=preference,
            seed=seed,
            **settings,
        )
        self.unit_interval = unit_interval

    def constructor_options(self) -> dict[str, Any]:
        """With ``unit_interval``."""
        options = {**super().constructor_options(), "unit_interval": self.unit_interval}
        del options["allow_whiten"]
        return options

    @classmethod
    def from_checkpoint(
        cls, env: VectorEnv[Any, Any, Any], policy: Policy, weighter: Weighter, options: Mapping[str, Any]
    ) -> Self:
        """Without the weighter, which the class fixes."""
        return cls(env, policy, **options)


#: Every agent by the name that the command line uses. Read-only.
AGENTS: Mapping[str, type[GroupedPG]] = MappingProxyType(
    {
        "grpo": GRPO,
        "dr_grpo": DrGRPO,
        "gdpo": GDPO,
        "mo_grpo": MOGRPO,
        "rloo": RLOO,
        "reinforce": REINFORCE,
        "dvao": DVAO,
    }
)
