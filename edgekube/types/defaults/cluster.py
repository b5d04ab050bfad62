"""Kinds that shape the cluster itself: priorities, flow control, API extensions."""

from typing import Any

from edgekube.types.apiextensions_v1 import (
    CustomResourceConversion,
    CustomResourceDefinition,
    CustomResourceDefinitionSpec,
)
from edgekube.types.apiregistration_v1 import APIService
from edgekube.types.defaults.fill import fill, within
from edgekube.types.flowcontrol_v1 import (
    FlowSchema,
    LimitedPriorityLevelConfiguration,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
)
from edgekube.types.scheduling_v1 import PriorityClass

PRECEDENCE = 1000
SHARES = 30
HTTPS_PORT = 443


def priority_class(obj: PriorityClass) -> PriorityClass:
    return fill(obj, preemptionPolicy="PreemptLowerPriority")


def flow_schema(obj: FlowSchema) -> FlowSchema:
    return within(obj, spec=lambda spec: fill(spec, matchingPrecedence=PRECEDENCE))


def priority_level(obj: PriorityLevelConfiguration) -> PriorityLevelConfiguration:
    return within(obj, spec=_priority_level_spec)


def _priority_level_spec(spec: PriorityLevelConfigurationSpec) -> PriorityLevelConfigurationSpec:
    return within(
        spec,
        limited=_limited,
        exempt=lambda exempt: fill(exempt, nominalConcurrencyShares=0, lendablePercent=0),
    )


def _limited(limited: LimitedPriorityLevelConfiguration) -> LimitedPriorityLevelConfiguration:
    limited = fill(limited, nominalConcurrencyShares=SHARES, lendablePercent=0)
    return within(limited, limitResponse=lambda response: within(response, queuing=_queuing))


def _queuing(queuing: QueuingConfiguration) -> QueuingConfiguration:
    return fill(queuing, queues=64, handSize=8, queueLengthLimit=50)


def custom_resource_definition(obj: CustomResourceDefinition) -> CustomResourceDefinition:
    return within(obj, spec=_definition_spec)


def _definition_spec(spec: CustomResourceDefinitionSpec) -> CustomResourceDefinitionSpec:
    kind = spec.names.kind
    spec = within(spec, names=lambda names: fill(names, singular=kind.lower(), listKind=kind + "List"))
    return within(fill(spec, conversion=CustomResourceConversion(strategy="None")), conversion=_conversion)


def _conversion(conversion: CustomResourceConversion) -> CustomResourceConversion:
    return within(
        conversion,
        webhook=lambda webhook: within(webhook, clientConfig=lambda config: within(config, service=_https)),
    )


def _https(service: Any) -> Any:
    return fill(service, port=HTTPS_PORT)


def api_service(obj: APIService) -> APIService:
    return within(obj, spec=lambda spec: within(spec, service=_https))
