"""Final answers, exact numbers, equations and steps, and the rewards made of them; no text may break or hang them."""

import pickle
import sys
import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_morl_rewards import Problem
from llm_morl_rewards.math import (
    accuracy,
    answers_match,
    clarity,
    drw_clarity,
    drw_conciseness,
    extract_answer,
    marked_answer,
    validity,
)
from llm_morl_rewards.math_equations import count_steps, equations, solve, step_validity, write_number
from llm_morl_rewards.math_numbers import read_number
from llm_morl_rewards.math_verify_adapter import expressions_match, is_safe

REWARDS = (accuracy, clarity, validity)
NASTY = [
    "7" * 10**6,
    "9**9**9",
    "answer: 9**9**9 = 9",
    "9^{9^{9^{9}}}",
    r"\boxed{" * 10**5,
    r"\boxed{" + "{" * 10**5 + "}" * 10**5 + "}",
    r"\sqrt{" * 5000 + "2" + "}" * 5000,
    r"\frac{" * 5000 + "1",
    "answer: " + r"\frac{1}{" * 200 + "2" + "}" * 200,
    "1e999999999",
    "answer: 1e999999999",
    "answer" + " " * 10**6,
    "####" * 10**5,
    "A:" * 10**5,
    "1+" * 10**5 + "1 = 2",
    "1=" * 10**5,
    "(" * 10**5 + "1" + ")" * 10**5 + " = 1",
    "-" * 10**5 + "1 = 1",
    "1," * 10**5,
    "<<" * 10**5,
    "\n" * 10**5 + "1. a",
    "1. " * 10**5,
    "a b " * 10**5 + "answer is " + "a " * 10**5,
    "\ud800 answer: \udfff 5",
    "answer: \u0661\u0662",
    "",
    "\x00",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{12}, no: \boxed{15}. answer: 3", "15"),
        (r"\boxed{\frac{3}{4}}", r"\frac{3}{4}"),
        (r"\boxed{ {a}{b} } #### 5", "{a}{b}"),
        (r"\boxed{} and #### 5", "5"),
        (r"\boxed{5 #### 6", "6"),
        ("12 + 7 = 19\n#### 1,234\n", "1,234"),
        ("#### 3\n#### 4", "4"),
        ("#### Step one\nanswer: 5", "5"),
        ("3 cups\nA: 70,000", "70,000"),
        ("Plan A: 4. Then 9", "9"),
        ("a: 4\n9", "9"),
        ("**Answer:** 18", "18"),
        ("**Answer**: $18.50.", "$18.50"),
        ("Answer:\n18", "18"),
        ("The final answer is 18 apples. She had 3.", "18 apples"),
        ("The answer is that anna has 15 apples.", "15 apples"),
        ("the answer is x + 1", "x + 1"),
        ("the answer is minus 5", "minus 5"),
        ("answer: 3. answer: 4", "4"),
        ("answer: ", None),
        ("the answer depends on 7", "7"),
        ("12 + 7 = <<12+7=19>>19", "19"),
        ("19 - 4", "4"),
        ("it is -4", "-4"),
        ("3/4 of it", "3/4"),
        (r"it is \frac{3}{4}", r"\frac{3}{4}"),
        ("about 1,234.5 or 50%.", "50%"),
        ("nothing", None),
        ("", None),
    ],
)
def test_extract_answer(text, expected):
    assert extract_answer(text) == expected


def test_only_marked_answers_are_marked():
    assert marked_answer("it is 19") is None
    assert marked_answer("answer:") is None
    assert marked_answer(r"\boxed{ }") is None
    assert marked_answer(r"\boxed{x}") == "x"


