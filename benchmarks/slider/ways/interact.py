import matplotlib.pyplot as plt
from ipywidgets import IntSlider, interact


def show(depth):
    fig, ax = plt.subplots(figsize=(9, 4.2))
    ax.semilogy(range(1, depth + 1), gradient_norms(depth), label="measured")
    ax.set(title=f"Gradient at the activations, depth {depth}")
    ax.set(xlabel="layer", ylabel="norm of dL/dh")
    ax.legend()
    plt.show()


control = interact(show, depth=IntSlider(start, 1, 100))
