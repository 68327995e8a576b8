"""How large an installation is: of the course's requirements, and of the course itself."""

from __future__ import annotations

import io
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["environment_size", "own_size", "required_sizes"]

ROOT = Path(__file__).resolve().parent.parent


def required_sizes(package: str) -> dict[str, int]:
    """Return the bytes of every package that a package needs, itself left out, largest first."""
    # What is asked of each package: its extras, or the empty one.
    asked: dict[str, set[str]] = {}
    waiting = [(canonicalize_name(package), frozenset({""}))]
    while waiting:
        name, extras = waiting.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # A requirement of another system that no marker excludes.
        new = extras - asked.setdefault(name, set())
        asked[name] |= new
        for text in (found.requires or []) if new else []:
            needed = Requirement(text)
            if needed.marker and not any(needed.marker.evaluate({"extra": one}) for one in new):
                continue
            waiting.append((canonicalize_name(needed.name), frozenset({"", *needed.extras})))
    sizes = {name: size(distribution(name)) for name in asked if name != package}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


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
