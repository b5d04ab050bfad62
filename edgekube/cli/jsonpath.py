r"""kubectl's JSONPath templates: text with `{...}` in it, `range`/`end`, filters, unions, slices, recursive descent.

Source: kubernetes.io/docs/reference/kubectl/jsonpath. Sans-IO: compile once, find or render many times.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from edgekube.cli.errors import UsageError

DEPTH_MAX: Final = 64  # of nested range blocks and filters


class Step(NamedTuple):
    """One step of a path. `kind`: field, wild, deep, items (union of indexes, slices and names), filter."""

    kind: str
    value: Any = None


class Path(NamedTuple):
    """`root` is `$` (the document) or `@` (the current item)."""

    root: str
    steps: tuple[Step, ...]


class Filter(NamedTuple):
    left: Any  # a Path or a literal
    operator: str  # "" stands for: exists
    right: Any


class Text(NamedTuple):
    text: str


class Range(NamedTuple):
    path: Path
    body: tuple[Any, ...]


Part = Text | Path | Range

_NAME = re.compile(r"(?:[^\s.\[\]{}()|,'\"=!<>\\]|\\.)+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")


class _Reader:
    """A position in the text of one template."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def fail(self, why: str) -> UsageError:
        return UsageError(f"error parsing jsonpath {self.text}, {why} at character {self.at + 1}")

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def take(self, text: str) -> bool:
        if self.peek(text):
            self.at += len(text)
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.fail(f"expected {text!r}")

    def spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\n":
            self.at += 1

    def template(self, *, nested: bool = False) -> tuple[Part, ...]:
        parts: list[Part] = []
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.fail("too deeply nested")
        while self.at < len(self.text):
            brace = self.text.find("{", self.at)
            if brace < 0:
                brace = len(self.text)
            if brace > self.at:
                parts.append(Text(self.text[self.at : brace]))
                self.at = brace
                continue
            self.at += 1
            while not self.take("}"):
                self.spaces()
                if self.at >= len(self.text):
                    raise self.fail("unclosed action")
                if re.compile(r"end\s*\}").match(self.text, self.at):
                    if not nested:
                        raise self.fail("not in range, nothing to end")
                    self.at = self.text.index("}", self.at) + 1
                    self.depth -= 1
                    return tuple(parts)
                if re.compile(r"range\s").match(self.text, self.at):
                    self.at += 5
                    self.spaces()
                    path = self.path("@")
                    self.spaces()
                    self.expect("}")
                    parts.append(Range(path, self.template(nested=True)))
                    break
                if self.text[self.at] in "'\"":
                    parts.append(Text(self.quoted()))
                else:
                    parts.append(self.path("@"))
                self.spaces()
        if nested:
            raise self.fail("unclosed range, an {end} is missing")
        self.depth -= 1
        return tuple(parts)

    def quoted(self) -> str:
        quote = self.text[self.at]
        end = self.at + 1
        while end < len(self.text) and self.text[end] != quote:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise self.fail("unterminated quoted string")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        escapes = {"n": "\n", "t": "\t", "r": "\r"}
        return re.sub(r"\\(.)", lambda match: escapes.get(match[1], match[1]), inner, flags=re.DOTALL)

    def path(self, root: str) -> Path:
        steps: list[Step] = []
        start = self.at
        if self.take("$"):
            root = "$"
        elif self.take("@"):
            root = "@"
        while self.at < len(self.text):
            if self.take(".."):
                steps.append(Step("deep"))
                if self.take("*"):
                    steps.append(Step("wild"))
                elif not self.peek("["):
                    steps.append(Step("field", self.name()))
            elif self.take("."):
                if self.take("*"):
                    steps.append(Step("wild"))
                elif not self.peek("["):
                    if self.at >= len(self.text) or self.text[self.at] in " })]=!<>,":
                        break  # `.` alone is the item itself
                    steps.append(Step("field", self.name()))
            elif self.peek("["):
                steps.append(self.bracket())
            elif self.at == start and _NAME.match(self.text, self.at):
                steps.append(Step("field", self.name()))  # kubectl takes `{kind}` for `{.kind}`
            else:
                break
        if self.at == start:
            raise self.fail("unrecognized character")
        return Path(root, tuple(steps))

    def name(self) -> str:
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self.fail("a field name is missing")
        self.at = match.end()
        return re.sub(r"\\(.)", r"\1", match[0])

    def bracket(self) -> Step:
        self.expect("[")
        self.spaces()
        if self.take("?("):
            self.depth += 1
            if self.depth > DEPTH_MAX:
                raise self.fail("too deeply nested")
            made = Step("filter", self.condition())
            self.spaces()
            self.expect(")")
            self.spaces()
            self.expect("]")
            self.depth -= 1
            return made
        if self.take("*"):
            self.spaces()
            self.expect("]")
            return Step("wild")
        items: list[int | str | slice] = []
        while True:
            self.spaces()
            items.append(self.item())
            self.spaces()
            if self.take("]"):
                return Step("items", tuple(items))
            self.expect(",")

    def item(self) -> int | str | slice:
        if self.at < len(self.text) and self.text[self.at] in "'\"":
            return self.quoted()
        match = re.compile(r"(-?\d+)?(:(-?\d+)?(:(-?\d+)?)?)?").match(self.text, self.at)
        if match is None or not match[0]:
            raise self.fail("invalid array index")
        self.at = match.end()
        if match[2] is None:
            return int(match[1])
        first, last, step = (int(text) if text else None for text in (match[1], match[3], match[5]))
        if step is not None and step <= 0:
            raise self.fail("step must be > 0")
        return slice(first, last, step)

    def condition(self) -> Filter:
        left = self.operand()
        self.spaces()
        match = _OPERATOR.match(self.text, self.at)
        if match is None:
            return Filter(left, "", None)
        self.at = match.end()
        return Filter(left, match[0], self.operand())

    def operand(self) -> Any:
        self.spaces()
        if self.at < len(self.text) and self.text[self.at] in "'\"":
            return self.quoted()
        match = _NUMBER.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
            return float(match[0]) if match[1] else int(match[0])
        for word, value in (("true", True), ("false", False), ("null", None)):
            if self.take(word):
                return value
        return self.path("@")


