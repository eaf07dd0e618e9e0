"""`check_mo_env`: sound environments pass, and for every rule there is an environment that breaks just it."""

import random
from typing import Any

import gymnasium as gym
import mo_gymnasium  # noqa: F401  (registers its ids)
import numpy as np
import pytest
from gold_play import gold_play
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import EzPickle

from llm_morl_env.envs.text import TextEnv
from llm_morl_env.envs.token import TokenEnv
from llm_morl_env.envs.vector import TextVectorEnv
from llm_morl_env.registration import DIALOGUE_VIEWS, IDS, VIEWS, make_task
from llm_morl_env.testing import RULES, ConformanceError, Subject, check_mo_env
from llm_morl_env.testing.rules import check_calls


class Walk(gym.Env):
    """A sound environment: a walk of at most four steps, rewarded for the place and the way."""

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, scale: Any = 1.0) -> None:
        self.observation_space = Box(-9.0, 9.0, (2,), np.float32)
        self.action_space = Discrete(3)
        self.reward_space = Box(np.float32([-1, -1]), np.float32([1, 0]))
        self.reward_dim, self.objective_names = 2, ("place", "way")
        self.render_mode, self.scale = render_mode, scale
        self.place, self.count = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.count = float(self.np_random.uniform(-1, 1)), 0
        return self.observation(), self.info()

    def step(self, action: Any) -> tuple[Any, ...]:
        self.place += float(action) - 1 + 0.1 * float(self.np_random.uniform())
        self.count += 1
        return self.observation(), self.reward(), self.count == 4, False, self.info()

    def observation(self) -> Any:
        return np.array([self.place, self.count], np.float32)

    def reward(self) -> Any:
        return np.clip(np.array([self.place, -self.count / 4], np.float32), -1, 1)

    def info(self) -> Any:
        mask = np.ones(3, np.int8)
        mask[int(self.count % 3)] = 0
        return {"count": self.count, "action_mask": mask, "more": {"steps": [self.count], "names": "ab"}}

    def render(self) -> Any:
        return f"at {self.place}" if self.render_mode == "ansi" else None


gym.register("Sound-MO-v0", entry_point=f"{__name__}:Walk", disable_env_checker=True)
gym.register("Unwritable-MO-v0", entry_point=f"{__name__}:Walk", kwargs={"scale": np.ones(2)}, disable_env_checker=True)
gym.register("Silent-MO-v0", entry_point=f"{__name__}:Silent", disable_env_checker=True)
gym.register("Random-MO-v0", entry_point=f"{__name__}:GlobalRandom", disable_env_checker=True, nondeterministic=True)


# Declarations


class NoRewardSpace(Walk):
    def __init__(self) -> None:
        super().__init__()
        del self.reward_space


