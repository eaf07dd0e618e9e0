"""Every classic algorithm on a language task of three objectives: it trains, claims, and plays."""

import numpy as np
import pytest
from classic_extra import require

require("morl_baselines")
require("sb3_contrib")

from llm_morl_agents.classic import ALGORITHMS, train_classic  # noqa: E402  (after the skip)
from llm_morl_env.candidates import GrammarCandidates, write_candidates  # noqa: E402  (after the skip)
from llm_morl_env.registration import make_task  # noqa: E402  (after the skip)

pytestmark = pytest.mark.classic

EASY = {"difficulty": "easy"}
NETWORK = {"net_arch": [16, 16], "batch_size": 8, "learning_starts": 20}
PPO = {"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1}
SWEEP = {"weights": [[1, 0, 0], [1, 2, 1]]}
#: Settings that make each one quick.
TINY = {
    "pcn": {"num_er_episodes": 20, "num_model_updates": 2},
    "lcn": {"num_er_episodes": 20, "num_model_updates": 2},
    "envelope": NETWORK,
    "gpi_ls": {**NETWORK, "timesteps_per_iter": 40, "num_eval_episodes_for_front": 1},
    "morld": {"pop_size": 3, "num_eval_episodes_for_front": 1, "exchange_every": 30, "policy_args": NETWORK},
    "ipro": {"num_steps": 8, "max_iterations": 1, "eval_episodes": 2, "update_epochs": 1},
    "nlmoppo": {"num_steps": 8, "eval_episodes": 2, **SWEEP},
    "eupg": SWEEP,
    "moql": SWEEP,
    "mp_moql": {"timesteps_per_iteration": 40},
    "sb3_ppo": {**PPO, **SWEEP},
    "sb3_a2c": {"n_envs": 2, "n_steps": 8, **SWEEP},
    "sb3_dqn": {"n_envs": 1, "learning_starts": 16, "buffer_size": 200, **SWEEP},
    "maskable_ppo": {**PPO, **SWEEP},
    "maskable_ppo_conditioned": PPO,
}
STEPS = {"ipro": 300}


@pytest.fixture(scope="session")
def candidates(tmp_path_factory):
    """A file with four candidates of the first problems of two splits."""
    path, task = tmp_path_factory.mktemp("candidates") / "easy.jsonl", make_task("toolcall", **EASY)
    for split in ("train", "eval"):
        write_candidates(path, task, GrammarCandidates(task, k=4), split, range(8))
    return str(path)


def test_every_algorithm_is_here_but_for_the_one_that_needs_a_single_start():
    assert set(ALGORITHMS) == {*TINY, "pql"}
    assert [name for name, row in ALGORITHMS.items() if row.needs.one_start] == ["pql"]


@pytest.mark.parametrize("algo", TINY)
def test_every_algorithm_trains_claims_and_plays_on_three_objectives(algo, candidates):
    row = ALGORITHMS[algo]
    if row.needs.masks:  # one choice among candidates needs none and has none
        view, env = "token", {**EASY, "max_response_tokens": 12}
    else:
        view, env = "choice", {**EASY, "k": 4, "candidates": candidates, "n_problems": 8}
    result = train_classic(
        algo,
        "ToolCall-MO-v0",
        view=view,
        env_kwargs=env,
        total_timesteps=STEPS.get(algo, 64),
        seed=0,
        algo_kwargs=TINY[algo],
    )
    assert result.stopped is None
    assert result.steps >= 40
    assert len(result.policies) == {"conditioned": 21, "sweep": 2}.get(row.policies, len(result.policies)) > 0
    assert result.front.shape == (len(result.policies), 3)
    low, high = result.low - 1e-6, result.low + result.width + 1e-6
    claimed = result.front[~np.isnan(result.front).any(axis=1)]
    assert len(claimed) >= min(len(result.policies), 1 if algo == "mp_moql" else len(result.policies))
    assert ((claimed >= low) & (claimed <= high)).all()
    played = [policy.returns(range(8), split="eval", seed=0) for policy in result.policies[:3]]
    assert ((np.concatenate(played) >= low) & (np.concatenate(played) <= high)).all()
    np.testing.assert_array_equal(played[0], result.policies[0].returns(range(8), split="eval", seed=0))
    assert result.policy([1, 2, 1]).returns([0], split="eval", seed=0).shape == (1, 3)
