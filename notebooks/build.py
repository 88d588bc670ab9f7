"""Makes each lesson's .ipynb from its .py, run from beginning to end, and tells which ones are not up to date.

    python notebooks/build.py             make those that are not up to date
    python notebooks/build.py 01          make this one in any case
    python notebooks/build.py --check     make none; exit with 1 if one is not up to date

Needs the packages of minisegnet[test]. A notebook is up to date if its cells are those of its .py; the .py is what is
edited and reviewed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
SECONDS_A_CELL = 1800


def sources() -> list[Path]:
    """The lessons, by number."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def notebook_of(source: Path) -> NotebookNode:
    """The notebook that a lesson in py:percent format makes, not yet run."""
    cells = jupytext.read(source, fmt="py:percent").cells
    for number, cell in enumerate(cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def run(notebook: NotebookNode) -> NotebookNode:
    """Run every cell in a fresh kernel, the outputs staying in the notebook; raises CellExecutionError for an error."""
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=SECONDS_A_CELL, record_timing=False, resources=resources).execute()
    notebook.metadata.language_info = {"name": "python"}  # not the version that happened to run it
    return notebook


def without_progress(notebook: NotebookNode) -> NotebookNode:
    """Leave out what was written to stderr: progress bars, with the speed of the machine that ran them."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def up_to_date(source: Path) -> bool:
    """Whether the .ipynb beside a lesson has its cells, and was run."""
    target = source.with_suffix(".ipynb")
    if not target.exists():
        return False
    made, wanted = nbformat.read(target, as_version=4), notebook_of(source)
    was_run = all(cell.execution_count for cell in made.cells if cell.cell_type == "code")
    return was_run and _cells(made) == _cells(wanted)


def _cells(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", metavar="NUMBER", help="numbers of lessons, such as 01")
    parser.add_argument("--check", action="store_true", help="only tell which are not up to date")
    arguments = parser.parse_args()
    unknown = set(arguments.lessons) - {source.name[:2] for source in sources()}
    if unknown:
        known = ", ".join(source.stem for source in sources())
        parser.error(f"there is no lesson {', '.join(sorted(unknown))}; there are {known}")
    stale = [source for source in sources() if not up_to_date(source)]
    if arguments.check:
        for source in stale:
            print(f"{source.stem}.ipynb is not up to date: run python notebooks/build.py")
        return 1 if stale else 0
    for source in sources():
        if source in stale or source.name[:2] in arguments.lessons:
            print(f"running {source.name}", flush=True)
            nbformat.write(without_progress(run(notebook_of(source))), source.with_suffix(".ipynb"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
