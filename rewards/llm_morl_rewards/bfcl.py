"""The AST rules of the Berkeley function-calling leaderboard (BFCL): is a list of calls an accepted answer?

Source: ``bfcl_eval/eval_checker/ast_eval/ast_checker.py`` of ShishirPatil/gorilla (Patil et al., ICML 2025).
Written anew from its rules, with these differences, each towards one plain rule:

- Lists and dicts are compared to any depth, and an int passes for a float there too (the leaderboard checks one level).
- A bool is never a number; inside lists and dicts the leaderboard compares with ``==``, where ``True == 1``.
- *Any* accepted value of another type than the schema's counts as it stands, beside the others (there: only where the
  first one is of that type, and then the strings beside it lose their loose comparison).
- Parallel calls are matched by a perfect assignment; the leaderboard's greedy search can miss one.

Left out: Java and JavaScript literals, and the renaming of ``.`` to ``_`` for models whose tool names cannot hold dots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Schema = Mapping[str, Any]

#: Schema type -> Python types of its values. The last two names are JSON Schema's own; any other name is unchecked.
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (float, int),
    "boolean": (bool,),
    "array": (list,),
    "tuple": (list, tuple),
    "dict": (dict,),
    "number": (float, int),
    "object": (dict,),
}


class Verdict(NamedTuple):
    """Outcome of `bfcl_valid`: whether the calls are accepted, and if not why, in one sentence (else ``""``)."""

    valid: bool
    reason: str

    def __bool__(self) -> bool:
        """Whether it is valid: a tuple would always be true."""
        return self.valid


def bfcl_valid(
    functions: Sequence[Schema] | Schema,
    ground_truth: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]] | None,
    calls: Sequence[Mapping[str, Any]],
) -> Verdict:
    """Judge calls by the leaderboard's AST rules.

    As many calls as expected, in any order; each with the right name, all required parameters, every parameter of the
    ground truth that may not be left out (``""`` among its accepted values says that it may; a required one may not),
    no other parameter than those that both the schema and the ground truth know, and values that `value_accepted` lets
    pass.

    Args:
        functions: The function descriptions, ``{"name", "parameters": {"properties", "required"}}``; or one of them.
        ground_truth: One ``{function name: {parameter: [every accepted value]}}`` for each expected call; None or empty
            where the right answer is to call nothing.
        calls: ``[{"name": ..., "arguments": {...}}]``.

    Returns:
        The verdict. Its reason names the function, the parameter, the rule and the value.

    Raises:
        ValueError: If the ground truth has another form, or names a function that ``functions`` lacks. Calls of another
            form are model output: not valid.

    >>> add = {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}
    >>> bfcl_valid([add], [{"add": {"a": [1]}}], [{"name": "add", "arguments": {"a": 1}}])
    Verdict(valid=True, reason='')
    >>> bfcl_valid([add], [{"add": {"a": [1]}}], [{"name": "add", "arguments": {"a": 1.0}}]).reason
    "add: parameter 'a' must be of type integer or an accepted value, got float 1.0; accepted are [1]"
    """
    expected = [split_truth(entry) for entry in ground_truth or []]
    schemas = {schema["name"]: schema for schema in ([functions] if isinstance(functions, Mapping) else functions)}
    unknown = sorted({name for name, _ in expected} - schemas.keys())
    if unknown:
        raise ValueError(f"bfcl_valid(ground_truth=) names {unknown}, which functions= lacks; it has {sorted(schemas)}")
    if len(calls) != len(expected):
        return Verdict(False, f"expected {len(expected)} calls, got {len(calls)}")
    if not expected:
        return Verdict(True, "")
    from scipy.optimize import linear_sum_assignment  # here since it takes 0.4 s to import

    faults = [[_call_fault(schemas[name], name, truth, call) for call in calls] for name, truth in expected]
    wrong = np.array([[fault is not None for fault in row] for row in faults], dtype=np.float64)
    rows, columns = linear_sum_assignment(wrong)
    failed = [(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True) if wrong[row, column]]
    if not failed:
        return Verdict(True, "")
    row, column = failed[0]
    # Among the calls that no other expectation claims, one of the right name tells more than "wrong name".
    column = next((c for _, c in failed if _name(calls[c]) == expected[row][0]), column)
    return Verdict(False, str(faults[row][column]))


def value_accepted(value: Any, accepted: Sequence[Any], schema: Schema | None = None) -> bool:
    """Whether a value is one of the accepted ones under the leaderboard's comparison.

    - A number equals a number; where the schema says integer a float never passes, where it says float an int does. A
      bool is never a number, nor a number a bool.
    - Strings are compared by `standardize_string`.
    - Lists: same length, element by element in order. Dicts: each key of an accepted dict holds a list of accepted
      values, by the same rules; a key may be missing if ``""`` is among them, others may not appear.
    - An accepted value whose own type differs from the schema's (None, the name of a variable) is accepted as it
      stands: same type, equal.
    - ``""`` marks a parameter that may be left out; handing over an empty string or list, where the schema has that
      type, says the same and passes.

    Args:
        value: The value to judge, as parsed from JSON.
        accepted: Every accepted value.
        schema: The parameter's schema (``type``, ``items``, ``properties``); None or empty: no type is demanded.

    >>> value_accepted("New-York", ["new york", "NYC"], {"type": "string"}), value_accepted(True, [1], {})
    (True, False)
    >>> value_accepted(5, [5.0], {"type": "float"}), value_accepted(5.0, [5], {"type": "integer"})
    (True, False)
    """
    schema = schema or {}
    if value == [] and "" in accepted and schema.get("type") in ("array", "tuple"):
        return True
    return any(
        _matches(value, option, schema)
        for option in accepted
        if option != "" or schema.get("type", "string") in ("string", "any")
    )


def standardize_string(text: str) -> str:
    """The leaderboard's form for comparing strings: lower case, no spaces or ``,./-_*^``, double quotes for single.

    >>> standardize_string("April 1, 2024") == standardize_string("april 1,2024")
    True
    """
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')


def bfcl_gold_calls(ground_truth: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]] | None) -> list[dict[str, Any]]:
    """One accepted answer: for each expected call the first accepted value of each parameter that is not ``""``.

    A parameter that accepts nothing but ``""`` is left out; likewise inside dict values.

    Returns:
        ``[{"name": ..., "arguments": {...}}]``, fresh; empty for None (no call is right).

    Raises:
        ValueError: If the ground truth has another form.

    >>> bfcl_gold_calls([{"paint": {"colour": ["red", "blue"], "area": [{"width": [2]}], "by": [""]}}])
    [{'name': 'paint', 'arguments': {'colour': 'red', 'area': {'width': 2}}}]
    """
    return [{"name": name, "arguments": _first_accepted(truth)} for name, truth in map(split_truth, ground_truth or [])]


def split_truth(entry: Any) -> tuple[str, Mapping[str, Sequence[Any]]]:
    """Take one expected call ``{name: {parameter: [accepted, ...]}}`` apart: ``(name, {parameter: accepted})``.

    Raises:
        ValueError: If it has another form.
    """
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, parameters),) = entry.items()
        if isinstance(parameters, Mapping) and all(
            isinstance(accepted, list) and accepted for accepted in parameters.values()
        ):
            return name, parameters
    raise ValueError(f"a ground_truth entry must be {{function: {{parameter: [accepted, ...]}}}}, got {_show(entry)}")


def parameters_of(function: Schema | None) -> tuple[Mapping[str, Schema], tuple[str, ...]]:
    """The parameter schemas of a function description and the names of its required parameters."""
    parameters = (function or {}).get("parameters") or {}
    return parameters.get("properties") or {}, tuple(parameters.get("required") or ())


def must_be_given(truth: Mapping[str, Sequence[Any]], required: Sequence[str]) -> tuple[str, ...]:
    """The parameters of an expected call that may not be left out: those without ``""``, and the required ones."""
    return tuple(name for name, accepted in truth.items() if "" not in accepted or name in required)


def _call_fault(function: Schema, name: str, truth: Mapping[str, Sequence[Any]], call: Any) -> str | None:
    """What is wrong with a call, in one sentence; None if nothing."""
    arguments = call.get("arguments") if isinstance(call, Mapping) else None
    if not isinstance(arguments, Mapping):
        return f"a call must be {{'name': str, 'arguments': object}}, got {_show(call)}"
    if _name(call) != name:
        return f"expected a call of {name!r}, got one of {_show(_name(call))}"
    properties, required = parameters_of(function)
    missing = [each for each in (*required, *must_be_given(truth, required)) if each not in arguments]
    if missing:
        rule = "is required" if missing[0] in required else "may not be left out"
        return f"{name}: parameter {missing[0]!r} {rule}, got only {_show(list(arguments))}"
    for parameter, value in arguments.items():
        if parameter not in properties or parameter not in truth:
            known = sorted(properties.keys() & truth.keys())
            return f"{name}: parameter {_show(parameter)} is not expected, only {known} are; got value {_show(value)}"
        schema, accepted = properties[parameter], truth[parameter]
        if not value_accepted(value, accepted, schema):
            expected = schema.get("type", "any")
            typed = expected not in _TYPES or _is_a(value, _TYPES[expected])
            rule = "must be an accepted value" if typed else f"must be of type {expected} or an accepted value"
            got = f"{type(value).__name__} {_show(value)}"
            return f"{name}: parameter {parameter!r} {rule}, got {got}; accepted are {_show(accepted)}"
    return None


def _matches(value: Any, option: Any, schema: Schema) -> bool:
    """Whether a value equals one accepted value under the schema; recursion no deeper than the accepted value."""
    types = _TYPES.get(schema.get("type", ""))
    if types is not None and not _is_a(value, types):
        return type(value) is type(option) and bool(value == option)  # the accepted value as it stands
    if isinstance(option, str):
        return isinstance(value, str) and standardize_string(value) == standardize_string(option)
    if isinstance(option, bool) or option is None:
        return value is option
    if isinstance(option, int | float):
        return _is_a(value, (int, float)) and bool(value == option)  # never float(value): a huge int overflows
    if isinstance(option, list | tuple):
        items = schema.get("items") or {}
        return (
            isinstance(value, list | tuple)
            and len(value) == len(option)
            and all(_matches(v, o, items) for v, o in zip(value, option, strict=True))
        )
    return isinstance(option, Mapping) and isinstance(value, Mapping) and _dict_matches(value, option, schema)


def _dict_matches(value: Mapping[str, Any], option: Mapping[str, Any], schema: Schema) -> bool:
    properties = schema.get("properties") or {}
    accepted = {key: each if isinstance(each, list) else [each] for key, each in option.items()}
    return (
        value.keys() <= accepted.keys()
        and all(key in value or "" in each for key, each in accepted.items())
        and all(value_accepted(each, accepted[key], properties.get(key)) for key, each in value.items())
    )


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    """Whether the value is of one of the types, a bool counting as nothing but a bool."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _first_accepted(truth: Mapping[str, Any]) -> dict[str, Any]:
    """The first value that is not ``""`` for each key that has one."""
    options = {key: [o for o in (each if isinstance(each, list) else [each]) if o != ""] for key, each in truth.items()}
    return {key: _plain(each[0]) for key, each in options.items() if each}


def _plain(option: Any) -> Any:
    """An accepted value with one value chosen for each key of the dicts in it."""
    if isinstance(option, Mapping):
        return _first_accepted(option)
    return [_plain(element) for element in option] if isinstance(option, list) else option


def _name(call: Any) -> Any:
    return call.get("name") if isinstance(call, Mapping) else None


def _show(value: Any) -> str:
    """``repr``, cut to a line, that stands what model output may hold: very long, very deep, huge integers."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError) as error:
        return f"<{type(value).__name__} without repr: {error}>"
    return shown if len(shown) <= 200 else f"{shown[:200]}... ({len(shown)} characters)"
