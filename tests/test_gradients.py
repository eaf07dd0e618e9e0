"""Gramian, influence and realised gain: against the loss itself, against each other, for every aggregation and K."""

import numpy as np
import pytest
import torch
from test_directional import DoublePolicy
from tiny_task import load, make_batch, parameters_of

from llm_morl_agents.gradients import (
    chosen_parameters,
    clipped_gramian,
    objective_gramian,
    objective_influence,
    realised_gain,
    response_scale,
)
from llm_morl_agents.losses import policy_loss
from llm_morl_agents.policies.load import load_policy
from llm_morl_agents.settings import Settings
from llm_morl_agents.weighters.base import Probe

AGGREGATIONS = ("token_mean", "sequence_mean", "constant")
TOLERANCE = {"forward": 1e-5, "finite": 1e-2}  # a central difference in float32
FINITE, FORWARD = Probe(method="finite"), Probe(method="forward")


def advantages_of(n, k, seed=0):
    """Random advantages (K, N); one response pulls nowhere, another for one objective alone."""
    advantages = np.random.default_rng(seed).normal(size=(k, n))
    advantages[:, 0] = 0.0
    advantages[1:, 1] = 0.0
    return advantages


def gradients_of_the_loss(policy, batch, advantages, settings, constant_length=7):
    """(K, D) in one piece through `policy_loss` at ratio 1, and the parameters' names of the D columns."""
    parameters = policy.trainable_parameters()
    rows = []
    for advantage in advantages:
        stats = policy.token_stats(
            batch.prompt_ids,
            batch.prompt_index,
            batch.response_ids,
            batch.response_mask,
            temperature=settings.temperature,
        )
        loss = policy_loss(
            stats.logprobs,
            stats.logprobs.detach(),
            torch.as_tensor(advantage),
            torch.as_tensor(batch.response_mask),
            clip=settings.clip,
            ratio=settings.ratio,
            aggregation=settings.aggregation,
            constant_length=constant_length,
        )
        found = torch.autograd.grad(-loss, list(parameters.values()))
        rows.append(np.concatenate([g.double().numpy().ravel() for g in found]))
    names = np.concatenate([np.full(p.numel(), name) for name, p in parameters.items()])
    return np.array(rows), names


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("options", [{}, {"ratio": "sequence"}, {"clip_low": None, "clip_high": None}])
def test_gramian_is_that_of_the_loss(policy_directory, aggregation, options):
    policy = load(policy_directory)
    settings = Settings(aggregation=aggregation, temperature=0.8, micro_batches=3, **options)
    batch = make_batch(policy, temperature=0.8, cap=10)
    assert len(set(batch.lengths)) > 1
    advantages = advantages_of(len(batch), 3)
    gradients, _ = gradients_of_the_loss(policy, batch, advantages, settings)
    gramian = objective_gramian(policy, batch, advantages, settings, constant_length=7)
    assert gramian.dtype == np.float64
    np.testing.assert_array_equal(gramian, gramian.T)
    assert relative_error(gramian, gradients @ gradients.T) < 1e-5
    for probe in (FORWARD, FINITE):
        influence = objective_influence(policy, batch, advantages, settings, probe, constant_length=7)
        assert relative_error(influence, gradients @ gradients.sum(axis=0)) < TOLERANCE[probe.method]


@pytest.mark.parametrize("fast", [True, False], ids=["fast engine", "transformers"])
@pytest.mark.parametrize("method", TOLERANCE)
def test_influence_equals_the_row_sums_for_two_to_eight_objectives(policy_directory, fast, method):
    policy, settings = load(policy_directory, fast=fast), Settings()
    batch = make_batch(policy, sizes=(6, 6, 6, 6))
    for k in range(2, 9):
        advantages = advantages_of(len(batch), k, seed=k)
        exact = objective_gramian(policy, batch, advantages, settings).sum(axis=1)
        influence = objective_influence(policy, batch, advantages, settings, Probe(method=method))
        assert relative_error(influence, exact) < TOLERANCE[method]


@pytest.mark.parametrize("method", TOLERANCE)
def test_influence_on_the_embedded_policy(method):
    policy, settings = load_policy("tiny"), Settings()
    batch = make_batch(policy, sizes=(4, 4), cap=12)
    advantages = advantages_of(len(batch), 4)
    exact = objective_gramian(policy, batch, advantages, settings).sum(axis=1)
    influence = objective_influence(policy, batch, advantages, settings, Probe(method=method))
    assert relative_error(influence, exact) < TOLERANCE[method]


