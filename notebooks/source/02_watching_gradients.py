# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · Watching gradients
#
# **Question.** The loss was falling. At step 7,000 it is NaN. What should you have logged, and what
# would have saved the run?
#
# You will read the log of a healthy run, find a disease that the usual log hides, break a run on
# purpose and catch it, and catch a backward pass that is simply wrong.

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
from itertools import islice

import numpy as np
import torch

from gradcourse import claim
from gradcourse.diagnosis import GradMonitor, check_gradients, layer_grad_norms, update_ratios
from gradcourse.initialization import initialize
from gradcourse.lessons import watching_gradients as lesson
from gradcourse.live import live, log
from gradcourse.models import MLP
from gradcourse.training import training_step

# %% tags=["parameters"]
learning_rate = 0.1
max_norm = 1.0
seed = 0

# %% [markdown]
# ## 1 · One number
#
# All gradients of a network together are one long vector. Its length is the *global norm*: square
# every number, add, take the root. Four lines do it. `torch.nn.utils.clip_grad_norm_` returns the
# same number, so whoever clips has the log for free.
#
# The norm of each layer says where the length comes from. A layer here is a weight matrix with its
# bias; its name is its place in the model, and the ReLUs have the odd places. The layers' squares add
# up to the square of the whole.

# %%
first_seed = 1000 * seed
model = MLP(64, 64, 4, out_features=10, activation="relu")
initialize(model, "xavier_normal", generator=torch.Generator().manual_seed(first_seed))
lesson.cross_entropy(model, next(lesson.batches(first_seed))).backward()

squares = torch.zeros(())
for parameter in model.parameters():
    squares += parameter.grad.square().sum()
norm = squares.sqrt().item()

layers = layer_grad_norms(model)
print({layer: round(size, 2) for layer, size in layers.items()})
claim("the layers' squares add up", math.hypot(*layers.values()), equals=norm, within=1e-5)
given = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=math.inf)
claim("clip_grad_norm_ returns the global norm", given, equals=norm, within=1e-5)

# %% [markdown]
# ## 2 · The training log
#
# Three numbers belong in every log, beside the loss:
#
# - the **gradient norm**, before clipping;
# - the **clip rate**: the share of steps whose norm was above `max_norm`, and was cut down to it;
# - the **update:weight ratio** of a layer: how far one step moves its weights, divided by the length
#   of the weights. A rule of thumb says: near 1/1000, the *guide* in the picture.
#
# `training_step` does one step in the right order: backward, measure, clip, update. `GradMonitor`
# keeps the norms. `update_ratios` compares the weights before and after.

# %%
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
monitor = GradMonitor(model)
options = {"max_norm": max_norm, "monitor": monitor}
for batch in islice(lesson.batches(first_seed), 80):
    with update_ratios(model) as ratios:
        record = training_step(model, optimizer, lesson.cross_entropy, batch, **options)
print(f"the last step: {record}")
print(f"clip rate of {len(monitor)} steps: {monitor.clip_rate():.0%}")

# %% [markdown]
# For plain SGD theory gives the ratio exactly. A step is the learning rate $\eta$ times the gradient
# $g$ of these weights. Clipping multiplies it by $\min(1, c/|G|)$, where $G$ is the gradient of *all*
# weights and $c$ is `max_norm`:
#
# $$\frac{|\Delta w|}{|w|} = \eta\,\frac{|g|}{|w|}\,\min\left(1, \frac{c}{|G|}\right).$$
#
# **Predict.** The first layer has 64 by 64 weights of variance 1/64, so $|w|\approx 8$. With learning
# rate 0.1 and `max_norm` 1, by which share of its size does one step move it? Write the exponent:
# `-3` for 1/1000. It becomes a star in the picture, at the setting that was asked about.
#
# Each move of a slider trains four networks. The line is their median, the band their range.
# `scheme` is the recipe for the first weights: torch's default, Xavier's or He's (lesson 01).

# %%
prediction = None  # for example: prediction = -3

