"""Networks that read a sequence and answer at its end, many of them trained at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse.models import Unrolled
from gradcourse.training import Ensemble, one_thread

__all__ = ["Reader", "Readers", "remembered"]

Array = NDArray[Any]
KEPT = 8


class Reader(nn.Module):
    """A recurrent layer, and a linear one on its last output.

    Parameters
    ----------
    layer
        ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, made with ``batch_first``.
    outputs
        Numbers to answer with.

    Shape
    -----
    inputs ``(batch, steps, features)``, outputs ``(batch, outputs)``.
    """

    def __init__(self, layer: nn.RNN | nn.LSTM | nn.GRU, outputs: int) -> None:
        super().__init__()
        # Torch's LSTM is the fastest on a CPU, one network after the other; the other two layers
        # are faster written out and stacked.
        self.stacks = not isinstance(layer, nn.LSTM)
        self.layer = Unrolled(layer) if self.stacks else layer
        self.output = nn.Linear(layer.hidden_size, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answer to each sequence."""
        states, _ = self.layer(inputs)
        answers: Tensor = self.output(states[..., -1, :])
        return answers


class Readers:
    """Readers of one kind that learn from the same batches, each for itself.

    Parameters
    ----------
    networks
        Alike but for their weights.
    make_optimizer
        Makes an optimizer that treats each element by itself, from a list of parameters.
    max_norms
        By how much the gradient of each is clipped, ``inf`` for not at all.
    """

    def __init__(
        self,
        networks: Sequence[Reader],
        make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        max_norms: Sequence[float],
    ) -> None:
        self.networks, self.max_norms = list(networks), list(max_norms)
        self.ensemble = Ensemble(networks) if networks[0].stacks else None
        parts = self.networks if self.ensemble is None else [self.ensemble]
        self.optimizer = make_optimizer([one for part in parts for one in part.parameters()])

    @one_thread()
    def step(
        self, inputs: Tensor, loss: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take one step.

        Parameters
        ----------
        inputs
            Shape (batch, steps, features), for all networks.
        loss
            Turns the answers of one network into its loss.

        Returns
        -------
        losses, norms, answers
            Before the step, and before clipping: shapes (networks,), (networks,) and
            (networks, batch, outputs).
        """
        if self.ensemble is not None:
            answers = self.ensemble(inputs)
        else:
            answers = torch.stack([network(inputs) for network in self.networks])
        losses = torch.stack([loss(one) for one in answers])
        self.optimizer.zero_grad()
        torch.autograd.backward(losses.sum())
        norms = self._clip()
        self.optimizer.step()
        return losses.detach(), norms, answers.detach()

    def _clip(self) -> Tensor:
        if self.ensemble is not None:
            return self.ensemble.clip_grad_norm_(self.max_norms)
        clip = nn.utils.clip_grad_norm_
        pairs = zip(self.networks, self.max_norms, strict=True)
        return torch.stack([clip(network.parameters(), limit) for network, limit in pairs])


def remembered(train: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Keep the last result of a training, for whoever asks for the same one again.

    A lesson's claims then cost nothing after its figure. The arguments must be hashable.
    """
    kept: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(train)
    def run(*settings: Any) -> Iterator[Any]:
        if settings not in kept:
            for result in train(*settings):
                yield result
            while len(kept) >= KEPT:
                del kept[next(iter(kept))]
            kept[settings] = result
        else:
            yield kept[settings]

    return run
