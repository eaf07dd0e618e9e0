"""What is seen of candidate responses to a prompt: how sure their writer was, how they agree, what they copy.

Nothing here knows a task: no reward, no parser, no gold answer. A feature is computed from the prompt's tokens, the
candidates' tokens and the log-probabilities that they were written with, so it says what an answer looks like, not what
it is worth. Candidates of equal features may have any scores.

Shapes: k candidates, F features of each, G of the prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.language_model import Candidate
from llm_morl_env.tokenizer import TAGS, TextTokenizer

Floats = NDArray[np.float64]

#: Features of a candidate in their order, each with its centre and its scale: ``(value - centre) / scale`` is shown.
#: The constants are mean and deviation over candidates of the embedded model for ToolCall-MO-v0, rounded.
FEATURES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "mean_log_prob": (-0.3, 0.25),
        "least_log_prob": (-3.4, 2.2),
        "opening_log_prob": (-2.3, 1.5),
        "last_log_prob": (-0.2, 0.5),
        "closing_log_prob": (-1.4, 2.0),
        "finished": (0.5, 0.5),
        "length": (0.7, 0.2),
        "same_text": (0.15, 0.05),
        "overlap": (0.5, 0.15),
        "in_prompt": (0.3, 0.1),
        "pairs_in_prompt": (0.03, 0.03),
        "copied_above_mean": (0.0, 0.05),
        "same_form": (0.5, 0.3),
        "form_overlap": (0.75, 0.2),
        "form_size": (3.5, 0.9),
        "form_above_median": (0.0, 0.9),
        "log_prob_rank": (0.5, 0.3),
        "mean_log_prob_rank": (0.5, 0.3),
        "length_rank": (0.5, 0.3),
        "copied_rank": (0.5, 0.25),
    }
)
#: Features of the prompt, likewise.
PROMPT_FEATURES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"prompt_length": (80.0, 40.0), "prompt_once": (0.3, 0.15)}
)
#: Shown values are cut there.
LIMIT = 5.0
#: Tokens of an answer's opening and closing.
OPENING, CLOSING = 4, 6


def candidate_features(
    prompt_ids: Sequence[int],
    candidates: Sequence[Candidate],
    text_ids: Sequence[Sequence[int]],
    tags: Collection[int] = (),
) -> NDArray[np.float32]:
    """The features of k candidates, float32 (k, F), within plus and minus `LIMIT`; the order of `FEATURES`.

    - Log-probabilities under the writer: mean, least, of the opening (sum over the first `OPENING` tokens), of the last
      token and of the closing. Whether it ``finished`` by itself.
    - ``length`` in tokens relative to the longest, in eighths: exact shares, or totals beside means, would tell the
      number of tokens, and with it the score of an objective that counts them.
    - Agreement: ``same_text``, the share of candidates with the same text (self-consistency, Wang et al. 2023);
      ``overlap``, the mean Jaccard index of its set of tokens with those of the others; the same of its form, which is
      its sequence of structural tags; how many different tags it has, and how many more tags than the median.
    - Copying: shares of its tokens and of its pairs of neighbours that occur in the prompt; how much more it has of
      the tokens that occur once in the prompt (the request's own words, as a rule) than candidates have on average.
    - Ranks among the candidates, in [0, 1], ties in the middle.

    Permuting the candidates permutes the rows.

    Args:
        prompt_ids: Tokens of the prompt.
        candidates: k responses; their texts are not looked at but for equality.
        text_ids: Tokens of the texts.
        tags: Token ids that structure texts; see `structural_tags`.

    Raises:
        ValueError: If ``candidates`` and ``text_ids`` differ in length.

    >>> silent = Candidate("", np.zeros(0, np.float32), np.zeros(0, np.float32), finished=True)
    >>> candidate_features([5, 6], [silent, silent], [[], []]).shape == (2, len(FEATURES))
    True
    """
    if len(candidates) != len(text_ids):
        raise ValueError(f"{len(candidates)} candidates need as many text_ids, got {len(text_ids)}")
    log_probs = [np.asarray(c.log_probs, np.float64) if len(c.log_probs) else np.zeros(1) for c in candidates]
    total, mean = _each(log_probs, np.sum), _each(log_probs, np.mean)
    lengths = np.array([len(c.log_probs) for c in candidates], np.float64)
    forms = [tuple(token for token in ids if token in tags) for ids in text_ids]
    form_sizes = np.array([len(form) for form in forms], np.float64)
    prompt, pairs = set(prompt_ids), set(_pairs(prompt_ids))
    once = _once(prompt_ids)
    copied = np.array([len(once.intersection(ids)) / max(1, len(once)) for ids in text_ids])
    raw: dict[str, Floats] = {
        "mean_log_prob": mean,
        "least_log_prob": _each(log_probs, np.min),
        "opening_log_prob": np.array([values[:OPENING].sum() for values in log_probs]),
        "last_log_prob": np.array([values[-1] for values in log_probs]),
        "closing_log_prob": np.array([values[-CLOSING:].sum() for values in log_probs]),
        "finished": np.array([c.finished for c in candidates], np.float64),
        "length": np.round(8 * lengths / max(1.0, lengths.max())) / 8,
        "same_text": _share([c.text for c in candidates]),
        "overlap": _overlap([set(ids) for ids in text_ids]),
        "in_prompt": np.array([_share_in(ids, prompt) for ids in text_ids]),
        "pairs_in_prompt": np.array([_share_in(_pairs(ids), pairs) for ids in text_ids]),
        "copied_above_mean": copied - copied.mean(),
        "same_form": _share(forms),
        "form_overlap": _overlap([set(form) for form in forms]),
        "form_size": np.array([len(set(form)) for form in forms], np.float64),
        "form_above_median": form_sizes - np.median(form_sizes),
        "log_prob_rank": _ranks(total),
        "mean_log_prob_rank": _ranks(mean),
        "length_rank": _ranks(lengths),
        "copied_rank": _ranks(copied),
    }
    return _shown(raw, FEATURES)


def prompt_features(prompt_ids: Sequence[int]) -> NDArray[np.float32]:
    """The features of a prompt, float32 (G,): its length in tokens, and the share of them that occur once.

    >>> prompt_features([7] * 80).tolist()
    [0.0, -2.0]
    """
    length = len(prompt_ids)
    raw = {"prompt_length": np.array(length), "prompt_once": np.array(len(_once(prompt_ids)) / max(1, length))}
    return _shown(raw, PROMPT_FEATURES)


def structural_tags(tokenizer: TextTokenizer) -> frozenset[int]:
    """Ids of the structural tags (`llm_morl_env.tokenizer.TAGS`) that are tokens of a vocabulary.

    >>> len(structural_tags(TextTokenizer())) == len(TAGS)
    True
    """
    encoded = ((tag, tokenizer.encode(tag)) for tag in TAGS)
    return frozenset(ids[0] for tag, ids in encoded if len(ids) == 1 and tokenizer.decode(ids) == tag)


def _shown(raw: Mapping[str, Floats], table: Mapping[str, tuple[float, float]]) -> NDArray[np.float32]:
    columns = [(raw[name] - centre) / scale for name, (centre, scale) in table.items()]
    return np.clip(np.stack(columns, axis=-1), -LIMIT, LIMIT).astype(np.float32)


def _each(arrays: Sequence[Floats], function: Callable[[Floats], float]) -> Floats:
    return np.array([function(values) for values in arrays])


def _pairs(ids: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(ids))


def _once(ids: Sequence[int]) -> set[int]:
    return {token for token, count in Counter(ids).items() if count == 1}


def _share(values: Sequence[Hashable]) -> Floats:
    """Of each value the share of all that equal it."""
    counts = Counter(values)
    return np.array([counts[value] / len(values) for value in values])


def _share_in(values: Sequence[Hashable], known: Collection[Hashable]) -> float:
    return sum(value in known for value in values) / max(1, len(values))


def _overlap(sets: Sequence[set[int]]) -> Floats:
    """Mean Jaccard index of each set with the others; empty sets are alike."""
    index = np.array([[len(a & b) / len(a | b) if a or b else 1.0 for b in sets] for a in sets])
    others = max(1, len(sets) - 1)
    mean: Floats = (index.sum(axis=1) - 1.0) / others
    return mean


def _ranks(values: Floats) -> Floats:
    """Share of the values below each, those that equal it (itself too) counted half."""
    below, equal = values[:, None] > values, values[:, None] == values
    ranks: Floats = below.mean(axis=1) + 0.5 * equal.mean(axis=1)
    return ranks
