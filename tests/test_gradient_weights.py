"""GradientCombiner: reference directions of each method, optimality, and what it does without a direction.

Methods of torchjd are tested where it is installed, with what each needs.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from properties import SCALES, decide, measured, objectives, random_batch

from llm_morl_agents.weighters import GradientCombiner
from llm_morl_agents.weighters.gradient_weights import combine, minimum_norm_shares

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
PACKAGES = {
    "mgda": (),
    "upgrad": ("torchjd", "quadprog", "qpsolvers"),
    "dualproj": ("torchjd", "quadprog", "qpsolvers"),
    "pcgrad": ("torchjd",),
    "nash_mtl": ("torchjd",),
    "cagrad": ("torchjd", "cvxpy", "clarabel"),
}


def needing(method):
    missing = [package for package in PACKAGES[method] if find_spec(package) is None]
    return pytest.param(method, marks=pytest.mark.skipif(bool(missing), reason=f"{missing} not installed"))


every_method = pytest.mark.parametrize("method", [needing(method) for method in PACKAGES])


@pytest.fixture
def peers():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())["peers"]


def unit(direction):
    return np.asarray(direction) / np.linalg.norm(direction)


# ----------------------------------------------------------------------------------------------------- reference values


def test_mgda_vectors(peers):
    v = peers["mgda"]
    gradients = np.array(v["gradients"])
    shares = minimum_norm_shares(gradients @ gradients.T)
    np.testing.assert_allclose(shares, v["alpha"], atol=1e-6)
    np.testing.assert_allclose(shares @ gradients, v["direction"], atol=1e-6)
    two = gradients[:2]
    np.testing.assert_allclose(minimum_norm_shares(two @ two.T), v["two_objective_alpha"], atol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
def test_gapo_vectors(peers, power):
    """The weights of the gradients as they are; times norm^p they are the shares among the divided ones."""
    gradients = np.array(peers["mgda"]["gradients"])
    weights = GradientCombiner("mgda", power=power).shares(gradients @ gradients.T)
    shares = weights * np.linalg.norm(gradients, axis=1) ** power
    np.testing.assert_allclose(shares / shares.sum(), peers["gapo"][f"p{power}_alpha"], atol=1e-6)


@pytest.mark.parametrize("method", [needing("nash_mtl")])
def test_nash_mtl_vectors(peers, method):
    v = peers["nash_mtl_two_tasks"]
    gradients = np.array(v["gradients"])
    weights = combine(gradients @ gradients.T, method)
    np.testing.assert_allclose(weights / weights.sum(), np.array(v["alpha"]) / sum(v["alpha"]), atol=1e-6)
    np.testing.assert_allclose(unit(weights @ gradients), unit(v["direction"]), atol=1e-6)


@pytest.mark.parametrize("method", [needing("cagrad")])
def test_cagrad_vectors(peers, method):
    v = peers["cagrad_two_tasks"]
    gradients = np.array(v["gradients"])
    weights = combine(gradients @ gradients.T, method, c=v["c"])
    np.testing.assert_allclose(unit(weights @ gradients), unit(v["direction"]), atol=1e-4)  # the solver's tolerance


@pytest.mark.parametrize("method", [needing("pcgrad")])
def test_pcgrad_vectors(peers, method, monkeypatch):
    import torch

    monkeypatch.setattr(torch, "randperm", torch.arange)
    v = peers["pcgrad"]
    gradients = np.array(v["gradients"])
    np.testing.assert_allclose(combine(gradients @ gradients.T, method) @ gradients, v["combined"], atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_mgda_is_optimal(k, seed):
    """On the simplex, and no gradient lies behind the shortest point: ``G a >= a^T G a``. Dependent gradients too."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(k, rng.integers(1, 8))) * 10.0 ** rng.uniform(-2, 2, size=(k, 1))
    gramian = gradients @ gradients.T
    shares = minimum_norm_shares(gramian)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)
    assert (gramian @ shares).min() >= shares @ gramian @ shares - 1e-9 * np.diag(gramian).max()


