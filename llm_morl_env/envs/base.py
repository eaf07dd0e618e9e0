"""What all views of a task share: choosing problems, reading answers, reward spaces, rendering.

Shapes: N responses, K objectives.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from llm_morl_env.rendering import RenderMode, render_episode
from llm_morl_env.task import Task
from llm_morl_rewards import Problem

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")

RENDER_MODES: tuple[RenderMode, ...] = get_args(RenderMode)
#: Keys that every view's ``reset(options=)`` knows.
OPTIONS = ("problem", "split", "progress")


def reward_space_of(task: Task) -> Box:
    """The task's reward bounds as a float32 Box (K,)."""
    return Box(task.rewards.low.astype(np.float32), task.rewards.high.astype(np.float32), dtype=np.float32)


def turns_of(task: Task, played: bool, who: str) -> int:
    """The greatest number of responses in an episode.

    Args:
        task: Its dialogue, if it has one, says.
        played: Whether the environment class plays dialogues.
        who: The class, for the message.

    Raises:
        ValueError: If the task is a dialogue and the class plays none, or the other way round.
    """
    if (task.dialogue is not None) != played:
        has, plays = ("a dialogue", "one turn") if task.dialogue is not None else ("one turn", "dialogues")
        raise ValueError(f"{who}(task=): task {task.name!r} is {has}, this environment plays {plays} only")
    return 1 if task.dialogue is None else task.dialogue.max_turns


def check_render_mode(render_mode: str | None) -> RenderMode | None:
    """The mode itself.

    Raises:
        ValueError: If it is unknown.
    """
    for known in RENDER_MODES:
        if render_mode == known:
            return known
    if render_mode is not None:
        raise ValueError(f"render_mode must be None or one of {RENDER_MODES}, got {render_mode!r}")
    return None


def choose_problems(
    task: Task, count: int, rng: np.random.Generator, options: Mapping[str, Any] | None
) -> tuple[str, list[int]]:
    """The split and the indices of ``count`` problems: those that ``options`` name, else drawn.

    Args:
        task: Its own split is the default.
        count: How many. Drawn without repetition where the split is large enough.
        rng: The environment's generator; untouched when ``options["problem"]`` is given.
        options: Of `gymnasium.Env.reset`: ``"split"``; ``"problem"``, one index or a sequence of ``count`` of them; and
            ``"progress"`` of the training, which the task's sampler may go by.

    Raises:
        ValueError: If an option is unknown or its value is none of these.
    """
    options = options or {}
    unknown = [key for key in options if key not in OPTIONS]
    if unknown:
        raise ValueError(f"reset(options=): unknown {unknown}; known are {list(OPTIONS)}")
    split = options.get("split", task.split)
    shown, progress = task.with_split(split), progress_of(options)
    size = len(shown)
    if options.get("problem") is None and task.sampler is not None:
        return split, task.sampler.draw(shown, count, rng, progress)
    if options.get("problem") is None:
        return split, [int(i) for i in rng.choice(size, count, replace=size < count)]
    chosen = np.atleast_1d(np.asarray(options["problem"]))
    if chosen.dtype.kind not in "iu" or chosen.shape != (count,):
        raise ValueError(f"reset(options=): 'problem' must hold {count} int(s), got {options['problem']!r}")
    if chosen.min() < 0 or chosen.max() >= size:
        raise ValueError(
            f"reset(options=): 'problem' must lie in 0..{size - 1} of {split!r}, got {options['problem']!r}"
        )
    return split, [int(i) for i in chosen]


def progress_of(options: Mapping[str, Any] | None) -> float:
    """How far the training is, in [0, 1]: ``options["progress"]`` of a reset; 0 where it does not say.

    Raises:
        ValueError: If it is no number in [0, 1].
    """
    progress = (options or {}).get("progress", 0.0)
    if isinstance(progress, bool) or not isinstance(progress, Real) or not 0 <= float(progress) <= 1:
        raise ValueError(f"reset(options=): 'progress' must be a number in [0, 1], got {progress!r}")
    return float(progress)


def facts_of(task: Task, problems: Sequence[Problem], progress: float) -> dict[str, NDArray[Any]]:
    """What the info says of N problems for the sake of training.

    ``objective_mask``, bool (N, K), where objectives may not apply (their reward is then the lower bound, and means
    nothing); ``loss_weight``, float64 (N,), where the task's sampler up-weights; ``preference``, float64 (N, K), where
    problems ask for weights of the objectives.
    """
    facts: dict[str, NDArray[Any]] = {}
    if task.rewards.masked:
        facts["objective_mask"] = task.rewards.mask(problems)
    if task.sampler is not None and task.sampler.upweights:
        facts["loss_weight"] = np.array(task.sampler.loss_weights(problems, progress), np.float64)
    if task.preferences is not None:
        asked = [task.preferences(problem) for problem in problems]
        facts["preference"] = np.array([[w.get(name, 0.0) for name in task.rewards.names] for w in asked], np.float64)
    return facts


