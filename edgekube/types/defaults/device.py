"""resource.k8s.io/v1: device claims."""

from typing import Any

from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.resource_v1 import DeviceRequest, ResourceClaim, ResourceClaimSpec, ResourceClaimTemplate


def resource_claim(obj: ResourceClaim) -> ResourceClaim:
    return within(obj, spec=_claim_spec)


def resource_claim_template(obj: ResourceClaimTemplate) -> ResourceClaimTemplate:
    return within(obj, spec=lambda spec: within(spec, spec=_claim_spec))


def _claim_spec(spec: ResourceClaimSpec) -> ResourceClaimSpec:
    return within(spec, devices=lambda devices: within(devices, requests=each(_request)))


def _request(request: DeviceRequest) -> DeviceRequest:
    return within(request, exactly=_wanted, firstAvailable=each(_wanted))


def _wanted(wanted: Any) -> Any:
    wanted = fill(wanted, allocationMode="ExactCount")
    if wanted.allocationMode == "ExactCount":
        wanted = fill(wanted, count=1)
    return within(wanted, tolerations=each(lambda toleration: fill(toleration, operator="Equal")))
