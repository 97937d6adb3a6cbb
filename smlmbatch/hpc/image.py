"""Which container image this process runs in, as far as the environment tells."""

import os
from collections.abc import Mapping

# What is known → variables that say it, the first that is set wins. Apptainer sets its own (formerly Singularity's); any image
# can say in SMLMBATCH_IMAGE what it is, best with its digest: "name@sha256:...".
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "name": ("SMLMBATCH_IMAGE", "APPTAINER_NAME", "SINGULARITY_NAME"),
    "file": ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"),
}


def image_of(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`name` and `file` of the image; what isn't known is left out, so {} outside of one.

    >>> image_of({"APPTAINER_NAME": "smlmbatch.sif", "APPTAINER_CONTAINER": "/opt/smlmbatch.sif"})
    {'name': 'smlmbatch.sif', 'file': '/opt/smlmbatch.sif'}
    >>> image_of({})
    {}
    """
    found = {what: next((environ[name] for name in names if environ.get(name)), "") for what, names in _VARIABLES.items()}
    return {what: value for what, value in found.items() if value}
