"""`RolloutBatch`: what one round of generation and scoring gives. Frozen, shapes checked once.

Shapes: P prompts, N responses, T tokens behind the prompt, K objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RolloutBatch:
    """N scored responses to P prompts. In a task of several turns a response is a dialogue: own tokens and replies.

    Args:
        prompt_ids: P tuples of token ids, in the order of ``np.unique(group)``.
        response_ids: int64 (N, T), right-padded; all tokens behind the prompt, replies of the environment included.
        response_mask: bool (N, T), True on these tokens, end tokens included; a prefix of each row.
        behaviour_logprobs: float32 (N, T), with which the policy's own tokens were drawn; 0 elsewhere.
        rewards: float64 (N, K), summed over the turns; NaN where ``objective_mask`` is False.
        group: int64 (N,), which prompt a response belongs to; ragged and interleaved at will.
        finished: bool (N,), whether the response, or each turn of a dialogue, ended by itself.
        own_mask: bool (N, T), True on the tokens that the policy generated; None: all of ``response_mask``.
        turns: int64 (N,), number of turns; None: one each.
        objective_mask: bool (N, K), False where an objective does not apply; None where the environment names none.
        loss_weight: float64 (N,), what the advantages are multiplied by; None: 1.
        preference: float64 (N, K), what the weights of the objectives are multiplied by; None: 1.

    Raises:
        ValueError: If the shapes disagree, or a token of the policy's own is not in the response.
    """

    prompt_ids: tuple[tuple[int, ...], ...]
    response_ids: NDArray[np.int64]
    response_mask: NDArray[np.bool_]
    behaviour_logprobs: NDArray[np.float32]
    rewards: NDArray[np.float64]
    group: NDArray[np.int64]
    finished: NDArray[np.bool_]
    own_mask: NDArray[np.bool_] | None = None
    turns: NDArray[np.int64] | None = None
    objective_mask: NDArray[np.bool_] | None = None
    loss_weight: NDArray[np.float64] | None = None
    preference: NDArray[np.float64] | None = None

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
            "own_mask": (n, t),
            "turns": (n,),
            "objective_mask": (n, k),
            "loss_weight": (n,),
            "preference": (n, k),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"RolloutBatch({name}=) must have shape {shape}, got {value.shape}")
        n_prompts = len(np.unique(self.group))
        if len(self.prompt_ids) != n_prompts:
            raise ValueError(f"RolloutBatch: got {len(self.prompt_ids)} prompts for {n_prompts} groups")
        if (self.own & ~self.response_mask).any():
            row, token = np.argwhere(self.own & ~self.response_mask)[0]
            raise ValueError(f"RolloutBatch(own_mask=) is True at row {row}, token {token}, where response_mask is not")

    def __len__(self) -> int:
        return len(self.group)

    @property
    def prompt_index(self) -> NDArray[np.int64]:
        """Row of ``prompt_ids`` of each response, (N,)."""
        index: NDArray[np.int64] = np.unique(self.group, return_inverse=True)[1].astype(np.int64)
        return index

    @property
    def own(self) -> NDArray[np.bool_]:
        """True on the tokens that the policy generated, (N, T): those that are trained."""
        return self.response_mask if self.own_mask is None else self.own_mask

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Generated tokens of each response, (N,); replies do not count."""
        return np.asarray(self.own.sum(axis=1), dtype=np.int64)

    @property
    def total_lengths(self) -> NDArray[np.int64]:
        """Tokens behind the prompt, (N,); replies count."""
        return np.asarray(self.response_mask.sum(axis=1), dtype=np.int64)

    def select(self, rows: NDArray[np.int64]) -> RolloutBatch:
        """The sub-batch of these rows, with the prompts they need, cut to its longest response."""
        longest = max(int(self.total_lengths[rows].max(initial=0)), 1)
        return RolloutBatch(
            prompt_ids=tuple(self.prompt_ids[p] for p in np.unique(self.prompt_index[rows])),
            response_ids=self.response_ids[rows, :longest],
            response_mask=self.response_mask[rows, :longest],
            behaviour_logprobs=self.behaviour_logprobs[rows, :longest],
            rewards=self.rewards[rows],
            group=self.group[rows],
            finished=self.finished[rows],
            own_mask=None if self.own_mask is None else self.own_mask[rows, :longest],
            turns=None if self.turns is None else self.turns[rows],
            objective_mask=None if self.objective_mask is None else self.objective_mask[rows],
            loss_weight=None if self.loss_weight is None else self.loss_weight[rows],
            preference=None if self.preference is None else self.preference[rows],
        )


def concatenate(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """One batch of several; groups of different batches stay apart, whatever their numbers."""
    longest = max(b.response_ids.shape[1] for b in batches)

    def padded(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([np.pad(a, ((0, 0), (0, longest - a.shape[1]))) for a in arrays])

    def optional(name: str, default: float, shape_of: str) -> NDArray[Any] | None:
        given = [getattr(b, name) for b in batches]
        if all(value is None for value in given):
            return None
        dtype = next(value.dtype for value in given if value is not None)
        return np.concatenate(
            [
                np.full(getattr(b, shape_of).shape, default, dtype=dtype) if value is None else value
                for value, b in zip(given, batches, strict=True)
            ]
        )

    offsets = np.cumsum([0, *(len(b.prompt_ids) for b in batches[:-1])])
    all_own = all(b.own_mask is None for b in batches)
    return RolloutBatch(
        prompt_ids=tuple(ids for b in batches for ids in b.prompt_ids),
        response_ids=padded([b.response_ids for b in batches]).astype(np.int64),
        response_mask=padded([b.response_mask for b in batches]).astype(np.bool_),
        behaviour_logprobs=padded([b.behaviour_logprobs for b in batches]).astype(np.float32),
        rewards=np.concatenate([b.rewards for b in batches]),
        group=np.concatenate([b.prompt_index + o for b, o in zip(batches, offsets, strict=True)]),
        finished=np.concatenate([b.finished for b in batches]),
        own_mask=None if all_own else padded([b.own for b in batches]).astype(np.bool_),
        turns=optional("turns", 1, "group"),
        objective_mask=optional("objective_mask", True, "rewards"),
        loss_weight=optional("loss_weight", 1.0, "group"),
        preference=optional("preference", 1.0, "rewards"),
    )
