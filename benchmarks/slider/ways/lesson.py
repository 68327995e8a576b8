from functools import partial

import gradcourse.lessons.vanishing_and_exploding as lesson
from gradcourse.live import live

live(
    partial(lesson.measure_network, depth=start),
    lesson.draw_network,
    depth=(1, 200),
    weight_scale=(0.1, 3.0, 0.05),
    activation=["sigmoid", "tanh", "relu", "gelu"],
    width=[16, 32, 64, 128],
    panels=[["gradient", "weights"]],
    compare=True,
    play="depth",
)
