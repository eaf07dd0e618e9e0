"""Losses: reference values, exact micro-batches, and padding that reaches neither value nor gradient."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from llm_morl_agents import losses

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
torch.set_num_threads(1)

#: Settings of `policy_loss` by the name of the algorithm that has them.
SETTINGS = {
    "grpo": {"clip": (0.2, 0.2), "aggregation": "sequence_mean"},
    "dapo": {},
    "verl": {"clip": (0.2, 0.2), "dual_clip": 3.0},
    "dr_grpo": {"clip": (0.2, 0.2), "aggregation": "constant", "constant_length": 9},
    "gspo": {"clip": (3e-4, 4e-4), "ratio": "sequence", "aggregation": "sequence_mean"},
    "reinforce": {"clip": None},
    "reinforce-constant": {"clip": None, "aggregation": "constant", "constant_length": 9},
}
every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


@pytest.fixture
def vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())["losses"]


def batch(seed=0, n=6, t=7):
    """Random log-probabilities, advantages and a ragged mask; the last response has no token at all."""
    generator = torch.Generator().manual_seed(seed)
    behaviour = -3 * torch.rand(n, t, generator=generator, dtype=torch.float64)
    logprobs = behaviour + 0.5 * torch.randn(n, t, generator=generator, dtype=torch.float64)
    advantages = torch.randn(n, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, t + 1, (n,), generator=generator)
    lengths[-1] = 0
    return logprobs.requires_grad_(), behaviour, advantages, torch.arange(t) < lengths[:, None]


def test_clipped_surrogate_vectors(vectors):
    v = {k: torch.tensor(x, dtype=torch.float64) for k, x in vectors["clipped_surrogate"].items()}
    mask, advantages, zeros = v["mask"], v["advantage"], torch.zeros_like(v["mask"])

    def loss(**settings):
        return losses.policy_loss(v["log_ratio"], zeros, advantages, mask, **settings).item()

    per_token = losses.clipped_surrogate(v["log_ratio"], advantages, clip=(0.2, 0.2)) * mask
    assert torch.allclose(per_token, v["per_token_clip_0p2"], atol=1e-6)
    dual = losses.clipped_surrogate(v["log_ratio"], advantages, clip=(0.2, 0.2), dual_clip=3.0) * mask
    assert torch.allclose(dual, v["dual_clip_c_3"], atol=1e-6)
    gspo_ratio = losses.sequence_log_ratio(v["log_ratio"], mask).exp()[:, 0]
    assert torch.allclose(gspo_ratio, v["gspo_sequence_ratio"], atol=1e-6)
    expected = {
        "grpo_seq_mean_token_mean": loss(clip=(0.2, 0.2), aggregation="sequence_mean"),
        "dapo_token_mean_clip_0p2_0p28": loss(),
        "verl_token_mean": loss(clip=(0.2, 0.2)),
        "dr_grpo_constant_length_4": loss(clip=(0.2, 0.2), aggregation="constant", constant_length=4),
        "gspo_loss": loss(clip=(3e-4, 4e-4), ratio="sequence", aggregation="sequence_mean"),
    }
    for key, value in expected.items():
        assert value == pytest.approx(v[key].item(), abs=1e-6), key


def test_kl_vectors(vectors):
    v = {k: torch.tensor(x, dtype=torch.float64) for k, x in vectors["kl_k3"].items()}
    for name, estimator in losses.KL_ESTIMATORS.items():
        assert torch.allclose(estimator(v["logp"], v["ref_logp"]), v[name], atol=1e-6), name


def test_token_kl_returns_vectors(vectors):
    v = vectors["reinforce_pp_token_kl_reward"]
    kl = torch.tensor(v["kl"], dtype=torch.float64)
    returns = losses.token_kl_returns(torch.tensor(v["reward"]), kl, torch.ones_like(kl), beta=v["beta"])
    assert torch.allclose(returns, torch.tensor(v["returns"], dtype=torch.float64), atol=1e-6)


@every_setting
@pytest.mark.parametrize("pieces", [[3, 3], [1, 2, 3], [1] * 6])
def test_micro_batches_add_up_exactly(settings, pieces):
    logprobs, behaviour, advantages, mask = batch()
    whole = losses.policy_loss(logprobs, behaviour, advantages, mask, **settings)
    (gradient,) = torch.autograd.grad(whole, logprobs)
    aggregation = {"aggregation": settings.get("aggregation", "token_mean")}
    length = {"constant_length": settings.get("constant_length")}
    denominator = losses.loss_denominator(mask, **aggregation, **length)
    parts = sum(
        losses.policy_loss(*micro, **settings, denominator=denominator)
        for micro in zip(*(x.split(pieces) for x in (logprobs, behaviour, advantages, mask)), strict=True)
    )
    (summed,) = torch.autograd.grad(parts, logprobs)
    assert parts.item() == pytest.approx(whole.item(), abs=1e-12)
    assert torch.allclose(summed, gradient, atol=1e-12)


@every_setting
@pytest.mark.parametrize("garbage", [float("nan"), float("-inf"), 1e30])
def test_padding_never_matters(settings, garbage):
    logprobs, behaviour, advantages, mask = batch()
    clean = losses.policy_loss(logprobs, behaviour, advantages, mask, **settings)
    clean_kl = losses.kl_loss(logprobs, behaviour, mask)
    expected = torch.autograd.grad(clean + clean_kl, logprobs)[0]

    dirty = torch.where(mask, logprobs.detach(), garbage).requires_grad_()
    dirty_behaviour = torch.where(mask, behaviour, garbage)
    loss = losses.policy_loss(dirty, dirty_behaviour, advantages, mask, **settings)
    kl = losses.kl_loss(dirty, dirty_behaviour, mask)
    gradient = torch.autograd.grad(loss + kl, dirty)[0]
    assert loss.item() == clean.item()
    assert kl.item() == clean_kl.item()
    assert torch.equal(gradient, expected)


@every_setting
def test_on_policy_gradient_is_that_of_reinforce(settings):
    """At ratio 1 every surrogate has the gradient of -A log pi under the same aggregation."""
    _, behaviour, advantages, mask = batch()
    logprobs = behaviour.clone().requires_grad_()
    plain = {k: v for k, v in settings.items() if k not in ("clip", "dual_clip", "ratio")} | {"clip": None}
    gradients = [
        torch.autograd.grad(losses.policy_loss(logprobs, behaviour, advantages, mask, **s), logprobs)[0]
        for s in (settings, plain)
    ]
    assert torch.allclose(*gradients, atol=1e-12)
    assert gradients[0].abs().sum() > 0


@every_setting
def test_inputs_are_untouched_and_constants_get_no_gradient(settings):
    logprobs, behaviour, advantages, mask = batch()
    behaviour.requires_grad_()
    advantages.requires_grad_()
    before = [x.detach().clone() for x in (logprobs, behaviour, advantages, mask)]
    losses.policy_loss(logprobs, behaviour, advantages, mask, **settings).backward()
    assert behaviour.grad is None
    assert advantages.grad is None
    assert all(torch.equal(a, b) for a, b in zip(before, (logprobs, behaviour, advantages, mask), strict=True))


def test_clip_stops_the_gradient_only_where_the_step_would_go_on():
    log_ratio = torch.tensor([[1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    for sign, live in ((1.0, [False, True]), (-1.0, [True, False])):
        surrogate = losses.clipped_surrogate(log_ratio, torch.tensor([sign]), clip=(0.2, 0.28))
        (gradient,) = torch.autograd.grad(surrogate.sum(), log_ratio)
        assert (gradient[0] != 0).tolist() == live


def test_dual_clip_bounds_the_loss_of_bad_responses():
    log_ratio = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    bounded = losses.clipped_surrogate(log_ratio, torch.tensor([-2.0]), clip=(0.2, 0.2), dual_clip=3.0)
    assert torch.allclose(bounded, torch.tensor([[6.0, 2 * np.e]], dtype=torch.float64))


def test_extreme_ratios_stay_finite():
    logprobs = torch.tensor([[-1e4, -0.1]], requires_grad=True)
    behaviour = torch.tensor([[-0.1, -1e4]])
    loss = losses.policy_loss(logprobs, behaviour, torch.tensor([-1.0]), torch.ones(1, 2))
    total = loss + losses.kl_loss(logprobs, behaviour, torch.ones(1, 2))
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(logprobs.grad).all()


def test_kl_estimators_against_the_exact_divergence():
    """The expectation of k1 and k3 under the policy is the KL divergence; the gradient of k2 is its gradient."""
    logits = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64, requires_grad=True)
    reference = torch.log_softmax(torch.tensor([0.0, 0.2, -0.4], dtype=torch.float64), dim=0)
    logp = torch.log_softmax(logits, dim=0)
    p = logp.exp().detach()
    exact = (logp.exp() * (logp - reference)).sum()
    for name in ("k1", "k3"):
        assert (p * losses.KL_ESTIMATORS[name](logp, reference)).sum().item() == pytest.approx(exact.item(), abs=1e-12)
    (expected,) = torch.autograd.grad(exact, logits, retain_graph=True)
    (gradient,) = torch.autograd.grad((p * losses.kl_k2(logp, reference)).sum(), logits)
    assert torch.allclose(gradient, expected, atol=1e-12)
    assert (losses.kl_k3(logp, reference) >= 0).all()


def test_entropy():
    logits = torch.tensor([[0.0, 0.0, -torch.inf, 0.0], [50.0, 0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    entropy = losses.entropy_from_logits(logits)
    assert entropy[0].item() == pytest.approx(np.log(3))
    assert entropy[1].item() == pytest.approx(0, abs=1e-12)
    entropy.sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"clip": (-0.1, 0.2)}, "clip must be two non-negative"),
        ({"dual_clip": 0.5}, "dual_clip must be above 1"),
        ({"clip": None, "dual_clip": 3.0}, "needs clip"),
        ({"ratio": "word"}, "ratio must be one of"),
        ({"aggregation": "mean"}, "aggregation must be one of"),
        ({"aggregation": "constant"}, "needs constant_length > 0"),
        ({"advantages": torch.zeros(5)}, "advantages must be"),
        ({"mask": torch.ones(6, 3)}, "must be .N, T. like mask"),
    ],
)
def test_errors_name_parameter_and_value(change, match):
    logprobs, behaviour, advantages, mask = batch()
    arguments = {"advantages": advantages, "mask": mask} | change
    with pytest.raises(ValueError, match=match):
        losses.policy_loss(logprobs, behaviour, **arguments)


def test_unknown_kl_estimator():
    logprobs, behaviour, _, mask = batch()
    with pytest.raises(ValueError, match="estimator must be one of"):
        losses.kl_loss(logprobs, behaviour, mask, estimator="k4")
