"""What a loss must be, in the reader's words."""

from __future__ import annotations

from torch import Tensor

__all__ = ["checked_loss"]


def checked_loss(loss: object) -> Tensor:
    """Return what ``loss_fn`` returned, as a 0-d tensor, or say why it is no loss."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss_fn must return a tensor, got {type(loss).__name__}")
    if loss.numel() != 1:
        raise ValueError(
            f"loss_fn must return one number, got shape {tuple(loss.shape)}; "
            "take its mean, or its sum"
        )
    return loss.reshape(())
