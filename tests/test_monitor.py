"""`MOMonitor` alone, and under Stable-Baselines3: its buffers, its evaluation, its log files."""

import csv
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from paid_rows import PaidRows, played
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor, get_monitor_files
from stable_baselines3.common.vec_env import DummyVecEnv

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.wrappers import MOMonitor, RecordVectorReturn, ScalarizedReward, WeightConditioned

WEIGHTS = (0.5, 0.25)


def monitored(filename: Any = None, **kwargs: Any) -> MOMonitor:
    return MOMonitor(ScalarizedReward(PaidRows(), weights=WEIGHTS), filename, **kwargs)


def test_number_and_vector_of_an_episode() -> None:
    env = monitored(gamma=0.5)
    for actions in [(0, 1, 0), (1, 1, 0)]:
        results = played(env, actions)
        vectors = np.array([PaidRows.TABLES[action][row] for row, action in enumerate(actions)], float)
        assert all(not {"episode", "mo_episode"} & set(result[4]) for result in results[:-1])
        info = results[-1][4]
        assert list(info["episode"]) == ["r", "l", "t"]
        assert (info["episode"]["r"], info["episode"]["l"]) == (pytest.approx(vectors.sum(axis=0) @ WEIGHTS), 3)
        np.testing.assert_allclose(info["mo_episode"]["r"], vectors.sum(axis=0))
        np.testing.assert_allclose(info["mo_episode"]["dr"], [1, 0.5, 0.25] @ vectors)
    assert (env.episode_count, list(env.length_queue)) == (2, [3, 3])
    np.testing.assert_allclose(env.return_queue[-1], vectors.sum(axis=0))


def test_an_unfinished_episode_is_forgotten() -> None:
    env = monitored()
    played(env, (0, 0))
    info = played(env, (1, 1, 1))[-1][4]
    assert info["episode"]["r"] == pytest.approx(PaidRows.TABLES[1].sum(axis=0) @ WEIGHTS)
    assert env.episode_count == 1


def test_says_the_same_as_the_monitor_of_stable_baselines() -> None:
    theirs = played(Monitor(ScalarizedReward(PaidRows(), weights=WEIGHTS)), (0, 1, 1))[-1][4]["episode"]
    ours = played(monitored(), (0, 1, 1))[-1][4]["episode"]
    assert list(ours) == list(theirs)
    assert (ours["r"], ours["l"]) == (theirs["r"], theirs["l"])


def test_needs_the_vector_and_no_other_statistics() -> None:
    env = MOMonitor(PaidRows())
    env.reset()
    with pytest.raises(ValueError, match=r"needs info\['vector_reward'\].*ScalarizedReward.*got the keys"):
        env.step(0)
    with pytest.raises(ValueError, match="has the key 'mo_episode' already"):
        played(MOMonitor(ScalarizedReward(RecordVectorReturn(PaidRows()))), (0, 0, 0))
    with pytest.raises(ValueError, match=r"MOMonitor\(gamma=\) must lie in \[0, 1\], got 2"):
        monitored(gamma=2)


def test_infos_are_reproducible_without_the_time() -> None:
    infos = [played(monitored(timed=False), (0, 1, 1))[-1][4] for _ in range(2)]
    assert infos[0]["episode"] == infos[1]["episode"] == {"r": infos[0]["episode"]["r"], "l": 3}
    assert "t" not in infos[0]["mo_episode"]


def test_the_file_has_a_column_for_each_objective(tmp_path: Any) -> None:
    env = monitored(str(tmp_path / "deep" / "0"))
    for actions in [(0, 1, 0), (1, 1, 0)]:
        played(env, actions)
    assert env.path == tmp_path / "deep" / "0.monitor.csv"
    first, *rows = env.path.read_text().splitlines()
    assert set(json.loads(first[1:])) == {"t_start", "env_id"}
    table = list(csv.DictReader(rows))
    assert list(table[0]) == ["r", "l", "t", "speed", "care"]
    np.testing.assert_allclose([float(row["care"]) for row in table], [q[1] for q in env.return_queue], atol=1e-6)
    for row in table:
        assert float(row["r"]) == pytest.approx(float(row["speed"]) * 0.5 + float(row["care"]) * 0.25)


