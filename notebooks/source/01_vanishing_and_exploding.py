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
    if wheel is None:
        lack = "This copy of the course has no address to install from."
        raise RuntimeError(f"{lack} Put gradcourse-*.whl beside this notebook and run again.")
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
from gradcourse.signals import mlp_signal

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
# whose largest number is about $3.4\cdot 10^{38}$? Write your guess into the next cell before you run
# it. It becomes a star in the picture.
#
# Then move `weight` through 1, and switch the `dtype` (float16 and bfloat16 are 16-bit numbers: one
# has less range, the other fewer digits). The dashed line is $w^L$. The blue line is what the machine
# computes, one rounded product after the other.

# %%
prediction = None  # for example: prediction = 100

live(
    partial(lesson.measure_chain, depth=300, prediction=prediction),
    lesson.draw_chain,
    weight=(0.1, 3.0, 0.05),
    depth=(1, 300),
    dtype=["float16", "bfloat16", "float32", "float64"],
    compare=True,
)

# %% [markdown]
# The smallest code that shows it is a loop. For $w>1$ theory predicts where it ends: at layer
# $\lfloor \ln(\max)/\ln w \rfloor + 1$. (bfloat16 has so few digits that rounding moves the end: at
# 1.5 it comes at layer 220, not 219.) Three more things to try in the figure, each with its claim in the
# second cell:
#
# - `weight` 1.5 in float16: the end comes about eight times sooner.
# - `weight` 0.4: the product reaches exactly 0. No learning rate can bring it back.
# - `weight` 0.9 in float16, `depth` 300: the blue line stops falling before 0. Four times the smallest
#   float16 number, times 0.9, is 3.6 times the smallest, and that is rounded back to 4.

# %%
gradient = torch.tensor(1.0)
layers = 0
while gradient.isfinite():
    gradient = gradient * 1.5
    layers += 1

predicted = theory.overflow_depth(1.5)
claim("1.5 * 1.5 * ... leaves float32 at layer 219", layers, equals=predicted, source="IEEE 754")

# %%
ends = [lesson.measure_chain(1.5, 300, name).overflow_layer for name in ("float32", "float16")]
claim("float16 ends about 8 times sooner", ends[0] / ends[1], between=(7.5, 8.5), source="IEEE 754")
gone = lesson.measure_chain(0.4, 300).zero_layer
claim("0.4 is exactly 0 in float32 before layer 120", gone, below=120, source="IEEE 754")
stuck = 2**24 * 10 ** lesson.measure_chain(0.9, 300, "float16").log10[-1]
claim("0.9 in float16 stops at 4 smallest numbers", stuck, equals=4, within=1e-6)

# %% [markdown]
# ## 2 · An activation in the chain
#
# Put a sigmoid after each weight, and let $w=1$. The slope of a sigmoid is at most 1/4, so each layer
# divides the gradient by 4 or more. In fact the chain settles where $x = \sigma(x)$, away from the
# steepest point, and shrinks faster.
#
# A slope can also exceed 1: that of GELU, a smooth ReLU, reaches 1.129. ($\text{GELU}(x) = x\,\Phi(x)$;
# $\Phi$ is the distribution function of the normal law.) A chain of GELUs with $w=1$ that starts at 3
# grows 41-fold in a hundred layers. But it settles at $x=0$, where the slope is 1/2, and vanishes in the
# end.

# %%
far = torch.tensor(5.0, dtype=torch.float64)
for _ in range(20):
    far = torch.sigmoid(far)
x, rate = theory.chain_fixed_point("sigmoid")
claim("from 5, sigmoids settle at 0.659", far, equals=x, within=1e-9, source="x = sigmoid(x)")

x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
torch.sigmoid(x).backward()
claim("there a sigmoid takes a factor 0.2247", x.grad, equals=rate, within=1e-9, source="x(1-x)")

# %%
grid = torch.linspace(-5, 5, 100_001, dtype=torch.float64, requires_grad=True)
for function, steepest in ((torch.sigmoid, 0.25), (nn.functional.gelu, 1.1289)):
    (slope,) = torch.autograd.grad(function(grid).sum(), grid)
    name = function.__name__
    claim(f"{name} has slope {steepest} at most", slope.max(), equals=steepest, within=1e-4)

