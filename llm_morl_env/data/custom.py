"""One's own problems from a file."""

from __future__ import annotations

from pathlib import Path

from llm_morl_env.data.rows import Cells, read_rows
from llm_morl_rewards import Problem


def load_problems(path: str | Path) -> list[Problem]:
    """One's own problems: columns ``prompt`` (a text) and, optionally, ``target`` (any JSON) and ``meta`` (an object).

    Raises:
        DataError: If the file is missing, empty or malformed, or has other columns.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    problems = []
    for number, row in read_rows(path):
        cells = Cells(path, number, row)
        other = [column for column in row if column not in ("prompt", "target", "meta")]
        if other:
            cells.fail(other[0], "is unknown: the columns are prompt, target and meta; put further facts into meta")
        meta = cells.get("meta", dict, "an object") if row.get("meta") is not None else {}
        problems.append(Problem(cells.get("prompt", str, "a text"), row.get("target"), meta))
    return problems
