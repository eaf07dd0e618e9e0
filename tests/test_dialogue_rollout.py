"""Dialogues token by token: contexts, own and read tokens, rewards of several turns, what is refused."""

import numpy as np
import pytest
import torch
from letters_dialogue import Naming, make_dialogue_env, named, short
from tiny_task import LETTERS, PROBLEMS, load, make_env, save_policy

from llm_morl_agents.batch import concatenate
from llm_morl_agents.dialogue_rollout import Dialogues, replies_of, turns_of
from llm_morl_agents.gradients import objective_gramian, objective_influence, realised_gain, response_scale
from llm_morl_agents.policy import Sampling, draw_uniforms
from llm_morl_agents.rollout import objectives_of, rollout
from llm_morl_agents.settings import Settings
from llm_morl_agents.update import micro_batches, update
from llm_morl_rewards import Problem
from llm_morl_rewards.turns import join_turns

THREE = Naming(max_turns=3, over="gh")
#: The prompts differ in length, and so do the letters named.
TARGETS = [Problem("?" * (1 + i % 3), LETTERS[i:] + LETTERS[:i]) for i in range(8)]


@pytest.fixture(params=[True, False], ids=["fast", "transformers"])
def policy(policy_directory, request):
    return load(policy_directory, fast=request.param)


def draw(policy, env, *, seed=0, cap=2, **options):
    return rollout(
        policy, env, Sampling(max_new_tokens=cap), env_seed=seed, generator=np.random.default_rng(seed), **options
    )


def three_turns(policy, directory, **kwargs):
    """An environment of three turns, of which some dialogues end early, and its first rollout."""
    env = make_dialogue_env(directory, dialogue=THREE, problems=TARGETS, **kwargs)
    return env, draw(policy, env)


def turns_in(batch, row):
    """The parts of a row: (own, ids), in order."""
    parts = []
    for token in range(batch.total_lengths[row]):
        own, token_id = bool(batch.own[row, token]), int(batch.response_ids[row, token])
        if not parts or parts[-1][0] != own:
            parts.append((own, []))
        parts[-1][1].append(token_id)
    return parts


def stats_of(policy, batch, **options):
    inputs = batch.prompt_ids, batch.prompt_index, batch.response_ids, batch.response_mask
    return policy.token_stats(*inputs, **options)


# --- what a rollout holds


def test_rows_hold_own_turns_and_replies_in_order(policy, policy_directory):
    env, batch = three_turns(policy, policy_directory)
    assert set(batch.turns.tolist()) == {1, 2, 3}
    _, info = env.reset(seed=0, options={"split": "train"})
    for row, problem in enumerate(TARGETS[i] for i in info["problem"]):
        parts = turns_in(batch, row)
        assert len(parts) == 2 * batch.turns[row] - 1
        said = [policy.decode(ids) for own, ids in parts if own]
        read = [policy.decode(ids) for own, ids in parts if not own]
        assert read == [THREE.reply(problem, said[: t + 1]) for t in range(len(read))]
        dialogue = join_turns(said)
        np.testing.assert_allclose(batch.rewards[row], [named(problem, dialogue), short(problem, dialogue)], atol=1e-6)
        ended = [ids[-1] in policy.eos_ids for own, ids in parts if own]
        assert batch.finished[row] == all(ended)
    np.testing.assert_array_equal(batch.lengths, batch.own.sum(axis=1))
    assert not batch.behaviour_logprobs[~batch.own].any()


def test_log_probabilities_of_own_tokens_are_those_of_the_rollout(policy, policy_directory):
    _, batch = three_turns(policy, policy_directory, num_envs=32)
    with torch.no_grad():
        found = stats_of(policy, batch).logprobs.numpy()
    np.testing.assert_allclose(found[batch.own], batch.behaviour_logprobs[batch.own], atol=1e-5)
    assert np.abs(found[batch.response_mask & ~batch.own]).min() > 1e-3  # replies are scored too, and left out


