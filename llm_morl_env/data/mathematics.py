"""Mathematics: GSM8K and SVAMP, word problems with a number as answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.data.rows import Cells, Format, load_rows, show
from llm_morl_rewards import Problem
from llm_morl_rewards.math_equations import count_steps, solve, without_calculator_marks, write_number
from llm_morl_rewards.math_numbers import read_number

#: Relative to the value, where that is above 1.
_ROUNDING = Fraction(1, 10**6)
_ASK = "Solve the problem step by step, with one equation a step, and end with a line"


def load_math(path: str | Path, data_format: str | None = None) -> list[Problem]:
    """Word problems from a file in a public format.

    - ``"gsm8k"``: columns ``question`` and ``answer``, a worked solution that ends with ``#### n``. The gold response
      is the worked solution without its calculator marks (``<<48/2=24>>``).
    - ``"svamp"``: columns ``Body``, ``Question``, ``Equation`` and ``Answer``. The gold response states the equation's
      operations one by one, then ``answer: n``.

    Args:
        path: A JSON Lines or Parquet file.
        data_format: A name of `FORMATS`; None tells it from the columns of the first row.

    Returns:
        Problems in the order of the rows, with the answer (a text) as ``target``; ``meta`` has ``gold``, ``steps`` (the
        visible ones of the gold response, at least 1), ``row`` (the row's number in the file), and ``id`` and ``type``
        where the row has them.

    Raises:
        DataError: If the file is missing, empty, malformed or of an unknown format; also where the equation of a SVAMP
            row does not give its answer.
        ValueError: If ``data_format`` is unknown.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    return load_rows(path, data_format, FORMATS)


def _gsm8k_problem(cells: Cells) -> Problem:
    question, worked = (cells.get(column, str, "a text") for column in ("question", "answer"))
    if not question.strip():
        cells.fail("question", f"must hold a question, got {show(question)}")
    solution, mark, answer = worked.rpartition("####")
    if not mark or read_number(answer) is None:
        cells.fail("answer", f"must end with '####' and a number, got {show(worked[-60:])}")
    gold = f"{without_calculator_marks(solution).rstrip()}\n#### {answer.strip()}".lstrip()
    prompt = f"{_ASK} '#### ' and the number.\n\n{question.strip()}\n"
    return _problem(cells, prompt, answer.strip(), gold)


def _svamp_problem(cells: Cells) -> Problem:
    body, question, equation = (cells.get(column, str, "a text").strip() for column in ("Body", "Question", "Equation"))
    if not question:
        cells.fail("Question", "must hold a question, got a blank text")
    answer = cells.get("Answer", (int, float), "a number")
    steps = solve(equation)
    if steps is None:
        cells.fail("Equation", f"must be an arithmetic expression, got {show(equation)}")
    value = steps[-1].result if steps else _value(equation)
    if value is None or isinstance(answer, bool) or not _is_near(value, answer):
        cells.fail("Answer", f"must be the value of the equation {show(equation)}, got {show(answer)}")
    number = write_number(value)
    written = [
        f"{write_number(s.left)} {s.operator} {write_number(s.right)} = {write_number(s.result)}" for s in steps
    ] or [f"{number} = {number}"]
    join = "" if not body or body[-1] in ".,?!;:" else ","
    prompt = f"{_ASK} 'answer: ' and the number.\n\n{body}{join} {question}\n"
    return _problem(cells, prompt, number, "\n".join([*written, f"answer: {number}"]))


def _is_near(value: Fraction, answer: float) -> bool:
    """Whether a number of the file, NaN and the infinite ones included, is the value up to rounding."""
    if isinstance(answer, float) and not math.isfinite(answer):
        return False
    return abs(value - Fraction(answer)) <= _ROUNDING * max(Fraction(1), abs(value))


def _value(expression: str) -> Fraction | None:
    """The value of an expression that is a number in brackets at most; None if it is none.

    >>> _value("( 8.0 )")
    Fraction(8, 1)
    """
    number = read_number(expression)
    return None if number is None else number.value


def _problem(cells: Cells, prompt: str, answer: str, gold: str) -> Problem:
    meta = {name: cells.row[column] for name, column in (("id", "ID"), ("type", "Type")) if column in cells.row}
    return Problem(
        prompt=prompt,
        target=answer,
        meta={**meta, "gold": gold, "steps": max(1, count_steps(gold)), "row": cells.number},
    )


#: By name.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "gsm8k": Format(_gsm8k_problem, frozenset({"question", "answer"})),
        "svamp": Format(_svamp_problem, frozenset({"Body", "Question", "Equation", "Answer"})),
    }
)
