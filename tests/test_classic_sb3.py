"""Stable-Baselines3 and sb3-contrib behind `train_classic`, and the networks that read tokens."""

import itertools
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from classic_extra import require

require("stable_baselines3")
require("sb3_contrib")

from llm_morl_agents.classic import ALGORITHMS, assert_supported, train_classic  # noqa: E402  (after the skip)
from llm_morl_agents.classic.sb3_policies import (  # noqa: E402  (after the skip)
    CopyNetwork,
    TokenFeatures,
    copies_in_progress,
    mean_embedding,
    recent_tokens,
)
from llm_morl_env.candidates import GrammarCandidates, write_candidates  # noqa: E402  (after the skip)
from llm_morl_env.registration import make_task  # noqa: E402  (after the skip)
from llm_morl_env.wrappers import PromptWords, WeightConditioned  # noqa: E402  (after the skip)
from llm_morl_env.wrappers.prompt_words import TokenLayout  # noqa: E402  (after the skip)

pytestmark = pytest.mark.sb3

DENT = {"view": "token", "env_kwargs": {"obs_mode": "onehot"}}
SMALL = {"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1}
NAMES = ("sb3_ppo", "sb3_a2c", "sb3_dqn", "maskable_ppo", "maskable_ppo_conditioned")
TINY = {
    "sb3_ppo": SMALL,
    "sb3_a2c": {"n_envs": 2, "n_steps": 8},
    "sb3_dqn": {"n_envs": 1, "learning_starts": 16, "buffer_size": 200},
    "maskable_ppo": SMALL,
    "maskable_ppo_conditioned": SMALL,
}
FEW = [[0.2, 0.8], [0.8, 0.2]]


def trained(algo, *, steps=64, seed=0, env_id="DentFront-MO-v0", **kwargs):
    own = {**TINY[algo], **kwargs.pop("algo_kwargs", {})}
    if ALGORITHMS[algo].policies == "sweep":
        own.setdefault("weights", FEW)
    return train_classic(algo, env_id, total_timesteps=steps, seed=seed, algo_kwargs=own, **{**DENT, **kwargs})


@pytest.mark.parametrize("algo", NAMES)
def test_every_algorithm_runs_and_leaves_policies_that_play(algo):
    result = trained(algo)
    assert result.steps >= 64
    assert result.stopped is None
    assert len(result.policies) == (2 if ALGORITHMS[algo].policies == "sweep" else 21)
    for policy in result.policies[:2]:
        returns = policy.returns([0, 0, 0], split="eval", seed=1)
        assert returns.shape == (3, 2)
        assert (returns >= result.low).all()
        assert (returns <= result.low + result.width).all()
        assert policy.claimed.shape == (2,)
        np.testing.assert_array_equal(returns, policy.returns([0, 0, 0], split="eval", seed=1))
    assert result.policy([0.3, 0.7]).weights is not None
    assert any(row["kind"] == "algorithm" for row in result.history) or algo in ("sb3_dqn", "sb3_a2c")


@pytest.mark.parametrize("algo", ["sb3_ppo", "maskable_ppo_conditioned"])
def test_equal_seeds_give_equal_policies_and_others_do_not(algo):
    def weights(seed):
        policies = trained(algo, steps=600, seed=seed, deterministic=False).policies  # untrained ones are all alike
        return np.concatenate([policy.returns([0] * 24, split="eval", seed=0) for policy in policies[:4]])

    np.random.seed(11)  # noqa: NPY002  (the global state must not matter)
    first, state = weights(0), np.random.get_state()[1].copy()  # noqa: NPY002
    torch.manual_seed(5)
    np.testing.assert_array_equal(first, weights(0))
    assert not np.array_equal(first, weights(1))
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_a_sweep_learns_what_each_preference_wants():
    result = trained(
        "maskable_ppo",
        steps=4000,
        algo_kwargs={"weights": [[1, 0], [0, 1]], "n_envs": 8, "n_steps": 32, "batch_size": 64, "n_epochs": 4},
    )
    first, second = (policy.returns([0] * 4, split="eval", seed=0).mean(axis=0) for policy in result.policies)
    scaled = (np.array([first, second]) - result.low) / result.width
    assert scaled[0, 0] > 0.9
    assert scaled[1, 1] > 0.9


def test_one_conditioned_network_follows_the_weights():
    result = trained(
        "maskable_ppo_conditioned",
        steps=8000,
        algo_kwargs={"n_envs": 8, "n_steps": 64, "batch_size": 128, "n_epochs": 6, "learning_rate": 3e-3},
    )
    ends = [result.policy(w).returns([0], split="eval", seed=0)[0] for w in ([1, 0], [0, 1])]
    scaled = (np.array(ends) - result.low) / result.width
    assert scaled[0, 0] > scaled[1, 0] + 0.5
    assert scaled[1, 1] > scaled[0, 1] + 0.5


def test_masked_policies_never_leave_the_grammar():
    """``MaskablePPO.predict`` masks only what it is given; drawn actions of an untrained network would leave it."""
    task = {"env_id": "ToolCall-MO-v0", "env_kwargs": {"difficulty": "easy", "max_response_tokens": 48}}
    own = {"algo_kwargs": {"weights": [[1, 1, 1]]}, "deterministic": False}
    masked = trained("maskable_ppo", steps=32, **task, **own).policies[0].returns(range(8), split="eval", seed=0)
    calls = masked[:, 1] > -3  # a well-formed call, right or wrong, has the format; a reply has not
    assert calls.any()
    assert (masked[calls, 0] == 1).all()
    unmasked = trained("sb3_ppo", steps=32, **task, **own).policies[0].returns(range(3), split="eval", seed=0)
    assert (unmasked[:, 0] == 0).all()


def test_time_is_shared_among_the_preferences_and_ends_the_training():
    result = trained("sb3_ppo", steps=10**7, max_cpu_seconds=1.5)
    assert len(result.policies) == 2
    assert 1.2 < result.cpu_seconds < 4
    conditioned = trained("maskable_ppo_conditioned", steps=10**7, max_cpu_seconds=1.0)
    assert conditioned.stopped == "time"
    assert conditioned.policy([1, 1]).returns([0], split="eval", seed=0).shape == (1, 2)


def test_claims_are_of_problems_that_a_short_file_of_candidates_covers(tmp_path):
    path, task = tmp_path / "candidates.jsonl", make_task("toolcall", difficulty="easy")
    write_candidates(path, task, GrammarCandidates(task, k=4), "train", range(3))
    env = {"view": "choice", "env_kwargs": {"k": 4, "difficulty": "easy", "candidates": str(path)}}
    policy = trained(
        "sb3_ppo", steps=32, env_id="ToolCall-MO-v0", algo_kwargs={"weights": [[1, 1, 1]]}, **env
    ).policies[0]
    each = policy.returns(range(3), split="train", seed=0)
    sums = {tuple(np.round(each[list(drawn)].mean(axis=0), 9)) for drawn in itertools.product(range(3), repeat=5)}
    assert tuple(np.round(policy.claimed, 9)) in sums
    with pytest.raises(ValueError, match="holds none for problem 3"):
        policy.returns([3], split="train", seed=0)


def model_rate(result):
    """Of the optimiser of a result's first policy, as its last update left it."""
    choose = result.policies[0].player(1, np.random.default_rng(0)).choose
    return choose.args[0].policy.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("algo", ["maskable_ppo_conditioned", "sb3_ppo"])
def test_the_learning_rate_falls_to_its_end(algo):
    own = {"weights": [[1, 0]]} if algo == "sb3_ppo" else {}
    small = {"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1, "learning_rate": 1e-2, **own}
    result = trained(algo, steps=320, algo_kwargs={**small, "final_learning_rate": 1e-3})
    rates = [row["train/learning_rate"] for row in result.history if "train/learning_rate" in row]
    assert len(rates) >= 8
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 8e-3
    assert 1e-3 <= rates[-1] < 3e-3
    beyond = trained(algo, steps=40, algo_kwargs={**small, "final_learning_rate": 1e-3})  # ends at 64
    assert model_rate(beyond) == 1e-3
    short = trained(algo, steps=10**7, max_cpu_seconds=1.0, algo_kwargs={**small, "final_learning_rate": 0.0})
    assert [row["train/learning_rate"] for row in short.history if "train/learning_rate" in row][-1] < 4e-3
    with pytest.raises(ValueError, match=r"final_learning_rate.*must lie in \[0, learning_rate=0.01\], got 1"):
        trained(algo, steps=32, algo_kwargs={**small, "final_learning_rate": 1})


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"algo_kwargs of 'sb3_ppo': unknown \['n_step'\]; known are"):
        trained("sb3_ppo", algo_kwargs={"n_step": 3})
    with pytest.raises(ValueError, match=r"algo_kwargs\['network'\] must be one of"):
        trained("sb3_ppo", algo_kwargs={"network": "cnn"})
    with pytest.raises(ValueError, match=r"algo_kwargs\['network'\]='tokens' reads token ids"):
        trained("sb3_ppo", algo_kwargs={"network": "tokens"})
    with pytest.raises(ValueError, match=r"algo_kwargs\['network'\]='copy' needs action masks"):
        trained("sb3_ppo", env_kwargs={}, algo_kwargs={"network": "copy"})
    with pytest.raises(ValueError, match=r"algo_kwargs\['weights'\] must be 2 finite numbers"):
        trained("sb3_ppo", algo_kwargs={"weights": [[1, 2, 3]]})


def test_masks_are_asked_for():
    env = gym.wrappers.TransformObservation(gym.make("DentFront-MO-v0", obs_mode="onehot"), lambda o: o, None)
    assert_supported("sb3_ppo", env)
    assert_supported("maskable_ppo", env)
    masked = gym.make("DentFront-MO-v0", obs_mode="onehot")
    masked.unwrapped.action_masks = None
    assert_supported("sb3_ppo", masked)
    with pytest.raises(ValueError, match=r"maskable_ppo cannot be trained on this environment: .*action_masks"):
        assert_supported("maskable_ppo", masked)


def test_refused_environments_without_masks_fail_upstream():
    from gymnasium.wrappers import FlattenObservation
    from sb3_contrib import MaskablePPO

    cart = FlattenObservation(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="does not support action masking"):
        MaskablePPO("MlpPolicy", cart, n_steps=8, batch_size=8, device="cpu").learn(8)


@pytest.mark.parametrize("network", ["auto", "tokens", "copy", "flat"])
def test_every_network_trains_on_ids(network):
    result = trained("maskable_ppo", steps=32, env_kwargs={}, algo_kwargs={"network": network, "weights": [[1, 1]]})
    assert result.policies[0].returns([0, 0], split="eval", seed=0).shape == (2, 2)


def test_recent_tokens_reach_back_into_the_prompt():
    prompt, response = torch.tensor([[0, 5, 6], [0, 0, 7]]), torch.tensor([[8, 0, 0], [1, 2, 3]])
    assert recent_tokens(prompt, response, 0, 2).tolist() == [[6, 8], [2, 3]]
    assert recent_tokens(prompt, torch.zeros_like(response), 0, 2).tolist() == [[5, 6], [0, 7]]


def test_copies_are_followed_word_by_word():
    words, offsets = torch.tensor([[0, 3, 4, 3, 5, 4]]), torch.tensor([[-1, 0, 1, 0, 1, 2]])

    def places(*written):
        recent = torch.tensor([[9] * (6 - len(written)) + list(written)])
        begun, complete = copies_in_progress(words, offsets, recent)
        return [torch.nonzero(mask[0]).flatten().tolist() for mask in (begun & (offsets > 0), complete)]

    assert places(3) == [[2, 4], []]
    assert places(3, 4) == [[], [2]]
    assert places(3, 5) == [[5], []]
    assert places(3, 5, 4) == [[], [5]]
    assert places(5, 4) == [[], []]


def test_mean_embedding_is_the_mean_of_the_rows_that_the_mask_keeps():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(7, 3, generator=generator)
    ids = torch.randint(7, (5, 9), generator=generator)
    mask = torch.rand(5, 9, generator=generator) < 0.5
    mask[2] = False
    gathered = (table[ids] * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(mean_embedding(table, ids, mask), gathered)
    assert mean_embedding(table, ids, mask)[2].tolist() == [0.0, 0.0, 0.0]


LAYOUT = TokenLayout(prompt=4, response=3, words=3, vocab_size=6, pad_id=0)
TEXTS = ("", "a", "b", '"', "c", ".")


def observation(response, words=(1, 2, 4), offsets=(0, 1, 0)):
    return torch.tensor([[0, 1, 2, 4, *response, *words, *offsets, *[0] * 6]], dtype=torch.float32)


def test_the_copy_network_prefers_to_go_on_with_a_copy():
    torch.manual_seed(0)
    space = gym.spaces.Box(-1, 5, (LAYOUT.size,), np.float32)
    network = CopyNetwork(space, LAYOUT, TEXTS, dim=8, hidden=16)
    assert network(observation([3, 0, 0])).shape == (1, network.features_dim)
    begin = network(observation([3, 0, 0]))[0, :6]
    assert begin[1] > begin[2] + 2  # "b" only goes on after "a"
    assert begin[4] > begin[5] + 1  # a word of the prompt before another mark
    middle = network(observation([3, 1, 0]))[0, :6]
    assert middle.argmax() == 2
    ended = network(observation([1, 2, 0]))[0, :6]
    assert ended.argmax() == 3


def test_padding_changes_nothing():
    torch.manual_seed(0)
    space = gym.spaces.Box(-1, 5, (LAYOUT.size,), np.float32)
    network = CopyNetwork(space, LAYOUT, TEXTS, dim=8, hidden=16)
    rows = torch.cat([observation([3, 0, 0]), observation([3, 1, 0], (0, 1, 4), (-1, 0, 0))])
    together = network(rows)
    torch.testing.assert_close(together[1:], network(rows[1:]))
    assert together.isfinite().all()


def test_token_features_treat_ids_as_names():
    torch.manual_seed(0)
    space = gym.spaces.Box(-1, 5, (LAYOUT.size + 2,), np.float32)
    features = TokenFeatures(space, LAYOUT, dim=8)
    rows = torch.cat([torch.cat([observation([3, 1, 0]), torch.tensor([[0.25, 0.75]])], dim=1)] * 2)
    rows[1, 4] = 2
    out = features(rows)
    assert out.shape == (2, features.features_dim)
    assert out[:, -2:].tolist() == [[0.25, 0.75]] * 2
    torch.testing.assert_close(out[0, :8], out[1, :8])  # the prompt's mean
    assert not torch.allclose(out[0, 8:16], out[1, 8:16])


def test_the_words_of_the_environment_fit_the_network():
    env = WeightConditioned(PromptWords(gym.make("ToolCall-MO-v0", difficulty="easy")))
    layout = pickle.loads(pickle.dumps(env.get_wrapper_attr("layout")))
    texts = env.unwrapped.task.tokenizer.token_texts()
    network = CopyNetwork(env.observation_space, layout, texts)
    seen, _ = env.reset(seed=0)
    out = network(torch.as_tensor(seen[None]))
    assert out.shape == (1, network.features_dim)
    assert out[0, -3:].tolist() == seen[-3:].tolist()