def read_answer(task: Task, action: Any) -> tuple[str, str]:
    """The scored text of an action, and why it ended.

    Args:
        task: Its tokenizer decodes ids and cuts the text at the cap.
        action: A text, or a 1-D sequence of token ids, read up to the first end-of-sequence token.

    Returns:
        The text as it is scored, and ``"stop"``, or ``"length"`` where the text was cut or ids filled the cap without
        an end-of-sequence token.

    Raises:
        TypeError: If the action is neither.
        ValueError: If an id is not in the vocabulary.
    """
    if isinstance(action, str):
        return task.cut(action)
    ids = np.asarray(action)
    if ids.size == 0:
        return "", "stop"
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TypeError(f"an action must be a str or a 1-D sequence of token ids, got {action!r}")
    tokenizer = task.tokenizer
    if ids.min() < 0 or ids.max() >= tokenizer.vocab_size:
        raise ValueError(f"token ids must lie in 0..{tokenizer.vocab_size - 1}, got {int(ids.min())}..{int(ids.max())}")
    ends = np.flatnonzero(ids == tokenizer.eos_id)
    kept = ids[: ends[0]] if len(ends) else ids
    text, reason = task.cut(tokenizer.decode(kept.tolist()))
    unfinished = not len(ends) and int((kept != tokenizer.pad_id).sum()) >= task.max_response_tokens
    return text, "length" if unfinished else reason


def components(task: Task, rewards: NDArray[np.float32]) -> dict[str, float]:
    """A reward vector (K,) by name."""
    return {name: float(value) for name, value in zip(task.rewards.names, rewards, strict=True)}


class TaskEnv(gym.Env[ObsType, ActType]):
    """Base of the single-episode views.

    Args:
        task: The problems and what scores them.
        render_mode: None, ``"ansi"`` (`render` returns a text) or ``"human"`` (each finished episode is printed).

    Attributes:
        reward_space: float32 Box (K,), of the rewards of a step.
        return_space: float32 Box (K,), of what the rewards of an episode add up to: the task's bounds.
        max_turns: The greatest number of responses in an episode; 1 but for dialogues.
        reward_dim: K.
        objective_names: Names of the objectives, in order.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES)}  # noqa: RUF012  (Gymnasium's declaration)
    _plays_dialogues = False

    def __init__(self, task: Task, *, render_mode: str | None = None) -> None:
        grouped = [function.name for function in task.rewards if function.kind == "group"]
        if grouped:
            raise ValueError(f"rewards {grouped} are of kind 'group' and need a batched environment (gym.make_vec)")
        self.max_turns = turns_of(task, self._plays_dialogues, type(self).__name__)
        self.task = task
        self.metadata = dict(self.metadata)  # before 1.4 Gymnasium's vector environments write into what they find
        self.render_mode = check_render_mode(render_mode)
        self.reward_space, self.return_space = reward_space_of(task), reward_space_of(task)
        self.reward_dim = len(task.rewards)
        self.objective_names = task.rewards.names
        self._problem: Problem | None = None
        self._split, self._index, self._progress = task.split, -1, 0.0
        self._result: tuple[str, str, NDArray[np.float32]] | None = None

    def pareto_front(self, gamma: float = 1.0) -> NDArray[np.float64]:
        """The exact Pareto front (F, K), where it is known; see `llm_morl_env.task.Task.pareto_front`."""
        return self.task.pareto_front(gamma)

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> Problem:
        super().reset(seed=seed)
        self._split, (self._index,) = choose_problems(self.task, 1, self.np_random, options)
        self._progress = progress_of(options)
        self._problem = self.task.with_split(self._split)[self._index]
        self._result = None
        return self._problem

    def _running(self) -> Problem:
        if self._problem is None or self._result is not None:
            raise RuntimeError(f"{type(self).__name__}.step: no episode is running, call reset first")
        return self._problem

    def _finish(self, response: str, reason: str) -> NDArray[np.float32]:
        """Score a response that was cut already and end the episode."""
        rewards: NDArray[np.float32] = self.task.score([self._running()], [response], rng=self.np_random)[0]
        self._result = response, reason, rewards
        if self.render_mode == "human":
            print_text(self._transcript())
        return rewards.copy()

    def _text(self) -> str:
        """What the policy has read and written so far."""
        return self._shown().prompt + (self._result[0] if self._result else "")

    def _info(self) -> dict[str, Any]:
        facts = facts_of(self.task, [self._shown()], self._progress)
        said = {key: value[0].copy() if value.ndim > 1 else value[0].item() for key, value in facts.items()}
        return {"problem": self._index, "split": self._split, **said}

    def _step_info(self) -> dict[str, Any]:
        response, reason, rewards = self._result or ("", "", np.zeros(self.reward_dim, np.float32))
        return {
            **self._info(),
            "response": response,
            "finish_reason": reason,
            "reward_components": components(self.task, rewards),
        }

    def _shown(self) -> Problem:
        if self._problem is None:
            raise RuntimeError(f"{type(self).__name__}: there is no episode yet, call reset first")
        return self._problem

    def _transcript(self) -> str:
        return render_episode(self._shown().prompt, self.task.rewards, self._result)

    def render(self) -> str | None:
        """The episode so far as a text under ``"ansi"``; None otherwise (``"human"`` prints each finished episode)."""
        return self._transcript() if self.render_mode == "ansi" else None


def print_text(text: str) -> None:
    """Print what the terminal's encoding can show, the rest as question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))
