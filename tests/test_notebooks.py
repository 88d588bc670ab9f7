"""The lessons: each notebook has the cells of its source, holds nothing of the machine that ran it, and runs."""

import importlib.util
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent

spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

lessons = pytest.mark.parametrize("source", build.sources(), ids=lambda source: source.stem)


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_there_is_a_first_lesson():
    assert [source.name for source in build.sources()][:1] == ["01_convolution.py"]


@lessons
def test_notebook_is_up_to_date(source):
    assert build.up_to_date(source), f"{source.stem}.ipynb lacks an edit of its .py: run python notebooks/build.py"


@lessons
def test_every_notebook_is_valid_and_small(source):
    path = source.with_suffix(".ipynb")
    nbformat.validate(nbformat.read(path, as_version=4))
    assert path.stat().st_size < 1_000_000


@lessons
def test_notebook_holds_nothing_of_the_machine_that_ran_it(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert not any(cell.metadata for cell in notebook.cells)
    for output in outputs(notebook):
        output.get("data", {}).pop("image/png", None)
    assert not re.search(r"/(home|root|tmp|usr|work|Users)/|[A-Z]:\\\\", json.dumps(notebook))


@lessons
def test_notebook_runs_from_beginning_to_end(source, monkeypatch):
    monkeypatch.setenv("MINISEGNET_LESSON_STEPS", "40")
    notebook = build.run(build.notebook_of(source))
    for output in outputs(notebook):
        assert output.output_type != "error"
        if output.get("name") == "stderr":  # a progress bar, but no warning
            assert all("%|" in line or not line.strip() for line in re.split(r"[\r\n]", output.text)), output.text
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))


def test_an_edited_lesson_is_not_up_to_date(tmp_path):
    source = tmp_path / "01_lesson.py"
    source.write_text("# %% [markdown]\n# # Title\n\n# %%\nassert 1 + 1 == 2\n")
    assert not build.up_to_date(source)
    notebook = build.notebook_of(source)
    nbformat.write(notebook, source.with_suffix(".ipynb"))
    assert not build.up_to_date(source), "it was never run"
    notebook.cells[1].execution_count = 1
    nbformat.write(notebook, source.with_suffix(".ipynb"))
    assert build.up_to_date(source)
    source.write_text(source.read_text().replace("== 2", "== 3"))
    assert not build.up_to_date(source)


def test_a_wrong_number_stops_a_lesson(tmp_path):
    source = tmp_path / "01_lesson.py"
    source.write_text("# %%\nassert 1 + 1 == 3, 'a wrong number'\n")
    with pytest.raises(CellExecutionError, match="a wrong number"):
        build.run(build.notebook_of(source))
