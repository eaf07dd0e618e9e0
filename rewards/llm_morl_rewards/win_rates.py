"""Who meets whom within a group, and what share of the comparisons each response wins.

Shapes: N rows, Q questions. Everything here happens outside the judge, so that any judge can be put in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_morl_rewards.base import Problem
from llm_morl_rewards.judge import Judge, JudgeError, check_verdicts


def pairings(count: int, opponents: int | None = None) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of ``count`` players that meet, in order.

    All of them; or, with ``opponents`` = k < count - 1, a circle where each meets the k / 2 next on either side. For
    odd k each meets the one across as well; where ``count`` is odd too, that is one more for some: k + 1.

    >>> pairings(3)
    [(0, 1), (0, 2), (1, 2)]
    >>> pairings(5, opponents=2)
    [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]

    Raises:
        ValueError: If ``opponents`` is below 1.
    """
    if opponents is not None and (isinstance(opponents, bool) or opponents < 1):
        raise ValueError(f"opponents must be at least 1, got {opponents!r}")
    if opponents is None or opponents >= count - 1:
        return [(i, j) for i in range(count) for j in range(i + 1, count)]
    steps = [*range(1, opponents // 2 + 1), *([count // 2] if opponents % 2 else [])]
    return sorted({(min(i, j), max(i, j)) for i in range(count) for step in steps for j in [(i + step) % count]})


class _Match(NamedTuple):
    """Two different texts of one group, and a row where each of them stands."""

    problem: Problem
    response_a: str
    response_b: str
    rows: tuple[int, int]


def win_rates(
    judge: Judge,
    questions: Mapping[str, str],
    problems: Sequence[Problem],
    responses: Sequence[str],
    group: NDArray[np.int64],
    *,
    opponents: int | None = None,
    both_orders: bool = True,
) -> NDArray[np.float64]:
    """Mean win rates (N, Q) in [0, 1] against the other responses of the group.

        u_i = mean over opponents j of (1 + v_ij) / 2,    v_ij = (verdict(i, j) - verdict(j, i)) / 2

    Within a group of which all pairs are compared in both orders, the mean of u is 1/2 whatever is written: it ranks
    the group, and is silent about progress. A mean rather than Bradley-Terry strengths: with all pairs both give the
    same order, and the mean needs no iteration.

    Equal texts of a group are not compared: v = 0 between them, and they get the same u. The tournament is held
    among different texts, in the order of their SHA-256, so it depends on the rows' order in nothing; an opponent
    that stands in several rows counts as often. A response without any other has u = 1/2.

    Args:
        judge: Asked once for each pair and order, about all questions; ``judge.concurrency`` calls run at a time.
        questions: By criterion.
        problems: N, the same within a group.
        responses: N texts.
        group: int64 (N,).
        opponents: How many each meets at least, see `pairings`; None for all. Groups of G different texts take
            G (G - 1) / 2 comparisons, or about G ``opponents`` / 2, times 2 with ``both_orders``.
        both_orders: Ask in both orders, which cancels a preference for the first (or second) place. Otherwise the
            order is that of the SHA-256, and v_ij = verdict(i, j) = -v_ji.

    Raises:
        JudgeError: If the judge fails or gives no proper verdict; the first in order, with the rows that it compared.
        ValueError: If a group has different problems, or ``opponents`` is below 1.
    """
    matches = []
    rows_of = {int(g): np.flatnonzero(group == g) for g in np.unique(group)}
    texts_of = {g: _texts(rows, problems, responses) for g, rows in rows_of.items()}
    for texts in texts_of.values():
        names = list(texts)
        for i, j in pairings(len(names), opponents):
            first, second = names[i], names[j]
            for a, b in [(first, second), (second, first)] if both_orders else [(first, second)]:
                matches.append(_Match(problems[texts[a][0]], a, b, (texts[a][0], texts[b][0])))
    verdicts = np.array([list(v.values()) for v in _play(judge, questions, matches)]).reshape(-1, len(questions))

    won, met = np.zeros((len(responses), len(questions))), np.zeros((len(responses), 1))
    for match, verdict in zip(matches, (1 + verdicts) / 2, strict=True):
        texts = texts_of[int(group[match.rows[0]])]
        here, there = texts[match.response_a], texts[match.response_b]
        won[here], met[here] = won[here] + len(there) * verdict, met[here] + len(there)
        won[there], met[there] = won[there] + len(here) * (1 - verdict), met[there] + len(here)
    for texts in texts_of.values():
        for rows in texts.values():
            same = (len(rows) - 1) * (2 if both_orders else 1)
            won[rows], met[rows] = won[rows] + same / 2, met[rows] + same
    return np.where(met > 0, won / np.maximum(met, 1), 0.5)


def reference_rates(
    judge: Judge,
    questions: Mapping[str, str],
    problems: Sequence[Problem],
    responses: Sequence[str],
    references: Sequence[str],
    *,
    both_orders: bool = True,
) -> NDArray[np.float64]:
    """Win rates (N, Q) in [0, 1] of each response against one fixed reference: 1/2 is as good as that.

    u_i = (1 + v_i) / 2 with v_i as in `win_rates`. Unlike that it says how far a policy has come, needs no group and
    takes two comparisons a row; but it does not tell apart two responses that both beat the reference, or both lose.

    Args:
        judge: As in `win_rates`.
        questions: By criterion.
        problems: N.
        responses: N texts. One that equals its reference has 1/2 and is not compared.
        references: N texts.
        both_orders: Ask in both orders; otherwise the response comes first.

    Raises:
        JudgeError: As in `win_rates`; both rows are that of the response.
    """
    matches, places = [], []
    for row, (problem, response, reference) in enumerate(zip(problems, responses, references, strict=True)):
        if response == reference:
            continue
        matches.append(_Match(problem, response, reference, (row, row)))
        places.append((row, 1.0))
        if both_orders:
            matches.append(_Match(problem, reference, response, (row, row)))
            places.append((row, -1.0))
    rates = np.full((len(responses), len(questions)), 0.5)
    for (row, sign), verdict in zip(places, _play(judge, questions, matches), strict=True):
        rates[row] += sign * np.array(list(verdict.values())) / (4 if both_orders else 2)
    return rates


def _texts(rows: NDArray[np.intp], problems: Sequence[Problem], responses: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each different text of a group, texts by their SHA-256."""
    texts: dict[str, list[int]] = {}
    for row in rows.tolist():
        if problems[row] is not problems[rows[0]] and problems[row] != problems[rows[0]]:
            raise ValueError(f"a group must have one problem, but rows {rows[0]} and {row} of one group differ in it")
        texts.setdefault(responses[row], []).append(row)
    return dict(sorted(texts.items(), key=lambda item: hashlib.sha256(item[0].encode(errors="surrogatepass")).digest()))


def _play(judge: Judge, questions: Mapping[str, str], matches: Sequence[_Match]) -> Iterator[dict[str, float]]:
    """Verdicts in the order of the matches. At a failure those that have not begun are not asked for."""

    def one(match: _Match) -> dict[str, float]:
        try:
            return check_verdicts(judge(questions, match.problem, match.response_a, match.response_b), questions)
        except JudgeError as error:
            raise error.at(match.rows) from error
        except Exception as error:
            message = f"the judge failed: {error!r}"
            raise JudgeError(message, criteria=[*questions], rows=match.rows) from error

    if judge.concurrency == 1 or len(matches) < 2:
        yield from map(one, matches)
    else:
        with ThreadPoolExecutor(min(judge.concurrency, len(matches)), thread_name_prefix="judge") as pool:
            yield from pool.map(one, matches)
