"""Reading an experiment's folder back."""

import json
import shutil

import numpy as np
import pytest

from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.results import load_results, merge_metrics, read_experiment
from llm_morl_agents.experiments.runner import FINISHED, METRICS, read_rows


@pytest.fixture
def copied(finished_experiment, tmp_path):
    """A copy of a finished experiment, elsewhere."""
    return shutil.copytree(finished_experiment, tmp_path / "moved")


def test_arrays(finished_experiment):
    results = load_results(finished_experiment)
    assert list(results.arms) == ["gdpo:static", "gdpo:saw"]
    assert [run.seed for run in results.arms["gdpo:saw"]] == [0, 1]
    assert results.unfinished == []
    run = results.arms["gdpo:saw"][1]
    assert run.series["reward_mean"].shape == run.series["weight"].shape == (6, 2)
    assert run.series["cpu_seconds"].shape == (6,)
    assert run.evaluation_steps.tolist() == [0, 2, 4, 6]
    assert run.evaluations.shape == (4, 2)
    np.testing.assert_allclose(run.evaluations[[0, -1]], [run.start.mean(axis=0), run.final.mean(axis=0)])
    assert run.greedy.shape == (2, 2)


def test_a_moved_folder_is_read_where_it_is(copied, finished_experiment):
    np.testing.assert_array_equal(
        load_results(copied).arms["gdpo:saw"][0].final, load_results(finished_experiment).arms["gdpo:saw"][0].final
    )


def test_unfinished_runs_are_named_and_left_out(copied):
    (copied / "runs" / "gdpo-static-seed1" / FINISHED).unlink()
    shutil.rmtree(copied / "runs" / "gdpo-saw-seed0")
    results = load_results(copied)
    assert results.unfinished == ["gdpo:saw seed 0", "gdpo:static seed 1"]
    assert {arm: [run.seed for run in runs] for arm, runs in results.arms.items()} == {
        "gdpo:static": [0],
        "gdpo:saw": [1],
    }


def test_merged_metrics_hold_every_row_with_arm_and_seed(copied):
    merge_metrics(copied)
    rows = read_rows(copied / METRICS)
    assert len(rows) == 4 * (6 + 4)
    mine = [
        {k: v for k, v in row.items() if k not in ("arm", "seed")}
        for row in rows
        if (row["arm"], row["seed"]) == ("gdpo:saw", 1)
    ]
    assert mine == read_rows(copied / "runs" / "gdpo-saw-seed1" / METRICS)


def test_what_is_no_experiment(tmp_path, copied):
    with pytest.raises(UserError, match=r"no config\.toml"):
        load_results(tmp_path)
    for finished in copied.glob(f"runs/*/{FINISHED}"):
        finished.unlink()
    with pytest.raises(UserError, match="no run has finished yet"):
        load_results(copied)


def test_arrays_are_never_unpickled(copied):
    np.save(copied / "runs" / "gdpo-saw-seed0" / "evaluation-000006.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_results(copied)


def test_metrics_are_plain_json(finished_experiment):
    for line in (finished_experiment / "runs" / "gdpo-saw-seed0" / METRICS).read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_broken_record_is_said_in_a_line(tmp_path):
    (tmp_path / "config.toml").write_text("arms = [")
    with pytest.raises(UserError, match=r"config\.toml is not TOML"):
        read_experiment(tmp_path)


def test_an_objective_that_applies_nowhere_is_said_in_a_line(copied):
    path = copied / "runs" / "gdpo-saw-seed1" / METRICS
    rows = read_rows(path)
    for row in rows:
        row.pop("sampled/short", None)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match="objective 'short' applies to no answer of the evaluation after 0 steps"):
        load_results(copied)