measure = partial(lesson.measure_training_log, first_seed=first_seed, prediction=prediction)
sliders = {"learning_rate": log(1e-4, 10), "max_norm": log(0.01, 100)}
sliders |= {"scheme": ["torch", "xavier_normal", "he_normal"], "depth": (1, 10)}
panels = [["loss", "norm", "ratio"]]
live(measure, lesson.draw_training_log, **sliders, panels=panels, size=(1080, 420))

# %% [markdown]
# Before each move, say what the three pictures will do:
#
# - `learning_rate` 0.001: the ratio falls a hundredfold, and the loss barely moves. Too small.
# - `learning_rate` 10: the loss jumps, then settles a little above $\ln 10$, which is guessing. The ratio
#   falls to exactly 0, and its line ends: all ReLUs of the last hidden layer are off, and only the last
#   bias still gets a gradient. Too large.
# - `max_norm` 0.01: every step is clipped, so all steps are equally long.
# - `scheme` he_normal: larger gradients, and more clipping.
#
# The clip rate has a theory too. If the logarithm of the norm were normally distributed, its mean and
# its spread would give the rate. The line below the picture compares the two.

# %%
print(f"the last step of section 2 moved the first layer by {ratios['0.weight']:.1e}")
logs = {}
for rate, words, ends in ((0.001, "too slow", 2.3), (0.1, "learns", 0.1), (10.0, "guesses", 2.35)):
    *_, logs[rate] = lesson.measure_training_log(rate, first_seed=first_seed)
    final = np.median(logs[rate].loss[:, -20:])
    claim(f"learning rate {rate:g} {words}: the loss ends at", final, equals=ends, within=0.15)
slow, good = (logs[rate].typical_ratio[0] for rate in (0.001, 0.1))
claim("too slow: a step moves the weights by 10**-4.3", math.log10(slow), equals=-4.3, within=0.3)
claim("learns: by 10**-2.3, above the guide", math.log10(good), equals=-2.3, within=0.3)
claim("guesses: in the end by nothing", logs[10.0].ratio[..., -1].max(), equals=0)

error = np.abs(logs[0.1].ratio / logs[0.1].predicted_ratio - 1).max()
claim("the ratio is that of the formula, at all steps", error, below=1e-3, source="calculus")
rate, expected = logs[0.1].clip_rate, logs[0.1].predicted_clip_rate
claim("a normal log norm would give the clip rate", rate, equals=expected, within=0.12)

# %% [markdown]
# ## 3 · What the log can hide
#
# In a deep ReLU network whose weights have variance 1/fan-in, each layer halves the squared gradient
# on its way back (lesson 01). The log should show that. It depends on *which* gradient you log. That
# of the **weights** is in `parameter.grad`. It is the gradient of the layer's **output** times the
# layer's input. From layer to layer one shrinks backward, the other forward, and the product stays.
#
# **Predict.** 24 layers, weight scale 1. At step 0, how much smaller is the output gradient of layer
# 1 than that of layer 24? Write the exponent: `-1` for a tenth. The dashed lines are theory for step
# 0. On the left they all coincide; on the right each layer costs a factor $\sqrt{1/2}$.

# %%
prediction = None

measure = partial(lesson.measure_two_views, first_seed=first_seed, prediction=prediction)
sliders = {"depth": (2, 40), "weight_scale": (0.5, 2.0, 0.1), "learning_rate": log(1e-3, 1)}
live(measure, lesson.draw_two_views, **sliders, panels=[["weights", "outputs"]])

# %% [markdown]
# On the left all layers look alike, on the right they are decades apart. And the run learns nothing.
# Try `weight_scale` 1.4, close to He's $\sqrt2$: the lines on the right close up. Then go back to 1
# and take `depth` 4: so mild a decay does no harm, and the run learns.
#
# `GradMonitor` watches the layers' outputs inside of `with monitor:`, and only the parameters without
# it. The next cell asks two monitors about the same network.

