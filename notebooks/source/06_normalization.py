# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Normalisation
#
# **Question.** A norm keeps the numbers of every layer at size 1. Then no gradient can explode, can it?
#
# It can. You will build BatchNorm and LayerNorm in a few lines, see what they take away from a
# gradient, and watch one of them make a healthy gradient explode. Then you train, and see why people
# use it all the same.

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

import torch
from torch import nn

from gradcourse import claim, theory
from gradcourse.lessons import normalization as lesson
from gradcourse.live import live, log

# %% tags=["parameters"]
depth = 50
weight_scale = 1.4
batch = 64
seed = 0

# %% [markdown]
# ## 1 · By hand
#
# To *normalise* numbers: subtract their mean, divide by their standard deviation. The norms differ
# only in which numbers belong together. Here `z` has shape (batch, units).
#
# - **BatchNorm**: one unit, all samples of the batch (`dim=0`).
# - **LayerNorm**: one sample, all units (`dim=1`).
# - **RMSNorm**: like LayerNorm, but no mean is subtracted.
#
# A small `eps` keeps the division from failing. Torch's layers then multiply by a learned *gain* and
# add a learned *shift*. These start at 1 and 0, so at first they do nothing.


# %%
def normalise(z, dim, eps=1e-5):
    """Normalise along one dimension."""
    centred = z - z.mean(dim, keepdim=True)
    return centred / (centred.square().mean(dim, keepdim=True) + eps).sqrt()


first_seed = 1000 * seed
torch.manual_seed(first_seed)
generator = torch.Generator().manual_seed(first_seed)
z = (3 * torch.randn(16, 64, generator=generator) + 1).requires_grad_()
above = torch.randn(16, 64, generator=generator)
for dim, module in ((0, nn.BatchNorm1d(64)), (1, nn.LayerNorm(64))):
    ours, torchs = normalise(z, dim), module(z)
    name, gap = type(module).__name__, (ours - torchs).abs().max()
    claim(f"by hand and nn.{name}: the same output", gap, below=1e-5)
    ours, torchs = (torch.autograd.grad(y, z, above)[0] for y in (ours, torchs))
    claim(f"and the same gradient by nn.{name}", (ours - torchs).abs().max(), below=1e-5)

# %% [markdown]
# ## 2 · What a norm does to a gradient
#
# Let $\hat x$ be the normalised numbers and $\sigma$ their standard deviation before. A gradient $g$
# that arrives from above goes on as
#
# $$\frac{\partial L}{\partial x} = \frac1\sigma\Big(g - \overline{g} - \hat x\;\overline{g\,\hat x}\Big),$$
#
# where a bar is a mean over the numbers that are normalised together. In words: take away the part
# along $(1,\dots,1)$, take away the part along $\hat x$, divide by $\sigma$. It must be so: moving
# all numbers up, or stretching them, changes nothing in the output.
#
# **Predict.** A random gradient arrives at *four* numbers. What share of its squared length is left
# on average, before the division? Then look at the left picture and move:
#
# - `push` to `all up` (the loss wants all numbers larger), then to `stretch`. What is left?
# - `push` back to `random`, and `together` down to 2. What is left of any gradient?
# - `together` 32, `spread` 0.1. Small numbers are enlarged on their way forward. And the gradient?

# %%
prediction = None  # a share, for example: prediction = 0.9

live(
    partial(lesson.measure_projection, first_seed=first_seed, prediction=prediction),
    lesson.draw_projection,
    panels=[["one", "share"]],
    together=(2, 32),
    push=["random", "all up", "stretch"],
    spread=log(0.1, 10),
    norm=["BatchNorm, LayerNorm", "RMSNorm"],
)

# %% [markdown]
# Two of $n$ directions are lost, so the share $1-2/n$ is left: half for four numbers, nothing for two.
# RMSNorm loses one direction. With 64 numbers together that is little, and the factor $1/\sigma$ is
# what counts. Keep this sentence in mind: **a norm that enlarges the signal enlarges the gradient.**

