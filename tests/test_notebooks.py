"""The notebooks run from top to bottom and carry no outputs in git."""

from pathlib import Path

import nbformat
import pytest
from classic_extra import require
from nbclient import NotebookClient

#: Seconds. A notebook takes about one minute on two free cores; a busy machine must not fail it.
CELL, WHOLE = 400, 900
NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
#: Notebooks that need the extra classic.
CLASSIC = {"03_classic_morl"}


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def path(request):
    return request.param


def runnable(path):
    marks = [pytest.mark.classic] if path.stem in CLASSIC else []
    return pytest.param(path, id=path.stem, marks=marks)


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} > CLASSIC


@pytest.mark.timeout(WHOLE)
@pytest.mark.parametrize("path", [runnable(path) for path in NOTEBOOKS])
def test_notebook_runs(path):
    """An exercise fails until it is solved; any other cell that fails, or hangs, fails this test."""
    if path.stem in CLASSIC:
        require("morl_baselines")
    notebook = read(path)
    where = {"metadata": {"path": path.parent}}
    client = NotebookClient(notebook, timeout=CELL, kernel_name="python3", resources=where)
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for cell in notebook.cells:
        if "raises-exception" in tags(cell):
            assert cell.outputs[-1].output_type == "error", f"the exercise {cell.source!r} needs no answer"


def test_notebook_is_stripped(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_every_exercise_has_a_solution_and_a_check(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    for position, cell in enumerate(cells):
        if "raises-exception" in tags(cell):
            assert "your answer" in cell.source
            assert "solution" in tags(cells[position + 1])
            assert "assert" in cells[position + 2].source
