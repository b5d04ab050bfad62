"""Rules for names, and the texts that tell how one was broken: RFC 1123 labels and subdomains, RFC 1035 labels,
qualified names, label values, generated names.

Every check returns the list of what is wrong, empty when nothing is; the texts are those clients know.
"""

import random
import re
from collections.abc import Callable
from typing import Final

LABEL_MAX: Final = 63
SUBDOMAIN_MAX: Final = 253
SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no lookalikes
SUFFIX_LENGTH: Final = 5
GENERATED_BASE_MAX: Final = LABEL_MAX - SUFFIX_LENGTH

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE: Final = f"({_QUALIFIED})?"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_PORT_NAME: Final = re.compile(r"[-a-z0-9]+", re.ASCII)
_LETTER: Final = re.compile("[a-z]")
_is_qualified: Final = re.compile(_QUALIFIED, re.ASCII).fullmatch
_is_config_key: Final = re.compile(_CONFIG_KEY, re.ASCII).fullmatch

EMPTY_TEXT: Final = "must be non-empty"


def max_len(size_max: int) -> str:
    """The text for too many bytes."""
    return f"must be no more than {size_max} bytes"


def _regex(message: str, pattern: str, *examples: str) -> str:
    given = " or ".join(f"'{example}', " for example in examples)
    return (
        f"{message} (e.g. {given}regex used for validation is '{pattern}')"
        if given
        else (f"{message} (regex used for validation is '{pattern}')")
    )


_LABEL_TEXT: Final = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    " an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_TEXT: Final = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_WILDCARD: Final = r"\*\." + _SUBDOMAIN
_WILDCARD_TEXT: Final = _regex(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower"
    " case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD,
    "*.example.com",
)
_LABEL_1035_TEXT: Final = _regex(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_QUALIFIED_TEXT: Final = _regex(
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_TEXT: Final = _regex(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_TEXT: Final = _regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)


def _checker(pattern: str, size_max: int, text: str) -> Callable[[str], list[str]]:
    match = re.compile(pattern, re.ASCII).fullmatch

    def check(value: str) -> list[str]:
        found = [max_len(size_max)] if len(value) > size_max and len(value.encode()) > size_max else []
        # The length is looked at first: a bounded text keeps the nested repetitions of these patterns cheap.
        if len(value) > 4 * size_max or match(value) is None:
            found.append(text)
        return found

    return check


dns1123_label: Final = _checker(_LABEL, LABEL_MAX, _LABEL_TEXT)
dns1123_subdomain: Final = _checker(_SUBDOMAIN, SUBDOMAIN_MAX, _SUBDOMAIN_TEXT)
wildcard_subdomain: Final = _checker(_WILDCARD, SUBDOMAIN_MAX, _WILDCARD_TEXT)
dns1035_label: Final = _checker(_LABEL_1035, LABEL_MAX, _LABEL_1035_TEXT)
label_value: Final = _checker(_LABEL_VALUE, LABEL_MAX, _LABEL_VALUE_TEXT)


def qualified_name(value: str) -> list[str]:
    """A label or annotation key: `name` or `prefix.example/name`."""
    if len(value) <= LABEL_MAX and _is_qualified(value):
        return []  # nearly always: a name without a prefix
    prefix, slash, name = value.rpartition("/")
    if value.count("/") > 1:
        return [
            "a qualified name " + _QUALIFIED_TEXT.replace("name part ", "") + " with an optional DNS subdomain prefix"
            " and '/' (e.g. 'example.com/MyName')"
        ]
    found = []
    if slash:
        if not prefix:
            found.append("prefix part " + EMPTY_TEXT)
        found += ["prefix part " + text for text in (dns1123_subdomain(prefix) if prefix else ())]
    if not name:
        found.append("name part " + EMPTY_TEXT)
    elif len(name.encode()) > LABEL_MAX:
        found.append("name part " + max_len(LABEL_MAX))
    if len(name) > SUBDOMAIN_MAX or _is_qualified(name) is None:
        found.append(_QUALIFIED_TEXT)
    return found


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret: a plain file name."""
    found = [max_len(SUBDOMAIN_MAX)] if len(value.encode()) > SUBDOMAIN_MAX else []
    if _is_config_key(value) is None:
        found.append(_CONFIG_KEY_TEXT)
    if value in (".", ".."):
        found.append(f"must not be '{value}'")
    elif value.startswith(".."):
        found.append("must not start with '..'")
    return found


def env_name(value: str) -> list[str]:
    """An environment variable: printable ASCII without `=` (the relaxed rule, on since v1.34)."""
    if not value:
        return ["environment variable name " + EMPTY_TEXT]
    if any(not " " <= char <= "~" or char == "=" for char in value):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def port_name(value: str) -> list[str]:
    """An IANA service name (RFC 6335): at most 15 characters, a letter among them."""
    found = []
    if len(value) > 15:
        found.append("must be no more than 15 characters")
    if _PORT_NAME.fullmatch(value) is None:
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _LETTER.search(value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        found.append("must not begin or end with a hyphen")
    return found


def path_segment(value: str) -> list[str]:
    """A name that may be anything a URL path segment can hold (RBAC names)."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in value]


def generate(base: str, choice: Callable[[str], str] = random.choice) -> str:
    """A name for `generateName`: the base, cut to fit a label, and five random characters. It is no secret."""
    return base[:GENERATED_BASE_MAX] + "".join([choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH)])


def safe_encode(text: str) -> str:
    """`text` with every character mapped into the suffix alphabet, so that no hash spells a word."""
    return "".join(SUFFIX_ALPHABET[ord(char) % len(SUFFIX_ALPHABET)] for char in text)
