"""Loaders of real data and of one's own problems: what is read, and what is refused with row and column."""

import json
import sys
import types
from pathlib import Path

import pytest

from llm_morl_env.data import DataError, load_problems, load_toolcall, longest, split_rows
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem

FUNCTION = {
    "name": "add",
    "description": "Adds.",
    "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": []},
}
BFCL = {
    "id": "simple_1",
    "question": [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One plus two? é\n"}]],
    "function": [FUNCTION],
    "ground_truth": [{"add": {"a": [1, 1.0], "b": [2, ""]}}],
}
RLLA = {
    "instruction": "Tools: add",
    "input": "<user>1+2</user>",
    "output": '<think>t</think>\n<tool_call>\n{"name": "add", "parameters": {"a": 1}}\n</tool_call>',
}


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        return path

    return write


def test_bfcl_row(write):
    (problem,) = load_toolcall(write(BFCL))
    assert problem.prompt.startswith("Answer the user with calls of the tools below.")
    assert json.dumps(FUNCTION) in problem.prompt
    assert problem.prompt.endswith("\n\nSystem: Be brief.\nUser: One plus two? é\n")
    assert problem.target == {
        "calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}],
        "accepted": BFCL["ground_truth"],
        "functions": [FUNCTION],
    }
    assert problem.meta == {
        "id": "simple_1",
        "gold": '<think>use "add".</think>\n<tool_call>\n{"name": "add", "parameters": {"a": 1, "b": 2}}\n</tool_call>',
        "row": 1,
    }


def test_bfcl_row_without_a_call(write):
    for truth in (None, []):
        (problem,) = load_toolcall(write({**BFCL, "ground_truth": truth, "category": "irrelevance"}))
        assert problem.target["calls"] == []
        assert problem.target["accepted"] is None
        assert problem.meta["gold"] == "<think>no tool.</think>\n<response>None of the tools can do that.</response>"
        assert problem.meta["category"] == "irrelevance"


def test_rlla_row(write):
    (problem,) = load_toolcall(write(RLLA))
    assert problem.prompt == "Tools: add\n\n<user>1+2</user>\n"
    assert problem.target == {"calls": [{"name": "add", "arguments": {"a": 1}}], "accepted": None, "functions": []}
    assert problem.meta == {"gold": RLLA["output"], "row": 1}


def test_the_prompt_shows_the_format_that_is_scored(write):
    (problem,) = load_toolcall(write(BFCL))
    for line in (
        "<think>your thoughts</think>\n<tool_call>\n{",
        "}\n</tool_call>\n",
        "</think>\n<response>your reply</",
    ):
        assert line in problem.prompt


def test_formats_are_detected_or_named(write):
    both = write({**BFCL, **RLLA})
    assert load_toolcall(both)[0].meta["id"] == "simple_1"
    assert load_toolcall(both, "bfcl")[0].meta["id"] == "simple_1"
    assert load_toolcall(both, "rlla")[0].meta["gold"] == RLLA["output"]
    with pytest.raises(ValueError, match=r"data_format must be None or one of \['bfcl', 'rlla'\], got 'glaive'"):
        load_toolcall(both, "glaive")


def test_blank_lines_and_a_byte_order_mark_are_skipped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(RLLA).encode() + b"\r\n\r\n  \n" + json.dumps(RLLA).encode())
    assert [problem.meta["row"] for problem in load_toolcall(path)] == [1, 4]


def bfcl(**cells):
    return {**BFCL, **cells}


WITHOUT_TRUTH = {key: value for key, value in BFCL.items() if key != "ground_truth"}
NESTED = "[" * 100_000 + "\n"


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ("{oops\n", None, "is not JSON"),
        ("[1]\n", None, r"must be a JSON object, got \[1\]"),
        ('{"instruction": NaN}\n', None, "NaN is no JSON value"),
        (NESTED, None, "is not JSON"),
        (WITHOUT_TRUTH, "ground_truth", r"is missing; the row has \['id', 'question', 'function'\]"),
        (bfcl(ground_truth=[{"add": {"a": 1}}]), "ground_truth", "a ground_truth entry must be"),
        (bfcl(ground_truth=[{"add": {"a": []}}]), "ground_truth", "a ground_truth entry must be"),
        (bfcl(ground_truth=[{"add": {}, "sub": {}}]), "ground_truth", "a ground_truth entry must be"),
        (bfcl(ground_truth={"add": {}}), "ground_truth", "must be a list of expected calls, or null"),
        (bfcl(function="add"), "function", "must be a list of function descriptions, got 'add'"),
        (bfcl(function=[{"name": "add"}]), "function", "each must be an object with 'name' and 'parameters'"),
        (bfcl(function=["add"]), "function", "each must be an object"),
        (bfcl(question="1+2?"), "question", r"must be a list of turns, got '1\+2\?'"),
        (bfcl(question=[]), "question", "must hold exactly one turn"),
        (
            bfcl(question=[[{"role": "user", "content": "a"}]] * 2),
            "question",
            "multi-turn categories are not supported",
        ),
        (bfcl(question=[[]]), "question", "a turn must be a list of messages"),
        (bfcl(question=[[{"role": "user"}]]), "question", "a message must have the texts 'role' and 'content'"),
        ({**RLLA, "output": 3}, "output", "must be a text, got 3"),
        ({**RLLA, "input": None}, "input", "must be a text, got None"),
        ({**RLLA, "output": "<tool_call>\nadd(1)\n</tool_call>"}, "output", "must hold one JSON object per line"),
    ],
)
def test_malformed_rows_are_named(write, row, column, message):
    good = RLLA if isinstance(row, dict) and "input" in row else BFCL
    path = write(good, good, row)
    with pytest.raises(DataError, match=message) as caught:
        load_toolcall(path)
    assert caught.value.path == path
    assert caught.value.row == 3
    assert caught.value.column == column
    assert str(caught.value).startswith(f"{path}, row 3" + (f", column '{column}'" if column else ""))
    assert len(str(caught.value)) < 600


