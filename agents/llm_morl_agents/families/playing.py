"""`FamilyPolicy`: one policy of a family at one preference. Shapes: n problems, K objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents.dialogue_rollout import turns_of
from llm_morl_agents.evaluate import answer
from llm_morl_agents.policy import Policy, Sampling, draw_uniforms

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FamilyPolicy:
    """A language model with the parameters that serve a preference; a `llm_morl_agents.fronts.policy.FrontPolicy`.

    All of a family share one model: each writes its parameters into it before it answers.

    Args:
        label: For tables.
        weights: The preference (K,).
        policy: The shared model.
        tensors: Its parameters.
        envs: A batched text environment that shows the preference where the model reads it.
        sampling: How it answers.
        claimed: Nothing is claimed.
    """

    label: str
    weights: Floats | None
    policy: Policy = field(repr=False)
    tensors: Mapping[str, torch.Tensor] = field(repr=False)
    envs: VectorEnv[Any, Any, Any] = field(repr=False)
    sampling: Sampling
    claimed: Floats | None = None

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K); NaN where an objective does not apply. See `FrontPolicy.returns`."""
        rows = np.asarray(problems, dtype=np.int64)
        self.policy.load_state_tensors(self.tensors)
        self.envs.reset(seed=seed)  # of rewards with noise
        shape = len(rows), turns_of(self.envs) * self.sampling.max_new_tokens
        uniforms = draw_uniforms(np.random.default_rng(seed), *shape)
        k = int(self.envs.unwrapped.reward_dim)  # type: ignore[attr-defined]  # not in Gymnasium
        totals = np.zeros((len(rows), k))
        for start in range(0, len(rows), self.envs.num_envs):
            part = slice(start, start + self.envs.num_envs)
            totals[part] = answer(self.policy, self.envs, rows[part], split, self.sampling, uniforms[part]).rewards
        return totals
