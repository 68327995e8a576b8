"""``gradcourse info``: what a helper needs to know about this machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from gradcourse import __version__
from gradcourse.cli.course import Refusal, find_course, list_lessons

__all__ = ["info"]

PACKAGES = ("torch", "numpy", "matplotlib", "ipywidgets", "jupyterlab", "papermill")
GIBIBYTE = 2**30


def info() -> int:
    """Print versions, the device and why it was chosen, memory, cores and threads."""
    rows = [("gradcourse", __version__), ("python", platform.python_version())]
    rows += [(name, _version(name)) for name in PACKAGES]
    rows += [("system", platform.platform(terse=True)), ("lessons", _lessons())]
    rows += _machine()
    for name, value in rows:
        print(f"{name:<11} {value}")
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _lessons() -> str:
    try:
        course = find_course()
        return f"{len(list_lessons(course))} in {course}"
    except Refusal as refusal:
        return str(refusal)


def _machine() -> list[tuple[str, str]]:
    import psutil
    import torch

    from gradcourse.device import explain_device

    try:
        device, reason = explain_device()
    except ValueError as error:
        raise Refusal(str(error)) from None
    memory = psutil.virtual_memory()
    return [
        ("device", f"{device} ({reason})"),
        ("memory", f"{memory.available / GIBIBYTE:.1f} of {memory.total / GIBIBYTE:.1f} GiB free"),
        ("cores", str(os.cpu_count() or "unknown")),
        ("threads", f"{torch.get_num_threads()} used by torch"),
    ]
