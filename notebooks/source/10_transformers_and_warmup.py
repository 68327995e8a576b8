# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Transformers and warmup
#
# **Question.** A transformer with a perfectly healthy gradient at the start takes a few steps, and most of
# the gradient of its first block is gone. With a slow start, the same network learns. Why?
#
# A slow start is called *warmup*: the learning rate grows from almost 0 to its peak in the first steps.
# You will build a small transformer by hand, see where its gradient can die, watch its blocks during
# the first thirty steps, train it with and without warmup, and count how often clipping acts.

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
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from gradcourse import claim, theory
from gradcourse.initialization import initialize
from gradcourse.lessons import transformers_and_warmup as lesson
from gradcourse.live import live, log
from gradcourse.models import TransformerBlock
from gradcourse.tasks import reversal

# %% tags=["parameters"]
warmup = 0
learning_rate = 0.003
seed = 0

# %% [markdown]
# ## 1 · Attention by hand
#
# A transformer works on *tokens*: one vector for each symbol of a sequence. *Attention* lets every
# token look at the others. Each token makes three vectors by matrices that are learned: a *query*
# (what am I looking for?), a *key* (what do I have?) and a *value* (what do I hand over?). The *score*
# of two tokens is the dot product of a query and a key. A softmax turns a row of scores into weights
# that add up to 1, and the token receives the values, mixed with these weights.
#
# That is five lines. The rest of the cell compares them with torch's two versions.

# %%
first_seed = 1000 * seed
torch.manual_seed(first_seed)
tokens = torch.randn(6, 32)  # six tokens of 32 numbers
query, key, value = torch.randn(3, 32, 32) / math.sqrt(32)

q, k, v = tokens @ query, tokens @ key, tokens @ value
weights = torch.softmax(q @ k.T / math.sqrt(32), dim=-1)
mixed = weights @ v

layer = nn.MultiheadAttention(32, num_heads=1, bias=False)
layer.in_proj_weight.data = torch.cat([query.T, key.T, value.T])
layer.out_proj.weight.data = torch.eye(32)
own = nn.functional.scaled_dot_product_attention(q, k, v)
for name, other in (("function", own), ("layer", layer(tokens, tokens, tokens)[0])):
    claim(f"by hand: the same as torch's {name}", (mixed - other).abs().max(), below=1e-5)

# %% [markdown]
# ### Why divide by $\sqrt d$?
#
# A query and a key of $d$ independent numbers with variance 1 have a dot product of variance $d$. With
# $d=64$ the scores are around 8 in size, and a softmax over such scores gives almost all weight to one
# token. Then the weights hardly react to the scores: the softmax is *saturated*.
#
# Take two keys. The weight of one of them is $a=\sigma(\text{difference of the scores})$ and its slope
# is $a(1-a)$, 1/4 at most. For normal scores of variance $v$ theory knows the median slope:
#
# $$\sigma'\big(0.6745\sqrt{2v}\big), \qquad v = d \text{ (divided by nothing)}, \qquad v = 1
# \text{ (divided by } \sqrt d).$$
#
# **Predict.** Queries of 512 numbers, scores divided by nothing: what is the median slope? Write the
# power of ten, `-3` for 0.001.
#
# Then choose `sqrt(d)`: one slope for all dimensions. And `d`: the slope is 1/4, but with many numbers
# the scores are so small that a token looks at all others alike, whatever they are.

# %%
prediction = None  # for example: prediction = -3

live(
    partial(lesson.measure_attention, first_seed=first_seed, prediction=prediction),
    lesson.draw_attention,
    dimension=[2, 8, 32, 64, 128, 512, 1024],
    divide=["nothing", "sqrt(d)", "d"],
    panels=[["scores", "slope"]],
    compare=True,
)

# %%
spread = lesson.measure_attention(256, "nothing", first_seed).spread
claim("queries of 256 numbers: scores spread by 16", spread, equals=16, within=0.8)

