"""`GradientInfluence`: reference numbers, the update by hand, the projection, what each mode reads and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from properties import json_round_trip, objectives, random_batch, signals
from scipy.optimize import minimize

from llm_morl_agents.gradients import clipped_gramian
from llm_morl_agents.weighters import WEIGHTERS, GradientInfluence
from llm_morl_agents.weighters.base import Probe
from llm_morl_agents.weighters.gradient import mirror_step
from llm_morl_env.expressions import construct, describe

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"
SIGNAL = {"exact": "gramian", "jvp": "influence", "realised": "realised"}
every_mode = pytest.mark.parametrize("mode", SIGNAL)


@pytest.fixture
def vectors():
    if not VECTORS.exists():
        pytest.skip("reference vectors are not at hand")
    return json.loads(VECTORS.read_text())["gradient_weighting"]


def measured(mode, influence):
    """The signal of a mode that carries these influences."""
    influence = np.asarray(influence, dtype=np.float64)
    return {SIGNAL[mode]: np.diag(influence) if mode == "exact" else influence}


def run(weighter, measurements, *, level="reward", state=None, **options):
    """Weights of each step and the last state; ``measurements`` are keyword arguments of `Signals`, {} for none."""
    k = 3
    state = weighter.init(objectives(k)) if state is None else state
    weights = []
    for step, extra in enumerate(measurements):
        seen = signals(*random_batch(step, k=k), level=level, step=step, **extra, **options)
        weighting, state = weighter(seen, state)
        weights.append(weighting.weights)
    return np.array(weights), state


# --- reference numbers


@every_mode
def test_base_vector(vectors, mode):
    base = vectors["base"]
    weighter = GradientInfluence(mode, eta=base["eta"], mu=base["mu"], initial=base["w_prev"])
    influence = {"gramian": base["gram"]} if mode == "exact" else measured(mode, base["influence"])
    weights, _ = run(weighter, [influence] * 5)
    np.testing.assert_allclose(weights[0], base["w_new"], atol=1e-6)
    expected = [row["weights"] for row in base["five_steps_same_gradients"][1:]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_vector_with_a_clip_of_each_gradient(vectors):
    case = vectors["with_per_objective_norm_clip_1"]
    gradients = np.array(case["gradients"])
    norms = np.linalg.norm(gradients, axis=1)
    gramian = clipped_gramian(gradients @ gradients.T, norms, 1.0)
    np.testing.assert_allclose(norms, case["norms"], atol=1e-6)
    np.testing.assert_allclose(gramian.sum(axis=1), case["influence"], atol=1e-6)
    weighter = GradientInfluence(eta=case["eta"], mu=case["mu"], initial=case["w_prev"], clip_norm=1.0)
    np.testing.assert_allclose(run(weighter, [{"gramian": gramian}])[0][0], case["w_new"], atol=1e-6)


def test_vector_with_a_conflict_and_a_zero_gradient(vectors):
    case = vectors["conflict_and_zero_gradient"]
    gradients = np.array(case["gradients"])
    np.testing.assert_allclose((gradients @ gradients.T).sum(axis=1), case["influence"], atol=1e-6)
    weighter = GradientInfluence(eta=case["eta"], mu=case["mu"], initial=case["w_prev"])
    weights, _ = run(weighter, [{"gramian": gradients @ gradients.T}])
    np.testing.assert_allclose(weights[0], case["w_new"], atol=1e-6)


def test_vector_of_influences_averaged_over_three_steps(vectors):
    case, base = vectors["accumulated_over_three_steps"], vectors["base"]
    weighter = GradientInfluence(eta=base["eta"], mu=base["mu"], initial=base["w_prev"], accumulate=3)
    steps = [{"gramian": scale**2 * np.array(base["gram"])} for scale in case["scales"]]  # scales of the gradients
    weights, _ = run(weighter, [*steps, *steps])
    np.testing.assert_allclose(weights[:2], np.tile(base["w_prev"], (2, 1)), atol=1e-12)
    np.testing.assert_allclose(weights[2:5], np.tile(case["w_new"], (3, 1)), atol=1e-6)
    twice = np.log(case["w_new"]) + base["eta"] / base["mu"] * np.array(case["mean_influence"])
    np.testing.assert_allclose(weights[5], np.exp(twice) / np.exp(twice).sum(), atol=1e-6)


# --- the update


@every_mode
@pytest.mark.parametrize(("level", "total"), [("reward", 1.0), ("advantage", 3.0)])
def test_weights_are_a_softmax_of_the_summed_influences(mode, level, total):
    rng = np.random.default_rng(0)
    influences = rng.normal(size=(6, 3))
    weighter = GradientInfluence(mode, eta=0.3, mu=0.1)
    preference = np.array([1.0, 2.0, 0.0])
    weights, _ = run(weighter, [measured(mode, i) for i in influences], level=level, preference=preference)
    logits = 3.0 * influences.cumsum(axis=0)
    expected = total * np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) * preference
    np.testing.assert_allclose(weights, expected, rtol=1e-10)


@every_mode
def test_lagging_turns_the_step_around(mode):
    influences = np.random.default_rng(1).normal(size=(4, 3))
    gaining, _ = run(GradientInfluence(mode, eta=1.0, mu=1.0), [measured(mode, -i) for i in influences])
    lagging, _ = run(GradientInfluence(mode, "lagging", eta=1.0, mu=1.0), [measured(mode, i) for i in influences])
    np.testing.assert_allclose(lagging, gaining, rtol=1e-12)


@every_mode
def test_a_step_without_a_measurement_keeps_the_weights(mode):
    weighter = GradientInfluence(mode, eta=1.0, mu=1.0, initial=[1.0, 2.0, 5.0])
    one = measured(mode, [1.0, -1.0, 0.5])
    weights, state = run(weighter, [{}, one, {}, {}, one])
    np.testing.assert_allclose(weights[0], [0.125, 0.25, 0.625])
    np.testing.assert_array_equal(weights[2], weights[1])
    np.testing.assert_array_equal(weights[3], weights[1])
    np.testing.assert_allclose(weights[[1, 4]], run(weighter, [one, one])[0])
    same, kept = run(weighter, [{}], state=state)
    np.testing.assert_array_equal(same[0], weights[4])
    assert kept is state


@every_mode
def test_other_signals_are_not_read(mode):
    other = {signal: v for m in SIGNAL if m != mode for signal, v in measured(m, [5.0, 0.0, -5.0]).items()}
    np.testing.assert_allclose(run(GradientInfluence(mode, eta=1.0, mu=1.0), [other])[0][0], np.full(3, 1 / 3))


def test_preference_does_not_enter_the_state():
    weighter = GradientInfluence("jvp", eta=1.0, mu=1.0)
    steps = [measured("jvp", [0.3, -0.2, 0.1])] * 3
    _, plain = run(weighter, steps)
    _, preferring = run(weighter, steps, preference=np.array([5.0, 0.0, 1.0]))
    np.testing.assert_array_equal(plain["log_share"], preferring["log_share"])


def test_a_share_comes_back_from_where_no_float_could_hold_it():
    weighter = GradientInfluence("jvp", eta=1.0, mu=1.0)
    down, up = measured("jvp", [0.0, 0.0, -2000.0]), measured("jvp", [0.0, 0.0, 2000.0])
    weights, _ = run(weighter, [down, up])
    np.testing.assert_array_equal(weights[0], [0.5, 0.5, 0.0])
    np.testing.assert_allclose(weights[1], np.full(3, 1 / 3), rtol=1e-12)


def test_averaging_goes_on_after_a_checkpoint():
    weighter = GradientInfluence("jvp", eta=1.0, mu=1.0, accumulate=3)
    steps = [measured("jvp", i) for i in np.random.default_rng(1).normal(size=(7, 3))]
    whole, _ = run(weighter, steps)
    first, state = run(weighter, steps[:4])
    second, _ = run(weighter, steps[4:], state=json_round_trip(state))
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


# --- the floor


def test_mirror_step_solves_the_projected_problem():
    """The new shares maximise <exponent, w> - KL(w, share) over the simplex with a floor: checked by a solver."""
    rng = np.random.default_rng(2)
    for floor in (0.0, 0.05, 0.2):
        for _ in range(5):
            share, exponent = rng.dirichlet(np.ones(4)), 3 * rng.normal(size=4)

            def loss(w, share=share, exponent=exponent):
                return -exponent @ w + np.sum(w * np.log(np.maximum(w, 1e-300) / share))

            solved = minimize(
                loss,
                np.full(4, 0.25),
                bounds=[(max(floor, 1e-9), 1.0)] * 4,
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
                options={"ftol": 1e-13, "maxiter": 500},
            )
            found = np.exp(mirror_step(np.log(share), exponent, floor=floor))
            assert found.sum() == pytest.approx(1.0, rel=1e-12)
            assert found.min() >= floor * (1 - 1e-12)
            np.testing.assert_allclose(found, solved.x, atol=1e-4)


def test_the_floor_holds_and_lets_go():
    weighter = GradientInfluence("jvp", eta=1.0, mu=1.0, floor=0.1)
    weights, state = run(weighter, [measured("jvp", [5.0, 0.0, -5.0])] * 50)
    np.testing.assert_allclose(weights[-1], [0.8, 0.1, 0.1])
    recovered, _ = run(weighter, [measured("jvp", [0.0, 0.0, 3.0])], state=state)
    assert recovered[0][2] > 0.5  # one step; without a floor fifty steps down would need fifty up
    still, _ = run(weighter, [measured("jvp", np.zeros(3))] * 9, state=state)
    np.testing.assert_allclose(still[-1], weights[-1], rtol=1e-12)  # the floor alone moves nothing


# --- options


@every_mode
def test_needs_and_probe(mode):
    weighter = GradientInfluence(mode, every=4, groups=2, method="finite")
    assert weighter.needs == {{"exact": "gradients.exact", "jvp": "gradients.jvp", "realised": "realised"}[mode]}
    assert weighter.probe == Probe(every=4, groups=2, method="finite")
    exact = GradientInfluence(parameters=["layers.1", "norm"], clip_norm=1.0)
    assert exact.probe == Probe(parameters=("layers.1", "norm"), clip_norm=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "both"}, r"mode=\) must be one of"),
        ({"favour": "all"}, r"favour=\) must be one of"),
        ({"eta": 0.0}, r"eta=\) must be positive and finite, got 0.0"),
        ({"mu": -1.0}, r"mu=\) must be positive and finite, got -1.0"),
        ({"mu": np.inf}, r"mu=\) must be positive and finite, got inf"),
        ({"accumulate": 0}, r"accumulate=\) must be an int of at least 1, got 0"),
        ({"accumulate": 1.5}, r"accumulate=\) must be an int of at least 1, got 1.5"),
        ({"floor": -0.1}, r"floor=\) must lie in \[0, 1\), got -0.1"),
        ({"floor": np.nan}, r"floor=\) must lie in \[0, 1\), got nan"),
        ({"initial": [1.0, 0.0]}, r"initial=\) must be positive numbers"),
        ({"initial": []}, r"initial=\) must be positive numbers"),
        ({"initial": [np.inf, 1.0]}, r"initial=\) must be positive numbers"),
        ({"parameters": "layers"}, r"parameters=\) must be a sequence of patterns, got the str 'layers'"),
        ({"mode": "jvp", "clip_norm": 1.0}, r"clip_norm=1.0\) needs mode='exact': mode='jvp'"),
        ({"mode": "realised", "clip_norm": 1.0}, r"clip_norm=1.0\) needs mode='exact': mode='realised'"),
        (
            {"mode": "realised", "parameters": ["a"]},
            r"parameters=\['a'\]\) needs gradients, mode='realised' takes none",
        ),
        ({"every": 0}, r"Probe\(every=\) must be positive, got 0"),
        ({"method": "backward"}, r"Probe\(method=\) must be 'auto', 'forward' or 'finite'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GradientInfluence(**options)


def test_options_that_do_not_fit_the_objectives():
    with pytest.raises(ValueError, match=r"initial=\) must have 3 entries, got \(1.0, 2.0\)"):
        GradientInfluence(initial=[1, 2]).init(objectives(3))
    with pytest.raises(ValueError, match=r"floor=\) must be below 1 / 4 objectives, got 0.25"):
        GradientInfluence(floor=0.25).init(objectives(4))


def test_as_text():
    weighter = GradientInfluence("jvp", eta=0.5, mu=1.0, initial=[1, 2], parameters=["layers.1"], floor=0.05)
    text = describe(weighter, WEIGHTERS)
    assert text is not None
    assert text.startswith("gradient(mode='jvp'")
    assert construct(text, WEIGHTERS) == weighter
