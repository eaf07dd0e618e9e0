"""The fast engine is exact: against transformers' own forward pass, in values, gradients and generated tokens."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from llm_morl_agents.policies.hf import HFPolicy
from llm_morl_agents.policies.llama import LlamaPolicy, sequence_logits, unsupported
from llm_morl_agents.policies.tiny import wrap_tokenizer
from llm_morl_agents.policy import Sampling, draw_uniforms
from llm_morl_env.tokenizer import TextTokenizer

torch.set_num_threads(1)
PLAIN = TextTokenizer()
#: So many that random weights reach one of them soon.
ENDS = [PLAIN.eos_id, *range(20, 1000, 20)]
BASE = {
    "vocab_size": PLAIN.vocab_size,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 32**-0.5,
    "eos_token_id": PLAIN.eos_id,
    "pad_token_id": PLAIN.pad_id,
}
SHAPES = {
    "tied": {"tie_word_embeddings": True},
    "grouped": {"num_key_value_heads": 2},
    "one-key-head": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "wide-heads": {
        "head_dim": 12,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    },
}
GROUPS = {
    "grid": (4, np.repeat(np.arange(4), 6)),
    "interleaved": (4, np.tile(np.arange(4), 6)),
    "ragged": (5, np.array([3, 0, 0, 4, 0, 1, 0, 3, 0, 4, 0])),
    "single": (1, np.array([0])),
    "alone": (7, np.array([6, 5, 4, 3, 2, 1, 0])),
}


def make(seed=0, **shape):
    """A model whose norm weights differ from 1, so that folding them matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**{**BASE, **shape}))
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "norm" in name:
                    p.uniform_(0.5, 1.5)
    model.generation_config.eos_token_id = ENDS
    return model


@pytest.fixture(scope="module", params=SHAPES)
def pair(request):
    """The fast policy and the plain one over the same module."""
    model, tokenizer = make(**SHAPES[request.param]), wrap_tokenizer()
    return LlamaPolicy(model, tokenizer, request.param), HFPolicy(model, tokenizer, request.param)


def prompts_of(n, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(3, PLAIN.vocab_size, size=size).tolist() for size in rng.integers(1, 25, size=n)]


def generate(policy, prompts, group, steps=20, seed=0, **sampling):
    uniforms = draw_uniforms(np.random.default_rng(seed), len(group), steps)
    return policy.generate(prompts, group, Sampling(max_new_tokens=steps, **sampling), uniforms)


@pytest.mark.parametrize("layout", GROUPS)
def test_generates_what_transformers_would(pair, layout):
    fast, plain = pair
    n, group = GROUPS[layout]
    prompts = prompts_of(n)
    for sampling in ({}, {"temperature": 0.7, "top_p": 0.9}, {"greedy": True}):
        ours, theirs = (generate(policy, prompts, group, **sampling) for policy in (fast, plain))
        np.testing.assert_array_equal(ours.response_ids, theirs.response_ids)
        np.testing.assert_array_equal(ours.response_mask, theirs.response_mask)
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-5)
        assert ours.texts == theirs.texts


def test_prompts_of_one_length(pair):
    prompts = np.random.default_rng(0).integers(3, 1000, size=(3, 9)).tolist()
    group = np.repeat(np.arange(3), 4)
    ours, theirs = (generate(policy, prompts, group) for policy in pair)
    np.testing.assert_array_equal(ours.response_ids, theirs.response_ids)


def test_some_rows_finish_early_and_are_dropped(pair):
    fast, _ = pair
    result = generate(fast, prompts_of(8), np.repeat(np.arange(8), 10), steps=40)
    sizes = result.response_mask.sum(axis=1)
    assert sizes.min() < 20 < sizes.max()
    assert 0.25 < result.finished.mean() < 1


def test_rows_do_not_depend_on_batch_order(pair):
    fast, _ = pair
    prompts, group = prompts_of(5), np.repeat(np.arange(5), 5)
    uniforms = draw_uniforms(np.random.default_rng(0), len(group), 20)
    sampling = Sampling(max_new_tokens=20)
    whole = fast.generate(prompts, group, sampling, uniforms)
    order = np.random.default_rng(1).permutation(len(group))[:17]
    part = fast.generate(prompts, group[order], sampling, uniforms[order])
    assert part.texts == tuple(whole.texts[i] for i in order)
    width = part.logprobs.shape[1]
    np.testing.assert_allclose(part.logprobs, whole.logprobs[order, :width], atol=1e-5)


