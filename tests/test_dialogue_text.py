"""The text view of dialogues: replies, rewards at every turn, how episodes end."""

import pickle

import numpy as np
import pytest
from counting_game import CAP, TOKENIZER, TURNS, counting_task
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env.envs.dialogue import DialogueEnv
from llm_morl_env.envs.text import TextEnv
from llm_morl_env.tasks.custom import text_task
from llm_morl_env.testing import check_mo_env
from llm_morl_env.transforms import NoisyObjective, SaturatedObjective
from llm_morl_env.wrappers import ScalarizedReward
from llm_morl_rewards import reward
from llm_morl_rewards.turns import join_turns, split_turns

TASK = counting_task()
ENV = DialogueEnv(TASK)
RESPONSE = st.one_of(st.sampled_from(["done", "3", "4", "", "3\x1e4", "4444444"]), st.text(max_size=9))


def play(env, script, **options):
    """The steps of a script, until the episode ends."""
    env.reset(options=options)
    steps = []
    for response in script:
        steps.append(env.step(response))
        if steps[-1][2]:
            return steps
    return steps


def test_a_whole_dialogue():
    observation, info = ENV.reset(options={"problem": 3})
    assert (observation, info) == ("count 2 from 3: ", {"problem": 3, "split": "train", "turn": 0})
    steps = play(ENV, ["3", "4", "done"], problem=3)
    assert [step[0] for step in steps] == [
        "count 2 from 3: 3 1? ",
        "count 2 from 3: 3 1? 4 2? ",
        "count 2 from 3: 3 1? 4 2? done",
    ]
    assert [step[2] for step in steps] == [False, False, True]
    assert all(type(step[2]) is bool and step[3] is False for step in steps)
    infos = [step[4] for step in steps]
    assert [info["turn"] for info in infos] == [1, 2, 3]
    assert [info["response"] for info in infos] == ["3", "4", "done"]
    assert [info["reply"] for info in infos] == [" 1? ", " 2? ", ""]
    assert [info["finish_reason"] for info in infos] == ["", "", "stop"]
    assert [info["dialogue"] for info in infos] == ["", "", join_turns(["3", "4", "done"])]
    assert all(list(info) == list(infos[0]) for info in infos)
    for step in steps:
        assert step[4]["reward_components"] == dict(zip(("counted", "quick"), step[1].tolist(), strict=True))
    assert [step[1][0] for step in steps] == [0.5, 0.5, 0.0]


@settings(max_examples=150, deadline=None)
@given(script=st.lists(RESPONSE, min_size=TURNS, max_size=TURNS), problem=st.integers(0, 7))
def test_rewards_add_up_to_the_score_of_the_dialogue(script, problem):
    steps = play(ENV, script, problem=problem)
    total = np.sum([step[1] for step in steps], axis=0, dtype=np.float64)
    scored = [TASK.cut(response)[0].replace("\x1e", "") for response in script[: len(steps)]]
    last = steps[-1][4]
    assert split_turns(last["dialogue"]) == [step[4]["response"] for step in steps] == scored
    value = TASK.score([TASK[problem]], [join_turns(scored)])[0]
    np.testing.assert_allclose(total, value, rtol=0, atol=1e-6)
    assert (total >= ENV.return_space.low).all()
    assert (total <= ENV.return_space.high).all()
    assert all(ENV.reward_space.contains(step[1]) for step in steps)
    assert steps[-1][2]
    assert last["finish_reason"] in ("stop", "turns", "length")


def test_every_prefix_is_worth_what_was_paid_for_it():
    steps, responses = play(ENV, ["3", "x", "4"], problem=3), ["3", "x", "4"]
    paid = np.cumsum([step[1] for step in steps], axis=0, dtype=np.float64)
    values = [TASK.score([TASK[3]], [join_turns(responses[: n + 1])])[0] for n in range(3)]
    np.testing.assert_allclose(paid, values, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("script", "turns", "reason"),
    [
        (["done"], 1, "stop"),
        (["3", "4", "5"], 3, "turns"),
        (["3", "4", "1" * (CAP + 1)], 3, "length"),
        (["1" * (CAP + 1), "done"], 2, "stop"),
    ],
)
def test_how_episodes_end(script, turns, reason):
    steps = play(ENV, script, problem=3)
    assert len(steps) == turns
    assert steps[-1][4]["finish_reason"] == reason
    assert steps[-1][2]
    with pytest.raises(RuntimeError, match="no episode is running"):
        ENV.step("3")


def test_a_cut_turn_is_scored_and_answered_as_cut():
    (first, *_) = play(ENV, ["3" * (CAP + 5)], problem=3)
    assert first[4]["response"] == "3" * CAP
    assert first[4]["finish_reason"] == ""
    assert not first[2]
    assert first[0] == "count 2 from 3: " + "3" * CAP + " 1? "


def test_token_ids_are_understood():
    ids = [np.array([*TOKENIZER.encode(text), TOKENIZER.eos_id]) for text in ("3", "done")]
    for one, other in zip(play(ENV, ids, problem=3), play(ENV, ["3", "done"], problem=3), strict=True):
        np.testing.assert_equal(one, other)


