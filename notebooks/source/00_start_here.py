# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Start here
#
# **Question.** You multiply a hundred random numbers that average 1. What do you get?
#
# This course answers one question: *what happens to a gradient on its way through a deep or
# recurrent network, and what do I do about it?* You will move sliders and watch. Each picture shows
# what theory predicts beside what is measured, at the same moment, on your machine.
#
# You need to know backpropagation, and a little Python. This first lesson takes ten minutes. It
# shows how to read a live figure, and what a product of random numbers does.

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
from functools import partial

import numpy as np

from gradcourse import claim
from gradcourse.lessons import start_here as lesson
from gradcourse.live import live
from gradcourse.theory import uniform_log_moments

# %% tags=["parameters"]
factors = 100
spread = 0.5
seed = 0

# %% [markdown]
# The course runs on a GPU when there is one. No lesson needs it.

# %% tags=["nbval-ignore-output"]
from gradcourse.device import explain_device

device, why = explain_device()
print(f"measurements run on {device}: {why}")

# %% [markdown]
# ## The map
#
# | lesson | the question |
# |---|---|
# | **00 Start here** | How do I read a live figure, and what does an average hide? |
# | [01 Vanishing and exploding](01_vanishing_and_exploding.ipynb) | Where does the gradient of a deep network go? |
# | [02 Watching gradients](02_watching_gradients.ipynb) | What belongs in a training log, and where was a NaN born? |
# | [03 Clipping](03_clipping.ipynb) | How do I keep a gradient's direction and not its length? |
# | [04 Three causes](04_three_causes.ipynb) | Is it the learning rate, the data or the loss, and what does each cure cost? |
# | [05 Initialisation](05_initialization.ipynb) | Which first weights let a deep network learn, and can I know it before? |
# | [06 Normalisation](06_normalization.ipynb) | A norm keeps all numbers at size 1: can a gradient still explode? |
# | [07 Residual connections](07_residual_connections.ipynb) | Why does a sum let the gradient pass, and how large may a branch be? |
# | [08 Recurrent networks](08_recurrent_networks.ipynb) | How much of its gradient reaches the first of a hundred steps? |
# | [09 Truncated BPTT](09_truncated_bptt.ipynb) | Go back twenty steps and cut: what is kept, saved and never learned? |
# | [10 Transformers and warmup](10_transformers_and_warmup.ipynb) | Why does a slow start save a transformer whose gradient was healthy? |
# | [11 Mixed precision](11_mixed_precision.ipynb) | Nothing is NaN, and some layers stop learning: where did their gradients go? |
# | [12 GANs and policies](12_gans_and_policies.ipynb) | What if the loss is another network that learns too, or mere luck? |
# | [13 The clinic](13_the_clinic.ipynb) | Twelve runs are sick: which cause, and does your cure work? |
#
# ## How a lesson works
#
# 1. You read a short question and **write down a prediction**. A wrong prediction teaches more than
#    no prediction.
# 2. You read the smallest code that shows the idea.
# 3. You move the sliders of a **live figure**.
# 4. Statements about numbers are **claims**: lines with a ✓ that were measured when the cell ran. A
#    false one stops the notebook.
# 5. You solve an exercise, and a check tells you what went wrong.
#
# ## The experiment
#
# Draw a factor between 0.5 and 1.5, each value equally likely. Its average is 1. Multiply a
# hundred of them. The code is two lines:

# %%
generator = np.random.default_rng(seed)
print(generator.uniform(0.5, 1.5, size=100).prod())

# %% [markdown]
# **Predict before you run on.** If you repeat this many times, what is the *typical* product, the
# one that half of the runs exceed? About 1, because each factor averages 1? More? Less? Write the
# exponent: `0` for 1, `2` for 100, `-3` for 0.001. Your guess becomes a star in the figure, at the
# setting that was asked about.

# %%
prediction = None  # for example: prediction = 0

# %% [markdown]
# ## The live figure
#
# Move `factors`, then `spread`. Click a slider and use the arrow keys for small steps.
#
# - The **blue line** is measured: the median of all runs. The **blue band** holds 90 % of them.
# - The **dashed orange line** is theory, computed from a formula and not from the runs. The dotted
#   orange lines are the band that theory predicts.
# - The **green line** is the mean of the runs that were made. The black dots are theory, the mean over
#   all possible runs: it stays at 1.
# - The **grey lines** are the setting before your last move, so you can compare.
# - The line of text under the picture says the same in words.

