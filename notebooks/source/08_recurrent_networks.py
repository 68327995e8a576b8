# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Recurrent networks
#
# **Question.** A network reads a hundred symbols, and must answer with what the first one said. How
# much of its gradient arrives there, and what lets more of it through?
#
# A *recurrent* network reads a sequence step by step. It keeps a *state* $h$, and makes the next state
# from the last one and the next input, with *the same weights at every step*. Backwards it is a network
# as deep as the sequence is long, so everything of lesson 01 happens to it, with one difference: all its
# layers are one and the same matrix. You will watch that matrix, then noise, then gates, and then train.
#
# The state passes everything on, like the state of a hidden Markov model: step 1 reaches the end only
# through every state between, and the gradient must travel the same chain back. A translator that reads
# one sequence and then writes another (*encoder-decoder*, *seq2seq*) only makes the chain longer.

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
from scipy.special import expit, logit
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from gradcourse import claim, theory
from gradcourse.lessons import recurrent_networks as lesson
from gradcourse.live import live, log
from gradcourse.tasks import temporal_order

# %% tags=["parameters"]
steps = 50
max_norm = 1.0
seed = 0

# %% [markdown]
# ## 1 · The same matrix, many times
#
# Leave out inputs and activations: $h_t = W h_{t-1}$. The gradient at a state $t$ steps back is
# $(W^{\mathsf T})^t$ times the gradient at the last one. In the long run it changes by the *spectral
# radius* $\rho$ at each step, the size of the largest eigenvalue of $W$. So $\rho<1$ means vanishing,
# you would think.
#
# But $\rho$ speaks of the long run only. How far *one* step can stretch a vector is another number,
# the largest *singular value*. The next cell takes a matrix with both eigenvalues 0.9, and a 5 beside
# them (a *Jordan block*; we call the 5 its *shear*).
#
# **Predict.** Backwards from a gradient of length 1 in the worst direction: how long does it ever get?
# Write your guess into the cell after the next, such as `2` for twice as long.

# %%
matrix = torch.tensor([[0.9, 5.0], [0.0, 0.9]])
states = [torch.ones(2, requires_grad=True)]
for _ in range(60):
    states.append(matrix @ states[-1])
states[-1].backward(torch.tensor([1.0, 0.0]))

print(f"60 steps back: {states[0].grad.norm():.2f}")

# %%
prediction = None  # for example: prediction = 2
first_seed = 1000 * seed

live(
    partial(lesson.measure_powers, first_seed=first_seed, prediction=prediction),
    lesson.draw_powers,
    radius=(0.5, 1.2, 0.05),
    shear=(0.0, 10.0, 0.5),
    kind=["Jordan", "Gaussian", "orthogonal"],
    steps=(10, 100),
    compare=True,
)

# %% [markdown]
# The green line is the worst direction, the blue one a typical direction, each beside its theory. The
# black one is $\rho^t$. Look for the *hump*: the gradient explodes for a while and vanishes in the end.
#
# - `shear` 0: no hump. Both singular values are now $\rho$.
# - `shear` 5 again, `radius` 1: the hump never comes down. It grows like $t$, with both eigenvalues at 1.
# - `radius` 0.9, `Gaussian`: a random matrix 64 wide has a hump as well. One step stretches by about $2\rho$,
#   $t$ steps by about $\rho^t\sqrt{e(t+1)}$, if the matrix is wide and $t$ small beside its width. (Ours
#   is narrow: the green line stays below theory, and goes parallel to the black one.)
# - `orthogonal`: eigenvalues and singular values all have size $\rho$. Nothing but $\rho^t$ is left,
#   in every direction. At $\rho=1$ every gradient is kept.

# %%
found = lesson.measure_powers(first_seed=first_seed)
place, longest = found.peak
claim("the longest gradient comes after 9 steps", place, equals=9, source="calculus")
claim("it is 19.37 times the first one", longest, equals=19.37, within=0.02, source="calculus")
late = np.diff(lesson.measure_powers(steps=100, first_seed=first_seed).largest)[-1]
claim("in the long run a step keeps 0.9 and a little more", 10**late, between=(0.9, 0.92))
claim("with shear 0 nothing grows", lesson.measure_powers(shear=0).peak[1], equals=1)
calm = lesson.measure_powers(0.5, 0.4, first_seed=first_seed).peak[1]
claim("largest singular value 0.74: never longer than 1", calm, equals=1)

