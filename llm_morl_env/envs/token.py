"""`TokenEnv`: one token is one step."""

from __future__ import annotations

import operator
from typing import Any, Literal, get_args

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from llm_morl_env.envs.base import TaskEnv, read_answer
from llm_morl_env.envs.reading import ContextReading, ReadingEnv
from llm_morl_env.language_model import LanguageModel, resolve_language_model
from llm_morl_env.task import Task

ObsMode = Literal["ids", "onehot", "embed"]
Observation = NDArray[np.int64] | NDArray[np.float32]


class TokenEnv(ReadingEnv[Observation, np.int64], TaskEnv[Observation, np.int64]):
    """The token view of a task: the response is written token by token and scored at its end.

    ## Description
    A token-level Markov decision process over the environment's tokenizer, for algorithms that need ``Discrete``
    actions. The decoded text is scored exactly as in the text view, so the rewards of an episode add up to the reward
    of its text.

    ## Observation Space
    With L = ``max_prompt_tokens + max_response_tokens`` and V the vocabulary's size: the prompt's ids, right-aligned
    (so the response always starts at the same place) and, where it is too long, cut at its *beginning* (the request
    stands at the end); then the ids written so far; the rest is padding. ``obs_mode="ids"``: int64 Box (L,) in 0..V-1.
    ``obs_mode="onehot"``: float32 Box (L * V,), one row of V a position (large; small vocabularies only).
    ``obs_mode="embed"``: float32 Box (C,), what a frozen language model makes of prompt and response so far: its last
    layer's hidden state, behind the final norm, at the last token. The model reads each token once, and, in
    ``gym.make_vec(..., view="token")``, those of all environments in one batch.

    ## Action Space
    ``Discrete(V)``. `action_masks` (bool) and ``info["action_mask"]`` (int8) tell which tokens the task's grammar lets
    follow; without a grammar, all but padding and begin-of-sequence. The mask is advice: any token may be taken.

    ## Reward Space
    float32 Box (K,). Zero until the last step; the text's reward there.

    ## Starting State
    A problem drawn uniformly from the split, or ``reset(options={"problem": i, "split": "train" | "eval" | ...})``;
    nothing written.

    ## Episode Termination
    At the end-of-sequence token, or after ``max_response_tokens`` steps: the response is scored then too, so it is
    ``terminated=True`` with ``info["finish_reason"] == "length"``. (Also where the decoded text is longer than the cap
    in its canonical encoding, and so was cut.) ``info["response"]`` holds the scored text on the last step, and is
    empty before.

    ## Arguments
    task: The `Task`.
    obs_mode: ``"ids"``, ``"onehot"`` or ``"embed"``.
    language_model: Of ``obs_mode="embed"``, which needs it: a name or a `LanguageModel`, see
        `llm_morl_env.language_model.resolve_language_model`.
    render_mode: None, ``"ansi"`` or ``"human"``.

    ## Credits
    Vector rewards follow MO-Gymnasium (Felten et al. 2023); action masks Gymnasium's Taxi and sb3-contrib.
    """

    def __init__(
        self,
        task: Task,
        *,
        obs_mode: str = "ids",
        language_model: str | LanguageModel | None = None,
        render_mode: str | None = None,
    ) -> None:
        if obs_mode not in get_args(ObsMode):
            raise ValueError(f"obs_mode must be one of {get_args(ObsMode)}, got {obs_mode!r}")
        if obs_mode == "embed" and language_model is None:
            raise ValueError(
                "obs_mode='embed' shows what a language model reads, so it needs language_model=, for example "
                "language_model='tiny'; got None"
            )
        if obs_mode != "embed" and language_model is not None:
            raise ValueError(
                f"language_model={language_model!r} belongs to obs_mode='embed', got obs_mode={obs_mode!r}"
            )
        super().__init__(task, render_mode=render_mode)
        # Zero before the end must be inside the bounds too.
        low, high = np.minimum(self.reward_space.low, 0.0), np.maximum(self.reward_space.high, 0.0)
        self.reward_space = Box(low, high, dtype=np.float32)
        self.obs_mode = obs_mode
        vocab_size, length = task.tokenizer.vocab_size, self._size()
        self.max_context_tokens, self.start_id = length, task.tokenizer.bos_id
        if language_model is not None:
            self.language_model = resolve_language_model(language_model, task.tokenizer)
            self.observation_space = Box(-np.inf, np.inf, (self.language_model.hidden_size,), np.float32)
        elif obs_mode == "ids":
            self.observation_space = Box(0, vocab_size - 1, (length,), np.int64)
        else:
            self.observation_space = Box(0.0, 1.0, (length * vocab_size,), np.float32)
        self.action_space = Discrete(vocab_size)
        self._ids = np.empty(0, np.int64)
        self._first = self._start = self._length = 0  # of the context; of the response that is being written
        self._mask = np.empty(0, np.bool_)
        self._episode = 0

    def begin(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode: the prompt's ids, and the first action mask."""
        task = self.task
        prompt = task.tokenizer.encode(self._begin(seed, options).prompt)[-task.max_prompt_tokens :]
        self._ids = np.full(self._size(), task.tokenizer.pad_id, np.int64)
        self._start, self._length = task.max_prompt_tokens, 0
        self._first = self._start - len(prompt)
        self._ids[self._first : self._start] = prompt
        self._mask = self._allowed()
        self._episode += 1

    def advance(self, action: int | np.int64) -> tuple[NDArray[np.float32], bool]:
        """Write a token.

        Returns:
            Rewards (K,), and whether the episode ended.

        Raises:
            RuntimeError: If no episode is running.
            TypeError: If the action is no integer.
            ValueError: If it is not in the vocabulary.
        """
        self._running()
        token, tokenizer = operator.index(action), self.task.tokenizer
        if not 0 <= token < tokenizer.vocab_size:
            raise ValueError(
                f"{type(self).__name__}.step: the action must lie in 0..{tokenizer.vocab_size - 1}, got {action!r}"
            )
        self._ids[self._start + self._length] = token
        self._length += 1
        stopped = token == tokenizer.eos_id
        rewards = np.zeros(self.reward_dim, np.float32)
        if stopped or self._length == self.task.max_response_tokens:
            response, reason = read_answer(self.task, self._written())
            rewards = self._finish(response, reason if stopped else "length")
        self._mask = self._allowed()
        return rewards, self._result is not None

    def observe(self, reading: ContextReading | None) -> tuple[Observation, dict[str, Any]]:
        """The observation, and the info with the action mask."""
        begun = self._start + self._length > self.task.max_prompt_tokens  # something was written
        return self._observation(reading), self._with_mask(self._step_info() if begun else self._info())

    @property
    def episode(self) -> int:
        """How many episodes were begun."""
        return self._episode

    @property
    def context(self) -> NDArray[np.int64]:
        """The prompt's ids, and all that was written and replied since; not to be kept."""
        return self._ids[self._first : self._start + self._length]

    def action_masks(self) -> NDArray[np.bool_]:
        """Which tokens may follow, bool (V,), a fresh array; after the end, only the end-of-sequence token."""
        self._shown()
        return self._mask.copy()

    def _written(self) -> NDArray[np.int64]:
        return self._ids[self._start : self._start + self._length]

    def _size(self) -> int:
        """L."""
        return self.task.max_prompt_tokens + self.task.max_response_tokens

    def _allowed(self) -> NDArray[np.bool_]:
        tokenizer, grammar = self.task.tokenizer, self.task.grammar
        if self._result is not None:
            mask = np.zeros(tokenizer.vocab_size, np.bool_)
        elif grammar is not None:
            return grammar.allowed(self._running(), self._written().tolist())
        else:
            mask = np.ones(tokenizer.vocab_size, np.bool_)
            mask[[tokenizer.pad_id, tokenizer.bos_id]] = False
        mask[tokenizer.eos_id] = True  # a vocabulary may use one token for all three
        return mask

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "action_mask": self._mask.astype(np.int8)}

    def _observation(self, reading: ContextReading | None) -> Observation:
        if reading is not None:
            return reading.hidden.copy()
        if self.obs_mode == "ids":
            return self._ids.copy()
        vocab_size = self.task.tokenizer.vocab_size
        rows = np.zeros((len(self._ids), vocab_size), np.float32)
        rows[np.arange(len(self._ids)), self._ids] = 1.0
        return rows.reshape(-1)
