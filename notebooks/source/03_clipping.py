# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · Clipping
#
# **Question.** A recurrent network trains well for a while. Then one gradient is a thousand times
# longer than the others, one step later the loss is back where it began. How do you let the network
# keep the *direction* of such a gradient and not its *length*?
#
# You will bend one gradient in six ways, walk along a cliff, and train networks that learn only when
# they are clipped. The *norm* $\lVert g\rVert$ of a gradient is its length: the root of the sum of
# the squares of all its elements, over all parameters.

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

from gradcourse import claim, clipping, theory
from gradcourse.lessons import clipping_gradients as lesson
from gradcourse.live import live, log
from gradcourse.tasks import digits
from gradcourse.training import training_step

# %% tags=["parameters"]
max_norm = 1.0
seed = 0

# %% [markdown]
# ## 1 · One gradient, six remedies
#
# Clipping by norm is four lines: measure the norm of all gradients together, and if it is above
# `max_norm`, multiply all of them by one number.
#
# **Predict.** The gradient $(1.03, 2.82)$ points 70 degrees up. Clip each of its two elements to at
# most 1. By how many degrees does that turn it? Write your guess into the cell after the next; it
# becomes a star where the arrow would then point. Then move the sliders.
#
# The grey arrow is the gradient, the blue one what is left of it, the dashed line the limit.
#
# - **norm**: onto the circle, never turned. A gradient inside the circle is left alone.
# - **value**: each element for itself, into the square. Try `angle` 45: not turned. 60: turned.
# - **scaling**: onto the circle *always*. Make `length` 0.2: the small gradient grows.
# - **standardising**: minus the mean, divided by the standard deviation. Two elements have only two
#   possible results (the dots), whatever the gradient was. It is turned by up to 90 degrees.
# - **percentile**: by norm, at a percentile of the norms seen so far (here the median of 100, from
#   AutoClip), so `max_norm` does not move it.
# - **AGC**, adaptive gradient clipping: each *unit* (a row of weights) may have a gradient of a given
#   share of the size of its weights. Here two units of one weight each, 1 and 0.4: a flat box.

# %%
first_seed = 1000 * seed
start = {"max_norm": max_norm, "first_seed": first_seed}
gradients = [torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])]

norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
for g in gradients:
    g *= min(1, 1.0 / norm)
print(f"norm before {norm:.1f}, gradients after: {gradients[0].tolist()}, {gradients[1].tolist()}")

# %%
prediction = None  # for example: prediction = 10

live(
    partial(lesson.measure_remedies, **start, prediction=prediction),
    lesson.draw_remedies,
    panels=[["norm", "value", "scaling"], ["standardising", "percentile", "AGC"]],
    size=(960, 540),
    angle=(0.0, 355.0, 5.0),
    length=(0.2, 4.0, 0.1),
    max_norm=log(0.1, 10),
)

# %%
bent = lesson.measure_remedies(first_seed=first_seed).remedies
for name in ("norm", "scaling", "percentile"):
    claim(f"{name} does not turn the gradient", bent[name].turned, equals=0, within=1e-6)
claim("value turns it from 70 to 45 degrees", bent["value"].turned, equals=25, within=1e-6)
claim("AGC turns it by 48", bent["AGC"].turned, equals=48.2, within=0.1, source="Brock 2021")

small, back = (lesson.measure_remedies(*at).remedies for at in ((70, 0.2), (220, 3)))
claim("scaling lengthens a short gradient", small["scaling"].kept, equals=5, within=1e-6)
claim("norm leaves it alone", small["norm"].kept, equals=1)
claim("standardising can turn by 85 degrees", back["standardising"].turned, equals=85, within=1e-6)

# %% [markdown]
# ## 2 · How far does clipping by value turn a long gradient?
#
# Two elements are few. Take thousands, drawn from a normal distribution with standard deviation 1,
# and clip each at $c$. Theory gives the angle, and the share of the length that is left:
#
# $$\cos = \frac{\operatorname{erf}(c/\sqrt2)}{\text{length}},\qquad
# \text{length}^2=\operatorname{erf}\tfrac{c}{\sqrt2}-c\sqrt{\tfrac2\pi}\,e^{-c^2/2}+c^2\operatorname{erfc}\tfrac{c}{\sqrt2}.$$
#
# **Predict.** The smaller $c$, the further it turns. By how many degrees at most?
#
# Then move `elements` down to 2 (theory is for long gradients), and switch to `heavy tails`, where a
# few elements are huge: there clipping by value turns *further* than the formula says.

