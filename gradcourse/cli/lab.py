"""``gradcourse lab``: a copy of the course of the learner's own, opened in JupyterLab."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from gradcourse.cli.copying import Copied, copy_course
from gradcourse.cli.course import find_course
from gradcourse.cli.ports import refuse_taken

__all__ = ["lab"]

FIRST_LESSON = "00_start_here.ipynb"


def lab(folder: Path, *, port: int | None, browser: bool, beside: bool) -> int:
    """Copy the course into a folder, say what was kept, and open JupyterLab there."""
    course = find_course()
    if port is not None:
        refuse_taken(port)
    copied = copy_course(course, folder, beside=beside)
    print(_report(copied, folder), flush=True)
    with tempfile.TemporaryDirectory(prefix="gradcourse-") as settings:
        quiet_settings(Path(settings))
        options = _jupyterlab_options(folder, port, browser)
        return _open_jupyterlab([*options, f"--LabApp.app_settings_dir={settings}"])


def quiet_settings(folder: Path) -> None:
    """Write JupyterLab's default settings into a folder, with its question about news answered.

    Options switch the news and the update check off, but the question whether to switch them on
    still covers a corner of the page. The defaults of this installation are kept, and a learner's
    own choice still wins over any default.
    """
    from jupyterlab.commands import get_app_dir

    installed = Path(get_app_dir()) / "settings"
    if installed.is_dir():
        shutil.copytree(installed, folder, dirs_exist_ok=True)
    overrides = folder / "overrides.json"
    defaults = json.loads(overrides.read_text(encoding="utf-8")) if overrides.exists() else {}
    notification = {"fetchNews": "false", "checkForUpdates": False}
    defaults.setdefault("@jupyterlab/apputils-extension:notification", notification)
    overrides.write_text(json.dumps(defaults), encoding="utf-8")


def _report(copied: Copied, folder: Path) -> str:
    counts = [
        f"{len(names)} {verb}"
        for names, verb in ((copied.added, "added"), (copied.updated, "updated"))
        if names
    ]
    lines = [f"Notebooks in {folder}: {', '.join(counts) or 'nothing to add or update'}."]
    if copied.kept:
        hint = "" if copied.beside else "; --new puts the course's version beside yours"
        lines.append(f"Kept, because you changed them: {', '.join(copied.kept)}{hint}.")
    if copied.beside:
        lines.append(f"The course's version lies beside yours: {', '.join(copied.beside)}.")
    return "\n".join(lines)


def _jupyterlab_options(folder: Path, port: int | None, browser: bool) -> list[str]:
    first = f"/lab/tree/{FIRST_LESSON}" if (folder / FIRST_LESSON).is_file() else "/lab"
    options = [
        f"--ServerApp.root_dir={folder.resolve()}",
        f"--LabApp.default_url={first}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
    ]
    if port is not None:
        options += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        options.append("--ServerApp.open_browser=False")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Containers run as root; the server still listens on loopback only, behind its token.
        options.append("--ServerApp.allow_root=True")
    return options


def _open_jupyterlab(options: list[str]) -> int:
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(options)
    return 0
