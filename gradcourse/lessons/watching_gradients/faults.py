"""Batches that go wrong, each in its own way, and the network that they are fed to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradcourse.diagnosis import FirstNonFinite, find_nonfinite
from gradcourse.lessons.watching_gradients.digits_run import Batch
from gradcourse.models import MLP, seeded

__all__ = ["FAULTS", "Fault", "ScaledClassifier", "where_born"]

Loss = Callable[[Tensor, Tensor], Tensor]


class ScaledClassifier(nn.Module):
    """A classifier of digits that learns by how much to scale each of its ten answers.

    It learns the *squares* of the scales, called variances, and takes their roots.

    Parameters
    ----------
    seed
        Of its weights, which torch's default draws.

    Shape
    -----
    inputs ``(batch, 64)``, outputs ``(batch, 10)``.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.body = seeded(seed, lambda: MLP(64, 64, 2, out_features=10, activation="relu"))
        self.variance = nn.Parameter(torch.ones(10))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return one number for each digit."""
        return torch.as_tensor(self.body(inputs) * self.variance.sqrt())


@dataclass(frozen=True)
class Fault:
    """What goes wrong at one step.

    Attributes
    ----------
    spoil
        Called with the model and the batch; returns the batch that the model gets.
    loss
        Of the model's answers and the labels, at this step.
    lasts
        Whether the fault is in the model, so that it is still there at the next step.
    """

    spoil: Callable[[nn.Module, Batch], Batch]
    loss: Loss = nn.functional.cross_entropy
    lasts: bool = False

    def on(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch that this happens to."""
        inputs, labels = self.spoil(model, batch)
        return self.loss(model(inputs), labels)


def _blank(_model: nn.Module, batch: Batch) -> Batch:
    inputs = batch[0].clone()
    inputs[0] = 0
    return 8 * inputs / inputs.norm(dim=1, keepdim=True), batch[1]


@torch.no_grad()
def _bright_and_wrong(model: nn.Module, batch: Batch) -> Batch:
    inputs, labels = batch[0].clone(), batch[1].clone()
    inputs[0] *= 1e4
    labels[0] = model(inputs[:1]).argmin()
    return inputs, labels


def _logarithm_by_hand(outputs: Tensor, labels: Tensor) -> Tensor:
    chance = outputs.softmax(dim=1)
    return -chance.gather(1, labels[:, None]).log().mean()


def _twice_the_same(_model: nn.Module, batch: Batch) -> Batch:
    inputs = batch[0].clone()
    inputs[1] = inputs[0]
    return inputs, batch[1]


def _with_distances(outputs: Tensor, labels: Tensor) -> Tensor:
    distances = (outputs[0::2] - outputs[1::2]).square().sum(dim=1).sqrt()
    return nn.functional.cross_entropy(outputs, labels) + 0.01 * distances.mean()


@torch.no_grad()
def _variance_at_zero(model: nn.Module, batch: Batch) -> Batch:
    assert isinstance(model, ScaledClassifier)
    model.variance[3] = 0
    return batch


FAULTS = {
    "0/0": Fault(_blank),
    "log(0)": Fault(_bright_and_wrong, _logarithm_by_hand),
    "sqrt(0) in the loss": Fault(_twice_the_same, _with_distances),
    "sqrt(0) in the model": Fault(_variance_at_zero, lasts=True),
    "outlier": Fault(_bright_and_wrong),
}


def where_born(model: nn.Module, batch: Batch, fault: str) -> FirstNonFinite | None:
    """Return where a fault makes the first number that is not finite, or None if nowhere."""
    happens = FAULTS[fault]
    inputs, labels = happens.spoil(model, batch)
    return find_nonfinite(model, inputs, lambda outputs: happens.loss(outputs, labels))