# %%
prediction = None
live(
    partial(lesson.measure_turned, first_seed=first_seed, prediction=prediction),
    lesson.draw_turned,
    panels=[["angle", "length"]],
    clip_value=log(0.01, 10),
    elements=[2, 10, 100, 1000, 10000],
    tails=["Gaussian", "heavy tails"],
)

# %%
for clip_value in (0.1, 0.5, 2.0):
    found = lesson.measure_turned(10_000, clip_value, first_seed=first_seed)
    angle = math.degrees(math.acos(theory.value_clip_cosine(clip_value)))
    sentence = f"clipped at {clip_value} standard deviations: turned by {angle:.1f} degrees"
    claim(sentence, found.at, equals=angle, within=0.3, source="Stein's lemma")

found = lesson.measure_turned(10_000, 1e-4, first_seed=first_seed)
claim("clipped to its signs: 37.1 degrees, the most", found.at, equals=37.07, within=0.3)
heavy = lesson.measure_turned(10_000, 1e-4, "heavy tails", first_seed=first_seed)
claim("heavy tails: further than that", heavy.at, above=42)

# %% [markdown]
# ## 3 · The cliff
#
# Where do gradients that need clipping come from? Take the smallest recurrent network: one unit,
# $x \leftarrow w\,\sigma(x)+b$, fifty steps from $x_0=0.5$, and ask for the output $\sigma(x_{50})=0.7$.
# Its loss over $w$ and $b$ has a **wall**.
#
# The wall has an address. There is a point at which the unit would stay, if nothing pushed it; a push
# to either side grows by $w\sigma'(x)$ at each step. If that is above 1 and the unit *starts* there,
# a hair of change in $b$ decides where it ends: $b = x_0 - w\,\sigma(x_0)$. The next cell looks there.
#
# **Predict.** Two walkers start just below the wall, at learning rate 0.3. One is *free*; the other is
# clipped at `max_norm` 1. How long is the longest step of the free one? Write a length, such as `0.5`
# (the whole map is 2.8 wide).
#
# The shades are the root of the loss, white is low. The dashed line is the wall, *drawn from the
# formula*; along the dotted one the loss is 0. Then:
#
# - Find a `weight` from which the free walker is lucky. Small changes decide: this is a lottery.
# - Raise `max_norm` step by step. From where on is the clipped walker thrown off the map too?
# - Lower `max_norm` to 0.01. What does the clipped walker pay?

# %%
for bias in (-2.7123, -2.6123, -2.5123):
    w, b = (torch.tensor(value, requires_grad=True) for value in (5.0, bias))
    x = torch.tensor(0.5)
    for _ in range(50):
        x = w * torch.sigmoid(x) + b
    loss = (torch.sigmoid(x) - 0.7) ** 2
    loss.backward()
    print(f"b {bias:.4f}: loss {loss.item():.4f}, gradient norm {math.hypot(w.grad, b.grad):.2g}")

# %%
prediction = None

live(
    partial(lesson.measure_cliff, max_norm=max_norm, prediction=prediction),
    lesson.draw_cliff,
    panels=[["plane", "lengths"]],
    size=(1000, 470),
    max_norm=log(0.01, 1000),
    learning_rate=(0.05, 1.0, 0.05),
    weight=(4.5, 6.0, 0.1),
)

# %%
wall = float(theory.cliff_wall(5.0))
biases = wall + np.linspace(-0.1, 0.1, 4001)
loss, by_weight, by_bias = lesson.unit_gradient(np.full(4001, 5.0), biases)
jump = biases[np.abs(np.diff(loss)).argmax()]
claim("at w=5 the loss jumps at b=-2.6123", jump, equals=wall, within=1e-3, source="fixed point")
norms = np.hypot(by_weight, by_bias)
claim("there the gradient is 1000 times longer than 0.1 below", norms.max() / norms[0], above=1000)

walkers = lesson.measure_cliff(0.3, 1.0).walk
cut = walkers.norm[:, 1] > 1
error = np.abs(walkers.length[cut, 1] - 0.3).max()
claim("a clipped step is exactly 0.3 * max_norm", error, below=1e-9, source="Pascanu 2013")
claim(
    "the free walker is thrown further than the map is wide", walkers.length[:, 0].max(), above=2.8
)