# %%
start = {"factors": factors, "spread": spread, "seed": seed}

figure = live(
    partial(lesson.measure_product, **start, prediction=prediction),
    lesson.draw_product,
    factors=(1, 200),
    spread=(0.0, 0.99, 0.01),
    runs=(1, 1000),
    compare=True,
    play="factors",
)
figure

# %% [markdown]
# ## What you saw
#
# The typical product goes to zero, although every factor averages 1. Nothing is wrong with the
# average: the **mean** over all possible runs is exactly 1. A few runs with huge products carry it.
# You seldom meet them. (With seed 0 the product that you printed at first was 0.95. One run says little:
# only about one in fourteen gets as far.)
#
# A product is a sum of logarithms, so its typical size follows the *average logarithm* of a factor.
# For a factor spread evenly between $1-s$ and $1+s$,
#
# $$\mathbb{E}\ln X = \frac{(1+s)\ln(1+s)-(1-s)\ln(1-s)}{2s}-1 \;<\; 0 .$$
#
# After $n$ factors the typical product is about $e^{\,n\,\mathbb{E}\ln X}$. Let us check.

# %%
mean, variance = uniform_log_moments(0.5)
many = lesson.measure_product(factors=100, spread=0.5, runs=1000, seed=seed)
logs = np.log(10) * many.log10[:, -1]

error = 4 * np.sqrt(variance / 100 / 1000)
measured = logs.mean() / 100
claim("a factor adds -0.045 to ln(product)", measured, equals=mean, within=error, source="calculus")

lucky = (logs > np.log(0.95)).mean()
claim("about one run in fourteen exceeds 0.95", lucky, between=(0.04, 0.11))

spread_of_runs = logs.std() / np.sqrt(100 * variance)
claim("runs spread like sqrt(n Var ln X)", spread_of_runs, equals=1, within=0.1, source="calculus")

# %% [markdown]
# The claims hold within four standard errors, or within a stated tolerance. You can print any of
# these numbers yourself: `figure.result` holds what the picture shows, and `figure.set(factors=150)`
# moves a slider from code.

# %%
figure.set(factors=150)
print(figure.summary)

# %% [markdown]
# ## Heard and measured
#
# **"On average nothing changes, so nothing changes."** False.

# %%
below_one = np.mean(many.log10[:, -1] < 0)
claim(
    "of 100 runs, about 93 end below 1", below_one, equals=0.93, within=0.033, source="normal law"
)

# %% [markdown]
# **"Take more runs, and the average becomes reliable."** True for five factors. For two hundred wild
# ones a thousand runs are not nearly enough: the true mean is still 1, and you do not see it.

# %%
short = lesson.measure_product(factors=5, spread=0.5, runs=1000, seed=seed)
claim("the mean of 1000 short products is about 1", 10 ** short.average[-1], between=(0.9, 1.1))

long = lesson.measure_product(factors=200, spread=0.99, runs=1000, seed=seed)
claim("the mean of 1000 long products is far below 1", 10 ** long.average[-1], below=0.1)

# %% [markdown]
# This is the whole course in one picture. A gradient on its way back through a network is a product
# of many factors, one for each layer or time step. Next you will see it happen in numbers, in
# matrices and in a network that reads digits: open [01 Vanishing and exploding](01_vanishing_and_exploding.ipynb).
#
# ## Exercise
#
# With factors between 0.5 and 1.5, after how many factors does the typical product fall below one
# in a million? Compute it from `mean`, the average of $\ln X$.

# %%
answer = ...  # your number, or a formula with mean and np.log

lesson.check_factors(answer)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The typical product after $n$ factors is $e^{n\,\cdot\,\text{mean}}$. Set it equal to $10^{-6}$ and
# take the logarithm of both sides.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# answer = int(np.ceil(np.log(1e-6) / mean))
# ```
#
# The slider ends at 200, so check with `print(lesson.measure_product(306, 0.5).summary())`. Single
# runs scatter by the width of the band, their median much less.
#
# </details>
#
# ## Remember
#
# 1. A deep chain multiplies: factors a little above or below 1 make a product that grows or shrinks
#    exponentially.
# 2. The typical product follows the average *logarithm*, not the average.
# 3. With *random* factors that average 1, the typical product still shrinks.
# 4. One run proves little: look at the band.
# 5. Predict first, then move the slider.
#
# ## References
#
# - S. Redner, *Random multiplicative processes: an elementary tutorial*, American Journal of Physics
#   58, 1990: why the mean and the typical value of a product part.
