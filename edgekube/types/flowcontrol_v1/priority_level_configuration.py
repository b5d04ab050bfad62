"""flowcontrol/v1: PriorityLevelConfiguration.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, Time, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ExemptPriorityLevelConfiguration(Object, frozen=True, kw_only=True):
    lendablePercent: Int32 | None = None
    nominalConcurrencyShares: Int32 | None = None


class QueuingConfiguration(Object, frozen=True, kw_only=True):
    handSize: Int32 = 0
    queueLengthLimit: Int32 = 0
    queues: Int32 = 0


class PriorityLevelConfigurationCondition(Object, frozen=True, kw_only=True):
    status: str = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = ""


class LimitResponse(Object, frozen=True, kw_only=True):
    queuing: QueuingConfiguration | None = None
    type: str = always("")


class PriorityLevelConfigurationStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[PriorityLevelConfigurationCondition, ...] = ()


class LimitedPriorityLevelConfiguration(Object, frozen=True, kw_only=True):
    borrowingLimitPercent: Int32 | None = None
    lendablePercent: Int32 | None = None
    limitResponse: LimitResponse | None = None
    nominalConcurrencyShares: Int32 | None = None


class PriorityLevelConfigurationSpec(Object, frozen=True, kw_only=True):
    exempt: ExemptPriorityLevelConfiguration | None = None
    limited: LimitedPriorityLevelConfiguration | None = None
    type: str = always("")


class PriorityLevelConfiguration(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: PriorityLevelConfigurationSpec = always(PriorityLevelConfigurationSpec())
    status: PriorityLevelConfigurationStatus = always(PriorityLevelConfigurationStatus())


class PriorityLevelConfigurationList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[PriorityLevelConfiguration, ...] = always(())
