"""Equations and steps of a written solution: which there are, and whether they hold.

Own arithmetic with exact fractions, nothing is evaluated by the interpreter. Nothing here raises on model output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

#: What is longer is not calculated, and an equation with it does not hold.
MAX_DIGITS = 15
MAX_TERMS = 24
_MAX_PLACES = 6

_TOKEN = re.compile(
    r"(?P<number>[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?%?|[$€£]?\.[0-9]+%?)"
    r"|(?P<operator>[-+*/×÷·−]|\\times|\\cdot|\\div|x(?=[\s$€£(.0-9]))"
    r"|(?P<bracket>[()])|(?P<equals>=)|(?P<space>[ \t]+)|(?P<other>.)",
    re.DOTALL,
)
_OPERATORS = {"×": "*", "·": "*", "x": "*", r"\times": "*", r"\cdot": "*", "÷": "/", r"\div": "/", "−": "-"}
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3}
_CALCULATOR_MARK = re.compile(r"<<[^<>\n]*>>")
_LIST_MARK = re.compile(
    r"[ \t]*(?:[-*•+]|\(?[0-9]{1,3}[.):]|(?i:step)[ \t]+[0-9]{1,3}[.):]?)"
    r"(?:[ \t]+|\*\*[ \t]*)(?=\S)"
)
_ORDINAL = re.compile(
    r"(?i)(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|next|then|finally)(?:ly)?\b\W*\w"
)
_ORDINAL_WORD = re.compile(r"^(?:first|second|third|next|then|finally)(?:ly)?\b\W*")
_OTHER = re.compile(r"[^-+*/().0-9\s]")
_DIGIT = re.compile(r"[0-9]")
_RESULT = re.compile(r"(?:=|\bequals\b)[^0-9=]{0,40}[0-9]")
_SENTENCE_END = re.compile(r"(?<=[.!?;])[ \t]+")

Expression = tuple[str | Fraction, ...]


@dataclass(frozen=True)
class Step:
    """One operation of two numbers.

    Args:
        left: First operand.
        operator: ``+``, ``-``, ``*`` or ``/``.
        right: Second operand.
        result: What they make.
    """

    left: Fraction
    operator: str
    right: Fraction
    result: Fraction


def without_calculator_marks(text: str) -> str:
    """The text without GSM8K's ``<<48/2=24>>``.

    >>> without_calculator_marks("48/2 = <<48/2=24>>24")
    '48/2 = 24'
    """
    return _CALCULATOR_MARK.sub("", text)


def solve(expression: str) -> list[Step] | None:
    """The operations of an arithmetic expression, in the order of their calculation; None where it is no such thing.

    Numbers, ``+ - * /``, signs and round brackets, with the usual precedence; at most `MAX_TERMS` tokens and
    `MAX_DIGITS` digits a number; a division by zero is no expression.

    >>> [str(step.result) for step in solve("( ( 3.0 + 4.0 ) * 2.0 )")]
    ['7', '14']
    >>> solve("3 + "), solve("1 / 0"), solve("9**9**9")
    (None, None, None)
    """
    runs = list(_runs(expression))
    if len(runs) != 1 or len(runs[0]) != 1 or _OTHER.search(expression):
        return None
    if _too_large(runs[0][0]):
        return None
    try:
        steps: list[Step] = []
        return steps if _evaluate(runs[0][0], steps) is not None else None
    except ZeroDivisionError:
        return None


def equations(text: str) -> dict[tuple[Expression, Expression], bool]:
    r"""The distinct equations of arithmetic that a text states, and whether each holds exactly.

    An equation is ``a op b [op c ...] = d`` of numbers, ``+ - * /`` (also ``× ÷ · x \times \cdot \div``) and brackets,
    or turned round; in a chain ``a = b = c`` every two neighbours are one. Currency signs are passed over, ``50%`` is a
    half. What has a variable or a word in it is none; one that divides by zero, or has a number of more than
    `MAX_DIGITS` digits or more than `MAX_TERMS` tokens on a side, does not hold. An equation that is
    stated again is the same one.

    >>> list(equations("$12 + $7 = $19, so 19 - 4 = 16. Again 12 + 7 = 19.").values())
    [True, False]
    """
    found: dict[tuple[Expression, Expression], bool] = {}
    for run in _runs(_without_list_marks(without_calculator_marks(text))):
        for left, right in pairwise(run):
            if not left or not right or not (_has_operation(left) or _has_operation(right)):
                continue
            if _too_large(left) or _too_large(right):
                found[left, right] = False
                continue
            try:
                values = _evaluate(left, []), _evaluate(right, [])
            except ZeroDivisionError:
                found[left, right] = False
                continue
            if None not in values:
                found[left, right] = values[0] == values[1]
    return found


def step_validity(text: str) -> float:
    """Share in [0, 1] of the distinct stated `equations` that hold exactly; 0 without any.

    Each equation counts once however often it is stated, so that copying a true one does not hide a false one. The
    measure misleads where roundings are written with ``=`` (``10 / 3 = 3.33`` does not hold), and it does not ask
    whether an equation has anything to do with the problem.

    >>> step_validity("12 + 7 = 19. 19 - 4 = 16."), step_validity("it is 15.")
    (0.5, 0.0)
    """
    stated = equations(text)
    return sum(stated.values()) / len(stated) if stated else 0.0


def count_steps(text: str) -> int:
    r"""Number of distinct visible steps: listed ones, those that begin with an ordinal word, and stated calculations.

    A sentence of a line is a step if the line begins with a list mark (``1.``, ``-``, ``step 1:``) and it is the first
    one, if it begins with first ... tenth, next, then or finally, or if a digit, an equals sign (or the word) and a
    digit follow each other in it. A line that does so as a whole alone (``2 * 6 sq. ft. = 12 sq. ft.``) is one step.
    The same words again are no new step.

    >>> count_steps("12 + 7 = 19. 19 - 4 = 15. 19 - 4 = 15."), count_steps("1. add\n2. subtract"), count_steps("15")
    (2, 2, 0)
    """
    steps: set[str] = set()
    for line in without_calculator_marks(text).splitlines():
        mark = _LIST_MARK.match(line)
        content = line[mark.end() :] if mark else line
        sentences = [" ".join(part.lower().split()).rstrip(".!?;,") for part in _SENTENCE_END.split(content)]
        found = [
            sentence
            for position, sentence in enumerate(sentences)
            if (mark and position == 0 and sentence) or _ORDINAL.match(sentence) or _states_result(sentence)
        ]
        if not found and _states_result(content):
            found = [" ".join(sentences)]
        steps.update(_ORDINAL_WORD.sub("", sentence) for sentence in found)
    return len(steps)


def _states_result(sentence: str) -> bool:
    first = _DIGIT.search(sentence)
    return first is not None and _RESULT.search(sentence, first.end()) is not None


def _without_list_marks(text: str) -> str:
    marks = ((line, _LIST_MARK.match(line)) for line in text.splitlines())
    return "\n".join(line[mark.end() :] if mark else line for line, mark in marks)


def _runs(text: str) -> Iterator[list[Expression]]:
    """Maximal stretches of arithmetic, each as the expressions between its equals signs."""
    run: list[list[str | Fraction]] = [[]]
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind == "equals":
            run.append([])
        elif kind == "number":
            run[-1].append(_number(token))
        elif kind in ("operator", "bracket"):
            run[-1].append(_OPERATORS.get(token, token))
        elif kind == "other":
            if any(run):
                yield [tuple(expression) for expression in run]
            run = [[]]
    if any(run):
        yield [tuple(expression) for expression in run]


def _number(token: str) -> str | Fraction:
    """The number, or the token itself where it is too long to be calculated with."""
    digits = token.strip("$€£%").replace(",", "")
    if len(digits) > MAX_DIGITS:
        return token
    return Fraction(digits) / (100 if token.endswith("%") else 1)


def _has_operation(expression: Expression) -> bool:
    return any(token in ("+", "-", "*", "/") for token in expression[1:])


def _too_large(expression: Expression) -> bool:
    return len(expression) > MAX_TERMS or any(
        isinstance(token, str) and token not in ("+", "-", "*", "/", "(", ")") for token in expression
    )


def _evaluate(expression: Expression, steps: list[Step]) -> Fraction | None:
    """Value of an expression by precedence climbing with two stacks; None if it is malformed. Appends its operations.

    Raises:
        ZeroDivisionError: If a division by zero comes up.
    """
    values: list[Fraction] = []
    operators: list[str] = []
    wants_number = True
    for token in expression:
        if wants_number:
            if isinstance(token, Fraction):
                values.append(token)
                wants_number = False
            elif token in ("(", "-"):
                operators.append("neg" if token == "-" else token)
            elif token != "+":
                return None
        elif token == ")":
            _reduce(values, operators, 0, steps)
            if not operators:
                return None
            operators.pop()
        elif isinstance(token, str) and token in _PRECEDENCE:
            _reduce(values, operators, _PRECEDENCE[token], steps)
            operators.append(token)
            wants_number = True
        else:
            return None
    if wants_number:
        return None
    _reduce(values, operators, 0, steps)
    return None if operators else values[0]


def _reduce(values: list[Fraction], operators: list[str], precedence: int, steps: list[Step]) -> None:
    """Carry out the operations on top of the stacks that bind at least as tightly, down to an open bracket."""
    while operators and operators[-1] != "(" and _PRECEDENCE[operators[-1]] >= precedence:
        operator, right = operators.pop(), values.pop()
        if operator == "neg":
            values.append(-right)
            continue
        left = values.pop()
        values.append(_apply(left, operator, right))
        steps.append(Step(left, operator, right, values[-1]))


def _apply(left: Fraction, operator: str, right: Fraction) -> Fraction:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right


def write_number(value: Fraction) -> str:
    """A number in digits: whole, as a decimal where one of at most six places is exact, else as a fraction.

    >>> [write_number(Fraction(*pair)) for pair in ((6, 3), (5, 4), (-1, 20), (-1, 3))]
    ['2', '1.25', '-0.05', '-1/3']
    """
    places = next((p for p in range(_MAX_PLACES + 1) if 10**p % value.denominator == 0), None)
    if not places:
        return str(value)
    digits = str(abs(value) * 10**places).zfill(places + 1)
    return f"{'-' * (value < 0)}{digits[:-places]}.{digits[-places:]}"