gauss = lesson.measure_powers(kind="Gaussian", first_seed=first_seed)
claim("Gaussian, radius 0.9: it grows all the same", gauss.peak[1], above=1.4)
claim("one step stretches by about 2 radii", 10 ** gauss.largest[1] / 0.9, between=(1.6, 2.05))
kept = lesson.measure_powers(1.0, kind="orthogonal", steps=100, first_seed=first_seed)
error = max(np.abs(kept.low).max(), np.abs(kept.high).max())
claim("orthogonal, radius 1: each direction keeps its length", error, below=1e-10)

# %% [markdown]
# ## 2 · A tanh, and noise
#
# Now $h_t = \tanh(W h_{t-1} + x_t)$, with weights $\mathcal N(0, g^2/n)$: $g$ is the *gain*. On the way back
# a step multiplies by $W^{\mathsf T}$ and by the slopes of tanh, so the squared norm changes by
#
# $$\chi = g^2\,\mathbb E\big[\tanh'(\sqrt q\,z)^2\big],\qquad q = g^2\,\mathbb E\big[\tanh(\sqrt q\,z)^2\big]+s^2,
# \qquad z\sim\mathcal N(0,1).$$
#
# Here $q$ is the variance of what goes into a tanh, and $s^2$ the part that the *input* adds to it.
# It is the formula of lesson 01, with the input in the place of the bias. Where $\chi=1$ is the *edge of
# chaos*: beyond it two states that differ by a hair end far apart, and gradients explode.
#
# **Predict.** Without input the edge lies at gain 1. Let the input be noise of standard deviation 0.5.
# Where is the edge now: below 1, at 1, or above, and where? Your star appears at `noise` 0.5.

# %%
prediction = None

live(
    partial(lesson.measure_chaos, first_seed=first_seed, prediction=prediction),
    lesson.draw_chaos,
    panels=[["factor", "norm"]],
    gain=(0.5, 2.5, 0.1),
    noise=(0.0, 2.0, 0.1),
)

# %% [markdown]
# Drag `noise` and watch the edge move right: the more the input says, the more units it pushes into the
# flat ends of tanh, where the slope is small. **Noise calms.** A network that would explode in silence
# forgets under a strong input, so a gain that suits one data set is wrong for another.
#
# Then set `noise` 0 and drag `gain` through 1. The dashed line has a corner there. Six networks of 100
# units round it off.

# %%
for gain, noise in ((1.3, 0.05**0.5), (1.5, 0.5), (2.0, 0.0)):
    measured, predicted = lesson.measure_chaos(gain, noise, first_seed=first_seed).log_chi
    sentence = f"gain {gain}, noise {noise:.2f}: ln(chi) is {predicted:.3f}"
    claim(sentence, measured, equals=predicted, within=0.06, source="Schoenholz 2017")
for noise in (0.2, 0.5, 1.0):
    net = lesson.measure_chaos(1.0, noise, first_seed=first_seed)
    sentence = f"noise {noise}: the networks have their edge at gain {net.edge:.2f}"
    claim(sentence, net.found_edge, equals=net.edge, within=0.1, source="mean field")

# %% [markdown]
# ## 3 · A gate
#
# An **LSTM** keeps a second state, the *memory cell* $c$, and changes it in the mildest way:
# $c_t = f_t\,c_{t-1} + i_t\,\tilde c_t$. What it adds, and the two *gates* $f_t$ and $i_t$, it computes from
# the input and $h_{t-1}$; the output is $h_t = o_t\tanh(c_t)$ with a third gate. Gates are sigmoids, between 0
# and 1. On the straight way back through the cell, a step multiplies by the *forget gate* $f_t$ and by no
# matrix at all. A **GRU** does this with its state: $h_t = z_t h_{t-1} + (1-z_t)\tilde h_t$.
#
# If all weights are 0, a gate is $\sigma(b)$, with $b$ its bias, and after $t$ steps $\sigma(b)^t$ is left.
# Torch's first biases are about 0: **half is forgotten at each step**. ($b$ is the sum of the two
# biases that torch keeps.)
#
# The smallest code asks for the gradient at the input of each step, here of an RNN without gates: one
# layer, then a stack of four. In a stack the gradient passes depth *and* time. At the last step only
# depth is in its way, and shortens it. (At step 1 the stack often has more: there are many more ways.)

