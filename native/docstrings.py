"""Leaving docstrings out of the binary without moving a line."""

from __future__ import annotations

import ast
import itertools


def without_docstrings(source: str) -> str:
    """The same source with empty docstrings; no line moves, so tracebacks stay true."""
    data = source.encode()
    starts = [0, *itertools.accumulate(len(line) + 1 for line in data.split(b"\n"))]
    spans = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            begin = starts[first.lineno - 1] + first.col_offset
            spans.append((begin, starts[(first.end_lineno or 0) - 1] + (first.end_col_offset or 0)))
    for begin, end in sorted(spans, reverse=True):
        # Continuation lines keep the count of lines without ending the statement.
        data = data[:begin] + b'""' + b"\\\n" * data[begin:end].count(b"\n") + data[end:]
    return data.decode()
