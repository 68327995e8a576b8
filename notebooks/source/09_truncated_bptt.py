# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · Truncated BPTT
#
# **Question.** A recurrent network reads a book: half a million steps. Full back-propagation through
# time (*BPTT*) would keep all of them in memory and walk back through all of them for a single update.
# So everybody cuts: go back through twenty steps, or a hundred, and stop there. What does the cut
# keep, what does it save, and what can a network no longer learn?
#
# *Truncated* BPTT runs a sequence in *chunks*. The numbers in the state go on from chunk to chunk; the
# graph that `backward` walks through does not. One word makes the cut: `detach`.

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
from torch.nn.functional import mse_loss

from gradcourse import claim, theory
from gradcourse.lessons import truncated_bptt as lesson
from gradcourse.live import live
from gradcourse.models import Unrolled
from gradcourse.tasks import ALPHABET, python_text
from gradcourse.training import tbptt

# %% tags=["parameters"]
memory = 0.9
delay = 5
seed = 0

# %% [markdown]
# ## 1 · What detach cuts
#
# The smallest recurrent network has one number for a state: $h_t = a\,h_{t-1} + w\,x$. Here $a$ is
# its *memory*, the part of the state that a step keeps. Let $x=1$. A step that lies $j$ steps back
# adds $a^j$ to the gradient $\partial h_T/\partial w$, so the whole is $1 + a + a^2 + \dots$ with $T$
# terms. Cut the graph $k$ steps before the end, and only the first $k$ terms are left:
#
# $$\text{share kept} = \frac{1 + \dots + a^{k-1}}{1 + \dots + a^{T-1}} = \frac{1-a^k}{1-a^T}.$$
#
# **Predict.** Memory 0.9, 100 steps, and a graph that holds only the last 10. How many percent of the
# gradient are left? Write your guess into the next cell. It becomes a star.
#
# Then move:
#
# - `memory` to 0.5, 0.99, 1 and 1.1. When is a chunk of 10 enough, and when is it nothing?
# - `loss` to `every step`, the usual case. Why is less kept now? Look at the left picture.
# - `chunk` 30 with the loss at the last step: read the sentence below the picture.
# - `overlap` to 20: the graph of a chunk begins 20 steps earlier.

# %%
prediction = None  # for example: prediction = 30

live(
    partial(lesson.measure_cut, memory=memory, prediction=prediction),
    lesson.draw_cut,
    panels=[["steps", "share"]],
    memory=(0.5, 1.1, 0.01),
    steps=[20, 50, 100, 200],
    chunk=(1, 100),
    overlap=(0, 50),
    loss=list(lesson.LOSSES),
)

# %% [markdown]
# With a loss at every step, the left picture is a saw. The last step of a chunk gets a gradient from its
# own loss only: the later losses lie behind the border and do not reach back across it. Seen from the
# losses: the first one of a chunk sees one step, the last one all of them, and the average one half a
# chunk. With the loss at the last step there is one border that matters, the last.
#
# In code the cut is one line. Nothing happens to the number in `h`; it only forgets where it came
# from. (With $w=1$ the number is also the full gradient, so the next cell divides by it.)
#
# How long must a chunk be? In a long sequence $k$ steps hold a share $1-a^k$. For 90 % this gives
# $k = \ln 0.1/\ln a$, the *horizon*: 22 steps for $a=0.9$, 230 for $a=0.99$. (The figure shows 100 steps
# only. Of what those hold at 0.99, 85 steps have 90 %.)

# %%
a, h = 0.9, torch.zeros((), dtype=torch.float64)
w = torch.ones((), dtype=torch.float64, requires_grad=True)
for step in range(100):
    if step == 90:
        h = h.detach()
    h = a * h + w * 1.0
h.backward()
share = theory.truncated_share(a, 100, 10)
claim("the last 10 of 100 steps keep 65 %", w.grad / h, equals=share, within=1e-12)

# %%
for a in (0.5, 0.99, 1.0, 1.1):
    cut = lesson.measure_cut(a)
    sentence = f"memory {a}: chunks of 10 keep {100 * cut.predicted:.3g} %"
    claim(sentence, cut.share, equals=cut.predicted, within=1e-12)

