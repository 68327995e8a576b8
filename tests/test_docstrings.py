"""A function that refuses arguments says so: its docstring has a section ``Raises``."""

import ast
import functools
import importlib
import inspect
import re
import textwrap
import types

# Each lists in __all__ what it offers.
PUBLIC = [
    "claims",
    "clipping",
    "device",
    "diagnosis",
    "exercises",
    "initialization",
    "live",
    "models",
    "signals",
    "tasks",
    "theory",
    "training",
]
REFUSALS = {"ValueError", "TypeError"}


def source_of(value):
    """Return the package's own function behind a decorator or a descriptor, or None."""
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if not callable(value) or isinstance(value, type):
        return None
    value = inspect.unwrap(value)
    ours = isinstance(value, types.FunctionType) and value.__module__.startswith("gradcourse.")
    # What dataclasses write has no file, and refuses nothing by itself.
    return value if ours and value.__code__.co_filename.endswith(".py") else None


def exported():
    """Yield the name, the function, its class if any and the docstring of all that is offered."""
    for package in PUBLIC:
        module = importlib.import_module(f"gradcourse.{package}")
        for name in module.__all__:
            value = getattr(module, name)
            label = f"{package}.{name}"
            if not isinstance(value, type):
                if function := source_of(value):
                    yield label, function, None, function.__doc__
                continue
            for key, member in vars(value).items():
                function = source_of(member)
                if function and key == "__init__":
                    yield label, function, value, value.__doc__
                elif function and (key == "__call__" or not key.startswith("_")):
                    yield f"{label}.{key}", function, value, function.__doc__


@functools.cache
def nodes_of(function):
    return list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))))


def raises_itself(function):
    for node in nodes_of(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(made, ast.Name) and made.id in REFUSALS:
                return True
    return False


def called(function, owner):
    """Yield what a function calls by name in the package, each with its class if any."""
    for node in nodes_of(function):
        if not isinstance(node, ast.Call):
            continue
        handed = [*node.args, *(keyword.value for keyword in node.keywords)]
        # What is called with constants alone, or with nothing, refuses nothing that a caller gave.
        if all(isinstance(one, ast.Constant) for one in handed):
            continue
        match node.func:
            case ast.Name(id=name):
                value = function.__globals__.get(name)
                if isinstance(value, type):
                    yield source_of(vars(value).get("__init__")), value
                else:
                    yield source_of(value), None
            case ast.Attribute(value=ast.Name(id=name), attr=key):
                kind = owner if name in ("self", "cls") else function.__globals__.get(name)
                if isinstance(kind, type):
                    yield source_of(inspect.getattr_static(kind, key, None)), kind


def refuses(function, owner, seen):
    if function is None or function in seen:
        return False
    seen.add(function)
    return raises_itself(function) or any(
        refuses(helper, kind, seen) for helper, kind in called(function, owner)
    )


def has_raises(docstring):
    return bool(re.search(r"^Raises\n-{6}$", inspect.cleandoc(docstring or ""), re.MULTILINE))


def test_what_refuses_arguments_says_so():
    missing = [
        label
        for label, function, owner, docstring in exported()
        if refuses(function, owner, set()) and not has_raises(docstring)
    ]
    assert not missing, f"no section Raises: {', '.join(missing)}"


def test_the_search_sees_every_way_to_refuse():
    found = {label for label, function, owner, _ in exported() if refuses(function, owner, set())}
    # By a raise of its own, by checks.py, by a private helper, by one of another module, behind a
    # decorator, in a constructor, by a method of its class, by a class method.
    assert found >= {
        "theory.depth_scale",
        "theory.letters_only",
        "theory.gate_memory",
        "signals.mlp_signal",
        "clipping.clip_grad_norm_",
        "models.MLP",
        "signals.MLPSignal.band",
        "clipping.nonfinite_gradients",
    }
    # These take what they are given, or call a check with a number of their own.
    assert not found & {"theory.relu_cosine", "training.one_thread", "diagnosis.GradMonitor.latest"}
