"""How the policies of morl-baselines act, on batches: the same rules as the library's ``eval``, row by row.

The networks are the library's own; only the loop over single observations is not. Shapes: M rows, D size of an
observation, A actions, K objectives, S weights of a support.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_morl_agents.classic.actors import PlayerMaker, Rows, Stateless
from llm_morl_agents.classic.environments import Floats
from llm_morl_agents.threads import one_thread

Tensor = torch.Tensor


def floats(values: Any) -> Tensor:
    """A float32 tensor."""
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)


def chosen(log_probs: Tensor, deterministic: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """The most likely action of each row, or one drawn; log-probabilities or logits (M, A)."""
    scores = log_probs.numpy().astype(np.float64)
    if not deterministic:
        scores = scores + rng.gumbel(size=scores.shape)
    picked: NDArray[np.int64] = scores.argmax(axis=1)
    return picked


def envelope_player(q_net: Any, weights: Floats) -> PlayerMaker:
    """Of a Q-network conditioned on weights: ``argmax_a w . Q(s, a, w)``."""

    @one_thread()
    @torch.no_grad()
    def choose(observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
        w = floats(weights)
        values: Tensor = q_net(floats(observations), w.expand(len(observations), -1)) @ w
        return values.argmax(dim=1).numpy()

    return lambda n, rng: Stateless(choose)


def gpi_player(q_net: Any, support: Tensor, weights: Floats) -> PlayerMaker:
    """Of generalised policy improvement: ``argmax_a max_i w . Q(s, a, w_i)`` over the support (S, K)."""

    @one_thread()
    @torch.no_grad()
    def choose(observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
        rows, size = len(observations), len(support)
        training = q_net.training
        q_net.eval()  # it has dropout
        repeated = floats(observations).repeat_interleave(size, 0)
        values: Tensor = q_net(repeated, support.repeat(rows, 1)) @ floats(weights)
        q_net.train(training)
        return values.view(rows, size, -1).max(dim=1).values.argmax(dim=1).numpy()

    return lambda n, rng: Stateless(choose)


class CommandPlayer:
    """Of PCN and LCN: the desired return and the horizon that is left go down within the episode.

    Args:
        model: The network.
        desired: Return (K,) that is asked for.
        horizon: Steps that it took.
        max_return: Upper bound (K,) of what is asked for.
        n: Episodes.
        deterministic: Whether the most likely action is taken.
        rng: For actions that are drawn.
    """

    def __init__(
        self,
        model: Any,
        desired: Floats,
        horizon: float,
        max_return: Floats,
        n: int,
        deterministic: bool,
        rng: np.random.Generator,
    ) -> None:
        self._model, self._deterministic, self._rng = model, deterministic, rng
        self._desired = np.tile(np.asarray(desired, np.float32), (n, 1))
        self._horizon = np.full((n, 1), horizon, np.float32)
        self._max_return = np.asarray(max_return, np.float32)

    @one_thread()
    @torch.no_grad()
    def act(self, rows: Rows, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
        """See `llm_morl_agents.classic.actors.Player`."""
        log_probs = self._model(floats(observations), floats(self._desired[rows]), floats(self._horizon[rows]))
        return chosen(log_probs, self._deterministic, self._rng)

    def receive(self, rows: Rows, rewards: Floats) -> None:
        """Ask for the rest."""
        self._desired[rows] = np.minimum(self._desired[rows] - rewards.astype(np.float32), self._max_return)
        self._horizon[rows] = np.maximum(self._horizon[rows] - 1, 1)


def logits_player(logits: Callable[[Tensor], Tensor], deterministic: bool) -> PlayerMaker:
    """Of an actor network without memory."""

    def make(n: int, rng: np.random.Generator) -> Stateless:
        @one_thread()
        @torch.no_grad()
        def choose(observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
            return chosen(logits(floats(observations)), deterministic, rng)

        return Stateless(choose)

    return make


class AccruedPlayer:
    """Of policies that see what they earned so far in the episode: EUPG, NLMOPPO.

    Args:
        logits: Of observations (M, D) and discounted accrued rewards (M, K), (M, A).
        gamma: Discount of the accrued rewards.
        n: Episodes.
        n_objectives: K.
        deterministic: Whether the most likely action is taken.
        rng: For actions that are drawn.
    """

    def __init__(
        self,
        logits: Callable[[Tensor, Tensor], Tensor],
        gamma: float,
        n: int,
        n_objectives: int,
        deterministic: bool,
        rng: np.random.Generator,
    ) -> None:
        self._logits, self._gamma, self._deterministic, self._rng = logits, gamma, deterministic, rng
        self._accrued = np.zeros((n, n_objectives))
        self._discount = np.ones((n, 1))

    @one_thread()
    @torch.no_grad()
    def act(self, rows: Rows, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
        """See `llm_morl_agents.classic.actors.Player`."""
        return chosen(self._logits(floats(observations), floats(self._accrued[rows])), self._deterministic, self._rng)

    def receive(self, rows: Rows, rewards: Floats) -> None:
        """Accrue."""
        self._accrued[rows] += self._discount[rows] * rewards
        self._discount[rows] *= self._gamma


def table_player(q_table: Mapping[Any, NDArray[np.float64]], weights: Floats, n_actions: int) -> PlayerMaker:
    """Of a table of vectors (A, K) by observation: ``argmax_a w . Q(s, a)``; at random where nothing was seen."""

    def make(n: int, rng: np.random.Generator) -> Stateless:
        def choose(observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
            tables = [q_table.get(tuple(row)) for row in observations]
            return np.array(
                [rng.integers(n_actions) if table is None else (table @ weights).argmax() for table in tables]
            )

        return Stateless(choose)

    return make


class TrackingPlayer:
    """Of Pareto Q-learning: in each state, the action whose set holds the vector nearest to what is still wanted.

    Args:
        agent: ``PQL``: its sets ``non_dominated`` and ``avg_reward`` by state and action.
        find: The number of the state of an observation.
        target: Vector (K,) of the set of state 0 that is tracked.
        n: Episodes.
    """

    def __init__(self, agent: Any, find: Callable[[NDArray[Any]], int], target: Floats, n: int) -> None:
        self._agent, self._find = agent, find
        self._targets = np.tile(np.asarray(target, np.float64), (n, 1))

    def act(self, rows: Rows, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[Any]:
        """See `llm_morl_agents.classic.actors.Player`."""
        return np.array([self._track(row, self._find(seen)) for row, seen in zip(rows, observations, strict=True)])

    def _track(self, row: int, state: int) -> int:
        found: list[tuple[float, int, Floats]] = []
        for action in range(self._agent.num_actions):
            rest = np.array(sorted(self._agent.non_dominated[state][action]))
            reached = self._agent.gamma * rest + self._agent.avg_reward[state, action]
            distances = np.abs(reached - self._targets[row]).sum(axis=1)
            best = int(distances.argmin())
            found.append((float(distances[best]), action, rest[best]))
        _, action, self._targets[row] = min(found, key=lambda item: item[:2])
        return action

    def receive(self, rows: Rows, rewards: Floats) -> None:
        """Nothing to note: the target follows the action."""
