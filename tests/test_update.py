"""The optimizer side: exact micro-batches, whole groups, dropped rows, and every term against a direct computation."""

import numpy as np
import pytest
import torch
from tiny_task import load, make_batch, parameters_of

from llm_morl_agents import update as update_module
from llm_morl_agents.settings import Settings
from llm_morl_agents.update import micro_batches, mini_batches, update

CAP = 4
SIZES = (3, 2, 4, 1, 3, 2)


@pytest.fixture
def policy(policy_directory):
    return load(policy_directory)


@pytest.fixture
def batch(policy):
    return make_batch(policy, sizes=SIZES, cap=CAP)


def advantages_of(batch, seed=1):
    return np.random.default_rng(seed).standard_normal(len(batch))


def run(policy, batch, advantages, *, reference=None, seed=0, optimizer=None, **settings):
    """One update; returns its report and the gradients that its last optimizer step saw, before the clip."""
    parameters = policy.trainable_parameters()
    optimizer = torch.optim.SGD(parameters.values(), lr=0.0) if optimizer is None else optimizer
    report = update(
        policy,
        reference,
        optimizer,
        batch,
        advantages,
        Settings(**{"max_grad_norm": float("inf"), **settings}),
        constant_length=CAP,
        generator=np.random.default_rng(seed),
    )
    return report, {name: None if p.grad is None else p.grad.numpy().copy() for name, p in parameters.items()}


def direct(policy, batch, loss_of):
    """Loss and gradients of ``loss_of(log-probabilities, entropies, mask)`` over the whole batch at once."""
    mask = torch.as_tensor(batch.response_mask)
    stats = policy.token_stats(
        batch.prompt_ids, batch.prompt_index, batch.response_ids, batch.response_mask, entropy=True
    )
    loss = loss_of(stats.logprobs, stats.entropy, mask)
    parameters = policy.trainable_parameters()
    return float(loss.detach()), dict(
        zip(parameters, (g.numpy() for g in torch.autograd.grad(loss, parameters.values())), strict=True)
    )


def assert_same(gradients, expected, rtol=1e-4, atol=1e-6):
    assert max(np.abs(g).max() for g in expected.values()) > 100 * atol  # the comparison means something
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=rtol, atol=atol, err_msg=name)


