"""Label selectors and field selectors: parsing, matching, writing.

Label selectors come as text (`app=web,tier in (a, b),!old`) in queries and as a LabelSelector in objects.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from edgekube.types import names
from edgekube.types.integers import integer
from edgekube.types.meta_v1.label_selector import LabelSelector

TEXT_MAX: Final = 64 * 1024  # characters of a selector; URLs are shorter


class SelectorError(ValueError):
    """A selector that cannot be understood."""


class Operator(StrEnum):
    """How a requirement compares; the values are how it is written."""

    IN = "in"
    NOT_IN = "notin"
    EQUALS = "="
    DOUBLE_EQUALS = "=="
    NOT_EQUALS = "!="
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = "gt"
    LESS_THAN = "lt"


class Requirement(msgspec.Struct, frozen=True):
    """One comparison of one label. `values` are sorted."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Absent labels satisfy the negative operators."""
        held = labels.get(self.key)
        match self.operator:
            case Operator.IN | Operator.EQUALS | Operator.DOUBLE_EQUALS:
                return held is not None and held in self.values
            case Operator.NOT_IN | Operator.NOT_EQUALS:
                return held is None or held not in self.values
            case Operator.EXISTS:
                return held is not None
            case Operator.DOES_NOT_EXIST:
                return held is None
            case _:
                number = integer(held or "")
                if number is None:
                    return False
                limit = int(self.values[0])
                return number > limit if self.operator is Operator.GREATER_THAN else number < limit

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case Operator.GREATER_THAN:
                return f"{self.key}>{self.values[0]}"
            case Operator.LESS_THAN:
                return f"{self.key}<{self.values[0]}"
        return f"{self.key}{self.operator}{self.values[0]}"


class Selector(msgspec.Struct, frozen=True):
    """All requirements must hold; none means everything. `nothing` matches no object at all."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def everything(self) -> bool:
        """Whether every object matches."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return not self.nothing and all(one.matches(labels) for one in self.requirements)

    def exact(self, key: str) -> str | None:
        """The one value that `key` must have, for lookups in an index; None when there is no such demand."""
        for one in self.requirements:
            if one.key == key and len(one.values) == 1 and one.operator in _POSITIVE:
                return one.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(str(one) for one in self.requirements)


_POSITIVE: Final = frozenset({Operator.IN, Operator.EQUALS, Operator.DOUBLE_EQUALS})
EVERYTHING: Final = Selector()
NOTHING: Final = Selector(nothing=True)


def from_label_selector(selector: LabelSelector | None) -> Selector:
    """A LabelSelector of an object: absent selects nothing, empty selects everything. Raises SelectorError."""
    if selector is None:
        return NOTHING
    found = [_requirement(key, Operator.EQUALS, (value,)) for key, value in selector.matchLabels.items()]
    for one in selector.matchExpressions:
        operator = _IN_OBJECTS.get(one.operator)
        if operator is None:
            raise SelectorError(f'"{one.operator}" is not a valid label selector operator')
        found.append(_requirement(one.key, operator, one.values))
    return Selector(tuple(sorted(found, key=lambda one: one.key)))


def from_labels(labels: Mapping[str, str]) -> Selector:
    """The equality selector of a Service or a ReplicationController; empty selects everything."""
    return Selector(tuple(Requirement(key, Operator.EQUALS, (labels[key],)) for key in sorted(labels)))


_IN_OBJECTS: Final = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}