# %%
x = torch.randn(64, generator=generator, dtype=torch.float64, requires_grad=True)
hat = normalise(x, 0, eps=0)
(back,) = torch.autograd.grad(hat, x, torch.randn(64, generator=generator).double())
claim("the gradient is orthogonal to (1, ..., 1)", back.sum().abs(), below=1e-12, source="calculus")
claim("and to the normalised numbers", (back @ hat).abs(), below=1e-12, source="calculus")

for norm, share in (("BatchNorm, LayerNorm", 0.5), ("RMSNorm", 0.75)):
    four = lesson.measure_projection(norm, together=4, first_seed=first_seed)
    claim(f"{norm}: of 4 numbers {share:.0%} is left", four.share[2], equals=share, within=0.06)

# %% [markdown]
# ## 3 · The scale of the weights
#
# Multiply the weights before a norm by 10. The norm divides by 10 again: the output is the same. But
# $\sigma$ is 10 times larger, so the gradient of the weights is 10 times *smaller*. And a weight that
# is 10 times larger needs a step 10 times larger to turn as far. With one learning rate for both, the
# large weights turn **100 times slower** at first. What counts is the *effective learning rate*: the
# learning rate over the squared length of the weights.
#
# With BatchNorm the gradient is also at right angles to the weights of each unit (with LayerNorm, to
# the weight matrix as a whole). A step sideways makes weights longer, so SGD under a norm slowly
# turns its own effective learning rate down.
#
# The first cell checks this on one layer. The second one trains: three BatchNorm layers read digits
# for 20 steps. Then again with weights 10 times as large: once with the same learning rate, once with
# 100 times it.

# %%
x, target = torch.randn(2, 256, 64, generator=generator, dtype=torch.float64)
weight = torch.randn(64, 64, generator=generator, dtype=torch.float64, requires_grad=True)
large = (10 * weight).detach().requires_grad_()
out, same = (normalise(x @ w, 0, eps=0) for w in (weight, large))
claim("weights 10 times as large: the same output", (out - same).abs().max(), below=1e-9)

(grad,), (flat,) = (
    torch.autograd.grad((y * target).sum(), w) for y, w in ((out, weight), (same, large))
)
claim("a gradient 10 times smaller", grad.norm() / flat.norm(), equals=10, within=1e-6)
claim("BatchNorm: orthogonal to a unit's weights", (grad * weight).sum(0).abs().max(), below=1e-6)

# %%
trial = partial(lesson.loss_after, first_seed=first_seed)
before, plain = trial(1, rate=0), trial(1, rate=0.1)
slow, same = trial(10, rate=0.1), trial(10, rate=10)

claim("20 steps of SGD lower the loss by 0.5 or more", before - plain, above=0.5)
ratio = (before - slow) / (before - plain)
claim("weights 10 times as large: by a twentieth of that or less", ratio, below=0.05)
claim("and 100 times the learning rate: the same", same - plain, equals=0, within=1e-6)

# %% [markdown]
# ## 4 · The explosion
#
# Now a deep stack at its start. Every unit has mean 0 and variance 1 before each ReLU. Forward,
# nothing can grow or shrink. On the way back: shrink, stay or grow? Decide before you go on.

# %%
layers = [nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()) for _ in range(21)]
activations = [lesson.digit_batch(64, first_seed)]
for layer in layers:
    activations.append(layer(activations[-1]))
    activations[-1].retain_grad()
(activations[-1] * torch.randn(64, 64, generator=generator)).sum().backward()

for layer in (21, 16, 11, 6, 1):
    print(f"layer {layer:2}: {activations[layer].grad.norm() / activations[-1].grad.norm():.3g}")

# %% [markdown]
# **Predict.** Fifty such layers, weights with He's scale 1.4: by how many powers of ten does the
# gradient change from layer 50 back to layer 1? Use the numbers just printed. Write `-3` for a
# factor 0.001.
#
# In the figure, green is the same network without a norm. Say before each move what will happen:
#
# - `weight_scale` from one end to the other. Which line moves?
# - `batch` 256, then 16, then 4. The right picture shows the factor per layer.
# - `norm` LayerNorm.
# - `activation` tanh, with BatchNorm and with LayerNorm. Then sigmoid.

# %%
prediction = None
start_at = {"depth": depth, "weight_scale": weight_scale, "batch": batch}

