"""A character-level automaton for canonically laid out JSON of a given schema. Its state is a tuple of frames.

The frames still to be written stand in reading order; a frame that is a `str` is text that must follow as it stands.
`advance` takes one character and gives the next state. `closing` is the shortest text that ends a state; the automaton
is built so that writing its first character leaves the rest of it as the closing of the next state. Layout is that of
`json.dumps`: ``", "`` and ``": "``, no other white space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Protocol


class Automaton(Protocol):
    """A part of the text with a choice in it. Frozen and hashable.

    Parts that hold others compute their hash and their closing once (`Compound`): states are looked up at every token,
    and are deep.
    """

    @property
    def nullable(self) -> bool:
        """Whether the part may end here; then no character that may follow it continues it."""

    @property
    def closing(self) -> str:
        """The shortest text that ends it."""

    def step(self, char: str) -> Frames | None:
        """The frames in its place after this character; None if it does not continue the part."""


Frame = str | Automaton
Frames = tuple[Frame, ...]


def advance(frames: Frames, char: str) -> Frames | None:
    """The state after one more character; None if it cannot follow."""
    for position, frame in enumerate(frames):
        if isinstance(frame, str):
            if frame[0] != char:
                return None
            return frames[position + 1 :] if len(frame) == 1 else (frame[1:], *frames[position + 1 :])
        grown = frame.step(char)
        if grown is not None:
            return grown + frames[position + 1 :]
        if not frame.nullable:
            return None
    return None


def closing(frames: Frames) -> str:
    """The shortest text that ends the state."""
    return "".join(frame if isinstance(frame, str) else frame.closing for frame in frames)


@dataclass(frozen=True)
class Limits:
    """Bounds of the parts whose length is free, so that every text of the grammar ends.

    Args:
        calls: Tool calls in a response.
        characters: Characters of a string value.
        reply: Characters of a reply.
        thought: Characters of a free thought.
        digits: Digits of a number before the point.
        decimals: Digits after it.
        items: Entries of an array, or of an object without a schema.
        depth: Nesting of values without a schema.
    """

    calls: int = 4
    characters: int = 32
    reply: int = 48
    thought: int = 96
    digits: int = 6
    decimals: int = 3
    items: int = 4
    depth: int = 2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name == "depth" else 1):
                raise ValueError(f"Limits({name}=) must be at least {0 if name == 'depth' else 1}, got {value}")


def is_text(char: str) -> bool:
    """Whether a reply or thought may hold the character: no ``<``, which might begin a tag, and nothing unprintable."""
    return (char.isprintable() and char != "<") or char == "\n"


def is_string_text(char: str) -> bool:
    """Whether a JSON string may hold the character unescaped."""
    return char.isprintable() and char not in '<"\\'


@dataclass(frozen=True, slots=True)
class FreeText:
    """At most ``left`` characters of text."""

    left: int
    nullable = True
    closing = ""

    def step(self, char: str) -> Frames | None:
        """See `Automaton`."""
        return (FreeText(self.left - 1),) if self.left and is_text(char) else None


@dataclass(frozen=True, slots=True)
class StringText:
    """The rest of a JSON string: at most ``left`` characters, and the closing quote. Escapes are of two characters."""

    left: int
    escaped: bool = False
    nullable = False

    @property
    def closing(self) -> str:
        """See `Automaton`."""
        return 'n"' if self.escaped else '"'

    def step(self, char: str) -> Frames | None:
        """See `Automaton`."""
        if self.escaped:
            return (StringText(self.left),) if char in '"\\/bfnrt' else None
        if char == '"':
            return ()
        if self.left and (char == "\\" or is_string_text(char)):
            return (StringText(self.left - 1, char == "\\"),)
        return None


@dataclass(frozen=True, slots=True)
class Number:
    """The rest of a JSON number without exponent.

    Args:
        stage: What was written last: ``start`` (nothing), ``sign``, ``zero`` (a leading one), ``whole``, ``point`` or
            ``fraction``.
        left: Digits that may still follow in this stage.
        decimals: Digits that may follow the point; 0 for an integer.
    """

    stage: str
    left: int
    decimals: int

    @property
    def nullable(self) -> bool:
        """See `Automaton`."""
        return self.stage in ("zero", "whole", "fraction")

    @property
    def closing(self) -> str:
        """See `Automaton`."""
        return "" if self.nullable else "0"

    def step(self, char: str) -> Frames | None:
        """See `Automaton`."""
        if char == "-" and self.stage == "start":
            return (Number("sign", self.left, self.decimals),)
        if char == "." and self.stage in ("zero", "whole") and self.decimals:
            return (Number("point", self.decimals, self.decimals),)
        if char not in "0123456789" or not self.left or self.stage == "zero":
            return None
        if self.stage in ("point", "fraction"):
            stage = "fraction"
        else:
            stage = "zero" if char == "0" and self.stage != "whole" else "whole"
        return (Number(stage, self.left - 1, self.decimals),)


class Compound:
    """Base of a part that holds others, a frozen dataclass without methods of equality: its hash is computed once."""

    __match_args__: ClassVar[tuple[str, ...]] = ()  # the fields' names, set by `dataclass`

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and hash(self) == hash(other) and self._values == other._values

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the hash, which is of this process alone."""
        return type(self), self._values

    @property
    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    @cached_property
    def _hash(self) -> int:
        return hash(self._values)