def test_directories_get_a_file_and_old_ones_are_overwritten(tmp_path: Any) -> None:
    for _ in range(2):
        env = monitored(tmp_path)
        played(env, (0, 0, 0))
    assert env.path == tmp_path / "monitor.csv"
    assert len(env.path.read_text().splitlines()) == 3


def test_stable_baselines_finds_the_file_and_its_first_lines(tmp_path: Any) -> None:
    theirs = Monitor(PaidRows(), str(tmp_path / "theirs"))
    theirs.close()
    ours = monitored(tmp_path / "ours")
    assert set(get_monitor_files(str(tmp_path))) == {str(tmp_path / "theirs.monitor.csv"), str(ours.path)}
    (about, header), (our_about, our_header) = (
        path.read_text().splitlines() for path in (tmp_path / "theirs.monitor.csv", ours.path)
    )
    assert set(json.loads(about[1:])) == set(json.loads(our_about[1:]))
    assert our_header == f"{header},speed,care"


def test_pickle_and_spec(tmp_path: Any) -> None:
    env = monitored(tmp_path / "b", timed=False)
    env.reset()
    env.step(0)
    copied = pickle.loads(pickle.dumps(env))
    ours, theirs = ([one.step(1), one.step(1)][-1][4] for one in (env, copied))
    assert ours["episode"] == theirs["episode"]
    np.testing.assert_array_equal(ours["mo_episode"]["r"], theirs["mo_episode"]["r"])
    made = MOMonitor(ScalarizedReward(gym.make("DentFront-MO-v0")), timed=False)
    again = gym.make(EnvSpec.from_json(made.spec.to_json()))
    assert isinstance(again, MOMonitor)
    assert again.timed is False


class Collected(BaseCallback):
    """The vector returns of the episodes of a training."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: list[Any] = []

    def _on_step(self) -> bool:
        self.returns += [info["mo_episode"]["r"] for info in self.locals["infos"] if "mo_episode" in info]
        return True


@pytest.mark.parametrize("own_vector_env", [False, True])
def test_training_under_stable_baselines_keeps_the_vectors(own_vector_env: bool) -> None:
    """Its own ``Monitor`` goes around an environment, and not into a vector environment that it is handed."""
    env = DummyVecEnv([monitored, monitored]) if own_vector_env else monitored()
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")
    collected = Collected()
    model.learn(192, callback=collected)
    assert len(collected.returns) == len(model.ep_info_buffer) == 64
    for info, vector in zip(model.ep_info_buffer, collected.returns, strict=True):
        assert set(info) == {"r", "l", "t"}
        assert info["r"] == pytest.approx(vector @ WEIGHTS, abs=1e-5)
    queues = model.get_env().get_attr("return_queue")
    assert sum(len(queue) for queue in queues) == 64
    assert {tuple(row) for queue in queues for row in queue} == {tuple(row) for row in collected.returns}


def test_evaluation_collects_the_vectors() -> None:
    model = PPO("MlpPolicy", monitored(), n_steps=32, batch_size=32, device="cpu", seed=0)
    vectors: list[Any] = []

    def collect(local: dict[str, Any], _: Any) -> None:
        if local["done"]:
            vectors.append(local["info"]["mo_episode"]["r"])

    returns, _ = evaluate_policy(model, Monitor(monitored()), 7, callback=collect, return_episode_rewards=True)
    assert len(vectors) == 7
    np.testing.assert_allclose(np.array(vectors) @ WEIGHTS, returns, atol=1e-5)


def test_weights_that_change_are_those_of_the_episode() -> None:
    env = MOMonitor(WeightConditioned(PaidRows()))
    for seed in range(3):
        *_, info = played(env, (0, 1, 1), seed=seed)[-1]
        assert info["episode"]["r"] == pytest.approx(info["mo_episode"]["r"] @ info["reward_weights"], abs=1e-5)
