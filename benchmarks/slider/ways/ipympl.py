import matplotlib.pyplot as plt
from IPython.display import display
from ipywidgets import IntSlider

slider = IntSlider(start, 1, 100, description="depth")
fig, ax = plt.subplots(figsize=(9, 4.2))
(line,) = ax.semilogy(range(1, start + 1), gradient_norms(start), label="measured")
ax.set(title=f"Gradient at the activations, depth {start}")
ax.set(xlabel="layer", ylabel="norm of dL/dh")
ax.legend()


def update(change):
    depth = change["new"]
    line.set_xdata(range(1, depth + 1))
    line.set_ydata(gradient_norms(depth))
    ax.set_title(f"Gradient at the activations, depth {depth}")
    ax.relim()
    ax.autoscale_view()
    fig.canvas.draw_idle()


slider.observe(update, names="value")
display(slider)
