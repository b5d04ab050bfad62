"""ObjectMeta, which every object has (apimachinery api/validation)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, forbidden, invalid, required, too_long

ANNOTATIONS_SIZE_BYTES_MAX = 256 * 1024
META = Path("metadata")

NameRule = Callable[[str], list[str]]

_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def metadata(new: Any, old: Any | None, name_rule: NameRule = names.dns1123_subdomain) -> list[FieldError]:
    """Problems of `new.metadata`; `name_rule` is the kind's rule for names."""
    meta = new.metadata
    errors: list[FieldError] = []
    if old is None:
        if meta.generateName:
            errors += [invalid(META / "generateName", meta.generateName, text)
                       for text in name_rule(_unfinished(meta.generateName))]  # fmt: skip
        if meta.name:
            errors += [invalid(META / "name", meta.name, text) for text in name_rule(meta.name)]
        elif not meta.generateName:
            errors.append(required(META / "name", "name or generateName is required"))
        if meta.namespace:
            errors += [
                invalid(META / "namespace", meta.namespace, text) for text in names.dns1123_label(meta.namespace)
            ]
    errors += labels(meta.labels, META / "labels")
    errors += annotations(meta.annotations, META / "annotations")
    errors += _owners(meta.ownerReferences)
    errors += _finalizers(meta.finalizers)
    if old is not None and old.metadata.deletionTimestamp:
        added = sorted(set(meta.finalizers) - set(old.metadata.finalizers))
        if added:
            shown = ", ".join(f'"{name}"' for name in added)
            errors.append(
                forbidden(
                    META / "finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{shown}}}",
                )
            )
    return errors


def _unfinished(base: str) -> str:
    """A generateName base may end in a dash: it is judged as if finished (NameIsDNSSubdomain with prefix)."""
    return base[:-1] + "a" if base.endswith("-") else base


def labels(values: Mapping[str, str], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in values.items():
        errors += [invalid(path, key, text) for text in names.qualified_name(key)]
        errors += [invalid(path, value, text) for text in names.label_value(value)]
    return errors


def annotations(values: Mapping[str, str], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    size = 0
    for key, value in values.items():
        errors += [invalid(path, key, text) for text in names.qualified_name(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_SIZE_BYTES_MAX:
        errors.append(too_long(path, ANNOTATIONS_SIZE_BYTES_MAX))
    return errors


def _owners(references: Sequence[Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    path = META / "ownerReferences"
    controllers = [ref for ref in references if ref.controller]
    for index, ref in enumerate(references):
        at = path / index
        if not ref.apiVersion:
            errors.append(invalid(at / "apiVersion", ref.apiVersion, "version must not be empty"))
        if not ref.kind:
            errors.append(invalid(at / "kind", ref.kind, "must not be empty"))
        if not ref.name:
            errors.append(invalid(at / "name", ref.name, "must not be empty"))
        if not ref.uid:
            errors.append(invalid(at / "uid", ref.uid, "must not be empty"))
        if (ref.apiVersion, ref.kind) == ("v1", "Event"):
            errors.append(invalid(at, ref, "/v1, Kind=Event is disallowed from being an owner"))
    if len(controllers) > 1:
        first, second = controllers[0], controllers[1]
        errors.append(
            invalid(
                path,
                references,
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{first.kind}/{first.name} and {second.kind}/{second.name}",
            )
        )
    return errors


def _finalizers(values: Sequence[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    path = META / "finalizers"
    for value in values:
        errors += [invalid(path, value, text) for text in names.qualified_name(value)]
        if "/" not in value and value not in _STANDARD_FINALIZERS:
            errors.append(invalid(path, value, "name is neither a standard finalizer name nor is it fully qualified"))
    if "orphan" in values and "foregroundDeletion" in values:
        errors.append(invalid(path, values, "finalizer orphan and foregroundDeletion cannot be both set"))
    return errors


def immutable(new: Any, old: Any, path: Path) -> list[FieldError]:
    """The field may not change once set."""
    return [] if new == old else [invalid(path, new, "field is immutable")]
