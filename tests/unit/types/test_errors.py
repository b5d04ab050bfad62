"""Statuses, field errors, names: the words clients know."""

import json

import pytest

from edgekube.types import codec, fieldpath, names, status
from edgekube.types.fieldpath import Path

SPEC = Path("spec")


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (status.not_found("pods", "x"), 404, "NotFound", 'pods "x" not found'),
        (status.already_exists("deployments.apps", "x"), 409, "AlreadyExists", 'deployments.apps "x" already exists'),
        (
            status.conflict("pods", "x"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods "x": the object has been modified; please apply your changes to the'
            " latest version and try again",
        ),
        (
            status.forbidden("pods", "x", "no"),
            403,
            "Forbidden",
            'pods "x" is forbidden: no',
        ),
        (status.forbidden("pods", "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (
            status.invalid("", "Pod", "x", [fieldpath.required(SPEC / "containers")]),
            422,
            "Invalid",
            'Pod "x" is invalid: spec.containers: Required value',
        ),
        (
            status.invalid(
                "apps",
                "Deployment",
                "x",
                [fieldpath.duplicate(SPEC / "a" / 0, "b"), fieldpath.forbidden(SPEC / "c", "not now")],
            ),
            422,
            "Invalid",
            'Deployment.apps "x" is invalid: [spec.a[0]: Duplicate value: "b", spec.c: Forbidden: not now]',
        ),
        (
            status.apply_conflict([('"kubectl" using apps/v1', ".spec.replicas")]),
            409,
            "Conflict",
            'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas',
        ),
        (status.expired("too old"), 410, "Expired", "too old"),
        (status.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (status.too_many_requests("later", 7), 429, "TooManyRequests", "later"),
        (status.internal("oh"), 500, "InternalError", "Internal error occurred: oh"),
        (status.timeout("slow"), 504, "Timeout", "Timeout: slow"),
    ],
)
def test_status(error: status.ApiError, code: int, reason: str, message: str) -> None:
    assert (error.code, error.reason, str(error)) == (code, reason, message)
    out = json.loads(codec.encode(error.status))
    assert (out["kind"], out["apiVersion"], out["status"]) == ("Status", "v1", "Failure")


def test_details_tell_group_and_causes() -> None:
    assert json.loads(codec.encode(status.not_found("deployments.apps", "x").status))["details"] == {
        "name": "x",
        "group": "apps",
        "kind": "deployments",
    }
    error = status.invalid("", "Pod", "x", [fieldpath.invalid(SPEC / "a", 3, "must be less than 2")])
    assert error.status.details is not None
    assert json.loads(codec.encode(error.status.details.causes)) == [
        {"reason": "FieldValueInvalid", "message": "Invalid value: 3: must be less than 2", "field": "spec.a"}
    ]
    assert status.too_many_requests("later", 7).retry_after_seconds == 7
    assert status.unauthorized().retry_after_seconds is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (fieldpath.invalid(SPEC / "a", "x", "bad"), 'spec.a: Invalid value: "x": bad'),
        (fieldpath.invalid(SPEC / "a", True, "bad"), "spec.a: Invalid value: true: bad"),
        (fieldpath.invalid(SPEC / "a", {"b": [1]}, "bad"), 'spec.a: Invalid value: {"b":[1]}: bad'),
        (fieldpath.not_supported(SPEC, "x", ["A", "B"]), 'spec: Unsupported value: "x": supported values: "A", "B"'),
        (fieldpath.too_long(SPEC, 5), "spec: Too long: may not be more than 5 bytes"),
        (fieldpath.too_many(SPEC, 3, 2), "spec: Too many: 3: must have at most 2 items"),
        (fieldpath.not_found(Path("metadata", "labels").key("a/b"), "v"), 'metadata.labels[a/b]: Not found: "v"'),
        (fieldpath.required(Path() / "spec"), "spec: Required value"),
    ],
)
def test_field_errors(error: fieldpath.FieldError, text: str) -> None:
    assert str(error) == text


def test_names() -> None:
    for check, good, bad in [
        (names.dns1123_label, ["a", "a-1", "1"], ["", "-a", "A", "a.b", "a" * 64, "a\n"]),
        (names.dns1123_subdomain, ["a.b", "a" * 253], ["", "a..b", "a" * 254, "a." * 3000]),
        (names.wildcard_subdomain, ["*.a.b"], ["*", "a.b", "*.*.b"]),
        (names.dns1035_label, ["a1"], ["1a", ""]),
        (names.label_value, ["", "a_B.c"], ["-", "a b", "a" * 64]),
        (names.qualified_name, ["a", "example.com/A.b"], ["", "/a", "a/", "a/b/c", "A/b", "a" * 64]),
        (names.config_key, [".a", "A_b-c"], ["", "..", "..a", "a/b"]),
        (names.env_name, ["A", "1 b"], ["", "a=b", "\u00e9"]),
        (names.port_name, ["http", "a1-b"], ["", "1", "A", "a--b", "-a", "a" * 16]),
        (names.path_segment, ["system:node"], [".", "a/b", "%"]),
    ]:
        assert all(check(value) == [] for value in good), check
        assert all(check(value) for value in bad), check
    assert names.dns1123_label("A") == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end"
        " with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
        " '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]


def test_generated_names_fit_a_label() -> None:
    name = names.generate("a" * 100)
    assert len(name) == names.LABEL_MAX
    assert set(name[-names.SUFFIX_LENGTH :]) <= set(names.SUFFIX_ALPHABET)
    assert names.generate("web-", choice=lambda alphabet: alphabet[0]) == "web-bbbbb"
