"""Which cells of a notebook must run for some of them to run."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Collection, Iterable, Iterator, Sequence

__all__ = ["calls", "needed_cells"]

Names = set[str]


def needed_cells(sources: Sequence[str], wanted: Collection[int]) -> list[int]:
    """Return the places of the wanted cells and of all that they need, in order.

    A cell needs the cells above it that give a value to a name which it uses. What a cell does
    besides giving values to names, printing for one, makes nobody need it.

    Parameters
    ----------
    sources
        The code of each cell.
    wanted
        Places in ``sources``.
    """
    kept: list[int] = []
    missing: Names = set()
    for place in reversed(range(len(sources))):
        body = ast.parse(sources[place]).body
        if place in wanted or missing & set(_touched(body)):
            kept.append(place)
            missing = _missing_before(body, missing)
    return kept[::-1]


def calls(source: str, function: str) -> bool:
    """Return whether a cell calls a function by this name."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
        for node in ast.walk(ast.parse(source))
    )


def _missing_before(body: Sequence[ast.stmt], after: Iterable[str] = ()) -> Names:
    """Return the names that must have a value before the statements, for these to run."""
    missing = set(after)
    for statement in reversed(body):
        missing = (missing - _given(statement)) | _used(statement)
    return missing


def _given(statement: ast.stmt) -> Names:
    """Return the names that surely have a new value after a statement."""
    match statement:
        case ast.Assign(targets=targets):
            return _plain_names(targets)
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(alias.asname or alias.name).partition(".")[0] for alias in names}
    return set()


def _used(statement: ast.stmt) -> Names:
    match statement:
        case ast.For(target=target, iter=values, body=body, orelse=orelse):
            inside = _missing_before([*body, *orelse]) - _plain_names([target])
            return _read(values) | inside
        case (
            ast.If(test=test, body=body, orelse=orelse)
            | ast.While(test=test, body=body, orelse=orelse)
        ):
            return _read(test) | _missing_before(body) | _missing_before(orelse)
        case ast.AugAssign(target=target):
            return _read(statement) | _plain_names([target])
    return _read(statement)


def _plain_names(targets: Iterable[ast.AST]) -> Names:
    names: Names = set()
    for target in targets:
        if isinstance(target, ast.Name):
            names.add(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            names |= _plain_names(target.elts)
        elif isinstance(target, ast.Starred):
            names |= _plain_names([target.value])
    return names


def _read(code: ast.AST) -> Names:
    """Return the names of the notebook that code reads, inside of its functions too."""
    tables = [symtable.symtable(ast.unparse(code), "cell", "exec")]
    names: Names = set()
    for table in tables:
        tables += table.get_children()
        outermost = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (outermost or symbol.is_global()):
                names.add(symbol.get_name())
    return names


def _touched(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the names that get a value, or a part of whose value is replaced."""
    for statement in body:
        yield from _given(statement)
        for node in ast.walk(statement):
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(
                node.ctx, ast.Store
            ):
                whole: ast.AST = node
                while isinstance(whole, ast.Attribute | ast.Subscript):
                    whole = whole.value
                if isinstance(whole, ast.Name):
                    yield whole.id
