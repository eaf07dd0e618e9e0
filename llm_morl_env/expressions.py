"""Objects as text, ``saw(ema=0.7)``: for the command line, configuration files and checkpoints.

Parsed with `ast`, values by `ast.literal_eval`: nothing is evaluated, only names of the given table are called.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

#: What `ast` raises on text that is nested too deeply.
_TOO_DEEP = (RecursionError, MemoryError)
_FORM = "name or name(option=value, ...)"


def parse(text: str, table: Mapping[str, Callable[..., Any]]) -> tuple[str, dict[str, Any]]:
    """Name and keyword options of ``name`` or ``name(option=value, ...)``.

    A value is a literal, or itself of that form with a name of the table; then it is constructed.

    >>> parse("saw(ema=0.7)", {"saw": dict})
    ('saw', {'ema': 0.7})
    >>> parse("smoothed(inner=saw(ema=0.7))", {"saw": dict, "smoothed": dict})
    ('smoothed', {'inner': {'ema': 0.7}})

    Raises:
        ValueError: If the text is no such expression, a name is not in the table, or a value is neither a literal nor
            such an expression.
    """
    try:
        return _read(ast.parse(text.strip(), mode="eval").body, text, table)
    except (SyntaxError, *_TOO_DEEP) as error:
        raise ValueError(f"{text!r} is not of the form {_FORM}: {error}") from None


def _read(node: ast.expr, text: str, table: Mapping[str, Callable[..., Any]]) -> tuple[str, dict[str, Any]]:
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    if not isinstance(call.func, ast.Name) or call.args or any(k.arg is None for k in call.keywords):
        raise ValueError(f"{text!r} is not of the form {_FORM}")
    name = call.func.id
    if name not in table:
        raise ValueError(f"{text!r}: unknown name {name!r}; known are {sorted(table)}")
    options = [str(k.arg) for k in call.keywords]
    if len(set(options)) != len(options):
        raise ValueError(f"{text!r}: an option is given twice")
    return name, {o: _value(k.value, text, table) for o, k in zip(options, call.keywords, strict=True)}


def _value(node: ast.expr, text: str, table: Mapping[str, Callable[..., Any]]) -> Any:
    """A literal, an object of the table, or a tuple or list of such."""
    named = node.func if isinstance(node, ast.Call) else node
    if isinstance(named, ast.Name) and named.id in table:
        name, options = _read(node, text, table)
        return _construct(name, options, text, table)
    if isinstance(node, (ast.Tuple, ast.List)):
        values = [_value(element, text, table) for element in node.elts]
        return tuple(values) if isinstance(node, ast.Tuple) else values
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, *_TOO_DEEP):
        raise ValueError(
            f"{text!r}: the values of options must be literals (numbers, strings, tuples) or of the form {_FORM} "
            f"with one of {sorted(table)}"
        ) from None


def construct(text: str, table: Mapping[str, Callable[..., Any]]) -> Any:
    """The object that the text describes.

    Raises:
        ValueError: As `parse`; or if an option is unknown or its value refused.
    """
    name, options = parse(text, table)
    return _construct(name, options, text, table)


def _construct(name: str, options: Mapping[str, Any], text: str, table: Mapping[str, Callable[..., Any]]) -> Any:
    try:
        return table[name](**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{text!r}: {error}") from error


def _plain(option: Any) -> Any:
    """Numbers of numpy, also inside tuples, as those of Python, which are literals."""
    if isinstance(option, tuple):
        return tuple(map(_plain, option))
    return option.item() if isinstance(option, np.generic) else option


def describe(value: Any, table: Mapping[str, Callable[..., Any]]) -> str | None:
    """The text that `construct` turns into an equal object; None if its class is not in the table or no text does.

    Only options that differ from their defaults are written.
    """
    names = [name for name, cls in table.items() if cls is type(value)]
    if not names or not is_dataclass(value):
        return None
    options = []
    for f in fields(value):
        option = getattr(value, f.name)
        if f.init and option != f.default:
            text = describe(option, table) if type(option) in table.values() else repr(_plain(option))
            options.append(f"{f.name}={text}")
    text = f"{names[0]}({', '.join(options)})" if options else names[0]
    try:
        return text if construct(text, table) == value else None
    except ValueError:  # an option that no text describes
        return None


def from_mapping(values: Mapping[str, Any], table: Mapping[str, Callable[..., Any]], *, key: str) -> Any:
    """The object that plain values describe: its name under ``key``, its options beside it.

    >>> from_mapping({"transform": "made", "scale": 0.5}, {"made": dict}, key="transform")
    {'scale': 0.5}

    Raises:
        ValueError: If the name is missing or not in the table, an option is unknown or its value refused.
    """
    options = dict(values)
    name = options.pop(key, None)
    if name not in table:
        raise ValueError(f"{dict(values)!r}: {key!r} must be one of {sorted(table)}, got {name!r}")
    return _construct(name, options, repr(dict(values)), table)
