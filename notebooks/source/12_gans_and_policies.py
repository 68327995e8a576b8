# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 · GANs and policies
#
# **Question.** So far a network descended on a loss that stayed where it was. What if the loss is
# another network that learns too? What if it is luck?
#
# In the first case the gradient goes in circles. In the second it is mostly noise. You will see both,
# with exact theory beside them, and find out what a spectral norm, a low learning rate and clipping can
# do about them, and what they cannot.

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
from torch.nn.utils.parametrizations import spectral_norm

from gradcourse import claim, theory
from gradcourse.lessons import gans_and_policies as lesson
from gradcourse.live import live, log

# %% tags=["parameters"]
generator_rate = 0.3
critic_rate = 0.3
max_norm = 10.0
seed = 0

# %% [markdown]
# ## 1 · What a generator learns from
#
# A **GAN** is a game of two networks. The *generator* turns random numbers into samples. The *critic*
# (or discriminator) gives each sample a score, and learns to score data high and samples low. The
# generator never sees the data. All it gets is the gradient of the score **with respect to the
# critic's input**: in which direction should this sample move to score higher?
#
# That gradient is a chain of layers, as in lesson 01, and it can vanish or explode. *Spectral
# normalisation* divides each weight matrix by its *spectral norm*: its largest singular value, the most
# by which it stretches any vector. Then no layer stretches at all, no ReLU stretches, and so the
# gradient is at most 1 long. In torch it is one call per layer. It estimates the spectral norm by
# repeated multiplication (*power iteration*), so expect 1 up to a per cent.
#
# **Predict.** Eight hidden ReLU layers of 64 units, all with spectral norm. The bound is 1. How long is
# the longest input gradient really? Write the exponent into the cell after next: `-2` for 0.01.

# %%
first_seed = 1000 * seed
torch.manual_seed(first_seed)
hidden = [spectral_norm(nn.Linear(2, 64)), nn.ReLU(), spectral_norm(nn.Linear(64, 64)), nn.ReLU()]
critic = nn.Sequential(*hidden, spectral_norm(nn.Linear(64, 1)))

places = torch.randn(1000, 2, requires_grad=True)
for _ in range(20):  # each pass improves the estimates
    scores = critic(places)
scores.sum().backward()  # each score depends on its own place only
bound = math.prod(torch.linalg.matrix_norm(layer.weight, ord=2).item() for layer in critic[::2])
claim("three layers: the bound is 1", bound, equals=1, within=0.01, source="Miyato 2018")
claim("the longest input gradient keeps it", places.grad.norm(dim=1).max(), below=bound)

# %%
prediction = None  # an exponent, for example: prediction = -2

measure = partial(lesson.measure_critics, first_seed=first_seed, prediction=prediction)
sliders = {"weight_scale": (0.5, 3.0, 0.1), "iterations": (1, 50), "width": [8, 16, 32, 64, 128]}
kinds, panels = ["relu", "leaky_relu", "tanh", "gelu"], [["plain", "spectral"]]
live(measure, lesson.draw_critics, panels=panels, **sliders, activation=kinds, compare=True)

# %% [markdown]
# Blue is measured (eight critics, at 100 places), dashed is the bound: the product of all spectral
# norms. Look at the distance between the two! The bound is a product of *worst cases*, and no vector
# meets the worst case in every layer.
#
# A wide random matrix with entries of variance $1/n$ keeps a *typical* vector as long as it is, but
# stretches the worst one by 2. Dividing by 2 makes the worst harmless and halves all others. The ReLU
# takes another $1/\sqrt2$. So at the start each layer multiplies the gradient by $1/\sqrt8\approx0.35$:
# **spectral norm forbids exploding by vanishing.** A critic with few layers can afford that.
#
# Try: `weight_scale` from end to end (the right picture stands still: the scale is divided out).
# `activation` gelu (its slope reaches 1.129, so the bound grows). `iterations` 1: the bound breaks,
# because a norm that is found too small divides by too little.

