"""What state of the campaign its report was made of. Light: a run that changes nothing reads only this."""

import re
from pathlib import Path

_HEAD_BYTES = 1024  # the fingerprint stands within these
_FINGERPRINT = re.compile(rb'<meta name="smlmbatch-fingerprint" content="([^"]*)">')


def report_fingerprint(output: Path) -> str | None:
    """The fingerprint in the report's head; None if there is no report."""
    return page_fingerprint(output / "report" / "index.html")


def page_fingerprint(path: Path) -> str | None:
    """The fingerprint in a page's head; None if there is no such page."""
    try:
        with path.open("rb") as file:
            found = _FINGERPRINT.search(file.read(_HEAD_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.group(1).decode() if found else None
