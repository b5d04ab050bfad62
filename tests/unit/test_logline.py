import logging

import pytest

from edgekube.logline import OneLine


@pytest.mark.parametrize(
    ("word", "shown"),
    [("web é", "web é"), ("a\nE forged", "a\\nE forged"), ("\x1b[31m\0", "\\x1b[31m\\x00"), ("a\u2028b", "a\\u2028b")],
)
def test_a_fact_is_a_line(word: str, shown: str) -> None:
    record = logging.LogRecord("n", logging.WARNING, __file__, 1, "pod=%s", (word,), None)
    assert OneLine("%(levelname).1s %(message)s").format(record) == f"W pod={shown}"


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("x\ny")
    except ValueError as error:
        record = logging.LogRecord("n", logging.ERROR, __file__, 1, "it failed", (), (ValueError, error, None))
    assert OneLine("%(message)s").format(record).splitlines() == ["it failed", "ValueError: x", "y"]