every = lesson.measure_cut(0.9, loss="every step")
claim("0.9, a loss at every step: 45 %", every.share, equals=every.predicted, within=1e-12)
for a, steps, k in ((0.9, math.inf, 22), (0.99, math.inf, 230), (0.99, 100, 85)):
    needed = math.ceil(theory.truncation_horizon(a, 0.9, steps))
    claim(f"memory {a}, {steps} steps: {k} hold 90 %", needed, equals=k)

# %% [markdown]
# ## 2 · A real network
#
# With a real layer, truncated BPTT is a loop of five lines. Two of them are often wrong: the loss of a
# chunk is weighted by the chunk's share of the steps, so that the sum is the mean over the whole
# sequence, and *every* part of the state is detached. An LSTM has two, the hidden state $h$ and the
# memory cell $c$.
#
# `training.tbptt` is the same loop, as a generator. What you do with each loss stays in your hands.

# %%
first_seed = 1000 * seed
torch.manual_seed(first_seed)
layer = lesson.make_layer("LSTM", 0.9, first_seed)
inputs, targets, state = torch.randn(128, 4, 8), torch.randn(128, 4, 32), None
for start in range(0, 128, 16):
    outputs, state = layer(inputs[start : start + 16], state)
    loss = mse_loss(outputs, targets[start : start + 16]) * 16 / 128
    loss.backward()
    state = tuple(part.detach() for part in state)

by_hand, layer.weight_hh_l0.grad = layer.weight_hh_l0.grad, None
for piece in tbptt(layer, inputs, targets, mse_loss, chunk=16):
    piece.loss.backward()
off = (layer.weight_hh_l0.grad - by_hand).norm() / by_hand.norm()
claim("the library's loop gives the same gradient", off, below=1e-5)

# %% [markdown]
# A truncated gradient is *biased*: more data do not make the error smaller. The next figure compares
# it with the full gradient of 128 steps: its direction (the cosine of the angle) and its length.
#
# For theory, suppose that the contributions of different steps point in unrelated directions, as in a
# network at random first weights with random targets. If a step changes the *square* of what flows
# back by a factor $\chi$, as in lesson 01, and $n_j$ pairs of a loss and a step $j$ before it are
# still connected, then cosine and relative length are both
#
# $$\sqrt{\textstyle\sum_j n_j\,\chi^j \Big/ \sum_j (T-j)\,\chi^j}.$$
#
# **Predict.** An RNN that keeps 0.95 of its state in a step, and chunks of 16: by how many degrees does
# the gradient turn?
#
# Move `chunk`, and watch both pictures: the right one shows the bytes that the graph holds for
# `backward`, counted tensor by tensor. Then take the `LSTM`. Why does theory fail there?

# %%
prediction = None

live(
    partial(lesson.measure_bias, first_seed=first_seed, prediction=prediction),
    lesson.draw_bias,
    panels=[["bias", "memory"]],
    network=list(lesson.NETWORKS),
    memory=(0.5, 0.99, 0.01),
    chunk=list(lesson.CHUNKS),
)

# %% [markdown]
# - **Bias.** For the RNN, theory and measurement agree to a few hundredths. The longer the memory, the
#   longer the chunk must be.
# - **The LSTM is worse, if its memory is long.** At 0.5 theory is right to a degree or two; at 0.95 it
#   fails, because two suppositions fail. A cell sums up, so the contributions of neighbouring steps
#   point the same way and add, as in section 1. And the forget gate is not the only way back: more
#   returns through $h$ and the other gates. At 0.95 what flows back then hardly shrinks from step to
#   step, and what is cut off is most of the gradient.
# - **Memory** is in proportion to the chunk. This is what truncation is for.
# - **Time.** It stands in the right picture. Each step is still computed once forward and once
#   back, so a cut saves no arithmetic. Short chunks even cost time: many small calls.
# - The *output* layer has no path through time, so truncation leaves its gradient exact.

