"""The one device rule: argument, else GRADCOURSE_DEVICE, else cuda, else mps, else cpu."""

from __future__ import annotations

import os

import torch

__all__ = ["choose_device", "explain_device"]

ENVIRONMENT_VARIABLE = "GRADCOURSE_DEVICE"


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device that measurements run on.

    Parameters
    ----------
    device
        A torch device or its name; ``None`` follows the rule.

    Raises
    ------
    ValueError
        If the name is no torch device, or names an accelerator that this machine does not have.
    """
    return explain_device(device)[0]


def explain_device(device: str | torch.device | None = None) -> tuple[torch.device, str]:
    """Return the chosen device and, in a few words, why it was chosen.

    Raises
    ------
    ValueError
        As in :func:`choose_device`.
    """
    if device is not None:
        return _checked(device, "the device argument"), "asked for by argument"
    wanted = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if wanted:
        return _checked(wanted, ENVIRONMENT_VARIABLE), f"asked for by {ENVIRONMENT_VARIABLE}"
    if torch.cuda.is_available():
        return torch.device("cuda"), f"found {torch.cuda.get_device_name()}"
    if torch.backends.mps.is_available():
        return torch.device("mps"), "found an Apple GPU"
    return torch.device("cpu"), "no GPU found"


def _checked(device: str | torch.device, origin: str) -> torch.device:
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"{origin} must be cpu, cuda, cuda:N or mps, got {device!r}") from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(chosen.type, False):
        here = [name for name in ("cpu", "cuda", "mps") if name != chosen.type and available[name]]
        raise ValueError(
            f"{origin} asks for {str(chosen)!r}, which this machine does not have; "
            f"it has {' and '.join(here)}"
        )
    return chosen
