"""Trainers of the algorithms of morl-baselines (Felten et al., 2023): build, run, read out.

Shapes: n policies, K objectives. Inside a run everything is in the units of the scaled environments; what leaves it,
claims and returns, is as the task pays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from llm_morl_agents.classic.action_network import shared_networks
from llm_morl_agents.classic.actors import CLAIM_EPISODES, ClassicPolicy, PlayerMaker, Stage, numbers, with_claim
from llm_morl_agents.classic.algorithms import Floats, Job, Trained, on_simplex
from llm_morl_agents.classic.compat import importing, morl_baselines_compat
from llm_morl_agents.classic.environments import Watched
from llm_morl_agents.classic.players import (
    CommandPlayer,
    envelope_player,
    gpi_player,
)
from llm_morl_env.metrics import equally_spaced_weights, pareto_front

#: What the library is told in any case; they are no settings.
FIXED = (
    *("env", "envs", "eval_env", "self", "args", "kwargs", "id", "seed", "log", "device", "total_timesteps"),
    *("project_name", "experiment_name", "wandb_entity", "wandb_mode", "wandb_project_name", "ref_point", "parent"),
)
#: Of the difference of two vectors that are one.
SAME = 1e-6


class Bench:
    """What the trainers share: environments, settings sorted by who takes them, policies with claims.

    Args:
        job: The job.
        own: Settings that the trainer itself takes, with their defaults.
    """

    def __init__(self, job: Job, **own: Any) -> None:
        self.job, self.maker = job, job.maker
        self.n_objectives = job.maker.n_objectives
        self.own = {name: job.settings.get(name, value) for name, value in own.items()}
        self.env = self.watched(counted=True)
        self.eval_env = self.watched(counted=False)
        self.stage = Stage(self.maker.make, self.maker.to_task)
        self.reference = self.maker.reference()

    def watched(self, *, counted: bool, seed: int = 0) -> Watched:
        """A fresh environment that ticks the clock; seeds count from the job's."""
        offset = seed if counted else 10_000 + seed
        return Watched(
            self.maker.make(), self.job.clock, self.job.seed + offset, counted=counted, to_task=self.maker.to_task
        )

    def split(self, algorithm: type[Any], **computed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keywords of the constructor and of ``train``: the settings over what was computed for them.

        Raises:
            ValueError: If a setting is neither's.
        """
        constructors = [vars(base)["__init__"] for base in algorithm.__mro__[:-1] if "__init__" in vars(base)]
        built = {name for constructor in constructors for name in inspect.signature(constructor).parameters}
        trained = set(inspect.signature(algorithm.train).parameters)
        given = {**computed, **{name: value for name, value in self.job.settings.items() if name not in self.own}}
        known = (built | trained) - set(FIXED)
        unknown = sorted(set(given) - known)
        if unknown:
            raise ValueError(
                f"algo_kwargs of {self.job.algorithm.name!r}: unknown {unknown}; "
                f"known are {sorted(known | set(self.own))}"
            )
        return {k: v for k, v in given.items() if k in built}, {k: v for k, v in given.items() if k not in built}

    def policy(self, player: PlayerMaker, label: str, weights: Floats | None, claimed: Any | None) -> ClassicPolicy:
        """A policy with a claim in the units of the environments."""
        claim = None if claimed is None else self.maker.to_task(claimed)
        return ClassicPolicy(label, weights, claim, self.stage, player)

    def family(self, player: Callable[[Floats], PlayerMaker]) -> Trained:
        """The policies of a network that serves all preferences: those of `lattice`, and any other.

        Where objectives are bent, the network's weights are of the bent ones: then a preference, which is of the plain
        ones, is served by the member with the best claim.
        """

        def choose(weights: Floats) -> ClassicPolicy:
            return self.policy(player(weights), f"weights {numbers(weights)}", weights, None)

        def member(weights: Floats) -> ClassicPolicy:
            return self.policy(player(weights), f"bent weights {numbers(weights)}", None, None)

        bent = self.maker.curvature > 0
        members = tuple(with_claim((member if bent else choose)(w), self.job.seed) for w in lattice(self.n_objectives))
        return Trained(members, None if bent else choose)

    def sweep(self) -> list[Floats]:
        """The preferences of a sweep: ``settings["weights"]``, or five of two objectives and six of three."""
        return swept(self.job.settings.get("weights"), self.n_objectives)


def swept(given: Any, n_objectives: int) -> list[Floats]:
    """The preferences of a sweep: those given, or five of two objectives, six of three, K (K + 1) / 2 of K.

    Raises:
        ValueError: If one is no preference, or two have one name: policies are told apart by names.

    >>> [row.tolist() for row in swept([[1, 1], [0, 2]], 2)]
    [[0.5, 0.5], [0.0, 1.0]]
    """
    if given is None:
        return list(equally_spaced_weights(n_objectives, divisions=4 if n_objectives == 2 else 2))
    parameter = "algo_kwargs['weights']"
    rows = [on_simplex(row, n_objectives, parameter) for row in np.atleast_2d(np.asarray(given, np.float64))]
    names = [numbers(row) for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{parameter} must differ in their first three digits, got {twice} more than once")
    return rows


def lattice(n_objectives: int) -> list[Floats]:
    """The preferences that are asked of a network that serves all: those that fronts are valued at.

    >>> [len(lattice(k)) for k in (2, 3, 4)]
    [21, 21, 35]
    """
    from llm_morl_agents.experiments.controls import simplex_lattice
    from llm_morl_agents.fronts.evaluation import WEIGHTS

    return [on_simplex(row, n_objectives, "lattice") for row in simplex_lattice(n_objectives, WEIGHTS)]


def train_pcn(job: Job) -> Trained:
    """Pareto Conditioned Networks (Reymond et al., 2022); the policies are the commands of its replay's front."""
    with importing():
        from morl_baselines.multi_policy.pcn.pcn import PCN

    return _train_commands(job, PCN)


def train_lcn(job: Job) -> Trained:
    """Lorenz Conditioned Networks (Michailidis et al., 2026); as PCN, with fair commands."""
    with importing():
        from morl_baselines.multi_policy.lcn.lcn import LCN

    return _train_commands(job, LCN)


def _train_commands(job: Job, algorithm: type[Any]) -> Trained:
    bench = Bench(job)
    highest = bench.maker.width if not bench.maker.scaled else np.ones(bench.n_objectives)
    highest = (highest + bench.reference).astype(np.float32)
    with morl_baselines_compat(job.seed, job.history):
        built, trained = bench.split(
            algorithm,
            scaling_factor=np.append(1 / bench.maker.width if not bench.maker.scaled else highest, 0.1),
            max_return=highest,
            num_points_pf=1,  # else it plays a hundred episodes after every ten
        )
        built["scaling_factor"] = np.array(built["scaling_factor"], np.float32)
        agent = algorithm(env=bench.env, seed=job.seed, log=True, device="cpu", **built)
        agent.experience_replay = []
        with job.clock.running():
            agent.train(job.total_timesteps, bench.eval_env, bench.reference, **trained)
    episodes = [(np.array(e[2][0].reward, np.float64), len(e[2])) for e in agent.experience_replay]
    if not episodes:
        return Trained(())
    front = pareto_front(np.array([returned for returned, _ in episodes]))
    kept = [next(e for e in episodes if np.abs(e[0] - point).max() < SAME) for point in front]

    def player(desired: Floats, horizon: int) -> PlayerMaker:
        return lambda n, rng: CommandPlayer(agent.model, desired, horizon, highest, n, job.deterministic, rng)

    return Trained(
        tuple(
            bench.policy(player(*e), f"command {i}: return {numbers(bench.maker.to_task(e[0]))}", None, e[0])
            for i, e in enumerate(kept)
        )
    )


def train_envelope(job: Job) -> Trained:
    """Envelope Q-learning (Yang et al., 2019). ``network``: see `shares_network`."""
    with importing():
        from morl_baselines.multi_policy.envelope.envelope import Envelope

    bench = Bench(job, network="flat")
    with morl_baselines_compat(job.seed, job.history):
        built, trained = bench.split(
            Envelope,
            buffer_size=job.total_timesteps,
            epsilon_decay_steps=job.exploration_steps(),
            num_eval_weights_for_front=bench.n_objectives,  # fewer fail in pymoo
        )
        shared = shares_network(bench)
        agent = Envelope(env=bench.env, seed=job.seed, log=True, device="cpu", **built)
        if shared:
            (agent.q_net,), (agent.target_q_net,) = shared_networks(bench.env, agent.net_arch, 1)
            agent.q_optim = torch.optim.Adam(agent.q_net.parameters(), lr=agent.learning_rate)
        with job.clock.running():
            agent.train(job.total_timesteps, **trained)
    return bench.family(partial(envelope_player, agent.q_net))


def train_gpi_ls(job: Job) -> Trained:
    """GPI Linear Support (Alegre et al., 2023). ``network``: see `shares_network`."""
    with importing():
        from morl_baselines.multi_policy.gpi_pd.gpi_pd import GPILS

    bench = Bench(job, network="flat")
    with morl_baselines_compat(job.seed, job.history):
        built, trained = bench.split(
            GPILS,
            buffer_size=job.total_timesteps,
            epsilon_decay_steps=job.exploration_steps(),
            timesteps_per_iter=max(job.total_timesteps // 10, 1),
            num_eval_weights_for_front=bench.n_objectives,  # fewer fail in pymoo
            num_eval_episodes_for_front=CLAIM_EPISODES,
            eval_freq=job.total_timesteps + 1,
            eval_mo_freq=job.total_timesteps + 1,
            checkpoints=False,
        )
        shared = shares_network(bench)
        if len(built.get("net_arch", (1, 1))) < 2:
            raise ValueError(
                "algo_kwargs['net_arch'] of 'gpi_ls' must be at least two sizes, of the layer that the library's "
                f"network has for states and for weights and of those after it, got {built['net_arch']!r}"
            )
        agent = GPILS(env=bench.env, seed=job.seed, log=True, device="cpu", **built)
        if shared:
            agent.q_nets, agent.target_q_nets = shared_networks(bench.env, agent.net_arch, agent.num_nets)
            agent.q_optim = torch.optim.Adam(chain(*(q.parameters() for q in agent.q_nets)), lr=agent.learning_rate)
        agent.weight_support = []
        with job.clock.running():
            agent.train(job.total_timesteps, bench.eval_env, bench.reference, **trained)
    if not agent.weight_support:
        return Trained(())
    return bench.family(partial(gpi_player, agent.q_nets[0], torch.stack(agent.weight_support)))


def shares_network(bench: Bench) -> bool:
    """Whether the setting ``network`` asks for another network than the library's.

    ``"flat"``, the default, is the library's own, a perceptron over the whole observation. ``"shared"`` scores each
    action by its own features with the same parameters (`SharedActionNetwork`; the sizes of its layers are
    ``net_arch``), on views that list features of every action: ``choice`` and ``index``. The algorithm stays as it is.
    What is built into a network goes with it: that of GPI-LS has branches of their own for the state and for the
    weights, whose outputs are multiplied, dropout at a rate of .01 and layer normalisation; the shared one is a plain
    perceptron, as that of Envelope is.

    Raises:
        ValueError: If the setting is neither, or settings of the library's network are given with ``"shared"``.
    """
    network = bench.own["network"]
    if network not in ("flat", "shared"):
        raise ValueError(f"algo_kwargs['network'] must be 'flat' or 'shared', got {network!r}")
    flat = [name for name in ("drop_rate", "layer_norm") if name in bench.job.settings]
    if network == "shared" and flat:
        raise ValueError(
            f"algo_kwargs {flat} belong to the library's own network, and network='shared' has none of it: leave them "
            "out, or take network='flat'"
        )
    return bool(network == "shared")
