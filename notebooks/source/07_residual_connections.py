# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Residual connections
#
# **Question.** Take a network of 200 blocks and add one `x +` to each block. The gradient that was
# lost arrives. What did the sum do, and what does it cost?
#
# A *residual block* returns $x + a\,f(x)$. The part $x$ is the *skip*, $f$ is the *branch*, and $a$ is
# the *branch scale*. You will send gradients down the highway of skips, find out how large a branch
# may be, train networks of 100 layers, and look at the blocks that transformers are made of.

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
from gradcourse.initialization import ReZero, fixup_, mean_field_
from gradcourse.lessons import residual_connections as lesson
from gradcourse.live import live, log
from gradcourse.models import ResidualMLP
from gradcourse.signals import residual_signal
from gradcourse.tasks import digits
from gradcourse.training import one_thread

# %% tags=["parameters"]
blocks = 200
branch_scale = 0.24
skip = False
seed = 0

# %% [markdown]
# ## 1 · A sum lets the gradient pass
#
# A product of slopes vanishes if each slope is small. A sum changes the slope itself:
#
# $$\frac{d}{dx}\,f(x) = f'(x), \qquad \frac{d}{dx}\,\big(x + f(x)\big) = 1 + f'(x).$$
#
# If $f'$ is 0.01, a chain of plain layers multiplies 0.01 by 0.01 by 0.01. A chain of sums multiplies
# 1.01 by 1.01 by 1.01. This is the smallest code that shows it, with 50 layers
# $f(x) = 0.01\tanh x$.

# %%
slopes = {}
for way in ("plain", "sum"):
    x = h = torch.tensor(0.001, dtype=torch.float64, requires_grad=True)
    for _ in range(50):
        h = 0.01 * torch.tanh(h) + (h if way == "sum" else 0)
    (slopes[way],) = torch.autograd.grad(h, x)

claim("50 plain layers leave 1e-100", slopes["plain"].log10(), equals=-100, within=0.01)
claim("50 sums leave 1.01**50", slopes["sum"], equals=1.01**50, within=1e-4, source="calculus")

# %% [markdown]
# ## 2 · The highway
#
# Now a network. Its blocks are $x + a\,W_2\,\mathrm{relu}(W_1 x)$, 64 units wide, and the input is a
# batch of real digits. The weights are random, and chosen so that a branch alone, with $a=1$, keeps
# the mean square of its input: variance $1/n$ in $W_1$, and He's $2/n$ in $W_2$, because the ReLU in
# front of it throws half away.
#
# The branch scale $a$ then says how strong the branch is. `nn.Linear` as torch makes it, without its
# biases, amounts to $a = \sqrt{1/18} \approx 0.24$: its variance is $1/(3n)$ in both layers.
#
# The figure starts with 200 such blocks *without* skips. **Predict.** Now the skips are switched on.
# By which power of ten does the gradient change on its way from the last block to the first? Write
# `-3` for a factor 0.001, `0` for no change, `3` for a factor 1000. Then tick `skip`.

# %%
first_seed = 1000 * seed
prediction = None  # for example: prediction = -3
start = {"blocks": blocks, "branch_scale": branch_scale, "skip": skip}

live(
    partial(lesson.measure_highway, **start, first_seed=first_seed, prediction=prediction),
    lesson.draw_highway,
    blocks=(1, 200),
    branch_scale=(0.01, 2.0, 0.01),
    skip=False,
    width=[16, 32, 64],
    panels=[["gradient", "signal"]],
    compare=True,
    play="blocks",
)

# %% [markdown]
# Read the left picture from right to left: the gradient starts at the last block. The blue line is
# the median of 8 networks, the band their range. The dashed line is theory, in the next section.
#
# - `skip` off: move `branch_scale` through 1. Only near 1 does the gradient survive, and even there the
#   median network loses about two powers of ten. Below it vanishes, above it explodes: an edge.
# - `skip` on, `branch_scale` from 0.01 to 0.1: almost nothing happens. The edge has become a plain.
# - `skip` on, `branch_scale` 1: the gradient *explodes*. The skip is no cure for large branches.
# - `skip` on, `branch_scale` 2: the picture says at which block float32 ends.
# - `skip` off, `branch_scale` 1, `width` 16: the band widens and the median sinks below theory. That
#   is the lottery of narrow networks. With skips and a small branch there is no lottery.

