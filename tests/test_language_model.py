"""Frozen language models: incremental reading is reading, whatever the batch; handles; written candidates."""

import copy
import pickle
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from llm_morl_agents.language_model import (
    CachedSession,
    FrozenLanguageModel,
    RereadSession,
    load_language_model,
)
from llm_morl_agents.policies.hf import HFPolicy
from llm_morl_agents.policies.llama import LlamaPolicy
from llm_morl_agents.policies.load import load_policy
from llm_morl_agents.policies.tiny import new_tiny_model, wrap_tokenizer
from llm_morl_env.language_model import LanguageModel, Session, resolve_language_model
from llm_morl_env.registration import make_task
from llm_morl_env.tokenizer import TextTokenizer

TOKENIZER = TextTokenizer()
TINY = load_language_model("tiny", TOKENIZER)
PATH = str(TOKENIZER.path.resolve())
CLOSE = {"rtol": 1e-5, "atol": 5e-5}  # of float32 values up to about 10


def grouped_model() -> FrozenLanguageModel:
    """Fewer key heads than query heads, and a norm whose weight matters."""
    ends = {"eos_id": TOKENIZER.eos_id, "pad_id": TOKENIZER.pad_id}
    model = new_tiny_model(TOKENIZER.vocab_size, **ends, seed=3, hidden_size=32, layers=2, heads=4, kv_heads=2)
    with torch.no_grad():
        model.model.norm.weight.uniform_(0.5, 2.0)
    return FrozenLanguageModel("grouped", LlamaPolicy(model, wrap_tokenizer(TOKENIZER.path), "grouped"), PATH)


MODELS = {"tiny": TINY, "grouped": grouped_model()}


def from_scratch(model, context):
    """What transformers says of one context, read in one go."""
    with torch.no_grad():
        output = model.policy.model(input_ids=torch.tensor([context]), output_hidden_states=True)
    return output.logits[0, -1].log_softmax(-1).numpy(), output.hidden_states[-1][0, -1].numpy()


TOKENS = st.lists(st.integers(3, TOKENIZER.vocab_size - 1), min_size=1, max_size=12)
READS = st.lists(
    st.dictionaries(st.integers(0, 3), st.tuples(TOKENS, st.booleans()), min_size=1, max_size=4), min_size=1, max_size=6
)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=8, deadline=None)
@given(reads=READS, data=st.data())
def test_incremental_reading_is_reading_from_scratch(name, reads, data):
    model = MODELS[name]
    session, contexts = model.session(4, 200), {}
    for read in reads:
        rows = data.draw(st.permutations(list(read)))
        for row in rows:
            tokens, restart = read[row]
            contexts[row] = [*([] if restart else contexts.get(row, [])), *tokens]
        reading = session.read(rows, [read[row][0] for row in rows], [read[row][1] for row in rows])
        assert reading.log_probs.shape == (len(rows), TOKENIZER.vocab_size)
        assert reading.log_probs.dtype == reading.hidden.dtype == np.float32
        for i, row in enumerate(rows):
            log_probs, hidden = from_scratch(model, contexts[row])
            np.testing.assert_allclose(reading.log_probs[i], log_probs, **CLOSE)
            np.testing.assert_allclose(reading.hidden[i], hidden, **CLOSE)


def test_a_long_context_beside_short_ones_and_room_that_grows():
    rng = np.random.default_rng(0)
    contexts = [rng.integers(3, 1024, size).tolist() for size in (150, 1, 70, 2, 9)]
    together = TINY.session(5, 300).read(range(5), contexts, [True] * 5)
    for i, context in enumerate(contexts):
        log_probs, hidden = from_scratch(TINY, context)
        np.testing.assert_allclose(together.log_probs[i], log_probs, **CLOSE)
        np.testing.assert_allclose(together.hidden[i], hidden, **CLOSE)


def test_the_order_of_rows_and_their_neighbours_do_not_matter():
    rng = np.random.default_rng(1)
    contexts = [rng.integers(3, 1024, size).tolist() for size in (20, 5, 33)]
    one, other = TINY.session(3, 100), TINY.session(7, 100)
    one.read([0, 1, 2], contexts, [True] * 3)
    for row, context in zip((6, 0, 3), contexts, strict=True):
        other.read([row], [context], [True])
    first = one.read([0, 1, 2], [[9], [10, 11], [12]], [False] * 3)
    second = other.read([3, 6, 0], [[12], [9], [10, 11]], [False] * 3)
    np.testing.assert_allclose(first.hidden[[2, 0, 1]], second.hidden, **CLOSE)
    np.testing.assert_allclose(first.log_probs[[2, 0, 1]], second.log_probs, **CLOSE)


