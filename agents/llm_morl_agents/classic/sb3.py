"""Trainers of Stable-Baselines3 and sb3-contrib: their algorithms on scalarised views, as they are.

``sb3_ppo``, ``sb3_a2c``, ``sb3_dqn`` and ``maskable_ppo`` train a network for each preference of a sweep and share the
steps and the time among them; ``maskable_ppo_conditioned`` trains one network that sees the preference.

The libraries are imported when a trainer is called. Shapes: M rows of a batch, D size of an observation, A actions,
K objectives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from llm_morl_agents.classic.actors import ClassicPolicy, PlayerMaker, Stage, Stateless, numbers, with_claim
from llm_morl_agents.classic.algorithms import Job, Trained
from llm_morl_agents.classic.compat import seeded
from llm_morl_agents.classic.environments import AnyEnv, Floats, Watched
from llm_morl_agents.classic.morl_baselines import lattice, swept
from llm_morl_agents.threads import one_thread
from llm_morl_env.wrappers.conditioned import WeightConditioned
from llm_morl_env.wrappers.prompt_words import PromptWords, token_layout
from llm_morl_env.wrappers.scalarized import ScalarizedReward
from llm_morl_env.wrappers.skip_forced import SkipForced

#: What reads the observation; see `Sb3Bench`.
Network = Literal["auto", "copy", "tokens", "flat"]
#: Settings that are no keywords of an algorithm's constructor.
OWN: Mapping[str, Any] = {
    "n_envs": 8,
    "network": "auto",
    "skip_forced": None,
    "weights": None,
    "final_learning_rate": None,
}
#: Keywords of the constructors that the trainers set themselves.
FIXED = ("self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model")


@dataclass(frozen=True, eq=False)
class Sb3Bench:
    """The environments and the network of one training.

    The settings are keywords of the algorithm's constructor, and

    - ``n_envs``: environments side by side;
    - ``network``: ``"copy"``, a pointer network over the prompt's words (`CopyNetwork`; token view with ids, masked
      algorithms); ``"tokens"``, embeddings of ids and a perceptron (`TokenFeatures`; token view with ids); ``"flat"``,
      the library's perceptron on the numbers as they are; ``"auto"`` takes the first that fits;
    - ``skip_forced``: whether forced tokens are taken at once (`SkipForced`); None does so for masked algorithms on the
      token view;
    - ``weights``: the preferences of a sweep;
    - ``final_learning_rate``: where the learning rate gets on a straight line, by steps or by time, whichever ends
      first (of a policy's part, in a sweep); None keeps it.

    Args:
        job: The training.
        masked: Whether the algorithm knows action masks.

    Attributes:
        own: Those settings.
        network: That is used.
        stage: Where policies are played.

    Raises:
        ValueError: If a setting does not fit the view or the algorithm.
    """

    job: Job
    masked: bool
    own: Mapping[str, Any] = field(init=False)
    network: Network = field(init=False)
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        own = {name: self.job.settings.get(name, default) for name, default in OWN.items()}
        if own["skip_forced"] is None:
            own["skip_forced"] = self.masked and self.job.maker.view == "token"
        object.__setattr__(self, "own", own)
        object.__setattr__(self, "network", self._network(own["network"]))
        object.__setattr__(self, "stage", Stage(self.make, self.job.maker.to_task))

    def _network(self, asked: Any) -> Network:
        if asked not in get_args(Network):
            raise ValueError(f"algo_kwargs['network'] must be one of {get_args(Network)}, got {asked!r}")
        try:
            token_layout(self.job.maker.make(), "train_classic")
        except TypeError as error:
            if asked in ("copy", "tokens"):
                raise ValueError(f"algo_kwargs['network']={asked!r} reads token ids: {error}") from error
            return "flat"
        if asked == "copy" and not self.masked:
            raise ValueError(
                f"algo_kwargs['network']='copy' needs action masks, which {self.job.algorithm.name} does not know: "
                "take 'tokens', or maskable_ppo"
            )
        if asked == "auto":
            return "copy" if self.masked else "tokens"
        return "copy" if asked == "copy" else "tokens" if asked == "tokens" else "flat"

    def make(self) -> AnyEnv:
        """A fresh environment with vector rewards and the observation that the network reads, float32."""
        env = self.job.maker.make()
        if self.own["skip_forced"]:
            env = SkipForced(env)
        if self.network == "copy":
            return PromptWords(env)
        space = env.observation_space
        if isinstance(space, Box) and space.dtype.kind in "iu":
            floats = Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
            return gym.wrappers.TransformObservation(env, _as_floats, floats)
        return env

    def model(self, algorithm: type[Any], scalarise: Callable[[AnyEnv], AnyEnv]) -> Any:
        """An untrained model.

        Args:
            algorithm: Of the library.
            scalarise: Makes the reward one number.

        Raises:
            ValueError: If a setting is no keyword of the algorithm's constructor, or out of range.
        """
        from stable_baselines3.common.logger import Logger
        from stable_baselines3.common.vec_env import DummyVecEnv

        from llm_morl_agents.classic.sb3_policies import CopyPolicy, HistoryWriter, TokenFeatures

        known = sorted(set(inspect.signature(algorithm.__init__).parameters) - set(FIXED))
        given = {name: value for name, value in self.job.settings.items() if name not in OWN}
        if not set(given) <= set(known):
            raise ValueError(
                f"algo_kwargs of {self.job.algorithm.name!r}: unknown {sorted(set(given) - set(known))}; "
                f"known are {sorted([*known, *OWN])}"
            )
        final = self.own["final_learning_rate"]
        if final is not None:
            first = given.get(
                "learning_rate", inspect.signature(algorithm.__init__).parameters["learning_rate"].default
            )
            if not 0 <= final <= first:
                raise ValueError(
                    f"algo_kwargs['final_learning_rate'] must lie in [0, learning_rate={first!r}], got {final!r}"
                )
            # What is left of the steps is below 0 where the last rollout goes beyond them.
            clock = self.job.clock
            given["learning_rate"] = lambda left: final + (first - final) * max(0.0, min(left, clock.time_left))
        job = self.job
        policy: str | type[CopyPolicy] = "MlpPolicy"
        policy_kwargs = dict(given.pop("policy_kwargs", None) or {})
        if self.network != "flat":
            env = self.make()
            layout = env.layout if isinstance(env, PromptWords) else token_layout(env, "train_classic")
            extractor = {"layout": layout, **policy_kwargs.pop("features_extractor_kwargs", {})}
            if self.network == "copy":
                policy = CopyPolicy
                extractor["texts"] = env.get_wrapper_attr("task").tokenizer.token_texts()
            else:
                policy_kwargs.setdefault("features_extractor_class", TokenFeatures)
            policy_kwargs["features_extractor_kwargs"] = extractor

        def make(number: int) -> AnyEnv:
            watched = Watched(self.make(), job.clock, job.seed + number, counted=True, to_task=job.maker.to_task)
            return scalarise(watched)

        envs = DummyVecEnv([partial(make, number) for number in range(int(self.own["n_envs"]))])
        model = algorithm(
            policy, envs, seed=job.seed, device="cpu", verbose=0, policy_kwargs=policy_kwargs or None, **given
        )
        model.set_logger(Logger(None, [HistoryWriter(job.history)]))
        return model

    def policy(self, model: Any, weights: Floats, *, conditioned: bool) -> ClassicPolicy:
        """The policy of a model for a preference, without a claim."""
        choose = partial(
            predict,
            model,
            masked=self.masked,
            deterministic=self.job.deterministic,
            weights=weights if conditioned else None,
        )

        def make(n: int, rng: np.random.Generator) -> Stateless:
            return Stateless(partial(choose, rng=rng))

        player: PlayerMaker = make
        return ClassicPolicy(f"weights {numbers(weights)}", weights, None, self.stage, player)

    def preferences(self) -> list[Floats]:
        """The preferences of a sweep: ``settings["weights"]``, or a few equally spaced ones."""
        return swept(self.own["weights"], self.job.maker.n_objectives)


def predict(
    model: Any,
    observations: NDArray[Any],
    masks: NDArray[np.bool_] | None,
    *,
    masked: bool,
    deterministic: bool,
    weights: Floats | None,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Actions (M,) of a model.

    Args:
        model: Of Stable-Baselines3.
        observations: (M, D).
        masks: (M, A), or None.
        masked: Whether the model knows masks; ``MaskablePPO.predict`` applies none unless they are given.
        deterministic: Whether the most likely action is taken.
        weights: (K,), appended to the observations; None for a model that does not see them.
        rng: For actions that are drawn.
    """
    seen = np.asarray(observations, np.float32)
    if weights is not None:
        seen = np.concatenate([seen, np.tile(weights.astype(np.float32), (len(seen), 1))], axis=1)
    given = {"action_masks": masks} if masked else {}
    with torch.random.fork_rng(devices=[]), one_thread():
        if not deterministic:
            torch.manual_seed(int(rng.integers(2**31)))
        actions, _ = model.predict(seen, deterministic=deterministic, **given)
    return np.asarray(actions)


def train_ppo(job: Job) -> Trained:
    """Proximal policy optimisation (Schulman et al., 2017), without masks."""
    from stable_baselines3 import PPO

    return train_sweep(job, PPO, masked=False)


def train_a2c(job: Job) -> Trained:
    """Advantage actor-critic (Mnih et al., 2016), without masks."""
    from stable_baselines3 import A2C

    return train_sweep(job, A2C, masked=False)


def train_dqn(job: Job) -> Trained:
    """Deep Q-learning (Mnih et al., 2015), without masks."""
    from stable_baselines3 import DQN

    return train_sweep(job, DQN, masked=False)


def train_maskable_ppo(job: Job) -> Trained:
    """Proximal policy optimisation with action masks (Huang and Ontanon, 2022)."""
    from sb3_contrib import MaskablePPO

    return train_sweep(job, MaskablePPO, masked=True)


def train_maskable_ppo_conditioned(job: Job) -> Trained:
    """The same, with the weights in the observation, drawn for each episode (Abels et al., 2019): one network."""
    from sb3_contrib import MaskablePPO

    bench = Sb3Bench(job, masked=True)
    with one_thread(), seeded(job.seed):
        model = bench.model(MaskablePPO, WeightConditioned)
        with job.clock.running():
            model.learn(job.total_timesteps)

    def choose(weights: Floats) -> ClassicPolicy:
        return bench.policy(model, weights, conditioned=True)

    return Trained(tuple(with_claim(choose(w), job.seed) for w in lattice(job.maker.n_objectives)), choose)


def train_sweep(job: Job, algorithm: type[Any], *, masked: bool) -> Trained:
    """A model for each preference; each gets an equal part of the steps, and of the time where it is limited."""
    bench = Sb3Bench(job, masked=masked)
    preferences = bench.preferences()
    steps = max(job.total_timesteps // len(preferences), 1)
    models: list[Any] = []
    with one_thread(), seeded(job.seed), job.clock.running():
        for number, weights in enumerate(preferences, start=1):
            with job.clock.until(job.clock.max_cpu_seconds * number / len(preferences)):
                model = bench.model(algorithm, partial(ScalarizedReward, weights=weights))
                models.append(model)
                model.learn(steps)
    policies = [bench.policy(model, w, conditioned=False) for model, w in zip(models, preferences, strict=False)]
    return Trained(tuple(with_claim(policy, job.seed) for policy in policies))


def _as_floats(observation: NDArray[Any]) -> NDArray[np.float32]:
    return observation.astype(np.float32)
