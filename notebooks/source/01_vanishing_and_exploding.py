# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Vanishing and exploding
#
# **Question.** A network of fifty layers learns nothing. Its last layer gets a healthy gradient; its
# first gets almost none. Where did the gradient go?
#
# Backpropagation is the chain rule, and the chain rule *multiplies*. You will follow the product
# three times: with numbers, with matrices, and in a real network that looks at real digits.

# %%
# Installed or on Binder, this cell does nothing. On Colab it installs the course, once.
import importlib.util
import pathlib
import subprocess
import sys

if importlib.util.find_spec("gradcourse") is None:
    wheel = next(pathlib.Path().glob("gradcourse-*.whl"), None)
    assert wheel, "Put gradcourse-*.whl beside this notebook, then run this cell again."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)

# %%
import math
from functools import partial

import numpy as np
import torch
from torch import nn

from gradcourse import claim, theory
from gradcourse.lessons import vanishing_and_exploding as lesson
from gradcourse.live import live

# %% tags=["parameters"]
depth = 50
weight_scale = 1.0
activation = "sigmoid"
width = 64
seed = 0

# %% [markdown]
# ## 1 · A chain of numbers
#
# Take the smallest deep network: one unit per layer, weight $w$, no activation. The output is
# $w \cdot w \cdots w \cdot x$, so the gradient with respect to the input is $w^L$ after $L$ layers.
#
# **Predict.** With $w = 1.5$, after how many layers does the gradient leave the range of float32,
# whose largest number is about $3.4\cdot 10^{38}$? Write your guess into the next cell. It becomes a
# star in the picture.

# %%
prediction = None  # for example: prediction = 1000

gradient = torch.tensor(1.0)
layers = 0
while gradient.isfinite():
    gradient = gradient * 1.5
    layers += 1

predicted = theory.overflow_depth(1.5)
claim("1.5 * 1.5 * ... leaves float32 at layer 219", layers, equals=predicted, source="IEEE 754")

# %% [markdown]
# Move `weight` through 1, and switch the `dtype`. The dashed line is $w^L$. The blue line is what the
# machine computes, one rounded product after the other.

# %%
live(
    partial(lesson.measure_chain, depth=300, prediction=prediction),
    lesson.draw_chain,
    weight=(0.1, 3.0, 0.05),
    depth=(1, 300),
    dtype=["float16", "bfloat16", "float32", "float64"],
    compare=True,
)

# %% [markdown]
# Three things to try:
#
# - `weight` 1.5 in float16: the end comes about eight times sooner.
# - `weight` 0.4: the product reaches exactly 0. No learning rate can bring it back.
# - `weight` 0.9 in float16, `depth` 300: the blue line stops falling before 0. The smallest number
#   times 0.9 is rounded back to itself. Nonsense, but not zero.

# %%
sooner = theory.overflow_depth(1.5, "float32") / theory.overflow_depth(1.5, "float16")
claim("float16 overflows about 8 times sooner", sooner, between=(7, 9), source="IEEE 754")
gone = lesson.measure_chain(0.4, 300).zero_layer
claim("0.4 is exactly 0 in float32 before layer 120", gone, below=120, source="IEEE 754")
stuck = lesson.measure_chain(0.9, 300, "float16")
higher = stuck.log10[-1] - stuck.theory[-1]
claim("float16 rounding holds 0.9 up, decades above theory", higher, above=5, source="IEEE 754")

# %% [markdown]
# ## 2 · An activation in the chain
#
# Put a sigmoid after each weight. Its slope is at most 1/4, so the gradient shrinks at least by that
# factor. In fact the chain settles where $x = \sigma(x)$, away from the steepest point, and shrinks
# faster. (A slope can also exceed 1: GELU's reaches 1.129, so a chain of GELUs may grow at $w=1$.)

# %%
fixed_point, rate = theory.chain_fixed_point("sigmoid")
x = torch.tensor(fixed_point, dtype=torch.float64, requires_grad=True)
y = x
for _ in range(20):
    y = torch.sigmoid(y)
y.backward()

claim("sigmoids settle at 0.659", y.item(), equals=0.6590, within=1e-4, source="x = sigmoid(x)")
each = x.grad ** (1 / 20)
claim("there a sigmoid takes a factor 0.2247", each, equals=rate, within=1e-6, source="x(1-x)")