def test_a_restart_forgets():
    session, fresh = TINY.session(2, 60), TINY.session(2, 60)
    session.read([0, 1], [[5] * 40, [6] * 20], [True, True])
    again = session.read([0], [[7, 8]], [True])
    np.testing.assert_array_equal(again.hidden, fresh.read([0], [[7, 8]], [True]).hidden)
    np.testing.assert_array_equal(session.read([0], [[9]], [False]).hidden, fresh.read([0], [[9]], [False]).hidden)


@pytest.mark.parametrize("copied", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy])
def test_pickling_and_copying_continue(copied):
    session = TINY.session(3, 200)
    session.read([0, 2], [[5, 6, 7], [9] * 70], [True, True])
    other = copied(session)
    assert other.model is TINY
    first = session.read([2, 1], [[4], [3]], [False, True])
    session.read([0], [[11]], [False])
    second = other.read([2, 1], [[4], [3]], [False, True])
    np.testing.assert_array_equal(first.hidden, second.hidden)
    np.testing.assert_array_equal(first.log_probs, second.log_probs)


def test_pickles_are_as_large_as_what_was_read():
    session = TINY.session(1, 300)
    session.read([0], [[5] * 10], [True])
    short = len(pickle.dumps(session))
    session.read([0], [[5] * 30], [False])
    bytes_per_token = 3 * 2 * 96 * 4
    assert len(pickle.dumps(session)) - short == pytest.approx(30 * bytes_per_token, rel=0.05)


def test_transformers_own_forward_pass_agrees_with_the_fast_engine():
    slow = FrozenLanguageModel("slow", load_policy("tiny", fast=False), PATH)
    assert isinstance(slow.session(1, 9), RereadSession)
    assert isinstance(TINY.session(1, 9), CachedSession)
    rng = np.random.default_rng(2)
    sessions = [model.session(3, 80) for model in (slow, TINY)]
    for rows, restart in (([0, 1, 2], [True] * 3), ([2, 0], [False, True]), ([1, 2], [False] * 2)):
        tokens = [rng.integers(3, 1024, rng.integers(1, 20)).tolist() for _ in rows]
        first, second = (session.read(rows, tokens, restart) for session in sessions)
        np.testing.assert_allclose(first.hidden, second.hidden, **CLOSE)
        np.testing.assert_allclose(first.log_probs, second.log_probs, **CLOSE)
    written = [
        model.write(["Book a table", "hi"], 3, max_new_tokens=12, rngs=[np.random.default_rng(i) for i in range(2)])
        for model in (slow, TINY)
    ]
    for first, second in zip(*(list(chain.from_iterable(of_model)) for of_model in written), strict=True):
        assert (first.text, first.finished) == (second.text, second.finished)
        np.testing.assert_allclose(first.log_probs, second.log_probs, rtol=0, atol=1e-4)
        np.testing.assert_allclose(first.hidden, second.hidden, rtol=0, atol=1e-4)