for divide, numbers in (("nothing", 64), ("sqrt(d)", 64), ("sqrt(d)", 1024)):
    found = lesson.measure_attention(numbers, divide, first_seed)
    slope = found.predicted_at
    sentence = f"{numbers} numbers, divided by {divide}: median slope {slope:.2g}"
    claim(sentence, found.at / slope, equals=1, within=0.3, source="derived")
lost = lesson.measure_attention(512, "nothing", first_seed).at
claim("512 numbers, divided by nothing: most pairs have no gradient left", lost, below=1e-8)

# %% [markdown]
# ## 2 · Where the norm sits
#
# A *block* has two branches, attention and a feed-forward layer (`Linear, ReLU, Linear`), and each is
# added to its input. The sum that runs through all blocks is the *residual stream*. A *LayerNorm*
# brings each token to mean 0 and variance 1, and can sit in two places:
#
# - *post-norm*, as in the first transformer: `x = ln(x + branch(x))`, on the stream;
# - *pre-norm*, as in almost every newer one: `x = x + branch(ln(x))`, beside it. One more norm stands
#   behind the last block.

# %%
torch.manual_seed(first_seed)
block, x = TransformerBlock(32, heads=1), torch.randn(1, 6, 32)


def by_hand(x, norm):
    branches = (lambda h: block.attention(h, h, h)[0]), block.feed_forward
    for ln, branch in zip((block.norm1, block.norm2), branches, strict=True):
        x = x + branch(ln(x)) if norm == "pre" else ln(x + branch(x))
    return x


for norm in ("pre", "post"):
    block.norm = norm
    claim(f"{norm}: the course's block", (block(x) - by_hand(x, norm)).abs().max(), below=1e-5)

# %% [markdown]
# Our task is to **reverse a sequence**: six symbols in, the same six backwards out, with eight symbols
# to choose from. The network has an embedding (a learned vector for each symbol), a learned vector for
# each place, and blocks of width 32.
#
# It has not learned anything yet. The loss looks at one place. In pre-norm the stream grows from block
# to block, because every branch adds to it, and a norm divides by its size. Theory follows that size,
# $s_l$ behind block $l$, and says: block $l$ of $L$ gets $s_L/s_l$ times the gradient of the last one,
# and the last one $s_1/s_L$ times that of a network with a single block. In post-norm all sizes are 1.
#
# **Predict.** Pre-norm, 32 blocks: how large is the gradient of the *last* block's weights, relative to
# a network of one block? Write `1` for the same, `0.1` for a tenth.

# %%
prediction = None  # for example: prediction = 0.5

live(
    partial(lesson.measure_initial, first_seed=first_seed, prediction=prediction),
    lesson.draw_initial,
    norm=["pre", "post"],
    blocks=(2, 32),
    panels=[["profile", "last"]],
    play="blocks",
)

# %% [markdown]
# - `pre`: on the right a straight line. Both axes are logarithmic, so this is a power of the depth,
#   about $L^{-1/2}$. On the left the first blocks get more than the last.
# - `post`: flat on the right, at any depth. The last block's gradient is as large in 32 blocks as in 1.
#   On the left it is nearly flat in a network of ten blocks. In 32 blocks the first ones differ more than
#   tenfold from seed to seed (the band), and even their median strays, here to half of the last one's.
#   Theory leaves that out.
#
# So neither vanishes nor explodes at the start. Post-norm has the larger gradients near the end, and
# Xiong et al. concluded that a large learning rate is dangerous there. We shall see what it does.

# %%
for norm, power in (("pre", -0.5), ("post", 0)):
    net = lesson.measure_initial(32, norm, first_seed=first_seed)
    claim(f"{norm}: the last gradient is depth**{power}", net.slope, equals=power, within=0.09)

pre, post = (
    lesson.measure_initial(8, norm, first_seed=first_seed).profile for norm in ("pre", "post")
)
sentence = f"pre-norm, 8 blocks: block 1 gets {2 ** pre.predicted[0]:.1f} times the last one's"
claim(sentence, 2 ** (pre.median[0] - pre.predicted[0]), equals=1, within=0.25)
claim("post-norm, 8 blocks: all within a factor 2", np.abs(post.median).max(), below=1)

