"""The notebook builder: same source, same bytes; nothing by chance; out of step is noticed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "build_notebooks.py"

SOURCE = """\
# %% [markdown]
# # A lesson

# %% tags=["parameters"]
depth = 60

# %%
from IPython.display import display

VIEW = "application/vnd.jupyter.widget-view+json"
PNG = "iVBORw0KGgo="
display({VIEW: {"model_id": str(id(display))}, "image/png": PNG, "text/plain": "p"}, raw=True)

# %%
from ipywidgets import IntSlider

IntSlider(value=depth)

# %%
print("one")
print("two")

# %%
print("one")
print("two")
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_notebooks", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    (folder / "source").mkdir(parents=True)
    (folder / "source" / "01_a.py").write_text(SOURCE)
    return folder


def run(tool: ModuleType, notebooks: Path, *words: str) -> int:
    code: int = tool.main([*words, "--notebooks", str(notebooks)])
    return code


def test_a_build_is_complete_valid_and_repeatable(
    tool: ModuleType, notebooks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tool, notebooks) == 0
    path = notebooks / "01_a.ipynb"
    first = path.read_bytes()
    notebook: dict[str, Any] = json.loads(first)
    nbformat.validate(notebook)
    assert b'widget-view+json": {' not in first
    assert b"iopub" not in first
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert "version" not in notebook["metadata"]["language_info"]
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) == 6
    assert notebook["cells"][1]["metadata"] == {"tags": ["parameters"]}
    # A reader's page shows one form of an output, so the words of a picture get one of their own.
    picture, words = (output["data"] for output in notebook["cells"][2]["outputs"])
    assert picture == {"image/png": "iVBORw0KGgo="}
    assert words == {"text/plain": ["p"]}
    assert notebook["cells"][4]["outputs"][0]["text"] == ["one\n", "two\n"]
    written = path.stat().st_mtime_ns
    assert run(tool, notebooks, "01_a") == 0
    assert path.read_bytes() == first
    assert path.stat().st_mtime_ns == written
    assert run(tool, notebooks, "--check") == 0
    assert [one.name for one in notebooks.iterdir() if one.is_file()] == ["01_a.ipynb"]

    def edit(change: str) -> str:
        edited = json.loads(first)
        match change:
            case "source":
                edited["cells"][0]["source"] = ["# My lesson"]
            case "id":
                edited["cells"][0]["id"] = "abc"
            case "tags":
                edited["cells"][1]["metadata"] = {}
            case "cells":
                edited["cells"].pop()
            case "executed":
                edited["cells"][2]["execution_count"] = None
            case "widgets":
                edited["metadata"]["widgets"] = {}
        path.write_text(json.dumps(edited))
        capsys.readouterr()
        assert run(tool, notebooks, "--check") == 1
        return capsys.readouterr().err

    assert "cell 1 (source)" in edit("source")
    assert "cell 1 (id)" in edit("id")
    assert "cell 2 (metadata)" in edit("tags")
    assert "has 5 cells, its source 6" in edit("cells")
    assert "not executed in cell 3" in edit("executed")
    assert "notebook metadata" in edit("widgets")


def test_check_names_what_was_never_built_and_what_has_no_source(
    tool: ModuleType, notebooks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (notebooks / "07_orphan.ipynb").write_text("{}")
    assert run(tool, notebooks, "--check") == 1
    said = capsys.readouterr().err
    assert "01_a.ipynb has never been built; edit notebooks/source/01_a.py" in said
    assert "07_orphan.ipynb has no source" in said
    assert run(tool, notebooks, "02_b") == 2


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys\nprint('careful', file=sys.stderr)", "wrote to stderr: careful"),
        (
            "from ipywidgets import Button\nb = Button()\nb.on_click(lambda _: 1 / 0)\nb.click()",
            "ZeroDivisionError",
        ),
        (
            "from gradcourse.claims import claim\nclaim('one is two', 1, equals=2)",
            "one is two",
        ),
    ],
)
def test_a_lesson_with_an_error_is_not_written(
    tool: ModuleType,
    notebooks: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cell: str,
    reason: str,
) -> None:
    monkeypatch.setenv("GRADCOURSE_LEDGER", str(notebooks / "ledger"))
    (notebooks / "source" / "01_a.py").write_text(f"# %%\n{cell}\n")
    assert run(tool, notebooks) == 1
    assert reason in capsys.readouterr().err
    assert not (notebooks / "01_a.ipynb").exists()


def test_a_source_that_is_no_notebook_is_said(
    tool: ModuleType, notebooks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n# %%\n1\n"
    (notebooks / "source" / "01_a.py").write_text(source)
    assert run(tool, notebooks) == 1
    assert "the source cannot be read" in capsys.readouterr().err
