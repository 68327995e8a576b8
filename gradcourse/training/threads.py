"""How many threads a training uses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["one_thread"]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside of a ``with`` block, or of a function that this decorates.

    Steps of networks as small as the course's take less time than waking a second thread, and on a
    busy machine the threads wait for each other. The number of threads belongs to the whole
    process, so a generator should not ``yield`` inside of the block.

    Examples
    --------
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
