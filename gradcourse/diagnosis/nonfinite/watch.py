"""See every operation of a training step, and trace what is not finite to where it was made."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gradcourse.diagnosis.nonfinite.places import Places
from gradcourse.diagnosis.nonfinite.report import (
    Cause,
    FirstNonFinite,
    counted,
    is_finite,
    numbers,
    summarize,
)

__all__ = ["Watch"]

# Their outputs hold whatever the memory held.
_UNINITIALISED = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "resize_",
}
# They write to an argument without reading it.
_OVERWRITING = {"copy_", "fill_", "zero_"}
# It marks what torch.tensor made of Python's numbers, and is a view in name only.
_LITERAL = "lift_fresh"
# They work element by element, though torch does not tag all of their kinds so.
_POINTWISE = {"_to_copy", "copy_", "masked_fill", "masked_fill_"}
# The mark of a storage whose content was never written.
_UNWRITTEN = -1


class _Operation(NamedTuple):
    """What is known of an operation from its schema."""

    name: str
    base: str
    arguments: tuple[str, ...]
    rewritten: frozenset[str]
    not_read: frozenset[str]
    view: bool
    pointwise: bool


class _Origin(NamedTuple):
    """Where non-finite numbers came from; if ``meant``, they are no fault in themselves."""

    report: FirstNonFinite
    meant: bool


@cache
def _operation(func: torch._ops.OpOverload) -> _Operation:
    schema = func._schema
    base = schema.name.rpartition("::")[2]
    written = {a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write}
    out = {a.name for a in schema.arguments if a.is_out}
    not_read = out | (written if base in _OVERWRITING else set())
    if base == _LITERAL:
        not_read = {"self"}
    aliases = [value.alias_info for value in schema.returns]
    return _Operation(
        name=schema.name.replace("::", "."),
        base=base,
        arguments=tuple(argument.name for argument in schema.arguments),
        rewritten=frozenset(written - not_read),
        not_read=frozenset(not_read),
        view=bool(aliases) and all(a and not a.is_write for a in aliases) and base != _LITERAL,
        pointwise=torch.Tag.pointwise in func.tags or base in _POINTWISE,
    )


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follow non-finite numbers from the operations that make them.

    No activation is kept: of each storage that holds such numbers only the origins' numbers are
    noted.

    Parameters
    ----------
    model
        Names modules, parameters and buffers.
    batch
        Pairs of a name and a tensor.
    """

    def __init__(self, model: nn.Module, batch: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places = Places(model)
        self.origins: list[_Origin] = []
        self.marks: dict[int, set[int]] = {}
        self.known: dict[int, list[tuple[Cause, str, Tensor]]] = {}
        owners: list[tuple[Cause, Any]] = [
            ("batch", batch.items()),
            ("buffer", model.named_buffers()),
            ("parameter", model.named_parameters()),
        ]
        for cause, named in owners:
            for name, tensor in named:
                held = numbers(tensor)
                if held is not None:
                    self.known.setdefault(_storage(held), []).append((cause, name, held))

    def run(self, function: Callable[[], Any]) -> Any:
        """Call a function under watch."""
        with self:
            return self.places.run(function)

    def marks_of(self, tensor: Tensor | None) -> set[int]:
        """Return the numbers of the origins of what is not finite in a tensor."""
        held = numbers(tensor)
        return set() if held is None or is_finite(held) else self._origins_of(held, held)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation and look at what it made."""
        kwargs = kwargs or {}
        operation = _operation(func)
        self.places.note()
        before = {
            name: value.clone()
            for name, value in _named(operation.arguments, args, kwargs)
            if name in operation.rewritten and numbers(value) is not None
        }
        made = func(*args, **kwargs)
        if operation.view:
            return made
        for output in _tensors(made):
            held = numbers(output)
            if held is None:
                continue
            storage = _storage(held)
            whole = held.numel() * held.element_size() == held.untyped_storage().nbytes()
            kept = set() if whole else self.marks.get(storage, set())
            if operation.base in _UNINITIALISED:
                kept = {_UNWRITTEN}
            elif not is_finite(held):
                given = dict(_named(operation.arguments, args, kwargs))
                kept = kept | self._trace(operation, given, before, held)
            if kept:
                self.marks[storage] = kept
            else:
                self.marks.pop(storage, None)
        return made

    def _trace(
        self,
        operation: _Operation,
        given: Mapping[str, Any],
        before: Mapping[str, Tensor],
        output: Tensor,
    ) -> set[int]:
        """Return the numbers of the origins of an operation's non-finite output."""
        inputs = {**given, **before}
        unread = operation.not_read | ({"self", "input"} if inputs.get("beta") == 0 else set())
        read = {name: value for name, value in inputs.items() if name not in unread}
        tensors = {
            name: held for name, value in read.items() if (held := numbers(value)) is not None
        }
        bad = {name: held for name, held in tensors.items() if not is_finite(held)}
        fresh = wrong = ~torch.isfinite(output)
        if operation.pointwise and all(_fits(held, output) for held in bad.values()):
            for name, held in list(bad.items()):
                inherited = wrong & ~torch.isfinite(held) & _selected(operation.base, name, inputs)
                fresh = fresh & ~inherited
                if not inherited.any():
                    del bad[name]
        elif bad:
            fresh = torch.zeros_like(wrong)

        marks: set[int] = set()
        for name, held in bad.items():
            # A copy from before stands for the storage that the operation wrote to.
            stored = numbers(given[name])
            marks |= self._origins_of(held, held if stored is None else stored, operation)
        if fresh.any():
            # Meant: a constant argument, or an operation that makes a tensor of Python's numbers.
            meant = not tensors or any(_is_infinite_number(value) for value in read.values())
            cause: Cause = "constant" if meant else "operation"
            report = self._report(cause, operation, read, output, fresh)
            marks.add(self._add(report, meant))
        elif (
            # inf - inf, 0 * inf: a fault if nothing before was one.
            all(self.origins[mark].meant for mark in marks)
            and not any(held.isnan().any() for held in bad.values())
            and output.isnan().any()
        ):
            report = self._report("operation", operation, read, output, output.isnan())
            came_from = self.origins[min(marks)].report
            return {self._add(replace(report, came_from=came_from), False)}
        return marks

    def _origins_of(
        self, held: Tensor, stored: Tensor, operation: _Operation | None = None
    ) -> set[int]:
        """Return the origins of a non-finite tensor; what nothing is known of becomes one."""
        storage = _storage(stored)
        marks = self.marks.get(storage, set())
        if marks - {_UNWRITTEN}:
            return marks - {_UNWRITTEN}
        cause: Cause = "memory" if marks else "tensor"
        name = ""
        for owner, its_name, whole in [] if marks else self.known.get(storage, []):
            if not is_finite(whole):
                cause, name, held = owner, its_name, whole
                break
        report = self._report(cause, operation, {}, held, ~torch.isfinite(held), name)
        # A lone -Inf outside of the weights is a mask, as a rule.
        mask = cause != "parameter" and not report.nans and not report.positive_infs
        self.marks[storage] = {self._add(report, mask or cause == "memory")}
        return self.marks[storage]

    def _add(self, report: FirstNonFinite, meant: bool) -> int:
        self.origins.append(_Origin(report, meant))
        return len(self.origins) - 1

    def _report(
        self,
        cause: Cause,
        operation: _Operation | None,
        read: Mapping[str, Any],
        output: Tensor,
        where: Tensor,
        name: str = "",
    ) -> FirstNonFinite:
        position = tuple(where.nonzero()[0].tolist())
        nans, positive, negative = counted(output[where])
        phase, node, place = self.places.now()
        inputs = tuple(
            summarize(
                argument,
                value,
                position if operation.pointwise and _fits(value, output) else None,
            )
            for argument, value in read.items()
            if operation and isinstance(value, Tensor)
        )
        return FirstNonFinite(
            cause=cause,
            phase=phase,
            operation=operation.name if operation else "",
            node=node,
            module=place.module,
            name=name,
            shape=tuple(output.shape),
            dtype=output.dtype,
            nans=nans,
            positive_infs=positive,
            negative_infs=negative,
            position=position,
            inputs=inputs,
            source=place.source(),
        )


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(made: Any) -> Iterator[Tensor]:
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, tuple | list):
        for item in made:
            yield from _tensors(item)


def _named(
    arguments: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Yield the arguments by name, and the tensors of a list as ``name[0]``."""
    for name, value in (*zip(arguments, args, strict=False), *kwargs.items()):
        if isinstance(value, tuple | list):
            yield from ((f"{name}[{index}]", item) for index, item in enumerate(value))
        else:
            yield name, value


def _fits(tensor: Tensor, output: Tensor) -> bool:
    """Return whether a tensor broadcasts to the shape of an output."""
    if tensor.dim() > output.dim() or tensor.layout is not torch.strided:
        return False
    trailing = output.shape[output.dim() - tensor.dim() :]
    return all(own in (1, wanted) for own, wanted in zip(tensor.shape, trailing, strict=True))


def _selected(base: str, name: str, inputs: Mapping[str, Any]) -> Any:
    """Return where an operation really takes the elements of an input."""
    if base == "where" and name in {"self", "other"}:
        return inputs["condition"] == (name == "self")
    if base in {"masked_fill", "masked_fill_"}:
        return inputs["mask"] == (name == "value")
    return True


def _is_infinite_number(value: object) -> bool:
    return isinstance(value, float | complex) and not cmath.isfinite(value)
