"""The exercises of lesson 12, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradcourse.exercises import Verdict

__all__ = ["check_largest_stretch", "check_policy_loss"]

STEPS = 60
Stretch = Callable[[Tensor, int], Any]
PolicyLoss = Callable[[Tensor, Tensor, Tensor], Any]


def check_largest_stretch(function: Stretch) -> Verdict:
    """Check the first exercise: power iteration for the largest singular value.

    It is run on matrices whose singular values are known; one is square, and one is so large that
    numbers which are not normalised overflow.
    """
    name = getattr(function, "__name__", "the function")
    hint = "Multiply by weight, then by weight.T, normalise, and repeat; return the stretch."
    for weight, right in _matrices():
        shape = " by ".join(str(size) for size in weight.shape)
        try:
            answer = function(weight.clone(), STEPS)
        except Exception as error:
            return Verdict(False, f"on a {shape} matrix: {type(error).__name__}: {error}")
        if answer is None or answer is ...:
            return Verdict(False, f"{name} returns nothing. {hint}")
        try:
            found = float(answer)
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"{name} must return one number, got {repr(answer)[:60]}.")
        if not math.isfinite(found):
            return Verdict(False, f"{found}: the vector overflows; normalise it in every step.")
        if math.isclose(found, right, rel_tol=1e-3):
            continue
        for wrong, why in _STRETCH_MISTAKES:
            if math.isclose(found, wrong(weight), rel_tol=1e-3):
                return Verdict(False, why)
        return Verdict(
            False, f"a {shape} matrix stretches by {right:.4g} at most, got {found:.4g}. {hint}"
        )
    return Verdict(True, f"{name} finds the largest singular value of {len(_matrices())} matrices")


def check_policy_loss(function: PolicyLoss) -> Verdict:
    """Check the second exercise: a loss whose gradient is REINFORCE's, with a baseline.

    Its gradient with respect to the log probabilities is compared with the right one and with those
    of typical mistakes; the baselines must get none.
    """
    name = getattr(function, "__name__", "the function")
    hint = (
        "Minus the mean over episodes of the sum over steps of log_prob times (to go - baseline)."
    )
    log_probs, rewards, baselines = _episodes()
    try:
        loss = function(log_probs, rewards, baselines)
    except Exception as error:
        return Verdict(False, f"{name} raised {type(error).__name__}: {error}")
    if loss is None or loss is ...:
        return Verdict(False, f"{name} returns nothing. {hint}")
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        return Verdict(False, f"{name} must return a tensor with one number. {hint}")
    if not loss.requires_grad:
        return Verdict(False, "the loss has no gradient: use log_probs itself, not its numbers.")
    grads = torch.autograd.grad(loss.reshape(()), [log_probs, baselines], allow_unused=True)
    found, leaked = (torch.zeros_like(rewards) if one is None else one for one in grads)
    to_go = rewards.flip(1).cumsum(1).flip(1)
    episodes, steps = rewards.shape
    weight = baselines.detach()
    right = (weight - to_go) / episodes
    if torch.allclose(found, right, atol=1e-6):
        if bool(leaked.any()):
            return Verdict(
                False,
                "the baseline learns from this loss too; it must count as a number: detach it.",
            )
        return Verdict(True, f"the gradient of {name} is REINFORCE's")
    whole = rewards.sum(1, keepdim=True)
    mistakes = (
        (-right, "the sign: optimizers descend, and you want *more* of what paid."),
        (right / steps, "mean over steps: that divides by the episode's length; take the sum."),
        (right * episodes, "sum over episodes: take the mean of them."),
        (
            (weight - whole) / episodes,
            "each step gets the whole return; rewards of its past are only noise to it.",
        ),
        (
            (weight - rewards.cumsum(1)) / episodes,
            "each step gets the rewards *before* it; cumsum runs the other way.",
        ),
        ((weight - rewards) / episodes, "each step gets its own reward only, not what follows."),
        (-to_go / episodes, "the baseline is missing."),
        ((-to_go - weight) / episodes, "subtract the baseline from the return; do not add it."),
    )
    for wrong, why in mistakes:
        if torch.allclose(found, wrong, atol=1e-6):
            return Verdict(False, why)
    return Verdict(False, f"its gradient is not REINFORCE's. {hint}")


def _matrices() -> list[tuple[Tensor, float]]:
    """Return matrices and their largest singular values."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for rows, columns, values in ((4, 4, (6, 3, 2, 1)), (5, 3, (4000, 900, 1)), (2, 6, (0.3, 0.1))):
        left, right = (
            torch.linalg.qr(torch.randn(size, len(values), generator=generator)).Q
            for size in (rows, columns)
        )
        made.append((left @ torch.diag(torch.tensor(values).float()) @ right.T, float(values[0])))
    return made


def _episodes() -> tuple[Tensor, Tensor, Tensor]:
    """Return log probabilities, rewards and baselines, each of shape (episodes, steps)."""
    generator = torch.Generator().manual_seed(0)
    log_probs, rewards, baselines = torch.randn(3, 5, 4, generator=generator)
    return (-log_probs.abs()).requires_grad_(), rewards, baselines.requires_grad_()


def _largest_eigenvalue(weight: Tensor) -> float:
    square = weight.shape[0] == weight.shape[1]
    return float(torch.linalg.eigvals(weight).abs().max()) if square else math.nan


_STRETCH_MISTAKES: tuple[tuple[Callable[[Tensor], float], str], ...] = (
    (lambda w: float(w.norm()), "that is the Frobenius norm: it adds up *all* singular values."),
    (
        lambda w: float(torch.linalg.matrix_norm(w, ord=2) ** 2),
        "that is the square: you measured the stretch of weight.T @ weight; take the root.",
    ),
    (
        _largest_eigenvalue,
        "that is the largest *eigenvalue*; a matrix can stretch more: go back through weight.T.",
    ),
    (lambda w: float(w.abs().max()), "that is the largest entry."),
    (lambda _: 1.0, "1 is the length of a normalised vector; measure weight @ v."),
)
