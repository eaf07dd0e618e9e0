from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_policies import CoinPolicy, FixedPolicy

from llm_morl_agents.fronts.evaluation import evaluate_front
from llm_morl_agents.fronts.gather import UTILITY, gap_of, gather, over_seeds
from llm_morl_agents.fronts.measures import Measured
from llm_morl_agents.fronts.policy import FrontPolicy
from llm_morl_agents.fronts.record import FrontRecord
from llm_morl_env.metrics import igd_plus, maximum_utility_loss

DENT, TOOL = "DentFront-MO-v0", "ToolCall-MO-v0"


def record(method: str, policies: list[FrontPolicy], **changes: object) -> FrontRecord:
    env_id = str(changes.pop("env_id", DENT))
    n = int(str(changes.pop("n_episodes", 40)))
    about = evaluate_front(policies, env_id, n_episodes=n, resamples=80)
    values = {
        "method": method,
        "kind": "classic",
        "env_id": env_id,
        "env_kwargs": {},
        "view": "token",
        "seed": 0,
        "steps": 10,
        "cpu_seconds": 2.0,
        "evaluation": about,
        **changes,
    }
    return FrontRecord(**values)  # type: ignore[arg-type]


def coins(mean: tuple[float, ...], tag: str = "") -> list[FrontPolicy]:
    return [CoinPolicy(f"coin{tag}", mean)]


def chance() -> FrontRecord:
    return record("random", coins((0.2, 0.2), "r"), kind="baseline", cpu_seconds=None, steps=None)


def test_seeds_of_a_method_stand_together_and_the_best_method_first():
    records = [
        (chance(), ""),
        (record("poor", coins((0.3, 0.3))), "runs"),
        (record("good", coins((0.5, 0.5), "1"), seed=1, cpu_seconds=4.0), "runs"),
        (record("good", coins((0.5, 0.5), "0"), seed=0), "runs"),
    ]
    gathered = gather(records, title="t", chance="random")
    assert [method.name for method in gathered.methods] == ["good", "poor", "random"]
    assert [r.seed for r in gathered.methods[0].records] == [0, 1]
    assert gathered.methods[0].cpu_seconds == 3.0
    assert [method.name for method in gathered.trained] == ["good", "poor"]
    volumes = [r.evaluation.measures["hypervolume"].value for r in gathered.methods[0].records]
    assert gathered.methods[0].measures["hypervolume"].value == pytest.approx(np.mean(volumes))


def names(*records: tuple[FrontRecord, str]) -> set[str]:
    return {method.name for method in gather(records, title="t").methods}


def test_methods_of_one_name_are_told_apart_by_view_settings_and_place():
    policies, others = coins((0.5, 0.5)), coins((0.5, 0.5), "2")
    assert names((record("a", policies), "r/1"), (record("a", policies, view="index"), "r/2")) == {
        "a (token)",
        "a (index)",
    }
    assert names((record("a", policies), "one/1"), (record("a", others), "two/1")) == {"a (one)", "a (two)"}
    assert names((record("a", policies), "x/r/1"), (record("a", others), "y/r/1")) == {"a (x/r)", "a (y/r)"}
    shown = record("a", policies, env_kwargs={"obs_mode": "ids"})
    assert names((record("a", policies), "r/1"), (shown, "r/2")) == {"a", "a (obs_mode=ids)"}
    fast, slow = (record("a", policies, settings={"learning_rate": rate, "gamma": 1.0}) for rate in (0.01, 0.001))
    assert names((fast, "r/1"), (slow, "r/2")) == {"a (learning_rate=0.01)", "a (learning_rate=0.001)"}
    assert names((fast, "one/1"), (slow, "two/1")) == {"a (learning_rate=0.01)", "a (learning_rate=0.001)"}
    twice = record("a", others, settings=slow.settings)
    assert names((fast, "r/1"), (slow, "r/2"), (twice, "s/2")) == {
        "a (learning_rate=0.01)",
        "a (learning_rate=0.001, r)",
        "a (learning_rate=0.001, s)",
    }