# %%
for network_memory in (0.8, 0.95):
    rnn = lesson.measure_bias("RNN", network_memory, 16, first_seed=first_seed)
    root = rnn.predicted[rnn.place]
    for quantity in ("cosine", "length"):
        middle = rnn.range_of(quantity)[0, rnn.place]
        sentence = f"RNN, memory {network_memory}, chunk 16: {quantity} {root:.2f}"
        claim(sentence, middle, equals=root, within=0.07, source="derived")

share = rnn.held[rnn.place] / rnn.held[-1]
claim("a chunk of 16 holds an eighth of the memory", share, equals=1 / 8, within=0.015)
lstm = lesson.measure_bias("LSTM", 0.95, 16, first_seed=first_seed)
length = lstm.range_of("length")[0, lstm.place] / lstm.predicted[lstm.place]
claim("LSTM, 0.95: less than half of theory's length", length, below=0.5)
back = np.median(lesson.step_back("LSTM", 0.95, first_seed=first_seed))
claim("LSTM, 0.95: what flows back hardly shrinks in a step", back, between=(0.98, 1.02))

# %%
torch.manual_seed(first_seed)
reader, bits, gradients = lesson.EchoNetwork(), torch.randn(32, 8, 1), []
weights = reader.readout.weight, reader.layer.weight_hh_l0
for k in (4, 32):
    losses = [piece.loss for piece in tbptt(reader, bits, bits, mse_loss, chunk=k)]
    gradients.append(torch.autograd.grad(sum(losses), weights))
output, recurrent = (torch.dist(*both) for both in zip(*gradients, strict=True))
claim("chunks of 4 leave the output layer's gradient exact", output, below=1e-6)
claim("but not the recurrent layer's", recurrent, above=1e-5)

# %% [markdown]
# ## 3 · What cannot be learned
#
# A bias that turns the gradient may still point downhill. So here is a task where the cut takes what
# matters. Each input is a random bit, and the network must say which bit it saw five steps ago. It has
# to *learn* to keep a bit for five steps.
#
# Bits come in windows of 32 steps, with one update per window, and the state is carried on. *Full* BPTT
# goes back to the start of the window. Truncated and full training make the same number of updates, on
# the same bits. The right picture asks, for each distance, how many losses still see a step so far back:
# counted in the graph, and by theory. A loss at place $p$ of its chunk sees $p-1$ steps back, plus the
# overlap.
#
# **Predict.** Chunks of 4, delay 5. The state is carried on, so the numbers do reach the network. How
# many percent of the bits does it get right in the end? (Guessing gets 50.)
#
# Then try `chunk` 8; chunk 4 with `overlap` 4; `delay` 3.

# %%
prediction = None

live(
    partial(lesson.measure_echo, delay=delay, first_seed=first_seed, prediction=prediction),
    lesson.draw_echo,
    panels=[["accuracy", "seen"]],
    delay=(1, 10),
    chunk=[4, 6, 8, 16, 32],
    overlap=[0, 2, 4, 8],
)

# %% [markdown]
# With chunks of 4 and delay 5, no loss sees the bit that it asks for, and the network hardly beats
# guessing. With chunks of 8 about four losses in ten see it, and that is enough: the same weights serve
# all places of a chunk. An overlap helps too. It is TBPTT$(k_1, k_2)$ in books: every $k_1$ steps a
# backward pass, $k_2$ steps back; here $k_1$ is the chunk and $k_2$ is chunk plus overlap. Its price: the
# overlap is computed again for each chunk.
#
# **The cut limits what is learned, not what is remembered.** Run a network chunk by chunk, and it gives
# the same outputs as in one piece: the state carries everything.

# %%
reach = np.abs(lesson.pairs_seen(8, 4) - theory.kept_pairs(32, 8, 4) / np.arange(32, 0, -1)).max()
claim("which losses see which steps, is counted exactly", reach, below=1e-12)

trained = partial(lesson.measure_echo, delay=5, seeds=2, first_seed=first_seed)
*_, short = trained(chunk=4)
*_, longer = trained(chunk=8)
*_, overlapping = trained(chunk=4, overlap=4)
truncated, full = (short.last_accuracy * 100).round(6)
claim("delay 5, chunk 4: below 70 % right", truncated.max(), below=70)
claim("full BPTT: above 85 %", full.min(), above=85)
claim("chunk 8: above 70 %", 100 * longer.last_accuracy[0].min(), above=70)
claim("chunk 4 with overlap 4: above 80 %", 100 * overlapping.last_accuracy[0].min(), above=80)
pieces = torch.cat([piece.outputs for piece in tbptt(reader, bits, bits, mse_loss, chunk=4)])
claim("chunks of 4 give the same outputs", (pieces - reader(bits)[0]).abs().max(), below=1e-5)

