"""`check_mo_vector_env`: sound batched environments pass, and for every rule there is one that breaks just it."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gold_play import gold_rows
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from llm_morl_env.registration import DIALOGUE_VECTOR_VIEWS, IDS, VECTOR_VIEWS, make_task
from llm_morl_env.testing import VECTOR_RULES, ConformanceError, VectorSubject, check_mo_vector_env
from llm_morl_env.testing.vectors import check_batch_calls

ROWS = 3
NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED


class Walk(gym.Env):
    """A walk of two to four steps, rewarded for the place and the way."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = Box(-9.0, 9.0, (2,), np.float32), Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.left = self.np_random.uniform(-1, 1), int(self.np_random.integers(2, 5))
        return self.observation(), {}

    def observation(self) -> Any:
        return np.array([self.place, self.left], np.float32)

    def step(self, action: Any) -> Any:
        self.place, self.left = float(np.clip(self.place + action - 1, -2, 2)), self.left - 1
        return self.observation(), np.array([self.place / 2, -0.25], np.float32), self.left == 0, False, {}


class Rows(VectorEnv):
    """A sound batch of walks."""

    mode = SAME_STEP

    def __init__(self) -> None:
        self.walks, self.num_envs = [Walk() for _ in range(ROWS)], ROWS
        self.single_observation_space, self.single_action_space = Walk().observation_space, Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, ROWS)
        self.action_space = batch_space(self.single_action_space, ROWS)
        self.reward_space, self.reward_dim = Box(np.float32([-1, -0.25]), np.float32([1, 0])), 2
        self.return_space = Box(np.float32([-4, -1]), np.float32([4, 0]))
        self.metadata = {"autoreset_mode": self.mode}
        self.over = np.zeros(ROWS, np.bool_)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        rows = (options or {}).get("reset_mask", np.ones(ROWS, np.bool_))
        for row in np.flatnonzero(rows):
            self.walks[row].reset(seed=None if seed is None else seed + int(row))
        self.over = self.over & ~rows
        return self.observed(), self.info()

    def observed(self) -> Any:
        return np.stack([walk.observation() for walk in self.walks])

    def info(self) -> Any:
        return {"left": np.array([walk.left for walk in self.walks]), "_left": np.ones(ROWS, np.bool_)}

    def step(self, actions: Any) -> Any:
        rewards, ended = np.zeros((ROWS, 2), np.float32), np.zeros(ROWS, np.bool_)
        final = np.full(ROWS, None, object)
        for row, walk in enumerate(self.walks):
            if self.over[row] and self.mode is NEXT_STEP:
                walk.reset()
            elif not self.over[row]:
                _, rewards[row], ended[row], _, _ = walk.step(actions[row])
                if ended[row] and self.mode is SAME_STEP:
                    final[row] = walk.observation()
                    walk.reset()
        self.over = ended if self.mode is NEXT_STEP else self.over | ended if self.mode is DISABLED else self.over
        info = self.info()
        if ended.any() and self.mode is SAME_STEP:
            last = {"left": np.zeros(ROWS, np.int64), "_left": ended.copy()}
            info |= {"final_obs": final, "_final_obs": ended.copy(), "final_info": last, "_final_info": ended.copy()}
        return self.observed(), rewards, ended.copy(), np.zeros(ROWS, np.bool_), info


class NextStepRows(Rows):
    mode = NEXT_STEP


class DisabledRows(Rows):
    mode = DISABLED


def changed(**changes: Any) -> type[Rows]:
    """Rows some of whose attributes are others."""

    class Changed(Rows):
        def __init__(self) -> None:
            super().__init__()
            self.__dict__.update(changes)

    return Changed


def stepping(base: type[Rows], change: Any) -> type[Rows]:
    """Rows whose steps return what ``change`` makes of (rows, what a step returns)."""

    class Changed(base):
        def step(self, actions: Any) -> Any:
            return change(self, *super().step(actions))

    return Changed


class PaidResets(NextStepRows):
    """Rows that are reset are paid nevertheless."""

    def step(self, actions: Any) -> Any:
        before = self.over.copy()
        observation, rewards, *rest = super().step(actions)
        rewards[before] = np.float32([0.5, -0.25])
        return observation, rewards, *rest


class ResetsEveryRow(DisabledRows):
    """It takes no notice of the mask."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)


class ReusedObservation(Rows):
    def observed(self) -> Any:
        self.__dict__.setdefault("buffer", np.zeros((ROWS, 2), np.float32))[:] = super().observed()
        return self.buffer


class KeptRewards(Rows):
    """What it paid is its state."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.paid = np.zeros((ROWS, 2), np.float32)
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        wide = np.abs(self.paid[:, 0]) > 1
        observation, self.paid, *rest = super().step(np.where(wide, 1, actions))
        return observation, self.paid, *rest


