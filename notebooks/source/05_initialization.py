# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Initialisation
#
# **Question.** Two networks have the same layers, the same data and the same optimizer. One learns,
# the other still guesses after an hour. They differ in one number: the scale of their first random
# weights. Which scale is right, and can you know it *before* you train?
#
# You can. You will draw the map of all scales and depths at once, and put theory's line on it.

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
from gradcourse.initialization import initialize
from gradcourse.lessons import first_weights as lesson
from gradcourse.live import live
from gradcourse.models import MLP
from gradcourse.signals import mlp_signal

# %% tags=["parameters"]
depth = 30
bias_scale = 0.0
seed = 0

# %% [markdown]
# ## 1 · Four recipes
#
# A recipe says from which distribution the first weights are drawn. Its *variance* is what counts. A
# unit adds up its inputs, so the variance is divided by their number. (The number of a layer's inputs
# is its **fan-in**, that of its outputs its **fan-out**.)
#
# | recipe | variance of a weight | in torch |
# |---|---|---|
# | default | $\frac{1}{3\,\text{fan-in}}$ | what `nn.Linear` does by itself |
# | Xavier | $\frac{2}{\text{fan-in}+\text{fan-out}}$ | `nn.init.xavier_normal_` |
# | He | $\frac{2}{\text{fan-in}}$ | `nn.init.kaiming_normal_` |
# | orthogonal | a random rotation: $\frac1n$ in a square layer | `nn.init.orthogonal_` |
#
# The smallest code is a loop over the layers. `initialize` does the same for layers of many kinds,
# and reports what it set beside what the recipe promises.

# %%
first_seed = 1000 * seed
torch.manual_seed(first_seed)
net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
for layer in net:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)

print(initialize(net, "xavier_normal", generator=torch.Generator().manual_seed(first_seed)))

# %% [markdown]
# **Predict.** Thirty ReLU layers as torch initialises them. By how many powers of ten does the
# gradient shrink on its way to the input? Write `-3` for a factor 0.001.
#
# Then change the `scheme`, and say before each change which way both lines will tilt. Try `tanh` and
# `linear` (no activation at all) as well: which scheme is flat for which activation?

# %%
prediction = None  # for example: prediction = -3

live(
    partial(lesson.measure_schemes, depth=depth, first_seed=first_seed, prediction=prediction),
    lesson.draw_schemes,
    depth=(1, 100),
    scheme=["default", "Xavier", "He", "orthogonal", "orthogonal, gain 1.41"],
    activation=["relu", "tanh", "linear"],
    panels=[["signal", "gradient"]],
    compare=True,
    play="depth",
)

# %% [markdown]
# One ReLU layer multiplies the mean *square* of the gradient by $\chi=\sigma_w^2/2$, where
# $\sigma_w^2$ is the variance of a weight times the fan-in, and half of the units have slope 0
# ([lesson 01](01_vanishing_and_exploding.ipynb)). So $\chi$ is 1 for He, 1/2 for Xavier and **1/6 for
# the default**. The norm changes by $\sqrt\chi$ per layer.
#
# With the default the *signal* stops falling at some layer: its biases are random too, and in the end
# little else is left. The output then hardly depends on the input, and the gradient says so.
#
# A rotation keeps every length, so `orthogonal` is exact for `linear`. A ReLU halves the square all
# the same: use orthogonal weights with a gain of $\sqrt2$.

# %%
for name, variance in (("torch", 1 / 3), ("xavier_normal", 1.0), ("he_normal", 2.0)):
    net = MLP(512, 512, 30, activation="relu")
    initialize(net, name, generator=torch.Generator().manual_seed(first_seed))
    x = torch.randn(8, 512, requires_grad=True)
    out = net(x)
    (gradient,) = torch.autograd.grad(out, x, torch.randn_like(out))
    factor = (gradient.norm() / math.sqrt(8 * 512)) ** (1 / 30)
    root = math.sqrt(theory.chi("relu", 1.0, variance))
    sentence = f"{name}: a ReLU layer multiplies the norm by {root:.3f}"
    claim(sentence, factor, equals=root, within=0.04 * root, source="He 2015")

turned = lesson.measure_schemes(100, "orthogonal", "linear", first_seed)
bent = np.abs(turned.log10_gradient).max()
claim("100 rotations change no norm", bent, below=1e-4, source="Saxe 2014")

