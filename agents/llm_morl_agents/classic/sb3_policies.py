"""Networks for Stable-Baselines3 that read token ids as tokens, not as numbers.

This module imports Stable-Baselines3 and sb3-contrib; it is imported by `llm_morl_agents.classic.sb3` when it is needed.

Shapes: B observations, V vocabulary, P prompt, R response, S word tokens, D embedding, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Box
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from llm_morl_env.wrappers.prompt_words import TokenLayout

_RECENT = 4


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
        means = [masked_mean(self.tokens(part), part != layout.pad_id) for part in (prompt, response)]
        return torch.cat([*means, last.flatten(1), observations[:, layout.size :]], dim=1)


class CopyNetwork(BaseFeaturesExtractor):
    """Logits over the vocabulary that may point at the words of the prompt; a pointer-generator network.

    After See et al. (2017, arXiv 1704.04368, eq. 8-9): a token's logit is what a linear layer gives it plus, where it
    is the next token of a word of the prompt, the score of the best such place. A place is open if it begins a word, or
    if the word's earlier tokens are just what was written last (so a copy that was begun can go on). In place of their
    mixture of two distributions the logits are added, which leaves a single softmax for the action mask.

    The network begins with a preference (`COPY`, `GO_ON`, `NEW_WORD`) for words of the prompt over other words, for
    going on with a copy, and for ending once one is complete; all of it is learnt further.

    Args:
        observation_space: Flat Box of at least ``layout.size`` entries, of `llm_morl_env.wrappers.PromptWords`.
        layout: Of the observation, with ``words`` above 0.
        wordy: Whether each token's text has a letter or a digit, (V,).
        dim: D.
        hidden: H.

    Returns:
        Of `forward`: (B, V + H), logits and what the value network reads.
    """

    COPY = 4.0
    GO_ON = 6.0
    NEW_WORD = -4.0

    def __init__(
        self, observation_space: Box, layout: TokenLayout, wordy: Sequence[bool], dim: int = 32, hidden: int = 64
    ) -> None:
        rest = observation_space.shape[0] - layout.size
        super().__init__(observation_space, features_dim=layout.vocab_size + hidden)
        self.layout, self.dim = layout, dim
        self.tokens = nn.Embedding(layout.vocab_size, dim)
        self.keys = nn.ModuleList([nn.Embedding(layout.vocab_size, dim) for _ in range(3)])
        self.trunk = nn.Sequential(
            nn.Linear((3 + _RECENT) * dim + 2 + rest, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.query = nn.Linear(hidden, dim)
        self.flags = nn.Linear(hidden, 4)
        self.generate = nn.Linear(hidden, layout.vocab_size)
        for table in (self.tokens, *self.keys):
            nn.init.normal_(table.weight, std=0.3)
        for layer in (self.flags, self.generate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.flags.bias.copy_(torch.tensor([self.COPY, self.GO_ON, self.NEW_WORD, 2.0]))
            self.generate.bias.copy_(-self.COPY * torch.tensor(list(wordy), dtype=torch.float32))

    def forward(self, observations: Tensor) -> Tensor:
        """Logits (B, V) and hidden state (B, H), side by side."""
        layout = self.layout
        ids = observations[:, : layout.prompt + layout.response + layout.words].long()
        prompt, response, words = ids.split([layout.prompt, layout.response, layout.words], dim=1)
        offsets = observations[:, layout.size - layout.words : layout.size].long()
        recent = recent_tokens(prompt, response, layout.pad_id, 8)
        begun, complete = copies_in_progress(words, offsets, recent)  # (B, S)
        goes_on, is_word = begun & (offsets > 0), offsets >= 0
        hidden = self.trunk(
            torch.cat(
                [
                    self.tokens(recent[:, -_RECENT:]).flatten(1),
                    masked_mean(self.tokens(words), is_word),
                    masked_mean(self.tokens(response), response != layout.pad_id),
                    masked_mean(self.tokens(words), goes_on),
                    goes_on.any(1, keepdim=True).float(),
                    complete.any(1, keepdim=True).float(),
                    observations[:, layout.size :],
                ],
                dim=1,
            )
        )
        before, after = words.roll(1, 1), words.roll(-1, 1)
        keys = self.keys[0](words) + self.keys[1](before) + self.keys[2](after)  # (B, S, D)
        scores = torch.einsum("bsd,bd->bs", keys, self.query(hidden)) / self.dim**0.5
        copy, go_on, new_word, late = self.flags(hidden).unsqueeze(1).unbind(2)  # (B, 1) each
        started = torch.where(complete.any(1, keepdim=True), copy + new_word, copy)
        place = torch.arange(layout.words, device=words.device) / layout.words - 1.0
        scores = scores + torch.where(offsets == 0, started + late * place, go_on)
        scores = scores.masked_fill(~(goes_on | (offsets == 0)), -torch.inf)
        logits = self.generate(hidden)
        best = torch.full_like(logits, -torch.inf).scatter_reduce(1, words, scores, "amax")
        return torch.cat([logits + torch.where(best.isfinite(), best, 0.0), hidden], dim=1)


class CopyPolicy(MaskableActorCriticPolicy):
    """A maskable policy whose logits are those of `CopyNetwork`; the value network is linear in its hidden state."""

    def __init__(self, observation_space: Box, action_space: Any, lr_schedule: Schedule, **kwargs: Any) -> None:
        settings = {"features_extractor_class": CopyNetwork, "ortho_init": False, **kwargs}
        super().__init__(observation_space, action_space, lr_schedule, **settings)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _Split(self.action_space.n, self.features_dim - self.action_space.n)


class _Split(nn.Module):
    """Logits to the actor, the hidden state to the critic."""

    def __init__(self, logits: int, hidden: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = logits, hidden

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return features[:, : self.latent_dim_pi]

    def forward_critic(self, features: Tensor) -> Tensor:
        return features[:, self.latent_dim_pi :]


def recent_tokens(prompt: Tensor, response: Tensor, pad_id: int, count: int) -> Tensor:
    """The last ``count`` ids of prompt and response together, (B, count), the latest at the end."""
    length = response.shape[1] - (response != pad_id).flip(1).long().argmax(1)
    length = torch.where((response != pad_id).any(1), length, 0)
    steps = torch.arange(-count, 0, device=response.device)
    return torch.cat([prompt, response], dim=1).gather(1, prompt.shape[1] + length[:, None] + steps)


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


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the second axis of (B, S, D) where ``mask`` (B, S) holds; 0 where it nowhere does."""
    kept = mask.unsqueeze(2).to(values.dtype)
    return (values * kept).sum(1) / kept.sum(1).clamp(min=1.0)
