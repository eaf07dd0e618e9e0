"""Sets of vectors over preferences: their hypervolume, intervals, and the gain over the static method."""

from dataclasses import replace

import numpy as np
import pytest
from test_summary import made_results, made_run

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.fronts import front_interval, method_fronts, set_hypervolume
from llm_morl_agents.experiments.plots import method_sets
from llm_morl_agents.experiments.tables import front_grid

PREFERENCES = [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]


@pytest.fixture
def results(tmp_path):
    """Two methods on bounds [0, 1] x [-3, 3]: the static one reaches three points, the other one dominates them."""
    reached = {"gdpo:static": [(0.2, 2.4), (0.3, 0.0), (0.8, -1.8)], "gdpo:saw": [(0.2, 3.0), (0.6, 0.6), (0.9, -1.8)]}
    arms = {}
    for method, vectors in reached.items():
        agent, weighter = method.split(":")
        for preference, vector in zip(PREFERENCES, vectors, strict=True):
            name = f"{agent}(preference={preference}):{weighter}"
            arms[name] = [made_run(name, s, np.add(vector, 0.02 * (s - 1))) for s in range(3)]
    made = made_results(tmp_path, arms)
    return replace(made, config=CompareConfig(arms=tuple(reached), preferences=3))


def test_fronts_of_methods(results):
    static, saw = method_fronts(results)
    assert (static.method, saw.method, static.reference, static.gain) == (
        "gdpo:static",
        "gdpo:saw",
        "gdpo:static",
        None,
    )
    assert static.preferences.tolist() == [list(p) for p in PREFERENCES]
    np.testing.assert_allclose(saw.vectors, [(0.2, 3.0), (0.6, 0.6), (0.9, -1.8)])
    # In [0, 1]: (0.2, 0.9), (0.3, 0.5), (0.8, 0.2) and (0.2, 1), (0.6, 0.6), (0.9, 0.2).
    np.testing.assert_allclose(static.hypervolume.mean, 0.2 * 0.9 + 0.1 * 0.5 + 0.5 * 0.2)
    np.testing.assert_allclose(saw.hypervolume.mean, 0.2 + 0.4 * 0.6 + 0.3 * 0.2)
    np.testing.assert_allclose(saw.gain.mean, saw.hypervolume.mean - static.hypervolume.mean)
    assert 0 < saw.gain.low[0] <= saw.gain.mean[0] <= saw.gain.high[0]
    assert saw.best.all()
    grid = front_grid([static, saw])
    assert [row[:2] for row in grid.rows] == [("gdpo:saw", "3/3"), ("gdpo:static", "3/3")]


def test_dominated_vectors_do_not_count(results):
    inner = "gdpo(preference=(0.5, 0.5)):static"
    arms = {**results.arms, inner: [made_run(inner, s, [0.1, -2.0]) for s in range(3)]}
    static = method_fronts(replace(results, arms=arms))[0]
    assert static.best.tolist() == [True, False, True]
    np.testing.assert_allclose(static.hypervolume.mean, 0.2 * 0.9 + 0.6 * 0.2)


def test_only_common_seeds_are_paired(results):
    name = "gdpo(preference=(0.0, 1.0)):saw"
    fronts = method_fronts(replace(results, arms={**results.arms, name: results.arms[name][1:]}))
    assert [front.seeds for front in fronts] == [(0, 1, 2), (1, 2)]
    assert np.isfinite(fronts[1].gain.low).all()
    apart = {arm: runs[:1] if arm.endswith("static") else runs[1:] for arm, runs in results.arms.items()}
    assert method_fronts(replace(results, arms=apart))[1].gain is None


def test_without_preferences_there_is_no_front(results):
    assert method_fronts(replace(results, config=CompareConfig())) == []


def test_intervals_are_paired():
    """A shift that both sets share in every seed moves the interval of each, and not that of their difference."""
    rng = np.random.default_rng(0)
    shift = 0.2 * rng.random((8, 1, 1))
    first, second = 0.5 + shift + np.zeros((8, 1, 2)), 0.5 + shift + np.zeros((8, 1, 2))
    alone = front_interval(first, generator=np.random.default_rng(1))
    both = front_interval(first, second, generator=np.random.default_rng(1))
    assert alone.high[0] - alone.low[0] > 0.02
    np.testing.assert_allclose([both.low, both.mean, both.high], 0.0, atol=1e-12)
    assert np.isnan(front_interval(first[:1], generator=rng).low).all()


def test_set_hypervolume_takes_the_mean_over_seeds_first():
    assert set_hypervolume([[[1.0, 0.0]], [[0.0, 1.0]]]) == 0.25


def test_figure_shows_every_set_and_the_known_front(results):
    fronts = method_fronts(results)
    plain = method_sets(results, fronts)
    known = method_sets(replace(results, pareto_front=np.array([[1.0, -3.0], [0.0, 3.0]])), fronts)
    lines = [len(figure.axes[0].get_lines()) for figure in (plain, known)]
    assert lines == [2, 3]
    np.testing.assert_allclose(known.axes[0].get_lines()[0].get_xydata(), [[0.0, 3.0], [1.0, -3.0]])
    assert method_sets(results, []) is None