def moved(policy, seed=0, by=0.1):
    """Shift all parameters a little, so that the importance ratios are not 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.model.parameters():
            p.add_(by * torch.randn(p.shape, generator=generator))
    return policy


# --- partitions


@pytest.mark.parametrize("count", [1, 2, 4, 6, 50])
def test_mini_batches_are_whole_groups(batch, count):
    parts = list(mini_batches(batch, count, np.random.default_rng(0)))
    assert len(parts) == min(count, len(SIZES))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(batch)))
    groups = [set(batch.group[part]) for part in parts]
    assert sum(map(len, groups)) == len(SIZES)  # none is in two parts


def test_mini_batches_are_shuffled_by_their_generator(batch):
    def draw(seed):
        return [tuple(part) for part in mini_batches(batch, 3, np.random.default_rng(seed))]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


@pytest.mark.parametrize("count", [1, 2, 4, 50])
def test_micro_batches_are_whole_groups(batch, count):
    rows = np.arange(len(batch))[1:]  # one group has lost a row
    parts = micro_batches(batch, rows, count, vocab_size=10)
    assert len(parts) == min(count, len(SIZES))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), rows)
    assert sum(len(set(batch.group[part])) for part in parts) == len(SIZES)


def test_micro_batches_shrink_with_the_vocabulary_and_the_length(batch, monkeypatch):
    rows = np.arange(len(batch))
    tokens = int(batch.lengths.sum())
    parts = micro_batches(batch, rows, 1, vocab_size=update_module.MAX_LOGITS // tokens * 3)
    assert len(parts) == 3
    assert len(micro_batches(batch, rows, 1, vocab_size=2**40)) == len(batch), "one response is the least"
    monkeypatch.setattr(update_module, "MAX_TOKENS", 1)
    parts = micro_batches(batch, rows, 2, vocab_size=10)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), rows)
    assert len(parts) == len(batch)


# --- exactness


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_micro_batches_are_exact(policy, batch, aggregation, ratio):
    moved(policy)
    reference = moved(policy.frozen_copy(), seed=1)
    options = {"aggregation": aggregation, "ratio": ratio, "kl_coef": 0.3, "entropy_coef": 0.2, "reference": reference}
    whole, expected = run(policy, batch, advantages_of(batch), micro_batches=1, **options)
    for count in (2, 4, 50):
        parts, gradients = run(policy, batch, advantages_of(batch), micro_batches=count, **options)
        assert_same(gradients, expected)
        assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
        assert parts.kl == pytest.approx(whole.kl, rel=1e-5)
        assert parts.clip_share == pytest.approx(whole.clip_share)


def test_the_order_of_rows_does_not_matter(policy, batch):
    advantages = advantages_of(batch)
    _, expected = run(policy, batch, advantages)
    order = np.random.default_rng(3).permutation(len(batch))
    _, gradients = run(policy, batch.select(order), advantages[order], micro_batches=3)
    assert_same(gradients, expected)


def test_rows_without_advantage_are_dropped_exactly(policy, batch, monkeypatch):
    advantages = advantages_of(batch) * (np.arange(len(batch)) % 3 == 0)
    _, expected = direct(
        policy, batch, lambda lp, _, mask: -(torch.as_tensor(advantages)[:, None] * lp * mask).sum() / mask.sum()
    )
    seen = []
    token_stats = policy.token_stats
    monkeypatch.setattr(policy, "token_stats", lambda *a, **k: seen.append(len(a[1])) or token_stats(*a, **k))
    _, gradients = run(policy, batch, advantages, clip_low=None, clip_high=None)
    assert_same(gradients, expected)
    assert sum(seen) == np.count_nonzero(advantages) < len(batch)
    # ... but not where a KL or entropy term pulls at them too.
    seen.clear()
    run(policy, batch, advantages, entropy_coef=0.1)
    assert sum(seen) == len(batch)


@pytest.mark.parametrize("count", [1, 3])
def test_a_saturated_batch_leaves_everything_as_it_was(policy, batch, count):
    optimizer = torch.optim.AdamW(policy.trainable_parameters().values(), lr=1e-2, weight_decay=0.1)
    run(policy, batch, advantages_of(batch), optimizer=optimizer)  # momentum
    before, state = parameters_of(policy), optimizer.state_dict()["state"]
    moments = {i: {k: v.clone() for k, v in s.items()} for i, s in state.items()}
    report, _ = run(policy, batch, np.zeros(len(batch)), optimizer=optimizer, epochs=2, mini_batches=count)
    for name, value in parameters_of(policy).items():
        np.testing.assert_array_equal(value, before[name])
    for i, s in optimizer.state_dict()["state"].items():
        assert all(torch.equal(s[k], moments[i][k]) for k in s)
    assert report.loss == report.grad_norm == 0.0


# --- terms


def aggregated(per_token, mask, aggregation):
    per_token = per_token * mask
    if aggregation == "token_mean":
        return per_token.sum() / mask.sum()
    if aggregation == "constant":
        return per_token.sum() / (CAP * len(mask))
    return (per_token.sum(dim=1) / mask.sum(dim=1)).mean()


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_on_policy_the_surrogate_is_the_policy_gradient(policy, batch, aggregation):
    advantages = torch.as_tensor(advantages_of(batch), dtype=torch.float32)
    _, expected = direct(policy, batch, lambda lp, _, mask: aggregated(-advantages[:, None] * lp, mask, aggregation))
    for clip in ((0.2, 0.28), (None, None)):
        report, gradients = run(
            policy, batch, advantages.numpy(), aggregation=aggregation, clip_low=clip[0], clip_high=clip[1]
        )
        assert_same(gradients, expected)
        assert report.clip_share == 0.0
        norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in expected.values()))
        assert report.grad_norm == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_off_policy_ratio_and_clip(policy, batch, ratio):
    moved(policy)
    advantages = torch.as_tensor(advantages_of(batch), dtype=torch.float32)[:, None]
    behaviour = torch.as_tensor(batch.behaviour_logprobs)
    low, high = 0.05, 0.1
    shares = []

    def surrogate(lp, _, mask):
        log_ratio = (lp - behaviour) * mask
        if ratio == "sequence":  # GSPO: the mean log-ratio of the response, on all its tokens
            log_ratio = (log_ratio.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)).expand_as(lp)
        r = log_ratio.exp()
        shares.append(float((((r < 1 - low) | (r > 1 + high)) & mask).sum() / mask.sum()))
        return aggregated(-torch.minimum(r * advantages, r.clamp(1 - low, 1 + high) * advantages), mask, "token_mean")

    loss, expected = direct(policy, batch, surrogate)
    report, gradients = run(policy, batch, advantages[:, 0].numpy(), ratio=ratio, clip_low=low, clip_high=high)
    assert_same(gradients, expected)
    assert report.loss == pytest.approx(loss, rel=1e-4)
    assert report.clip_share == pytest.approx(shares[0])
    assert 0 < report.clip_share < 1


def test_dual_clip_bounds_the_loss_of_bad_responses(policy, batch):
    batch.behaviour_logprobs[:] -= 3.0 * batch.response_mask  # ratios of 20
    bad = -np.ones(len(batch))
    free, _ = run(policy, batch, bad)
    capped, gradients = run(policy, batch, bad, dual_clip=2.0)
    assert free.loss == pytest.approx(np.exp(3.0), rel=1e-4)
    assert capped.loss == pytest.approx(2.0)
    assert all((g == 0).all() for g in gradients.values())


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_kl_and_entropy_terms(policy, batch, aggregation):
    reference = moved(policy.frozen_copy())
    with torch.no_grad():
        ref = reference.token_stats(
            batch.prompt_ids, batch.prompt_index, batch.response_ids, batch.response_mask
        ).logprobs

    def terms(lp, entropy, mask):
        k3 = (ref - lp).exp() - (ref - lp) - 1
        return aggregated(0.3 * k3 - 0.2 * entropy, mask, aggregation)

    loss, expected = direct(policy, batch, terms)
    report, gradients = run(
        policy,
        batch,
        np.zeros(len(batch)),
        reference=reference,
        kl_coef=0.3,
        entropy_coef=0.2,
        aggregation=aggregation,
    )
    assert_same(gradients, expected)
    assert report.loss == pytest.approx(loss, rel=1e-4)
    assert report.kl > 0


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_kl_term_at_the_reference_itself_moves_nothing(policy, batch, temperature):
    reference = policy.frozen_copy()
    optimizer = torch.optim.AdamW(policy.trainable_parameters().values(), lr=1e-2, weight_decay=0.0)
    before = parameters_of(policy)
    report, _ = run(
        policy,
        batch,
        np.zeros(len(batch)),
        reference=reference,
        kl_coef=0.5,
        optimizer=optimizer,
        epochs=2,
        temperature=temperature,
    )
    for name, value in parameters_of(policy).items():
        np.testing.assert_array_equal(value, before[name])
    assert report.kl == 0.0


def test_temperature_reaches_the_log_probabilities(policy):
    hot = make_batch(policy, sizes=SIZES, cap=CAP, temperature=2.0)
    report, _ = run(policy, hot, advantages_of(hot), temperature=2.0, clip_low=1e-4, clip_high=1e-4)
    assert report.clip_share == 0.0
    wrong, _ = run(policy, hot, advantages_of(hot), clip_low=1e-4, clip_high=1e-4)
    assert wrong.clip_share > 0.5


# --- optimizer steps


def test_number_of_optimizer_steps_and_clip_of_the_norm(policy, batch):
    class Counting(torch.optim.SGD):
        norms: list = []  # noqa: RUF012

        def step(self, closure=None):
            grads = [p.grad for group in self.param_groups for p in group["params"]]
            self.norms.append(float(torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))))
            super().step()

    optimizer = Counting(policy.trainable_parameters().values(), lr=0.1)
    report, _ = run(
        policy, batch, advantages_of(batch), optimizer=optimizer, epochs=3, mini_batches=2, max_grad_norm=1e-3
    )
    assert len(optimizer.norms) == 6
    np.testing.assert_allclose(optimizer.norms, 1e-3, rtol=1e-3)
    assert report.grad_norm > 1e-3


def test_mini_batches_add_up_to_the_batch(policy, batch):
    """Without a step in between, the mean loss of the mini-batches is the batch's under a size-free aggregation."""
    advantages = advantages_of(batch)
    equal = batch.select(np.flatnonzero(np.isin(batch.prompt_index, [0, 4])))  # two groups of three
    rows = np.flatnonzero(np.isin(batch.prompt_index, [0, 4]))
    whole, _ = run(policy, equal, advantages[rows], aggregation="sequence_mean")
    parts, _ = run(policy, equal, advantages[rows], aggregation="sequence_mean", mini_batches=2)
    more, _ = run(policy, equal, advantages[rows], aggregation="sequence_mean", mini_batches=7)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-4)
    assert more.loss == pytest.approx(whole.loss, rel=1e-4)  # more parts than groups


def test_a_gradient_that_is_not_finite_is_an_error_and_spoils_nothing(policy, batch):
    before = parameters_of(policy)
    optimizer = torch.optim.AdamW(policy.trainable_parameters().values(), lr=1e-2)
    with pytest.raises(FloatingPointError, match="the gradient's norm is nan"):
        run(policy, batch, np.full(len(batch), np.nan), optimizer=optimizer)
    for name, value in parameters_of(policy).items():
        np.testing.assert_array_equal(value, before[name])


def test_inputs_are_left_as_they_were(policy, batch):
    advantages = advantages_of(batch)
    names = ("response_ids", "response_mask", "behaviour_logprobs", "rewards", "group", "finished")
    before = {name: getattr(batch, name).copy() for name in names}, advantages.copy()
    run(policy, batch, advantages, epochs=2, mini_batches=2, micro_batches=2)
    for name in names:
        np.testing.assert_array_equal(getattr(batch, name), before[0][name])
    np.testing.assert_array_equal(advantages, before[1])