# %% [markdown]
# ## 2 · Fan-in or fan-out
#
# On the way forward a unit adds up *fan-in* products. On the way back an activation gets its gradient
# from *fan-out* units. One variance cannot suit both if the two differ. For a linear layer the mean
# squares change by
#
# $$\text{forward}\;\; \text{fan-in}\cdot\mathrm{Var}\,w, \qquad
#   \text{backward}\;\; \text{fan-out}\cdot\mathrm{Var}\,w .$$
#
# Xavier takes the mean of the two fans, a compromise. He takes one of them: `mode="fan_in"` is exact
# forward, `mode="fan_out"` backward.
#
# **Predict.** A network widens and narrows again and again, as in a transformer: 64 → 256 → 64 → ...,
# ten times, no activation. Does Xavier's compromise even out?

# %%
torch.manual_seed(first_seed)
wide = nn.Linear(128, 512, bias=False)
nn.init.xavier_normal_(wide.weight)
out = wide(x := torch.randn(2000, 128, requires_grad=True))
(gradient,) = torch.autograd.grad(out, x, torch.randn_like(out))
squares = out.square().mean(), gradient.square().mean()
both = lesson.zigzag_factors("xavier_normal", first_seed=first_seed)
for place, way in enumerate(("forward", "backward")):
    factor = theory.fan_factors("xavier", 128, 512)[place]
    claim(f"{way}: a factor {factor:g}", squares[place], equals=factor, within=0.03 * factor)
    claim("Xavier: a pair of layers leaves 0.64", both[place], equals=0.64, within=0.07)
for mode in ("fan_in", "fan_out"):
    both = lesson.zigzag_factors("he_normal", "relu", first_seed=first_seed, mode=mode)
    off = np.abs(np.log(both)).max()
    claim(f"He, {mode}: a pair keeps it within 15 %, both ways", off, below=math.log(1.15))

# %% [markdown]
# The compromise does not even out: a pair multiplies the mean square by $0.4\cdot1.6=0.64$, forward
# *and* backward, and ten pairs leave 1 %. With He's `fan_in` all forward factors are 1, and the backward
# ones are ratios, 4 and 1/4, whose product depends on the first and the last width only. `fan_out` is
# the same the other way round. Either mode is fine.
#
# ## 3 · The map of all scales and depths
#
# For any activation the theory of wide layers gives the two numbers you need. The variance $q$ of what
# goes into an activation settles where it reproduces itself, and there one layer multiplies the squared
# gradient by $\chi$:
#
# $$q=\sigma_w^2\,\mathbb E[\phi(\sqrt q z)^2]+\sigma_b^2,\qquad
#   \chi=\sigma_w^2\,\mathbb E[\phi'(\sqrt q z)^2],\qquad \xi=\frac{1}{|\ln\chi|},$$
#
# with $z$ normal and $\sigma_b$ the standard deviation of the biases (`bias_scale`). $\chi=1$ is the
# **edge of chaos**. $\xi$ is the **depth scale**: after $\xi$ layers the squared norm has changed by a
# factor $e$, and after $6\,\xi$ layers the norm by $e^3$, about 20.
#
# Below, each cell is a network of its own, run on digits: 3060 of them, measured anew at each move.
# Purple is a gradient that shrank on its way to the input, orange one that grew, white one that kept
# its size. The black lines are theory, without any network. The blue dots are where the *measured*
# gradient has changed by 20.
#
# **Predict.** Without biases the edge of tanh is at weight scale 1. Biases push units into saturation,
# where tanh is flat. At `bias_scale` 0.5, does the edge move to the left or to the right, and where to?
# Write the weight scale. The star appears when you move `bias_scale` to 0.5.

# %%
prediction = None
start = {"bias_scale": bias_scale}

live(
    partial(lesson.measure_phase, **start, first_seed=first_seed, prediction=prediction),
    lesson.draw_phase,
    bias_scale=(0.0, 1.0, 0.05),
    activation=["tanh", "relu", "gelu", "sigmoid"],
    width=[16, 32, 64],
    size=(900, 480),
    play="bias_scale",
)

# %% [markdown]
# Look for three things:
#
# - The white wedge *is* the edge. It gets narrower with depth: 60 layers of tanh forgive about 0.02 on
#   the left and 0.45 on the right, five layers nearly everything.
# - The wedge of `relu` is narrower than that of `tanh`. Tanh is kind on the right: larger weights saturate
#   more units, so $\chi$ grows slowly.
# - `width` 16: the picture gets rough, and the dots leave the line. Theory is for wide layers. Section 5
#   says how far one network may be off.
#
# The wedge of `gelu` without biases closes: its signal dies out on the left of the line and grows
# without end on the right. At 10 layers it is 0.6 wide, at 60 hardly any scale is left. `sigmoid`
# vanishes everywhere here: its edge is at scale 10.1.

