"""That the speaker notes of each lesson fit its live figures and quote what they say."""

import ast
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import gradcourse
from gradcourse.live.controls import make_controls

SOURCES = Path(__file__).parents[2] / "notebooks" / "source"
LESSONS = sorted(path.stem for path in SOURCES.glob("*.py"))
NOTES = Path(gradcourse.__file__).parent / "lecture" / "notes"
FIELDS = ("Time", "Needs", "Arc", "Minutes", "Ask", "Move", "See", "Say", "If asked")
FIELDS += ("Vote", "Exit", "Answer")
# Sections whose figures train for seconds at each move.
SLOW = {
    "02": "23",
    "03": "78",
    "04": "2456",
    "05": "47",
    "06": "7",
    "07": "5",
    "08": "456",
    "09": "34",
    "10": "346",
    "11": "46",
    "12": "35",
    "13": "25",
}
OPTIONS = {"panels", "size", "scale", "compare", "play", "remember"}


@dataclass
class Section:
    """A heading of the notes and its fields, in order, each joined to one line."""

    heading: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def names(self):
        return [name for name, _ in self.fields]

    def text(self, name):
        return dict(self.fields)[name]

    def steps(self):
        """Return pairs: what is moved, as {name: (from or None, to)}, and what is then seen."""
        lines, seen = ([text for name, text in self.fields if name == n] for n in ("Move", "See"))
        pattern = re.compile(r"(\w+) = (?:(.+?) -> )?(.+)")
        for line, text in zip(lines, seen, strict=True):
            moves = [pattern.fullmatch(each) for each in line.split("; ")]
            assert all(moves), f"{self.heading}: not understood: {line}"
            yield {move[1]: (move[2], move[3]) for move in moves}, text