# %%
grid = torch.linspace(-5, 5, 100_001, dtype=torch.float64, requires_grad=True)
for function, steepest in ((torch.sigmoid, 0.25), (nn.functional.gelu, 1.1289)):
    (slope,) = torch.autograd.grad(function(grid).sum(), grid)
    name = function.__name__
    claim(f"{name} has slope {steepest} at most", slope.max(), equals=steepest, within=1e-4)

# %% [markdown]
# ## 3 · A product of matrices
#
# A real layer multiplies by a matrix. Take random ones with entries of variance $1/n$. Then the
# *mean* squared norm of a vector stays exactly what it was. This is the scale that initialisation
# schemes aim at, and the smallest code that shows it is a loop.
#
# **Predict.** The mean square stays 1. What is the typical norm after 100 matrices of width 8? Write
# the exponent: `0` for 1, `-3` for 0.001.

# %%
prediction = None

first_seed = 1000 * seed
generator = torch.Generator().manual_seed(first_seed)
vector = torch.ones(8) / math.sqrt(8)
for _ in range(100):
    vector = torch.randn(8, 8, generator=generator) / math.sqrt(8) @ vector
print(f"norm after 100 matrices: {vector.norm():.2g}")

# %%
live(
    partial(lesson.measure_matrices, first_seed=first_seed, prediction=prediction),
    lesson.draw_matrices,
    width=[2, 4, 8, 16, 32],
    depth=(1, 200),
    weight_scale=(0.5, 2.0, 0.05),
    kind=["Gaussian", "orthogonal"],
    compare=True,
)

# %% [markdown]
# The typical vector shrinks although the mean square does not: lesson 00 again. The narrower the
# layer, the faster. Theory gives the exact rate for any width $n$: each matrix changes the norm's
# logarithm on average by $\tfrac12\left(\ln\tfrac{2}{n} + \psi(\tfrac n2)\right)$, where $\psi$ is
# the digamma function. Orthogonal matrices keep the norm of *every* vector.

# %%
product = lesson.measure_matrices(32, 100, seeds=100, first_seed=first_seed).signal
change = math.log(10) * product.log10_norm[:, -1].mean() / 100
mean, variance = theory.product_log_norm(32)
error = 4 * math.sqrt(variance / 100 / 100)
claim("a matrix adds -0.0158 to ln(norm)", change, equals=mean, within=error, source="Newman 1986")

turned = lesson.measure_matrices(8, 200, kind="orthogonal", first_seed=first_seed).signal
bent = np.abs(turned.log10_norm).max()
claim("a rotation changes no norm", bent, below=1e-6, source="Saxe 2014")

# %% [markdown]
# ## 4 · A real network
#
# Now a network with activations, and a batch of scikit-learn's handwritten digits. This is all it
# takes to see the gradient of each layer: keep the activations, call `backward`, read the norms.

# %%
hidden = [lesson.digit_batch(seed=seed)]
for _ in range(20):
    weight = torch.randn(64, 64, generator=generator) / math.sqrt(64)
    hidden.append(torch.sigmoid(hidden[-1] @ weight).requires_grad_())
    hidden[-1].retain_grad()
hidden[-1].sum().backward()

for layer in (20, 15, 10, 5, 1):
    print(f"layer {layer:2}: {hidden[layer].grad.norm():.1e}")

# %% [markdown]
# On the way back a layer multiplies the gradient by its weights and by the slopes of its activation.
# If the layer is wide, the *squared* norm changes by
#
# $$\chi = \sigma_w^2\; \mathbb{E}\big[\phi'(\sqrt{q}\,z)^2\big], \qquad z\sim\mathcal N(0,1),$$
#
# and the norm by $\sqrt\chi$. Here $\sigma_w$ is `weight_scale` (weights have variance
# $\sigma_w^2/\text{fan-in}$), $\phi$ is the activation and $q$ the variance of what goes into it.
# $\chi<1$: vanishing. $\chi>1$: exploding. $\chi=1$: the edge.
#
# **Predict.** Fifty sigmoid layers, weight scale 1: by how many powers of ten does the gradient
# shrink on its way to the input? Write `-3` for a factor 0.001.

