"""How often the monitor's verdict is right, and what the reflexes of the trade would have done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradcourse.lessons.the_clinic.cases import (
    CASES,
    CLIP,
    SLOWER,
    Case,
    NothingToTreatError,
    prepare,
)
from gradcourse.lessons.the_clinic.consultation import chart_of, outcome

__all__ = ["REFLEXES", "Scored", "Scores", "measure_scores", "reflexes"]

REFLEXES = (CLIP, SLOWER)
WHEN = ("sick", "healthy")


@dataclass(frozen=True)
class Scored:
    """One case with one seed.

    Attributes
    ----------
    number, seed
        The case, counted from 1, and its seed.
    sick, healthy
        GradMonitor's verdicts on the run as it came and on the cured one.
    named
        Whether the advice on the sick run names the lesson that holds the cure.
    score, cured
        The scores before and after the right cure.
    """

    number: int
    seed: int
    sick: str
    healthy: str
    named: bool
    score: float
    cured: float

    @property
    def case(self) -> Case:
        """The case."""
        return CASES[self.number - 1]

    @property
    def found(self) -> bool:
        """Whether the sick run was called sick."""
        return self.sick != "healthy"

    @property
    def false_alarm(self) -> bool:
        """Whether the cured run was called sick."""
        return self.healthy != "healthy"


@dataclass(frozen=True)
class Scores:
    """All cases with all seeds."""

    rows: tuple[Scored, ...]

    @property
    def found(self) -> int:
        """How many sick runs were called sick."""
        return sum(row.found for row in self.rows)

    @property
    def false_alarms(self) -> int:
        """How many cured runs were called sick."""
        return sum(row.false_alarm for row in self.rows)

    @property
    def named(self) -> int:
        """How often the advice named the lesson with the cure."""
        return sum(row.named for row in self.rows)

    @property
    def cured(self) -> int:
        """How often the right cure has worked."""
        return sum(row.cured >= row.case.cured for row in self.rows)

    def found_in(self, number: int) -> int:
        """Return in how many seeds a case was called sick."""
        return sum(row.found for row in self.rows if row.number == number)

    def table(self) -> str:
        """Return a line for each case, with the verdicts of all seeds, and the sums."""
        lines = [f"{'':8}{'sick run':28}{'with its cure':24}lesson named"]
        for number in range(1, 1 + len(CASES)):
            rows = [row for row in self.rows if row.number == number]
            sick, well = (", ".join(getattr(row, when) for row in rows) for when in WHEN)
            named = sum(row.named for row in rows)
            lines.append(f"case {number:<3}{sick:28}{well:24}{named} of {len(rows)}")
        count = len(self.rows)
        lines.append(
            f"called sick: {self.found} of {count} sick runs, {self.false_alarms} of {count} "
            f"cured ones; the lesson named: {self.named} of {count}"
        )
        return "\n".join(lines)


def measure_scores(seeds: Iterable[int] = (0, 1)) -> Scores:
    """Let GradMonitor judge every case as it came, and with its cure."""
    rows = []
    for number, case in enumerate(CASES, 1):
        for seed in seeds:
            before, after = chart_of(number, seed), chart_of(number, seed, case.cure)
            named = any(advice.lesson == case.lesson for advice in before.diagnosis.advice)
            verdicts = before.diagnosis.verdict, after.diagnosis.verdict
            rows.append(Scored(number, seed, *verdicts, named, before.score, after.score))
    return Scores(tuple(rows))


def reflexes(seed: int = 0) -> dict[str, dict[int, str]]:
    """Return what each reflex does to each case: ``cured``, ``still sick``, ...

    A case that has nothing for it stays as it is.
    """
    found: dict[str, dict[int, str]] = {treatment: {} for treatment in REFLEXES}
    for treatment, outcomes in found.items():
        for number, case in enumerate(CASES, 1):
            try:
                prepare(case, seed, treatment)
            except NothingToTreatError:
                outcomes[number] = "not possible"
            else:
                outcomes[number] = outcome(case, chart_of(number, seed, treatment))
    return found
