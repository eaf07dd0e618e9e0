"""The numbers of the report, against numbers that are known."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.results import Results, Run, load_results
from llm_morl_agents.experiments.summary import COLUMNS, summarise, write_csv


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
    assert static.cpu_seconds_per_step == 0.25


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


def test_same_results_same_numbers(finished_experiment):
    first, second = (summarise(load_results(finished_experiment)) for _ in range(2))
    np.testing.assert_array_equal(first.arms[1].rise.low, second.arms[1].rise.low)
