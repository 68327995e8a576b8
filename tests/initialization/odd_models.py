"""Modules that are out of the ordinary, and how to compare models."""

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(model):
    """All numbers of a model, but for parameters that have none."""
    held = {name: v for name, v in model.state_dict().items() if not nn.parameter.is_lazy(v)}
    return {name: v.clone() for name, v in held.items() if not v.is_meta}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((3,), 2.0))
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return self.inner(x) * self.scale


class Odd(nn.Linear):
    def __init__(self):
        super().__init__(3, 3)
        self.extra = nn.Parameter(torch.ones(2))


class Sharded(nn.Parameter):
    pass


def with_weight(weight):
    layer = nn.Linear(3, 3)
    layer.weight = weight
    return layer


class Growing(nn.Module):
    """A parametrization with a number of its own to learn."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, weight):
        return weight * self.factor


class Symmetric(nn.Module):
    """A parametrization that refuses most of what it is assigned."""

    def forward(self, weight):
        return weight.triu() + weight.triu(1).T

    def right_inverse(self, weight):
        if not torch.equal(weight, weight.T):
            raise ValueError("this matrix is not symmetric")
        return weight.triu()


def symmetric():
    layer = nn.Linear(3, 3)
    layer.weight = nn.Parameter(torch.eye(3))
    return nn.Sequential(parametrize.register_parametrization(layer, "weight", Symmetric()))


def learned():
    layer = nn.Linear(3, 3)
    return nn.Sequential(parametrize.register_parametrization(layer, "weight", Growing()))


def weight_normed():
    return parametrizations.weight_norm(nn.Linear(40, 40))