# %%
prediction = None
start = {"depth": depth, "weight_scale": weight_scale, "activation": activation, "width": width}

live(
    partial(lesson.measure_network, **start, first_seed=first_seed, prediction=prediction),
    lesson.draw_network,
    depth=(1, 200),
    weight_scale=(0.1, 3.0, 0.05),
    activation=["sigmoid", "tanh", "relu", "gelu"],
    width=[16, 32, 64, 128],
    panels=[["gradient", "weights"]],
    compare=True,
    play="depth",
)

# %% [markdown]
# Eight networks are measured at each move: the blue line is their median, the band their range. The
# dashed line is $\sqrt\chi$, layer after layer, computed without any network. The left picture shows
# the gradient at the activations, the right one at the weights.
#
# Try these, and say before each move what will happen:
#
# - `tanh` at weight scale 0.5, then 1, then 2.
# - `relu` at weight scale 1, then at 1.4 (close to $\sqrt2$).
# - `width` from 128 down to 16: the band widens, and theory, which is for infinite width, drifts off.
# - `relu`, weight scale 3, `depth` 200: the text says where float32 ends.
#
# Does the formula hold? For ReLU it is simple: half of the units are off and have slope 0, so
# $\chi=\sigma_w^2/2$. Weight scale $\sqrt2$ is He's initialisation, 1 is Xavier's (square layers),
# and $\sqrt{1/3}$ is the default of `nn.Linear`.

# %%
variances = [theory.weight_variance_of(scheme) for scheme in ("he", "xavier", "default")]
relu = [("relu", math.sqrt(variance)) for variance in variances]
for name, scale in [("sigmoid", 1.0), ("tanh", 0.8), ("tanh", 1.5), ("gelu", 1.0), *relu]:
    net = lesson.measure_network(40, scale, name, width=256, first_seed=first_seed)
    root = net.predicted_per_layer
    sentence = f"{name} at weight scale {scale:.3g}: a factor {root:.3f} per layer"
    measured = net.signal.gradient_per_layer
    claim(sentence, measured, equals=root, within=0.03 * root, source="Schoenholz 2017")

# %% [markdown]
# ## 5 · Why both pictures
#
# With `relu` at weight scale 1 the left picture falls and the right one is flat. The weight gradient
# of a layer is the gradient that arrives from above *times* the activation that arrives from below.
# With ReLU both shrink at the same rate in opposite directions, so their product is the same in
# every layer: equally tiny everywhere. Watching weight gradients alone, you would miss the disease.
#
# The second cell below looks for the edge, $\chi=1$. For tanh without biases it lies at weight scale
# 1; biases move it. At the edge fifty layers keep the gradient.

# %%
xavier = lesson.measure_network(40, 1.0, "relu", width=256, first_seed=first_seed).signal


def slope(rows):
    """Return the change of ln(norm squared) per layer, three layers left out at each end."""
    fits = [np.polyfit(range(34), row[3:37], 1)[0] for row in rows]
    return 2 * math.log(10) * np.median(fits)


glorot = {"within": 0.04, "source": "Glorot & Bengio 2010"}
at_activations, at_weights = slope(xavier.log10_gradient), slope(xavier.log10_weight_gradient)
claim("activation gradients change by ln 2 a layer", at_activations, equals=math.log(2), **glorot)
claim("weight gradients are the same in all layers", at_weights, equals=0, **glorot)

# %%
edge = theory.critical_weight_variance("tanh", bias_variance=0.05)
claim("biases move the edge from 1 to 1.761", edge, equals=1.761, within=1e-3, source="Poole 2016")

digits, scales = lesson.digit_batch(seed=seed), {"weight_scale": edge**0.5, "bias_scale": 0.05**0.5}
signal = lesson.mlp_signal(digits, "tanh", 256, 50, **scales, first_seed=first_seed)
kept = 10 ** signal.median()[0]
claim("at the edge 50 layers keep the gradient", kept, between=(0.3, 3), source="Schoenholz 2017")