# %% [markdown]
# ## 4 · Real text
#
# Python brings half a million characters of text along: its own documentation (`help("for")` reads
# from it). A character model guesses the next character from those before it. Its loss in *bits per
# character* is the length of the text, if it were compressed with the model's guesses. Guessing blindly
# among 96 characters costs $\log_2 96 = 6.6$ bits. The best model that knows only how often each
# character comes needs its *entropy*, $-\sum p \log_2 p$ (Shannon 1951 has that of English); the
# best one that looks at the character before needs less. Both are dashed in the figure.
#
# An LSTM of 64 units reads 82 thousand characters of it, each of them once: sixteen streams side by side,
# in windows of 128. Full BPTT makes one update per window. A chunked model can make one after *each
# chunk*.
#
# **Predict.** Full BPTT reaches about 3.6 bits in this short run. How many does chunk 16 reach, after
# the same text?
#
# Then move, and compare the two pictures: the same runs, on two clocks.
#
# - `update` to `every 128 characters`: now both make equally many updates.
# - `chunk` 4 with `state` `set to zero` before each chunk.

# %% tags=["nbval-ignore-output"]
prediction = None

text = live(
    partial(lesson.measure_characters, first_seed=first_seed, prediction=prediction),
    lesson.draw_characters,
    panels=[["read", "updates"]],
    chunk=[4, 8, 16, 32, 64],
    update=list(lesson.UPDATES),
    state=list(lesson.STATES),
)
text

# %% [markdown]
# After the same *text* the chunked model is far ahead, because it made eight times as many updates.
# After the same number of *updates* it is behind, because each was made from an eighth of the text.
# Let both update once per window, and they agree: in this text, and in so short a run, what is more
# than 16 characters back hardly matters yet. The cut costs nothing here. What helps is more updates,
# and what hurts is a state set to zero: the model then knows nothing of the text before the chunk.
#
# This is an answer for this text, this network and a second of training, not for all. A model that
# must close a bracket opened 200 characters ago is in the place of section 3.
#
# What does it write, after so short a training? Words it has not learned yet, but their lengths, line
# breaks and some endings. Each character is drawn from the model's probabilities, sharpened a little
# (the logits are divided by 0.7).

# %% tags=["nbval-ignore-output"]
start = "".join(ALPHABET[place] for place in python_text()[1000:1030])
print(lesson.write(text.result.models[0], start, length=300, seed=seed))

# %%
claim("96 characters cost 6.58 bits, blindly", math.log2(len(ALPHABET)), equals=6.585, within=1e-3)
unigram, bigram = lesson.entropies()
claim("single characters: 4.4 to 5 bits", unigram, between=(4.4, 5))
claim("pairs: 3.3 to 3.8 bits", bigram, between=(3.3, 3.8))

run = partial(lesson.measure_characters, first_seed=first_seed)
chunked, whole = np.median(text.result.last_bits, axis=1)
claim("chunk 16 ends half a bit below full BPTT", whole - chunked, above=0.5)
early, late = text.result.after(40)
claim("after 40 updates it was half a bit above", early - late, above=0.5)
*_, fair = run(chunk=16, update="every 128 characters")
claim("as many updates: no difference", np.ptp(np.median(fair.last_bits, 1)), below=0.15)
*_, zeros = run(chunk=16, state="set to zero")
claim("zeros cost bits", (zeros.last_bits - text.result.last_bits)[0].min(), above=0.02)

# %% [markdown]
# ## 5 · The wrong place
#
# One `detach`, and six ways to miss. In each the gradient is compared with that of the right place.
# Two of them stop with an error. The others run without a word.
#
# **Predict** before you choose each: does torch complain? How far does the gradient reach? Does the
# memory stay flat? Dotted lines are the borders of the chunks.

