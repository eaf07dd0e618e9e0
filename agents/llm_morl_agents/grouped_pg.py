"""`GroupedPG`: grouped policy gradients on vector rewards, the one agent that all named agents compose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents import checkpoint
from llm_morl_agents.advantages import Estimator, flat_groups
from llm_morl_agents.batch import RolloutBatch, concatenate
from llm_morl_agents.diagnostics import advantage_share, within_group_std, zero_variance_share
from llm_morl_agents.dialogue_rollout import turns_of
from llm_morl_agents.evaluate import Evaluation, evaluate_policy, mean_present
from llm_morl_agents.interrupt import InterruptFlag
from llm_morl_agents.policy import Policy, Sampling, draw_uniforms
from llm_morl_agents.report import StepReport
from llm_morl_agents.rollout import derived_seed, objectives_of, rollout, stream
from llm_morl_agents.settings import Settings
from llm_morl_agents.signals import Meter, check_needs, estimator_for, probe_of
from llm_morl_agents.update import update
from llm_morl_agents.weighters import Signals, State, Static, Weighter, Weighting
from llm_morl_agents.weighters.selection import per_response

#: Sees each step's report; returning False ends the training.
Callback = Callable[[StepReport], bool | None]

#: For environments that are not made of a task of this package and so have no cap to ask for.
DEFAULT_MAX_RESPONSE_TOKENS = 128


class GroupedPG:
    """Grouped policy gradient: rollout, weigh, estimate advantages, update.

    One step is ``rollout -> weighter -> estimator -> surrogate loss``; everything the methods differ in is an argument.
    Each random stream is a pure function of (seed, purpose, step), so a resumed run equals one that never stopped, bit
    for bit, with nothing but the step to remember.

    Args:
        env: A batched text environment (``gym.make_vec(id, num_envs=N, group_size=G)``).
        policy: The language model; updated in place.
        estimator: Rewards to advantages (`combine_rewards`, `combine_advantages`).
        weighter: Weights of the objectives; equal and static by default.
        preference: (K,) static priorities, which multiply a dynamic weighter's weights; ones by default.
        seed: Seed of every random stream, in [0, 2**32).
        allow_whiten: Take a weighter whose per-group sizes the estimator's whitening undoes (DVAO's under GDPO).
        **settings: Fields of `Settings`.

    Raises:
        ValueError: If the weighter's per-group sizes would be undone by the estimator's whitening, it needs a signal
            that does not exist or that its probe does not allow, or a value is out of its range.
        TypeError: If the environment has no vector rewards, or a setting is unknown.
    """

    #: Defaults of the named agents, under what the caller says.
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        policy: Policy,
        *,
        estimator: Estimator,
        weighter: Weighter | None = None,
        preference: Sequence[float] | None = None,
        seed: int = 0,
        allow_whiten: bool = False,
        **settings: Any,
    ) -> None:
        self.env = env
        self.objectives = objectives_of(env)
        self.policy = policy
        self.estimator = estimator
        self.weighter: Weighter = Static() if weighter is None else weighter
        self.settings = Settings.make(**{**self.defaults, **settings})
        self.seed = _checked_seed(seed)
        self.preference = _checked_preference(preference, len(self.objectives))
        if estimator.whiten and getattr(self.weighter, "shrinks_groups", False) and not allow_whiten:
            raise ValueError(
                f"{type(self.weighter).__name__} makes the size of a group's advantages mean something, which batch "
                "whitening undoes; use the DVAO agent, or pass allow_whiten=True to combine them all the same"
            )
        check_needs(self.weighter, policy)
        self.allow_whiten = allow_whiten
        self.weighter_state: State = self.weighter.init(self.objectives)
        #: (K,) gain of the last step, where the weighter needs it in the next.
        self.realised: NDArray[np.float64] | None = None
        self.optimizer = torch.optim.AdamW(
            list(policy.trainable_parameters().values()),
            lr=self.settings.learning_rate,
            betas=self.settings.betas,
            weight_decay=self.settings.weight_decay,
        )
        self.reference = policy.frozen_copy() if self.settings.kl_coef else None
        self.step_count = 0
        self.predict_count = 0
        self.horizon = self.settings.schedule_steps
        self.interrupted = False

    @property
    def max_response_tokens(self) -> int:
        """The environment's cap on a response; in a dialogue, on each."""
        task = getattr(self.env.unwrapped, "task", None)
        return DEFAULT_MAX_RESPONSE_TOKENS if task is None else int(task.max_response_tokens)

    @property
    def constant_length(self) -> int:
        """What ``aggregation="constant"`` divides by: the longest response allowed, over all turns of a dialogue."""
        return self._sampling().max_new_tokens * turns_of(self.env)

    @property
    def progress(self) -> float:
        """Share of the horizon that is done, in [0, 1]; 0 where there is no horizon yet."""
        return min(self.step_count / self.horizon, 1.0) if self.horizon else 0.0

    def _sampling(self, *, greedy: bool = False) -> Sampling:
        return self.settings.sampling(default_max_new_tokens=self.max_response_tokens, greedy=greedy)

    @property
    def meter(self) -> Meter:
        """What measures the signals that the weighter needs."""
        return Meter(
            needs=self.weighter.needs,
            probe=probe_of(self.weighter),
            policy=self.policy,
            env=self.env,
            estimator=self.estimator,
            settings=self.settings,
            sampling=self._sampling(),
        )

    def step(self) -> StepReport:
        """Take one training step."""
        started_cpu, started_wall = time.process_time(), time.perf_counter()
        learning_rate = self.settings.learning_rate_at(self.step_count, self.horizon)
        for parameter_group in self.optimizer.param_groups:
            parameter_group["lr"] = learning_rate
        batch, rollouts = self._collect()
        started_weighing = time.process_time()
        measured = self.meter.before_update(self.step_count, batch)
        weighting, state = self._weigh(batch, realised=self.realised, **measured)
        weighting = _with_preference(weighting, batch)
        weighter_seconds = time.process_time() - started_weighing
        estimator, trained = estimator_for(self.estimator, batch), _with_loss_weight(weighting, batch)
        advantages = estimator(batch.rewards, batch.group, trained, lengths=batch.lengths)
        updated = update(
            self.policy,
            self.reference,
            self.optimizer,
            batch,
            advantages,
            self.settings,
            constant_length=self.constant_length,
            generator=stream(self.seed, "shuffle", self.step_count),
        )
        started_weighing = time.process_time()
        self.realised = self.meter.after_update(self.step_count, batch)
        weighter_seconds += time.process_time() - started_weighing
        weights, scale = weighting.rows(batch.group, len(self.objectives))  # (N, K), (N,)
        report = StepReport(
            step=self.step_count,
            objectives=self.objectives.names,
            reward_mean=mean_present(batch.rewards),
            within_group_std=within_group_std(batch.rewards, batch.group),
            zero_variance_share=zero_variance_share(batch.rewards, batch.group),
            weight=weights.mean(axis=0),
            scale=float(scale.mean()),
            advantage_share=advantage_share(batch.rewards, batch.group, trained, estimator, lengths=batch.lengths),
            loss=updated.loss,
            grad_norm=updated.grad_norm,
            entropy=-float(batch.behaviour_logprobs[batch.own].mean()),
            kl=updated.kl,
            clip_share=updated.clip_share,
            response_tokens=float(batch.lengths.mean()),
            finished_share=float(batch.finished.mean()),
            groups=len(batch.prompt_ids),
            rollouts=rollouts,
            learning_rate=learning_rate,
            cpu_seconds=time.process_time() - started_cpu,
            wall_seconds=time.perf_counter() - started_wall,
            weighter_seconds=weighter_seconds,
            turns=None if batch.turns is None else float(batch.turns.mean()),
            loss_weight=None if batch.loss_weight is None else float(batch.loss_weight.mean()),
        )
        self.weighter_state = state
        self.step_count += 1
        return report

    def _collect(self) -> tuple[RolloutBatch, int]:
        """A batch; under dynamic sampling, groups that teach something, as many as one rollout has where possible."""
        batch = self._rollout(0)
        if not self.settings.dynamic_sampling:
            return batch, 1
        wanted, kept, attempt = len(batch.prompt_ids), self._informative(batch), 1
        while (kept is None or len(kept.prompt_ids) < wanted) and attempt <= self.settings.max_resamples:
            more = self._informative(self._rollout(attempt))
            kept = more if kept is None else kept if more is None else concatenate([kept, more])
            attempt += 1
        if kept is None:
            return batch, attempt  # nothing varies anywhere: the update will find nothing to learn
        return kept.select(np.flatnonzero(kept.prompt_index < wanted).astype(np.int64)), attempt

    def _rollout(self, attempt: int) -> RolloutBatch:
        position = (self.step_count, attempt)
        return rollout(
            self.policy,
            self.env,
            self._sampling(),
            env_seed=derived_seed(self.seed, "rollout", *position),
            generator=stream(self.seed, "sample", *position),
            progress=self.progress,
        )

    def _informative(self, batch: RolloutBatch) -> RolloutBatch | None:
        """The groups in which any objective of non-zero weight varies; None if there are none.

        A weighter that needs signals has no weights yet, since they are measured on the final batch alone: there the
        preference decides.
        """
        weighting = Weighting(self.preference) if self.weighter.needs else self._weigh(batch)[0]
        weighting = _with_preference(weighting, batch)
        weights = np.abs(weighting.rows(batch.group, len(self.objectives))[0])  # (N, K)
        used = np.zeros((len(batch.prompt_ids), len(self.objectives)), dtype=np.bool_)
        np.logical_or.at(used, batch.prompt_index, weights > 0)
        varies = np.any(~flat_groups(batch.rewards, batch.group) & used, axis=1)
        rows = np.flatnonzero(np.take(varies, batch.prompt_index)).astype(np.int64)
        return batch.select(rows) if len(rows) else None

    def _weigh(self, batch: RolloutBatch, **measured: NDArray[np.float64] | None) -> tuple[Weighting, State]:
        signals = Signals(
            rewards=batch.rewards,
            group=batch.group,
            low=self.objectives.low,
            high=self.objectives.high,
            preference=self.preference,
            level=self.estimator.level,
            step=self.step_count,
            **measured,
        )
        return self.weighter(signals, self.weighter_state)

    def learn(
        self, total_steps: int, callbacks: Iterable[Callback] = (), *, checkpoint_path: str | Path | None = None
    ) -> Self:
        """Train for ``total_steps`` further steps.

        The first Ctrl-C finishes the step in progress, saves where a path is given, and returns with ``interrupted``
        set; a second one stops at once.

        Args:
            total_steps: How many more steps.
            callbacks: Each is called with every `StepReport`; one that returns False ends the training.
            checkpoint_path: Saved there every ``checkpoint_every`` steps and at the end.
        """
        if total_steps < 0:
            raise ValueError(f"learn(total_steps=) must be non-negative, got {total_steps}")
        callbacks = tuple(callbacks)
        if self.horizon is None and total_steps:
            self.horizon = self.step_count + total_steps
        self.interrupted = False
        with InterruptFlag() as interrupt:
            for _ in range(total_steps):
                report = self.step()
                answers = [callback(report) for callback in callbacks]
                every = self.settings.checkpoint_every
                if interrupt.raised or any(answer is False for answer in answers):
                    break
                if checkpoint_path is not None and every and self.step_count % every == 0:
                    self.save(checkpoint_path)
            if checkpoint_path is not None:
                self.save(checkpoint_path)
        self.interrupted = interrupt.raised
        return self

    def predict(self, prompts: Sequence[str], deterministic: bool = False) -> list[str]:
        """One response for each prompt; greedy where ``deterministic``, else sampled from the agent's own stream.

        In a task of several turns these are first turns.
        """
        if isinstance(prompts, str):
            raise TypeError(f"predict(prompts=) must be a sequence of str, got one str: {prompts!r}")
        sampling = self._sampling(greedy=deterministic)
        generator = stream(self.seed, "predict", self.predict_count)
        self.predict_count += not deterministic
        return list(
            self.policy.generate(
                self.policy.encode_prompts(prompts),
                np.arange(len(prompts)),
                sampling,
                draw_uniforms(generator, len(prompts), sampling.max_new_tokens),
            ).texts
        )

    def evaluate(self, n_problems: int = 256, *, split: str = "eval", seed: int | None = None) -> Evaluation:
        """Reward vectors on the first ``n_problems`` of a split, greedy and sampled, the same problems at every call.

        Sampling uses its own stream, which does not depend on the step: two evaluations differ by the policy alone.
        """
        return evaluate_policy(
            self.policy,
            self.env,
            self._sampling(),
            n_problems=n_problems,
            split=split,
            generator=stream(self.seed if seed is None else seed, "evaluate"),
        )

    def save(self, path: str | Path) -> Path:
        """Write everything that continuing needs to one ``.safetensors`` file; see `llm_morl_agents.checkpoint`."""
        return checkpoint.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        env: VectorEnv[Any, Any, Any],
        *,
        policy: Policy | None = None,
        weighter: Weighter | None = None,
    ) -> Self:
        """The agent that `save` wrote, on an environment with the same objectives; see `llm_morl_agents.checkpoint`."""
        return checkpoint.load(cls, path, env, policy=policy, weighter=weighter)

    def constructor_options(self) -> dict[str, Any]:
        """JSON-able arguments of the constructor, beyond ``env``, ``policy`` and ``weighter``, that make this agent."""
        return {
            "preference": self.preference.tolist(),
            "seed": self.seed,
            "allow_whiten": self.allow_whiten,
            **asdict(self.settings),
        }

    @classmethod
    def from_checkpoint(
        cls, env: VectorEnv[Any, Any, Any], policy: Policy, weighter: Weighter, options: Mapping[str, Any]
    ) -> Self:
        """The untrained agent of `constructor_options`; a class with other arguments overrides both."""
        if cls is GroupedPG:
            raise checkpoint.CheckpointError(
                "a bare GroupedPG cannot be loaded: its estimator is an object; subclass it"
            )
        return cls(env, policy, weighter=weighter, **options)


def _with_preference(weighting: Weighting, batch: RolloutBatch) -> Weighting:
    """The weighting whose weights are multiplied by what each prompt asks for."""
    if batch.preference is None:
        return weighting
    weights, _ = weighting.rows(batch.group, batch.rewards.shape[1])
    return replace(weighting, weights=per_response(weights * batch.preference, batch.group))


def _with_loss_weight(weighting: Weighting, batch: RolloutBatch) -> Weighting:
    """The weighting whose scale, which acts after all normalisation, is multiplied by the batch's loss weights."""
    if batch.loss_weight is None:
        return weighting
    _, scale = weighting.rows(batch.group, batch.rewards.shape[1])
    return replace(weighting, scale=per_response(scale * batch.loss_weight, batch.group))


def _checked_seed(seed: int) -> int:
    """The seed itself: below 2**32 it is one word of a stream's seed, so that no two streams coincide."""
    if not 0 <= int(seed) < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed!r}")
    return int(seed)


def _checked_preference(preference: Sequence[float] | None, k: int) -> NDArray[np.float64]:
    values = np.ones(k) if preference is None else np.array(preference, dtype=np.float64)
    if values.shape != (k,) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError(f"preference must be {k} non-negative numbers, not all 0, got {preference!r}")
    return values