# %% [markdown]
# ## 4 · Sixty-four starts
#
# One walker is an anecdote. Take 64, all within 0.1 of the wall, and count who solves the task: whose
# output settles within 0.05 of the target.
#
# **Predict.** How many of the 64 free walkers solve it?
#
# On the right, each limit from 0.001 to 1000 is tried. Theory gives a ceiling: who may go
# `learning_rate * max_norm` at each of 300 steps cannot get further than the sum of them. Too low a
# limit is too slow; too high a limit is no limit. In between lies one decade that works, 0.3 to 3.

# %%
prediction = None

live(
    partial(lesson.measure_starts, **start, prediction=prediction),
    lesson.draw_starts,
    panels=[["plane", "share"]],
    max_norm=log(0.001, 1000),
    learning_rate=(0.05, 1.0, 0.05),
)

# %%
starts = lesson.measure_starts(0.3, 1.0, first_seed)
claim(
    "clipped at 1, 95 % solve it", starts.clipped_solved.mean(), above=0.95, source="Pascanu 2013"
)
claim("free, fewer than 60 % do", starts.free_solved.mean(), below=0.6, source="Pascanu 2013")
claim("clipped at 0.3 to 3: 60 of 64 or more", 64 * starts.solved[5:8].min(), above=59)
excess = (starts.solved - starts.reach).max()
claim("no limit beats the ceiling of the formula", excess, below=1e-9, source="geometry")

# %% [markdown]
# ## 5 · Where in the loop, and of what
#
# Clipping belongs **between `backward()` and `step()`**. Before `backward` there is no gradient of
# this batch. After `step` the weights have already jumped.
#
# And clip the norm of **all parameters together**. Clip each tensor alone, and the whole gradient is
# turned; and with $k$ tensors over the limit, it is at least $\sqrt k$ times as long as you asked for.


# %%
def moved(place, cap=0.01):
    """Return how far one SGD step at learning rate 1 moves a layer that is clipped at a place."""
    torch.manual_seed(first_seed)
    layer = nn.Linear(20, 5)
    before = nn.utils.parameters_to_vector(layer.parameters()).clone()
    loss = layer(10 * torch.randn(8, 20)).square().mean()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    for now, action in (("before backward", loss.backward), ("before step", optimizer.step)):
        if now == place:
            nn.utils.clip_grad_norm_(layer.parameters(), cap)
        action()
    if place == "after step":
        nn.utils.clip_grad_norm_(layer.parameters(), cap)
    return (nn.utils.parameters_to_vector(layer.parameters()) - before).norm().item()


# %%
claim("clipped before step: max_norm long", moved("before step"), equals=0.01, within=1e-5)
for place in ("before backward", "after step"):
    claim(f"{place}: as if never clipped", moved(place) / moved("nowhere"), equals=1, within=1e-6)

torch.manual_seed(first_seed)
tensors = [nn.Parameter(torch.zeros(50)) for _ in range(16)]
for scale, tensor in enumerate(tensors, start=1):
    tensor.grad = 10.0 * scale * torch.randn(50)
before = torch.cat([tensor.grad.clone() for tensor in tensors])
clipping.clip_grad_norm_per_parameter_(tensors, 1.0)
after = torch.cat([tensor.grad for tensor in tensors])
claim("16 tensors clipped at 1, each alone: length 4", after.norm(), equals=4, within=1e-4)
cosine = torch.cosine_similarity(before, after, dim=0)
claim("and turned by 20 degrees or more", math.degrees(math.acos(cosine)), above=20)

# %% [markdown]
# ## 6 · What an optimizer makes of it
#
# Plain SGD moves at most `lr * max_norm`. *Momentum* $\mu$ adds up old steps, each weighted with $\mu$
# times the weight of the one after it: at most `lr * max_norm / (1 - mu)`. *Adam* divides the gradient by
# its own running size, so one constant factor on all gradients changes nothing, as long as they stay far
# above its `eps` of 1e-8. A cap that clips *every* step to one length leaves Adam the directions only. A cap
# that clips a single spike does help it: uncapped, the spike stays in the running size for a thousand
# steps and makes them short.
#
# Two remedies choose the cap for you. **AutoClip** takes a percentile $p$ of the norms so far, and on
# a steady run clips a share $1-p/100$ of the steps. **AGC** bounds by how much of its own size a unit
# may change in one SGD step: `lr * clip_factor`. `walked` returns the places of 200 steps, on gradients
# of one direction and spiky length.