# %% [markdown]
# ## 3 · The first steps
#
# Transformers are trained with *Adam*. It keeps a running mean $m$ of the gradient and one, $v$, of its
# square, both corrected for their start at 0, and moves each weight by $\eta\,m/(\sqrt v+\varepsilon)$.
# Here $\eta$ is the learning rate, and $\varepsilon=10^{-8}$ in torch. In the first step $m$ is the gradient
# and $\sqrt v$ its size, so **every weight moves by $\eta$**, unless its gradient is as small as $\varepsilon$
# or exactly 0. (In the figure below a few weights in a hundred have none, behind a ReLU that no token
# opens; so the mean step is a little shorter.) A huge gradient and a tiny one, of which a batch shows
# little more than noise, move alike.
#
# Later the mean over many steps has something to say. If the gradients of a weight agree, it still moves
# by $\eta$ per step. If they are coin flips, $+1$ or $-1$, the mean is small, and after $t$ steps the
# typical move is
#
# $$\eta\,\sqrt{\frac{1-\beta_1}{1+\beta_1}\cdot\frac{1+\beta_1^t}{1-\beta_1^t}}
# \;\longrightarrow\; 0.23\,\eta, \qquad \beta_1 = 0.9.$$
#
# The first steps are the largest *and* the worst informed.

# %%
start = {"warmup": warmup, "learning_rate": learning_rate, "first_seed": first_seed}
for size in (1e-5, 1.0, 1e5):
    (moved,) = lesson.adam_updates(np.array([size]))
    claim(f"a first gradient of {size:g} moves a weight by 1 rate", moved, equals=1, within=1e-6)

flips = np.random.default_rng(first_seed).choice([-1.0, 1.0], size=3000)
late = np.sqrt(np.square(lesson.adam_updates(flips)[500:]).mean())
expected = float(theory.adam_noise_update(1000))
claim("coin flips: later it is 0.23 rates", late, equals=expected, within=0.03, source="derived")

# %% [markdown]
# Now our transformer: 8 blocks, Adam with learning rate 0.003, no warmup, four networks. The left
# picture has one line for each of five steps, from dark to light. The right one shows how far the
# weights of the blocks move in each step, between the two cases of theory.
#
# **Predict.** Post-norm, no warmup. In step 1 all blocks have about the same gradient. Which share of
# it does *block 1* still have in step 3, after two updates?
#
# Look for three things:
#
# - The updates follow the line of the coin flips. A step of 0.003 is not small: a weight is 0.1 to 0.2 in
#   size, and the 32 changes of a unit can add up.
# - The gradient of the first blocks falls to a third and less. In the same steps the *cosine* of two tokens
#   behind the last block (1 for the same direction; see the line under the picture) goes to almost 1: for
#   a while the network says nearly the same whatever it reads.
# - Choose `warmup` 100, and then `pre` without warmup: the lines stay together.

# %%
prediction = None  # for example: prediction = 0.8

live(
    partial(lesson.measure_first_steps, **start, prediction=prediction),
    lesson.draw_first_steps,
    norm=["post", "pre"],
    warmup=[0, 3, 10, 30, 100],
    learning_rate=log(0.0001, 0.01),
    panels=[["gradient", "update"]],
)

# %%
runs = {"no warmup": ("post", 0), "warmup 100": ("post", 100), "pre-norm": ("pre", 0)}
for name, (norm, length) in runs.items():
    *_, runs[name] = lesson.measure_first_steps(norm, length, first_seed=first_seed)
    first = runs[name].update[0] / runs[name].agree[0]
    claim(f"{name}: the first step moves by the rate", first, between=(0.94, 1.001))

free, warm, pre = runs.values()
claim("no warmup: block 1 falls to a third or less in ten steps", free.lowest, below=0.35)
for name, run, most in (("half of what warmup", warm, 0.5), ("what pre-norm", pre, 1)):
    claim(f"that is less than {name} keeps", free.lowest / run.lowest, below=most)
