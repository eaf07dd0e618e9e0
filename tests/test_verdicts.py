"""What a dynamic arm beats, in words, on numbers that are known."""

import re
from dataclasses import replace

import numpy as np
import pytest
from test_summary import made_results, made_run

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.fronts import method_fronts
from llm_morl_agents.experiments.summary import summarise
from llm_morl_agents.experiments.verdicts import tally, verdicts

STATICS = {"gdpo:static": 0.3, "gdpo:static(weights=(1, 3))": 0.5, "grpo:static": 0.9}


def found(tmp_path, levels, seeds=4):
    """Verdicts where every arm ends at (its level + a little by seed, middle)."""
    arms = {
        arm: [made_run(arm, s, [level + 0.01 * (-1) ** s, 0.0]) for s in range(seeds)] for arm, level in levels.items()
    }
    results = made_results(tmp_path, arms)
    return verdicts(results, summarise(results))


def test_each_control_of_the_same_agent(tmp_path):
    said = found(
        tmp_path, {"gdpo:saw": 0.6, "gdpo:frozen_mean(saw)": 0.7, "gdpo:random": 0.2, "grpo:random": 0.1, **STATICS}
    )
    assert [(v.control, v.outcome) for v in said] == [
        ("gdpo:frozen_mean(saw)", "loses to"),
        ("gdpo:static(weights=(1, 3))", "beats"),
        ("gdpo:random", "beats"),
    ]
    assert str(said[1]) == (
        "gdpo:saw beats the best static weights (gdpo:static(weights=(1, 3)), the best of 2): "
        "hypervolume +0.050 [+0.050, +0.050], 4 seeds."
    )


def test_an_interval_with_zero_inside_is_said_plainly(tmp_path):
    arms = {
        "gdpo:saw": [made_run("gdpo:saw", s, [0.5 + 0.1 * (-1) ** s, 0.0]) for s in range(4)],
        "gdpo:random": [made_run("gdpo:random", s, [0.49, 0.0]) for s in range(4)],
    }
    results = made_results(tmp_path, arms)
    (verdict,) = verdicts(results, summarise(results))
    assert str(verdict).startswith("gdpo:saw does not beat random weights (gdpo:random): hypervolume +0.005 [-0.0")


def test_small_hypervolumes_are_shown_with_more_digits(tmp_path):
    said = found(tmp_path, {"gdpo:saw": 0.004, "gdpo:random": 0.002})
    assert re.search(r"hypervolume \+0\.0005\d \[-0\.\d{5}, \+0\.\d{5}\]", str(said[0]))


def test_tally_counts_and_names_what_gains_nothing_by_changing(tmp_path):
    levels = {"gdpo:saw": 0.6, "gdpo:frozen_mean(saw)": 0.7, "gdpo:random": 0.2, "gdpo:rvpo": 0.1}
    said = tally(found(tmp_path, levels))
    assert said == [
        "Random weights: of 2 dynamic arms 1 beat them, 1 lose to them, 0 show no clear difference.",
        "No gain over fixed weights of the same mean is shown for gdpo:saw.",
    ]
    assert tally(found(tmp_path, {**levels, "gdpo:frozen_mean(saw)": 0.5}))[1:] == []
    many = {f"gdpo:saw(ema=0.{i})": 0.5 for i in range(1, 9)}
    frozen = {f"gdpo:frozen_mean(saw(ema=0.{i}))": 0.5 for i in range(1, 9)}
    assert tally(found(tmp_path, {**many, **frozen})) == [
        "Own mean weights, held fixed: of 8 dynamic arms 0 beat them, 0 lose to them, 8 show no clear difference.",
        "No gain over fixed weights of the same mean is shown for " + ", ".join(list(many)[:6]) + " and 2 more.",
    ]
    alone = tally(found(tmp_path, {**many, "gdpo:random": 0.2}, seeds=1))
    assert alone[0].endswith("0 show no clear difference, 8 cannot be compared.")


def test_one_seed_and_no_common_seed(tmp_path):
    (alone,) = found(tmp_path, {"gdpo:saw": 0.6, "gdpo:random": 0.2}, seeds=1)
    assert str(alone) == (
        "gdpo:saw cannot be compared with random weights (gdpo:random): one seed says nothing about the spread."
    )
    arms = {"gdpo:saw": [made_run("gdpo:saw", 0, [0.5, 0.0])], "gdpo:random": [made_run("gdpo:random", 1, [0.5, 0.0])]}
    results = made_results(tmp_path, arms)
    (apart,) = verdicts(results, summarise(results))
    assert "no common seed" in str(apart)


@pytest.mark.parametrize("levels", [STATICS, {"dvao": 0.5, "gdpo:random": 0.1, "gdpo:static": 0.3}])
def test_nothing_is_said_without_a_control_of_the_same_agent(tmp_path, levels):
    assert found(tmp_path, levels) == []


def test_with_preferences_whole_fronts_are_compared(tmp_path):
    levels = {"gdpo:static": (0.5, 0.6), "gdpo:saw": (0.6, 0.9), "gdpo:frozen_mean(saw)": (0.6, 0.9)}
    arms = {}
    for method, reached in levels.items():
        for preference, level in zip(((0.0, 1.0), (1.0, 0.0)), reached, strict=True):
            name = parse_arm(method).with_preference(preference).text
            arms[name] = [made_run(name, s, [level + 0.01 * s, 0.0]) for s in range(3)]
    results = made_results(tmp_path, arms)
    results = replace(results, config=CompareConfig(arms=tuple(levels), preferences=2))
    summary, fronts = summarise(results), method_fronts(results)
    said = verdicts(results, summary, fronts)
    assert [(v.arm, v.control, v.outcome) for v in said] == [
        ("gdpo:saw", "gdpo:frozen_mean(saw)", "does not beat"),
        ("gdpo:saw", "gdpo:static", "beats"),
    ]
    np.testing.assert_allclose(said[1].gap.mean, 0.3 * 0.5)