# %%
def walked(kind, factor=1.0, cap=math.inf, **options):
    weight, places = nn.Parameter(torch.zeros(10).double()), []
    optimizer = kind([weight], lr=0.1, **options)
    for size in np.random.default_rng(first_seed).lognormal(2, 1, 200):
        weight.grad = torch.full_like(weight, factor * size)
        clipping.clip_grad_norm_(weight, cap)
        optimizer.step()
        places.append(weight.tolist())
    return torch.tensor(places, dtype=torch.float64)


# %%
for mu, bound in ((0.0, 0.1), (0.9, 1.0)):
    most = walked(torch.optim.SGD, cap=1.0, momentum=mu).diff(dim=0).norm(dim=1).max() / bound
    claim(f"momentum {mu}: 0.1 / (1 - mu) is the bound", most, between=(0.98, 1 + 1e-9))
adam, scaled = (walked(torch.optim.Adam, factor, eps=0) for factor in (1.0, 1000.0))
claim("Adam: 1000 times the gradient, the same path", (adam - scaled).abs().max(), below=1e-5)
auto, sizes = clipping.PercentileClip(90), np.random.default_rng(first_seed).lognormal(0, 1, 5000)
rate = np.mean([size > auto.observe(torch.tensor(size)).item() for size in sizes])
claim("AutoClip at p=90 clips one step in ten", rate, equals=0.1, within=0.01, source="AutoClip")
layer = nn.Linear(30, 40, bias=False)
layer.weight.grad = 100 * torch.ones(40, 30)
clipping.clip_grad_agc_(layer, clip_factor=0.01)
share = (layer.weight.grad.norm(dim=1) / layer.weight.norm(dim=1)).max()
claim("AGC: 0.01 of a unit at most", share, equals=0.01, within=1e-6, source="Brock 2021")
spiked = [lesson.distance_after_spike(cap) for cap in (math.inf, 10.0)]
claim("one spike, Adam: a cap of 10 brings it nearer", spiked[1] / spiked[0], below=0.01)

# %% [markdown]
# ## 7 · A network that learns only when clipped
#
# Now a real task. Among distractors `c d e f` stand two marks, each `A` or `B`, early in a sequence of
# 20; at the end the network must say their order, `AA`, `AB`, `BA` or `BB`. A tanh network of 50 units
# trains with plain SGD. Its recurrent matrix has *spectral radius* 1.2: that is the size of its largest
# eigenvalue. (One step can stretch a vector by more, here by a factor 2 to 2.5.)
#
# **Predict.** Guessing is right in a quarter of all cases. How often is the *free* network right after
# 500 steps? Write a number from 0 to 1.
#
# Six networks are trained free and the same six clipped, on the same batches. The lines are medians,
# the bands reach from the worst to the best. Does anything become NaN? Then try `max_norm` 0.03, and
# `learning_rate` 0.03: a lower learning rate is a cure as well, and what does *it* cost? (The line of
# words says by which step half of the networks had learned.)

# %%
prediction = None

live(
    partial(lesson.measure_order, **start, prediction=prediction),
    lesson.draw_order,
    panels=[["accuracy", "norm"]],
    max_norm=log(0.01, 100),
    learning_rate=log(0.01, 1),
)

# %% [markdown]
# ## 8 · Log the norm first, then choose the cap
#
# `clip_grad_norm_` returns the norm *before* clipping, so a log is free: pass `max_norm=inf` and write
# it down. The share of steps above a cap is how often that cap would clip. A cap that clips 1 to 10 %
# cuts spikes. One that clips every step makes all steps equally long, `lr * max_norm`, near the minimum
# too.
#
# The picture is the log of one free run of section 7. Its dashed lines are a log-normal with the same
# mean and spread. Norms are products (lesson 01), logarithms of products are sums, and sums are often
# nearly normal. It need not fit: the clipped runs are further off. Find the cap that clips 10 %. But look
# at the last claim: once you clip, the run goes elsewhere, and so does its log. **Log again.**

