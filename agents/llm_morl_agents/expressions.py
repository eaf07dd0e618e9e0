"""Objects as text, ``saw(ema=0.7)``: for the command line, configuration files and checkpoints.

Parsed with `ast`, values by `ast.literal_eval`: nothing is evaluated, only names of the given table are called.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

#: What `ast` raises on text that is nested too deeply.
_TOO_DEEP = (RecursionError, MemoryError)


def parse(text: str, table: Mapping[str, Callable[..., Any]]) -> tuple[str, dict[str, Any]]:
    """Name and keyword options of ``name`` or ``name(option=value, ...)``.

    >>> parse("saw(ema=0.7)", {"saw": dict})
    ('saw', {'ema': 0.7})

    Raises:
        ValueError: If the text is no such expression, the name is not in the table, or a value is not a literal.
    """
    form = "name or name(option=value, ...)"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, *_TOO_DEEP) as error:
        raise ValueError(f"{text!r} is not of the form {form}: {error}") from None
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    if not isinstance(call.func, ast.Name) or call.args or any(k.arg is None for k in call.keywords):
        raise ValueError(f"{text!r} is not of the form {form}")
    name = call.func.id
    if name not in table:
        raise ValueError(f"{text!r}: unknown name {name!r}; known are {sorted(table)}")
    options = [str(k.arg) for k in call.keywords]
    if len(set(options)) != len(options):
        raise ValueError(f"{text!r}: an option is given twice")
    try:
        return name, {o: ast.literal_eval(k.value) for o, k in zip(options, call.keywords, strict=True)}
    except (ValueError, TypeError, *_TOO_DEEP):
        raise ValueError(f"{text!r}: the values of options must be literals (numbers, strings, tuples)") from None


def construct(text: str, table: Mapping[str, Callable[..., Any]]) -> Any:
    """The object that the text describes.

    Raises:
        ValueError: As `parse`; or if an option is unknown or its value refused.
    """
    name, options = parse(text, table)
    try:
        return table[name](**options)
    except TypeError as error:
        raise ValueError(f"{text!r}: {error}") from error


def describe(value: Any, table: Mapping[str, Callable[..., Any]]) -> str | None:
    """The text that `construct` turns into an equal object; None if its class is not in the table or no text does.

    Only options that differ from their defaults are written.
    """
    names = [name for name, cls in table.items() if cls is type(value)]
    if not names or not is_dataclass(value):
        return None
    options = [
        f"{f.name}={getattr(value, f.name)!r}" for f in fields(value) if f.init and getattr(value, f.name) != f.default
    ]
    text = f"{names[0]}({', '.join(options)})" if options else names[0]
    try:
        return text if construct(text, table) == value else None
    except ValueError:  # an option that is no literal, such as a weighter inside a weighter
        return None
