"""OpenAPI v2 in gnostic's protobuf form, which is all kubectl asks `/openapi/v2` for (apply of a List needs it).

Field numbers: gnostic's openapiv2/OpenAPIv2.proto. A protobuf reader merges repeated occurrences of a message field,
so that each definition is a piece of its own and the document never exists as a whole.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

CONTENT_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_DEFINITIONS: Final = 9  # of Document

# Schema's scalar fields: JSON key -> field number.
_TEXTS: Final = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_FLAGS: Final = {"uniqueItems": 16, "readOnly": 27}
_TEXT_LISTS: Final = {"required": 19}


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def head(title: str, version: str) -> bytes:
    """Document.swagger, .info and an empty .paths."""
    return _text(1, "2.0") + _bytes(2, _text(1, title) + _text(2, version)) + _bytes(8, b"")


def definition(name: str, schema: Mapping[str, Any]) -> bytes:
    """One entry of Document.definitions."""
    return _bytes(_DEFINITIONS, _bytes(1, _named_schema(name, schema)))


def _named_schema(name: str, schema: Mapping[str, Any]) -> bytes:
    return _text(1, name) + _bytes(2, b"".join(_schema(schema)))


def _schema(schema: Mapping[str, Any]) -> Iterator[bytes]:
    for key, value in schema.items():
        if key in _TEXTS:
            yield _text(_TEXTS[key], value)
        elif key in _FLAGS:
            yield _varint(_FLAGS[key] << 3) + _varint(int(value))
        elif key in _TEXT_LISTS:
            for item in value:
                yield _text(_TEXT_LISTS[key], item)
        elif key == "default":
            yield _bytes(5, _any(value))
        elif key == "enum":
            for item in value:
                yield _bytes(20, _any(item))
        elif key == "additionalProperties":
            inner = (
                _varint(2 << 3) + _varint(int(value))
                if isinstance(value, bool)
                else _bytes(1, b"".join(_schema(value)))
            )
            yield _bytes(21, inner)
        elif key == "type":
            yield _bytes(22, b"".join(_text(1, word) for word in ([value] if isinstance(value, str) else value)))
        elif key == "items":
            yield _bytes(23, _bytes(1, b"".join(_schema(value))))
        elif key == "allOf":
            for item in value:
                yield _bytes(24, b"".join(_schema(item)))
        elif key == "properties":
            yield _bytes(25, b"".join(_bytes(1, _named_schema(name, inner)) for name, inner in value.items()))
        elif key.startswith("x-"):
            yield _bytes(31, _text(1, key) + _bytes(2, _any(value)))


def _any(value: Any) -> bytes:
    """gnostic's Any: its value as YAML, and JSON is YAML."""
    return _bytes(2, msgspec.json.encode(value))