# %%
*_, order = lesson.measure_order(first_seed=first_seed)
free, capped = order.learned
claim("clipped at 1, 4 or more of 6 networks learn", capped, above=3.5, source="Pascanu 2013")
claim("free, at most 2 of 6 do", free, below=2.5, source="Pascanu 2013")
logs = [lesson.measure_norm_log(norms) for norms in order.norm.reshape(12, -1)]
off = np.reshape([np.abs(each.rate - each.predicted).max() for each in logs], (2, 6))
fit, worse = np.median(off, axis=1)
claim("half of the free runs are within 10 % of a log-normal", fit, below=0.1)
claim("the clipped runs are further off, by a factor", worse / fit, above=1.2)
before, after = [(norms > 1).mean() for norms in order.norm]
claim("the free log: max_norm=1 would clip over 75 %", before, above=0.75)
claim("the clipped run: it did so less often", after / before, below=0.95)

measure = partial(lesson.measure_norm_log, norms=order.norm[0, 0], max_norm=max_norm)
live(measure, lesson.draw_norm_log, panels=[["log", "rate"]], max_norm=log(0.01, 100))

# %% [markdown]
# ## Heard and measured
#
# **"No clipping in an RNN guarantees NaN."** False: all of section 7 is finite. tanh bounds the
# states, so the loss stays finite while nothing is learned. That is worse than NaN: nobody notices.
#
# **"`max_norm=1` removes NaN."** True only when the NaN *would have come* from too long steps. One NaN
# makes the norm NaN, and then torch makes *every* gradient NaN. One Inf makes all others 0. Clipping by
# value turns Inf into the limit and passes NaN. (The course's `clip_grad_norm_` leaves such gradients as
# they are; the norm it returns tells you.)
#
# **"`[0.7, 1.1, 3.4]` standardised is `[-0.73, -0.45, 1.18]`."** False. Dividing by $n$ it is
# $[-0.87,-0.53,1.40]$, by $n-1$ $[-0.71,-0.43,1.14]$. And two elements changed their sign: in them the
# step goes *uphill*.
#
# **"`[np.min(i, clip) for i in ...]` clips."** False: it raises, because the second argument of `np.min`
# is an axis. `np.minimum` runs, but lets $-3.4$ through. `np.clip` is meant.
#
# **"The per-tensor percentile clip keeps the direction and bounds the step."** (Its threshold is a
# percentile of the norms of *this* gradient's tensors.) False twice: at the median it turns the
# gradient, and at any percentile a gradient 1000 times as long comes out 1000 times as long.
#
# **"Never clip by value: it turns the gradient."** Half true. It turns a good one (section 2). But if a few
# *elements* are far too long, the norm is the wrong place to cut: it shrinks the good elements with the bad
# one. Below, one of 10,000 normal elements is set to 1000. Clipped by norm to its old length, the gradient
# is 84 degrees off the good one. Clipped by value at 3, it is 2 degrees off.
#
# **"Too small a `max_norm` underfits."** True with SGD. With Adam it depends: the last cell trains a linear
# classifier of digits for 100 steps, clipped at 1 and at 0.001. SGD crawls. Adam fits these digits even
# *better*: in the first third of the steps all gradients have one length, so the large ones of the start do
# not stay in Adam's running size, and later steps are longer. At 1e-8, the size of its `eps`, Adam
# underfits too.
#
# **"Clipping belongs before backpropagation."** False: section 5.

# %%
broken = int((~np.isfinite(order.loss)).sum())
claim("6 free and 6 clipped RNNs, 500 steps: no NaN", broken, equals=0)


def clipped(bad, clip):
    """Return the gradient (1, 1, bad) after clipping at 1."""
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([1.0, 1.0, bad])
    clip(parameter, 1.0)
    return parameter.grad


by_norm, by_value = nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_
claim("by norm, one NaN: 3 of 3 are NaN", clipped(math.nan, by_norm).isnan().sum(), equals=3)
claim("by norm, one Inf: the others are 0", clipped(math.inf, by_norm)[:2].abs().max(), equals=0)
claim("by value, Inf becomes 1", clipped(math.inf, by_value)[2], equals=1, source="torch")
claim("by value, NaN stays NaN", clipped(math.nan, by_value).isnan().sum(), equals=1)
claim("one long element, norm: degrees off", lesson.angle_after_spike("norm", first_seed), above=80)
claim("by value at 3", lesson.angle_after_spike("value", first_seed), below=4)

# %%
texts, quoted = np.array([0.7, 1.1, 3.4]), np.array([-0.73, -0.45, 1.18])
errors = [np.abs((texts - texts.mean()) / texts.std(ddof=d) - quoted).max() for d in (0, 1)]
claim("neither deviation gives the quoted numbers", min(errors), above=0.03, source="arithmetic")
claim("np.minimum lets -3.4 through", np.minimum(-3.4, 1), equals=-3.4, source="NumPy")
try:
    raised = np.min(0.7, 1) is None
