"""What the README shows runs, and its links lead somewhere."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs_and_its_claim_is_true(capsys):
    (block,) = [
        code
        for code in re.findall(
            r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL
        )
        if "mlp_signal" in code
    ]
    exec(block, {})
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
