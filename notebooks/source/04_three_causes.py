# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Three causes
#
# **Question.** A small network is given 500 rows of clean data. A few steps later its loss is `nan`.
# There is no deep chain here and no recurrence: the network has one hidden layer. What exploded?
#
# Three causes are named again and again: a learning rate that is too large, data that nobody has
# prepared, and a loss that becomes too large. You will meet each alone, then all three in one run, and
# see that they are one cause: a *step* that is too long for the *curvature* of the loss.

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
from scipy import stats
from torch import nn

from gradcourse import claim, theory
from gradcourse.lessons import three_causes as lesson
from gradcourse.live import live, log
from gradcourse.signals import sharpness
from gradcourse.tasks import large_targets
from gradcourse.training import Ensemble

# %% tags=["parameters"]
learning_rate = 0.01
seed = 0

# %% [markdown]
# ## 1 · The learning rate
#
# Near its minimum every smooth loss looks like a parabola, $\tfrac{\lambda}{2}x^2$. Its slope is
# $\lambda x$, so a step of gradient descent is $x \leftarrow x - \eta\lambda x = (1-\eta\lambda)\,x$:
# each step *multiplies* the distance from the minimum by $1-\eta\lambda$. The number $\lambda$ is the
# *curvature*, and $\eta$ the learning rate. Beyond $\eta = 2/\lambda$ the factor is below $-1$: every
# step overshoots by more than the last. That is an explosion without any chain of layers.
#
# **Predict.** *Momentum* $\mu=0.9$ adds 0.9 of the last step to each step, so that steady steps become
# ten times as long. With $\lambda=10$ and no momentum the largest stable learning rate is 0.2. What is
# it with momentum 0.9? It becomes a star in the right picture when you set `momentum` to 0.9.
#
# There are two directions, a steep one (curvature $\lambda$) and a flat one (curvature 1). Look for:
#
# - `learning rate` through 0.2: the black dot crosses 1, and the dark line turns upwards.
# - a small `learning rate`: the steep direction is safe, but the flat one hardly moves.
# - `momentum`: where does the dotted line, the edge, go?

# %%
prediction = None  # for example: prediction = 0.02

rates, momenta, curvatures = (0.01, 0.6, 0.01), (0.0, 0.95, 0.05), (4.0, 20.0, 1.0)
controls = {"learning_rate": rates, "momentum": momenta, "curvature": curvatures}
measure = partial(lesson.measure_quadratic, prediction=prediction)
panels = [["distance", "rate"]]
live(measure, lesson.draw_quadratic, **controls, panels=panels, compare=True)

# %% [markdown]
# Momentum *raises* the limit: $\eta < 2(1+\mu)/\lambda$. A step that overshoots is followed by one in
# the other direction, and momentum then works as a brake. With momentum a step depends on the two
# places before it, so two numbers take part, and a 2 x 2 matrix moves them on. The dashed curve is the
# size of its larger eigenvalue: below 1 everything shrinks.
#
# The smallest code is torch's own optimizer on one number. Theory knows every iterate:

# %%
edge = theory.largest_stable_learning_rate(10, momentum=0.9)
claim("momentum 0.9 raises the limit to 0.38", edge, equals=0.38, within=1e-9, source="Polyak 1964")

for rate, after in ((0.99 * edge, (0, 1)), (1.01 * edge, (1, math.inf))):
    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=rate, momentum=0.9)
    for _ in range(100):
        optimizer.zero_grad()
        (10 / 2 * x**2).backward()
        optimizer.step()
    exact = theory.heavy_ball_iterates(100, rate, 10, momentum=0.9)[-1]
    sentence = f"learning rate {rate:.4f}: after 100 steps x is {exact:.3g}"
    claim(sentence, x, equals=exact, within=1e-9 * abs(exact), source="linear algebra")
    claim("below the edge it shrinks, above it grows", abs(x), between=after)

