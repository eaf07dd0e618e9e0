"""`HFPolicy` over three architectures saved to disk: log-probabilities, padding, ends, chat templates, LoRA."""

import json
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config

from llm_morl_agents.policies.load import load_policy
from llm_morl_agents.policies.tiny import save_tokenizer
from llm_morl_agents.policy import Sampling, draw_uniforms
from llm_morl_env.tokenizer import TextTokenizer

torch.set_num_threads(1)
PLAIN = TextTokenizer()
COMMON = {"vocab_size": PLAIN.vocab_size, "eos_token_id": PLAIN.eos_id, "bos_token_id": PLAIN.bos_id}
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "llama": LlamaConfig(**COMMON, **SIZES, num_key_value_heads=2, initializer_range=0.2, max_position_embeddings=256),
    "qwen2": Qwen2Config(**COMMON, **SIZES, num_key_value_heads=2, initializer_range=0.2, max_position_embeddings=256),
    "gpt2": GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.2),
}
#: So many that random weights reach one of them soon.
ENDS = [PLAIN.eos_id, *range(20, 1000, 20)]
PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [300], [41, 42, 43], [900, 17, 17, 17, 17]]
GROUP = np.array([2, 0, 0, 3, 1, 1, 0, 2, 3, 2])
CHAT = "{% for m in messages %}<bos>{{ m.role }}: {{ m.content }}\n{% endfor %}bot: "


@pytest.fixture(scope="module", params=CONFIGS)
def directory(request, tmp_path_factory):
    """A randomly initialised model with the environment's tokenizer."""
    path = tmp_path_factory.mktemp(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIGS[request.param])
    model.generation_config.eos_token_id = ENDS
    model.save_pretrained(path)
    save_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def policy(directory):
    return load_policy(directory, fast=False)


def generate(policy, group=GROUP, prompts=PROMPTS, seed=0, steps=24, **sampling):
    uniforms = draw_uniforms(np.random.default_rng(seed), len(group), steps)
    return policy.generate(prompts, group, Sampling(max_new_tokens=steps, **sampling), uniforms)


def fresh_logprobs(policy, prompt, response, temperature=1.0):
    """Log-probabilities of one response from one forward pass of transformers, without padding or cache."""
    ids = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        logits = policy.model(input_ids=ids, use_cache=False).logits[0]
    rows = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
    return (logits[rows] / temperature).log_softmax(dim=-1)[torch.arange(len(rows)), ids[0, len(prompt) :]].numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_a_fresh_forward_pass(policy, temperature):
    result = generate(policy, temperature=temperature)
    stats = policy.token_stats(PROMPTS, GROUP, result.response_ids, result.response_mask, temperature=temperature)
    assert stats.entropy is None
    for i, p in enumerate(GROUP):
        size = result.response_mask[i].sum()
        expected = fresh_logprobs(policy, PROMPTS[p], result.response_ids[i, :size], temperature)
        np.testing.assert_allclose(result.logprobs[i, :size], expected, atol=1e-5)
        np.testing.assert_allclose(stats.logprobs[i, :size].detach(), expected, atol=1e-5)
        assert (stats.logprobs[i, size:] == 0).all()


def test_rows_do_not_depend_on_batch_order_or_neighbours(policy):
    uniforms = draw_uniforms(np.random.default_rng(1), len(GROUP), 16)
    sampling = Sampling(max_new_tokens=16)
    whole = policy.generate(PROMPTS, GROUP, sampling, uniforms)
    order = np.random.default_rng(2).permutation(len(GROUP))
    shuffled = policy.generate(PROMPTS, GROUP[order], sampling, uniforms[order])
    assert shuffled.texts == tuple(whole.texts[i] for i in order)
    np.testing.assert_allclose(shuffled.logprobs, whole.logprobs[order], atol=1e-5)
    for i, p in enumerate(GROUP):  # alone: no padding at all
        single = policy.generate([PROMPTS[p]], np.array([0]), sampling, uniforms[i : i + 1])
        size = whole.response_mask[i].sum()
        assert single.response_ids[0].tolist() == whole.response_ids[i, :size].tolist()
        np.testing.assert_allclose(single.logprobs[0], whole.logprobs[i, :size], atol=1e-5)