# %%
runs = [(0.24, False, 4), (0.24, True, 0.2), (0.07, True, 0.1), (1.0, True, 2), (1.0, False, 4)]
for a, way, error in runs:
    run = lesson.measure_highway(200, a, way, first_seed=first_seed)
    power, expected = run.gradient.median[0], run.gradient.predicted[0]
    sentence = f"branch scale {a}, skips {'on' if way else 'off'}: theory 10**{expected:.1f}"
    source = "Zhang et al. 2019" if way else "He et al. 2015"
    claim(sentence, power, equals=expected, within=error, source=source)
two = lesson.measure_highway(200, 2.0, True, first_seed=first_seed).forward_overflow
claim("at branch scale 2 float32 ends near block 110", two, between=(100, 125))

# %% [markdown]
# ## 3 · How large may a branch be?
#
# The last weights of a branch are random and average 0. So its output is as often along $x$ as
# against it: the two are uncorrelated, and their mean *squares* add. If the branch alone multiplies
# the mean square by the *gain* $\kappa$, one block multiplies it by $1 + a^2\kappa$. The gradient on
# its way back passes the same sum, so the same holds for it. After $L$ blocks
#
# $$\text{mean square} \;\propto\; (1 + a^2\kappa)^L .$$
#
# **Predict.** 100 blocks with skips, $\kappa=1$. At which branch scale does the gradient's norm grow
# tenfold? The star will stand at your branch scale, at the height of ten.

# %%
prediction = None  # for example: prediction = 0.5

live(
    partial(lesson.measure_branches, first_seed=first_seed, prediction=prediction),
    lesson.draw_branches,
    blocks=(1, 200),
    compare=True,
    play="blocks",
)

# %% [markdown]
# The green line is steep: without skips, depth turns any $a\ne 1$ into a disaster. The blue line is
# flat up to about $1/\sqrt L$, the dotted line, and bends upward there. More blocks move the bend to
# the left.
#
# - *Unscaled branches*, $a=1$ and $\kappa=1$: each block **doubles** the mean square, so $2^L$ after $L$
#   blocks.
# - *Scaled branches*, $a = 1/\sqrt L$: the growth is $(1+1/L)^L$, less than $e$ for any $L$. All blocks
#   together multiply the mean square by less than 2.72; a single unscaled block doubles it.
#
# The two claims for $2^L$ use wide networks and 10 blocks: a mean over seeds of numbers that spread
# over many powers of ten would need very many seeds.

# %%
inputs, _ = digits(8, first_seed)
doubled = residual_signal(inputs, 256, 10, [0.5, 1.0], seeds=16, first_seed=first_seed)
forward = doubled.log10_activation[..., -1] - doubled.log10_activation[..., 0]
for way, rows in (("forward", forward), ("backward", doubled.log10_gradient[..., 0])):
    for a, found in zip((0.5, 1.0), (100**rows).mean(axis=1), strict=True):
        each, factor = found**0.1, 1 + a**2
        sentence = f"{way}, branch scale {a}: a block multiplies the mean square by {factor}"
        claim(sentence, each, equals=factor, within=0.05 * factor, source="Zhang et al. 2019")

for depth in (10, 100):
    capped = residual_signal(inputs, 128, depth, depth**-0.5, first_seed=first_seed)
    growth = (100 ** capped.log10_gradient[0, :, 0]).mean()
    cap = (1 + 1 / depth) ** depth
    claim(f"1/sqrt({depth}): growth near {cap:.2f}", growth, equals=cap, within=0.1 * cap)
    claim("a formula that stays below e", cap, below=math.e, source="calculus")

