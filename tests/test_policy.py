"""`Sampling`, the common part of `Policy`, and which policy `load_policy` makes."""

import copy
import json

import numpy as np
import pytest
import torch

from llm_morl_agents.policies import load as load_module
from llm_morl_agents.policies.hf import HFPolicy
from llm_morl_agents.policies.llama import LlamaPolicy
from llm_morl_agents.policies.load import load_policy
from llm_morl_agents.policies.tiny import new_tiny_model, save_tiny
from llm_morl_agents.policy import Sampling, draw_uniforms
from llm_morl_env import make_task
from llm_morl_env.tokenizer import TextTokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    plain = TextTokenizer()
    model = new_tiny_model(
        plain.vocab_size,
        eos_id=plain.eos_id,
        pad_id=plain.pad_id,
        bos_id=plain.bos_id,
        seed=0,
        hidden_size=16,
        layers=1,
    )
    save_tiny(model, path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, r"temperature=\) must be finite and above 0, got 0.0"),
        ({"temperature": float("nan")}, "got nan"),
        ({"temperature": float("inf")}, "got inf"),
        ({"top_p": 0.0}, r"top_p=\) must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.1}, "got 1.1"),
        ({"max_new_tokens": 0}, r"max_new_tokens=\) must be at least 1, got 0"),
        ({"stop": "end"}, r"stop=\) must be a sequence of non-empty strings, got 'end'"),
        ({"stop": ("",)}, "non-empty"),
    ],
)
def test_sampling_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**arguments)


def test_sampling_takes_a_list_of_stops():
    assert Sampling(stop=["a", "b"]).stop == ("a", "b")


def test_draw_uniforms():
    u = draw_uniforms(np.random.default_rng(0), 50, 40)
    assert u.shape == (50, 40)
    assert u.dtype == np.float32
    assert (u >= 0).all()
    assert (u < 1).all()
    np.testing.assert_array_equal(u, draw_uniforms(np.random.default_rng(0), 50, 40))


def test_load_policy_chooses_the_engine(directory):
    assert type(load_policy(directory)) is LlamaPolicy
    assert type(load_policy(str(directory), fast=False)) is HFPolicy
    assert type(load_policy(directory, dtype="bfloat16")) is HFPolicy
    with pytest.raises(ValueError, match=r"fast engine does not support.*not float32"):
        load_policy(directory, dtype="bfloat16", fast=True)


def test_scratch_starts_near_the_uniform_distribution():
    tokenizer = make_task("countsfront").tokenizer
    policy = load_policy("scratch", tokenizer=tokenizer, seed=1)
    assert type(policy) is LlamaPolicy
    assert policy.vocab_size == tokenizer.vocab_size
    prompts, index = policy.encode_prompts(["?"]), np.zeros(400, np.int64)
    uniforms = draw_uniforms(np.random.default_rng(0), 400, 6)
    drawn = policy.generate(prompts, index, Sampling(max_new_tokens=6), uniforms)
    assert np.exp(drawn.logprobs[drawn.response_mask]).min() > 0.5 / tokenizer.vocab_size
    assert np.exp(drawn.logprobs[drawn.response_mask]).max() < 2 / tokenizer.vocab_size
    assert drawn.texts == tuple(
        tokenizer.decode(ids[mask].tolist()) for ids, mask in zip(drawn.response_ids, drawn.response_mask, strict=True)
    )


@pytest.mark.parametrize("named", ["letters-3", "file", "directory", "other", None])
def test_scratch_is_made_again_from_its_options(named, tmp_path):
    file = make_task("countsfront").tokenizer.path
    other = tmp_path / "letters.json"
    other.write_bytes(file.read_bytes())
    tokenizer = {"file": file, "directory": file.parent, "other": other}.get(named, named)
    first = load_policy("scratch", tokenizer=tokenizer, seed=3, sizes={"hidden_size": 16, "layers": 2})
    assert first.name_or_path == "scratch"
    options = json.loads(json.dumps(first.load_options))
    assert options["tokenizer"] == {None: None, "other": str(other)}.get(named, "letters-3")
    second = load_policy("scratch", **options)
    assert second.load_options == options
    one, two = first.state_tensors(), second.state_tensors()
    assert all(torch.equal(one[name], two[name]) for name in one)
    changed = load_policy("scratch", **{**options, "seed": 4}).state_tensors()
    assert not all(torch.equal(one[name], changed[name]) for name in one)
    first.save_pretrained(tmp_path / "saved")
    saved = load_policy(tmp_path / "saved")
    assert saved.encode_prompts(["abc?"]) == first.encode_prompts(["abc?"])
    assert (tmp_path / "saved" / "tokenizer.json").is_file()


