"""What an import brings with it: nothing heavy before it is used."""

import json
import pkgutil
import subprocess
import sys

from gradcourse import lessons

HEAVY = {
    "IPython",
    "ipywidgets",
    "matplotlib",
    "matplotlib.pyplot",
    "numpy",
    "papermill",
    "scipy",
    "scipy.differentiate",
    "scipy.optimize",
    "scipy.special",
    "sklearn",
    "torch",
    "torch._dynamo",
    "torch.distributed.tensor",
}
# Prints which of the packages each module is the first to load, in the order of the arguments.
SCRIPT = """
import importlib, json, sys
heavy, brought = set(json.loads(sys.argv[1])), {}
for module in sys.argv[2:]:
    before = set(sys.modules)
    importlib.import_module(module)
    brought[module] = sorted(heavy & (set(sys.modules) - before))
print(json.dumps(brought))
"""


def what_each_brings(*modules):
    """Import the modules one after the other in a fresh interpreter."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(sorted(HEAVY)), *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {module: set(brought) for module, brought in json.loads(done.stdout).items()}


def test_the_package_and_its_command_bring_nothing_heavy():
    light = ["gradcourse", "gradcourse.cli", "gradcourse.exercises", "gradcourse.checks"]
    assert what_each_brings(*light) == {module: set() for module in light}


def test_theory_brings_numpy_and_none_of_the_parts_of_scipy():
    assert what_each_brings("gradcourse.theory") == {"gradcourse.theory": {"numpy", "scipy"}}


def test_live_brings_what_draws_and_shows_but_neither_torch_nor_scipy_nor_pyplot():
    brought = what_each_brings("gradcourse.live")["gradcourse.live"]
    assert brought <= {"matplotlib", "ipywidgets", "IPython", "numpy"}


def test_the_toolkit_brings_nothing_heavy_but_torch():
    toolkit = ["clipping", "training", "diagnosis", "initialization", "signals", "models", "tasks"]
    modules = [f"gradcourse.{name}" for name in toolkit]
    brought = what_each_brings("numpy", "torch", *modules)
    assert {module: brought[module] for module in modules} == {module: set() for module in modules}


def test_lesson_00_does_without_torch_until_it_asks_for_the_device():
    lesson = "gradcourse.lessons.start_here"
    assert what_each_brings("gradcourse.live", "gradcourse.theory", lesson)[lesson] == set()


def test_lessons_bring_nothing_heavy_beyond_torch_live_and_theory():
    found = pkgutil.iter_modules(lessons.__path__, prefix="gradcourse.lessons.")
    names = [module.name for module in found]
    brought = what_each_brings("torch", "gradcourse.live", "gradcourse.theory", *names)
    assert names
    assert {name: brought[name] for name in names} == {name: set() for name in names}
