"""What holds for all tests: how properties are searched."""

import pytest
from hypothesis import settings

settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    """The gate asks the same questions each time: it fails for the change at hand. Elsewhere chance may find more."""
    settings.load_profile("gate" if "not long" in str(config.option.markexpr) else "explore")
