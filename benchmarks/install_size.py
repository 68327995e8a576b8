"""How large an installation is: of the course's requirements, and of the course itself."""

from __future__ import annotations

import io
import tomllib
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["environment_size", "own_size", "required_sizes"]

ROOT = Path(__file__).resolve().parent.parent


def required_sizes() -> dict[str, int]:
    """Return the bytes of every package that the course needs here, largest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, int] = {}
    followed: set[tuple[str, str]] = set()
    waiting = [(text, "") for text in project["dependencies"]]
    while waiting:
        text, extra = waiting.pop()
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(needed.name)
        package = distribution(name)
        found[name] = size(package)
        for new in {(name, one) for one in ("", *needed.extras)} - followed:
            followed.add(new)
            waiting += [(requirement, new[1]) for requirement in package.requires or ()]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def environment_size() -> int:
    """Return the bytes of every package of this environment."""
    return sum(size(found) for found in distributions())


def size(found: Distribution) -> int:
    """Return the bytes of the files that a package installed."""
    paths = [Path(str(file.locate())) for file in found.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def own_size() -> tuple[int, int]:
    """Return the bytes of the course's own files, as they are and packed as in its wheel."""
    files = [*(ROOT / "gradcourse").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in files:
            wheel.write(file, file.relative_to(ROOT))
    return sum(file.stat().st_size for file in files), len(packed.getvalue())
