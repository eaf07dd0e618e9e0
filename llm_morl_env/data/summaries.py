"""Summaries: SciTLDR, and documents with a summary in general."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llm_morl_env.data.rows import Cells, Format, load_rows, show
from llm_morl_rewards import Problem
from llm_morl_rewards.summary import rouge_words

_INSTRUCTION = "Summarize the text in one sentence."
#: ROUGE-2 and the bigrams of `llm_morl_rewards.summary.source_precision` need two words.
_LEAST_WORDS = 2


def load_summaries(path: str | Path, data_format: str | None = None) -> list[Problem]:
    """Summarisation problems from a file.

    - ``"scitldr"``, one-sentence summaries of scientific papers (Cachola et al., 2020, arXiv 2004.15011): columns
      ``source`` (a list of sentences) and ``target`` (a list of reference summaries); ``paper_id`` and ``title``, where
      they are there, go into ``meta``. The title is not in the prompt, as in the data set's own tasks.
    - ``"summary"``, anything: columns ``document`` (a text) and ``summary`` (a text, or a list of them).

    The prompt is an instruction and the text; the gold answer is the first reference.

    Args:
        path: A JSON Lines or Parquet file. In Parquet, lists may be JSON strings.
        data_format: A name of `FORMATS`; None tells it from the columns of the first row.

    Returns:
        Problems in the order of the rows, with ``target`` as `llm_morl_rewards.summary` describes it,
        ``meta["gold"]``, ``meta["document"]`` and ``meta["row"]``, the row's number in the file.

    Raises:
        DataError: If the file is missing, empty, malformed or of an unknown format, or a text has less than two words
            of the letters a-z or digits, by which ROUGE goes.
        ValueError: If ``data_format`` is unknown.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    return load_rows(path, data_format, FORMATS)


def _scitldr_problem(cells: Cells) -> Problem:
    sentences = _texts(cells, "source", cells.get("source", list, "a list of sentences"))
    references = _texts(cells, "target", cells.get("target", list, "a list of summaries"))
    known = {key: cells.row[key] for key in ("paper_id", "title") if cells.row.get(key) is not None}
    return _problem(cells, "source", " ".join(sentences), "target", references, known)


def _summary_problem(cells: Cells) -> Problem:
    document = cells.get("document", str, "a text").strip()
    several = isinstance(cells.row.get("summary"), list)
    given = cells.row["summary"] if several else [cells.get("summary", str, "a text or a list of texts")]
    return _problem(cells, "document", document, "summary", _texts(cells, "summary", given), {})


def _texts(cells: Cells, column: str, values: Sequence[Any]) -> list[str]:
    """The texts without white space around them."""
    if not values or not all(isinstance(value, str) for value in values):
        cells.fail(column, f"must hold at least one text and texts only, got {show(values)}")
    return [value.strip() for value in values]


def _problem(
    cells: Cells, column: str, document: str, target: str, references: Sequence[str], meta: Mapping[str, Any]
) -> Problem:
    for name, text in ((column, document), *((target, reference) for reference in references)):
        if len(rouge_words(text)) < _LEAST_WORDS:
            cells.fail(name, f"must have at least {_LEAST_WORDS} words of a-z or digits (for ROUGE), got {show(text)}")
    return Problem(
        prompt=f"{_INSTRUCTION}\n\n{document}\n\nSummary:\n",
        target={"source": document, "references": list(references)},
        meta={**meta, "gold": references[0], "document": document, "row": cells.number},
    )


#: By name.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "scitldr": Format(_scitldr_problem, frozenset({"source", "target"})),
        "summary": Format(_summary_problem, frozenset({"document", "summary"})),
    }
)
