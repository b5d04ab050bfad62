"""What holds for all unit tests: nobody changes an object that everybody shares."""

from collections.abc import Iterator

import pytest

from edgekube.apiserver.watchcache import KindCache
from edgekube.types.mutation import MutationDetector


@pytest.fixture(autouse=True)
def no_mutation() -> Iterator[None]:
    """Fail the test in which a cached object was changed in place."""
    detector = MutationDetector()
    KindCache.witness = detector.add
    yield
    KindCache.witness = None
    detector.check()