class Template:
    """A compiled template. Raises UsageError for what does not parse."""

    def __init__(self, text: str) -> None:
        self._parts = _Reader(text).template()

    def render(self, value: Any) -> str:
        """The text for one document. Several values of one expression are joined by spaces."""
        return _render(self._parts, value, value)

    def find(self, value: Any) -> list[Any]:
        """The values of every expression, in order."""
        found: list[Any] = []
        for part in self._parts:
            if isinstance(part, Path):
                found += find(part, value, value)
        return found


def relaxed(text: str) -> Template:
    """What --sort-by, custom columns and `wait --for=jsonpath` accept: `.a.b`, `a.b` and `{.a.b}` alike."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    if inner and inner[0] not in ".[$@":
        inner = "." + inner
    return Template("{" + (inner or ".") + "}")


def find(path: Path, item: Any, document: Any) -> list[Any]:
    """The values a path leads to; what is not there is left out."""
    values = [document if path.root == "$" else item]
    for step in path.steps:
        values = _step(step, values, document)
    return values


def _step(step: Step, values: Sequence[Any], document: Any) -> list[Any]:
    out: list[Any] = []
    for value in values:
        match step.kind:
            case "field":
                if isinstance(value, dict) and step.value in value:
                    out.append(value[step.value])
            case "wild":
                out += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            case "deep":
                out += _descend(value)
            case "items":
                for item in step.value:
                    if isinstance(item, str):
                        if isinstance(value, dict) and item in value:
                            out.append(value[item])
                    elif isinstance(value, list):
                        out += value[item] if isinstance(item, slice) else _indexed(value, item)
            case "filter":
                items = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
                out += [each for each in items if _holds(step.value, each, document)]
    return out


def _indexed(value: list[Any], index: int) -> list[Any]:
    return [value[index]] if -len(value) <= index < len(value) else []


def _descend(value: Any) -> list[Any]:
    out = [value]
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        out += _descend(child)
    return out


def _holds(condition: Filter, item: Any, document: Any) -> bool:
    left = _operands(condition.left, item, document)
    if not condition.operator:
        return bool(left)
    right = _operands(condition.right, item, document)
    if not left or not right:
        return False
    a, b = left[0], right[0]
    if condition.operator == "==":
        return _same(a, b)
    if condition.operator == "!=":
        return not _same(a, b)
    try:
        return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[condition.operator])
    except TypeError:
        return False


def _same(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _operands(operand: Any, item: Any, document: Any) -> list[Any]:
    return find(operand, item, document) if isinstance(operand, Path) else [operand]


def _render(parts: Sequence[Part], item: Any, document: Any) -> str:
    out = []
    for part in parts:
        if isinstance(part, Text):
            out.append(part.text)
        elif isinstance(part, Path):
            out.append(" ".join(printed(value) for value in find(part, item, document)))
        else:
            out += [_render(part.body, each, document) for each in find(part.path, item, document)]
    return "".join(out)


def printed(value: Any) -> str:
    """A value as kubectl prints it: text bare, everything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
