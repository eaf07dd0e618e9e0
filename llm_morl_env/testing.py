"""`check_mo_env`: does an environment with vector rewards keep the contract? For any package's environments.

The rules are those of Gymnasium's ``check_env``, of MO-Gymnasium's own test-suite (Felten et al., 2023), and of what
breaks learners in practice: arrays shared between calls, info that differs from run to run, a state that does not
survive pickling. Each rule is one function over a `Subject`; `RULES` lists them in order.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import check_env

from llm_morl_env.values import difference, mutables, overwrite, share_memory
from llm_morl_env.wrappers import ScalarizedReward

if TYPE_CHECKING:
    from llm_morl_env.envs.token import TokenEnv
    from llm_morl_env.task import Task

Env = gym.Env[Any, Any]
#: Calls whose objects are compared pair by pair, the more the slower.
_COMPARED_CALLS = 12


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


@dataclass(frozen=True)
class Subject:
    """The environment under test.

    Args:
        name: For messages.
        make: Makes a fresh environment.
        seed: Of every rollout.
        n_steps: Of every rollout.
        actions: Those of the first rollout, which the others repeat; filled by it.
    """

    name: str
    make: Callable[[], Env]
    seed: int
    n_steps: int
    actions: list[Any] = field(default_factory=list)

    def fail(self, rule: str, message: str, cause: Exception | None = None) -> NoReturn:
        """Raise a `ConformanceError`."""
        raise ConformanceError(f"{self.name}: {rule}: {message}") from cause

    def rollout(self, env: Env, rule: str, *, skip: int = 0) -> Iterator[Call]:
        """The calls of a rollout, as they come. The first rollout samples the actions, the others repeat them.

        A seeded reset comes first, an unseeded one after each episode, and one in the middle of the rollout.

        Args:
            env: What to run.
            rule: For messages.
            skip: Leave out the seeded reset and the first so many steps: ``env`` has made them already.
        """
        info, episodes = {}, 0
        if not skip:
            call = self._call(rule, "reset(seed=...)", env.reset, seed=self.seed)
            yield call
            info = call.info
        for number in range(skip, self.n_steps):
            if number == len(self.actions):
                mask = info.get("action_mask") if episodes % 2 == 0 and isinstance(env.action_space, Discrete) else None
                self.actions.append(env.action_space.sample(mask) if mask is not None else env.action_space.sample())
            call = self._call(rule, f"step {number}", env.step, copy.deepcopy(self.actions[number]))
            yield call
            if call.terminated or call.truncated or number == self.n_steps // 2:
                call = self._call(rule, f"reset after step {number}", env.reset)
                episodes += 1
                yield call
            info = call.info

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

    def record(self, env: Env, rule: str, *, skip: int = 0) -> list[Call]:
        """Copies of the calls of a rollout."""
        return [copy.deepcopy(call) for call in self.rollout(env, rule, skip=skip)]


def check_mo_env(
    id_or_env: str | Env | Callable[[], Env], *, seed: int = 0, n_steps: int = 150, **make_kwargs: Any
) -> None:
    """Check that an environment with vector rewards keeps the contract; return silently if it does.

    The rules, in order: the spaces are declared (``unwrapped.reward_space``, a finite float32 Box of shape (K,), and
    ``reward_dim``); every call returns members of them, with Python bools and float32 rewards inside the bounds; two
    fresh environments and a used one, seeded alike, return equal observations, rewards and infos (types and order of
    keys included); no object is shared between calls, and writing into what was returned changes nothing; the state
    survives pickling, the spec a round trip through JSON; ``ansi`` rendering gives text; Gymnasium's ``check_env``
    passes on `ScalarizedReward`. Environments over a `Task`, so all ids of this package: every view scores a response
    alike.

    Determinism is not asked of environments registered as ``nondeterministic``.

    Args:
        id_or_env: An id (the rollouts then use fresh environments of it), an environment (they use deep copies of it)
            or a function that makes one.
        seed: Of the rollouts.
        n_steps: Steps of each rollout. Actions are sampled; where the info has an ``action_mask``, every other episode
            keeps to it.
        make_kwargs: For ``gym.make``; with an id only.

    Raises:
        ConformanceError: At the first rule that is broken.
        TypeError: If ``id_or_env`` is none of these, or keywords are given without an id.

    >>> check_mo_env("ToolCall-MO-v0", view="text", n_steps=10)
    """
    if not isinstance(id_or_env, str) and make_kwargs:
        raise TypeError(f"check_mo_env: keywords {sorted(make_kwargs)} need an id, got {id_or_env!r}")
    if isinstance(id_or_env, str):
        env_id, kwargs = id_or_env, {"disable_env_checker": True, **make_kwargs}
        subject = Subject(env_id, lambda: gym.make(env_id, **kwargs), seed, n_steps)
    elif isinstance(id_or_env, gym.Env):
        template = id_or_env
        subject = Subject(str(template), lambda: copy.deepcopy(template), seed, n_steps)
    elif callable(id_or_env):
        subject = Subject(getattr(id_or_env, "__name__", repr(id_or_env)), id_or_env, seed, n_steps)
    else:
        raise TypeError(f"check_mo_env(id_or_env=) must be an id, an environment or a function, got {id_or_env!r}")
    for rule in RULES:
        rule(subject)


def check_declarations(subject: Subject) -> None:
    """``reward_space``, ``reward_dim`` and, where there are, ``objective_names`` are declared and fit together."""
    env = subject.make()
    space = getattr(env.unwrapped, "reward_space", None)
    if not isinstance(space, Box) or space.dtype != np.float32 or len(space.shape) != 1:
        subject.fail("declarations", f"unwrapped.reward_space must be a float32 Box of shape (K,), got {space!r}")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        subject.fail("declarations", f"the bounds of reward_space must be finite, got {space!r}")
    size = space.shape[0]
    dim = getattr(env.unwrapped, "reward_dim", None)
    if dim != size:
        subject.fail("declarations", f"unwrapped.reward_dim must be {size}, as reward_space has it, got {dim!r}")
    names = getattr(env.unwrapped, "objective_names", None)
    if names is not None and (len(set(names)) != size or not all(isinstance(name, str) for name in names)):
        subject.fail("declarations", f"unwrapped.objective_names must be {size} distinct str, got {names!r}")


def check_calls(subject: Subject) -> None:
    """Every call returns members of the spaces, with Python bools. Draws the actions of all rollouts."""
    env = subject.make()
    env.action_space.seed(subject.seed)
    subject.actions.clear()
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


def _check_reward(subject: Subject, env: Env, call: Call) -> None:
    space: Box = env.unwrapped.reward_space  # type: ignore[attr-defined]  # not in Gymnasium
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


def check_determinism(subject: Subject) -> None:
    """Two fresh environments and a used one, seeded alike, return the same."""
    first = subject.make()
    if first.spec is not None and first.spec.nondeterministic:
        return
    expected = subject.record(first, "determinism")
    _compare(
        subject, "determinism", expected, subject.record(subject.make(), "determinism"), "in a second fresh environment"
    )
    _compare(
        subject, "determinism", expected, subject.record(first, "determinism"), "in the same environment, seeded again"
    )


def check_fresh_objects(subject: Subject) -> None:
    """No array, dict, list or set is shared between calls, nor between the reward and the rest of a call."""
    kept: list[tuple[str, list[tuple[str, Any]]]] = []
    for call, _ in zip(subject.rollout(subject.make(), "fresh objects"), range(_COMPARED_CALLS), strict=False):
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
    if env.spec is not None and env.spec.nondeterministic:
        return
    expected, seen = subject.record(env, "writing"), []
    undo: list[Callable[[], None]] = []
    try:
        for call in subject.rollout(env, "writing"):
            seen.append(copy.deepcopy(call))
            for _, found in (f for part in call.parts.values() for f in mutables(part, "")):
                undo.append(overwrite(found))
    finally:
        for restore in reversed(undo):  # what was shared may belong to the class, and outlive this check
            restore()
    _compare(subject, "writing", expected, seen, "once the arrays and dicts returned before were written into")


def check_pickling(subject: Subject) -> None:
    """An environment that is pickled in the middle of an episode goes on as if nothing had happened.

    One that derives from Gymnasium's ``EzPickle`` is pickled as its constructor's arguments: its copy need only act as
    a fresh environment.
    """
    env = subject.make()
    expected, made = subject.record(env, "pickling"), 0
    try:
        loaded = pickle.loads(pickle.dumps(env))
    except Exception as error:
        subject.fail("pickling", f"the environment does not survive pickling: {error!r}", error)
    if env.spec is not None and env.spec.nondeterministic:
        return
    _compare(subject, "pickling", expected, subject.record(loaded, "pickling"), "once pickled")
    if isinstance(env.unwrapped, gym.utils.EzPickle):
        return
    for position, call in enumerate(subject.rollout(env, "pickling")):
        made += call.name.startswith("step")
        if made in (1, subject.n_steps // 3) and not (call.terminated or call.truncated):
            loaded = pickle.loads(pickle.dumps(env))
            rest = subject.record(loaded, "pickling", skip=made)
            _compare(subject, "pickling", expected[position + 1 :], rest, f"when it is pickled after {call.name}")


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
        _compare(
            subject,
            "spec",
            subject.record(subject.make(), "spec"),
            subject.record(again, "spec"),
            "when made from its spec",
        )


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


def check_views(subject: Subject) -> None:
    """All views of a `Task` score a response alike. (Only for environments that hold one as ``unwrapped.task``.)"""
    from llm_morl_env.task import Task

    task = getattr(subject.make().unwrapped, "task", None)
    if isinstance(task, Task) and not any(function.kind == "group" for function in task.rewards):
        task = replace(task, perturbations=())  # each view draws its own
        rng = np.random.default_rng(subject.seed)
        for split in ("train", "eval"):
            _compare_views(subject, task.with_split(split), rng)


def _compare_views(subject: Subject, task: Task, rng: np.random.Generator) -> None:
    from llm_morl_env.envs.text import TextEnv
    from llm_morl_env.envs.token import TokenEnv
    from llm_morl_env.envs.vector import TextVectorEnv

    token, text, tokenizer = TokenEnv(task), TextEnv(task), task.tokenizer
    indices = [int(i) for i in rng.integers(len(task), size=2)]
    responses, scores = [], []
    for index in indices:
        gold = str(task[index].meta.get("gold", "yes"))
        for text_drawn in (gold, _random_response(token, index, rng), text.action_space.sample(), "", gold * 99):
            response = tokenizer.decode(tokenizer.encode(text_drawn))  # a small vocabulary cannot spell every text
            text.reset(options={"problem": index})
            _, score, _, _, info = text.step(response)
            token.reset(options={"problem": index})
            paid, ended = np.zeros(token.reward_dim, np.float32), False
            for action in [*tokenizer.encode(response), tokenizer.eos_id]:
                if not ended:
                    _, reward, ended, _, token_info = token.step(action)
                    paid += reward
            problem = f"problem {index} of {task.split!r}, response {response[:200]!r}"
            if not np.array_equal(paid, score):
                subject.fail("views", f"{problem}: the token view pays {paid}, the text view {score}")
            # Tokens that just fill the cap leave no room for the end: "length", where the text itself would be whole.
            full = len(tokenizer.encode(response)) == task.max_response_tokens
            for key in ("response", *(() if full else ("finish_reason",))):
                if token_info[key] != info[key]:
                    subject.fail(
                        "views",
                        f"{problem}: {key} is {token_info[key]!r} in the token view, {info[key]!r} in the text view",
                    )
            responses.append(response)
            scores.append(score)
    envs = TextVectorEnv(task, num_envs=len(responses), group_size=len(responses) // len(indices))
    envs.reset(options={"problem": indices})
    rewards = envs.step(responses)[1]
    for row, score in enumerate(scores):
        if not np.array_equal(rewards[row], score):
            subject.fail(
                "views",
                f"response {responses[row][:200]!r}: row {row} of a batch pays {rewards[row]}, the text view {score}",
            )


def _random_response(token: TokenEnv, index: int, rng: np.random.Generator) -> str:
    """The text of tokens drawn from the action masks."""
    _, info = token.reset(options={"problem": index})
    ended = False
    while not ended:
        allowed = np.flatnonzero(info["action_mask"])
        if not np.array_equal(allowed, np.flatnonzero(token.action_masks())):
            raise ConformanceError(f"{token}: views: info['action_mask'] and action_masks() differ")
        _, _, ended, _, info = token.step(int(rng.choice(allowed)))
    return str(info["response"])


#: In the order in which they are checked.
RULES: tuple[Callable[[Subject], None], ...] = (
    check_declarations,
    check_calls,
    check_determinism,
    check_fresh_objects,
    check_writing,
    check_pickling,
    check_spec,
    check_rendering,
    check_scalarized,
    check_views,
)


def _compare(subject: Subject, rule: str, expected: list[Call], got: list[Call], circumstance: str) -> None:
    for one, other in zip(expected, got, strict=True):
        for name in one.parts:
            found = difference(one.parts[name], other.parts[name], name)
            if found is not None:
                subject.fail(rule, f"{one.name} returns something else {circumstance}: {found}")
