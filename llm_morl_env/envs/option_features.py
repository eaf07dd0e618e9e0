"""What the options of the index view are, in which order, and what an agent is told of them.

Everything here is computed from tokens: those that may follow, those that were read and written, and, where there is
one, what a language model says. No task, problem or reward is looked at.

Shapes: V vocabulary, S tokens of the source (what was read before the response), T tokens written since, n valid
tokens, k options, F features of an option.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tokenizer import TextTokenizer

#: Features of an option, in order; see `option_features`.
FEATURES = ("valid", "log_prob", "is_end", "is_mark", "in_source", "continues_copy", "position", "in_response")
#: Log-probabilities are divided by this, and cut at -1.
LOG_PROB_SCALE = 10.0
#: Log-probabilities are rounded to so many decimals: what a model says of a context differs in the last bits with the
#: other contexts of its batch.
LOG_PROB_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class TokenKinds:
    """What the texts of a vocabulary's tokens say of themselves.

    Args:
        same: int64 (V,), the smallest id whose text is the same but for spaces around it: a word is copied whether or
            not a space stands before it.
        is_mark: bool (V,), whether a token is punctuation: its text has no letters, no digits, and is not blank. The
            end-of-sequence token is one.
        length: int64 (V,) of the texts, in characters; the end-of-sequence token's is longer than any.
    """

    same: NDArray[np.int64]
    is_mark: NDArray[np.bool_]
    length: NDArray[np.int64]


def token_kinds(tokenizer: TextTokenizer) -> TokenKinds:
    """The kinds of a tokenizer's tokens; those of a file are found once in a process."""
    return _kinds_of_file(str(tokenizer.path))


@lru_cache(8)
def _kinds_of_file(path: str) -> TokenKinds:
    tokenizer = TextTokenizer(path)
    texts = ["" if "\ufffd" in text else text for text in tokenizer.token_texts()]  # parts of characters
    first: dict[str, int] = {}
    same = [first.setdefault(text.strip() or text, i) if text else i for i, text in enumerate(texts)]
    is_mark = np.array([bool(text.strip()) and not any(map(str.isalnum, text)) for text in texts], np.bool_)
    length = np.array([len(text) for text in texts], np.int64)
    is_mark[tokenizer.eos_id], length[tokenizer.eos_id] = True, length.max() + 1
    return TokenKinds(np.array(same, np.int64), is_mark, length)


@dataclass(frozen=True, eq=False)
class Source:
    """What can be copied: the tokens read before a response.

    Args:
        ids: int64 (S,), with words and their variants with a space as one; see `TokenKinds`.
        last: int64 (V,), where each stands last, counted from 1; 0 for those that do not occur.
    """

    ids: NDArray[np.int64]
    last: NDArray[np.int64]


def read_source(ids: NDArray[np.int64], kinds: TokenKinds) -> Source:
    """The source that (S,) tokens are."""
    same = kinds.same[ids]
    last = np.zeros(len(kinds.same), np.int64)
    last[same] = np.arange(1, len(ids) + 1)  # of several places, the last is kept
    return Source(same, last)


def continues_copy(tokens: NDArray[np.int64], previous: int, source: Source, kinds: TokenKinds) -> NDArray[np.bool_]:
    """Whether the source has each of (n,) tokens right behind a token ``previous``, bool (n,)."""
    followers = source.ids[1:][source.ids[:-1] == kinds.same[previous]]
    if not len(followers):
        return np.zeros(len(tokens), np.bool_)
    matches: NDArray[np.bool_] = (kinds.same[tokens][:, None] == followers).any(axis=1)
    return matches


