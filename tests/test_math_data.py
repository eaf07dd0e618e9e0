"""GSM8K and SVAMP files: what is made of a row, and which rows are malformed."""

import json

import pytest

from llm_morl_env.data import DataError, load_math
from llm_morl_rewards.math import accuracy

GSM8K = {
    "question": "Ann has 12 pens and buys 1,000 more. How many?",
    "answer": "She has 12+1000=<<12+1000=1012>>1,012 pens.\n#### 1,012",
}
SVAMP = {
    "ID": "chal-1", "Body": "Each pack costs 76 dollars. If there is a discount of 25 dollars",
    "Question": "how much is it?",
    "Equation": "( ( 76.0 - 25.0 ) * 0.5 )", "Answer": 25.5, "Type": "Subtraction",
}  # fmt: skip


def write(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_gsm8k(tmp_path):
    first, second = load_math(write(tmp_path, GSM8K, GSM8K))
    assert first.target == "1,012"
    assert first.meta == {"gold": "She has 12+1000=1,012 pens.\n#### 1,012", "steps": 1, "row": 1}
    assert second.meta["row"] == 2
    assert first.prompt.endswith("'#### ' and the number.\n\nAnn has 12 pens and buys 1,000 more. How many?\n")
    assert accuracy(first, first.meta["gold"]) == accuracy(first, "1012") == 1.0


def test_svamp(tmp_path):
    (problem,) = load_math(write(tmp_path, SVAMP))
    assert problem.target == "25.5"
    assert problem.meta == {
        "id": "chal-1",
        "type": "Subtraction",
        "gold": "76 - 25 = 51\n51 * 0.5 = 25.5\nanswer: 25.5",
        "steps": 2,
        "row": 1,
    }
    assert "a discount of 25 dollars, how much is it?" in problem.prompt


@pytest.mark.parametrize(
    ("changes", "gold"),
    [
        ({"Equation": "8.0", "Answer": 8.0}, "8 = 8\nanswer: 8"),
        ({"Equation": "( 1.0 / 3.0 )", "Answer": 0.3333333333}, "1 / 3 = 1/3\nanswer: 1/3"),
        ({"Equation": "( 3 - 5 )", "Answer": -2}, "3 - 5 = -2\nanswer: -2"),
    ],
)
def test_equations_of_svamp(tmp_path, changes, gold):
    (problem,) = load_math(write(tmp_path, {**SVAMP, **changes}))
    assert problem.meta["gold"] == gold
    assert accuracy(problem, gold) == 1.0


@pytest.mark.parametrize(
    ("row", "changes", "column", "message"),
    [
        (GSM8K, {"question": 3}, "question", "must be a text, got 3"),
        (GSM8K, {"answer": "12"}, "answer", "must end with '####' and a number, got '12'"),
        (GSM8K, {"answer": "12 #### many"}, "answer", "must end with '####' and a number"),
        (SVAMP, {"Equation": "( 76.0 - x )"}, "Equation", r"must be an arithmetic expression, got '\( 76.0 - x \)'"),
        (SVAMP, {"Equation": "__import__('os')"}, "Equation", "must be an arithmetic expression"),
        (SVAMP, {"Equation": "9**9**9"}, "Equation", "must be an arithmetic expression"),
        (SVAMP, {"Equation": "( 1.0 / 0.0 )"}, "Equation", "must be an arithmetic expression"),
        (SVAMP, {"Answer": 26.0}, "Answer", r"must be the value of the equation .* got 26.0"),
        (SVAMP, {"Answer": True}, "Answer", "must be the value of the equation"),
        (SVAMP, {"Answer": None}, "Answer", "must be a number, got None"),
        (SVAMP, {"Answer": 10**400}, "Answer", "must be the value of the equation"),
        (SVAMP, {"Answer": "1e999"}, "Answer", "must be the value of the equation"),
        (SVAMP, {"Question": " "}, "Question", "must hold a question"),
        (GSM8K, {"question": ""}, "question", "must hold a question, got ''"),
        (SVAMP, {"Body": None}, "Body", "must be a text"),
    ],
)
def test_malformed_rows_name_row_and_column(tmp_path, row, changes, column, message):
    path = write(tmp_path, row, {**row, **changes})
    with pytest.raises(DataError, match=message) as caught:
        load_math(path)
    assert (caught.value.row, caught.value.column) == (2, column)


def test_unknown_columns_and_formats(tmp_path):
    with pytest.raises(DataError, match=r"gsm8k has answer, question; svamp has Answer, Body, Equation, Question"):
        load_math(write(tmp_path, {"text": "x"}))
    with pytest.raises(ValueError, match=r"data_format must be None or one of \['gsm8k', 'svamp'\], got 'math'"):
        load_math(write(tmp_path, GSM8K), "math")
    with pytest.raises(DataError, match="is missing"):
        load_math(write(tmp_path, GSM8K), "svamp")
