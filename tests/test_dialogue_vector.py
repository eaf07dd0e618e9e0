"""Batches of dialogues: rows end at different turns, groups reset together."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from counting_game import CAP, TURNS, counted, counting_task, more_turns, quick
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env.envs.dialogue import DialogueEnv
from llm_morl_env.envs.dialogue_vector import DialogueVectorEnv
from llm_morl_env.envs.vector import TextVectorEnv
from llm_morl_env.transforms import NoisyObjective
from llm_morl_rewards import reward

TASK = counting_task()
N, G = 4, 2
SCRIPTS = (("3", "4", "done"), ("done", "", ""), ("x" * (CAP + 9), "done", ""), ("3", "4", "5"))
LENGTHS = (3, 1, 2, 3)
ABOUT_PROMPTS = {"problem", "split", "group", "turn"}
ABOUT_TURNS = {"response", "reply", "finish_reason", "reward_components"}


def make(task=TASK, **kwargs):
    return DialogueVectorEnv(task, num_envs=N, group_size=G, **kwargs)


def play(envs, scripts=SCRIPTS, problems=(3, 3)):
    """The steps of the scripts, one for each row."""
    envs.reset(options={"problem": list(problems)})
    return [envs.step([script[turn] for script in scripts]) for turn in range(max(LENGTHS))]


def check_masks(info, expected):
    """Every key has its Gymnasium mask, and no others are there."""
    keys = {key for key in info if not key.startswith("_")}
    assert set(info) == {*keys, *(f"_{key}" for key in keys)}
    assert keys == set(expected)
    for key, mask in expected.items():
        assert info[f"_{key}"].tolist() == list(mask), key
        if key == "reward_components":
            check_masks(info[key], dict.fromkeys(("counted", "quick"), mask))
        else:
            assert info[key].shape == (N,)


def test_reset():
    observation, info = make().reset(seed=0)
    check_masks(info, dict.fromkeys(ABOUT_PROMPTS, [True] * N))
    assert observation == tuple(TASK[i].prompt for i in info["problem"])
    assert info["turn"].tolist() == [0] * N
    assert info["group"].tolist() == [0, 0, 1, 1]


def test_rows_are_dialogues_of_the_single_view():
    steps = play(make())
    single = DialogueEnv(TASK)
    for row, script in enumerate(SCRIPTS):
        single.reset(options={"problem": 3})
        for turn in range(LENGTHS[row]):
            text, expected, over, _, said = single.step(script[turn])
            observation, rewards, terminated, truncated, info = steps[turn]
            np.testing.assert_array_equal(rewards[row], expected)
            assert (observation[row], bool(terminated[row]), bool(truncated[row])) == (text, over, False)
            for key in ("turn", "response", "reply", "dialogue", "finish_reason", "problem", "split"):
                assert info[key][row] == said[key]
            for name, value in said["reward_components"].items():
                assert info["reward_components"][name][row] == value


def test_ended_rows_earn_nothing_and_stay_ended():
    steps = play(make())
    for turn, (observation, rewards, terminated, truncated, info) in enumerate(steps):
        live = [turn < length for length in LENGTHS]
        ended = [turn + 1 >= length for length in LENGTHS]
        assert (rewards.dtype, rewards.shape) == (np.float32, (N, 2))
        assert terminated.dtype == truncated.dtype == np.bool_
        assert terminated.tolist() == ended
        assert not truncated.any()
        assert not rewards[~np.array(live)].any()
        check_masks(
            info,
            {
                **dict.fromkeys(ABOUT_PROMPTS, [True] * N),
                **dict.fromkeys(ABOUT_TURNS, live),
                "dialogue": [turn + 1 == length for length in LENGTHS],
            },
        )
        assert info["turn"].tolist() == [min(turn + 1, length) for length in LENGTHS]
        assert observation[1] == "count 2 from 3: done"
        assert [bool(reply) for reply in info["reply"]] == [not over for over in ended]


@pytest.mark.parametrize("ignored", ["", "3", None, 7.5, np.array([-1]), object()])
def test_ended_rows_ignore_their_action(ignored):
    envs = make()
    envs.reset(options={"problem": [3, 3]})
    envs.step(["3", "done", "3", "3"])
    observation, rewards, *_ = envs.step(["4", ignored, "4", "4"])
    assert observation[1] == "count 2 from 3: done"
    assert not rewards[1].any()


def test_all_ended_needs_a_reset():
    envs = make()
    with pytest.raises(RuntimeError, match=r"DialogueVectorEnv.step: 4 of 4 rows have no running episode, call reset"):
        envs.step(["3"] * N)
    play(envs)
    with pytest.raises(RuntimeError, match="call reset first"):
        envs.step(["3"] * N)
    envs.reset()
    assert not envs.step(["3"] * N)[2].any()


def test_wrong_actions_leave_the_batch_as_it_was():
    envs, clean = make(), make()
    for each in (envs, clean):
        each.reset(seed=0)
    with pytest.raises(ValueError, match="needs 4 responses, got 3"):
        envs.step(["3"] * 3)
    with pytest.raises(TypeError, match="1-D sequence of token ids"):
        envs.step(["3", "3", "3", None])
    np.testing.assert_equal(envs.step(["3"] * N), clean.step(["3"] * N))


@pytest.mark.parametrize("mode", ["SameStep", AutoresetMode.SAME_STEP, "NextStep"])
def test_there_is_no_autoreset(mode):
    with pytest.raises(ValueError, match=r"autoreset_mode must be one of \['Disabled'\], got .*reset together"):
        make(autoreset_mode=mode)
    assert make().metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert make(autoreset_mode="Disabled").autoreset_mode is AutoresetMode.DISABLED


def test_groups_may_be_reset_while_others_go_on():
    envs = make()
    envs.reset(seed=0, options={"problem": [3, 3]})
    envs.step(["done", "3", "3", "3"])
    first = np.array([True, True, False, False])
    observation, info = envs.reset(options={"problem": [5], "reset_mask": first})
    assert observation == ("count 2 from 5: ",) * 2 + ("count 2 from 3: 3 1? ",) * 2
    assert info["turn"].tolist() == [0, 0, 1, 1]
    assert info["group"].tolist() == [2, 2, 1, 1]
    _, rewards, terminated, *_ = envs.step(["5", "done", "done", "4"])
    assert terminated.tolist() == [False, True, True, False]
    assert rewards[:, 0].tolist() == [0.5, 0.0, 0.0, 0.5]
    with pytest.raises(ValueError, match="constant within each group"):
        envs.reset(options={"reset_mask": np.arange(N) == 0})


RESPONSE = st.sampled_from(["3", "4", "done", "", "nothing of that kind"])
SCRIPT = st.tuples(*[RESPONSE] * TURNS)


@settings(max_examples=60, deadline=None)
@given(scripts=st.tuples(*[SCRIPT] * N), problems=st.tuples(*[st.integers(0, 7)] * (N // G)))
def test_rewards_add_up_to_the_score_of_each_dialogue(scripts, problems):
    envs = make()
    envs.reset(options={"problem": list(problems)})
    total, dialogues, over = np.zeros((N, 2)), [""] * N, np.zeros(N, bool)
    for turn in range(TURNS):
        if over.all():
            break
        _, rewards, over, _, info = envs.step([script[turn] for script in scripts])
        assert all(envs.reward_space.contains(row) for row in rewards)
        total += rewards
        for row in np.flatnonzero(info["_dialogue"]):
            dialogues[row] = info["dialogue"][row]
    values = TASK.score([TASK[i] for i in np.repeat(problems, G)], dialogues)
    np.testing.assert_allclose(total, values, rtol=0, atol=1e-6)
    assert over.all()


def test_rewards_of_groups_compare_dialogues_as_they_are():
    envs = make(counting_task(rewards=(more_turns, counted)))
    steps = play(envs, scripts=(("3", "4", "done"), ("done", "", ""), ("3", "4", "5"), ("3", "4", "5")))
    # Row 1 ended after one turn and stays what rows of its group are compared with.
    assert [step[1][:, 0].tolist() for step in steps] == [[0.0] * N, [1.0, 0, 0, 0], [1.0, 0, 0, 0]]


def test_only_live_rows_are_scored_without_such_rewards():
    counts = []

    @reward(low=0.0, high=1.0, kind="batch")
    def watching(problems, responses):
        counts.append(len(responses))
        return np.zeros(len(responses))

    play(make(counting_task(rewards=(watching, quick))))
    assert counts == [4, 3, 2]


def test_noise_adds_up_too():
    envs = make(NoisyObjective(on="counted", scale=0.5)(TASK))
    total = sum(step[1].astype(np.float64) for step in play(envs))
    assert (total >= envs.return_space.low).all()
    assert (total <= envs.return_space.high).all()
    clean = sum(step[1].astype(np.float64) for step in play(make()))
    difference = np.abs(total - clean)
    assert (difference[:, 0] > 0).all()
    assert (difference[:, 0] <= 0.5 + 1e-6).all()
    np.testing.assert_allclose(difference[:, 1], 0, atol=1e-6)


def test_a_seed_decides_everything():
    first, second = make(), make()
    play(second)
    np.testing.assert_equal(first.reset(seed=5), second.reset(seed=5))
    np.testing.assert_equal(first.step(["3"] * N), second.step(["3"] * N))


def test_pickle_continues_alike():
    envs = make()
    envs.reset(seed=0)
    envs.step(["3", "done", "3", "3"])
    twin = pickle.loads(pickle.dumps(envs))
    np.testing.assert_equal(twin.step(["4"] * N), envs.step(["4"] * N))


def test_what_is_returned_is_fresh():
    envs, clean = make(), make()
    for step in (lambda e: e.reset(seed=0), lambda e: e.step(["3", "done", "3", "3"]), lambda e: e.step(["4"] * N)):
        returned, expected = step(envs), step(clean)
        np.testing.assert_equal(returned, expected)
        for part in (*returned[1:-1], *returned[-1].values()):
            if isinstance(part, np.ndarray):
                part[:] = 0


def test_spaces():
    envs, single = make(), DialogueEnv(TASK)
    assert (envs.reward_space, envs.return_space) == (single.reward_space, single.return_space)
    assert (envs.max_turns, envs.num_groups) == (TURNS, 2)
    for observation, *_ in play(envs):
        assert observation in envs.observation_space
    with pytest.raises(ValueError, match=r"TextVectorEnv\(task=\): task 'counting' is a dialogue"):
        TextVectorEnv(TASK, num_envs=1)
    one_turn = gym.make_vec("DentFront-MO-v0", num_envs=2)
    assert one_turn.max_turns == 1
    assert one_turn.return_space == one_turn.reward_space


def test_the_list_wrapper_of_gymnasium_takes_it_apart():
    listed = DictInfoToList(make())
    listed.reset(options={"problem": [3, 3]})
    listed.step(["3", "done", "3", "3"])
    *_, infos = listed.step(["4"] * N)
    assert infos[0]["reply"] == " 2? "
    assert set(infos[1]) == ABOUT_PROMPTS


def test_rendering(capsys):
    envs = make(render_mode="ansi")
    play(envs)
    shown = envs.render()
    assert len(shown) == N
    assert "turn 3 (stop)\n  | done\nreward" in shown[0]
    assert "turn 1 (stop)\n  | done\nreward" in shown[1]
    assert "turn 3 (turns)\n  | 5\nreward" in shown[3]
    assert capsys.readouterr().out == ""
    play(make(render_mode="human"))
    assert capsys.readouterr().out.count("turn 3 (stop)") == 1
