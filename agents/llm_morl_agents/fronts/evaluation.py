"""`evaluate_front`: the policies of a front once more, all on the same held-out problems.

Shapes: P policies, S seeds, n episodes, K objectives, W weight vectors, F points of a known front.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.evaluate import mean_present
from llm_morl_agents.experiments.controls import simplex_lattice
from llm_morl_agents.experiments.statistics import LEVEL, scaled
from llm_morl_agents.fronts.measures import RESAMPLES, Measured, mean_vectors, measure, resampled_shares, serving
from llm_morl_agents.fronts.policy import FrontPolicy
from llm_morl_env.metrics import below_reference, hypervolume, nondominated
from llm_morl_env.registration import VIEW_KEYWORDS
from llm_morl_env.task import Task
from llm_morl_env.wrappers.declared import declared, return_box

Floats = NDArray[np.float64]

#: Problems of an evaluation unless it says otherwise.
EPISODES = 256
#: Episodes of each policy below which an evaluation warns: the mean of fewer is mostly luck.
ENOUGH_EPISODES = 30
#: Weight vectors of the utilities, at least: the smallest lattice with so many.
WEIGHTS = 21
#: How far a return may leave its declared bounds, relative to their distance: float32 that are added up.
RETURN_TOLERANCE = 1e-4
#: Arguments of an environment that change how a task is shown, not what it is.
VIEW_ARGUMENTS = frozenset({"view", "render_mode", "autoreset_mode", "group_size"}).union(*VIEW_KEYWORDS.values())


@dataclass(frozen=True, eq=False)
class Scene:
    """What a front is evaluated on.

    Args:
        env_id: Of the environment.
        env_kwargs: Its arguments; those of a view are left out, since all views of a task pay the same.
        objectives: K names.
        low: (K,) bounds of returns.
        high: (K,) bounds of returns.
        task: The `Task`, where the environment is made of one.
    """

    env_id: str
    env_kwargs: Mapping[str, Any]
    objectives: tuple[str, ...]
    low: Floats
    high: Floats
    task: Task | None

    @classmethod
    def of(cls, env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> Scene:
        """Ask the environment of that id.

        Raises:
            TypeError: If it declares no vector rewards.
        """
        kwargs = {name: value for name, value in (env_kwargs or {}).items() if name not in VIEW_ARGUMENTS}
        env = gym.make(env_id, **kwargs)
        box = return_box(env, "evaluate_front")
        names = declared(env, "objective_names") or tuple(f"objective {k}" for k in range(box.shape[0]))
        task = getattr(env.unwrapped, "task", None)
        low, high = (np.asarray(bound, dtype=np.float64) for bound in (box.low, box.high))
        return cls(env_id, MappingProxyType(kwargs), tuple(names), low, high, task if isinstance(task, Task) else None)

    def known_front(self, split: str) -> Floats | None:
        """The exact Pareto front of a split, (F, K); None where it is not known."""
        if self.task is None or self.task.front is None:
            return None
        return self.task.with_split(split).pareto_front()

    def problems(self, n_episodes: int, split: str) -> NDArray[np.int64]:
        """The first problems of a split, (n,); a smaller split in as many whole passes as make so many episodes."""
        size = n_episodes if self.task is None else len(self.task.with_split(split))
        passes = -(-n_episodes // size)
        return np.arange(n_episodes) if passes == 1 else np.tile(np.arange(size), passes)

    def applies(self, problems: NDArray[np.int64], split: str) -> NDArray[np.bool_]:
        """Which objectives apply to which problems, (n, K)."""
        if self.task is None or not self.task.rewards.masked:
            return np.ones((len(problems), len(self.objectives)), np.bool_)
        shown = self.task.with_split(split)
        return np.asarray(shown.rewards.mask([shown[int(i)] for i in problems]))


@dataclass(frozen=True, eq=False)
class FrontEvaluation:
    """Returns of the policies of a front, all on the same problems, and what follows from them.

    Every policy answered problem ``problems[j]`` in column j; so every comparison of policies is paired. Volumes and
    utilities are those of objectives scaled to [0, 1] by their bounds.

    Args:
        objectives: K names.
        low: (K,) bounds of returns.
        high: (K,) bounds of returns.
        labels: P names of policies.
        weights: P preferences (K,) that policies serve; None for one that serves none.
        claimed: (P, K) what the algorithms say that their policies earn; NaN where they say nothing.
        problems: int64 (n,).
        split: Of the problems.
        seeds: S seeds of what policies draw.
        returns: (P, S, n, K); NaN where an objective does not apply to a problem.
        conditions: (W, K) weight vectors of the utilities.
        reference: (K,) reference point of the hypervolume, on the scale of [0, 1].
        front: (F, K) the exact Pareto front, or None.
        level: Of the intervals.
        resamples: B, of the bootstrap over problems.
    """

    objectives: tuple[str, ...]
    low: Floats
    high: Floats
    labels: tuple[str, ...]
    weights: tuple[Floats | None, ...]
    claimed: Floats
    problems: NDArray[np.int64]
    split: str
    seeds: tuple[int, ...]
    returns: Floats = field(repr=False)
    conditions: Floats = field(repr=False)
    reference: Floats
    front: Floats | None = field(default=None, repr=False)
    level: float = LEVEL
    resamples: int = RESAMPLES

    @cached_property
    def by_problem(self) -> Floats:
        """Mean over seeds, (P, n, K): seeds draw anew what policies do, so they are no units of their own."""
        return mean_present(self.returns, axis=1)

    @cached_property
    def means(self) -> Floats:
        """Mean return vectors, (P, K)."""
        return mean_present(self.by_problem, axis=1)

    @cached_property
    def intervals(self) -> tuple[Floats, Floats]:
        """Lower and upper ends of the means' intervals, (P, K) each: percentiles of the bootstrap over problems."""
        shares = resampled_shares(len(self.problems), self.resamples, np.random.default_rng(0))
        ends = [(1 - self.level) / 2, (1 + self.level) / 2]
        low, high = np.nanquantile(mean_vectors(self.by_problem, shares), ends, axis=0)
        return low, high

    @cached_property
    def best(self) -> NDArray[np.bool_]:
        """Which policies no other policy's mean dominates, (P,)."""
        return nondominated(self.means)

    @cached_property
    def measures(self) -> Mapping[str, Measured]:
        """What the set is worth, by the names of `llm_morl_agents.fronts.measures.MEASURES`."""
        front = None if self.front is None else scaled(self.front, self.low, self.high)
        found = measure(
            scaled(self.by_problem, self.low, self.high),
            weights=self.conditions,
            reference=self.reference,
            served=serving(self.conditions, self.weights),
            front=front,
            level=self.level,
            resamples=self.resamples,
            seed=0,
        )
        return MappingProxyType(found)

    def valued_as(self, other: FrontEvaluation, front: Floats | None) -> FrontEvaluation:
        """The same returns, valued by another evaluation's weights, reference point and level, against this front."""
        return replace(self, conditions=other.conditions, reference=other.reference, level=other.level, front=front)

    @property
    def claimed_hypervolume(self) -> float | None:
        """Hypervolume of what the algorithm says of its policies; None where it says nothing of one."""
        if np.isnan(self.claimed).any():
            return None
        return hypervolume(scaled(self.claimed, self.low, self.high), self.reference)

    @property
    def optimism(self) -> float | None:
        """Claimed minus measured hypervolume; None without a claim."""
        claimed = self.claimed_hypervolume
        return None if claimed is None else claimed - self.measures["hypervolume"].value

    @property
    def below_reference(self) -> int:
        """How many policies add nothing to the hypervolume, since an objective is not above the reference point."""
        return below_reference(scaled(self.means, self.low, self.high), self.reference)


