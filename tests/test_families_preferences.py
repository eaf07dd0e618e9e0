"""How preferences reach a policy: rounding, words, and weights set apart from the prompt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_agents.families.embedded_preference import MAX_OBJECTIVES, PARTS, token_of, weights_of_token
from llm_morl_agents.families.preferences import (
    PreferenceApart,
    characters_of,
    copies_for,
    label_of,
    on_lattice,
    on_simplex,
    spoken,
    taken_apart,
)
from llm_morl_env import make_task
from llm_morl_env.transforms import PreferenceInPrompt

simplex = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=MAX_OBJECTIVES).map(lambda w: np.array(w) / sum(w))


@given(weights=simplex, parts=st.integers(1, 50))
def test_the_lattice_point_is_one_and_near(weights, parts):
    point = on_lattice(weights, parts)
    np.testing.assert_allclose(point * parts, np.rint(point * parts), atol=1e-9)
    assert point.sum() == pytest.approx(1)
    assert np.abs(point - weights).max() < 1 / parts + 1e-9
    np.testing.assert_array_equal(on_lattice(point, parts), point)


@given(weights=simplex, vocab_size=st.integers(2, 200_000))
def test_a_token_says_its_weights(weights, vocab_size):
    token = token_of(weights, vocab_size)
    assert vocab_size <= token < 2**63
    back = weights_of_token(token, len(weights), vocab_size=vocab_size)
    np.testing.assert_allclose(back, on_lattice(weights, PARTS), atol=1e-12)


@pytest.mark.parametrize("token", [3, 7 + 1001**2, 7 + 500])
def test_other_tokens_are_no_weights(token):
    with pytest.raises(ValueError, match="stands for no preference of 2 objectives"):
        weights_of_token(token, 2, vocab_size=7)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0], [[1.0, 1.0]]])
def test_what_is_no_preference(weights):
    with pytest.raises(ValueError, match="must be 2 non-negative numbers, not all 0"):
        on_simplex(weights, 2)


def test_the_given_weights_stay_as_they_were():
    weights = np.array([3.0, 1.0])
    assert on_simplex(weights, 2).tolist() == [0.75, 0.25]
    assert weights.tolist() == [3.0, 1.0]


def test_words_where_the_tokenizer_has_them_and_characters_elsewhere():
    words = spoken(make_task("summarize"), parts=10)
    assert (words.symbols, words.parts, words.copies) == (None, 10, 1)
    letters = spoken(make_task("dentfront"), parts=10)
    assert (letters.symbols, letters.parts) == (characters_of(make_task("dentfront")), 3)
    assert letters.copies == copies_for(make_task("dentfront")) == 256
    assert spoken(make_task("dentfront"), parts=2).symbols == "abc"
    # Fixed weights are rounded to what can be written, and change no number of a problem.
    fixed = spoken(make_task("dentfront"), parts=10, weights=[0.3, 0.7])
    assert fixed.copies == 1
    task = fixed(make_task("dentfront"))
    assert task[0].prompt == "bc?"
    assert task[0].meta["preference"] == {"a": pytest.approx(1 / 3), "b": pytest.approx(2 / 3)}


def test_training_sees_many_preferences():
    task = spoken(make_task("dentfront"), parts=10)(make_task("dentfront"))
    prompts = {task[i].prompt for i in range(len(task))}
    assert prompts == {"a??", "bc?", "cb?", "?a?"}
    apart = PreferenceApart(parts=10, copies=256)(make_task("dentfront"))
    assert {taken_apart(apart[i].prompt)[0][0] for i in range(256)} == {n / 10 for n in range(11)}


def test_weights_apart_change_nothing_but_the_prompt():
    plain = make_task("summarize").with_split("eval")
    task = PreferenceApart((0.2, 0.3, 0.5))(make_task("summarize")).with_split("eval")
    weights, prompt = taken_apart(task[3].prompt)
    assert weights.tolist() == [0.2, 0.3, 0.5]
    assert prompt == plain[3].prompt
    assert task.max_prompt_tokens == plain.max_prompt_tokens
    answers = [plain[3].meta["gold"], "no"]
    np.testing.assert_array_equal(task.score([task[3]] * 2, answers), plain.score([plain[3]] * 2, answers))
    front = PreferenceApart((0.5, 0.5))(make_task("dentfront")).pareto_front()
    assert front.tolist() == make_task("dentfront").pareto_front().tolist()


def test_one_preference_a_prompt():
    told = PreferenceInPrompt()(make_task("summarize"))
    with pytest.raises(ValueError, match="hold a preference already"):
        PreferenceApart()(told)
    with pytest.raises(ValueError, match="carries no preference"):
        taken_apart("say it")


def test_labels_tell_lattice_points_apart():
    points = [on_lattice([a / 40, 1 - a / 40], 40) for a in range(41)]
    assert len({label_of("soup", point) for point in points}) == 41
    assert label_of("soup", [1, 0]) == "soup 1 0"