live(
    partial(lesson.measure_explosion, **start_at, first_seed=first_seed, prediction=prediction),
    lesson.draw_explosion,
    panels=[["gradient", "factor"]],
    norm=list(theory.NORMS),
    batch=[4, 8, 16, 32, 64, 128, 256],
    weight_scale=(0.3, 3.0, 0.1),
    depth=(5, 60),
    activation=["relu", "tanh", "gelu", "sigmoid"],
    place=["before", "after"],
    compare=True,
)

# %% [markdown]
# Why? A unit that puts a standard normal $z$ through a ReLU has mean square $1/2$ and mean
# $1/\sqrt{2\pi}$. So a share $1/\pi$, a third, of its square is *mean*: the same for all samples.
# The next BatchNorm subtracts what is the same for all samples, and enlarges the remaining
# $1-1/\pi$ to full size again. What enlarges the signal enlarges the gradient. With $\chi$ for the
# factor of the **squared** gradient per layer,
#
# $$\chi = \frac{\mathbb E[\phi'(z)^2]}{\operatorname{Var}[\phi(z)]}
#  = \frac{1/2}{1/2-1/(2\pi)} = \frac{\pi}{\pi-1} \approx 1.467 .$$
#
# The weight scale has cancelled. No bent activation escapes: $\mathbb E[\phi'^2]\ge
# \operatorname{Var}[\phi]$ for every $\phi$, and they are equal for straight lines only (Poincaré's
# inequality). In a small batch the deviations are noisy, and $1/\sigma^2$ is large on average. Theory has a
# closed form for that too, of wide layers (`theory.batch_norm_chi`). The measurement differs a little: at
# batches of 256 it lies 1 to 2 % below the formula, and at batches of 4 the 64 units of the figure
# stay well below it (section 6 has the number).
#
# LayerNorm subtracts the mean over the *units*. Before the ReLU that is almost 0, since the weights
# are random. Nothing is thrown away: $\chi=\mathbb E[\phi'^2]/\mathbb E[\phi^2]$, which is 1 for a
# ReLU. RMSNorm has the same.

# %%
wide = {"width": 256, "depth": 40, "seeds": 4, "first_seed": first_seed}
for size, said in ((16, 1.59), (64, 1.49), (256, 1.47)):
    square = lesson.measure_explosion(batch=size, **wide).squared_factor
    chi = theory.batch_norm_chi("relu", size)
    said = f"batches of {size}: the squared gradient grows by {said} per layer"
    claim(said, square, equals=chi, within=0.03 * chi, source="Yang et al. 2019")

factors = [lesson.measure_explosion(weight_scale=s, **wide).squared_factor for s in (0.3, 3)]
claim("weights 10 times as large: the same factor", factors[0] / factors[1], equals=1, within=0.01)

# %% [markdown]
# ## 5 · Where the norm sits
#
# **Predict.** LayerNorm *before* a ReLU keeps the gradient. And *after* it? In the figure above, set
# `activation` to `relu`, `norm` to `LayerNorm` and `place` to `after`.
#
# After a ReLU the mean over the units is not 0: it is that third again. LayerNorm now subtracts it,
# enlarges the rest, and explodes exactly as BatchNorm does. RMSNorm subtracts nothing and stays at 1.
# With a ReLU it is the subtracted mean that makes the gradient explode, whoever subtracts it.
# (Networks with shortcuts have one more choice, before or after the *block*: that is lesson 07.)
#
# With another activation it takes no subtracted mean. The rule is that of section 2: the norm
# enlarges what the activation shrank, and the gradient with it. A tanh has mean 0, and still even
# RMSNorm before it multiplies the squared gradient by 1.18. A sigmoid errs the other way: its mean
# of 1/2 counts as signal, so LayerNorm before it enlarges too little, and the gradient vanishes.

# %%
cases = [(n, p, "relu", s) for n in theory.NORMS[1:] for p in lesson.PLACES for s in (0.3, 3)]
cases += [("LayerNorm", "before", name, 1.4) for name in ("tanh", "sigmoid")]
cases += [("RMSNorm", "before", "tanh", 1.4), ("LayerNorm", "after", "sigmoid", 1.4)]
many = {**wide, "batch": 16, "seeds": 8}
for norm, place, name, scale in cases:
    square = lesson.measure_explosion(norm, place, name, weight_scale=scale, **many).squared_factor
    chi = theory.norm_chi(norm, name, scale**2, after=place == "after")
    sentence = f"{norm} {place} {name}, weight scale {scale}: {chi:.3g} in the square"
    claim(sentence, square, equals=chi, within=0.03 * chi)

