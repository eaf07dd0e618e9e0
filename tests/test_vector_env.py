"""The batched view: groups, seeds, autoreset, info."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList
from mo_gymnasium.wrappers.vector import MORecordEpisodeStatistics

from llm_morl_env.envs.text import TextEnv
from llm_morl_env.envs.vector import TextVectorEnv
from llm_morl_env.tasks.custom import text_task
from llm_morl_rewards import Problem, reward

N, G, P = 12, 4, 3


@reward(low=0.0, high=1.0)
def short(problem: Problem, response: str) -> float:
    return 1.0 / (1.0 + len(response))


@reward(low=0.0, high=5.0)
def right(problem: Problem, response: str) -> float:
    return 5.0 * float(response == problem.target)


@reward(low=0.0, high=100.0, kind="group")
def group_number(problems, responses, group):
    return group.astype(float)


def custom(*rewards):
    return text_task([Problem(f"say {i}", str(i)) for i in range(20)], rewards or [short, right])


def make(mode="SameStep", task=None, **kwargs):
    return TextVectorEnv(task or custom(), num_envs=N, group_size=G, autoreset_mode=mode, **kwargs)


def check_masks(info):
    """Every key has its Gymnasium mask, all true; return the keys."""
    keys = [key for key in info if not key.startswith("_")]
    assert set(info) == {*keys, *(f"_{key}" for key in keys)}
    for key in keys:
        assert info[f"_{key}"].tolist() == [True] * N
        if isinstance(info[key], dict):
            check_masks(info[key])
        else:
            assert info[key].shape == (N,)
    return set(keys)


def test_reset_repeats_each_prompt_for_its_group():
    envs = make()
    prompts, info = envs.reset(seed=0)
    assert prompts in envs.observation_space
    assert check_masks(info) == {"problem", "split", "group"}
    assert info["group"].dtype == np.int64
    assert info["group"].tolist() == np.repeat(np.arange(P), G).tolist()
    assert prompts == tuple(f"say {i}" for i in info["problem"])
    assert len(set(info["problem"].tolist())) == P
    assert envs.num_groups == P


def test_a_seed_decides_the_prompts_whatever_came_before():
    envs, other = make(), make()
    first = envs.reset(seed=5)
    for _ in range(3):
        envs.step(["x"] * N)
    np.testing.assert_equal(envs.reset(seed=5), first)
    np.testing.assert_equal(other.reset(seed=5), first)
    np.testing.assert_equal(other.step(["y"] * N), envs.step(["y"] * N))
    assert envs.reset(seed=6)[0] != first[0]


def test_same_step_returns_the_next_prompts_and_the_finished_rows():
    envs = make()
    prompts, first = envs.reset(seed=1)
    responses = [str(first["problem"][0])] * N
    observation, rewards, terminated, truncated, info = envs.step(responses)
    assert rewards.shape == (N, 2)
    assert rewards.dtype == np.float32
    assert rewards[:, 1].tolist() == [5.0] * G + [0.0] * (N - G)
    assert terminated.dtype == truncated.dtype == np.bool_
    assert terminated.all()
    assert not truncated.any()
    answers = {"response", "finish_reason", "reward_components"}
    assert check_masks(info) == {"problem", "split", "group", "final_obs", "final_info"} | answers
    assert check_masks(info["final_info"]) == {"problem", "split", "group"} | answers
    assert observation == tuple(f"say {i}" for i in info["problem"])
    assert info["group"].tolist() == np.repeat(np.arange(P, 2 * P), G).tolist()
    final = info["final_info"]
    np.testing.assert_equal({key: final[key] for key in first}, first)
    assert final["response"].tolist() == info["response"].tolist() == responses
    assert info["final_obs"].tolist() == [p + r for p, r in zip(prompts, responses, strict=True)]
    assert final["finish_reason"].tolist() == ["stop"] * N
    assert final["reward_components"]["right"].tolist() == rewards[:, 1].tolist()


def test_the_split_stays_through_autoreset():
    envs = make()
    _, info = envs.reset(seed=0, options={"split": "eval", "problem": [7, 3, 7]})
    assert info["problem"].tolist() == [7] * G + [3] * G + [7] * G
    assert info["group"].tolist() == np.repeat(np.arange(P), G).tolist()
    *_, info = envs.step(["x"] * N)
    assert info["split"].tolist() == ["eval"] * N
    *_, info = envs.reset()
    assert info["split"].tolist() == ["train"] * N
    assert info["group"].min() == 2 * P


def test_disabled_leaves_the_reset_to_the_caller():
    envs = make("Disabled")
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert make(AutoresetMode.DISABLED).autoreset_mode is AutoresetMode.DISABLED
    prompts, first = envs.reset(seed=0)
    observation, *_, info = envs.step(["x"] * N)
    assert check_masks(info) == {"problem", "split", "group", "response", "finish_reason", "reward_components"}
    assert observation == tuple(prompt + "x" for prompt in prompts)
    assert info["group"].tolist() == first["group"].tolist()
    with pytest.raises(RuntimeError, match="12 of 12 rows have no running episode"):
        envs.step(["x"] * N)
    last = np.arange(N) >= N - G
    prompts, info = envs.reset(options={"reset_mask": last, "problem": [4], "split": "eval"})
    assert prompts[-G:] == ("say 4",) * G
    assert info["group"].tolist() == [0] * G + [1] * G + [3] * G
    assert info["split"].tolist() == ["train"] * (N - G) + ["eval"] * G
    with pytest.raises(RuntimeError, match="8 of 12 rows"):
        envs.step(["x"] * N)
    envs.reset(options={"reset_mask": ~last})
    assert envs.step(["4"] * N)[1][-G:, 1].tolist() == [5.0] * G


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"problems": [1, 2, 3]}, r"unknown \['problems'\]"),
        ({"problem": [1, 2]}, r"'problem' must hold 3 int\(s\)"),
        ({"problem": [1, 2, 20]}, r"'problem' must lie in 0\.\.19 of 'train'"),
        ({"split": "test"}, "split must be one of"),
        ({"reset_mask": np.arange(N) == 0}, "constant within each group"),
        ({"reset_mask": np.zeros(N, bool)}, "'reset_mask' must be bool"),
        ({"reset_mask": np.ones(N)}, "'reset_mask' must be bool"),
        ({"reset_mask": np.ones(N + 1, bool)}, "'reset_mask' must be bool"),
    ],
)
def test_bad_options_are_errors(options, message):
    kept = dict(options)
    with pytest.raises(ValueError, match=message):
        make().reset(options=options)
    assert options.keys() == kept.keys()


def test_step_needs_a_reset_and_n_responses():
    envs = make()
    with pytest.raises(RuntimeError, match="call reset first"):
        envs.step(["x"] * N)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="needs 12 responses, got 11"):
        envs.step(["x"] * 11)
    with pytest.raises(TypeError, match="1-D sequence of token ids"):
        envs.step([None] * N)


def test_texts_and_token_ids_score_alike():
    envs = make()
    tokenizer = envs.task.tokenizer
    texts = [str(i % 5) * (i + 1) for i in range(N)]
    rows = np.full((N, 20), tokenizer.pad_id)
    for row, text in zip(rows, texts, strict=True):
        ids = [*tokenizer.encode(text), tokenizer.eos_id]
        row[: len(ids)] = ids
    scored = []
    for actions in (texts, tuple(texts), np.array(texts, dtype=object), rows, rows.tolist(), [*texts[:6], *rows[6:]]):
        envs.reset(seed=0)
        scored.append(envs.step(actions))
    for result in scored[1:]:
        np.testing.assert_equal(result[1], scored[0][1])
        np.testing.assert_equal(result[4]["response"], scored[0][4]["response"])


def test_ids_that_fill_the_cap_without_an_end_are_cut_by_length():
    task = text_task(["p"], [short], max_response_tokens=4)
    envs = TextVectorEnv(task, num_envs=5)
    tokenizer = task.tokenizer
    one, end, pad = tokenizer.encode("1")[0], tokenizer.eos_id, tokenizer.pad_id
    envs.reset(seed=0)
    *_, info = envs.step([[one] * 4, [one] * 3 + [end], [one] * 3 + [pad], [one] * 5 + [end], []])
    assert info["finish_reason"].tolist() == ["length", "stop", "stop", "length", "stop"]
    assert info["response"].tolist() == ["1111", "111", "111", "1111", ""]


def test_rows_are_scored_as_the_text_view_scores_them():
    envs = gym.make_vec("ToolCall-MO-v0", num_envs=N, group_size=G, difficulty="hard")
    _, info = envs.reset(seed=0)
    golds = [envs.task[int(i)].meta["gold"] for i in info["problem"]]
    responses = [gold if row % 2 else gold[: 3 * row] for row, gold in enumerate(golds)]
    _, rewards, *_ = envs.step(responses)
    single = TextEnv(envs.task)
    for row in range(N):
        single.reset(options={"problem": int(info["problem"][row])})
        assert single.step(responses[row])[1].tolist() == rewards[row].tolist()
    assert len(np.unique(rewards, axis=0)) > 2


def test_group_rewards_receive_the_group():
    envs = make(task=custom(short, group_number))
    envs.reset(seed=0)
    envs.step(["x"] * N)
    assert envs.step(["x"] * N)[1][:, 1].tolist() == np.repeat(np.arange(P, 2 * P), G).tolist()


def test_small_splits_repeat_problems():
    envs = TextVectorEnv(text_task(["only"], [short]), num_envs=4, group_size=2)
    assert envs.reset(seed=0)[0] == ("only",) * 4


def test_returned_arrays_are_fresh():
    envs, clean = make(), make()
    for step in (lambda e: e.reset(seed=0)[1], lambda e: e.step(["x"] * N)[4], lambda e: e.step(["y"] * N)[4]):
        info, expected = step(envs), step(clean)
        np.testing.assert_equal(info, expected)
        for level in (info, info.get("final_info", {})):
            for key, value in level.items():
                if not key.startswith("_") and not isinstance(value, dict):
                    value[:] = 0


def test_pickle_continues_alike():
    envs = gym.make_vec("ToolCall-MO-v0", num_envs=N, group_size=G)
    envs.reset(seed=0)
    twin = pickle.loads(pickle.dumps(envs))
    np.testing.assert_equal(twin.step(["x"] * N), envs.step(["x"] * N))


def test_spaces_and_names():
    envs = gym.make_vec("ToolCall-MO-v0", num_envs=N, objectives=("keys", "correctness"))
    assert envs.objective_names == ("keys", "correctness")
    assert envs.reward_dim == 2
    assert envs.reward_space.shape == (2,)
    assert envs.reward_space.dtype == np.float32
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = envs.action_space.sample()
    observation, rewards, *_ = envs.step(actions)
    assert observation in envs.observation_space
    assert all(envs.reward_space.contains(row) for row in rewards)
    assert repr(envs) == "TextVectorEnv(ToolCall-MO-v0, num_envs=12)"


def test_gymnasium_and_mo_gymnasium_wrappers():
    envs = MORecordEpisodeStatistics(make())
    envs.reset(seed=0)
    _, rewards, _, _, info = envs.step(["x"] * N)
    np.testing.assert_allclose(info["episode"]["r"], rewards)
    listed = DictInfoToList(make())
    _, infos = listed.reset(seed=0)
    assert infos[5]["group"] == 1
    *_, infos = listed.step(["x"] * N)
    assert infos[0]["final_info"]["reward_components"]["short"] == 0.5


def test_rendering(capsys):
    envs = make(render_mode="ansi")
    prompts, _ = envs.reset(seed=0)
    assert envs.render() == tuple(f"prompt\n  | {prompt}" for prompt in prompts)
    envs.step([str(i) for i in range(N)])
    shown = envs.render()
    assert len(shown) == N
    assert all(
        f"| {prompt}\nanswer (stop)\n  | {i}\n" in s for i, (prompt, s) in enumerate(zip(prompts, shown, strict=True))
    )
    assert capsys.readouterr().out == ""
    envs = make(render_mode="human")
    envs.reset(seed=0)
    envs.step(["x"] * N)
    assert envs.render() is None
    assert capsys.readouterr().out.count("answer (stop)") == 1