_, rate = theory.chain_fixed_point("gelu")
claim("a chain of GELUs ends at a factor 1/2", slope[50_000], equals=rate, within=1e-9)
x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
for layers, words, between in ((100, "41", (41, 41.5)), (250, "next to nothing", (0, 1e-40))):
    y = x
    for _ in range(layers):
        y = nn.functional.gelu(y)
    (slope,) = torch.autograd.grad(y, x)
    claim(f"from 3, {layers} GELUs multiply by {words}", slope, between=between)

# %% [markdown]
# ## 3 · A product of matrices
#
# A real layer multiplies by a matrix. Take random $n\times n$ ones, whose entries are independent and
# Gaussian with mean 0 and variance $1/n$. Then the *mean* squared norm of a vector stays exactly what it
# was: the aim of Xavier's and He's initialisation (lesson 05). The smallest code that shows it is a loop;
# the next cell runs three matrices.
#
# **Predict.** The mean square stays 1. What is the typical norm after 100 matrices of width 8? Write
# the exponent into the cell after next: `0` for 1, `-3` for 0.001. In its picture each *seed* is one
# fresh draw of all matrices, and the band holds 90 % of 32 seeds.

# %%
first_seed = 1000 * seed
generator = torch.Generator().manual_seed(first_seed)
vector = torch.ones(8) / math.sqrt(8)
for _ in range(3):
    vector = torch.randn(8, 8, generator=generator) / math.sqrt(8) @ vector
    print(f"norm {vector.norm():.2f}")

# %%
prediction = None

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
# layer, the faster. For Gaussian matrices theory gives the exact rate at any width $n$: each changes the
# norm's logarithm on average by $\tfrac12\left(\ln\tfrac{2}{n} + \psi(\tfrac n2)\right)$, where $\psi$
# is the digamma function. For $n=8$ that is $-0.065$ per matrix, or $10^{-2.8}$ after 100. Orthogonal
# matrices keep the norm of *every* vector.

# %%
one = lesson.measure_matrices(8, depth=1, seeds=1000, first_seed=first_seed).signal
square, error = (100 ** one.log10_norm[:, -1]).mean(), 4 * math.sqrt(2 / 8 / 1000)
claim("one matrix keeps the mean square", square, equals=1, within=error, source="calculus")

for size in (8, 32):
    product = lesson.measure_matrices(size, 100, seeds=100, first_seed=first_seed).signal
    change = math.log(10) * product.log10_norm[:, -1].mean() / 100
    mean, variance = theory.product_log_norm(size)
    sentence, error = (
        f"width {size}: a matrix adds {mean:.4f} to ln(norm)",
        4 * variance**0.5 / 100,
    )
    claim(sentence, change, equals=mean, within=error, source="Newman 1986")

turned = lesson.measure_matrices(8, 200, kind="orthogonal", first_seed=first_seed).signal
bent = np.abs(turned.log10_norm).max()
claim("a rotation changes no norm", bent, below=1e-12, source="Saxe 2014")

# %% [markdown]
# ## 4 · A real network
#
# Now a network with activations, and a batch of scikit-learn's handwritten digits. This is all it
# takes to see the gradient of each layer: keep the activations, call `backward`, read the norms.
# (`retain_grad`: torch forgets the gradients of activations unless asked.)

# %%
hidden = [lesson.digit_batch(seed=first_seed)]
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
# $\sigma_w^2$ divided by the number of inputs of a unit, its *fan-in*), $\phi$ is the activation and
# $q$ the variance of what goes into it. $\chi<1$: vanishing. $\chi>1$: exploding. $\chi=1$: the edge.
#
# **Predict.** Fifty sigmoid layers, weight scale 1: by how many powers of ten does the gradient
# shrink on its way to the input? Use the numbers just printed. Write `-3` for a factor 0.001. (The
# figure starts there, unless you changed the parameters.)

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
# - `relu` at 1.4, `width` from 128 down to 16: the band widens, and the blue line falls below theory,
#   which is for infinite width.
# - `relu`, weight scale 3, `depth` 200: the picture says where float32 ends.
#
# Does the formula hold? For ReLU it is simple: half of the units are off and have slope 0, so
# $\chi=\sigma_w^2/2$. Three recipes for the first weights of a square layer differ in $\sigma_w$: He's
# has $\sqrt2$, Xavier's 1, and the default of `nn.Linear` $\sqrt{1/3}$. (GELU at weight scale 1 has a
# factor 1/2: its signal dies out, and at 0 its slope is 1/2.)