# %% [markdown]
# ## 6 · Small batches
#
# With BatchNorm, what the network says of one image depends on the other images in its batch. That is
# noise, and it grows as the batch shrinks. At the end of the road:
#
# - A batch of **one**: the image is its own mean. All outputs are 0, so is the gradient, and torch
#   refuses.
# - A batch of **two**: each unit says $+1$ for one image and $-1$ for the other, whatever they show.
#   Both directions of the gradient are taken away: section 2, $1-2/2=0$.
#
# To be used, a network must not depend on companions. So in training (`net.train()`) BatchNorm takes
# its statistics from the batch, and keeps a running average of them, which it uses afterwards
# (`net.eval()`). These are two different functions. Do they agree? (The last claim is about section 4.)

# %%
sums = lesson.data(first_seed).inputs @ torch.randn(64, 64, generator=generator)
claim("a batch of one: nothing is left", normalise(sums[:1], 0).abs().max(), equals=0)
claim("a batch of two: all say 1 or -1", (normalise(sums[:2], 0, 0).abs() - 1).norm(), below=0.01)
spreads = []
for size in (16, 64):
    others = torch.randint(1, 1500, (400, size - 1), generator=generator)
    batches = torch.cat([sums[:1].expand(400, 1, 64), sums[others]], dim=1)
    spreads.append(normalise(batches, 1)[:, 0].std(dim=0).square().mean().sqrt())
claim("4 times the companions: half the noise", spreads[0] / spreads[1], between=(1.5, 2.2))

few, many = (lesson.modes_disagree(size, first_seed=first_seed) for size in (4, 64))
claim("batches of 4: train and eval disagree on a fifth or more", few, above=0.2)
claim("batches of 64: on less than 6 %", many, below=0.06)
narrow = lesson.measure_explosion(batch=4, first_seed=first_seed).squared_factor
share = narrow / theory.batch_norm_chi("relu", 4)
claim("batches of 4, 64 units: a factor well below the formula", share, between=(0.6, 0.95))

# %% [markdown]
# ## 7 · Training
#
# Does the explosion hurt? ReLU networks 64 units wide read digits after 150 steps of SGD: without a
# norm, with BatchNorm, with LayerNorm, at six learning rates, three seeds each.
#
# **Predict.** With He's weights and no norm, ten layers learn up to a learning rate of 0.1 or 0.3.
# (To learn is to read 80 % of the test digits right. They are read all at once, and BatchNorm takes
# its statistics from them.) Up to which rate do they learn with BatchNorm, whose gradient explodes?
# Then move:
#
# - `depth` to 20: who still learns? And at 40?
# - `weight_scale` to 0.7 and to 2.8 (ten layers). Where does each curve move?
#
# The right picture follows the explosion while the network with BatchNorm learns: the weight gradient
# of layer 2 over that of the last hidden layer, at three learning rates.

# %%
prediction = None  # a learning rate, for example: prediction = 0.05

ten = live(
    partial(lesson.measure_training, first_seed=first_seed, prediction=prediction),
    lesson.draw_training,
    panels=[["accuracy", "ratio"]],
    size=(900, 450),
    depth=[5, 10, 20, 40],
    weight_scale=[0.7, 1.4, 2.8],
)
ten

# %% [markdown]
# At ten layers the explosion does no harm, and BatchNorm learns at rates that break the others. The
# right picture, at 20 or 40 layers, shows that the explosion does not last: at a rate of 1 a few steps
# level it. A part of that is section 3: a large gradient makes weights longer, and longer weights have
# a smaller gradient. But only a part. At 20 layers the weights become twice as long while the ratio
# falls twentyfold. What does the rest is not measured here.

# %%
largest = {norm: ten.result.largest_rate(norm) for norm in ("no norm", "BatchNorm", "LayerNorm")}
gain = {norm: rate / largest["no norm"] for norm, rate in largest.items()}
claim("BatchNorm learns at rates 10 times as large, or more", gain["BatchNorm"], above=9)
claim("LayerNorm at rates 1 to 10 times as large", gain["LayerNorm"], between=(0.9, 11))

