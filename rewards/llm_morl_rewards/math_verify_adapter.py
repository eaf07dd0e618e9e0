r"""Equality of answers that are no plain numbers, by ``math-verify`` (extra ``text``) where it is installed.

The package hands LaTeX to sympy, which may take for ever on a short text (``9^{9^{9}}``), and its time limits are
signals, which work in the main thread only and would make a reward depend on the machine's load. So there is no time
limit here: a strict allow-list is checked before sympy sees a text, and what is outside it is not compared.
"""

from __future__ import annotations

import importlib
import logging
import re
from functools import lru_cache

#: Bounds of a text that sympy may see.
MAX_CHARS = 60
#: Of one number; in a pair where either text has a variable or a function. Beyond it sympy takes for ever for a
#: logarithm to such a base, or for the sine of its power.
MAX_DIGITS = 9
MAX_DIGITS_BESIDE_LETTERS = 4
MAX_DEPTH = 5
MAX_POWERS = 3
#: Of numbers alone, and with a variable in the text; with a function there is none.
MAX_ROOTS = (3, 1)
MAX_FUNCTIONS = 2
#: Sums of the exponents: with a function in the text, with a variable or root, of numbers alone. Measured: sympy takes
#: seconds for powers of sums from about nine on.
MAX_EXPONENTS = (2, 6, 99)

_NAMES = (
    r"\frac \dfrac \tfrac \sqrt \pi \cdot \times \div \left \right \pm \infty \cup \cap \in \theta \alpha \beta \lambda"
    r" \le \ge \leq \geq \lt \gt \ne \neq \{ \} \% \, \; \: \! \circ"
)
_FUNCTIONS = frozenset((r"\sin", r"\cos", r"\tan", r"\log", r"\ln"))
_MACROS = _FUNCTIONS | frozenset(_NAMES.split())
_MACRO = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL)
_ALLOWED = re.compile(r"[A-Za-z0-9+\-*/^_=.,()\[\]{}|<>% ]*")
_POWER = re.compile(r"\^ *(?:\{ *(-?[0-9]{1,2}|[a-z]) *\}|([0-9a-z])(?![0-9]))")
#: Powers of powers, however the bracket between them closes.
_TOWER = re.compile(r"\* *\*|\^ *(?:\{[^{}]*\}|[0-9a-z])[ )}\]]*\^")
_LONG_WORD = re.compile(r"[A-Za-z]{3,}")


def is_safe(text: str) -> bool:
    r"""Whether sympy may see the text: short, few digits, powers and functions, no tower, no unknown macro, no word.

    >>> [is_safe(text) for text in (r"\frac{\sqrt{3}}{2}", "x^2 + 1", "9^{9^{9}}", "9**9**9", r"\int x dx", "blue")]
    [True, True, False, False, False, False]
    """
    if len(text) > MAX_CHARS:
        return False
    macros = _MACRO.findall(text)
    bare = _MACRO.sub(" ", text)
    powers = _POWER.findall(bare)
    exponents = sum(abs(int(e)) if e.lstrip("-").isdigit() else 1 for pair in powers for e in pair if e)
    functions, roots = sum(macro in _FUNCTIONS for macro in macros), macros.count(r"\sqrt")
    variables = any(char.isalpha() for char in bare)
    return (
        _MACROS.issuperset(macros)
        and _ALLOWED.fullmatch(bare) is not None
        and _TOWER.search(bare) is None
        and all(len(digits) <= MAX_DIGITS for digits in re.findall(r"[0-9]+", bare))
        and _depth(bare) <= MAX_DEPTH
        and bare.count("^") == len(powers) <= MAX_POWERS
        and exponents <= MAX_EXPONENTS[0 if functions else 1 if roots or variables else 2]
        and roots <= (0 if functions else MAX_ROOTS[variables])
        and not (("=" in bare or ">" in bare or "<" in bare) and (functions or roots))  # equations would be solved
        and functions <= MAX_FUNCTIONS
        and _LONG_WORD.search(bare) is None
    )


def are_safe(first: str, second: str) -> bool:
    r"""Whether sympy may compare two texts: each `is_safe`, and together no function beside a letter as exponent.

    >>> [are_safe("9^x", text) for text in ("x^3", r"\ln 9", "99999")]
    [True, False, False]
    """
    if not (is_safe(first) and is_safe(second)):
        return False
    macros = {macro for text in (first, second) for macro in _MACRO.findall(text)}
    bare = f"{_MACRO.sub(' ', first)} {_MACRO.sub(' ', second)}"
    functions = not _FUNCTIONS.isdisjoint(macros)
    if functions and any(exponent.isalpha() for pair in _POWER.findall(bare) for exponent in pair):
        return False
    letters = functions or any(char.isalpha() for char in bare)
    return not letters or all(len(digits) <= MAX_DIGITS_BESIDE_LETTERS for digits in re.findall(r"[0-9]+", bare))


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "{([") - (char in "})]")
        deepest = max(deepest, depth)
    return deepest


def expressions_match(answer: str, gold: str) -> bool | None:
    """Whether math-verify holds the two LaTeX expressions for equal.

    Returns:
        None where the package is not installed or the texts are not `are_safe`.
    """
    if not are_safe(answer, gold):
        return None
    try:
        modules = [importlib.import_module(name) for name in ("math_verify.parser", "math_verify.grader")]
    except ImportError:
        return None
    for module in modules:
        module.logger.addFilter(_says_no_timeout)  # adding it again changes nothing
    return _verify(answer, gold)


@lru_cache(maxsize=4096)
def _verify(answer: str, gold: str) -> bool:
    package = importlib.import_module("math_verify")
    parsed = [package.parse(f"${text}$", parsing_timeout=None) for text in (gold, answer)]
    return bool(package.verify(*parsed, timeout_seconds=None))


def _says_no_timeout(record: logging.LogRecord) -> bool:
    """Drops the warning that there is no time limit: the allow-list stands in its place."""
    return "Timeout is disabled" not in record.getMessage()
