"""Trainers of morl-baselines' other algorithms: populations, outer loops, sweeps and tables.

Shapes and units as in `llm_morl_agents.classic.morl_baselines`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from llm_morl_agents.classic.actors import CLAIM_EPISODES, ClassicPolicy, PlayerMaker, numbers, with_claim
from llm_morl_agents.classic.algorithms import Floats, Job, Trained
from llm_morl_agents.classic.compat import importing, morl_baselines_compat
from llm_morl_agents.classic.environments import VisitedStates
from llm_morl_agents.classic.morl_baselines import Bench
from llm_morl_agents.classic.players import AccruedPlayer, TrackingPlayer, logits_player, table_player
from llm_morl_env.envs.step_vector import MOSyncVectorEnv

#: Batched environments of the algorithms that step several.
NUM_ENVS = 4
#: Policies of MORL/D, as in the library, or as many as there are objectives.
POPULATION = 6


def linear_utility(rewards: Any, weights: Any) -> Any:
    """``w . r`` over the last axis, of arrays or tensors.

    >>> float(linear_utility(np.array([0.5, 1.0]), np.array([1.0, 0.5])))
    1.0
    """
    return (rewards * weights).sum(-1)


def train_morld(job: Job) -> Trained:
    """MORL/D (Felten et al., 2024) with discrete SAC; the policies are those of its archive."""
    with importing():
        from morl_baselines.multi_policy.morld.morld import MORLD

    # The archive copies whole policies, replay and all, at every evaluation.
    bench = Bench(job, policy_args={})
    sac = {"buffer_size": min(job.total_timesteps, 10_000), "learning_starts": job.total_timesteps // 20}
    with morl_baselines_compat(job.seed, job.history):
        built, trained = bench.split(
            MORLD,
            pop_size=max(POPULATION, bench.n_objectives),
            exchange_every=max(job.total_timesteps // 24, 1),
            num_eval_episodes_for_front=CLAIM_EPISODES,
            num_eval_weights_for_eval=bench.n_objectives,  # fewer fail in pymoo
            checkpoints=False,
        )
        _check_population(bench.n_objectives, **built)
        agent = MORLD(
            env=bench.env,
            seed=job.seed,
            log=True,
            device="cpu",
            policy_name="MOSACDiscrete",
            policy_args={**sac, **bench.own["policy_args"]},
            **built,
        )
        with job.clock.running():
            agent.train(job.total_timesteps, bench.eval_env, bench.reference, **trained)
    members = zip(agent.archive.individuals, agent.archive.evaluations, strict=True)
    return Trained(
        tuple(
            bench.policy(
                logits_player(member.wrapped.actor, job.deterministic),
                f"member {i}: weights {numbers(member.weights)}",
                np.array(member.weights, np.float64),
                claim,
            )
            for i, (member, claim) in enumerate(members)
        )
    )


def _check_population(n_objectives: int, *, pop_size: int, weight_init_method: str = "uniform", **_: Any) -> None:
    """Refuse a population that is too small for even weights.

    Raises:
        ValueError: If it is smaller than the number of objectives: pymoo spreads no fewer directions than that.
    """
    if weight_init_method == "uniform" and pop_size < n_objectives:
        raise ValueError(
            f"algo_kwargs['pop_size'] must be at least {n_objectives}, the number of objectives, "
            f"where weight_init_method='uniform', got {pop_size!r}"
        )


def train_ipro(job: Job) -> Trained:
    """IPRO (Röpke et al., 2025), for two objectives in its exact form, over PPO with a non-linear utility.

    The library hands back one network for all solutions, which later iterations train on: a copy is kept of each.
    """
    with importing():
        from morl_baselines.multi_policy.ipro.ipro import IPRO
        from morl_baselines.multi_policy.ipro.ipro_2d import IPRO2D

    bench = Bench(job, num_envs=NUM_ENVS, eval_episodes=CLAIM_EPISODES, max_iterations=8)
    algorithm = IPRO2D if bench.n_objectives == 2 else IPRO
    iterations = int(bench.own["max_iterations"])
    solved = iterations + (2 if bench.n_objectives == 2 else 2 * bench.n_objectives)
    found: list[ClassicPolicy] = []
    envs = _vector_env(bench)  # before the working directory changes: candidates may have relative paths
    with morl_baselines_compat(job.seed, job.history):
        built, trained = bench.split(
            algorithm, iter_total_timesteps=job.total_timesteps // solved, tolerance=1e-3, offset=0.05
        )
        outer = algorithm(
            env=envs,
            seed=job.seed,
            log=True,
            device="cpu",
            max_iterations=iterations,
            **built,
        )
        inner = outer.agent
        _check_updates(inner, job.total_timesteps // solved)
        inner.policy_evaluate = partial(inner.policy_evaluate, eval_episodes=bench.own["eval_episodes"])
        train = inner.train

        def train_and_keep(*args: Any, pref: Any = None, **kwargs: Any) -> Any:
            claim = train(*args, pref=pref, **kwargs)
            player = _accrued(bench, copy.deepcopy(inner.agent), inner.gamma, inner.pref)
            found.append(bench.policy(player, f"solution {len(found)}", None, claim.copy()))
            return claim

        inner.train = train_and_keep
        with job.clock.running():
            outer.train(bench.eval_env, **{"ref_point": bench.reference, "deterministic": job.deterministic, **trained})
    return Trained(tuple(found))


def train_nlmoppo(job: Job) -> Trained:
    """Non-linear multi-objective PPO, a run for each preference; ``utility`` of settings takes (returns, weights)."""
    with importing():
        from morl_baselines.single_policy.ser.nl_mo_ppo import NLMOPPO

    bench = Bench(job, weights=None, utility=linear_utility, num_envs=NUM_ENVS, eval_episodes=CLAIM_EPISODES)

    envs = _vector_env(bench)  # before the working directory changes: candidates may have relative paths

    def one(i: int, weights: Floats, steps: int, found: list[ClassicPolicy]) -> None:
        built, _ = bench.split(NLMOPPO)
        agent = NLMOPPO(i, envs, seed=job.seed + i, log=True, device="cpu", total_timesteps=steps, **built)
        _check_updates(agent, steps)
        agent.policy_evaluate = partial(agent.policy_evaluate, eval_episodes=bench.own["eval_episodes"])
        w = torch.as_tensor(weights, dtype=torch.float32)

        def policy(claim: Any) -> ClassicPolicy:
            return bench.policy(_accrued(bench, agent.agent, agent.gamma, w), _label(weights), weights, claim)

        found.append(policy(None))
        claim = agent.train(
            bench.eval_env, partial(bench.own["utility"], weights=w), pref=w, deterministic=job.deterministic
        )
        found[-1] = policy(claim)

    return Trained(_sweep(job, bench, one))


def _check_updates(agent: Any, steps: int) -> None:
    """Refuse a training that would not update once.

    Raises:
        ValueError: If its steps are fewer than those of an update.
    """
    if not agent.num_iterations:
        raise ValueError(
            f"train_classic(total_timesteps=) is too small: each of the algorithm's runs gets {steps} steps, and an "
            f"update takes {agent.batch_size}"
        )


def train_eupg(job: Job) -> Trained:
    """Expected Utility Policy Gradient (Roijers et al., 2018), a run for each preference."""
    with importing():
        from morl_baselines.single_policy.esr.eupg import EUPG

    bench = Bench(job, weights=None, utility=linear_utility)

    def one(i: int, weights: Floats, steps: int, found: list[ClassicPolicy]) -> None:
        built, trained = bench.split(EUPG, buffer_size=1_000)  # an episode at a time
        agent = EUPG(
            env=bench.env,
            # The library calls it with weights on arrays, and without them on tensors.
            scalarization=lambda rewards, w=None: bench.own["utility"](rewards, _like(rewards, weights)),
            weights=weights,
            seed=job.seed + i,
            log=True,
            device="cpu",
            **built,
        )

        def logits(observations: torch.Tensor, accrued: torch.Tensor) -> torch.Tensor:
            inputs = torch.cat((observations, accrued), dim=1)
            return torch.nn.functional.logsigmoid(agent.net.net(inputs))

        def player(n: int, rng: np.random.Generator) -> AccruedPlayer:
            return AccruedPlayer(logits, agent.gamma, n, bench.n_objectives, job.deterministic, rng)

        found.append(bench.policy(player, _label(weights), weights, None))
        agent.train(steps, **trained)

    return Trained(tuple(with_claim(policy, job.seed) for policy in _sweep(job, bench, one)))


def train_moql(job: Job) -> Trained:
    """Scalarised Q-learning (Van Moffaert et al., 2013), a run for each preference."""
    with importing():
        from morl_baselines.single_policy.ser.mo_q_learning import MOQLearning

    bench = Bench(job, weights=None)

    def one(i: int, weights: Floats, steps: int, found: list[ClassicPolicy]) -> None:
        built, trained = bench.split(MOQLearning, epsilon_decay_steps=job.exploration_steps(steps))
        agent = MOQLearning(env=bench.env, id=i, weights=weights, seed=job.seed + i, log=True, **built)
        found.append(bench.policy(_of_table(bench, agent, weights), _label(weights), weights, None))
        agent.train(time.time(), total_timesteps=steps, **trained)

    return Trained(tuple(with_claim(policy, job.seed) for policy in _sweep(job, bench, one)))


def train_mp_moql(job: Job) -> Trained:
    """Q-learning with optimistic linear support (Roijers, 2016), the policies those of its convex coverage set."""
    with importing():
        from morl_baselines.multi_policy.multi_policy_moqlearning.mp_mo_q_learning import MPMOQLearning

    bench = Bench(job)
    with morl_baselines_compat(job.seed, job.history):
        built, trained = bench.split(
            MPMOQLearning,
            weight_selection_algo="ols",
            timesteps_per_iteration=max(job.total_timesteps // 10, 1),
            epsilon_decay_steps=job.exploration_steps(),
            num_eval_weights_for_front=bench.n_objectives,  # fewer fail in pymoo
            num_eval_weights_for_eval=bench.n_objectives,
            num_eval_episodes_for_front=CLAIM_EPISODES,
            eval_freq=job.total_timesteps + 1,
        )
        agent = MPMOQLearning(env=bench.env, seed=job.seed, log=True, **built)
        with job.clock.running():
            agent.train(job.total_timesteps, bench.eval_env, bench.reference, **trained)
    support = agent.linear_support
    # The last policy has no value yet where the training ended within its iteration.
    claims = [*support.ccs, *[None] * (len(agent.policies) - len(support.ccs))]
    return Trained(
        tuple(
            bench.policy(
                _of_table(bench, one, one.weights), f"policy {i}: {_label(one.weights)}", np.array(one.weights), claim
            )
            for i, (one, claim) in enumerate(zip(agent.policies, claims, strict=True))
        )
    )


def train_pql(job: Job) -> Trained:
    """Pareto Q-learning (Van Moffaert and Nowé, 2014), over the states it visits; a policy for each vector it tracks.

    The library's table is over all observations there could be; numbers of visited ones take their place.
    """
    with importing():
        from morl_baselines.multi_policy.pareto_q_learning.pql import PQL

    max_states = job.algorithm.needs.max_states
    assert max_states is not None
    bench = Bench(job, max_states=max_states)
    states = VisitedStates(bench.env, int(bench.own["max_states"]))
    with morl_baselines_compat(job.seed, job.history):
        built, trained = bench.split(
            PQL,
            epsilon_decay_steps=job.exploration_steps(),
            num_eval_weights_for_eval=bench.n_objectives,
            log_every=job.total_timesteps + 1,
        )
        agent = PQL(env=states, ref_point=bench.reference - 1e-3, seed=job.seed, log=True, **built)
        with job.clock.running():
            agent.train(job.total_timesteps, bench.eval_env, bench.reference, **trained)
        vectors = sorted(agent.get_local_pcs(state=0))

    def player(target: Floats) -> PlayerMaker:
        return lambda n, rng: TrackingPlayer(agent, states.find, target, n)

    return Trained(
        tuple(
            bench.policy(
                player(np.array(vector)), f"vector {i}: tracks {numbers(bench.maker.to_task(vector))}", None, vector
            )
            for i, vector in enumerate(vectors)
        )
    )


def _sweep(
    job: Job, bench: Bench, one: Callable[[int, Floats, int, list[ClassicPolicy]], None]
) -> tuple[ClassicPolicy, ...]:
    """Runs, an equal share of steps and time each: ``one(i, weights, steps, found)`` appends its policy and trains."""
    preferences = bench.sweep()
    found: list[ClassicPolicy] = []
    with morl_baselines_compat(job.seed, job.history), job.clock.running():
        for i, weights in enumerate(preferences):
            with job.clock.until(job.clock.max_cpu_seconds * (i + 1) / len(preferences)):
                one(i, weights, job.total_timesteps // len(preferences), found)
    return tuple(found)


def _vector_env(bench: Bench) -> MOSyncVectorEnv:
    """A batched environment of `NUM_ENVS`, or as many as the settings say; under SAME_STEP, which NLMOPPO assumes."""
    makers = [partial(bench.watched, counted=True, seed=i) for i in range(int(bench.own["num_envs"]))]
    return MOSyncVectorEnv(makers, autoreset_mode="SameStep")


def _accrued(bench: Bench, network: Any, gamma: float, preference: Any) -> PlayerMaker:
    """Plays the network of NLMOPPO, which sees the preference it was trained for."""

    def logits(observations: torch.Tensor, accrued: torch.Tensor) -> torch.Tensor:
        inputs: torch.Tensor = network._build_aug_obs(observations, accrued, preference)
        scores: torch.Tensor = network.actor(inputs)
        return scores

    deterministic = bench.job.deterministic
    return lambda n, rng: AccruedPlayer(logits, gamma, n, bench.n_objectives, deterministic, rng)


def _of_table(bench: Bench, agent: Any, weights: Floats) -> PlayerMaker:
    """Plays a table, that of `MOQLearning`."""
    return table_player(agent.q_table, np.array(weights), int(agent.action_dim))


def _like(rewards: Any, weights: Floats) -> Any:
    """The weights as an array or a tensor, as the rewards are."""
    return torch.as_tensor(weights, dtype=rewards.dtype) if isinstance(rewards, torch.Tensor) else weights


def _label(weights: Floats) -> str:
    return f"weights {numbers(weights)}"
