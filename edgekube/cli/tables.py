"""Columns of text with kubectl's spacing, and the Tables that the server prints its objects in (meta/v1 Table)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgekube.cli.api import Json

PADDING = 3
WIDTH_MIN = 6


class Columns:
    """Lays rows out. Widths only grow, so that a watch's rows line up with those before."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def layout(self, rows: Iterable[Sequence[str]]) -> list[str]:
        rows = [list(row) for row in rows]
        for row in rows:
            for index, cell in enumerate(row[:-1]):
                width = max(WIDTH_MIN, len(cell) + PADDING)
                if index == len(self._widths):
                    self._widths.append(width)
                elif width > self._widths[index]:
                    self._widths[index] = width
        return [
            "".join([*(cell.ljust(self._widths[i]) for i, cell in enumerate(row[:-1])), *row[-1:]]).rstrip()
            for row in rows
        ]


class TablePrinter:
    """Prints server-side Tables as `get` shows them; one for each block of output."""

    def __init__(
        self,
        *,
        wide: bool = False,
        headers: bool = True,
        namespaces: bool = False,
        prefix: str = "",
        show_labels: bool = False,
        label_columns: Sequence[str] = (),
        event_column: bool = False,
    ) -> None:
        self._wide = wide
        self._headers = headers
        self._namespaces = namespaces
        self._prefix = prefix
        self._show_labels = show_labels
        self._label_columns = label_columns
        self._event_column = event_column
        self._columns = Columns()
        self._shown: list[int] = []

    def lines(self, table: Json, *, event: str = "") -> list[str]:
        """The lines of a Table, with the header when it is the first."""
        out: list[list[str]] = []
        definitions: Sequence[Json] = table.get("columnDefinitions") or ()
        if definitions:
            first = not self._shown
            self._shown = [i for i, each in enumerate(definitions) if self._wide or not each.get("priority")]
            if first and self._headers:
                out.append(self._header(definitions))
        out += [self._row(row, event) for row in table.get("rows") or ()]
        return self._columns.layout(out)

    def _header(self, definitions: Sequence[Json]) -> list[str]:
        names = [str(definitions[i].get("name", "")).upper() for i in self._shown]
        before = ["EVENT"] * self._event_column + ["NAMESPACE"] * self._namespaces
        labels = [label.rpartition("/")[2].upper() for label in self._label_columns]
        return [*before, *names, *labels, *["LABELS"] * self._show_labels]

    def _row(self, row: Json, event: str) -> list[str]:
        metadata: Mapping[str, Any] = (row.get("object") or {}).get("metadata") or {}
        cells = row.get("cells") or []
        shown = [_cell(cells[i]) if i < len(cells) else "" for i in self._shown]
        if self._prefix and shown:
            shown[0] = f"{self._prefix}/{shown[0]}"
        labels: Mapping[str, str] = metadata.get("labels") or {}
        before = [event] * self._event_column + [str(metadata.get("namespace") or "")] * self._namespaces
        after = [labels.get(label, "") for label in self._label_columns]
        return [*before, *shown, *after, *[shown_labels(labels)] * self._show_labels]


def shown_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


def _cell(value: Any) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(str(value).split("\n")) if "\n" in str(value) else str(value)


def is_table(answer: Json) -> bool:
    return answer.get("kind") == "Table"


def as_table(items: Sequence[Json]) -> Json:
    """A Table of names and ages, for answers of a server that printed none."""
    return {
        "kind": "Table",
        "columnDefinitions": [{"name": "Name"}, {"name": "Created At"}],
        "rows": [
            {
                "cells": [item.get("metadata", {}).get("name"), item.get("metadata", {}).get("creationTimestamp")],
                "object": item,
            }
            for item in items
        ],
    }
