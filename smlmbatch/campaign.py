"""A campaign on disk: what `plan` freezes in OUTPUT and what every later command reads back.

    OUTPUT/smlmbatch.json   run record: input folder, ignored files, versions, image, dates (outside the digest set)
    OUTPUT/samples.csv      the fields, in the order from which parts are cut
    OUTPUT/config.toml      the settings, every key written out
    OUTPUT/models, picks    copies of what the settings name: models of one's own, a file of centres

Only `run`, `plan` and `submit` write these; array tasks read them.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smlmbatch.analyse.grouping import check_plan
from smlmbatch.config import Config, load_config, to_toml
from smlmbatch.errors import ConfigError
from smlmbatch.hpc.image import image_of
from smlmbatch.methods.chosen import MODELS, Role, Settled, section_of, settle
from smlmbatch.methods.folders import keep_copy
from smlmbatch.pick.kept import PICKS, keep_picks, kept_bytes, read_bytes, settle_picks, without_picks
from smlmbatch.provenance import run_record
from smlmbatch.samples import Field, read_samples, samples_text
from smlmbatch.store.units import Store, write_whole

RECORD, SAMPLES, CONFIG, FAILED = "smlmbatch.json", "samples.csv", "config.toml", "failed.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A campaign as frozen in OUTPUT.

    Attributes
    ----------
    given : INPUT as it was given; with a sample sheet from elsewhere it is not the root
    root : folder that the fields' paths are relative to
    ignored : (relative path, reason) of files that are plainly no localisation table
    model_sources : folders of models of one's own, to be copied into OUTPUT, by what they are for
    picks_source : file of centres that is to be copied into OUTPUT, if any
    unknown_picks : fields that this file names and the campaign doesn't have; known where the file was just looked at
    without_condition : keys of fields whose cell `condition` in the sheet is empty; known where the sheet was just looked through
    """

    output: Path
    given: Path
    root: Path
    fields: tuple[Field, ...]
    ignored: tuple[tuple[str, str], ...]
    config: Config
    without_condition: frozenset[str] = field(default=frozenset(), compare=False)
    model_sources: Mapping[Role, Path] = field(default_factory=dict, compare=False)
    picks_source: Path | None = field(default=None, compare=False)
    unknown_picks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def store(self) -> Store:
        return Store(self.output / "store")


def plan_campaign(input_path: Path, output: Path, *, sheet: Path | None, config: Config, update: bool, freeze: bool = True) -> Plan:
    """Look through INPUT and freeze the campaign in OUTPUT (unless `freeze` is False). Planning again picks up new files.

    Raises
    ------
    InputError
        nothing readable in INPUT, a sample sheet that makes no sense, a model or a file of centres that can't be used
    ConfigError
        OUTPUT holds something else, or a campaign with other settings and `update` is not given; or the fields can't be compared
        as `[compare]` asks; or the model doesn't fit
    OSError
        OUTPUT can't be written
    """
    from smlmbatch.ingest.scan import scan_input

    input_path, output = input_path.absolute(), output.absolute()
    sheet = sheet.absolute() if sheet is not None else None
    _check_places(input_path, output)
    settled, picks_source = settle_files(config, output)
    config = settled.config
    check_settings(output, config, update=update)
    scan = scan_input(input_path, sheet=sheet, exclude=output, config=config)
    fields, ignored = without_picks(scan.fields, root=scan.root, pick=config.pick)
    plan = Plan(
        output=output,
        given=input_path,
        root=scan.root,
        fields=tuple(sorted(fields, key=lambda field: field.key)),
        ignored=(*scan.ignored, *ignored),
        config=config,
        without_condition=scan.without_condition,
        model_sources=settled.sources,
        picks_source=picks_source,
    )
    plan = with_picks_checked(plan)
    check_plan(plan.fields, config=config.compare)
    if freeze:
        freeze_plan(plan)
    return plan


def _check_places(input_path: Path, output: Path) -> None:
    source, target = Path(os.path.realpath(input_path)), Path(os.path.realpath(output))  # resolve() fails on a loop of links
    if source == target or target in source.parents:
        raise ConfigError(f"OUTPUT {output} is INPUT or holds it: choose a folder of its own (inside INPUT is allowed)")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"OUTPUT {output} is a file: choose a folder")
    if output.is_dir() and not (output / RECORD).exists() and any(not p.name.startswith(".") for p in output.iterdir()):
        raise ConfigError(f"OUTPUT {output} is not empty and no campaign of smlmbatch: choose a new folder")


