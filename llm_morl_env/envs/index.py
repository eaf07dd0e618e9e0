"""`IndexEnv`: one decision between tokens is one step."""

from __future__ import annotations

import operator
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from llm_morl_env.envs.base import TaskEnv
from llm_morl_env.envs.dialogue_token import DialogueTokenEnv
from llm_morl_env.envs.option_features import (
    FEATURES,
    LOG_PROB_DECIMALS,
    Source,
    option_features,
    rank_by_model,
    rank_by_source,
    read_source,
    token_kinds,
)
from llm_morl_env.envs.reading import ContextReading, ReadingEnv
from llm_morl_env.envs.token import TokenEnv
from llm_morl_env.language_model import LanguageModel, resolve_language_model
from llm_morl_env.task import Task

Ranking = Literal["grammar", "model"]
IndexObsMode = Literal["features", "onehot", "embed"]
#: Up to this size of a vocabulary, ``obs_mode`` is ``"onehot"`` by default.
SMALL_VOCABULARY = 32
#: What the token view's info says of steps, and not of a reset.
STEP_KEYS = ("response", "reply", "dialogue", "finish_reason", "reward_components")


class IndexEnv(ReadingEnv[NDArray[np.float32], np.int64]):
    """The index view of a task: a step is a decision, and an action the number of an option.

    ## Description
    The token view with few actions, for algorithms of discrete actions that know no masks. Wherever the grammar leaves
    one token, it is written at once, at the beginning too, so an episode has as many steps as there are decisions in
    it; the rewards of the tokens of a step are added up. Wherever it leaves several, the options are up to k of them.
    Responses are scored as in the other views.

    On `ToolCall-MO-v0` with k = 8, over 200 held-out problems, a uniformly random policy meets a median of 18 decisions
    an episode with ``ranking="grammar"`` and of 19 with ``"model"`` (the embedded model); at ``difficulty="easy"`` of
    16 and 18. The embedded model's first option, always taken, is worth 91 % of the way from that random policy to the
    gold answers, and 98 % at ``"easy"`` (mean of the objectives, each scaled to [0, 1]), in a median of 14 and 12
    decisions. Order matters to what can be written at all: without a model, where hundreds of tokens are valid, the
    first k may leave out the one that is wanted.

    ``certainty`` leaves out more: tokens to which the language model gives at least that probability, of those that are
    valid, are written at once too. Episodes become short, and what is written there is beyond the agent's reach.

    A response has at least one step. Where the grammar leaves no decision in one, its end is that step: one option
    (the end-of-sequence token, or the last one that the cap allows), and all k actions take it.

    ## Observation Space
    Flat float32 Box: for each of the k options, in order, the features that
    `llm_morl_env.envs.option_features.option_features` describes (``action_features`` of them); then the share of
    ``max_response_tokens`` (in dialogues: of all turns' tokens) that is used; then, by ``obs_mode``, ``"features"``:
    nothing more; ``"onehot"``: the ids of the token view's observation, one row of V a position, so that what was read
    and written so far is told exactly (small vocabularies only); ``"embed"``: the frozen language model's last hidden
    state behind its final norm at the last token, (C,). Nothing in it knows the rewards.

    ## Action Space
    ``Discrete(k)``: option i. With ``ranking="grammar"``, valid tokens by id where there are at most k; else the first
    k in the order of `llm_morl_env.envs.option_features.rank_by_source` (what continues a copy of the prompt, what
    occurs in it, punctuation). With ``ranking="model"``, the k valid tokens that are the most likely under the
    language model, the most likely first (log-probabilities rounded to 4 decimals, of equal ones the smaller id);
    without a grammar, of all but padding and begin-of-sequence.

    Where fewer than k tokens are valid, `action_masks` (bool) and ``info["action_mask"]`` (int8) tell which options
    there are. The mask is advice: an action beyond is taken modulo the number of options.

    ## Reward Space
    float32 Box (K,), that of the token view. Zero until the last step; the text's reward there. (In dialogues: zero
    but where a turn ends; no step ends two.)

    ## Starting State
    A problem drawn from the split, or ``reset(options={"problem": i, "split": "train" | "eval" | ...})``; what the
    grammar forces is written.

    ## Episode Termination
    As in the token view; always ``terminated``.

    ## Info
    As in the token view, and ``options``: int64 (k,), the tokens that the actions write, -1 where there are fewer.

    ## Arguments
    task: The `Task`, of one turn or of several.
    k: Number of actions.
    ranking: ``"grammar"`` or ``"model"``; None takes the second where a language model is given, else the first.
    obs_mode: ``"features"``, ``"onehot"`` or ``"embed"``; None takes the last where a language model is given, else
        the second for vocabularies of up to 32 tokens, else the first.
    language_model: A name or a `LanguageModel`, see `llm_morl_env.language_model.resolve_language_model`; needed by
        ``ranking="model"`` and ``obs_mode="embed"``. Where it is given, its log-probabilities are among the features.
    certainty: None, or the probability in [0.5, 1] from which a token is no decision; needs a language model.
    render_mode: None, ``"ansi"`` or ``"human"``.

    ## Credits
    Vector rewards follow MO-Gymnasium (Felten et al. 2023).
    """

    metadata = TaskEnv.metadata

    def __init__(
        self,
        task: Task,
        *,
        k: int = 8,
        ranking: str | None = None,
        obs_mode: str | None = None,
        language_model: str | LanguageModel | None = None,
        certainty: float | None = None,
        render_mode: str | None = None,
    ) -> None:
        if isinstance(k, bool) or operator.index(k) < 1:
            raise ValueError(f"{type(self).__name__}(k=) must be at least 1, got {k!r}")
        has_model = language_model is not None
        small = task.tokenizer.vocab_size <= SMALL_VOCABULARY
        self.k = operator.index(k)
        self.ranking = _chosen("ranking", ranking, get_args(Ranking), "model" if has_model else "grammar")
        usual = "embed" if has_model else "onehot" if small else "features"
        self.obs_mode = _chosen("obs_mode", obs_mode, get_args(IndexObsMode), usual)
        for name, value, needed in (("ranking", self.ranking, "model"), ("obs_mode", self.obs_mode, "embed")):
            if value == needed and not has_model:
                raise ValueError(f"{name}={value!r} needs language_model=, for example language_model='tiny'; got None")
        if certainty is not None and not (has_model and 0.5 <= certainty <= 1):
            raise ValueError(
                f"{type(self).__name__}(certainty=) must be None or lie in [0.5, 1] beside language_model=, "
                f"got {certainty!r} and language_model={language_model!r}"
            )
        self.certainty = certainty
        inner = TokenEnv if task.dialogue is None else DialogueTokenEnv
        self._env = inner(task, obs_mode="onehot" if self.obs_mode == "onehot" else "ids", render_mode=render_mode)
        self.language_model = None if language_model is None else resolve_language_model(language_model, task.tokenizer)
        self.task, self.render_mode, self.max_turns = task, self._env.render_mode, self._env.max_turns
        self.reward_space, self.return_space = self._env.reward_space, self._env.return_space
        self.metadata = self._env.metadata
        self.reward_dim, self.objective_names = self._env.reward_dim, self._env.objective_names
        self.max_context_tokens, self.start_id = self._env.max_context_tokens, self._env.start_id
        self.action_space = Discrete(self.k)
        self.action_features = len(FEATURES)
        self.observation_space = self._space()
        self._valid = self._options = np.empty(0, np.int64)
        self._begun = 0  # tokens of the context before the response that is being written
        self._turns = 0  # that ended
        self._source: Source | None = None
        self._ended: dict[str, Any] = {}  # what was said of the turn that the step ended
        self._stepped = self._decided = self._over = False  # whether the episode, the turn had a step; whether it ended

    def _space(self) -> gym.Space[NDArray[np.float32]]:  # of features, progress, and what the mode adds
        shown = self._env.observation_space
        size = {"features": 0, "onehot": int(np.prod(shown.shape or ())), "embed": 0}[self.obs_mode]
        hidden = self.language_model.hidden_size if self.obs_mode == "embed" and self.language_model else 0
        features = self.k * len(FEATURES)
        low = np.repeat(np.array([-1.0, 0.0, -np.inf], np.float32), [features, 1 + size, hidden])
        high = np.repeat(np.array([1.0, 1.0, np.inf], np.float32), [features, 1 + size, hidden])
        return Box(low, high, dtype=np.float32)

    def pareto_front(self, gamma: float = 1.0) -> NDArray[np.float64]:
        """The exact Pareto front (F, K), where it is known; see `llm_morl_env.task.Task.pareto_front`."""
        return self._env.pareto_front(gamma)

    def render(self) -> str | None:
        """The episode so far, as the token view renders it."""
        return self._env.render()

    def begin(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode, and write what the grammar forces."""
        gym.Env.reset(self, seed=seed)
        self._env.np_random = self.np_random
        self._env.begin(options=options)
        self._turns, self._stepped, self._over, self._ended = 0, False, False, {}
        self._begin_turn()
        self._write_forced()

    def advance(self, action: int | np.int64) -> tuple[NDArray[np.float32], bool]:
        """Write the option's token, and what the grammar forces behind it.

        Returns:
            Rewards (K,), and whether the episode ended.

        Raises:
            RuntimeError: If no episode is running.
            TypeError: If the action is no integer.
            ValueError: If it is none of 0..k-1.
        """
        chosen = operator.index(action)
        if not 0 <= chosen < self.k:
            raise ValueError(f"{type(self).__name__}.step: the action must lie in 0..{self.k - 1}, got {action!r}")
        if self._over or not len(self._options):
            raise RuntimeError(f"{type(self).__name__}.step: no episode is running, call reset first")
        self._ended, self._stepped, self._decided = {}, True, True
        rewards = self._write(int(self._options[chosen % len(self._options)]))
        return rewards + self._write_forced(), self._over

    def write_on(self, reading: ContextReading | None) -> tuple[NDArray[np.float32], bool] | None:
        """Write the token of which the model is certain, and what the grammar forces behind it."""
        if self.certainty is None or reading is None or self._over:
            return None
        log_probs = np.round(reading.log_probs[self._valid], LOG_PROB_DECIMALS).astype(np.float64)
        first = int(log_probs.argmax())
        token, share = int(self._valid[first]), 1 / float(np.exp(log_probs - log_probs[first]).sum())
        if share < self.certainty or (not self._decided and self._ends_turn(token)):
            return None
        rewards = self._write(token)
        return rewards + self._write_forced(), self._over

    def observe(self, reading: ContextReading | None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Observation and info; the options are ranked here."""
        shown, info = self._env.observe(None)
        log_probs = None if reading is None else np.round(reading.log_probs, LOG_PROB_DECIMALS)
        context, kinds = self._env.context, token_kinds(self.task.tokenizer)
        previous = int(context[-1]) if len(context) else self.start_id
        source = self._source
        assert source is not None  # `begin` has read it
        if self.ranking == "model" and log_probs is not None:
            self._options = rank_by_model(self._valid, self.k, log_probs)
        else:
            self._options = rank_by_source(self._valid, self.k, previous, source, kinds)
        features = option_features(
            self._options,
            self.k,
            written=context[self._begun :],
            previous=previous,
            source=source,
            kinds=kinds,
            eos_id=self.task.tokenizer.eos_id,
            log_probs=log_probs,
        )
        parts = [features, np.array([self._progress()])]
        if self.obs_mode == "onehot":
            parts.append(shown)
        elif self.obs_mode == "embed" and reading is not None:
            parts.append(reading.hidden)
        if not self._stepped:
            info = {key: value for key, value in info.items() if key not in STEP_KEYS}
        return np.concatenate(parts, dtype=np.float32), {
            **info,
            **self._ended,
            "action_mask": self._mask().astype(np.int8),
            "options": self._ids(),
        }

    @property
    def episode(self) -> int:
        """How many episodes were begun."""
        return self._env.episode

    @property
    def context(self) -> NDArray[np.int64]:
        """All tokens of the running episode, the prompt's first; not to be kept."""
        return self._env.context

    @property
    def wants_reading(self) -> bool:
        """Whether there is a model, and either something to rank or its hidden state to show."""
        return self.language_model is not None and (self.obs_mode == "embed" or not self._over)

    def action_masks(self) -> NDArray[np.bool_]:
        """Which options there are, bool (k,), a fresh array; after the end the first alone.

        Raises:
            RuntimeError: If there is no episode yet.
        """
        if not len(self._options):
            raise RuntimeError(f"{type(self).__name__}: there is no episode yet, call reset first")
        return self._mask()

    def _mask(self) -> NDArray[np.bool_]:
        return np.arange(self.k) < len(self._options)

    def _ids(self) -> NDArray[np.int64]:
        ids = np.full(self.k, -1, np.int64)
        ids[: len(self._options)] = self._options
        return ids

    def _progress(self) -> float:
        """Share of the tokens of all turns that is used; turns that ended count as whole."""
        share = (len(self._env.context) - self._begun) / self.task.max_response_tokens
        return (self._turns + share) / self.max_turns

    def _write(self, token: int) -> NDArray[np.float32]:
        """Write a token; its rewards (K,)."""
        ends = self._ends_turn(token)
        rewards, self._over = self._env.advance(token)
        if ends and not self._over:
            _, info = self._env.observe(None)
            self._ended = {key: info[key] for key in ("response", "reply", "reward_components")}
            self._turns += 1
            self._begin_turn()
        self._valid = np.flatnonzero(self._env.action_masks())
        return rewards

    def _write_forced(self) -> NDArray[np.float32]:
        """Write tokens while there is one valid token, but end no turn in which nothing was decided; rewards (K,)."""
        rewards = np.zeros(self.reward_dim, np.float32)
        while not self._over and len(self._valid) == 1:
            token = int(self._valid[0])
            if not self._decided and self._ends_turn(token):
                break
            rewards = rewards + self._write(token)
        return rewards

    def _ends_turn(self, token: int) -> bool:
        n_written = len(self._env.context) - self._begun
        return token == self.task.tokenizer.eos_id or n_written + 1 == self.task.max_response_tokens

    def _begin_turn(self) -> None:
        context = self._env.context
        self._begun, self._decided = len(context), False
        self._source = read_source(context, token_kinds(self.task.tokenizer))
        self._valid = np.flatnonzero(self._env.action_masks())


def _chosen(name: str, value: str | None, known: tuple[str, ...], usual: str) -> str:
    """The value, or the usual one where there is none.

    Raises:
        ValueError: If it is none of those known.
    """
    if value is not None and value not in known:
        raise ValueError(f"{name} must be None or one of {known}, got {value!r}")
    return usual if value is None else value
