"""What a weighter needs reaches it: measured when due, as its probe says, with no trace in the training."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from test_grouped_pg import constant, next_batch
from tiny_task import LETTERS, PROBLEMS, comparable, correct, load, make_env, parameters_of, short

from llm_morl_agents import signals as signals_module
from llm_morl_agents.advantages import combine_rewards, group_zscore
from llm_morl_agents.agents import GDPO, GRPO, REINFORCE
from llm_morl_agents.experiments.arms import check_arms, make_agent, parse_arm
from llm_morl_agents.gradients import objective_gramian, objective_influence, realised_gain
from llm_morl_agents.signals import Meter, check_needs, objective_advantages, probe_of
from llm_morl_agents.weighters import GradientInfluence, Static, Weighting
from llm_morl_agents.weighters.base import NEEDS, Probe

SIGNAL = {
    "gradients.exact": "gramian",
    "gradients.jvp": "influence",
    "realised": "realised",
    "validation": "validation",
}


@dataclass(frozen=True)
class Recording(Static):
    """Equal weights; writes down every `Signals` that it was called with."""

    needs: frozenset = NEEDS
    probe: Probe = field(default_factory=Probe)
    seen: list = field(default_factory=list, compare=False)

    def __call__(self, signals, state):
        self.seen.append(signals)
        return Weighting(np.ones(signals.rewards.shape[1])), state


@pytest.fixture
def make(policy_directory):
    """Maker of an agent on the letters whose weighter records: ``make(needs=, probe=, cls=, rewards=, **options)``."""

    def make_agent(needs=NEEDS, probe=None, cls=GDPO, rewards=(correct, short), weighter=None, **options):
        if weighter is None:
            weighter = Recording(needs=frozenset(needs), probe=probe or Probe())
        env = make_env(policy_directory, rewards, num_envs=24, group_size=4)
        return cls(env, load(policy_directory), **{"weighter": weighter, "learning_rate": 1e-2, **options})

    return make_agent


# --- what is measured


@pytest.mark.parametrize("need", sorted(NEEDS))
def test_exactly_what_is_needed(make, need):
    agent = make([need])
    agent.learn(2)
    for signals in agent.weighter.seen:
        for name in SIGNAL.values():
            missing = name != SIGNAL[need] or (name == "realised" and signals.step == 0)
            assert (getattr(signals, name) is None) == missing
    assert (agent.realised is None) == (need != "realised")


def test_nothing_without_needs(make):
    agent = make([])
    agent.learn(2)
    assert all(getattr(signals, name) is None for signals in agent.weighter.seen for name in SIGNAL.values())


@pytest.mark.parametrize(("cls", "options"), [(GDPO, {}), (GRPO, {"aggregation": "constant"}), (REINFORCE, {})])
def test_values_of_the_signals(make, cls, options):
    probe = Probe(parameters=(r"layers\.0",), groups=4, problems=5)
    agent = make(probe=probe, cls=cls, temperature=0.9, **options)
    agent.step()
    batch, gain = next_batch(agent), agent.realised
    advantages = np.stack([agent.estimator(batch.rewards, batch.group, Weighting(e)) for e in np.eye(2)])
    arguments = (agent.policy, batch, advantages, agent.settings)
    gramian = objective_gramian(*arguments, probe, constant_length=3)
    influence = objective_influence(*arguments, probe, constant_length=3)
    validation = agent.evaluate(5, split="train").greedy
    agent.step()
    seen = agent.weighter.seen[-1]
    np.testing.assert_array_equal(seen.gramian, gramian)
    np.testing.assert_array_equal(seen.influence, influence)
    np.testing.assert_array_equal(seen.realised, gain)
    np.testing.assert_array_equal(seen.validation, validation)
    after = realised_gain(agent.policy, batch, advantages, agent.settings, probe=probe, constant_length=3)
    np.testing.assert_array_equal(agent.realised, after)
    assert np.abs(after).min() > 1e-4  # a step at this rate is seen


def test_every_so_many_steps(make):
    agent = make(probe=Probe(every=3))
    agent.learn(7)
    due = {name: [s.step for s in agent.weighter.seen if getattr(s, name) is not None] for name in SIGNAL.values()}
    assert due == {"gramian": [0, 3, 6], "influence": [0, 3, 6], "validation": [0, 3, 6], "realised": [3, 6]}


def test_measuring_leaves_the_training_as_it_was(make):
    def rows(needs):
        agent, seen = make(needs, seed=2), []
        agent.learn(4, [lambda report: seen.append(comparable(report))])
        return seen, parameters_of(agent.policy)

    (plain, parameters), (measuring, others) = rows([]), rows(NEEDS)
    assert plain == measuring
    for name, value in parameters.items():
        np.testing.assert_array_equal(value, others[name])


def test_measuring_counts_as_the_weighters_time(make, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("llm_morl_agents.grouped_pg.time.process_time", lambda: clock[0])

    def slow(seconds, function):
        def call(*args, **kwargs):
            clock[0] += seconds
            return function(*args, **kwargs)

        return call

    for name, seconds in {"objective_gramian": 1.0, "evaluate_policy": 20.0, "realised_gain": 300.0}.items():
        monkeypatch.setattr(signals_module, name, slow(seconds, getattr(signals_module, name)))
    report = make(["gradients.exact", "validation", "realised"]).step()
    assert report.weighter_seconds == 321.0
    assert report.cpu_seconds == 321.0


def test_no_global_random_state_is_read_or_changed(make):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = comparable(make().learn(1).step())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert comparable(make().learn(1).step()) == first


# --- advantages of each objective


def test_advantages_of_each_objective_alone(make):
    agent = make()
    batch = next_batch(agent)
    found = objective_advantages(agent.estimator, batch)
    for k in range(2):
        alone = agent.estimator(batch.rewards[:, [k]], batch.group, Weighting(np.ones(1)))
        np.testing.assert_allclose(found[k], alone, atol=1e-12)
    assert objective_advantages(agent.estimator, batch.select(np.zeros(0, dtype=np.int64))).shape == (2, 0)


def test_missing_rewards_pull_nowhere(make):
    estimator = combine_rewards(group_zscore, nan="ignore")
    batch = next_batch(make())
    rewards = batch.rewards.copy()
    rewards[::3, 1] = np.nan
    patchy = type(batch)(**{**{name: getattr(batch, name) for name in batch.__dataclass_fields__}, "rewards": rewards})
    found = objective_advantages(estimator, patchy)
    np.testing.assert_array_equal(found[1, ::3], 0.0)
    assert np.isfinite(found).all()


# --- validation


def test_validation_reads_its_own_split_and_never_that_of_the_evaluation(make, monkeypatch):
    agent = make(["validation"], probe=Probe(problems=4))
    seen, evaluate = [], signals_module.evaluate_policy
    monkeypatch.setattr(
        signals_module,
        "evaluate_policy",
        lambda *a, **k: seen.append((k["split"], k["n_problems"])) or evaluate(*a, **k),
    )
    agent.step()
    task = agent.env.unwrapped.task
    with_validation = type(task)(
        **{
            **{name: getattr(task, name) for name in task.__dataclass_fields__},
            "problems": {**task.problems, "validation": PROBLEMS[2:4]},
        }
    )
    agent.env.unwrapped.task = with_validation
    agent.step()
    assert seen == [("train", 4), ("validation", 4)]
    assert agent.weighter.seen[1].validation.shape == (2,)


def test_validation_leaves_missing_rewards_out(policy_directory, monkeypatch):
    env = make_env(policy_directory, (correct, short), num_envs=8, group_size=4)
    agent = GDPO(env, load(policy_directory), weighter=Recording(needs=frozenset({"validation"})))
    plain = agent.evaluate(8, split="train").greedy_rewards
    evaluate = signals_module.evaluate_policy

    def patchy(missing):
        def call(*args, **kwargs):
            found = evaluate(*args, **kwargs)
            found.greedy_rewards[missing] = np.nan
            return found

        return call

    monkeypatch.setattr(signals_module, "evaluate_policy", patchy(np.s_[:3, 0]))
    np.testing.assert_allclose(agent.meter.validate(), [plain[3:, 0].mean(), plain[:, 1].mean()])
    monkeypatch.setattr(signals_module, "evaluate_policy", patchy(np.s_[:, 0]))
    with pytest.raises(ValueError, match=r"Probe\(problems=64\): an objective applies to none of them \(train\)"):
        agent.meter.validate()


def test_validation_samples_nothing(make, monkeypatch):
    agent = make(["validation"], probe=Probe(problems=len(LETTERS)))
    greedy, generate = [], agent.policy.generate
    monkeypatch.setattr(agent.policy, "generate", lambda *a: greedy.append(a[2].greedy) or generate(*a))
    agent.step()
    assert greedy == [False, True]  # the rollout, then the validation


# --- what is refused


def test_probe_of_a_weighter():
    assert probe_of(Static()) == Probe()
    assert probe_of(GradientInfluence(every=7)) == Probe(every=7)


@pytest.mark.parametrize(
    ("weighter", "message"),
    [
        (Recording(needs=frozenset({"hessian"})), r"Recording needs the signals \['hessian'\], which this agent does"),
        (
            Recording(needs=frozenset({"gradients.jvp"}), probe=Probe(clip_norm=2.0)),
            r"Recording: Probe\(clip_norm=2.0\) needs each objective's gradient",
        ),
        (GradientInfluence(parameters=["nowhere"]), r"parameters=\('nowhere',\)\) matches no trainable parameter"),
        (GradientInfluence("jvp", parameters=["nowhere"]), "matches no trainable parameter"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_first_step(make, policy_directory, weighter, message):
    with pytest.raises(ValueError, match=message):
        make(weighter=weighter)
    with pytest.raises(ValueError, match=message):
        check_needs(weighter, load(policy_directory))


def test_a_meter_without_needs_measures_nothing(make):
    agent = make([])
    batch = next_batch(agent)
    assert isinstance(agent.meter, Meter)
    assert agent.meter.before_update(0, batch) == {}
    assert agent.meter.after_update(0, batch) is None


# --- dynamic sampling


def test_dynamic_sampling_measures_the_final_batch_alone(make, monkeypatch):
    sizes, measure = [], signals_module.objective_gramian
    monkeypatch.setattr(
        signals_module, "objective_gramian", lambda *a, **k: sizes.append(len(a[1].prompt_ids)) or measure(*a, **k)
    )
    agent = make(["gradients.exact"], dynamic_sampling=True, max_resamples=3, rewards=(correct, constant))
    report = agent.step()
    assert report.rollouts > 1
    assert sizes == [report.groups]
    assert len(agent.weighter.seen) == 1  # the weighter is not asked which groups to keep


def test_dynamic_sampling_leaves_out_what_the_preference_does(make):
    """What varies has no preference: no group teaches anything."""
    agent = make(
        ["gradients.jvp"],
        dynamic_sampling=True,
        max_resamples=1,
        rewards=(correct, constant),
        preference=[0.0, 1.0],
    )
    report = agent.step()
    assert (report.rollouts, report.groups) == (2, 6)


# --- training


@pytest.mark.parametrize("mode", ["exact", "jvp", "realised"])
@pytest.mark.parametrize("fast", [True, False], ids=["fast engine", "transformers"])
def test_training_under_gradient_influence(policy_directory, mode, fast):
    env = make_env(policy_directory, num_envs=32, group_size=8)
    weighter = GradientInfluence(mode, eta=1.0, mu=1e-2)
    agent = GDPO(env, load(policy_directory, fast=fast), weighter=weighter, learning_rate=1e-2)
    weights = []
    agent.learn(3, [lambda report: weights.append(report.weight)])
    weights = np.array(weights)
    np.testing.assert_allclose(weights.sum(axis=1), 2.0)
    assert np.ptp(weights, axis=0).min() > 1e-2  # they move
    assert (weights[0] == 1.0).all() == (mode == "realised")  # no step has gone before


def test_exact_and_jvp_train_alike(policy_directory):
    def weights(mode):
        env = make_env(policy_directory, num_envs=32, group_size=8)
        agent, seen = GDPO(env, load(policy_directory), weighter=GradientInfluence(mode, eta=1.0, mu=0.1)), []
        agent.learn(3, [lambda report: seen.append(report.weight)])
        return np.array(seen)

    np.testing.assert_allclose(weights("exact"), weights("jvp"), rtol=1e-4)


def test_parameters_are_no_mistake_before_a_model_is_loaded(policy_directory):
    """A comparison checks its arms without one; names that the model does not have are refused once it is there."""
    env = make_env(policy_directory)
    check_arms([parse_arm("gdpo:gradient(parameters=('mlp',))")], env, {})
    with pytest.raises(ValueError, match="matches no trainable parameter"):
        make_agent(
            parse_arm("gdpo:gradient(parameters=('nowhere',))"), env, load(policy_directory), seed=0, settings={}
        )
