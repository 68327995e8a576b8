"""What initialize refuses, in words, without having changed anything."""

import math

import pytest
import torch
from odd_models import (
    Odd,
    Scale,
    Sharded,
    learned,
    numbers,
    same,
    seeded,
    symmetric,
    weight_normed,
    with_weight,
)
from torch import nn
from torch.nn.utils import parametrizations

from gradcourse.initialization import initialize


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scheme": "hee"}, "scheme must be one of xavier_uniform, .*he_normal, got 'hee'"),
        ({"nonlinearity": "gelu"}, "has no gain for 'gelu': pass gain=, a number"),
        ({"gain": 2.0, "nonlinearity": "tanh"}, "give gain or nonlinearity, not both"),
        ({"gain": 0.0}, "gain must be a finite number above 0, got 0"),
        ({"gain": math.nan}, "gain must be a finite number above 0, got nan"),
        ({"mode": "fan_avg"}, "mode must be fan_in or fan_out, got 'fan_avg'"),
        ({"scheme": "orthogonal", "mode": "fan_in"}, "orthogonal has no option mode"),
        ({"weight_variance": 1.0}, "he_normal has no option weight_variance, got weight_varianc"),
        ({"scheme": "mean_field", "weight_variance": -1.0}, "weight_variance must be a finite"),
        (
            {"scheme": "mean_field", "weight_variance": 1.0, "bias_variance": math.inf},
            "bias_variance must be a finite number, 0 or more, got inf",
        ),
        ({"scheme": "mean_field", "weight_variance": 1.0, "gain": 1.0}, "has no option gain"),
        ({"scheme": "torch", "gain": 1.0}, "the scheme torch has no option gain"),
        ({"leave": "1"}, "leave names '1', which the model does not have"),
        ({"leave": ""}, "leave names '', which the model does not have"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(options, sentence):
    net = nn.Sequential(nn.Linear(3, 3))
    before = numbers(net)
    with pytest.raises(ValueError, match=sentence):
        initialize(net, **{"scheme": "he_normal", **options})
    assert same(before, numbers(net))


def test_arguments_of_the_wrong_type_are_refused_in_words():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got Tensor"):
        initialize(torch.ones(3), "he_normal")
    for leave in (3, (3,)):
        with pytest.raises(TypeError, match="leave must hold names and classes of modules, got 3"):
            initialize(nn.Linear(2, 2), "he_normal", leave=leave)
    with pytest.raises(TypeError, match=r"leave must hold names and classes.*got <class 'int'>"):
        initialize(nn.Linear(2, 2), "he_normal", leave=int)


ANY_SCHEME = [
    (lambda: nn.LazyLinear(3), r"^1 .LazyLinear. has no shape yet: run one batch"),
    (lambda: nn.Linear(3, 3, device="meta"), "^1.weight is on the meta device and holds no numb"),
    (lambda: nn.Linear(3, 3, dtype=torch.complex64), "^1.weight is torch.complex64: schemes are f"),
    (lambda: with_weight(Sharded(torch.ones(3, 3))), "^1.weight is a Sharded and no plain Param"),
    (Scale, "^1 .Scale. owns the parameter scale.*leave='1.scale'"),
    (lambda: nn.ParameterList([torch.ones(2)]), "^1 .ParameterList. owns the parameter 0"),
    (lambda: parametrizations.spectral_norm(nn.Linear(3, 3)), "^1.weight is parametrized"),
    (lambda: parametrizations.orthogonal(nn.Linear(3, 3)), "^1.weight is parametrized"),
]
BY_SCHEME = [
    ("he_normal", Odd, "^1 .Odd. owns the parameter extra, which no scheme knows: set it yourself"),
    ("he_normal", symmetric, "^1.0.weight is parametrized by Symmetric, which does not give back"),
    ("he_normal", learned, "^1.0.weight is parametrized by Growing, which does not give back"),
    ("torch", Scale, "^1 .Scale. owns the parameter scale and has no reset_parameters: set it you"),
    ("torch", weight_normed, "^1.weight is parametrized, so that reset_parameters does not reach"),
]
CASES = [(scheme, *case) for scheme in ("he_normal", "torch") for case in ANY_SCHEME] + BY_SCHEME


@pytest.mark.parametrize(("scheme", "make", "sentence"), CASES)
def test_what_cannot_be_set_is_refused_and_nothing_is_changed(scheme, make, sentence):
    net = nn.Sequential(nn.Linear(3, 3), make(), nn.BatchNorm1d(3))
    net[2].running_mean.fill_(7)
    generator = seeded()
    before, draws, everywhere = numbers(net), generator.get_state(), torch.get_rng_state()
    with pytest.raises(ValueError, match=sentence):
        initialize(net, scheme, generator=generator)
    assert same(before, numbers(net))
    assert torch.equal(draws, generator.get_state())
    assert torch.equal(everywhere, torch.get_rng_state())
    # Without the part that is in the way the same model is set, and that part stays.
    report = initialize(net, scheme, leave="1")
    after = numbers(net)
    assert not torch.equal(before["0.weight"], after["0.weight"])
    assert not net[2].running_mean.any()
    assert all(torch.equal(after[name], before[name]) for name in before if name[0] == "1")
    assert {record.done for record in report if not record.was_set} == {"left as asked"}


def test_a_refusal_at_the_root_says_so():
    with pytest.raises(ValueError, match=r"^the model itself .Scale. owns the parameter scale,"):
        initialize(Scale(), "he_normal")
