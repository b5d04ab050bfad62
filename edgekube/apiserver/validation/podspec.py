"""PodSpec and PodTemplateSpec (core validation.ValidatePodSpec)."""

from typing import Any

from edgekube.apiserver.validation import resources
from edgekube.apiserver.validation.containers import containers
from edgekube.apiserver.validation.meta import annotations, labels
from edgekube.apiserver.validation.rules import address, dns_label, not_negative, one_of, subdomain, texts
from edgekube.apiserver.validation.scheduling import affinity, spreading, tolerations
from edgekube.apiserver.validation.security import pod_context
from edgekube.apiserver.validation.volumes import volumes
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden, invalid, not_supported, required

RESTART_POLICIES = ("Always", "Never", "OnFailure")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
NAMESERVERS_MAX, SEARCHES_MAX, SEARCH_CHARS_MAX = 3, 32, 2048
ACTIVE_DEADLINE_MAX = 2**31 - 1


def pod_spec(spec: Any, path: Path) -> list[FieldError]:
    known, errors = volumes(spec.volumes, path / "volumes")
    errors += containers(spec, known, path)
    if spec.restartPolicy not in RESTART_POLICIES:
        errors += one_of(spec.restartPolicy, RESTART_POLICIES, path / "restartPolicy")
    if spec.dnsPolicy not in DNS_POLICIES:
        errors += one_of(spec.dnsPolicy, DNS_POLICIES, path / "dnsPolicy")
    if spec.nodeSelector:
        errors += labels(spec.nodeSelector, path / "nodeSelector")
    if spec.securityContext is not None:
        errors += pod_context(spec.securityContext, path / "securityContext", spec)
    for index, ref in enumerate(spec.imagePullSecrets):
        if not ref.name:
            errors.append(required(path / "imagePullSecrets" / index / "name"))
    if spec.affinity is not None:
        errors += affinity(spec.affinity, path / "affinity")
    errors += _dns_config(spec, path / "dnsConfig")
    for index, gate in enumerate(spec.readinessGates):
        at = path / "readinessGates" / index / "conditionType"
        errors += texts(names.qualified_name(gate.conditionType), gate.conditionType, at)
    errors += spreading(spec.topologySpreadConstraints, path / "topologySpreadConstraints")
    if spec.serviceAccountName:
        errors += subdomain(spec.serviceAccountName, path / "serviceAccountName")
    if spec.nodeName:
        errors += subdomain(spec.nodeName, path / "nodeName")
    if spec.activeDeadlineSeconds is not None and not 1 <= spec.activeDeadlineSeconds <= ACTIVE_DEADLINE_MAX:
        errors.append(
            invalid(
                path / "activeDeadlineSeconds",
                spec.activeDeadlineSeconds,
                f"must be between 1 and {ACTIVE_DEADLINE_MAX}, inclusive",
            )
        )
    if spec.terminationGracePeriodSeconds is not None and spec.terminationGracePeriodSeconds < 0:
        errors += not_negative(spec.terminationGracePeriodSeconds, path / "terminationGracePeriodSeconds")
    if spec.hostname:
        errors += dns_label(spec.hostname, path / "hostname")
    if spec.subdomain:
        errors += dns_label(spec.subdomain, path / "subdomain")
    errors += tolerations(spec.tolerations, path / "tolerations")
    for index, alias in enumerate(spec.hostAliases):
        at = path / "hostAliases" / index
        errors += address(alias.ip, at / "ip")[1]
        for position, name in enumerate(alias.hostnames):
            errors += subdomain(name, at / "hostnames" / position)
    if spec.priorityClassName:
        errors += subdomain(spec.priorityClassName, path / "priorityClassName")
    if spec.runtimeClassName:
        errors += subdomain(spec.runtimeClassName, path / "runtimeClassName")
    errors += one_of(spec.preemptionPolicy, ("Never", "PreemptLowerPriority"), path / "preemptionPolicy", needed=False)
    for name, text in spec.overhead.items():
        errors += resources.container_resource_name(name, (path / "overhead").key(name))
        from edgekube.apiserver.validation.rules import amount

        errors += amount(text, (path / "overhead").key(name))[1]
    seen: set[str] = set()
    for index, gate in enumerate(spec.schedulingGates):
        at = path / "schedulingGates" / index
        errors += texts(names.qualified_name(gate.name), gate.name, at)
        if gate.name in seen:
            errors.append(duplicate(at, gate.name))
        seen.add(gate.name)
    if spec.os is not None:
        if not spec.os.name:
            errors.append(required(path / "os" / "name"))
        elif spec.os.name not in ("linux", "windows"):
            errors.append(not_supported(path / "os" / "name", spec.os.name, ["linux", "windows"]))
    if spec.shareProcessNamespace and spec.hostPID:
        errors.append(
            invalid(path / "shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled")
        )
    if spec.resources is not None:
        errors += resources.requirements(spec.resources, path / "resources")
    claims: set[str] = set()
    for index, claim in enumerate(spec.resourceClaims):
        at = path / "resourceClaims" / index
        errors += dns_label(claim.name, at / "name") if claim.name else [required(at / "name")]
        if claim.name in claims:
            errors.append(duplicate(at / "name", claim.name))
        claims.add(claim.name)
        if (claim.resourceClaimName is None) == (claim.resourceClaimTemplateName is None):
            errors.append(
                invalid(at, claim, "must specify exactly one of: `resourceClaimName`, `resourceClaimTemplateName`")
            )
    return errors


def _dns_config(spec: Any, path: Path) -> list[FieldError]:
    config = spec.dnsConfig
    errors: list[FieldError] = []
    if spec.dnsPolicy == "None":
        if config is None:
            return [required(path, f"must provide `dnsConfig` when `dnsPolicy` is {spec.dnsPolicy}")]
        if not config.nameservers:
            return [
                required(
                    path / "nameservers",
                    f"must provide at least one DNS nameserver when `dnsPolicy` is {spec.dnsPolicy}",
                )
            ]
    if config is None:
        return errors
    if len(config.nameservers) > NAMESERVERS_MAX:
        errors.append(
            invalid(path / "nameservers", config.nameservers, f"must not have more than {NAMESERVERS_MAX} nameservers")
        )
    for index, server in enumerate(config.nameservers):
        errors += address(server, path / "nameservers" / index)[1]
    if len(config.searches) > SEARCHES_MAX:
        errors.append(
            invalid(path / "searches", config.searches, f"must not have more than {SEARCHES_MAX} search paths")
        )
    if len(" ".join(config.searches)) > SEARCH_CHARS_MAX:
        errors.append(
            invalid(
                path / "searches",
                config.searches,
                f"must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list",
            )
        )
    for index, search in enumerate(config.searches):
        if search != ".":
            errors += subdomain(search.removesuffix(".").replace("_", "-"), path / "searches" / index)
    for index, option in enumerate(config.options):
        if not option.name:
            errors.append(required(path / "options" / index, "must not be empty"))
    return errors


def template(value: Any, path: Path) -> list[FieldError]:
    """A pod template: metadata's labels and annotations, and the spec; no ephemeral containers."""
    errors = labels(value.metadata.labels, path / "labels")
    errors += annotations(value.metadata.annotations, path / "annotations")
    errors += pod_spec(value.spec, path / "spec")
    if value.spec.ephemeralContainers:
        errors.append(
            forbidden(path / "spec" / "ephemeralContainers", "ephemeral containers not allowed in pod template")
        )
    return errors