# %%
edge = theory.critical_weight_variance("tanh", 0.05)
length = theory.length_fixed_point("tanh", edge, 0.05)
claim("tanh, bias variance 0.05: edge at variance 1.761", edge, equals=1.761, within=1e-3)
claim("there q settles on 0.57", length, equals=0.57, within=1e-3, source="Schoenholz 2017")

digit = lesson.digit_batch(32, first_seed)
for variance in (0.8, edge, 4.0):
    scales = (math.sqrt(variance), math.sqrt(0.05))
    measured = mlp_signal(digit, "tanh", 256, 40, *scales, first_seed=first_seed).gradient_per_layer
    q = theory.length_fixed_point("tanh", variance, 0.05)
    root = math.sqrt(theory.chi("tanh", q, variance))
    sentence = f"weight scale {scales[0]:.3f}: each layer multiplies the norm by {root:.3f}"
    claim(sentence, measured, equals=root, within=0.03 * root, source="Schoenholz 2017")

for activation, ends in (("tanh", (0.98, 1.45)), ("gelu", (1.47, 1.48))):
    off = np.abs(np.subtract(lesson.wedge(activation, 60), ends)).max()
    claim(f"{activation}, 60 layers: the wedge is {ends[0]} to {ends[1]}", off, below=0.01)

# %%
bare, biased = (lesson.measure_phase(bias, first_seed=first_seed) for bias in (0.0, 0.5))
moved = biased.critical - bare.critical
claim("theory: bias scale 0.5 moves the edge right by 0.55", moved, equals=0.55, within=0.01)
for found in (bare, biased):
    claim("half of 3060 cells are within 10**0.5 of theory", found.off, below=0.5)
    kept = found.diagram.weight_scales[np.abs(found.diagram.log10_gradient[:, -1]) <= 1]
    claim("measured: the wedge begins there", kept[0], equals=found.critical, within=0.15)

# %% [markdown]
# ## 4 · The map of learning
#
# A gradient that arrives is worth something only if the network then learns. So train them: 55 tanh
# networks at 11 weight scales and 5 depths, 120 steps of SGD on digits each. Networks of one depth are
# stacked and share every matrix product, so this takes seconds; the picture fills as they learn.
#
# **Predict.** Which cells will be bright (accuracy near 1) and which dark (guessing)? Say where the
# border runs before you run the cell. Then change the `bias_scale`.

# %%
trained = live(
    partial(lesson.measure_trained, first_seed=first_seed),
    lesson.draw_trained,
    bias_scale=[0.0, 0.2, 0.5],
    size=(900, 480),
)
learnt = trained.result
trained

# %%
xi = theory.depth_scale(theory.chi("relu", 1.0, 1.5**2))
change = theory.gradient_map("relu", round(6 * xi), [1.5**2])[0, -1]
claim("6 depth scales change the norm by e**3", 10**change, equals=math.e**3, within=1)
other = "Schoenholz 2017 has another depth scale here"
for side, source in (("vanishing", "Schoenholz 2017"), ("exploding", other)):
    near, far = learnt.accuracy_by_depth(side)
    claim(f"{side}: below 6 depth scales they learn", near, above=0.8, source=source)
    claim(f"{side}: beyond 11 they do not", far, below=0.4, source=source)

# %% [markdown]
# The border of learning follows the border of the gradient. $\xi$ comes from the two integrals of
# section 3. The 6 and the 11 do not: they fit these 120 steps of SGD (momentum 0.9, learning rate
# 0.2/depth). More steps or another optimizer move them. Below the dashed line networks learn, above the
# dotted one they do not, on both sides of the edge. On the left the gradient vanishes. On the right it
# explodes, and inputs that were near end far apart, so nothing carries over from one digit to the next.
#
# ## 5 · The lottery
#
# $\chi=1$ keeps the *mean* square. A single network is one draw. For a He network theory knows the law:
# the logarithm of the squared gradient is normal,
#
# $$\ln |g|^2 \sim \mathcal N\!\left(-\tfrac{\beta}{2},\,\beta\right),\qquad \beta = 5\,\frac{L}{n},$$
#
# where $n$ is the width. Depth *over width* decides. (5 is the variance of $2\max(z,0)^2$ with $z$
# normal, and a layer averages $n$ of these.) Each seed of the picture is a network. It draws only the
# products of weights and signal, not the weights: a Gaussian matrix times a vector is a Gaussian vector.
#
# **Predict.** He weights, 50 layers, width 16. The mean square of the gradient is kept. What is the
# *median* norm? Write a power of ten: `-1` for 0.1. Then find a width at which depth 100 is as safe as depth 25 is
# at width 32.

