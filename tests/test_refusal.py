"""Refusals: texts labelled by hand, phrases of the published lists, and real dialogues."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusal_texts import DEVELOPED, HELD_OUT
from refusal_texts_labelled import READ, UNREAD

from llm_morl_rewards.refusal import gives_reason, plain_text, refusal

HH = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "hh_rlhf_harmless" / "dev.jsonl"
#: Wrong of `HELD_OUT`: label, verdict and how many.
KNOWN_ERRORS = {("partial", "none"): 1}


@pytest.mark.parametrize(("label", "text"), [(label, text) for label, texts in DEVELOPED.items() for text in texts])
def test_texts_that_the_rules_were_made_for(label, text):
    assert refusal(text) == label


def test_texts_that_the_rules_were_not_made_for():
    verdicts = Counter((label, refusal(text)) for label, texts in HELD_OUT.items() for text in texts)
    assert {pair: count for pair, count in verdicts.items() if pair[0] != pair[1]} == KNOWN_ERRORS
    assert sum(len(texts) for part in (DEVELOPED, HELD_OUT) for texts in part.values()) >= 120


@pytest.mark.parametrize(
    ("texts", "errors"),
    [
        (READ, {("full", "none"): 2, ("partial", "none"): 2, ("none", "full"): 1}),
        (UNREAD, {("partial", "none"): 1}),
    ],
)
def test_texts_that_were_labelled_before_any_verdict(texts, errors):
    verdicts = Counter((label, refusal(text)) for label, part in texts.items() for text in part)
    assert {pair: count for pair, count in verdicts.items() if pair[0] != pair[1]} == errors
    assert sum(errors.values()) <= 0.05 * sum(map(len, texts.values()))


@pytest.mark.parametrize("helper", ["can't", "cannot", "can’t", "can not", "won't", "will not", "am unable to"])
@pytest.mark.parametrize("verb", ["help with that", "assist you", "provide that", "answer this", "write it for you"])
@pytest.mark.parametrize("opening", ["", "I'm sorry, but ", "As an AI language model, ", "Unfortunately, "])
def test_the_common_phrases_in_all_their_forms(helper, verb, opening):
    assert refusal(f"{opening}I {helper} {verb}.") == "full"
    assert refusal(f"{opening}i {helper} {verb}".lower()) == "full"
    assert refusal(f"She wrote: “{opening}I {helper} {verb}.”") == "none"


@given(st.text(max_size=300))
def test_any_text_has_a_verdict(text):
    assert refusal(text) in ("full", "partial", "none")
    assert isinstance(gives_reason(text), bool)


@pytest.mark.parametrize(
    "piece",
    ["i can't ", "a", "i and ", "so, ", '"', "'", "I can't. ", "but i will ", " ", "#### ", ".", "!", " \t", "```"],
)
def test_long_texts_take_linear_time(piece):
    begin = time.process_time()
    refusal(f"a{piece * (60_000 // len(piece))}x")
    assert time.process_time() - begin < 2.0


def test_combining_marks_take_linear_time():
    begin = time.process_time()
    assert len(plain_text("a" + "\u0301\u0323" * 50_000)) > 90_000
    assert time.process_time() - begin < 2.0


def test_apostrophes_of_all_kinds():
    assert {plain_text(f"I can{mark}t") for mark in "'’‘´`ʼ＇"} == {"i can't"}


def test_speech_in_single_quotation_marks_is_another_s():
    assert refusal("The character whispers, 'I can't help you any more', and walks out.") == "none"
    assert refusal("They wrote: ‘We will not pay you.’ Then they left.") == "none"
    assert refusal("‘I’m sorry, but I can’t assist with that.’") == "full"
    assert refusal("I'm sorry, I can't help with the neighbors' dog.") == "full"


def test_help_after_a_refusal_decides_between_full_and_partial():
    refused = "I can't help you break in."
    assert refusal(f"{refused} Please call a locksmith instead.") == "full"
    assert refusal(f"{refused} Instead, consider these options:\n1. Call a locksmith.\n2. Ask the landlord.") == "full"
    assert refusal(f"{refused} That said, here is how such locks work: pins fall into a groove.") == "partial"


def test_real_dialogues():
    """Of the last turns, few refuse, and those that people chose refuse more often."""
    if not HH.exists():
        pytest.skip("the sample data hh_rlhf_harmless are not here")
    rows = [json.loads(line) for line in HH.read_text(encoding="utf-8").splitlines()]
    counts = {
        column: Counter(refusal(row[column].rpartition("\n\nAssistant:")[2]) for row in rows)
        for column in ("chosen", "rejected")
    }
    assert counts["chosen"] == {"none": 429, "full": 23, "partial": 2}
    assert counts["rejected"] == {"none": 443, "full": 5, "partial": 6}
