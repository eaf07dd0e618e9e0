"""The rules of `check_mo_env` about the rewards' numbers: as scalars, under wrappers, against a known front."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from numpy.typing import NDArray

from llm_morl_env.testing.subject import Call, Env, Subject, nondeterministic, paid_end
from llm_morl_env.values import share_memory
from llm_morl_env.wrappers import ClipObjectives, NormalizeObjectives, RecordVectorReturn, ScalarizedReward
from llm_morl_env.wrappers.declared import declared
from llm_morl_env.wrappers.record import KEY

#: Calls of the first rollout that are repeated under each wrapper, at least; to the end of a paid episode, if any.
_REPEATED_CALLS = 30
#: How far numbers may be apart, relative to their size and absolutely: the rewards are float32.
TOLERANCE = 1e-5
#: Episodes over whose mean luck no longer matters, for environments whose front is one of expected returns.
_EPISODES = 10


def check_passive(subject: Subject) -> None:
    """Gymnasium's passive checker, which ``gym.make`` puts around environments, warns of nothing but vector rewards."""
    env = subject.make()
    while isinstance(env, OrderEnforcing | PassiveEnvChecker):  # it looks at the signature of what it is around
        env = env.env
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in islice(subject.rollout(PassiveEnvChecker(env), "passive checker"), 3):
            pass
    for warning in caught:
        said = str(warning.message)
        if "WARN" in said and "The reward returned by `step()` must be a float" not in said:  # else the environment's
            subject.fail("passive checker", said)


def check_scalars(subject: Subject) -> None:
    """All that say the reward say the same: components by name, and scalars of ours and of MO-Gymnasium.

    With weights w the reward of `ScalarizedReward` and of MO-Gymnasium's ``LinearReward`` is ``w . r``, and their
    ``info["vector_reward"]`` is r; ``info["reward_components"]``, where there is one, holds r by the objectives' names.
    """
    from mo_gymnasium.wrappers.wrappers import LinearReward

    expected, env = subject.expected("scalars"), subject.make()
    names = declared(env, "objective_names")
    for call in expected:
        components = call.info.get("reward_components") if call.name.startswith("step") else None
        if components is not None and (
            list(components.values()) != call.reward.tolist() or (names is not None and list(components) != list(names))
        ):
            said = dict(zip(names or range(call.reward.size), call.reward.tolist(), strict=True))
            subject.fail("scalars", f"{call.name}: info['reward_components'] is {components}, the reward {said}")
    if nondeterministic(env):
        return
    size = declared(env, "reward_dim")
    weights = np.random.default_rng(subject.seed).dirichlet(np.ones(size))
    for wrapped in (ScalarizedReward(env, weights=weights), LinearReward(subject.make(), weight=weights)):
        who = type(wrapped).__name__
        for one, other in _repeated(subject, wrapped, "scalars"):
            if not one.name.startswith("step"):
                continue
            _agree(subject, "scalars", f"{one.name}: the scalar of {who}", weights @ one.reward, other.reward)
            vector = other.info.get("vector_reward")
            _agree(subject, "scalars", f"{one.name}: info['vector_reward'] of {who}", one.reward, vector)


def check_wrappers(subject: Subject) -> None:
    """Under the wrappers of this package the rewards are those that their formulas say.

    `RecordVectorReturn` (where the info has no such statistics yet; else those that are there) adds up the rewards of
    an episode, `ClipObjectives` clips them, `NormalizeObjectives` divides them by the widths of the returns.
    """
    env = subject.make()
    if nondeterministic(env):
        return
    _check_statistics(subject)
    space = declared(env, "reward_space")
    middle = (space.low.astype(np.float64) + space.high) / 2
    low, high = (space.low + middle) / 2, (space.high + middle) / 2
    clipped = ClipObjectives(subject.make(), low.tolist(), high.tolist())
    _check_changed(subject, clipped, lambda reward: np.clip(reward, low, high))
    returns = declared(env, "return_space") or space
    width = returns.high.astype(np.float64) - returns.low
    if (np.isfinite(width) & (width > 0)).all():  # a constant objective cannot be normalised
        _check_changed(subject, NormalizeObjectives(subject.make()), lambda reward: reward / width)