def test_a_turn_is_drawn_by_its_own_uniforms_whoever_else_goes_on(policy, policy_directory):
    """The same dialogue under endings of other rows: a row's later turns do not move."""
    env = make_dialogue_env(policy_directory, dialogue=Naming(max_turns=3), problems=TARGETS)
    full, (_, partly) = draw(policy, env), three_turns(policy, policy_directory)
    kept = partly.turns == 3
    assert 0 < kept.sum() < len(kept)
    for row in np.flatnonzero(kept):
        size = partly.total_lengths[row]
        np.testing.assert_array_equal(partly.response_ids[row, :size], full.response_ids[row, :size])


def test_select_and_concatenate_keep_turns_and_own_tokens(policy, policy_directory):
    _, batch = three_turns(policy, policy_directory)
    short_rows = np.flatnonzero(batch.turns < 3).astype(np.int64)
    part = batch.select(short_rows)
    assert part.response_ids.shape[1] == part.total_lengths.max() < batch.response_ids.shape[1]
    np.testing.assert_array_equal(part.lengths, batch.lengths[short_rows])
    plain = draw(policy, make_env(policy_directory, num_envs=8, group_size=4), cap=2)
    assert plain.own_mask is None
    assert plain.turns is None
    both = concatenate([plain, part])
    np.testing.assert_array_equal(both.turns, [1] * 8 + part.turns.tolist())
    np.testing.assert_array_equal(both.lengths, [*plain.lengths, *part.lengths])
    np.testing.assert_array_equal(both.total_lengths, [*plain.total_lengths, *part.total_lengths])
    assert concatenate([plain, plain]).own_mask is None


# --- what is trained


def test_no_gradient_reaches_the_replies(policy, policy_directory, monkeypatch):
    """Of the loss with all its terms, by the log-probability and the entropy of every token."""
    _, batch = three_turns(policy, policy_directory)
    held, token_stats = [], policy.token_stats

    def watched(*args, **kwargs):
        stats = token_stats(*args, **kwargs)
        if stats.logprobs.requires_grad:
            stats.logprobs.retain_grad()
            stats.entropy.retain_grad()
            held.append(stats)
        return stats

    monkeypatch.setattr(policy, "token_stats", watched)
    for aggregation in ("token_mean", "sequence_mean", "constant"):
        for ratio in ("token", "sequence"):
            settings = Settings(
                micro_batches=1, kl_coef=0.3, entropy_coef=0.1, aggregation=aggregation, ratio=ratio, clip_low=9.0,
                clip_high=9.0,
            )  # fmt: skip
            optimizer = torch.optim.SGD(policy.trainable_parameters().values(), lr=1e-3)
            advantages = np.random.default_rng(0).normal(size=len(batch))
            reference = policy.frozen_copy()
            policy.model.lm_head.weight.data.add_(0.01)  # else k3 has no gradient
            update(
                policy, reference, optimizer, batch, advantages, settings, constant_length=6,
                generator=np.random.default_rng(0),
            )  # fmt: skip
    assert len(held) == 6
    for stats in held:
        for values in (stats.logprobs, stats.entropy):
            gradient = values.grad.numpy()
            assert not gradient[~batch.own].any()
            assert (gradient[batch.own] != 0).mean() > 0.99


def test_the_loss_is_that_of_the_turns_as_responses_of_their_own(policy, policy_directory):
    """Every turn with its context as the prompt: the same sum of log-probabilities, the same step."""
    _, batch = three_turns(policy, policy_directory)
    with torch.no_grad():
        together = (stats_of(policy, batch).logprobs.numpy() * batch.own).sum(axis=1)
    for row in range(len(batch)):
        context, total = list(batch.prompt_ids[batch.prompt_index[row]]), 0.0
        for own, ids in turns_in(batch, row):
            if own:
                with torch.no_grad():
                    stats = policy.token_stats(
                        [context], np.zeros(1, np.int64), np.array([ids]), np.ones((1, len(ids)), bool)
                    )
                total += float(stats.logprobs.sum())
            context += ids
        assert together[row] == pytest.approx(total, abs=1e-4)


