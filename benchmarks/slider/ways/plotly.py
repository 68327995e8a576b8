import plotly.graph_objects as go
from ipywidgets import IntSlider, VBox

slider = IntSlider(start, 1, 100, description="depth")
figure = go.FigureWidget(go.Scatter(name="measured"))
figure.update_layout(width=900, height=420, showlegend=True)
figure.update_xaxes(title="layer")
figure.update_yaxes(title="norm of dL/dh", type="log")


def update(change=None):
    depth = slider.value
    with figure.batch_update():
        figure.data[0].x = list(range(1, depth + 1))
        figure.data[0].y = gradient_norms(depth)
        figure.layout.title.text = f"Gradient at the activations, depth {depth}"


update()
slider.observe(update, names="value")
VBox([slider, figure])