# %% [markdown]
# ## 2 · The edge moves
#
# A network's loss has as many curvatures as it has weights. They are the eigenvalues of its *Hessian*,
# the matrix of second derivatives. The largest one, $\lambda_{\max}$, is called the *sharpness*: it
# belongs to the most curved direction, so it decides whether the learning rate is too large.
#
# The Hessian is never written down. Its product with a vector is the gradient of (gradient times
# vector), which costs one more backward pass. Multiply again and again, and only the most curved
# direction is left. That is *power iteration*, in the next cell. (An `Ensemble` holds many networks of one kind
# and runs them in one batch; here it holds one. The library's `sharpness` uses Lanczos' method, which
# needs a dozen products where power iteration needs a hundred.)
#
# The figure trains four small networks on 100 digits, *all of them in each step*, so that no chance is
# left, and measures the sharpness on the way.
#
# **Predict.** At the start the sharpness is about 2.5. With learning rate 0.4 theory allows
# $2/0.4 = 5$. What will the sharpness be after 1000 steps? (A star at the right end.)
#
# Look for: where the blue line goes when you halve or double the `learning rate`, and whether
# `momentum` moves the limit as it did on the parabola. A setting takes a second or two.

# %%
first_seed = 1000 * seed
torch.manual_seed(first_seed)
ensemble = Ensemble([nn.Sequential(nn.Linear(20, 25), nn.Tanh(), nn.Linear(25, 1))])
weights = list(ensemble.parameters())
inputs, targets = lesson.white_regression(first_seed)
losses = (ensemble(inputs).squeeze(2) - targets).square().mean(dim=1)
gradient = torch.autograd.grad(losses.sum(), weights, create_graph=True)

vector = [torch.randn_like(weight) for weight in weights]
for _ in range(100):
    product = torch.autograd.grad(gradient, weights, vector, retain_graph=True)
    length = torch.cat([part.flatten() for part in product]).norm()
    vector = [part / length for part in product]
found = sharpness(losses, weights)[0]
claim("power iteration and the library agree", length, equals=found, within=0.02 * found)

# %%
prediction = None

controls = {"learning_rate": log(0.1, 1.0), "momentum": [0.0, 0.5, 0.9]}
measure = partial(lesson.measure_edge, first_seed=first_seed, prediction=prediction)
live(measure, lesson.draw_edge, **controls)

# %% [markdown]
# Nobody told the networks about $2/\eta$. Training makes the loss steeper and steeper, until the
# learning rate is just too large; then the loss starts to rise in every second step or so, which keeps
# the sharpness where it is. The loss still falls in the long run. This is the *edge of stability*. So
# "is my learning rate too large?" has no fixed answer: with a small one the limit is far away, and
# after 1000 steps the network is still on its way to it: at 0.2 most of the way, at 0.1 much less.
#
# The brake can fail. With momentum 0.9 single networks jump over the edge and are lost at learning
# rates around 0.6, and all four at 1, although they started below its limit of 3.8.

# %%
for rate, factor in ((0.4, 0.0), (0.8, 0.5)):
    *_, run = lesson.measure_edge(rate, factor, first_seed=first_seed)
    sentence = f"lr {rate}, momentum {factor}: the sharpness ends at {run.limit:.3g}"
    claim(sentence, run.late, equals=run.limit, within=0.12 * run.limit, source="Cohen 2021")
    claim("it was lower at the start", run.median[0], below=3)
    claim("over a fifth of the later steps raise the loss", run.rises, above=0.2)
    fall = run.losses[-1].max() / run.losses[0].min()
    claim("and yet the loss falls to a third", fall, below=1 / 3)
for rate, share in ((0.2, (0.65, 1)), (0.1, (0.15, 0.5))):
    *_, run = lesson.measure_edge(rate, first_seed=first_seed)
    claim(f"lr {rate}: it ends on the way, at this share", run.late / run.limit, between=share)
*_, run = lesson.measure_edge(1.0, 0.9, first_seed=first_seed, steps=300)
claim("lr 1, momentum 0.9: 4 of 4 are lost", (~np.isfinite(run.losses[-1])).sum(), equals=4)
claim("at the start they were below the limit", (run.sharpness[0] / run.limit).max(), below=1)

