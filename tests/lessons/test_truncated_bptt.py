"""Lesson 09: what truncation keeps, costs and cannot learn; and its wrong places."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from gradcourse import theory
from gradcourse.lessons import truncated_bptt as lesson
from gradcourse.lessons.truncated_bptt import characters, echo, network, places
from gradcourse.tasks import ALPHABET, python_text
from gradcourse.training import tbptt


def last(results):
    *_, final = results
    return final


# 1: the recurrence


@pytest.mark.parametrize("memory", [0.0, 0.6, 1.0, 1.1])
def test_the_recurrence_is_its_own_loop(memory):
    model = lesson.Recurrence(memory, weight=0.7)
    inputs = torch.linspace(-1, 2, 9, dtype=torch.float64).reshape(9, 1, 1)
    states, state = model(inputs, torch.full((1, 1), 0.3, dtype=torch.float64))
    h = 0.3
    for step in range(9):
        h = memory * h + 0.7 * float(inputs[step])
        assert float(states[step].detach()) == pytest.approx(h, abs=1e-12)
    assert torch.equal(states[-1], state)


@pytest.mark.parametrize("loss", lesson.LOSSES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"memory": 0.5, "steps": 50, "chunk": 7},
        {"memory": 1.0, "overlap": 3},
        {"memory": 1.1, "steps": 200, "chunk": 40, "overlap": 50},
        {"memory": 0.99, "steps": 20, "chunk": 100},
    ],
)
def test_the_share_that_autograd_keeps_is_that_of_theory(loss, settings):
    cut = lesson.measure_cut(loss=loss, **settings)
    assert cut.share == pytest.approx(cut.predicted, rel=1e-12)
    assert cut.shares == pytest.approx(cut.curve[cut.chunks - 1], rel=1e-11)
    assert cut.full.shape == cut.arrived.shape == (cut.steps,)


def test_what_arrives_without_a_cut_is_the_full_profile():
    for loss in lesson.LOSSES:
        cut = lesson.measure_cut(0.8, 50, chunk=50, loss=loss)
        assert cut.arrived == pytest.approx(cut.full)
        assert cut.share == 1


def test_nothing_arrives_beyond_the_cut():
    cut = lesson.measure_cut(0.9, 100, 10)
    assert not cut.arrived[:90].any()
    assert cut.arrived[90:] == pytest.approx(0.9 ** np.arange(9, -1, -1))
    assert lesson.measure_cut(0.9, 100, 10, overlap=5).arrived[85:].all()


def test_the_summary_tells_of_a_short_last_chunk():
    assert "The last chunk has only 10 steps" in lesson.measure_cut(chunk=30).summary()
    assert "only" not in lesson.measure_cut(chunk=30, loss="every step").summary()
    assert "65.1 % of the last step's gradient" in lesson.measure_cut().summary()


# 2: a real network


@pytest.mark.parametrize("kind", lesson.NETWORKS)
@pytest.mark.parametrize("chunk", [1, 8, 128])
def test_folded_chunks_have_the_gradient_of_the_library_s_loop(kind, chunk):
    data = network._Data(kind, 0.9, seed=4)
    folded = network._truncated(data, network._states_before(data), chunk)
    for piece in tbptt(data.layer, data.inputs, data.targets, data.loss, chunk):
        piece.loss.backward()
    looped = torch.cat([weight.grad.flatten() for weight in data.weights]).double()
    assert (folded - looped).norm() < 1e-5 * looped.norm()


def test_the_recurrent_matrix_is_a_scaled_rotation():
    weight = lesson.make_layer("RNN", 0.8, seed=3).weight_hh_l0.detach()
    torch.testing.assert_close(weight @ weight.T, 0.64 * torch.eye(len(weight)))
    assert not torch.equal(weight, lesson.make_layer("RNN", 0.8, seed=4).weight_hh_l0)


def test_the_forget_gate_stands_at_the_memory():
    layer = lesson.make_layer("LSTM", 0.9, seed=0)
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    assert torch.sigmoid(bias[32:64]).detach().numpy() == pytest.approx(0.9)
    assert not bias[:32].any()
    assert not bias[64:].any()


def test_bias_vanishes_with_the_chunk_and_memory_grows_with_it():
    result = lesson.measure_bias("RNN", 0.9, 128, seeds=2)
    assert result.cosine[:, -1] == pytest.approx(1)
    assert result.length[:, -1] == pytest.approx(1)
    assert result.angle == pytest.approx(0, abs=0.1)
    assert (np.diff(result.range_of("cosine")[0]) > 0).all()
    assert (np.diff(result.held) > 0).all()
    # An RNN saves its inputs, its states and what the loss needs: as much at each step.
    steps = np.array(lesson.CHUNKS)
    fit = np.polyfit(steps, result.held, 1)
    assert np.polyval(fit, steps) == pytest.approx(result.held, rel=0.02)


def test_theory_of_the_rnn_holds_over_twelve_seeds():
    result = lesson.measure_bias("RNN", 0.95, 16, seeds=12)
    for quantity in ("cosine", "length"):
        assert result.range_of(quantity)[0] == pytest.approx(result.predicted, abs=0.05)


def test_theory_of_an_lstm_is_that_of_its_cell_alone():
    result = lesson.measure_bias("LSTM", 0.9, 16, seeds=1)
    share = theory.mean_truncated_share(0.81, 128, 16)
    assert result.predicted[result.place] == pytest.approx(math.sqrt(share))


def test_an_rnn_s_step_back_is_that_of_theory():
    for memory in (0.5, 0.8, 0.95):
        expected = math.sqrt(network._squared_memory("RNN", memory))
        assert lesson.step_back("RNN", memory) == pytest.approx(expected, rel=0.02)


def by_hand(data, input_gate, forget, cell, output):
    """Run one LSTM layer step by step, each gate's share of h as given; return its last h."""
    h, c = torch.zeros(2, network.BATCH, network.HIDDEN)
    bias = data.layer.bias_ih_l0 + data.layer.bias_hh_l0
    keep = torch.tensor([input_gate, forget, cell, output]).repeat_interleave(network.HIDDEN)
    for x in data.inputs:
        sums = x @ data.layer.weight_ih_l0.T + keep * (h @ data.layer.weight_hh_l0.T) + bias
        i, f, g, o = sums.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h


