"""The token view of dialogues: the text view's rewards at the ends of turns, replies in the observation."""

import numpy as np
import pytest
from counting_game import CAP, TOKENIZER, TURNS, counting_task
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env.envs.dialogue import DialogueEnv
from llm_morl_env.envs.dialogue_token import DialogueTokenEnv
from llm_morl_env.testing import check_mo_env

TASK = counting_task()
ENV, TEXT = DialogueTokenEnv(TASK), DialogueEnv(TASK)
EOS, PAD = TOKENIZER.eos_id, TOKENIZER.pad_id
TOKEN = st.sampled_from([EOS, *TOKENIZER.encode("34done")]) | st.integers(0, TOKENIZER.vocab_size - 1)


def ids_of(*responses):
    return [token for response in responses for token in [*TOKENIZER.encode(response), EOS]]


def write(env, ids, **options):
    """The steps of these tokens, until the episode ends."""
    env.reset(options=options)
    steps = []
    for token in ids:
        steps.append(env.step(token))
        if steps[-1][2]:
            break
    return steps


def test_the_observation_holds_turns_and_replies_without_gaps():
    start = TASK.max_prompt_tokens
    expected = []
    env = DialogueTokenEnv(TASK)
    observation, _ = env.reset(options={"problem": 3})
    assert observation.shape == (start + TURNS * (CAP + TASK.dialogue.max_reply_tokens),)
    assert TOKENIZER.decode(observation) == "count 2 from 3: "
    for number, response in enumerate(("3", "4", "done")):
        for token in ids_of(response):
            expected.append(token)
            if token == EOS and number < 2:
                expected += TOKENIZER.encode(f" {number + 1}? ")
            observation, _, ended, _, info = env.step(token)
            assert observation in env.observation_space
            assert observation[start : start + len(expected)].tolist() == expected
            assert (observation[start + len(expected) :] == PAD).all()
    assert ended
    assert info["dialogue"] == "3\x1e4\x1edone"


@settings(max_examples=150, deadline=None)
@given(ids=st.lists(TOKEN, min_size=TURNS * CAP, max_size=TURNS * CAP), problem=st.integers(0, 7))
def test_both_views_pay_alike_for_any_tokens(ids, problem):
    steps = write(ENV, ids, problem=problem)
    turns, before = [], 0
    for step in steps:  # a turn ends where the count of turns grows
        if step[4]["turn"] > before:
            turns.append(step)
        else:
            assert not step[1].any()
            assert (step[4]["response"], step[4]["reply"]) == ("", "")
        before = step[4]["turn"]
    assert steps[-1][2]
    TEXT.reset(options={"problem": problem})
    for turn in turns:
        expected = TEXT.step(turn[4]["response"])
        np.testing.assert_array_equal(turn[1], expected[1])
        for key in ("turn", "response", "reply", "dialogue", "reward_components"):
            assert turn[4][key] == expected[4][key]
        assert turn[2] == expected[2]
        assert ENV.reward_space.contains(turn[1])


def test_a_turn_ends_at_the_cap_and_the_dialogue_goes_on():
    three = TOKENIZER.encode("3")
    steps = write(ENV, three * CAP + ids_of("done"), problem=3)
    assert [step[4]["turn"] for step in steps] == [0] * (CAP - 1) + [1] * len(ids_of("done")) + [2]
    assert steps[CAP - 1][4]["response"] == "3" * CAP
    assert steps[CAP - 1][4]["reply"] == " 1? "
    assert steps[-1][4]["finish_reason"] == "stop"
    steps = write(ENV, three * CAP * TURNS, problem=3)
    assert (len(steps), steps[-1][4]["finish_reason"]) == (CAP * TURNS, "length")
    with pytest.raises(RuntimeError, match="no episode is running"):
        ENV.step(EOS)


def test_masks_are_those_of_the_turn():
    digits = {TOKENIZER.encode(str(d))[0] for d in range(10)}
    first = digits | {TOKENIZER.encode("done")[0]}
    _, info = ENV.reset(options={"problem": 3})
    assert set(np.flatnonzero(info["action_mask"])) == first
    *_, info = ENV.step(TOKENIZER.encode("3")[0])
    assert set(np.flatnonzero(info["action_mask"])) == {EOS}
    *_, info = ENV.step(EOS)
    assert set(np.flatnonzero(info["action_mask"])) == first
    for token in ids_of("done"):
        assert ENV.action_masks()[token]
        *_, info = ENV.step(token)
    assert set(np.flatnonzero(ENV.action_masks())) == {EOS}


def test_spaces():
    assert ENV.max_turns == TURNS
    assert ENV.reward_space == TEXT.reward_space
    assert ENV.return_space == TEXT.return_space


@pytest.mark.parametrize("obs_mode", ["ids", "onehot"])
def test_keeps_the_contract(obs_mode):
    task = counting_task() if obs_mode == "ids" else counting_task(turns=2)
    check_mo_env(lambda: DialogueTokenEnv(task, obs_mode=obs_mode), n_steps=80 if obs_mode == "ids" else 12)


def test_rendering():
    env = DialogueTokenEnv(TASK, render_mode="ansi")
    write(env, ids_of("3", "done"), problem=3)
    assert "turn 2 (stop)\n  | done\nreward\n" in env.render()