# %%
net = MLP(64, 64, 30, out_features=10, activation="relu", bias=False)
initialize(net, "xavier_normal", generator=torch.Generator().manual_seed(first_seed))
watching, reading = GradMonitor(net), GradMonitor(net)
with watching:
    for batch in islice(lesson.batches(first_seed), 10):
        net.zero_grad()
        lesson.cross_entropy(net, batch).backward()
        watching.step()
        reading.step()
for words, monitor in (("outputs: vanishing", watching), ("weights: healthy", reading)):
    print(monitor.diagnose().summary())
    claim(f"judged by the {words}", monitor.diagnose().verdict in words, equals=1)
*_, views = lesson.measure_two_views(first_seed=first_seed)
claim("24 layers: outputs lose 3.5 decades", views.outputs.change, equals=-3.46, within=0.5)
claim("weights less than 0.5", abs(views.weights.change), below=0.5, source="Glorot 2010")

# %% [markdown]
# ## 4 · A run that goes bad
#
# Two numbers say that arithmetic broke. **Inf** is what lies beyond the largest number, or 1/0.
# **NaN**, "not a number", is what 0/0 or Inf - Inf or 0 times Inf gives. What NaN touches becomes NaN:
# one step with it, and the weights are lost.
#
# So people *guard* the step: if there is a NaN in the loss or in a gradient, they skip it. The next cell
# shows such a guard a gradient that holds Inf. Then it clips, as most training loops do. The norm is
# Inf, so clipping multiplies by 1/Inf = 0: healthy numbers become 0, and Inf times 0 is NaN. Clipping
# a gradient that holds a NaN is worse: the norm is NaN, and so is everything that it multiplies.


# %%
def is_safe(loss, gradients):
    return not loss.isnan() and not any(g.isnan().any() for g in gradients)


first, second = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
first.grad, second.grad = torch.tensor([3.0, math.inf]), torch.tensor([4.0])
answer = is_safe(torch.tensor(0.5), [first.grad, second.grad])
claim("a guard against NaN lets Inf pass", answer, equals=1)

torch.nn.utils.clip_grad_norm_([first, second], max_norm=1.0)
print(first.grad, second.grad)
claim("clipping turns the healthy numbers into 0", first.grad[0] + second.grad[0], equals=0)
claim("and Inf into NaN", first.grad[1].isnan(), equals=1, source="IEEE 754")
torch.nn.utils.clip_grad_norm_([first, second], max_norm=1.0)
claim("clipping once more turns all into NaN", second.grad.isnan(), equals=1)

# %% [markdown]
# Now break a real run. Its network multiplies each of its ten answers by a learned scale, and keeps
# the *squares* of these scales. At the pink line one of five things happens:
#
# | fault | what happens |
# |---|---|
# | `0/0` | each image is divided by its length, and one image is blank |
# | `log(0)` | an image is 10,000 times too bright and has a wrong label; the loss is the logarithm of a softmax, written by hand |
# | `sqrt(0) in the loss` | two images are equal, and the loss takes the distance of their answers |
# | `sqrt(0) in the model` | one of the kept squares becomes exactly 0, where the root is infinitely steep; a skipped step leaves it at 0 |
# | `outlier` | the image of `log(0)`, with torch's own `cross_entropy` |
#
# The dashed line is what should happen: the same run, had that batch never come. A cross is a step
# that the guard skipped.
#
# **Predict.** The figure starts with `sqrt(0) in the model` at step 40 and a guard against NaN only. At
# which step is the *loss* NaN for the first time? Write the step, or `120` for never.

# %%
prediction = None

measure = partial(lesson.measure_sick_run, seed=first_seed, prediction=prediction)
sliders = {"step": (1, 118), "fault": list(lesson.FAULTS), "guard": list(lesson.GUARDS)}
live(measure, lesson.draw_sick_run, **sliders, panels=[["loss", "norm"]])