# %%
torch.manual_seed(first_seed)
inputs = torch.randn(steps, 1, 8, requires_grad=True)
last = []
for layers in (1, 4):
    outputs, _ = nn.RNN(8, 32, num_layers=layers)(inputs)
    (gradient,) = torch.autograd.grad(outputs[-1].sum(), inputs)
    last.append(gradient[-1].norm())
    print(f"num_layers={layers}: step {steps} {last[-1]:.2f}, step 1 {gradient[0].norm():.0e}")
claim("four layers: a shorter gradient at the last step", last[1] / last[0], below=0.7)

# %% [markdown]
# **Predict.** Fifty steps, torch's first weights, forget bias 0: by how many powers of ten does the
# LSTM's gradient shrink? $0.5^{49}$ is $10^{-14.8}$; do the weights make it less or more? Write `-3` for
# a factor 0.001.
#
# Then try:
#
# - `weights` zero, and drag `forget_bias`: LSTM and GRU lie on the dashed line, exactly.
# - back to torch's default, bias 1, 2, 4. How far does each of the two leave the dashed line, and to
#   which side?
# - `weights` orthogonal: the tanh RNN gains most. Why does it still lose? (See the slopes of tanh.)
# - `steps` 100 and bias 4: does the LSTM's gradient vanish at all?

# %%
prediction = None

live(
    partial(lesson.measure_reach, first_seed=first_seed, prediction=prediction),
    lesson.draw_reach,
    steps=(10, 100),
    forget_bias=(-2.0, 6.0, 0.5),
    weights=["torch's default", "orthogonal", "zero"],
)

# %% [markdown]
# With torch's weights the LSTM does **not** decay at $\sigma(b)$: it keeps 0.62 a step instead of 0.50, and
# after 50 steps thousands of times more than the formula says. The gradient has other ways back than
# the cell: from $c$ to $h$, through the weights, to the gates and $c$ of the next step. They add up. At
# bias 4 the sum exceeds 1 and the gradient *grows*, slowly. At bias 0 the GRU does as the LSTM does: 0.63
# a step. The more its gate opens, the closer it comes to it: 0.79 against 0.73 at bias 1, 0.98 against
# 0.98 at bias 4, because $1-z$ closes the other ways.

# %%
still = lesson.measure_reach(51, 1.0, "zero", first_seed)
formula = theory.gate_memory(50, 1.0)
for name in ("LSTM", "GRU"):
    left = 10 ** still.median[name][50]
    claim(f"{name}, weights 0, bias 1: 50 steps leave 1.576e-7", left, equals=formula, within=1e-9)
for bias, lstm, gru in ((0.0, 0.62, 0.63), (1.0, 0.84, 0.79), (4.0, 1.05, 0.98)):
    net = lesson.measure_reach(50, bias, first_seed=first_seed)
    for name, kept in (("LSTM", lstm), ("GRU", gru)):
        sentence = f"bias {bias:g}, sigmoid {expit(bias):.2f}: a step of the {name} keeps {kept}"
        claim(sentence, np.median(net.rates(name)), equals=kept, within=0.025)
net = lesson.measure_reach(50, first_seed=first_seed)
kept = np.median(net.rates("tanh RNN"))
claim("a step of the tanh RNN keeps 0.53", kept, equals=0.53, within=0.025)
more = net.median["LSTM"][-1] - net.gate[-1]
claim("LSTM, bias 0: 10**4 times more than sigmoid(0)**49", more, between=(3.8, 4.9))

# %% [markdown]
# ## 4 · Does it matter? The adding problem
#
# Each step brings a number between 0 and 1 and a mark. Two of 40 numbers are marked, one in each half, and
# the network must answer with their sum. A network that always answers 1 has a squared error of 1/6, the
# variance of the sum.
#
# **Predict.** A tanh RNN, an LSTM and a GRU, 16 units each, torch's first weights, Adam, 250 steps. Which
# of them learns, that is, falls below an error of 0.03? Write down the error of the *tanh RNN*. (It is a
# mean over 20 batches, on which always answering 1 can score 0.15.)
#
# Three networks of each kind train at once; bands reach from the best to the worst. Then make the
# `length` 10 and 80, and give them 1000 `training_steps`: which kind learns next, and in how many of
# the three networks?

# %%
prediction = None

live(
    partial(lesson.measure_adding, first_seed=first_seed, prediction=prediction),
    lesson.draw_adding,
    panels=[["error", "norm"]],
    length=[10, 20, 40, 80],
    training_steps=[250, 500, 1000],
)

