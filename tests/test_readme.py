"""What the README shows runs, and its links lead somewhere."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def example(word: str) -> str:
    """Return the one Python example in which a word occurs."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [code for code in examples if word in code]
    return found


def test_the_training_loop_runs_and_says_what_its_comment_says(capsys):
    code = example("GradMonitor")
    exec(code, {})
    said = capsys.readouterr().out
    promised = [line[2:] for line in code.splitlines() if line.startswith("# ")]
    assert len(promised) == 2
    for line in promised:
        assert line.removesuffix(" ...") in said


def test_the_example_runs_and_its_claim_is_true(capsys):
    exec(example("mlp_signal"), {})
    said = capsys.readouterr().out
    assert "60 gelu layers, width 128" in said
    assert "✓ the edge of chaos of tanh" in said


def test_links_lead_to_files():
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        assert (README.parent / target).exists(), target


def test_every_lesson_is_listed():
    text = README.read_text(encoding="utf-8")
    for notebook in sorted((README.parent / "notebooks").glob("*.ipynb")):
        assert f"(notebooks/{notebook.name})" in text
