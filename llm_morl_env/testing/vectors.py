"""`check_mo_vector_env`: do batched environments keep the contract of vector rewards? Shapes: N rows, K objectives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from llm_morl_env.testing.rules import RETURN_TOLERANCE, check_determinism, check_fresh_objects, check_writing
from llm_morl_env.testing.subject import Call, Env, Policy, Subject, warn_of_silence
from llm_morl_env.values import difference

#: What holds the end of an episode that was reset in the same step.
FINAL = ("final_obs", "final_info")


@dataclass(frozen=True)
class VectorSubject(Subject):
    """A batched environment under test; ``make`` makes a fresh one, and ``actions`` are those of all rows.

    Args:
        make_single: Makes the environment of one row, see `check_mo_vector_env`.
    """

    make_single: Callable[[], Env] | None = None

    def rollout(self, env: Any, rule: str, *, skip: int = 0) -> Iterator[Call]:
        """The calls of a rollout, as they come; under ``DISABLED`` rows are reset once all of their group ended."""
        call = self._call(rule, "reset(seed=...)", env.reset, seed=self.seed)
        yield call
        over = np.zeros(env.num_envs, np.bool_)
        size = getattr(env.unwrapped, "group_size", 1)
        for number in range(self.n_steps):
            if number == len(self.actions):
                self.actions.append(self._chosen(env, call.observation, call.info, masked=number % 2 == 1))
            call = self._call(rule, f"step {number}", env.step, copy.deepcopy(self.actions[number]))
            over |= np.asarray(call.terminated) | np.asarray(call.truncated)  # now: who is given the call may write
            yield call
            groups = np.repeat(over.reshape(-1, size).all(axis=1), size)
            if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and groups.any():
                options = {"reset_mask": groups.copy()}
                call = self._call(rule, f"reset after step {number}", env.reset, options=options)
                over &= ~groups
                yield call

    def _chosen(self, env: Any, observation: Any, info: Any, *, masked: bool) -> Any:
        if self.policy is not None:
            return copy.deepcopy(self.policy(env, observation, info))
        return _sampled(env, info if masked else {})


def check_mo_vector_env(
    make_vec: Callable[[], VectorEnv[Any, Any, Any]],
    *,
    make_single: Callable[[], Env] | None = None,
    seed: int = 0,
    n_steps: int = 40,
    policy: Policy | None = None,
) -> None:
    """Check that a batched environment with vector rewards keeps the contract; return silently if it does.

    The rules, in order: spaces, ``reward_space`` (of one row), ``reward_dim`` and ``metadata["autoreset_mode"]`` are
    declared, and fit together; every call returns members of the batched spaces, float32 rewards (N, K) inside the
    bounds, bool arrays (N,), and infos whose entries have Gymnasium's masks (``"_key"``); the autoreset mode is kept
    (``NEXT_STEP``: the step after the end is the reset, and pays zeros; ``SAME_STEP``: ``final_obs`` and ``final_info``
    of just the rows that ended; ``DISABLED``: ``options["reset_mask"]`` leaves the other rows alone); the rewards of a
    row's episode add up to a member of ``return_space``, where that is declared; equal seeds give equal results, no
    object is shared between calls, and writing into what was returned changes nothing.

    Rules compare what a rollout holds. A `UserWarning` says so where no episode ended in it, or every reward was zero.

    Args:
        make_vec: Makes a fresh environment.
        make_single: Makes the environment of one row. Row i, seeded ``seed + i`` as Gymnasium's vector environments
            seed, must then act as one of these does in its first episode. None where rows are no such environments.
        seed: Of the rollouts.
        n_steps: Steps of each rollout.
        policy: Chooses the actions of all rows: called with the environment, the last observations and the last info,
            once a step of the first rollout, which the others repeat. None samples them; at every other step from
            ``info["action_mask"]``.

    Raises:
        ConformanceError: At the first rule that is broken.

    >>> import gymnasium as gym, llm_morl_env
    >>> check_mo_vector_env(lambda: gym.make_vec("ToolCall-MO-v0", num_envs=4, group_size=2), n_steps=4)
    """
    name, make = getattr(make_vec, "__name__", repr(make_vec)), cast(Callable[[], Any], make_vec)
    subject = VectorSubject(name, make, seed, n_steps, policy=policy, make_single=make_single)
    for rule in VECTOR_RULES:
        rule(subject)
    warn_of_silence(subject)


def check_batch_declarations(subject: VectorSubject) -> None:
    """``num_envs``, the spaces of one row and of the batch, ``reward_space`` and the autoreset mode fit together."""
    env: Any = subject.make()
    mode = (env.metadata or {}).get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        subject.fail("declarations", f"metadata['autoreset_mode'] must be an AutoresetMode, got {mode!r}")
    for name in ("observation", "action"):
        single, batched = getattr(env, f"single_{name}_space"), getattr(env, f"{name}_space")
        if batched != batch_space(single, env.num_envs):
            subject.fail("declarations", f"{name}_space must be {env.num_envs} times {single}, got {batched}")
    space = getattr(env.unwrapped, "reward_space", None)
    if not isinstance(space, Box) or space.dtype != np.float32 or len(space.shape) != 1:
        subject.fail("declarations", f"unwrapped.reward_space must be a float32 Box of shape (K,), got {space!r}")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        subject.fail("declarations", f"the bounds of reward_space must be finite, got {space!r}")
    dim = getattr(env.unwrapped, "reward_dim", None)
    if dim != space.shape[0]:
        subject.fail("declarations", f"unwrapped.reward_dim must be {space.shape[0]}, got {dim!r}")


def check_batch_calls(subject: VectorSubject) -> None:
    """Every call returns members of the batched spaces, and masks beside what infos say. Draws all actions."""
    env: Any = subject.make()
    env.action_space.seed(subject.seed)
    subject.actions.clear()
    subject.recorded.clear()
    for call in subject.rollout(env, "calls"):
        if not env.observation_space.contains(call.observation):
            subject.fail("calls", f"{call.name}: the observation is not in {env.observation_space}")
        if call.name.startswith("step"):
            _check_arrays(subject, env, call)
        for key in call.info if isinstance(call.info, dict) else ():
            mask = call.info.get(f"_{key}")
            sound = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (env.num_envs,)
            if not key.startswith("_") and not sound:
                subject.fail("calls", f"{call.name}: info['_{key}'] must be bool ({env.num_envs},), got {mask!r}")
        subject.recorded.append(copy.deepcopy(call))


def _check_arrays(subject: VectorSubject, env: Any, call: Call) -> None:
    space, rows = env.unwrapped.reward_space, env.num_envs
    reward = call.reward
    shape = (rows, *space.shape)
    if not isinstance(reward, np.ndarray) or reward.dtype != np.float32 or reward.shape != shape:
        subject.fail("calls", f"{call.name}: the rewards must be a float32 array of shape {shape}, got {reward!r}")
    for row, vector in enumerate(reward):
        if vector.any() and not space.contains(vector):  # zeros are of rows that earn nothing
            subject.fail("calls", f"{call.name}: the reward of row {row} is not in {space}: {vector!r}")
    for name in ("terminated", "truncated"):
        value = call.parts[name]
        if not isinstance(value, np.ndarray) or value.dtype != np.bool_ or value.shape != (rows,):
            subject.fail("calls", f"{call.name}: {name} must be a bool array of shape ({rows},), got {value!r}")


def check_autoreset(subject: VectorSubject) -> None:
    """What happens after the end of an episode is what ``metadata["autoreset_mode"]`` says."""
    env: Any = subject.make()
    mode = env.metadata["autoreset_mode"]
    ended = over = np.zeros(env.num_envs, np.bool_)
    seen: list[Any] = []
    for call in subject.expected("autoreset"):
        rows = list(iterate(env.observation_space, call.observation))
        if not call.name.startswith("step"):
            for row in np.flatnonzero(~over) if seen and mode is AutoresetMode.DISABLED else ():
                if difference(seen[row], rows[row], "") is not None:
                    subject.fail("autoreset", f"{call.name} changes row {row}, which its reset_mask leaves out")
            ended = over = np.zeros(env.num_envs, np.bool_)
        else:
            before, ended = ended, call.terminated | call.truncated
            over = over | ended
            if mode is AutoresetMode.NEXT_STEP:
                _check_next_step(subject, call, before)
            _check_final(subject, env, call, ended if mode is AutoresetMode.SAME_STEP else np.zeros_like(ended))
        seen = rows


def _check_next_step(subject: VectorSubject, call: Call, before: NDArray[np.bool_]) -> None:
    for row in np.flatnonzero(before):
        if call.reward[row].any() or call.terminated[row] or call.truncated[row]:
            said = f"{call.reward[row]}, {call.terminated[row]}, {call.truncated[row]}"
            subject.fail("autoreset", f"{call.name}: row {row} is reset, so it earns zeros and goes on, got {said}")


def _check_final(subject: VectorSubject, env: Any, call: Call, ended: NDArray[np.bool_]) -> None:
    for key in FINAL:
        mask = call.info.get(f"_{key}", np.zeros_like(ended))
        if not np.array_equal(mask, ended):
            subject.fail("autoreset", f"{call.name}: info['_{key}'] must be {ended.tolist()}, got {mask.tolist()}")
    for row in np.flatnonzero(ended):
        last = call.info["final_obs"][row]
        if last is None or not env.single_observation_space.contains(last):
            subject.fail("autoreset", f"{call.name}: info['final_obs'][{row}] is no observation: {last!r}")


def check_batch_returns(subject: VectorSubject) -> None:
    """The rewards of each row's episode add up to a member of ``unwrapped.return_space``, where that is declared."""
    env: Any = subject.make()
    space = getattr(env.unwrapped, "return_space", None)
    if space is None:
        return
    slack = RETURN_TOLERANCE * np.maximum(1.0, np.maximum(np.abs(space.low), np.abs(space.high)))
    total, over = np.zeros((env.num_envs, *space.shape)), np.zeros(env.num_envs, np.bool_)
    for call in subject.expected("returns"):
        if not call.name.startswith("step"):
            continue
        total = np.where(over[:, None], 0.0, total) + call.reward
        over = call.terminated | call.truncated
        outside = ((total < space.low - slack) | (total > space.high + slack)).any(axis=1) & over
        if outside.any():
            row = int(np.argmax(outside))
            subject.fail("returns", f"{call.name}: the rewards of row {row} add up to {total[row]}, outside {space}")


