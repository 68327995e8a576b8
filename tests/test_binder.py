"""What Binder makes of the repository: its recipe read, its last steps carried out.

Docker and conda are not needed: repo2docker prints the recipe, and a virtual environment stands for
conda's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FIRST = "/lab/tree/notebooks/00_start_here.ipynb"
TOKEN = "for-this-test"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="Binder's scripts are for a shell"),
]


@pytest.fixture(scope="module")
def recipe() -> str:
    """Return the Dockerfile that Binder builds, and what was said while it was made."""
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return made.stdout + made.stderr


def place(recipe: str, line: str) -> int:
    """Return where a line of the recipe is; it must be there exactly once."""
    found = [match.start() for match in re.finditer(f"^ *{line}$", recipe, re.MULTILINE)]
    assert len(found) == 1, f"{line}: {len(found)} times"
    return found[0]


def test_conda_builds_the_environment_with_the_python_it_names(recipe: str) -> None:
    described = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = [name for name in described["dependencies"] if name.startswith("python=")]
    assert f"Building conda environment for {python}\n" in recipe
    place(recipe, r".*\$\{MAMBA_EXE\} env update -p .* --file \"binder/environment.yml\" && \\")
    # Other buildpacks would install the package with pip, torch's CUDA libraries included.
    assert "pip install" not in recipe
    assert "requirements" not in recipe


def test_the_steps_come_in_the_order_they_need(recipe: str) -> None:
    steps = [
        r"COPY --chown=0:0 src/binder/environment.yml \$\{REPO_DIR\}/binder/environment.yml",
        r".*--file \"binder/environment.yml\" && \\",
        r"COPY --chown=0:0 src/ \$\{REPO_DIR\}/",
        r"RUN ./binder/postBuild",
        r'ENV R2D_ENTRYPOINT="\$\{REPO_DIR\}/binder/start"',
    ]
    places = [place(recipe, step) for step in steps]
    assert places == sorted(places)


def test_torch_is_one_minor_version_of_the_cpu_build() -> None:
    described = yaml.safe_load((ROOT / "environment.yml").read_text())
    torch = [name for name in described["dependencies"] if "torch" in name]
    assert len(torch) == 1
    assert re.fullmatch(r"pytorch-cpu=2\.\d+", torch[0])
    assert described["channels"] == ["conda-forge", "nodefaults"]


def test_a_session_starts_on_one_thread_unless_told_otherwise() -> None:
    start = [str(ROOT / "binder/start"), "printenv", "OMP_NUM_THREADS"]
    for told, threads in (({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")):
        variables = {"PATH": os.environ["PATH"]} | told
        done = subprocess.run(start, env=variables, capture_output=True, text=True, check=True)
        assert done.stdout == f"{threads}\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Carry out postBuild in an environment that has everything but the course."""
    prefix = tmp_path_factory.mktemp("image") / "prefix"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    (own,) = prefix.glob("lib/python*/site-packages")
    # Only this folder: a course that is installed here as a checkout is named in another file.
    (own / "everything.pth").write_text(sysconfig.get_path("purelib"))
    for files in ("etc/jupyter/jupyter_server_config.d", "share/jupyter", "share/jupyter/lab"):
        (prefix / files).mkdir(parents=True, exist_ok=True)
        for path in (Path(sys.prefix) / files).iterdir():
            if not (prefix / files / path.name).exists() and path.name != "lab":
                (prefix / files / path.name).symlink_to(path)
    missing = ran(prefix, "-c", "import gradcourse", check=False)
    assert "No module named 'gradcourse'" in missing.stderr
    subprocess.run(["binder/postBuild"], cwd=ROOT, env=environment(prefix), check=True)
    return prefix


def environment(prefix: Path) -> dict[str, str]:
    """Return the variables of a session: those of conda's environment, and none of the reader's."""
    home = prefix.parent / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return kept | {"HOME": str(home), "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def ran(prefix: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(prefix / "bin/python"), *words],
        cwd=prefix,
        env=environment(prefix),
        capture_output=True,
        text=True,
        check=check,
    )


def test_the_course_is_installed_from_the_repository(image: Path) -> None:
    found = ran(image, "-c", "import gradcourse; print(gradcourse.__file__)").stdout.strip()
    assert found == str(ROOT / "gradcourse/__init__.py")


def test_the_first_cell_of_a_lesson_does_nothing(image: Path) -> None:
    text = (ROOT / "notebooks/source/00_start_here.py").read_text()
    cell = text.partition("# %%\n")[2].partition("# %%")[0]
    assert "pip" in cell
    alarm = "import subprocess\nsubprocess.run = None\n"
    assert ran(image, "-c", alarm + cell).stdout == ""


@pytest.fixture(scope="module", params=["jupyterlab", "jupyter_server"])
def address(request: pytest.FixtureRequest, image: Path) -> Iterator[str]:
    """Start a server through binder/start, as a session does: alone, or as a hub's server is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = image.parent / "server.log"
    command = [str(ROOT / "binder/start"), "python", "-m", request.param, "--ip=127.0.0.1"]
    command += [f"--port={port}", "--port-retries=0", "--no-browser", "--allow-root"]
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(image) | {"JUPYTER_TOKEN": TOKEN},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 60
        while f"127.0.0.1:{port}/" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        family = [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]
        for one in family:
            one.terminate()
        psutil.wait_procs(family, timeout=20)
        server.wait()


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirection."""

    def redirect_request(self, *_: object) -> None:
        """Return no next request."""


def ask(address: str) -> tuple[int, str, str]:
    """Return the status of an answer, where it leads, and its text."""
    request = urllib.request.Request(address, headers={"Authorization": f"token {TOKEN}"})
    try:
        with urllib.request.build_opener(Stays).open(request, timeout=30) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers["Location"], ""


def test_a_session_opens_at_the_first_lesson(address: str) -> None:
    status, location, _ = ask(f"{address}/")
    assert (status, location.partition("?")[0]) == (302, FIRST)
    assert ask(address + FIRST)[0] == 200


def test_every_lesson_is_at_hand(address: str) -> None:
    listed = json.loads(ask(f"{address}/api/contents/notebooks")[2])["content"]
    lessons = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert lessons <= {one["name"] for one in listed}


def test_nobody_is_asked_about_news_and_updates(address: str) -> None:
    name = "@jupyterlab/apputils-extension:notification"
    answer = json.loads(ask(f"{address}/lab/api/settings/{name}")[2])
    defaults = {key: one["default"] for key, one in answer["schema"]["properties"].items()}
    assert (defaults["fetchNews"], defaults["checkForUpdates"]) == ("false", False)
    page = ask(address + FIRST)[2]
    found = re.search(r'id="jupyter-config-data" type="application/json">(.*?)</script', page)
    assert found
    assert json.loads(found[1])["news"] == {"disabled": True}
    assert json.loads(ask(f"{address}/lab/api/update")[2]) == {"notification": None}


def test_a_lesson_fits_into_the_memory_that_binder_grants() -> None:
    # Of all lessons this one held the most; benchmarks/README.md has the table.
    command = [sys.executable, "-m", "benchmarks.hosted", "01"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (peak,) = re.findall(r"^01_vanishing_and_exploding: ([\d.]+)$", done.stdout, re.MULTILINE)
    # A kernel that was not counted would be under the least that torch takes.
    assert 0.3 < float(peak) < 2
    assert done.stdout.endswith("Within 2 GB.\n")