# %%
prediction = None

live(
    partial(lesson.measure_lottery, first_seed=first_seed, prediction=prediction),
    lesson.draw_lottery,
    depth=(1, 100),
    width=[16, 32, 64, 128],
    panels=[["depth", "seeds"]],
    play="depth",
)

# %%
one = digit[:1]
nets = mlp_signal(one, "relu", 32, 25, math.sqrt(2), seeds=400, first_seed=first_seed)
logs = 2 * math.log(10) * nets.log10_gradient[:, 0]
mean, beta = theory.relu_log_gain(32, 25)
error = 4 * math.sqrt(beta / 400) + 0.1
claim("400 networks: ln|g|**2 averages -1.95", logs.mean(), equals=mean, within=error)
claim(
    "and has variance 3.9", logs.var(), equals=beta, within=0.35 * beta, source="Hanin & Nica 2020"
)

drawn = 2 * math.log(10) * lesson.lottery_gains(64, 4000, first_seed)[:, 50]
claim("as at twice the width and depth", drawn.var(), equals=beta, within=0.15 * beta)
ratio = lesson.measure_lottery(100, 16, first_seed=first_seed).ratio
claim("width 16, depth 100: 90 % of seeds span a factor above 1000", ratio, above=1000)

# %% [markdown]
# The answer to the last question: 128. The same $L/n$ is the same lottery.
#
# ## 6 · All directions, or one
#
# So far one number stood for the whole gradient. A network has many directions: its *Jacobian*, the
# matrix of derivatives from input to output, stretches each by a **singular value**. If all of them are
# 1 the network is an **isometry**: no direction is lost. Theory gives the spread of their squares:
#
# $$\frac{\mathrm{Var}\,s^2}{(\mathbb E\, s^2)^2} = L\left(\frac{\mu_2}{\mu_1^2}-1-s_1\right),\qquad
#   \mu_k=\mathbb E[\phi'^{\,2k}],$$
#
# with $s_1=-1$ for Gaussian weights and 0 for orthogonal ones. Everything below is at its edge, $\chi=1$.
#
# **Predict.** Sixteen `linear` layers with Gaussian weights at $\chi=1$. By what factor does the strongest
# direction grow? Write a power of ten: `1` for 10. Then choose `orthogonal`, and then `relu`: can rotations
# save it?

# %%
prediction = None

live(
    partial(lesson.measure_isometry, first_seed=first_seed, prediction=prediction),
    lesson.draw_isometry,
    depth=(1, 32),
    weights=["Gaussian", "orthogonal"],
    activation=["linear", "relu", "tanh"],
    panels=[["values", "spread"]],
)

# %%
for weights, activation in (("Gaussian", "linear"), ("orthogonal", "relu")):
    spreads = lesson.measure_isometry(10, weights, activation, first_seed).spread[:, -1]
    sentence = f"10 layers, {activation}, {weights}: spread 10"
    claim(sentence, spreads.mean(), equals=10, within=2, source="Pennington 2017")
turned = lesson.measure_isometry(32, "orthogonal", "linear", first_seed).log10_values
claim("32 rotations: every singular value is 1", np.abs(turned).max(), below=1e-4)

pair, cosine = torch.eye(2, 64), 0.0
for layer in range(16):
    matrix = torch.randn(pair.shape[1], 1024) * math.sqrt(2 / pair.shape[1])
    pair = nn.functional.relu(pair @ matrix)
    cosine = float(theory.relu_cosine(cosine))
    if layer in (0, 15):
        found = nn.functional.cosine_similarity(*pair, dim=0)
        claim(f"cosine {cosine:.3f} after layer {layer + 1}", found, equals=cosine, within=0.05)