he_scale = math.sqrt(2)
stack = lesson.Stack("BatchNorm", 20, he_scale, [1.0], first_seed=first_seed)
norms = torch.stack([stack.step().median(dim=0).values for _ in range(40)])
ratios = norms[:, 1] / norms[:, -1]
claim("20 layers: layer 2 starts with about 37 times the gradient", ratios[0], between=(18, 74))
claim("40 steps at rate 1 bring that to 5 or less", ratios[-10:].median(), below=5)
second, last = (stack.weights[layer].detach().norm(dim=(1, 2)).median() for layer in (1, 19))
claim("its weights are only 2 times as long as the last", second / last, between=(1.4, 2.6))

# %% [markdown]
# At 40 layers nobody learns in 150 steps. Does the explosion prevent it? Take the length of the
# gradient out of the game: every layer makes steps of equal size, relative to its weights. At 20 layers
# this learns about as well as SGD does, so it is a fair trial. At 40 layers it fails as SGD does. So the
# size of the gradient is not what stops them. And they are slow, not lost: 600 steps bring them further.
#
# Is it the forward pass? For each test digit find the one whose activations in the last layer are
# nearest: after 20 layers with BatchNorm it is the same digit no more often than by chance. The picture
# is gone, although all sizes are normal. But 20 layers *learn*. So this alone is not the reason either,
# and why 40 layers are slow stays open here.


# %%
def best(layers, rates, steps=150, **options):
    """Return the share of digits read right at the best rate, the median over seeds."""
    stack = lesson.Stack("BatchNorm", layers, he_scale, rates, first_seed=first_seed, **options)
    return stack.train(steps).median(dim=1).values.max()


sgd, equal = (0.03, 0.1, 0.3), (0.01, 0.02, 0.04)
claim("20 layers learn", best(20, sgd), above=0.8)
claim("also with equal steps", best(20, equal, equal_steps=True), above=0.75)
claim("40 layers do not, in 150 steps", best(40, sgd), below=0.5)
claim("nor with equal steps", best(40, equal, equal_steps=True), below=0.5)
claim("600 steps at rate 0.03 bring 40 layers further", best(40, [0.03], 600), above=0.35)
near, far = (lesson.same_neighbours("BatchNorm", layers, first_seed) for layers in (1, 20))
claim("1 layer: the nearest is the same digit", near, above=0.8)
claim("20 layers: about as often as by chance", far, below=0.2)

# %% [markdown]
# ## Heard and measured
#
# **"Normalisation solves vanishing and exploding gradients."** True for LayerNorm and RMSNorm before a
# ReLU: a factor 1 at any weight scale (section 4). False for BatchNorm, which *causes* an explosion,
# for LayerNorm after a ReLU, and for LayerNorm before a sigmoid, where the gradient vanishes.
#
# **"No normalisation: a cause of exploding gradients."** True when the weights are too large.
# False at He's: there the network without a norm is the healthy one, and BatchNorm makes it explode.
#
# **"BatchNorm removes the influence of the initialisation."** True for the forward pass, and for the
# factor per layer. False for training: the scale of the weights sets the effective learning rate
# (section 3). Four times the scale needs 16 times the rate.
#
# **"BatchNorm works because the inputs of a layer no longer shift"** (the *internal covariate shift*).
# Half true. Spoil the statistics again behind every BatchNorm: scale each unit by 0.5 to 1.5 and shift
# it by up to 0.5, by new random numbers in each step. Ten layers still learn at a rate of 1, where the
# network without a norm cannot: steady inputs are not what makes the large rate possible. But at 20
# layers the shifts cost about a fifth of the digits. (Test digits are read without them.)
#
# **"Normalisation allows larger learning rates."** True at ten layers: 10 times or more for BatchNorm,
# little for LayerNorm (section 7).

# %%
he, wild = (lesson.measure_explosion(weight_scale=s, **wide) for s in (he_scale, 3.0))
claim("He and no norm: a factor 1", he.plain.gradient_per_layer, equals=1, within=0.04)
claim("with BatchNorm 10**3.4 over 40 layers", he.median[0], equals=3.4, within=0.3)
factor = wild.plain.gradient_per_layer
claim("weight scale 3 and no norm: 2.1", factor, equals=3 / he_scale, within=0.09, source="He 2015")

