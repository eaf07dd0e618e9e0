"""`GroupedPG`: one step taken apart, dynamic sampling, schedules, interruption, prediction, evaluation."""

import signal

import numpy as np
import pytest
import torch
from tiny_task import LETTERS, comparable, correct, load, make_env, parameters_of, short

from llm_morl_agents import grouped_pg
from llm_morl_agents.advantages import combine_advantages, combine_rewards, group_zscore
from llm_morl_agents.agents import GDPO, GRPO
from llm_morl_agents.checkpoint import read_header
from llm_morl_agents.diagnostics import advantage_share
from llm_morl_agents.grouped_pg import DEFAULT_MAX_RESPONSE_TOKENS, GroupedPG
from llm_morl_agents.policy import Sampling
from llm_morl_agents.rollout import derived_seed, rollout, stream
from llm_morl_agents.weighters import SAW, DVAOWeights, Static, Weighting
from llm_morl_rewards import reward


@reward(low=0.0, high=1.0)
def wrong(problem, response):
    return 1.0 - correct(problem, response)


@reward(low=0.0, high=1.0)
def constant(problem, response):
    return 0.5


@pytest.fixture
def make(policy_directory):
    """Maker of an agent on the letters: ``make(GDPO, rewards=, num_envs=, group_size=, **options)``."""

    def make_agent(cls=GDPO, *, rewards=(correct, short), num_envs=32, group_size=4, **options):
        env = make_env(policy_directory, rewards, num_envs=num_envs, group_size=group_size)
        return cls(env, load(policy_directory), **{"learning_rate": 1e-2, **options})

    return make_agent


def next_batch(agent, attempt=0):
    """The batch that the agent will draw next: its streams are functions of seed, step and attempt."""
    position = (agent.step_count, attempt)
    return rollout(
        agent.policy,
        agent.env,
        agent.settings.sampling(default_max_new_tokens=agent.max_response_tokens),
        env_seed=derived_seed(agent.seed, "rollout", *position),
        generator=stream(agent.seed, "sample", *position),
    )


def assert_same_parameters(policy, before):
    for name, value in parameters_of(policy).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