def rank_by_source(
    valid: NDArray[np.int64], k: int, previous: int, source: Source, kinds: TokenKinds
) -> NDArray[np.int64]:
    """The first k valid tokens, by what the source offers.

    Up to k valid tokens are all taken, by id. Of more, those come first that continue a copy of the source (the latest
    first); then, in turn, one of the others that occur in it (the latest first) and one of the marks that do not (the
    longest first: the end-of-sequence token, then punctuation that closes several things at once); then the rest by id.

    Args:
        valid: int64 (n,), ascending.
        k: How many to take at most.
        previous: The token before.
        source: What was read.
        kinds: Of the vocabulary.

    Returns:
        int64 (min(k, n),).
    """
    if len(valid) <= k:
        return valid
    copies = continues_copy(valid, previous, source, kinds)
    last = source.last[kinds.same[valid]]
    occurs = (last > 0) & ~copies
    marks = kinds.is_mark[valid] & ~copies & ~occurs
    latest_first = valid[occurs][np.argsort(-last[occurs], kind="stable")]
    longest_first = valid[marks][np.argsort(-kinds.length[valid[marks]], kind="stable")]
    ordered = [
        valid[copies][np.argsort(-last[copies], kind="stable")],
        _in_turn(latest_first[:k], longest_first[:k]),
        valid[~copies & ~occurs & ~marks][:k],
    ]
    return np.concatenate(ordered)[:k]


def _in_turn(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Elements of two arrays in turn, then those left of the longer.

    >>> _in_turn(np.array([1, 3]), np.array([2, 4, 5, 6])).tolist()
    [1, 2, 3, 4, 5, 6]
    """
    place = np.concatenate([2 * np.arange(len(one)), 2 * np.arange(len(other)) + 1])
    return np.concatenate([one, other])[np.argsort(place)]


def rank_by_model(valid: NDArray[np.int64], k: int, log_probs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The k most likely valid tokens, the most likely first.

    Args:
        valid: int64 (n,), ascending.
        k: How many to take at most.
        log_probs: float32 (V,), rounded already; of equal ones the smaller id comes first.

    Returns:
        int64 (min(k, n),).

    >>> rank_by_model(np.array([0, 2, 3, 4]), 2, np.array([-3.0, -0.1, -2.0, -2.0, -5.0], np.float32)).tolist()
    [2, 3]
    """
    values = log_probs[valid]
    if len(valid) > k:
        enough = values >= np.partition(values, len(valid) - k)[len(valid) - k]
        valid, values = valid[enough], values[enough]
    return valid[np.argsort(-values, kind="stable")][:k]


def option_features(
    options: NDArray[np.int64],
    k: int,
    *,
    written: NDArray[np.int64],
    previous: int,
    source: Source,
    kinds: TokenKinds,
    eos_id: int,
    log_probs: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Features of the options, those of an option side by side; zeros for the options that there are not.

    In the order of `FEATURES`: 1 for every option that there is; its log-probability under the model, divided by
    `LOG_PROB_SCALE` and cut at -1 (0 without a model); whether it is the end-of-sequence token; whether it is a mark
    (`TokenKinds`); whether it occurs in the source; whether it continues a copy of the source, that is, stands there
    behind the token written last; where it stands there last, as a share of the source's length; and whether it was
    written before. Words count as equal with and without a space before them.

    Args:
        options: int64 (n,), n up to k.
        k: Number of options.
        written: int64 (T,), the tokens that the response begins with.
        previous: The token before the option.
        source: What was read.
        kinds: Of the vocabulary.
        eos_id: The end-of-sequence token.
        log_probs: float32 (V,) of the next token; None without a model.

    Returns:
        float32 (k * F,), in [-1, 1].
    """
    same = kinds.same[options]
    last = source.last[same]
    features = np.zeros((k, len(FEATURES)), np.float32)
    rows = features[: len(options)]
    rows[:, 0] = 1.0
    if log_probs is not None:
        rows[:, 1] = np.maximum(log_probs[options] / LOG_PROB_SCALE, -1.0)
    rows[:, 2] = options == eos_id
    rows[:, 3] = kinds.is_mark[options]
    rows[:, 4] = last > 0
    rows[:, 5] = continues_copy(options, previous, source, kinds)
    rows[:, 6] = last / max(len(source.ids), 1)
    rows[:, 7] = (same[:, None] == kinds.same[written]).any(axis=1)
    return features.reshape(-1)
