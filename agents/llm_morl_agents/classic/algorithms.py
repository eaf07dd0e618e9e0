"""The table of classic algorithms: where each comes from, what it needs, and settings that were tuned here.

None is written anew: a row names the function that builds, runs and reads out the algorithm of a library, and that
function imports the library when it is called. A new algorithm is a row and such a function.

Shapes: n policies, K objectives.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.fronts.policy import FrontPolicy

if TYPE_CHECKING:
    from llm_morl_agents.classic.clock import Clock
    from llm_morl_agents.classic.environments import Maker
    from llm_morl_agents.classic.recorder import History

Floats = NDArray[np.float64]
Settings = Mapping[str, Any]
Presets = Mapping[str, Settings]
Library = Literal["morl_baselines", "stable_baselines3", "sb3_contrib"]


@dataclass(frozen=True)
class Needs:
    """What an algorithm asks of an environment, beyond a flat Box observation and a Discrete action.

    Args:
        min_objectives: Fewer are refused.
        one_start: Whether every episode has to begin in the same state.
        max_states: How many distinct observations it can hold a table of; None where it has none.
        masks: Whether it needs ``action_masks``.
    """

    min_objectives: int = 1
    one_start: bool = False
    max_states: int | None = None
    masks: bool = False


@dataclass(frozen=True, eq=False)
class Job:
    """One training, as a trainer receives it.

    Args:
        algorithm: Row of the table.
        maker: Makes environments, scaled as the job says.
        total_timesteps: Of the training environment.
        seed: Of everything.
        settings: Preset and the user's own, merged.
        clock: To be ticked at every step; `Clock.running` goes around the library's loop.
        history: Rows of the training.
        deterministic: Whether stochastic policies play their most likely action when they are evaluated.
    """

    algorithm: Algorithm
    maker: Maker
    total_timesteps: int
    seed: int
    settings: Settings
    clock: Clock
    history: History
    deterministic: bool = True

    def exploration_steps(self, steps: int | None = None) -> int:
        """Steps over which random actions become fewer, of all or of those of one run of a sweep."""
        share = self.algorithm.exploration
        assert share is not None
        return max(int((self.total_timesteps if steps is None else steps) * share), 1)


@dataclass(frozen=True, eq=False)
class Trained:
    """What a trainer hands back.

    Args:
        policies: Those of the algorithm's own archive, or of a few preferences where one network serves all.
        choose: The policy that serves a preference (K,) on the simplex, where the algorithm has a rule of its own for
            it; None takes the member of ``policies`` with the best claim.
    """

    policies: tuple[FrontPolicy, ...]
    choose: Callable[[Floats], FrontPolicy] | None = None


Trainer = Callable[[Job], Trained]


@dataclass(frozen=True)
class Algorithm:
    """A row of the table.

    Args:
        name: What `train_classic` calls it.
        title: What papers call it.
        library: The module that has it.
        trainer: ``module:function``, a `Trainer`.
        policies: ``"conditioned"``: one network for all preferences; ``"archive"``: a set; ``"sweep"``: one policy a
            run, a run for each preference of ``settings["weights"]``.
        needs: Of the environment.
        presets: Settings by name; ``"default"`` is taken unless another is asked for, and every other one is laid over
            it. A setting is a keyword of the algorithm's constructor or of its ``train``, or one that the trainer's
            docstring names; ``curvature`` is for all, see `train_classic`.
        exploration: The share of the steps over which random actions become fewer; None where nothing of the kind falls
            with the steps, or a setting of the library's own says it (``exploration_fraction``).
    """

    name: str
    title: str
    library: Library
    trainer: str
    policies: Literal["conditioned", "archive", "sweep"]
    needs: Needs = Needs()
    presets: Presets = field(default_factory=lambda: MappingProxyType({"default": {}}))
    exploration: float | None = None

    def load(self) -> Trainer:
        """The trainer.

        Raises:
            ImportError: If its module does not import.
        """
        module, function = self.trainer.split(":")
        return cast(Trainer, getattr(importlib.import_module(module), function))

    def settings(self, preset: str | None, own: Settings | None) -> dict[str, Any]:
        """The default preset, the one asked for, and the user's own settings, each over the one before.

        Raises:
            ValueError: If there is no such preset.
        """
        if preset is not None and preset not in self.presets:
            raise ValueError(f"preset of {self.name!r} must be one of {sorted(self.presets)}, got {preset!r}")
        return {**self.presets["default"], **self.presets[preset or "default"], **(own or {})}

    def exploration_steps(self, total_timesteps: int, settings: Settings) -> int | None:
        """Steps, of all runs together, over which random actions become fewer; None where the table does not say.

        Args:
            total_timesteps: Of the training.
            settings: As `settings` gives them; ``epsilon_decay_steps`` is the user's own business.

        >>> ALGORITHMS["envelope"].exploration_steps(1000, {}), ALGORITHMS["pcn"].exploration_steps(1000, {})
        (500, None)
        """
        share = settings.get("exploration_fraction", self.exploration)
        if share is None or "epsilon_decay_steps" in settings:
            return None
        return max(int(total_timesteps * share), 1)


def morl_baselines(function: str) -> str:
    """The trainer of that name for an algorithm of morl-baselines."""
    return f"llm_morl_agents.classic.morl_baselines:{function}"


def sb3(function: str) -> str:
    """The trainer of that name for an algorithm of Stable-Baselines3 or sb3-contrib."""
    return f"llm_morl_agents.classic.sb3:{function}"


def morl_baselines_sets(function: str) -> str:
    """As `morl_baselines`, of its second module."""
    return f"llm_morl_agents.classic.morl_baselines_sets:{function}"


def resolve_algorithm(name: str) -> Algorithm:
    """The row of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"algo must be one of {list(ALGORITHMS)}, got {name!r}")
    return ALGORITHMS[name]