# %%
*_, added = lesson.measure_adding(first_seed=first_seed)
claim("3 of 3 GRUs learn to add: an error below 0.03", added.learned("GRU"), equals=3)
claim("no tanh RNN is better than 0.14", added.error("tanh RNN").min(), above=0.14)
claim("at most 1 of 3 LSTMs does so soon", added.learned("LSTM"), below=1.5)

alone = partial(lesson.measure_adding, networks=("LSTM",), first_seed=first_seed)
*_, longer = alone(training_steps=800)
claim("800 steps: 2 or 3 of 3 LSTMs do", longer.learned("LSTM"), above=1.5)

# %% [markdown]
# ## 5 · Clipping on and off
#
# The GRU learned to add. Given 800 steps the LSTM does, too: late, not never.
#
# Now the exercise of many courses: train an LSTM on a synthetic sequence, log the gradient norm, then switch
# clipping off. We take the *temporal order* task: among distractors `c d e f` stand two marks, each `A` or
# `B`, early in 20 symbols, and the network must say their order (`AA`, `AB`, `BA`, `BB`). This is the
# whole training step. `clip_grad_norm_` returns the norm *before* clipping, so the log is free.

# %%
torch.manual_seed(first_seed)
lstm, output = nn.LSTM(6, 32, batch_first=True), nn.Linear(32, 4)
parameters = [*lstm.parameters(), *output.parameters()]
optimizer = torch.optim.SGD(parameters, lr=1.0)
symbols, labels = temporal_order(20 * 50, 20, first_seed)

for batch, target in zip(symbols.split(20), labels.split(20), strict=True):
    states, _ = lstm(one_hot(batch, 6).float())
    loss = cross_entropy(output(states[:, -1]), target)
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
print(f"after 50 steps: loss {loss:.2f} (guessing: {math.log(4):.2f}), norm {norm:.2f}")

# %% [markdown]
# **Predict.** Plain SGD, 400 steps: a tanh RNN at learning rate 0.1 (its matrix has spectral radius 1.2)
# and an LSTM at learning rate 1 (forget bias 1). Four networks each, free and clipped at 1. Where does the
# loss of the *free LSTMs* end? Guessing is $\ln 4=1.39$. (To learn is to be right in 80 % at the end.)
#
# Below are the norms. Does anything overflow? Which network has the longer gradients? Then:
#
# - `max_norm` 100: do the two ways still differ? And at 5.0, which is a usual choice for RNNs?
# - `lstm_rate` 0.1: what changes?
# - `rnn_rate` 1: which `max_norm` is enough?

# %%
prediction = None

live(
    partial(lesson.measure_order, max_norm=max_norm, first_seed=first_seed, prediction=prediction),
    lesson.draw_order,
    panels=[["rnn loss", "lstm loss"], ["rnn norm", "lstm norm"]],
    size=(960, 500),
    max_norm=log(0.01, 100),
    rnn_rate=log(0.01, 1),
    lstm_rate=log(0.1, 10),
)

# %%
*_, order = lesson.measure_order(first_seed=first_seed)
for name, most in (("tanh RNN", 0.07), ("LSTM", 0.01)):
    claim(f"free {name}: few gradients longer than 5", (order.norm[name][0] > 5).mean(), below=most)
    claim(f"{name}: free, at most 1 of 4 learns", order.learned(name)[0], below=1.5)
    claim(f"{name}: clipped at 1, 3 or 4 of 4 do", order.learned(name)[1], above=2.5)
rnn_norm, lstm_norm = (order.norm[name].max() for name in ("tanh RNN", "LSTM"))
claim("free LSTMs: no gradient is longer than 10", order.norm["LSTM"][0].max(), below=10)
claim("16 networks: no loss is NaN or Inf", order.nonfinite, equals=0)
claim("the RNN's longest gradient is over twice the LSTM's", rnn_norm / lstm_norm, above=2)