def evaluate_front(
    policies: Sequence[FrontPolicy],
    env_id: str,
    *,
    n_episodes: int = EPISODES,
    seeds: Sequence[int] = (0,),
    split: str = "eval",
    env_kwargs: Mapping[str, Any] | None = None,
    reference: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> FrontEvaluation:
    """Let every policy of a front answer the same problems, and value the set by that.

    An archive remembers the best that it saw: of many noisy returns it keeps the luckiest. Here every policy is played
    anew, on problems that it was not trained on, and the claim is kept beside the result.

    It misleads where there are many policies and few episodes: the nondominated ones and the best for each weight
    vector are chosen by the noise that they are valued by. The measures that end in ``held_out`` choose on one half of
    the problems and value on the other; where the plain ones are much higher, evaluate more episodes.

    Args:
        policies: At least one, labels distinct.
        env_id: Whose problems and bounds.
        n_episodes: Problems, the first of the split; a smaller split is taken in as many whole passes as are needed.
        seeds: Of what policies draw; each answers every problem once more.
        split: Of the task: one that no policy was trained on.
        env_kwargs: Arguments of the environment. Those of views are ignored.
        reference: Reference point (K,) of the hypervolume on the scale of [0, 1]; 0, the lower bounds, by default.
        weights: Weight vectors (W, K) of the utilities, on the simplex; by default the smallest even lattice of at
            least 21.
        level: Of the intervals.
        resamples: Of the bootstrap.

    Raises:
        ValueError: If there are no policies or two have one label, numbers are out of their range, a policy's returns
            have another shape than (n, K) or leave the declared bounds.
        TypeError: If the environment has no vector rewards.
    """
    scene = Scene.of(env_id, env_kwargs)
    k = len(scene.objectives)
    labels = tuple(policy.label for policy in policies)
    _check_numbers(labels, n_episodes, seeds, level, resamples)
    conditions = np.array(simplex_lattice(k, WEIGHTS)) if weights is None else _simplex_rows(weights, k)
    point = np.zeros(k) if reference is None else np.broadcast_to(np.asarray(reference, dtype=np.float64), (k,))
    problems = scene.problems(n_episodes, split)
    if len(problems) * len(seeds) < ENOUGH_EPISODES:
        warnings.warn(
            f"evaluate_front: {len(problems)} problems x {len(seeds)} seeds are fewer than {ENOUGH_EPISODES} episodes "
            "a policy; such means are mostly luck, and no front to report",
            stacklevel=2,
        )
    applies = scene.applies(problems, split)
    returns = np.stack(
        [
            np.stack([_played(policy, scene, problems, applies, split=split, seed=seed) for seed in seeds])
            for policy in policies
        ]
    )
    claims = [policy.claimed for policy in policies]
    return FrontEvaluation(
        objectives=scene.objectives,
        low=scene.low,
        high=scene.high,
        labels=labels,
        weights=tuple(None if p.weights is None else np.array(p.weights, dtype=np.float64) for p in policies),
        claimed=np.array([np.full(k, np.nan) if claim is None else claim for claim in claims], dtype=np.float64),
        problems=problems,
        split=split,
        seeds=tuple(int(seed) for seed in seeds),
        returns=returns,
        conditions=conditions,
        reference=np.array(point),
        front=scene.known_front(split),
        level=level,
        resamples=resamples,
    )


def _check_numbers(labels: Sequence[str], n_episodes: int, seeds: Sequence[int], level: float, resamples: int) -> None:
    if not labels:
        raise ValueError("evaluate_front(policies=) must hold at least one policy, got none")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"evaluate_front(policies=): labels must be distinct, got {twice} more than once")
    if n_episodes < 4:
        raise ValueError(f"evaluate_front(n_episodes=) must be at least 4, two in each half, got {n_episodes}")
    if not len(seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"evaluate_front(seeds=) must hold distinct seeds, at least one, got {list(seeds)}")
    if not 0 < level < 1:
        raise ValueError(f"evaluate_front(level=) must lie in (0, 1), got {level}")
    if resamples < 1:
        raise ValueError(f"evaluate_front(resamples=) must be at least 1, got {resamples}")


