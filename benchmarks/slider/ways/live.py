from dataclasses import dataclass

import numpy as np
import torch

from gradcourse import theory
from gradcourse.live import MEASURED, THEORY, live, snap_up
from gradcourse.signals import MLPSignal, mlp_signal

torch.manual_seed(0)
inputs = torch.randn(64, 128)


@dataclass
class Result:
    signal: MLPSignal
    predicted: theory.MeanField

    def summary(self):
        return self.signal.summary()


def measure(depth=start):
    signal = mlp_signal(inputs, "tanh", 128, depth, 1.0, seeds=1)
    return Result(signal, theory.mean_field_profile("tanh", depth, 1.0))


def draw(result, axes):
    measured, predicted = result.signal.log10_gradient[0], result.predicted.log10_gradient
    layers = np.arange(result.signal.depth + 1)
    axes.set(title="Gradient at the activations", xlabel="layer", xlim=(0, snap_up(layers[-1])))
    axes.set(ylabel="norm, relative to the last layer")
    axes.decades("y", min(measured.min(), predicted.min()), max(measured.max(), predicted.max()))
    axes.line("measured", layers, measured, color=MEASURED, label="measured")
    axes.line("theory", layers, predicted, color=THEORY, ls="--", label="theory: infinite width")


live(measure, draw, depth=(1, 100))