@pytest.mark.parametrize(("method", "tolerance"), [("forward", 1e-12), ("finite", 1e-8)])
def test_float64_keeps_its_digits(policy_directory, method, tolerance):
    policy, settings, batch = DoublePolicy(), Settings(), make_batch(load(policy_directory))
    for k in range(2, 9):
        advantages = advantages_of(len(batch), k, seed=k)
        gradients, _ = gradients_of_the_loss(policy, batch, advantages, settings)
        exact = objective_gramian(policy, batch, advantages, settings)
        assert relative_error(exact, gradients @ gradients.T) < 1e-12
        influence = objective_influence(policy, batch, advantages, settings, Probe(method=method))
        assert relative_error(influence, exact.sum(axis=1)) < tolerance


@pytest.mark.parametrize("patterns", [(r"layers\.0\.",), ("down_proj", r"^model\.norm"), ("embed_tokens",)])
def test_a_subset_of_the_parameters(policy_directory, patterns):
    policy, settings = load(policy_directory), Settings()
    batch = make_batch(policy)
    advantages = advantages_of(len(batch), 3)
    gradients, names = gradients_of_the_loss(policy, batch, advantages, settings)
    chosen = chosen_parameters(policy, Probe(parameters=patterns))
    assert 0 < len(chosen) < len(policy.trainable_parameters())
    part = gradients[:, np.isin(names, chosen)]
    probe = Probe(parameters=patterns)
    assert relative_error(objective_gramian(policy, batch, advantages, settings, probe), part @ part.T) < 1e-5
    for method, tolerance in TOLERANCE.items():
        probe = Probe(parameters=patterns, method=method)
        influence = objective_influence(policy, batch, advantages, settings, probe)
        assert relative_error(influence, part @ part.sum(axis=0)) < tolerance


def test_which_parameters_are_chosen(policy_directory):
    policy = load(policy_directory)
    names = list(policy.trainable_parameters())
    assert chosen_parameters(policy, Probe()) == names
    assert chosen_parameters(policy, Probe(parameters=("norm", "norm.weight$"))) == [n for n in names if "norm" in n]
    with pytest.raises(ValueError, match=r"parameters=\('layers.99',\)\) matches no trainable parameter; they are \["):
        chosen_parameters(policy, Probe(parameters=("layers.99",)))


def test_the_clip_is_by_the_whole_gradient_and_comes_before_the_subset(policy_directory):
    policy, settings = load(policy_directory), Settings()
    batch = make_batch(policy)
    advantages = np.array([[10.0], [1.0], [0.01]]) * advantages_of(len(batch), 3)
    gradients, names = gradients_of_the_loss(policy, batch, advantages, settings)
    norms = np.linalg.norm(gradients, axis=1)
    clip_norm = float(np.sort(norms)[1]) * 0.9  # clips two of the three
    chosen = chosen_parameters(policy, Probe(parameters=("mlp",)))
    clipped = gradients * np.minimum(1, clip_norm / (norms + 1e-6))[:, None]
    part = clipped[:, np.isin(names, chosen)]
    assert np.linalg.norm(part, axis=1)[0] < clip_norm  # the subset alone would have been clipped elsewhere
    found = objective_gramian(policy, batch, advantages, settings, Probe(parameters=("mlp",), clip_norm=clip_norm))
    assert relative_error(found, part @ part.T) < 1e-5
    whole = objective_gramian(policy, batch, advantages, settings, Probe(clip_norm=clip_norm))
    np.testing.assert_allclose(np.sqrt(np.diag(whole)), np.minimum(norms, clip_norm), rtol=1e-5)


def test_clipped_gramian_is_torchs_clip():
    gradients = np.random.default_rng(0).normal(size=(3, 5)) * np.array([[3.0], [1.0], [0.1]])
    clipped = []
    for gradient in gradients:
        p = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        p.grad = torch.as_tensor(gradient.copy())
        torch.nn.utils.clip_grad_norm_([p], 1.0)
        clipped.append(p.grad.numpy())
    found = clipped_gramian(gradients @ gradients.T, np.linalg.norm(gradients, axis=1), 1.0)
    np.testing.assert_allclose(found, np.array(clipped) @ np.array(clipped).T, rtol=1e-12)
    np.testing.assert_array_equal(clipped_gramian(found, [9.0, 9.0, 9.0], None), found)


def test_one_backward_pass_cannot_clip_each_objective(policy_directory):
    policy = load(policy_directory)
    batch = make_batch(policy)
    with pytest.raises(ValueError, match=r"Probe\(clip_norm=1.0\): one backward pass"):
        objective_influence(policy, batch, advantages_of(len(batch), 2), Settings(), Probe(clip_norm=1.0))