# %% [markdown]
# ## 4 · The block that everybody writes
#
# This block stands in many notes and tutorials, with the comment "gradient highway". What is its gain
# $\kappa$? For `Linear, ReLU, Linear` it is the product of the two weight variances (each times the
# number of inputs), divided by 2 for the ReLU.
#
# - As torch makes it, $\kappa = \tfrac13\cdot\tfrac13/2 = 1/18$, plus what the biases add.
# - With He's weights in *both* layers, $\kappa = 2\cdot 2/2 = 2$, and each block **triples** the mean
#   square. He's factor 2 belongs behind a ReLU, and nothing precedes the first layer.
#
# Two recipes go further and start every block as the *identity*, so that the first signal passes 200
# blocks unchanged:
#
# - **ReZero** multiplies the branch by a number that is learned and starts at 0.
# - **Fixup** sets the last weights of each branch to 0, and makes the others smaller by a power of $L$.
#
# Both keep the gradient. Neither stops learning: the zeros have a gradient of their own, and it is
# not 0.


# %%
class ResBlock(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d))

    def forward(self, x):
        return x + self.layers(x)


torch.manual_seed(first_seed)
x = torch.randn(64, 256)
for name, scale, factor in (("torch's", None, 1 + 1 / 18), ("He's", math.sqrt(2), 3)):
    stack = nn.Sequential(*(ResBlock(256) for _ in range(10)))
    y = (stack if scale is None else mean_field_(stack, scale))(x)
    each = (y.square().sum() / x.square().sum()) ** 0.1
    claim(
        f"{name} weights: x {factor:.2f} per block", each, equals=factor, within=0.15 * (factor - 1)
    )

# %%
net, x = ResidualMLP(64, 32, blocks=200, out_features=10, bias=False), torch.randn(32)
rezero = nn.Sequential(*(ReZero(block.branch) for block in net.blocks))
claim("ReZero: 200 blocks change nothing", (rezero(x) - x).abs().max(), equals=0)

fixup_([block.branch for block in net.blocks])
claim("Fixup: 200 blocks change nothing", (net.blocks(x) - x).abs().max(), equals=0)
net.blocks(x).square().sum().backward()
gradient = net.blocks[0].branch[2].weight.grad.norm()
claim("yet its zeros have a gradient", gradient, above=0, source="Zhang et al. 2019")

# %% [markdown]
# ## 5 · A hundred layers learn digits
#
# So far nothing has learned. Here three networks of 50 blocks (102 weight layers, 32 units wide) train
# for 60 steps of SGD with momentum. Choose what a block is: `plain` is the branch without its skip,
# at $a=1$, where the gradient survives. `skip` adds the same branch as it is.
#
# **Predict.** What accuracy, in percent, has the plain network after 60 steps? Then go through the
# other four, and say each time how many of the three networks will learn. (To learn is to read 70 %
# of the held-out digits. The figure trains while you watch; a bar shows how far it is.)

# %%
prediction = None  # for example: prediction = 80

live(
    partial(lesson.measure_training, first_seed=first_seed, prediction=prediction),
    lesson.draw_training,
    network=list(lesson.NETWORKS),
    blocks=[5, 10, 25, 50],
    learning_rate=log(0.001, 0.1),
    panels=[["loss", "accuracy"]],
    compare=True,
)

# %% [markdown]
# Look for three things:
#
# - `plain`, 50 blocks: the loss stays where guessing is; with 5 blocks it falls. Little of that is the
#   gradient's fault: at $a=1$ it loses about one power of ten. But the *signal* has changed: after 50
#   plain blocks all digits point the same way. Their *cosine* (1 for the same direction) is almost 1.
#   Behind 50 sums it is not.
# - `skip`, 50 blocks: NaN at once, even at learning rate 0.001. The loss starts too high.
# - The three scaled ones learn at 0.01. At 0.1 `Fixup` still does, and `ReZero` does not.