@pytest.mark.parametrize("layout", GROUPS)
def test_training_pass_equals_transformers(pair, layout):
    fast, plain = pair
    n, group = GROUPS[layout]
    prompts = prompts_of(n, seed=1)
    sampled = generate(fast, prompts, group)
    weights = torch.randn(sampled.response_ids.shape, generator=torch.Generator().manual_seed(0))
    values, gradients = [], []
    for policy in (fast, plain):
        policy.model.zero_grad()
        stats = policy.token_stats(
            prompts, group, sampled.response_ids, sampled.response_mask, temperature=0.8, entropy=True
        )
        ((stats.logprobs + 0.5 * stats.entropy) * weights).sum().backward()
        values.append(stats)
        gradients.append({name: p.grad.clone() for name, p in policy.trainable_parameters().items()})
    np.testing.assert_allclose(values[0].logprobs.detach(), values[1].logprobs.detach(), atol=1e-5)
    np.testing.assert_allclose(values[0].entropy.detach(), values[1].entropy.detach(), atol=1e-5)
    for name, expected in gradients[1].items():
        assert (gradients[0][name] - expected).norm() <= 1e-5 * expected.norm(), name


def test_training_pass_equals_the_generated_logprobs(pair):
    fast, _ = pair
    prompts, group = prompts_of(4), np.tile(np.arange(4), 5)
    sampled = generate(fast, prompts, group)
    stats = fast.token_stats(prompts, group, sampled.response_ids, sampled.response_mask)
    np.testing.assert_allclose(stats.logprobs.detach(), sampled.logprobs, atol=1e-5)


def test_padding_token_inside_text_is_as_in_transformers():
    """The module gives its padding row no gradient as an input, though a policy may sample it."""
    model, tokenizer = make(tie_word_embeddings=True), wrap_tokenizer()
    ids, mask = np.array([[9, PLAIN.pad_id, 11, 12]]), np.ones((1, 4), dtype=bool)
    rows = []
    for engine in (LlamaPolicy, HFPolicy):
        model.zero_grad()
        engine(model, tokenizer, "x").token_stats([[5, 6]], np.array([0]), ids, mask).logprobs.sum().backward()
        rows.append(model.model.embed_tokens.weight.grad[PLAIN.pad_id].clone())
    torch.testing.assert_close(rows[0], rows[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("t", [1, 2])
def test_short_responses(pair, t):
    ids, mask = np.full((3, t), 7), np.ones((3, t), dtype=bool)
    mask[1, 1:] = False
    group = np.array([1, 0, 1])
    ours, theirs = (policy.token_stats([[5], [6, 8]], group, ids, mask).logprobs for policy in pair)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_sequence_logits_equal_transformers(pair):
    model = pair[0].model
    ids = torch.randint(3, PLAIN.vocab_size, (4, 15), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([15, 3, 9, 1])
    real = torch.arange(15) < lengths[:, None]
    ids = ids.masked_fill(~real, PLAIN.pad_id)
    expected = model(input_ids=ids, attention_mask=real.long(), use_cache=False).logits
    torch.testing.assert_close(sequence_logits(model, ids)[real], expected[real], rtol=0, atol=2e-5)
    at = real & (torch.arange(15) >= 2)
    torch.testing.assert_close(sequence_logits(model, ids, at), expected[at], rtol=0, atol=2e-5)
    gradients = []
    for logits in (sequence_logits(model, ids, at), expected[at]):
        model.zero_grad()
        torch.nn.functional.cross_entropy(logits, ids[at]).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, grad in gradients[1].items():
        assert (gradients[0][name] - grad).norm() <= 1e-5 * grad.norm(), name


def test_an_update_is_seen_by_the_next_generation(pair):
    fast = LlamaPolicy(make(seed=1), wrap_tokenizer(), "x")
    prompts, group = prompts_of(2), np.array([0, 1])
    before = generate(fast, prompts, group)
    with torch.no_grad():
        for p in fast.trainable_parameters().values():
            p.mul_(0.5)
    after = generate(fast, prompts, group)
    plain = generate(HFPolicy(fast.model, fast.tokenizer, "x"), prompts, group)
    assert before.texts != after.texts
    assert after.texts == plain.texts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attention_bias": True}, "biases"),
        ({"mlp_bias": True}, "biases"),
        ({"attention_dropout": 0.1}, "dropout"),
        ({"hidden_act": "gelu"}, "'gelu', not silu"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "rotary"),
    ],
)
def test_what_it_does_not_support(change, reason):
    assert reason in unsupported(LlamaForCausalLM(LlamaConfig(**{**BASE, **change})))


def test_other_models_and_dtypes_are_not_supported():
    small = {k: v for k, v in BASE.items() if k != "pad_token_id"}
    assert unsupported(make()) is None
    assert "not float32" in unsupported(make().to(torch.bfloat16))
    assert "Qwen2ForCausalLM" in unsupported(Qwen2ForCausalLM(Qwen2Config(**small, num_key_value_heads=2)))