@dataclass(frozen=True, eq=False)
class Choice(Compound):
    """One of several texts, each with what follows it.

    Args:
        options: ``(text, frames after it)``, at least one. The first one is the closing, so it should be the shortest.
            (Comparing all would walk through every text of a choice that leads back to itself.) No text continues
            another one, unless the latter has no frames after it: then the part may end there.
    """

    options: tuple[tuple[str, Frames], ...]

    @property
    def nullable(self) -> bool:
        """See `Automaton`."""
        return any(not text for text, _ in self.options)

    @cached_property
    def closing(self) -> str:
        """See `Automaton`."""
        text, after = self.options[0]
        return text + closing(after)

    def step(self, char: str) -> Frames | None:
        """See `Automaton`."""
        left = tuple((text[1:], after) for text, after in self.options if text.startswith(char))
        if len(left) > 1:
            return (Choice(left),)
        return ((left[0][0], *left[0][1]) if left[0][0] else left[0][1]) if left else None


@dataclass(frozen=True, eq=False)
class Items(Compound):
    """The rest of an array, or of an object without a schema: entries of one form, and the closing bracket."""

    item: Frames
    left: int
    bracket: str
    first: bool = True
    nullable = False

    @property
    def closing(self) -> str:
        """See `Automaton`."""
        return self.bracket

    def step(self, char: str) -> Frames | None:
        """See `Automaton`."""
        if char == self.bracket:
            return ()
        if not self.left:
            return None
        rest = (*self.item, Items(self.item, self.left - 1, self.bracket, False))
        return advance(rest if self.first else (", ", *rest), char)


class Expanding(Compound):
    """Base of a part that stands for a `Choice`, built when it is reached: so it may hold itself."""

    nullable = False

    def expand(self) -> Choice:
        """The choice; a function of the fields alone."""
        raise TypeError(f"{type(self).__name__} must define expand")

    @cached_property
    def closing(self) -> str:
        """See `Automaton`."""
        return self._expanded.closing

    def step(self, char: str) -> Frames | None:
        """See `Automaton`."""
        return self._expanded.step(char)

    @cached_property
    def _expanded(self) -> Choice:
        return _expanded(self)


@lru_cache(maxsize=1024)
def _expanded(part: Expanding) -> Choice:
    return part.expand()