class WideRewardSpace(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.reward_space = Box(-1.0, 1.0, (2,), np.float64)


class EndlessRewardSpace(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.reward_space = Box(-np.inf, 1.0, (2,), np.float32)


class WrongDim(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.reward_dim = 3


class WrongNames(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.objective_names = ("place", "place")


# Calls


class OutsideObservation(Walk):
    def observation(self) -> Any:
        return super().observation() + (10 if self.count == 3 else 0)


class WideReward(Walk):
    def reward(self) -> Any:
        return super().reward().astype(np.float64)


class ListReward(Walk):
    def reward(self) -> Any:
        return super().reward().tolist()


class LongReward(Walk):
    def reward(self) -> Any:
        return np.zeros(3, np.float32)


class NanReward(Walk):
    def reward(self) -> Any:
        return np.float32([0, np.nan])


class HighReward(Walk):
    def reward(self) -> Any:
        return np.float32([0, 1e-6])


class NumpyBool(Walk):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, np.bool_(terminated), truncated, info


class ListInfo(Walk):
    def info(self) -> Any:
        return [self.count]


class NumberedInfo(Walk):
    def info(self) -> Any:
        return {self.count: 1}


class FourParts(Walk):
    def step(self, action: Any) -> Any:
        return super().step(action)[:4]


class Raising(Walk):
    def step(self, action: Any) -> Any:
        if self.count == 2:
            raise KeyError("lost")
        return super().step(action)


# Returns


class HighReturn(Walk):
    """Each reward is in bounds, the sum of an episode's is not."""

    def __init__(self) -> None:
        super().__init__()
        self.return_space = Box(np.float32([-4, -2.4]), np.float32([4, 0]))


class LongReturnSpace(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.return_space = Box(-4, 4, (3,), np.float32)


# Determinism


class GlobalRandom(Walk):
    def reward(self) -> Any:
        return np.float32([random.random(), 0])


class LeakingState(Walk):
    total = 0

    def info(self) -> Any:
        self.total += 1
        return {"total": self.total}


class ClassCounter(Walk):
    """What it says depends on how often environments of its class were seeded."""

    seeded = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        type(self).seeded += seed is not None
        return super().reset(seed=seed, options=options)

    def info(self) -> Any:
        return {"b": 1, "a": 2} if self.seeded % 2 else {"a": 2, "b": 1}


class ChangingType(ClassCounter):
    def info(self) -> Any:
        return {"a": 1 if self.seeded % 2 else 1.0}


class NanInfo(Walk):
    def info(self) -> Any:
        return {"value": float("nan")}


# Fresh objects and writing


class ReusedObservation(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(2, np.float32)

    def observation(self) -> Any:
        self.buffer[:] = super().observation()
        return self.buffer


class ViewOfBuffer(ReusedObservation):
    def observation(self) -> Any:
        return super().observation()[:]


class ReusedInfo(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.more: dict[str, Any] = {"inner": {}}

    def info(self) -> Any:
        return {"more": self.more}


class ReusedList(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def info(self) -> Any:
        return {"steps": self.steps}


class AliasedReward(Walk):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "vector": reward}


class TableOfRewards(Walk):
    TABLE = np.zeros((5, 2), np.float32)

    def reward(self) -> Any:
        return self.TABLE[self.count]


class KeptObservation(Walk):
    """What it returned is its state."""

    def observation(self) -> Any:
        self.state = super().observation()
        return self.state

    def step(self, action: Any) -> Any:
        self.place = float(np.clip(self.state[0], -2, 2))
        return super().step(action)


# Pickling, rendering, seeding


class Unpicklable(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.function = lambda: 0


class Forgetful(Walk):
    def __getstate__(self) -> Any:
        return {**self.__dict__, "count": 0}


class Rebuilt(Walk, EzPickle):
    """Pickled as its arguments, as many are: that is no fault."""

    def __init__(self) -> None:
        EzPickle.__init__(self)
        Walk.__init__(self)


class ForgetfulGenerator(Walk):
    """Its generator starts again when it is pickled."""

    def __getstate__(self) -> Any:
        return {**self.__dict__, "_np_random": np.random.default_rng(0)}


class Silent(Walk):
    def render(self) -> Any:
        return None


class NoModes(Walk):
    metadata: dict[str, Any] = {}  # noqa: RUF012


class Unseeded(Walk):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.place, self.count = 0.5, 0
        return self.observation(), self.info()

    def step(self, action: Any) -> Any:
        self.count += 1
        return self.observation(), self.reward(), self.count == 4, False, self.info()


class ConstantSeed(Walk):
    """Its episodes are all the same unless it is told another seed."""

    def reset(self, *, seed: int | None = 0, options: Any = None) -> Any:
        return super().reset(seed=seed, options=options)


# Numbers


class OtherComponents(Walk):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        place, way = reward.tolist()
        return observation, reward, terminated, truncated, {**info, "reward_components": {"place": place, "way": -way}}


class SwappedComponents(OtherComponents):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        place, way = rest[1].tolist()
        return *rest, {**info, "reward_components": {"way": place, "place": way}}


class LastRewardAsReturn(Walk):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        if terminated:
            info["mo_episode"] = {"r": reward.copy(), "l": self.count}
        return observation, reward, terminated, truncated, info


class KnownFront(Walk):
    """Each step pays at most 1 for the place, and the way costs 2.5 in all."""

    FRONT: Any = ((4.0, -2.5),)

    def __init__(self) -> None:
        super().__init__()
        self.return_space = Box(np.float32([-4, -3]), np.float32([4, 0]))

    def pareto_front(self, gamma: float) -> Any:
        return [np.array(point) for point in self.FRONT]


class ShortPoints(KnownFront):
    FRONT = ((4.0,),)


class DominatedPoint(KnownFront):
    FRONT = ((4.0, -2.5), (3.0, -2.5))


class FrontOutside(KnownFront):
    FRONT = ((5.0, -2.5),)


class LowFront(KnownFront):
    FRONT = ((-3.5, -2.5),)


class ReusedFront(KnownFront):
    POINTS = np.array(KnownFront.FRONT)

    def pareto_front(self, gamma: float) -> Any:
        return self.POINTS


# What only shows late


class LateReturn(Walk):
    """Its first long episode earns nothing; the statistics of later ones say so too."""

    def __init__(self) -> None:
        super().__init__()
        self.episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.episodes = 1 if seed is not None else self.episodes + 1
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        self.count += 1
        reward, over = np.float32([self.episodes > 1, 0]), self.count == 35
        info = {**self.info(), **({"mo_episode": {"r": np.zeros(2, np.float32), "l": 35}} if over else {})}
        return self.observation(), reward, over, False, info

    def observation(self) -> Any:
        return np.float32([self.place, self.count / 9])


class SharedLast(Walk):
    """The last observation of an episode is the first of the next one."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        first = getattr(self, "last", None) if seed is None else None
        observation, info = super().reset(seed=seed, options=options)
        if first is not None:
            first[:] = observation
        return observation if first is None else first, info

    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        over = self.count == 20
        self.last = observation if over else None
        return np.clip(observation, -9, 9, out=observation), reward, over, truncated, info

    def observation(self) -> Any:
        return np.float32([self.place / 3, self.count / 9])


class NoOptions(Walk):
    def reset(self, *, seed: int | None = None) -> Any:  # type: ignore[override]
        return super().reset(seed=seed)


BROKEN: list[tuple[Any, str]] = [
    (NoRewardSpace, r"declarations: unwrapped.reward_space must be a float32 Box of shape \(K,\), got None"),
    (WideRewardSpace, r"declarations: .*must be a float32 Box.*float64"),
    (EndlessRewardSpace, r"declarations: the bounds of reward_space must be finite"),
    (WrongDim, r"declarations: unwrapped.reward_dim must be 2.*got 3"),
    (WrongNames, r"declarations: unwrapped.objective_names must be 2 distinct str, got \('place', 'place'\)"),
    (OutsideObservation, r"calls: step 2: the observation is not in Box.*13"),
    (WideReward, r"calls: step 0: the reward must be a float32 array of shape \(2,\)"),
    (ListReward, r"calls: step 0: the reward must be a float32 array of shape \(2,\), got \["),
    (LongReward, r"calls: step 0: the reward must be a float32 array of shape \(2,\)"),
    (NanReward, r"calls: step 0: the reward must be finite.*nan"),
    (HighReward, r"calls: step 0: objective 1 of the reward is outside \[-1.0, 0.0\]: .*1e-06"),
    (NumpyBool, r"calls: step 0: terminated must be a Python bool, got .*False.* of type bool"),
    (ListInfo, r"calls: reset\(seed=...\): the info must be a dict with str keys, got \[0\]"),
    (NumberedInfo, r"calls: reset\(seed=...\): the info must be a dict with str keys, got \{0: 1\}"),
    (FourParts, r"calls: step 0 must return a tuple of 5"),
    (Raising, r"calls: step 2 raised KeyError\('lost'\)"),
    (LongReturnSpace, r"declarations: unwrapped.return_space must be a Box of shape \(2,\), got"),
    (HighReturn, r"returns: step 3: the episode's rewards add up to .*, outside Box"),
    (GlobalRandom, r"determinism: step 0 returns something else in a second fresh environment: reward is"),
    (
        LeakingState,
        r"determinism: reset\(seed=...\) .* in the same environment, seeded again: info\['total'\] is 1",
    ),
    (ClassCounter, r"determinism: reset.* the keys of info are \['.', '.'\], then"),
    (ChangingType, r"determinism: reset.* info\['a'\] is a <class"),
    (NanInfo, r"determinism: reset.* info\['value'\] is nan, then nan"),
    (ReusedObservation, r"fresh objects: reset\(seed=...\) and step 0 share an object: observation is observation"),
    (ViewOfBuffer, r"fresh objects: reset\(seed=...\) and step 0 share an object: observation is observation"),
    (ReusedInfo, r"fresh objects: .* share an object: info\['more'\]\['inner'\] is info\['more'\]\['inner'\]"),
    (ReusedList, r"fresh objects: .* share an object: info\['steps'\] is info\['steps'\]"),
    (AliasedReward, r"fresh objects: step 0: reward and info\['vector'\] share an object"),
    (TableOfRewards, r"fresh objects: step 0 and step 4 share an object: reward is reward"),
    (KeptObservation, r"writing: step 0 returns something else once the arrays .* were written into: observation"),
    (Unpicklable, r"pickling: the environment does not survive pickling"),
    (Forgetful, r"pickling: step 1 returns something else when it is pickled after step 0: observation"),
    (ForgetfulGenerator, r"pickling: step 1 returns something else when it is pickled after step 0: observation"),
    ("Unwritable-MO-v0", r"spec: it does not survive a round trip through JSON: TypeError"),
    (NoModes, r"rendering: metadata\['render_modes'\] must be a list, got None"),
    ("Silent-MO-v0", r"rendering: reset\(seed=...\): render_mode='ansi' must give a str, got None"),
    (Unseeded, r"gymnasium: check_env on ScalarizedReward raised AssertionError.*random number generator"),
    (NoOptions, r"gymnasium: check_env on ScalarizedReward raised"),
    (ConstantSeed, r"passive checker: .*default seed argument in `Env.reset` should be `None`"),
    (OtherComponents, r"scalars: step 0: info\['reward_components'\] is .*, the reward \{'place': .*, 'way': -0.25\}"),
    (SwappedComponents, r"scalars: step 0: info\['reward_components'\] is \{'way': "),
    (LastRewardAsReturn, r"wrappers: step 3: info\['mo_episode'\]\['r'\] must be array\(.*-2.5\]\), got array\(.*-1"),
    (
        LateReturn,
        r"wrappers: step 69: info\['mo_episode'\]\['r'\] must be array\(\[35.,  0.\]\), got array\(\[0., 0.\]",
    ),
    (SharedLast, r"fresh objects: step 19 and reset after step 19 share an object: observation is observation"),
    (ShortPoints, r"front: pareto_front\(1.0\) must be finite points \(F, 2\), got \[array\(\[4.\]\)\]"),
    (ReusedFront, r"front: pareto_front\(1.0\) must return equal, fresh arrays"),
    (DominatedPoint, r"front: the point \[ 3.  -2.5\] is dominated by another, \[ 4.  -2.5\]"),
    (FrontOutside, r"front: the point \[ 5.  -2.5\] is outside Box"),
    (LowFront, r"front: the return .* exceeds the point \[-3.5 -2.5\] of the front"),
]


def test_a_sound_environment_passes() -> None:
    check_mo_env("Sound-MO-v0")
    check_mo_env("Sound-MO-v0", scale=2.0, n_steps=9, seed=3)
    check_mo_env(Walk)
    check_mo_env(Walk())
    check_mo_env(gym.make("Sound-MO-v0"))
    check_mo_env(Rebuilt)
    check_mo_env(KnownFront)


@pytest.mark.parametrize(("broken", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_environment_is_told_why(broken: Any, message: str) -> None:
    with pytest.raises(ConformanceError, match=message) as caught:
        check_mo_env(broken)
    assert str(caught.value).startswith(broken if isinstance(broken, str) else broken.__name__)


def test_every_rule_has_an_environment_that_breaks_it() -> None:
    told = {message.split(":")[0] for _, message in BROKEN} | {"views"}
    names = {"check_scalarized": "gymnasium", "check_passive": "passive checker"}
    assert told == {names.get(rule.__name__, rule.__name__.removeprefix("check_").replace("_", " ")) for rule in RULES}


def test_the_check_leaves_no_trace() -> None:
    """It writes into what was returned, and a class's table may be what was returned."""

    class Rows(TableOfRewards):
        """Never twice the same row in the calls that are compared."""

        TABLE = np.arange(400, dtype=np.float32).reshape(200, 2) / -400

        def __init__(self) -> None:
            super().__init__()
            self.row = 0

        def reward(self) -> Any:
            self.row = (self.row + 1) % 200
            return self.TABLE[self.row]

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            if seed is not None:
                self.row = 0
            return super().reset(seed=seed, options=options)

    with pytest.raises(ConformanceError):
        check_mo_env(Rows, n_steps=190)
    np.testing.assert_array_equal(Rows.TABLE, np.arange(400, dtype=np.float32).reshape(200, 2) / -400)


def test_nondeterministic_environments_need_not_repeat() -> None:
    with pytest.raises(ConformanceError, match="determinism"):
        check_mo_env(GlobalRandom)
    check_mo_env("Random-MO-v0")


class Endless(Walk):
    def step(self, action: Any) -> Any:
        *rest, _, truncated, info = super().step(action)
        self.place = float(np.clip(self.place, -8, 8))
        return *rest, False, truncated, info

    def observation(self) -> Any:
        return np.float32([self.place, self.count / 99])


class Unpaid(Walk):
    def reward(self) -> Any:
        return np.zeros(2, np.float32)


class Lock(Walk):
    """Only the same action forty times over opens it; then it pays more than it declares."""

    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        self.place, self.turned = 0.0, self.turned + 1 if int(action) == 2 else 0
        over = self.turned == 40
        return observation, reward if not over else np.float32([2, 0]), over, truncated, info

    def observation(self) -> Any:
        return np.float32([self.place, self.count / 99])

    def reward(self) -> Any:
        return np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.turned = 0
        return super().reset(seed=seed, options=options)


def test_a_rollout_without_an_end_or_a_reward_is_warned_of() -> None:
    """The check passes, and says what it could not check; the warning points to its caller."""
    ended, paid = "Endless: in n_steps=30 no episode ended", "Unpaid: in n_steps=30 every reward was zero"
    for env, message in ((Endless, ended), (Unpaid, paid)):
        with pytest.warns(UserWarning, match=f"{message}, .* give a larger n_steps=.*policy=") as caught:
            check_mo_env(env, n_steps=30)
        assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="every reward was zero"), pytest.warns(UserWarning, match="no episode ended"):
        check_mo_env(Lock, n_steps=90)


def test_a_policy_reaches_what_random_play_does_not() -> None:
    seen = []

    def turn(env: Any, observation: Any, info: Any) -> Any:
        assert isinstance(env, Lock)
        seen.append((observation.tolist(), info["count"]))
        return np.int64(2)

    with pytest.raises(ConformanceError, match=r"calls: step 39: objective 0 of the reward is outside .*2.0"):
        check_mo_env(Lock, n_steps=90, policy=turn)
    assert [count for _, count in seen] == list(range(40))


def test_a_policy_is_asked_once_a_step() -> None:
    asked, buffer = [], np.zeros((), np.int64)

    def turn(env: Any, observation: Any, info: Any) -> Any:
        asked.append(info["count"])
        buffer[...] = len(asked) % 3  # the rollouts that follow need the actions as they were
        return buffer

    check_mo_env(Walk, n_steps=21, policy=turn)
    assert asked[:9] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert len(asked) == 21


#: Of every id, the views that its task has; an alias shares the spec of its id.
SHOWN = [
    (env_id, view)
    for env_id, task in IDS.items()
    for view in (VIEWS if make_task(task).dialogue is None else DIALOGUE_VIEWS)
]
#: By view, and where something else is needed, by id and view: a few candidates (they cost time), enough for each
#: objective to be earned by some; options enough to write a gold answer; steps enough for a long one.
PLAYED: dict[str, dict[str, Any]] = {
    "choice": {"n_problems": 4, "k": 4},
    "token": {"policy": gold_play},
    "text": {"policy": gold_play},
    "index": {"policy": gold_play},
    "Mixture-MO-v0 choice": {"n_problems": 8},
    "Unlock-MO-v0 choice": {"k": 16, "candidate_seed": 8},
    "LengthTrap-MO-v0 choice": {"k": 8},
    "ToolCall-MultiTurn-MO-v0 token": {"n_steps": 160},
    "ToolCall-MultiTurn-MO-v0 index": {"n_steps": 100, "max_turns": 3, "k": 512},
    "MathReasoning-MO-v0 index": {"k": 32},
    "Mixture-MO-v0 index": {"k": 32},
}


def how_played(env_id: str, view: str) -> dict[str, Any]:
    return {"view": view, "n_steps": 60, **PLAYED[view], **PLAYED.get(f"{env_id} {view}", {})}


@pytest.mark.parametrize(("env_id", "view"), SHOWN)
def test_every_id_and_view_of_this_package_passes(env_id: str, view: str) -> None:
    check_mo_env(env_id, **how_played(env_id, view))


@pytest.mark.parametrize(("env_id", "view"), SHOWN)
def test_they_are_checked_on_whole_episodes_that_earn_every_objective(env_id: str, view: str) -> None:
    kwargs = how_played(env_id, view)
    n_steps, policy = kwargs.pop("n_steps"), kwargs.pop("policy", None)
    subject = Subject(env_id, lambda: gym.make(env_id, disable_env_checker=True, **kwargs), 0, n_steps, policy=policy)
    check_calls(subject)
    total, returns = 0.0, []
    for call in subject.recorded:
        total = total + call.reward if call.name.startswith("step") else 0.0
        if call.ended:
            returns.append(total)
    assert np.any(np.array(returns) != 0, axis=0).tolist() == [True] * subject.make().unwrapped.reward_dim


@pytest.mark.parametrize("view", VIEWS)
def test_environments_of_a_class_share_no_metadata(view: str) -> None:
    """Gymnasium's vector environments before 1.4 write their autoreset mode into that of the first row."""
    gym.make("DentFront-MO-v0", view=view).unwrapped.metadata["autoreset_mode"] = "SameStep"
    assert "autoreset_mode" not in gym.make("DentFront-MO-v0", view=view).metadata


@pytest.mark.parametrize(
    "kwargs",
    [
        {"difficulty": "easy"},
        {"difficulty": "hard", "objectives": ["format", "name", "keys", "values", "brevity"]},
        {"split": "eval", "max_response_tokens": 24},
    ],
    ids=["easy", "hard", "short"],
)
def test_variants_of_the_tool_call_task_pass(kwargs: dict[str, Any]) -> None:
    check_mo_env("ToolCall-MO-v0", n_steps=60, **kwargs)


@pytest.mark.parametrize("env_id", ["deep-sea-treasure-v0", "resource-gathering-v0", "four-room-v0", "fruit-tree-v0"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sound_environments_of_others_pass(env_id: str) -> None:
    check_mo_env(env_id)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("fishwood-v0", "writing: step 0"),  # it returns its state, and reads it back
        ("water-reservoir-v0", "bounds of reward_space must be finite"),
        ("deep-sea-treasure-concave-v0", "spec: .*not JSON serializable"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_faults_of_others_are_found(env_id: str, message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_mo_env(env_id)


def halve(method: Any) -> Any:
    """A method whose rewards are half of what they should be; it says no components that would betray it."""

    def halved(self: Any, *args: Any, **kwargs: Any) -> Any:
        returned = method(self, *args, **kwargs)
        if isinstance(returned, tuple):
            observation, rewards, *rest, info = returned
            told = {key: value for key, value in info.items() if key != "reward_components"}
            return observation, rewards / np.float32(2), *rest, told
        return returned / np.float32(2)

    return halved


@pytest.mark.parametrize(
    ("cls", "name", "message"),
    [
        (TokenEnv, "_finish", r"views: problem \d+ of 'train', response .*: the token view pays \["),
        (TextVectorEnv, "step", r"views: response .*: row \d of a batch pays"),
        (TextEnv, "step", r"views: .*problem \d+ of 'train', response .*: the rewards of .* add up to"),
    ],
)
def test_views_that_disagree_are_found(monkeypatch: pytest.MonkeyPatch, cls: Any, name: str, message: str) -> None:
    monkeypatch.setattr(cls, name, halve(getattr(cls, name)))
    with pytest.raises(ConformanceError, match=message):
        check_mo_env("ToolCall-MO-v0", view="text", n_steps=5)


def test_a_mask_that_disagrees_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    size = make_task("toolcall").tokenizer.vocab_size
    monkeypatch.setattr(TokenEnv, "action_masks", lambda self: np.ones(size, np.bool_))
    with pytest.raises(ConformanceError, match=r"views: .*action_mask"):
        check_mo_env("ToolCall-MO-v0", view="text", n_steps=5)


def test_a_response_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    step = TextEnv.step

    def shouted(self: Any, action: Any) -> Any:
        *rest, info = step(self, action)
        return *rest, {**info, "finish_reason": "end"}

    monkeypatch.setattr(TextEnv, "step", shouted)
    with pytest.raises(ConformanceError, match="finish_reason is 'stop' in the token view, 'end' in the text view"):
        check_mo_env("ToolCall-MO-v0", n_steps=5)


def test_an_environment_over_a_task_needs_no_id() -> None:
    check_mo_env(TextEnv(make_task("toolcall", difficulty="easy")), n_steps=20)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"keywords \['view'\] need an id"):
        check_mo_env(Walk, view="text")
    with pytest.raises(TypeError, match="must be an id, an environment or a function, got 3"):
        check_mo_env(3)  # type: ignore[arg-type]
