"""The sampling loop over a decoder whose next token depends on the last one only, against a loop over single rows."""

import numpy as np
import pytest
import torch

from llm_morl_agents import generate
from llm_morl_agents.generate import alike_in_length, generate_responses, sample, used_prompts
from llm_morl_agents.policies.llama import LlamaPolicy
from llm_morl_agents.policies.tiny import new_tiny_model, wrap_tokenizer
from llm_morl_agents.policy import Sampling, draw_uniforms

torch.set_num_threads(1)
VOCAB, EOS, PAD = 12, 2, 0


class Chain:
    """A `Decoder`: logits are ``table[last token]``, to begin with ``table[start of the row]``."""

    def __init__(self, table, start):
        self.table, self.start, self.kept = table, start, []

    def prefill(self):
        return self.table[self.start]

    def step(self, tokens):
        return self.table[tokens]

    def keep(self, rows):
        self.kept.append(len(rows))


def letters(ids):
    return "".join(chr(97 + i) for i in ids if i not in (PAD, EOS))


def chain(seed=0, n=40):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(VOCAB, VOCAB, generator=generator), torch.randint(VOCAB, (n,), generator=generator)


def run(table, start, uniforms, sampling=None, eos_ids=(EOS,)):
    sampling = sampling or Sampling(max_new_tokens=uniforms.shape[1])
    decoder = Chain(table, start)
    options = {"eos_ids": eos_ids, "pad_id": PAD, "decode": letters, "device": torch.device("cpu")}
    return generate_responses(decoder, uniforms, sampling, n=len(start), **options), decoder


def one_row(table, token, uniforms):
    """Tokens and log-probabilities of one row, by the definition of the inverse distribution function, in float64."""
    ids, logprobs = [], []
    for u in uniforms:
        p = torch.softmax(table[token].double(), dim=0).numpy()
        token = int(np.argmax(np.cumsum(p) > u * p.sum()))
        ids.append(token)
        logprobs.append(np.log(p[token]))
        if token == EOS:
            break
    return ids, logprobs


@pytest.mark.parametrize("compact_above", [0.0, 0.25, 1.0])
def test_equals_a_loop_over_single_rows(monkeypatch, compact_above):
    monkeypatch.setattr(generate, "COMPACT_ABOVE", compact_above)
    table, start = chain()
    uniforms = draw_uniforms(np.random.default_rng(0), len(start), 30)
    result, decoder = run(table, start, uniforms)
    assert bool(decoder.kept) == (compact_above < 1)
    for i in range(len(start)):
        ids, logprobs = one_row(table, int(start[i]), uniforms[i])
        size = len(ids)
        assert result.response_ids[i, :size].tolist() == ids
        assert result.response_mask[i].sum() == size
        assert result.response_mask[i, :size].all()
        np.testing.assert_allclose(result.logprobs[i, :size], logprobs, atol=1e-6)
        assert (result.response_ids[i, size:] == PAD).all()
        assert (result.logprobs[i, size:] == 0).all()
        assert result.finished[i] == (ids[-1] == EOS)
        assert result.texts[i] == letters(ids)
    assert result.response_ids.shape[1] == result.response_mask.sum(axis=1).max()
    assert 0 < result.finished.sum() < len(start) + 1


def test_rows_do_not_depend_on_their_order():
    table, start = chain(1)
    uniforms = draw_uniforms(np.random.default_rng(1), len(start), 20)
    order = np.random.default_rng(2).permutation(len(start))
    straight, _ = run(table, start, uniforms)
    shuffled, _ = run(table, start[order], uniforms[order])
    np.testing.assert_array_equal(shuffled.response_ids, straight.response_ids[order])
    np.testing.assert_allclose(shuffled.logprobs, straight.logprobs[order], atol=1e-6)
    assert shuffled.texts == tuple(straight.texts[i] for i in order)


def test_length_is_the_first_end_and_nothing_is_written_behind_it(monkeypatch):
    monkeypatch.setattr(generate, "COMPACT_ABOVE", 1.0)  # ended rows stay in the decoder and go on sampling
    table, _ = chain(2)
    table[:, EOS] += 2.0
    table[EOS, EOS] += 3.0  # after an end, mostly another end
    start = torch.full((30,), 5)
    uniforms = draw_uniforms(np.random.default_rng(3), 30, 25)
    result, _ = run(table, start, uniforms)
    ends = (result.response_ids == EOS).sum(axis=1)
    np.testing.assert_array_equal(ends, result.finished)
    for ids, mask in zip(result.response_ids, result.response_mask, strict=True):
        if EOS in ids:
            assert mask.sum() == ids.tolist().index(EOS) + 1


