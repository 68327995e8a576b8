"""Everything that may be done to a gradient between ``backward()`` and ``step()``.

Each function works in place, takes a Tensor, a Module or an iterable of Tensors, and keeps torch's
names and order of arguments.

| name                            | what it limits                               | direction |
|---------------------------------|----------------------------------------------|-----------|
| `clip_grad_norm_`               | the norm of all gradients together           | kept      |
| `clip_grad_value_`              | each element                                 | turned    |
| `clip_grad_norm_per_parameter_` | the norm of each tensor                      | turned    |
| `clip_grad_rms_`                | the root mean square of each tensor          | turned    |
| `clip_grad_agc_`                | each unit, against the size of its weights   | turned    |
| `rescale_grad_norm_`            | sets the norm, small gradients too           | kept      |
| `standardize_grad_`             | sets each tensor's mean and deviation        | turned    |
| `PercentileClip`                | the norm, at a percentile of its history     | kept      |
| `SpikeClip`                     | the norm, where it stands out of its average | kept      |
"""

from gradcourse.clipping.adaptive import AdaptiveClip, PercentileClip, SpikeClip
from gradcourse.clipping.agc import clip_grad_agc_
from gradcourse.clipping.functions import (
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    clip_grad_rms_,
    clip_grad_value_,
    rescale_grad_norm_,
    standardize_grad_,
)
from gradcourse.clipping.gradients import Parameters
from gradcourse.clipping.nonfinite import nonfinite_gradients

__all__ = [
    "AdaptiveClip",
    "Parameters",
    "PercentileClip",
    "SpikeClip",
    "clip_grad_agc_",
    "clip_grad_norm_",
    "clip_grad_norm_per_parameter_",
    "clip_grad_rms_",
    "clip_grad_value_",
    "nonfinite_gradients",
    "rescale_grad_norm_",
    "standardize_grad_",
]