def test_spaces_say_what_a_turn_and_an_episode_may_earn():
    assert ENV.max_turns == TURNS
    assert (ENV.reward_space.low.tolist(), ENV.reward_space.high.tolist()) == ([-2.0, -1.0], [2.0, 1.0])
    assert (ENV.return_space.low.tolist(), ENV.return_space.high.tolist()) == ([-1.0, 0.0], [1.0, 1.0])
    one_turn = TextEnv(text_task(["p"], [reward(low=1.0, high=2.0)(lambda problem, response: 1.0)]))
    assert one_turn.return_space == one_turn.reward_space
    assert one_turn.max_turns == 1


@pytest.mark.parametrize("transform", [NoisyObjective(), NoisyObjective(on="counted", scale=2.0), SaturatedObjective()])
def test_noise_adds_up_too(transform):
    task = transform(TASK)
    env = DialogueEnv(task)
    env.reset(seed=0)
    totals = []
    for _ in range(200):
        steps = play(env, ["3", "4", "done"], problem=3)
        totals.append(np.sum([step[1] for step in steps], axis=0, dtype=np.float64))
        assert all(env.reward_space.contains(step[1]) for step in steps)
    totals = np.array(totals)
    assert (totals >= env.return_space.low).all()
    assert (totals <= env.return_space.high).all()
    clean = TASK.score([TASK[3]], [join_turns(["3", "4", "done"])])[0]
    expected = [clean[0], clean[1], 1.0 if isinstance(transform, SaturatedObjective) else 0.0][: totals.shape[1]]
    spread = totals.std(axis=0)
    np.testing.assert_allclose(totals.mean(axis=0), expected, atol=0.3)
    # Uniform on [-scale, scale], of the last value alone: the noise of three turns would have sqrt(5) times the spread.
    scale = getattr(transform, "scale", 0.0)
    np.testing.assert_allclose(spread.max(), scale / np.sqrt(3), rtol=0.15, atol=1e-6)


def test_pickle_continues_in_the_middle_of_a_dialogue():
    env = DialogueEnv(TASK)
    env.reset(seed=4)
    env.step("3")
    twin = pickle.loads(pickle.dumps(env))
    for response in ("4", "5"):
        np.testing.assert_equal(env.step(response), twin.step(response))
    np.testing.assert_equal(env.reset(), twin.reset())


def test_a_reset_forgets_the_dialogue():
    env = DialogueEnv(TASK)
    env.reset(options={"problem": 3})
    env.step("3")
    assert env.reset(options={"problem": 3})[1]["turn"] == 0
    np.testing.assert_equal(env.step("done"), play(DialogueEnv(TASK), ["done"], problem=3)[0])


@pytest.mark.parametrize("scalarization", ["linear", "chebyshev"])
def test_scalarised_episodes_are_worth_their_dialogue(scalarization):
    env = ScalarizedReward(DialogueEnv(TASK), scalarization, weights=[1.0, 0.5])
    steps = play(env, ["3", "4", "done"], problem=3)
    value = TASK.score([TASK[3]], [join_turns(["3", "4", "done"])])[0]
    expected = value @ [1.0, 0.5] if scalarization == "linear" else -max((1 - value) * [1.0, 0.5])
    assert sum(step[1] for step in steps) == pytest.approx(expected, abs=1e-6)


def test_views_say_which_tasks_they_play():
    with pytest.raises(ValueError, match="task 'counting' is a dialogue, this environment plays one turn only"):
        TextEnv(TASK)
    with pytest.raises(ValueError, match=r"DialogueEnv\(task=\): task 'custom' is one turn.* plays dialogues only"):
        DialogueEnv(text_task(["p"], TASK.rewards))


def test_a_dialogue_of_one_turn_is_a_response():
    env = DialogueEnv(counting_task(turns=1))
    (only,) = play(env, ["3", "4"], problem=3)
    assert only[2]
    assert only[4]["finish_reason"] == "turns"
    np.testing.assert_array_equal(only[1], TASK.score([TASK[3]], ["3"])[0])


def test_rendering(capsys):
    env = DialogueEnv(TASK, render_mode="ansi")
    with pytest.raises(RuntimeError, match="there is no episode yet"):
        env.render()
    env.reset(options={"problem": 3})
    assert env.render() == "prompt\n  | count 2 from 3: "
    env.step("3")
    assert "turn 1\n  | 3\nreply\n  |  1? \nreward so far\n  counted" in env.render()
    env.step("done")
    assert "turn 2 (stop)\n  | done\nreward\n  counted  ██████████████████······   0.50  [-1, 1]" in env.render()
    assert capsys.readouterr().out == ""
    human = DialogueEnv(TASK, render_mode="human")
    play(human, ["3", "4", "5"], problem=3)
    assert capsys.readouterr().out.count("turn 3 (turns)") == 1


def test_keeps_the_contract():
    check_mo_env(lambda: DialogueEnv(TASK), n_steps=60)
    check_mo_env(lambda: DialogueEnv(NoisyObjective()(TASK)), n_steps=60)