def test_length_is_the_first_end(policy):
    group = np.repeat(np.arange(len(PROMPTS)), 40)
    result = generate(policy, group, seed=3)
    ended = np.isin(result.response_ids, ENDS)
    assert 0 < result.finished.sum() < len(group)
    np.testing.assert_array_equal(ended.sum(axis=1), result.finished)
    first = np.where(result.finished, ended.argmax(axis=1) + 1, result.response_ids.shape[1])
    np.testing.assert_array_equal(result.response_mask.sum(axis=1), first)
    for ids, size, text, finished in zip(result.response_ids, first, result.texts, result.finished, strict=True):
        assert text == PLAIN.decode(ids[: size - finished])


def test_greedy_equals_transformers_generate(policy):
    result = generate(policy, greedy=True, steps=12)
    for i, p in enumerate(GROUP):
        ids = torch.tensor([PROMPTS[p]])
        expected = policy.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
        )[0, len(PROMPTS[p]) :]
        assert result.response_ids[i][result.response_mask[i]].tolist() == expected.tolist()


def test_gradients_equal_a_plain_forward_pass(policy):
    result = generate(policy, steps=10)
    weights = torch.randn(result.response_ids.shape, generator=torch.Generator().manual_seed(0))
    policy.model.zero_grad()
    stats = policy.token_stats(PROMPTS, GROUP, result.response_ids, result.response_mask, entropy=True)
    ((stats.logprobs + 0.3 * stats.entropy) * weights).sum().backward()
    batched = {name: p.grad.clone() for name, p in policy.trainable_parameters().items()}
    policy.model.zero_grad()
    for i, p in enumerate(GROUP):
        size = int(result.response_mask[i].sum())
        ids = torch.tensor([[*PROMPTS[p], *result.response_ids[i, :size]]])
        log_p = policy.model(input_ids=ids, use_cache=False).logits[0, -size - 1 : -1].log_softmax(dim=-1)
        entropy = -(log_p.exp() * log_p).sum(dim=-1)
        np.testing.assert_allclose(stats.entropy[i, :size].detach(), entropy.detach(), atol=1e-5)
        chosen = log_p[torch.arange(size), ids[0, -size:]]
        ((chosen + 0.3 * entropy) * weights[i, :size]).sum().backward()
    for name, p in policy.trainable_parameters().items():
        assert (batched[name] - p.grad).norm() <= 1e-5 * p.grad.norm() + 1e-9, name


def test_micro_batches_add_up(policy):
    result = generate(policy, steps=10)
    whole = policy.token_stats(PROMPTS, GROUP, result.response_ids, result.response_mask).logprobs
    for rows in (np.array([0, 3, 8]), np.array([4])):
        part = policy.token_stats(PROMPTS, GROUP[rows], result.response_ids[rows], result.response_mask[rows]).logprobs
        np.testing.assert_allclose(part.detach(), whole[torch.as_tensor(rows)].detach(), atol=1e-5)


def test_no_rows(policy):
    empty = generate(policy, np.array([], dtype=np.int64))
    assert empty.texts == ()
    assert empty.response_ids.shape == (0, 0)
    stats = policy.token_stats(PROMPTS, np.array([], int), empty.response_ids, empty.response_mask, entropy=True)
    assert stats.logprobs.shape == stats.entropy.shape == (0, 0)


@pytest.mark.parametrize("length", [200, 260])
def test_positions_that_the_model_does_not_have(policy, length):
    with pytest.raises(ValueError, match=f"prompt of {length} tokens and a response of up to 100 exceed .*=256"):
        generate(policy, np.array([0]), [[5] * length], steps=100)


def test_bad_responses(policy):
    ids = np.full((2, 3), 5)
    hole = np.array([[True, False, True], [True, True, True]])
    with pytest.raises(ValueError, match="row 0 has a hole"):
        policy.token_stats(PROMPTS, np.array([0, 1]), ids, hole)
    with pytest.raises(ValueError, match=r"must both have shape \(3, T\), got \(2, 3\) and \(2, 3\)"):
        policy.token_stats(PROMPTS, np.array([0, 1, 1]), ids, np.ones((2, 3), bool))
    with pytest.raises(ValueError, match=r"temperature=\) must be finite and above 0, got 0"):
        policy.token_stats(PROMPTS, np.array([0, 1]), ids, np.ones((2, 3), bool), temperature=0)


