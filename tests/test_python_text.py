"""The text of Python's own documentation."""

import sys

import pytest
import torch

from gradcourse import tasks


def read(indices):
    return "".join(tasks.ALPHABET[index] for index in indices)


def test_the_text_is_python_s_documentation():
    text = tasks.python_text()
    assert text.dtype == torch.int64
    assert text.ndim == 1
    assert 400_000 < len(text) < 1_000_000
    assert text.min() >= 0
    assert text.max() < len(tasks.ALPHABET) == 96
    words = read(text.tolist())
    assert "assert_stmt" in words
    assert words.count("\n") > 5000


def test_topics_come_in_order_and_beyond_ascii_are_question_marks(monkeypatch):
    made = {"b": "naïve\ttab", "a": "one\ntwo ~"}
    module = type(sys)("pydoc_data.topics")
    module.topics = made
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", module)
    assert read(tasks._python_text.__wrapped__().tolist()) == "one\ntwo ~\n\nna?ve tab"


def test_the_caller_may_change_the_text():
    tasks.python_text().zero_()
    assert tasks.python_text().any()


def test_a_python_without_the_text_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ModuleNotFoundError, match=r"without its documentation text \(pydoc_data"):
        tasks._python_text.__wrapped__()
