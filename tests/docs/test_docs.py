"""What docs/ shows runs as it stands: the page of examples, and the notebook."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def in_processes(tmp_path, monkeypatch):
    """A cache of features for the processes of a test."""
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_the_page_of_examples_runs(in_processes, tmp_path):
    command = [sys.executable, str(Path(__file__).parent / "page.py"), str(DOCS / "examples.md")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" blocks")
    assert "optim.lr must be " in done.stdout
    assert (tmp_path / "colours.csv").read_text().startswith("file,class,confidence,class_2,confidence_2\n")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The outputs of each cell of the notebook, by its last line."""
    place = tmp_path_factory.mktemp("notebook")
    book = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "it is kept without outputs"
    before = dict(os.environ)
    os.environ |= {"EXPKIT_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    try:
        NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": place}}).execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return {cell.source.splitlines()[-1]: cell.outputs for cell in book.cells if cell.cell_type == "code"}


def test_a_run_shows_one_table_that_grows_and_few_lines(notebook):
    *lines, progress = notebook['run = expkit.run("+experiment=digits", "epochs=3", "image_size=16", "tracking=none")']
    first, *rest = "".join(one.text for one in lines).splitlines()
    assert first == "1438 training and 359 validation images of 10 classes"
    assert len(rest) == 2
    assert progress.data["text/html"].count("<tr>") == 4
    assert "<progress" not in progress.data["text/html"], "the bar has gone"


def test_results_are_tables_and_a_mistake_is_a_sentence(notebook):
    assert "valid_accuracy" in notebook["run"][-1].data["text/html"]
    assert "data:image/png;base64," in notebook["scores"][-1].data["text/html"]
    assert "in trial" in notebook["study"][-1].data["text/html"]
    (error,) = notebook['expkit.run("+experiment=digits", "epocs=3")']
    assert error.traceback == ["error: epocs is no key of the config; did you mean 'epochs'?"]


def test_no_cell_writes_more_than_a_person_reads(notebook):
    for code, outputs in notebook.items():
        text = "".join(one.get("text", "") for one in outputs)
        # A bar that has gone leaves an empty output.
        assert sum(one.get("data", {}).get("text/html") != "" for one in outputs) <= 3, code
        assert len(text.splitlines()) <= 8, text
        assert "\x1b" not in text
        assert "Warning" not in text
