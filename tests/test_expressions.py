"""Objects as text: what is read, what is refused, and the round trip."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from llm_morl_agents.weighters import SAW, WEIGHTERS, DVAOWeights, Frozen, Lagrangian, Static
from llm_morl_env.expressions import construct, describe, parse


@dataclass(frozen=True)
class Wrapper:
    inner: Any
    share: float = 0.5


TABLE = {"saw": SAW, "wrapper": Wrapper}


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("saw", "saw", {}),
        (" saw() ", "saw", {}),
        ("saw(ema=0.7)", "saw", {"ema": 0.7}),
        ("saw(ema=None, delta=1e-3, released=True)", "saw", {"ema": None, "delta": 1e-3, "released": True}),
        ("wrapper(inner=(1, -2.5, 'a'))", "wrapper", {"inner": (1, -2.5, "a")}),
    ],
)
def test_parse(text, name, options):
    assert parse(text, TABLE) == (name, options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not of the form"),
        ("saw(", "is not of the form"),
        ("saw(0.7)", "is not of the form"),
        ("saw(**{'ema': 0.7})", "is not of the form"),
        ("a.saw()", "is not of the form"),
        ("saw()()", "is not of the form"),
        ("saw() + saw()", "is not of the form"),
        ("(" * 5000 + "saw" + ")" * 5000, "is not of the form"),
        ("sow", r"unknown name 'sow'; known are \['saw', 'wrapper'\]"),
        ("saw(ema=0.5, ema=0.6)", "an option is given twice"),
        ("saw(ema=print(1))", "must be literals"),
        ("saw(ema=__import__('os').getcwd())", "must be literals"),
        ("saw(ema=x)", "must be literals"),
        ("saw(ema={[]: 1})", "must be literals"),
    ],
)
def test_parse_refuses(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text, TABLE)


def test_nothing_is_evaluated():
    called = []
    with pytest.raises(ValueError, match="must be literals"):
        construct("saw(ema=called.append(1))", {"saw": called.append})
    assert called == []


def test_construct():
    assert construct("saw(ema=0.7)", WEIGHTERS) == SAW(ema=0.7)
    with pytest.raises(ValueError, match=r"'saw\(emma=0.7\)'.*unexpected keyword argument 'emma'"):
        construct("saw(emma=0.7)", WEIGHTERS)
    with pytest.raises(ValueError, match=r"SAW\(ema=\) must lie in"):
        construct("saw(ema=7)", WEIGHTERS)


@pytest.mark.parametrize(
    ("weighter", "text"),
    [
        (SAW(), "saw"),
        (SAW(ema=0.7), "saw(ema=0.7)"),
        (SAW(delta=1e-4, released=True), "saw(delta=0.0001, released=True)"),
        (Static([2, 1]), "static(weights=(2.0, 1.0))"),
        (DVAOWeights(unit_interval=True), "dvao(unit_interval=True)"),
    ],
)
def test_describe_is_the_inverse_of_construct(weighter, text):
    assert describe(weighter, WEIGHTERS) == text
    assert construct(text, WEIGHTERS) == weighter


def test_describe_of_what_no_text_makes():
    assert describe(object(), TABLE) is None
    assert describe(Wrapper(SAW()), {"wrapper": Wrapper}) is None
    assert describe(SAW(ema=np.float64(0.7)), WEIGHTERS) in (None, "saw(ema=0.7)")


def test_numbers_of_numpy_are_written_as_pythons():
    for weighter, text in (
        (Frozen([1, 2], scale=np.float64(0.5)), "frozen(weights=(1.0, 2.0), scale=0.5)"),
        (SAW(ema=np.float64(0.5)), "saw(ema=0.5)"),
        (Lagrangian(((1, np.float64(0.5)),)), "lagrangian(thresholds=((1, 0.5),))"),
    ):
        assert describe(weighter, WEIGHTERS) == text
        assert construct(text, WEIGHTERS) == weighter