def test_the_first_groups_alone(policy_directory):
    policy, settings = load(policy_directory), Settings(aggregation="sequence_mean")
    batch = make_batch(policy)
    advantages = advantages_of(len(batch), 3)
    rows = np.flatnonzero(batch.prompt_index < 2)
    part, own = batch.select(rows), advantages[:, rows]
    two = Probe(groups=2)
    np.testing.assert_array_equal(
        objective_gramian(policy, batch, advantages, settings, two), objective_gramian(policy, part, own, settings)
    )
    np.testing.assert_array_equal(
        objective_influence(policy, batch, advantages, settings, two), objective_influence(policy, part, own, settings)
    )
    before = batch.behaviour_logprobs - 0.1
    np.testing.assert_array_equal(
        realised_gain(policy, batch, advantages, settings, before, two),
        realised_gain(policy, part, own, settings, before[rows, : part.response_ids.shape[1]]),
    )
    many = objective_gramian(policy, batch, advantages, settings, Probe(groups=99))
    np.testing.assert_array_equal(many, objective_gramian(policy, batch, advantages, settings))


def test_micro_batches_change_nothing(policy_directory):
    policy = load(policy_directory)
    batch = make_batch(policy)
    advantages = advantages_of(len(batch), 3)
    whole, parts = Settings(micro_batches=1), Settings(micro_batches=4)
    assert relative_error(*(objective_gramian(policy, batch, advantages, s) for s in (whole, parts))) < 1e-5
    assert relative_error(*(objective_influence(policy, batch, advantages, s) for s in (whole, parts))) < 1e-5
    before = batch.behaviour_logprobs - 0.1
    assert relative_error(*(realised_gain(policy, batch, advantages, s, before) for s in (whole, parts))) < 1e-5


def test_one_forward_pass_and_one_derivative_whatever_k(policy_directory, monkeypatch):
    policy, settings = load(policy_directory), Settings(micro_batches=1)
    batch = make_batch(policy)
    calls, backward = [], []
    token_stats, grad = policy.token_stats, torch.autograd.grad
    monkeypatch.setattr(policy, "token_stats", lambda *a, **k: calls.append(1) or token_stats(*a, **k))
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: backward.append(1) or grad(*a, **k))
    counts = {}
    for k in (2, 8):
        advantages = advantages_of(len(batch), k)
        for name, measure in (("exact", objective_gramian), ("jvp", objective_influence)):
            calls.clear()
            backward.clear()
            measure(policy, batch, advantages, settings)
            counts[name, k] = (len(calls), len(backward))
    assert counts == {("exact", 2): (1, 2), ("exact", 8): (1, 8), ("jvp", 2): (2, 1), ("jvp", 8): (2, 1)}


def test_gradients_and_parameters_are_left_as_they_were(policy_directory):
    policy, settings = load(policy_directory), Settings()
    batch = make_batch(policy)
    advantages = advantages_of(len(batch), 3)
    parameters, before = policy.trainable_parameters(), parameters_of(policy)
    marks = {name: torch.full_like(p, 7.0) for name, p in parameters.items()}
    for name, p in parameters.items():
        p.grad = marks[name]
    copy = advantages.copy()
    objective_gramian(policy, batch, advantages, settings, Probe(clip_norm=1.0))
    for method in TOLERANCE:
        objective_influence(policy, batch, advantages, settings, Probe(method=method))
    realised_gain(policy, batch, advantages, settings)
    np.testing.assert_array_equal(advantages, copy)
    for name, p in policy.trainable_parameters().items():
        assert p.grad is marks[name]
        assert (p.grad == 7.0).all()
        np.testing.assert_array_equal(p.detach().numpy(), before[name])


def test_an_objective_without_advantages_has_neither_gradient_nor_influence(policy_directory):
    policy, settings = load(policy_directory), Settings()
    batch = make_batch(policy)
    advantages = advantages_of(len(batch), 3)
    advantages[1] = 0.0
    gramian = objective_gramian(policy, batch, advantages, settings, Probe(clip_norm=1.0))
    np.testing.assert_array_equal(gramian[1], np.zeros(3))
    for method in TOLERANCE:
        assert objective_influence(policy, batch, advantages, settings, Probe(method=method))[1] == 0.0
    assert realised_gain(policy, batch, advantages, settings, batch.behaviour_logprobs - 1.0)[1] == 0.0
    nothing = np.zeros((2, len(batch)))
    np.testing.assert_array_equal(objective_gramian(policy, batch, nothing, settings), np.zeros((2, 2)))
    np.testing.assert_array_equal(objective_influence(policy, batch, nothing, settings), np.zeros(2))
    np.testing.assert_array_equal(realised_gain(policy, batch, nothing, settings), np.zeros(2))


