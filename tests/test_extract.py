"""Tool calls and thoughts in model output: what counts, and that nothing raises or hangs."""

import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards.extract import (
    MAX_JSON_DEPTH,
    ParsedCalls,
    ToolCall,
    extract_tool_calls,
    parse_tool_calls,
    strip_thoughts,
)


def block(*lines):
    return "<tool_call>\n" + "\n".join(lines) + "\n</tool_call>"


def call(arguments="{}", name='"f"', key="parameters"):
    return f'{{"name": {name}, "{key}": {arguments}}}'


TAGS = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<response>",
    "</response>",
    "\n",
    call(),
    call('{"a": [1]}'),
]
tagged_text = st.lists(st.sampled_from(TAGS) | st.text(max_size=5), max_size=12).map("".join)


class TestParsing:
    def test_several_calls_of_both_spellings(self):
        text = "<think>t</think>\n" + block(call('{"a": 1}'), call('{"b": [true, null]}', key="arguments"))
        assert parse_tool_calls(text) == [ToolCall("f", {"a": 1}), ToolCall("f", {"b": [True, None]})]

    def test_parameters_win_over_arguments_and_further_keys_are_ignored(self):
        line = '{"id": 1, "name": "f", "arguments": {"a": 2}, "parameters": {"a": 1}}'
        assert parse_tool_calls(block(line)) == [ToolCall("f", {"a": 1})]

    def test_only_the_first_block_counts(self):
        assert parse_tool_calls(block(call('{"a": 1}')) + block(call('{"a": 2}'))) == [ToolCall("f", {"a": 1})]

    @pytest.mark.parametrize(
        "thought",
        [
            "<think>I use <tool_call> now</think>",
            f"<think>{block(call())}</think>",
            "<think>a</think><think>b <tool_call></think>",
            "<think><think></think>",
        ],
    )
    def test_tags_quoted_in_a_thought_do_not_count(self, thought):
        assert parse_tool_calls(thought + "\n" + block(call('{"a": 1}'))) == [ToolCall("f", {"a": 1})]
        assert extract_tool_calls(thought + "\n<response>no</response>").status == "absent"

    def test_thought_tags_inside_an_argument_are_text(self):
        arguments = {"a": "<think>", "b": "<tool_call>"}
        assert parse_tool_calls(block(call(json.dumps(arguments)))) == [ToolCall("f", arguments)]

    def test_thought_never_closed_hides_what_follows(self):
        assert extract_tool_calls("<think>hm " + block(call())) == ParsedCalls("absent")

    def test_blanks_around_block_and_lines_are_let_pass(self):
        assert len(parse_tool_calls(f"<tool_call>{call()}</tool_call>")) == 1
        assert len(parse_tool_calls(f"<tool_call>\n\n  {call()}\r\n\t{call()} \n\n</tool_call>")) == 2

    def test_line_separators_of_unicode_inside_strings_split_nothing(self):
        assert parse_tool_calls(block(call('{"a": "x\u2028y\x85z"}'))) == [ToolCall("f", {"a": "x\u2028y\x85z"})]

    def test_last_of_duplicate_keys_counts(self):
        assert parse_tool_calls(block(call('{"a": 1, "a": 2}'))) == [ToolCall("f", {"a": 2})]

    def test_numbers_keep_their_type(self):
        (parsed,) = parse_tool_calls(block(call('{"i": 5, "f": 5.0, "big": 123456789012345678901234567890}')))
        assert [type(v) for v in parsed.arguments.values()] == [int, float, int]

    @pytest.mark.parametrize("text", ["", "plain", "</tool_call>", "<toolcall>", "<tool_call", "\ud800", "\x00"])
    def test_absent(self, text):
        assert extract_tool_calls(text) == ParsedCalls("absent")
        assert parse_tool_calls(text) == []

    @pytest.mark.parametrize(
        "text",
        [
            "<tool_call>",
            "<tool_call>\n" + call(),
            "</tool_call>" + "<tool_call>" + call(),
            block(""),
            block("{"),
            block("null"),
            block("[1]"),
            block('"f"'),
            block("[" + call() + "]"),
            block(call() + call()),
            block(call(), "", call()),
            block(call(), "and then"),
            block(call(name="1")),
            block(call(name="null")),
            block('{"parameters": {}}'),
            block('{"name": "f"}'),
            block(call("[]")),
            block(call("null")),
            block(call('"{}"')),
            block("{'name': 'f', 'parameters': {}}"),
            block(call('{"a": NaN}')),
            block(call('{"a": -Infinity}')),
            block(call('{"a": 1e999}')),
            block(call('{"a": ' + "9" * 10_000 + "}")),
            block(call('{"a": "\n"}')),
            block(call('{"a": "\x01"}')),
            block("\ufeff" + call()),
            block(call('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}")),
            block(call('{"a": ' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}")),
            block("[" * 1_000_000),
        ],
        ids=lambda text: ascii(text[12:50]),
    )
    def test_malformed(self, text):
        assert extract_tool_calls(text) == ParsedCalls("malformed")
        assert parse_tool_calls(text) == []

    @pytest.mark.parametrize(("extra", "status"), [(0, "ok"), (1, "malformed")])
    def test_depth_limit_holds_whatever_the_stack(self, extra, status):
        nested = MAX_JSON_DEPTH - 2 + extra  # the call and its arguments are two levels
        text = block(call('{"a": ' + "[" * nested + "]" * nested + "}"))

        def at_depth(frames):
            return extract_tool_calls(text).status if frames == 0 else at_depth(frames - 1)

        assert {at_depth(0), at_depth(sys.getrecursionlimit() // 2)} == {status}

    def test_brackets_in_strings_are_no_depth(self):
        text = "[" * (2 * MAX_JSON_DEPTH)
        assert parse_tool_calls(block(call(json.dumps({"a": text})))) == [ToolCall("f", {"a": text})]

    def test_lone_surrogates(self):
        assert parse_tool_calls(block(call('{"a": "\\ud800", "b": "\udfff"}'))) == [
            ToolCall("f", {"a": "\ud800", "b": "\udfff"})
        ]

    @given(tagged_text)
    def test_never_raises_and_status_agrees_with_calls(self, text):
        parsed = extract_tool_calls(text)
        assert (parsed.status == "ok") == bool(parsed.calls)
        assert parse_tool_calls(text) == list(parsed.calls)

    @given(
        st.dictionaries(
            st.text(max_size=4),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(),
                lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children),
                max_leaves=5,
            ),
            max_size=3,
        ),
        st.booleans(),
    )
    def test_reads_back_what_json_wrote(self, arguments, ascii_only):
        line = json.dumps({"name": "f", "parameters": arguments}, ensure_ascii=ascii_only)
        if "</tool_call>" not in line:
            assert parse_tool_calls("<think>t</think>\n" + block(line)) == [ToolCall("f", arguments)]


class TestLargeText:
    """Ten megabytes each: a step that is not linear would not end while anybody waits."""

    @pytest.mark.parametrize(
        "unit",
        [
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            "<think></think>",
            "<think><tool_call></think>",
            "x",
            "[",
            "\n",
        ],
    )
    def test_repeated_pieces(self, unit):
        text = unit * (10_000_000 // len(unit))
        assert parse_tool_calls(text) == []
        assert parse_tool_calls(block(text)) == []
        strip_thoughts(text)

    def test_one_large_argument(self):
        (parsed,) = parse_tool_calls(block(call(json.dumps({"a": "{" * 10_000_000}))))
        assert len(parsed.arguments["a"]) == 10_000_000


class TestStripThoughts:
    @pytest.mark.parametrize(
        ("text", "rest"),
        [
            ("", ""),
            ("no thought", "no thought"),
            ("<think>a</think>b", "b"),
            ("a<think>b</think>c<think>d</think>e", "ace"),
            ("a<think>b", "a"),
            ("a</think>b", "a</think>b"),
            ("<think>a<think>b</think>c</think>", "c</think>"),
        ],
    )
    def test_values(self, text, rest):
        assert strip_thoughts(text) == rest

    @given(tagged_text)
    def test_equals_the_pattern(self, text):
        assert strip_thoughts(text) == re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.DOTALL)