MATCHING = [
    ("18.0", "18"), ("18", "18.00"), ("1,234", "1234"), ("1{,}234", "1234"), (r"10\,000", "10000"), ("+5", "5"),
    ("−5", "-5"), ("$18", "18"), (r"\$18", "18"), ("$18$", "18"), ("-$18", "-18"), ("$-18", "-18"), ("18 $", "18"),
    ("US$18", "18"), ("18 dollars", "18"), ("18 apples", "18"), ("18 cm^2", "18"), ("18cm", "18"), ("18 km/h", "18"),
    ("18 (apples)", "18"), (r"18\text{ apples}", "18"), (r"18 \mathrm{cm}", "18"), ("3/4", "0.75"), ("6/8", "3/4"),
    (r"\frac{3}{4}", "3/4"), (r"\dfrac34", "3/4"), (r"-\frac{3}{4}", "-.75"), ("1 3/4", "1.75"),
    (r"1\frac{3}{4}", "7/4"), ("50%", "50"), ("50", "50%"), ("50 percent", "50%"), ("0.5", "50%"), ("50%", "0.5"),
    (r"50\%", "50"), (r"\boxed{18}", "18"), (r"\boxed{\$18}", "18"), (r"\(18\)", "18"), (r"\[18\]", "18"),
    ("**18**", "18"), ("`18`", "18"), (r"90^\circ", "90"), (r"90^{\circ}", "90°"), ("90 degrees", "90"),
    (r"1.2 \times 10^{3}", "1200"), ("1.2e3", "1200"), ("1.2E+3", "1200"), ("1.2 x 10^3", "1200"), ("2e-2", "0.02"),
    ("x = 5", "5"), ("12 + 7 = 19", "19"), ("18.", "18"), ("3 million", "3000000"), ("2 thousand dollars", "2,000"),
    ("{18}", "18"), ("(18)", "18"), ('"18"', "18"), ("007", "7"),
]  # fmt: skip
DIFFERENT = [
    ("19", "18"), ("-18", "18"), ("0.5", "50"), ("50", "0.5"), ("50%", "5"), ("1,23", "123"), ("18x", "18"),
    ("18xy", "18"), ("18 x", "18"), ("15, 18", "18"), ("15 or 18", "18"), ("18 or so", "18"), ("18 and a half", "18"),
    ("9 + 9", "18"), (r"\sqrt{324}", "18"), ("0.33", "1/3"), ("1/0", "1"), ("", "18"), ("eighteen", "18"),
    ("--18", "18"), ("-$-18", "18"), ("18!", "6402373705728000"), ("9**9", "387420489"), ("18:30", "18"),
    ("1/2/3", "1/6"), ("18 * 2", "18"), ("[18", "18"), ("\ud800", "18"), ("1²", "1"),
]  # fmt: skip


@pytest.fixture(params=["installed", "missing"])
def math_verify(request, monkeypatch):
    if request.param == "installed":
        pytest.importorskip("math_verify")
    else:
        for name in ("math_verify", "math_verify.parser", "math_verify.grader"):
            monkeypatch.setitem(sys.modules, name, None)
    return request.param == "installed"


def test_verdicts_on_numbers_need_no_package(math_verify):
    assert [pair for pair in MATCHING if not answers_match(*pair)] == []
    assert [pair for pair in DIFFERENT if answers_match(*pair)] == []