# %% [markdown]
# ## 3 · Data and loss
#
# The second and the third cause are about the *size* of the gradient. With the mean squared error
# (MSE) the slope of each row's loss is twice its error, so targets that are large numbers (prices,
# heights in millimetres) give long gradients. The *Huber loss* is a parabola for errors below $\delta$
# and a straight line beyond: its slope is never larger than $\delta$.
#
# **Predict.** A fresh ReLU network, MSE, targets with standard deviation 1: the gradient has a norm of
# about 1. What is it for standard deviation 1000? Write a power of ten: `2` for 100.
#
# Look for: the slope of both lines, and what `delta` does. `offset` is the mean of the targets, in
# standard deviations: prices are not only spread out, they are also far from 0. With `model` on "linear
# model" theory gives the whole curve, not only its slope.

# %%
prediction = None

models = ["ReLU network", "linear model"]
controls = {"model": models, "delta": log(0.1, 100), "offset": (0.0, 10.0, 0.5)}
measure = partial(lesson.measure_scale, first_seed=first_seed, prediction=prediction)
live(measure, lesson.draw_scale, **controls, compare=True)

# %%
scaled = lesson.measure_scale(first_seed=first_seed)
mse, huber = scaled.slopes
claim("MSE: slope 1", mse, equals=1, within=0.02, source="calculus")
claim("Huber: slope 0", huber, equals=0, within=0.02, source="calculus")
moved = lesson.measure_scale(offset=3.0, first_seed=first_seed)
claim("a mean of 3 std makes it 5 times longer still", moved.largest / scaled.largest, above=5)
line = lesson.measure_scale("linear model", first_seed=first_seed)
off = "linear model: Huber's norm is s erf(delta / (s sqrt 2)), within this factor"
claim(off, line.apart, below=1.1, source="Stein")

# %% [markdown]
# ## 4 · The regression that ends in NaN
#
# Now all three in one run. scikit-learn's `make_regression` makes 1000 rows of 20 features, and targets
# that are a weighted sum of ten of them plus a little noise (standard deviation 0.1). The targets have
# a standard deviation of 100 to 250. The recipe comes from a well-known tutorial: 25 ReLU units, MSE,
# batches of 32, learning rate 0.01, momentum 0.9. Nothing here looks dangerous.
#
# **Predict.** The cell below trains one such network, the figure after it five. At which step does the
# first of the five lose its loss? Write it down before you run anything.

