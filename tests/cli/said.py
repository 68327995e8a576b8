"""What the tests of the command line share: how a course is made, what was said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Course = Callable[..., Path]


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was said on standard error, checked to be one line and no traceback."""
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    return said


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