# %%
eight = lesson.measure_critics(first_seed=first_seed)
claim("8 ReLU layers: not 1, but about 10**-4", eight.spectral.largest[7], between=(-4.3, -3.4))
usual, wide = eight.spectral.usual, eight.spectral.predicted
per_layer = 10 ** ((usual[11] - usual[3]) / 8)
claim("a layer takes a factor 0.35", per_layer, equals=8**-0.5, within=0.04, source="Geman 1980")
loose = eight.plain.bound - eight.plain.largest
claim("12 plain layers: the bound is 10**5 too high", loose[11], between=(4.7, 6))

large = lesson.measure_critics(3.0, first_seed=first_seed).spectral.largest
gap = np.abs(large - eight.spectral.largest).max()
claim("weight scale 3 with spectral norm: the same", gap, below=1e-3)
gelu, rough = (lesson.measure_critics(1.4, 64, *each) for each in (("gelu", 50), ("relu", 1)))
claim("GELU: the bound is 1.129**8", 10 ** gelu.spectral.bound[7], equals=1.129**8, within=0.05)
claim("one iteration: the bound is far above 1", 10 ** rough.spectral.bound[7], above=3)

# %% [markdown]
# ## 2 · The smallest GAN
#
# Even a gentle gradient can lead nowhere. Take the smallest GAN there is. All data lie at 0. The
# generator puts all its samples at one place $\theta$. The critic scores a place $x$ with $\psi x$. It
# wants data to score more than samples, so it lowers $\psi\theta$. The generator raises it. The
# *equilibrium* is $\theta=\psi=0$: samples are data, the critic has no preference, and neither has a gradient.
#
# **Predict.** They start at $\theta=1$, $\psi=0$, at distance 1, and both learn at rate 0.2. How far are they
# from the equilibrium after 100 steps?
#
# Then try, each from this setting:
#
# - `updates` alternating: the generator answers a critic that has *already* moved;
# - `penalty` 0.1, then 0.5: the critic pays for a steep slope at the data, $\tfrac\gamma2\psi^2$;
# - both rates at 0.05, then both at 1;
# - `loss` logistic, that of the first GANs. Its linear theory holds near the equilibrium only. Further out
#   this loss pulls inwards, and with simultaneous updates the game ends on a ring.

# %%
prediction = None  # a distance, for example: prediction = 0.5

measure = partial(lesson.measure_spiral, prediction=prediction)
sliders = dict.fromkeys(["generator_rate", "critic_rate"], (0.05, 1.0, 0.05))
sliders |= {"penalty": (0.0, 3.0, 0.05), "updates": ["simultaneous", "alternating"]}
look = {"panels": [["plane", "distance"], ["plane", "rate"]], "size": (900, 460), "compare": True}
live(measure, lesson.draw_spiral, **look, **sliders, loss=list(lesson.LOSSES))

# %% [markdown]
# It spirals *outwards*. Each player follows its gradient, downhill by its own lights, and both get
# further away. The gradients are at right angles to the way home, $(\psi, -\theta)$ against
# $(\theta,\psi)$, so each step is a small tangent to a circle and ends outside of it:
#
# $$\text{distance}' = \sqrt{1 + ab\,s^2}\;\text{distance},$$
#
# with learning rates $a$ and $b$, and $s$ the slope of the loss at 0 (1, or 1/2 for logistic). With
# $a=b$ this holds for every step, otherwise on average over a turn. No rate is small enough.
# With the first loss, alternating steps stay on a ring: a factor of exactly 1, as long as $ab\,s^2<4$.
# What brings the players home is **friction**: with the penalty $\gamma$, simultaneous steps converge if
# $as^2 < \gamma < 2/b + as^2/2$. A low rate of the *generator* makes the first condition easy, a low
# rate of the *critic* the second.

# %%
sample, slope = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
for _ in range(100):
    up, down = torch.autograd.grad(slope * sample, [sample, slope])
    with torch.no_grad():
        sample += 0.2 * up  # the generator raises the score of its sample
        slope -= 0.2 * down  # the critic lowers it
far = torch.hypot(sample, slope)
claim("100 steps at rate 0.2: 7 times as far", far, equals=1.04**50, within=1e-3, source="theory")