def test_signals_are_of_own_tokens(policy_directory):
    policy = load(policy_directory)
    _, batch = three_turns(policy, policy_directory)
    settings, advantages = Settings(), np.random.default_rng(1).normal(size=(2, len(batch)))
    gramian = objective_gramian(policy, batch, advantages, settings)
    influence = objective_influence(policy, batch, advantages, settings)
    np.testing.assert_allclose(influence, gramian.sum(axis=1), rtol=1e-3)
    parameters = list(policy.trainable_parameters().values())
    scores = torch.where(torch.as_tensor(batch.own), stats_of(policy, batch).logprobs, torch.zeros(())).sum(dim=1)
    pulls = torch.as_tensor(advantages * response_scale(batch, "token_mean"), dtype=torch.float32)
    gradients = [torch.cat([g.ravel() for g in torch.autograd.grad(p @ scores, parameters, retain_graph=True)])
                 for p in pulls]  # fmt: skip
    expected = np.array([[float(a.double() @ b.double()) for a in gradients] for b in gradients])
    np.testing.assert_allclose(gramian, expected, rtol=1e-4, atol=1e-10)
    np.testing.assert_allclose(response_scale(batch, "token_mean"), 1 / batch.lengths.sum())
    np.testing.assert_allclose(realised_gain(policy, batch, advantages, settings), 0.0, atol=1e-5)


def test_micro_batches_count_replies_as_work(policy, policy_directory):
    _, batch = three_turns(policy, policy_directory, num_envs=32)
    rows = np.arange(len(batch))
    parts = micro_batches(batch, rows, 2, vocab_size=12)
    assert sorted(np.concatenate(parts).tolist()) == rows.tolist()
    longest = [batch.total_lengths[part].max() for part in parts]
    assert longest == sorted(longest)


# --- what the policy reads


def test_a_reply_is_plain_text_without_a_template(policy):
    ids = policy.encode_reply("b?", ended=True)
    assert ids == policy.encode_reply("b?", ended=False)
    assert policy.decode(ids) == "b?"
    assert policy.tokenizer.bos_token_id not in ids
    assert policy.encode_reply("", ended=True) == []
    assert policy.encode_reply("b\ud800", ended=True)[0] == ids[0]  # a lone surrogate is no error


TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}a{{ m['content'] }}b{% else %}c{{ m['content'] }}END"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}c{% endif %}"
)


def test_a_reply_is_what_the_chat_template_writes_between_two_answers(policy_directory):
    policy = load(policy_directory)
    eos = policy.tokenizer.eos_token
    policy.tokenizer.chat_template = TEMPLATE.replace("END", eos)
    assert policy.tokenizer.decode(policy.encode_reply("d?", ended=True)) == "ad?bc"
    cut = policy.encode_reply("d?", ended=False)
    assert cut[0] in policy.eos_ids  # what was cut is closed before the reply
    assert cut[1:] == policy.encode_reply("d?", ended=True)
    # The whole conversation, rendered at once, is the same tokens.
    messages = [("user", "h"), ("assistant", "g"), ("user", "d?")]
    shown = policy.tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages], tokenize=False, add_generation_prompt=True
    )
    own = [*policy.tokenizer("g", add_special_tokens=False)["input_ids"], policy.eos_ids[0]]
    pieces = policy.encode_prompts(["h"])[0] + own + policy.encode_reply("d?", ended=True)
    assert policy.tokenizer(shown, add_special_tokens=False)["input_ids"] == pieces


def test_a_template_that_hides_answers_is_refused(policy_directory):
    policy = load(policy_directory)
    policy.tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    with pytest.raises(ValueError, match="does not show earlier answers: 'd'"):
        policy.encode_reply("d", ended=True)


# --- what is refused


def test_a_context_beyond_the_models_positions_names_the_numbers(tmp_path):
    directory = save_policy(tmp_path / "narrow", max_positions=8)
    policy = load(directory)
    env = make_dialogue_env(directory, dialogue=Naming(max_turns=4), num_envs=4)
    message = (
        r"row \d, turn 3: a context of \d tokens .* a response of up to 2 exceed the model's max_position_embeddings=8"
    )
    with pytest.raises(ValueError, match=message):
        draw(policy, env)


