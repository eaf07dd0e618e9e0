"""What differs between settings, in few words."""

from __future__ import annotations

import numpy as np
import pytest

from llm_morl_agents.fronts.naming import MOST_TOLD, VALUE_LENGTH, elided, told_apart


@pytest.mark.parametrize("draw", range(30))
def test_texts_are_equal_where_settings_are(draw):
    generator = np.random.default_rng(draw)
    n_names = int(generator.integers(1, 9))
    settings = [
        {f"name{at}": int(generator.integers(3)) for at in range(n_names) if generator.random() < 0.9} for _ in range(5)
    ]
    settings = [{"same": 1, **own} for own in (*settings, settings[0])]
    texts = told_apart(settings)
    differing = {name for own in settings for name in own if len({str(other.get(name)) for other in settings}) > 1}
    for one, first in zip(settings, texts, strict=True):
        assert "same" not in first
        assert first.count("=") <= MOST_TOLD
        assert ("…" in first) == (len(differing) > MOST_TOLD)
        for two, second in zip(settings, texts, strict=True):
            assert first == second if one == two else (first != second or len(differing) > MOST_TOLD)


def test_of_many_differences_those_are_told_that_tell_most():
    settings = [{"a": i // 4, "b": i // 2, "c": i, "d": i % 2, "e": i % 3} for i in range(6)]
    assert told_apart(settings) == [f"c={i}, …" for i in range(6)]


def test_none_is_a_value_and_nested_values_are_compared_whole():
    assert told_apart([{"max_cpu_seconds": None}, {"max_cpu_seconds": 5}]) == [
        "max_cpu_seconds=None",
        "max_cpu_seconds=5",
    ]
    assert told_apart([{"net": {"a": 1, "b": 2}}, {"net": {"b": 2, "a": 1}}]) == ["", ""]
    assert told_apart([{}]) == [""]


def test_long_values_keep_both_ends():
    text = "/somewhere/far/away/candidates-standard.jsonl"
    short = elided(text, VALUE_LENGTH)
    assert len(short) == VALUE_LENGTH
    head, tail = short.split("…")
    assert text.startswith(head)
    assert text.endswith(tail)
    for length in range(1, len(text) + 2):
        assert len(elided(text, length)) == min(length, len(text))
