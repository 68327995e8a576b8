# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · Mixed precision
#
# **Question.** One more line, `torch.autocast`, and a network computes in 16 bits instead of 32: its
# activations take half the memory, and a GPU can be several times as fast. But with *float16* some layers
# stop learning. The loss is finite, nothing is NaN, and the same code with *bfloat16* learns. Where did the
# gradients go?
#
# Two things can go wrong in 16 bits. A number can be too small or too large to be held at all: that is
# *range*. Or it can be held with too few digits: that is *resolution*. Each has its own remedy, and most
# confusion about mixed precision comes from mixing up the two.

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
from gradcourse.lessons import mixed_precision as lesson
from gradcourse.live import live, log
from gradcourse.tasks import digits, split_digits
from gradcourse.training import training_step

# %% tags=["parameters"]
growth_interval = 10
seed = 0

# %% [markdown]
# ## 1 · Two ways to spend 16 bits
#
# A floating-point number is $\pm\,2^E \cdot 1.f$: a sign, some bits for the *exponent* $E$ and some for
# the *fraction* $f$. The exponent bits decide the range, the fraction bits the resolution.
#
# | | exponent | fraction | largest | smallest with all its bits | becomes 0 below |
# |---|---|---|---|---|---|
# | float16 | 5 bits | 10 bits | 65504 | $2^{-14} = 6\cdot10^{-5}$ | $2^{-25} = 3\cdot10^{-8}$ |
# | bfloat16 | 8 bits | 7 bits | $3\cdot 10^{38}$ | $2^{-126} = 10^{-38}$ | $2^{-134}$ |
# | float32 | 8 bits | 23 bits | $3\cdot 10^{38}$ | $2^{-126}$ | $2^{-150}$ |
#
# Below its smallest *normal* number a format goes on in equal steps down to 0. These numbers are called
# *subnormal*; they lose a bit with each halving.
#
# **Predict.** Around 1, float16 has 10 bits after the first one. How many are left at $2^{-20}$, about a
# millionth? It becomes a star in the right picture.
#
# The left picture shows every number that a format has around $2^e$. Dots were found by counting bit
# patterns up by one, orange strokes by theory; a solid bar stands for more than 110 numbers. Look for: the
# spacing on either side of a power of two (start there); float16 from $2^{-14}$ down; where it ends on both
# sides.

# %%
prediction = None  # for example: prediction = 10

controls = {"log2_value": (-30, 17), "zoom": (1, 10)}
measure = partial(lesson.measure_numbers, prediction=prediction)
live(measure, lesson.draw_numbers, **controls, panels=[["numbers", "bits"]])

# %%
largest, smallest = torch.tensor([65504.0, 2.0**-24], dtype=torch.float16)
claim("the largest float16 is 65504", largest, equals=65504, source="IEEE 754")
claim("twice that is inf", 2 * largest, equals=math.inf, source="IEEE 754")
claim("half the smallest number is 0", smallest / 2, equals=0, source="ties to even")
claim("0.51 of it is the smallest again", 0.51 * smallest / smallest, equals=1)
for name, exponent, bits in (("float16", -20, 4), ("bfloat16", -20, 7), ("float16", 0, 10)):
    left = lesson.bits_left(2.0**exponent, name)
    source = "Kalamkar 2019" if name == "bfloat16" else "IEEE 754"
    claim(f"{name} has {bits} bits at 2^{exponent}", left, equals=bits, source=source)

# %% [markdown]
# ## 2 · Gradients fall off the end
#
# `autocast` computes the matrix products in 16 bits, and so the gradients that run back through them are
# 16-bit numbers too. The next cell does that with six sigmoid layers and looks at what arrives:
# `retain_grad` keeps the gradient of each layer's output. Nothing is NaN, and the loss is as it should be.

# %%
first_seed = 1000 * seed
torch.manual_seed(first_seed)
inputs, labels = digits(256, first_seed)
hidden, outputs = inputs, []
with torch.autocast(inputs.device.type, dtype=torch.float16):
    for layer in [nn.Linear(64, 64) for _ in range(6)]:
        outputs.append(layer(hidden))
        outputs[-1].retain_grad()
        hidden = torch.sigmoid(outputs[-1])
    loss = nn.functional.cross_entropy(nn.Linear(64, 10)(hidden), labels)