@cache
def sections_of(lesson):
    """Parse a lesson's notes: what stands below the title, then each section."""
    sections = []
    for line in (NOTES / f"{lesson}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            sections.append(Section(line.lstrip("# ")))
        elif found := re.match(rf"({'|'.join(FIELDS)}): +(\S.*)", line):
            sections[-1].fields.append((found[1], found[2]))
        elif line:
            assert line.startswith("  "), f"neither a field nor the rest of one: {line}"
            name, text = sections[-1].fields[-1]
            sections[-1].fields[-1] = (name, f"{text} {line.strip()}")
    return sections


class Names(dict):
    """The names of a notebook at one of its lines, each made when it is asked for.

    So a figure is made without a run of the whole lesson.
    """

    def __init__(self, statements, training=True):
        super().__init__()
        self.statements, self.training = statements, training

    def __missing__(self, name):
        places = [at for at, each in enumerate(self.statements) if name in bound(each)]
        if not places:
            raise KeyError(name)
        statement = self.statements[places[-1]]
        trains = any(isinstance(node, ast.Starred) for node in ast.walk(statement))
        if trains and not self.training:
            return MagicMock()
        here = Names(self.statements[: places[-1]], self.training)
        exec(compile(ast.Module([statement], []), "<lesson>", "exec"), here)
        self[name] = here[name]
        return self[name]


def bound(statement):
    """Return the names that a statement of a notebook binds."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name for alias in statement.names}
    stored = ast.walk(statement) if isinstance(statement, (ast.Assign, ast.AugAssign)) else ()
    return {n.id for n in stored if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


@cache
def calls_of(lesson):
    """Return each call of ``live`` and the statements before it, by the heading above it."""
    text = (SOURCES / f"{lesson}.py").read_text(encoding="utf-8")
    statements, calls = ast.parse(text).body, {}
    for at, statement in enumerate(statements):
        call = getattr(statement, "value", None)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "live":
            above = "\n".join(text.splitlines()[: call.lineno])
            heading = re.findall(r"^# ## (.+)$", above, re.MULTILINE)[-1]
            assert heading not in calls, f"two figures under {heading}"
            calls[heading] = call, statements[:at]
    return calls


def evaluate(lesson, heading, **names):
    """Evaluate the call of ``live`` under a heading as the notebook does."""
    call, before = calls_of(lesson)[heading]
    here = Names(before, training=not names)
    here.update(names)
    return eval(compile(ast.Expression(call), "<lesson>", "eval"), here)


def controls_of(measure, draw, **options):
    """Take the place of ``live``: make the controls and measure nothing."""
    del draw
    return make_controls(measure, {n: each for n, each in options.items() if n not in OPTIONS})


def chosen(control, text):
    """Return the value of a control that the notes write as this text."""
    if hasattr(control.widget, "options"):
        return {str(option): option for option in control._options()}.get(text, text)
    return ast.literal_eval(text)


def is_slow(lesson, heading):
    return heading[0] in SLOW.get(lesson[:2], "")


FIGURES = [(lesson, heading) for lesson in LESSONS for heading in calls_of(lesson)]
each_lesson = pytest.mark.parametrize("lesson", LESSONS)


def test_every_lesson_has_notes_and_no_notes_lack_a_lesson():
    assert sorted(path.stem for path in NOTES.glob("*.md")) == LESSONS


@each_lesson
def test_the_notes_have_the_title_of_the_lesson_and_a_section_for_each_live_figure(lesson):
    first, *sections = sections_of(lesson)
    source = (SOURCES / f"{lesson}.py").read_text(encoding="utf-8")
    assert re.search(r"^# # (.+)$", source, re.MULTILINE)[1] == first.heading
    assert [each.heading for each in sections] == [*calls_of(lesson), "Remember"]


@each_lesson
def test_every_section_says_what_to_ask_move_see_and_say(lesson):
    first, *sections, last = sections_of(lesson)
    assert first.names() == ["Time", "Needs", "Arc"]
    pairs = r"Minutes Ask( Move See){1,3} Say( If asked)"
    for section in sections:
        assert re.fullmatch(pairs, " ".join(section.names())), section
    assert re.fullmatch(r"Minutes Say( Vote)+ Exit Answer", " ".join(last.names())), last


@each_lesson
def test_the_minutes_of_the_sections_add_up_to_the_time(lesson):
    first, *sections = sections_of(lesson)
    total = sum(int(each.text("Minutes")) for each in sections)
    assert first.text("Time") == f"{total} minutes."


@each_lesson
def test_the_notes_can_be_read_standing(lesson):
    lines = (NOTES / f"{lesson}.md").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 140


@pytest.mark.parametrize(("lesson", "heading"), FIGURES)
def test_every_move_starts_where_its_control_stands_and_ends_where_it_may(lesson, heading):
    controls = evaluate(lesson, heading, live=controls_of)
    section = next(each for each in sections_of(lesson) if each.heading == heading)
    stands = {name: control.value for name, control in controls.items()}
    for moves, seen in section.steps():
        assert quotes(seen), f"nothing is quoted: {seen}"
        for name, (before, after) in moves.items():
            assert name in controls, f"no control {name}"
            if before is not None:
                assert chosen(controls[name], before) == pytest.approx(stands[name])
            stands[name] = controls[name].check(chosen(controls[name], after))


def quotes(text):
    """Return what stands in double quotes."""
    return re.findall(r'"([^"]+)"', text)


@pytest.mark.parametrize(
    ("lesson", "heading"),
    [pytest.param(*each, marks=[pytest.mark.slow] * is_slow(*each)) for each in FIGURES],
)
def test_the_figure_says_what_the_notes_quote(lesson, heading):
    figure = evaluate(lesson, heading)
    section = next(each for each in sections_of(lesson) if each.heading == heading)
    for moves, seen in section.steps():
        goals = {name: chosen(figure._controls[name], to) for name, (_, to) in moves.items()}
        figure.set(**goals)
        for words in quotes(seen):
            assert words in figure.summary, f"{section.heading}: {goals}"
