"""Check a backward pass against numerical derivatives, and name the element that disagrees."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.utils._pytree import tree_leaves

from gradcourse.checks import at_least_zero, more_than_zero
from gradcourse.diagnosis.jacobians import (
    Outputs,
    backward_jacobian,
    index_of,
    output_index_of,
    slopes,
)
from gradcourse.diagnosis.untouched import local_module

__all__ = ["GradientCheck", "Mismatch", "check_gradients"]

Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


@dataclass(frozen=True)
class Mismatch:
    """An element of an input whose derivative by the backward pass is not the numerical one.

    Attributes
    ----------
    input
        ``"input 1 (weight)"`` or ``"parameter '0.weight'"``.
    shape, element
        Of the input, and the index into it.
    output, output_element
        Which of the outputs, and the index into it.
    part
        Of complex numbers, the parts in question: ``"imaginary part by real part"`` is the
        derivative of the output's imaginary part by the input's real part; else empty.
    backward, numerical
        The derivative by the backward pass, and by a central difference.
    left, right
        The slopes on either side of the point.
    kink
        Whether these differ: then there is no derivative, and the backward pass may be right.
    wrong, total
        How many of the input's elements disagree, and how many there are.
    factor
        What the backward pass is off by, if by the same factor everywhere; else None.
    """

    input: str
    shape: tuple[int, ...]
    element: tuple[int, ...]
    output: int
    output_element: tuple[int, ...]
    part: str
    backward: float
    numerical: float
    left: float
    right: float
    kink: bool
    wrong: int
    total: int
    factor: float | None

    def __str__(self) -> str:
        """Say it in one sentence."""
        output = f"output {self.output}, " if self.output else "output "
        part = f", {self.part}" if self.part else ""
        said = (
            f"{self.input} of shape {self.shape}, element {self.element}: backward says "
            f"{self.backward:.6g}, the numerical derivative is {self.numerical:.6g} "
            f"({output}element {self.output_element}{part})"
        )
        if self.kink:
            return (
                f"{said}; the slopes on either side are {self.left:.6g} and {self.right:.6g}: this "
                "is a kink without a derivative, and need not be a wrong backward"
            )
        factor = f", all by the factor {self.factor:.4g}" if self.factor is not None else ""
        return f"{said}; {self.wrong} of its {self.total} elements disagree{factor}"


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of a gradient check: true if the backward pass is right.

    Attributes
    ----------
    ok
        The verdict of ``torch.autograd.gradcheck``.
    inputs
        What was checked.
    elements
        How many numbers these hold.
    mismatch
        The worst element that disagrees, one without a kink if there is one; None if none does.
    copied
        The inputs that were checked in double precision though given in another.
    reason
        The first line of what gradcheck said, if it was not satisfied.
    """

    ok: bool
    inputs: tuple[str, ...]
    elements: int
    mismatch: Mismatch | None
    copied: tuple[str, ...]
    reason: str

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        """Say it in one sentence."""
        if self.ok:
            said = (
                f"backward agrees with the numerical derivative in all {self.elements} elements "
                f"of {', '.join(self.inputs)}"
            )
        else:
            said = str(self.mismatch) if self.mismatch else self.reason
        if not self.copied:
            return said
        copied = "all" if self.copied == self.inputs else ", ".join(self.copied)
        return f"{said} (checked as float64 copies: {copied})"


