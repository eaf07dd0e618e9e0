"""Rewards of summaries: clauses and every way to game them, ROUGE, source precision, compression."""

import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from llm_morl_rewards import Problem, RewardError, RewardVector
from llm_morl_rewards import summary as module
from llm_morl_rewards.summary import (
    ROUGE_TYPES,
    compression,
    fact_coverage,
    fact_precision,
    join_clauses,
    key_fact_coverage,
    key_fact_faithfulness,
    rouge_f1,
    rouge_reward,
    rouge_words,
    source_faithfulness,
    source_precision,
    split_clauses,
)
from llm_morl_rewards.text import count_words

FACTS = {"color": "red", "size": "small", "maker": "paris"}
DOCUMENT = "the color of the lamp is red. the size of the lamp is small. the maker of the lamp is paris."
WORDS = st.text(alphabet="ab", min_size=1, max_size=2)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("text", "told", "clauses"),
    [
        ("color red; size small; maker paris", 3, 3),
        ("maker paris; color red; size small", 3, 3),  # in any order
        ("\n color red; size small ", 2, 2),
        ("color red", 1, 1),
        ("", 0, 0),
        (" \n", 0, 0),
        # Repetition: no gain in coverage, a loss in faithfulness.
        ("color red; color red", 1, 2),
        ("color red; " * 4 + "color red", 1, 5),
        # Contradiction, guessing several values: the key counts for nothing.
        ("color red; color blue", 0, 2),
        ("color blue; color red; size small", 1, 3),
        ("color red; color blue; color green; color black", 0, 4),
        # Several values or several facts in one clause.
        ("color red blue", 0, 1),
        ("color red size small maker paris", 0, 1),
        ("color size maker red small paris", 0, 1),
        ("red; small; paris", 0, 3),
        # The document, a sentence of it, and its words.
        (DOCUMENT, 0, 1),
        (DOCUMENT.replace(". ", "; "), 0, 3),
        ("the color of the lamp is red", 0, 1),
        # A value of something else, a key that the item lacks, the wrong way round.
        ("color small; size red", 0, 2),
        ("price red; color red", 1, 2),
        ("red color", 0, 1),
        # The form: separators and case are exact, empty clauses are clauses.
        ("color red;size small", 0, 1),
        ("color red, size small", 0, 1),
        ("color red;", 0, 1),
        ("; color red", 1, 2),
        ("color red; ; size small", 2, 3),
        ("color  red", 0, 1),
        ("Color Red", 0, 1),
        ("color red.", 0, 1),
        ("color", 0, 1),
        ("<think>x</think>color red", 0, 1),
        ("\ud800; color red", 1, 2),
    ],
)
def test_what_summaries_earn(text, told, clauses):
    assert fact_coverage(text, FACTS) == told / 3
    assert fact_precision(text, FACTS) == (told / clauses if clauses else 0.0)
    assert len(split_clauses(text)) == clauses
    problem = Problem("", {"facts": FACTS})
    assert RewardVector([key_fact_coverage, key_fact_faithfulness])([problem], [text])[0].tolist() == [
        fact_coverage(text, FACTS),
        fact_precision(text, FACTS),
    ]


@given(st.dictionaries(WORDS, WORDS, min_size=1, max_size=5), st.lists(st.tuples(WORDS, WORDS), max_size=6))
def test_more_clauses_never_make_a_summary_more_faithful_than_its_right_ones(facts, said):
    text = "; ".join(f"{key} {value}" for key, value in said)
    coverage, precision = fact_coverage(text, facts), fact_precision(text, facts)
    assert 0.0 <= coverage <= 1.0
    assert 0.0 <= precision <= 1.0
    assert coverage * len(facts) == pytest.approx(precision * len(said))
    assert split_clauses(text) == said
    gold = join_clauses(facts)
    assert fact_coverage(gold, facts) == fact_precision(gold, facts) == 1.0
    assert fact_precision(f"{gold}; {gold}", facts) == 0.5


def test_coverage_needs_facts():
    with pytest.raises(ValueError, match="at least one fact"):
        fact_coverage("color red", {})


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_rouge_is_the_best_over_references_and_rouge_scores_own(summary, references):
    scores = rouge_f1(summary, references)
    scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=False)
    for kind in ROUGE_TYPES:
        assert scores[kind] == max(scorer.score(reference, summary)[kind].fmeasure for reference in references)
    problem = Problem("", {"references": references})
    assert rouge_reward("coverage")(problem, summary) == pytest.approx(np.mean(list(scores.values())))
    assert rouge_reward("rouge2")(problem, summary) == scores["rouge2"]


@given(st.text(max_size=40))
def test_words_are_those_of_rouge_score(text):
    assert rouge_words(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)


