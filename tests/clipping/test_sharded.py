"""Gradients spread over processes: spread.py, run in two and in four of them on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import distributed as dist

if not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("this torch has no gloo to join processes with", allow_module_level=True)

import spread

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[2, 4], ids=["two", "four"])
def said(request):
    """What the processes print; each test's name once it has passed in all of them."""
    launch = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={request.param}"]
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *launch, Path(spread.__file__)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **loopback},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", [test.__name__ for test in spread.TESTS])
def test_in_several_processes(name, said):
    assert f"passed: {name}\n" in said.stdout, said.stderr


def test_all_processes_end_well(said):
    assert said.returncode == 0, said.stderr