def test_an_lstm_s_gradient_returns_through_more_than_the_forget_gate():
    ways = {}
    for name, keep in (("all", (1, 1, 1, 1)), ("cell alone", (0, 0, 0, 0))):
        data = network._Data("LSTM", 0.95, 3)
        data.inputs.requires_grad_()
        by_hand(data, *keep).sum().backward()
        sizes = data.inputs.grad.flatten(1).norm(dim=1)
        ways[name] = float(sizes[-72] / sizes[-8]) ** (1 / 64)
    assert lesson.step_back("LSTM", 0.95, 1, 3) == pytest.approx(ways["all"], rel=1e-4)
    assert ways["cell alone"] == pytest.approx(0.95, abs=0.01)


# 3: a memory that is longer than a chunk


@pytest.mark.parametrize(("chunk", "overlap"), [(1, 0), (4, 0), (5, 3), (8, 8), (40, 0)])
def test_losses_that_see_a_step_are_counted_in_the_graph(chunk, overlap):
    seen = lesson.pairs_seen(chunk, overlap, steps=24)
    counted = theory.kept_pairs(24, chunk, overlap) / np.arange(24, 0, -1)
    assert seen == pytest.approx(counted)


def test_the_bits_asked_for_are_those_of_some_steps_ago(monkeypatch):
    asked = []
    original = echo.tbptt

    def spy(model, inputs, targets, *arguments, **options):
        asked.append((inputs, targets))
        return original(model, inputs, targets, *arguments, **options)

    monkeypatch.setattr(echo, "tbptt", spy)
    training = echo._Training(delay=3, chunk=16, overlap=0, seed=0)
    for _ in range(3):
        training.step()
    inputs, targets = (torch.cat(one) for one in zip(*asked, strict=True))
    assert torch.equal(targets[3:], (inputs[:-3] + 1) / 2)
    assert set(inputs.unique().tolist()) == {-1.0, 1.0}