ratio = (free.update / free.noise)[:5].mean()
claim("no warmup: updates are those of coin flips", ratio, equals=1, within=0.15)
alike = [(1 - run.cosine[:10].max()) / (1 - run.cosine[0]) for run in (free, warm)]
claim("no warmup: tokens differ far less than with it", alike[0] / alike[1], below=0.5)

# %% [markdown]
# ## 4 · Warmup, or another norm
#
# A gradient that has shrunk need not be lost for good. So train on: 200 steps of 16 new sequences, three
# networks. Two lines of theory are on each picture. Who guesses among 8 symbols has a loss of $\ln 8$.
# Who knows which symbols the sequence holds, but not where, has 1.40, and an accuracy of 36 %. Both are
# exact; a network that has not found out where to look cannot do better.
#
# **Predict.** Post-norm, no warmup: what accuracy, in percent, after 200 steps?
#
# Then, in this order: `warmup` 100; back to 0 with `norm` `pre`; `post` with learning rate 0.001. Each
# time say first how many of three will solve it.

# %%
prediction = None  # for example: prediction = 90

live(
    partial(lesson.measure_training, **start, prediction=prediction),
    lesson.draw_training,
    norm=["post", "pre"],
    warmup=(0, 150, 10),
    learning_rate=log(0.0003, 0.01),
    max_norm=[math.inf, 1.0, 0.1],
    panels=[["loss", "accuracy"]],
    compare=True,
)

# %% [markdown]
# Look for three things:
#
# - `post`, `warmup` 0: the loss stays *above* the dotted line. These networks do not even know which
#   letters the sequence holds.
# - `post`, `warmup` 100: the accuracy rests at the dotted line (letters, not places); then the network
#   finds out where to look, and the loss drops. How short may the warmup be?
# - `pre`: no rest, no warmup, and solved in half of the time.

# %%
trained = {}
for norm, length, steps in (("post", 0, 200), ("post", 100, 200), ("pre", 0, 100)):
    settings = {"steps": steps, "first_seed": first_seed}
    *_, trained[norm, length] = lesson.measure_training(norm, length, **settings)

stuck, warm, pre = trained.values()
source = "Xiong et al. 2020"
claim("post-norm, no warmup: 3 of 3 fail", stuck.failed, equals=3, source=source)
claim("post-norm, warmup 100: at least 2 of 3 solve it", warm.solved, above=1, source=source)
claim("pre-norm, no warmup, 100 steps: 3 of 3", pre.solved, equals=3, source=source)

letters, right = theory.letters_only(lesson.LENGTH, lesson.SYMBOLS)
claim("no warmup: worse than knowing the letters", stuck.loss[:, -10:].mean(), above=letters)
known = warm.accuracy[:, 70:80].mean() / right
claim("after 80 steps of warmup: the letters", known, between=(0.85, 1.15))

# %% [markdown]
# ## 5 · Warmup, then a cosine
#
# After the warmup most recipes let the learning rate fall along half a cosine. Count the updates from 1.
# With a warmup of $w$ updates, $N$ in all, and a share $f$ of the peak that is left at the end, update $n$
# has this share of the peak:
#
# $$\begin{cases}
# n/w & n\le w\\
# f + (1-f)\,\tfrac12\left(1+\cos\pi\,\frac{n-1-w}{N-w}\right) & w<n\le N\\
# f & n>N
# \end{cases}$$
#
# The green line is the version of many notes, `peak * step / warmup` with a step that counts from 0. It
# has two faults. Its first update has learning rate **0**: no weight moves (with Adam, only $m$ and $v$
# change). And after the end the cosine comes back up: who trains longer trains at a rate that rises again.
#
# **Predict.** `warmup` 20, `total` 100, `final` 0: which share of the peak is left at update 80?

# %%
prediction = None  # for example: prediction = 0.25

live(
    partial(lesson.measure_schedule, prediction=prediction),
    lesson.draw_schedule,
    warmup=(0, 50),
    total=(50, 500, 10),
    final=(0.0, 1.0, 0.05),
    panels=[["run", "first"]],
)

