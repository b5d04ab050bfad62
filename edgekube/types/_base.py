"""What every generated kind is made of: the base Struct, the scalar aliases, and the zero-value helpers.

Go's JSON rules decide which fields appear in output. An optional field (`omitempty`) vanishes when it holds its zero
value; a required one is always written. msgspec omits a field when its value *is* the plain default, so required
fields take their zero from a factory (`always`), which msgspec never treats as a default.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Raw

T = TypeVar("T")

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

QUANTITY: Final = "quantity"
DATE_TIME: Final = "date-time"

#: A resource quantity as written ("500m", "1Gi"); see `edgekube.types.quantity`.
Quantity = Annotated[str, Meta(extra={"format": QUANTITY})]
#: RFC 3339 with seconds; "" is Go's zero time. See `edgekube.types.time`.
Time = Annotated[str, Meta(extra={"format": DATE_TIME})]
#: RFC 3339 with microseconds.
MicroTime = Annotated[str, Meta(extra={"format": DATE_TIME})]
#: A number, or a name or percentage; see `edgekube.types.intstr`.
IntOrString = int | str


class FrozenDict(dict[str, Any]):
    """A dict that refuses to change, so that one empty instance can be the default of every map field."""

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("an API object is shared by the whole process and cannot be changed; build a new one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


EMPTY: Final[Mapping[str, Any]] = FrozenDict()
NO_RAW: Final = Raw()

_factories: dict[tuple[type, object], Callable[[], Any]] = {}


def always(zero: T) -> T:
    """A required field whose zero value is `zero`: present in every encoding, as Go writes it."""
    key = (type(zero), zero)
    try:
        factory = _factories.setdefault(key, lambda: zero)
    except TypeError:
        factory = lambda: zero  # noqa: E731
    value: T = msgspec.field(default_factory=factory)
    return value


class Object(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of every API value. Values are trees: they hold no reference cycles, so the collector need not see them."""