# --- construction


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"preference": [1.0]}, ValueError, r"preference must be 2 non-negative numbers, not all 0, got \[1.0\]"),
        ({"preference": [1.0, -1.0]}, ValueError, "preference must be 2 non-negative"),
        ({"preference": [0.0, 0.0]}, ValueError, "preference must be 2 non-negative"),
        ({"preference": [np.nan, 1.0]}, ValueError, "preference must be 2 non-negative"),
        ({"seed": -1}, ValueError, r"seed must lie in \[0, 2\*\*32\), got -1"),
        ({"epochs": 0}, ValueError, "epochs must be"),
        ({"leaning_rate": 0.1}, TypeError, r"unknown settings \['leaning_rate'\]"),
        ({"weighter": Static([1, 2, 3])}, ValueError, "must have 2 entries"),
        ({"weighter": DVAOWeights()}, ValueError, "DVAOWeights makes the size .* allow_whiten=True"),
    ],
)
def test_bad_arguments_are_named(make, options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_whitening_under_dvao_weights_can_be_allowed(make):
    assert make(weighter=DVAOWeights(), allow_whiten=True).allow_whiten
    assert isinstance(make(GRPO, weighter=DVAOWeights()).weighter, DVAOWeights)  # nothing is whitened there


def test_an_environment_without_vector_rewards_is_refused(policy_directory):
    class Scalar:
        unwrapped = None

    with pytest.raises(TypeError, match="env must be a batched text environment with vector rewards, got"):
        GDPO(Scalar(), load(policy_directory))


def test_a_weighter_that_needs_what_does_not_exist_is_refused(make):
    class Needy(Static):
        needs = frozenset({"gradients.exact", "hessian"})

    with pytest.raises(ValueError, match=r"Needy needs the signals \['hessian'\], which this agent does not give"):
        make(weighter=Needy())


def test_the_cap_is_the_environments_unless_it_has_none(make):
    agent = make()
    assert agent.max_response_tokens == 3
    agent.env.task = None
    assert agent.max_response_tokens == DEFAULT_MAX_RESPONSE_TOKENS


# --- a step


@pytest.mark.parametrize("weighter", [Static([2.0, 1.0]), SAW(), SAW(ema=0.5)])
def test_report_of_a_step(make, weighter):
    agent = make(weighter=weighter, preference=[1.0, 3.0], seed=3)
    for step in range(3):
        batch, state = next_batch(agent), dict(agent.weighter_state)
        weighting, _ = agent.weighter(_signals_of(agent, batch), state)
        report = agent.step()
        groups = [batch.rewards[batch.group == g] for g in np.unique(batch.group)]
        assert report.step == step
        assert agent.step_count == step + 1
        assert report.objectives == ("correct", "short")
        np.testing.assert_allclose(report.reward_mean, batch.rewards.mean(axis=0))
        np.testing.assert_allclose(report.within_group_std, np.mean([g.std(axis=0) for g in groups], axis=0))
        np.testing.assert_allclose(
            report.zero_variance_share, np.mean([np.ptp(g, axis=0) == 0 for g in groups], axis=0)
        )
        np.testing.assert_allclose(report.weight, weighting.weights)
        np.testing.assert_allclose(
            report.advantage_share, advantage_share(batch.rewards, batch.group, weighting, agent.estimator)
        )
        assert report.advantage_share.sum() == pytest.approx(1.0)
        assert report.entropy == pytest.approx(-batch.behaviour_logprobs[batch.response_mask].mean(), rel=1e-5)
        assert report.response_tokens == batch.response_mask.sum() / 32
        assert report.finished_share == batch.finished.mean()
        assert (report.groups, report.rollouts, report.kl) == (8, 1, 0.0)
        assert report.grad_norm > 0
        assert 0 <= report.weighter_seconds <= report.cpu_seconds
    if weighter == SAW(ema=0.5):
        np.testing.assert_allclose(agent.weighter_state["share"].sum(), 1.0)
    row = report.as_row()
    assert row["reward_mean/correct"] == report.reward_mean[0]
    assert row["learning_rate"] == 1e-2
    assert "objectives" not in row


def _signals_of(agent, batch):
    return grouped_pg.Signals(
        rewards=batch.rewards,
        group=batch.group,
        low=agent.objectives.low,
        high=agent.objectives.high,
        preference=agent.preference,
        level=agent.estimator.level,
        step=agent.step_count,
    )


def test_weights_of_equal_weighting_with_a_preference(make):
    assert make(preference=[1.0, 3.0]).step().weight.tolist() == [1.0, 3.0]
    assert make(weighter=Static([2.0, 1.0]), preference=[1.0, 3.0]).step().weight.tolist() == [2.0, 3.0]


def test_dvao_weights_are_reported_as_the_mean_over_responses(make):
    agent = make(GRPO, weighter=DVAOWeights())
    batch = next_batch(agent)
    std = np.array([batch.rewards[batch.group == g].std(axis=0) for g in batch.group])
    weights = std / np.maximum(std.sum(axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(agent.step().weight, weights.mean(axis=0), rtol=1e-6)


def test_a_saturated_batch_leaves_the_parameters_bit_identical(make):
    agent = make(rewards=(constant,), weight_decay=0.1)
    before = parameters_of(agent.policy)
    report = agent.learn(3).step()
    assert_same_parameters(agent.policy, before)
    assert report.loss == report.grad_norm == 0.0
    assert report.advantage_share.tolist() == [0.0]
    assert report.zero_variance_share.tolist() == [1.0]


def test_same_seed_same_run_other_seed_other_run(make):
    def rows(seed):
        seen = []
        make(seed=seed, learning_rate=1e-2).learn(3, [lambda r: seen.append(comparable(r))])
        return seen

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


def test_no_global_random_state_is_read_or_changed(make):
    np.random.seed(0)  # noqa: NPY002  # the global state is what is tested
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = comparable(make(mini_batches=2, epochs=2).step())
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.manual_seed(1)
    assert comparable(make(mini_batches=2, epochs=2).step()) == first


# --- settings reach what they are for


def test_sampling_settings_reach_the_policy(make, monkeypatch):
    agent = make(temperature=0.7, top_p=0.9, max_new_tokens=2, stop=("a", "bc"))
    seen, generate = [], agent.policy.generate
    monkeypatch.setattr(agent.policy, "generate", lambda *a: seen.append(a[2]) or generate(*a))
    agent.step()
    agent.predict(["a?"], deterministic=True)
    agent.evaluate(2)
    sampling = Sampling(0.7, 0.9, 2, ("a", "bc"))
    greedy = Sampling(0.7, 0.9, 2, ("a", "bc"), greedy=True)
    assert seen[:2] == [sampling, greedy]
    assert set(seen[2:]) == {sampling, greedy}


def test_stop_strings_and_cap_act(make):
    stop = tuple(LETTERS[:4])
    responses = make(stop=stop, seed=1).predict(["a?"] * 64)
    assert all(sum(letter in stop for letter in text) <= 1 for text in responses)
    assert any(text and text[-1] in stop for text in responses)
    assert max(map(len, make(max_new_tokens=2).predict(["a?"] * 64))) == 2


@pytest.mark.parametrize(("max_new_tokens", "divisor"), [(None, 3), (2, 2)])
def test_constant_aggregation_divides_by_the_response_cap(make, monkeypatch, max_new_tokens, divisor):
    seen, update = [], grouped_pg.update
    monkeypatch.setattr(grouped_pg, "update", lambda *a, **k: seen.append(k["constant_length"]) or update(*a, **k))
    make(aggregation="constant", max_new_tokens=max_new_tokens).step()
    assert seen == [divisor]


def test_optimizer_settings(make):
    group = make(betas=(0.7, 0.8), weight_decay=0.3, learning_rate=0.5).optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.7, 0.8), 0.3, 0.5)


def test_learning_rate_follows_the_schedule(make):
    rates = []
    agent = make(schedule="linear", warmup_steps=2, learning_rate=1.0e-3)
    agent.learn(0)  # sets no horizon
    agent.learn(6, [lambda r: rates.append((r.learning_rate, agent.optimizer.param_groups[0]["lr"]))])
    np.testing.assert_allclose(rates, np.array([[5, 10, 10, 7.5, 5, 2.5]] * 2).T * 1e-4)
    fixed = make(schedule="linear", schedule_steps=2, learning_rate=1.0e-3)
    rates.clear()
    fixed.learn(3, [lambda r: rates.append(r.learning_rate)])
    np.testing.assert_allclose(rates, [1e-3, 5e-4, 0.0])


def test_the_reference_stays_and_the_divergence_grows(make):
    agent = make(kl_coef=0.1)
    initial = {name: p.detach().clone() for name, p in agent.reference.model.named_parameters()}
    kl = []
    agent.learn(4, [lambda r: kl.append(r.kl)])
    assert kl[0] == pytest.approx(0.0, abs=1e-9)
    assert kl[-1] > 1e-4
    for name, p in agent.reference.model.named_parameters():
        assert torch.equal(p, initial[name])
        assert not p.requires_grad
    assert make().reference is None


def test_a_strong_kl_term_holds_the_policy_back(make):
    def distance(kl_coef):
        agent = make(kl_coef=kl_coef, learning_rate=3e-3)
        start = agent.policy.state_tensors()
        agent.learn(8)
        moved = agent.policy.state_tensors()
        return sum(float((moved[n] - start[n]).square().sum()) for n in start)

    assert distance(100.0) < 0.7 * distance(1e-9)


def test_an_entropy_bonus_keeps_the_entropy_up(make):
    def entropy(entropy_coef):
        agent = make(GRPO, entropy_coef=entropy_coef, num_envs=64, learning_rate=3e-2)
        return agent.learn(40).step().entropy

    assert entropy(0.5) > entropy(0.0) + 0.8


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"device": "cpu", "fast": False}])
def test_other_dtypes_and_engines_train(policy_directory, options):
    agent = GDPO(make_env(policy_directory), load(policy_directory, **options), learning_rate=1e-2, kl_coef=0.1)
    before = agent.policy.state_tensors()
    report = agent.learn(2).step()
    assert np.isfinite([report.loss, report.grad_norm, report.kl]).all()
    after = agent.policy.state_tensors()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(after[name].dtype == before[name].dtype for name in before)


