"""The masks of the tool-call grammar: gold answers pass, and nothing else than well-formed answers can be written."""

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_morl_env.data import load_toolcall
from llm_morl_env.tasks.json_automaton import Limits
from llm_morl_env.tasks.toolcall_grammar import ToolCallGrammar
from llm_morl_env.tasks.toolcall_problems import SPLITS, TIERS, ToolCallProblems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem
from llm_morl_rewards.extract import extract_tool_calls
from llm_morl_rewards.toolrl import toolrl_format

BFCL = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "bfcl" / "dev.jsonl"
TOKENIZER = TextTokenizer()
GRAMMAR = ToolCallGrammar(TOKENIZER, max_response_tokens=128)
CALLS = "<think></think>\n<tool_call>\n{}\n</tool_call>"
REPLY = "<think></think>\n<response></response>"
TYPES: dict[str, Any] = {"string": str, "integer": int, "float": (int, float), "boolean": bool, "array": list}


def problems(tier: str, split: str = "train") -> ToolCallProblems:
    return ToolCallProblems(TIERS[tier], split, seed=0, count_tokens=TOKENIZER.count)


def walk(grammar: ToolCallGrammar, problem: Problem, rng: np.random.Generator, prefix: list[int] | None = None) -> str:
    """A response of tokens drawn uniformly from the masks; it must end within the cap."""
    ids = list(prefix or [])
    for _ in range(grammar.max_response_tokens - len(ids)):
        token = int(rng.choice(np.flatnonzero(grammar.allowed(problem, ids))))
        if token == grammar.tokenizer.eos_id:
            return grammar.tokenizer.decode(ids)
        ids.append(token)
    raise AssertionError(f"no end within the cap: {grammar.tokenizer.decode(ids)!r}")


def check_response(text: str, functions: Any, grammar: ToolCallGrammar) -> None:
    """It scores full format for its kind, and its calls are of tools on offer, with their keys and types."""
    assert grammar.tokenizer.count(text) <= grammar.max_response_tokens
    if "<tool_call>" not in text:
        assert toolrl_format(REPLY, text) == 1.0, text
        assert extract_tool_calls(text).status == "absent"
        return
    assert toolrl_format(CALLS, text) == 1.0, text
    parsed = extract_tool_calls(text)
    assert parsed.status == "ok", text
    assert 1 <= len(parsed.calls) <= grammar.limits.calls
    if grammar.thought == "canonical":
        thought = text.removeprefix("<think>use ").split(".</think>")[0]
        assert thought == ", ".join(f'"{call.name}"' for call in parsed.calls)
    schemas = {f["name"]: f["parameters"] for f in functions}
    for call in parsed.calls:
        schema = schemas[call.name]
        assert list(call.arguments) == [key for key in schema["properties"] if key in call.arguments]
        assert set(schema.get("required", ())) <= set(call.arguments)
        for key, value in call.arguments.items():
            check_value(value, schema["properties"][key])


def check_value(value: Any, schema: Mapping[str, Any]) -> None:
    if "enum" in schema and isinstance(schema["enum"], list):
        assert value in schema["enum"]
        return
    expected = TYPES.get(schema.get("type", "any"))
    if expected is None:
        return
    assert isinstance(value, expected), (value, schema)
    assert isinstance(value, bool) == (schema["type"] == "boolean")
    if schema["type"] == "array":
        for item in value:
            check_value(item, schema.get("items", {}))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("tier", TIERS)
def test_gold_answers_are_accepted_token_by_token(tier: str, split: str) -> None:
    golds = problems(tier, split)
    for index in range(200 if split == "train" else 60):
        problem = golds[index]
        ids = [*TOKENIZER.encode(problem.meta["gold"]), TOKENIZER.eos_id]
        refused = [k for k, token in enumerate(ids) if not GRAMMAR.allowed(problem, ids[:k])[token]]
        assert not refused, (index, TOKENIZER.decode(ids[: refused[0]]), TOKENIZER.decode([ids[refused[0]]]))