# %%
inputs, targets = large_targets(first_seed + 1)
network = nn.Sequential(nn.Linear(20, 25), nn.ReLU(), nn.Linear(25, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
print(f"standard deviation of the targets: {targets[:500].std():.0f}")
for step in range(1, 13):
    rows = slice(32 * step - 32, 32 * step)
    loss = nn.functional.mse_loss(network(inputs[rows])[:, 0], targets[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step:2}: loss {loss.item():.3g}")

# %% [markdown]
# The loss first *falls*. Then it grows by ever larger factors, is `inf` when it leaves float32, and
# `nan` when inf is subtracted from inf. The figure trains five networks. Left: the error on 500 rows
# that were held out, in units of the targets. Right: learning rate times sharpness, divided by
# $2(1+\mu)$, the longest stable step. Above the dashed line the step is too long for the curvature.
#
# Write the step that you predicted into the cell: it becomes a star in the left picture. (The axis is
# logarithmic, so that early steps and step 1600 can both be seen.)
#
# Then cure it, *one cure at a time*: `clipping` "norm 1", "value 5"; `standardise` the targets; `loss`
# "Huber"; a smaller `learning rate`. For each look where the error ends, when it starts to fall, and on
# which side of the edge the right line ends.

# %%
prediction = None  # for example: prediction = 100

measure = partial(lesson.measure_regression, first_seed=first_seed, prediction=prediction)
measure = partial(measure, learning_rate=learning_rate)
ways = {"clipping": ["none", "norm 1", "value 5"], "loss": ["MSE", "Huber"], "standardise": False}
controls = {**ways, "learning_rate": log(1e-4, 0.1)}
panels = [["error", "strain"]]
live(measure, lesson.draw_regression, **controls, panels=panels, compare=True)

# %% [markdown]
# Why does it explode? To answer with numbers near 143 the weights must be large, and large weights make
# the loss sharp. If all units look along the target's direction and share the work evenly, theory gives
# the sharpness of a network that fits: $2\sigma$, where $\sigma$ is the standard deviation of the
# targets. The last claims take networks that were trained safely and measure it: they are sharper
# still. *None of these fits can be held with learning rate 0.01.* Standardised targets have $\sigma=1$.

# %%
*_, bare = lesson.measure_regression(first_seed=first_seed)
claim("untreated, 5 of 5 networks end in NaN", bare.lost, equals=5, source="the tutorial")
claim("the first before step 20", np.nanmin(bare.broken), below=20)

*_, safe = lesson.measure_regression(learning_rate=1e-4, first_seed=first_seed)
claim("with learning rate 0.0001: none", safe.lost, equals=0)
sharp = np.median(safe.strain[-1]) * 2 * 1.9 / 1e-4
least = theory.two_layer_sharpness(safe.target_std, "relu")
claim(
    "they end 1 to 2 times as sharp as the flattest fit",
    sharp / least,
    between=(1, 2),
    source="derived",
)
claim("and sharper than learning rate 0.01 allows", sharp * 0.01 / (2 * 1.9), above=1)

# %% [markdown]
# ## 5 · What each cure costs
#
# All cures avoid NaN. Which one learns? The figure trains them side by side: the same start, the same
# rows in the same order. The grey line is the same network *fully trained*, three times as long and
# with a learning rate that falls to 0; some error is left. Two ReLUs could make an exact
# plane, $\mathrm{relu}(z)-\mathrm{relu}(-z)=z$, but training on 500 rows does not find it. (The
# line is a measure, not a floor: another road may end a little lower.)
#
# **Predict.** Order the six lines at step 1600 before you look. Which cure starts to work last?
#
# Look for: what "clip norm 1" does for its first 200 steps; the two lines of standardised targets; and
# what happens to the order when the `learning rate` is 10 times smaller or larger. (One line has a
# hundredth of it, one ten times as much.)

# %%
controls = {"learning_rate": log(0.001, 0.1), "momentum": [0.0, 0.5, 0.9]}
measure = partial(lesson.measure_cures, first_seed=first_seed)
live(measure, lesson.draw_cures, **controls, size=(900, 480))

# %% [markdown]
# - **Clipping by norm** costs *time*, and theory says how much. The weights must travel a distance that
#   $\sigma$ dictates, and no step is longer than $\eta\cdot$`max_norm`$/(1-\mu) = 0.1$. The dotted line
#   is distance over step. Clipping does not flatten the loss: the network ends beyond the edge, and
#   bounces.
# - **Clipping by value** lets longer steps through, and ends further beyond the edge.
# - **Huber** starts to work between the two: its gradient is bounded, too. But it is a parabola only
#   where errors are below $\delta$, so the loss is flatter: Huber ends below the edge and does not
#   bounce. What else it costs comes at the end.
# - **A smaller learning rate** works if it is small *enough*, and it must be found by trial.
# - **Standardising** flattens the loss itself. With the old learning rate it is now *too slow*: the
#   gain comes when you raise the learning rate tenfold.

# %%
*_, cures = lesson.measure_cures(first_seed=first_seed)
claim("no cure loses a network", sum(cures.lost.values()), equals=0)
first = cures.steps_to(0.2)
wait = first["clip norm 1"]
claim("clip norm 1: 1 to 2 times theory's soonest", wait / cures.fewest, between=(1, 2))
claim("over 3 times as late as standardised", wait / first["standardised"], above=3)
claim("and after Huber", wait / first["Huber"], above=1.3)
for name in ("clip value 5", "standardised"):
    claim(f"{name}: over twice the reachable error", cures.worse[name], above=2)
for name in ("standardised, lr x 10", "lr / 100"):
    claim(f"{name}: less than 2.5 times", cures.worse[name], below=2.5)
ends = {("norm 1", "MSE"): (1, 4), ("value 5", "MSE"): (4, 40), ("none", "Huber"): (0, 0.6)}
for (way, loss), band in ends.items():
    *_, run = lesson.measure_regression(way, loss, first_seed=first_seed)
    claim(f"{way}, {loss}: lr x sharpness over its edge", np.median(run.strain[-1]), between=band)

# %% [markdown]
# ## 6 · Causes multiply
#
# One network for each of 25 learning rates and 17 scales of the targets, all 425 trained in one batch.
# Grey is NaN. The inputs are *white* (uncorrelated, variance 1), so that theory is a formula: a linear
# model has sharpness 2 whatever the targets are; two linear layers have at least $4\sigma$ at any fit,
# ReLU units $2\sigma$. The dashed line is $2(1+\mu)$ over that. (Large *inputs*
# are worse than large targets: sharpness grows with their square, in a linear model too.)
#
# **Predict.** A ReLU network, momentum 0.9, targets of standard deviation 1000: what is the largest
# learning rate that survives? Write a power of ten.
#
# Look for: the slope of the edge with `model` on each of the three, and with `momentum` 0. Below the
# line's lower end the *first* weights, not the fitted ones, are the sharpest, so NaN comes earlier.

# %%
prediction = None  # for example: prediction = -2

models = ["ReLU network", "two linear layers", "linear model"]
controls = {"model": models, "momentum": [0.0, 0.5, 0.9]}
measure = partial(lesson.measure_plane, first_seed=first_seed, prediction=prediction)
live(measure, lesson.draw_plane, **controls, size=(900, 460))

# %%
for name, slope in (("linear model", 0), ("two linear layers", -1), ("ReLU network", -1)):
    *_, plane = lesson.measure_plane(name, 0.0, first_seed)
    claim(f"{name}: the edge has slope {slope}", plane.slope, equals=slope, within=0.15)
    claim("beyond theory's line nothing learns", plane.learned_beyond, equals=0, source="derived")
    claim("and NaN begins within a factor 3 of it", plane.apart, below=3)

white, line = lesson.white_regression(first_seed)[0], Ensemble([nn.Linear(20, 1, bias=False)])
large = sharpness(line(10 * white).square().mean(dim=(1, 2)), line.parameters())
claim("linear model, inputs times 10: sharpness 200 instead of 2", large, equals=200, within=1)

# %% [markdown]
# ## Heard and measured
#
# **"Large targets make the gradient explode."** Half true. They make it *longer* (section 3). But for a
# linear model the targets' scale does not matter at all: a gradient ten times as long has ten times as
# far to go. Only a network that must grow its own weights becomes sharper (section 6).
#
# **"`max_norm=1` removes NaN."** True for this regression: 5 of 5 networks lost without, 0 of 5 with.
# False if the NaN is in the *data*. One bad target makes about half of all gradients NaN, clipped or not:
# those of the last layer, and of each unit that is active on that row. torch's function spreads it to the
# rest: the norm is NaN, and everything is multiplied by 1/NaN.
#
# **"When gradients explode, lower the learning rate."** True if you lower it enough. It is one cure of
# five: with standardised targets the learning rate could be *raised* tenfold, and that was better.
#
# **"Momentum 0.9 makes steps ten times longer, so divide the learning rate by ten."** False for
# stability: on a parabola the limit is 1.9 times *higher*. In the plane above, where the weights first
# have to grow, NaN begins at a somewhat lower learning rate, but by a factor of 1 to 3 and not of 10.
#
# **"Huber is MSE that does not mind outliers."** Half true. It also answers *another question*. MSE
# predicts the mean of the targets; Huber with errors far above $\delta$ predicts their median. For targets that are
# skewed, like incomes or waiting times, these differ. Below, 5 networks that are one constant each learn
# from exponential targets of mean 100.

# %%
inputs, targets = (each[:32] for each in large_targets(first_seed + 1))
targets[3], lost = math.nan, []
for number in range(first_seed, first_seed + 5):
    torch.manual_seed(number)
    network = nn.Sequential(nn.Linear(20, 25), nn.ReLU(), nn.Linear(25, 1))
    nn.functional.mse_loss(network(inputs)[:, 0], targets).backward()
    early, last = (network[at].weight.grad.isnan().float().mean() for at in (0, 2))
    nn.utils.clip_grad_norm_(network.parameters(), max_norm=1.0)
    lost.append([early, last, network[0].weight.grad.isnan().float().mean()])
early, last, clipped = np.array(lost).T
claim("one NaN target: all of the last layer's gradient is NaN", last.min(), equals=1)
claim("and a share of the first layer's", early.mean(), between=(0.2, 0.8))
claim("clipped: all of the first layer's, in 5 of 5 networks", clipped.min(), equals=1)
gain = cures.final["standardised"] / cures.final["standardised, lr x 10"]
claim("standardised: ten times the learning rate at least halves the error", gain, above=2)

# %%
*_, fast = lesson.measure_plane("ReLU network", 0.9, first_seed)
drop = 10 ** (plane.edges[-1] - fast.edges[-1])
claim("momentum 0.9 lowers the edge 1 to 3 times, not 10", drop, between=(1, 3.2))

generator = torch.Generator().manual_seed(first_seed)
waits = -100 * torch.rand(5, 10_000, generator=generator).log()
constant = torch.full((5, 1), 100.0, requires_grad=True)
optimizer = torch.optim.SGD([constant], lr=20.0)
for _ in range(150):
    optimizer.zero_grad()
    losses = nn.functional.huber_loss(constant.expand_as(waits), waits, reduction="none")
    losses.mean(dim=1).sum().backward()
    optimizer.step()
expected = theory.huber_location(stats.expon(scale=100).sf, 1.0, between=(0, 200))
claim("Huber answers 69 where the mean is 100", constant.mean(), equals=expected, within=3)

# %% [markdown]
# ## Exercise
#
# 1. White inputs, two *linear* layers, MSE. Write the largest learning rate that can hold a fit, for
#    targets of standard deviation `target_std` and SGD with `momentum`.
# 2. The gradient's norm is clipped to `max_norm`. How many steps of SGD with momentum does it take at
#    least to move the weights by `distance`, at full speed all the way?


# %%
def largest_rate(target_std, momentum):
    """Return the largest learning rate that can hold a fit."""
    return ...


def fewest_steps(distance, learning_rate, max_norm, momentum):
    """Return how many clipped steps the distance takes at least."""
    return ...


print(lesson.check_largest_rate(largest_rate))
print(lesson.check_fewest_steps(fewest_steps))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. Section 6 gives the sharpness of two linear layers, section 1 the limit for a given curvature.
# 2. A step is the learning rate times the gradient, plus $\mu$ times the last step. If the gradient
#    stays the same, how long do the steps become? $1+\mu+\mu^2+\dots$
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def largest_rate(target_std, momentum):
#     return 2 * (1 + momentum) / (4 * target_std)
#
# def fewest_steps(distance, learning_rate, max_norm, momentum):
#     return distance * (1 - momentum) / (learning_rate * max_norm)
# ```
#
# </details>
#
# ## Remember
#
# 1. A step is too long when learning rate times sharpness exceeds $2(1+\mu)$: one product.
# 2. Sharpness is not fixed: training on all rows raises it towards the edge, and large targets can
#    carry it past.
# 3. MSE's gradient grows with the targets' scale; Huber's is bounded, but it predicts a median.
# 4. Clipping bounds the step and does not flatten the loss. It costs time; it cures no data.
# 5. Standardise first, then *raise* the learning rate. Clip what still spikes.
#
# ## References
#
# - B. Polyak, *Some methods of speeding up the convergence of iteration methods*, USSR Computational
#   Mathematics and Mathematical Physics 4, 1964.
# - J. Cohen, S. Kaur, Y. Li, J. Z. Kolter, A. Talwalkar, *Gradient descent on neural networks typically
#   occurs at the edge of stability*, ICLR 2021.
# - B. Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6, 1994.
# - P. Huber, *Robust estimation of a location parameter*, Annals of Mathematical Statistics 35, 1964.
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*,
#   ICML 2013.
# - J. Brownlee, *How to avoid exploding gradients with gradient clipping*, machinelearningmastery.com.
