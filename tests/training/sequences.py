"""What the tests of truncated back-propagation share."""

import torch
from torch import nn

from gradcourse.training import tbptt

FEATURES, UNITS, BATCH = 2, 3, 4
MODELS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
mean_square = nn.MSELoss()


def network(kind="rnn", **options):
    torch.manual_seed(0)
    return MODELS[kind](FEATURES, UNITS, dtype=torch.float64, **options)


def sequence(steps):
    generator = torch.Generator().manual_seed(steps)
    draw = {"generator": generator, "dtype": torch.float64}
    return torch.randn(steps, BATCH, FEATURES, **draw), torch.randn(steps, BATCH, UNITS, **draw)


def accumulated(model, *arguments, **options):
    model.zero_grad()
    for piece in tbptt(model, *arguments, **options):
        piece.loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def assert_same(found, expected, tolerance=1e-12):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