def test_a_row_that_is_not_utf_8(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(RLLA).encode() + b'\n{"input": "\xff"}\n')
    with pytest.raises(DataError, match="row 2: is not JSON: 'utf-8' codec"):
        load_toolcall(path)


def test_files_that_are_missing_empty_or_of_no_known_format(write, tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        load_toolcall(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="there is no such file"):
        load_toolcall(tmp_path)
    with pytest.raises(DataError, match="the file holds no rows"):
        load_toolcall(write("\n\n"))
    with pytest.raises(
        DataError, match=r"row 1: the format is unknown by its columns \['a'\] \(bfcl has function, que"
    ):
        load_toolcall(write({"a": 1}))


def test_parquet_without_pyarrow(write, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):  # another test may have loaded it
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install 'llm-morl-env\[data\]'"):
        load_toolcall(write(BFCL, name="rows.parquet"))


def test_parquet_rows_may_hold_json_strings(write, monkeypatch):
    row = {key: value if isinstance(value, str) else json.dumps(value) for key, value in BFCL.items()}
    table = types.SimpleNamespace(to_pylist=lambda: [row, row])
    parquet = types.SimpleNamespace(read_table=lambda path: table)
    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    path = write(name="rows.parquet")
    problems = load_toolcall(path)
    assert [problem.meta["row"] for problem in problems] == [1, 2]
    assert problems[0].target == load_toolcall(write(BFCL))[0].target
    table.to_pylist = lambda: [{**row, "function": "add"}]
    with pytest.raises(DataError, match="row 1, column 'function': must be a list of function descriptions"):
        load_toolcall(path)


def test_parquet_round_trip(write, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([RLLA]), path)
    assert load_toolcall(path)[0].meta["gold"] == RLLA["output"]
    with pytest.raises(DataError, match="is not Parquet"):
        load_toolcall(write("no parquet", name="bad.parquet"))


def test_own_problems(write):
    path = write({"prompt": "a"}, {"prompt": "b", "target": [1], "meta": {"k": None}}, {"prompt": "c", "meta": None})
    assert load_problems(path) == [Problem("a"), Problem("b", [1], {"k": None}), Problem("c")]


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({"target": 1}, "prompt", "is missing"),
        ({"prompt": ["a"]}, "prompt", r"must be a text, got \['a'\]"),
        ({"prompt": "a", "meta": [1]}, "meta", r"must be an object, got \[1\]"),
        ({"prompt": "a", "answer": 1}, "answer", "is unknown: the columns are prompt, target and meta"),
    ],
)
def test_malformed_own_problems_are_named(write, row, column, message):
    with pytest.raises(DataError, match=message) as caught:
        load_problems(write({"prompt": "fine"}, row))
    assert (caught.value.row, caught.value.column) == (2, column)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 9, 10, 23])
def test_splits_reach_every_row(size):
    problems = [Problem(str(i)) for i in range(size)]
    splits = split_rows(problems)
    assert list(splits) == ["train", "eval"]
    assert sorted((*splits["train"], *splits["eval"]), key=lambda p: int(p.prompt))[-size:] == problems
    assert all(splits.values())
    if size > 1:
        assert len(splits["train"]) + len(splits["eval"]) == size
    if size >= 5:
        assert splits["eval"] == problems[4::5]


def test_longest_counts_exactly_and_few():
    tokenizer = TextTokenizer()
    texts = ["a" * n for n in range(40)] + ["雪" * 10, "\ud800", "set an alarm " * 20]
    counted = []

    def count(text):
        counted.append(text)
        return tokenizer.count(text)

    assert longest(texts, count) == max(map(tokenizer.count, texts))
    assert len(counted) < len(texts)
    assert longest([], count) == 0


def test_dev_samples_load():
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.exists():
        pytest.skip("the sample data are not here")
    assert len(load_toolcall(folder / "bfcl" / "dev.jsonl")) == 1099
    assert len(load_toolcall(folder / "toolrl_rlla" / "dev.jsonl")) == 304
    with pytest.raises(DataError, match="the format is unknown"):
        load_toolcall(folder / "gsm8k" / "dev.jsonl")