def test_echo_training_goes_on_and_ends(monkeypatch):
    monkeypatch.setattr(echo, "WINDOWS", 20)
    monkeypatch.setattr(echo, "PAUSE", 0.0)
    results = list(lesson.measure_echo(delay=1, chunk=8, seeds=2, prediction=60))
    assert [round(one.progress * 20) for one in results] == list(range(1, 21))
    final = results[-1]
    assert final.accuracy.shape == (2, 2, 20)
    assert final.curves.shape == (2, 3, 2)
    assert final.prediction is None
    assert "guessing: 50%" in final.summary()
    assert "nan" not in results[0].summary()
    # Both rows start from the same weights and see the same bits.
    assert final.accuracy[0, :, 0] == pytest.approx(final.accuracy[1, :, 0], abs=1e-6)


def test_a_prediction_is_shown_only_where_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(echo, "WINDOWS", 1)
    monkeypatch.setattr(characters, "WINDOWS", 1)
    assert last(lesson.measure_echo(seeds=1, prediction=60)).prediction == 60
    assert last(lesson.measure_characters(seeds=1, prediction=3)).prediction == 3
    other = last(lesson.measure_characters(64, seeds=1, prediction=3))
    assert other.prediction is None
    assert lesson.measure_cut(prediction=20).prediction == 20
    assert lesson.measure_cut(memory=0.8, prediction=20).prediction is None
    assert lesson.measure_bias(seeds=1, prediction=20).prediction == 20
    assert lesson.measure_bias(chunk=8, seeds=1, prediction=20).prediction is None


# 4: real text


def test_entropies_are_those_of_a_count_by_hand():
    text = python_text().tolist()

    def entropy(counts):
        total = sum(counts.values())
        return -sum(n / total * math.log2(n / total) for n in counts.values())

    single = entropy(Counter(text[:-1]))
    both = entropy(Counter(itertools.pairwise(text)))
    unigram, bigram = lesson.entropies()
    assert unigram == pytest.approx(single)
    assert bigram == pytest.approx(both - single)


def test_a_window_of_the_model_is_the_library_s_truncated_bptt(monkeypatch):
    clipped = []
    original = characters.clip_grad_norm_

    def spy(parameters, max_norm):
        clipped.append(original(parameters, max_norm))

    monkeypatch.setattr(characters, "clip_grad_norm_", spy)
    training = characters._Training(chunk=32, often=False, carried=True, seed=1)
    model, streams = training.model, training.streams
    before = {name: one.clone() for name, one in model.named_parameters()}
    loss = 0.0
    for piece in tbptt(model, streams[:128], streams[1:129], characters._nats, 32):
        piece.loss.backward()
        loss += float(piece.loss.detach())
    wanted = [one.grad.clone() for one in model.parameters()]
    norm = torch.cat([one.flatten() for one in wanted]).norm()
    training.read_window()
    assert training.bits == [pytest.approx(loss / math.log(2), rel=1e-5)]
    assert training.at == 128
    # Adam hides the length of a gradient; clipping sees it.
    assert clipped == [pytest.approx(float(norm), rel=1e-4)]
    # Adam's first step moves each weight by the rate, against the sign of its gradient.
    for gradient, (name, moved) in zip(wanted, model.named_parameters(), strict=True):
        clear = gradient.abs() > 1e-5 * norm
        step = (moved - before[name]).detach()[clear]
        assert step.numpy() == pytest.approx(-0.01 * gradient.sign()[clear].numpy(), rel=0.01)


def test_streams_are_read_once_and_in_order():
    training = characters._Training(chunk=128, often=True, carried=True, seed=0)
    text = python_text()
    steps = len(text) // characters.BATCH
    for stream in (0, 7):
        assert torch.equal(training.streams[:300, stream], text[stream * steps :][:300])
    other = characters._Training(chunk=128, often=True, carried=True, seed=2)
    assert torch.equal(other.streams[:300, 0], text[2 * 997 :][:300])


@pytest.mark.parametrize("state", lesson.STATES)
@pytest.mark.parametrize("update", lesson.UPDATES)
def test_character_training_goes_on_and_ends(monkeypatch, update, state):
    monkeypatch.setattr(characters, "WINDOWS", 8)
    monkeypatch.setattr(characters, "PAUSE", 0.0)
    results = list(lesson.measure_characters(64, update, state, seeds=1))
    assert [one.progress for one in results] == [k / 8 for k in range(1, 9)]
    final = results[-1]
    assert final.bits.shape == (2, 1, 8)
    assert final.updates == ((2 if update == lesson.UPDATES[0] else 1), 1)
    assert (final.bits[:, 0, -1] < final.bits[:, 0, 0]).all()
    assert final.after(8)[1] == final.curves[1, 0, 1]
    assert "nan" not in results[0].summary()