def test_both_engines_take_the_same_step(policy_directory):
    reports = [
        GDPO(make_env(policy_directory), load(policy_directory, fast=fast), seed=2).step() for fast in (True, False)
    ]
    first, second = map(comparable, reports)
    assert first.keys() == second.keys()
    np.testing.assert_allclose(list(first.values()), list(second.values()), rtol=1e-4, atol=1e-6)


# --- dynamic sampling


def varying(agent, batch):
    """Groups of a batch in which an objective of weight varies, by brute force, for equal weights."""
    return [g for g in np.unique(batch.group) if (np.ptp(batch.rewards[batch.group == g], axis=0) > 0).any()]


def trained_batches(monkeypatch):
    seen, update = [], grouped_pg.update
    monkeypatch.setattr(grouped_pg, "update", lambda *a, **k: seen.append(a[3]) or update(*a, **k))
    return seen


def test_a_group_whose_sum_is_flat_is_kept_if_its_objectives_vary(make, monkeypatch):
    """Correct + wrong is 1 for every response: DAPO's rule on the sum would keep nothing."""
    seen = trained_batches(monkeypatch)
    agent = make(
        rewards=(correct, wrong), weighter=Static([1, 1]), dynamic_sampling=True, max_resamples=0, group_size=8
    )
    batch = next_batch(agent)
    kept = varying(agent, batch)
    assert 0 < len(kept) < len(batch.prompt_ids)
    report = agent.step()
    assert report.groups == len(kept)
    expected = batch.select(np.flatnonzero(np.isin(batch.group, kept)))
    np.testing.assert_array_equal(seen[0].response_ids, expected.response_ids)
    np.testing.assert_array_equal(seen[0].group, expected.group)
    assert seen[0].prompt_ids == expected.prompt_ids
    assert report.zero_variance_share.tolist() == [0.0, 0.0]


