"""States on their way through truncated back-propagation, tokens, and what is refused."""

import re
from collections import namedtuple

import pytest
import torch
from sequences import (
    BATCH,
    FEATURES,
    UNITS,
    accumulated,
    assert_same,
    mean_square,
    network,
    sequence,
)
from torch import nn

from gradcourse.training import tbptt


def test_a_stream_goes_on_from_the_last_state():
    model, (inputs, targets) = network("lstm"), sequence(12)
    expected = [parameter / 2 for parameter in accumulated(model, inputs, targets, mean_square, 3)]
    model.zero_grad()
    state = None
    for half in (slice(0, 6), slice(6, 12)):
        for piece in tbptt(model, inputs[half], targets[half], mean_square, 3, state=state):
            (piece.loss / 4).backward()
            state = piece.state
    assert_same([parameter.grad for parameter in model.parameters()], expected)


def test_no_gradient_flows_into_the_first_state_or_out_of_the_last():
    model, (inputs, targets) = network("lstm"), sequence(4)
    hidden = torch.zeros(1, BATCH, UNITS, dtype=torch.float64, requires_grad=True)
    given_state = (hidden * 1, hidden * 2)
    for piece in tbptt(model, inputs, targets, mean_square, 2, overlap=3, state=given_state):
        piece.loss.backward()
        assert not any(part.requires_grad for part in piece.state)
        assert not piece.outputs.requires_grad
    assert hidden.grad is None


Pair = namedtuple("Pair", ["slow", "extra"])


class Nested(nn.Module):
    """A GRU whose state is nested in every way, with a counter that is no tensor."""

    def __init__(self):
        super().__init__()
        self.inner = network("gru")
        self.seen = []

    def forward(self, inputs, state):
        state = state or Pair(None, [{"steps": 0}, (None,)])
        outputs, slow = self.inner(inputs, state.slow)
        count = state.extra[0]["steps"] + len(inputs)
        self.seen.append(state)
        return outputs, Pair(slow, [{"steps": count, "again": slow * 1}, (slow * 2,)])


def test_nested_states_keep_their_shape_and_lose_their_graph_everywhere():
    model, (inputs, targets) = Nested(), sequence(7)
    expected = accumulated(network("gru"), inputs, targets, mean_square, 3, overlap=1)
    assert_same(accumulated(model, inputs, targets, mean_square, 3, overlap=1), expected)
    *_, last = tbptt(model, inputs, targets, mean_square, 3)
    assert isinstance(last.state, Pair)
    assert last.state.extra[0]["steps"] == 7
    assert isinstance(last.state.extra, list)
    slow, (mapping, (double,)) = last.state
    assert not any(part.requires_grad for part in (slow, mapping["again"], double))
    assert torch.equal(double, slow * 2)


class Tokens(nn.Module):
    """A language model on whole numbers."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, FEATURES)
        self.inner = nn.GRU(FEATURES, 5)

    def forward(self, inputs, state):
        return self.inner(self.table(inputs), state)


def test_tokens_need_no_dimension_for_features():
    torch.manual_seed(0)
    model, text = Tokens(), torch.randint(5, (9, BATCH))

    def loss_fn(outputs, targets):
        return nn.functional.cross_entropy(outputs.mT, targets)

    losses = [piece.loss for piece in tbptt(model, text[:-1], text[1:], loss_fn, chunk=3)]
    assert len(losses) == 3
    assert_same([sum(losses)], [loss_fn(model(text[:-1], None)[0], text[1:])], 1e-6)


# Refusals


def ask(model=None, inputs=None, targets=None, loss_fn=mean_square, chunk=2, **options):
    wanted, aims = sequence(6)
    return tbptt(
        network() if model is None else model,
        wanted if inputs is None else inputs,
        aims if targets is None else targets,
        loss_fn,
        chunk,
        **options,
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"chunk": 0}, "chunk must be 1 or more, got 0"),
        ({"chunk": 2.5}, "chunk must be a whole number, 1 or more, got 2.5"),
        ({"overlap": -1}, "overlap must be 0 or more, got -1"),
        (
            {"inputs": torch.zeros(6, 2)},
            "inputs must have shape (steps, batch, features), got (6, 2); "
            "a single sequence needs a batch of one",
        ),
        (
            {"inputs": torch.zeros(6, dtype=torch.long)},
            "inputs must have shape (steps, batch, features), got (6,); "
            "a single sequence needs a batch of one",
        ),
        (
            {"targets": torch.zeros(5, BATCH, UNITS)},
            "targets must have as many steps and sequences as inputs, (steps, batch, ...): "
            "got (5, 4, 3) and (6, 4, 2)",
        ),
        (
            {"targets": torch.zeros(6, 1, UNITS)},
            "targets must have as many steps and sequences as inputs, (steps, batch, ...): "
            "got (6, 1, 3) and (6, 4, 2)",
        ),
        (
            {"inputs": torch.zeros(0, BATCH, 2), "targets": torch.zeros(0, BATCH, 3)},
            "inputs must hold at least one step of one sequence, got (0, 4, 2)",
        ),
        (
            {"batch_first": True},
            "batch_first is True, but the model was made with batch_first=False",
        ),
        (
            {"model": network(bidirectional=True)},
            "a bidirectional model starts at the end: it cannot run chunk by chunk",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words_before_the_loop_starts(wrong, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        ask(**wrong)


@pytest.mark.parametrize("name", ["inputs", "targets"])
def test_a_list_is_no_sequence(name):
    said = f"{name} must be a tensor of shape (steps, batch, ...), got list"
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        ask(**{name: [1, 2]})


class Returns(nn.Module):
    """A model that returns what it is told to."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, inputs, state):
        return self.answer(inputs, state)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (
            lambda inputs, _: inputs,
            TypeError,
            "the model must return a tuple (outputs, state), got Tensor",
        ),
        (
            lambda inputs, _: (inputs, None, None),
            TypeError,
            "the model must return a tuple (outputs, state), got tuple",
        ),
        (
            lambda inputs, _: (inputs[-1:], None),
            ValueError,
            "the model must return an output for each of 2 steps, got outputs of shape (1, 4, 2)",
        ),
        (
            lambda inputs, _: (inputs.sum(), None),
            ValueError,
            "the model must return an output for each of 2 steps, got outputs of shape ()",
        ),
        (
            lambda inputs, _: (inputs, {1, 2}),
            TypeError,
            "a state must be a tensor, or tuples, lists and dicts of tensors, got set",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused_in_words(answer, error, said):
    with pytest.raises(error, match=f"^{re.escape(said)}$"):
        list(ask(Returns(answer)))


def test_a_loss_of_one_number_loses_its_shape():
    first = next(ask(loss_fn=lambda *arguments: mean_square(*arguments)[None]))
    assert first.loss.shape == ()


def test_a_loss_of_many_numbers_is_refused_in_words():
    said = "loss_fn must return one number, got shape (2, 4, 3); take its mean, or its sum"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        list(ask(loss_fn=nn.MSELoss(reduction="none")))