# %% [markdown]
# Gaussian layers lose most directions long before the mean square says anything. Rotations are a perfect
# isometry, but only without activation. A ReLU sets half of the directions to 0 in each layer, so it can
# never be one: $\mu_2/\mu_1^2=2$.
#
# Directions that are lost take information with them. In a deep He-ReLU network any two inputs become
# *parallel*: the cosine of the angle between them follows
# $c' = \big(\sqrt{1-c^2}+c\,(\pi-\arccos c)\big)/\pi$. Two inputs at a right angle have
# cosine 0.318 after one layer, and 0.93 after sixteen.
#
# ## 7 · He's experiment, small
#
# In 2015 He and others trained a network of 30 layers twice, with Xavier's weights and with their own.
# Here is their figure in miniature: digits, 128 units wide, two seeds of each recipe, the same batches for
# all.
#
# **Predict.** At 30 layers, which recipes leave the line of guessing? At 10? At 5? And which of them can
# `Adam` save, which divides each step by the size of the gradient?

# %%
deep = live(
    partial(lesson.measure_miniature, first_seed=first_seed),
    lesson.draw_miniature,
    depth=[5, 10, 20, 30],
    optimizer=["SGD", "Adam"],
)
raced = deep.result
deep

# %%
ends = {name: rows[-1].mean() for name, rows in raced.accuracy.items()}
claim("30 layers, SGD: He learns", ends["He"], above=0.8, source="He 2015")
for name in ("Xavier", "default"):
    claim(f"30 layers, SGD: {name} stalls", ends[name], below=0.4, source="He 2015")

norms = {}
for name in ("he_normal", "xavier_normal"):
    net = MLP(128, 128, 30, activation="relu")
    initialize(net, name, generator=torch.Generator().manual_seed(first_seed))
    net(torch.ones(1, 128)).sum().backward()
    weights = [parameter for key, parameter in net.named_parameters() if "weight" in key]
    norms[name] = torch.stack([weight.grad.norm() for weight in weights])
ratio = norms["he_normal"] / norms["xavier_normal"] * 2 ** (-29 / 2)
claim("Xavier's gradients are 2**14.5 smaller, in every layer", (ratio - 1).abs().max(), below=1e-3)

# %% [markdown]
# With ReLU and square layers Xavier's weights are He's times $\sqrt{1/2}$. A ReLU passes factors through, so
# every one of $L$ layers gets the same gradient times $2^{-(L-1)/2}$ (its own weight is not in its gradient):
# 1/23170 for 30 layers. No layer stands out; all get too little. (In 2015 the network of 30 layers did not
# move with Xavier's weights either.)
#
# A *sigmoid* network is sick in another way. Its slope is at most 1/4, so with Xavier's weights each layer
# leaves at most a quarter of the gradient, while its signal stays near 1/2. Now the *first* layers get
# least: below, the first of 20 does not move by one bit in 240 steps, while the last hidden one moves far.
#
# ## Heard and measured
#
# **"Default initialisation is bad in deep ReLU networks."** True, and how deep depends on the optimizer and
# its settings. At learning rate 0.002 and 240 steps of SGD, five layers guess; at 0.05 they learn. Adam divides
# by the gradient's size, so ten layers learn. At thirty, most gradients are far below the `eps` of 1e-8 that
# Adam adds to that size, and it guesses; with `eps=1e-16` it starts to learn. (Better than a smaller `eps` are
# He's weights, or normalisation and residual connections: lessons 06 and 07.)
#
# **"He initialisation needs `mode='fan_out'`."** False. It makes no difference inside (section 2), and at
# the last layer it does harm: 128 units to 10 classes, the logits come out $\sqrt{12.8}=3.6$ times too
# large, and the first loss lies far above $\ln 10=2.3$, which is what guessing costs.
#
# **"`xavier_uniform_` for every `Linear`."** Half true: right for `tanh` and `linear` in square layers. Before a
# ReLU the variance is too small by a factor 2 in each layer. (And `nn.init.zeros_(layer.bias)` fails for a layer
# without bias; `initialize` knows.)
#
# **"`orthogonal_(weight_hh)` gives a recurrent network rotations."** True for `nn.RNN`. An LSTM stacks its four
# gates in one tensor: the *stack* gets orthonormal columns, and each gate a quarter of the square, so its
# mean squared singular value is 1/4. `initialize` turns each gate by itself.