def test_options_of_scratch_belong_to_it(directory):
    for options in ({"tokenizer": "letters-3"}, {"seed": 0}, {"sizes": {"layers": 1}}):
        with pytest.raises(ValueError, match=rf"load_policy\({next(iter(options))}=.* belongs to source='scratch'"):
            load_policy(directory, **options)
    with pytest.raises(ValueError, match=r"confidence=\) must be above 0, got 0"):
        load_policy("scratch", tokenizer="letters-3", sizes={"confidence": 0})
    half = load_policy("scratch", tokenizer="letters-3", dtype="bfloat16")
    assert next(half.model.parameters()).dtype == torch.bfloat16
    assert type(half) is HFPolicy


def test_load_options_make_the_same_policy_again(directory):
    first = load_policy(directory, fast=False, dtype="bfloat16")
    second = load_policy(first.name_or_path, **first.load_options)
    assert type(first) is type(second)
    assert next(second.model.parameters()).dtype == torch.bfloat16


def test_embedded_policy(directory, monkeypatch, tmp_path):
    monkeypatch.setattr(load_module, "TINY", directory)
    policy = load_policy("tiny")
    assert policy.name_or_path == "tiny"
    assert type(policy) is LlamaPolicy
    monkeypatch.setattr(load_module, "TINY", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"embedded model is not at .*gone"):
        load_policy("tiny")


def test_load_policy_names_what_is_wrong(directory, tmp_path, monkeypatch):
    for source in ("./nowhere", "/no/such/dir", "a/b/c", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no such directory"):
            load_policy(source)
    with pytest.raises(FileNotFoundError, match=r"holds no config.json"):
        load_policy(tmp_path)
    with pytest.raises(ValueError, match=r"dtype=\) must be one of .*got 'float31'"):
        load_policy(directory, dtype="float31")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(OSError, match="cannot load a model and its tokenizer"):
        load_policy(tmp_path)


def test_encode_prompts_is_the_environments_encoding(directory):
    policy, plain = load_policy(directory), TextTokenizer()
    texts = ["<tools>f(x: int)<user>twice 7, please<answer>", "naïve 😀  two spaces , and\nlines"]
    assert policy.encode_prompts(texts) == [plain.encode(t) for t in texts]
    assert [policy.decode(plain.encode(t)) for t in texts] == texts
    assert policy.encode_prompts([""]) == [[plain.bos_id]]
    assert policy.encode_prompts(["a\ud800b"]) == [plain.encode("a?b")]


def test_state_round_trip_keeps_the_parameters_identity(directory):
    policy = load_policy(directory)
    parameters, state = policy.trainable_parameters(), policy.state_tensors()
    before = copy.deepcopy(state)
    with torch.no_grad():
        for p in parameters.values():
            p.add_(1.0)
    assert all(torch.equal(state[name], before[name]) for name in state)  # copies
    policy.load_state_tensors(state)
    again = policy.trainable_parameters()
    assert all(again[name] is parameters[name] for name in parameters)
    assert all(torch.equal(again[name], before[name]) for name in parameters)


def test_load_state_tensors_writes_nothing_on_a_mismatch(directory):
    policy = load_policy(directory)
    state = policy.state_tensors()
    name = "model.norm.weight"
    for bad, message in (
        ({k: v for k, v in state.items() if k != name}, "missing .*model.norm.weight"),
        ({**state, "x": torch.zeros(1)}, r"unknown \['x'\]"),
        ({k: v + 1 for k, v in state.items()} | {name: torch.zeros(3)}, r"has shape \(16,\), got \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            policy.load_state_tensors(bad)
        assert all(torch.equal(v, state[k]) for k, v in policy.state_tensors().items())


def test_frozen_copy_is_out_of_reach(directory):
    policy = load_policy(directory)
    reference = policy.frozen_copy()
    before = copy.deepcopy(reference.model.state_dict())
    with torch.no_grad():
        for p in policy.trainable_parameters().values():
            p.add_(1.0)
    assert not reference.trainable_parameters()
    assert all(torch.equal(v, before[k]) for k, v in reference.model.state_dict().items())
    assert policy.trainable_parameters()


def test_save_pretrained_keeps_weights_and_tokenizer_file(directory, tmp_path):
    policy = load_policy(directory)
    with torch.no_grad():
        for p in policy.trainable_parameters().values():
            p.mul_(1.5)
    policy.save_pretrained(tmp_path)
    again = load_policy(tmp_path)
    assert all(torch.equal(v, again.state_tensors()[k]) for k, v in policy.state_tensors().items())
    assert (tmp_path / "tokenizer.json").read_bytes() == (directory / "tokenizer.json").read_bytes()
    assert again.encode_prompts(["set_alarm 7"]) == policy.encode_prompts(["set_alarm 7"])
