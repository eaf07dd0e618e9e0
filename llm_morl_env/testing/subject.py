"""What `check_mo_env` tests: an environment, its rollouts, and how a broken rule is told."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from llm_morl_env.values import difference

Env = gym.Env[Any, Any]
#: Chooses an action, given the environment, the last observation and the last info.
Policy = Callable[[Any, Any, Any], Any]


class ConformanceError(AssertionError):
    """An environment broke a rule; the message says which, where, and with what value."""


@dataclass(frozen=True)
class Call:
    """What one call returned: of ``reset``, the observation and the info alone."""

    name: str
    observation: Any
    info: Any
    reward: Any = None
    terminated: Any = None
    truncated: Any = None

    @property
    def parts(self) -> dict[str, Any]:
        """What was returned, by name."""
        return {name: getattr(self, name) for name in ("observation", "reward", "terminated", "truncated", "info")}

    @property
    def ended(self) -> bool:
        """Whether an episode ended; in a batch, any row's."""
        return bool(np.any(self.terminated) or np.any(self.truncated))

    @property
    def paid(self) -> bool:
        """Whether some reward was not zero."""
        return self.name.startswith("step") and bool(np.any(self.reward))


@dataclass(frozen=True)
class Subject:
    """The environment under test.

    Args:
        name: For messages.
        make: Makes a fresh environment.
        seed: Of every rollout.
        n_steps: Of every rollout.
        actions: Those of the first rollout, which the others repeat; filled by it.
        recorded: Copies of the calls of the first rollout, which the others are compared with; filled by `expected`.
        policy: Chooses the actions of the first rollout; None samples them.
    """

    name: str
    make: Callable[[], Env]
    seed: int
    n_steps: int
    actions: list[Any] = field(default_factory=list)
    recorded: list[Call] = field(default_factory=list)
    policy: Policy | None = None

    def fail(self, rule: str, message: str, cause: Exception | None = None) -> NoReturn:
        """Raise a `ConformanceError`."""
        raise ConformanceError(f"{self.name}: {rule}: {message}") from cause

    def rollout(self, env: Env, rule: str, *, skip: int = 0) -> Iterator[Call]:
        """The calls of a rollout, as they come. The first rollout chooses the actions, the others repeat them.

        A seeded reset comes first, an unseeded one after each episode, and one in the middle of the rollout.

        Args:
            env: What to run.
            rule: For messages.
            skip: Leave out the seeded reset and the first so many steps: ``env`` has made them already.
        """
        observation, info, episodes = None, {}, 0
        if not skip:
            call = self._call(rule, "reset(seed=...)", env.reset, seed=self.seed)
            yield call
            observation, info = call.observation, call.info
        for number in range(skip, self.n_steps):
            if number == len(self.actions):
                self.actions.append(self._chosen(env, observation, info, masked=episodes % 2 == 0))
            call = self._call(rule, f"step {number}", env.step, copy.deepcopy(self.actions[number]))
            yield call
            if call.terminated or call.truncated or number == self.n_steps // 2:
                call = self._call(rule, f"reset after step {number}", env.reset)
                episodes += 1
                yield call
            observation, info = call.observation, call.info

    def _chosen(self, env: Env, observation: Any, info: Any, *, masked: bool) -> Any:
        if self.policy is not None:
            return copy.deepcopy(self.policy(env, observation, info))
        mask = info.get("action_mask") if masked and isinstance(env.action_space, Discrete) else None
        return env.action_space.sample(mask) if mask is not None else env.action_space.sample()

    def _call(self, rule: str, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        try:
            returned = function(*args, **kwargs)
        except Exception as error:
            self.fail(rule, f"{name} raised {error!r}", error)
        size = 5 if name.startswith("step") else 2
        if not isinstance(returned, tuple) or len(returned) != size:
            self.fail(rule, f"{name} must return a tuple of {size}, got {returned!r}")
        if size == 2:
            return Call(name, *returned)
        observation, reward, terminated, truncated, info = returned
        return Call(name, observation, info, reward, terminated, truncated)

    def expected(self, rule: str) -> list[Call]:
        """What a fresh environment returns: recorded once, since the rules compare many rollouts with it."""
        if not self.recorded:
            self.recorded.extend(self.record(self.make(), rule))
        return list(self.recorded)

    def record(self, env: Env, rule: str, *, skip: int = 0) -> list[Call]:
        """Copies of the calls of a rollout."""
        return [copy.deepcopy(call) for call in self.rollout(env, rule, skip=skip)]


def compare(subject: Subject, rule: str, expected: list[Call], got: list[Call], circumstance: str) -> None:
    """Fail at the first difference of two lists of calls."""
    for one, other in zip(expected, got, strict=True):
        for name in one.parts:
            found = difference(one.parts[name], other.parts[name], name)
            if found is not None:
                subject.fail(rule, f"{one.name} returns something else {circumstance}: {found}")


def paid_end(calls: list[Call]) -> int | None:
    """The place of the end of the first episode that paid something, else of the first; None where none ended.

    >>> over, on = {"terminated": True, "truncated": False}, {"terminated": False, "truncated": False}
    >>> start, none, some = Call("reset", 0, {}), {"reward": np.zeros(2)}, {"reward": np.ones(2)}
    >>> steps = [Call("step", 0, {}, **none, **over), start, Call("step", 0, {}, **some, **on)]
    >>> paid_end([start, *steps]), paid_end([start, *steps, Call("step", 0, {}, **none, **over)])
    (1, 4)
    """
    first, paid = None, False
    for place, call in enumerate(calls):
        paid = call.paid or (paid and call.name.startswith("step"))
        if call.ended:
            if paid:
                return place
            first = place if first is None else first
    return first


def warn_of_silence(subject: Subject) -> None:
    """Warn (`UserWarning`) of a rollout that leaves the rules little to compare: without an end, or without a reward.

    The warning points to the caller of the check.
    """
    steps = [call for call in subject.expected("calls") if call.name.startswith("step")]
    found = f"{subject.name}: in n_steps={subject.n_steps}"
    if not any(call.ended for call in steps):
        lacking = "no episode ended, so what holds of whole episodes was not checked; give a larger n_steps="
        warnings.warn(f"{found} {lacking}, shorter episodes, or a policy= that ends one", UserWarning, stacklevel=3)
    if not any(call.paid for call in steps):
        lacking = "every reward was zero, so numbers of rewards were not checked; give a larger n_steps="
        warnings.warn(f"{found} {lacking}, or a policy= that earns something", UserWarning, stacklevel=3)


def nondeterministic(env: Any) -> bool:
    """Whether it was registered as such: it need not repeat itself."""
    return env.spec is not None and bool(env.spec.nondeterministic)
