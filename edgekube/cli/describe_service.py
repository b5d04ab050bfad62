"""`describe` for Services, ConfigMaps and Secrets."""

from base64 import b64decode

from edgekube.cli.api import Json, path_of
from edgekube.cli.describe import Writer, head
from edgekube.types.resources import by_plural


def service(writer: Writer, obj: Json) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    head(writer, obj)
    writer.mapping("Selector", spec.get("selector"))
    writer.field("Type", spec.get("type"))
    writer.field("IP Family Policy", spec.get("ipFamilyPolicy"))
    writer.field("IP Families", ",".join(spec.get("ipFamilies") or ()))
    writer.field("IP", spec.get("clusterIP"))
    if spec.get("externalIPs"):
        writer.field("External IPs", ",".join(spec["externalIPs"]))
    if spec.get("externalName"):
        writer.field("External Name", spec["externalName"])
    ingress = [i.get("ip") or i.get("hostname") for i in (status.get("loadBalancer") or {}).get("ingress") or ()]
    if ingress:
        writer.field("LoadBalancer Ingress", ", ".join(ingress))
    ready = _endpoints(writer, obj)
    for port in spec.get("ports") or ():
        name, protocol = port.get("name") or "<unset>", port.get("protocol", "TCP")
        writer.field("Port", f"{name}  {port['port']}/{protocol}")
        writer.field("TargetPort", f"{port.get('targetPort')}/{protocol}")
        if port.get("nodePort"):
            writer.field("NodePort", f"{name}  {port['nodePort']}/{protocol}")
        writer.field("Endpoints", ",".join(ready.get(port.get("name") or "", [])))
    writer.field("Session Affinity", spec.get("sessionAffinity"))
    if spec.get("externalTrafficPolicy"):
        writer.field("External Traffic Policy", spec["externalTrafficPolicy"])
    writer.field("Internal Traffic Policy", spec.get("internalTrafficPolicy"))


def _endpoints(writer: Writer, obj: Json) -> dict[str, list[str]]:
    """Port name -> `address:port` of what is ready."""
    out: dict[str, list[str]] = {}
    row = by_plural("discovery.k8s.io", "v1", "endpointslices")
    if writer.api is None or row is None:
        return out
    query = {"labelSelector": f"kubernetes.io/service-name={obj['metadata']['name']}"}
    for piece in writer.api.list(path_of(row, obj["metadata"]["namespace"]), query).get("items") or ():
        for port in piece.get("ports") or ():
            for endpoint in piece.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    found = out.setdefault(port.get("name") or "", [])
                    found += [f"{address}:{port.get('port')}" for address in endpoint["addresses"]]
    return out


def configmap(writer: Writer, obj: Json) -> None:
    head(writer, obj)
    for title, field in (("Data", "data"), ("BinaryData", "binaryData")):
        writer.lines += ["", title, "===="]
        for key, value in sorted((obj.get(field) or {}).items()):
            text = value if field == "data" else f"{len(b64decode(value))} bytes"
            writer.lines += [f"{key}:", "----", *text.splitlines(), ""]


def secret(writer: Writer, obj: Json) -> None:
    """Sizes only: a description is for looking over a shoulder."""
    head(writer, obj)
    writer.lines += ["", f"Type:  {obj.get('type')}", "", "Data", "===="]
    for key, value in sorted((obj.get("data") or {}).items()):
        writer.lines.append(f"{key}:  {len(b64decode(value))} bytes")
