"""The numbers of the report, against numbers that are known."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.results import Results, Run, load_results
from llm_morl_agents.experiments.summary import COLUMNS, featured, summarise, write_csv, write_seeds_csv


def made_run(arm, seed, final, *, steps=12, problems=6, climb=0.0):
    """A run whose rewards are known: two objectives in [0, 1] and [-3, 3] that start at 0.5 and 0."""
    level = np.array([0.5, 0.0]) + climb * np.arange(steps)[:, None]
    flat = np.ones((steps, 2))
    return Run(
        arm=arm,
        seed=seed,
        series={
            "reward_mean": level,
            "weight": flat,
            "advantage_share": flat / 2,
            "cpu_seconds": np.full(steps, 0.25),
            "wall_seconds": np.full(steps, 0.5),
            "weighter_seconds": np.full(steps, 0.025),
        },
        evaluation_steps=np.array([0, steps]),
        evaluations=np.array([[0.5, 0.0], final], dtype=float),
        start=np.tile([0.5, 0.0], (problems, 1)),
        final=np.tile(np.array(final, dtype=float), (problems, 1)),
        greedy=np.array([[0.6, 0.1], [0.9, 1.0]]),
        examples=([], []),
        facts={"steps": steps},
    )


def made_results(tmp_path, arms, **options):
    return Results(
        folder=tmp_path,
        config=CompareConfig(arms=tuple(arms), **options),
        objectives=("format", "correctness"),
        low=np.array([0.0, -3.0]),
        high=np.array([1.0, 3.0]),
        arms=arms,
        unfinished=[],
    )


@pytest.fixture
def results(tmp_path):
    return made_results(
        tmp_path,
        {
            "gdpo:static": [made_run("gdpo:static", s, [0.75, 0.0], climb=0.02) for s in range(3)],
            "gdpo:saw": [made_run("gdpo:saw", s, [0.5 + 0.25 * s, 1.5], climb=0.02 * s) for s in range(3)],
        },
    )


def test_levels_rises_and_hypervolume(results):
    static, saw = summarise(results).arms
    np.testing.assert_allclose(static.final, [0.75, 0.0])
    np.testing.assert_allclose(static.final_spread, 0.0)
    np.testing.assert_allclose([static.rise.low, static.rise.mean, static.rise.high], np.tile([0.25, 0.0], (3, 1)))
    np.testing.assert_allclose(saw.final, [0.75, 1.5])
    np.testing.assert_allclose(saw.final_spread, [0.25, 0.0])
    assert saw.rise.low[0] < 0.25 < saw.rise.high[0]
    np.testing.assert_allclose(static.hypervolume, 0.75 * 0.5)
    np.testing.assert_allclose(saw.hypervolume, 0.75 * 0.75)
    assert (static.cpu_seconds_per_step, static.wall_seconds_per_step) == (0.25, 0.5)
    np.testing.assert_allclose(static.weighter_share, 0.1)
    np.testing.assert_allclose([static.weight, static.advantage_share], [[1.0, 1.0], [0.5, 0.5]])


def test_primary_numbers_by_seed_and_over_training(results):
    """Seeds of the second arm end at (0.5 + 0.25 s, 0.75) of the bounds, from (0.5, 0.5)."""
    static, saw = summarise(results).arms
    finals = np.array([0.5, 0.75, 1.0]) * 0.75
    np.testing.assert_allclose(saw.by_seed[:, 0], finals)
    np.testing.assert_allclose(saw.by_seed[:, 1], (0.25 + finals) / 2, err_msg="two evaluations: their mean")
    np.testing.assert_allclose(saw.primary.mean, saw.by_seed.mean(axis=0))
    assert saw.primary.low[0] < saw.primary.mean[0] < saw.primary.high[0]
    np.testing.assert_allclose(saw.worst, np.mean([0.5, 0.75, 0.75]))
    np.testing.assert_allclose(static.worst, 0.5)
    np.testing.assert_allclose(static.evaluation_mean, [0.625, 0.0])
    np.testing.assert_allclose(static.training_mean, [0.5 + 0.02 * 5.5, 0.02 * 5.5])


def test_primary_difference_is_paired_by_seed(results):
    (difference,) = summarise(results).differences
    gaps = np.array([0.5, 0.75, 1.0]) * 0.75 - 0.75 * 0.5
    np.testing.assert_allclose(difference.primary.mean[0], gaps.mean())
    reach = scipy.stats.t.ppf(0.975, 2) * gaps.std(ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(difference.primary.low[0], gaps.mean() - reach)


def test_few_arms_are_the_users_and_the_best_of_a_grid(tmp_path):
    arms = {f"gdpo:static(weights=(0.{i}, 0.{9 - i}))": 0.1 * i for i in range(1, 9)}
    runs = {
        arm: [made_run(arm, 0, [level, 0.0])] for arm, level in {"gdpo:saw": 0.5, "gdpo:random": 0.4, **arms}.items()
    }
    made = made_results(tmp_path, runs)
    made = replace(made, config=CompareConfig(arms=("gdpo:saw",), controls=("grid", "random")))
    assert featured(made, 5) == ["gdpo:saw", "gdpo:random", "gdpo:static(weights=(0.8, 0.1))"]
    best = [f"gdpo:static(weights=(0.{i}, 0.{9 - i}))" for i in (5, 6, 7, 8)]
    assert featured(replace(made, config=CompareConfig(arms=tuple(runs))), 5) == ["gdpo:saw", *best]
    assert featured(replace(made, config=CompareConfig(arms=tuple(runs))), 50) == list(runs)


def test_with_preferences_differences_are_to_the_first_arm_of_the_same_preference(tmp_path):
    names = [f"gdpo(preference={p}):{w}" for w in ("static", "saw") for p in ((0.0, 1.0), (1.0, 0.0))]
    made = made_results(tmp_path, {name: [made_run(name, s, [0.5, 0.0]) for s in range(2)] for name in names})
    made = replace(made, config=CompareConfig(arms=("gdpo:static", "gdpo:saw"), preferences=2))
    assert [(d.arm, d.other) for d in summarise(made).differences] == [(names[2], names[0]), (names[3], names[1])]


def test_thresholds_are_half_way_unless_given(results):
    np.testing.assert_allclose(summarise(results).thresholds, [0.75, 1.5])
    given = replace(results, config=replace(results.config, thresholds={"format": 0.6}))
    np.testing.assert_allclose(summarise(given).thresholds, [0.6, 1.5])


def test_steps_to_threshold_count_the_seeds_that_reach_it(results):
    given = replace(results, config=replace(results.config, thresholds={"format": 0.6}))
    static, saw = summarise(given).arms
    # A trailing mean of 5 lags by 2 steps: 0.5 + 0.02 (t - 2) >= 0.6 from t = 7 on, twice as steep from 5 (4.5) on.
    assert (static.steps_to_threshold[0], static.reached[0]) == (7, 3)
    assert (saw.steps_to_threshold[0], saw.reached[0]) == (6, 2)
    assert np.isnan(static.steps_to_threshold[1])
    assert static.reached[1] == 0


def test_differences_are_paired_by_seed(results):
    (difference,) = summarise(results).differences
    assert (difference.arm, difference.other, difference.seeds) == ("gdpo:saw", "gdpo:static", (0, 1, 2))
    np.testing.assert_allclose(difference.interval.mean, [0.0, 1.5], atol=1e-12)
    assert difference.interval.low[0] < 0.0 < difference.interval.high[0]
    missing = {**results.arms, "gdpo:saw": results.arms["gdpo:saw"][1:]}
    assert summarise(replace(results, arms=missing)).differences[0].seeds == (1, 2)


def test_arms_without_a_common_seed_have_no_difference(results):
    apart = {"gdpo:static": results.arms["gdpo:static"][:1], "gdpo:saw": results.arms["gdpo:saw"][1:]}
    assert summarise(replace(results, arms=apart)).differences == []


def test_one_seed(results):
    alone = {"gdpo:saw": results.arms["gdpo:saw"][:1]}
    summary = summarise(replace(results, arms=alone))
    assert np.isnan(summary.arms[0].final_spread).all()
    assert np.isfinite(summary.arms[0].rise.low).all()
    assert summary.differences == []


def test_csv(results, tmp_path):
    write_csv(summarise(results), results, tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["arm"], row["objective"]) for row in rows][1:3] == [
        ("gdpo:static", "correctness"),
        ("gdpo:saw", "format"),
    ]
    assert rows[0]["final"] == "0.75"
    assert rows[1]["steps_to_threshold"] == ""
    assert (rows[0]["hypervolume_iqm"], rows[0]["weighter_share"], rows[0]["worst_objective"]) == (
        "0.375",
        "0.1",
        "0.5",
    )


def test_csv_of_seeds(results, tmp_path):
    given = replace(results, config=replace(results.config, thresholds={"format": 0.6}, policies=("a", "b")))
    write_seeds_csv(summarise(given), given, tmp_path / "seeds.csv")
    with (tmp_path / "seeds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"], row["policy"]) for row in rows[2:5]] == [
        ("gdpo:static", "2", "a"),
        ("gdpo:saw", "0", "a"),
        ("gdpo:saw", "1", "b"),
    ]
    assert (rows[4]["final/format"], rows[4]["final/correctness"], rows[4]["hypervolume"]) == ("0.75", "1.5", "0.5625")
    assert (rows[0]["steps_to_threshold/format"], rows[3]["steps_to_threshold/format"]) == ("7", "")
    assert (rows[0]["cpu_seconds"], rows[0]["wall_seconds"], rows[0]["steps"]) == ("3", "6", "12")


def test_same_results_same_numbers(finished_experiment):
    first, second = (summarise(load_results(finished_experiment)) for _ in range(2))
    np.testing.assert_array_equal(first.arms[1].rise.low, second.arms[1].rise.low)
