"""A transformer's block."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from gradcourse.checks import at_least
from gradcourse.models.feedforward import activation_module

__all__ = ["TransformerBlock"]


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer, each added to its input, with norms and skips.

    Parameters
    ----------
    width
        Numbers of a token.
    heads
        Attention heads; they divide the width.
    norm
        ``"pre"``: ``x + branch(norm(x))``, ``"post"``: ``norm(x + branch(x))``, or ``"none"``.
    skip
        False leaves out ``x +``.
    activation
        Of the feed-forward layer; a name from ``ACTIVATION_NAMES``.

    Raises
    ------
    ValueError
        If ``width`` or ``heads`` is not a whole number of 1 or more, ``heads`` does not divide
        ``width``, or the norm or the activation is unknown.

    Shape
    -----
    inputs and outputs ``(batch, tokens, width)``.

    Examples
    --------
    >>> import torch
    >>> TransformerBlock(8, heads=2)(torch.zeros(5, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        norm: str = "pre",
        skip: bool = True,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        if norm not in ("pre", "post", "none"):
            raise ValueError(f"norm must be one of pre, post, none, got {norm!r}")
        width, heads = at_least(1, "width", width), at_least(1, "heads", heads)
        if width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}")
        self.norm, self.skip = norm, skip
        norms = (nn.Identity() if norm == "none" else nn.LayerNorm(width) for _ in range(2))
        self.norm1, self.norm2 = norms
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), activation_module(activation), nn.Linear(4 * width, width)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Run attention, then the feed-forward layer."""
        middle = self._around(self.norm1, self._attend, inputs)
        return self._around(self.norm2, self.feed_forward, middle)

    def _attend(self, x: Tensor) -> Tensor:
        # Without weights torch takes a fused kernel, which has no rule for torch.func.vmap.
        attended: Tensor = self.attention(x, x, x, need_weights=True)[0]
        return attended

    def _around(self, norm: nn.Module, branch: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        change = branch(norm(x) if self.norm == "pre" else x)
        total = x + change if self.skip else change
        result: Tensor = norm(total) if self.norm == "post" else total
        return result