def check_rows(subject: VectorSubject) -> None:
    """In their first episodes rows act as single environments, seeded ``seed + row``, do (given ``make_single``)."""
    if subject.make_single is None:
        return
    env: Any = subject.make()
    singles = [subject.make_single() for _ in range(env.num_envs)]
    running = np.ones(env.num_envs, np.bool_)
    calls = [call for call in subject.expected("rows") if call.name.startswith("step")]
    for number, single in enumerate(singles):
        single.reset(seed=subject.seed + number)
    for call, actions in zip(calls, subject.actions, strict=True):
        chosen = list(iterate(env.action_space, actions))
        for row in np.flatnonzero(running):
            observation, reward, terminated, truncated, _ = singles[row].step(chosen[row])
            ended = terminated or truncated
            hidden = ended and env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
            shown = call.info["final_obs"] if hidden else list(iterate(env.observation_space, call.observation))
            said = (shown[row], call.reward[row], bool(call.terminated[row]), bool(call.truncated[row]))
            found = difference((observation, reward, terminated, truncated), said, "(observation, reward, ...)")
            if found is not None:
                subject.fail("rows", f"{call.name}: row {row} is not what a single environment returns: {found}")
            running[row] = not ended


def _sampled(env: Any, info: Any) -> Any:
    """Actions of all rows; where the info has masks, inside them."""
    masks = info.get("action_mask") if isinstance(env.single_action_space, Discrete) else None
    actions = env.action_space.sample()
    if masks is None:
        return actions
    first = int(env.single_action_space.start)
    valid = [row.nonzero()[0] for row in masks]  # none of rows that the info does not speak of
    pairs = zip(valid, actions, strict=True)
    return np.array([first + allowed[a % len(allowed)] if len(allowed) else a for allowed, a in pairs])


#: In the order in which they are checked.
VECTOR_RULES: tuple[Callable[[Any], None], ...] = (
    check_batch_declarations,
    check_batch_calls,
    check_autoreset,
    check_batch_returns,
    check_rows,
    check_determinism,
    check_fresh_objects,
    check_writing,
)