# %% [markdown]
# Most gradients of a free LSTM are short, and the longest about 5. Times a learning rate of 1, that is
# enough to throw it where it learns nothing. At rate 0.1 nothing is thrown off, and nothing is learned in
# time. Clipping *buys a learning rate*. The tanh RNN at rate 1 needs a smaller `max_norm` than 1: try 0.1.
#
# 5.0 is a usual `max_norm` for RNNs (1.0 for transformers). Here it would act on a few percent of the
# RNN's steps, and on next to none of the LSTM's, which stay as they are: free. Choose it from the log.
#
# ## 6 · How long should it remember?
#
# A gate that remembers for $T$ steps has $\sigma(b) = 1-1/T$, so $b=\ln(T-1)$: that leaves
# $(1-1/T)^T\approx 1/e$ after $T$ steps. **Chrono** initialisation gives each unit a memory of its own, up to the
# longest that you expect: $b=\ln(u)$ with $u$ drawn evenly between 1 and $T-1$. The input gates get $-b$:
# a unit that keeps its memory long should add little at each step.
#
# The task is the plainest test of memory: the answer depends on the *first* of 100 symbols only. On the
# left is how much of the gradient arrives before any training.
#
# **Predict.** A forget bias of 1 is a common recipe. How often is an LSTM with it right after 300 steps of
# Adam? (Guessing: 0.25.)
#
# Then shorten the `length`. At which one does bias 1 begin to learn, and torch's bias? (To learn is to be
# right in 60 % at the end.)

# %%
prediction = None

live(
    partial(lesson.measure_memory, first_seed=first_seed, prediction=prediction),
    lesson.draw_memory,
    panels=[["before", "accuracy"]],
    length=[10, 14, 20, 50, 100, 200],
    learning_rate=log(0.001, 0.1),
)

# %%
*_, memory = lesson.measure_memory(first_seed=first_seed)
idle = memory.learned("torch's bias") + memory.learned("bias 1")
claim("torch's bias and bias 1: 0 of 12 LSTMs learn", idle, equals=0)
claim("chrono: 5 or 6 of 6 do", memory.learned("chrono"), above=4.5, source="Tallec 2018")
claim("before: chrono lets 10**-0.7 arrive", memory.before["chrono"][-1], equals=-0.7, within=0.2)
claim("bias 1: 10**-7", memory.before["bias 1"][-1], equals=-7.2, within=1)
left = theory.gate_memory(100, logit(1 - 1 / 100))
claim("a gate of 1 - 1/100 leaves 1/e", left, equals=math.exp(-1), within=2e-3)

*_, short = lesson.measure_memory(10, first_seed=first_seed)
claim("first of 10 symbols, bias 1: 5 or 6 of 6 learn", short.learned("bias 1"), above=4.5)
claim("torch's bias: 4 or more", short.learned("torch's bias"), above=3.5)
*_, longer = lesson.measure_memory(14, first_seed=first_seed)
claim("first of 14 symbols, bias 1: 3 or more", longer.learned("bias 1"), above=2.5)
claim("torch's bias: 2 or fewer", longer.learned("torch's bias"), below=2.5)

# %% [markdown]
# ## Heard and measured
#
# **"No clipping in an RNN guarantees NaN."** False for the networks of section 5: not one loss is NaN or
# Inf. tanh bounds the *states*, so a loss stays finite as long as the weights do. It does not bound the
# *gradient*: with spectral radius 5 and 300 steps the gradient leaves float32, and after its step the
# weights are NaN: all five tanh RNNs break within ten steps. A **ReLU** RNN bounds nothing: with radius 2
# and 100 steps all five break within a few.
#
# **"An LSTM makes gradients overflow."** False. At its first weights an LSTM loses about 21 powers of ten over
# 100 steps; a forget bias of 4 makes it grow, by less than a factor 30. What is true: *weights* can make it
# explode. With recurrent weights 8 times as large, the median network's grows a thousandfold and more (a
# tanh RNN's: $10^{17}$). And it needs clipping: see section 5.
#
# **"An LSTM does not vanish."** False with torch's biases (the same 21 powers of ten); true
# with chrono's.
#
# **"A spectral radius below 1 excludes explosion."** False: section 1. A *largest singular value* below 1 does
# exclude it.
#
# **"Recurrent weights should be orthogonal."** Half true. It is exact in a linear network, and over 50 steps
# a tanh RNN keeps $10^{9}$ times more. But tanh still takes its share of every step.
#
# **"Forget bias 1 cures an LSTM."** True when the memory is short, but not too short. At $T=10$ torch's own
# bias does about as well. At $T=14$ it learns in hardly any network, and bias 1 in most of them. But its
# gate leaves $0.73^T$, so at $T=100$ bias 1 cures none (section 6).

