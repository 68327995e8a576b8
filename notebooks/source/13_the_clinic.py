# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 13 · The clinic
#
# **Question.** A run does not learn. You have its loss, the norm of its gradient and a monitor's
# verdict. What is wrong with it, and what do you change first?
#
# Twelve training runs come to you. Each is sick of *one* cause, and each is a few lines of code like
# yours. You say the cause, choose a cure, and the course runs it. After that the advice itself is
# examined: which rule of thumb works where, counted over seeds.

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

from gradcourse import claim
from gradcourse.diagnosis import GradMonitor
from gradcourse.lessons import the_clinic as lesson
from gradcourse.live import live, log
from gradcourse.models import MLP
from gradcourse.tasks import split_digits

# %% tags=["parameters"]
case = "case 1"
situation = "deep ReLU network"
seed = 0

# %% [markdown]
# ## 1 · What is written down
#
# Every patient of section 2 goes through one loop, in essence the one below: `GradMonitor` stands where
# `clip_grad_norm_` would stand. It records the norm of the gradient, the gradient at every layer and
# the units that are dead, and at the end it says what it thinks.
#
# One number needs no monitor: what *guessing* costs. With ten classes, equally frequent, the best answer
# that does not look at the input has the loss $\ln 10 = 2.303$. With squared error it is the variance of the targets.
# A loss that stays there has learned nothing, however calm it looks.

