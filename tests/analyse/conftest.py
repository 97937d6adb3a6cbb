"""Made-up campaigns for the tests of analyse."""

import pytest


@pytest.fixture(scope="session")
def made():
    """The module `campaigns`."""
    from tests.analyse import campaigns

    return campaigns


@pytest.fixture(scope="session")
def clustered():
    """The module `clustered`."""
    from tests.analyse import clustered

    return clustered