def _requirement(key: str, operator: Operator, values: Iterable[str]) -> Requirement:
    """A checked requirement."""
    found = tuple(sorted(set(values)))
    where = "values"
    for text in names.qualified_name(key):
        raise SelectorError(f'key: Invalid value: "{key}": {text}')
    if operator in (Operator.IN, Operator.NOT_IN) and not found:
        raise SelectorError(f"{where}: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST) and found:
        raise SelectorError(
            f"{where}: Invalid value: {msgspec.json.encode(found).decode()}:"
            " values set must be empty for exists and does not exist"
        )
    if operator in (Operator.GREATER_THAN, Operator.LESS_THAN):
        if len(found) != 1:
            raise SelectorError(f"{where}: Invalid value: for 'Gt', 'Lt' operators, exactly one value is required")
        if integer(found[0]) is None:
            raise SelectorError(
                f"{where}[0]: Invalid value: \"{found[0]}\": for 'Gt', 'Lt' operators, the value must be an integer"
            )
    for index, value in enumerate(found):
        for text in names.label_value(value):
            raise SelectorError(f'{where}[{index}][{key}]: Invalid value: "{value}": {text}')
    return Requirement(key, operator, found)


_TOKEN: Final = re.compile(r"\s*(==|!=|[(),=!<>]|[^\s(),=!<>]+)")
_SYMBOLS: Final = frozenset("( ) , = == != ! < >".split())
_WORDED: Final = {
    "=": Operator.EQUALS,
    "==": Operator.DOUBLE_EQUALS,
    "!=": Operator.NOT_EQUALS,
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    ">": Operator.GREATER_THAN,
    "<": Operator.LESS_THAN,
}


def parse(text: str) -> Selector:
    """A label selector as written in a query. Raises SelectorError."""
    if len(text) > TEXT_MAX:
        raise SelectorError(f"the label selector is longer than {TEXT_MAX} characters")
    if not text.strip():
        return EVERYTHING
    try:
        return Selector(tuple(sorted(_Parser(text).requirements(), key=lambda one: one.key)))
    except SelectorError as error:
        raise SelectorError(f"unable to parse requirement: {error}") from None


class _Parser:
    """Recursive descent over the tokens; "" is the end."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def requirements(self) -> list[Requirement]:
        found = []
        while True:
            found.append(self._one())
            token = self._next()
            if not token:
                return found
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            if not self._peek():
                raise SelectorError("found '', expected: identifier after ','")

    def _one(self) -> Requirement:
        token = self._next()
        if token == "!":
            return _requirement(self._word(), Operator.DOES_NOT_EXIST, ())
        if token in _SYMBOLS or not token:
            raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
        if self._peek() in ("", ","):
            return _requirement(token, Operator.EXISTS, ())
        word = self._next()
        operator = _WORDED.get(word)
        if operator is None:
            raise SelectorError(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        if operator in (Operator.IN, Operator.NOT_IN):
            return _requirement(token, operator, self._set())
        if self._peek() in ("", ","):
            return _requirement(token, operator, ("",))
        return _requirement(token, operator, (self._word(),))

    def _word(self) -> str:
        token = self._next()
        if token in _SYMBOLS or not token:
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _set(self) -> list[str]:
        token = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        values = [""]
        while True:
            token = self._next()
            if token == ")":
                return values
            if token == ",":
                values.append("")
            elif token in _SYMBOLS or not token:
                raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
            elif values[-1]:
                raise SelectorError(f"found '{token}', expected: ',' or ')'")
            else:
                values[-1] = token


class FieldRequirement(msgspec.Struct, frozen=True):
    """`field=value`, or with `negated` `field!=value`."""

    field: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'!=' if self.negated else '='}{escaped}"


class FieldSelector(msgspec.Struct, frozen=True):
    """All requirements must hold; none means everything."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, get: Callable[[str], str | None]) -> bool:
        """`get` gives the object's value of a field, "" or None when it is unset."""
        return all(((get(one.field) or "") == one.value) is not one.negated for one in self.requirements)

    def exact(self, field: str) -> str | None:
        """The one value that `field` must have; None when there is no such demand."""
        return next((one.value for one in self.requirements if one.field == field and not one.negated), None)

    def check(self, supported: Iterable[str]) -> None:
        """Raise SelectorError for a field the resource does not offer."""
        known = frozenset(supported)
        for one in self.requirements:
            if one.field not in known:
                raise SelectorError(f"field label not supported: {one.field}")

    def __str__(self) -> str:
        return ",".join(str(one) for one in self.requirements)


ALL_FIELDS: Final = FieldSelector()
_TERM: Final = re.compile(r"((?:\\.|[^\\,])*)(,|$)", re.DOTALL)
_FIELD: Final = re.compile(r"([^=!,\\]*?)(!=|==|=)((?:\\.|[^\\])*)", re.DOTALL)


def parse_fields(text: str) -> FieldSelector:
    """A field selector as written in a query. Raises SelectorError."""
    if len(text) > TEXT_MAX:
        raise SelectorError(f"the field selector is longer than {TEXT_MAX} characters")
    found = []
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise SelectorError(f"invalid field selector: {text}: ends in a lone '\\'")
        at = term.end()
        if not term[1]:
            continue
        match = _FIELD.fullmatch(term[1])
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term[1]}'")
        found.append(FieldRequirement(match[1].strip(), _unescape(match[3]), match[2] == "!="))
    return FieldSelector(tuple(found))


def _unescape(value: str) -> str:
    out, at = [], 0
    while at < len(value):
        if value[at] == "\\":
            at += 1
            if value[at] not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{value[at]}")
        elif value[at] == "=":
            raise SelectorError(f"invalid field selector: unescaped '=' in value: {value}")
        out.append(value[at])
        at += 1
    return "".join(out)