@pytest.mark.parametrize("thought", ["canonical", "free"])
@pytest.mark.parametrize("cap", [24, 48, 128])
@pytest.mark.parametrize("tier", TIERS)
def test_random_walks_are_well_formed(tier: str, cap: int, thought: Any) -> None:
    grammar = ToolCallGrammar(TOKENIZER, max_response_tokens=cap, thought=thought)
    rng, offered = np.random.default_rng(cap), problems(tier)
    kinds = set()
    for index in range(16):
        text = walk(grammar, offered[index], rng)
        check_response(text, offered[index].target["functions"], grammar)
        kinds.add("<tool_call>" in text)
    assert kinds == {True, False} or cap == 24


def test_all_tools_and_numbers_of_calls_are_met() -> None:
    rng, grammar, problem = np.random.default_rng(0), GRAMMAR, problems("hard")[1]
    names, counts = set(), set()
    for _ in range(90):
        calls = extract_tool_calls(walk(grammar, problem, rng)).calls
        names |= {call.name for call in calls}
        counts.add(len(calls))
    assert names == {f["name"] for f in problem.target["functions"]}
    assert counts >= {0, 1, 2, 3}


@pytest.mark.parametrize("thought", ["canonical", "free"])
def test_walks_over_real_schemas(thought: Any) -> None:
    if not BFCL.is_file():
        pytest.skip("the sample data are not here")
    rng, rows = np.random.default_rng(0), load_toolcall(BFCL)
    grammar = ToolCallGrammar(TOKENIZER, max_response_tokens=600, thought=thought)
    for problem in rows[::30]:
        check_response(walk(grammar, problem, rng), problem.target["functions"], grammar)


def test_most_real_golds_are_accepted() -> None:
    """All but those with an exponent, a null, or a character that the vocabulary writes in parts."""
    if not BFCL.is_file():
        pytest.skip("the sample data are not here")
    limits = Limits(calls=16, characters=256, digits=16, decimals=12, items=16, depth=4, reply=200)
    grammar = ToolCallGrammar(TOKENIZER, max_response_tokens=2000, limits=limits)
    rows = load_toolcall(BFCL)[:40]
    refused = 0
    for problem in rows:
        ids = TOKENIZER.encode(problem.meta["gold"])
        refused += not all(grammar.allowed(problem, ids[:k])[token] for k, token in enumerate(ids))
    assert refused <= 5


def test_without_tools_only_a_reply_can_be_written() -> None:
    rng = np.random.default_rng(0)
    for target in (None, {}, {"functions": []}, {"functions": None}, {"functions": [{"name": "läuft"}]}):
        text = walk(GRAMMAR, Problem("hi", target), rng)
        assert text.startswith("<think>no tool.</think>\n<response>")
        assert toolrl_format(REPLY, text) == 1.0


def test_tool_without_parameters() -> None:
    tools = [{"name": "now"}, {"name": "today", "parameters": {"type": "dict", "properties": {}, "required": []}}]
    problem = Problem("time", {"functions": tools})
    prefix = TOKENIZER.encode('<think>use "now", "today".</think>')
    text = walk(GRAMMAR, problem, np.random.default_rng(0), prefix)
    assert text.endswith('{"name": "now", "parameters": {}}\n{"name": "today", "parameters": {}}\n</tool_call>')


def test_the_thought_decides_the_calls() -> None:
    problem = problems("standard")[0]
    names = [f["name"] for f in problem.target["functions"]][:2]
    prefix = TOKENIZER.encode(f'<think>use "{names[1]}", "{names[0]}", "{names[1]}".</think>')
    text = walk(GRAMMAR, problem, np.random.default_rng(0), prefix)
    assert [call.name for call in extract_tool_calls(text).calls] == [names[1], names[0], names[1]]


def test_names_that_begin_alike() -> None:
    tools = [{"name": name} for name in ("get", "get_all", "get_a")]
    problem, rng = Problem("x", {"functions": tools}), np.random.default_rng(0)
    names = set()
    for _ in range(60):
        names |= {call.name for call in extract_tool_calls(walk(GRAMMAR, problem, rng)).calls}
    assert names == {"get", "get_all", "get_a"}


def test_a_cap_too_small_forces_the_shortest_answer() -> None:
    problem = problems("easy")[0]
    grammar = ToolCallGrammar(TOKENIZER, max_response_tokens=5)
    ids: list[int] = []
    while (token := int(np.flatnonzero(grammar.allowed(problem, ids))[0])) != TOKENIZER.eos_id:
        ids.append(token)
    assert TOKENIZER.decode(ids) == "<think>no tool.</think>\n<response></response>"