# %% [markdown]
# ## Heard and measured
#
# Sentences that people say about vanishing gradients, tried on networks.
#
# **"A sigmoid network loses its gradient because its units saturate."** Not at weight scale 1. The
# mean squared slope is close to its largest possible value, 1/16, and the gradient still vanishes.
#
# **"The slope of a sigmoid is below 1, so its gradient always vanishes."** False: large weights make
# up for it.

# %%
sigmoid = lesson.measure_network(20, 1.0, "sigmoid", first_seed=first_seed)
share = 16 * theory.chi("sigmoid", sigmoid.predicted.q[-1], weight_variance=1.0)
claim("its squared slopes are 85 % of the largest or more", share, above=0.85, source="mean field")
lost = sigmoid.relative(sigmoid.signal.log10_weight_gradient)[:, 0]
claim("yet 20 layers take ten decades or more, in every seed", lost.max(), below=-10)
large = lesson.measure_network(50, 15.0, "sigmoid", first_seed=first_seed).signal
claim("at weight scale 15 a sigmoid network explodes", large.gradient_per_layer, above=1.05)

# %% [markdown]
# **"Vanishing gradients were a problem of the 1990s."** They are one line away today: a plain stack
# of `nn.Linear` and ReLU, as torch initialises it.
#
# **"Vanishing gradients cannot be clipped."** True. Clipping only makes long gradients shorter, so it
# leaves a short one as it is.

# %%
torch.manual_seed(first_seed)
layers = [module for _ in range(30) for module in (nn.Linear(128, 128), nn.ReLU())]
x = torch.randn(32, 128, requires_grad=True)
nn.Sequential(*layers)(x).sum().backward()
claim("30 default layers leave a gradient below 1e-9", x.grad.norm() / math.sqrt(32), below=1e-9)

before = x.grad.clone()
torch.nn.utils.clip_grad_norm_([x], max_norm=1.0)
claim("clipping leaves it as it is", (x.grad - before).abs().max(), equals=0)

# %% [markdown]
# **"Either way, the deep layers stop learning."** Half true, and "deep" misleads. With sigmoid it is
# the layers near the *input* whose weights get nothing (ten decades less than the last layer's). With
# ReLU at weight scale 1 every layer gets equally little (section 5).
#
# ## Exercise
#
# 1. Write the factor by which one wide ReLU layer changes the *norm* of the gradient.
# 2. At which weight *scale* is a tanh network critical if its biases have scale 0.3? Use
#    `theory.critical_weight_variance`.


# %%
def gradient_factor(weight_scale):
    """Return the factor per ReLU layer."""
    return ...


answer = ...  # the weight scale at the edge

print(lesson.check_gradient_factor(gradient_factor))
print(lesson.check_weight_scale(answer))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. Start from $\chi = \sigma_w^2\,\mathbb E[\phi'^2]$. What is $\phi'$ of a ReLU, and how often?
# 2. The function speaks of variances, on both sides.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def gradient_factor(weight_scale):
#     return weight_scale / math.sqrt(2)
#
# answer = math.sqrt(theory.critical_weight_variance("tanh", 0.3**2))
# ```
#
# </details>
#
# ## Remember
#
# 1. A gradient on its way back is a product of layers: it grows or shrinks exponentially with depth.
# 2. One layer changes its norm by $\sqrt\chi$, with $\chi=\sigma_w^2\,\mathbb E[\phi'^2]$.
# 3. For ReLU $\chi=\sigma_w^2/2$: He 1, Xavier 1/2, torch's default 1/6.
# 4. Narrow layers shrink the typical gradient even at $\chi=1$, and seeds differ more.
# 5. Look at activation gradients *and* weight gradients: either alone can hide the disease.
#
# ## References
#
# - X. Glorot, Y. Bengio, *Understanding the difficulty of training deep feedforward neural networks*,
#   AISTATS 2010.
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving deep into rectifiers*, ICCV 2015.
# - B. Poole et al., *Exponential expressivity in deep neural networks through transient chaos*,
#   NeurIPS 2016.
# - S. Schoenholz et al., *Deep information propagation*, ICLR 2017.
# - A. Saxe, J. McClelland, S. Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep
#   linear neural networks*, ICLR 2014.
# - C. Newman, *The distribution of Lyapunov exponents: exact results for random matrices*,
#   Communications in Mathematical Physics 103, 1986.