def on_simplex(weights: ArrayLike, n_objectives: int, parameter: str) -> Floats:
    """A preference (K,), scaled to sum 1.

    Raises:
        ValueError: If the shape is another, a weight is negative or not finite, or all are zero.

    >>> on_simplex([1, 3], 2, "policy(weights=)").tolist()
    [0.25, 0.75]
    """
    vector = np.array(weights, np.float64)
    if vector.shape != (n_objectives,) or not np.isfinite(vector).all() or (vector < 0).any() or not vector.sum() > 0:
        raise ValueError(
            f"{parameter} must be {n_objectives} finite numbers, none negative and not all zero, got {vector.tolist()}"
        )
    return cast(Floats, vector / vector.sum())


#: Of the episodes here, short and paid at their end: no discount, and small batches of many episodes.
_SB3_ON_POLICY: Mapping[str, Settings] = MappingProxyType(
    {
        "default": MappingProxyType(
            {
                "n_envs": 16,
                "n_steps": 64,
                "batch_size": 256,
                "n_epochs": 4,
                "learning_rate": 1e-3,
                "gae_lambda": 0.98,
                "ent_coef": 0.01,
                "gamma": 1.0,
            }
        )
    }
)
#: On the token view, with the copying network: large steps that become small, of large batches.
_MASKABLE: Mapping[str, Settings] = MappingProxyType(
    {
        **_SB3_ON_POLICY,
        "token": MappingProxyType(
            {"n_envs": 32, "n_steps": 32, "n_epochs": 3, "learning_rate": 1.5e-3, "final_learning_rate": 3e-4}
        ),
    }
)
_SB3_A2C: Mapping[str, Settings] = MappingProxyType(
    {"default": MappingProxyType({"n_envs": 16, "n_steps": 16, "learning_rate": 1e-3, "ent_coef": 0.003, "gamma": 1.0})}
)
_SB3_DQN: Mapping[str, Settings] = MappingProxyType(
    {
        "default": MappingProxyType(
            {
                "n_envs": 4,
                "buffer_size": 20_000,
                "learning_rate": 1e-3,
                "exploration_fraction": 0.4,
                "gamma": 1.0,
            }
        )
    }
)
#: Episodes are short and pay at their end, so nothing is discounted. Tuned on the index view of DentFront-MO-v0
#: (k=3, obs_mode="onehot"). No linear weights prefer the points in its dent: for these Envelope and GPI-LS have the
#: preset "dent", which bends the objectives. What each finds, with it and without, is measured in docs/classic.md.
_COMMANDS: Presets = MappingProxyType(
    {
        "default": {
            "num_er_episodes": 100,
            "num_model_updates": 20,
            "max_buffer_size": 200,
            "batch_size": 64,
            "learning_rate": 3e-3,
        }
    }
)
_CONDITIONED_Q: Presets = MappingProxyType(
    {
        "default": {
            "net_arch": [64, 64],
            "batch_size": 32,
            "learning_rate": 2e-3,
            "initial_epsilon": 1.0,
            "final_epsilon": 0.1,
            "target_net_update_freq": 50,
            "gamma": 1.0,
        },
        "dent": {"curvature": 30.0},
    }
)
_MORLD: Presets = MappingProxyType({"default": {"policy_args": {"net_arch": [64, 64], "batch_size": 32}, "gamma": 1.0}})
_NLMOPPO: Presets = MappingProxyType({"default": {"num_steps": 32, "gamma": 1.0}})
_TABLE: Presets = MappingProxyType({"default": {"initial_epsilon": 1.0, "final_epsilon": 0.05, "gamma": 1.0}})
_UNDISCOUNTED: Presets = MappingProxyType({"default": {"gamma": 1.0}})
_ROWS = (
    Algorithm(
        "pcn",
        "Pareto Conditioned Networks",
        "morl_baselines",
        morl_baselines("train_pcn"),
        "archive",
        presets=_COMMANDS,
    ),
    Algorithm(
        "lcn",
        "Lorenz Conditioned Networks",
        "morl_baselines",
        morl_baselines("train_lcn"),
        "archive",
        presets=_COMMANDS,
    ),
    Algorithm(
        "envelope",
        "Envelope Q-learning",
        "morl_baselines",
        morl_baselines("train_envelope"),
        "conditioned",
        presets=_CONDITIONED_Q,
        exploration=0.5,
    ),
    Algorithm(
        "gpi_ls",
        "GPI Linear Support",
        "morl_baselines",
        morl_baselines("train_gpi_ls"),
        "conditioned",
        presets=_CONDITIONED_Q,
        exploration=0.5,
    ),
    Algorithm(
        "morld",
        "MORL/D with discrete SAC",
        "morl_baselines",
        morl_baselines_sets("train_morld"),
        "archive",
        Needs(min_objectives=2),
        _MORLD,
    ),
    Algorithm(
        "ipro", "IPRO with PPO", "morl_baselines", morl_baselines_sets("train_ipro"), "archive", presets=_NLMOPPO
    ),
    Algorithm(
        "nlmoppo",
        "Non-linear multi-objective PPO",
        "morl_baselines",
        morl_baselines_sets("train_nlmoppo"),
        "sweep",
        presets=_NLMOPPO,
    ),
    Algorithm(
        "eupg",
        "Expected Utility Policy Gradient",
        "morl_baselines",
        morl_baselines_sets("train_eupg"),
        "sweep",
        presets=_UNDISCOUNTED,
    ),
    Algorithm(
        "moql",
        "Scalarised Q-learning",
        "morl_baselines",
        morl_baselines_sets("train_moql"),
        "sweep",
        presets=_TABLE,
        exploration=0.5,
    ),
    Algorithm(
        "mp_moql",
        "Q-learning with linear support",
        "morl_baselines",
        morl_baselines_sets("train_mp_moql"),
        "archive",
        presets=_TABLE,
        exploration=0.5,
    ),
    Algorithm(
        "pql",
        "Pareto Q-learning",
        "morl_baselines",
        morl_baselines_sets("train_pql"),
        "archive",
        Needs(one_start=True, max_states=10_000),
        _UNDISCOUNTED,
        exploration=1.0,
    ),
    Algorithm("sb3_ppo", "PPO", "stable_baselines3", sb3("train_ppo"), "sweep", presets=_SB3_ON_POLICY),
    Algorithm("sb3_a2c", "A2C", "stable_baselines3", sb3("train_a2c"), "sweep", presets=_SB3_A2C),
    Algorithm(
        "sb3_dqn",
        "DQN",
        "stable_baselines3",
        sb3("train_dqn"),
        "sweep",
        presets=_SB3_DQN,
    ),
    Algorithm(
        "maskable_ppo",
        "PPO with action masks",
        "sb3_contrib",
        sb3("train_maskable_ppo"),
        "sweep",
        Needs(masks=True),
        _MASKABLE,
    ),
    Algorithm(
        "maskable_ppo_conditioned",
        "Weight-conditioned PPO with action masks",
        "sb3_contrib",
        sb3("train_maskable_ppo_conditioned"),
        "conditioned",
        Needs(masks=True),
        _MASKABLE,
    ),
)
#: All of them, by name.
ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType({row.name: row for row in _ROWS})