def test_opposed_objectives_cancel(policy_directory):
    """The summed gradient is 0 although each is not: every influence is 0, in each of the ways to measure it."""
    policy, settings = load(policy_directory), Settings()
    batch = make_batch(policy)
    one = advantages_of(len(batch), 1)[0]
    gramian = objective_gramian(policy, batch, np.array([one, -one]), settings)
    np.testing.assert_allclose(gramian.sum(axis=1), 0.0, atol=1e-12 * gramian.max())
    assert gramian[0, 1] < 0
    np.testing.assert_array_equal(objective_influence(policy, batch, np.array([one, -one]), settings), np.zeros(2))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_realised_gain_is_the_learning_rate_times_the_influence(policy_directory, aggregation):
    """Gradient ascent on the sum of the objectives, a small step: first order.

    Responses that hold the padding token are left out: its embedding moves, although it has no gradient as an input.
    """
    policy, settings = load(policy_directory), Settings(aggregation=aggregation)
    batch = make_batch(policy, sizes=(9, 9, 9), cap=6)
    padded = ((batch.response_ids == policy.pad_id) & batch.response_mask).any(axis=1)
    batch = batch.select(np.flatnonzero(~padded))
    assert len(set(batch.lengths)) > 1
    advantages = advantages_of(len(batch), 3)
    influence = objective_influence(policy, batch, advantages, settings, constant_length=7)
    gradients, _ = gradients_of_the_loss(policy, batch, advantages.sum(axis=0)[None], settings)
    learning_rate = 0.01 / np.linalg.norm(gradients)
    at, total = 0, torch.as_tensor(gradients[0])
    with torch.no_grad():
        for p in policy.trainable_parameters().values():
            p += (learning_rate * total[at : at + p.numel()]).reshape(p.shape).float()
            at += p.numel()
    gain = realised_gain(policy, batch, advantages, settings, constant_length=7)
    assert np.abs(gain).max() > 1e-5
    assert relative_error(gain, learning_rate * influence) < 0.05


def test_realised_gain_by_hand(policy_directory):
    """The log-probabilities rose by 0.5 for each token, in the policy's own temperature."""
    policy, settings = load(policy_directory), Settings(temperature=0.7)
    batch = make_batch(policy, temperature=0.7)
    advantages = advantages_of(len(batch), 2)
    gain = realised_gain(policy, batch, advantages, settings, batch.behaviour_logprobs - 0.5)
    np.testing.assert_allclose(gain, 0.5 * advantages @ batch.lengths / batch.lengths.sum(), rtol=1e-5)
    rounding = realised_gain(policy, batch, advantages, settings)  # nothing has changed since the rollout
    np.testing.assert_allclose(rounding, 0.0, atol=1e-6)


def test_response_scale(policy_directory):
    batch = make_batch(load(policy_directory))
    n, lengths = len(batch), batch.lengths
    np.testing.assert_allclose(response_scale(batch, "token_mean"), np.full(n, 1 / lengths.sum()))
    np.testing.assert_allclose(response_scale(batch, "sequence_mean"), 1 / (n * lengths))
    np.testing.assert_allclose(response_scale(batch, "constant", 9), np.full(n, 1 / (9 * n)))
    with pytest.raises(ValueError, match="aggregation='constant' needs constant_length > 0, got None"):
        response_scale(batch, "constant")


@pytest.mark.parametrize("measure", [objective_gramian, objective_influence, realised_gain])
@pytest.mark.parametrize("advantages", [np.zeros((2, 9)), np.zeros(10), np.full((2, 10), np.nan)])
def test_advantages_that_do_not_fit(policy_directory, measure, advantages):
    policy = load(policy_directory)
    with pytest.raises(ValueError, match="advantages"):
        measure(policy, make_batch(policy), advantages, Settings())


def test_before_must_fit(policy_directory):
    policy = load(policy_directory)
    batch = make_batch(policy)
    with pytest.raises(ValueError, match="before must have shape"):
        realised_gain(policy, batch, advantages_of(10, 2), Settings(), np.zeros((10, 99)))


@pytest.mark.parametrize("measure", [objective_gramian, objective_influence, realised_gain])
def test_what_is_not_finite_is_refused(policy_directory, measure):
    policy = load(policy_directory)
    batch = make_batch(policy)
    with torch.no_grad():
        next(iter(policy.trainable_parameters().values())).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="objectives"):
        measure(policy, batch, advantages_of(len(batch), 2), Settings())