loss.backward()
claim("the loss is that of guessing, ln 10", loss, equals=math.log(10), within=0.2)
zeros = [(output.grad == 0).float().mean() for output in outputs]
claim("layer 6: no gradient is exactly 0", zeros[5], below=0.01)
claim("layer 1: more than half of them are", zeros[0], above=0.5)

# %% [markdown]
# The remedy is a multiplication. Multiply the *loss* by a number $S$, the *loss scale*: by the chain rule
# every gradient is multiplied by $S$ and slides out of the dead zone. Before the optimizer sees them they
# are divided by $S$ again, in float32. If a layer's gradients are Gaussian with standard deviation
# $\sigma$, the share that becomes 0 is
#
# $$\operatorname{erf}\left(\frac{2^{-25}}{S\,\sigma\sqrt2}\right).$$
#
# The figure has three networks of six hidden layers: fresh sigmoid layers, fresh tanh layers, and the
# latter after 300 steps of training on digits. Left: the sizes of all their gradients, with the zones of
# float16 behind. Right: what is lost at each scale, for four seeds.
#
# **Predict.** For the *trained* network: from which loss scale on is less than 1 % lost? Write a power of
# two: `10` for $2^{10}$. (A star when you choose "tanh, trained".)
#
# Look for: the histogram sliding through the zones as `log2 scale` grows; the room between losing to 0
# and losing to inf; and for which network the dashed line is wrong.

# %%
prediction = None  # for example: prediction = 10

controls = {"log2_scale": (-8, 40), "network": ["sigmoid, fresh", "tanh, fresh", "tanh, trained"]}
measure = partial(lesson.measure_gradients, first_seed=first_seed, prediction=prediction)
live(measure, lesson.draw_gradients, **controls, panels=[["sizes", "lost"]], play="log2_scale")

# %%
gaussian = torch.randn(10**6, generator=torch.Generator().manual_seed(first_seed)) * 2.0**-26
for power, error in ((0, 2e-3), (2, 3e-3), (8, 1e-3)):
    lost = ((2.0**power * gaussian).half() == 0).float().mean()
    share = theory.flushed_share(2.0**-26, 2.0**power)
    claim(f"scale 2^{power}: {share:.4f} are lost", lost, equals=share, within=error, source="erf")

fresh, trained = (measure(-4, name) for name in ("sigmoid, fresh", "tanh, trained"))
expected, alone = (each[fresh.here] for each in (fresh.by_layers, fresh.by_one))
claim("sigmoid, 2^-4: an erf per layer", fresh.lost, equals=expected, within=0.1 * expected)
claim("one erf for all: less than a quarter", alone / fresh.lost, below=0.25)
claim("trained, 2^-4: theory loses less than 8 %", trained.by_layers[trained.here], below=0.08)
claim("but more than half are lost", trained.lost, above=0.5)
found = lesson.hidden_gradients("tanh, trained", first_seed=first_seed)[:, 0]
images = np.sort(np.square(found).reshape(-1, 256, 64).sum(axis=2))
hard = images[:, -26:].sum(axis=1) / images.sum(axis=1)
claim("a tenth of the images makes 85 % of the square", hard.min(), above=0.85)

# %% [markdown]
# - **Fresh sigmoid layers.** Each layer has its own $\sigma$, smaller and smaller on the way back. One erf
#   per layer is right; one erf for all of them together (dotted) misses most.
# - **The trained network.** Theory fails, and by much. The network already knows most digits, and an
#   image that it gets right sends back almost nothing. One image in ten makes nearly all of $\sigma$, so
#   most gradients are far below it: a *heavy-tailed* distribution. A Gaussian does not know such a thing.
#
# As this network learned, its gradients shrank and spread, so more of them fall off the end. A loss scale
# that was right at the start need not be right later.
#
# ## 3 · How the scale is found
#
# Which $S$? As large as possible, but no scaled gradient may become inf. Nobody computes that. torch's
# `GradScaler` *tries*. Three rules:
#
# 1. If any gradient is inf or NaN, skip this step and halve the scale.
# 2. After `growth_interval` clean steps in a row, double it.
# 3. Go on for ever.
#
# The next cell is the whole loop, with one weight whose gradient is always 1/8. (A gradient passes
# through `half()` on its way back, as it would through a float16 layer.) With scale $2^{19}$ the scaled
# gradient would be $2^{16} = 65536$, too large.
#
# **Predict.** In the long run, with `growth_interval` 10: what share of the steps is skipped? Write
# `0.5` for every second one. (A star in the right picture.)
#
# Look for: the teeth as `growth interval` grows; how `log2 init` changes only the beginning; what
# `log2 gradient` does to the height. Then let the gradient's size vary from step to step: `spread` is the
# standard deviation of its logarithm. Are more steps skipped, or fewer?

