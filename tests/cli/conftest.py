"""A small course of a test's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest
from said import Course


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    """Make a small course: each lesson is a list of code cells; a dict is the parameters cell."""
    folder = tmp_path / "course"
    folder.mkdir()
    monkeypatch.setenv("GRADCOURSE_NOTEBOOKS", str(folder))
    monkeypatch.chdir(tmp_path)

    def make(**lessons: Sequence[str]) -> Path:
        for name, sources in lessons.items():
            cells = [nbformat.v4.new_code_cell(source) for source in sources]
            if sources and sources[0].startswith("# parameters"):
                cells[0].metadata["tags"] = ["parameters"]
            kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
            notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
            nbformat.write(notebook, folder / f"{name.lstrip('_')}.ipynb")
        return folder

    return make
