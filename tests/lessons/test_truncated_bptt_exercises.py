"""Lesson 09: its exercises tell a right answer from the usual mistakes."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from gradcourse import theory
from gradcourse.lessons import truncated_bptt as lesson


def loop(
    detach=lambda state: tuple(part.detach() for part in state),
    weigh=lambda length, steps, _chunk: length / steps,
    span=lambda start, chunk: slice(start, start + chunk),
    retain=False,
    prepare=lambda _layer: None,
    see=lambda outputs: outputs,
    until=lambda steps, _chunk: steps,
):
    """Return an answer to the first exercise, right unless told otherwise."""

    def truncated(layer, inputs, targets, chunk):
        state, steps = None, len(inputs)
        for start in range(0, until(steps, chunk), chunk):
            prepare(layer)
            part = slice(start, start + chunk)
            outputs, state = layer(inputs[part], state)
            loss = mse_loss(see(outputs), targets[span(start, chunk)])
            (loss * weigh(len(outputs), steps, chunk)).backward(retain_graph=retain)
            state = detach(state)

    return truncated


def by_the_step(layer, inputs, targets, _chunk):
    loop()(layer, inputs, targets, 1)


def with_an_update(layer, inputs, targets, chunk):
    state = None
    for start in range(0, len(inputs), chunk):
        outputs, state = layer(inputs[start : start + chunk], state)
        mse_loss(outputs, targets[start : start + chunk]).backward(retain_graph=True)
        with torch.no_grad():
            for one in layer.parameters():
                one -= 0.1 * one.grad


def slicing_the_batch(carried, rows=lambda inputs: inputs.shape[1]):
    """Return a loop that slices dimension 1, as ``batch_first=True`` would want it."""

    def truncated(layer, inputs, targets, chunk):
        state = None
        for start in range(0, rows(inputs), chunk):
            part = slice(start, start + chunk)
            outputs, state = layer(inputs[:, part], state)
            share = outputs.shape[1] / inputs.shape[1]
            (mse_loss(outputs, targets[:, part]) * share).backward()
            state = tuple(one.detach() for one in state) if carried else None

    return truncated


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (loop(), True, "right"),
        (slicing_the_batch(carried=False), False, "cuts the batch: steps come first"),
        (slicing_the_batch(carried=True), False, "cuts the batch: steps come first"),
        (slicing_the_batch(carried=True, rows=len), False, "cuts the batch: steps come first"),
        (lambda *_: ..., False, "leaves no gradient"),
        (loop(detach=lambda state: state), False, "detach *every* part"),
        (loop(detach=lambda state: (state[0].detach(), state[1])), False, "h and c"),
        (loop(detach=lambda state: state, retain=True), False, "full BPTT"),
        (loop(weigh=lambda *_: 1.0), False, "*mean* counts whole"),
        (loop(weigh=lambda _n, steps, k: 1 / math.ceil(steps / k)), False, "weight by steps"),
        (loop(until=lambda steps, k: steps // k * k), False, "shorter chunk is lost"),
        (loop(detach=lambda _state: None), False, "starts from zeros"),
        (loop(prepare=nn.Module.zero_grad), False, "only the last chunk's"),
        (loop(see=torch.Tensor.detach), False, "not the outputs"),
        (by_the_step, False, "cut at every step"),
        (with_an_update, False, "leave the update to the caller"),
        (loop(weigh=lambda *_: 0.1), False, "times the length"),
        (loop(span=lambda *_: slice(None)), False, "raised"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_first_exercise(answer, right, said):
    verdict = lesson.check_truncated(answer)
    assert bool(verdict) is right, verdict
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (math.ceil(theory.truncation_horizon(0.98, 0.95)), True, "right"),
        (149, True, "right"),
        (..., False, "replace the dots"),
        (math.log(0.05) / math.log(0.98), False, "round up"),
        (148, False, "just too few"),
        (3, False, "holds 5 %"),
        (50, False, "hold only 63 %"),
        (1000, False, "too high"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_chunk_length(answer)
    assert bool(verdict) is right, verdict
    assert said in repr(verdict)
