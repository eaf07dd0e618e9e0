"""ToolRL's format and correctness: reference values, the released code's rules as an oracle, the paper's matching."""

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_rewards.toolrl import multiset_jaccard, toolrl_correctness, toolrl_format

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "method_vectors.json"


def tagged(calls, response=None, thought="t"):
    lines = "\n".join(call if isinstance(call, str) else json.dumps(call) for call in calls)
    text = f"<think>{thought}</think>"
    if calls:
        text += f"\n<tool_call>\n{lines}\n</tool_call>"
    return text if response is None else text + f"\n<response>{response}</response>"


def tool(name, **parameters):
    return {"name": name, "parameters": parameters}


# --- oracles: METHODS 5.2 written out naively ---------------------------------------------------------------------

PATTERNS = {  # (gold has a response, gold has a call) -> (pattern, tags that occur once)
    (True, False): (r"^<think>.*?</think>\n<response>.*?</response>$", ["response"]),
    (False, True): (r"^<think>.*?</think>\n<tool_call>\n.*?\n</tool_call>$", ["tool_call"]),
    (True, True): (
        r"^<think>.*?</think>\n<tool_call>\n.*?\n</tool_call>\n<response>.*?</response>$",
        ["tool_call", "response"],
    ),
    (False, False): (r"^<think>.*?</think>$", []),
}


def oracle_format(gold, output):
    pattern, tags = PATTERNS["<response>" in gold, "<tool_call>" in gold]
    once = all(output.count(f"<{tag}>") == output.count(f"</{tag}>") == 1 for tag in tags)
    return float(once and re.search(pattern, output, re.DOTALL) is not None)


def oracle_jaccard(first, second):
    if first == second:
        return 1.0
    shared = (Counter(first) & Counter(second)).total()
    return shared / (len(first) + len(second) - shared)


def oracle_pair(gold, call):
    expected, given = gold["parameters"], call["parameters"]
    right = sum(key in given and given[key] == value for key, value in expected.items())
    return oracle_jaccard(list(expected.keys()), list(given.keys())) + right


def read(text):
    return [json.loads(line) for line in text.split("<tool_call>")[1].split("</tool_call>")[0].strip().split("\n")]


def oracle_greedy(gold, output):
    gold_calls = read(gold)  # a gold that cannot be read is an error there
    try:
        assert "</tool_call>" in output
        calls = read(output)
        if gold_calls == calls:
            return 3.0
        total = oracle_jaccard([g["name"] for g in gold_calls], [c["name"] for c in calls])
        used = []
        for g in gold_calls:
            best, where = 0.0, None
            for i, c in enumerate(calls):
                if i not in used and c["name"] == g["name"] and oracle_pair(g, c) > best:
                    best, where = oracle_pair(g, c), i
            total += best
            used += [where]
        return 6 * total / (1 + sum(1 + len(g["parameters"]) for g in gold_calls)) - 3
    except Exception:
        return -3.0


def oracle_optimal(gold_calls, calls):
    """The best of all assignments by trying every one of them."""
    names, gold_names = {c["name"] for c in calls}, {g["name"] for g in gold_calls}
    padded = [*calls, *[None] * len(gold_calls)]
    best = max(
        sum(oracle_pair(g, c) for g, c in zip(gold_calls, chosen, strict=True) if c and c["name"] == g["name"])
        for chosen in itertools.permutations(padded, len(gold_calls))
    )
    total = len(names & gold_names) / len(names | gold_names) + best
    return 6 * total / (1 + sum(1 + len(g["parameters"]) for g in gold_calls)) - 3


# --- strategies ---------------------------------------------------------------------------------------------------

values = st.sampled_from([0, 1, 1.0, True, "1", None, [1], {"k": 1}])
calls = st.builds(
    lambda name, parameters: {"name": name, "parameters": parameters},
    st.sampled_from("ab"),
    st.dictionaries(st.sampled_from("xyz"), values, max_size=3),
)
some_calls = st.lists(calls, min_size=1, max_size=3)
odd_lines = st.sampled_from(
    [
        *("", "{", "1", "[]", '"a"', "NaN", '{"name": "a"}', '{"name": "c"}', '{"parameters": {}}'),
        *('{"name": ["a"], "parameters": {}}', '{"name": "a", "parameters": []}', '{"name": "a", "parameters": "xyz"}'),
        *('{"name": "a", "arguments": {}}', '{"name": "a", "parameters": {"x": NaN}}'),
        '{"name": "a", "parameters": {"x": 1, "x": 0}}',
    ]
)
PIECES = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>", "\n", "x"]
JOINTS = [
    "</think>\n<tool_call>\n",
    "</think>\n<response>",
    "\n</tool_call>",
    "\n</tool_call>\n<response>",
    "</response>",
]
texts = st.lists(st.sampled_from(PIECES + JOINTS), max_size=8).map("".join)


