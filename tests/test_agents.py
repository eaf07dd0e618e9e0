"""The named agents: which method each one is, its defaults, and its first steps on a fixed model (golden)."""

import numpy as np
import pytest
from properties import random_batch
from tiny_task import load, make_env

from llm_morl_agents import AGENTS
from llm_morl_agents.advantages import compute_advantages
from llm_morl_agents.agents import DVAO, GDPO, REINFORCE
from llm_morl_agents.weighters import SAW, DVAOWeights, Signals, Static

#: The published method that each agent computes.
METHODS = {
    "grpo": "grpo",
    "dr_grpo": "dr_grpo",
    "gdpo": "gdpo",
    "mo_grpo": "mo_grpo",
    "rloo": "rloo",
    "reinforce": "reinforce-baseline",
    "dvao": "dvao",
}

#: Three steps of each agent (seed 7, learning rate 1e-2): loss, gradient norm, entropy, mean rewards, advantage shares.
GOLDEN = {
    "grpo": [
        (-0.0503187, 0.1483693, 2.4983938, 0.0625000, 0.3281250, 0.1211039, 0.8788961),
        (0.0063445, 0.1769144, 2.4693172, 0.1250000, 0.3750000, 0.2330827, 0.7669173),
        (-0.0016634, 0.1521633, 2.4814982, 0.0625000, 0.3125000, 0.2251082, 0.7748918),
    ],
    "dr_grpo": [
        (-0.0143229, 0.0659143, 2.4983938, 0.0625000, 0.3281250, 0.3040000, 0.6960000),
        (-0.0052083, 0.0548773, 2.4678123, 0.1250000, 0.3437500, 0.3125000, 0.6875000),
        (0.0039062, 0.0624366, 2.4850411, 0.0625000, 0.3437500, 0.2916667, 0.7083333),
    ],
    "gdpo": [
        (-0.0447367, 0.1516617, 2.4983938, 0.0625000, 0.3281250, 0.2540816, 0.7459184),
        (0.0022197, 0.1914479, 2.4677522, 0.1250000, 0.3593750, 0.1419756, 0.8580244),
        (-0.0014636, 0.1568596, 2.4814074, 0.0625000, 0.3125000, 0.2580645, 0.7419355),
    ],
    "mo_grpo": [
        (-0.0552439, 0.1872820, 2.4983938, 0.0625000, 0.3281250, 0.2540816, 0.7459184),
        (0.0020738, 0.1788626, 2.4677522, 0.1250000, 0.3593750, 0.1419756, 0.8580244),
        (-0.0016634, 0.1783824, 2.4815745, 0.0625000, 0.3125000, 0.2580645, 0.7419355),
    ],
    "rloo": [
        (0.0508932, 0.1016510, 2.4983938, 0.0625000, 0.3281250, 0.3040000, 0.6960000),
        (0.0286621, 0.0789247, 2.4678118, 0.1250000, 0.3437500, 0.3125000, 0.6875000),
        (-0.0122575, 0.0869841, 2.4850605, 0.0625000, 0.3437500, 0.2916667, 0.7083333),
    ],
    "reinforce": [
        (0.0023997, 0.0867282, 2.4983938, 0.0625000, 0.3281250, 0.3262074, 0.6737926),
        (0.0610747, 0.0792828, 2.4683380, 0.1250000, 0.3593750, 0.4228695, 0.5771305),
        (0.0119196, 0.0722410, 2.4783096, 0.0625000, 0.3125000, 0.3000000, 0.7000000),
    ],
    "dvao": [
        (-0.0496844, 0.1445601, 2.4983938, 0.0625000, 0.3281250, 0.0993874, 0.9006126),
        (0.0063445, 0.1518406, 2.4667745, 0.1250000, 0.3750000, 0.0716066, 0.9283934),
        (-0.0016634, 0.1390515, 2.4789994, 0.0625000, 0.3125000, 0.1618497, 0.8381503),
    ],
}


@pytest.fixture
def make(policy_directory):
    return lambda cls, **options: cls(make_env(policy_directory), load(policy_directory), **options)


