"""Lesson 13: patients and treatments, the monitor on trial, the decision table and its checks."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gradcourse.lessons import the_clinic as lesson
from gradcourse.lessons.the_clinic import adversaries, situations, trials
from gradcourse.lessons.the_clinic.networks import Reader, Rounded, Stack, StepByStep
from gradcourse.models import seeded
from gradcourse.tasks import split_digits

CHEAP = (2, 3, 4, 7, 9, 11)


def last(results):
    """Return the final one of the results that a generator yields."""
    *_, final = results
    return final


# The patients


def test_twelve_cases_have_twelve_causes_and_each_cure_is_on_the_list():
    assert len(lesson.CASES) == 12
    assert {case.cause for case in lesson.CASES} == set(lesson.CAUSES)
    assert len({case.complaint for case in lesson.CASES}) == 12
    for case in lesson.CASES:
        assert case.cure in lesson.TREATMENTS
        assert case.cause not in case.complaint
        assert case.cure not in case.has


@pytest.mark.parametrize("number", CHEAP)
def test_a_case_is_sick_as_it_comes_and_its_cure_cures_it(number):
    case = lesson.CASES[number - 1]
    sick, cured = lesson.chart_of(number, 3), lesson.chart_of(number, 3, case.cure)
    assert lesson.outcome(case, sick) == "still sick"
    assert lesson.outcome(case, cured) == "cured"
    assert len(cured.losses) == len(cured.norms) == cured.total
    assert cured.progress == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(set(range(1, 13)) - set(CHEAP)))
def test_so_is_each_case_that_takes_longer(number):
    test_a_case_is_sick_as_it_comes_and_its_cure_cures_it(number)


@pytest.mark.parametrize("number", range(1, 13))
def test_every_treatment_of_every_case_gives_a_run_or_a_reason(number):
    case, refused = lesson.CASES[number - 1], {}
    for treatment in lesson.TREATMENTS:
        try:
            setup = lesson.prepare(case, 0, treatment)
        except lesson.NothingToTreatError as nothing:
            refused[treatment] = str(nothing)
        else:
            assert setup.loss(0).shape == ()
    assert all(refused.values())
    assert case.cure not in refused


def test_general_treatments_change_one_part_of_the_setup():
    case = lesson.CASES[2]
    bare = lesson.prepare(case, 1)
    assert lesson.prepare(case, 1, "clip the norm at 1").max_norm == 1
    slower = lesson.prepare(case, 1, "a tenth of the learning rate")
    rates = [setup.optimizer.param_groups[0]["lr"] for setup in (bare, slower)]
    assert rates[1] == pytest.approx(rates[0] / 10)
    assert lesson.prepare(case, 1, "warm up the learning rate").warmup == bare.steps // 2
    with pytest.raises(ValueError, match=r"treatment must be one of .*, got 'aspirin'"):
        lesson.prepare(case, 1, "aspirin")


def test_a_learning_rate_of_2_2_over_the_curvature_grows_by_1_2_a_step():
    losses = lesson.chart_of(3, 5).losses
    assert losses[-1] / losses[-2] == pytest.approx(1.2**2, rel=1e-2)


def test_a_guessing_loss_is_the_entropy_the_variance_or_the_deviance_of_the_mean():
    setups = [lesson.prepare(case, 2) for case in lesson.CASES]
    assert setups[0].guess == pytest.approx(math.log(10))
    assert setups[4].guess == pytest.approx(math.log(4))
    assert setups[5].guess == pytest.approx(math.log(6))
    assert setups[2].guess == pytest.approx(1, abs=0.01)
    assert setups[10].guess > 1e4
    # A rate that is the same for every row: the best of all is the mean.
    counts = torch.poisson(torch.full((50,), 2.0), generator=torch.Generator().manual_seed(0))
    at = [float((r - torch.xlogy(counts, torch.tensor(r))).mean()) for r in (1.5, 2.5)]
    mean = float(counts.mean())
    assert mean - float(torch.xlogy(counts, counts.mean()).mean()) < min(at)
    assert setups[6].guess > 0


def test_the_loop_trains_as_torch_does():
    *_, chart = lesson.train(lesson.prepare(lesson.CASES[8], 4, "raise max_norm to 1"))
    setup = lesson.prepare(lesson.CASES[8], 4, "raise max_norm to 1")
    for step in range(20):
        setup.optimizer.zero_grad()
        loss = setup.loss(step)
        assert chart.losses[step] == pytest.approx(loss.item(), rel=1e-3), step
        loss.backward()
        norm = nn.utils.clip_grad_norm_(setup.model.parameters(), 1.0)
        assert chart.norms[step] == pytest.approx(norm.item(), rel=1e-3), step
        setup.optimizer.step()


def test_a_warmup_grows_to_the_whole_learning_rate():
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    seen = []

    def loss(_step):
        seen.append(optimizer.param_groups[0]["lr"])
        return model.weight.sum() * 0

    last(lesson.train(lesson.Setup(model, optimizer, loss, lambda: 0.0, 1.0, 6, warmup=4)))
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_a_guard_skips_the_step_that_is_broken_and_no_other():
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    start = model.weight.item()

    def loss(step):
        weight = model.weight.sum()
        # The root of 0 is finite, and its slope is not.
        broken = {1: weight * math.nan, 2: weight + (0 * weight).sqrt()}
        return broken.get(step, weight)

    setup = lesson.Setup(model, optimizer, loss, lambda: math.nan, 1.0, 4, guard=True)
    chart = last(lesson.train(setup))
    assert model.weight.item() == pytest.approx(start - 2)
    assert chart.score == 0


# What the learner sees


def test_signs_are_powers_of_ten_off_what_is_healthy():
    chart = lesson.chart_of(9, 3)
    small = dataclasses.replace(
        chart,
        losses=np.array([100 * chart.guess, 1.0]),
        norms=np.array([1.0, 1.0, 10.0]),
        dead=0.9,
        max_norm=1e-3,
    )
    found = lesson.signs_of(small)
    assert found["start"] == pytest.approx(2)
    assert found["clipping"] == pytest.approx(3)
    assert found["steps"] == pytest.approx(1)
    assert found["dead"] == pytest.approx(1)
    assert found["number"] == 0
    broken = dataclasses.replace(small, losses=np.array([1.0, math.nan]), dead=1.0)
    assert lesson.signs_of(broken)["number"] == lesson.signs_of(broken)["dead"] == 6


@pytest.mark.slow
@pytest.mark.parametrize(("number", "seed"), [(6, 0), (8, 0), (8, 3)])
def test_the_sign_of_a_cause_is_the_one_that_its_cure_moves(number, seed):
    case = lesson.CASES[number - 1]
    sick, cured = (
        lesson.signs_of(lesson.chart_of(number, seed, each))[lesson.CAUSES[case.cause]]
        for each in ("", case.cure)
    )
    assert sick - cured > 1


def test_a_consultation_says_whether_the_cause_is_right_and_the_cure_has_worked():
    case = lesson.CASES[8]
    well = last(lesson.measure_case("case 9", case.cause, case.cure, 3))
    assert "Cause: right." in well.summary()
    assert well.summary().endswith(f": cured (cured is {case.cured:.2g} or more).")
    wrong = last(lesson.measure_case("case 9", lesson.CASES[0].cause, "unscale before clipping", 3))
    assert "it is another one" in wrong.summary()
    assert wrong.summary().endswith("this run has no gradient scaler.")
    assert wrong.after is None
    first = last(lesson.measure_case("case 9", seed=3))
    assert "Cause" not in first.summary()
    assert "Cure" not in first.summary()
    assert first.ring is None


@pytest.mark.parametrize("control", ["case", "cause", "cure"])
def test_bad_choices_get_one_sentence(control):
    with pytest.raises(ValueError, match=rf"{control} must be one of .*, got 'x'"):
        last(lesson.measure_case(**{control: "x"}))


def test_the_score_of_the_monitor_is_counted_by_hand():
    def row(number, sick, healthy, named, cured):
        return lesson.Scored(number, 0, sick, healthy, named, 0.0, cured)

    scores = lesson.Scores(
        (
            row(1, "vanishing", "healthy", True, 0.7),
            row(4, "healthy", "dead", False, 0.7),
            row(4, "exploding", "healthy", False, 1.0),
        )
    )
    assert (scores.found, scores.false_alarms, scores.named, scores.cured) == (2, 1, 1, 2)
    assert scores.found_in(4) == 1


# The decision table


def test_trials_train_as_torch_trains_each_alone():
    make = situations.DEEP[0].make
    task = dataclasses.replace(situations._digits(1, situations._sgd, 16, 6), optimizer=None)
    each = [
        trials.Trial("a", make),
        trials.Trial("b", make, first=situations.he, max_norm=0.5, warmup=0.5),
        trials.Trial("c", make, loss_scale=8.0, rate=0.3),
    ]
    group = trials.Trials(
        each, range(1, 3), lambda parameters: torch.optim.SGD(parameters, lr=0.1), 6
    )
    for rows in task.draws:
        group.step(trials._losses(group, task.inputs[rows], task.labels[rows]))
    for number, trial in enumerate(each):
        model = trial.network(2)
        for step, rows in enumerate(task.draws):
            share = min(1.0, (step + 1) / 3) if trial.warmup else trial.rate
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * share)
            functional.cross_entropy(model(task.inputs[rows]), task.labels[rows]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), trial.max_norm)
            optimizer.step()
            model.zero_grad()
        stacked = list(group.ensemble.parameters())
        for many, one in zip(stacked, model.parameters(), strict=True):
            torch.testing.assert_close(many[2 * number + 1], one, rtol=1e-3, atol=1e-5)


def test_a_guarded_network_skips_a_broken_step_and_its_neighbour_does_not():
    each = [trials.Trial("free", nn_linear), trials.Trial("guarded", nn_linear, guard=True)]
    group = trials.Trials(each, range(1), lambda ps: torch.optim.Adam(ps, lr=0.1), 3)
    group.step(group.ensemble(torch.ones(1, 2)).sum(dim=(1, 2)))
    # By now Adam would move even without a gradient.
    before = next(group.ensemble.parameters()).detach().clone()
    losses = group.ensemble(torch.ones(1, 2)).sum(dim=(1, 2)) * torch.tensor([math.nan, math.nan])
    group.step(losses)
    after = next(group.ensemble.parameters())
    assert after[0].isnan().all()
    assert torch.equal(after[1], before[1])


def nn_linear():
    return nn.Linear(2, 1)


def test_rounding_flushes_what_float16_flushes_and_bfloat16_does_not():
    inputs = torch.ones(1, 4)
    norms = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        model = seeded(0, lambda dtype=dtype: Rounded(4, 8, 1, 1, dtype))
        (model(inputs).sum() * 1e-9).backward()
        norms[dtype] = model[0].weight.grad.norm().item()
    assert norms[torch.float16] == 0
    assert norms[torch.bfloat16] == pytest.approx(norms[torch.float32], rel=0.1)


def test_a_rounded_network_in_float32_is_the_stack_itself():
    inputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    rounded = seeded(0, lambda: Rounded(4, 8, 2, 1, torch.float32))
    stack = seeded(0, lambda: Stack(4, 8, 2, 1))
    torch.testing.assert_close(rounded(inputs), stack(inputs))


def test_a_reader_that_detaches_gives_no_gradient_to_what_lies_before():
    inputs = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for make in (
        lambda: Reader(3, 5, 2, detach_every=8),
        lambda: StepByStep(nn.RNN, 3, 5, 2, detach_every=8),
    ):
        (gradient,) = torch.autograd.grad(seeded(0, make)(inputs).sum(), inputs)
        assert not gradient[:, :8].any()
        assert gradient[:, 8:].norm() > 0


def test_recurrent_matrices_have_the_radius_that_was_asked_for():
    model = seeded(0, lambda: Reader(3, 16, 2, radius=4.0))
    singular = torch.linalg.svdvals(model.rnn.weight_hh_l0)
    assert singular.detach().numpy() == pytest.approx(4, rel=1e-4)
    other = seeded(0, lambda: StepByStep(nn.RNN, 3, 16, 2, radius=1.2))
    sizes = torch.linalg.eigvals(other.read.layer.weight_hh_l0).abs()
    assert sizes.max().item() == pytest.approx(1.2, rel=1e-4)


def test_a_critic_with_spectral_norm_has_a_slope_of_at_most_one():
    critic = seeded(0, lambda: adversaries.Critic(spectral=True))
    with torch.no_grad():
        for layer in critic.linear:
            layer.weight.mul_(20)
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (slopes,) = torch.autograd.grad(critic(points).sum(), points)
    assert slopes.norm(dim=1).max() <= 1 + 1e-5


def test_the_distance_of_gaussians_is_that_of_their_means_and_roots():
    points = torch.randn(1, 100_000, 2, generator=torch.Generator().manual_seed(0))
    stretched = points * torch.tensor([3.0, 0.5]) + torch.tensor([2.0, 1.0])
    found = adversaries.distance_to(torch.cat([points, stretched]))
    assert found[0].item() == pytest.approx(math.sqrt(5 + 0.5), rel=0.01)
    assert found[1].item() == pytest.approx(2.5, rel=0.01)
    assert adversaries.distance_to(torch.full((1, 4, 2), math.nan)).isinf().all()


def test_float16_needs_a_loss_scale_and_bfloat16_does_not():
    learned = lesson.decision_for("mixed precision", first_seed=3).learned
    assert learned["float16, nothing"] == learned["float16 + clip"] == 0
    assert learned["float16 + loss scale"] == learned["bfloat16, nothing"] == 4


def test_an_ordinary_loss_needs_no_loss_scale():
    row = lesson.mixed_precision(weight=1.0)
    _, scores = last(row.run(range(3, 5), 1.0))
    names = [trial.name for trial in row.trials]
    float16, float32 = (scores[names.index(f"{name}, nothing")] for name in ("float16", "float32"))
    assert float16 == pytest.approx(float32, abs=0.05)
    assert float16.min() > 0.7


def test_a_row_of_the_table_comes_in_parts_and_keeps_its_prediction():
    parts = list(lesson.measure_decision("mixed precision", prediction=3))
    assert parts[-1].progress == 1
    assert [part.progress for part in parts] == sorted(part.progress for part in parts)
    assert parts[-1].prediction is None
    assert next(lesson.measure_decision(prediction=3)).prediction == 3
    with pytest.raises(ValueError, match=r"situation must be one of .*, got 'x'"):
        last(lesson.measure_decision("x"))


# The exercises


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lesson.share_left, True, "right"),
        (lambda _norms, _cap: ..., False, "returns nothing"),
        (lambda n, c: float(np.median([c / x for x in n])), False, "left as it is"),
        (lambda n, c: float(np.mean([min(1, c / x) for x in n])), False, "take the median"),
        (lambda n, c: sorted(min(1, c / x) for x in n)[len(n) // 2], False, "should be 0.625"),
        (
            lambda n, c: sorted(min(1, c / x) for x in n)[(len(n) - 1) // 2],
            False,
            "should be 0.625",
        ),
        (lambda n, c: float(np.mean([x > c for x in n])), False, "how *often*"),
        (lambda n, c: float(np.median([max(1, x / c) for x in n])), False, "upside down"),
        (lambda _norms, cap: cap, False, "should be"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_share_left(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


def step_of(squeeze=True, zero=True, late=True, backward=True, move=True, returns=True, **more):
    """Return a training step with faults; ``last`` clips after the step, ``end`` clears there."""

    def step(model, optimizer, inputs, targets):
        if zero:
            optimizer.zero_grad()
        outputs = model(inputs)[:, 0] if squeeze else model(inputs)
        loss = (outputs - targets).square().mean()
        if not late:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if backward:
            loss.backward()
        if late and "last" not in more:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if move:
            optimizer.step()
        if "last" in more:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if "end" in more:
            optimizer.zero_grad()
        return loss.item() if returns else None

    return step


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (step_of(), True, "cured"),
        (step_of(zero=False, end=True), True, "cured"),
        (step_of(last=True), False, "before step(), which uses it"),
        (step_of(zero=False, last=True, end=True), False, "before step(), which uses it"),
        (step_of(squeeze=False, zero=False, late=False), False, "table of all pairs"),
        (step_of(zero=False, late=False), False, "clip it after backward()"),
        (step_of(late=False), False, "clip it after backward()"),
        (step_of(zero=False), False, "call optimizer.zero_grad()"),
        (step_of(backward=False), False, "backward()"),
        (step_of(move=False), False, "call optimizer.step()"),
        (step_of(returns=False), False, "returns nothing"),
        (lambda *_: 1 / 0, False, "raised ZeroDivisionError"),
    ],
)
def test_the_second_exercise(function, right, said):
    verdict = lesson.check_step(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


def test_raw_pixels_are_the_same_digits_in_the_same_order():
    standard = lesson.prepare(lesson.CASES[1], 5, "standardise the data")
    raw = lesson.prepare(lesson.CASES[1], 5)
    (_, labels), _ = split_digits(1500, 5)
    assert len(labels) == 1500
    # A model that answers alike to all inputs has the same loss on both.
    for setup in (standard, raw):
        with torch.no_grad():
            for parameter in setup.model.parameters():
                parameter.zero_()
            list(setup.model.parameters())[-1].copy_(torch.arange(10.0))
    assert standard.loss(0).item() == pytest.approx(raw.loss(0).item())
