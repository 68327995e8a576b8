"""The device rule: argument, else environment, else cuda, else mps, else cpu."""

import re

import pytest
import torch

from gradcourse.device import ENVIRONMENT_VARIABLE, choose_device, explain_device


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)


def machine(monkeypatch, cuda=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen", "why"),
    [
        (1, True, "cuda", "found a card"),
        (0, True, "mps", "found an Apple GPU"),
        (0, False, "cpu", "no GPU found"),
    ],
)
def test_the_best_device_that_there_is(monkeypatch, cuda, mps, chosen, why):
    machine(monkeypatch, cuda, mps)
    assert explain_device() == (torch.device(chosen), why)


def test_environment_goes_before_the_machine_and_the_argument_before_both(monkeypatch):
    machine(monkeypatch, cuda=2)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, " cpu ")
    assert explain_device() == (torch.device("cpu"), "asked for by GRADCOURSE_DEVICE")
    assert explain_device("cuda:1") == (torch.device("cuda:1"), "asked for by argument")
    assert choose_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "  ")
    assert choose_device() == torch.device("cuda")


@pytest.mark.parametrize(
    ("cuda", "asked", "sentence"),
    [
        (0, "toaster", "the device argument must be cpu, cuda, cuda:N or mps, got 'toaster'"),
        (0, "", "the device argument must be cpu, cuda, cuda:N or mps, got ''"),
        (0, "cuda", "asks for 'cuda', which this machine does not have; it has cpu"),
        (1, "cuda:1", "asks for 'cuda:1', which this machine does not have; it has cpu"),
        (1, "mps", "asks for 'mps', which this machine does not have; it has cpu and cuda"),
        (0, "meta", "asks for 'meta', which this machine does not have; it has cpu"),
    ],
)
def test_what_is_not_there_is_refused_in_words(monkeypatch, cuda, asked, sentence):
    machine(monkeypatch, cuda)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        choose_device(asked)


def test_a_wrong_environment_is_named(monkeypatch):
    machine(monkeypatch)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "gpu")
    with pytest.raises(ValueError, match="GRADCOURSE_DEVICE must be cpu, cuda, cuda:N or mps"):
        choose_device()
