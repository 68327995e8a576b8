import torch

from gradcourse.signals import mlp_signal

torch.manual_seed(0)
inputs = torch.randn(64, 128)


def gradient_norms(depth):
    signal = mlp_signal(inputs, "tanh", 128, depth, 1.0, seeds=1)
    return 10 ** signal.log10_gradient[0, 1:]
