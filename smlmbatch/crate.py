"""The RO-Crate of a campaign: `ro-crate-metadata.json`, which says what was made, of what, by what, and how.

RO-Crate 1.1 after the profile Process Run Crate 0.5: one run of one program, a CreateAction. Its objects are the input files
and every setting, its results the tables, the report and the store with its units.

- Inputs lie outside of OUTPUT, and are named by their content (`ni:///sha-256;...`, RFC 6920): true wherever they are kept, and
  no folder of this machine gets published. Their paths below INPUT are their names.
- A unit's identifier is its digest, that of decoded values which `smlmbatch verify` recomputes; other files have a sha256.
- Nothing is invented: no agent and no licence but those that are given, no image but the one the run record knows.
- The same campaign gives the same crate; its dates are those of the run record.
"""

import base64
import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from smlmbatch.analyse.fingerprint import ALL_NAMES
from smlmbatch.analyse.tables import legible
from smlmbatch.campaign import CONFIG, FAILED, RECORD, SAMPLES, Plan, read_record
from smlmbatch.engine import FieldOutcome, sidecar_name
from smlmbatch.errors import ConfigError
from smlmbatch.ordering import order_state
from smlmbatch.pick.kept import PICKS, kept_file
from smlmbatch.provenance import hash_file
from smlmbatch.store.arrays import sealed_digest
from smlmbatch.store.units import write_whole
from smlmbatch.upkeep import campaign_units, standing

CRATE: Final = "ro-crate-metadata.json"
_SPECIFICATION: Final = "https://w3id.org/ro/crate/1.1"
_PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXTS: Final = (f"{_SPECIFICATION}/context", "https://w3id.org/ro/terms/workflow-run/context")
_PROGRAM, _RUN, _AGENT, _IMAGE = "#smlmbatch", "#run", "#agent", "#image"
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".json": "application/json",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".html": "text/html",
    ".zip": "application/zip",
    ".gz": "application/gzip",
    ".hdf5": "application/x-hdf5",
    ".h5": "application/x-hdf5",
    ".parquet": "application/vnd.apache.parquet",
}
# File below OUTPUT → what it is; those that aren't there are left out.
_FILES: Final[Mapping[str, str]] = {
    CONFIG: "All settings",
    SAMPLES: "Fields of the campaign and what was said of each",
    FAILED: "What could not be read, and how to mend it",
    "report/index.html": "Report",
}
_FOLDERS: Final[Mapping[str, str]] = {
    "tables/": "Tables of the campaign",
    "report/": "Report, with a page per field",
    "store/": "Localisations and all results, as Zarr",
    "models/": "Models of the user's own that ROIs were embedded with",
    "picks/": "Centres that particles were picked about",
}

Entity = dict[str, Any]


def write_crate(plan: Plan, *, licence: str = "", agent: str = "", agent_name: str = "") -> Path:
    """Write OUTPUT/ro-crate-metadata.json; returns its path.

    Parameters
    ----------
    licence : URL of the licence that the results are published under, "" = not said
    agent : URL of who ran it (an ORCID), "" = not said; agent_name: how the agent is called

    Raises
    ------
    ConfigError
        the campaign's end was not reached yet
    SmlmbatchError
        a unit is damaged
    """
    record = read_record(plan.output)
    missing = [name for name in ALL_NAMES if not (plan.output / "tables" / f"{name}.parquet").is_file()]
    if missing or not record.get("finished"):
        what = f"no tables/{missing[0]}.parquet" if missing else f"no date of its end in {RECORD}"
        raise ConfigError(f"{plan.output}: the campaign is not finished ({what}); run `smlmbatch run` first")
    path = plan.output / CRATE
    said = _Said(licence=licence, agent=agent or (_AGENT if agent_name else ""), agent_name=agent_name)
    crate = {"@context": list(_CONTEXTS), "@graph": list(_graph(_parts(plan, record), said))}
    write_whole(path, (json.dumps(crate, indent=1, ensure_ascii=False) + "\n").encode())
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What only people know."""

    licence: str
    agent: str
    agent_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the crate consists of. `told`: how many fields, and what became of them."""

    record: Mapping[str, Any]
    name: str
    told: str
    inputs: Sequence[Entity]
    settings: Sequence[Entity]
    files: Sequence[Entity]
    folders: Sequence[Entity]
    units: Sequence[Entity]

    @property
    def top(self) -> list[Entity]:
        """Files and folders that lie in OUTPUT itself."""
        return [entity for entity in (*self.files, *self.folders) if "/" not in entity["@id"].rstrip("/")]