# %%
for rate in (0.05, 0.2, 1.0):
    steps = int(20 / rate)  # the same time: steps times rate
    grown = np.hypot(*lesson.play(steps, rate, rate)[-1])
    said = f"rate {rate}: in the same time it grows by {(1 + rate**2) ** (steps / 2):.3g}"
    claim(said, grown, equals=(1 + rate**2) ** (steps / 2), within=1e-6 * grown)
ring = np.hypot(*lesson.play(4000, 0.2, 0.2, alternating=True).T)
claim("alternating: 4000 steps stay on a ring", ring.max() / ring.min(), below=1.3)

low, high = theory.dirac_gan_penalties(0.5, 0.5)
for penalty, home in ((0.9 * low, 1), (1.1 * low, -1), (0.97 * high, -1), (1.03 * high, 1)):
    path = lesson.play(400, 0.5, 0.5, penalty)
    word = "leaves" if home > 0 else "comes home"
    change = home * np.log10(np.hypot(*path[-1]))
    claim(f"penalty {penalty:.3g}: {word}", change, above=1, source="Mescheder 2018")

# %% [markdown]
# ## 3 · A GAN in the plane
#
# Now real networks: data from eight Gaussians on a ring, generator and critic with two hidden layers of
# 32 units, plain SGD, four seeds at once. The left picture shows the first of them; the colour says how
# sure the critic is that a place holds data. On the right: the critic's largest input gradient beside
# its bound, and the *energy distance*, which is small when samples and data look alike (the band is
# what perfect samples of this size score).
#
# A *mode* is one of the eight Gaussians. A sample is *near* it within three standard deviations. A mode is
# *covered* if a quarter of its share of the samples, one sample in 32, is near it.
#
# It starts without a remedy, at rate 0.3. **Predict**, before each move, how many of the eight modes
# will be covered:
#
# - both rates at 0.1, then at 0.03, then at 1;
# - `remedy` spectral norm at 0.3, then at 1, then at 3;
# - clipping (each network's gradient at norm 0.1) at 1, where there were NaNs;
# - gradient penalty, the friction of section 2, at 1.

# %%
rates = {"generator_rate": generator_rate, "critic_rate": critic_rate}
measure = partial(lesson.measure_gan, **rates, first_seed=first_seed)
look = {"panels": [["plane", "slope"], ["plane", "distance"]], "size": (900, 500)}
sliders = dict.fromkeys(rates, log(0.01, 3.0))
live(measure, lesson.draw_gan, **look, **sliders, remedy=list(lesson.REMEDIES))

# %% [markdown]
# Without a remedy the window is narrow: at 0.03 it is slow, at 0.1 it works, at 0.3 all samples run to one
# place and chase the critic around (*mode collapse*), at 1 it ends in NaN. With spectral norm 0.3 works,
# at 1 most seeds do, and at 3 about half collapse, but none ends in NaN. With clipping 1 works in most
# seeds, with the penalty in all that we tried. The samples stay blurred all the same: in the runs that
# work, mostly 65 to 90 % are near a mode; of the data 98.9 % are.
#
# Do not confuse three things called clipping: *gradient clipping*, meant here, cuts a step. *Weight
# clipping*, of the first Wasserstein GAN, cuts the critic's weights and so bounds its slope, crudely;
# gradient penalties and spectral norm took its place. And PPO clips a *ratio of probabilities*, to stop a
# policy that has moved too far from the one that gathered the data.

# %%
train = partial(lesson.train_gans, first_seed=first_seed)  # three seeds for each rate
free = train("none", [0.1, 0.3, 1.0])
claim("no remedy, rate 0.1: the median seed covers 7 or 8", np.median(free.covered[0]), above=6)
claim("rate 0.3: no seed covers more than 3", free.covered[1].max(), below=4)
claim("rate 1: two of three seeds or more end in NaN", free.broken[2].sum(), above=1)