def test_rouge_does_not_stem():
    assert rouge_f1("models", ["model"])["rouge1"] == 0.0


def test_rouge_of_reference_values():
    # "the cat sat" against "the cat ran": unigrams 2/3, bigrams 1/2, subsequence "the cat" 2/3.
    assert rouge_f1("The cat sat.", ["the cat ran"]) == pytest.approx({"rouge1": 2 / 3, "rouge2": 0.5, "rougeL": 2 / 3})
    assert rouge_f1("cat the", ["the cat"]) == pytest.approx({"rouge1": 1.0, "rouge2": 0.0, "rougeL": 0.5})
    assert set(rouge_f1("", ["the cat"]).values()) == {0.0}


def test_errors_of_rouge():
    with pytest.raises(ValueError, match="at least one reference"):
        rouge_f1("a", [])
    with pytest.raises(ValueError, match=r"rouge_reward\(name=\) must be one of .*, got 'rouge7'"):
        rouge_reward("rouge7")


def test_without_rouge_score_the_extra_is_named(monkeypatch):
    module._scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(ImportError, match=r"rouge-score: pip install 'llm-morl-env\[text\]'"):
        rouge_reward("rouge1")


@pytest.mark.parametrize(
    ("summary", "n", "expected"),
    [
        ("the cat sat", 2, 1.0),
        ("The CAT, sat!", 2, 1.0),
        ("the cat ran", 2, 0.5),
        ("dogs run away", 2, 0.0),
        ("the cat the cat the cat", 2, 0.2),  # repeated beyond the source
        ("the cat the cat the cat", 1, 1 / 3),
        ("sat", 2, 0.0),
        ("", 1, 0.0),
        ("cat sat the", 1, 1.0),
        ("cat sat the", 2, 0.5),
        ("the cat sat", 3, 1.0),
    ],
)
def test_source_precision(summary, n, expected):
    assert source_precision(summary, "The cat sat.", n) == pytest.approx(expected)


def test_references_support_too():
    assert source_precision("the cat rested", "the cat sat", references=["a cat rested"]) == 1.0
    # The most of them, not the sum: once in the source and once in the reference is once.
    assert source_precision("the cat the cat", "the cat", references=["the cat"]) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match=r"source_precision\(n=\) must be at least 1, got 0"):
        source_precision("a", "a", 0)


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=2), st.integers(1, 3))
def test_source_precision_is_a_share_and_references_only_help(summary, source, references, n):
    plain, helped = source_precision(summary, source, n), source_precision(summary, source, n, references)
    assert 0.0 <= plain <= helped <= 1.0
    if len(rouge_words(summary)) >= n:
        assert source_precision(summary, summary, n) == source_precision(summary, source, n, [summary]) == 1.0


def test_a_copied_source_is_faithful_and_no_more():
    problem = Problem("", {"source": "a b c d e f g h", "references": ["c d"]}, {"document_tokens": 8})
    rewards = RewardVector([rouge_reward("coverage"), source_faithfulness, compression(count_words)])
    copied, gold = rewards([problem] * 2, ["a b c d e f g h", "c d"])
    assert copied[1] == gold[1] == 1.0
    assert copied[2] == 0.0
    assert copied[0] < gold[0] == 1.0


def test_rewards_are_picklable_and_named():
    rewards = RewardVector(
        [rouge_reward("rouge1"), rouge_reward("coverage"), key_fact_faithfulness, compression(len, "n")]
    )
    again = pickle.loads(pickle.dumps(rewards))
    assert again.names == ("rouge1", "coverage", "faithfulness", "conciseness")
    assert (again.low == 0).all()
    assert (again.high == 1).all()
    problem = Problem("", {"references": ["a b"], "facts": {"a": "b"}}, {"n": 6})
    assert again([problem], ["a b"]).tolist() == rewards([problem], ["a b"]).tolist() == [[1.0, 1.0, 1.0, 0.5]]


@pytest.mark.parametrize(("length", "expected"), [(4, 0.25), (3, 0.0), (2, 0.0), (30, 0.9)])
def test_compression(length, expected):
    assert compression(len, "n")(Problem("", meta={"n": length}), "abc") == pytest.approx(expected)


@pytest.mark.parametrize("length", [0, -1, float("inf"), float("nan"), "7", True, None])
def test_compression_refuses_what_is_no_length(length):
    with pytest.raises(ValueError, match="'n' must be positive and finite"):
        compression(len, "n")(Problem("", meta={"n": length}), "abc")


def test_errors_of_compression():
    with pytest.raises(TypeError, match="must be a callable"):
        compression("words")
    with pytest.raises(RewardError, match="meta has no such entry, only"):
        RewardVector([compression(len)])([Problem("", meta={"m": 1})], ["x"])
