"""What every front is seen against: chance, the task's own gold answers, a language model as it is.

Shapes: n problems, K objectives, V vocabulary. All are `llm_morl_agents.fronts.policy.FrontPolicy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents.dialogue_rollout import turns_of
from llm_morl_agents.evaluate import answer
from llm_morl_agents.policy import Policy, Sampling, draw_uniforms
from llm_morl_env.task import Task
from llm_morl_rewards.turns import split_turns

Floats = NDArray[np.float64]

#: Responses that a language model writes at a time.
ROWS = 128


@dataclass(frozen=True, eq=False)
class RandomPolicy:
    """Writes token by token, each drawn uniformly from the action mask of the token view.

    Args:
        env_id: Of the environment.
        env_kwargs: Arguments of its token view.
        label: For tables.
        weights: It serves no preference.
        claimed: It claims nothing.
    """

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    label: str = "random"
    weights: Floats | None = None
    claimed: Floats | None = None

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K), each episode from a stream of its own. See `FrontPolicy.returns`."""
        env = gym.make(self.env_id, **self.env_kwargs)
        episodes = [
            self._episode(env, problem, split, np.random.default_rng([seed, row]))
            for row, problem in enumerate(problems)
        ]
        return np.array(episodes, dtype=np.float64)

    def _episode(self, env: gym.Env[Any, Any], problem: int, split: str, generator: np.random.Generator) -> Floats:
        options = {"problem": int(problem), "split": split}
        _, info = env.reset(seed=int(generator.integers(2**31)), options=options)
        total, over = np.zeros(0), False
        while not over:
            action = generator.choice(np.flatnonzero(info["action_mask"]))
            _, rewards, terminated, truncated, info = env.step(action)
            total = np.asarray(rewards, np.float64) + (total if len(total) else 0.0)
            over = terminated or truncated
        return total


@dataclass(frozen=True, eq=False)
class GoldPolicy:
    """Answers with ``problem.meta["gold"]``, in a dialogue turn by turn: the oracle where rewards agree on one answer.

    It is no upper bound where objectives conflict: a task's gold answer then is one good compromise, and other answers
    are better for some weights. Where a task knows its front, that is the oracle.

    Args:
        env_id: Of the environment.
        env_kwargs: Arguments of its text view.
        label: For tables.
        weights: It serves no preference.
        claimed: It claims nothing.
    """

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    label: str = "gold answers"
    weights: Floats | None = None
    claimed: Floats | None = None

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K). See `FrontPolicy.returns`.

        Raises:
            ValueError: If a problem has no gold answer.
            RuntimeError: If a dialogue goes on after the last turn of its gold answer.
        """
        env = gym.make(self.env_id, **self.env_kwargs, view="text")
        shown = env.unwrapped.task.with_split(split)  # type: ignore[attr-defined]  # not in Gymnasium
        seeds = np.random.default_rng(seed).integers(2**31, size=len(problems)).tolist()
        found = []
        for problem, own_seed in zip(problems, seeds, strict=True):
            gold = shown[int(problem)].meta.get("gold")
            if not isinstance(gold, str):
                raise ValueError(
                    f"problem {problem} of {self.env_id}, split {split!r}, has no gold answer, got {gold!r}"
                )
            env.reset(seed=own_seed, options={"problem": int(problem), "split": split})
            total, over = np.zeros(len(shown.rewards)), False
            for turn in split_turns(gold):
                if over:
                    break
                _, rewards, terminated, truncated, _ = env.step(turn)
                total, over = total + np.asarray(rewards, np.float64), terminated or truncated
            if not over:
                raise RuntimeError(f"problem {problem} of {self.env_id}: the dialogue goes on after its gold answer")
            found.append(total)
        return np.array(found, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class LanguageModelPolicy:
    """A language model, sampled or greedy, through the batched text view.

    Args:
        policy: The model, or what `llm_morl_agents.load_policy` loads: a name, a directory.
        env_id: Of the environment.
        env_kwargs: Arguments of its text view.
        sampling: How it answers; by default at temperature 1, up to the task's cap.
        label: For tables.
        weights: The preference (K,) that it was trained for; None for none.
        claimed: What its training says that it earns, (K,).
    """

    policy: Policy | str | Path
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    sampling: Sampling | None = None
    label: str = "language model"
    weights: Floats | None = None
    claimed: Floats | None = None

    @cached_property
    def model(self) -> Policy:
        """The model, loaded when it is first needed."""
        if isinstance(self.policy, Policy):
            return self.policy
        from llm_morl_agents.policies.load import load_policy

        return load_policy(str(self.policy))

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K); NaN where an objective does not apply. See `FrontPolicy.returns`."""
        rows = np.asarray(problems, dtype=np.int64)
        env: VectorEnv[Any, Any, Any] = gym.make_vec(
            self.env_id, num_envs=min(ROWS, len(rows)), view="text", **self.env_kwargs
        )
        task: Task = env.unwrapped.task  # type: ignore[attr-defined]  # not in Gymnasium
        env.reset(seed=seed)  # of rewards with noise
        sampling = self.sampling or Sampling(max_new_tokens=task.max_response_tokens)
        uniforms = draw_uniforms(np.random.default_rng(seed), len(rows), turns_of(env) * sampling.max_new_tokens)
        parts = [slice(start, start + env.num_envs) for start in range(0, len(rows), env.num_envs)]
        found = [answer(self.model, env, rows[part], split, sampling, uniforms[part]).rewards for part in parts]
        return np.concatenate(found)


def random_to_oracle_gap(utility: float, *, random: float, oracle: float) -> float:
    """The share of the way from chance to the oracle that a utility has come::

        (u - u_random) / (u_oracle - u_random)

    Below 0 where it is worse than chance, above 1 where the oracle is none.

    Raises:
        ValueError: If the oracle is not above chance.

    >>> random_to_oracle_gap(0.75, random=0.5, oracle=1.0)
    0.5
    """
    if not oracle > random:
        raise ValueError(f"random_to_oracle_gap: the oracle must be above chance, got {oracle} and {random}")
    return (utility - random) / (oracle - random)
