"""`TextVectorEnv`: a batch of prompts in groups, a batch of responses back.

Shapes: P prompts, G rollouts of each (a group), N = P * G rows, K objectives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm_morl_env.envs.base import (
    RENDER_MODES,
    check_render_mode,
    choose_problems,
    facts_of,
    print_text,
    progress_of,
    read_answer,
    reward_space_of,
    turns_of,
)
from llm_morl_env.rendering import render_episode
from llm_morl_env.spaces import UnicodeText
from llm_morl_env.task import Task
from llm_morl_rewards import Problem

BoolArray = NDArray[np.bool_]


class TextVectorEnv(VectorEnv[tuple[str, ...], Sequence[Any], NDArray[Any]]):
    """The batched text view of a task: N prompts in, N whole responses out, rewards (N, K).

    ## Description
    What grouped policy gradients train through. Every prompt stands in G consecutive rows (its group); all rows end in
    one step.

    ## Observation Space
    A tuple of N prompts (`UnicodeText` each).

    ## Action Space
    A tuple or list of N responses, each a `str`, or a 1-D sequence of token ids of the environment's tokenizer (an
    integer array (N, T), padded after the end-of-sequence token, is one too).

    ## Reward Space
    ``reward_space`` is the float32 Box (K,) of one row; `step` returns float32 (N, K).

    ## Starting State
    P distinct problems (as far as the split has so many) drawn uniformly from the split, or as the task's sampler has
    it, reproducibly from ``reset(seed=...)``; or chosen: ``reset(options={"problem": [i_1, ..., i_P], "split":
    "eval"})``. A sampler may go by ``options={"progress": 0.5}``; automatic resets keep the last one said.

    ## Episode Termination
    Every row after every step, with ``terminated`` True. Under ``SAME_STEP`` (the default) the next prompts, of the
    same split, are returned at once and the finished rows stand in ``info["final_obs"]`` and ``info["final_info"]``.
    Under ``DISABLED`` the caller resets: all rows, or whole groups by ``options={"reset_mask": bool (N,)}``.

    ## Info
    Arrays (N,), each with its Gymnasium mask ``"_key"``. About the prompts that were returned: ``problem``, ``split``
    and ``group``, int64, one number for each group, counted on from the last seeded reset; ``objective_mask``, bool
    (N, K), where objectives may not apply to a problem (the reward is then their lower bound, and means nothing);
    ``loss_weight``, float64, where the task's sampler up-weights; ``preference``, float64 (N, K), where problems ask
    for weights of the objectives. About the answers just scored: ``response``,
    ``finish_reason`` and ``reward_components`` (name to array). ``final_info`` holds all of it of the finished rows.

    ## Arguments
    task: The `Task`.
    num_envs: N, divisible by ``group_size``.
    group_size: G.
    autoreset_mode: ``"SameStep"`` or ``"Disabled"``, or the `AutoresetMode`. (Under next-step autoreset every second
    response would be thrown away.)
    render_mode: None, ``"ansi"`` (`render` returns N texts) or ``"human"`` (the first row of each batch is printed).

    ## Credits
    Vector rewards follow MO-Gymnasium (Felten et al. 2023).
    """

    _plays_dialogues = False
    _modes: tuple[AutoresetMode, ...] = (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)

    def __init__(
        self,
        task: Task,
        *,
        num_envs: int,
        group_size: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        if group_size < 1 or num_envs < 1 or num_envs % group_size:
            raise ValueError(
                f"num_envs must be a positive multiple of group_size, got num_envs={num_envs}, group_size={group_size}"
            )
        mode = self._known_mode(autoreset_mode)
        self.max_turns = turns_of(task, self._plays_dialogues, type(self).__name__)
        self.task, self.num_envs, self.group_size = task, num_envs, group_size
        self.autoreset_mode = mode
        self.metadata = {"render_modes": list(RENDER_MODES), "autoreset_mode": mode}
        self.render_mode = check_render_mode(render_mode)
        self.single_observation_space = self.single_action_space = UnicodeText()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.reward_space, self.return_space = reward_space_of(task), reward_space_of(task)
        self.reward_dim = len(task.rewards)
        self.objective_names = task.rewards.names
        self._problems = [Problem("")] * num_envs
        self._splits = objects_array([task.split] * num_envs)
        self._indices = np.full(num_envs, -1, np.int64)
        self._groups = np.full(num_envs, -1, np.int64)
        self._ended = np.ones(num_envs, np.bool_)
        self._next_split, self._next_group, self._progress = task.split, 0, 0.0
        self._facts: dict[str, NDArray[Any]] = {}
        self._finished: tuple[list[Problem], list[tuple[str, str]], NDArray[np.float32]] | None = None

    def _known_mode(self, mode: str | AutoresetMode) -> AutoresetMode:
        modes = {known.value: known for known in self._modes}
        found = modes.get(mode if isinstance(mode, str) else mode.value)
        if found is None:
            raise ValueError(f"autoreset_mode must be one of {list(modes)}, got {mode!r}")
        return found

    @property
    def num_groups(self) -> int:
        """P."""
        return self.num_envs // self.group_size

    def pareto_front(self, gamma: float = 1.0) -> NDArray[np.float64]:
        """The exact Pareto front (F, K), where it is known; see `llm_morl_env.task.Task.pareto_front`."""
        return self.task.pareto_front(gamma)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin a batch of episodes.

        Args:
            seed: Restarts the generator and the numbering of the groups: the same seed gives the same prompts.
            options: ``"split"``, ``"progress"`` of the training in [0, 1] (for tasks that draw their problems by it; 0
                where it is not said), ``"problem"`` (P indices; with ``"reset_mask"``, as many as it has groups) and
                ``"reset_mask"``, bool (N,), constant within each group: only those rows are reset.

        Returns:
            N prompts, info.

        Raises:
            ValueError: If an option is unknown or its value is none of these.
        """
        super().reset(seed=seed)
        rest = dict(options or {})
        mask = rest.pop("reset_mask", None)
        if seed is not None and mask is None:
            self._next_group = 0
        self._begin(self._masked_groups(mask), rest)
        return self._observations(), self._described(self._about_prompts())

    def step(
        self, actions: Sequence[Any]
    ) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Score N responses.

        Returns:
            The next N prompts (under ``DISABLED``: the transcripts), rewards float32 (N, K), terminated (all True),
            truncated (all False), info.

        Raises:
            RuntimeError: If a row has no running episode.
            ValueError: If there are not N responses.
        """
        self._check_step(actions, bool(self._ended.any()))
        answers = [read_answer(self.task, action) for action in actions]
        responses = [text for text, _ in answers]
        rewards = self.task.score(self._problems, responses, self._groups.copy(), self.np_random)
        transcripts = tuple(p.prompt + r for p, r in zip(self._problems, responses, strict=True))
        self._finished = list(self._problems), answers, rewards.copy()
        if self.render_mode == "human":
            print_text(self._transcript(0))
        about_answers = {
            "response": objects_array(responses),
            "finish_reason": objects_array([reason for _, reason in answers]),
            "reward_components": dict(zip(self.objective_names, rewards.T.copy(), strict=True)),
        }
        self._ended[:] = True
        info = {**self._about_prompts(), **about_answers}
        observation = transcripts
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = {"final_obs": objects_array(transcripts), "final_info": info}
            self._begin(np.arange(self.num_groups), {"split": self._next_split, "progress": self._progress})
            info = {**final, **self._about_prompts(), **about_answers}
            observation = self._observations()
        ended = np.ones(self.num_envs, np.bool_)
        return observation, rewards, ended, np.zeros_like(ended), self._described(info)

    def render(self) -> tuple[str, ...] | None:
        """Transcripts of the last N finished episodes under ``"ansi"`` (before any, the prompts); None otherwise."""
        return tuple(map(self._transcript, range(self.num_envs))) if self.render_mode == "ansi" else None

    def _check_step(self, actions: Sequence[Any], over: bool) -> None:
        who = f"{type(self).__name__}.step"
        if over:
            ended = int(self._ended.sum())
            raise RuntimeError(f"{who}: {ended} of {self.num_envs} rows have no running episode, call reset first")
        if len(actions) != self.num_envs:
            raise ValueError(f"{who}: needs {self.num_envs} responses, got {len(actions)}")

    def _masked_groups(self, mask: Any) -> NDArray[np.int64]:
        """Numbers of the groups that a reset mask (N,) names; all without one."""
        if mask is None:
            return np.arange(self.num_groups)
        rows = np.asarray(mask)
        if rows.dtype != np.bool_ or rows.shape != (self.num_envs,) or not rows.any():
            raise ValueError(f"reset(options=): 'reset_mask' must be bool ({self.num_envs},) with a True, got {mask!r}")
        by_group = rows.reshape(self.num_groups, self.group_size)
        if (by_group.any(axis=1) != by_group.all(axis=1)).any():
            raise ValueError(
                "reset(options=): 'reset_mask' must be constant within each group: a group resets together"
            )
        return np.flatnonzero(by_group.all(axis=1))

    def _begin(self, groups: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """Give each of these groups a new problem."""
        split, indices = choose_problems(self.task, len(groups), self.np_random, options)
        source = self.task.with_split(split)
        for group, index in zip(groups.tolist(), indices, strict=True):
            rows = slice(group * self.group_size, (group + 1) * self.group_size)
            self._problems[rows] = [source[index]] * self.group_size
            self._splits[rows], self._indices[rows], self._groups[rows] = split, index, self._next_group
            self._ended[rows] = False
            self._next_group += 1
        self._next_split, self._progress = split, progress_of(options)
        begun = np.flatnonzero(np.isin(np.arange(self.num_envs) // self.group_size, groups))
        facts = facts_of(self.task, [self._problems[row] for row in begun], self._progress)
        for key, values in facts.items():
            before = self._facts.get(key, np.zeros((self.num_envs, *values.shape[1:]), values.dtype))
            self._facts[key] = before.copy()
            self._facts[key][begun] = values

    def _observations(self) -> tuple[str, ...]:
        return tuple(problem.prompt for problem in self._problems)

    def _about_prompts(self) -> dict[str, Any]:
        return {
            "problem": self._indices.copy(),
            "split": self._splits.copy(),
            "group": self._groups.copy(),
            **{key: values.copy() for key, values in self._facts.items()},
        }

    def _described(self, info: Mapping[str, Any], rows: BoolArray | None = None, **masks: BoolArray) -> dict[str, Any]:
        """Fresh copies of an info's arrays, each beside its Gymnasium mask: that of ``masks``, else ``rows`` (all)."""
        described: dict[str, Any] = {}
        rows = np.ones(self.num_envs, np.bool_) if rows is None else rows
        for key, value in info.items():
            mask = masks.get(key, rows)
            described[key] = self._described(value, mask) if isinstance(value, Mapping) else value.copy()
            described[f"_{key}"] = mask.copy()
        return described

    def _transcript(self, row: int) -> str:
        if self._finished is None:
            return render_episode(self._problems[row].prompt, self.task.rewards)
        problems, answers, rewards = self._finished
        return render_episode(problems[row].prompt, self.task.rewards, (*answers[row], rewards[row]))


def objects_array(values: Sequence[Any]) -> NDArray[np.object_]:
    """The values as an array of objects (N,), strings as they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
