"""Training on dialogues: the reply is learned from, runs resume bit for bit, evaluation plays the same game."""

import numpy as np
import pytest
from letters_dialogue import PROBLEMS, Naming, make_dialogue_env
from tiny_task import LETTERS, comparable, load, parameters_of

from llm_morl_agents.agents import GDPO, GRPO, DrGRPO
from llm_morl_agents.evaluate import evaluate_policy
from llm_morl_agents.policy import Sampling
from llm_morl_agents.weighters import SAW, GradientInfluence


@pytest.fixture
def make(policy_directory):
    """Maker of an agent on dialogues: ``make(GDPO, fast=, env={...}, **options)``."""

    def make_agent(cls=GDPO, *, fast=True, env=(), **options):
        made = make_dialogue_env(policy_directory, **dict(env))
        return cls(made, load(policy_directory, fast=fast), **{"learning_rate": 1e-2, **options})

    return make_agent


def test_the_letter_that_the_reply_names_is_learned(make):
    """All problems have one prompt, so only the reply tells the letter: from chance to .8 and more (.97 measured)."""
    seen = []
    agent = make(GRPO, env={"num_envs": 128, "group_size": 16}, preference=[1.0, 0.1], micro_batches=1)
    agent.learn(120, [lambda report: seen.append(report.reward_mean)])
    assert seen[0][0] < 0.25
    assert np.mean(seen[-10:], axis=0)[0] > 0.8
    assert agent.evaluate(len(LETTERS)).greedy[0] > 0.8


def test_report_of_dialogues(make):
    report = make(env={"dialogue": Naming(max_turns=3, over="gh")}).step()
    assert 1 < report.turns < 3
    assert report.as_row()["turns"] == report.turns
    assert 1 <= report.response_tokens <= 6  # replies are not counted
    assert 0 < report.entropy < np.log(12) + 0.5


@pytest.mark.parametrize("weighter", [SAW(ema=0.5), GradientInfluence(mode="realised", eta=1.0, mu=0.1)])
def test_a_resumed_run_goes_on_bit_for_bit(make, policy_directory, tmp_path, weighter):
    env = {"dialogue": Naming(max_turns=3, over="gh")}
    agent = make(env=env, weighter=weighter, kl_coef=0.01, seed=5)
    agent.learn(3)
    agent.save(tmp_path / "agent")
    other = GDPO.load(tmp_path / "agent", make_dialogue_env(policy_directory, **env))
    for _ in range(2):
        assert comparable(other.step()) == comparable(agent.step())
    for name, value in parameters_of(agent.policy).items():
        np.testing.assert_array_equal(parameters_of(other.policy)[name], value)


@pytest.mark.parametrize("options", [{}, {"ratio": "sequence", "aggregation": "sequence_mean", "kl_coef": 0.1}])
def test_both_engines_take_the_same_step(make, options):
    env = {"dialogue": Naming(max_turns=3, over="gh")}
    first, second = (comparable(make(GRPO, fast=fast, env=env, seed=2, **options).step()) for fast in (True, False))
    assert first.keys() == second.keys()
    np.testing.assert_allclose(list(first.values()), list(second.values()), rtol=1e-3, atol=1e-5)


def test_micro_batches_change_nothing(make):
    env = {"dialogue": Naming(max_turns=3, over="gh")}
    first, second = (comparable(make(env=env, micro_batches=n, entropy_coef=0.01).step()) for n in (1, 4))
    np.testing.assert_allclose(list(first.values()), list(second.values()), rtol=1e-4, atol=1e-6)


def test_the_constant_length_is_that_of_all_turns(make):
    assert make(DrGRPO, env={"cap": 2, "dialogue": Naming(max_turns=3)}).constant_length == 6


def test_dynamic_sampling_on_dialogues(make):
    report = make(dynamic_sampling=True, max_resamples=2, env={"dialogue": Naming(max_turns=3, over="gh")}).step()
    assert np.isfinite(report.loss)


# --- evaluation


@pytest.mark.parametrize(("num_envs", "group_size"), [(16, 4), (8, 1), (12, 4), (4, 4)])
def test_evaluation_is_the_same_whatever_the_environments_shape(make, policy_directory, num_envs, group_size):
    policy, dialogue = load(policy_directory), Naming(max_turns=3, over="gh")

    def evaluate(**shape):
        env = make_dialogue_env(policy_directory, dialogue=dialogue, **shape)
        return evaluate_policy(
            policy, env, Sampling(max_new_tokens=2), n_problems=7, split="eval", samples=3,
            generator=np.random.default_rng(4),
        )  # fmt: skip

    got, expected = evaluate(num_envs=num_envs, group_size=group_size), evaluate(num_envs=21, group_size=1)
    np.testing.assert_allclose(got.greedy_rewards, expected.greedy_rewards, atol=1e-6)
    np.testing.assert_allclose(got.sampled_rewards, expected.sampled_rewards, atol=1e-6)
    assert np.ptp(got.sampled_rewards) > 0


def test_evaluation_does_not_disturb_training(make):
    env = {"dialogue": Naming(max_turns=3, over="gh")}
    plain, evaluating = make(env=env), make(env=env)
    for _ in range(2):
        evaluating.evaluate(4)
        assert comparable(plain.step()) == comparable(evaluating.step())


def test_a_policy_that_copies_is_scored_as_it_plays(make, policy_directory, monkeypatch):
    """The greedy dialogue of a policy that answers with the last letter it read, turn by turn."""
    agent = make()
    policy, generate = agent.policy, agent.policy.generate
    eos, letters = policy.eos_ids[0], [policy.tokenizer.convert_tokens_to_ids(letter) for letter in LETTERS]

    def copying(contexts, index, sampling, uniforms):
        drawn = generate(contexts, index, sampling, uniforms)
        read = [next((t for t in reversed(contexts[i]) if t in letters), letters[0]) for i in index]
        ids = np.array([[t, eos] for t in read])
        mask = np.ones(ids.shape, bool)
        return type(drawn)(ids, mask, np.zeros(ids.shape, np.float32), tuple(policy.decode([t]) for t in read),
                           np.ones(len(ids), bool))  # fmt: skip

    monkeypatch.setattr(policy, "generate", copying)
    np.testing.assert_allclose(agent.evaluate(len(PROBLEMS)).greedy_rewards, 1.0, atol=1e-6)


def test_predict_is_of_one_turn(make):
    agent = make()
    assert len(agent.predict(["?", "?"])) == 2