# %%
weight = nn.Parameter(torch.zeros(()))
optimizer = torch.optim.SGD([weight], lr=0.0)
scaler = torch.amp.GradScaler(weight.device.type, init_scale=2.0**21, growth_interval=3)
for _ in range(10):
    optimizer.zero_grad()
    loss = weight.half().float() / 8
    scaler.scale(loss).backward()
    print(f"scale 2^{math.log2(scaler.get_scale()):.0f}: scaled gradient {weight.grad:g}")
    scaler.step(optimizer)  # skips the step if a gradient is inf
    scaler.update()  # moves the scale

# %%
prediction = None  # for example: prediction = 0.5

intervals, sizes = (1, 50), (-24, 6)
controls = {"growth_interval": intervals, "log2_init": (0, 24), "log2_gradient": sizes}
measure = partial(lesson.measure_sawtooth, seed=first_seed, prediction=prediction)
measure = partial(measure, growth_interval=growth_interval)
live(measure, lesson.draw_sawtooth, **controls, spread=(0.0, 2.0, 0.1), panels=[["scale", "share"]])

# %%
for interval in (1, 10, 30):
    saw, share = lesson.measure_sawtooth(interval), theory.skipped_share(interval)
    claim(f"interval {interval}: {share:.4f} are skipped", saw.share, equals=share, within=1e-9)
    apart = np.abs(saw.log2_scale - saw.predicted).max()
    claim("and theory knows the scale of each step", apart, equals=0, source="torch.amp")
rough = [lesson.measure_sawtooth(10, spread=1.0, seed=first_seed + n).share for n in range(4)]
claim("gradients that vary: fewer are skipped", max(rough), below=theory.skipped_share(10))
claim("from 2^24 to 2^18: 6 skips", lesson.measure_sawtooth(log2_init=24).first, equals=6)

# %% [markdown]
# For a gradient of constant size the share is $1/(n+1)$ with growth interval $n$, and the reason is
# bookkeeping. The scale neither grows nor shrinks for ever, so there are as many doublings as halvings. A
# halving costs one step, and a doubling takes $n$ clean ones. When gradients vary, some clean steps are in
# vain, because a skip starts the count anew: then *fewer* steps are skipped. So $1/(n+1)$ is the most that
# any gradients cost in the long run: with torch's default, $n=2000$, one step in 2001.
#
# ## 4 · Five lines, in this order
#
# ```python
# scaler.scale(loss).backward()                                      # 1  gradients are S times too large
# scaler.unscale_(optimizer)                                         # 2  now they are what they are
# nn.utils.clip_grad_norm_(model.parameters(), max_norm)             # 3  clip what they are
# scaler.step(optimizer)                                             # 4  unless something is inf
# scaler.update()                                                    # 5  next scale
# ```
#
# Swap lines 2 and 3, and nothing breaks: no error, no NaN. But a limit of 1 is then put on gradients that
# are $S$ times too large, and after it they are divided by $S$. In effect `max_norm` is
# $\texttt{max\_norm}/S$. The next cell shows it with a gradient of norm 5. (`GradMonitor` and the
# library's `training_step(..., autocast=torch.float16, scaler=scaler, max_norm=1.0)` do it rightly.)
#
# **Predict.** A small network on digits, SGD, `max_norm` 1, scale $2^{10}$. In the right order the loss
# falls to 0.05. Where is it after 150 steps in the wrong order? At the start it is 2.3.
#
# The dashed line in the left picture is a third training: the right order, with `max_norm`$/S$.
#
# Look for: `log2 scale` 0, where both orders are the same; from which scale on the wrong order stands
# still; and `optimizer` "Adam". A setting takes half a second.

# %%
for clip_first, expected in ((False, 1.0), (True, 1 / 1024)):
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(model(torch.tensor([3.0, 4.0])).sum()).backward()
    if clip_first:
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    scaler.unscale_(optimizer)
    if not clip_first:
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    norm, order = model.weight.grad.norm(), "before" if clip_first else "after"
    claim(f"clip {order} unscale_: norm {expected:.4g}", norm, equals=expected, within=1e-5)

# %%
prediction = None  # for example: prediction = 0.1