class TestReferenceValues:
    @pytest.fixture
    def cases(self):
        if not VECTORS.exists():
            pytest.skip("the reference vectors are not here")
        return json.loads(VECTORS.read_text())["toolrl"]["correctness"]

    def test_correctness(self, cases):
        assert len(cases) >= 11
        for name, case in cases.items():
            gold, output = tagged(case["ground_truth"]), tagged(case["prediction"] or [""])
            # The file has ten decimals, so the tolerance is its rounding; the oracle tests below go further.
            assert toolrl_correctness(gold, output) == pytest.approx(case["released_code"], abs=1e-9), name
            optimal = case["paper_optimal_matching_set_names"]
            assert toolrl_correctness(gold, output, matching="optimal") == pytest.approx(optimal, abs=1e-9), name

    def test_fractions(self):
        gold = tagged([tool("a", x=1, y=1), tool("a", x=1, y=2)])
        output = tagged([tool("a", x=1, y=2), tool("a", x=2, y=1)])
        assert toolrl_correctness(gold, output) == pytest.approx(3 / 7, abs=1e-12)
        assert toolrl_correctness(gold, output, matching="optimal") == pytest.approx(15 / 7, abs=1e-12)


class TestCorrectness:
    @given(some_calls, st.lists(calls | odd_lines, min_size=1, max_size=4))
    def test_greedy_equals_the_released_rules(self, gold, predicted):
        gold, output = tagged(gold), tagged(predicted)
        assert toolrl_correctness(gold, output) == pytest.approx(oracle_greedy(gold, output), abs=1e-9)

    @given(some_calls, texts)
    def test_greedy_equals_the_released_rules_on_any_text(self, gold, output):
        assert toolrl_correctness(tagged(gold), output) == oracle_greedy(tagged(gold), output)

    @given(some_calls, st.lists(calls, min_size=1, max_size=4))
    def test_optimal_is_the_best_of_all_assignments(self, gold, predicted):
        value = toolrl_correctness(tagged(gold), tagged(predicted), matching="optimal")
        assert value == pytest.approx(oracle_optimal(gold, predicted), abs=1e-9)

    @given(some_calls, st.lists(calls | odd_lines, min_size=1, max_size=4))
    def test_bounds_and_optimal_never_below_greedy(self, gold, predicted):
        gold, output = tagged(gold), tagged(predicted)
        greedy, optimal = (toolrl_correctness(gold, output, matching=m) for m in ("greedy", "optimal"))
        assert -3.0 <= greedy <= 3.0
        assert -3.0 <= optimal <= 3.0
        # The names' similarity differs too (multiset against set); where no name repeats both count it alike.
        names = [c["name"] for c in read(gold)]
        if (
            greedy > -3.0
            and len(set(names)) == len(names)
            and len({c["name"] for c in read(output)}) == len(read(output))
        ):
            assert optimal >= greedy - 1e-12

    @given(some_calls, st.randoms(use_true_random=False))
    def test_order_of_calls_does_not_matter_when_all_are_right(self, gold, random):
        shuffled = random.sample(gold, len(gold))
        for matching in ("greedy", "optimal"):
            assert toolrl_correctness(tagged(gold), tagged(shuffled), matching=matching) == pytest.approx(
                3.0, abs=1e-12
            )

    @pytest.mark.parametrize("output", ["", "x", tagged([], "hello"), tagged([tool("a")]), "<tool_call>"])
    def test_gold_without_a_call_gives_zero_whatever_comes(self, output):
        assert toolrl_correctness(tagged([], "hello"), output) == 0.0

    @pytest.mark.parametrize("matching", ["greedy", "optimal"])
    @pytest.mark.parametrize(
        "output",
        [
            "",
            "<tool_call>",
            "</tool_call>",
            json.dumps(tool("a", x=1)),
            "<tool_call>\n" + json.dumps(tool("a", x=1)),
            tagged(["[" * 100_000]),
            tagged(['{"name": "a", "parameters": {"x": ' + "[" * 10_000 + "]" * 10_000 + "}}"]),
            tagged([{"name": "a", "arguments": {"x": 1}}]),
            tagged([tool("a", x=1)], thought="shall I <tool_call>?"),
        ],
        ids=lambda output: ascii(output[:40]),
    )
    def test_floor(self, output, matching):
        assert toolrl_correctness(tagged([tool("a", x=1)]), output, matching=matching) == -3.0

    def test_ten_megabytes_of_calls(self):
        output = tagged(["\n".join(['{"name": "a", "parameters": {"x": 2}}'] * 100_000)])
        assert -3.0 < toolrl_correctness(tagged([tool("a", x=1), tool("b")]), output, matching="optimal") < 0.0

    def test_unknown_matching(self):
        with pytest.raises(ValueError, match=r"matching=.*'best'"):
            toolrl_correctness("", "", matching="best")

    def test_gold_that_is_no_json_is_the_callers_error(self):
        with pytest.raises(ValueError, match=r"gold=.*JSON.*\{oops"):
            toolrl_correctness(tagged(["{oops"]), tagged([tool("a")]))


