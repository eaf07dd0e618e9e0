"""Dialogues token by token: what the policy wrote, what it read, and the context of its next turn.

Shapes: N dialogues, M <= N of them still going on, T tokens behind the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents.policy import Generation, Policy, Sampling, Uniforms

BoolArray = NDArray[np.bool_]


def turns_of(env: VectorEnv[Any, Any, Any]) -> int:
    """Most turns of an episode, as the environment declares them; 1 where it declares none."""
    declared = getattr(env.unwrapped, "max_turns", None)
    return 1 if declared is None else int(declared)


def replies_of(info: Mapping[str, Any], live: BoolArray) -> list[str]:
    """What ``info["reply"]`` of a step says to the rows that are ``live``, bool (N,); M texts.

    Raises:
        ValueError: If a row goes on and nothing is said to it.
    """
    said = info.get("reply")
    replies = [None if said is None else said[row] for row in np.flatnonzero(live)]
    for row, reply in zip(np.flatnonzero(live).tolist(), replies, strict=True):
        if not isinstance(reply, str):
            raise ValueError(f"row {row} goes on after this turn, but info['reply'] of the step holds {reply!r} for it")
    return [str(reply) for reply in replies]


class Dialogues:
    """N dialogues as they grow.

    Args:
        prompt_ids: P prompts.
        index: int64 (N,), dialogue i begins with ``prompt_ids[index[i]]``.

    Attributes:
        turns: int64 (N,), responses so far.
        finished: bool (N,), whether each of them ended by itself.
    """

    def __init__(self, prompt_ids: Sequence[Sequence[int]], index: NDArray[np.int64]) -> None:
        n = len(index)
        self.prompt_ids, self.index = prompt_ids, index
        self.turns = np.zeros(n, np.int64)
        self.finished = np.ones(n, np.bool_)
        self._ids: list[list[int]] = [[] for _ in range(n)]
        self._own: list[list[bool]] = [[] for _ in range(n)]
        self._logprobs: list[list[float]] = [[] for _ in range(n)]
        self._ended = np.zeros(n, np.bool_)  # whether the last response ended with an end token

    def context(self, row: int) -> list[int]:
        """Token ids that the next response of a row is a continuation of."""
        return [*self.prompt_ids[self.index[row]], *self._ids[row]]

    def respond(self, policy: Policy, live: BoolArray, sampling: Sampling, uniforms: Uniforms) -> list[str]:
        """Generate the next turn of the rows that are ``live``, bool (N,).

        In the first turn a prompt is read once for all its rows; later each row has a context of its own.

        Args:
            policy: Generates.
            live: Which rows go on.
            sampling: How.
            uniforms: (N, at least max_new_tokens); those of rows that ended are not looked at.

        Returns:
            N texts, empty for the others.

        Raises:
            ValueError: If a context and the response exceed the model's positions.
        """
        rows = np.flatnonzero(live)
        if not self.turns.any():
            prompts, index = self.prompt_ids, self.index[rows]
        else:
            prompts, index = [self.context(row) for row in rows.tolist()], np.arange(len(rows))
            self._check_positions(policy, rows, prompts, sampling)
        generation = policy.generate(prompts, index, sampling, uniforms if live.all() else uniforms[rows])
        self._write(policy, rows, generation)
        texts = [""] * len(live)
        for row, text in zip(rows.tolist(), generation.texts, strict=True):
            texts[row] = text
        return texts

    def _check_positions(
        self, policy: Policy, rows: NDArray[np.intp], contexts: Sequence[Sequence[int]], sampling: Sampling
    ) -> None:
        limit = getattr(policy.model.config, "max_position_embeddings", None)
        for row, context in zip(rows.tolist(), contexts, strict=True):
            if limit is not None and len(context) + sampling.max_new_tokens > limit:
                raise ValueError(
                    f"row {row}, turn {self.turns[row] + 1}: a context of {len(context)} tokens (prompt, own turns and "
                    f"replies) and a response of up to {sampling.max_new_tokens} exceed the model's "
                    f"max_position_embeddings={limit}; take fewer turns, shorter replies or max_new_tokens, or a model "
                    "with more positions"
                )

    def _write(self, policy: Policy, rows: NDArray[np.intp], generation: Generation) -> None:
        for at, row in enumerate(rows.tolist()):
            size = int(generation.response_mask[at].sum())
            ids = generation.response_ids[at, :size].tolist()
            self._ids[row] += ids
            self._own[row] += [True] * size
            self._logprobs[row] += generation.logprobs[at, :size].tolist()
            self._ended[row] = bool(ids) and ids[-1] in policy.eos_ids
        self.turns[rows] += 1
        self.finished[rows] &= generation.finished

    def read(self, policy: Policy, live: BoolArray, replies: Sequence[str]) -> None:
        """Append what the environment said to the rows that are ``live``, M texts."""
        for row, reply in zip(np.flatnonzero(live).tolist(), replies, strict=True):
            ids = policy.encode_reply(reply, ended=bool(self._ended[row]))
            self._ids[row] += ids
            self._own[row] += [False] * len(ids)
            self._logprobs[row] += [0.0] * len(ids)

    def arrays(self, pad_id: int) -> dict[str, NDArray[Any]]:
        """``response_ids``, ``response_mask``, ``own_mask``, ``behaviour_logprobs`` (N, T), as `RolloutBatch` names."""
        n, longest = len(self._ids), max(map(len, self._ids), default=0)
        found: dict[str, NDArray[Any]] = {
            "response_ids": np.full((n, longest), pad_id, np.int64),
            "response_mask": np.zeros((n, longest), np.bool_),
            "own_mask": np.zeros((n, longest), np.bool_),
            "behaviour_logprobs": np.zeros((n, longest), np.float32),
        }
        for row, ids in enumerate(self._ids):
            found["response_ids"][row, : len(ids)] = ids
            found["response_mask"][row, : len(ids)] = True
            found["own_mask"][row, : len(ids)] = self._own[row]
            found["behaviour_logprobs"][row, : len(ids)] = self._logprobs[row]
        return found