controls = {"log2_scale": (0, 16), "max_norm": log(0.01, 10), "optimizer": ["SGD", "Adam"]}
measure = partial(lesson.measure_order, first_seed=first_seed, prediction=prediction)
live(measure, lesson.draw_order, **controls, panels=[["loss", "norm"]])

# %%
*_, wrong = lesson.measure_order(10, first_seed=first_seed)
claim("the wrong order is clipping at max_norm / scale", wrong.apart, below=1e-4, source="exact")
stuck = wrong.losses[-1, 1] / wrong.losses[0, 1]
claim("SGD: no seed loses a tenth of its loss", stuck.min(), above=0.9)
claim("in the right order it falls below 0.15", wrong.final[0], below=0.15)
*_, other = lesson.measure_order(0, first_seed=first_seed)
same = np.abs(wrong.losses[:, 0] - other.losses[:, 0]).max()
claim("right order: scales 1 and 1024, the same bits", same, equals=0, source="powers of two")
*_, adam = lesson.measure_order(10, optimizer="Adam", first_seed=first_seed)
claim("Adam, wrong order: it learns all the same", adam.final[1], below=0.3)
*_, adam = lesson.measure_order(16, 0.01, "Adam", first_seed=first_seed)
claim("max_norm 0.01, scale 2^16: it hardly does", adam.final[1] / adam.final[0], above=3)

# %% [markdown]
# Adam divides the gradient by its own size, so a constant factor cancels and the mistake stays hidden. It
# does not become right: each gradient is now clipped to one length, whether it was long or short. And it
# shows as soon as `max_norm`$/S$ makes the gradients as small as Adam's $\varepsilon=10^{-8}$: try `max_norm`
# 0.01 with scale $2^{16}$.
#
# ## 5 · Updates that vanish
#
# Now the other trouble: resolution. Around 1, bfloat16 numbers are $2^{-8} = 0.0039$ apart downwards. An
# update of 0.001 is less than half of that, and the sum is rounded back to where it was. This happens in
# every step, so that a thousand updates of 0.001 move the weight by nothing. The distance between two
# neighbours is called an *ulp* (unit in the last place). An update below half an ulp is *swallowed*.
#
# The remedy is a *master weight*: keep the weight in float32, and make a 16-bit copy for each forward
# pass. That is what `autocast` does: parameters stay in float32.
#
# Let a weight start at 1 and descend the parabola $\tfrac12(w-\text{target})^2$. Its gradient shrinks on
# the way, and so does its update $\eta\,|w-\text{target}|$. It stops where that reaches half an ulp.
#
# **Predict.** bfloat16, learning rate 0.01, target 0.5: where does the weight stop?
#
# Look for: a *smaller* `learning rate`, which makes it worse; `dtype` "float16", which has three more bits;
# a `target` near 0, where numbers are closer together; and the green line, the master weight. (For a while,
# near step 80, bfloat16 is even ahead: an update between half an ulp and a whole one is rounded up to a
# whole one.)

# %%
ends = {}
for dtype in (torch.bfloat16, torch.float32):
    ends[dtype] = torch.tensor(1.0, dtype=dtype)
    for _ in range(1000):
        ends[dtype] -= 0.001
claim(
    "bfloat16: 1 minus 1000 times 0.001 is 1", ends[torch.bfloat16], equals=1, source="half an ulp"
)
claim("float32: it is 0", ends[torch.float32], equals=0, within=1e-4)

edge = theory.largest_swallowed(1.0, "bfloat16")
one = torch.tensor(1.0, dtype=torch.bfloat16)
claim("an update of 2^-9 is swallowed", one - edge, equals=1, source="ties to even")
claim("1 % more is not", one - 1.01 * edge, below=1)

# %%
prediction = None  # for example: prediction = 0.5

targets, dtypes = (0.05, 0.95, 0.05), ["bfloat16", "float16", "float32"]
controls = {"learning_rate": log(0.001, 1), "dtype": dtypes, "target": targets}
measure = partial(lesson.measure_swallowed, prediction=prediction)
live(measure, lesson.draw_swallowed, **controls, panels=[["weight", "update"]], compare=True)

# %%
for rate, dtype in ((0.01, "bfloat16"), (0.03, "bfloat16"), (0.01, "float16")):
    run = lesson.measure_swallowed(rate, dtype)
    sentence, ulp = f"{dtype}, lr {rate}: it stops at {run.stop:.3f}", 2 * run.swallowed[-1]
    claim(sentence, run.pure[-1], equals=run.stop, within=ulp, source="half an ulp")
    claim("a float32 master weight goes on to 0.5", run.master[-1], equals=0.5, within=0.003)