# %%
trials = [("plain", 0.01, 0), ("skip", 0.001, 0), ("skip / sqrt(L)", 0.01, 3), ("ReZero", 0.01, 3)]
trials += [("Fixup", 0.01, 3), ("ReZero", 0.1, 0), ("Fixup", 0.1, 3)]
for network, rate, expected in trials:
    *_, done = lesson.measure_training(network, 50, rate, first_seed=first_seed)
    claim(f"{network}, rate {rate}: {expected} of 3 learn", done.learned, equals=expected)
    if network == "skip":
        claim("skip: all three end in NaN", done.lost, equals=3)

kept = lesson.measure_highway(50, 1.0, False, 32, first_seed=first_seed).gradient.median[0]
claim("plain: 50 blocks take about one power of ten", kept, equals=-1, within=0.6)
for network, bounds in (("plain", (0.95, 1)), ("skip / sqrt(L)", (-0.2, 0.6))):
    net = lesson.make(network, 50, first_seed)
    seen = nn.functional.normalize(net.blocks(net.first(digits(64, first_seed)[0])), dim=1)
    cosine = (seen @ seen.T).detach().fill_diagonal_(0).sum() / (64 * 63)
    claim(f"{network}: cosine of two digits after 50 blocks", cosine, between=bounds)

# %% [markdown]
# ## 6 · A sum of many paths
#
# Multiply out three blocks, $(1+f_1)(1+f_2)(1+f_3)$: there are $2^3$ ways through them, because each
# block is either passed or skipped. Veit et al. concluded that a residual network behaves like an
# ensemble of shallow networks: take one block out *after* training, and only the paths through it are
# lost. In a plain network there is one path.
#
# The next cell trains networks of 5 blocks (both kinds learn), removes one block at a time, and
# looks at the digits that were held out.

# %%
for network, bounds in (("plain", (0.4, 1)), ("skip / sqrt(L)", (-0.05, 0.1))):
    intact, without = lesson.delete_blocks(network, 5, first_seed=first_seed)
    print(f"{network}: {intact.mean():.0%}; without block 1 to 5:", without.mean(0).round(2))
    claim(f"{network}, 5 blocks: it learns", intact.min(), above=0.6)
    loss = (intact[:, None] - without).mean()
    claim(f"{network}: accuracy lost with a block", loss, between=bounds, source="Veit et al. 2016")

# %% [markdown]
# ## 7 · Transformer blocks
#
# A transformer block has two branches, attention and a feed-forward layer. The block below stands in
# many tutorials. It is *pre-norm*: each branch sees a normalised input, and the skip passes beside the
# norm. Some tutorials call a class that torch does not have (`MultiHeadAttention`), with one argument.
# Torch's `nn.MultiheadAttention` wants queries, keys and values, and returns two things.
#
# A *post-norm* block puts the norm behind the sum, on the highway: `x = ln(x + branch(x))`.
#
# **Predict.** In a pre-norm network of 32 blocks, how large is the gradient of the *last* block's
# weights, compared with the last block of a one-block network? The loss looks at one token, behind a
# last norm. Write `1` for the same, `0.1` for a tenth.


# %%
class TransformerBlock(nn.Module):
    def __init__(self, d, heads=2):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        h = self.ln1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.ln2(x))


print(TransformerBlock(32)(torch.zeros(1, 8, 32)).shape)  # one sequence, eight tokens

# %%
prediction = None  # for example: prediction = 0.5

live(
    partial(lesson.measure_transformer, first_seed=first_seed, prediction=prediction),
    lesson.draw_transformer,
    blocks=(2, 48),
    norm=["pre", "post"],
    panels=[["gradient", "stream"]],
    compare=True,
    play="blocks",
)

# %% [markdown]
# Both axes are logarithmic, so a power of the depth is a straight line.
#
# - `pre`: each block adds to the stream and nothing divides it, so it grows, soon like $\sqrt L$. The
#   last norm divides by its size, forward and backward. The gradient of the last block falls like
#   $1/\sqrt L$, slope $-1/2$: a mirror image of the right picture.
# - `post`: the norm resets the stream to 1 behind every sum. The last block's gradient is as large in
#   a network of 48 blocks as in one of 2.
#
# Xiong et al. see in the large gradient of the last blocks the reason why post-norm transformers are
# started with a small learning rate (*warmup*, lesson 10). The theory is for infinite width, and lets each
# token attend to all equally; these networks are 32 wide, with random queries.

