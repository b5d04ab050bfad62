"""Quantities against the grammar and the canonical form of the API reference."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.types import quantity
from edgekube.types.quantity import QuantityError

MULTIPLIERS = {
    **{s: Fraction(10) ** e for s, e in zip(["n", "u", "m", "", "k", "M", "G", "T"], range(-9, 15, 3), strict=True)},
    **{s: Fraction(1024) ** (i + 1) for i, s in enumerate(["Ki", "Mi", "Gi", "Ti"])},
    **{f"{letter}{e}": Fraction(10) ** e for letter in "eE" for e in range(-6, 9)},
}
numbers = st.from_regex(r"\A[+-]?([0-9]{1,5}(\.[0-9]{0,6})?|\.[0-9]{1,6})\Z")
texts = st.builds(lambda n, s: n + s, numbers, st.sampled_from(sorted(MULTIPLIERS)))


@given(numbers, st.sampled_from(sorted(MULTIPLIERS)))
def test_value_is_number_times_suffix(number: str, suffix: str) -> None:
    exact = Fraction(Decimal(number)) * MULTIPLIERS[suffix]
    got = quantity.parse(number + suffix)
    assert got == exact or (abs(got - exact) < Fraction(1, 10**9) and abs(got) > abs(exact))


@given(texts)
def test_canonical_keeps_the_value_and_is_stable(text: str) -> None:
    once = quantity.canonical(text)
    assert quantity.nano(once) == quantity.nano(text)
    assert quantity.canonical(once) == once
    assert "." not in once


@given(texts, texts)
def test_sums_and_order_are_those_of_numbers(a: str, b: str) -> None:
    assert quantity.nano(quantity.add(a, b)) == quantity.nano(a) + quantity.nano(b)
    assert quantity.nano(quantity.subtract(a, b)) == quantity.nano(a) - quantity.nano(b)
    left, right = quantity.parse(a), quantity.parse(b)
    assert quantity.compare(a, b) == (left > right) - (left < right)


@given(st.text(max_size=12))
def test_only_quantity_error_escapes(text: str) -> None:
    try:
        quantity.nano(text)
    except QuantityError:
        pass


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("1500", "1500"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("12E6", "12e6"),
        ("1.1Ki", "1126400m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1536Ki", "1536Ki"),
        ("1023", "1023"),
        ("0Gi", "0"),
        ("-1500m", "-1500m"),
        ("100E", "9223372036854775807"),
        ("0.1n", "1n"),
        ("1.5Gi", "1536Mi"),
        ("1E", "1E"),
        ("0.001Ki", "1024m"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize("text", ["", " 1", "1 ", "abc", "1KI", "1e", "--1", ".", "1.2.3", "٣", "1\n", "1" * 300])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        quantity.nano(text)


def test_units_round_up() -> None:
    assert (quantity.value("1.1Ki"), quantity.milli("0.1m"), quantity.milli("2")) == (1127, 1, 2000)
    assert quantity.format_milli(1500) == "1500m"
    assert quantity.format_value(2048, binary=True) == "2Ki"
    assert quantity.add("0", "1Gi") == "1Gi"
