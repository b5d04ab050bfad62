"""apiextensions/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .custom_resource_definition import CustomResourceColumnDefinition as CustomResourceColumnDefinition
    from .custom_resource_definition import CustomResourceConversion as CustomResourceConversion
    from .custom_resource_definition import CustomResourceDefinition as CustomResourceDefinition
    from .custom_resource_definition import CustomResourceDefinitionCondition as CustomResourceDefinitionCondition
    from .custom_resource_definition import CustomResourceDefinitionList as CustomResourceDefinitionList
    from .custom_resource_definition import CustomResourceDefinitionNames as CustomResourceDefinitionNames
    from .custom_resource_definition import CustomResourceDefinitionSpec as CustomResourceDefinitionSpec
    from .custom_resource_definition import CustomResourceDefinitionStatus as CustomResourceDefinitionStatus
    from .custom_resource_definition import CustomResourceDefinitionVersion as CustomResourceDefinitionVersion
    from .custom_resource_definition import CustomResourceSubresources as CustomResourceSubresources
    from .custom_resource_definition import CustomResourceSubresourceScale as CustomResourceSubresourceScale
    from .custom_resource_definition import CustomResourceSubresourceStatus as CustomResourceSubresourceStatus
    from .custom_resource_definition import CustomResourceValidation as CustomResourceValidation
    from .custom_resource_definition import ExternalDocumentation as ExternalDocumentation
    from .custom_resource_definition import JSONSchemaProps as JSONSchemaProps
    from .custom_resource_definition import SelectableField as SelectableField
    from .custom_resource_definition import ServiceReference as ServiceReference
    from .custom_resource_definition import ValidationRule as ValidationRule
    from .custom_resource_definition import WebhookClientConfig as WebhookClientConfig
    from .custom_resource_definition import WebhookConversion as WebhookConversion
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "custom_resource_definition": (
                "CustomResourceColumnDefinition CustomResourceConversion CustomResourceDefinition"
                " CustomResourceDefinitionCondition CustomResourceDefinitionList CustomResourceDefinitionNames"
                " CustomResourceDefinitionSpec CustomResourceDefinitionStatus CustomResourceDefinitionVersion"
                " CustomResourceSubresourceScale CustomResourceSubresourceStatus CustomResourceSubresources"
                " CustomResourceValidation ExternalDocumentation JSONSchemaProps SelectableField ServiceReference"
                " ValidationRule WebhookClientConfig WebhookConversion"
            ),
        },
    )