@pytest.mark.parametrize(
    ("answer", "gold", "with_package"),
    [
        (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2", True),
        ("1 + x^2", "x^2+1", True),
        (r"\{2,1\}", r"\{1,2\}", True),
        (r"2\pi", r"\pi \cdot 2", True),
        ("x^2 + 2", "x^2+1", False),
        (r"\sqrt{2}", r"\sqrt{3}", False),
        ("blau", "blue", False),
        ("9**9**9", "x", False),
        ("18", "x", False),
    ],
)
def test_golds_that_are_no_numbers(math_verify, answer, gold, with_package):
    assert answers_match(answer, gold) is (with_package and math_verify)


def test_equal_texts_match_without_the_package(math_verify):
    assert answers_match(r"\left( 1,\, 2 \right)", "(1,2)")
    assert answers_match("blue.", "blue")
    assert not answers_match("", " ")
    assert not answers_match("blue" * 1000, "blue")


def test_the_package_is_asked_in_a_thread():
    pytest.importorskip("math_verify")
    results = []
    thread = threading.Thread(target=lambda: results.append(expressions_match("2x + x", "3x")))
    thread.start()
    thread.join(60)
    assert results == [True]


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9", "9* *9", "9^{9^{9}}", "9^9^9", "(9^{9})^{9}", "{(9^9)}^9", "x^{99}", "9^{100}", "1234567890",
        r"\int_0^1 x dx", r"\sum_{n} n", "5!", "system", "__import__", r"\sqrt{x}\sqrt{y}", r"\sin x = \cos x",
        r"\sin{\sqrt{x}}", r"\tan(x+y)^9", r"(x+y)^4(x-y)^4", "x" * 61, "{" * 6 + "}" * 6, "é", "\ud800", "x\n",
        r"\sqrt{\sqrt{\sqrt{\sqrt{2}}}}",
    ],
)  # fmt: skip
def test_sympy_never_sees_what_may_take_for_ever(text):
    assert not is_safe(text)
    assert expressions_match(text, "x") is None
    assert expressions_match("x", text) is None


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\log_{999999999}3^x", "999999999-[x^{x},i-2]"),
        (r"\log_{|2|e}3-3", r"\sin 999999999^y,\infty\circ3(e*3)1/0\circ\infty"),
        (r"\log_{9}3^x", "x"),
        ("3^x", r"\ln x"),
        ("12345", "x"),
        ("x", "12345y"),
    ],
)
def test_sympy_never_sees_pairs_that_may_take_for_ever(answer, gold):
    assert is_safe(answer)
    assert is_safe(gold)
    assert expressions_match(answer, gold) is expressions_match(gold, answer) is None
    assert not answers_match(answer, gold)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_texts_score_without_error_and_quickly(text):
    start = time.process_time()
    problem = Problem("", "18", {"steps": 2})
    for reward in REWARDS:
        assert 0.0 <= reward(problem, text) <= 1.0
    assert accuracy(problem, text) == 0.0
    assert answers_match(text, text) in (True, False)
    assert drw_clarity(text) in (0.0, 1.0)
    assert time.process_time() - start < 3.0


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters()) | st.text("0123456789.,+-*/=()$%{}\\ \nansweroxdfr#:<>", max_size=80))
def test_any_text_has_scores(text):
    problem = Problem("", "18", {"steps": 2})
    for reward in REWARDS:
        assert reward(problem, text) == reward(problem, text)
        assert 0.0 <= reward(problem, text) <= 1.0
    assert isinstance(answers_match(text, "x + 1"), bool)
    assert isinstance(answers_match("18", text), bool)
    solve(text)


@settings(max_examples=50, deadline=None)
@given(value=st.fractions(max_denominator=400), decimals=st.integers(0, 6))
def test_written_numbers_are_read_back(value, decimals):
    assert read_number(write_number(value)).value == value
    assert answers_match(f"answer {float(decimals)}"[7:], str(decimals))
    whole = value.numerator
    assert read_number(f"{whole:,}").value == whole
    assert read_number(rf"\frac{{{abs(value.numerator)}}}{{{value.denominator}}}").value == abs(value)


def test_numbers_are_exact():
    assert read_number("0.1").value == Fraction(1, 10)
    assert not answers_match("0.1000000000000000000001", "0.1")
    assert read_number("1" * 201) is None
    assert read_number("1e31") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12 + 7 = 19. 19 - 4 = 15.", [True, True]),
        ("12 + 7 = 18", [False]),
        ("3*2=<<3*2=6>>6", [True]),
        ("$95 + $15 = $110", [True]),
        ("1,000 x 2 = 2,000", [True]),
        (r"3 \times 4 = 12 ÷ 1", [True]),
        ("60-15-25=20", [True]),
        ("2 + 3 * 4 = 14", [True]),
        ("(2 + 3) * 4 - 1 = 19", [True]),
        ("4 - -3 = 7", [True]),
        ("50% * 20 = 10", [True]),
        ("19 = 12 + 7", [True]),
        ("2 + 2 = 4 = 8 / 2", [True, True]),
        ("7 / 0 = 7", [False]),
        ("10 / 3 = 3.33", [False]),
        ("- 4 * 3 = 12\n1. 4 * 3 = 12\n2) 4 * 2 = 8", [True, True]),
        ("x + 2 = 5", []),
        ("12 apples + 7 apples = 19 apples", []),
        ("5 = 5", []),
        ("2 + = 4", []),
        ("(2 + 3 = 5", []),
        ("2 + 3) = 5", []),
        ("1234567890123456 + 1 = 1234567890123457", [False]),
        ("+".join(["1"] * 20) + " = 20", [False]),
    ],
)
def test_equations(text, expected):
    assert list(equations(text).values()) == expected