# %% [markdown]
# Go through the guards with each fault.
#
# - `sqrt(0) in the loss`: the loss is as good as ever, the gradient is NaN. A guard that looks only at
#   the loss misses it.
# - `NaN and Inf` is what `training_step` does: it skips a step whose loss or gradient is not finite. A bad
#   *batch* is gone with that. A fault in the *weights* is there again at the next step. So after ten
#   skipped steps in a row it stops the run and names the culprit.
# - `outlier`: every number is finite, and no guard sees it at that step. The norm is in the thousands, and
#   one step throws the weights away: some of the kept squares fall below 0, and their roots make the next
#   loss NaN. Nothing but the length of the step was wrong, and clipping cures it.
#
# ## 5 · Where was it born?
#
# The log says *that* something broke. `find_nonfinite` says *where*. It runs one batch forward and
# backward, and names the first operation that made Inf or NaN of finite numbers, or the batch if it
# brought them. The second cell asks it about each fault. `aten` is torch's library of operations;
# `SqrtBackward0` is the backward pass of the root, which divides by twice the root. In `0/0` the
# division happened before the model, so the batch is to blame.

# %%
runs = {}
for guard, right in zip(lesson.GUARDS, (0, 1, 3, 3, 4), strict=True):
    for fault in lesson.FAULTS:
        *_, runs[guard, fault] = lesson.measure_sick_run(40, fault, guard, seed=first_seed)
    outcomes = [runs[guard, fault].outcome for fault in lesson.FAULTS]
    print(f"{guard}: {', '.join(outcomes)}")
    claim(f"guard {guard!r} saves {right} of 5", outcomes.count("saved"), equals=right)
claim("the last one stops the run that it cannot save", outcomes.count("stopped"), equals=1)
silent, loud = (runs["none", fault] for fault in ("sqrt(0) in the loss", "outlier"))
claim("sqrt(0) in the loss: the loss at step 40 is as ever", silent.loss[40], below=1)
claim("outlier: the norm is finite, and in the thousands", loud.norm[40], between=(1e3, 1e5))

# %%
named, digits = [], next(lesson.batches(first_seed))
for fault in lesson.FAULTS:
    born = lesson.where_born(lesson.ScaledClassifier(first_seed), digits, fault)
    named.append(f"{fault}: {born.phrase() if born else 'every number is finite'}")
print("\n\n".join(named))
words = ("the batch holds NaN", "forward: aten.log", "Sqrt", "Sqrt", "every number is finite")
found = sum(word in text for word, text in zip(words, named, strict=True))
claim("find_nonfinite is right about 5 of 5", found, equals=5)

# %% [markdown]
# ## 6 · Is the backward pass right?
#
# So far numbers broke the gradient. A gradient can also be *programmed* wrong, in a backward pass of
# your own. Nothing crashes. The test needs no formula: nudge the input, and see how far the output
# moves,
#
# $$f'(x) \approx \frac{f(x+h) - f(x-h)}{2h}.$$
#
# The next cell plants a typical mistake, a forgotten square. `check_gradients` asks torch's
# `gradcheck`, which compares with such differences, and then says which element is wrong.


# %%
class WrongTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.tanh())
        return x.tanh()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (1 - ctx.saved_tensors[0])  # 1 - y; right is 1 - y**2


x = torch.linspace(-2, 2, 5, dtype=torch.float64, requires_grad=True)
check = check_gradients(WrongTanh.apply, x)
print(check)
claim("check_gradients refuses the wrong tanh", bool(check), equals=0)
claim("and accepts torch's", bool(check_gradients(torch.tanh, x)), equals=1)