def test_the_tables_cover_all_agents():
    assert METHODS.keys() == GOLDEN.keys() == AGENTS.keys()
    with pytest.raises(TypeError):
        AGENTS["new"] = GDPO


@pytest.mark.parametrize("name", AGENTS)
def test_each_agent_computes_its_method(make, name):
    agent = make(AGENTS[name])
    for seed in range(5):
        rewards, group = random_batch(seed, k=2)
        signals = Signals(
            rewards, group, np.zeros(2), np.ones(2), preference=np.ones(2), level=agent.estimator.level, step=0
        )
        weighting, _ = agent.weighter(signals, agent.weighter_state)
        expected = compute_advantages(rewards, group, method=METHODS[name], low=np.zeros(2), high=np.ones(2))
        np.testing.assert_allclose(agent.estimator(rewards, group, weighting), expected, atol=1e-12)


@pytest.mark.parametrize("name", AGENTS)
def test_golden_trajectory(make, name):
    reports = []
    make(AGENTS[name], seed=7, learning_rate=1e-2).learn(3, [reports.append])
    rows = [(r.loss, r.grad_norm, r.entropy, *r.reward_mean, *r.advantage_share) for r in reports]
    np.testing.assert_allclose(rows, GOLDEN[name], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "clip", "aggregation"),
    [
        ("grpo", (0.2, 0.28), "token_mean"),
        ("dr_grpo", (0.2, 0.28), "constant"),
        ("gdpo", (0.2, 0.28), "token_mean"),
        ("mo_grpo", (0.2, 0.28), "token_mean"),
        ("rloo", None, "token_mean"),
        ("reinforce", None, "token_mean"),
        ("dvao", (0.2, 0.28), "token_mean"),
    ],
)
def test_defaults_of_the_loss_and_overriding_them(make, name, clip, aggregation):
    settings = make(AGENTS[name]).settings
    assert (settings.clip, settings.aggregation) == (clip, aggregation)
    other = make(AGENTS[name], clip_low=0.1, clip_high=0.1, aggregation="sequence_mean").settings
    assert (other.clip, other.aggregation) == ((0.1, 0.1), "sequence_mean")


@pytest.mark.parametrize("name", sorted(AGENTS.keys() - {"dvao"}))
def test_weighters_are_an_argument(make, name):
    assert make(AGENTS[name]).weighter == Static()
    agent = make(AGENTS[name], weighter=SAW(ema=0.7))
    assert agent.weighter == SAW(ema=0.7)
    report = agent.step()
    assert report.weight.sum() == pytest.approx(2.0 if agent.estimator.level == "advantage" else 1.0)


def test_reinforce_without_a_baseline(make):
    rewards, group = random_batch(0, k=2)
    ones = Static()(Signals(rewards, group, np.zeros(2), np.ones(2), np.ones(2), "reward", 0), {})[0]
    agent = make(REINFORCE, baseline=None)
    np.testing.assert_allclose(agent.estimator(rewards, group, ones), rewards.sum(axis=1))
    centred = make(REINFORCE)  # the class itself is as it was
    np.testing.assert_allclose(centred.estimator(rewards, group, ones).mean(), 0.0, atol=1e-12)
    with pytest.raises(ValueError, match=r"REINFORCE\(baseline=\) must be 'batch' or None, got 'group'"):
        make(REINFORCE, baseline="group")


def test_dvao_fixes_its_weighter(make):
    assert make(DVAO).weighter == DVAOWeights(unit_interval=True)
    assert make(DVAO, unit_interval=False).weighter == DVAOWeights()
    assert make(DVAO, preference=[1.0, 2.0]).preference.tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="DVAO fixes its weighter"):
        make(DVAO, weighter=SAW())


def test_constructor_options_make_the_same_agent(make):
    for cls in AGENTS.values():
        agent = make(cls, seed=5, preference=[1.0, 2.0], stop=["x"], epochs=2)
        again = cls.from_checkpoint(agent.env, agent.policy, agent.weighter, agent.constructor_options())
        assert again.settings == agent.settings
        assert again.seed == 5
        assert again.weighter == agent.weighter
        assert again.preference.tolist() == [1.0, 2.0]
