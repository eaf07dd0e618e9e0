"""Policies of a classic algorithm as `llm_morl_agents.fronts.policy.FrontPolicy`: episodes on given problems.

Shapes: n problems, M rows of a batch that are still running, D size of an observation, A actions, K objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.classic.environments import AnyEnv, Floats

Ints = NDArray[np.int64]
Rows = NDArray[np.int64]

#: Episodes that are played side by side.
BATCH = 32
#: Episodes that a claim goes over where the library keeps none of its own, as many as its evaluations take.
CLAIM_EPISODES = 5


class Player(Protocol):
    """Plays a batch of episodes, once."""

    def act(self, rows: Rows, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
        """Actions (M,).

        Args:
            rows: Which episodes of the batch go on, (M,).
            observations: Theirs, (M, D).
            masks: Which actions the grammar allows them, (M, A); None where the view has no mask.
        """

    def receive(self, rows: Rows, rewards: Floats) -> None:
        """Rewards (M, K) of the step, in the units of the environments that the policy was trained on."""


#: Of the size of a batch, and a generator for all that is drawn.
PlayerMaker = Callable[[int, np.random.Generator], Player]


@dataclass(frozen=True, eq=False)
class Stage:
    """Environments to play on, made when they are needed and kept.

    Args:
        make: Makes one.
        to_task: Returns (n, K) of these environments as the task pays them.
    """

    make: Callable[[], AnyEnv]
    to_task: Callable[[Any], Floats]
    _envs: list[AnyEnv] = field(default_factory=list, repr=False)

    def play(self, player: PlayerMaker, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K) of an episode on each problem, as the task pays them.

        Args:
            player: Of the policy.
            problems: Numbers of problems of the split.
            split: Of the task.
            seed: Of what the policy draws, and the environment where it draws.
        """
        rng = np.random.default_rng(seed)
        parts = [
            self._batch(player, problems[start : start + BATCH], split, rng) for start in range(0, len(problems), BATCH)
        ]
        return self.to_task(np.concatenate(parts)) if parts else np.zeros((0, 0))

    def _batch(self, make_player: PlayerMaker, problems: Sequence[int], split: str, rng: np.random.Generator) -> Floats:
        while len(self._envs) < len(problems):
            self._envs.append(self.make())
        envs = self._envs[: len(problems)]
        player = make_player(len(envs), rng)
        seeds = rng.integers(2**31, size=len(envs)).tolist()
        begun = [
            env.reset(seed=seed, options={"problem": int(problem), "split": split})
            for env, seed, problem in zip(envs, seeds, problems, strict=True)
        ]
        observations, infos = [step[0] for step in begun], [step[1] for step in begun]
        returns: list[Floats] = [np.zeros(0)] * len(envs)
        rows = np.arange(len(envs))
        while len(rows):
            masks = [infos[row].get("action_mask") for row in rows]
            mask = None if masks[0] is None else np.array(masks).astype(np.bool_)
            actions = player.act(rows, np.stack([observations[row] for row in rows]), mask)
            rewards, going = [], []
            for row, action in zip(rows.tolist(), actions, strict=True):
                observations[row], reward, terminated, truncated, infos[row] = envs[row].step(action)
                rewards.append(np.asarray(reward, np.float64))
                returns[row] = rewards[-1] if not len(returns[row]) else returns[row] + rewards[-1]
                going.append(not (terminated or truncated))
            player.receive(rows, np.stack(rewards))
            rows = rows[np.array(going)]
        return np.stack(returns)


@dataclass(frozen=True, eq=False)
class ClassicPolicy:
    """A `llm_morl_agents.fronts.policy.FrontPolicy` over a `Stage`.

    Args:
        label: See there.
        weights: See there.
        claimed: See there.
        stage: Where it plays.
        player: What plays.
    """

    label: str
    weights: Floats | None
    claimed: Floats | None
    stage: Stage = field(repr=False)
    player: PlayerMaker = field(repr=False)

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K) of one episode on each problem, as the task pays them."""
        return self.stage.play(self.player, problems, split=split, seed=seed)


def with_claim(policy: ClassicPolicy, seed: int) -> ClassicPolicy:
    """The policy that claims its mean return (K,) over a few problems, drawn as the environment itself draws them.

    What an environment draws from may be less than its split: the first problems, or those that a file covers.
    """
    env, rng = policy.stage.make(), np.random.default_rng(seed)
    infos = [env.reset(seed=int(one))[1] for one in rng.integers(2**31, size=CLAIM_EPISODES)]
    returns = policy.returns([int(info["problem"]) for info in infos], split=infos[0]["split"], seed=seed)
    return replace(policy, claimed=returns.mean(axis=0))


def numbers(values: Sequence[float] | Floats) -> str:
    """Numbers for labels.

    >>> numbers([0.25, 0.75, 1.0])
    '0.25 0.75 1'
    """
    return " ".join(f"{value:.3g}" for value in values)


@dataclass(frozen=True, eq=False)
class Stateless:
    """A player that forgets: its actions are a function of the observations.

    Args:
        choose: Actions (M,) of observations (M, D) and masks.
    """

    choose: Callable[[NDArray[Any], NDArray[np.bool_] | None], NDArray[Any]]

    def act(self, rows: Rows, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
        """See `Player`."""
        return self.choose(observations, masks)

    def receive(self, rows: Rows, rewards: Floats) -> None:
        """Nothing to note."""