@dataclass(frozen=True, eq=False)
class Members(Expanding):
    """The rest of an object with a schema: its keys in order, those that are not required at will, and the brace.

    Args:
        members: ``(key as JSON, frames of the value, required)``.
        first: Whether no member was written yet.
    """

    members: tuple[tuple[str, Frames, bool], ...]
    first: bool = True

    def expand(self) -> Choice:
        """See `Expanding`."""
        options: list[tuple[str, Frames]] = []
        for position, (key, value, required) in enumerate(self.members):
            after = Members(self.members[position + 1 :], first=False)
            option = f"{'' if self.first else ', '}{key}: ", (*value, after)
            if required:
                return Choice((option, *options))
            options.append(option)
        return Choice((("}", ()), *options))


@dataclass(frozen=True, slots=True)
class AnyValue:
    """Any JSON value, nested at most ``depth`` deep."""

    depth: int
    limits: Limits
    nullable = False
    closing = "0"

    def step(self, char: str) -> Frames | None:
        """See `Automaton`."""
        limits, inner = self.limits, AnyValue(self.depth - 1, self.limits)
        starts: list[Frames] = [
            string_frames(limits),
            (Number("start", limits.digits, limits.decimals),),
            (Choice((("true", ()), ("false", ()), ("null", ()))),),
        ]
        if self.depth:
            pair = (*string_frames(limits), ": ", inner)
            starts += [("[", Items((inner,), limits.items, "]")), ("{", Items(pair, limits.items, "}"))]
        return next((after for start in starts if (after := advance(start, char)) is not None), None)


def string_frames(limits: Limits) -> Frames:
    """A JSON string."""
    return '"', StringText(limits.characters)


def value_frames(schema: Mapping[str, Any], limits: Limits, writable: Callable[[str], bool]) -> Frames | None:
    """A value of this schema (the JSON-Schema-like form of the Berkeley leaderboard).

    Args:
        schema: ``type`` (``dict`` and ``tuple`` are the leaderboard's names of objects and arrays; an unknown or
            missing one admits any value), ``enum``, ``items``, ``properties`` and ``required``. The rest is ignored.
        limits: Bounds of the free parts.
        writable: Whether a text can be written at all; enum values and optional keys that cannot are left out.

    Returns:
        The frames, or None where nothing can be written (a required key or all values of an enum are unwritable).
    """
    if isinstance(schema.get("enum"), list):
        texts = {json.dumps(value, ensure_ascii=False) for value in schema["enum"]}
        options = tuple((text, ()) for text in sorted(texts, key=lambda text: (len(text), text)) if writable(text))
        return (Choice(options),) if options else None
    match schema.get("type"):
        case "string":
            return string_frames(limits)
        case "integer":
            return (Number("start", limits.digits, 0),)
        case "number" | "float":
            return (Number("start", limits.digits, limits.decimals),)
        case "boolean":
            return (Choice((("true", ()), ("false", ()))),)
        case "array" | "tuple":
            item = value_frames(schema.get("items") or {}, limits, writable)
            return ("[]",) if item is None else ("[", Items(item, limits.items, "]"))
        case "dict" | "object" if schema.get("properties"):
            members = member_frames(schema, limits, writable)
            return None if members is None else ("{", members)
        case "dict" | "object":
            pair = (*string_frames(limits), ": ", AnyValue(limits.depth, limits))
            return "{", Items(pair, limits.items, "}")
    return (AnyValue(limits.depth, limits),)


def member_frames(schema: Mapping[str, Any], limits: Limits, writable: Callable[[str], bool]) -> Members | None:
    """What follows the brace of an object with these ``properties`` and ``required`` keys; see `value_frames`."""
    required = set(schema.get("required") or ())
    members = []
    for name, inner in (schema.get("properties") or {}).items():
        key, value = json.dumps(name, ensure_ascii=False), value_frames(inner, limits, writable)
        if value is not None and writable(key):
            members.append((key, value, name in required))
        elif name in required:
            return None
    return Members(tuple(members))
