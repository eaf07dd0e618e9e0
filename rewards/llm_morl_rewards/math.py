r"""Mathematics: the final answer of a solution, whether it is right, and how the solution is written.

A problem's ``target`` is the gold answer (a text or a number); its ``meta`` may hold ``steps``, how many steps the
solution needs. Nothing here raises on model output; malformed output scores the floor.
"""

from __future__ import annotations

import re

from llm_morl_rewards.base import Problem, reward
from llm_morl_rewards.math_equations import count_steps, step_validity, without_calculator_marks
from llm_morl_rewards.math_numbers import DECIMAL, read_number
from llm_morl_rewards.math_verify_adapter import expressions_match

#: Of a longer text only the end is read, which holds the answer.
MAX_CHARS = 32_768
#: A longer answer is compared as a text only.
_MAX_ANSWER_CHARS = 1000

_BOX = re.compile(r"\\boxed[ \t]{0,10}\{")
_MARKER = re.compile(
    r"\banswer(?:[ \t]{1,10}is)?[ \t*_]{0,10}:[ \t*_]{0,10}"
    r"|\banswer[ \t]{1,10}is\b[ \t*_]{0,10}"
    r"|^[ \t>*_]{0,10}(?-i:A)[*_]{0,2}:",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)")
_LAST = re.compile(
    rf"(?:(?<![\w)\]}}.%])[-−])?[$€£]?(?:{DECIMAL}\s?)?\\[dtc]?frac\{{[0-9]{{1,20}}\}}\{{[0-9]{{1,20}}\}}"
    rf"|(?:(?<![\w)\]}}.%])[-−])?[$€£]?(?<![0-9]){DECIMAL}(?![0-9])(?:[eE][-+]?[0-9]{{1,3}}|/{DECIMAL}(?![0-9]))?%?"
)
#: Words before the number of a marked answer: "the answer is that anna has 15 apples".
_WORDS = re.compile(r"(?:[A-Za-z][A-Za-z']{0,20},?[ \t]{1,3}){1,12}(?=[-$€£.0-9])")
#: Words that change the number, so that they may not be passed over.
_CHANGING = re.compile(r"\b(?:minus|negative|plus|sqrt|root|log|sin|cos|tan|pi|not|or|and|half|over)\b", re.IGNORECASE)
_STEP_MARK = re.compile(
    r"^[ \t]*(?:[0-9]{1,3}[.)]|[-*•])[ \t]+\S|^[ \t]*\**step[ \t]+[0-9]{1,3}", re.IGNORECASE | re.MULTILINE
)
_ORDINAL = re.compile(
    r"\b(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|next|then)\b", re.IGNORECASE
)
_SPACES = re.compile(r"\\[,;:! ]|\\(?:left|right)(?![A-Za-z])|[\s~$]")


def extract_answer(text: str) -> str | None:
    r"""The final answer that a solution states; None if there is none.

    In this order:

    1. what is in the last ``\boxed{...}``, with balanced braces and not empty;
    2. the rest of the line after the last ``####``, if that is a number (else it is a headline);
    3. the rest of the sentence after the last ``answer:``, ``answer is`` or ``A:`` at the beginning of a line; words
       before a number are passed over;
    4. the last number.

    Of several answers of a kind the last one counts. Calculator marks (``<<48/2=24>>``) are left out first. Of a text
    of more than `MAX_CHARS` characters only the end is read.

    >>> [extract_answer(text) for text in (r"so \boxed{\frac{3}{4}}.", "1 + 1 = 2\n#### 2", "Answer: $18. Done.")]
    ['\\frac{3}{4}', '2', '$18']
    >>> extract_answer("I do not know") is None
    True
    """
    marked = marked_answer(text)
    if marked is not None:
        return marked
    last = _last(_LAST, without_calculator_marks(text[-MAX_CHARS:]))
    return last[0] if last else None


def marked_answer(text: str) -> str | None:
    r"""The final answer that is marked as one, rules 1 to 3 of `extract_answer`; None if there is none.

    >>> marked_answer("12 + 7 = 19. answer: 19"), marked_answer("it is 19")
    ('19', None)
    """
    text = without_calculator_marks(text[-MAX_CHARS:])
    return _boxed(text) or _hashed(text) or _said(text)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return last


