"""`RolloutBatch`: what one round of generation and scoring gives. Frozen, shapes checked once.

Shapes: P prompts, N responses, T response tokens, K objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RolloutBatch:
    """N scored responses to P prompts.

    Args:
        prompt_ids: P tuples of token ids, in the order of ``np.unique(group)``.
        response_ids: int64 (N, T), right-padded.
        response_mask: bool (N, T), True on generated tokens, the end token included.
        behaviour_logprobs: float32 (N, T), with which the tokens were drawn.
        rewards: float64 (N, K).
        group: int64 (N,), which prompt a response belongs to; ragged and interleaved at will.
        finished: bool (N,), whether the response ended by itself.

    Raises:
        ValueError: If the shapes disagree.
    """

    prompt_ids: tuple[tuple[int, ...], ...]
    response_ids: NDArray[np.int64]
    response_mask: NDArray[np.bool_]
    behaviour_logprobs: NDArray[np.float32]
    rewards: NDArray[np.float64]
    group: NDArray[np.int64]
    finished: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in ("response_ids", "rewards"):
            if getattr(self, name).ndim != 2:
                raise ValueError(f"RolloutBatch({name}=) must have two axes, got shape {getattr(self, name).shape}")
        n, t = self.response_ids.shape
        k = self.rewards.shape[1]
        shapes = {
            "response_mask": (n, t),
            "behaviour_logprobs": (n, t),
            "rewards": (n, k),
            "group": (n,),
            "finished": (n,),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"RolloutBatch({name}=) must have shape {shape}, got {getattr(self, name).shape}")
        n_prompts = len(np.unique(self.group))
        if len(self.prompt_ids) != n_prompts:
            raise ValueError(f"RolloutBatch: got {len(self.prompt_ids)} prompts for {n_prompts} groups")

    def __len__(self) -> int:
        return len(self.group)

    @property
    def prompt_index(self) -> NDArray[np.int64]:
        """Row of ``prompt_ids`` of each response, (N,)."""
        index: NDArray[np.int64] = np.unique(self.group, return_inverse=True)[1].astype(np.int64)
        return index

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Generated tokens of each response, (N,)."""
        return np.asarray(self.response_mask.sum(axis=1), dtype=np.int64)

    def select(self, rows: NDArray[np.int64]) -> RolloutBatch:
        """The sub-batch of these rows, with the prompts they need, cut to its longest response."""
        longest = max(int(self.lengths[rows].max(initial=0)), 1)
        return RolloutBatch(
            prompt_ids=tuple(self.prompt_ids[p] for p in np.unique(self.prompt_index[rows])),
            response_ids=self.response_ids[rows, :longest],
            response_mask=self.response_mask[rows, :longest],
            behaviour_logprobs=self.behaviour_logprobs[rows, :longest],
            rewards=self.rewards[rows],
            group=self.group[rows],
            finished=self.finished[rows],
        )


def concatenate(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """One batch of several; groups of different batches stay apart, whatever their numbers."""
    longest = max(b.response_ids.shape[1] for b in batches)

    def padded(name: str) -> NDArray[np.generic]:
        arrays = [getattr(b, name) for b in batches]
        return np.concatenate([np.pad(a, ((0, 0), (0, longest - a.shape[1]))) for a in arrays])

    offsets = np.cumsum([0, *(len(b.prompt_ids) for b in batches[:-1])])
    return RolloutBatch(
        prompt_ids=tuple(ids for b in batches for ids in b.prompt_ids),
        response_ids=padded("response_ids").astype(np.int64),
        response_mask=padded("response_mask").astype(np.bool_),
        behaviour_logprobs=padded("behaviour_logprobs").astype(np.float32),
        rewards=np.concatenate([b.rewards for b in batches]),
        group=np.concatenate([b.prompt_index + o for b, o in zip(batches, offsets, strict=True)]),
        finished=np.concatenate([b.finished for b in batches]),
    )