def test_a_setting_that_an_argument_of_the_environment_shares_its_name_with_stays_apart():
    policies = coins((0.5, 0.5))
    records = [
        (record("a", policies, env_kwargs={"temperature": 1}, settings={"temperature": t}), f"r/{t}") for t in (1, 2)
    ]
    assert names(*records) == {"a (training temperature=1)", "a (training temperature=2)"}


@pytest.mark.parametrize("shuffle", range(8))
def test_only_runs_of_equal_settings_are_seeds_of_one_method(shuffle):
    """On a random grid of settings, views and seeds, in any order and place."""
    generator = np.random.default_rng(shuffle)
    grid: list[dict[str, Any]] = [
        {"view": view, "seed": seed, "settings": {"learning_rate": rate, "batch": batch, "gamma": 1}}
        for view in ("token", "index")
        for seed in range(3)
        for rate in (0.1, 0.01)
        for batch in (8, 16.0)
    ]
    chosen = [grid[at] for at in generator.permutation(len(grid))[:14]]
    found = [(record("a", coins((0.5, 0.5), str(i)), **about), f"runs/{i}") for i, about in enumerate(chosen)]
    methods = gather(found, title="t").methods
    expected: dict[tuple[object, ...], set[int]] = {}
    for about in chosen:
        key = (about["view"], *about["settings"].values())
        expected.setdefault(key, set()).add(about["seed"])
    grouped = [(m.view, *m.records[0].settings.values()) for m in methods]
    assert {key: {r.seed for r in m.records} for key, m in zip(grouped, methods, strict=True)} == expected
    assert all(len({r.seed for r in m.records}) == len(m.records) for m in methods)
    assert all(r.settings == m.records[0].settings for m in methods for r in m.records)
    assert len({m.name for m in methods}) == len(methods)
    assert not any("#" in m.name or "gamma" in m.name for m in methods)


def test_whole_numbers_are_equal_however_they_are_written():
    policies = coins((0.5, 0.5))
    records = [
        (record("a", policies, seed=i, settings={"gamma": g, "net": n}), "r/x")
        for i, (g, n) in enumerate([(1, [2]), (1.0, (2,))])
    ]
    (method,) = gather(records, title="t").methods
    assert [r.seed for r in method.records] == [0, 1]


def test_of_a_run_and_its_copy_one_is_kept():
    one, other = record("a", coins((0.5, 0.5))), record("a", coins((0.5, 0.5), "2"), seed=1)
    again = record("a", coins((0.5, 0.5)))
    for place in ("runs/copy", "backup/first"):
        gathered = gather([(one, "runs/first"), (other, "runs/second"), (again, place)], title="t")
        assert [r.seed for r in gathered.methods[0].records] == [0, 1]
        assert f"{place} was left out, as a copy of runs/first" in gathered.remarks
        alone = gather([(one, "runs/first"), (other, "runs/second")], title="t")
        assert gathered.methods[0].measures[UTILITY].value == alone.methods[0].measures[UTILITY].value


def test_a_training_that_was_done_again_is_no_copy():
    policies = coins((0.5, 0.5))
    first, second = (record("a", policies, cpu_seconds=seconds) for seconds in (2.0, 2.5))
    assert names((first, "one/1"), (second, "two/1")) == {"a (one)", "a (two)"}


TIMED = {"max_cpu_seconds": 2.0, "gamma": 1.0}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"max_cpu_seconds": None, "gamma": 1.0}, "what differs is not recorded"),
        (TIMED, "a training that CPU time ends does not go the same way twice"),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_runs_of_one_seed_with_different_returns_stand_alone(settings, why, order):
    runs = [
        (record("a", coins((0.5, 0.5), f"{at}"), seed=seed, settings=settings), f"runs/{name}")
        for at, (name, seed) in enumerate([("x", 0), ("y", 0), ("z", 1), ("w", 2)])
    ]
    gathered = gather([runs[at] for at in order], title="t")
    assert {method.name: [r.seed for r in method.records] for method in gathered.methods} == {
        "a (x)": [0],
        "a (y)": [0],
        "a": [1, 2],
    }
    (remark,) = (line for line in gathered.remarks if "averaged" in line)
    assert {"runs/x", "runs/y"} == set(remark.partition(" are ")[0].split(", "))
    assert remark.endswith(f"are not averaged: a, seed 0, but different returns; {why}")