# %%
breaks = partial(lesson.first_nonfinite_step, first_seed=first_seed)
claim("tanh RNN, radius 2, free: 0 of 5 break", np.isfinite(breaks("tanh", 2.0)).sum(), equals=0)
broken = np.isfinite(breaks("tanh", 5.0, length=300)).sum()
claim("tanh RNN, radius 5, 300 steps: 5 of 5 break", broken, equals=5)
claim("ReLU RNN, radius 2: 5 of 5 within 5 steps", breaks("relu", 2.0).max(), below=5.5)
first = lesson.measure_reach(100, first_seed=first_seed).median["LSTM"][-1]
claim("LSTM, 100 steps: about 21 powers of ten are lost", first, equals=-20.8, within=1.5)
wide = lesson.measure_reach(100, 4.0, first_seed=first_seed).high["LSTM"].max()
claim("forget bias 4: grows, by less than 30", wide, between=(0.3, math.log10(30)))
for name, low, high in (("LSTM", 3, 6), ("tanh RNN", 17, 19.5)):
    grown = np.median(lesson.measure_grown(name, 8.0, first_seed=first_seed))
    claim(f"{name}, recurrent weights times 8: grows by 10**{low}", grown, between=(low, high))
turned = lesson.measure_reach(50, weights="orthogonal", first_seed=first_seed)
kept = np.median(turned.rates("tanh RNN"))
claim("tanh RNN, orthogonal: a step keeps 0.827", kept, equals=0.827, within=0.015)

# %% [markdown]
# ## Exercise
#
# 1. Write `forget_bias`: which bias leaves a given share of a memory after some steps, if only the gate
#    acts? `forget_bias(50, 0.5)` should keep half for 50 steps.
# 2. Write `reach`: the norm of the gradient of the *last* output (summed over batch and units) at the
#    input of each step. `layer` is an `nn.RNN` or its like, `inputs` has shape (steps, batch, features).
#
# When both are right, the cell uses one to open the gates and the other to see what it did.


# %%
def forget_bias(steps, share):
    """Return the bias of a forget gate."""
    return ...


def reach(layer, inputs):
    """Return the norm of the gradient at the input of each step, shape (steps,)."""
    return ...


verdicts = lesson.check_forget_bias(forget_bias), lesson.check_reach(reach)
print(*verdicts, sep="\n")
for bias in (0.0, forget_bias(100, 0.5)) if all(verdicts) else ():
    print(f"bias {bias:.2f}:", lesson.try_reach(reach, bias, seed=first_seed))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. $\sigma(b)^T=s$. Take the root first, then the inverse of the sigmoid, `scipy.special.logit`.
# 2. Four lines: a leaf that requires a gradient (`inputs.clone().requires_grad_()`), the outputs, the
#    gradient of `outputs[-1].sum()`, its norm over dimensions 1 and 2.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def forget_bias(steps, share):
#     return logit(share ** (1 / steps))
#
#
# def reach(layer, inputs):
#     leaf = inputs.clone().requires_grad_()
#     outputs, _ = layer(leaf)
#     (gradient,) = torch.autograd.grad(outputs[-1].sum(), leaf)
#     return gradient.norm(dim=(1, 2))
# ```
#
# </details>
#
# ## Remember
#
# 1. Backwards, a recurrent network is one matrix many times: $\rho^t$ in the long run, singular values
#    before that. $\rho<1$ does not forbid an explosion on the way.
# 2. A tanh RNN changes the squared gradient by $\chi=g^2\,\mathbb E[\tanh'^2]$ a step; a noisier input lowers it.
# 3. A gate alone keeps $\sigma(b)^T$. Torch's bias of about 0 forgets half at each step; real weights keep
#    more, not enough.
# 4. Set the forget bias by the time to be remembered: $\ln(T-1)$, or chrono.
# 5. An LSTM rarely overflows, and needs clipping all the same: clipping buys a learning rate.
#
# ## References
#
# - S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 9, 1997.
# - K. Cho et al., *Learning phrase representations using RNN encoder-decoder for statistical machine
#   translation*, EMNLP 2014 (the GRU).
# - F. Gers, J. Schmidhuber, F. Cummins, *Learning to forget: continual prediction with LSTM*, Neural
#   Computation 12, 2000.
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML
#   2013.
# - H. Sompolinsky, A. Crisanti, H. Sommers, *Chaos in random neural networks*, Physical Review Letters
#   61, 1988.
# - S. Schoenholz et al., *Deep information propagation*, ICLR 2017.
# - R. Jozefowicz, W. Zaremba, I. Sutskever, *An empirical exploration of recurrent network
#   architectures*, ICML 2015.
# - Q. Le, N. Jaitly, G. Hinton, *A simple way to initialize recurrent networks of rectified linear
#   units*, 2015.
# - C. Tallec, Y. Ollivier, *Can recurrent neural networks warp time?*, ICLR 2018.