def _parts(plan: Plan, record: Mapping[str, Any]) -> _Parts:
    outcomes = standing(plan, trust_cache=True)
    files, units = list(_files(plan)), list(_units(plan, outcomes))
    failed = sum(outcome.failure is not None for outcome in outcomes)
    return _Parts(
        record=record,
        name=legible(plan.root.name),
        told=f"{len(outcomes)} fields" + (f", {failed} of which failed (see {FAILED})" if failed else ""),
        inputs=_inputs(plan, outcomes),
        settings=list(_settings(plan)),
        files=files,
        folders=list(_folders(plan, files, units)),
        units=units,
    )


def _graph(parts: _Parts, said: _Said) -> Iterator[Entity]:
    yield {"@id": CRATE, "@type": "CreativeWork", "about": _ref("./"), "conformsTo": _ref(_SPECIFICATION)}
    yield _root(parts, said)
    yield {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    yield _action(parts, said)
    if said.licence:
        yield {"@id": said.licence, "@type": "CreativeWork", "name": said.licence.rstrip("/").rpartition("/")[2]}
    if said.agent:
        yield {"@id": said.agent, "@type": "Person", "name": said.agent_name or said.agent}
    if parts.record.get("image"):
        yield {"@id": _IMAGE, "@type": "ContainerImage", **_image(parts.record["image"])}
    yield from _programs(parts.record)
    for entities in (parts.settings, parts.inputs, parts.files, parts.folders, parts.units):
        yield from entities


def _root(parts: _Parts, said: _Said) -> Entity:
    version = parts.record["smlmbatch"]
    return {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": _ref(_PROFILE),
        "name": f"Localisation microscopy of {parts.name}, analysed",
        "description": f"Batch analysis by smlmbatch {version} ({parts.told}): tables, report, and all results in the store.",
        "datePublished": _date(parts.record["finished"]),
        **({"license": _ref(said.licence)} if said.licence else {}),
        **({"author": _ref(said.agent)} if said.agent else {}),
        "hasPart": [_ref(entity["@id"]) for entity in (*parts.top, *parts.inputs)],
        "mentions": _ref(_RUN),
    }


def _action(parts: _Parts, said: _Said) -> Entity:
    record = parts.record
    return {
        "@id": _RUN,
        "@type": "CreateAction",
        "name": f"smlmbatch run on {parts.name}",
        "description": f"{parts.told}; the command that planned it: {_command(record)}",
        "instrument": _ref(_PROGRAM),
        "startTime": _date(record["planned"]),
        "endTime": _date(record["finished"]),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        **({"agent": _ref(said.agent)} if said.agent else {}),
        **({"containerImage": _ref(_IMAGE)} if record.get("image") else {}),
        "object": [_ref(entity["@id"]) for entity in (*parts.inputs, *parts.settings)] + [_ref(SAMPLES)],
        "result": [_ref(entity["@id"]) for entity in parts.top if entity["@id"] not in (SAMPLES, CONFIG)],
    }


def _ref(name: str) -> dict[str, str]:
    return {"@id": name}


def _date(utc: str) -> str:
    """As the profile's own checks want it: with an offset instead of Z."""
    return utc.replace("Z", "+00:00")


def _one_or_all(values: Sequence[Any]) -> Any:
    """RO-Crate wants the value itself where there is one."""
    return values[0] if len(values) == 1 else list(values)


def _command(record: Mapping[str, Any]) -> str:
    """Its verb and options; paths of this machine by their last part."""
    return " ".join(["smlmbatch", *(shlex.quote(legible(_said(word))) for word in record["command"][1:])])


def _said(word: str) -> str:
    """A word of a command line; of an absolute path, or one that goes up, only its name."""
    option, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    is_path = value.startswith(("/", "~", "../", "./"))
    return option + sign + (PurePosixPath(value).name if is_path else value)


def _image(image: Mapping[str, str]) -> Entity:
    """The part after @ is the image's digest, where it says one."""
    name, _, digest = image.get("name", PurePosixPath(image.get("file", "")).name).partition("@sha256:")
    return {"name": name, **({"sha256": digest} if digest else {})}


def _programs(record: Mapping[str, Any]) -> Iterator[Entity]:
    """smlmbatch, and what it needs that may touch a number."""
    others = {name: version for name, version in record["software"].items() if name != "smlmbatch"}
    needed = [_ref(f"#{name}") for name in others]
    yield {
        "@id": _PROGRAM,
        "@type": "SoftwareApplication",
        "name": "smlmbatch",
        "softwareVersion": record["smlmbatch"],
        "softwareRequirements": needed,
    }
    for name, version in others.items():
        yield {"@id": f"#{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}


def _settings(plan: Plan) -> Iterator[Entity]:
    for section, values in dataclasses.asdict(plan.config).items():
        for name, value in values.items():
            yield {"@id": f"#setting-{section}.{name}", "@type": "PropertyValue", "name": f"{section}.{name}", "value": value}


# ---- files


def _file(at: str, **facts: Any) -> Entity:
    kind = _MEDIA_TYPES.get(PurePosixPath(facts["name"]).suffix.lower())
    return {"@id": at, "@type": "File", **facts, **({"encodingFormat": kind} if kind else {})}


def _inputs(plan: Plan, outcomes: Sequence[FieldOutcome]) -> list[Entity]:
    """Every file that fields are made of, once per content; equal files are one with several names."""
    names: dict[tuple[str, int], list[str]] = {}
    for outcome in outcomes:
        field, known = outcome.field, plan.store.known_inputs(outcome.field.key)
        paths = {"source": field.path, "sidecar": sidecar_name(field), "outline": field.cell_outline}
        for slot, path in paths.items():
            if slot in known and path:
                names.setdefault(known[slot], []).append(legible(path))
    return [_input(sha256, n_bytes, sorted(set(paths))) for (sha256, n_bytes), paths in sorted(names.items(), key=lambda item: item[1])]


def _input(sha256: str, n_bytes: int, paths: list[str]) -> Entity:
    code = base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")
    facts = {"name": paths[0], "contentSize": str(n_bytes), "sha256": sha256}
    return _file(f"ni:///sha-256;{code}", **facts, **({"alternateName": _one_or_all(paths[1:])} if paths[1:] else {}))


def _files(plan: Plan) -> Iterator[Entity]:
    """Small files, tables, models of the user's own and centres of particles, with the sha256 of their bytes."""
    models = sorted(path.relative_to(plan.output).as_posix() for path in (plan.output / "models").rglob("*") if path.is_file())
    known = dict(_FILES) | {f"tables/{name}.parquet": f"Table of {name.replace('_', ' ')}" for name in ALL_NAMES}
    known |= {name: f"{PurePosixPath(name).name} of a model" for name in models if not PurePosixPath(name).name.startswith(".")}
    if plan.config.pick.source == "file":
        centres = kept_file(plan.config.pick, plan.output / PICKS)
        known[centres.relative_to(plan.output).as_posix()] = f"Centres of particles, {legible(plan.config.pick.picks)}"
    for name, text in known.items():
        path = plan.output / name
        if path.is_file():
            yield _file(name, name=PurePosixPath(name).name, description=text, contentSize=str(path.stat().st_size), sha256=hash_file(path))


def _units(plan: Plan, outcomes: Sequence[FieldOutcome]) -> Iterator[Entity]:
    for outcome in outcomes:
        for stage, key in outcome.keys.items():
            if stage not in outcome.fresh:
                continue
            path = plan.store.unit_path(key)
            name = path.relative_to(plan.output).as_posix()
            facts = {"description": f"{stage} of {legible(outcome.field.path)}", "identifier": sealed_digest(path)}
            yield _file(name, name=path.name, **facts, contentSize=str(path.stat().st_size))
    for member, path in campaign_units(plan, order_state(plan, outcomes)):
        name = path.relative_to(plan.output).as_posix()
        facts = {"description": f"{member.partition('/')[2]} of the campaign", "identifier": sealed_digest(path)}
        yield _file(name, name=path.name, **facts, contentSize=str(path.stat().st_size))


def _folders(plan: Plan, files: Sequence[Entity], units: Sequence[Entity]) -> Iterator[Entity]:
    for folder, text in _FOLDERS.items():
        if not (plan.output / folder).is_dir():
            continue
        parts = [_ref(entity["@id"]) for entity in (*files, *units) if entity["@id"].startswith(folder)]
        yield {
            "@id": folder,
            "@type": "Dataset",
            "name": folder.rstrip("/"),
            "description": text,
            **({"hasPart": _one_or_all(parts)} if parts else {}),
        }