@every_method
@pytest.mark.parametrize("scale", SCALES)
def test_scale_of_the_gradients_does_not_matter(method, scale):
    gramian = measured({"gradients.exact"}, 3)["gramian"]
    weighter = GradientCombiner(method)
    np.testing.assert_allclose(weighter.shares(scale**2 * gramian), weighter.shares(gramian), rtol=1e-4)


@every_method
@pytest.mark.parametrize("seed", range(5))
def test_weights_are_non_negative_of_mean_one_and_agree_with_every_objective(method, seed):
    """Two gradients in conflict: under the weights neither objective loses. (PCGrad promises that for two alone.)"""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=5), rng.normal(size=5)
    second -= (second @ first / (first @ first) + 0.3) * first
    gradients = np.stack([first, 3.0 * second])
    weights = GradientCombiner(method, c=0.9).shares(gradients @ gradients.T)
    assert weights.min() >= 0
    assert weights.mean() == pytest.approx(1)
    promised = gradients @ (weights @ gradients)
    if method != "cagrad":  # it promises the best worst case near the mean gradient, not that it is positive
        assert promised.min() >= -1e-2 * np.abs(promised).max()


@every_method
def test_an_objective_without_gradient_stays_out(method):
    gramian = measured({"gradients.exact"}, 3)["gramian"].copy()
    gramian[1] = gramian[:, 1] = 0.0
    weighter = GradientCombiner(method)
    weights = weighter.shares(gramian)
    assert weights[1] == 1.0
    np.testing.assert_allclose(weights[[0, 2]], weighter.shares(gramian[np.ix_([0, 2], [0, 2])]))


def test_the_last_measurement_holds():
    weighter, (rewards, group) = GradientCombiner("mgda"), random_batch(0)
    first, state = decide(weighter, rewards, group)
    assert not np.allclose(first.weights, 1.0)
    for step, gramian in ((1, None), (2, np.zeros((3, 3)))):
        held, state = decide(weighter, rewards, group, state=state, step=step, gramian=gramian)
        np.testing.assert_array_equal(held.weights, first.weights)
    start, _ = decide(weighter, rewards, group, gramian=None)
    np.testing.assert_array_equal(start.weights, 1.0)


def test_levels():
    at_advantage, _ = decide(GradientCombiner("mgda"), *random_batch(0))
    at_reward, _ = decide(GradientCombiner("mgda"), *random_batch(0), level="reward")
    assert at_advantage.weights.sum() == pytest.approx(3)
    np.testing.assert_allclose(at_reward.weights, at_advantage.weights / 3)


@pytest.mark.parametrize("method", [needing("pcgrad")])
def test_pcgrad_draws_its_order_from_seed_and_step(method):
    import torch

    gradients = np.array([[1.0, 0.2, 0.0], [-0.9, 0.5, 0.3], [-0.3, -0.8, 0.4], [0.2, -0.6, -0.7]])
    gramian = gradients @ gradients.T
    state = torch.random.get_rng_state()
    drawn = {tuple(GradientCombiner(method).shares(gramian, step)) for step in range(8)}
    assert len(drawn) > 1
    assert drawn == {tuple(GradientCombiner(method).shares(gramian, step)) for step in range(8)}
    assert drawn != {tuple(GradientCombiner(method, seed=1).shares(gramian, step)) for step in range(8)}
    assert (torch.random.get_rng_state() == state).all()


# ------------------------------------------------------------------------------------------------------------- refusals


def test_probe():
    probe = GradientCombiner("mgda", every=4, groups=2, parameters=["layers"], clip_norm=1.0).probe
    assert (probe.every, probe.groups, probe.parameters, probe.clip_norm) == (4, 2, ("layers",), 1.0)


@pytest.mark.parametrize("method", sorted(set(PACKAGES) - {"mgda"}))
def test_a_missing_package_is_found_before_the_first_step(method, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchjd", None)
    weighter = GradientCombiner(method)
    with pytest.raises(ImportError, match=r"pip install 'llm-morl-env\[torchjd\]'"):
        weighter.init(objectives(3))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "sum"}, "method="),
        ({"power": -1.0}, "power="),
        ({"c": 1.0}, "c="),
        ({"seed": -1}, "seed="),
        ({"parameters": "layers"}, "parameters="),
        ({"every": 0}, "every="),
    ],
)
def test_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        GradientCombiner(**options)