# %%
optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
parts = [LinearLR(optimizer, 1 / 20, total_iters=19), CosineAnnealingLR(optimizer, 80)]
both, rates = SequentialLR(optimizer, parts, milestones=[20]), []
for _ in range(100):
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    both.step()
away = np.abs(rates - lesson.measure_schedule(20, 100).rate[:100]).max()
claim("the course's schedule is torch's, from two parts", away, below=1e-9)

noted = lesson.zero_based(np.array([0, 180, 999]), 20, 100)
claim("in many notes the first update has rate 0", noted[0], equals=0)
claim("and 80 updates after the end it is back at the peak", noted[1], equals=1, within=1e-9)
noted = lesson.zero_based(np.arange(1000), 4000, 100_000).max()
claim("warmup 4000: a run of 1000 sees a quarter of the peak", noted, equals=0.25, within=1e-3)

# %% [markdown]
# ## 6 · Clip at 1.0
#
# Transformers are usually clipped, at a global norm of 1.0. How often does that act? The left picture
# counts the first 100 steps of a training of section 4, and compares with norms that are log-normal.
# (With pre-norm the fit is worse: its gradient does not only scatter, it shrinks as the task is solved.)
#
# And what does it change? Adam divides by the size of past gradients, so multiplying *all* of them by
# one number changes nothing. *One* gradient that is out of line is another matter. The right picture
# shows a weight whose gradients are all 1, but for one spike, late in the run. Without clipping (black)
# the weight first leaps, and then goes on at a quarter of its pace (after a spike of 1000 it almost
# stands still), because $v$ remembers the spike for a thousand steps.
#
# Language models are mostly fine-tuned with *AdamW*, clipped at 1.0. AdamW also shrinks each weight by a share
# of itself in each step (*weight decay*). It does so beside the gradient, so no `max_norm` bounds it.
#
# **Predict.** Post-norm with warmup: which share of the steps, in percent, has a gradient above 1?
#
# Move `max_norm` below 1: the left share grows, the right picture stays. Then above 1: the spike shows.

# %%
prediction = None  # for example: prediction = 5

live(
    partial(lesson.measure_clipping, first_seed=first_seed, prediction=prediction),
    lesson.draw_clipping,
    max_norm=log(0.01, 100),
    spike=log(1, 1000),
    run=list(lesson.RUNS),
    panels=[["share", "update"]],
)

# %%
gaps, noise = [], np.random.default_rng(first_seed).normal(size=300)
for run, bounds in (("post-norm, warmup 100", (0.8, 1)), ("pre-norm", (0.05, 0.4))):
    *_, found = lesson.measure_clipping(1.0, 100.0, run, first_seed)
    claim(f"{run}: share of steps that 1.0 clips", found.at, between=bounds)
    gaps.append(np.abs(found.share - found.predicted_share).max())
claim("the log-normal is further off with pre-norm", gaps[1] - gaps[0], above=0)

gap = np.abs(lesson.adam_updates(noise) - lesson.adam_updates(1000 * noise)).max()
claim("1000 times the gradient: Adam's steps are the same", gap, below=1e-6)

claim("a spike of 100, not clipped: 2.7 rates", found.free[999], equals=2.66, within=0.01)
claim("and 50 steps later a quarter of its pace", found.free[1049], equals=0.27, within=0.02)
claim("clipped: as if nothing had been", np.abs(found.update - 1).max(), below=1e-6)

weight = nn.Parameter(torch.ones(1))
weight.grad = torch.zeros(1)
torch.optim.AdamW([weight], lr=0.003, weight_decay=0.1).step()
claim("AdamW, gradient 0: the decay moves it all the same", 1 - weight, equals=3e-4, within=1e-6)

