"""What each objective contributes to the advantage, on batches from the transforms of the environments."""

import numpy as np
from properties import signals

from llm_morl_agents.advantages import METHODS, Estimator
from llm_morl_agents.weighters import Objectives, Weighting
from llm_morl_env import make_vector_env


def batches_of(transforms, *, steps, seed=0, groups=16, size=8):
    """Rewards, group and bounds of ``steps`` batches that a policy of random letters collects on DentFront."""
    envs = make_vector_env(groups * size, task="dentfront", group_size=size, transforms=transforms)
    envs.reset(seed=seed)
    rng = np.random.default_rng(seed + 1)
    for _ in range(steps):
        responses = ["".join(word) for word in rng.choice(list("abc"), size=(groups * size, 6))]
        _, rewards, *_, info = envs.step(responses)
        yield rewards.astype(np.float64), info["final_info"]["group"], envs.reward_space


def contributions(method, rewards, group, weighting):
    """Parts (N, K) of the advantage before whitening: those of each objective alone, which sum up to it.

    At reward level the sum is centred and not divided, which would mix the objectives.
    """
    recipe = METHODS[method]
    base = recipe.base if recipe.level == "advantage" else METHODS["dr_grpo"].base
    estimator = Estimator(base, recipe.level)
    weights, scale = weighting.rows(group, rewards.shape[1])
    parts = []
    for k in range(rewards.shape[1]):
        alone = np.zeros_like(weights)
        alone[:, k] = weights[:, k]
        parts.append(estimator(rewards, group, Weighting(alone, scale, weighting.combiner)))
    return np.column_stack(parts)


def shares(weighter, transforms, *, method="gdpo", steps=20, last=10):
    """Share of the advantage that comes from each objective, (K,): mean over the last steps of |part| by their sum."""
    total, state = 0.0, None
    for step, (rewards, group, space) in enumerate(batches_of(transforms, steps=steps)):
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        state = weighter.init(Objectives([f"r{k}" for k in range(len(low))], low, high)) if state is None else state
        level = METHODS[method].level
        weighting, state = weighter(signals(rewards, group, level=level, low=low, high=high, step=step), state)
        if step >= steps - last:
            total = total + np.abs(contributions(method, rewards, group, weighting)).mean(axis=0)
    return total / total.sum()
