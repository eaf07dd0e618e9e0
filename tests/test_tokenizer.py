"""The tokenizer: lossless, tags stay, specials go, and the shipped file is what the script makes."""

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env import build_tokenizer
from llm_morl_env.tokenizer import BOS, BUILT_IN, EOS, PAD, SPECIALS, TAGS, TextTokenizer

TOKENIZER = TextTokenizer()
#: Any text that UTF-8 holds, mixed with the structural texts.
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from([*TAGS, '{"name": "', '": "', "\n", "  ", "42"])
).map("".join)


def without_specials(text: str) -> bool:
    return not any(special in text for special in SPECIALS)


def test_the_shipped_file_is_what_the_script_makes() -> None:
    assert build_tokenizer.build().to_str(pretty=True) == BUILT_IN.read_text(encoding="utf-8")


def test_size_and_order() -> None:
    assert TOKENIZER.vocab_size <= 1024
    vocabulary = json.loads(BUILT_IN.read_text(encoding="utf-8"))["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(TOKENIZER.vocab_size))
    assert [vocabulary[name] for name in (*SPECIALS, *TAGS)] == list(range(len(SPECIALS) + len(TAGS)))
    assert (TOKENIZER.pad_id, TOKENIZER.bos_id, TOKENIZER.eos_id) == (0, 1, 2)


@settings(deadline=None)
@given(TEXTS.filter(without_specials))
def test_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@settings(deadline=None)
@given(TEXTS)
def test_encodings_are_canonical_and_never_hold_unknown_ids(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert all(0 <= i < TOKENIZER.vocab_size for i in ids)
    assert TOKENIZER.count(text) == len(ids)
    if without_specials(text):
        assert TOKENIZER.encode(TOKENIZER.decode(ids)) == ids


@settings(deadline=None)
@given(TEXTS.filter(without_specials), st.integers(0, 20))
def test_truncate(text: str, cap: int) -> None:
    cut, was_cut = TOKENIZER.truncate(text, cap)
    assert was_cut == (TOKENIZER.count(text) > cap)
    if not was_cut:
        assert cut == text
    elif "\ufffd" not in cut:  # the cut may fall inside a character
        assert text.startswith(cut)
        assert TOKENIZER.count(cut) <= cap


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_is_one_token_and_survives(tag: str) -> None:
    ids = TOKENIZER.encode(f"a{tag}b")
    assert len(TOKENIZER.encode(tag)) == 1
    assert TOKENIZER.encode(tag)[0] in ids
    assert TOKENIZER.decode(ids) == f"a{tag}b"


@pytest.mark.parametrize("special", [TOKENIZER.pad_id, TOKENIZER.bos_id, TOKENIZER.eos_id])
def test_specials_vanish(special: int) -> None:
    assert TOKENIZER.decode([special, *TOKENIZER.encode("a b"), special]) == "a b"


def test_encode_adds_no_specials() -> None:
    assert TOKENIZER.encode("") == []
    assert not {TOKENIZER.pad_id, TOKENIZER.bos_id, TOKENIZER.eos_id} & set(TOKENIZER.encode("hello, world"))


def test_digits_stand_alone() -> None:
    assert [TOKENIZER.decode([i]) for i in TOKENIZER.encode("120.75")] == ["1", "2", "0", ".", "7", "5"]


def test_lone_surrogates_become_question_marks() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a?b"


def test_token_texts() -> None:
    texts = TOKENIZER.token_texts()
    assert len(texts) == TOKENIZER.vocab_size
    assert texts[TOKENIZER.eos_id] == ""
    assert set(TAGS) <= set(texts)
    ids = TOKENIZER.encode('set "a b" to 7\n')
    assert "".join(texts[i] for i in ids) == 'set "a b" to 7\n'


def test_copies_are_the_same_tokenizer() -> None:
    again = pickle.loads(pickle.dumps(TOKENIZER))
    assert again.encode("wake me up at 7") == TOKENIZER.encode("wake me up at 7")
    assert copy.deepcopy(TOKENIZER) is TOKENIZER


def test_other_files(tmp_path) -> None:
    copied = tmp_path / "tokenizer.json"
    copied.write_bytes(BUILT_IN.read_bytes())
    for path in (copied, tmp_path, str(tmp_path)):
        assert TextTokenizer(path).encode("hello") == TOKENIZER.encode("hello")
    with pytest.raises(FileNotFoundError, match="no such file"):
        TextTokenizer(tmp_path / "other.json")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a tokenizers file"):
        TextTokenizer(tmp_path / "broken.json")


def test_specials_of_other_makers_are_found(tmp_path) -> None:
    content = BUILT_IN.read_text(encoding="utf-8").replace(EOS, "<|im_end|>").replace(PAD, "<|endoftext|>")
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    assert (TextTokenizer(tmp_path).pad_id, TextTokenizer(tmp_path).eos_id) == (0, 2)


def test_a_vocabulary_without_an_end_is_an_error(tmp_path) -> None:
    content = BUILT_IN.read_text(encoding="utf-8").replace(EOS, "<fin>")
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        TextTokenizer(tmp_path)


def test_the_end_stands_in_for_missing_specials(tmp_path) -> None:
    content = BUILT_IN.read_text(encoding="utf-8").replace(PAD, "<nil>").replace(BOS, "<go>")
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    tokenizer = TextTokenizer(tmp_path)
    assert (tokenizer.pad_id, tokenizer.bos_id) == (tokenizer.eos_id, tokenizer.eos_id)


@pytest.mark.parametrize("piece", ["a", "hello there ", '{"name": "', "é", "<tool_call>"])
def test_long_texts_are_cut_as_short_ones(piece: str) -> None:
    assert TOKENIZER.truncate(piece * 100_000, 6) == TOKENIZER.truncate(piece * 100, 6)