def test_other_architectures_read_too():
    config = GPT2Config(vocab_size=1030, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2)
    torch.manual_seed(0)
    policy = HFPolicy(GPT2LMHeadModel(config), wrap_tokenizer(TOKENIZER.path), "gpt2")
    model = FrozenLanguageModel("gpt2", policy, PATH)
    session = model.session(2, 40)
    session.read([0, 1], [[5, 6, 7], [9]], [True, True])
    reading = session.read([1, 0], [[8, 8], [4]], [False, False])
    assert model.hidden_size == reading.hidden.shape[1] == 16
    assert reading.log_probs.shape == (2, TOKENIZER.vocab_size)  # not the padded embedding's 1030
    np.testing.assert_allclose(np.exp(reading.log_probs).sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(reading.hidden[0], from_scratch(model, [9, 8, 8])[1], **CLOSE)
    np.testing.assert_allclose(reading.hidden[1], from_scratch(model, [5, 6, 7, 4])[1], **CLOSE)


@pytest.mark.parametrize("kind", ["cached", "reread"])
def test_misuse_is_told(kind):
    model = TINY if kind == "cached" else FrozenLanguageModel("slow", load_policy("tiny", fast=False), PATH)
    session = model.session(2, 5)
    session.read([0], [[4, 5, 6]], [True])
    before = session.read([0], [[7]], [False])
    for arguments, message in (
        (([0], [[4, 5]], [False]), r"context 0 would have 6 tokens, more than max_tokens=5"),
        (([1], [[]], [True]), r"nothing is appended to context 1"),
        (([2], [[4]], [True]), r"rows=\) must be distinct and lie in 0\.\.1, got \[2\]"),
        (([1, 1], [[4], [5]], [True, True]), r"got \[1, 1\]"),
        (([], [], []), r"got \[\]"),
    ):
        with pytest.raises(ValueError, match=message):
            session.read(*arguments)
    np.testing.assert_allclose(before.hidden[0], from_scratch(TINY, [4, 5, 6, 7])[1], **CLOSE)
    after = session.read([0], [[8]], [False])  # nothing was read by the calls that failed
    np.testing.assert_allclose(after.hidden[0], from_scratch(TINY, [4, 5, 6, 7, 8])[1], **CLOSE)
    with pytest.raises(ValueError, match="max_position_embeddings=1024"):
        model.session(1, 2000).read([0], [[5] * 1025], [True])
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 4"):
        model.session(0, 4)


def test_handles():
    assert resolve_language_model("tiny", TOKENIZER) is TINY
    assert resolve_language_model(TINY, TOKENIZER) is TINY
    assert copy.deepcopy({"language_model": TINY})["language_model"] is TINY
    pickled = pickle.dumps(TINY)
    assert len(pickled) < 500
    assert pickle.loads(pickled) is TINY
    model: LanguageModel = TINY
    session: Session = model.session(1, 4)
    assert session.read([0], [[5]], [True]).hidden.shape == (1, TINY.hidden_size)
    assert not any(p.requires_grad for p in TINY.policy.model.parameters())
    letters = make_task("dentfront").tokenizer
    with pytest.raises(ValueError, match=r"language_model='tiny' has another vocabulary \(1024 tokens.*\(7 tokens"):
        load_language_model("tiny", letters)
    scratch = load_language_model("scratch", letters)
    assert scratch is load_language_model("scratch", letters)
    assert pickle.loads(pickle.dumps(scratch)) is scratch
    with pytest.raises(FileNotFoundError, match="no such directory"):
        resolve_language_model("./nowhere", TOKENIZER)


def test_a_directory_is_known_by_its_whole_path(tmp_path, monkeypatch):
    TINY.policy.save_pretrained(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    model = load_language_model("./mine", TOKENIZER)
    assert model.name == str((tmp_path / "mine").resolve())
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(model)) is model


def rngs(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def test_candidates_carry_what_the_model_says_of_them():
    prompts = [problem.prompt for problem in make_task("toolcall", difficulty="easy")[:3]]
    written = TINY.write(prompts, 4, max_new_tokens=40, temperature=1.5, rngs=rngs(1, 2, 3))
    assert [len(candidates) for candidates in written] == [4, 4, 4]
    for prompt, candidates in zip(prompts, written, strict=True):
        for candidate in candidates:
            ids = [*TOKENIZER.encode(candidate.text), TOKENIZER.eos_id][: len(candidate.log_probs)]
            if len(ids) != len(candidate.log_probs) or TOKENIZER.decode(ids) != candidate.text:
                continue  # the text has another canonical encoding
            context = TOKENIZER.encode(prompt)
            states = []
            for token, log_prob in zip(ids, candidate.log_probs, strict=True):
                assert log_prob == pytest.approx(from_scratch(TINY, context)[0][token], abs=1e-4)
                context.append(token)
                states.append(from_scratch(TINY, context)[1])
            np.testing.assert_allclose(candidate.hidden, np.mean(states, axis=0), rtol=0, atol=1e-4)
            assert candidate.finished == (len(candidate.log_probs) < 40 or ids[-1] == TOKENIZER.eos_id)
            break
        else:
            pytest.fail("no candidate could be checked")


def test_what_is_written_to_a_prompt_depends_on_its_generator_alone():
    prompts = ["Book a table for two.", "What is the weather in Rome?", "hello"]
    alone = TINY.write(prompts[1:2], 3, max_new_tokens=10, rngs=rngs(2))[0]
    among = TINY.write(prompts, 3, max_new_tokens=10, rngs=rngs(1, 2, 3))[1]
    assert [c.text for c in alone] == [c.text for c in among]
    for one, other in zip(alone, among, strict=True):
        np.testing.assert_allclose(one.log_probs, other.log_probs, rtol=0, atol=1e-4)
    many = TINY.write(prompts * 60, 9, max_new_tokens=3, rngs=rngs(*range(180)))  # more than one batch
    assert [len(candidates) for candidates in many] == [9] * 180
    assert TINY.write([], 3, max_new_tokens=3, rngs=[]) == []
    with pytest.raises(ValueError, match="one generator for each of 3 prompts, got 1"):
        TINY.write(prompts, 3, max_new_tokens=3, rngs=rngs(1))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        TINY.write(prompts, 0, max_new_tokens=3, rngs=rngs(1, 2, 3))


def test_an_object_with_another_vocabulary_is_refused():
    letters = make_task("dentfront").tokenizer
    model = resolve_language_model("tiny", TextTokenizer())
    with pytest.raises(ValueError, match="'tiny' has a vocabulary of 1024 tokens, the environment's tokenizer"):
        resolve_language_model(model, letters)