normed = train("spectral norm", [0.3, 1.0, 3.0])
claim("spectral norm, rate 0.3: the median seed covers 8", np.median(normed.covered[0]), above=7)
claim("rate 1: at least one seed covers 7 or 8", normed.covered[1].max(), above=6)
claim("none ends in NaN, not even at rate 3", normed.broken.sum(), equals=0)
clipped, paid = (train(remedy, [1.0]).covered for remedy in ("clipping", "gradient penalty"))
claim("clipping, rate 1: at least one covers 7 or 8", clipped.max(), above=6)
claim("gradient penalty, rate 1: the median seed covers 7 or 8", np.median(paid), above=6)

# %% [markdown]
# ## 4 · Learning from luck
#
# A *policy* is a network that acts: it gives probabilities, an action is *drawn*, a reward comes. There
# is no derivative through a draw. But the mean reward has a gradient all the same:
#
# $$\nabla\,\mathbb E[r] = \mathbb E\big[(r-b)\,\nabla\log\pi(\text{action})\big].$$
#
# Raise the log probability of what was done, in proportion to what it paid. This is **REINFORCE**. The
# factor $\nabla\log\pi$, the *score*, has mean 0; so any constant $b$, a *baseline*, leaves the mean as it
# is. It does change the noise.
#
# **Predict.** Three arms pay 3, 4 and 5, with noise of deviation 1. An episode is eight draws. Its
# gradient is the sum of its eight scores times the sum of its eight rewards, each minus the baseline. By
# which factor does a baseline at the mean reward lower the noise of one episode's gradient? Then move:
#
# - `offset`: what every arm pays on top. It tells nothing about which arm is better. What does it cost?
# - `horizon`: how does the noise grow? The dash-dotted line is the length of the mean gradient.
# - `batch` 16, `reward_std` 3.

# %%
rewards, generator = torch.tensor(lesson.REWARDS + 3), torch.Generator().manual_seed(first_seed)
exact = theory.score_moments(lesson.LOGITS, lesson.REWARDS + 3)
for baseline in (0, exact.value, 8):
    logits = torch.tensor(lesson.LOGITS, requires_grad=True)
    policy = torch.distributions.Categorical(logits=logits)
    arms = torch.multinomial(policy.probs.detach(), 100_000, True, generator=generator)
    ((baseline - rewards[arms]) * policy.log_prob(arms)).mean().backward()
    gap = np.abs(-logits.grad.numpy() - exact.gradient).max()
    claim(f"baseline {baseline:.3g}: the right mean", gap, below=0.05, source="Williams 1992")

# %%
prediction = None  # a factor, for example: prediction = 2

measure = partial(lesson.measure_noise, first_seed=first_seed, prediction=prediction)
sliders = {"offset": (-5.0, 5.0, 0.5), "reward_std": (0.0, 3.0, 0.5)}
lists = {"horizon": list(lesson.HORIZONS), "batch": [1, 4, 16]}
panels = [["baseline", "horizon"]]
live(measure, lesson.draw_noise, panels=panels, **sliders, **lists, compare=True)

# %% [markdown]
# The dashed lines are exact, not fits. The variance is a parabola in $b$ (the picture shows its square
# root). For one draw the best baseline is
# $\mathbb E[r|\nabla\log\pi|^2]/\mathbb E[|\nabla\log\pi|^2]$. Here that is 4.0, and the mean reward is 3.68.
# They can lie far apart: a policy that draws an arm paying 0 in 95 of 100 cases, and one paying 1 in the
# others, has a mean reward of 0.05 and a best baseline of 0.95. With $T$ independent draws the distance is
# divided by $T$: at eight the best baseline is 3.72.
#
# Why does the horizon hurt? Each of $T$ scores is multiplied by the sum of $T$ rewards. Without a baseline
# the noise grows like $T^{3/2}$ and the mean like $T$: **longer episodes need more of them**. With one
# both grow like $T$. Leaving out rewards of the past, which no later action can have earned (*reward to
# go*), halves the variance of a long episode once more, for nothing.

# %%
noise = lesson.measure_noise(first_seed=first_seed)
for way, (measured, predicted) in noise.here.items():
    said = f"{way}: noise {predicted:.3g}"
    claim(said, measured, equals=predicted, within=0.06 * predicted, source="exact variance")