# %%
variances = [theory.weight_variance_of(scheme) for scheme in ("he", "xavier", "default")]
relu = [("relu", math.sqrt(variance)) for variance in variances]
for name, scale in [("sigmoid", 1.0), ("tanh", 0.8), ("tanh", 1.5), ("gelu", 1.0), *relu]:
    net = lesson.measure_network(40, scale, name, width=256, first_seed=first_seed)
    root = net.predicted_per_layer
    sentence = f"{name} at weight scale {scale:.3g}: a factor {root:.3f} per layer"
    measured = net.signal.gradient_per_layer
    claim(sentence, measured, equals=root, within=0.03 * root, source="Schoenholz 2017")

spread = {}
for units in (16, 128):
    net = lesson.measure_network(50, 1.4, "relu", units, seeds=24, first_seed=first_seed)
    spread[units] = net.signal.log10_gradient[:, 0].std()
claim("16 units wide, seeds differ more than at 128", spread[16] / spread[128], above=1.5)

# %% [markdown]
# ## 5 · Why both pictures
#
# With `relu` at weight scale 1 the left picture falls and the right one is flat. The weight gradient
# of a layer is the gradient that arrives from above *times* the activation that arrives from below.
# With ReLU both shrink at the same rate in opposite directions, so their product is the same in
# every layer: equally tiny everywhere. (The picture cannot show "tiny": it is relative to the last
# layer. The last claim compares with weight scale $\sqrt2$.) Watching how weight gradients change
# from layer to layer, you would miss the disease.

# %%
xavier = lesson.measure_network(40, 1.0, "relu", width=256, first_seed=first_seed).signal


def slope(rows):
    """Return the change of ln(norm squared) per layer, three layers left out at each end."""
    fits = [np.polyfit(range(34), row[3:37], 1)[0] for row in rows]
    return 2 * math.log(10) * np.median(fits)


up, across = slope(xavier.log10_gradient), slope(xavier.log10_weight_gradient)
claim("activations: ln(norm squared) gains ln 2 a layer", up, equals=math.log(2), within=0.04)
claim("weights: it gains nothing", across, equals=0, within=0.04, source="Glorot & Bengio 2010")
he = lesson.measure_network(40, math.sqrt(2), "relu", width=256, first_seed=first_seed).signal
tiny = np.median(xavier.log10_weight_gradient - he.log10_weight_gradient)
claim("Xavier leaves 10**-5.87 of He's", tiny, equals=-39 / 2 * math.log10(2), within=1e-3)

# %% [markdown]
# ## 6 · The edge
#
# For tanh without biases $\chi=1$ lies at weight scale 1. If biases are drawn with standard deviation
# $\sigma_b$ (their *scale*), it lies higher. At the edge the gradient no longer shrinks exponentially:
# with biases it soon stops shrinking; without them it goes on, in theory like $1/\sqrt L$, so that four
# times as many layers keep half as much. The functions of `theory` take and return *variances*, the
# squares of scales.

# %%
inputs = lesson.digit_batch(seed=first_seed)
bare, edge = (theory.critical_weight_variance("tanh", bias) for bias in (0.0, 0.05))
claim("without biases the edge of tanh lies at scale 1", bare**0.5, equals=1, within=1e-6)
claim("bias variance 0.05 moves it to scale 1.327", edge**0.5, equals=1.327, within=1e-3)

