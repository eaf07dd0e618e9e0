"""The rules of `check_mo_env` that hold for any environment with vector rewards, one function each."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from itertools import combinations, islice
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env

from llm_morl_env.testing.subject import Call, Env, Subject, compare, nondeterministic, paid_end
from llm_morl_env.values import mutables, overwrite, share_memory
from llm_morl_env.wrappers import ScalarizedReward
from llm_morl_env.wrappers.declared import declared

#: First calls whose objects are compared pair by pair, the more the slower; and those around the end of an episode.
_COMPARED_CALLS = 12
#: How far an episode's rewards may leave the bounds of returns, relative to them: float32 that are added up.
RETURN_TOLERANCE = 1e-6


def check_declarations(subject: Subject) -> None:
    """``reward_space``, ``reward_dim`` and, where there are, ``objective_names`` and ``return_space`` fit together."""
    env = subject.make()
    space = declared(env, "reward_space")
    if not isinstance(space, Box) or space.dtype != np.float32 or len(space.shape) != 1:
        subject.fail("declarations", f"unwrapped.reward_space must be a float32 Box of shape (K,), got {space!r}")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        subject.fail("declarations", f"the bounds of reward_space must be finite, got {space!r}")
    size = space.shape[0]
    dim = declared(env, "reward_dim")
    if dim != size:
        subject.fail("declarations", f"unwrapped.reward_dim must be {size}, as reward_space has it, got {dim!r}")
    names = declared(env, "objective_names")
    if names is not None and (len(set(names)) != size or not all(isinstance(name, str) for name in names)):
        subject.fail("declarations", f"unwrapped.objective_names must be {size} distinct str, got {names!r}")
    returns = declared(env, "return_space")
    if returns is not None and (not isinstance(returns, Box) or returns.shape != space.shape):
        subject.fail("declarations", f"unwrapped.return_space must be a Box of shape {space.shape}, got {returns!r}")


def check_calls(subject: Subject) -> None:
    """Every call returns members of the spaces, with Python bools. Draws the actions of all rollouts."""
    env = subject.make()
    env.action_space.seed(subject.seed)
    subject.actions.clear()
    subject.recorded.clear()
    for call in subject.rollout(env, "calls"):
        if not env.observation_space.contains(call.observation):
            subject.fail(
                "calls", f"{call.name}: the observation is not in {env.observation_space}: {call.observation!r}"
            )
        if not isinstance(call.info, dict) or not all(isinstance(key, str) for key in call.info):
            subject.fail("calls", f"{call.name}: the info must be a dict with str keys, got {call.info!r}")
        if call.name.startswith("step"):
            _check_reward(subject, env, call)
            for name in ("terminated", "truncated"):
                value = call.parts[name]
                if type(value) is not bool:
                    kind = type(value).__name__
                    subject.fail("calls", f"{call.name}: {name} must be a Python bool, got {value!r} of type {kind}")
        subject.recorded.append(copy.deepcopy(call))


def _check_reward(subject: Subject, env: Env, call: Call) -> None:
    space: Box = declared(env, "reward_space")
    reward, where = call.reward, call.name
    if not isinstance(reward, np.ndarray) or reward.dtype != np.float32 or reward.shape != space.shape:
        subject.fail("calls", f"{where}: the reward must be a float32 array of shape {space.shape}, got {reward!r}")
    if not np.isfinite(reward).all():
        subject.fail("calls", f"{where}: the reward must be finite, got {reward!r}")
    outside = (reward < space.low) | (reward > space.high)
    if outside.any():
        k = int(np.argmax(outside))
        bounds = f"[{space.low[k]}, {space.high[k]}]"
        subject.fail("calls", f"{where}: objective {k} of the reward is outside {bounds}: {reward[k]!r}")


def check_returns(subject: Subject) -> None:
    """The rewards of an episode add up to a member of ``unwrapped.return_space``, where that is declared."""
    space = declared(subject.make(), "return_space")
    if space is None:
        return
    slack = RETURN_TOLERANCE * np.maximum(1.0, np.maximum(np.abs(space.low), np.abs(space.high)))
    total = np.zeros(space.shape)
    for call in subject.expected("returns"):
        if not call.name.startswith("step"):
            total = np.zeros(space.shape)
            continue
        total = total + call.reward
        if (call.terminated or call.truncated) and ((total < space.low - slack) | (total > space.high + slack)).any():
            subject.fail("returns", f"{call.name}: the episode's rewards add up to {total}, outside {space}")


def check_determinism(subject: Subject) -> None:
    """Two fresh environments and a used one, seeded alike, return the same."""
    env = subject.make()
    if nondeterministic(env):
        return
    expected = subject.expected("determinism")
    for circumstance in ("in a second fresh environment", "in the same environment, seeded again"):
        compare(subject, "determinism", expected, subject.record(env, "determinism"), circumstance)


def check_fresh_objects(subject: Subject) -> None:
    """No array, dict, list or set is shared between calls, nor between the reward and the rest of a call."""
    kept: list[tuple[str, list[tuple[str, Any]]]] = []
    end = paid_end(subject.expected("fresh objects")) or 0
    places = {*range(_COMPARED_CALLS), *range(end - 1, end + 3)}
    for place, call in enumerate(islice(subject.rollout(subject.make(), "fresh objects"), max(places) + 1)):
        if place in places:
            kept.append((call.name, [found for name, part in call.parts.items() for found in mutables(part, name)]))
    for name, parts in kept:
        rewards = [found for found in parts if found[0] == "reward"]
        for (path, mine), (other, theirs) in ((r, p) for r in rewards for p in parts if p[0] != "reward"):
            if share_memory(mine, theirs):
                subject.fail("fresh objects", f"{name}: {path} and {other} share an object: {mine!r}")
    for (name, parts), (later, others) in combinations(kept, 2):
        for (path, mine), (other, theirs) in ((p, o) for p in parts for o in others):
            if share_memory(mine, theirs):
                subject.fail("fresh objects", f"{name} and {later} share an object: {path} is {other}: {mine!r}")


def check_writing(subject: Subject) -> None:
    """Writing into what was returned changes nothing that comes later."""
    env = subject.make()
    if nondeterministic(env):
        return
    expected, seen = subject.expected("writing"), []
    undo: list[Callable[[], None]] = []
    try:
        for call in subject.rollout(env, "writing"):
            seen.append(copy.deepcopy(call))
            for _, found in (f for part in call.parts.values() for f in mutables(part, "")):
                undo.append(overwrite(found))
    finally:
        for restore in reversed(undo):  # what was shared may belong to the class, and outlive this check
            restore()
    compare(subject, "writing", expected, seen, "once the arrays and dicts returned before were written into")


def check_pickling(subject: Subject) -> None:
    """An environment that is pickled in the middle of an episode goes on as if nothing had happened.

    One that derives from Gymnasium's ``EzPickle`` is pickled as its constructor's arguments: its copy need only act as
    a fresh environment.
    """
    env, made = subject.make(), 0
    loaded = _pickled(subject, env)
    if nondeterministic(env):
        return
    expected = subject.expected("pickling")
    compare(subject, "pickling", expected, subject.record(loaded, "pickling"), "once pickled")
    if isinstance(env.unwrapped, gym.utils.EzPickle):
        return
    for position, call in enumerate(subject.rollout(env, "pickling")):
        made += call.name.startswith("step")
        if made in (1, subject.n_steps // 3) and not (call.terminated or call.truncated):
            loaded = _pickled(subject, env)
            rest = subject.record(loaded, "pickling", skip=made)
            compare(subject, "pickling", expected[position + 1 :], rest, f"when it is pickled after {call.name}")


def _pickled(subject: Subject, env: Env) -> Env:
    try:
        return pickle.loads(pickle.dumps(env))  # type: ignore[no-any-return]
    except Exception as error:
        subject.fail("pickling", f"the environment does not survive pickling: {error!r}", error)


def check_spec(subject: Subject) -> None:
    """The spec survives a round trip through JSON and makes an equal environment. (Needs one made by ``gym.make``.)"""
    spec = subject.make().spec
    if spec is None:
        return
    try:
        copied = EnvSpec.from_json(spec.to_json())
        again = gym.make(copied, disable_env_checker=True)
    except Exception as error:
        subject.fail("spec", f"it does not survive a round trip through JSON: {error!r}", error)
    if not spec.nondeterministic:
        compare(subject, "spec", subject.expected("spec"), subject.record(again, "spec"), "when made from its spec")


def check_rendering(subject: Subject) -> None:
    """``metadata["render_modes"]`` is a list, and where it has ``ansi``, rendering gives a text."""
    env = subject.make()
    modes = env.metadata.get("render_modes")
    if not isinstance(modes, list):
        subject.fail("rendering", f"metadata['render_modes'] must be a list, got {modes!r}")
    if "ansi" not in modes or env.spec is None:
        return
    env = gym.make(env.spec, render_mode="ansi", disable_env_checker=True)
    for call in subject.rollout(env, "rendering"):
        shown = env.render()
        if not isinstance(shown, str):
            subject.fail("rendering", f"{call.name}: render_mode='ansi' must give a str, got {shown!r}")
        if call.terminated or call.truncated:
            break


def check_scalarized(subject: Subject) -> None:
    """Gymnasium's ``check_env`` passes on `ScalarizedReward` of the environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # among them that the environment is wrapped
        try:
            check_env(ScalarizedReward(subject.make()), skip_render_check=True)
        except Exception as error:
            subject.fail("gymnasium", f"check_env on ScalarizedReward raised {error!r}", error)