start = partial(lesson.Stack, first_seed=first_seed)
small, large = (
    start("BatchNorm", 10, scale, [0.01, 0.16]).train(150).median(dim=1).values
    for scale in (0.7, 2.8)
)
claim("rate 0.01, weights 4 times as large: fewer digits", small[0] - large[0], above=0.3)
claim("16 times the rate makes up for it", large[1] - small[0], equals=0, within=0.1)

# %%
spoilt = start("BatchNorm", 10, he_scale, [1.0], shifted=True).train(150).median()
claim("10 layers, spoilt in every step: BatchNorm learns at rate 1", spoilt, above=0.8)
plain = start("no norm", 10, he_scale, [1.0]).train(150).median()
claim("without a norm they do not", plain, below=0.5)
steady, spoilt = (
    start("BatchNorm", 20, he_scale, [0.3, 1.0], shifted=s).train(150).median(dim=1).values.max()
    for s in (False, True)
)
claim("20 layers: the shifts cost a fifth of the digits", steady - spoilt, between=(0.08, 0.33))

# %% [markdown]
# ## Exercise
#
# 1. A leaky ReLU is $\phi(z)=z$ for $z>0$ and $az$ otherwise. Write $\chi$, the factor of the *squared*
#    gradient, of BatchNorm before a leaky ReLU with slope `a` (wide layers, large batches).
# 2. A colleague draws all weights before BatchNorm 10 times as large as you, and wants the network to
#    learn exactly as yours does. By which factor must the learning rate of SGD change?


# %%
def leaky_factor(a):
    """Return chi of BatchNorm before a leaky ReLU."""
    return ...


answer = ...  # a factor

print(lesson.check_leaky_factor(leaky_factor))
print(lesson.check_learning_rate_factor(answer))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. $\chi=\mathbb E[\phi'^2]/\operatorname{Var}[\phi]$, and the variance is mean square minus squared
#    mean. Half of the inputs are positive, and $\mathbb E[\max(z,0)]=1/\sqrt{2\pi}$.
# 2. How does the gradient change, and how large a step does a weight now need to turn as far?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def leaky_factor(a):
#     square = (1 + a**2) / 2
#     mean = (1 - a) / math.sqrt(2 * math.pi)
#     return square / (square - mean**2)
#
# answer = 100
# ```
#
# The mean square of the output and of the slope are the same number here. A slope of 1 gives a straight
# line and a factor 1; a slope of $-1$, the absolute value, gives 2.75.
#
# </details>
#
# ## Remember
#
# 1. A norm takes two directions out of a gradient and divides it by the deviation.
# 2. A norm enlarges the gradient by as much as it enlarges the signal. BatchNorm before a ReLU: 1.467
#    in the square per layer, whatever the weights. LayerNorm before a ReLU: 1.
# 3. Weights $c$ times as large before a norm: the same output, gradients $c$ times smaller, and an
#    effective learning rate $c^2$ times smaller.
# 4. BatchNorm makes images of a batch depend on each other; small batches are noisy, and training and
#    use differ.
# 5. The explosion at the start does not last, and BatchNorm learns at rates 10 times as large. Deep plain
#    stacks stay slow all the same, and the size of the gradient is not what slows them.
#
# ## References
#
# - S. Ioffe, C. Szegedy, *Batch normalization: accelerating deep network training by reducing internal
#   covariate shift*, ICML 2015.
# - J. L. Ba, J. R. Kiros, G. E. Hinton, *Layer normalization*, arXiv 1607.06450, 2016.
# - B. Zhang, R. Sennrich, *Root mean square layer normalization*, NeurIPS 2019.
# - G. Yang et al., *A mean field theory of batch normalization*, ICLR 2019.
# - S. Santurkar et al., *How does batch normalization help optimization?*, NeurIPS 2018.
# - T. van Laarhoven, *L2 regularization versus batch and weight normalization*, arXiv 1706.05350, 2017.
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving deep into rectifiers*, ICCV 2015.