def test_zeros_and_carried_states_differ_from_the_second_window_on():
    def bits(carried):
        training = characters._Training(chunk=128, often=True, carried=carried, seed=0)
        for _ in range(2):
            training.read_window()
        return training.bits

    assert bits(True)[0] == bits(False)[0]
    assert bits(True)[1] != bits(False)[1]


def test_a_model_writes_what_it_finds_likely():
    model = lesson.CharacterModel()
    with torch.no_grad():
        model.readout.weight.zero_()
        model.readout.bias.zero_()
        model.readout.bias[ALPHABET.index("x")] = 50.0
    assert lesson.write(model, "He", 4) == "Hexxxx"


# 5: the wrong place


@pytest.fixture(scope="module")
def every_place():
    return {place: lesson.measure_place(place) for place in lesson.PLACES}


def test_the_right_place_has_the_paths_inside_of_each_chunk(every_place):
    right = every_place["between chunks (right)"]
    assert right.arrived.mean(axis=0) == pytest.approx(right.predicted, abs=1e-4)
    assert right.cosine == pytest.approx(1)
    assert right.length == pytest.approx(1)
    assert right.error is None


def test_without_a_cut_and_with_retain_graph_it_is_full_bptt(every_place):
    one = places._Sequence(0)
    inputs = one.inputs.clone().requires_grad_()
    one.loss(one.layer(inputs)[0], one.targets).backward()
    whole = np.log10(inputs.grad.flatten(1).norm(dim=1).numpy())
    retained = every_place["nowhere, retain_graph=True"]
    assert retained.arrived[0] == pytest.approx(whole, abs=1e-4)
    assert retained.held[-1] == pytest.approx(4 * retained.held[0], rel=0.1)


@pytest.mark.parametrize("place", ["nowhere", "h, but not c"])
def test_half_a_cut_stops_at_the_second_chunk(every_place, place):
    result = every_place[place]
    assert result.error == ("Trying to backward through the graph a second time", 2)
    assert np.isnan(result.arrived[:, 12:]).all()
    assert np.isfinite(result.arrived[:, :12]).all()
    assert "stops at chunk 2" in result.summary()


def test_silent_mistakes_run_to_the_end(every_place):
    outputs = every_place["the outputs"]
    assert outputs.length == 0
    assert np.isneginf(outputs.arrived).all()
    assert outputs.held[-1] > 3 * outputs.held[0]
    assert "no gradient reaches the LSTM" in outputs.summary()
    zeros = every_place["a new state of zeros"]
    assert zeros.held == pytest.approx(zeros.held[0])
    assert zeros.cosine < 0.97
    every = every_place["at every step"]
    assert every.length < 0.5
    one_step = lesson.measure_place("between chunks (right)", chunk=1)
    assert every.arrived == pytest.approx(one_step.arrived, abs=1e-4)


# Bad settings


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesson.measure_cut(memory=-1), "memory must be .*0 or more, got -1"),
        (lambda: lesson.measure_cut(steps=0), "steps must be 1 or more, got 0"),
        (lambda: lesson.measure_cut(loss="none"), "loss must be one of last step, every step"),
        (lambda: lesson.measure_bias("GRU"), "network must be one of RNN, LSTM, got 'GRU'"),
        (lambda: lesson.measure_bias(chunk=3), "chunk must be one of 1, 2, 4, .*, got 3"),
        (lambda: lesson.measure_bias(memory=1.5), "memory must be between 0.5 and 0.99, got 1.5"),
        (lambda: lesson.measure_bias(prediction=-5), "prediction must be between 0 and 180"),
        (lambda: last(lesson.measure_echo(delay=16)), "delay must be below 16, got 16"),
        (lambda: last(lesson.measure_echo(chunk=0)), "chunk must be 1 or more, got 0"),
        (lambda: last(lesson.measure_characters(5)), "chunk must divide 128, got 5"),
        (lambda: last(lesson.measure_characters(state="x")), "state must be one of carried on"),
        (lambda: lesson.measure_place("there"), "place must be one of between chunks"),
        (lambda: lesson.measure_place(chunk=7), "chunk must divide 48, got 7"),
    ],
)
def test_bad_settings_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