def test_several_end_tokens():
    table, start = chain(3)
    uniforms = draw_uniforms(np.random.default_rng(4), len(start), 30)
    result, _ = run(table, start, uniforms, eos_ids=(EOS, 7))
    last = result.response_ids[np.arange(len(start)), result.response_mask.sum(axis=1) - 1]
    assert set(last[result.finished]) == {EOS, 7}
    assert not any("h" in text for text in result.texts)  # an end token is no part of the text


def test_stop_strings_end_the_response_and_cut_the_text():
    table, start = chain(4)
    uniforms = draw_uniforms(np.random.default_rng(5), len(start), 40)
    free, _ = run(table, start, uniforms)
    stops = ("ed", "j")
    stopped, _ = run(table, start, uniforms, Sampling(max_new_tokens=40, stop=stops))
    cut = 0
    for i in range(len(start)):
        ends = [free.texts[i].find(s) + len(s) for s in stops if s in free.texts[i]]
        assert stopped.texts[i] == (free.texts[i][: min(ends)] if ends else free.texts[i])
        assert stopped.finished[i] == (bool(ends) or free.finished[i])
        assert letters(stopped.response_ids[i][stopped.response_mask[i]]) == stopped.texts[i]
        cut += bool(ends)
    assert cut > 5


def test_stop_string_inside_a_token_keeps_the_token():
    table = torch.full((VOCAB, VOCAB), -20.0)
    table[:, 4] = 0.0
    decoder = Chain(table, torch.tensor([3]))
    result = generate_responses(
        decoder,
        np.full((1, 8), 0.5),
        Sampling(max_new_tokens=8, stop=("y;",)),
        n=1,
        eos_ids=(EOS,),
        pad_id=PAD,
        decode=lambda ids: "xy;z" * len(ids),
        device=torch.device("cpu"),
    )
    assert result.response_ids.tolist() == [[4]]
    assert result.texts == ("xy;",)


# --- the sampler


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_sample_inverts_the_distribution_function(temperature):
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)) * 3
    n = 20_000
    u = (torch.arange(n) + 0.5) / n
    tokens, logprobs = sample(logits.expand(n, 50), u, Sampling(temperature=temperature))
    p = torch.softmax(logits[0].double() / temperature, dim=0)
    share = torch.bincount(tokens, minlength=50) / n
    assert (share - p).abs().max() <= 1.5 / n
    np.testing.assert_allclose(logprobs.double(), p.log()[tokens], atol=2e-6)


@pytest.mark.parametrize("u", [0.0, 0.5, generate.BELOW_ONE])
def test_tokens_of_mass_zero_are_never_drawn(u):
    logits = torch.full((64, 30), -torch.inf)
    generator = torch.Generator().manual_seed(1)
    for row in logits:
        row[torch.randperm(28, generator=generator)[:5] + 1] = torch.randn(5, generator=generator)
    tokens, logprobs = sample(logits, torch.full((64,), u), Sampling())
    assert torch.isfinite(logits[torch.arange(64), tokens]).all()
    assert torch.isfinite(logprobs).all()


def test_nucleus_is_the_smallest_set_of_its_mass():
    logits = torch.log(torch.tensor([[0.5, 0.1, 0.25, 0.15]]))
    u = torch.linspace(0, generate.BELOW_ONE, 2001)
    for top_p, expected in ((0.4, {0}), (0.6, {0, 2}), (0.8, {0, 2, 3}), (0.95, {0, 1, 2, 3}), (1e-9, {0})):
        tokens, logprobs = sample(logits.expand(len(u), 4), u, Sampling(top_p=top_p))
        assert set(tokens.tolist()) == expected
        np.testing.assert_allclose(logprobs, logits[0, tokens], atol=1e-6)  # of the full distribution
    tokens, _ = sample(logits.expand(len(u), 4), u, Sampling(top_p=0.6))
    assert (tokens == 0).float().mean() == pytest.approx(2 / 3, abs=1e-3)


