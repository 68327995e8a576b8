"""Data: real sets that ship inside packages, and made-up sequences; nothing is downloaded."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from gradcourse.checks import at_least, at_least_zero

__all__ = [
    "ALPHABET",
    "adding_problem",
    "digits",
    "first_symbol",
    "large_targets",
    "python_text",
    "reversal",
    "ring",
    "split_digits",
    "temporal_order",
]

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""What :func:`python_text` is written in: a line's end and the printable characters of ASCII."""


def digits(batch: int | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return scikit-learn's handwritten digits, 1797 images of 8 by 8 pixels.

    Each pixel is standardised to mean 0 and variance 1 over all 1797 images (three corner pixels
    that are the same in every image become 0), and then all are multiplied by one number so that
    the mean square over all pixels and images is exactly 1: the variance that mean field theory
    starts from. An image's numbers do not depend on the batch it is drawn into.

    Parameters
    ----------
    batch
        How many images to draw, without repetition; ``None`` returns all, in their order.
    seed
        Chooses which images are drawn.

    Returns
    -------
    inputs : Tensor of shape (batch, 64)
        float32.
    labels : Tensor of shape (batch,)
        int64, 0 to 9.

    Raises
    ------
    ValueError
        If ``batch`` is not a whole number from 1 to 1797, or ``seed`` not one of 0 or more.

    Examples
    --------
    >>> inputs, labels = digits(batch=32)
    >>> inputs.shape, labels.shape
    (torch.Size([32, 64]), torch.Size([32]))
    """
    seed = at_least(0, "seed", seed)
    inputs, labels = _all_digits()
    if batch is None:
        return inputs.clone(), labels.clone()
    batch = at_least(1, "batch", batch)
    if batch > len(labels):
        raise ValueError(f"batch must be between 1 and {len(labels)}, got {batch}")
    drawn = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels))[:batch])
    return inputs[drawn], labels[drawn]


def ring(points: int, modes: int = 8, spread: float = 0.1, seed: int = 0) -> Tensor:
    """Return points of a ring of Gaussians in the plane: a favourite first task for GANs.

    The modes lie evenly on the circle of radius 1, and each point is drawn around one of them.

    Parameters
    ----------
    points
        How many to draw.
    modes
        Gaussians on the ring, all equally likely.
    spread
        Standard deviation of each in either direction, 0 or more.
    seed
        Chooses the points.

    Returns
    -------
    Tensor of shape (points, 2)
        float32.

    Raises
    ------
    ValueError
        If ``points`` or ``modes`` is not a whole number of 1 or more, ``seed`` not one of 0 or
        more, or ``spread`` is below 0 or not finite.
    TypeError
        If ``spread`` is no number.

    Examples
    --------
    >>> points = ring(1000)
    >>> points.shape, round(float(points.norm(dim=1).mean()), 1)
    (torch.Size([1000, 2]), 1.0)
    """
    points, modes = at_least(1, "points", points), at_least(1, "modes", modes)
    source = np.random.default_rng(at_least(0, "seed", seed))
    angles = 2 * np.pi / modes * source.integers(0, modes, points)
    noise = at_least_zero("spread", spread) * source.standard_normal((points, 2))
    places = np.stack([np.cos(angles), np.sin(angles)], axis=1) + noise
    return torch.from_numpy(places.astype(np.float32))


def split_digits(
    training: int, seed: int = 0
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return digits to learn from and digits that are held out, all 1797 together.

    Parameters
    ----------
    training
        How many to learn from, 1 to 1796.
    seed
        Chooses which.

    Returns
    -------
    training, held_out : tuple of (Tensor, Tensor)
        Inputs and labels, as :func:`digits` returns them.

    Raises
    ------
    ValueError
        If ``training`` is not a whole number from 1 to 1796, or ``seed`` not one of 0 or more.

    Examples
    --------
    >>> (inputs, _), (held_out, _) = split_digits(1500)
    >>> len(inputs), len(held_out)
    (1500, 297)
    """
    every = len(_all_digits()[1])
    training = at_least(1, "training", training)
    if training >= every:
        raise ValueError(f"training must be between 1 and {every - 1}, got {training}")
    inputs, labels = digits(every, seed)
    return (inputs[:training], labels[:training]), (inputs[training:], labels[training:])


def large_targets(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return a linear regression whose targets nobody has scaled: 1000 rows, 20 features.

    ``sklearn.datasets.make_regression`` with noise of standard deviation 0.1. The features are
    standard normal; the targets depend on ten of them and have a standard deviation of 100 to 250.
    With ``seed`` 1 it is the data of a tutorial on clipping: J. Brownlee, *How to avoid exploding
    gradients with gradient clipping*, machinelearningmastery.com.

    Parameters
    ----------
    seed
        Chooses features, coefficients and noise.

    Returns
    -------
    inputs : Tensor of shape (1000, 20)
        float32.
    targets : Tensor of shape (1000,)
        float32.

    Raises
    ------
    ValueError
        If ``seed`` is not a whole number from 0 to ``2**32 - 1``.

    Examples
    --------
    >>> inputs, targets = large_targets()
    >>> round(float(targets[:500].std()))
    143
    """
    from sklearn.datasets import make_regression

    inputs, targets = make_regression(
        n_samples=1000, n_features=20, noise=0.1, random_state=at_least(0, "seed", seed)
    )
    return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets.astype(np.float32))


def reversal(batch: int, length: int = 6, symbols: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random sequences of symbols, and the same sequences backwards.

    Each place must learn at which other place to look, so a model that cannot send information
    from place to place cannot solve it.

    Parameters
    ----------
    batch
        Number of sequences.
    length, symbols
        Symbols in a sequence, and how many there are to choose from; both 1 or more.
    seed
        Chooses the sequences.

    Returns
    -------
    inputs, targets : Tensor of shape (batch, length)
        int64, 0 to ``symbols - 1``.

    Raises
    ------
    ValueError
        If ``batch``, ``length`` or ``symbols`` is not a whole number of 1 or more, or ``seed`` not
        one of 0 or more.

    Examples
    --------
    >>> inputs, targets = reversal(batch=1, length=4)
    >>> inputs.flip(1).equal(targets)
    True
    """
    shape = at_least(1, "batch", batch), at_least(1, "length", length)
    source = np.random.default_rng(at_least(0, "seed", seed))
    inputs = torch.from_numpy(source.integers(0, at_least(1, "symbols", symbols), shape))
    return inputs, inputs.flip(1)


def adding_problem(batch: int, length: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return sequences of numbers, two of which are marked; the target is the sum of these two.

    Each step has two inputs: a number, uniform between 0 and 1, and a mark, which is 1 at one place
    in the first half and one in the second, and 0 elsewhere. Who always answers 1, the mean of the
    targets, has a mean squared error of 1/6, their variance.

    Parameters
    ----------
    batch
        Number of sequences.
    length
        Steps in a sequence, 2 or more.
    seed
        Chooses the sequences.

    Returns
    -------
    inputs : Tensor of shape (batch, length, 2)
        float32.
    targets : Tensor of shape (batch,)
        float32, between 0 and 2.

    Raises
    ------
    ValueError
        If ``batch`` is not a whole number of 1 or more, ``length`` not one of 2 or more, or
        ``seed`` not one of 0 or more.

    References
    ----------
    Hochreiter & Schmidhuber 1997, *Long short-term memory*, with numbers between -1 and 1; in this
    form Le, Jaitly & Hinton 2015, *A simple way to initialize recurrent networks of rectified
    linear units*; one mark in each half as in Arjovsky, Shah & Bengio 2016, *Unitary evolution
    recurrent neural networks*.

    Examples
    --------
    >>> inputs, targets = adding_problem(batch=3, length=10)
    >>> inputs.shape, inputs[..., 1].sum(1).tolist()
    (torch.Size([3, 10, 2]), [2.0, 2.0, 2.0])
    """
    batch, length = at_least(1, "batch", batch), at_least(2, "length", length)
    source = np.random.default_rng(at_least(0, "seed", seed))
    numbers = source.random((batch, length), dtype=np.float32)
    marks = np.zeros_like(numbers)
    rows, half = np.arange(batch), length // 2
    for begin, end in ((0, half), (half, length)):
        marks[rows, source.integers(begin, end, batch)] = 1
    targets = (numbers * marks).sum(axis=1)
    return torch.from_numpy(np.stack([numbers, marks], axis=2)), torch.from_numpy(targets)


def first_symbol(batch: int, length: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return sequences to be classed by their first symbol; all later ones are distractors.

    The plainest test of memory: one of ``A B C D`` stands first, and then come symbols drawn from
    ``e f g h`` which say nothing.

    Parameters
    ----------
    batch
        Number of sequences.
    length
        Symbols in a sequence, 1 or more.
    seed
        Chooses the sequences.

    Returns
    -------
    symbols : Tensor of shape (batch, length)
        int64, the places of the symbols in ``ABCDefgh``.
    labels : Tensor of shape (batch,)
        int64, 0 to 3.

    Raises
    ------
    ValueError
        If ``batch`` or ``length`` is not a whole number of 1 or more, or ``seed`` not one of 0 or
        more.

    References
    ----------
    A latch problem in the manner of Bengio, Simard & Frasconi 1994, *Learning long-term
    dependencies with gradient descent is difficult*, in symbols as in the long time lag tasks of
    Hochreiter & Schmidhuber 1997.

    Examples
    --------
    >>> symbols, labels = first_symbol(batch=2, length=12)
    >>> ["".join("ABCDefgh"[symbol] for symbol in row) for row in symbols], labels.tolist()
    (['Dggffeeeehgh', 'Cghgggghfhge'], [3, 2])
    """
    batch, length = at_least(1, "batch", batch), at_least(1, "length", length)
    source = np.random.default_rng(at_least(0, "seed", seed))
    symbols = source.integers(4, 8, (batch, length))
    labels = symbols[:, 0] - 4
    symbols[:, 0] = labels
    return torch.from_numpy(symbols), torch.from_numpy(labels)


def temporal_order(batch: int, length: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return sequences to be classed by the order of two symbols, seen long before the end.

    Each sequence is drawn from the distractors ``c d e f``, except for one symbol between the
    first and the second tenth of it and another between the fourth and the fifth; each of the two
    is ``A`` or ``B``. The class is their order: ``AA, AB, BA, BB``.

    Parameters
    ----------
    batch
        Number of sequences.
    length
        Symbols in a sequence, 10 or more.
    seed
        Chooses the sequences.

    Returns
    -------
    symbols : Tensor of shape (batch, length)
        int64, the places of the symbols in ``ABcdef``.
    labels : Tensor of shape (batch,)
        int64, 0 to 3.

    Raises
    ------
    ValueError
        If ``batch`` is not a whole number of 1 or more, ``length`` not one of 10 or more, or
        ``seed`` not one of 0 or more.

    References
    ----------
    Hochreiter & Schmidhuber 1997, *Long short-term memory*; with these places of the two symbols
    Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*.

    Examples
    --------
    >>> symbols, labels = temporal_order(batch=1)
    >>> "".join("ABcdef"[symbol] for symbol in symbols[0]), ("AA", "AB", "BA", "BB")[labels[0]]
    ('feedAcccBfefeefeeeef', 'AB')
    """
    batch, length = at_least(1, "batch", batch), at_least(10, "length", length)
    source = np.random.default_rng(at_least(0, "seed", seed))
    symbols = source.integers(2, 6, (batch, length))
    rows = np.arange(batch)
    first, second = source.integers(0, 2, (2, batch))
    for marks, begin, end in ((first, 1, 2), (second, 4, 5)):
        ends = begin * length // 10, end * length // 10
        symbols[rows, source.integers(*ends, batch, endpoint=True)] = marks
    return torch.from_numpy(symbols), torch.from_numpy(2 * first + second)


def python_text() -> Tensor:
    """Return the documentation of the Python language as places in :data:`ALPHABET`.

    The text that ``help()`` shows on keywords and topics (``pydoc_data.topics``), which comes with
    Python under the licence of the Python Software Foundation: the topics in alphabetical order, a
    blank line between them. The few characters beyond ASCII become ``?``. Its length and words
    depend on the version of Python: 460 to 510 thousand characters from 3.11 to 3.13.

    Returns
    -------
    Tensor of shape (characters,)
        int64, 0 to 95.

    Raises
    ------
    ModuleNotFoundError
        If this Python was installed without the text.

    Examples
    --------
    >>> text = python_text()
    >>> len(text) > 400_000, len(ALPHABET)
    (True, 96)
    """
    return _python_text().clone()


@functools.cache
def _python_text() -> Tensor:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise ModuleNotFoundError(
            "this Python was installed without its documentation text (pydoc_data.topics): "
            "install the full standard library, or use a Python from python.org or conda"
        ) from None
    text = "\n\n".join(topics[name] for name in sorted(topics))
    codes = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64)
    # Whatever else a future version may hold, such as a tab, is a blank.
    return torch.from_numpy(np.where(codes == 10, 0, np.where(codes < 32, 1, codes - 31)))


@functools.cache
def _all_digits() -> tuple[Tensor, Tensor]:
    # Imported late: it takes longer to import than all of the rest.
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    spread = images.std(axis=0)
    standard = (images - images.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    standard /= np.sqrt(np.mean(np.square(standard)))
    return torch.from_numpy(standard.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