# --- loading: one architecture is enough


@pytest.fixture
def qwen2(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(CONFIGS["qwen2"])
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    return tmp_path


def edit(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_tokenizer_is_the_file(qwen2, tmp_path):
    text = 'alarm: {"name": "set_alarm", "parameters": {"time": "7:30"}}  ok'
    policy = load_policy(qwen2)
    assert policy.encode_prompts([text]) == [PLAIN.encode(text)]
    policy.save_pretrained(tmp_path / "copy")
    assert load_policy(tmp_path / "copy").encode_prompts([text]) == [PLAIN.encode(text)]


def test_end_tokens_of_the_generation_config(qwen2):
    edit(qwen2 / "generation_config.json", eos_token_id=[50, 60])
    assert load_policy(qwen2).eos_ids == (50, 60, PLAIN.eos_id)


def test_without_a_pad_token_the_end_fills(qwen2):
    edit(qwen2 / "tokenizer_config.json", pad_token=None)
    policy = load_policy(qwen2)
    assert policy.pad_id == PLAIN.eos_id
    result = generate(policy)
    for i, p in enumerate(GROUP):
        response = result.response_ids[i][result.response_mask[i]]
        expected = fresh_logprobs(policy, PROMPTS[p], response)
        np.testing.assert_allclose(result.logprobs[i, : len(response)], expected, atol=1e-5)


def test_without_any_end_token(qwen2):
    for name in ("config.json", "generation_config.json"):
        edit(qwen2 / name, eos_token_id=None)
    edit(qwen2 / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ValueError, match="neither its generation config nor its tokenizer names an EOS"):
        load_policy(qwen2)


def test_chat_template(qwen2):
    edit(qwen2 / "tokenizer_config.json", chat_template=CHAT)
    (ids,) = load_policy(qwen2).encode_prompts(["set_alarm 7"])
    assert ids == [PLAIN.bos_id, *PLAIN.encode("user: set_alarm 7\nbot: ")]


def test_dtype_and_device(qwen2):
    policy = load_policy(qwen2, dtype="bfloat16", device="cpu")
    assert {p.dtype for p in policy.model.parameters()} == {torch.bfloat16}
    assert policy.device == torch.device("cpu")
    assert generate(policy).logprobs.dtype == np.float32


# peft reads a property that transformers has renamed; nothing on our side calls it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora_trains_the_adapters_alone(qwen2, tmp_path):
    pytest.importorskip("peft")
    plain = load_policy(qwen2, fast=False)
    policy = load_policy(qwen2, lora={"r": 2, "target_modules": ["q_proj", "v_proj"]})
    names = policy.trainable_parameters()
    assert names
    assert all("lora_" in name for name in names)
    np.testing.assert_array_equal(generate(policy).response_ids, generate(plain).response_ids)  # B starts at 0
    result = generate(policy)
    loss = policy.token_stats(PROMPTS, GROUP, result.response_ids, result.response_mask).logprobs.sum()
    loss.backward()
    with torch.no_grad():
        for p in names.values():
            p -= 0.1 * p.grad
    after = generate(policy)
    for i, p in enumerate(GROUP):
        response = after.response_ids[i][after.response_mask[i]]
        np.testing.assert_allclose(
            after.logprobs[i, : len(response)], fresh_logprobs(policy, PROMPTS[p], response), atol=1e-5
        )
    again = load_policy(qwen2, **policy.load_options)
    again.load_state_tensors(policy.state_tensors())
    np.testing.assert_array_equal(generate(again).response_ids, after.response_ids)
    policy.save_pretrained(tmp_path / "adapters")
    assert (tmp_path / "adapters" / "adapter_config.json").exists()


def test_lora_without_peft(qwen2, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"needs peft.*llm-morl-env\[peft\]"):
        load_policy(qwen2, lora={"r": 2})