def test_an_objective_of_weight_zero_does_not_count(make):
    agent = make(
        rewards=(correct, constant), weighter=Static([0, 1]), dynamic_sampling=True, max_resamples=2, group_size=8
    )
    assert varying(agent, next_batch(agent))  # what varies has no weight
    before = parameters_of(agent.policy)
    report = agent.step()
    assert report.rollouts == 3
    assert report.groups == 4  # all of the first rollout: nothing is better
    assert report.grad_norm == 0.0
    assert_same_parameters(agent.policy, before)
    other = make(rewards=(correct, constant), weighter=Static([1, 0]), dynamic_sampling=True, group_size=8)
    assert other.step().zero_variance_share.tolist() == [0.0, 1.0]


def test_refill_ends_when_full(make, monkeypatch):
    seen = trained_batches(monkeypatch)
    agent = make(rewards=(correct,), dynamic_sampling=True, max_resamples=100, group_size=2)
    batches = [next_batch(agent, attempt) for attempt in range(40)]
    found = np.cumsum([len(varying(agent, batch)) for batch in batches])
    report = agent.step()
    assert report.rollouts == 1 + int(np.argmax(found >= 16))
    assert 1 < report.rollouts < 40
    assert report.groups == 16
    rewards = [b.rewards[np.isin(b.group, varying(agent, b))] for b in batches[: report.rollouts]]
    np.testing.assert_array_equal(seen[0].rewards, np.concatenate(rewards)[:32])


@pytest.mark.parametrize("max_resamples", [0, 1, 3])
def test_refill_gives_up_after_max_resamples(make, max_resamples):
    agent = make(rewards=(correct,), dynamic_sampling=True, max_resamples=max_resamples, group_size=2, seed=1)
    found = sum(len(varying(agent, next_batch(agent, attempt))) for attempt in range(1 + max_resamples))
    assert 0 < found < 16
    report = agent.step()
    assert (report.rollouts, report.groups) == (1 + max_resamples, found)


def test_without_dynamic_sampling_flat_groups_stay(make):
    report = make(rewards=(correct,), group_size=2).step()
    assert (report.rollouts, report.groups) == (1, 16)
    assert report.zero_variance_share[0] > 0


def test_weights_per_group_decide_about_their_group(make):
    class FirstGroupOnly(Static):
        def __call__(self, signals, state):
            weights = np.zeros((len(np.unique(signals.group)), signals.rewards.shape[1]))
            weights[0] = 1.0
            return Weighting(weights), state

    agent = make(weighter=FirstGroupOnly(), dynamic_sampling=True, max_resamples=0, group_size=8)
    assert agent.step().groups == 1


# --- learn


def test_learn_calls_back_and_a_false_ends_it(make):
    agent, seen = make(), []
    assert agent.learn(5, [lambda r: seen.append(r.step), lambda r: r.step < 2]) is agent
    assert seen == [0, 1, 2]
    assert not agent.interrupted
    agent.learn(2, [lambda r: seen.append(r.step)])
    assert seen == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"learn\(total_steps=\) must be non-negative, got -1"):
        agent.learn(-1)


