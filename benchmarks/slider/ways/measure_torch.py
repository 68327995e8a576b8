import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(64, 128)


def gradient_norms(depth):
    torch.manual_seed(0)
    layers = []
    for _ in range(depth):
        linear = nn.Linear(128, 128, bias=False)
        nn.init.normal_(linear.weight, std=128**-0.5)
        layers += [linear, nn.Tanh()]
    model = nn.Sequential(*layers)
    h = inputs
    hidden = []
    for layer in model:
        h = layer(h)
        if isinstance(layer, nn.Tanh):
            h.retain_grad()
            hidden.append(h)
    h.sum().backward()
    return [h.grad.norm().item() for h in hidden]
