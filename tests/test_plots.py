"""Figures: they are drawn for every shape of experiment, show the numbers given, and leave nothing behind."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from test_summary import made_results, made_run

from llm_morl_agents.experiments.plots import (
    COLOURS,
    CURVES_COLUMNS,
    SHARES,
    WEIGHTS_COLUMNS,
    curves,
    front,
    save_figures,
    weights,
)
from llm_morl_agents.experiments.results import Run


@pytest.fixture
def results(tmp_path):
    arms = {
        "gdpo:static": [made_run("gdpo:static", s, [0.7, 0.1 * s], climb=0.01) for s in range(2)],
        "gdpo:saw": [made_run("gdpo:saw", s, [0.9, 1.0], climb=0.02) for s in range(2)],
        "dvao": [made_run("dvao", 0, [0.95, 0.5], climb=0.02)],
    }
    return made_results(tmp_path, arms)


def with_objectives(results, k):
    """The same experiment with its first objective k times."""

    def widened(run):
        def repeat(values):
            return np.repeat(values[..., :1], k, axis=-1)

        series = {name: repeat(v) if v.ndim == 2 else v for name, v in run.series.items()}
        arrays = {name: repeat(getattr(run, name)) for name in ("evaluations", "start", "final", "greedy")}
        return Run(**{**vars(run), **arrays, "series": series})

    return replace(
        results,
        objectives=tuple(f"objective {i}" for i in range(k)),
        low=np.zeros(k),
        high=np.ones(k),
        arms={arm: [widened(run) for run in runs] for arm, runs in results.arms.items()},
    )


def panels(figure):
    return [axis for axis in figure.axes if axis.axison]


def test_curves_show_the_means(results):
    figure = curves(results)
    assert len(panels(figure)) == 3
    lines = panels(figure)[0].get_lines()
    training, evaluation = lines[2], lines[3]  # of the second arm
    np.testing.assert_allclose(training.get_ydata()[:3], 0.5 + 0.02 * np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(evaluation.get_ydata(), [0.5, 0.9])
    assert panels(figure)[1].get_title() == "correctness  (-3 to 3)"
    # The second arm's evaluations are (0.5, 0.5) and (0.9, 4/6) in the unit square.
    np.testing.assert_allclose(panels(figure)[2].get_lines()[1].get_ydata(), [0.25, 0.6])
    assert len(panels(curves(with_objectives(results, 1)))) == 1


@pytest.mark.parametrize(("k", "rows"), [(3, 1), (4, 2), (6, 2)])
def test_curves_of_many_objectives_stand_in_rows(results, k, rows):
    figure = curves(with_objectives(results, k))
    assert len(panels(figure)) == k + 1
    assert panels(figure)[0].get_subplotspec().get_gridspec().get_geometry() == (rows, CURVES_COLUMNS)
    labelled = [axis.get_title() for axis in panels(figure) if axis.get_ylabel() == "mean reward"]
    assert labelled == [f"objective {i}  (0 to 1)" for i in range(0, k, CURVES_COLUMNS)]


def test_weights_have_a_column_for_each_arm_and_two_rows(results):
    figure = weights(results)
    assert len(panels(figure)) == 6
    assert [axis.get_title() for axis in panels(figure)[:3]] == list(results.arms)


def test_weights_start_at_0_and_shares_without_limit_are_cut(results):
    run = results.arms["dvao"][0]
    wild = np.tile([40.0, -39.0], (len(run.series["weight"]), 1))
    arms = {**results.arms, "dvao": [replace(run, series={**run.series, "advantage_share": wild})]}
    top, bottom = panels(weights(replace(results, arms=arms)))[0], panels(weights(replace(results, arms=arms)))[3]
    assert top.get_ylim()[0] == 0.0
    assert top.get_ylim()[1] > 1.0
    assert bottom.get_ylim() == SHARES
    low, high = panels(weights(results))[3].get_ylim()
    assert SHARES[0] < low < 0.5 < high < SHARES[1]


def test_the_known_front_is_drawn_behind_the_arms(results):
    known = np.array([[1.0, -3.0], [0.0, 3.0]])
    figure = front(replace(results, pareto_front=known))
    drawn = panels(figure)[0].get_lines()[-1].get_xydata()
    np.testing.assert_array_equal(drawn, known[::-1])
    assert "Pareto front of single answers" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_notes_are_no_wider_than_their_figures(results):
    for figure in (curves(results), weights(results), front(results)):
        figure.canvas.draw()
        title = figure.legends[0].get_title().get_window_extent()
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.width


def test_weights_of_many_arms_stand_in_blocks(results):
    many = replace(results, arms={f"arm {i}": results.arms["dvao"] for i in range(WEIGHTS_COLUMNS + 2)})
    assert len(panels(weights(many))) == 2 * (WEIGHTS_COLUMNS + 2)


@pytest.mark.parametrize(("k", "pairs"), [(2, 1), (3, 3), (5, 10)])
def test_front_has_a_panel_for_each_pair(results, k, pairs):
    assert len(panels(front(with_objectives(results, k)))) == pairs


def test_front_rings_the_nondominated_arms(results):
    rings = [c for c in panels(front(results))[0].collections if not len(c.get_facecolors())]
    assert len(rings) == 2, "gdpo:static is dominated by both others"


def test_one_objective_has_no_front(results):
    assert front(with_objectives(results, 1)) is None


@pytest.mark.parametrize("k", [1, 3])
def test_files_are_reproducible(results, tmp_path, k):
    made = with_objectives(results, k)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    names = ["curves.png", "weights.png", "front.png"][: 2 if k == 1 else 3]
    assert [path.name for path in save_figures(made, tmp_path / "a")] == names
    save_figures(made, tmp_path / "b")
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_more_arms_than_colours(results):
    runs = results.arms["dvao"]
    many = replace(results, arms={f"arm {i}": runs for i in range(len(COLOURS) + 2)})
    assert len(panels(front(many))) == 1


def test_a_single_step_and_a_single_evaluation_point(tmp_path):
    short = made_results(tmp_path, {"dvao": [made_run("dvao", 0, [0.9, 0.0], steps=1)]})
    assert len(panels(curves(short))) == 3


def test_pyplot_is_not_loaded():
    """In a process of its own: other libraries load it."""
    code = "import sys, llm_morl_agents.experiments.plots; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