def check_gradients(
    fn: Callable[..., Any],
    inputs: Inputs,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> GradientCheck:
    """Check the backward pass of a function, and say which input and element disagrees.

    ``torch.autograd.gradcheck`` is the judge. If it is not satisfied, the Jacobian by the backward
    pass and by central differences are compared element by element, with gradcheck's tolerances.

    Parameters
    ----------
    fn
        A function of tensors, or a module: then its parameters are checked too, by name.
    inputs
        A tensor, a sequence of tensors, or a dict of keyword arguments. Those that require a
        gradient are checked. All are copied; floating ones to float64, complex ones to complex128.
    eps
        The step to either side.
    atol, rtol
        A derivative ``a`` agrees with a numerical ``n`` if ``abs(a - n) <= atol + rtol * abs(n)``.

    Returns
    -------
    GradientCheck
        True or false in an ``if``; ``str()`` of it is one sentence.

    Raises
    ------
    TypeError
        If an input is not a tensor.
    ValueError
        If nothing requires a gradient, no output depends on what does, the function gives another
        result when called again (as with dropout), or its results are not double precision.

    Whatever fn and its backward raise comes through, such as a gradient of a wrong shape.

    Examples
    --------
    >>> x = torch.tensor([0.5, 2.0], requires_grad=True)
    >>> print(check_gradients(torch.tanh, x))
    backward agrees with the numerical derivative in all 2 elements of input 0
    (checked as float64 copies: all)
    >>> print(check_gradients(torch.relu, torch.zeros(1, dtype=torch.float64, requires_grad=True)))
    input 0 of shape (1,), element (0,): backward says 0, the numerical derivative is 0.5
    (output element (0,)); the slopes on either side are 0 and 1: this is a kink without a
    derivative, and need not be a wrong backward
    """
    more_than_zero("eps", eps)
    at_least_zero("atol", atol)
    at_least_zero("rtol", rtol)
    given, function = _by_label(fn, inputs)
    tensors = {label: _double(tensor) for label, tensor in given.items()}
    checked = {label: tensor for label, tensor in tensors.items() if tensor.requires_grad}
    copied = tuple(label for label in checked if checked[label].dtype != given[label].dtype)
    if not checked:
        kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in given.values()})
        raise ValueError(
            f"nothing to check: no input requires a gradient (their dtypes: {', '.join(kinds)}); "
            "set requires_grad=True on the floating point inputs to be checked"
        )

    def of_values(*values: Tensor) -> Outputs:
        output = function(dict(zip(tensors, values, strict=True)))
        leaves = (leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        return tuple(leaf for leaf in leaves if leaf.is_floating_point() or leaf.is_complex())

    _check_outputs(lambda: of_values(*tensors.values()))
    elements = sum(tensor.numel() for tensor in checked.values())
    try:
        gradcheck(of_values, tuple(tensors.values()), eps=eps, atol=atol, rtol=rtol)
    except GradcheckError as error:
        reason = str(error).strip().partition("\n")[0]
        found = _mismatches(of_values, tensors, eps, atol, rtol)
        worst = min(found, key=lambda mismatch: mismatch.kink, default=None)
        return GradientCheck(False, tuple(checked), elements, worst, copied, reason)
    return GradientCheck(True, tuple(checked), elements, None, copied, "")


def _by_label(
    fn: Callable[..., Any], inputs: Inputs
) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor]], Any]]:
    """Return the tensors that the function depends on, and the function of such tensors."""
    if isinstance(inputs, Mapping):
        arguments = {f"input {name!r}": value for name, value in inputs.items()}
    else:
        values = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        own_names = _parameter_names(fn, len(values))
        arguments = {
            f"input {i}" + (f" ({name})" if name else ""): value
            for i, (name, value) in enumerate(zip(own_names, values, strict=True))
        }
    for label, value in arguments.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{label} must be a tensor, got {type(value).__name__}")

    def split(tensors: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        ordered = [tensors[label] for label in arguments]
        if isinstance(inputs, Mapping):
            return (), dict(zip(inputs, ordered, strict=True))
        return tuple(ordered), {}

    if not isinstance(fn, nn.Module):

        def plain(tensors: dict[str, Tensor]) -> Any:
            positional, keywords = split(tensors)
            return fn(*positional, **keywords)

        return arguments, plain

    module = local_module(fn)
    own = dict(module.named_parameters())
    names = {f"parameter {name!r}": name for name in own}
    buffers = {name: _double(value) for name, value in module.named_buffers()}

    def functional(tensors: dict[str, Tensor]) -> Any:
        # A call may write to the buffers, and the next one must not see it.
        state = {name: buffer.clone() for name, buffer in buffers.items()}
        state |= {name: tensors[label] for label, name in names.items()}
        return torch.func.functional_call(module, state, *split(tensors))

    return {label: own[name] for label, name in names.items()} | arguments, functional


def _parameter_names(fn: Callable[..., Any], count: int) -> list[str]:
    """Return a name for each positional argument, empty where it says nothing."""
    try:
        parameters = inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn).parameters
    except (TypeError, ValueError):
        return [""] * count
    positional = [
        parameter.name
        for parameter in parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return (positional + [""] * count)[:count]


def _double(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone(memory_format=torch.contiguous_format)
    if copy.is_floating_point():
        copy = copy.double()
    elif copy.is_complex():
        copy = copy.to(torch.complex128)
    return copy.requires_grad_(tensor.requires_grad)


def _check_outputs(call: Callable[[], Outputs]) -> None:
    state = torch.get_rng_state()
    first = call()
    random = not torch.equal(state, torch.get_rng_state())
    if not any(output.requires_grad for output in first):
        raise ValueError("no output of fn depends on an input that requires a gradient")
    for output in first:
        if output.dtype not in (torch.float64, torch.complex128):
            raise ValueError(
                f"fn returns {str(output.dtype).removeprefix('torch.')} of float64 inputs, too "
                "coarse for numerical derivatives: let it compute in the dtype of its inputs"
            )
    # A small dropout on a small output may well come out the same a few times.
    for _ in range(100 if random else 1):
        for output, again in zip(first, call(), strict=True):
            if not torch.allclose(output, again, rtol=0, atol=0, equal_nan=True):
                difference = float((output - again).detach().abs().max())
                raise ValueError(
                    "fn is not deterministic: called again with the same inputs, its results "
                    f"differ by up to {difference:.4g}; with dropout, call model.eval()"
                )


def _mismatches(
    function: Callable[..., Outputs],
    tensors: dict[str, Tensor],
    eps: float,
    atol: float,
    rtol: float,
) -> list[Mismatch]:
    """Return the worst mismatch of each input."""
    outputs = function(*tensors.values())
    chosen = [index for index, output in enumerate(outputs) if output.requires_grad]
    found = []
    for label, tensor in tensors.items():
        if not tensor.requires_grad:
            continue
        backward = backward_jacobian([outputs[index] for index in chosen], tensor)
        left, right, numerical = slopes(function, tensors, label, chosen, eps)
        excess = (backward - numerical).abs() - atol - rtol * numerical.abs()
        wrong = ~(excess <= 0)
        if not wrong.any():
            continue
        jump = (left - right).abs()
        wide_left, wide_right, _ = slopes(function, tensors, label, chosen, 10 * eps)
        # The jump at a kink stays as it is over a longer step; that of a bend grows ten times.
        at_kink = jump > atol + rtol * torch.maximum(left.abs(), right.abs())
        at_kink &= (wide_left - wide_right).abs() < 5 * jump
        kink = bool(at_kink[wrong].all())
        candidates = wrong if kink else wrong & ~at_kink
        worst = excess.where(candidates, -torch.inf).argmax()
        row, column = divmod(int(worst), excess.shape[1])
        ratio = backward[candidates] / numerical[candidates]
        same = bool(torch.isfinite(ratio).all() and (ratio - ratio[0]).abs().max() < 1e-3)
        element, by = index_of(row, tensor)
        output, output_element, of = output_index_of(column, [(i, outputs[i]) for i in chosen])
        found.append(
            Mismatch(
                input=label,
                shape=tuple(tensor.shape),
                element=element,
                output=output,
                output_element=output_element,
                part=f"{of or 'real'} part by {by or 'real'} part" if of or by else "",
                backward=float(backward[row, column]),
                numerical=float(numerical[row, column]),
                left=float(left[row, column]),
                right=float(right[row, column]),
                kink=kink,
                wrong=int(wrong.any(1).view(tensor.numel(), -1).any(1).sum()),
                total=tensor.numel(),
                factor=float(ratio[0]) if same else None,
            )
        )
    return found
