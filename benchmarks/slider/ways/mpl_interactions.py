import matplotlib.pyplot as plt
import mpl_interactions.ipyplot as iplt
import numpy as np
from ipywidgets import IntSlider


def profile(depth):
    return np.column_stack([range(1, depth + 1), gradient_norms(depth)])


fig, ax = plt.subplots(figsize=(9, 4.2))
ax.set_yscale("log")
controls = iplt.plot(
    profile,
    parametric=True,
    depth=IntSlider(start, 1, 100, description="depth"),
    xlim="auto",
    ylim="auto",
    label="measured",
)
iplt.title("Gradient at the activations, depth {depth}", controls=controls)
ax.set(xlabel="layer", ylabel="norm of dL/dh")
legend = ax.legend()
