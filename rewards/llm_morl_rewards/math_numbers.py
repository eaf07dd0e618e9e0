"""Reading a number as people and models write it: exactly, without sympy, in bounded time.

Nothing here raises on a text, whatever it holds: what is no number, or too large to be one, is None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

#: A longer text is no number: so no text can make the arithmetic slow.
MAX_CHARS = 200
#: Largest power of ten of the scientific notation.
MAX_EXPONENT = 30
_MAX_WRAPPERS = 8

_WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
#: A plain decimal number, with or without thousands separators.
DECIMAL = rf"(?:{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)"

_SPOKEN = str.maketrans(
    {"−": "-", "–": "-", "×": "*", "·": "*", "\u00a0": " ", "\u202f": "", "\u2009": "", "°": " deg "}
)
#: LaTeX and what stands for it, in this order.
_REWRITES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\[,;:! ]|\\(?:left|right)(?![A-Za-z])", ""),
        (r"\\q?quad(?![A-Za-z])|~", " "),
        (r"\{,\}", ","),
        (r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\{([^{}]*)\}", r" \1 "),
        (r"\^\{?\\circ\}?|\\degrees?(?![A-Za-z])", " deg "),
        (r"\\([$%])", r"\1"),
        (r"\\(?:times|cdot)(?![A-Za-z])", "*"),
        (r"\\[dtc]?frac\{([^{}]*)\}\{([^{}]*)\}", r" \1/\2 "),
        (r"\\[dtc]?frac *([0-9])([0-9])", r" \1/\2 "),
    )
)
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), (r"\boxed{", "}"), ("**", "**"), ("__", "__"),
             ("`", "`"), ("{", "}"), ("(", ")"), ('"', '"'), ("'", "'"))  # fmt: skip
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s*(?:US)?[$€£¥]?\s*(?P<second_sign>[-+]?)"
    rf"(?:(?P<mixed>{_WHOLE})\s+(?P<part>[0-9]+)\s*/\s*(?P<whole>[0-9]+)"
    rf"|(?P<top>{DECIMAL})\s*/\s*(?P<bottom>{DECIMAL})"
    rf"|(?P<mantissa>{DECIMAL})(?:[eE](?P<e>[-+]?[0-9]{{1,3}})|\s*[*xX]\s*10\s*(?:\^|\*\*)\s*"
    r"(?:\{\s*(?P<braced>[-+]?[0-9]{1,3})\s*\}|(?P<power>[-+]?[0-9]{1,3})))"
    rf"|(?P<plain>{DECIMAL}))"
    r"(?P<percent>\s*%|\s*percent\b)?(?P<unit>.*)",
    re.DOTALL,
)
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])\^\{?[23]\}?")
_WORD = re.compile(r"[^\W\d_]+")
_UNIT_MARKS = frozenset(" .,'’\"()/$€£¥%²³-:;!?\t\n")
#: Units of one letter, after a space only; any other single letter is a variable.
_LETTERS = "m g s h l L"
#: Units that may stand right behind the digits; other letters there are variables.
_ATTACHED = "mm cm km in ft yd mi mg kg lb lbs oz ml cl dl hr hrs min mins sec secs am pm mph kph kmh st nd rd th usd"
#: Words after a number that make it part of something larger.
_UNFINISHED = "and or to plus minus times over half halves third thirds quarter quarters through until"
_ATTACHED_UNITS, _LETTER_UNITS, _UNFINISHED_WORDS = (frozenset(w.split()) for w in (_ATTACHED, _LETTERS, _UNFINISHED))
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


@dataclass(frozen=True)
class Quantity:
    """A number that was read.

    Args:
        value: Exactly.
        percent: Whether a percent sign (or word) follows; the value is that before it, 50 for ``50%``.
    """

    value: Fraction
    percent: bool = False

    def equals(self, other: Quantity) -> bool:
        """Whether both may be the same number.

        A percent sign is a unit: ``50%`` equals ``50``; it also equals ``0.5``, which does not equal ``50``.
        """
        if self.percent == other.percent:
            return self.value == other.value
        marked, plain = (self.value, other.value) if self.percent else (other.value, self.value)
        return plain in (marked, marked / 100)


def read_number(text: str) -> Quantity | None:
    r"""The number that a text is, with at most a currency before it and a unit after it; None if it is none.

    Read are: thousands separators (``1,234``, ``1{,}234``, ``10\,000``), signs, decimals, fractions (``3/4``,
    ``\frac{3}{4}``), mixed numbers, scientific notation (``1.2e3``, ``1.2 \times 10^{3}``) up to `MAX_EXPONENT`,
    currencies before, percent signs, degrees and units after (words without digits: ``18 apples``, ``5 cm^2``; the
    words hundred to trillion multiply), and around it dollar signs, brackets, ``\boxed{}``, ``\text{}``, LaTeX spaces
    and emphasis. Of ``x = 5`` the right-hand side counts. A single letter behind the digits is a variable (``18x``),
    not a unit, and a text with two numbers (``15 or 16``) is no number.

    Not read: numbers in words, decimal commas, times of the day, blanks as thousands separators.

    >>> [str(read_number(text).value) for text in ("$1,234.50", r"-1\frac{3}{4}", "18 apples", r"\boxed{3 \cdot 10^2}")]
    ['2469/2', '-7/4', '18', '300']
    >>> [read_number(text) for text in ("18x", "15 or 16", "9**9**9", "7" * 1000)]
    [None, None, None, None]
    """
    if len(text) > MAX_CHARS:
        return None
    match = _NUMBER.fullmatch(_plain(text))
    if match is None or (match["sign"] and match["second_sign"]):
        return None
    value, scale = _value(match), _unit_scale(match["unit"])
    if value is None or scale is None:
        return None
    negative = "-" in (match["sign"], match["second_sign"])
    return Quantity((-value if negative else value) * scale, match["percent"] is not None)


def _plain(text: str) -> str:
    text = _unwrap(text.translate(_SPOKEN).strip())
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    text = _unwrap(text.strip())
    return text.rpartition("=")[2].strip().rstrip(" .,;:!?")


def _unwrap(text: str) -> str:
    for _ in range(_MAX_WRAPPERS):
        for opening, closing in _WRAPPERS:
            if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
                inside = text[len(opening) : -len(closing)]
                if opening not in inside and closing not in inside:
                    text = inside.strip()
                    break
        else:
            return text
    return text


def _value(match: re.Match[str]) -> Fraction | None:
    if match["mixed"]:
        top, bottom = _decimal(match["part"]), _decimal(match["whole"])
        return _decimal(match["mixed"]) + top / bottom if bottom else None
    if match["top"]:
        bottom = _decimal(match["bottom"])
        return _decimal(match["top"]) / bottom if bottom else None
    if match["mantissa"]:
        exponent = int(match["e"] or match["braced"] or match["power"])
        return _decimal(match["mantissa"]) * Fraction(10) ** exponent if abs(exponent) <= MAX_EXPONENT else None
    return _decimal(match["plain"])


def _decimal(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def _unit_scale(unit: str) -> int | None:
    """What the unit multiplies the number by; None where what follows is no unit."""
    bare = _UNIT_POWER.sub("", unit)
    if not all(char in _UNIT_MARKS or char.isalpha() for char in bare):
        return None
    words = _WORD.findall(bare)
    if not words:
        return 1 if not bare.strip(" $€£¥.,;:!?\"')") else None
    first = words[0]
    if bare[0].isalpha() and first.lower() not in _ATTACHED_UNITS:
        return None
    if not (bare[0].isalpha() or bare[0].isspace() or bare[0] in "$€£¥,"):
        return None
    if (len(first) == 1 and first not in _LETTER_UNITS) or not _UNFINISHED_WORDS.isdisjoint(
        word.lower() for word in words
    ):
        return None
    return _SCALES.get(first.lower(), 1)
