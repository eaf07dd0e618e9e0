"""Short names for methods that differ in their settings only: what differs, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

#: Settings in a name, at most.
MOST_TOLD = 3
#: Characters of a value in a name, at most.
VALUE_LENGTH = 28


def elided(text: str, length: int) -> str:
    """A text without its middle, where it is longer than that.

    >>> elided("runs/candidates-standard.jsonl", 13)
    'runs/c….jsonl'
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def told_apart(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each of some settings, those of them that are not the same everywhere.

    Of more than `MOST_TOLD`, the fewest that tell as much as all together (found greedily), with a mark that there are
    others; a setting that one does not have is not mentioned there.

    >>> told_apart([{"gamma": 1.0, "learning_rate": 0.001}, {"gamma": 1.0, "learning_rate": 0.01}])
    ['learning_rate=0.001', 'learning_rate=0.01']
    >>> told_apart([{"steps": 80}, {"steps": 80, "scale": False}])
    ['', 'scale=False']
    """
    names = [name for name in dict.fromkeys(n for own in settings for n in own) if len(_classes([name], settings)) > 1]
    told, more = names, ""
    if len(names) > MOST_TOLD:
        told, finest = [], len(_classes(names, settings))
        while len(told) < MOST_TOLD and len(_classes(told, settings)) < finest:
            told.append(max((n for n in names if n not in told), key=lambda n: len(_classes([*told, n], settings))))
        more = "…"
    parts = [[f"{name}={_shown(own[name])}" for name in told if name in own] for own in settings]
    return [", ".join([*own, *([more] if more else [])]) for own in parts]


def key_of(value: Any) -> Hashable:
    """Equal for JSON values that are equal, whatever the order of their names."""
    return json.dumps(value, sort_keys=True, default=str)


def _classes(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> set[Hashable]:
    """The different combinations of the values of some settings."""
    return {tuple((name in own, key_of(own.get(name))) for name in names) for own in settings}


def _shown(value: Any) -> str:
    return elided(str(value), VALUE_LENGTH)
