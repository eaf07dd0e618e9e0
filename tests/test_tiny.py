"""Making the embedded model's directory: weights, seeds, and the tokenizer as transformers loads it."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_morl_agents.policies.tiny import new_tiny_model, save_tiny, wrap_tokenizer
from llm_morl_env.tokenizer import BUILT_IN, TextTokenizer

torch.set_num_threads(1)


def tiny(seed=0):
    return new_tiny_model(1024, eos_id=2, pad_id=0, bos_id=1, seed=seed)


def test_size_scale_and_ties():
    model = tiny()
    assert 200_000 < model.num_parameters() < 500_000
    assert model.lm_head.weight is model.model.embed_tokens.weight
    for layer in model.model.layers:
        assert layer.mlp.gate_proj.weight.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_seed_decides_the_weights_and_the_global_generator_stays():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, same, other = tiny(0), tiny(0), tiny(1)
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [m.model.layers[0].self_attn.q_proj.weight for m in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_directory_loads_with_the_auto_classes(tmp_path):
    model = tiny()
    save_tiny(model, tmp_path / "made")
    made = tmp_path / "made"
    expected = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {p.name for p in made.iterdir()} == expected
    assert (made / "tokenizer.json").read_bytes() == BUILT_IN.read_bytes()
    loaded = AutoModelForCausalLM.from_pretrained(made)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())
    assert (loaded.generation_config.eos_token_id, loaded.generation_config.pad_token_id) == (2, 0)
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer.chat_template is None


def test_the_same_model_is_written_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        save_tiny(tiny(3), tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    "text",
    [
        '<think>use "x".</think>\n<tool_call>\n{"name": "set_alarm", "parameters": {"at": "7:30"}}\n</tool_call>',
        "two  spaces , before punctuation . and é 😀\n",
        "",
    ],
)
def test_wrapped_tokenizer_equals_the_environments(text):
    wrapped, plain = wrap_tokenizer(), TextTokenizer()
    ids = wrapped(text)["input_ids"]
    assert ids == plain.encode(text)
    assert wrapped.decode([*ids, plain.eos_id], skip_special_tokens=True) == text


def test_missing_tokenizer(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        wrap_tokenizer(tmp_path / "tokenizer.json")
