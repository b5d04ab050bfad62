"""apiextensions/v1: CustomResourceDefinition.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import field

from edgekube.types._base import EMPTY, Int32, Int64, Object, Time, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class CustomResourceColumnDefinition(Object, frozen=True, kw_only=True):
    description: str = ""
    format: str = ""
    jsonPath: str = always("")
    name: str = always("")
    priority: Int32 = 0
    type: str = always("")


class CustomResourceDefinitionCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    observedGeneration: Int64 = 0
    reason: str = ""
    type: str = always("")


class CustomResourceDefinitionNames(Object, frozen=True, kw_only=True):
    kind: str = always("")
    categories: tuple[str, ...] = ()
    listKind: str = ""
    plural: str = always("")
    shortNames: tuple[str, ...] = ()
    singular: str = ""


class SelectableField(Object, frozen=True, kw_only=True):
    jsonPath: str = always("")


class CustomResourceSubresourceScale(Object, frozen=True, kw_only=True):
    labelSelectorPath: str | None = None
    specReplicasPath: str = always("")
    statusReplicasPath: str = always("")


class CustomResourceSubresourceStatus(Object, frozen=True, kw_only=True):
    pass


class ExternalDocumentation(Object, frozen=True, kw_only=True):
    description: str = ""
    url: str = ""


class ValidationRule(Object, frozen=True, kw_only=True):
    fieldPath: str = ""
    message: str = ""
    messageExpression: str = ""
    optionalOldSelf: bool | None = None
    reason: str = ""
    rule: str = always("")


class ServiceReference(Object, frozen=True, kw_only=True):
    name: str = always("")
    namespace: str = always("")
    path: str | None = None
    port: Int32 | None = None


class CustomResourceDefinitionStatus(Object, frozen=True, kw_only=True):
    acceptedNames: CustomResourceDefinitionNames = always(CustomResourceDefinitionNames())
    conditions: tuple[CustomResourceDefinitionCondition, ...] = ()
    observedGeneration: Int64 = 0
    storedVersions: tuple[str, ...] = ()


class CustomResourceSubresources(Object, frozen=True, kw_only=True):
    status: CustomResourceSubresourceStatus | None = None
    scale: CustomResourceSubresourceScale | None = None


class JSONSchemaProps(Object, frozen=True, kw_only=True):
    ref: str | None = field(name="$ref", default=None)
    schema_: str = field(name="$schema", default="")
    additionalItems: "JSONSchemaProps | bool | None" = None
    additionalProperties: "JSONSchemaProps | bool | None" = None
    allOf: "tuple[JSONSchemaProps, ...]" = ()
    anyOf: "tuple[JSONSchemaProps, ...]" = ()
    default: Any = None
    definitions: "Mapping[str, JSONSchemaProps]" = EMPTY
    dependencies: "Mapping[str, JSONSchemaProps | tuple[str, ...]]" = EMPTY
    description: str = ""
    enum: tuple[Any, ...] = ()
    example: Any = None
    exclusiveMaximum: bool = False
    exclusiveMinimum: bool = False
    externalDocs: ExternalDocumentation | None = None
    format: str = ""
    id: str = ""
    items: "JSONSchemaProps | tuple[JSONSchemaProps, ...] | None" = None
    maxItems: Int64 | None = None
    maxLength: Int64 | None = None
    maxProperties: Int64 | None = None
    maximum: float | None = None
    minItems: Int64 | None = None
    minLength: Int64 | None = None
    minProperties: Int64 | None = None
    minimum: float | None = None
    multipleOf: float | None = None
    not_: "JSONSchemaProps | None" = field(name="not", default=None)
    nullable: bool = False
    oneOf: "tuple[JSONSchemaProps, ...]" = ()
    pattern: str = ""
    patternProperties: "Mapping[str, JSONSchemaProps]" = EMPTY
    properties: "Mapping[str, JSONSchemaProps]" = EMPTY
    required: tuple[str, ...] = ()
    title: str = ""
    type: str = ""
    uniqueItems: bool = False
    xKubernetesEmbeddedResource: bool = field(name="x-kubernetes-embedded-resource", default=False)
    xKubernetesIntOrString: bool = field(name="x-kubernetes-int-or-string", default=False)
    xKubernetesListMapKeys: tuple[str, ...] = field(name="x-kubernetes-list-map-keys", default=())
    xKubernetesListType: str | None = field(name="x-kubernetes-list-type", default=None)
    xKubernetesMapType: str | None = field(name="x-kubernetes-map-type", default=None)
    xKubernetesPreserveUnknownFields: bool | None = field(name="x-kubernetes-preserve-unknown-fields", default=None)
    xKubernetesValidations: tuple[ValidationRule, ...] = field(name="x-kubernetes-validations", default=())


class WebhookClientConfig(Object, frozen=True, kw_only=True):
    caBundle: bytes = b""
    service: ServiceReference | None = None
    url: str | None = None


class CustomResourceValidation(Object, frozen=True, kw_only=True):
    openAPIV3Schema: JSONSchemaProps | None = None


class WebhookConversion(Object, frozen=True, kw_only=True):
    clientConfig: WebhookClientConfig | None = None
    conversionReviewVersions: tuple[str, ...] = always(())


class CustomResourceDefinitionVersion(Object, frozen=True, kw_only=True):
    additionalPrinterColumns: tuple[CustomResourceColumnDefinition, ...] = ()
    deprecated: bool = False
    deprecationWarning: str | None = None
    name: str = always("")
    schema_: CustomResourceValidation | None = field(name="schema", default=None)
    selectableFields: tuple[SelectableField, ...] = ()
    served: bool = always(False)
    storage: bool = always(False)
    subresources: CustomResourceSubresources | None = None


class CustomResourceConversion(Object, frozen=True, kw_only=True):
    strategy: str = always("")
    webhook: WebhookConversion | None = None


class CustomResourceDefinitionSpec(Object, frozen=True, kw_only=True):
    conversion: CustomResourceConversion | None = None
    group: str = always("")
    names: CustomResourceDefinitionNames = always(CustomResourceDefinitionNames())
    preserveUnknownFields: bool = False
    scope: str = always("")
    versions: tuple[CustomResourceDefinitionVersion, ...] = always(())


class CustomResourceDefinition(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: CustomResourceDefinitionSpec = always(CustomResourceDefinitionSpec())
    status: CustomResourceDefinitionStatus = always(CustomResourceDefinitionStatus())


class CustomResourceDefinitionList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[CustomResourceDefinition, ...] = always(())
