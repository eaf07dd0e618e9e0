"""Tokenizers and action masks of the tasks over letters."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_env import build_letters
from llm_morl_env.tasks.letters import LETTERS, LettersGrammar, letters_file, letters_tokenizer
from llm_morl_env.tokenizer import BUILT_IN
from llm_morl_rewards import Problem

SIZES = range(2, len(LETTERS) + 1)


@pytest.mark.parametrize("letters", SIZES)
def test_the_shipped_files_are_what_the_script_makes(letters):
    assert build_letters.build(letters).to_str(pretty=True) == letters_file(letters).read_text(encoding="utf-8")


def test_the_script_writes_them_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build_letters", str(tmp_path)])
    build_letters.main()
    for letters in SIZES:
        written = tmp_path / letters_file(letters).relative_to(BUILT_IN.parent)
        assert written.read_bytes() == letters_file(letters).read_bytes()
    assert capsys.readouterr().out.count("wrote") == len(SIZES)


@pytest.mark.parametrize("letters", SIZES)
def test_one_token_a_letter(letters):
    tokenizer = letters_tokenizer(letters)
    assert tokenizer.vocab_size == letters + 4
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.encode("?" + LETTERS[:letters]) == list(range(3, letters + 4))
    assert tokenizer.decode(range(letters + 4)) == "?" + LETTERS[:letters]
    assert pickle.loads(pickle.dumps(tokenizer)).encode("ab") == [4, 5]


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "<" not in text))
def test_every_character_is_one_token(text):
    tokenizer = letters_tokenizer(3)
    assert tokenizer.count(text) == len(text)
    assert tokenizer.decode(tokenizer.encode(text)) == "".join(c if c in "abc" else "?" for c in text)


@pytest.mark.parametrize("letters", [1, 9, -2])
def test_sizes_without_a_file(letters):
    with pytest.raises(ValueError, match=rf"letters must lie in 2..8, got {letters}"):
        letters_tokenizer(letters)


@pytest.mark.parametrize(
    ("written", "may_stop", "expected"),
    [
        ("", False, "ab"),
        ("a", False, "ab"),
        ("ab", False, "."),
        ("", True, "ab."),
        ("ab", True, "."),
        ("abb", True, "."),
    ],
)
def test_mask(written, may_stop, expected):
    tokenizer = letters_tokenizer(3)
    grammar = LettersGrammar(tokenizer, letters=2, length=2, may_stop=may_stop)
    mask = grammar.allowed(Problem("?"), tokenizer.encode(written))
    assert mask.dtype == np.bool_
    ids = [tokenizer.eos_id if letter == "." else tokenizer.encode(letter)[0] for letter in expected]
    assert np.flatnonzero(mask).tolist() == sorted(ids)