# %% [markdown]
# How small should $h$ be? Taylor's series says: as small as can be, because the error is
# $h^2|f'''|/6$. Rounding says the opposite. Two nearly equal numbers are subtracted, each rounded by
# about $u|f|$, and the rest is divided by $h$. ($u$ is half the gap between 1 and the next number,
# $10^{-16}$ in float64.) Together:
#
# $$\text{error} \approx \frac{h^2}{6}|f'''| + \frac{u|f|}{h}.$$
#
# **Predict.** In float64, at which $h$ is the error smallest? Write the exponent. The function is a
# small tanh network along a line, drawn anew for each of 32 seeds.
#
# Then try `dtype` float32. At the step that `check_gradients` takes, rounding alone looks like a
# mistake; this is why it copies everything to float64. (Far to the left the nudge is lost: x + h rounds
# to x, the difference is 0, and the disagreement 1.) `mistake` makes the backward pass too large by that
# share: how small must it be to go unseen? And `kind` forward, $(f(x+h)-f(x))/h$: the valley is less
# deep.

# %%
prediction = None

measure = partial(lesson.measure_derivative, first_seed=first_seed, prediction=prediction)
kinds = {"dtype": ["float32", "float64"], "kind": ["central", "forward"]}
live(measure, lesson.draw_derivative, mistake=log(1e-12, 1), **kinds, compare=True)

# %%
for dtype, kind in (("float64", "central"), ("float64", "forward"), ("float32", "central")):
    curve, words = measure(dtype=dtype, kind=kind), f"{kind} differences in {dtype}"
    claim(f"{words}: log10 of the best step", curve.measured_best, equals=curve.best, within=0.6)
    error = curve.predicted.min()
    claim("log10 of its error", curve.median.min(), equals=error, within=0.4, source="Taylor")
claim("a mistake of 1 % is caught", measure(1e-2).caught, equals=1)
claim("one of 0.01 % is not", measure(1e-4).caught, equals=0)

# %% [markdown]
# ## Heard and measured
#
# **"A step that checks gradients for NaN only is safe."** False. Inf passes. In section 4 such a guard
# saves three runs of five and loses the other two. Ask `isfinite`, of the loss and of *all*
# gradients, give up after some steps in a row, and put a cap on the norm beside it.
#
# **"If the loss is suddenly NaN, the gradient exploded. Clip at 1, and see whether it goes away."** True
# for one fault of five, the outlier. In the other four the norm is as ever one step before, and NaN or
# Inf at the next. Clipping saves none of them; `find_nonfinite` says more. Nor is every explosion sudden.
# Take linear regression with 1.5 times the largest stable learning rate: its norm passes 100 more than 20
# steps before the loss stops being finite. Its *weights* double at each step: their length is a fourth
# number for the log.
#
# **"Alert when the norm is above 100."** True if you know that this is far above *your* norm. One and
# the same run alerts or not, depending on whether its loss is a sum or a mean over the batch. The
# vanishing network of section 3 never alerts. Compare with the run's own median.

# %%
others = [runs["none", fault].norm for fault in lesson.FAULTS if fault != "outlier"]
broken = sum(not math.isfinite(norm[40]) for norm in others)
claim("four faults break the norm at once", broken, equals=4)
jump = max(norm[30:40].max() / np.median(norm[:40]) for norm in others)
claim("and it is as ever in the steps before", jump, below=5)
ahead, growth = zip(*(lesson.explosion(first_seed + k) for k in range(5)), strict=True)
claim("an explosion passes 100 so many steps ahead", min(ahead), above=20)
claim("and its weights double at each step", min(growth), equals=2, within=0.01)
mean, total = (lesson.norms_by_reduction(name, seed=first_seed) for name in ("mean", "sum"))
claim("loss a mean: the share of steps that alert", (mean > 100).mean(), equals=0)
claim("the same run, loss a sum: the share that alert", (total > 100).mean(), above=0.8)
claim("the vanishing network stays far below 100", watching.history.norm.max(), below=10)
claim("24 layers learn nothing: ln 10", views.loss[:, -5:].mean(), equals=math.log(10), within=0.01)
*_, mild = lesson.measure_two_views(depth=4, first_seed=first_seed)
claim("4 layers learn", mild.loss[:, -5:].mean(), below=1)