# %%
prediction = None  # in words, if you like

live(
    partial(lesson.measure_place, first_seed=first_seed),
    lesson.draw_place,
    panels=[["arrived", "held"]],
    place=list(lesson.PLACES),
    chunk=[8, 12, 16, 24],
)

# %% [markdown]
# - **At every step** (`detach` inside of the step loop): chunks of one. No error, flat memory, and a
#   short gradient. What lies one step back is already out of reach.
# - **Nowhere**: `backward` frees a chunk's graph; the next chunk walks into it. Torch advises
#   `retain_graph=True`. Do not follow it: memory grows with each chunk, and it *is* full BPTT again.
#   After an optimizer step it even fails: the weights in the old graph have changed.
# - **`h`, but not `c`**: the same error. Half a cut is no cut.
# - **The outputs**: no error at all. The output layer can still learn, the LSTM gets
#   nothing, and the state drags its graph along.
# - **A new state of zeros**: no error. The gradient is that of other numbers: each chunk forgets the
#   text before it.
#
# One loop that is passed around detaches `(h[0].detach(), h[1].detach())`, slices
# `sequence[i : i + chunk]`, and compares each chunk with all of `target`. The first is right for an
# LSTM only. A GRU's state is one tensor; with one layer `h[1]` does not exist. The second is right only
# if time comes first: with `batch_first=True` it cuts the *batch* to pieces, and hands one sequence's
# state to another. The third compares the wrong steps, or does not run. (Detaching *before* the loss,
# as it does, is right: the loss hangs on the outputs.)

# %%
at = {place: lesson.measure_place(place, first_seed=first_seed) for place in lesson.PLACES}
right = np.abs(at["between chunks (right)"].arrived.mean(0) - at["nowhere"].predicted).max()
claim("right place: just the paths inside of a chunk", right, below=1e-3)
claim("every step: below half the length", at["at every step"].length, below=0.5)
claim("nowhere: torch stops at chunk 2", at["nowhere"].error[1], equals=2)
claim("h, but not c: torch stops at chunk 2", at["h, but not c"].error[1], equals=2)
claim("retain_graph: 4-fold memory", at["nowhere, retain_graph=True"].growth, equals=4, within=0.2)
claim("the outputs: no gradient", at["the outputs"].length, equals=0)
claim("zeros turn the gradient", at["a new state of zeros"].cosine, below=0.97)

# %%
claim("a GRU's state has no second part", len(nn.GRU(3, 4)(torch.randn(10, 2, 3))[1]), equals=1)
outputs, _ = nn.LSTM(3, 4, batch_first=True)(torch.randn(8, 100, 3)[0:4])
claim("batch first: a 'chunk of 4' holds all 100 steps ...", outputs.shape[1], equals=100)
claim("... of 4 sequences of 8", outputs.shape[0], equals=4)

rnn, said = nn.RNN(3, 4), ""
outputs, state = rnn(torch.randn(5, 2, 3))
outputs.sum().backward(retain_graph=True)
torch.optim.SGD(rnn.parameters(), lr=0.1).step()
outputs, _ = rnn(torch.randn(5, 2, 3), state)
try:
    outputs.sum().backward()
except RuntimeError as error:
    said = str(error)
claim("retain_graph and an update: torch stops", "inplace operation" in said, equals=True)

# %% [markdown]
# ## Heard and measured
#
# **"Truncated BPTT stabilises an RNN: it limits the explosion."** Half true. A chunk of $k$ steps lets
# the gradient grow like $\rho^k$ instead of $\rho^T$. That is a smaller exponent, and no bound: for a
# rotation times 1.1 a chunk of 20 still grows by a factor 6, and one of 100 by 12,500. Only clipping
# promises a length.
#
# **"For RNNs: orthogonal weights and truncated BPTT."** True, each by itself; but they pull against
# each other. Orthogonal weights are chosen so that the gradient reaches far back, and truncation throws
# away just that part. In section 1, with memory 1, a chunk keeps $k/T$ of the last step's gradient. In
# section 2's formula, with $\chi=1$, chunks of 16 keep 0.36 of the length.
#
# **"A network cannot remember more than a chunk."** False: see section 3. It can hardly *learn* to.
#
# **"Short chunks learn faster."** Per character read, yes: more updates. Per update, no (section 4).
# By the clock it depends on the machine, since short chunks cost more calls.