def _simplex_rows(weights: ArrayLike, k: int) -> Floats:
    rows = np.array(weights, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != k:
        raise ValueError(f"evaluate_front(weights=) must have shape (W, {k}), got {rows.shape}")
    if not (rows >= 0).all() or not np.allclose(rows.sum(axis=1), 1.0, atol=1e-5):
        raise ValueError(f"evaluate_front(weights=) must not be negative, each row with the sum 1, got {rows.tolist()}")
    return rows


def _played(
    policy: FrontPolicy,
    scene: Scene,
    problems: NDArray[np.int64],
    applies: NDArray[np.bool_],
    *,
    split: str,
    seed: int,
) -> Floats:
    """Returns (n, K) of one policy under one seed, checked; NaN where an objective does not apply."""
    found = np.asarray(policy.returns(problems.tolist(), split=split, seed=seed), dtype=np.float64)
    if found.shape != applies.shape:
        raise ValueError(f"policy {policy.label!r}: returns must have shape {applies.shape}, got {found.shape}")
    slack = RETURN_TOLERANCE * (scene.high - scene.low)
    inside = (found >= scene.low - slack) & (found <= scene.high + slack)  # NaN is outside
    bad = np.argwhere(applies & ~inside)
    if len(bad):
        (row, k), *_ = bad
        raise ValueError(
            f"policy {policy.label!r}: the return of objective {scene.objectives[k]!r} must lie in "
            f"[{scene.low[k]:g}, {scene.high[k]:g}], got {found[row, k]} at problem {problems[row]}"
        )
    return np.where(applies, found, np.nan)
