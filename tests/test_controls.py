"""Controls: which arms they add, and an arm frozen to the mean weights of another."""

import json
from dataclasses import replace

import numpy as np
import pytest
from experiment_task import run_experiment, small

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.compare import TASK, Job, _next, jobs_of
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.controls import all_arms, frozen_mean, simplex_lattice
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.results import load_results
from llm_morl_agents.experiments.runner import FINISHED, METRICS, read_rows, run_folder
from llm_morl_agents.experiments.worker import attempt


def texts(config, n_objectives=2):
    return [arm.text for arm in all_arms(config, n_objectives)]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("at_least", [2, 6, 21])
def test_lattice(k, at_least):
    points = np.array(simplex_lattice(k, at_least))
    assert len(points) >= (at_least if k > 1 else 1)
    np.testing.assert_allclose(points.sum(axis=1), 1.0, atol=1e-5)
    assert len({tuple(p) for p in points}) == len(points)
    assert {tuple(row) for row in np.eye(k)} <= {tuple(p) for p in points}, "corners"


def test_controls_follow_the_users_arms():
    config = CompareConfig(
        arms=("gdpo:static", "gdpo(clip_low=0.1):saw", "dvao", "gdpo:random"),
        controls=("random", "frozen", "grid"),
        grid_size=2,
    )
    assert texts(config) == [
        *config.arms,
        "gdpo(clip_low=0.1):frozen_mean(saw)",
        "gdpo(clip_low=0.1):random",
        *(
            f"{agent}:static(weights={w})"
            for agent in ("gdpo", "gdpo(clip_low=0.1)")
            for w in ("(0.0, 1.0)", "(1.0, 0.0)")
        ),
    ], "an agent that is its own weighter has no controls, and no arm comes twice"
    assert texts(replace(config, controls=())) == list(config.arms)


def test_preferences_multiply_every_arm():
    config = CompareConfig(arms=("gdpo:saw", "dvao"), controls=("frozen",), preferences=2)
    assert texts(config) == [
        *(f"gdpo(preference={p}):saw" for p in ("(0.0, 1.0)", "(1.0, 0.0)")),
        *(f"dvao(preference={p})" for p in ("(0.0, 1.0)", "(1.0, 0.0)")),
        *(f"gdpo(preference={p}):frozen_mean(saw)" for p in ("(0.0, 1.0)", "(1.0, 0.0)")),
    ]
    frozen = all_arms(config, 2)[-1]
    assert frozen.frozen_from == "gdpo(preference=(1.0, 0.0)):saw"


def test_an_arm_that_freezes_what_is_not_compared_is_refused():
    with pytest.raises(ValueError, match=r"freezes 'gdpo:saw\(ema=0.7\)', which is not among the arms"):
        all_arms(CompareConfig(arms=("gdpo:saw", "gdpo:frozen_mean(saw(ema=0.7))")), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid_size": 1}, "grid_size must be at least 2, got 1"),
        ({"preferences": 1}, "preferences must be 0 or at least 2, got 1"),
        ({"preferences": 3, "controls": ("grid",)}, "the control grid is the front of a static arm"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        CompareConfig(**options)


def test_a_frozen_arm_waits_for_every_run_of_the_other(tmp_path):
    saw, frozen, static = (parse_arm(text) for text in ("gdpo:saw", "gdpo:frozen_mean(saw)", "gdpo:static"))
    first, second, waiting, free = (Job(a, s, tmp_path) for a, s in ((saw, 0), (saw, 1), (frozen, 0), (static, 1)))
    pending = [waiting, second, free]
    assert _next(pending, [first]) is second
    assert _next(pending, [first, second]) is free
    assert _next(pending, [second]) is None
    assert _next(pending, []) is waiting
    assert pending == []


@pytest.fixture(scope="module")
def experiment(workspace, tmp_path_factory):
    """An arm with two seeds that have finished, and its frozen mean, which has not begun."""
    config = small(workspace, arms=("gdpo:saw",), seeds=2, out=tmp_path_factory.mktemp("out"), name="x")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        run_experiment(config)
    text = (config.folder / "config.toml").read_text()
    (config.folder / "config.toml").write_text(f'controls = ["frozen"]\n{text}')
    return replace(config, controls=("frozen",))


def test_frozen_arm_holds_the_mean_weights_and_records_them(experiment, workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    arm = parse_arm("gdpo:frozen_mean(saw)")
    assert attempt(experiment.folder, arm, 1) == 0
    folder = run_folder(experiment.folder, arm, 1)
    facts = json.loads((folder / FINISHED).read_text())["frozen"]
    sources = [run_folder(experiment.folder, parse_arm("gdpo:saw"), seed) for seed in (0, 1)]
    rows = [row for source in sources for row in read_rows(source / METRICS) if row["kind"] == "step"]
    expected = [np.mean([row[f"weight/{name}"] for row in rows]) for name in ("correct", "short")]
    assert (facts["of"], facts["seeds"]) == ("gdpo:saw", [0, 1])
    np.testing.assert_allclose(facts["weights"], expected)
    for row in read_rows(folder / METRICS):
        if row["kind"] == "step":
            np.testing.assert_allclose([row["weight/correct"], row["weight/short"]], expected)
    assert list(load_results(experiment.folder).arms) == ["gdpo:saw", "gdpo:frozen_mean(saw)"]


def test_mean_of_an_unfinished_arm_is_refused(experiment, tmp_path):
    with pytest.raises(UserError, match="gdpo-saw-seed2 has not finished"):
        frozen_mean(experiment.folder, parse_arm("gdpo:frozen_mean(saw)"), 3)


def test_arms_that_depend_on_the_objectives_are_known_from_the_folder(workspace, tmp_path):
    config = small(workspace, arms=("gdpo:saw",), controls=("grid",), grid_size=3, out=tmp_path, name="x")
    config.folder.mkdir()
    (config.folder / TASK).write_text(json.dumps({"objectives": ["a", "b", "c"], "pareto_front": None}))
    assert [job.arm.text for job in jobs_of(config, config.folder)] == [
        "gdpo:saw",
        "gdpo:static(weights=(0.0, 0.0, 1.0))",
        "gdpo:static(weights=(0.0, 1.0, 0.0))",
        "gdpo:static(weights=(1.0, 0.0, 0.0))",
    ]