# %% [markdown]
# **"When gradients explode, the layers near the input stop learning."** False. In a tanh network of 20
# layers at weight scale 2 the gradient grows on its way back, and one step moves the first layer several
# times as far as the last hidden one, measured against their weights.
#
# **"The loss goes down, so the backward pass is right."** False. A network with the wrong tanh of
# section 6 learns the digits, though 1 - y is far from 1 - y². Only the check tells.
#
# **"A gradient check helps against exploding gradients."** False. It finds *wrong* gradients. The
# gradient of an exploding network is right, and passes.

# %%
wild = MLP(64, 64, 20, out_features=10, activation="tanh")
scheme = {"scheme": "mean_field", "weight_variance": 4.0, "bias_variance": 0.0}
initialize(wild, **scheme, generator=torch.Generator().manual_seed(first_seed))
optimizer = torch.optim.SGD(wild.parameters(), lr=1e-3)
with update_ratios(wild) as ratios:
    training_step(wild, optimizer, lesson.cross_entropy, next(lesson.batches(first_seed)))
more = ratios["0.weight"] / ratios["38.weight"]
claim("exploding: layer 1 moves so many times as far as layer 20", more, above=5)

x = next(lesson.batches(first_seed))[0][:2].double().requires_grad_()
right = bool(check_gradients(lambda images: wild.double()(images), x))
claim("the exploding network passes the gradient check", right, equals=1)

losses = lesson.losses_with(WrongTanh.apply, seed=first_seed)
claim("with the wrong tanh the loss begins at", losses[0], between=(2, 3))
claim("and falls to", losses[-10:].mean(), below=0.6)

# %% [markdown]
# ## Exercise
#
# 1. Write a guard that is safe: true if the optimizer may take this step. `gradients` is a list of
#    tensors. A large gradient is not broken: leave it to clipping.
# 2. Write the update:weight ratio of one layer under SGD with clipping, from what a log holds.
#    `layer_norm` is the norm of the layer's gradient, `total_norm` that of all, both before clipping.


# %%
def step_is_safe(loss, gradients):
    """Return True if the optimizer may take this step."""
    return ...


def update_ratio(learning_rate, layer_norm, weight_norm, total_norm, max_norm):
    """Return |change| / |weights| of the layer."""
    return ...


print(lesson.check_guard(step_is_safe))
print(lesson.check_update_ratio(update_ratio))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. `torch.isfinite` is false for NaN, for Inf and for -Inf.
# 2. When is anything clipped? And by which factor is *every* gradient multiplied then?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def step_is_safe(loss, gradients):
#     return bool(loss.isfinite()) and all(bool(g.isfinite().all()) for g in gradients)
#
# def update_ratio(learning_rate, layer_norm, weight_norm, total_norm, max_norm):
#     factor = min(1.0, max_norm / total_norm)
#     return learning_rate * factor * layer_norm / weight_norm
# ```
#
# </details>
#
# ## Remember
#
# 1. Log loss, gradient norm, clip rate and update:weight ratio; compare each with its own past.
# 2. SGD moves a layer by $\eta\,|g|/|w|$ of its size, times $c/|G|$ where clipping cuts.
# 3. Weight gradients can look healthy in a sick network: log the gradients of the outputs as well.
# 4. Guard loss and gradients with `isfinite`, give up after some skips, and keep a cap on the norm.
# 5. `find_nonfinite` finds the birth of a NaN; `check_gradients` finds a wrong backward pass.
#
# ## References
#
# - X. Glorot, Y. Bengio, *Understanding the difficulty of training deep feedforward neural networks*,
#   AISTATS 2010: gradients of weights and of activations, layer by layer.
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML
#   2013: clipping by the norm, and watching it.
# - A. Karpathy, *Building makemore, part 3*, lecture 2022: the update:weight ratio and its guide.
# - D. Goldberg, *What every computer scientist should know about floating-point arithmetic*, ACM
#   Computing Surveys 23, 1991: Inf, NaN and rounding.
# - W. Press, S. Teukolsky, W. Vetterling, B. Flannery, *Numerical Recipes*, Cambridge University
#   Press: the best step of a numerical derivative.