@pytest.mark.parametrize("text", ["x", "<think>use it", "<response>", '<think>use "nothing'])
def test_off_the_grammar_only_the_end_is_left(text: str) -> None:
    mask = GRAMMAR.allowed(problems("easy")[0], TOKENIZER.encode(text))
    assert np.flatnonzero(mask).tolist() == [TOKENIZER.eos_id]


@pytest.mark.parametrize("ids", [[0], [1], [2, 2], [10**6]])
def test_specials_and_unknown_ids_leave_the_grammar(ids: list[int]) -> None:
    assert np.flatnonzero(GRAMMAR.allowed(problems("easy")[0], ids)).tolist() == [TOKENIZER.eos_id]


def test_specials_and_parts_of_characters_are_never_allowed() -> None:
    rng, problem = np.random.default_rng(0), problems("standard")[0]
    texts = TOKENIZER.token_texts()
    partial = [i for i, text in enumerate(texts) if "\ufffd" in text]
    assert partial
    for _ in range(20):
        ids: list[int] = []
        while True:
            mask = GRAMMAR.allowed(problem, ids)
            assert not mask[[TOKENIZER.pad_id, TOKENIZER.bos_id, *partial]].any()
            ids.append(int(rng.choice(np.flatnonzero(mask))))
            if ids[-1] == TOKENIZER.eos_id:
                break
            assert mask.sum() > 0
            assert not mask[TOKENIZER.eos_id]


def test_forced_text_mostly_leaves_one_choice() -> None:
    problem = problems("standard")[0]
    ids = TOKENIZER.encode(problem.meta["gold"])
    sizes = np.array([GRAMMAR.allowed(problem, ids[:k]).sum() for k in range(len(ids))])
    assert (sizes == 1).mean() > 0.3
    assert np.median(sizes) <= 4


def test_masks_are_fresh_and_calls_stateless() -> None:
    problem, other = problems("standard")[0], problems("standard")[1]
    ids = TOKENIZER.encode(problem.meta["gold"])
    fresh = ToolCallGrammar(TOKENIZER, max_response_tokens=128)
    for k in (0, 5, len(ids), 3, 0):
        mask = GRAMMAR.allowed(problem, ids[:k])
        expected = mask.copy()
        mask[:] = False
        GRAMMAR.allowed(other, ids[:k])
        np.testing.assert_array_equal(GRAMMAR.allowed(problem, ids[:k]), expected)
        np.testing.assert_array_equal(fresh.allowed(problem, np.array(ids[:k], np.int64)), expected)
        assert mask.dtype == np.bool_
        assert mask.shape == (TOKENIZER.vocab_size,)


def test_many_problems_share_one_grammar() -> None:
    """Problems come and go: the cache must never answer for another problem of the same address."""
    grammar = ToolCallGrammar(TOKENIZER, max_response_tokens=128)
    source = problems("hard")
    for index in range(300):
        problem = source[index]
        prefix = TOKENIZER.encode('<think>use "')
        text = TOKENIZER.decode([int(np.flatnonzero(grammar.allowed(problem, prefix))[-1])])
        assert any(f["name"].startswith(text.strip('",. ')) for f in problem.target["functions"])


def test_copies_answer_alike_and_carry_no_cache() -> None:
    problem = problems("standard")[0]
    ids = TOKENIZER.encode(problem.meta["gold"])
    limits = Limits(calls=2, characters=16)
    grammar = ToolCallGrammar(TOKENIZER, max_response_tokens=99, limits=limits, thought="free")
    before = len(pickle.dumps(grammar))
    masks = [grammar.allowed(problem, ids[:k]) for k in range(9)]
    assert len(pickle.dumps(grammar)) == before < 1000
    for again in (pickle.loads(pickle.dumps(grammar)), copy.deepcopy(grammar)):
        assert (again.max_response_tokens, again.limits, again.thought) == (99, limits, "free")
        for k, mask in enumerate(masks):
            np.testing.assert_array_equal(again.allowed(problem, ids[:k]), mask)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"thought=\) must be one of .*'short'"):
        ToolCallGrammar(TOKENIZER, max_response_tokens=9, thought="short")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"max_response_tokens=\) must be at least 1, got 0"):
        ToolCallGrammar(TOKENIZER, max_response_tokens=0)
