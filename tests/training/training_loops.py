"""What the tests of a step share: small runs, bad losses, and what is compared to the bit."""

import copy
import math
from collections import Counter

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from gradcourse.training import training_step

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def network(device="cpu"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).to(device)


def pair(make=OPTIMIZERS["sgd"], device="cpu"):
    model = network(device)
    return model, make(model.parameters())


def batches(count, size=8, device="cpu"):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 3, generator=generator).to(device),
            torch.randn(size, 1, generator=generator).to(device),
        )
        for _ in range(count)
    ]


def loss_fn(model, batch):
    inputs, targets = batch
    return nn.functional.mse_loss(model(inputs), targets)


def plant(model, name, value):
    """From now on the gradient of one parameter holds a value that is no number."""

    def spoil(gradient):
        spoilt = gradient.clone()
        spoilt.view(-1)[0] = value
        return spoilt

    return dict(model.named_parameters())[name].register_hook(spoil)


def everything(model, optimizer):
    """All tensors of a model and its optimizer, for a comparison to the bit."""
    states = [optimizer.state_dict()["state"][key] for key in optimizer.state_dict()["state"]]
    inner = [value for state in states for value in state.values() if value is not None]
    return copy.deepcopy([*model.state_dict().values(), *inner])


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def gradients_at_step(optimizer):
    """A list that fills with the gradients that the optimizer is given."""
    seen = []

    def look(optimizer, *_):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        seen.append([parameter.grad.clone() for parameter in parameters])

    optimizer.register_step_pre_hook(look)
    return seen


def norm_of(gradients):
    return math.sqrt(sum(float(g.double().square().sum()) for g in gradients))


class CountingScaler(GradScaler):
    """Counts its calls."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.calls = Counter()

    def scale(self, outputs):
        self.calls["scale"] += 1
        return super().scale(outputs)

    def unscale_(self, optimizer):
        self.calls["unscale_"] += 1
        super().unscale_(optimizer)

    def step(self, optimizer):
        self.calls["step"] += 1
        return super().step(optimizer)

    def update(self):
        self.calls["update"] += 1
        super().update()


def scaled_nan(model, batch):
    return loss_fn(model, batch) * math.nan


def scaled_inf(model, batch):
    return loss_fn(model, batch) * math.inf


def plus_inf(model, batch):
    """A loss that is not finite although its gradients are."""
    return loss_fn(model, batch) + math.inf


def skip_once(model, optimizer, **options):
    return training_step(model, optimizer, scaled_nan, *batches(1), **options)