class Unseeded(Rows):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=None, options=options)


class SameSeedForAll(Rows):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        for walk in self.walks:
            walk.reset(seed=seed)
        return self.observed(), self.info()


BROKEN: list[tuple[Any, str]] = [
    (changed(metadata={}), r"declarations: metadata\['autoreset_mode'\] must be an AutoresetMode, got None"),
    (changed(observation_space=Box(-9, 9, (2, 2))), r"declarations: observation_space must be 3 times Box"),
    (changed(action_space=Discrete(3)), r"declarations: action_space must be 3 times Discrete\(3\), got Discrete\(3\)"),
    (changed(reward_space=Box(-1, 1, (ROWS, 2))), r"declarations: .*must be a float32 Box of shape \(K,\)"),
    (changed(reward_space=Box(-np.inf, 1, (2,))), r"declarations: the bounds of reward_space must be finite"),
    (changed(reward_dim=3), r"declarations: unwrapped.reward_dim must be 2, got 3"),
    (stepping(Rows, lambda self, o, *rest: (o + 99, *rest)), r"calls: step 0: the observation is not in Box"),
    (
        stepping(Rows, lambda self, o, r, *rest: (o, r.astype(np.float64), *rest)),
        r"calls: step 0: the rewards must be a float32 array of shape \(3, 2\)",
    ),
    (
        stepping(Rows, lambda self, o, r, *rest: (o, r - np.float32([0, 1]), *rest)),
        r"calls: step 0: the reward of row 0 is not in Box.*-1.25",
    ),
    (
        stepping(Rows, lambda self, o, r, e, *rest: (o, r, e.tolist(), *rest)),
        r"calls: step 0: terminated must be a bool array of shape \(3,\), got \[",
    ),
    (
        stepping(Rows, lambda self, *rest: (*rest[:-1], {"left": rest[-1]["left"]})),
        r"calls: step 0: info\['_left'\] must be bool \(3,\), got None",
    ),
    (PaidResets, r"autoreset: step \d: row \d is reset, so it earns zeros and goes on, got \[ 0.5"),
    (changed(metadata={"autoreset_mode": NEXT_STEP}), r"autoreset: step \d: .*"),
    (
        stepping(Rows, lambda self, *rest: (*rest[:-1], {k: v for k, v in rest[-1].items() if "final" not in k})),
        r"autoreset: step \d: info\['_final_obs'\] must be \[.*True.*got \[False, False, False\]",
    ),
    (
        stepping(
            Rows,
            lambda self, *rest: (
                *rest[:-1],
                {**rest[-1], **({"final_obs": np.full(ROWS, None, object)} if "final_obs" in rest[-1] else {})},
            ),
        ),
        r"autoreset: step \d: info\['final_obs'\]\[\d\] is no observation: None",
    ),
    (ResetsEveryRow, r"autoreset: reset after step \d changes row \d, which its reset_mask leaves out"),
    (changed(return_space=Box(-4, -0.6, (2,))), r"returns: step \d: the rewards of row \d add up to .* outside Box"),
    (Unseeded, r"determinism: reset\(seed=...\) returns something else in a second fresh environment: observation"),
    (ReusedObservation, r"fresh objects: reset\(seed=...\) and step 0 share an object: observation is observation"),
    (KeptRewards, r"writing: step \d returns something else once the arrays and dicts returned before were written"),
]


@pytest.mark.parametrize("sound", [Rows, NextStepRows, DisabledRows])
def test_a_sound_environment_passes(sound: type[Rows]) -> None:
    check_mo_vector_env(sound, make_single=Walk)