def settle_files(config: Config, output: Path) -> tuple[Settled, Path | None]:
    """Settings that name the campaign's models and file of centres by their sha256, and where these are to be copied from.

    See `methods.chosen.settle` and `pick.kept.settle_picks`.

    Raises
    ------
    ConfigError
        a shape is to be picked that no model tells
    """
    _check_shape(config.pick.shape)
    stored = None
    if (output / CONFIG).exists():
        with contextlib.suppress(ConfigError):  # `check_settings` tells, unless all is written anew
            stored = load_config(output / CONFIG)
    config, picks_source = settle_picks(config, output / PICKS)
    return settle(config, stored=stored, models=output / MODELS), picks_source


def _check_shape(name: str) -> None:
    """Here, before hours of computing; whether the campaign's own model tells it is found out where its clusters are read."""
    from smlmbatch.simulate.cluster_shapes import SHAPES

    if name and name not in SHAPES:
        raise ConfigError(f'pick.shape = {name!r} (--shape): wanted one of {", ".join(SHAPES)}, or "" for any')


def with_picks_checked(plan: Plan) -> Plan:
    """The plan, after a look whether its file of centres makes sense for its fields.

    Raises
    ------
    InputError
        it doesn't
    """
    pick = plan.config.pick
    if pick.source != "file":
        return plan
    from smlmbatch.pick.given import check_fields, read_picks

    source = plan.picks_source
    content = kept_bytes(pick, plan.output / PICKS) if source is None else read_bytes(source)
    given = read_picks(pick.picks, content, radius_nm=pick.radius_nm)
    return replace(plan, unknown_picks=check_fields(given, plan.fields))


def check_settings(output: Path, config: Config, *, update: bool) -> None:
    """Refuse other settings than OUTPUT was made with, unless `update`.

    Raises
    ------
    ConfigError
        names every setting that differs
    """
    if update or not (output / CONFIG).exists():
        return
    before = load_config(output / CONFIG)
    if before != config:
        old, new = to_toml(before).splitlines(), to_toml(config).splitlines()
        changes = "; ".join(f"{b} → {a}" for b, a in zip(old, new, strict=True) if a != b)
        raise ConfigError(
            f"OUTPUT {output} holds a campaign with other settings ({changes}): give the same settings, another OUTPUT, "
            "or --update to recompute what they change"
        )


def freeze_plan(plan: Plan) -> None:
    """Write a plan into OUTPUT, the record first: it is what makes a folder ours."""
    record = run_record(input_path=plan.root) | {"given": str(plan.given), "ignored": [list(pair) for pair in plan.ignored]}
    before = read_record(plan.output)
    dates = {"planned": before.get("planned") or _now(), "finished": before.get("finished", "")}
    _write_if_new(plan.output / RECORD, json.dumps(record | {"image": image_of()} | dates, indent=1))
    for role, source in plan.model_sources.items():
        own = section_of(plan.config, role)
        keep_copy(source, plan.output / MODELS, name=own.model, sha256=own.sha256)
    if plan.picks_source is not None:
        keep_picks(plan.picks_source, plan.output / PICKS, plan.config.pick)
    _write_if_new(plan.output / CONFIG, to_toml(plan.config))
    _write_if_new(plan.output / SAMPLES, samples_text(plan.fields))


def read_record(output: Path) -> dict[str, Any]:
    """The run record; empty if there is none that can be read. Its keys: `provenance.run_record`, and

    given, ignored : see Plan
    image : the container image of who planned or finished last, {} outside one
    planned, finished : when the campaign was first planned, and when its tables or report were last written; UTC, "" = not yet
    """
    try:
        found = json.loads((output / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note_finish(output: Path) -> None:
    """Write into the run record when the campaign's end was reached, and in which image."""
    record = read_record(output) | {"finished": _now(), "image": image_of()}
    write_whole(output / RECORD, json.dumps(record, indent=1).encode("utf-8", "surrogateescape"))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _write_if_new(path: Path, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, content)


def same_input(plan: Plan, input_path: Path) -> bool:
    """Whether INPUT (a folder, sheet or file) is what was planned."""
    return os.path.realpath(input_path) == os.path.realpath(plan.given)


def load_plan(output: Path) -> Plan:
    """The campaign that was planned in OUTPUT.

    Raises
    ------
    ConfigError
        OUTPUT holds no planned campaign
    """
    output = output.absolute()
    missing = [name for name in (RECORD, SAMPLES, CONFIG) if not (output / name).is_file()]
    if missing:
        raise ConfigError(f"{output} holds no planned campaign (no {', '.join(missing)}): run `smlmbatch plan INPUT {output}` first")
    try:
        record = json.loads((output / RECORD).read_text())
        given, root, ignored = Path(record["given"]), Path(record["input"]), tuple((path, reason) for path, reason in record["ignored"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{output / RECORD} is damaged ({error!r}): run `smlmbatch plan INPUT {output}` again") from error
    return Plan(
        output=output,
        given=given,
        root=root,
        fields=tuple(read_samples(output / SAMPLES)),
        ignored=ignored,
        config=load_config(output / CONFIG),
    )
