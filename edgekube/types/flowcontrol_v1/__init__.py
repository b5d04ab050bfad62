"""flowcontrol/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .flow_schema import FlowDistinguisherMethod as FlowDistinguisherMethod
    from .flow_schema import FlowSchema as FlowSchema
    from .flow_schema import FlowSchemaCondition as FlowSchemaCondition
    from .flow_schema import FlowSchemaList as FlowSchemaList
    from .flow_schema import FlowSchemaSpec as FlowSchemaSpec
    from .flow_schema import FlowSchemaStatus as FlowSchemaStatus
    from .flow_schema import GroupSubject as GroupSubject
    from .flow_schema import NonResourcePolicyRule as NonResourcePolicyRule
    from .flow_schema import PolicyRulesWithSubjects as PolicyRulesWithSubjects
    from .flow_schema import PriorityLevelConfigurationReference as PriorityLevelConfigurationReference
    from .flow_schema import ResourcePolicyRule as ResourcePolicyRule
    from .flow_schema import ServiceAccountSubject as ServiceAccountSubject
    from .flow_schema import Subject as Subject
    from .flow_schema import UserSubject as UserSubject
    from .priority_level_configuration import ExemptPriorityLevelConfiguration as ExemptPriorityLevelConfiguration
    from .priority_level_configuration import LimitedPriorityLevelConfiguration as LimitedPriorityLevelConfiguration
    from .priority_level_configuration import LimitResponse as LimitResponse
    from .priority_level_configuration import PriorityLevelConfiguration as PriorityLevelConfiguration
    from .priority_level_configuration import PriorityLevelConfigurationCondition as PriorityLevelConfigurationCondition
    from .priority_level_configuration import PriorityLevelConfigurationList as PriorityLevelConfigurationList
    from .priority_level_configuration import PriorityLevelConfigurationSpec as PriorityLevelConfigurationSpec
    from .priority_level_configuration import PriorityLevelConfigurationStatus as PriorityLevelConfigurationStatus
    from .priority_level_configuration import QueuingConfiguration as QueuingConfiguration
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "flow_schema": (
                "FlowDistinguisherMethod FlowSchema FlowSchemaCondition FlowSchemaList FlowSchemaSpec"
                " FlowSchemaStatus GroupSubject NonResourcePolicyRule PolicyRulesWithSubjects"
                " PriorityLevelConfigurationReference ResourcePolicyRule ServiceAccountSubject Subject UserSubject"
            ),
            "priority_level_configuration": (
                "ExemptPriorityLevelConfiguration LimitResponse LimitedPriorityLevelConfiguration"
                " PriorityLevelConfiguration PriorityLevelConfigurationCondition PriorityLevelConfigurationList"
                " PriorityLevelConfigurationSpec PriorityLevelConfigurationStatus QueuingConfiguration"
            ),
        },
    )
