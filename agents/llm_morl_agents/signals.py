"""What a weighter needs beyond the rewards, measured as its `Probe` says.

Shapes: N responses, K objectives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents.advantages import Estimator
from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.dialogue_rollout import turns_of
from llm_morl_agents.evaluate import evaluate_policy
from llm_morl_agents.gradients import chosen_parameters, objective_gramian, objective_influence, realised_gain
from llm_morl_agents.policy import Policy, Sampling
from llm_morl_agents.settings import Settings
from llm_morl_agents.weighters.base import NEEDS, Probe, Weighter, Weighting

Floats = NDArray[np.float64]


def probe_of(weighter: Weighter) -> Probe:
    """The weighter's ``probe``; `Probe()` where it carries none."""
    probe: Probe = getattr(weighter, "probe", Probe())
    return probe


def check_needs(weighter: Weighter, policy: Policy) -> None:
    """Refuse what could not be measured, before the first step.

    Raises:
        ValueError: If the weighter needs a signal that is not in `NEEDS`, asks for a clip that its kind of gradient
            does not allow, or for parameters that the policy does not have.
    """
    name, probe = type(weighter).__name__, probe_of(weighter)
    unknown = sorted(weighter.needs - NEEDS)
    if unknown:
        raise ValueError(
            f"{name} needs the signals {unknown}, which this agent does not give; it gives {sorted(NEEDS)}"
        )
    if "gradients.jvp" in weighter.needs and probe.clip_norm is not None:
        raise ValueError(
            f"{name}: Probe(clip_norm={probe.clip_norm!r}) needs each objective's gradient, which 'gradients.jvp' does "
            "not take; use 'gradients.exact', or clip_norm=None"
        )
    # What stands in for a model, where settings are checked before any is loaded, has other names of parameters.
    if weighter.needs & {"gradients.exact", "gradients.jvp"} and isinstance(policy, Policy):
        chosen_parameters(policy, probe)


def estimator_for(estimator: Estimator, batch: RolloutBatch) -> Estimator:
    """The estimator itself; one that leaves missing rewards out where the environment says that objectives are missing.

    An `Estimator` refuses NaN unless its user allows it. Here the environment has named each reward that is missing.
    """
    return estimator if batch.objective_mask is None else replace(estimator, nan="ignore")


def objective_advantages(estimator: Estimator, batch: RolloutBatch) -> Floats:
    """``A_k`` (K, N): what the estimator gives for the weights e_k, objective k alone, times the loss weights."""
    directions = np.eye(batch.rewards.shape[1])
    estimator = estimator_for(estimator, batch)
    advantages: Floats = np.stack(
        [estimator(batch.rewards, batch.group, Weighting(e), lengths=batch.lengths) for e in directions]
    ).reshape(len(directions), len(batch))
    return advantages if batch.loss_weight is None else advantages * batch.loss_weight


@dataclass(frozen=True, eq=False)
class Meter:
    """Measures the signals of ``needs`` in the steps that are multiples of ``probe.every``.

    Args:
        needs: A subset of `NEEDS`.
        probe: How to measure.
        policy: Of the agent; left as it was.
        env: Of the agent; ``validation`` resets it, which a training step survives since it opens with a seeded reset.
        estimator: Gives the advantages of each objective.
        settings: Of the agent.
        sampling: Its caps and stops are those of ``validation``; its cap, times the turns of a dialogue, is the
            constant length of the loss.
    """

    needs: frozenset[str]
    probe: Probe
    policy: Policy
    env: VectorEnv[Any, Any, Any]
    estimator: Estimator
    settings: Settings
    sampling: Sampling

    @property
    def _constant_length(self) -> int:
        return self.sampling.max_new_tokens * turns_of(self.env)

    def _where_measured(self, value: Floats, batch: RolloutBatch) -> Floats:
        """A signal (K,) or (K, K), NaN for the objectives that apply to none of the responses that were measured on."""
        count = len(batch.prompt_ids) if self.probe.groups is None else self.probe.groups
        absent: NDArray[np.bool_] = np.all(np.isnan(batch.rewards[batch.prompt_index < count]), axis=0)
        return np.where(absent | absent[:, None] if value.ndim == 2 else absent, np.nan, value)

    def _due(self, need: str, step: int) -> bool:
        return need in self.needs and step % self.probe.every == 0

    def before_update(self, step: int, batch: RolloutBatch) -> dict[str, Floats]:
        """``gramian``, ``influence`` and ``validation`` of this step, those that are needed and due."""
        found: dict[str, Floats] = {}
        for need, signal, measure in (
            ("gradients.exact", "gramian", objective_gramian),
            ("gradients.jvp", "influence", objective_influence),
        ):
            if self._due(need, step):
                value = measure(
                    self.policy,
                    batch,
                    objective_advantages(self.estimator, batch),
                    self.settings,
                    self.probe,
                    constant_length=self._constant_length,
                )
                found[signal] = self._where_measured(value, batch)
        if self._due("validation", step):
            found["validation"] = self.validate()
        return found

    def after_update(self, step: int, batch: RolloutBatch) -> Floats | None:
        """``realised`` gain of this step, where it is needed and due in the next."""
        if not self._due("realised", step + 1):
            return None
        gain = realised_gain(
            self.policy,
            batch,
            objective_advantages(self.estimator, batch),
            self.settings,
            probe=self.probe,
            constant_length=self._constant_length,
        )
        return self._where_measured(gain, batch)

    def validate(self) -> Floats:
        """Mean greedy rewards (K,) on the first ``probe.problems`` problems of the split ``validation``.

        Of ``train`` where the task has no such split, never of the evaluation split. NaN rewards are left out.
        """
        task = getattr(self.env.unwrapped, "task", None)
        split = "validation" if task is not None and "validation" in task.problems else "train"
        evaluation = evaluate_policy(
            self.policy,
            self.env,
            self.sampling,
            n_problems=self.probe.problems,
            split=split,
            generator=np.random.default_rng(0),  # greedy decoding reads no uniforms
            sampled=False,
        )
        rewards = evaluation.greedy_rewards
        valid = ~np.isnan(rewards)
        if not valid.any(axis=0).all():
            raise ValueError(f"Probe(problems={self.probe.problems}): an objective applies to none of them ({split})")
        mean: Floats = np.where(valid, rewards, 0.0).sum(axis=0) / valid.sum(axis=0)
        return mean