def test_repeated_equations_raise_nothing():
    wrong = "12 + 7 = 20. "
    assert step_validity(wrong + "1 + 1 = 2. " * 50) == step_validity(wrong + "1 + 1 = 2. ") == 0.5
    assert count_steps("1 + 1 = 2. " * 50) == 1
    assert count_steps("first, 1 + 1 = 2. then, 1 + 1 = 2.") == 1


@pytest.mark.parametrize(
    ("expression", "results"),
    [
        ("( ( 3.0 + 4.0 ) * 2.0 )", [7, 14]),
        ("8 - 3 - 2", [5, 3]),
        ("8 / 4 / 2", [2, 1]),
        ("-(2 + 3)", [5]),
        ("8.0", []),
        ("1 / (2 - 2)", None),
        ("2 = 2", None),
        ("2 3", None),
        ("()", None),
        ("a + 1", None),
        ("2 ** 3", None),
        ("+".join(["1"] * 40), None),
        ("9999999999999999 + 1", None),
        ("", None),
    ],
)
def test_solve(expression, results):
    steps = solve(expression)
    assert (steps if steps is None else [step.result for step in steps]) == results


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("1. add\n2. subtract\n- done", 3),
        ("1.\n2.\n", 0),
        ("step 1: 2 + 3 = 5. step 2: 5 - 1 = 4", 2),
        ("First, add. Then subtract. Finally, look.", 3),
        ("add. subtract.", 0),
        ("2 sq. ft. * 6 = 12 sq. ft.", 1),
        ("six plus 2 equals 8", 1),
        ("a = b", 0),
        ("answer: 15", 0),
    ],
)
def test_count_steps(text, steps):
    assert count_steps(text) == steps


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("12 + 7 = 19. answer: 19", 1, 1.0),
        ("12 + 7 = 19. answer: 19", 2, 0.5),
        ("12 + 7 = 19. 12 + 7 = 19. answer: 19", 2, 0.5),
        ("1. a\n2. b\n#### 19", 5, 1.0),
        ("12 + 7 = 19. 19 - 4 = 15", 2, 0.5),
        (r"\boxed{19}", 1, 0.5),
        ("19", 1, 0.0),
    ],
)
def test_clarity(text, steps, expected):
    assert clarity(Problem("", "19", {"steps": steps}), text) == expected


@pytest.mark.parametrize(
    "text", ["15 16 17 18 19", "answer: 17 18 19", "answer: 18, 19", r"\boxed{19} \boxed{20}", "#### 19\n#### 20"]
)
def test_several_answers_do_not_help(text):
    assert accuracy(Problem("", "18"), text) == 0.0


def test_targets_may_be_numbers():
    assert accuracy(Problem("", 18), "answer: 18.0") == 1.0
    assert accuracy(Problem("", 18.0), "answer: 18") == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. a\n2. b\n\\boxed{3}", 1.0),
        ("- a\n* b\n\\boxed{3}", 1.0),
        ("First this, then that: \\boxed{3}", 1.0),
        ("Step 1 a\nStep 2 b \\boxed{3}", 1.0),
        ("1. a\n\\boxed{3}", 0.0),
        ("1. a\n2. b\n\\boxed{ }", 0.0),
        ("1. a\n2. b\nanswer: 3", 0.0),
        ("first \\boxed{3}", 0.0),
    ],
)
def test_drw_clarity(text, expected):
    assert drw_clarity(text) == expected


def test_drw_conciseness():
    assert [drw_conciseness(length, 10.0) for length in (9, 10, 11)] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_pickle(reward):
    again = pickle.loads(pickle.dumps(reward))
    assert (again.name, again.low, again.high, again.kind) == (reward.__name__, 0.0, 1.0, "pointwise")
