import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.types.integers import INT64_MAX, integer, natural


@pytest.mark.parametrize(
    ("text", "signed", "unsigned"),
    [
        ("0", 0, 0),
        ("007", 7, 7),
        ("-5", -5, None),
        ("+5", 5, None),
        (str(INT64_MAX), INT64_MAX, INT64_MAX),
        (str(INT64_MAX + 1), None, None),
        ("9" * 5000, None, None),
        ("", None, None),
        (" 5", None, None),
        ("1_0", None, None),
        ("²", None, None),
        ("٣", None, None),
        ("5\n", None, None),
    ],
)
def test_numbers(text: str, signed: int | None, unsigned: int | None) -> None:
    assert (integer(text), natural(text)) == (signed, unsigned)


@given(st.text(alphabet=st.one_of(st.sampled_from("+-0123456789_² "), st.characters())))
def test_nothing_escapes(text: str) -> None:
    value = integer(text)
    assert value is None or int(text) == value
    assert natural(text, 10) in (None, *range(11))
