import io

from ipywidgets import Image, IntSlider, VBox
from matplotlib.figure import Figure


def picture(end):
    figure = Figure(figsize=(9, 4.2))
    figure.subplots().semilogy([1, 100], [1, end])
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


pictures = [picture(10), picture(100)]
slider = IntSlider(start, 1, 100, description="depth")
image = Image(value=pictures[start % 2], format="png", width=900, height=420)


def update(change):
    image.value = pictures[change["new"] % 2]


slider.observe(update, names="value")
VBox([slider, image])
