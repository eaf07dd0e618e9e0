"""Derivatives of scores along a direction: against autograd, for tied and padded embeddings, in every precision."""

import numpy as np
import pytest
import torch
from tiny_task import load, make_batch, parameters_of
from torch.nn import functional

from llm_morl_agents.directional import refined_step, score_slopes, scores, wide
from llm_morl_agents.policies import llama
from llm_morl_agents.policy import TokenStats

ENGINES = {"fast": {}, "transformers": {"fast": False}}
#: Largest relative error in float32 of each derivative.
TOLERANCE = {"forward": 1e-5, "finite": 1e-2}


def direction_of(policy, seed=0):
    """A random direction, of the size of the parameters."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: p.detach().abs().mean() * torch.randn(p.shape, generator=generator).to(p.dtype)
        for name, p in policy.trainable_parameters().items()
    }


def by_backward(policy, batch, direction, temperature=1.0):
    """The slopes from one backward pass for each response."""
    found = scores(policy, batch, temperature)
    slopes = []
    for score in found:
        gradients = torch.autograd.grad(score, list(policy.trainable_parameters().values()), retain_graph=True)
        slopes.append(
            sum(float((g.double() * v.double()).sum()) for g, v in zip(gradients, direction.values(), strict=True))
        )
    return np.array(slopes)


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", TOLERANCE)
def test_slopes_equal_those_of_backward_passes(policy_directory, engine, method):
    policy = load(policy_directory, **ENGINES[engine])
    batch, direction = make_batch(policy, temperature=0.7), direction_of(policy)
    assert (batch.response_ids[batch.response_mask] == policy.pad_id).any()  # a padding row as an input
    (slopes,) = score_slopes(policy, [batch], direction, 0.7, method=method)
    assert slopes.dtype == np.float64
    assert relative_error(slopes, by_backward(policy, batch, direction, 0.7)) < TOLERANCE[method]


@pytest.mark.parametrize("method", TOLERANCE)
def test_the_padding_row_has_no_slope_as_an_input(policy_directory, method):
    """Its tangent reaches the tied output alone, as its gradient does; the function itself would feel both."""
    policy = load(policy_directory)
    batch = make_batch(policy)
    whole = direction_of(policy)
    only_padding = {name: torch.zeros_like(v) for name, v in whole.items()}
    name = "model.embed_tokens.weight"
    only_padding[name][policy.pad_id] = whole[name][policy.pad_id]
    (slopes,) = score_slopes(policy, [batch], only_padding, 1.0, method=method)
    expected = by_backward(policy, batch, only_padding)
    assert np.abs(expected).max() > 0
    assert relative_error(slopes, expected) < TOLERANCE[method]


@pytest.mark.parametrize("method", TOLERANCE)
def test_a_direction_may_name_some_parameters_only(policy_directory, method):
    policy = load(policy_directory)
    batch, direction = make_batch(policy), direction_of(policy)
    some = {name: v for name, v in direction.items() if "down_proj" in name}
    padded = {name: v if name in some else torch.zeros_like(v) for name, v in direction.items()}
    (slopes,) = score_slopes(policy, [batch], some, 1.0, method=method)
    assert relative_error(slopes, by_backward(policy, batch, padded)) < TOLERANCE[method]


@pytest.mark.parametrize("method", TOLERANCE)
def test_batches_are_answered_one_by_one(policy_directory, method):
    policy = load(policy_directory)
    batch, direction = make_batch(policy), direction_of(policy)
    rows = np.array([7, 1, 3])
    whole, part = score_slopes(policy, [batch, batch.select(rows)], direction, 1.0, method=method)
    assert relative_error(part, whole[rows]) < TOLERANCE[method]


@pytest.mark.parametrize("method", TOLERANCE)
def test_a_zero_direction_has_slope_zero(policy_directory, method):
    policy = load(policy_directory)
    zero = {name: torch.zeros_like(p) for name, p in policy.trainable_parameters().items()}
    (slopes,) = score_slopes(policy, [make_batch(policy)], zero, 1.0, method=method)
    np.testing.assert_array_equal(slopes, np.zeros(10))


@pytest.mark.parametrize("method", TOLERANCE)
def test_the_policy_is_left_as_it_was(policy_directory, method):
    policy = load(policy_directory)
    batch, direction = make_batch(policy), direction_of(policy)
    parameters, before = policy.trainable_parameters(), parameters_of(policy)
    score_slopes(policy, [batch], direction, 1.0, method=method)
    for name, p in policy.trainable_parameters().items():
        assert p is parameters[name]
        assert p.grad is None
        np.testing.assert_array_equal(p.detach().numpy(), before[name])
    assert scores(policy, batch, 1.0).requires_grad


class WithoutForwardMode(torch.autograd.Function):
    """silu, with a backward pass alone, as many a fused kernel."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return functional.silu(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return gradient * s * (1 + x * (1 - s))


