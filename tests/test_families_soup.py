"""Soups: mixtures of parameters, and the family that serves preferences by them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_agents import load_policy
from llm_morl_agents.families.soup import corner_preferences, soup, train_soup


def parts(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {"w": torch.randn(3, 2, generator=generator), "b": torch.randn(4, generator=generator)} for _ in range(count)
    ]


@given(count=st.integers(1, 5), data=st.data())
def test_one_hot_gives_back_bit_for_bit(count, data):
    chosen = data.draw(st.integers(0, count - 1))
    given_parts = parts(count)
    given_parts[chosen - 1]["b"][0] = torch.inf if count > 1 else 1.0  # what is not asked for does not matter
    mixed = soup(given_parts, np.eye(count)[chosen])
    for name, tensor in given_parts[chosen].items():
        assert torch.equal(mixed[name], tensor)
        assert mixed[name].data_ptr() != tensor.data_ptr()


@given(share=st.floats(0.0, 1.0))
def test_linear_in_the_coefficients(share):
    two = parts(2)
    mixed = soup(two, [share, 1 - share])
    for name in mixed:
        torch.testing.assert_close(mixed[name], two[1][name] + share * (two[0][name] - two[1][name]))
    halves = soup([soup(two, [1.0, 0.0]), soup(two, [share, 1 - share])], [0.5, 0.5])
    expected = soup(two, [(1 + share) / 2, (1 - share) / 2])
    torch.testing.assert_close(halves, expected)


def test_inputs_stay_untouched():
    three, again = parts(3), parts(3)
    soup(three, [0.2, 0.3, 0.5])["w"].add_(1.0)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(three, again, strict=True) for name in a)


@pytest.mark.parametrize("lambdas", [[1.0], [0.5, 0.6], [-0.5, 1.5], [np.nan, 1.0], [[0.5, 0.5]]])
def test_what_are_no_coefficients(lambdas):
    with pytest.raises(ValueError, match=r"soup\(lambdas=\) must be"):
        soup(parts(2), lambdas)


def test_policies_of_different_shapes():
    with pytest.raises(ValueError, match="policies 0 and 1 differ in 'b'"):
        soup([parts(1)[0], {"w": torch.zeros(3, 2)}], [0.5, 0.5])


# peft reads a property that transformers has renamed; nothing on our side calls it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_alone():
    pytest.importorskip("peft")
    policy = load_policy("scratch", tokenizer="letters-3", lora={"r": 2, "target_modules": ["q_proj"]})
    start = policy.state_tensors()
    assert start
    assert all("lora" in name for name in start)
    moved = {name: tensor + 1 for name, tensor in start.items()}
    policy.load_state_tensors(soup([start, moved], [0.25, 0.75]))
    for name, tensor in policy.state_tensors().items():
        torch.testing.assert_close(tensor, start[name] + 0.75)


def test_corners_lie_on_the_simplex():
    for k in range(1, 6):
        corners = corner_preferences(k, 0.7)
        np.testing.assert_allclose(corners.sum(axis=1), 1)
        assert (corners.argmax(axis=1) == np.arange(k)).all()
    assert corner_preferences(2, 1.0).tolist() == [[1, 0], [0, 1]]


@pytest.fixture(scope="module")
def family():
    return train_soup("DentFront-MO-v0", steps=25, prompts=4, settings={"learning_rate": 1e-2})


def test_each_policy_learned_its_objective(family):
    problems = [0] * 64
    first, second = (family.policy(w).returns(problems, split="eval", seed=0).mean(axis=0) for w in np.eye(2))
    assert first[0] > 0.8 > 0.2 > first[1]
    assert second[1] > 0.8 > 0.2 > second[0]


def test_the_family_serves_mixtures(family):
    middle = family.policy([1, 3])
    assert middle.label == "soup .25 .75"
    expected = soup([member.tensors for member in family.members], [0.25, 0.75])
    assert all(torch.equal(middle.tensors[name], tensor) for name, tensor in expected.items())
    corner = family.policy([0, 2])
    assert all(torch.equal(corner.tensors[n], t) for n, t in family.members[1].tensors.items())
    # Policies share a model; one that answers in between changes nothing.
    before = middle.returns([0] * 8, split="eval", seed=4)
    corner.returns([0] * 8, split="eval", seed=4)
    np.testing.assert_array_equal(middle.returns([0] * 8, split="eval", seed=4), before)
