"""What form an answer takes: the object, a Table, or metadata alone (content negotiation of the API concepts page)."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from edgekube.types import status


class View(StrEnum):
    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


class Form(msgspec.Struct, frozen=True, gc=False):
    view: View = View.OBJECT
    include: str = "Metadata"  # Table rows: Metadata, Object or None
    api_version: str = "meta.k8s.io/v1"
    headers: bool = True


OBJECT = Form()
_JSON_TYPES = ("application/json", "*/*", "application/*", "")


def form_of(accept: str, query: Mapping[str, str]) -> Form:
    """The first acceptable form. Raises ApiError 406 when none is: answers are JSON, of which the front makes YAML."""
    for clause in (accept or "*/*").split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media.lower() not in _JSON_TYPES:
            continue
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        view = options.get("as", "")
        if not view:
            return OBJECT
        if options.get("g") != "meta.k8s.io" or options.get("v") not in ("v1", "v1beta1"):
            continue
        try:
            wanted = View(view)
        except ValueError:
            continue
        include = query.get("includeObject", "") or "Metadata"
        if include not in ("None", "Metadata", "Object"):
            raise status.bad_request(f'unrecognized includeObject value: "{include}"')
        return Form(wanted, include, f"meta.k8s.io/{options['v']}")
    raise status.not_acceptable(("application/json",))
