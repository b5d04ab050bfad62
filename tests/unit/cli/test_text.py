"""Tables, ages, sorting, YAML, durations: what is printed and read."""

from datetime import UTC, datetime

import pytest

from edgekube.cli import ages
from edgekube.cli.arguments import seconds
from edgekube.cli.errors import StatusError, UsageError, describe
from edgekube.cli.output import Printer, as_list
from edgekube.cli.sorting import sort_key
from edgekube.cli.tables import Columns, TablePrinter
from edgekube.cli.yamltext import dump, load_all

TABLE = {
    "kind": "Table",
    "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
    "rows": [
        {"cells": ["web-1", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "x", "labels": {"app": "web"}}}},
        {"cells": ["web-22222", None, None], "object": {"metadata": {"namespace": "x"}}},
    ],
}


def test_columns_have_kubectls_spacing() -> None:
    assert Columns().layout([["NAME", "AGE"], ["x", "1d"], ["longer-name", "2d"]]) == [
        "NAME          AGE",
        "x             1d",
        "longer-name   2d",
    ]


def test_a_narrow_column_is_six_wide() -> None:
    assert Columns().layout([["A", "B"]]) == ["A     B"]


def test_a_table_hides_columns_of_low_priority() -> None:
    assert TablePrinter().lines(TABLE) == ["NAME        READY", "web-1       1/1", "web-22222   <none>"]
    assert TablePrinter(wide=True).lines(TABLE)[0] == "NAME        READY    IP"


def test_namespaces_labels_and_prefixes() -> None:
    lines = TablePrinter(namespaces=True, prefix="pod", show_labels=True, label_columns=["x/app", "app"]).lines(TABLE)
    assert [line.split() for line in lines] == [
        ["NAMESPACE", "NAME", "READY", "APP", "APP", "LABELS"],
        ["x", "pod/web-1", "1/1", "web", "app=web"],
        ["x", "pod/web-22222", "<none>", "<none>"],
    ]


def test_a_watch_lines_up_with_what_was_printed_before() -> None:
    printer = TablePrinter()
    printer.lines(TABLE)
    later = {"kind": "Table", "columnDefinitions": None, "rows": [{"cells": ["y", "0/1", ""]}]}
    assert printer.lines(later) == ["y           0/1"]


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (0, "0s"), (119, "119s"), (120, "2m"), (185, "3m5s"), (601, "10m"), (10_799, "179m"), (10_800, "3h"),
        (3 * 3600 + 61, "3h1m"), (47 * 3600, "47h"), (48 * 3600, "2d"), (3 * 86400 + 3600, "3d1h"),
        (8 * 86400, "8d"), (800 * 86400, "2y70d"), (-5, "<invalid>"),
    ],
)  # fmt: skip
def test_ages(age: int, text: str) -> None:
    assert ages.human(age) == text


def test_an_age_is_from_an_instant_to_now() -> None:
    assert ages.age("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 0, 5, tzinfo=UTC)) == "5m"
    assert ages.age(None) == "<unknown>"
    assert ages.local("") == "<unset>"


@pytest.mark.parametrize(
    ("text", "value"), [("30", 30), ("1h30m", 5400), ("500ms", 0.5), ("-1s", -1), ("1.5m", 90), ("0s", 0)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5x", "m5", "1h-3m"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(UsageError, match="no duration"):
        seconds(text)


def test_quantities_sort_by_size_and_gaps_first() -> None:
    items = [{"v": "1Gi"}, {"v": "500Mi"}, {}, {"v": "2000M"}, {"v": "x"}]
    assert [each.get("v") for each in sorted(items, key=sort_key(".v"))] == [None, "500Mi", "1Gi", "2000M", "x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"), ("2026-01-01", "2026-01-01"), ("0x10", 16), ("010", 8), ("0o10", 8), ("1e3", 1000.0),
        ("yes", True), ("~", None), ("1_000", 1000), ("'1'", "1"), ("=", "="), ("1.5", 1.5), ("-3", -3), (".5", 0.5),
        ("1.2.3", "1.2.3"), ("12e", "12e"),
    ],
)  # fmt: skip
def test_yaml_scalars_mean_what_they_mean_to_kubectl(text: str, value: object) -> None:
    (found,) = load_all(f"a: {text}", "test")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_yaml_merges_and_keys_of_any_scalar() -> None:
    text = "base: &b {x: 1}\nmade: {<<: *b, z: 2}\n80: port\ntrue: word\n---\n---\nkind: Second\n"
    assert load_all(text, "test") == [
        {"base": {"x": 1}, "made": {"x": 1, "z": 2}, "80": "port", "true": "word"},
        {"kind": "Second"},
    ]


def test_yaml_comes_back_as_it_was() -> None:
    value = {
        "a": "1",
        "b": "yes",
        "c": "x\ny\n",
        "d": [{"e": None}],
        "f": "22:22",
        "g": "2026-01-01",
        "h": 1.5,
        "i": "0x1",
        "yy": "y",
        "y": "n",
    }
    assert load_all(dump(value), "test") == [value]
    assert 'a: "1"\n' in dump(value)
    assert "c: |\n  x\n  y\n" in dump(value)


def test_names_columns_and_lists() -> None:
    pods = [{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "managedFields": [1]}} for name in "ab"]
    assert Printer("name").text(as_list(pods)) == "pod/a\npod/b\n"
    shown = Printer("custom-columns=NAME:.metadata.name,X:.spec.x").text(as_list(pods))
    assert shown == "NAME   X\na      <none>\nb      <none>\n"
    assert "managedFields" not in Printer("json").text(pods[0])


@pytest.mark.parametrize("form", ["jsonpath=", "custom-columns=", "nonsense", "custom-columns=a"])
def test_unknown_output_forms_are_refused(form: str) -> None:
    with pytest.raises(UsageError):
        Printer(form)


def test_refusals_read_as_kubectls() -> None:
    missing = StatusError({"reason": "NotFound", "message": 'pods "x" not found', "code": 404})
    assert describe(missing) == 'Error from server (NotFound): pods "x" not found'
    causes = [{"field": "spec.a", "message": "Required value"}, {"field": "spec.b", "message": "Invalid"}]
    details = {"kind": "Deployment", "name": "x", "causes": causes}
    invalid = StatusError({"reason": "Invalid", "message": "...", "details": details})
    assert describe(invalid) == ('The Deployment "x" is invalid: \n* spec.a: Required value\n* spec.b: Invalid')