def test_greedy_takes_the_most_likely_and_ignores_the_uniforms():
    table, start = chain(5)
    sampling = Sampling(max_new_tokens=10, greedy=True)
    first, _ = run(table, start, draw_uniforms(np.random.default_rng(0), len(start), 10), sampling)
    second, _ = run(table, start, draw_uniforms(np.random.default_rng(1), len(start), 10), sampling)
    np.testing.assert_array_equal(first.response_ids, second.response_ids)
    np.testing.assert_array_equal(first.response_ids[:, 0], table[start].argmax(dim=1))


# --- errors and inputs


def test_inputs_are_left_as_they_were():
    table, start = chain(6)
    uniforms = draw_uniforms(np.random.default_rng(0), len(start), 10)
    before = table.clone(), uniforms.copy()
    run(table, start, uniforms)
    assert torch.equal(table, before[0])
    np.testing.assert_array_equal(uniforms, before[1])


def test_longer_uniforms_are_cut():
    table, start = chain(7)
    uniforms = draw_uniforms(np.random.default_rng(0), len(start), 25)
    longer, _ = run(table, start, uniforms, Sampling(max_new_tokens=10))
    exact, _ = run(table, start, uniforms[:, :10])
    np.testing.assert_array_equal(longer.response_ids, exact.response_ids)


@pytest.mark.parametrize(
    ("uniforms", "message"),
    [
        (np.zeros((40, 9)), r"uniforms must have shape \(40, at least 10\), got \(40, 9\)"),
        (np.zeros((39, 10)), r"got \(39, 10\)"),
        (np.ones((40, 10)), r"uniforms must lie in \[0, 1\), got 1.0 to 1.0"),
        (np.full((40, 10), np.nan), "uniforms must lie"),
    ],
)
def test_bad_uniforms(uniforms, message):
    table, start = chain()
    with pytest.raises(ValueError, match=message):
        run(table, start, uniforms, Sampling(max_new_tokens=10))


def test_a_diverged_model_is_an_error():
    table, start = chain()
    table[3] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        run(table, start, draw_uniforms(np.random.default_rng(0), len(start), 20))


def test_used_prompts_renumbers():
    prompts, index = used_prompts([[1], [2], [3], [4]], np.array([3, 1, 3]))
    assert prompts == [[2], [4]]
    assert index.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("prompts", "group", "message"),
    [
        ([[1]], [0.0], "group must be integers"),
        ([[1]], [[0]], r"of shape \(1, 1\)"),
        ([[1]], [1], r"group must lie in \[0, 1\)"),
        ([[1]], [-1], "got -1 to -1"),
        ([[1], []], [0], r"prompt_ids\[1\] is empty"),
    ],
)
def test_bad_groups(prompts, group, message):
    with pytest.raises(ValueError, match=message):
        used_prompts(prompts, np.array(group))


def test_prompts_of_like_length_share_a_batch():
    lengths = [300, 10, 2000, 200, 590, 601, 4100]
    parts = alike_in_length([[1] * length for length in lengths])
    assert [[lengths[i] for i in part] for part in parts] == [[10, 200], [300, 590], [601], [2000], [4100]]


def test_generation_in_parts_is_generation_in_one(monkeypatch):
    """Rows of short and long prompts, interleaved: the parts are put back in order, with their own randomness."""
    model = new_tiny_model(1024, eos_id=2, pad_id=0, seed=0, hidden_size=16, layers=1, heads=2, intermediate_size=16)
    policy = LlamaPolicy(model, wrap_tokenizer(), "test")
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, 1024, n).tolist() for n in (4, 40, 5, 90)]
    group = np.array([3, 0, 1, 2, 1, 0, 3])
    uniforms = draw_uniforms(rng, len(group), 12)
    whole = policy.generate(prompts, group, Sampling(max_new_tokens=12), uniforms)
    monkeypatch.setattr(generate, "SHORT", 8)
    assert len(alike_in_length(prompts)) == 3
    parts = policy.generate(prompts, group, Sampling(max_new_tokens=12), uniforms)
    np.testing.assert_array_equal(parts.response_ids, whole.response_ids)
    np.testing.assert_array_equal(parts.response_mask, whole.response_mask)
    np.testing.assert_allclose(parts.logprobs, whole.logprobs, atol=1e-5)
    np.testing.assert_array_equal(parts.finished, whole.finished)
    assert parts.texts == whole.texts