def _boxed(text: str) -> str | None:
    start = _last(_BOX, text)
    if start is None:
        return None
    depth = 1
    for position in range(start.end(), len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return text[start.end() : position].strip() or None
    return None


def _hashed(text: str) -> str | None:
    _, mark, rest = text.rpartition("####")
    line = rest.strip(" \t").split("\n", 1)[0].strip() if mark else ""
    return line if line and read_number(line) is not None else None


def _said(text: str) -> str | None:
    last = _last(_MARKER, text)
    if last is None:
        return None
    line = text[last.end() :].lstrip().split("\n", 1)[0]
    end = _SENTENCE_END.search(line)
    answer = (line[: end.start()] if end else line).strip()
    words = _WORDS.match(answer)
    if words and not _CHANGING.search(words[0]) and read_number(answer[words.end() :]) is not None:
        answer = answer[words.end() :]
    return answer.strip("*_` \t") or None


def answers_match(answer: str, gold: str) -> bool:
    r"""Whether an answer is the gold one.

    Where the gold is a number (`llm_morl_rewards.math_numbers.read_number` says what is read as one), exact equality of
    the two numbers has the last word, whether math-verify is installed or not: an answer that is no number is wrong,
    and so are roundings (``0.33`` for ``1/3``) and sums that are left to the reader (``9 + 9`` for ``18``). A percent
    sign is a unit: ``50%`` matches ``50`` and ``0.5``, which do not match each other.

    Where the gold is no number, equal texts match (spaces, dollar signs and LaTeX spacing aside), and else math-verify
    (extra ``text``) decides on what its adapter lets through; without the package they do not match.

    >>> [answers_match(answer, "18") for answer in ("18.0", "$18", "18 apples", "36/2", "15, 18")]
    [True, True, True, True, False]
    """
    expected = read_number(gold)
    if expected is not None:
        number = read_number(answer)
        return number is not None and number.equals(expected)
    bare, bare_gold = (_SPACES.sub("", text.strip().rstrip(".")) for text in (answer, gold))
    if bare == bare_gold:
        return bool(bare)
    if max(len(answer), len(gold)) > _MAX_ANSWER_CHARS:
        return False
    return bool(expressions_match(answer.strip().rstrip("."), gold.strip().rstrip(".")))


@reward(low=0.0, high=1.0)
def accuracy(problem: Problem, response: str) -> float:
    """Whether `extract_answer` of the response matches the problem's target: 0 or 1.

    >>> accuracy(Problem("", "19"), "12 + 7 = 19"), accuracy(Problem("", "19"), "12 + 7 = 18. answer: 18")
    (1.0, 0.0)
    """
    answer = extract_answer(response)
    return float(answer is not None and answers_match(answer, str(problem.target)))


@reward(low=0.0, high=1.0)
def clarity(problem: Problem, response: str) -> float:
    r"""A half for a marked final answer and a half for visible steps.

    Marked is what `marked_answer` finds. Visible are at least ``min(2, steps)`` distinct steps, as
    `llm_morl_rewards.math_equations.count_steps` counts them, where ``steps`` is the entry of the problem's ``meta``
    (2 without it; at least 1).

    >>> problem = Problem("", "15", {"steps": 2})
    >>> [clarity(problem, text) for text in ("12 + 7 = 19. 19 - 4 = 15. answer: 15", "answer: 15", "15")]
    [1.0, 0.5, 0.0]
    """
    needed = max(1, min(2, int(problem.meta.get("steps", 2))))
    return 0.5 * (marked_answer(response) is not None) + 0.5 * (count_steps(response[-MAX_CHARS:]) >= needed)


@reward(low=0.0, high=1.0)
def validity(problem: Problem, response: str) -> float:
    """Share of the distinct equations in the response that hold, `llm_morl_rewards.math_equations.step_validity`.

    >>> validity(Problem(""), "12 + 7 = 19. 19 - 4 = 14. answer: 14")
    0.5
    """
    return step_validity(response[-MAX_CHARS:])


def drw_conciseness(length: float, mean: float) -> float:
    """Conciseness of dynamic reward weighting's code: 1 if the response is shorter than the mean so far, else 0.

    For parity alone: the mean runs over all training rollouts, so a reward made of it would not be a function of the
    response. The tasks use `llm_morl_rewards.text.brevity`.

    >>> drw_conciseness(90, 100), drw_conciseness(100, 100)
    (1.0, 0.0)
    """
    return float(length < mean)


def drw_clarity(text: str) -> float:
    r"""Clarity of dynamic reward weighting's code, 0 or 1, for parity.

    1 if there is a ``\boxed{}`` that is not empty, and at least two numbered or bulleted step markers or at least two
    ordinal words (first to tenth, next, then).

    >>> drw_clarity("1. add\n2. subtract\n" + r"\boxed{15}"), drw_clarity(r"\boxed{15}"), drw_clarity("first, then")
    (1.0, 0.0, 0.0)
    """
    text = text[-MAX_CHARS:]
    boxed = re.search(r"\\boxed\{\s{0,100}[^\s}]", text) is not None
    return float(boxed and (len(_STEP_MARK.findall(text)) >= 2 or len(_ORDINAL.findall(text)) >= 2))
