"""Which container image this process runs in, as far as the image and the environment tell."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

# What is known → variables that say it, the first that is set wins. Apptainer sets its own (formerly Singularity's); any runtime
# can say in SMLMBATCH_IMAGE what it starts, best with its digest: "name@sha256:...".
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "name": ("SMLMBATCH_IMAGE", "APPTAINER_NAME", "SINGULARITY_NAME"),
    "file": ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"),
}
_HOME = Path(__file__).parents[2]  # in our image /opt/smlmbatch, which jobs/image/program.sh makes
_ABOUT = ("name", "version", "revision")


def image_of(environ: Mapping[str, str] = os.environ, home: Path = _HOME) -> dict[str, str]:
    """`name`, `version`, `revision` and `file` of the image; what isn't known is left out, so {} outside of one.

    What the image says of itself holds; its name is the runtime's where that knows one, for that may hold the digest.

    >>> image_of({"APPTAINER_NAME": "smlmbatch.sif", "APPTAINER_CONTAINER": "/opt/smlmbatch.sif"})
    {'name': 'smlmbatch.sif', 'file': '/opt/smlmbatch.sif'}
    >>> image_of({})
    {}
    """
    found = {what: next((environ[name] for name in names if environ.get(name)), "") for what, names in _VARIABLES.items()}
    return _about(home) | {what: value for what, value in found.items() if value}


def _about(home: Path) -> dict[str, str]:
    try:
        said = json.loads((home / "image.json").read_text())
    except (OSError, ValueError):
        return {}
    return {what: str(said[what]) for what in _ABOUT if said.get(what)} if isinstance(said, dict) else {}