small = lesson.measure_swallowed(0.003, "bfloat16")
claim("bfloat16, lr 0.003: it never moves", small.moved, equals=0, source="half an ulp")

# %% [markdown]
# ## 6 · Both troubles in one training
#
# A network of two hidden layers learns digits, from the same first weights and with the same batches, in
# five ways: float32; float16 under autocast, without and with a scaler; bfloat16 under autocast; and
# bfloat16 *weights* (`model.bfloat16()`, no master weights).
#
# One slider is for range: `log2 weight` multiplies the loss by a power of two and divides the learning
# rate by it. In exact arithmetic that changes nothing, so theory is the float32 line. In real life
# such a factor comes from a loss that is a mean over a million pixels, or one term of several. The other
# slider is for resolution: a small `learning rate` makes small updates.
#
# **Predict.** With `log2 weight` at -20, where does float16 without a scaler end? (A star there.)
#
# Look for: which line leaves the dashed one first as `log2 weight` falls; which one as the
# `learning rate` falls to 0.01, with `log2 weight` back at 0; and from which weight down the scale still
# climbs after 200 steps, because it has not met its ceiling.

# %%
prediction = None  # for example: prediction = 1.0

controls = {"log2_weight": (-28, 8, 2), "learning_rate": log(0.001, 1)}
measure = partial(lesson.measure_training, first_seed=first_seed, prediction=prediction)
measure = partial(measure, log2_weight=-16)
live(measure, lesson.draw_training, **controls, panels=[["loss", "scale"]])

# %%
*_, plain = lesson.measure_training(0, first_seed=first_seed)
*_, tiny = lesson.measure_training(-20, first_seed=first_seed)
same = np.abs(plain.losses[:, [0, 3]] - tiny.losses[:, [0, 3]]).max()
claim("float32 and bfloat16: the weight changes no bit", same, equals=0, source="powers of two")
claim("float16 alone stands still", tiny.losses[-1, 1].min(), above=2)
behind = tiny.final["float16 + scaler"] - tiny.final["float32"]
claim("float16 with a scaler learns as float32", behind, equals=0, within=0.02)
*_, slow = lesson.measure_training(0, 0.01, first_seed=first_seed)
fall = slow.losses[0] - slow.losses[-1]
lag = (fall[4] / fall[0]).max()
claim("lr 0.01, bfloat16 weights: under 70 % of float32's progress", lag, below=0.7)
claim("bfloat16 with master weights: all of it", (fall[3] / fall[0]).min(), above=0.97)

# %% [markdown]
# ## 7 · What it buys
#
# Time and memory of one training step, measured here and now. On a GPU with tensor cores expect a clear
# gain in both 16-bit rows, because their products run on other circuits. **On a CPU this stays a small
# demo:** most have no fast float16 products, and float16 may be ten times *slower* than float32.
# "kept" is what the forward pass keeps for the backward pass: activations take half the bytes, but the
# 16-bit copies of the weights come on top. "peak" is known on a GPU only.

# %% tags=["nbval-ignore-output"]
speed = lesson.measure_speed()
print(speed)
kept = {row.precision: row.kept for row in speed.rows}
claim("16 bits keep less for the backward pass", kept["bfloat16"] / kept["float32"], below=0.8)
claim("float16 and bfloat16 keep the same", kept["float16"] / kept["bfloat16"], equals=1)

# %% [markdown]
# ## Heard and measured
#
# **"Mixed precision: add a GradScaler."** True for float16 *if* gradients are small: in section 6 it
# learns as well as float32 at loss weight 1 without a scaler, and not at all at $2^{-20}$. Since
# nobody watches every layer, use one. Not needed for bfloat16, which has float32's range.
#
# **"My AMP run gives inf in its first steps: it is sick."** False. Starting too high and halving is how
# the scale is found. Below, from scale $2^{24}$, every seed skips its first steps and then learns.
#
# **"Set the loss scale once, and leave it."** False. In the 300 steps of section 2 every layer's gradient
# shrinks to less than an eighth. That is why `GradScaler` goes on for ever.
#
# **"With AMP, `max_norm=1` is the same as without."** True after `unscale_`, false before (section 4).
#
# **"bfloat16 is float16 with more range."** Half true: it pays with three bits, an eightfold error.
#
# **`from torch.cuda.amp import autocast, GradScaler`** is in many notes. It is deprecated, and it is for
# one kind of device; `torch.amp` takes the device's name. Only the import is old: the five lines of
# section 4 stay as they are.