def test_learn_saves_every_so_often_and_at_the_end(make, tmp_path, monkeypatch):
    agent, saved = make(checkpoint_every=2), []
    save = agent.save
    monkeypatch.setattr(agent, "save", lambda path: saved.append(agent.step_count) or save(path))
    agent.learn(5, checkpoint_path=tmp_path / "agent")
    assert saved == [2, 4, 5]
    assert read_header(tmp_path / "agent")["step_count"] == 5
    saved.clear()
    agent.learn(2)
    assert saved == []


def test_first_interrupt_finishes_the_step_and_saves(make, tmp_path):
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(report):
        if report.step == 1:
            signal.raise_signal(signal.SIGINT)

    agent = make().learn(10, [interrupt], checkpoint_path=tmp_path / "agent")
    assert agent.interrupted
    assert agent.step_count == 2
    assert read_header(tmp_path / "agent")["step_count"] == 2
    assert signal.getsignal(signal.SIGINT) is handler
    assert not agent.learn(1).interrupted
    assert agent.step_count == 3


def test_an_interrupt_during_the_last_save_does_not_cut_it(make, tmp_path, monkeypatch):
    agent = make()
    save = agent.save
    monkeypatch.setattr(agent, "save", lambda path: signal.raise_signal(signal.SIGINT) or save(path))
    agent.learn(1, checkpoint_path=tmp_path / "agent")
    assert agent.interrupted
    assert read_header(tmp_path / "agent")["step_count"] == 1


def test_second_interrupt_stops_at_once(make, tmp_path):
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(report):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    agent = make()
    with pytest.raises(KeyboardInterrupt):
        agent.learn(10, [interrupt], checkpoint_path=tmp_path / "agent")
    assert agent.step_count == 1
    assert not (tmp_path / "agent.safetensors").exists()
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_in_a_callback_comes_out(make):
    handler = signal.getsignal(signal.SIGINT)

    def fail(report):
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        make().learn(3, [fail])
    assert signal.getsignal(signal.SIGINT) is handler


# --- predict, evaluate


def test_predict(make):
    agent = make(seed=4)
    prompts = [f"{letter}?" for letter in LETTERS]
    greedy = agent.predict(prompts, deterministic=True)
    assert greedy == agent.predict(prompts, deterministic=True)
    first, second = agent.predict(prompts), agent.predict(prompts)
    assert first != second
    assert [first, second] == [make(seed=4).predict(prompts), second]  # greedy decoding uses up nothing
    assert all(isinstance(text, str) for text in first)
    assert agent.predict([]) == []
    with pytest.raises(TypeError, match=r"predict\(prompts=\) must be a sequence of str, got one str: 'a\?'"):
        agent.predict("a?")


def test_evaluate_does_not_disturb_training(make):
    def rows(evaluate):
        agent, seen = make(seed=2), []

        def callback(report):
            seen.append(comparable(report))
            if evaluate:
                agent.evaluate(3)
                agent.predict(["a?"])

        agent.learn(3, [callback])
        return seen

    assert rows(evaluate=True) == rows(evaluate=False)


def test_evaluate_draws_the_same_samples_at_every_call(make):
    agent = make()
    first = agent.evaluate(8)
    again, other = agent.evaluate(8), agent.evaluate(8, seed=5)
    np.testing.assert_array_equal(first.sampled_rewards, again.sampled_rewards)
    np.testing.assert_array_equal(first.greedy_rewards, other.greedy_rewards)
    assert not np.array_equal(first.sampled_rewards, other.sampled_rewards)
    assert first.objectives == ("correct", "short")


def test_evaluations_differ_by_the_policy_alone(make):
    agent = make(rewards=(correct, constant), weighter=Static([0, 1]))  # nothing to learn: the policy stays
    first = agent.evaluate(8)
    np.testing.assert_array_equal(agent.learn(2).evaluate(8).sampled_rewards, first.sampled_rewards)


def test_a_bare_grouped_pg_trains(make):
    for estimator in (combine_rewards(group_zscore), combine_advantages(group_zscore)):
        report = make(GroupedPG, estimator=estimator).step()
        assert report.grad_norm > 0