# %%
for layers, optimizer, options, band in (
    (5, "SGD", {"lr": 0.002}, (0, 0.3)),
    (5, "SGD", {"lr": 0.05}, (0.8, 1)),
    (10, "Adam", {"eps": 1e-8}, (0.8, 1)),
    (30, "Adam", {"eps": 1e-8}, (0, 0.2)),
    (30, "Adam", {"eps": 1e-16}, (0.3, 1)),
):
    right, _ = lesson.train_plain("default", layers, optimizer, first_seed, **options)
    claim(f"default, {layers} layers, {optimizer} {options}: accuracy", right, between=band)
right, moved = lesson.train_plain("Xavier", 20, "SGD", first_seed, activation="sigmoid", lr=0.05)
claim("20 sigmoid layers: accuracy", right, below=0.3)
claim("the first layer moves not at all beside the last but one", moved[0] / moved[-2], below=1e-6)


for mode, low, high in (("fan_in", 2.3, 3.5), ("fan_out", 4, 12)):
    loss = lesson.first_loss(mode, first_seed)
    claim(f"mode={mode}: the first loss", loss, between=(low, high))

# %%
lstm = nn.LSTM(32, 32)
for name, parameter in lstm.named_parameters():
    if "weight_hh" in name:
        nn.init.orthogonal_(parameter)
factors = torch.linalg.svdvals(torch.stack(lstm.weight_hh_l0.chunk(4)))
claim("a gate's mean squared factor is 1/4", factors.square().mean(), equals=0.25, within=1e-5)
initialize(lstm, "orthogonal", generator=torch.Generator().manual_seed(first_seed))
factors = torch.linalg.svdvals(torch.stack(lstm.weight_hh_l0.chunk(4)))
claim("gate by gate: all factors are 1", (factors - 1).abs().max(), below=1e-5, source="Saxe 2014")

# %% [markdown]
# ## Exercise
#
# 1. A *leaky* ReLU has slope 1 on the right and slope $a$ on the left, for example 0.2. At which
#    weight *scale* $\sigma_w$ is $\chi=1$? Write the function.
# 2. Tanh without biases at weight scale 1.2: up to which depth will it train, by the rule of $6\,\xi$? Use
#    `theory.length_fixed_point`, `theory.chi` and `theory.depth_scale`.


# %%
def leaky_scale(slope):
    """Return the weight scale at which a leaky ReLU network is at its edge."""
    return ...


answer = ...  # layers

print(lesson.check_leaky_scale(leaky_scale))
print(lesson.check_deepest(answer))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. $\chi=\sigma_w^2\,\mathbb E[\phi'^2]$. Half of the units have slope 1, the others $a$.
# 2. First the length on which the signal settles, then $\chi$ at that length, then $\xi$. All of them take
#    the weight *variance*.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def leaky_scale(slope):
#     return math.sqrt(2 / (1 + slope**2))
#
# length = theory.length_fixed_point("tanh", 1.2**2)
# answer = 6 * theory.depth_scale(theory.chi("tanh", length, 1.2**2))
# ```
#
# </details>
#
# ## Remember
#
# 1. The first weights decide $\chi$, and $\chi$ to the power of the depth decides the gradient.
# 2. ReLU: He 1, Xavier 1/2, torch's default 1/6. A rotation is exact, but only without activation.
# 3. SGD trained our tanh networks up to about $6\,\xi$ layers, $\xi=1/|\ln\chi|$; at the edge $\xi$ is
#    infinite.
# 4. One network is one draw: its gain spreads with $5L/n$, depth over width.
# 5. At the edge the mean is kept, not every direction: ReLU networks lose directions with depth.
#
# ## References
#
# - X. Glorot, Y. Bengio, *Understanding the difficulty of training deep feedforward neural networks*,
#   AISTATS 2010.
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving deep into rectifiers*, ICCV 2015.
# - B. Poole et al., *Exponential expressivity in deep neural networks through transient chaos*,
#   NeurIPS 2016.
# - S. Schoenholz et al., *Deep information propagation*, ICLR 2017.
# - J. Pennington, S. Schoenholz, S. Ganguli, *Resurrecting the sigmoid in deep learning through dynamical
#   isometry*, NeurIPS 2017.
# - B. Hanin, M. Nica, *Products of many large random matrices and gradients in deep neural networks*,
#   Communications in Mathematical Physics 376, 2020.
# - A. Saxe, J. McClelland, S. Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep
#   linear neural networks*, ICLR 2014.
# - Y. Cho, L. Saul, *Kernel methods for deep learning*, NeurIPS 2009.