# %%
def loss_of(model, batch):
    """Return the loss on some digits."""
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


data, _ = split_digits(1472, first_seed)
batches = list(zip(*(each.split(64) for each in data), strict=True))
firsts, falls = [], []
for number in range(first_seed, first_seed + 5):
    torch.manual_seed(number)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    options = {"autocast": torch.float16, "scaler": scaler, "max_norm": 1.0}
    runs = [training_step(model, optimizer, loss_of, batch, **options) for batch in batches]
    firsts.append([run.skipped for run in runs].index(False))
    falls.append(runs[-1].loss / runs[0].loss)

# %%
claim("every seed skips its first steps", min(firsts), above=0)
claim("and then learns: the loss falls below 0.4 of it", max(falls), below=0.4)
alone = np.abs(plain.losses[-1, 1] - plain.losses[-1, 0]).max()
claim("at weight 1 float16 learns without a scaler, too", alone, below=0.02)

before = lesson.measure_gradients(0, "tanh, fresh", first_seed=first_seed).stds
shrunk = (trained.stds / before).max()
claim("training: each layer's gradient falls below an eighth", shrunk, below=1 / 8)

x = torch.rand(10**5, generator=torch.Generator().manual_seed(first_seed)) + 1
coarse, fine = ((x.to(d).float() - x).abs().mean() for d in (torch.bfloat16, torch.half))
claim("bfloat16 rounds 8 times as coarsely", coarse / fine, equals=8, within=0.1, source="3 bits")

# %% [markdown]
# ## Exercise
#
# 1. Write a float16 step with a scaler and clipping: five lines, in the right order, in the place of the
#    dots.
# 2. A layer's gradients are Gaussian with standard deviation $10^{-7}$. From which loss scale on does
#    float16 make at most 1 % of them 0?


# %%
def amp_step(model, optimizer, scaler, inputs, labels, max_norm):
    """Do one step of training in float16."""
    optimizer.zero_grad()
    with torch.autocast(inputs.device.type, dtype=torch.float16):
        loss = nn.functional.cross_entropy(model(inputs), labels)
    ...
    return loss


answer = ...  # the loss scale

print(lesson.check_amp_step(amp_step))
print(lesson.check_loss_scale(answer))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. Which gradients does `max_norm` speak of? Who knows whether a step must be skipped?
# 2. Solve the formula of section 2 for $S$. `scipy.special.erfinv` inverts erf.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def amp_step(model, optimizer, scaler, inputs, labels, max_norm):
#     optimizer.zero_grad()
#     with torch.autocast(inputs.device.type, dtype=torch.float16):
#         loss = nn.functional.cross_entropy(model(inputs), labels)
#     scaler.scale(loss).backward()
#     scaler.unscale_(optimizer)
#     nn.utils.clip_grad_norm_(model.parameters(), max_norm)
#     scaler.step(optimizer)
#     scaler.update()
#
# from scipy.special import erfinv
#
# answer = 2**-25 / (1e-7 * math.sqrt(2) * erfinv(0.01))  # 23.8
# ```
#
# </details>
#
# ## Remember
#
# 1. float16 lacks range, bfloat16 lacks resolution: 65504 and $2^{-25}$ on one side, 7 bits on the other.
# 2. A loss scale moves gradients out of the zone that becomes 0; `GradScaler` finds it by overflowing
#    now and then: in the long run at most one skipped step in `growth_interval` + 1.
# 3. scale, backward, `unscale_`, clip, `scaler.step`, `update`. Clipping first divides `max_norm` by the
#    scale, silently.
# 4. An update below half an ulp is swallowed: keep the weights in float32, as `autocast` does.
# 5. float16 needs a scaler, bfloat16 does not; neither needs 16-bit weights.
#
# ## References
#
# - P. Micikevicius et al. 2018, *Mixed precision training*, ICLR: loss scaling and master weights.
# - D. Kalamkar et al. 2019, *A study of BFLOAT16 for deep learning training*, arXiv 1905.12322.
# - IEEE 754-2019, *Standard for floating-point arithmetic*: subnormal numbers, ties to even.
# - The documentation of torch: *Automatic mixed precision examples*, with clipping after `unscale_`.