none, mean, to_go = (exact for _, exact in noise.here.values())
claim("8 draws: the baseline divides the noise by 8", none / mean, between=(7, 9))
claim("reward to go takes half of the variance", (to_go / mean) ** 2, between=(0.45, 0.55))

for way, power in (("no baseline", 1.5), ("baseline", 1.0)):
    grown = (noise.against_horizon[way][0, 5] - noise.against_horizon[way][0, 3]) / math.log10(4)
    claim(f"{way}: noise grows like T**{power}", grown, equals=power, within=0.12)
few, many = (lesson.measure_noise(horizon=draws).needed["no baseline"] for draws in (8, 32))
claim("4 times the draws: 4 times the episodes needed", many / few, equals=4, within=0.2)

# %% [markdown]
# ## 5 · A corridor, and a clipped policy
#
# Sutton and Barto's corridor: three places in a row, then the exit. Each step costs 1. In the second place
# the actions are switched, and the walker cannot tell the places apart, so all he can learn is one
# number: how often to go right. The best is $2-\sqrt2=0.586$, and takes 11.66 steps on average. A walker who
# needs more than 100 on average is *lost*.
#
# Our walkers start at 0.05 and need 82. They learn by REINFORCE, one update after each episode. Each learns
# twice, with the same luck: free (pink) and with clipped gradients (blue). The band holds 90 % of 64 walkers.
#
# The right picture shows single gradients of the free walkers. After the first few hundred steps they are far
# longer than their mean (dashed).
#
# **Predict**, before you run it: at rate 0.01 and `max_norm` 10, does clipping help or hurt? Then move:
#
# - `max_norm` 1, the number everyone uses. Then also `learning_rate` 0.1.
# - `cost` 0.1, `learning_rate` 0.1 and `max_norm` 1: the same task, counted in tens. Which picture do you
#   know already?
# - `cost` 1 again, `max_norm` 10, and each `estimator` at rate 0.01 and at 0.002. What does a noisier
#   gradient cost?

# %%
measure = partial(lesson.measure_corridor, max_norm=max_norm, first_seed=first_seed)
sliders = {"learning_rate": log(0.0005, 1.0), "max_norm": log(0.1, 1000), "cost": log(0.001, 100)}
ways, panels = ["whole return", "reward to go", "to go, baseline"], [["exits", "norms"]]
live(measure, lesson.draw_corridor, panels=panels, **sliders, estimator=ways)

# %% [markdown]
# One long episode, one huge gradient, and a free walker jumps to "always right" or "always left". There an
# episode never ends, and so he never learns again. Clipping takes away exactly this jump. (Counted in tens,
# it is the first picture again: gradients and `max_norm` a tenth, rate ten times as high.)
#
# It has a price: the mean of clipped gradients is not the clipped mean. With `reward to go` that hardly
# matters: the clipped walkers find the same policy. With `whole return` it does. There the mean gradient
# at the start is $+76$, and clipped at 10 it is about $-1.6$: it points the wrong way. At rate 0.002 most
# clipped walkers get lost, and few free ones.
#
# A lottery shows why. A safe arm pays 1. The lottery pays 20 in one case of ten, 2 on average. Both are
# drawn equally often. The gradient of the lottery's logit is then $-0.5$ (safe arm), $10$ (a win) or $0$. On
# average it is $+0.25$: play the lottery. Clip at 1, and only the rare win gets shorter.

# %%
walk = partial(lesson.measure_corridor, first_seed=first_seed)


def after(**settings):
    """Return the last picture of a training: row 0 is free, row 1 clipped."""
    return list(walk(**settings))[-1]