def test_without_settings_equal_seeds_leave_no_seed_of_the_folder_together():
    """Two trainings that were not told apart: nothing says whose the other seeds are."""
    seeds = {"x0": 0, "x1": 1, "y0": 0}
    records = [(record("a", coins((0.5, 0.5), name), seed=seed), f"runs/{name}") for name, seed in seeds.items()]
    elsewhere = record("a", coins((0.5, 0.5), "s"), seed=1), "other/x1"
    gathered = gather([*records, elsewhere], title="t")
    assert {m.name for m in gathered.methods} == {"a (runs, x0)", "a (runs, x1)", "a (runs, y0)", "a (other)"}
    start, why = "runs/x0, runs/x1, runs/y0 are not averaged: a, equal seeds, but", "their settings are not known"
    assert f"{start} different returns; {why}" in gathered.remarks


def test_a_copy_of_a_run_that_stands_alone_is_left_out():
    records = [(record("a", coins((0.5, 0.5), tag), settings=TIMED), f"runs/{tag}") for tag in ("x", "y")]
    gathered = gather([*records, (records[1][0], "runs/z")], title="t")
    assert {method.name for method in gathered.methods} == {"a (x)", "a (y)"}
    assert "runs/z was left out, as a copy of runs/y" in gathered.remarks


def test_a_place_is_one_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "c").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    folders = ["runs/c/a-seed0", str(tmp_path / "runs/c/a-seed1"), "runs/../runs/c/a-seed2", "link/c/a-seed3"]
    runs = [(record("a", coins((0.5, 0.5), str(at)), seed=at), folder) for at, folder in enumerate(folders)]
    (method,) = gather(runs, title="t").methods
    assert [r.seed for r in method.records] == [0, 1, 2, 3]
    others = [(record("a", coins((0.5, 0.5), "o"), seed=0), place) for place in ("s/c/a-seed0", "link/d/a-seed0")]
    assert names(*runs, others[0]) == {"a (runs/c)", "a (s/c)"}  # as they were given
    assert names(*runs, others[1]) == {"a (c)", "a (d)"}


def test_places_of_one_given_name_are_told_apart_by_where_they_are(tmp_path):
    for name in ("p", "q"):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / f"to-{name}").symlink_to(tmp_path / name / "run")
    runs = [(record("a", coins((0.5, 0.5), name)), str(tmp_path / f"to-{name}")) for name in ("p", "q")]
    assert names(*runs) == {f"a ({Path(tmp_path).resolve() / name})" for name in ("p", "q")}


def test_the_gap_goes_from_chance_to_the_exact_front():
    exact = evaluate_front([FixedPolicy("x", (0.5, 0.5))], DENT, n_episodes=30).front
    assert exact is not None
    perfect = [FixedPolicy(str(i), tuple(point)) for i, point in enumerate(exact.tolist())]
    records = [(chance(), ""), (record("perfect", perfect), ""), (record("coin", coins((0.6, 0.6))), "")]
    gathered = gather(records, title="t", chance="random")
    assert gathered.oracle == "the exact front"
    gaps = {method.name: method.gap for method in gathered.methods}
    assert gaps["perfect"] is not None
    assert gaps["perfect"].value == pytest.approx(1.0)
    assert gaps["random"] is not None
    assert (gaps["random"].value, gaps["random"].low, gaps["random"].high) == pytest.approx((0.0, 0.0, 0.0))
    found = gaps["coin"]
    assert found is not None
    utilities = {method.name: method.measures[UTILITY].value for method in gathered.methods}
    top = gathered.front_values["expected_utility"]
    share = (utilities["coin"] - utilities["random"]) / (top - utilities["random"])
    assert found.value == pytest.approx(share)
    assert found.low < share < found.high