def check_front(subject: Subject) -> None:
    """A known front (``pareto_front(1.0)``) is one: finite points (F, K), none dominated, and none that is exceeded.

    Of environments over a `Task`, each problem's own front is compared with the returns on it. Elsewhere, with the mean
    return of the rollout, where it has enough episodes for luck not to matter.
    """
    env = subject.make()
    method = getattr(env.unwrapped, "pareto_front", None)
    if method is None or declared(env, "reward_space") != getattr(env.unwrapped, "reward_space", None):
        return  # none, or one of other rewards than a wrapper pays
    task = getattr(env.unwrapped, "task", None)
    if task is not None and getattr(task, "front", method) is None:
        return  # not known
    try:
        given, again = method(1.0), method(1.0)
    except ValueError as error:
        if getattr(task, "front", None) is not None:
            subject.fail("front", f"pareto_front(1.0) raised {error!r}", error)
        return  # not known
    points = np.asarray(given, np.float64)
    size = declared(env, "reward_dim")
    if points.ndim != 2 or points.shape[1] != size or not len(points) or not np.isfinite(points).all():
        subject.fail("front", f"pareto_front(1.0) must be finite points (F, {size}), got {given!r}")
    if not np.array_equal(points, np.asarray(again)) or any(map(share_memory, given, again)):
        subject.fail("front", f"pareto_front(1.0) must return equal, fresh arrays, got {given!r}, then {again!r}")
    for point in points:
        if _dominated(point, points).any():
            subject.fail("front", f"the point {point} is dominated by another, {points[_dominated(point, points)][0]}")
    _check_bounds(subject, env, points)
    _check_exceeded(subject, env, points)


def _check_statistics(subject: Subject) -> None:
    there = any(KEY in call.info for call in subject.expected("wrappers"))
    env = subject.make() if there else RecordVectorReturn(subject.make(), timed=False)
    total, length = np.zeros(declared(env, "reward_dim")), 0
    for one, other in _repeated(subject, env, "wrappers"):
        if not one.name.startswith("step"):
            total, length = np.zeros_like(total), 0
            continue
        total, length = total + one.reward, length + 1
        if one.terminated or one.truncated:
            said = other.info.get(KEY, {})
            _agree(subject, "wrappers", f"{one.name}: info[{KEY!r}]['r']", total, said.get("r"))
            _agree(subject, "wrappers", f"{one.name}: info[{KEY!r}]['l']", length, said.get("l"))


def _check_changed(subject: Subject, env: Env, formula: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    who = type(env).__name__
    for one, other in _repeated(subject, env, "wrappers"):
        if one.name.startswith("step"):
            _agree(subject, "wrappers", f"{one.name}: the reward under {who}", formula(one.reward), other.reward)


def _check_bounds(subject: Subject, env: Env, points: NDArray[np.float64]) -> None:
    space = declared(env, "return_space")
    if space is not None:
        slack = TOLERANCE * (space.high.astype(np.float64) - space.low)
        outside = ((points < space.low - slack) | (points > space.high + slack)).any(axis=1)
        if outside.any():
            subject.fail("front", f"the point {points[outside][0]} is outside {space}")


def _check_exceeded(subject: Subject, env: Env, points: NDArray[np.float64]) -> None:
    from llm_morl_env.task import Task

    task, returns = getattr(env.unwrapped, "task", None), list(_returns(subject))
    if not isinstance(task, Task):
        mean = np.mean([returned for returned, _ in returns], axis=0)
        exceeded = [(mean, points)] if len(returns) >= _EPISODES else []
    elif task.perturbations or task.front is None:  # noise may be lucky
        return
    else:
        exceeded = []
        for returned, info in returns[:_EPISODES]:
            shown = task.with_split(info["split"])
            alone = replace(shown, problems={**shown.problems, shown.split: (shown[int(info["problem"])],)})
            exceeded.append((returned, alone.pareto_front()))
    for returned, front in exceeded:
        below = [point for point in front if _dominated(point, returned[None]).any()]
        if below:
            subject.fail("front", f"the return {returned} exceeds the point {below[0]} of the front")


def _returns(subject: Subject) -> Iterator[tuple[NDArray[np.float64], dict[str, Any]]]:
    """Returns (K,) of the episodes of the first rollout that ended, with the info of their last step."""
    total: Any = 0.0
    for call in subject.expected("front"):
        total = total + call.reward.astype(np.float64) if call.name.startswith("step") else 0.0
        if call.terminated:
            yield total, call.info


def _dominated(point: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the others (F, K) are nowhere worse than the point, and somewhere better by more than rounding."""
    slack = TOLERANCE * np.maximum(1.0, np.abs(point))
    dominates = np.logical_and((others > point + slack).any(axis=1), (others >= point).all(axis=1))
    return np.asarray(dominates, np.bool_)


def _repeated(subject: Subject, env: Env, rule: str) -> Iterator[tuple[Call, Call]]:
    """The first calls of the recorded rollout, each with what a wrapped environment returns in its place."""
    expected = subject.expected(rule)
    count = max(_REPEATED_CALLS, (paid_end(expected) or 0) + 1)
    return islice(zip(expected, subject.rollout(env, rule), strict=False), count)


def _agree(subject: Subject, rule: str, what: str, expected: Any, got: Any) -> None:
    if got is None or not np.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE):
        subject.fail(rule, f"{what} must be {expected!r}, got {got!r}")
