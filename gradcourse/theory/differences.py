"""How wrong a numerical derivative is: the curve between truncation and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradcourse.checks import more_than_zero
from gradcourse.theory.arrays import all_above

__all__ = ["best_difference_step", "difference_error"]

Array = NDArray[Any]


def difference_error(
    step: ArrayLike,
    value: ArrayLike,
    bend: ArrayLike,
    unit_roundoff: float,
    kind: str = "central",
) -> Array:
    r"""Return the size of the error of a numerical derivative, at each step size.

    .. math:: \frac{h^2}{6}|f'''| + \frac{u|f|}{h} \quad\text{(central)}, \qquad
              \frac{h}{2}|f''| + \frac{2u|f|}{h} \quad\text{(forward)}

    The first term is what Taylor's series leaves out, the second what two values of ``f`` that
    are each rounded by ``u|f|`` leave of their difference.

    Parameters
    ----------
    step
        The step size h, above 0.
    value
        ``f`` at the point.
    bend
        Its third derivative for central differences, its second for forward ones.
    unit_roundoff
        Half the gap between 1 and the next number: ``torch.finfo(dtype).eps / 2``.
    kind
        ``"central"``: ``(f(x + h) - f(x - h)) / 2h``, or ``"forward"``: ``(f(x + h) - f(x)) / h``.

    Raises
    ------
    ValueError
        If one of ``step``, or ``unit_roundoff``, is not finite and above 0, or ``kind`` is
        neither ``"central"`` nor ``"forward"``.
    TypeError
        If one of ``step``, or ``unit_roundoff``, is no number.

    Notes
    -----
    Press et al., *Numerical Recipes*, on numerical derivatives. The truncation term is the first
    of its series, so it is too large where h is as long as the function's own scale.

    Examples
    --------
    >>> difference_error([1e-5, 1e-2], value=1.0, bend=6.0, unit_roundoff=1e-16).round(12)
    array([1.1e-10, 1.0e-04])
    """
    steps = all_above(0, "step", step)
    more_than_zero("unit_roundoff", unit_roundoff)
    size, bend = np.abs(value), np.abs(bend)
    if kind == "central":
        return np.asarray(steps**2 / 6 * bend + unit_roundoff * size / steps)
    if kind == "forward":
        return np.asarray(steps / 2 * bend + 2 * unit_roundoff * size / steps)
    raise ValueError(f"kind must be central or forward, got {kind!r}")


def best_difference_step(
    value: float, bend: float, unit_roundoff: float, kind: str = "central"
) -> float:
    r"""Return the step size at which :func:`difference_error` is smallest.

    .. math:: \sqrt[3]{3u|f|/|f'''|} \quad\text{(central)}, \qquad
              2\sqrt{u|f|/|f''|} \quad\text{(forward)}

    Parameters
    ----------
    value, bend, unit_roundoff, kind
        As for :func:`difference_error`; value and bend are not 0.

    Raises
    ------
    ValueError
        If ``value`` or ``bend`` is 0 or not finite, ``unit_roundoff`` is not finite and above 0, or
        ``kind`` is neither ``"central"`` nor ``"forward"``.
    TypeError
        If ``value``, ``bend`` or ``unit_roundoff`` is no number.

    Examples
    --------
    >>> f"{best_difference_step(1.0, 3.0, 1e-15):.0e}"
    '1e-05'
    >>> f"{best_difference_step(1.0, 4.0, 1e-16, 'forward'):.0e}"
    '1e-08'
    """
    more_than_zero("the size of value", abs(value))
    more_than_zero("the size of bend", abs(bend))
    more_than_zero("unit_roundoff", unit_roundoff)
    noise = unit_roundoff * abs(value) / abs(bend)
    if kind == "central":
        return float((3 * noise) ** (1 / 3))
    if kind == "forward":
        return float(2 * noise**0.5)
    raise ValueError(f"kind must be central or forward, got {kind!r}")
