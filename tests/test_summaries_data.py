"""Rows of summaries: what is read, and what is refused with row and column."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_morl_env.data import DataError, load_summaries

SCITLDR = {
    "source": ["We train a model.", " It is small.\n"],
    "source_labels": [1, 0],
    "paper_id": "p1",
    "target": ["A small model. ", "We train it."],
    "title": "Small",
}
GENERIC = {"document": "\nA long text about cats.", "summary": "About cats."}


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def test_scitldr_row(write):
    (problem,) = load_summaries(write(SCITLDR))
    text = "We train a model. It is small."
    assert problem.prompt == f"Summarize the text in one sentence.\n\n{text}\n\nSummary:\n"
    assert problem.target == {"source": text, "references": ["A small model.", "We train it."]}
    assert problem.meta == {"paper_id": "p1", "title": "Small", "gold": "A small model.", "document": text, "row": 1}


def test_title_and_identifier_may_be_missing(write):
    (problem,) = load_summaries(write({"source": SCITLDR["source"], "target": SCITLDR["target"], "title": None}))
    assert set(problem.meta) == {"gold", "document", "row"}


def test_generic_rows_with_one_summary_or_several(write):
    one, several = load_summaries(write(GENERIC, {**GENERIC, "summary": ["On cats.", "Cats and more."]}))
    assert one.target == {"source": "A long text about cats.", "references": ["About cats."]}
    assert several.target["references"] == ["On cats.", "Cats and more."]
    assert (several.meta["gold"], several.meta["row"]) == ("On cats.", 2)


def test_parquet_with_lists_or_json_strings(tmp_path):
    columns = {key: SCITLDR[key] for key in ("source", "target")}
    for name, row in {"lists": columns, "strings": {key: json.dumps(value) for key, value in columns.items()}}.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist([row]), path)
        (problem,) = load_summaries(path)
        assert problem.target["references"] == ["A small model.", "We train it."]


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({**SCITLDR, "target": []}, "target", "at least one text"),
        ({**SCITLDR, "source": []}, "source", "at least one text"),
        ({**SCITLDR, "source": ["fine text", 3]}, "source", r"texts only, got \['fine text', 3\]"),
        ({**SCITLDR, "target": "A small model."}, "target", "must be a list of summaries"),
        ({**SCITLDR, "target": {"a": 1}}, "target", "must be a list of summaries"),
        ({**SCITLDR, "target": ["fine text", "word"]}, "target", "at least 2 words .*, got 'word'"),
        ({**SCITLDR, "target": ["Модель мала"]}, "target", r"words of a-z or digits \(for ROUGE\)"),
        ({"source": ["x"], "target": ["fine text"]}, "source", "at least 2 words"),
        ({**GENERIC, "document": 7}, "document", "must be a text, got 7"),
        ({**GENERIC, "document": ""}, "document", "at least 2 words"),
        ({**GENERIC, "summary": None}, "summary", "must be a text or a list of texts, got None"),
        ({**GENERIC, "summary": [None]}, "summary", "texts only"),
    ],
)
def test_malformed_rows_name_row_and_column(write, row, column, message):
    good = SCITLDR if "source" in row else GENERIC
    with pytest.raises(DataError, match=message) as caught:
        load_summaries(write(good, row))
    assert (caught.value.row, caught.value.column) == (2, column)


def test_unknown_formats(write):
    with pytest.raises(DataError, match="scitldr has source, target; summary has document, summary"):
        load_summaries(write({"text": "x"}))
    with pytest.raises(ValueError, match=r"data_format must be None or one of \['scitldr', 'summary'\]"):
        load_summaries(write(GENERIC), "cnn")
    with pytest.raises(DataError, match=r"column 'source': is missing"):
        load_summaries(write(GENERIC), "scitldr")