def test_auto_is_finite_where_forward_mode_is_refused(policy_directory, monkeypatch):
    policy = load(policy_directory)
    batch, direction = make_batch(policy), direction_of(policy)
    (forward,) = score_slopes(policy, [batch], direction, 1.0)
    np.testing.assert_array_equal(forward, score_slopes(policy, [batch], direction, 1.0, method="forward")[0])

    class Functional:
        silu = WithoutForwardMode.apply

        def __getattr__(self, name):
            return getattr(functional, name)

    monkeypatch.setattr(llama, "functional", Functional())
    with pytest.raises(NotImplementedError):
        score_slopes(policy, [batch], direction, 1.0, method="forward")
    (auto,) = score_slopes(policy, [batch], direction, 1.0)
    np.testing.assert_array_equal(auto, score_slopes(policy, [batch], direction, 1.0, method="finite")[0])
    assert 0 < relative_error(auto, forward) < TOLERANCE["finite"]


def test_half_precision_is_differenced_in_float32(policy_directory):
    """The difference is that of the float32 model with the same, rounded, parameters: no digit is lost to bfloat16."""
    half, single = load(policy_directory, dtype="bfloat16"), load(policy_directory, fast=False)
    single.load_state_tensors({name: p.float() for name, p in half.state_tensors().items()})
    batch = make_batch(single)
    direction = direction_of(single)
    (slopes,) = score_slopes(half, [batch], direction, 1.0, method="finite")
    assert relative_error(slopes, by_backward(single, batch, direction)) < TOLERANCE["finite"]
    (forward,) = score_slopes(half, [batch], direction, 1.0, method="forward")
    assert relative_error(forward, slopes) < 0.1  # bfloat16 has 8 bits


# peft reads a property that transformers has renamed; nothing on our side calls it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", TOLERANCE)
def test_adapters(policy_directory, method):
    pytest.importorskip("peft")
    policy = load(policy_directory, lora={"r": 2, "target_modules": ["q_proj", "v_proj"]})
    with torch.no_grad():  # the second factor starts at 0, where half of the gradients vanish
        for p in policy.trainable_parameters().values():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    batch, direction = make_batch(policy), direction_of(policy)
    (slopes,) = score_slopes(policy, [batch], direction, 1.0, method=method)
    assert relative_error(slopes, by_backward(policy, batch, direction)) < TOLERANCE[method]


# peft reads a property that transformers has renamed; nothing on our side calls it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_fresh_adapters_of_norm_zero_can_be_differenced(policy_directory):
    pytest.importorskip("peft")
    policy = load(policy_directory, lora={"r": 2, "target_modules": ["q_proj", "v_proj"]})
    batch = make_batch(policy)
    second = {name: p.detach() + 1.0 for name, p in policy.trainable_parameters().items() if "lora_B" in name}
    forward, finite = (score_slopes(policy, [batch], second, 1.0, method=m)[0] for m in TOLERANCE)
    assert relative_error(finite, forward) < TOLERANCE["finite"]


class DoublePolicy:
    """Two layers in float64: token t of row i has the logits of features that depend on i and t."""

    def __init__(self, vocab_size=6, hidden=5, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(3, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, vocab_size)
        )
        self.model.double()
        with torch.no_grad():
            for p in self.model.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
        self.vocab_size = vocab_size

    def trainable_parameters(self):
        return dict(self.model.named_parameters())

    def token_stats(self, prompt_ids, group, response_ids, response_mask, *, temperature=1.0):
        ids, mask = torch.as_tensor(response_ids), torch.as_tensor(response_mask)
        length = torch.tensor([len(prompt_ids[p]) for p in group])[:, None].expand(ids.shape)
        place = torch.arange(ids.shape[1]).expand(ids.shape)
        features = torch.stack([length, place, ids % 3], dim=-1).double()
        logp = (self.model(features) / temperature).log_softmax(dim=-1)
        return TokenStats(logp.gather(-1, (ids % self.vocab_size)[..., None])[..., 0] * mask)


@pytest.mark.parametrize(("method", "tolerance"), [("forward", 1e-13), ("finite", 1e-8)])
def test_float64_keeps_its_digits(policy_directory, method, tolerance):
    policy, batch = DoublePolicy(), make_batch(load(policy_directory))
    direction = direction_of(policy)
    (slopes,) = score_slopes(policy, [batch], direction, 0.8, method=method)
    assert relative_error(slopes, by_backward(policy, batch, direction, 0.8)) < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_step_is_chosen_by_the_change_of_the_scores(dtype):
    wanted = torch.finfo(dtype).eps ** (1 / 3) / 2
    seen = torch.tensor([3.0, -4.0]) * wanted
    assert refined_step(2.0, seen, dtype) == pytest.approx(2.0 / 12.5**0.5)
    assert refined_step(2.0, 1e-9 * seen, dtype) == pytest.approx(2e3)  # no information: a bounded step
    assert refined_step(2.0, 1e9 * seen, dtype) == pytest.approx(2e-3)
    assert refined_step(2.0, 0 * seen, dtype) == pytest.approx(2e3)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_slopes_are_proportional_to_the_direction(policy_directory, scale):
    policy = load(policy_directory)
    batch, direction = make_batch(policy), direction_of(policy)
    scaled = {name: scale * v for name, v in direction.items()}
    for method, tolerance in TOLERANCE.items():
        one, other = (score_slopes(policy, [batch], v, 1.0, method=method)[0] for v in (direction, scaled))
        assert relative_error(other / scale, one) < tolerance


def test_wide_never_narrows():
    widened = [
        wide(torch.ones(1, dtype=d)).dtype for d in (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    ]
    assert widened == [torch.float32, torch.float32, torch.float32, torch.float64]
    assert not wide(torch.ones(1, requires_grad=True)).requires_grad
