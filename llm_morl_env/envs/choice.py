"""`ChoiceEnv`: one choice between whole responses is one step (best of k)."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from llm_morl_env.candidates import (
    Candidates,
    CandidateSource,
    GrammarCandidates,
    ModelCandidates,
    StoredCandidates,
    candidate_scores,
)
from llm_morl_env.envs.base import TaskEnv, choose_problems, read_answer
from llm_morl_env.envs.candidate_features import (
    FEATURES,
    LIMIT,
    PROMPT_FEATURES,
    candidate_features,
    prompt_features,
    structural_tags,
)
from llm_morl_env.language_model import LanguageModel, resolve_language_model
from llm_morl_env.task import Task
from llm_morl_env.tokenizer import BUILT_IN

#: Where `ChoiceEnv` draws from the first ``n_problems``, candidates of so many neighbours are prepared together.
BLOCK = 32
#: Problems whose observation an environment keeps; the oldest give way.
KEPT_MENUS = 8192


@dataclass(frozen=True, eq=False)
class Menu:
    """What there is to choose from for one problem: the candidates in the order of the actions, and what is seen."""

    candidates: Candidates
    observation: NDArray[np.float32]


class ChoiceEnv(TaskEnv[NDArray[np.float32], np.int64]):
    """The choice view of a task: pick one of k candidate responses by what they look like (best of k).

    ## Description
    A one-step episode (a contextual bandit). Some writer has answered the problem's prompt k times; the agent sees
    features of the candidates, picks one, and is paid the task's score of its text. Small enough for every algorithm of
    discrete actions, and still a language task: the features neither contain nor determine the scores, so what a good
    answer looks like has to be learned, for every preference anew.

    The candidates of a problem do not change, the likeliest (by mean log-probability) first: action 0 is what a
    reranker without learning would take. From a model they are the same up to rounding, see `llm_morl_env.candidates`;
    results that others are to repeat to the digit take them from a file. They come from

    - ``candidates="model"``: a frozen language model; kept for the process, so a problem costs once. With
      ``n_problems`` neighbouring problems are answered together; `prepare` answers any in one batch.
    - ``candidates=PATH``: a file written by ``llm-morl candidates``, see `llm_morl_env.candidates.StoredCandidates`.
    - ``candidates="grammar"``: distinct responses that the task's grammar allows, drawn uniformly token by token. For
      small vocabularies that no model knows; the features tell little of such texts.

    On ToolCall-MO-v0 with 8 candidates of the embedded model, always action 0 reaches 65 % of the gap between a random
    and the best choice in expected utility (256 problems of ``eval``, 21 preferences, objectives scaled to [0, 1]) on
    the standard tier, and 80 % on the easy one. What classic algorithms make of the features: docs/classic.md.

    ## Observation Space
    float32 Box (k * F + G,) within plus and minus 5: a block of F features for each candidate, in order
    (`llm_morl_env.envs.candidate_features.candidate_features`: how sure the writer was, how the candidates agree, what
    they copy), then G features of the prompt; ``action_features`` is F. About zero mean and unit scale for the embedded
    model. The same before and after the step.

    ## Action Space
    ``Discrete(k)``: the candidate.

    ## Reward Space
    float32 Box (K,) with the bounds that the task's rewards declare; larger is better.

    ## Starting State
    A problem drawn from the split (its first ``n_problems``, or those that the file covers), or
    ``reset(options={"problem": i, "split": "train" | "eval" | ...})``, any.

    ## Episode Termination
    After one step, always ``terminated=True``; the info is that of the text view. ``info["finish_reason"]`` is
    ``"length"`` where the candidate did not end by itself or was cut, else ``"stop"``.

    ## Arguments
    task: The `Task`, one of one turn.
    k: Candidates of a problem.
    candidates: ``"model"``, ``"grammar"``, or a path; None takes the model where one is given or the tokenizer is the
        built-in one, else the grammar.
    language_model: A name or a `LanguageModel`, see `llm_morl_env.language_model.resolve_language_model`; None takes
        ``"tiny"`` where candidates come from a model.
    n_problems: Resets draw from so many first problems of each split; None draws from all.
    temperature: At which the model samples; None is 1.
    candidate_seed: Of the model's or the grammar's draws.
    render_mode: None, ``"ansi"`` or ``"human"``.

    ## Credits
    Best-of-n with a learned reranker: Cobbe et al. 2021 (arXiv 2110.14168). Vector rewards follow MO-Gymnasium (Felten
    et al. 2023).
    """

    def __init__(
        self,
        task: Task,
        *,
        k: int = 8,
        candidates: str | Path | None = None,
        language_model: str | LanguageModel | None = None,
        n_problems: int | None = None,
        temperature: float | None = None,
        candidate_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(task, render_mode=render_mode)
        if n_problems is not None and (isinstance(n_problems, bool) or operator.index(n_problems) < 1):
            raise ValueError(f"{type(self).__name__}(n_problems=) must be None or at least 1, got {n_problems!r}")
        self.n_problems = n_problems
        self.source = source_of(
            task,
            k=k,
            candidates=candidates,
            language_model=language_model,
            temperature=temperature,
            candidate_seed=candidate_seed,
        )
        self.k = self.source.k
        self.action_space = Discrete(self.k)
        self.action_features = len(FEATURES)
        size = self.k * len(FEATURES) + len(PROMPT_FEATURES)
        self.observation_space = Box(-LIMIT, LIMIT, (size,), np.float32)
        self._tags = structural_tags(task.tokenizer)
        self._menus: OrderedDict[tuple[str, int], Menu] = OrderedDict()
        self._drawn: dict[str, Task] = {}

    def __getstate__(self) -> dict[str, Any]:
        place = self._split, self._index
        running = {place: self._menus[place]} if place in self._menus else {}
        return {**self.__dict__, "_menus": OrderedDict(running), "_drawn": {}}  # the rest can be made again

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode: the features of the candidates, and which problem it is.

        Raises:
            ValueError: If an option is wrong, or the file of candidates holds none for the problem.
        """
        gym.Env.reset(self, seed=seed)
        chosen = dict(options or {})
        if chosen.get("problem") is None:
            shown = self._drawn_from(chosen.get("split", self.task.split))
            chosen["problem"] = choose_problems(shown, 1, self.np_random, options)[1][0]
        self._begin(None, chosen)
        return self._menu().observation.copy(), self._info()

    def step(
        self, action: int | np.int64
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], bool, bool, dict[str, Any]]:
        """Pick a candidate.

        Returns:
            Observation, rewards (K,), True, False, info.

        Raises:
            RuntimeError: If no episode is running.
            TypeError: If the action is no integer.
            ValueError: If there is no such candidate.
        """
        self._running()
        index = operator.index(action)
        if not 0 <= index < self.k:
            raise ValueError(f"{type(self).__name__}.step: the action must lie in 0..{self.k - 1}, got {action!r}")
        menu = self._menu()
        response, reason = read_answer(self.task, menu.candidates[index].text)
        rewards = self._finish(response, reason if menu.candidates[index].finished else "length")
        return menu.observation.copy(), rewards, True, False, self._step_info()

    def prepare(self, problems: Sequence[int], split: str | None = None) -> None:
        """Have the candidates of some problems ready, in one batch.

        Args:
            problems: Their numbers; of more than `KEPT_MENUS` the last ones are kept.
            split: Of the task; None is the one shown.
        """
        split = self.task.split if split is None else split
        missing = [number for number in dict.fromkeys(problems) if (split, number) not in self._menus]
        for number, group in zip(missing, self.source.candidates(split, missing), strict=True):
            self._menus[split, number] = self._made(split, number, group)
        while len(self._menus) > KEPT_MENUS:
            self._menus.popitem(last=False)

    def candidate_scores(self, problems: Sequence[int], split: str | None = None) -> NDArray[np.float64]:
        """What every action would pay, (n, k, K), without perturbations: for evaluations and oracles.

        Args:
            problems: n numbers.
            split: Of the task; None is the one shown.
        """
        split = self.task.split if split is None else split
        return candidate_scores(self.task, self.source, list(problems), split=split)

    def _menu(self) -> Menu:
        place = self._split, self._index
        if place not in self._menus:
            self.prepare(self._neighbours(*place), self._split)
        return self._menus[place]

    def _neighbours(self, split: str, number: int) -> Sequence[int]:
        """The problem itself; and its block, where the whole block will be visited."""
        covered = self.source.covered(split)
        if self.n_problems is None or number >= (self.n_problems if covered is None else min(self.n_problems, covered)):
            return [number]
        start = number - number % BLOCK
        return range(start, min(start + BLOCK, len(self._drawn_from(split))))

    def _made(self, split: str, number: int, group: Candidates) -> Menu:
        encode = self.task.tokenizer.encode
        prompt_ids = encode(self.task.with_split(split)[number].prompt)
        features = candidate_features(prompt_ids, group, [encode(c.text) for c in group], self._tags)
        return Menu(group, np.concatenate([features.reshape(-1), prompt_features(prompt_ids)]))

    def _drawn_from(self, split: str) -> Task:
        """The task, with a split of those problems that resets draw."""
        if split not in self._drawn:
            shown = self.task.with_split(split)
            limits = [n for n in (self.n_problems, self.source.covered(split)) if n is not None]
            if limits and min(limits) == 0:
                raise ValueError(
                    f"{type(self).__name__}.reset: no problem of {split!r} has candidates, see candidates="
                )
            self._drawn[split] = shown[: min(limits)] if limits and min(limits) < len(shown) else shown
        return self._drawn[split]


def source_of(
    task: Task,
    *,
    k: int = 8,
    candidates: str | Path | None = None,
    language_model: str | LanguageModel | None = None,
    temperature: float | None = None,
    candidate_seed: int = 0,
) -> CandidateSource:
    """The source that the arguments of `ChoiceEnv` mean.

    Raises:
        ValueError: If they do not go together, or a value is refused.
    """
    if candidates is None:
        known = language_model is not None or task.tokenizer.path.resolve() == BUILT_IN.resolve()
        candidates = "model" if known else "grammar"
    if candidates == "model":
        model = resolve_language_model("tiny" if language_model is None else language_model, task.tokenizer)
        return ModelCandidates(
            task, model, k=k, temperature=1.0 if temperature is None else temperature, seed=candidate_seed
        )
    for name, value in (("language_model", language_model), ("temperature", temperature)):
        if value is not None:
            raise ValueError(f"{name}={value!r} belongs to candidates='model', got candidates={str(candidates)!r}")
    if candidates == "grammar":
        return GrammarCandidates(task, k=k, seed=candidate_seed)
    return StoredCandidates(task, candidates, k=k)