# %%
for norm, tolerance in (("pre", 0.08), ("post", 0.08)):
    net = lesson.measure_transformer(48, norm, seeds=6, first_seed=first_seed)
    sentence, slope = f"{norm}-norm: slope of ln(gradient) over ln(depth)", net.predicted_slope
    claim(sentence, net.slope, equals=slope, within=tolerance, source="Xiong et al. 2020")
    if norm == "pre":
        product = np.log(net.gradient[3:] * net.stream[3:])
        left, _ = np.polyfit(np.log(range(4, 49)), product, 1)
        claim("pre-norm: gradient times stream has slope 0", left, equals=0, within=0.1)

# %% [markdown]
# ## Heard and measured
#
# **"Residual connections solve vanishing gradients."** True at the start of training: $1+a^2\kappa$
# is never below 1. But alone they trade the disease: 200 unscaled blocks ($a=1$) multiply the norm by
# about $10^{29}$ (section 2). The cure is a skip *and* a small branch.
#
# **"Residual connections help against exploding gradients"** (they are on many lists of cures). False at
# the start of training. With random weights branch and skip are uncorrelated, so the skip adds:
# $1 + a^2\kappa$ is larger than $a^2\kappa$. At $a=1$ the gradient of section 2 survives without skips,
# and explodes with them.
#
# **"A residual network cannot vanish."** True for $x + a f(x)$ with random weights, as at the start. Not
# for any weights: 200 blocks $x - 0.24\tanh x$ have slope 0.76 each, and leave $10^{-24}$. And false when
# something that shrinks a gradient stands *on* the highway. A skip multiplied by 0.9 loses nine powers
# of ten in 200 blocks, and a sigmoid behind each sum loses everything. (A LayerNorm or a ReLU behind
# each sum costs less than one power of ten in 200 blocks with small branches.)
#
# **"ReLU, careful initialisation and normalisation fixed most, residual connections fixed the rest."**
# Fair for depth, with two amendments. The plain network of section 5 has ReLU and careful weights:
# with 5 blocks it learns, with 50 none of three does. And the skip alone does not fix it: 0 of 3 with
# `skip`, 3 of 3 once its branch is scaled. (Normalisation has lesson 06 to itself.)
#
# **"Modern transformers use all four by default** (a smooth activation, Xavier or He, normalisation,
# skips): **that is why they train at depth."** Half true. Leave one out of a transformer of 12 blocks
# and train it for 50 steps of Adam at 0.003 on digits, row by row as tokens. Without skips, or without
# norms, it has learned nothing by then. (Without skips it is slow, not lost: at a tenth of the rate and
# after 200 steps it reads a third of the digits.) With torch's own weights it learns, and with a sigmoid
# too, only slower.


# %%
@one_thread()  # small networks are faster on one
def survives(after, skip_scale=1.0):
    torch.manual_seed(first_seed)
    h = x = torch.randn(8, 64, requires_grad=True)
    for one, two in torch.randn(200, 2, 64, 64) / 8:
        h = after(skip_scale * h + 0.1 * torch.relu(h @ one) @ two)
    (gradient,) = torch.autograd.grad(h, x, torch.randn(8, 64))
    return (gradient.norm() / math.sqrt(8 * 64)).clamp(min=1e-45).log10()


# %%
norm = partial(nn.functional.layer_norm, normalized_shape=(64,))
expected = theory.log10_residual_norm(200, 0.1, theory.relu_branch_gain(1, 1), 0.9)
claim("a skip of 0.9 loses 9 powers", survives(lambda h: h, 0.9), equals=expected, within=0.3)
claim("a sigmoid behind the sum loses all", survives(torch.sigmoid), below=-40)
for name, after in (("LayerNorm", norm), ("ReLU", torch.relu)):
    claim(f"{name} behind the sum: not one power", survives(after), between=(-1, 1))

