"""Many small GANs in the plane, trained as one: stacked generators and stacked critics."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from gradcourse.lessons.gans_and_policies.spectral import PowerIteration, random_directions
from gradcourse.models import MLP, seeded
from gradcourse.tasks import ring
from gradcourse.training import one_thread

__all__ = ["MODES", "REMEDIES", "SPREAD", "Duel", "Stack", "modes"]

MODES, SPREAD = 8, 0.1
WIDTH, LAYERS, BATCH, NOISE = 32, 2, 64, 2
REMEDIES = ("none", "spectral norm", "clipping", "gradient penalty")
# A critic's first seed lies this far from its generator's.
OTHER = 500


class Stack:
    """MLPs whose weights are stacked, shape (networks, fan_out, fan_in), run in one batch.

    Parameters
    ----------
    networks
        ``gradcourse.models.MLP`` of one shape with leaky ReLUs.
    spectral
        Whether each weight is divided by its largest singular value, as
        ``torch.nn.utils.parametrizations.spectral_norm`` does it.
    """

    def __init__(self, networks: Sequence[nn.Sequential], spectral: bool = False) -> None:
        linear = [[one for one in net if isinstance(one, nn.Linear)] for net in networks]
        layers = list(zip(*linear, strict=True))
        self.weights = [_stacked([one.weight for one in layer]) for layer in layers]
        self.biases = [_stacked([one.bias for one in layer]) for layer in layers]
        self.powers: list[PowerIteration] = []
        if spectral:
            generator = torch.Generator().manual_seed(0)
            for weight in self.weights:
                self.powers.append(PowerIteration(weight, random_directions(weight, generator)))
                # Torch's parametrization begins with 15 iterations as well.
                self.powers[-1].step(weight.detach(), 15)

    @property
    def parameters(self) -> list[Tensor]:
        """All stacked tensors."""
        return [*self.weights, *self.biases]

    def iterate(self) -> None:
        """Take one step of power iteration, as torch does in each training step."""
        for power, weight in zip(self.powers, self.weights, strict=bool(self.powers)):
            power.step(weight.detach())

    def effective(self) -> list[Tensor]:
        """Return the weights that are used."""
        if not self.powers:
            return self.weights
        pairs = zip(self.powers, self.weights, strict=True)
        return [weight / power.norms(weight)[:, None, None] for power, weight in pairs]

    def bound(self) -> Tensor:
        """Return the product of the layers' exact largest singular values, shape (networks,)."""
        used = [weight.detach() for weight in self.effective()]
        broken = torch.stack([~one.isfinite().all(dim=(1, 2)) for one in used]).any(dim=0)
        norms = [torch.linalg.matrix_norm(one.nan_to_num(), ord=2) for one in used]
        return torch.stack(norms).prod(dim=0).masked_fill(broken, math.nan)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run every network on its inputs, (networks, batch, features)."""
        value = inputs
        for layer, (weight, bias) in enumerate(zip(self.effective(), self.biases, strict=True)):
            value = leaky_relu(value) if layer else value
            value = torch.baddbmm(bias[:, None], value, weight.mT)
        return value


class Duel:
    """Generators and critics that learn from each other with SGD, one pair for each network.

    Parameters
    ----------
    seeds
        One for each pair.
    generator_rates, critic_rates
        Learning rates, one for each pair.
    remedy
        One of ``REMEDIES``; it acts on the critic, and clipping on both.
    max_norm
        For clipping.
    penalty
        Strength of the gradient penalty.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        generator_rates: Sequence[float],
        critic_rates: Sequence[float],
        remedy: str = "none",
        max_norm: float = 0.1,
        penalty: float = 0.3,
    ) -> None:
        if remedy not in REMEDIES:
            raise ValueError(f"remedy must be one of {', '.join(REMEDIES)}, got {remedy!r}")
        make = functools.partial(MLP, NOISE, WIDTH, LAYERS, activation="leaky_relu")
        self.generator = Stack([seeded(seed, lambda: make(out_features=2)) for seed in seeds])
        self.critic = Stack(
            [seeded(seed + OTHER, lambda: make(out_features=1)) for seed in seeds],
            spectral=remedy == "spectral norm",
        )
        self._rates = torch.tensor([list(generator_rates), list(critic_rates)])
        self._max_norm = max_norm if remedy == "clipping" else math.inf
        self._penalty = penalty if remedy == "gradient penalty" else 0.0
        self._sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._data = torch.stack([ring(20_000, MODES, SPREAD, seed) for seed in seeds])
        self._rows = torch.arange(len(seeds))[:, None]

    @one_thread()
    def step(self) -> None:
        """Let every critic learn from a batch, and then every generator from its critic."""
        data = self.data(BATCH)
        samples = self.generator(self._noise(BATCH))
        self.critic.iterate()
        scores = self.critic(torch.cat([data, samples.detach()], dim=1))[..., 0]
        loss = (softplus(-scores[:, :BATCH]) + softplus(scores[:, BATCH:])).mean(dim=1)
        if self._penalty:
            slope = self.input_gradient(data, create_graph=True)
            loss = loss + self._penalty / 2 * slope.square().sum(dim=-1).mean(dim=1)
        self._descend(self.critic, loss, self._rates[1])
        loss = softplus(-self.critic(samples)[..., 0]).mean(dim=1)
        self._descend(self.generator, loss, self._rates[0])

    def input_gradient(self, places: Tensor, create_graph: bool = False) -> Tensor:
        """Return each critic's gradient with respect to its inputs, (networks, batch, 2)."""
        places = places.detach().requires_grad_()
        scores = self.critic(places).sum()
        gradient: Tensor = torch.autograd.grad(scores, places, create_graph=create_graph)[0]
        return gradient

    @torch.no_grad()
    def samples(self, count: int) -> Tensor:
        """Return new samples, shape (networks, count, 2)."""
        return self.generator(self._noise(count))

    def data(self, count: int) -> Tensor:
        """Return data, shape (networks, count, 2)."""
        chosen = [torch.randint(20_000, (count,), generator=one) for one in self._sources]
        return self._data[self._rows, torch.stack(chosen)]

    def _noise(self, count: int) -> Tensor:
        return torch.stack([torch.randn(count, NOISE, generator=one) for one in self._sources])

    def _descend(self, player: Stack, losses: Tensor, rates: Tensor) -> None:
        gradients = torch.autograd.grad(losses.sum(), player.parameters)
        norms = torch.stack([one.flatten(1).norm(dim=1) for one in gradients]).norm(dim=0)
        factors = rates * (self._max_norm / (norms + 1e-6)).clamp(max=1.0)
        with torch.no_grad():
            for parameter, gradient in zip(player.parameters, gradients, strict=True):
                parameter -= factors.view(-1, *[1] * (gradient.dim() - 1)) * gradient


def modes() -> Tensor:
    """Return the middles of the ring's modes, shape (modes, 2)."""
    angles = torch.arange(MODES) * (2 * math.pi / MODES)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([one.detach() for one in tensors]).requires_grad_()