# %% [markdown]
# ## Heard and measured
#
# **"No warmup, and a transformer fails."** True for post-norm at learning rate 0.003: 0 of 3 solve the
# task. False for pre-norm: 3 of 3, in half of the steps. And false for post-norm at 0.001, which gets
# there slowly. It is a sentence about one place of the norm and one size of step.
#
# **"For a transformer: LayerNorm and warmup."** Half true. The first half holds: 8 blocks with Xavier's
# weights and without any norm start at a loss above 5, where guessing has 2.1. But *where* the norm sits
# decides whether the second half is needed.
#
# **"Without warmup the gradients become huge."** False here. Over steps 11 to 100 they are *smaller* than
# those of the run with warmup. What is too large is the step, and Adam's step does not depend on the
# size of the gradient.
#
# **"Clipping at 1.0 does the job of a warmup."** False with Adam: 0 of 2. It bounds the gradient and not
# the step.
#
# **"If clipping acts at most steps, something is wrong."** False with Adam. The run with warmup exceeds
# 1.0 at more than 80 % of its first 100 steps, and solves the task. A *change* of that share is news.

# %%
slow = {"steps": 240, "seeds": 2, "first_seed": first_seed}
*_, gentle = lesson.measure_training(learning_rate=0.001, **slow)
claim("post-norm, no warmup, rate 0.001: both learn", gentle.failed, equals=0)

torch.manual_seed(first_seed)
bare = lesson.Reverser("none")
initialize(bare.blocks, "xavier_normal")
inputs, targets = reversal(64, seed=first_seed)
loss = nn.functional.cross_entropy(bare(inputs)[0].flatten(0, 1), targets.flatten())
claim("no norm at all: the loss at the start", loss, above=5)

sizes = [np.median(run.gradient[:, 10:100]) for run in (stuck, warm)]
claim("no warmup: the gradient is smaller", sizes[0] / sizes[1], below=0.8)
clipped = {"max_norm": 1.0, "seeds": 2, "first_seed": first_seed}
*_, capped = lesson.measure_training(**clipped)
claim("no warmup, clipped to 1: 2 of 2 fail", capped.failed, equals=2)

# %% [markdown]
# ## Exercise
#
# 1. Write the share of the peak for the update that follows `step` updates (so `step` is 0 for the first
#    one). It ends at `final` and stays there.
# 2. Peak 0.003, warmup of 100 updates. How far can Adam carry one weight *during the warmup*, if all its
#    gradients agree?


# %%
def factor(step, warmup, total, final):
    """Return the share of the peak, between 0 and 1."""
    return ...


answer = ...  # the way of one weight

print(lesson.check_warmup_cosine(factor))
print(lesson.check_way(answer))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. Three cases. For the cosine, let a `progress` go from 0, at `step == warmup`, to 1, and no further.
# 2. Each update moves the weight by its learning rate: 1/100 of the peak, 2/100, ... Add them up.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def factor(step, warmup, total, final):
#     if step < warmup:
#         return (step + 1) / warmup
#     progress = min(1, (step - warmup) / (total - warmup))
#     return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
#
# answer = 0.003 * sum(n / 100 for n in range(1, 101))
# ```
#
# It is 0.1515, about the size of a weight. Without warmup it would be twice that.
#
# </details>
#
# ## Remember
#
# 1. Scores grow like $\sqrt d$. Divide by it, or the softmax saturates: most pairs of tokens then get no
#    gradient.
# 2. At the start: pre-norm, the last gradient falls like $1/\sqrt L$; post-norm, it does not.
# 3. Adam's first steps move every weight by the learning rate, however little the gradient knows.
# 4. Post-norm needs a warmup (or a smaller rate): a few full steps can make it blind to its input.
# 5. With Adam a constant factor cancels: a clip matters by what it does to *relative* sizes, most of all to
#    a spike. Warmup bounds the step.
#
# ## References
#
# - A. Vaswani et al., *Attention is all you need*, NeurIPS 2017.
# - R. Xiong et al., *On layer normalization in the transformer architecture*, ICML 2020.
# - L. Liu et al., *On the variance of the adaptive learning rate and beyond*, ICLR 2020.
# - D. Kingma, J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015.
# - I. Loshchilov, F. Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017.
# - I. Loshchilov, F. Hutter, *Decoupled weight decay regularization*, ICLR 2019: AdamW.
# - P. Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017, on warmup for
#   large batches.