# %%
growth = []
for number in range(first_seed, first_seed + 5):
    rotation = Unrolled(lesson.make_layer("RNN", 1.1, number))
    nudge = torch.zeros(100, 1, 32, requires_grad=True)
    outputs, _ = rotation(1e-9 * torch.randn(100, 1, 8), nudge=nudge)
    outputs[-1].sum().backward()
    norms = nudge.grad.norm(dim=2)[:, 0]
    growth.append([norms[-20] / norms[-1], norms[0] / norms[-1]])

for k, values in zip((20, 100), torch.tensor(growth).T, strict=True):
    off = (values / 1.1 ** (k - 1) - 1).abs().max()
    claim(f"over {k} steps it grows {1.1 ** (k - 1):.0f}-fold, in 5 of 5", off, below=1e-3)
for a, limits in ((0.99, (0.0, 0.78)), (0.8, (0.85, 1.0))):
    bias = lesson.measure_bias("RNN", a, 8, first_seed=first_seed)
    cosine = bias.range_of("cosine")[0, bias.place]
    claim(f"memory {a}, chunk 8: cosine {limits[0]:g} to {limits[1]:g}", cosine, between=limits)

# %% [markdown]
# ## Exercise
#
# 1. Write truncated BPTT for one sequence: leave the gradient of the mean squared error at the layer's
#    weights. Steps come first. The last chunk may be shorter than the others.
# 2. The recurrence of section 1 has memory 0.98. How many whole steps must a chunk's last loss see, to
#    hold 95 % of that loss's gradient in a very long sequence?


# %%
def truncated_backward(layer, inputs, targets, chunk):
    """Leave the truncated gradient of the mean squared error at the LSTM's weights."""
    ...


answer = ...  # whole steps

print(lesson.check_truncated(truncated_backward))
print(lesson.check_chunk_length(answer))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. Five lines, as in section 2. `len(outputs) / len(inputs)` is the chunk's share of the steps, also
#    for a shorter one: a slice that goes beyond the end is just shorter.
# 2. What is lost is $0.98^k$. `theory.truncation_horizon` knows the formula; steps are whole.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def truncated_backward(layer, inputs, targets, chunk):
#     state = None
#     for start in range(0, len(inputs), chunk):
#         span = slice(start, start + chunk)
#         outputs, state = layer(inputs[span], state)
#         loss = mse_loss(outputs, targets[span]) * len(outputs) / len(inputs)
#         loss.backward()
#         state = tuple(part.detach() for part in state)
#
# answer = math.ceil(theory.truncation_horizon(0.98, 0.95))
# ```
#
# </details>
#
# ## Remember
#
# 1. `detach` between chunks cuts the graph, not the numbers: the state goes on, the gradient does not.
# 2. With memory $a$, the last $k$ of $T$ steps hold $(1-a^k)/(1-a^T)$ of the gradient.
# 3. Truncation saves memory, in proportion to the chunk. It does not save time, and it biases.
# 4. What lies chunk plus overlap steps back, or more, is hardly learned: no loss sees it. It can still be
#    remembered.
# 5. Cut after each chunk, every part of the state; weight each chunk's loss; carry the state on.
#
# ## References
#
# - P. Werbos, *Backpropagation through time: what it does and how to do it*, Proceedings of the IEEE 78,
#   1990.
# - R. Williams, J. Peng, *An efficient gradient-based algorithm for on-line training of recurrent
#   network trajectories*, Neural Computation 2, 1990.
# - I. Sutskever, *Training recurrent neural networks*, PhD thesis, University of Toronto, 2013: the
#   numbers $k_1$ and $k_2$.
# - C. Tallec, Y. Ollivier, *Unbiasing truncated backpropagation through time*, 2017: chunks of random
#   length, with weights that remove the bias on average, at the price of noise.
# - C. Shannon, *Prediction and entropy of printed English*, Bell System Technical Journal 30, 1951.