def test_rows_are_as_long_as_the_model_allows_each_by_itself(tmp_path):
    """A long prompt without a dialogue beside a short one with one: together they exceed it, apart they do not."""
    directory = save_policy(tmp_path / "narrow", max_positions=9)
    for fast in (True, False):
        policy = load(directory, fast=fast)
        prompts = [policy.encode_prompts([p])[0] for p in ("a", "bbbbbb")]
        room = [9 - len(ids) for ids in prompts]
        mask = np.arange(max(room)) < np.array(room)[:, None]
        ids = np.where(mask, 5, policy.pad_id)
        found = policy.token_stats(prompts, np.arange(2), ids, mask).logprobs
        alone = policy.token_stats(prompts[:1], np.zeros(1, np.int64), ids[:1], mask[:1]).logprobs
        np.testing.assert_allclose(found[0].detach(), alone[0].detach(), atol=1e-5)
        with pytest.raises(ValueError, match="exceed the model's max_position_embeddings=9"):
            policy.token_stats(prompts, np.arange(2), ids, np.ones_like(mask))


class Wrong:
    """An environment of two rows that says what it is told to."""

    def __init__(self, max_turns, info):
        self.unwrapped, self.max_turns, self.info = self, max_turns, info

    def reset(self, **kwargs):
        return ("a?", "a?"), {"group": np.zeros(2, np.int64)}

    def step(self, actions):
        going = np.array([False, False])
        return ("", ""), np.ones((2, 2), np.float32), going, going, self.info


@pytest.mark.parametrize(
    ("max_turns", "info", "error", "message"),
    [
        (2, {}, ValueError, r"row 0 goes on after this turn, but info\['reply'\] of the step holds None"),
        (2, {"reply": np.array(["b?", 3], object)}, ValueError, r"row 1 goes on .* holds 3 for it"),
        (2, {"reply": np.array(["b?", "b?"], object)}, RuntimeError, "2 rows go on after turn 2, the last that"),
        (None, {}, RuntimeError, "2 rows go on after turn 1, the last that the environment declares"),
    ],
)
def test_environments_that_break_the_contract(policy, max_turns, info, error, message):
    with pytest.raises(error, match=message):
        draw(policy, Wrong(max_turns, info))


def test_turns_and_bounds_of_an_environment(policy_directory):
    assert turns_of(make_env(policy_directory)) == 1
    env = make_dialogue_env(policy_directory, dialogue=THREE)
    assert turns_of(env) == 3
    np.testing.assert_array_equal(objectives_of(env).low, [0, 0])  # of the return; a turn may earn -1
    np.testing.assert_array_equal(env.reward_space.low, [-1, -1])


def test_one_turn_is_generated_as_it_always_was(policy, policy_directory):
    env = make_env(policy_directory, num_envs=8, group_size=2, problems=PROBLEMS)
    batch = draw(policy, env, cap=3)
    prompts, _ = env.reset(seed=0, options={"split": "train"})
    uniforms = draw_uniforms(np.random.default_rng(0), 8, 3)
    ids = [list(policy.encode_prompts([prompt])[0]) for prompt in prompts[::2]]
    expected = policy.generate(ids, np.repeat(np.arange(4), 2), Sampling(max_new_tokens=3), uniforms)
    np.testing.assert_array_equal(batch.response_ids, expected.response_ids)
    np.testing.assert_array_equal(batch.behaviour_logprobs, expected.logprobs)
    np.testing.assert_array_equal(batch.finished, expected.finished)


def test_replies_of_live_rows_only():
    info = {"reply": np.array(["x", None, "z"], object)}
    assert replies_of(info, np.array([True, False, True])) == ["x", "z"]
    assert replies_of({}, np.zeros(3, bool)) == []


def test_a_context_is_prompt_and_everything_after_it(policy):
    dialogues = Dialogues([[4, 5], [6]], np.array([1, 0]))
    live, uniforms = np.ones(2, bool), np.full((2, 1), 0.5, np.float32)
    dialogues.respond(policy, live, Sampling(max_new_tokens=1), uniforms)
    live = np.array([False, True])
    dialogues.read(policy, live, ["b"])
    written = dialogues.arrays(policy.pad_id)["response_ids"]
    assert dialogues.context(1) == [4, 5, int(written[1, 0]), *policy.encode_reply("b", ended=False)]
    assert dialogues.context(0) == [6, int(written[0, 0])]