class TestQuotedTags:
    """A gold whose thought quotes ``<tool_call>``: the released code crashes on it."""

    GOLD = tagged([tool("a", x=1)], thought="I use <tool_call> and no <response>")

    def test_scored_as_its_call_deserves(self):
        assert toolrl_correctness(self.GOLD, self.GOLD) == 3.0
        assert toolrl_correctness(self.GOLD, tagged([tool("a", x=1)])) == 3.0
        assert toolrl_correctness(self.GOLD, tagged([tool("a", x=2)])) == 1.0
        assert toolrl_correctness(self.GOLD, tagged([], "x")) == -3.0

    def test_format_goes_by_the_tags_outside_the_thought(self):
        assert toolrl_format(self.GOLD, self.GOLD) == 1.0
        assert toolrl_format(self.GOLD, tagged([tool("a", x=1)])) == 1.0
        assert toolrl_format(self.GOLD, tagged([tool("a", x=1)], "x")) == 0.0
        assert toolrl_format(self.GOLD, tagged([], "x")) == 0.0

    def test_gold_that_calls_nothing(self):
        gold = tagged([], "x", thought="no <tool_call> here")
        assert toolrl_correctness(gold, tagged([tool("a")])) == 0.0
        assert (toolrl_format(gold, gold), toolrl_format(gold, tagged([tool("a")]))) == (1.0, 0.0)

    def test_thought_that_quotes_a_whole_block_is_read_as_the_released_code_reads_it(self):
        gold = tagged([tool("a", x=1)], thought='<tool_call>{"name": "b", "parameters": {}}</tool_call>')
        assert toolrl_correctness(gold, tagged([tool("b")])) == oracle_greedy(gold, tagged([tool("b")])) == 3.0


class TestFormat:
    GOLDS = (tagged([tool("a")]), tagged([], "hi"), tagged([tool("a")], "hi"), tagged([]))

    def test_each_gold_fits_itself_alone(self):
        for gold, output in itertools.product(self.GOLDS, repeat=2):
            # Think-only checks no tag and its thought may hold anything, but it has to end with the thought.
            assert toolrl_format(gold, output) == float(gold == output)

    @given(st.sampled_from(GOLDS), texts)
    def test_equals_the_released_patterns(self, gold, output):
        assert toolrl_format(gold, output) == oracle_format(gold, output)

    @given(
        st.sampled_from(GOLDS), st.sampled_from(GOLDS), st.integers(0, 80), st.integers(0, 3), st.sampled_from(PIECES)
    )
    def test_equals_the_released_patterns_near_a_gold(self, gold, other, at, cut, piece):
        output = other[:at] + piece + other[at + cut :]
        assert toolrl_format(gold, output) == oracle_format(gold, output)
        assert toolrl_format(gold, other[:at] + other[at + cut :]) == oracle_format(
            gold, other[:at] + other[at + cut :]
        )

    @pytest.mark.parametrize(
        ("gold", "output", "value"),
        [
            (GOLDS[0], GOLDS[0] + "\n", 1.0),
            (GOLDS[0], GOLDS[0] + "\n\n", 0.0),
            (GOLDS[0], GOLDS[0] + " ", 0.0),
            (GOLDS[0], " " + GOLDS[0], 0.0),
            (GOLDS[0], "<think></think>\n<tool_call>\n\n</tool_call>", 1.0),
            (GOLDS[0], "<think></think>\n<tool_call>\n</tool_call>", 0.0),
            (GOLDS[1], "<think></think>\n<response></response>", 1.0),
            (GOLDS[1], "<think></think><response></response>", 0.0),
            (GOLDS[1], "<think></think>\n<response><response></response>", 0.0),
            (GOLDS[0], "\ud800", 0.0),
        ],
    )
    def test_edges(self, gold, output, value):
        assert toolrl_format(gold, output) == value

    @pytest.mark.parametrize("unit", ["</think>\n<tool_call>\n", "\n</tool_call>", "<think>", "\n"])
    def test_ten_megabytes(self, unit):
        assert toolrl_format(self.GOLDS[0], "<think>" + unit * (10_000_000 // len(unit))) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ("", "", 1),
        ("a", "", 0),
        ("a", "b", 0),
        ("ab", "ba", 1),
        ("aab", "ab", 2 / 3),
        ("aa", "a", 0.5),
        ("abc", "bcd", 0.5),
    ],
)
def test_multiset_jaccard(first, second, value):
    assert multiset_jaccard(first, second) == multiset_jaccard(second, first) == pytest.approx(value)
