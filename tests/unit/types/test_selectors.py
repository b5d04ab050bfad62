"""Label and field selectors: the grammar, matching, and the words of refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.types import selectors
from edgekube.types.meta_v1 import LabelSelector, LabelSelectorRequirement
from edgekube.types.selectors import SelectorError

LABELS = {"app": "web", "tier": "front", "n": "6", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app!=web", False),
        ("other!=web", True),
        ("app in (web, db)", True),
        ("app notin (web,db)", False),
        ("other notin (web)", True),
        ("app", True),
        ("!app", False),
        ("! other", True),
        ("other", False),
        ("n>5", True),
        ("n>6", False),
        ("n<7", True),
        ("app>5", False),
        ("empty=", True),
        ("empty in ()", True),
        ("app=web,tier=back", False),
        (" app = web , tier in ( front ) ", True),
        ("in=a", False),
        ("example.com/x!=y", True),
    ],
)
def test_matching(text: str, matches: bool) -> None:
    assert selectors.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("=x", "unable to parse requirement: found '=', expected: !, identifier, or 'end of string'"),
        ("a=b=c", "unable to parse requirement: found '=', expected: ',' or 'end of string'"),
        ("a,", "unable to parse requirement: found '', expected: identifier after ','"),
        ("a in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'"),
        ("-x=1", 'unable to parse requirement: key: Invalid value: "-x": name part must consist of'),
        ("a=-", 'unable to parse requirement: values[0][a]: Invalid value: "-": a valid label must be'),
        ("n>x", 'unable to parse requirement: values[0]: Invalid value: "x": for'),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        selectors.parse(text)
    assert str(caught.value).startswith(message)


words = st.from_regex(r"\A[a-z]([a-z0-9.-]{0,6}[a-z0-9])?\Z")


@given(st.dictionaries(words, words, max_size=4))
def test_text_of_a_selector_parses_to_itself(labels: dict[str, str]) -> None:
    selector = selectors.from_labels(labels)
    assert selectors.parse(str(selector)) == selector
    assert selector.matches(labels)


@given(st.text(alphabet="ab=!,() <>in\\", max_size=20))
def test_only_selector_error_escapes(text: str) -> None:
    for parse in (selectors.parse, selectors.parse_fields):
        try:
            parsed = parse(text)
        except SelectorError:
            continue
        assert parse(str(parsed)) == parsed


def test_label_selector_objects() -> None:
    assert not selectors.from_label_selector(None).matches({})
    assert selectors.from_label_selector(LabelSelector()).matches({})
    expressions = (
        LabelSelectorRequirement(key="app", operator="In", values=("web",)),
        LabelSelectorRequirement(key="old", operator="DoesNotExist"),
    )
    selector = selectors.from_label_selector(LabelSelector(matchLabels={"tier": "front"}, matchExpressions=expressions))
    assert selector.matches(LABELS)
    assert not selector.matches({**LABELS, "old": ""})
    assert selector.exact("tier") == "front"
    bad = LabelSelector(matchExpressions=(LabelSelectorRequirement(key="a", operator="Near"),))
    with pytest.raises(SelectorError, match='"Near" is not a valid label selector operator'):
        selectors.from_label_selector(bad)
    empty = LabelSelector(matchExpressions=(LabelSelectorRequirement(key="a", operator="In"),))
    with pytest.raises(SelectorError, match="values set can't be empty"):
        selectors.from_label_selector(empty)


def test_field_selectors() -> None:
    fields = {"metadata.name": "a,b", "spec.nodeName": ""}
    assert selectors.parse_fields("metadata.name=a\\,b,spec.nodeName!=x").matches(fields.get)
    assert selectors.parse_fields("spec.nodeName=").matches(fields.get)
    assert not selectors.parse_fields("metadata.name==a").matches(fields.get)
    assert selectors.parse_fields("spec.nodeName=n1").exact("spec.nodeName") == "n1"
    with pytest.raises(SelectorError, match=r"field label not supported: spec\.x"):
        selectors.parse_fields("spec.x=1").check(fields)
    with pytest.raises(SelectorError, match="invalid selector: 'a'; can't understand 'a'"):
        selectors.parse_fields("a")
