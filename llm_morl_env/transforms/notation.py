"""How weights of objectives are written into a prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WEIGHTS, PROMPT = "{weights}", "{prompt}"
#: A weight may miss a multiple of ``1 / parts`` by this much (rounding).
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Notation:
    """Weights as text: ``"format 0.5, brevity 0.5"``, or a character for each.

    Args:
        names: Of the K objectives.
        template: Of the prompt, with ``{weights}`` and ``{prompt}`` once each.
        parts: With symbols, weights are multiples of ``1 / parts``.
        symbols: None, or ``parts + 1`` characters.

    Raises:
        ValueError: If template or symbols are not so.

    >>> Notation(("a", "b"), "{weights}: {prompt}", 4, None).prompt((0.25, 0.75), "which?")
    'a 0.25, b 0.75: which?'
    >>> Notation(("a", "b"), "{weights}{prompt}", 4, "uvwxy").prompt((0.25, 0.75), "?")
    'vx?'
    """

    names: tuple[str, ...]
    template: str
    parts: int
    symbols: str | None

    def __post_init__(self) -> None:
        if self.template.count(WEIGHTS) != 1 or self.template.count(PROMPT) != 1:
            raise ValueError(
                f"PreferenceInPrompt(template=) must hold {WEIGHTS} and {PROMPT} once each, got {self.template!r}"
            )
        if self.symbols is not None and len(set(self.symbols)) != self.parts + 1:
            raise ValueError(
                f"PreferenceInPrompt(symbols=) must be parts + 1 = {self.parts + 1} distinct characters, "
                f"got {self.symbols!r}"
            )

    def text(self, weights: Sequence[float]) -> str:
        """The weights (K,) alone.

        Raises:
            ValueError: If there are symbols, and a weight is no multiple of ``1 / parts``.
        """
        if self.symbols is None:
            return ", ".join(f"{name} {number(weight)}" for name, weight in zip(self.names, weights, strict=True))
        counts = [round(weight * self.parts) for weight in weights]
        if any(abs(n - weight * self.parts) > _TOLERANCE for n, weight in zip(counts, weights, strict=True)):
            raise ValueError(
                f"PreferenceInPrompt(weights=) must be multiples of 1/{self.parts} to be written by symbols, "
                f"got {tuple(weights)}"
            )
        return "".join(self.symbols[n] for n in counts)

    def prompt(self, weights: Sequence[float], prompt: str) -> str:
        """A prompt with the weights. (Braces in the prompt stay what they are.)"""
        before, after = self.template.split(PROMPT)
        text = self.text(weights)
        return before.replace(WEIGHTS, text) + prompt + after.replace(WEIGHTS, text)

    def pieces(self) -> tuple[list[str], list[str]]:
        """What is written whatever the weights, and everything that a weight may be written as."""
        fixed = [piece for part in self.template.split(PROMPT) for piece in part.split(WEIGHTS) if piece]
        if self.symbols is not None:
            return fixed, list(self.symbols)
        named = [(", " if k else "") + f"{name} " for k, name in enumerate(self.names)]
        return fixed + named, [number(n / 1000) for n in range(1001)]


def number(weight: float) -> str:
    """A weight with at most three decimals.

    >>> number(0.5), number(1.0), number(1 / 3)
    ('0.5', '1', '0.333')
    """
    return f"{weight:.3f}".rstrip("0").rstrip(".")


def weights_of(given: Sequence[float] | Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """Weights in the order of ``names``, brought to the sum 1.

    >>> weights_of({"b": 3, "a": 1}, ("a", "b", "c"))
    (0.25, 0.75, 0.0)

    Raises:
        ValueError: If a name is unknown, there are not K, one is negative or not finite, or all are 0.
    """
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"PreferenceInPrompt(weights=): unknown {unknown}; the objectives are {tuple(names)}")
        given = [given.get(name, 0.0) for name in names]
    values = [float(weight) for weight in given]
    if len(values) != len(names) or any(not (math.isfinite(v) and v >= 0) for v in values) or not sum(values):
        raise ValueError(
            f"PreferenceInPrompt(weights=) must be {len(names)} finite numbers, none negative and not all 0, "
            f"for {tuple(names)}; got {tuple(values)}"
        )
    return tuple(value / sum(values) for value in values)
