"""Runs in an environment of its own: another program's reader on what was exported, what it finds to .npz or .json.

python other_readers.py READER PATH OUT
"""

import json
import sys
from pathlib import Path

import numpy as np


def read_anndata(path, out):
    """X, obsm, obs and var as anndata has them; text as text."""
    import anndata

    found = anndata.read_h5ad(path)
    again = Path(out).with_suffix(".h5ad")
    found.write_h5ad(again)  # it can write what it read
    assert anndata.read_h5ad(again).obs.equals(found.obs)
    arrays = {"X": found.X, **dict(found.obsm), "index": found.obs_names.to_numpy(str)}
    arrays |= {f"var {name}": found.var[name].to_numpy(str) for name in found.var} | {"var_names": found.var_names.to_numpy(str)}
    for name in found.obs:
        column = found.obs[name]
        arrays[f"obs {name}"] = column.astype(str).to_numpy(str) if column.dtype == "category" else column.to_numpy()
    np.savez(out, kinds=np.array([str(kind) for kind in found.obs.dtypes]), uns=json.dumps(found.uns["smlmbatch"]), **arrays)


def read_ome_zarr(path, out):
    """Every level of image and labels as ome-zarr-py has them, its metadata, and what ome-zarr-models makes of the specification."""
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr_models.v05.image import Image

    model = Image.from_zarr(zarr.open_group(path, mode="r"))
    assert model.labels is not None
    nodes = list(Reader(parse_url(path))())
    arrays, facts = {}, []
    for node in nodes:
        kind = "labels" if "labels" in str(node.zarr) else "image"
        arrays |= {f"{kind} {level}": np.asarray(data) for level, data in enumerate(node.data)}
        if node.data:
            facts.append({name: node.metadata.get(name) for name in ("axes", "name", "coordinateTransformations", "channel_names")})
    np.savez(out, facts=json.dumps(facts), **arrays)


def read_crate(path, out):
    """Entities as ro-crate-py has them."""
    from rocrate.rocrate import ROCrate

    crate = ROCrate(path)
    run = crate.get("#run")
    found = {
        "name": crate.root_dataset["name"],
        "licence": crate.root_dataset["license"].id if "license" in crate.root_dataset else None,
        "instrument": [run["instrument"]["name"], run["instrument"]["softwareVersion"]],
        "objects": [[each.type, each.get("name"), each.get("sha256"), each.get("value")] for each in run["object"]],
        "results": [each.id for each in run["result"]],
        "files": {each.id: each.get("identifier") or each.get("sha256") for each in crate.data_entities if each.type == "File"},
    }
    Path(out).write_text(json.dumps(found))


def validate_crate(path, out):
    """Issues that roc-validator finds. No network: contexts come from ro-crate-py, and the few terms of runs from here."""
    import rocrate
    from rocrate_validator.utils import http

    base = json.loads((Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text())
    terms = "https://w3id.org/ro/terms/workflow-run#"
    of_runs = {"@context": {name: terms + name for name in ("ContainerImage", "containerImage", "registry", "tag")}}
    contexts = {"https://w3id.org/ro/crate/1.1/context": base, "https://w3id.org/ro/terms/workflow-run/context": of_runs}

    class Answer:
        def __init__(self, url):
            self.ok = url in contexts
            self.status_code, self.headers = 200 if self.ok else 504, {"Content-Type": "application/ld+json"}
            self.text = json.dumps(contexts.get(url))
            self.content = self.text.encode()

        def json(self):
            return json.loads(self.text)

        def raise_for_status(self):
            assert self.ok

    http.HttpRequester.__getattr__ = lambda self, name: lambda url, *args, **options: Answer(url)
    http.HttpRequester.fetch_fresh = lambda self, url, **options: Answer(url)
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings

    found = {}
    for profile in ("ro-crate-1.1", "process-run-crate-0.5"):
        settings = ValidationSettings(rocrate_uri=path, profile_identifier=profile, requirement_severity=Severity.RECOMMENDED)
        result = services.validate(settings)
        found[profile] = sorted({(issue.severity.name, issue.check.identifier, str(issue.message)) for issue in result.get_issues()})
    Path(out).write_text(json.dumps(found))


READERS = {"anndata": read_anndata, "ome-zarr": read_ome_zarr, "rocrate": read_crate, "roc-validator": validate_crate}

if __name__ == "__main__":
    READERS[sys.argv[1]](*sys.argv[2:])