@pytest.mark.parametrize(("broken", "message"), BROKEN)
def test_a_broken_environment_is_told_why(broken: type[Rows], message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_mo_vector_env(broken)


@pytest.mark.parametrize("broken", [SameSeedForAll, stepping(Rows, lambda self, o, r, *rest: (o, r / 2, *rest))])
def test_rows_that_are_not_the_single_environment_are_found(broken: type[Rows]) -> None:
    check_mo_vector_env(broken)
    with pytest.raises(ConformanceError, match=r"rows: step \d: row \d is not what a single environment returns"):
        check_mo_vector_env(broken, make_single=Walk)


def test_every_rule_has_an_environment_that_breaks_it() -> None:
    told = {message.split(":")[0] for _, message in BROKEN} | {"rows"}
    rules = {rule.__name__.removeprefix("check_").removeprefix("batch_").replace("_", " ") for rule in VECTOR_RULES}
    assert told == rules


def test_a_rollout_without_an_end_or_a_reward_is_warned_of() -> None:
    """The check passes, and says what it could not check; the warning points to its caller."""
    with pytest.warns(UserWarning, match="Rows: in n_steps=1 no episode ended, .*n_steps=.* policy=") as caught:
        check_mo_vector_env(Rows, n_steps=1)
    assert [warning.filename for warning in caught] == [__file__]
    unpaid = stepping(Rows, lambda self, o, r, *rest: (o, 0 * r, *rest))
    with pytest.warns(UserWarning, match="Changed: in n_steps=9 every reward was zero, .*n_steps=.* policy="):
        check_mo_vector_env(unpaid, n_steps=9)


def test_a_policy_acts_for_all_rows_once_a_step() -> None:
    counts = []

    def stay(envs: VectorEnv[Any, Any, Any], observations: Any, info: Any) -> Any:
        assert envs.num_envs == len(observations) == len(info["left"])
        counts.append(info["left"].tolist())
        return np.ones(ROWS, np.int64)

    check_mo_vector_env(Rows, make_single=Walk, n_steps=12, policy=stay)
    assert len(counts) == 12
    far = stepping(Rows, lambda self, o, r, *rest: (o + np.float32(99) * (o[:, :1] > 1), r, *rest))
    check_mo_vector_env(far, n_steps=12, policy=stay)
    with pytest.raises(ConformanceError, match=r"calls: step \d: the observation is not in Box"):
        check_mo_vector_env(far, n_steps=12, policy=lambda *_: np.full(ROWS, 2))


def check_played(make_vec: Any, n_steps: int, *, make_single: Any = None, policy: Any = None) -> None:
    """It passes, on a rollout in which every row ended an episode, and was paid."""
    check_mo_vector_env(make_vec, make_single=make_single, n_steps=n_steps, policy=policy)
    subject = VectorSubject("", make_vec, 0, n_steps, policy=policy)
    check_batch_calls(subject)
    steps = [call for call in subject.recorded if call.name.startswith("step")]
    assert np.any([call.terminated | call.truncated for call in steps], axis=0).all()
    assert np.any([call.reward.any(axis=1) for call in steps], axis=0).all()


@pytest.mark.parametrize("env_id", IDS)
def test_every_batched_text_environment_of_this_package_passes(env_id: str) -> None:
    modes = ["Disabled"] if make_task(IDS[env_id]).dialogue is not None else ["SameStep", "Disabled"]
    for mode in modes:
        for group_size in (1, 2):
            check_played(
                lambda mode=mode, group_size=group_size: gym.make_vec(
                    env_id, num_envs=4, group_size=group_size, autoreset_mode=mode
                ),
                8,
                policy=gold_rows,
            )


def stepped_views(env_id: str) -> list[str]:
    """Batched views whose rows are environments of their own."""
    table = VECTOR_VIEWS if make_task(IDS[env_id]).dialogue is None else DIALOGUE_VECTOR_VIEWS
    return [view for view in table if view != "text"]


def shortened(env_id: str, view: str) -> dict[str, Any]:
    """Keywords that leave candidates few, and episodes short: in words, they end at the cap, and are paid for that."""
    task = make_task(IDS[env_id])
    if view == "choice":
        return {"n_problems": 4, "k": 4}
    if task.dialogue is not None:
        return {"max_response_tokens": 6, "max_turns": 2, "objectives": [*task.rewards.names, "brevity"]}
    return {"max_response_tokens": 6} if task.tokenizer.vocab_size > 100 else {}


#: Every mode where a rollout is cheap; views of words, whose modes are of the same class, under the default one.
STEPPED = [
    (env_id, view, mode)
    for env_id in IDS
    for view in stepped_views(env_id)
    for mode in ("NextStep", "SameStep", "Disabled")
    if mode == "NextStep" or "max_response_tokens" not in shortened(env_id, view)
]


@pytest.mark.parametrize(("env_id", "view", "mode"), STEPPED)
def test_every_batch_of_single_environments_of_this_package_passes(env_id: str, view: str, mode: str) -> None:
    kwargs = {"view": view, **shortened(env_id, view)}
    check_played(
        lambda: gym.make_vec(env_id, num_envs=3, autoreset_mode=mode, **kwargs),
        12 if "max_response_tokens" in kwargs else 20,
        make_single=lambda: gym.make(env_id, **kwargs),
    )
