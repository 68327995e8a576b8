"""Each lesson as Colab runs it: opened without the course, in an older kernel, moved by a page.

GRADCOURSE_COLAB names the Python of an environment with Colab's versions and without the course;
.ci/run makes one. A lesson's kernel has what is in there and a folder of its own to install into.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).resolve().parent.parent
COLAB = os.environ.get("GRADCOURSE_COLAB", "")
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
VIEW = "application/vnd.jupyter.widget-view+json"
VERSIONS = {
    "ipywidgets": "7.7.1",
    "ipython": "7.34.0",
    "ipykernel": "6.17.1",
    "matplotlib": "3.10.",
}
LACKING = ["jupyterlab", "jupytext", "nbclient", "papermill"]
# Widgets of these two need no extension on the page.
CORE = {"@jupyter-widgets/base", "@jupyter-widgets/controls"}
PATIENCE = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COLAB, reason="GRADCOURSE_COLAB names no Python"),
]

PACKAGES = """
import json, sys
from importlib.metadata import distributions
sys.modules.update(dict.fromkeys({lacking}))
print(json.dumps({{one.metadata["Name"].lower(): one.version for one in distributions()}}))
"""

# What the page cannot see: which values a control has, and what lines a picture is made of.
FIGURES = """
import gc as _gc, hashlib as _hashlib, json as _json
from gradcourse.live import LiveFigure as _LiveFigure

_figures = {f.widget.model_id: f for f in _gc.get_objects() if type(f) is _LiveFigure}

def _controls(figure):
    for name, widget in figure.controls.items():
        places = figure.positions(name)
        trait = "index" if hasattr(widget, "index") else "value"
        ends = [0, len(places) - 1] if trait == "index" else [places[0], places[-1]]
        yield [name, widget.model_id, trait, *ends, getattr(widget, trait)]

def _state(figure):
    lines = _hashlib.sha256()
    for name, panel in sorted(figure.canvas.panels.items()):
        for key, (x, y) in sorted(panel.lines().items(), key=str):
            lines.update(f"{name} {key}".encode() + x.tobytes() + y.tobytes())
    return {
        "words": figure.summary,
        "lines": lines.hexdigest(),
        "error": figure.error and repr(figure.error),
        "running": figure.running,
    }
"""


class Page:
    """What a page does with a kernel: runs cells, moves controls, keeps what comes back."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.pictures: dict[str, bytes] = {}
        self.modules: set[str] = set()
        self.children: dict[str, list[str]] = {}

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell and return its outputs."""
        return self._until_idle(self.client.execute(code, allow_stdin=False))

    def ask(self, expression: str) -> Any:
        """Return what an expression is in the kernel."""
        return json.loads(printed(self.run(f"print(_json.dumps({expression}))")))

    def move(self, model: str, trait: str, value: object) -> None:
        """Move a control as a page does."""
        data = {"method": "update", "state": {trait: value}, "buffer_paths": []}
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": data})
        self.client.shell_channel.send(message)
        self._until_idle(message["header"]["msg_id"])

    def picture(self, figure: str) -> bytes:
        """Return the one picture within a figure, as the page has it."""
        (found,) = [model for model in self._within(figure) if model in self.pictures]
        return self.pictures[found]

    def _within(self, model: str) -> Iterator[str]:
        yield model
        for child in self.children.get(model, ()):
            yield from self._within(child)

    def _until_idle(self, sent: str) -> list[dict[str, Any]]:
        outputs = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            kind, content = message["msg_type"], message["content"]
            if kind in ("comm_open", "comm_msg"):
                self._take(content["comm_id"], content["data"], message["buffers"])
            if message["parent_header"].get("msg_id") != sent:
                continue
            if kind in ("stream", "display_data", "execute_result", "error"):
                outputs.append({"kind": kind, **content})
            elif kind == "status" and content["execution_state"] == "idle":
                return outputs

    def _take(self, model: str, data: dict[str, Any], buffers: list[Any]) -> None:
        state = data.get("state", {})
        if "_model_module" in state:
            self.modules.add(state["_model_module"])
        if "children" in state:
            named = [child.removeprefix("IPY_MODEL_") for child in state["children"]]
            self.children[model] = named
        for path, buffer in zip(data.get("buffer_paths", ()), buffers, strict=True):
            if path == ["value"]:
                self.pictures[model] = bytes(buffer)


def printed(outputs: list[dict[str, Any]]) -> str:
    errors = [output for output in outputs if output["kind"] == "error"]
    assert not errors, errors[0]["evalue"]
    return "".join(output["text"] for output in outputs if output["kind"] == "stream")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    (built,) = folder.glob("gradcourse-*.whl")
    return built


def machine(folder: Path) -> Path:
    """Return a Python with the packages of Colab's, which installs into a place of its own."""
    subprocess.run([COLAB, "-m", "venv", "--without-pip", str(folder)], check=True)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([COLAB, "-c", ask], check=True, capture_output=True, text=True)
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "colab.pth").write_text(packages.stdout)
    return folder / "bin" / "python"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Start a kernel in an empty folder."""
    python = machine(tmp_path / "machine")
    spec = tmp_path / "jupyter/kernels/colab/kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
    (tmp_path / "content").mkdir()
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    for variable in ("GRADCOURSE_LEDGER", "PYTHONPATH"):
        monkeypatch.delenv(variable, raising=False)
    manager, client = start_new_kernel(kernel_name="colab", cwd=str(tmp_path / "content"))
    try:
        yield Page(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def packages(page: Page) -> dict[str, str]:
    found: dict[str, str] = json.loads(printed(page.run(PACKAGES.format(lacking=LACKING))))
    return found


def settled(page: Page, figure: str) -> dict[str, Any]:
    """Return a figure's state once nothing is at work behind its picture."""
    until = time.monotonic() + PATIENCE
    while True:
        state: dict[str, Any] = page.ask(f"_state(_figures[{figure!r}])")
        if not state.pop("running"):
            return state | {"picture": page.picture(figure)}
        assert time.monotonic() < until, f"still at work: {state['words']}"
        time.sleep(0.1)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_installs_itself_runs_and_its_figures_follow_the_page(
    lesson: Path, page: Page, wheel: Path, tmp_path: Path
) -> None:
    before = packages(page)
    assert "gradcourse" not in before
    for name, version in VERSIONS.items():
        assert before[name].startswith(version), name
    shutil.copy(wheel, tmp_path / "content")

    cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    shown, said = [], ""
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        outputs = page.run("".join(cell["source"]))
        said += printed(outputs)
        shown += [output["data"] for output in outputs if VIEW in output.get("data", {})]
    assert "✓" in said
    after = packages(page)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"gradcourse"}

    printed(page.run(FIGURES))
    figures = [data[VIEW]["model_id"] for data in shown]
    assert figures
    assert sorted(page.ask("list(_figures)")) == sorted(figures)
    assert all("image/png" in data for data in shown)
    assert page.modules <= CORE
    for figure in figures:
        for name, model, trait, low, high, start in page.ask(
            f"list(_controls(_figures[{figure!r}]))"
        ):
            seen = []
            for value in (low, high):
                page.move(model, trait, value)
                seen.append(settled(page, figure))
            one, other = seen
            assert one["error"] is other["error"] is None, name
            assert not [key for key in ("words", "lines", "picture") if one[key] == other[key]], (
                name
            )
            assert one["picture"].startswith(b"\x89PNG")
            page.move(model, trait, start)
            settled(page, figure)
