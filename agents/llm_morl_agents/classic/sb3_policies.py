"""Networks for Stable-Baselines3 that read token ids as tokens, not as numbers.

This module imports Stable-Baselines3 and sb3-contrib; `llm_morl_agents.classic.sb3` imports it when it is needed.

Shapes: B observations, V vocabulary, P prompt, R response, S word tokens, D embedding, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Box
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from llm_morl_agents.classic.recorder import History
from llm_morl_env.wrappers.prompt_words import TokenLayout

_RECENT = 4
#: Embeddings are stored divided by it: a step of Adam, of one size for all parameters, moves them further.
GAIN = 4.0
_MARKS = (" ", '"', ",", ":", ".", "-", "{", "}", "[", "]", "<", "\n")


class TokenFeatures(BaseFeaturesExtractor):
    """Embeds the ids of a token view: the mean over the prompt, the mean over the response, and its last tokens.

    What stands behind the ids (weights) is passed on as it is.

    Args:
        observation_space: Flat Box of at least ``layout.size`` entries.
        layout: Of the observation.
        dim: D.
        recent: Last tokens of the response that keep their order.
    """

    def __init__(self, observation_space: Box, layout: TokenLayout, dim: int = 32, recent: int = _RECENT) -> None:
        rest = observation_space.shape[0] - layout.size
        super().__init__(observation_space, features_dim=(2 + recent) * dim + rest)
        self.layout, self.recent = layout, recent
        self.tokens = nn.Embedding(layout.vocab_size, dim)
        nn.init.normal_(self.tokens.weight, std=0.5)

    def forward(self, observations: Tensor) -> Tensor:
        """Features (B, (2 + recent) D + rest)."""
        layout = self.layout
        ids = observations[:, : layout.prompt + layout.response].long()
        prompt, response = ids[:, : layout.prompt], ids[:, layout.prompt :]
        last = self.tokens(recent_tokens(prompt, response, layout.pad_id, self.recent))
        means = [mean_embedding(self.tokens.weight, part, part != layout.pad_id) for part in (prompt, response)]
        return torch.cat([*means, last.flatten(1), observations[:, layout.size :]], dim=1)


class CopyNetwork(BaseFeaturesExtractor):
    """Logits over the vocabulary that may point at the words of the prompt; a pointer-generator network.

    After See et al. (2017, arXiv 1704.04368, eq. 8-9): a token's logit is what a linear layer gives it plus, where it
    is the next token of a word of the prompt, the score of the best such place. A place is open if it begins a word, or
    if the word's earlier tokens are just what was written last (so a copy that was begun can go on). In place of their
    mixture of two distributions the logits are added, which leaves a single softmax for the action mask.

    The network begins with preferences, all of which are learnt further: for words of the prompt (`COPY`) over other
    words (`OTHER_WORD`), for going on with a copy (`GO_ON`) and ending once one is complete (`NEW_WORD`, `QUOTE`), for
    words whose parts the prompt repeats (`ECHO`), and for words that stand free (`SAID`). It may learn one for the end
    of the prompt, and begins without (`LATE`).

    Args:
        observation_space: Flat Box of at least ``layout.size`` entries, of `llm_morl_env.wrappers.PromptWords`.
        layout: Of the observation, with ``words`` above 0.
        texts: What each token adds to a text, V of them.
        dim: D.
        hidden: H.

    Returns:
        Of `forward`: (B, V + C), logits and what the value network reads: the state that they come from, and what
        stands behind the layout.
    """

    COPY = 7.0
    GO_ON = 12.0
    NEW_WORD = -10.0
    OTHER_WORD = -4.0
    QUOTE = 3.0
    LATE = 0.0
    ECHO = 1.0
    SAID = 4.0
    #: The mean over the free words, some ten tokens, is made about as large as a token's embedding.
    REQUEST = 4.0

    def __init__(
        self, observation_space: Box, layout: TokenLayout, texts: Sequence[str], dim: int = 32, hidden: int = 64
    ) -> None:
        rest = observation_space.shape[0] - layout.size
        context = hidden + (1 + _RECENT) * dim
        super().__init__(observation_space, features_dim=layout.vocab_size + context + rest)
        self.layout, self.dim = layout, dim
        self.tokens = nn.Embedding(layout.vocab_size, dim)
        self.keys = nn.ModuleList(nn.Embedding(layout.vocab_size, dim) for _ in range(3))
        self.trunk = nn.Sequential(
            nn.Linear((3 + _RECENT) * dim + 2 + rest, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.query = nn.Linear(context, dim)
        self.flags = nn.Linear(context, 6)
        self.generate = nn.Linear(context, layout.vocab_size)
        self.kinds: Tensor
        self.register_buffer("kinds", text_features(texts))  # (V, F)
        self.prefer = nn.Linear(context, self.kinds.shape[1])
        for table in (self.tokens, *self.keys):
            nn.init.normal_(table.weight, std=0.3 / GAIN)
        for layer in (self.flags, self.generate, self.prefer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.flags.bias.copy_(torch.tensor([self.COPY, self.GO_ON, self.NEW_WORD, self.LATE, self.ECHO, self.SAID]))
            self.prefer.bias[0] = self.OTHER_WORD
            self.prefer.bias[2] = self.QUOTE

    def forward(self, observations: Tensor) -> Tensor:
        """See above."""
        layout = self.layout
        ids = observations[:, : layout.prompt + layout.response + layout.words].long()
        prompt, response, words = torch.split(ids, [layout.prompt, layout.response, layout.words], dim=1)
        offsets, echoes, spoken = observations[:, layout.size - 3 * layout.words : layout.size].chunk(3, dim=1)
        recent = recent_tokens(prompt, response, layout.pad_id, 8)
        begun, complete = copies_in_progress(words, offsets, recent)  # (B, S)
        goes_on = begun & (offsets > 0)
        last = (GAIN * self.tokens(recent[:, -_RECENT:])).flatten(1)
        asked = self._mean(words, spoken > 0) * self.REQUEST
        hidden = self.trunk(
            torch.cat(
                [
                    last,
                    asked,
                    self._mean(response, response != layout.pad_id),
                    self._mean(words, goes_on),
                    goes_on.any(1, keepdim=True).float(),
                    complete.any(1, keepdim=True).float(),
                    observations[:, layout.size :],
                ],
                dim=1,
            )
        )
        context = torch.cat([hidden, last, asked], dim=1)
        query, neighbours = self.query(context), (words, words.roll(1, 1), words.roll(-1, 1))
        keyed = [(query @ table.weight.T).gather(1, at) for table, at in zip(self.keys, neighbours, strict=True)]
        scores = torch.stack(keyed).sum(0) * (GAIN / self.dim**0.5)  # (B, S)
        copy, go_on, new_word, late, echo, said = self.flags(context).unsqueeze(1).unbind(2)  # (B, 1) each
        started = torch.where(complete.any(1, keepdim=True), copy + new_word, copy)
        place = torch.arange(layout.words, device=words.device) / layout.words - 1.0
        scores = scores + torch.where(offsets == 0, started + late * place + echo * echoes + said * spoken, go_on)
        scores = scores.masked_fill(~(goes_on | (offsets == 0)), -torch.inf)
        logits = self.generate(context) + self.prefer(context) @ self.kinds.T
        best = torch.full_like(logits, -torch.inf).scatter_reduce(1, words, scores, "amax")
        logits = logits + torch.where(best.isfinite(), best, 0.0)
        return torch.cat([logits, context, observations[:, layout.size :]], dim=1)

    def _mean(self, ids: Tensor, mask: Tensor) -> Tensor:
        return GAIN * mean_embedding(self.tokens.weight, ids, mask)


class CopyPolicy(MaskableActorCriticPolicy):
    """A maskable policy whose logits are those of `CopyNetwork`; the value network is a layer over its state."""

    def __init__(self, observation_space: Box, action_space: Any, lr_schedule: Schedule, **kwargs: Any) -> None:
        settings = {"features_extractor_class": CopyNetwork, "ortho_init": False, **kwargs}
        super().__init__(observation_space, action_space, lr_schedule, **settings)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()
        made: Any = self.optimizer_class  # SB3 says Optimizer, which has no learning rate
        self.optimizer = made(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _build_mlp_extractor(self) -> None:
        network: Any = self.features_extractor
        logits = int(network.layout.vocab_size)
        split: Any = _Split(logits, int(network.features_dim) - logits)
        self.mlp_extractor = split


class _Split(nn.Module):
    """Logits to the actor as they are, the rest to the critic through a layer."""

    def __init__(self, logits: int, state: int, hidden: int = 64) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = logits, hidden
        self.critic = nn.Sequential(nn.Linear(state, hidden), nn.Tanh())

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return features[:, : self.latent_dim_pi]

    def forward_critic(self, features: Tensor) -> Tensor:
        values: Tensor = self.critic(features[:, self.latent_dim_pi :])
        return values


def recent_tokens(prompt: Tensor, response: Tensor, pad_id: int, count: int) -> Tensor:
    """The last ``count`` ids of prompt and response together, (B, count), the latest at the end."""
    length = response.shape[1] - (response != pad_id).flip(1).long().argmax(1)
    length = torch.where((response != pad_id).any(1), length, 0)
    steps = torch.arange(-count, 0, device=response.device)
    padded = torch.cat([prompt.new_full((len(prompt), count), pad_id), prompt, response], dim=1)
    return padded.gather(1, count + prompt.shape[1] + length[:, None] + steps)


def copies_in_progress(words: Tensor, offsets: Tensor, recent: Tensor) -> tuple[Tensor, Tensor]:
    """Which places of the prompt's words what was written last leads up to.

    Args:
        words: Ids (B, S) of the words' tokens.
        offsets: (B, S), of each in its word; -1 for padding.
        recent: (B, T), the last tokens that were written.

    Returns:
        Two masks (B, S): the word's tokens before this one (as many of the last T as there are) were written last;
        and so was this one too, which is the word's last.

    >>> words, offsets = torch.tensor([[7, 8, 9, 7]]), torch.tensor([[0, 1, 2, 0]])
    >>> [mask.tolist() for mask in copies_in_progress(words, offsets, torch.tensor([[5, 7, 8]]))]
    [[[True, False, True, True]], [[False, False, False, False]]]
    >>> [mask.tolist() for mask in copies_in_progress(words, offsets, torch.tensor([[5, 6, 7]]))]
    [[[True, True, False, True]], [[False, False, False, True]]]
    """
    depth = recent.shape[1]
    padded = torch.cat([words.new_full((words.shape[0], depth), -1), words], dim=1)
    begun, done = offsets >= 0, offsets >= 0
    for back in range(1, depth + 1):
        token = recent[:, depth - back, None]
        before = padded[:, depth - back : padded.shape[1] - back]
        begun = begun & ((before == token) | (offsets < back))
        here = padded[:, depth - back + 1 : padded.shape[1] - back + 1]
        done = done & ((here == token) | (offsets < back - 1))
    last = torch.cat([offsets[:, 1:] <= 0, torch.ones_like(begun[:, :1])], dim=1)
    return begun, done & last


def mean_embedding(table: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean over the rows of a table (V, D) at ids (B, S) where ``mask`` (B, S) holds, (B, D); 0 where it nowhere does.

    Ids are counted and the counts multiplied with the table: many times faster, forth and back, than to gather S rows.

    >>> table = torch.tensor([[1.0], [5.0], [9.0]])
    >>> mean_embedding(table, torch.tensor([[0, 1, 2], [0, 1, 2]]), torch.tensor([[True, True, False]] * 2)).tolist()
    [[3.0], [3.0]]
    """
    counts = torch.zeros(len(ids), len(table), dtype=table.dtype, device=table.device)
    counts.scatter_add_(1, ids, mask.to(table.dtype))
    return counts @ table / mask.sum(1, keepdim=True).clamp(min=1)


def text_features(texts: Sequence[str]) -> Tensor:
    """What kind of text each token is, (V, F), 0 or 1: wordy, numeric, begins with a quote, or has one of `_MARKS`.

    >>> text_features(["red", '":4', ', "']).tolist()[1][:5]
    [1.0, 1.0, 1.0, 0.0, 1.0]
    """
    rows = [
        [any(map(str.isalnum, text)), any(map(str.isdigit, text)), text[:1] == '"', *(mark in text for mark in _MARKS)]
        for text in texts
    ]
    return torch.tensor(rows, dtype=torch.float32)


class HistoryWriter(KVWriter):
    """Writes what an algorithm logs into the history of the training.

    Args:
        history: Gets a row ``{"kind": "algorithm", "global_step": ..., ...}`` of every dump.
    """

    def __init__(self, history: History) -> None:
        self._history = history

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row."""
        self._history.add({"kind": "algorithm", "global_step": step, **key_values})

    def close(self) -> None:
        """Nothing to close."""