def test_gold_answers_are_the_oracle_where_no_front_is_known():
    def tool(method: str, point: tuple[float, ...], kind: str = "classic") -> tuple[FrontRecord, str]:
        return record(method, [FixedPolicy(method, point)], kind=kind, env_id=TOOL), ""

    records = [
        tool("random", (0.0, -3.0, 0.5), "baseline"),
        tool("gold answers", (1.0, 3.0, 1.0), "baseline"),
        tool("half", (0.5, 0.0, 0.75)),
    ]
    gathered = gather(records, title="t", chance="random", gold="gold answers")
    assert gathered.oracle == "gold answers"
    assert gathered.front is None
    assert [m.gap.value for m in gathered.methods if m.gap is not None] == pytest.approx([0.5, 1.0, 0.0])
    half = gathered.methods[0]
    target, conditions = np.ones((1, 3)), half.records[0].evaluation.conditions
    assert half.measures["igd_plus"].value == pytest.approx(igd_plus([[0.5, 0.5, 0.75]], target))
    loss = maximum_utility_loss([[0.5, 0.5, 0.75]], target, conditions)
    assert half.measures["maximum_utility_loss"].value == pytest.approx(loss)
    assert any("not known" in remark for remark in gathered.remarks)
    useless = gather([records[0], tool("gold answers", (0.0, -3.0, 0.5), "baseline")], title="t", gold="gold answers")
    assert useless.oracle is None
    assert all(method.gap is None for method in useless.methods)


def test_different_problems_and_few_episodes_are_remarked():
    records = [(record("a", coins((0.5, 0.5))), ""), (record("b", coins((0.5, 0.5)), n_episodes=60), "")]
    assert any("different problems" in remark for remark in gather(records, title="t").remarks)
    about = records[0][0].evaluation
    few = replace(about, problems=about.problems[:20], returns=about.returns[:, :, :20])
    gathered = gather([(records[0][0].with_evaluation(few), "")], title="t")
    assert any("mostly luck" in remark for remark in gathered.remarks)


def test_fronts_of_other_tasks_are_refused():
    other = record("b", [FixedPolicy("b", (0.5, 0.0, 0.5))], env_id=TOOL)
    with pytest.raises(ValueError, match="has the objectives"):
        gather([(record("a", coins((0.5, 0.5))), ""), (other, "")], title="t")
    with pytest.raises(ValueError, match="at least one record"):
        gather([], title="t")


def measured(value: float, generator: np.random.Generator, spread: float) -> Measured:
    return Measured(value, value, value, value + spread * generator.standard_normal(4000))


def test_the_interval_over_seeds_holds_both_spreads():
    """Between seeds sd 0.3 and within 0.4: the mean of 4 has a standard error of 0.25."""
    generator = np.random.default_rng(0)
    widths = []
    for _ in range(200):
        levels = 0.3 * generator.standard_normal(4)
        seeds = [measured(0.4 * generator.standard_normal() + level, generator, 0.4) for level in levels]
        found = over_seeds(seeds, level=0.95)
        widths.append(found.high - found.low)
    assert 2 * 1.96 * 0.25 < np.mean(widths) < 1.6 * 2 * 1.96 * 0.25  # conservative: noise counts between seeds too
    one = measured(0.5, generator, 0.1)
    assert over_seeds([one], level=0.95) is one


def test_a_paired_gap_is_tighter_than_an_unpaired_one():
    generator = np.random.default_rng(0)
    noise = 0.1 * generator.standard_normal(4000)
    floor = Measured(0.2, 0.2, 0.2, 0.2 + noise)
    paired = gap_of(Measured(0.6, 0.6, 0.6, 0.6 + noise), floor, 1.0, level=0.95)
    alone = gap_of(measured(0.6, generator, 0.1), floor, 1.0, level=0.95)
    assert paired.value == pytest.approx(0.5)
    assert paired.high - paired.low < alone.high - alone.low
