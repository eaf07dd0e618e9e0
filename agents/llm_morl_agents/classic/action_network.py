"""`SharedActionNetwork`: a Q-network that looks at every action through the same parameters.

The networks of morl-baselines read an observation as one flat vector. Where an observation lists its actions, features
of one after those of another, such a network has to learn the same lesson anew for the place of every action.

Shapes: M rows, A actions, F features of an action, D size of an observation, K objectives.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from gymnasium.spaces import flatdim
from torch import Tensor, nn

from llm_morl_agents.classic.environments import AnyEnv
from llm_morl_env.wrappers.declared import declared


class SharedActionNetwork(nn.Module):
    """Vector values of all actions, each from its own features, the rest of the observation, and the weights::

        Q(s, a, w) = perceptron(features of a in s, rest of s, w)

    After the relevance network of He et al. (2016, arXiv 1511.04636), whose input is a state and an action; that values
    of actions permute with the actions is the equivariance of Zaheer et al. (2017, arXiv 1703.06114). Actions do not
    see each other: what compares them has to be among their features.

    In calls it is the conditioned network of morl-baselines: observations (M, D) or (D,) and weights of one row or of
    as many rows give (M, A, K).

    Args:
        n_actions: A.
        action_features: F; the first A * F entries of an observation are those features, action by action.
        observation_size: D, at least A * F.
        n_objectives: K.
        hidden: Sizes of the hidden layers.
    """

    def __init__(
        self, n_actions: int, action_features: int, observation_size: int, n_objectives: int, hidden: Sequence[int]
    ) -> None:
        super().__init__()
        self.n_actions, self.action_features, self.n_objectives = n_actions, action_features, n_objectives
        size = action_features + observation_size - n_actions * action_features + n_objectives
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(size, width), nn.ReLU()]
            size = width
        self.net = nn.Sequential(*layers, nn.Linear(size, n_objectives))

    def forward(self, obs: Tensor, w: Tensor) -> Tensor:
        """Values (M, A, K)."""
        rows, weights = obs.reshape(-1, obs.shape[-1]), w.reshape(-1, self.n_objectives)
        listed = self.n_actions * self.action_features
        own = rows[:, :listed].reshape(len(rows), self.n_actions, self.action_features)
        shared = torch.cat([rows[:, listed:], weights.expand(len(rows), -1)], dim=1)
        values: Tensor = self.net(torch.cat([own, shared.unsqueeze(1).expand(-1, self.n_actions, -1)], dim=2))
        return values


def shared_networks(env: AnyEnv, hidden: Sequence[int], count: int) -> tuple[list[nn.Module], list[nn.Module]]:
    """Networks for an environment that lists its actions, and their targets: copies that no gradient reaches.

    Args:
        env: Says how many features an action has by an attribute ``action_features``.
        hidden: Sizes of the hidden layers.
        count: How many.

    Raises:
        ValueError: If the environment does not list its actions.
    """
    features = declared(env, "action_features")
    if features is None:
        raise ValueError(
            f"algo_kwargs['network']='shared' needs a view that lists features of every action, index or choice, got "
            f"{env}: take network='flat'"
        )
    size, n_actions = flatdim(env.observation_space), flatdim(env.action_space)
    n_objectives = len(declared(env, "objective_names"))
    networks: list[nn.Module] = [
        SharedActionNetwork(n_actions, int(features), size, n_objectives, hidden) for _ in range(count)
    ]
    targets = copy.deepcopy(networks)
    for target in targets:
        target.requires_grad_(False)
    return networks, targets