x = h = torch.tensor(0.001, dtype=torch.float64, requires_grad=True)
for _ in range(200):
    h = h - 0.24 * torch.tanh(h)
power = torch.autograd.grad(h, x)[0].log10()
claim("200 blocks x - 0.24 tanh x leave 10**-24", power, equals=-24, within=0.5, source="calculus")

# %%
names, count = lesson.RECIPES, 2
accuracy = {name: lesson.train_transformers(name, count, first_seed).mean() for name in names}
for recipe in ("no skips", "no norm"):
    claim(f"{recipe}, 50 steps at 0.003: it learns nothing", accuracy[recipe], below=0.22)
for recipe, least in (("all four", 0.5), ("torch's weights", 0.4), ("sigmoid", 0.25)):
    claim(f"{recipe}: it learns", accuracy[recipe], above=least)
claim("sigmoid: behind all four", accuracy["all four"] - accuracy["sigmoid"], above=0.08)
late = lesson.train_transformers("no skips", 1, first_seed, steps=200, rate=0.0003)
claim("no skips, 200 steps at 0.0003: slow, not lost", late.mean(), above=0.2)

# %% [markdown]
# ## Exercise
#
# 1. Write the factor by which one block $x + a\,W_2\,\mathrm{relu}(W_1 x)$ multiplies the mean square.
#    `first` and `second` are the variances of the two weights, times their number of inputs.
# 2. A network has 100 blocks with torch's own weights and no biases (both variances 1/3). At which
#    branch scale does the *norm* of its gradient grow tenfold?


# %%
def square_factor(first, second, scale):
    """Return the factor per block."""
    return ...


answer = ...  # the branch scale

print(lesson.check_square_factor(square_factor))
print(lesson.check_branch_scale(answer))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. Skip and branch are uncorrelated. Which of their sizes add? And what does the ReLU throw away?
# 2. The norm is the root of the mean square. Solve $(1+a^2\kappa)^{100/2} = 10$ for $a$.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def square_factor(first, second, scale):
#     return 1 + scale**2 * first * second / 2
#
# answer = math.sqrt((10 ** (2 / 100) - 1) / (1 / 3 * 1 / 3 / 2))
# ```
#
# It is 0.92: 100 blocks as torch makes them need almost no scaling.
#
# </details>
#
# ## Remember
#
# 1. A sum has slope $1+f'$: the gradient passes even where the branch passes nothing.
# 2. A block multiplies mean squares by $1+a^2\kappa$, forward and backward; without the skip by
#    $a^2\kappa$, and that must be exactly 1.
# 3. Unscaled branches explode, $(1+\kappa)^L$: $2^L$ for $\kappa=1$. Scale them by $1/\sqrt L$ (growth
#    below $e$) or start at 0.
# 4. Keep the highway free: what stands on it (a factor below 1, a sigmoid) is multiplied $L$ times.
# 5. Pre-norm: the last gradient falls like $1/\sqrt L$. Post-norm: it does not depend on depth.
#
# ## References
#
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving deep into rectifiers*, ICCV 2015; *Deep residual learning
#   for image recognition*, CVPR 2016; and *Identity mappings in deep residual networks*, ECCV 2016.
# - A. Veit, M. Wilber, S. Belongie, *Residual networks behave like ensembles of relatively shallow
#   networks*, NeurIPS 2016.
# - H. Zhang, Y. Dauphin, T. Ma, *Fixup initialization: residual learning without normalization*, ICLR
#   2019.
# - S. De, S. Smith, *Batch normalization biases residual blocks towards the identity function in deep
#   networks*, NeurIPS 2020.
# - T. Bachlechner et al., *ReZero is all you need: fast convergence at large depth*, UAI 2021.
# - R. Xiong et al., *On layer normalization in the transformer architecture*, ICML 2020.