# %%
first_seed = 1000 * seed
(inputs, labels), (others, answers) = split_digits(1500, first_seed)
torch.manual_seed(first_seed)
model = MLP(64, 48, 30, 10, "relu")
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
with GradMonitor(model, every=5) as monitor:
    for rows in torch.randint(1500, (60, 64)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        monitor.step(max_norm=1.0)
        optimizer.step()
claim("the loss is that of guessing", loss, equals=math.log(10), within=0.05)
print(monitor.diagnose())

# %% [markdown]
# ## 2 · Twelve patients
#
# Below stands what each owner says. Choose a `case`, and look before you choose anything else:
#
# - left above, the loss: does it start far from the dashed line, stay on it, or become NaN?
# - left below, the gradient's norm: is it small, does it spike, does it stand far above `max_norm`?
# - right, six signs. A dot at 1 is healthy. *First against last layer*: by how much the gradient
#   changes on its way back. *Taken away by clipping*: the typical norm over `max_norm`. *Longest
#   step*: the longest gradient over the typical one.
#
# **Predict.** Pick a `cause`: the green square shows which sign that cause would move. If the dot in
# it is at 1, think again. Some causes move none: you find them in the code only. Then pick a `cure`.
# Grey is the run as it came, blue the treated one. The *score* is the accuracy on data that were held out,
# or the share of their variance that is explained (case 7: of their deviance): 0 is lost, 1 is perfect.

# %%
for name, patient in zip(lesson.NAMES, lesson.CASES, strict=True):
    print(f"{name:8}{patient.complaint}")

# %%
measure = partial(lesson.measure_case, case=case, seed=first_seed)
lists = {"cause": list(lesson.SUSPECTS), "cure": list(lesson.CURES)}
panels = [["loss", "signs"], ["norm", "signs"]]
controls = {"case": list(lesson.NAMES), **lists}
live(measure, lesson.draw_case, **controls, panels=panels, size=(960, 430))

# %% [markdown]
# <details><summary>The twelve causes and cures (try all of them first)</summary>
#
# | case | cause | cure | lesson |
# |---|---|---|---|
# | 1 | default weights in thirty ReLU layers | He initialisation | [05](05_initialization.ipynb) |
# | 2 | ReLUs that died in a long step | standardise the data | [04](04_three_causes.ipynb) |
# | 3 | learning rate beyond 2/curvature | a tenth of it | [04](04_three_causes.ipynb) |
# | 4 | gradients clipped before they are unscaled | unscale first | [11](11_mixed_precision.ipynb) |
# | 5 | state detached inside of a sequence | detach between sequences | [09](09_truncated_bptt.ipynb) |
# | 6 | full learning rate from the first step | warmup | [10](10_transformers_and_warmup.ipynb) |
# | 7 | logarithm of a negative number | softplus inside | [02](02_watching_gradients.ipynb) |
# | 8 | BatchNorm in forty layers without skips | skips | [07](07_residual_connections.ipynb) |
# | 9 | `max_norm` of 0.001 | 1 | [03](03_clipping.ipynb) |
# | 10 | recurrent matrix of radius 4 | radius 1 | [08](08_recurrent_networks.ipynb) |
# | 11 | targets with a standard deviation above 100 | standardise | [04](04_three_causes.ipynb) |
# | 12 | norms behind the branches | in front of them | [10](10_transformers_and_warmup.ipynb) |
#
# </details>
#
# ## 3 · The monitor on trial
#
# How good is the verdict? The next cell asks `diagnose()` about the twelve sick runs *and* about the
# same twelve with their cure, where "healthy" is the right answer. The last column counts how often its
# advice names the lesson that holds the cure. Each case runs on two seeds. (48 trainings: this takes
# some seconds.)
#
# **Predict.** How many of 24 sick runs will it call sick?

# %%
prediction = None  # for example: prediction = 20

scores = lesson.measure_scores([first_seed, first_seed + 1])
print(scores.table())
if prediction is not None:
    print(f"your prediction: {prediction}")

# %% [markdown]
# It raises hardly a false alarm, and it misses about half. That is no accident. Read what it says of a
# case that it calls healthy:

# %%
claim("the right cure cures at least 21 of 24", scores.cured, above=20)
claim("of 24 cured runs at most 3 are called sick", scores.false_alarms, below=4)
claim("of 24 sick runs 9 to 14 are called sick", scores.found, between=(9, 14))
seen = sum(scores.found_in(number) for number in (1, 2, 3, 7, 11))
claim("cases 1, 2, 3, 7 and 11 are found on both seeds", seen, equals=10)
claim("the advice names the lesson in 7 to 12", scores.named, between=(7, 12))
print(lesson.chart_of(4, first_seed).diagnosis.summary())

# %% [markdown]
# A gradient monitor sees *sizes*, at the layers, over a hundred steps. It misses five kinds of trouble:
#
# - **Clipped too hard** (cases 4 and 9). All layers get gradients in good proportion, and then almost
#   all of it is thrown away. The verdict is "healthy", but the reason says what clipping leaves.
# - **Detached** (case 5). The gradient that arrives is healthy. The one that is missing has no size.
# - **Steps that lead nowhere** (case 12). Under Adam the length of a step does not depend on the
#   gradient's length, so that ordinary gradients can go with ruinous steps. Case 6 has the same trouble.
#   On some seeds the monitor sees what the steps have done, a vanishing gradient, but its advice does
#   not name warmup.
# - **An explosion that is over** (case 8). It lasts a few steps, and the verdict rests on the median of a
#   hundred.
# - **A huge first loss** (case 10). The steps in time inside of a recurrent layer are not watched, and the
#   loss never is.
#
# Case 7 it sees, but late. The loss $r-y\ln r$ of a negative rate $r$ is NaN. Its derivative $1-y/r$ is an
# ordinary number. So the loss is NaN *before* any gradient is.
#
# So read three more things yourself: the loss against guessing, the share that clipping leaves, and
# the code. A norm that *stays* above `max_norm` has a cause that clipping does not remove. In case 4 it is
# the loss scale. In case 3 it is the learning rate: clip it at 1, and the loss no longer grows, but the
# weights jump to and fro across the valley for ever, with a norm of 1.1.

# %%
left = {n: lesson.signs_of(lesson.chart_of(n, first_seed))["clipping"] for n in (4, 9)}
claim("case 4: more than 4.8 powers of ten, 65536", left[4], between=(4.8, 6))
claim("case 9: more than 3 powers of ten", left[9], between=(3, 4.3))
jumping = lesson.chart_of(3, first_seed, "clip the norm at 1")
norm = np.median(jumping.norms[-100:])
claim("case 3, clipped at 1", norm, equals=1.1, within=0.02, source="learning rate x curvature / 2")
mended = lesson.chart_of(8, first_seed, lesson.CASES[7].cure)
first, after = (lesson.signs_of(one)["steps"] for one in (lesson.chart_of(8, first_seed), mended))
claim("case 8, longest step: off by more than 300", first, above=math.log10(300))
claim("skips divide that by 10 or more", first - after, above=1)

# %%
rate = torch.tensor(-0.5, requires_grad=True)
loss = rate - 2 * torch.log(rate)
loss.backward()
claim("y ln r of a negative rate: the loss is NaN", loss.isnan(), equals=1)
claim("and the gradient is 1 - 2 / -0.5 = 5", rate.grad, equals=5, source="calculus")
sick = lesson.chart_of(7, first_seed)
loss_ends, norm_ends = (np.argmin(np.isfinite(curve)) for curve in (sick.losses, sick.norms))
claim("case 7: the loss is NaN steps before the gradient", norm_ends - loss_ends, above=0)

# %% [markdown]
# ## 4 · Reflexes
#
# Two treatments are tried before anyone looks: clip at 1, and lower the learning rate. What do they do
# for the twelve?

# %%
tried = lesson.reflexes(first_seed)
cured = {}
for number in range(1, 13):
    print(f"case {number:<5}" + "".join(f"{each[number]:26}" for each in tried.values()))
for treatment, results in tried.items():
    cured[treatment] = sum(result == "cured" for result in results.values())
    print(f"{treatment}: cured {cured[treatment]} of 12")
clip, slower = cured.values()
claim("clipping at 1 cures 1 to 3 of 12", clip, between=(1, 3))
claim("a tenth of the learning rate cures 3 to 5", slower, between=(3, 5))

# %% [markdown]
# Neither is useless, and neither is a diagnosis. Some runs that the small learning rate cures have a
# better cure: after it they could have kept their speed.
#
# ## 5 · The decision table
#
# The notes that this course grew from end in a table of advice: *deep networks: clip, LayerNorm, He
# initialisation; recurrent networks: orthogonal weights and truncated BPTT as well; transformers:
# LayerNorm and warmup; GANs: spectral norm and a low learning rate; mixed precision: a gradient scaler.*
# And below it a default line for everything: *clip at 1.0, He, LayerNorm, warmup, a guard against NaN.*
#
# Here each of these is a measured run on four seeds. Each dot is one network. It counts as trained
# from the green line on.
#
# **Predict.** In how many of four seeds does the default line train the deep ReLU network? (A star, as a
# share of four, in the lowest row.)
#
# (The RNN and the GAN's generator have no LayerNorm; there the default line is the rest. The GAN's score is
# 1 minus the Fréchet distance between samples and data (Dowson & Landau 1982), over that of a generator that
# always says 0.)
#
# Then move `situation`, and in each look for: what *nothing* does; which single treatment does the
# work; whether the default line is the best. Then move `learning rate` (it multiplies that of all
# treatments): is the order of the rows still the same?

# %%
prediction = None  # seeds, for example: prediction = 2

measure = partial(lesson.measure_decision, first_seed=first_seed, prediction=prediction)
measure = partial(measure, situation=situation)
controls = {"situation": list(lesson.SITUATIONS), "learning_rate": log(0.1, 10)}
live(measure, lesson.draw_decision, **controls, size=(960, 460))

# %%
table = {}
for name in lesson.SITUATIONS:
    decision = lesson.decision_for(name, first_seed=first_seed)
    table[name] = decision.learned
    print(f"{name}: learned, of 4 seeds")
    for treatment, count in decision.learned.items():
        print(f"    {treatment:32}{count}")

# %% [markdown]
# Where the advice holds:

# %%
deep, rnn, attention, gan, mixed = table.values()
alone = sum(deep[name] for name in ("nothing", "clip 1", "LayerNorm"))
claim("deep: nothing, clip or LayerNorm alone: no seed", alone, equals=0)
claim("deep: He and clip together: 3 or 4 of 4", deep["He + clip"], above=2)
seen = lesson.decision_for("deep ReLU network", first_seed=first_seed)
scores = dict(zip(seen.treatments, seen.scores, strict=True))
claim("deep: He alone: no seed at 0.1, guessing", scores["He"].min(), above=0.2)
claim("and clipping adds to the score", (scores["He + clip"] - scores["He"]).mean(), above=0)
claim("RNN: clipping gains 3 seeds or more", rnn["clip 1"] - rnn["nothing"], above=2)
gain = attention["LayerNorm behind + warmup"] - attention["LayerNorm behind"]
claim("LayerNorm behind: warmup gains 2 seeds or more", gain, above=1)
claim("GAN: the lower lr gains 2 or more", gan["lower lr"] - gan["nothing"], above=1)
gain = mixed["float16 + loss scale"] - mixed["float16, nothing"]
claim("float16: the loss scale gains all 4", gain, equals=4)

# %% [markdown]
# And where it does not:
#
# - **RNN + TBPTT.** Truncation cuts off exactly what this task needs. It saves memory; it is no remedy.
# - **RNN, orthogonal or LSTM.** Clipping does the work. An orthogonal matrix without it trains few
#   seeds at this learning rate, and a default LSTM does not move in 150 steps of SGD.
# - **Transformer.** Here the norm in front needs nothing else: no warmup, no clipping. With
#   the norm behind and no warmup it is *worse than no norm at all*.
# - **GAN.** Spectral norm alone trains almost no seed: it bounds the critic's slope, and Adam does not
#   care. The low learning rate does the work. (In lesson 12, with SGD, it was the other way round.)
# - **Mixed precision.** Here the loss is multiplied by $10^{-6}$, like a tiny auxiliary loss, and only
#   activations and their gradients are rounded to float16. Clipping, He and LayerNorm cannot bring back
#   what was rounded to zero, and a guard against NaN sees none. With an ordinary loss this small network
#   trains in float16 without any help. bfloat16 needs no scaler: it has float32's range.
#
# The first four situations depend on the learning rate, which was chosen so that *nothing* fails. Halve the
# RNN's, and two seeds or more learn without any treatment. In the last one the tiny loss does it, and
# ten times the rate changes nothing.

# %%
claim("RNN: with TBPTT as well, at most 1 seed", rnn["clip + orthogonal + TBPTT"], below=2)
gain = rnn["clip + orthogonal"] - rnn["orthogonal"]
claim("RNN: to an orthogonal matrix clipping adds a seed or more", gain, above=0)
claim("RNN: the LSTM learns in none", rnn["LSTM + clip"], equals=0)
*_, calm = lesson.measure_decision("RNN", 0.5, first_seed=first_seed)
claim("RNN, half the rate: nothing trains 2 or more", calm.learned["nothing"], above=1)
claim("transformer, LayerNorm in front: 4 of 4", attention["LayerNorm in front"], equals=4)
means = lesson.decision_for("transformer", first_seed=first_seed).scores.mean(axis=1)
claim("LayerNorm behind scores below none at all", means[1] - means[0], below=0)
claim("GAN: spectral norm alone at most 1 seed", gan["spectral norm"], below=2)
claim("float16, the default line: none", mixed["float16, the default line"], equals=0)
claim("bfloat16 without anything: 4 of 4", mixed["bfloat16, nothing"], equals=4)

# %%
*_, row = lesson.measure_decision("mixed precision", 10, first_seed=first_seed)
scores = dict(zip(row.treatments, row.scores, strict=True))
claim("tiny loss, learning rate x 10: float16 guesses", scores["float16, nothing"].max(), below=0.2)
claim("with the loss scale it learns", scores["float16 + loss scale"].min(), above=0.6)
ordinary = lesson.mixed_precision(weight=1.0)
*_, (_, scores) = ordinary.run(range(first_seed, first_seed + 4), 1.0)
claim("ordinary loss, float16 and nothing: every seed learns", scores[0].min(), above=0.7)

# %% [markdown]
# ## Heard and measured
#
# The notes also list mistakes to avoid.
#
# **"No clipping in an RNN guarantees NaN."** False. None of four free RNNs above ended in NaN. They
# just did not learn, which is harder to notice than NaN.
#
# **"Default initialisation in a deep ReLU network: take He's."** True, but here not enough. With the default
# weights no seed learns. With He's each gets above guessing, and one to four of four are trained: that
# depends on the seeds. With clipping as well it is nearly all.
#
# **"Without warmup a transformer fails."** True with the norm behind the branch, false in front of it.
#
# **"Ignore one NaN, and it cascades."** True when the NaN reaches the gradient: one NaN in one batch, and
# every weight is NaN after that step. A guard that skips the step loses nothing. In case 7 only the loss is
# NaN, many times, and the weights live on until the gradient is NaN too.
#
# **"Clip too small, and the model underfits."** True for SGD, false for Adam, which divides by the
# gradient's typical size.
#
# **"NaN without warning? Gradients exploded: clip, and see whether it disappears."** Half true. It
# does for case 11. In case 7 the *gradient's* NaN disappears, the verdict turns to "healthy", and the
# loss is NaN all the same.

# %%
free = lesson.decision_for("RNN", first_seed=first_seed).scores[0]
claim("free RNNs that are lost: 0 of 4", (free == 0).sum(), equals=0)

# %%
spoiled = torch.ones(200)
spoiled[60] = math.nan  # the 61st step meets a broken batch
ends = []
for guarded in (False, True):
    setup = lesson.prepare(lesson.CASES[8], first_seed, "raise max_norm to 1")
    whole, setup.guard = setup.loss, guarded
    setup.loss = lambda step, whole=whole: whole(step) * spoiled[step]
    *_, chart = lesson.train(setup)
    ends.append(chart.score)
claim("one NaN, ignored: the score is 0", ends[0], equals=0)
claim("one NaN, its step skipped: above 0.9", ends[1], above=0.9)

# %%
setup = lesson.prepare(lesson.CASES[8], first_seed)
setup.optimizer = torch.optim.Adam(setup.model.parameters(), lr=0.003)
*_, adam = lesson.train(setup)
sgd = lesson.chart_of(9, first_seed)
claim("max_norm 0.001 under SGD: below 0.3", sgd.score, below=0.3)
claim("max_norm 0.001 under Adam: above 0.9", adam.score, above=0.9)

clipped = lesson.chart_of(7, first_seed, "clip the norm at 1")
claim("case 7 clipped: every norm is finite", np.isfinite(clipped.norms).mean(), equals=1)
claim("and a loss is NaN", np.isnan(clipped.losses).sum(), above=0)
claim("and the verdict is healthy", clipped.diagnosis.verdict == "healthy", equals=1)
houses = lesson.chart_of(11, first_seed, "clip the norm at 1")
claim("case 11 clipped: cured", houses.score, above=0.9)

# %% [markdown]
# **"The default: clip 1.0, He, LayerNorm, warmup, NaN guard."** True for the deep network and the
# transformer, and, without its LayerNorm, for this RNN: there it trained nearly every seed. As a cure for
# everything it is false: it leaves out what the GAN needs, and float16 with a tiny loss. A default is
# where a run starts. It is no diagnosis.
#
# And often none of it is needed. A network with one hidden layer learns the digits without any treatment.
# A pretrained network that only answers has no backward pass, and so no gradient to care for.

# %%
line = [list(learned.values())[-1] for learned in table.values()]
print(dict(zip(table, line, strict=True)))
claim("deep network, RNN and transformer: 10 to 12 of 12", sum(line[:3]), above=9)
claim("GAN and float16: at most 4 of 8", sum(line[3:]), below=5)

torch.manual_seed(first_seed)
model = MLP(64, 48, 1, 10, "relu")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for rows in torch.randint(1500, (300, 64)):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
    optimizer.step()
right = (model(others).argmax(dim=1) == answers).float().mean()
claim("one hidden layer, nothing: accuracy above 0.9", right, above=0.9)

# %% [markdown]
# ## Exercise
#
# 1. The monitor misses clipping that is too hard. Write the examination: the share of the gradient
#    that clipping leaves on a typical step, from the norms before clipping. 1 if it changes nothing.
# 2. A thirteenth patient: `step` is one step of training for a network with outputs of shape (200, 1)
#    and targets of shape (200,). Its loss never falls below that of guessing. It has *three* faults.
#    Repair it, and the check trains the patient with it.


# %%
def share_left(norms, max_norm):
    """Return the share of the gradient that clipping leaves: the median over the steps."""
    return ...


def step(model, optimizer, inputs, targets):
    """Take one step and return the loss."""
    loss = (model(inputs) - targets).square().mean()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    loss.backward()
    optimizer.step()
    return loss.item()


print(lesson.check_share_left(share_left))
print(lesson.check_step(step))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. On one step it is $\min(1, c/\lVert g\rVert)$. `np.median` takes a list.
# 2. Print `(model(inputs) - targets).shape`. Then ask: when is there something to clip, and what is in
#    `.grad` when `backward()` begins?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def share_left(norms, max_norm):
#     return np.median([min(1.0, max_norm / norm) for norm in norms])
#
# def step(model, optimizer, inputs, targets):
#     optimizer.zero_grad()
#     loss = (model(inputs)[:, 0] - targets).square().mean()
#     loss.backward()
#     nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
#     optimizer.step()
#     return loss.item()
# ```
#
# </details>
#
# ## Remember
#
# 1. Compare the loss with guessing, at the first step and later. Is it a number?
# 2. Ask the monitor for sizes: layer by layer, longest step, dead units, the share that clipping leaves.
# 3. "Healthy" means that the sizes are right. Then read the code: shapes, order of calls, detach, log.
# 4. Change one thing, and run it again on several seeds.
# 5. A default line is a place to start: look up what *this* kind of network needs. A shallow one may need
#    none of it, and inference has no gradient at all.
#
# ## References
#
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*,
#   ICML 2013.
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving deep into rectifiers*, ICCV 2015.
# - Q. Le, N. Jaitly, G. Hinton, *A simple way to initialize recurrent networks of rectified linear
#   units*, 2015.
# - P. Micikevicius et al., *Mixed precision training*, ICLR 2018.
# - T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, *Spectral normalization for generative adversarial
#   networks*, ICLR 2018.
# - G. Yang, J. Pennington, V. Rao, J. Sohl-Dickstein, S. Schoenholz, *A mean field theory of batch
#   normalization*, ICLR 2019.
# - R. Xiong et al., *On layer normalization in the transformer architecture*, ICML 2020.
# - D. Dowson, B. Landau, *The Fréchet distance between multivariate normal distributions*, Journal of
#   Multivariate Analysis 12, 1982.
