"""What to do when a loss or a gradient is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.optim import Optimizer

from gradcourse.checks import at_least
from gradcourse.clipping.gradients import Gradients
from gradcourse.clipping.nonfinite import kind_of

__all__ = ["NonFiniteError", "StepGuard"]

NAMED = 3


class NonFiniteError(RuntimeError):
    """Too many steps in a row had to be skipped; the message names the culprit."""


class StepGuard:
    """Count the steps that ``training_step`` skips, and stop a run that does nothing else.

    Parameters
    ----------
    patience
        How many steps in a row are skipped before the run is stopped, 1 or more; the last of them
        raises.

    Raises
    ------
    ValueError
        If ``patience`` is not a whole number of 1 or more.

    Attributes
    ----------
    skipped
        All steps skipped so far, a scaler's search for its scale included.
    in_a_row
        The steps skipped since the last one that was taken, without a scaler's search.

    Examples
    --------
    >>> guard = StepGuard(patience=2)
    >>> guard.skip("the loss is NaN")
    >>> guard.skip("the loss is NaN")
    Traceback (most recent call last):
    ...
    gradcourse.training.guard.NonFiniteError: 2 steps in a row were skipped: the loss is NaN
    """

    def __init__(self, patience: int = 10) -> None:
        self.patience = at_least(1, "patience", patience)
        self.skipped = 0
        self.in_a_row = 0

    def state_dict(self) -> dict[str, int]:
        """Return the counts, to go on from after a restart."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from what ``state_dict`` returned; ``patience`` stays as it is."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]

    def take(self) -> None:
        """Note a step that was taken."""
        self.in_a_row = 0

    def skip(self, reason: str, counts: bool = True) -> None:
        """Note a step that was skipped.

        Parameters
        ----------
        reason
            What was not finite.
        counts
            Whether the step counts towards ``patience``.

        Raises
        ------
        NonFiniteError
            If this was the last of ``patience`` steps in a row.
        """
        self.skipped += 1
        self.in_a_row += counts
        if counts and self.in_a_row >= self.patience:
            steps = "step" if self.in_a_row == 1 else "steps in a row"
            were = "was" if self.in_a_row == 1 else "were"
            raise NonFiniteError(f"{self.in_a_row} {steps} {were} skipped: {reason}")


# A guard that is made anew for each call would never see two skipped steps in a row.
_GUARDS: WeakKeyDictionary[Optimizer, StepGuard] = WeakKeyDictionary()


def guard_of(optimizer: Optimizer) -> StepGuard:
    """Return the guard of the steps of an optimizer for which the caller keeps none."""
    return _GUARDS.setdefault(optimizer, StepGuard())


def describe_loss(losses: list[float]) -> str:
    """Say which of the micro-batches' losses is not finite, and in what way."""
    for place, loss in enumerate(losses):
        if not math.isfinite(loss):
            which = f"the loss of micro_batches[{place}]" if len(losses) > 1 else "the loss"
            return f"{which} is {kind_of(loss)}"
    # Each is finite, but the sum was rounded up beyond the largest number.
    return "the loss is Inf"


def describe_gradients(parameters: dict[str, Tensor]) -> str:
    """Name the first parameters whose gradients are not finite, and in what way."""
    gradients = Gradients.of(parameters.items())
    said = []
    for place, tensor in enumerate(gradients.tensors):
        found = {"NaN": tensor.isnan().any(), "Inf": tensor.isinf().any()}
        if kinds := " and ".join(kind for kind, met in found.items() if met):
            said.append(f"{gradients.name_of(place)} ({kinds})")
    if not said:
        # A process sees only its own shards of a model that is spread over many.
        return "a gradient on another process"
    if len(said) > NAMED:
        said[NAMED:] = [f"{len(said) - NAMED} more"]
    if len(said) == 1:
        return f"the gradient of {said[0]}"
    return f"the gradients of {', '.join(said[:-1])} and {said[-1]}"