ten, one, fast = after(max_norm=10), after(max_norm=1), after(max_norm=1, learning_rate=0.1)
claim("rate 0.01, free: at least one walker in 12 is lost", ten.lost[0], above=0.08)
claim("clipped at 10: hardly one", ten.lost[1], below=0.04)
middle = [10 ** each.exits[1, 0, -1] for each in (ten, one, fast)]  # steps to the exit
claim("clipped at 10, the median needs 11.7 to 12.6 steps", middle[0], between=(11.65, 12.6))
claim("clipped at 1: still more than 40", middle[1], above=40)
claim("because 9 of 10 gradients are clipped", one.acted, above=0.9)
claim("clipped at 1, rate 0.1: 11.7 to 13.5", middle[2], between=(11.65, 13.5))
whole = after(estimator="whole return", learning_rate=0.002, max_norm=10).lost
claim("whole return, rate 0.002, free: at most one in four is lost", whole[0], below=0.25)
claim("clipped at 10: more than half are", whole[1], above=0.5)

# %%
walkers = lesson.Walkers(500, "whole return", learning_rate=0.0)
luck, seen = np.random.default_rng(first_seed), []
for _ in range(1000):
    walkers.step(luck.random(500))
    seen.append(walkers.gradient)  # NaN for those whose episode goes on
exact = theory.corridor_slope(0.05)
claim("the mean gradient at the start is 76", exact, equals=76, within=0.2, source="exact")
claim("of gradients clipped at 10: below -1", np.nanmean(np.clip(seen, -10, 10)), below=-1)

chance, gradient = np.array([0.5, 0.05, 0.45]), np.array([-0.5, 10.0, 0.0])
for limit, mean in ((math.inf, 0.25), (5, 0), (1, -0.2)):
    clipped = np.clip(gradient, -limit, limit)
    claim(f"max_norm {limit}: the mean is {mean}", chance @ clipped, equals=mean, within=1e-9)

# %% [markdown]
# ## Heard and measured
#
# **"GAN: spectral norm and a low learning rate."** Half true. Without spectral norm a rate of 0.1 works and
# 0.3 does not. Spectral norm is what makes the *high* rate possible; at 0.1 it leaves more samples off the
# modes than no remedy. In the smallest GAN the distance grows by about $e^{a/2}$ per unit of time (steps
# times rate), so a low rate $a$ slows the spiral, but never turns it. With the logistic
# loss it helps more: the players end on a ring of radius $\sqrt{2a}$.
#
# **"Spectral norm keeps the critic's gradient at 1."** False: *below* 1. At first weights a layer takes a factor
# 0.35 (section 1), and a trained critic of section 3 stays below a half.
#
# **"Clipping stabilises a GAN."** True against the jump: rate 1 in section 3, NaN before. False against the
# rotation. Clipped steps of the smallest GAN spiral out all the same, like $\sqrt t$ instead of
# exponentially; and close to the equilibrium, where gradients are short, clipping does nothing.
#
# **"Clip at 1.0: the default, for RL too."** True only when rewards happen to have that scale. A norm of
# a policy's gradient is counted in rewards. In the corridor 1.0 clips nine updates of ten. With a cost of
# 0.001 it clips one in a hundred, and with a cost of 10 all but a few.
#
# **"Clipping keeps the direction."** True for one gradient, false for their mean: the lottery.

# %%
for rate in (0.05, 0.2):
    end = np.hypot(*lesson.play(8000, rate, rate, loss="logistic")[-2000:].T).mean()
    radius = math.sqrt(2 * rate)
    claim(f"logistic, rate {rate}: a ring of radius {radius:.2g}", end, equals=radius, within=0.01)

slow, sharp = np.median(train("spectral norm", [0.1]).near), np.median(free.near[0])
claim("rate 0.1: spectral norm leaves more off the modes", sharp - slow, above=0.02)
duel = lesson.Duel([first_seed], [0.3], [0.3], "spectral norm")
for _ in range(1000):
    duel.step()
steepest = duel.input_gradient(duel.data(1000)).norm(dim=2).max()
claim("a trained critic with spectral norm stays below 0.5", steepest, below=0.5)