for variance, bias, ratio, error in ((bare, 0.0, 0.5, 0.03), (edge, 0.05, 1.0, 0.12)):
    profiles = [theory.mean_field_profile("tanh", n, variance, bias) for n in (50, 200)]
    few, many = (10 ** profile.log10_gradient[0] for profile in profiles)
    sentence = f"bias variance {bias}: 200 layers keep {ratio} of what 50 keep"
    claim(sentence, many / few, equals=ratio, within=0.02, source="mean field")
    scales = (math.sqrt(variance), math.sqrt(bias))
    kept = 10 ** mlp_signal(inputs, "tanh", 256, 50, *scales, first_seed=first_seed).median()[0]
    sentence = f"bias variance {bias}: 50 layers keep {few:.2f}"
    claim(sentence, kept, equals=few, within=error, source="Schoenholz 2017")

# %% [markdown]
# ## Heard and measured
#
# Sentences that people say about vanishing gradients, tried on networks.
#
# **"A sigmoid network loses its gradient because its units saturate."** False at weight scale 1. (A
# unit *saturates* when its input is so large that its slope is almost 0.) The mean squared slope of
# the network in section 4 is close to its largest possible value, 1/16, and the gradient vanished. At
# weight scale 15 the units do saturate, and the gradient *explodes*.
#
# **"The slope of a sigmoid is below 1, so its gradient always vanishes."** False: large weights make
# up for it. The edge lies at weight scale 10.1, beyond the slider.

# %%
values = torch.stack(hidden[1:]).detach()
share = 16 * (values * (1 - values)).square().mean()
claim("sigmoid's squared slopes are at least 85 % of the largest", share, above=0.85)

large = lesson.measure_network(50, 15.0, "sigmoid", first_seed=first_seed)
grown, root = large.signal.gradient_per_layer, large.predicted_per_layer
claim("at weight scale 15 it explodes by 1.2 per layer", grown, equals=root, within=0.1)
h, squares = inputs, []
for _ in range(50):
    h = torch.sigmoid(h @ torch.randn(64, 64, generator=generator) * 15 / 8)
    squares.append((h * (1 - h)).square().mean())
share = 16 * torch.stack(squares).mean()
claim("though its squared slopes are a tenth of the largest", share, between=(0.08, 0.12))
edge = math.sqrt(theory.critical_weight_variance("sigmoid"))
claim("the edge of sigmoid lies at scale 10.1", edge, equals=10.1, within=0.1, source="mean field")

# %% [markdown]
# **"Vanishing gradients were a problem of the 1990s."** False. They are one line away today: a plain
# stack of `nn.Linear` and ReLU, as torch initialises it. Each layer multiplies the squared norm by 1/6.
#
# **"Vanishing gradients cannot be clipped."** True. Clipping only makes long gradients shorter, so it
# leaves a short one as it is.
#
# **"Either way, vanishing or exploding, the layers near the input stop learning."** Half true for vanishing,
# false for exploding. With sigmoid the layers near the *input* get nothing; with ReLU at weight scale 1
# every layer gets equally little (section 5). When gradients explode, they do not stop: they get the
# largest steps.

# %%
torch.manual_seed(first_seed)
layers = [module for _ in range(30) for module in (nn.Linear(128, 128), nn.ReLU())]
x = torch.randn(32, 128, requires_grad=True)
nn.Sequential(*layers)(x).sum().backward()
lost = x.grad.norm() / math.sqrt(32 * 128)
claim("30 default layers leave about 6**-15", lost * 6**15, between=(0.2, 5), source="He 2015")

before = x.grad.clone()
torch.nn.utils.clip_grad_norm_([x], max_norm=1.0)
claim("clipping leaves it as it is", (x.grad - before).abs().max(), equals=0)

# %%
for name, scale, sign in (("sigmoid", 1.0, -1), ("tanh", 2.0, 1)):
    network = lesson.measure_network(50, scale, name, first_seed=first_seed)
    first = sign * network.relative_weight_gradient[:, 0]
    word = "more" if sign > 0 else "less"
    claim(
        f"{name}: layer 1 gets 100 times {word} than layer 50, in all seeds", first.min(), above=2
    )

# %% [markdown]
# ## Exercise
#
# 1. Write the factor by which one wide ReLU layer changes the *norm* of the gradient.
# 2. At which weight *scale* is a tanh network at the edge ($\chi=1$) if its biases are drawn with
#    standard deviation 0.3? Use `theory.critical_weight_variance`.


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
# 5. Look at activation gradients *and* weight gradients: those of the weights alone can hide the disease.
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