except np.exceptions.AxisError:
    raised = True
claim("np.min(i, clip) raises", raised, equals=1, source="NumPy")
angle, length, longer = lesson.percentile_per_tensor(50, first_seed=first_seed)
claim("at the median it turns by 10 degrees or more", angle, above=10)
_, length, longer = lesson.percentile_per_tensor(99, first_seed=first_seed)
claim("1000 times the gradient: 1000 times the step", longer / length, equals=1000, within=1e-6)


# %%
def last_loss(kind, rate, cap):
    """Return the loss of a linear classifier of digits after 100 clipped steps."""
    torch.manual_seed(first_seed)
    model, (inputs, labels) = nn.Linear(64, 10), digits()
    optimizer = kind(model.parameters(), lr=rate)
    for _ in range(100):
        step = training_step(model, optimizer, loss_of, (inputs, labels), max_norm=cap)
    return step.loss


def loss_of(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


sgd, adam = (torch.optim.SGD, 0.5), (torch.optim.Adam, 0.05)
low, high = ([last_loss(*kind, cap) for kind in (sgd, adam)] for cap in (0.001, 1.0))
claim("SGD at 0.001: over 5 times the loss at 1", low[0] / high[0], above=5)
claim("Adam: less than a tenth of it", low[1] / high[1], below=0.1)
claim("Adam at 1e-8: over 3 times the loss at 1", last_loss(*adam, 1e-8) / high[1], above=3)

# %% [markdown]
# ## Exercise
#
# The classic: train a small RNN for five epochs without clipping, log the norm of every batch, look for
# spikes; then clip at 1 and compare. The network and its data are ready. You write the step.
#
# 1. Write `train_step`: gradients to zero, loss and backward, **clip**, step. Return the norm *before*
#    clipping. The loss is `nn.functional.cross_entropy(model(inputs), targets)`.
# 2. `order.norm[0]` is the log of the free networks of section 7. Which `max_norm` would have clipped
#    one step in ten of it?
#
# When your step is right, the cell trains with it twice. Which run has the higher spikes? Did the free
# one learn anything (guessing has a loss of $\ln 4 = 1.39$)? People promise that clipping makes the loss
# curve smoother. Is it?


# %%
def train_step(model, optimizer, inputs, targets, max_norm):
    """Train on one batch and return the norm before clipping."""
    return ...


answer = ...  # the cap that clips one step in ten

verdict = lesson.check_train_step(train_step)
print(verdict, lesson.check_cap(answer, order.norm[0]), sep="\n")
for cap in (math.inf, 1.0) if verdict else ():
    print(lesson.train_rnn(train_step, cap, seed=first_seed).summary())

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. `torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)` returns the norm you need.
# 2. A tenth of the norms lie above the 90th percentile.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def train_step(model, optimizer, inputs, targets, max_norm):
#     optimizer.zero_grad()
#     nn.functional.cross_entropy(model(inputs), targets).backward()
#     norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
#     optimizer.step()
#     return norm
#
# answer = np.quantile(order.norm[0], 0.9)
# ```
#
# The clipped run *logs* the higher spikes: it walks along the wall, and no spike throws it off. It
# learns. The free one has not started to learn after 200 steps, and its flat curve is the smoother of the
# two. It is not lost: switch clipping on now, and it learns in 200 steps more.
#
# </details>
#
# ## Remember
#
# 1. Clip the norm of all parameters together: the direction stays, the step is at most `lr * max_norm`.
# 2. By value, per tensor, per unit or standardised, the gradient is turned; by value at most 37.1 degrees
#    if it is long and Gaussian.
# 3. Between `backward()` and `step()`, nowhere else.
# 4. Without clipping a recurrent network need not end in NaN. It may quietly learn nothing.
# 5. Log the norm, choose the cap, log again. A cap repairs long steps, not NaN.
#
# ## References
#
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML
#   2013.
# - A. Brock, S. De, S. Smith, K. Simonyan, *High-performance large-scale image recognition without
#   normalization*, ICML 2021.
# - P. Seetharaman, G. Wichern, B. Pardo, J. Le Roux, *AutoClip: adaptive gradient clipping for source
#   separation networks*, MLSP 2020.
# - S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 9, 1997.
# - D. Kingma, J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015.