# %%
clipped = partial(lesson.play, generator_rate=0.2, critic_rate=0.2, max_norm=0.5)
away, near = np.hypot(*clipped(9900)[-1]), np.hypot(*clipped(100, start=(0.01, 0.0))[-1])
claim("9900 clipped steps of 0.1 lead to 10", away, equals=10, within=1e-6, source="Pythagoras")
claim("near the equilibrium: 7 times, as without", near / 0.01, equals=1.04**50, within=1e-6)
for cost, low, high in ((0.001, 0.0, 0.02), (1.0, 0.9, 1.0), (10.0, 0.95, 1.0)):
    share = after(cost=cost, max_norm=1).acted
    claim(f"cost {cost}: max_norm 1 clips {low:.0%} to {high:.0%}", share, between=(low, high))

# %% [markdown]
# ## Exercise
#
# 1. Write power iteration: start with any vector `v`. In each step go to `weight @ v` and back through
#    `weight.T`, and normalise. At the end return by how much `weight` stretches `v`.
# 2. Write REINFORCE's loss, to be *descended*, with reward to go and a baseline: the mean over episodes of
#    a sum over steps. `baselines` holds, for each step, what a second network expects of the rewards from
#    there on; it has a graph of its own and must not learn from this loss. All have shape (episodes, steps).


# %%
def largest_stretch(weight, steps):
    """Return the largest singular value of a matrix."""
    return ...


def policy_loss(log_probs, rewards, baselines):
    """Return a number to descend on."""
    return ...


print(lesson.check_largest_stretch(largest_stretch))
print(lesson.check_policy_loss(policy_loss))

# %% [markdown]
# <details><summary>Hints</summary>
#
# 1. `v / v.norm()` in *every* step, or large matrices overflow.
# 2. Rewards from a step on: `rewards.flip(1).cumsum(1).flip(1)`. Which sign makes descent raise the
#    probability of what paid? What does `detach` do?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def largest_stretch(weight, steps):
#     v = torch.ones(weight.shape[1])
#     for _ in range(steps):
#         v = weight.T @ (weight @ v)
#         v = v / v.norm()
#     return (weight @ v).norm()
#
# def policy_loss(log_probs, rewards, baselines):
#     to_go = rewards.flip(1).cumsum(1).flip(1)
#     return -(log_probs * (to_go - baselines.detach())).sum(1).mean()
# ```
#
# (If `v` happens to be at right angles to the direction that is stretched most, it never finds it. A random
# start is safe.)
#
# </details>
#
# ## Remember
#
# 1. A generator learns from the critic's input gradient. Spectral norm keeps it below 1, often far below.
# 2. In the smallest GAN, near the equilibrium, simultaneous steps spiral outwards by $\sqrt{1+ab\,s^2}$ at
#    any rate. Friction, such as a gradient penalty of the right size, brings the players home.
# 3. Clipping mends jumps, not rotation.
# 4. REINFORCE has the right mean and much noise: $T^{3/2}$ without a baseline, $T$ with one.
# 5. A policy's gradient is counted in rewards, so no `max_norm` fits all; and clipping rare large gradients
#    can turn their mean around.
#
# ## References
#
# - I. Goodfellow et al., *Generative adversarial nets*, NeurIPS 2014.
# - T. Miyato et al., *Spectral normalization for generative adversarial networks*, ICLR 2018.
# - L. Mescheder, A. Geiger, S. Nowozin, *Which training methods for GANs do actually converge?*, ICML 2018.
# - M. Arjovsky, S. Chintala, L. Bottou, *Wasserstein generative adversarial networks*, ICML 2017.
# - I. Gulrajani et al., *Improved training of Wasserstein GANs*, NeurIPS 2017.
# - S. Geman, *A limit theorem for the norm of random matrices*, Annals of Probability 8, 1980.
# - R. Williams, *Simple statistical gradient-following algorithms for connectionist reinforcement learning*,
#   Machine Learning 8, 1992.
# - L. Weaver, N. Tao, *The optimal reward baseline for gradient-based reinforcement learning*, UAI 2001.
# - E. Greensmith, P. Bartlett, J. Baxter, *Variance reduction techniques for gradient estimates in
#   reinforcement learning*, JMLR 5, 2004.
# - R. Sutton, A. Barto, *Reinforcement learning: an introduction*, 2nd edition, MIT Press 2018.
# - J. Schulman et al., *Proximal policy optimization algorithms*, arXiv 1707.06347, 2017.
