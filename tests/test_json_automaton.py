"""The JSON automaton: it accepts what `json.dumps` writes for a schema, and every text it lets be written is that."""

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_env.tasks.json_automaton import (
    Frames,
    FreeText,
    Limits,
    Number,
    advance,
    closing,
    member_frames,
    value_frames,
)

LIMITS = Limits(characters=8, digits=3, decimals=2, items=2, depth=2)
ALPHABET = 'ab<>",:{}[]\\ 0129.-entruflsé\n'
SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "float": {"type": "float"},
    "boolean": {"type": "boolean"},
    "enum": {"type": "string", "enum": ["on", "of", "off"]},
    "numbers": {"type": "integer", "enum": [1, 12, 2]},
    "list": {"type": "array", "items": {"type": "string"}},
    "nested list": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    "object": {
        "type": "dict",
        "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "string"}},
        "required": ["b"],
    },
    "any object": {"type": "dict"},
    "any": {"type": "any"},
}


def is_valid(value: Any, schema: dict[str, Any]) -> bool:
    """An independent reading of the schema."""
    if "enum" in schema:
        return value in schema["enum"]
    match schema["type"]:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list) and all(is_valid(v, schema["items"]) for v in value)
        case "dict" if "properties" in schema:
            order = [key for key in schema["properties"] if key in value]
            return (
                list(value) == order
                and set(schema["required"]) <= set(value)
                and all(is_valid(v, schema["properties"][k]) for k, v in value.items())
            )
        case "dict":
            return isinstance(value, dict)
    return True


def frames_of(name: str) -> Frames:
    frames = value_frames(SCHEMAS[name], LIMITS, lambda text: True)
    assert frames is not None
    return frames


def write(frames: Frames | None, text: str) -> Frames | None:
    for char in text:
        frames = advance(frames, char) if frames else None
    return frames


def ends(frames: Frames | None) -> bool:
    return frames is not None and closing(frames) == ""


def texts() -> st.SearchStrategy[str]:
    return st.text(st.sampled_from('ab ,":é\\\n'), max_size=4)


VALUES = {
    "string": texts(),
    "integer": st.integers(-999, 999),
    "float": st.integers(-9999, 9999).map(lambda i: i / 100),
    "boolean": st.booleans(),
    "enum": st.sampled_from(["on", "of", "off"]),
    "numbers": st.sampled_from([1, 12, 2]),
    "list": st.lists(texts(), max_size=2),
    "nested list": st.lists(st.lists(st.integers(-9, 9), max_size=2), max_size=2),
    "object": st.fixed_dictionaries({"b": st.booleans()}, optional={"a": st.integers(0, 9), "c": texts()}).map(
        lambda d: {key: d[key] for key in "abc" if key in d}
    ),
    "any object": st.dictionaries(texts(), st.none() | st.booleans() | st.integers(0, 99), max_size=2),
    "any": st.recursive(
        st.none() | st.booleans() | st.integers(-99, 99) | texts(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts(), inner, max_size=2),
        max_leaves=2,
    ),
}


@pytest.mark.parametrize("name", SCHEMAS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_accepts_what_json_dumps_writes(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    assert ends(write(frames_of(name), json.dumps(value, ensure_ascii=False)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_texts_are_values_of_the_schema(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        frames: Frames = frames_of(name)
        text = ""
        while frames:
            options = [(char, after) for char in ALPHABET if (after := advance(frames, char)) is not None]
            if not options or (closing(frames) == "" and rng.random() < 0.5):
                break
            char, frames = options[int(rng.integers(len(options)))]
            text += char
        text += closing(frames)
        assert is_valid(json.loads(text), SCHEMAS[name]), text
        assert "<" not in text


@pytest.mark.parametrize("name", SCHEMAS)
def test_closing_is_followed_to_the_end(name: str) -> None:
    """Writing the closing's first character leaves the rest of it, whatever was written before."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        frames: Frames | None = frames_of(name)
        for _ in range(int(rng.integers(12))):
            options = [after for char in ALPHABET if (after := advance(frames, char)) is not None]
            if not options:
                break
            frames = options[int(rng.integers(len(options)))]
        rest = closing(frames)
        while rest:
            frames = advance(frames, rest[0])
            assert frames is not None
            rest = rest[1:]
            assert closing(frames) == rest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("integer", "01"),
        ("integer", "1."),
        ("integer", "1234"),
        ("integer", "--1"),
        ("float", "1.234"),
        ("float", ".5"),
        ("boolean", "True"),
        ("enum", '"offf'),
        ("enum", '"x'),
        ("numbers", "11"),
        ("string", '"123456789'),
        ("string", '"<'),
        ("string", '"\n'),
        ("string", '"\\u'),
        ("list", '["a","b"'),
        ("list", '["a", "b", '),
        ("object", '{"a": 1}'),
        ("object", '{"b": true, "a"'),
        ("object", '{"d"'),
        ("any", "[[["),
        ("any", "nul1"),
    ],
)
def test_refuses(name: str, text: str) -> None:
    assert write(frames_of(name), text) is None


def test_number_may_end_where_it_is_one() -> None:
    start: Frames = (Number("start", 3, 2),)
    for text, end in (("", False), ("-", False), ("0", True), ("-12", True), ("1.", False), ("1.5", True)):
        assert ends(write(start, text)) == end, text


def test_free_text_is_bounded() -> None:
    assert write((FreeText(3),), "a\nb") == (FreeText(0),)
    assert write((FreeText(3),), "abcd") is None
    assert write((FreeText(3),), "<") is None


def test_what_cannot_be_written_is_left_out() -> None:
    def writable(text: str) -> bool:
        return text.isascii()

    assert value_frames({"enum": ["é"]}, LIMITS, writable) is None
    only = value_frames({"enum": ["é", "e"]}, LIMITS, writable)
    assert only is not None
    assert closing(only) == '"e"'
    schema = {"type": "dict", "properties": {"é": {"type": "integer"}, "e": {"enum": ["é"]}}}
    assert value_frames({**schema, "required": ["é"]}, LIMITS, writable) is None
    assert value_frames({**schema, "required": ["e"]}, LIMITS, writable) is None
    optional = value_frames(schema, LIMITS, writable)
    assert optional is not None
    assert ends(write(optional, "{}"))
    assert write(optional, '{"') is None
    assert value_frames({"type": "array", "items": {"enum": ["é"]}}, LIMITS, writable) == ("[]",)


@pytest.mark.parametrize(("field", "value"), [("calls", 0), ("characters", 0), ("depth", -1)])
def test_limits_are_checked(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"Limits\({field}=\).*got {value}"):
        Limits(**{field: value})


def test_states_that_are_built_apart_are_equal_and_survive_pickling():
    """Compound parts remember their hash, which must not travel: that of a text differs between processes."""
    schema = {
        "properties": {"day": {"type": "string", "enum": ["monday", "friday"]}, "n": {"type": "array"}},
        "required": ["n"],
    }
    first, second, other = (
        member_frames(of, Limits(), lambda text: True)
        for of in (schema, copy.deepcopy(schema), {**schema, "required": []})
    )
    assert first is not None
    assert second is not None
    assert first == second
    assert hash(first) == hash(second)
    assert first.closing == second.closing
    assert first != other
    assert first != "text"
    read = pickle.loads(pickle.dumps(first))
    assert read == first
    assert "_hash" in vars(first)
    assert read.closing == first.closing
