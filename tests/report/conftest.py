"""Made-up campaigns, embeddings, records and clusters for the tests of the report."""

import pytest

from tests.analyse.conftest import clustered, made  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def embedded():
    """The module `embedded`."""
    from tests.report import embedded

    return embedded


@pytest.fixture(scope="session")
def records():
    """The module `records`."""
    from tests.report import records

    return records
