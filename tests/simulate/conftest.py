import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data, `SMLMBATCH_DATA` or beside the repository; the test is skipped where there is none."""
    folder = Path(os.environ.get("SMLMBATCH_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real data")
    return folder
