"""Which Accept clause the front serves: JSON, as a projection the registry makes or not, or YAML."""

from typing import Final

import msgspec

JSON: Final = "application/json"
YAML: Final = "application/yaml"
ACCEPTED: Final = (JSON, YAML)
_PROJECTIONS: Final = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
_DISCOVERY: Final = frozenset({"APIGroupDiscoveryList"})
_CLAUSES_MAX: Final = 32


class MediaType(msgspec.Struct, frozen=True, gc=False):
    """One clause of an Accept header. `as_`, `version`, `group` are its as=, v= and g= parameters."""

    type: str
    as_: str = ""
    version: str = ""
    group: str = ""

    @property
    def projection(self) -> str:
        """The clause the registry answers to: of this form, always as JSON."""
        return f"{JSON};as={self.as_};v={self.version};g={self.group}" if self.as_ else JSON


_DEFAULT: Final = MediaType(JSON)


def parse_media(text: str) -> tuple[str, dict[str, str]]:
    """The type, lower case, and the parameters of a Content-Type or of one Accept clause."""
    kind, *parameters = text.split(";")
    values: dict[str, str] = {}
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        values[name.strip().lower()] = value.strip().strip('"')
    return kind.strip().lower(), values


def negotiate(accept: str, *, projections: frozenset[str] = _PROJECTIONS) -> MediaType | None:
    """The best clause that can be served, in the client's order of quality; None when there is none (406).

    A clause with an unknown `as=` is skipped, as kube-apiserver does, in favour of a later plain one.
    """
    if not accept or accept in (JSON, "*/*"):
        return _DEFAULT
    ranked: list[tuple[float, int, MediaType]] = []
    for position, clause in enumerate(accept.split(",")[:_CLAUSES_MAX]):
        kind, parameters = parse_media(clause)
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        if quality <= 0:
            continue
        if kind in ("*/*", "application/*", "text/*"):
            kind = JSON
        if kind in ("application/x-yaml", "text/yaml"):
            kind = YAML
        if kind not in ACCEPTED:
            continue
        as_ = parameters.get("as", "")
        if as_ and as_ not in projections:
            continue
        if parameters.get("stream", "watch") != "watch":
            continue
        media = MediaType(kind, as_, parameters.get("v", ""), parameters.get("g", "")) if as_ else MediaType(kind)
        ranked.append((-quality, position, media))
    return min(ranked)[2] if ranked else None


def negotiate_discovery(accept: str) -> MediaType | None:
    """As `negotiate`, for /api and /apis, which also come aggregated (KEP-3352)."""
    return negotiate(accept, projections=_DISCOVERY)


def not_acceptable() -> str:
    """kube-apiserver's message for 406."""
    return f"only the following media types are accepted: {', '.join(ACCEPTED)}"


def json_to_yaml(body: bytes) -> bytes:
    """A complete JSON body as YAML."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(msgspec.json.decode(body), Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text.encode()
