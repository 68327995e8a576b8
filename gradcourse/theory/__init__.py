"""What should happen to a gradient: closed forms, with NumPy and SciPy in and numbers out.

Weights have variance ``weight_variance / fan_in`` and biases ``bias_variance``; ``q`` is the
variance of a pre-activation, and ``chi`` the factor by which one layer multiplies the *square* of
the gradient, so that its norm changes by ``sqrt(chi)``.
"""

# These modules write scipy.special.expit in full: SciPy loads a part of itself when it is first
# named so, and a lesson's first picture does not wait for parts that it does not use.

from gradcourse.theory.activations import ACTIVATIONS, Activation, activation
from gradcourse.theory.adam import adam_noise_update, adam_spike_update
from gradcourse.theory.attention import attention_slope, letters_only
from gradcourse.theory.chains import (
    chain_fixed_point,
    lyapunov_exponents,
    overflow_depth,
    product_log_norm,
    underflow_depth,
)
from gradcourse.theory.cliff import cliff_valley, cliff_wall
from gradcourse.theory.clipping import (
    lognormal_clip_rate,
    value_clip_cosine,
    value_clip_length,
)
from gradcourse.theory.differences import best_difference_step, difference_error
from gradcourse.theory.factors import log10_product_band, uniform_log_moments
from gradcourse.theory.fans import fan_factors
from gradcourse.theory.games import (
    dirac_gan_path,
    dirac_gan_penalties,
    dirac_gan_rate,
    dirac_gan_step,
    mixture_distance,
)
from gradcourse.theory.losses import huber_gradient, huber_location
from gradcourse.theory.mean_field import (
    chi,
    critical_weight_variance,
    depth_scale,
    length_fixed_point,
    length_map,
    weight_variance_of,
)
from gradcourse.theory.moments import gaussian_mean
from gradcourse.theory.normalization import NORMS, batch_norm_chi, norm_chi, surviving_share
from gradcourse.theory.phase import crossing_depths, gradient_map
from gradcourse.theory.policies import (
    CORRIDOR_BEST,
    ScoreMoments,
    corridor_slope,
    corridor_value,
    reinforce_variance,
    score_moments,
)
from gradcourse.theory.precision import (
    FLOAT_FORMATS,
    FloatFormat,
    float_format,
    flushed_share,
    largest_swallowed,
    loss_scales,
    overflowing_share,
    skipped_share,
    spacing,
)
from gradcourse.theory.profile import MeanField, mean_field_profile
from gradcourse.theory.recurrent import (
    chrono_memory,
    gate_memory,
    gaussian_power_norm,
    jordan_power_norm,
)
from gradcourse.theory.residual import (
    log10_residual_norm,
    pre_norm_stream,
    relu_branch_gain,
    relu_cosine,
)
from gradcourse.theory.schedules import warmup_cosine_factor
from gradcourse.theory.stability import (
    heavy_ball_iterates,
    heavy_ball_rate,
    largest_stable_learning_rate,
    two_layer_norm,
    two_layer_sharpness,
)
from gradcourse.theory.truncation import (
    kept_pairs,
    mean_truncated_share,
    truncated_share,
    truncation_horizon,
)
from gradcourse.theory.updates import sgd_update_ratio
from gradcourse.theory.wide import jacobian_spread, relu_log_gain

__all__ = [
    "ACTIVATIONS",
    "CORRIDOR_BEST",
    "FLOAT_FORMATS",
    "NORMS",
    "Activation",
    "FloatFormat",
    "MeanField",
    "ScoreMoments",
    "activation",
    "adam_noise_update",
    "adam_spike_update",
    "attention_slope",
    "batch_norm_chi",
    "best_difference_step",
    "chain_fixed_point",
    "chi",
    "chrono_memory",
    "cliff_valley",
    "cliff_wall",
    "corridor_slope",
    "corridor_value",
    "critical_weight_variance",
    "crossing_depths",
    "depth_scale",
    "difference_error",
    "dirac_gan_path",
    "dirac_gan_penalties",
    "dirac_gan_rate",
    "dirac_gan_step",
    "fan_factors",
    "float_format",
    "flushed_share",
    "gate_memory",
    "gaussian_mean",
    "gaussian_power_norm",
    "gradient_map",
    "heavy_ball_iterates",
    "heavy_ball_rate",
    "huber_gradient",
    "huber_location",
    "jacobian_spread",
    "jordan_power_norm",
    "kept_pairs",
    "largest_stable_learning_rate",
    "largest_swallowed",
    "length_fixed_point",
    "length_map",
    "letters_only",
    "log10_product_band",
    "log10_residual_norm",
    "lognormal_clip_rate",
    "loss_scales",
    "lyapunov_exponents",
    "mean_field_profile",
    "mean_truncated_share",
    "mixture_distance",
    "norm_chi",
    "overflow_depth",
    "overflowing_share",
    "pre_norm_stream",
    "product_log_norm",
    "reinforce_variance",
    "relu_branch_gain",
    "relu_cosine",
    "relu_log_gain",
    "score_moments",
    "sgd_update_ratio",
    "skipped_share",
    "spacing",
    "surviving_share",
    "truncated_share",
    "truncation_horizon",
    "two_layer_norm",
    "two_layer_sharpness",
    "underflow_depth",
    "uniform_log_moments",
    "value_clip_cosine",
    "value_clip_length",
    "warmup_cosine_factor",
    "weight_variance_of",
]
