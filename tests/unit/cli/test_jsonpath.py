"""Templates as kubectl's documentation and its users write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.cli.errors import UsageError
from edgekube.cli.jsonpath import Template, relaxed

WORDS = (
    "{", "}", "[", "]", "(", ")", "?", "@", "$", ".", "..", "*", ",", ":", "'", '"', "\\", "==", "<", "-", "0", "2",
    "range ", "end", "items", "name", "{range .items[*]}", "{end}", "[?(@.n>1)]", "[0:9:3]", "[-1]", " ", "9" * 30,
)  # fmt: skip

PODS = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web"}},
            "status": {"phase": "Running", "n": 3, "ready": True},
            "ports": [80, 443],
        },
        {"metadata": {"name": "b"}, "status": {"phase": "Pending", "n": 1}, "ports": [22]},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.kind}", "List"),
        ("{kind}", "List"),
        ("{$.kind}", "List"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{.items[::2].metadata.name}", "a"),
        ("{.items[0,1].metadata.name}", "a b"),
        ("{.items[*]['metadata.name', 'ports']}", "[80,443] [22]"),
        ("{.items[*].status['phase','n']}", "Running 3 Pending 1"),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", "web"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "web"),
        ("{..name}", "a b"),
        ('{.items[?(@.status.phase=="Running")].metadata.name}', "a"),
        ("{.items[?(@.status.phase!='Running')].metadata.name}", "b"),
        ("{.items[?(@.status.n>=3)].metadata.name}", "a"),
        ("{.items[?(@.status.n < 2)].metadata.name}", "b"),
        ("{.items[?(@.status.ready==true)].metadata.name}", "a"),
        ("{.items[?(@.status.ready)].metadata.name}", "a"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\n"}{end}', "a\tRunning\nb\tPending\n"),
        ("{range .items[*]}[{range .ports[*]}<{.}>{end}]{end}", "[<80><443>][<22>]"),
        ("name={.items[0].metadata.name}:{.items[0].ports[0]}", "name=a:80"),
        ("{.items[0].status}", '{"phase":"Running","n":3,"ready":true}'),
        ("{.items[0].status.ready}", "true"),
        ("{.nothing.here}", ""),
        ("{.items[7].metadata.name}", ""),
        ("plain", "plain"),
    ],
)
def test_renders(template: str, text: str) -> None:
    assert Template(template).render(PODS) == text


@pytest.mark.parametrize(
    "template",
    ["{.items[", "{.a", "{range .items[*]}{.x}", "{end}", "{.items[?(@.a==1]}", "{.items[a]}", "{.a[::0]}", "{|}"],
)
def test_refuses_what_does_not_parse(template: str) -> None:
    with pytest.raises(UsageError, match="error parsing jsonpath"):
        Template(template)


@pytest.mark.parametrize("path", [".metadata.name", "metadata.name", "{.metadata.name}", "{metadata.name}"])
def test_relaxed_forms_mean_the_same(path: str) -> None:
    assert relaxed(path).find(PODS["items"][0]) == ["a"]


def test_nesting_has_a_limit() -> None:
    with pytest.raises(UsageError, match="too deeply nested"):
        Template("{range .a}" * 100 + "{end}" * 100)


@given(st.lists(st.sampled_from(WORDS), max_size=12).map("".join) | st.text(max_size=40))
def test_only_usage_errors_escape(text: str) -> None:
    for make in (Template, relaxed):
        try:
            template = make(text)
        except UsageError:
            continue
        template.render(PODS)
        template.find(PODS)
