"""The command line's options, each defined once, the types of their values, and what they mean."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import click

from smlmbatch.config import PICK_CENTRES, PICK_SOURCES, UNITS, Config
from smlmbatch.errors import ConfigError
from smlmbatch.hpc.place import Place, read_place

Cut = tuple[int, int]  # (I, N): every N-th field from the I-th on, counted from 1
Verb = TypeVar("Verb", bound=Callable[..., Any])


class PipelineOrder(click.Group):
    """Lists verbs as they were defined: in the order in which data passes through them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Bytes(click.ParamType[int]):
    """An amount of memory: 2GiB, 512M, 1000000."""

    name = "SIZE"
    _UNITS: ClassVar = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = value.strip().lower().removesuffix("b").removesuffix("i")
        unit = text[-1:] if text[-1:].isalpha() else ""
        try:
            amount = int(float(text.removesuffix(unit)) * (1 << self._UNITS[unit]))
        except (ValueError, KeyError, OverflowError):
            self.fail(f"{value!r} is no amount of memory; wanted something like 2GiB", param, ctx)
        if amount < 256 << 20:
            self.fail(f"{value!r} is too little: Python and its libraries alone need 256MiB", param, ctx)
        return amount


class Part(click.ParamType[Cut]):
    """A share of the fields: 2/8 is the second of eight; "array" is this SLURM array task's."""

    name = "I/N|array"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Cut:
        if isinstance(value, tuple):
            return value
        if value == "array":
            return read_place().array_part()
        try:
            first, n = (int(number) for number in value.split("/"))
        except ValueError:
            first, n = 0, 0
        if not 1 <= first <= n:
            self.fail(f"{value!r} is no part; wanted I/N with I from 1 to N, such as 2/8, or `array` in a SLURM array", param, ctx)
        return first, n


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between."""

    name = "STAGE[,STAGE]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(word for word in (part.strip() for part in value.split(",")) if word)


# ---- options, each defined once

folder_type = click.Path(path_type=Path)
input_argument = click.argument("input_path", metavar="INPUT", type=folder_type)
output_argument = click.argument("output", metavar="OUTPUT", type=folder_type)
part_option = click.option("--part", type=Part(), default=None, help="Work on one share of the planned fields, e.g. 2/8.")
tasks_option = click.option("--tasks", type=folder_type, default=None, help="Work on what this file gives the SLURM array task.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def pass_place(verb: Verb) -> Verb:
    """Give a verb, first, where this process stands; read only by verbs that need it, so that `doctor` runs anywhere."""

    @functools.wraps(verb)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        return verb(read_place(), *arguments, **options)

    return cast(Verb, wrapped)


def _stack(*options: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
    def decorate(verb: Verb) -> Verb:
        for option in reversed(options):
            verb = option(verb)
        return verb

    return decorate


def _serving(verb: Verb) -> Verb:
    """Lets a verb work by Dask with a scheduler of its own for as long as it lasts, whatever it runs one after another."""

    @functools.wraps(verb)
    def wrapped(*arguments: Any, serve: Path | None, interface: str, tls: bool, **options: Any) -> Any:
        if serve is None:
            return verb(*arguments, **options)
        if options["scheduler"]:
            raise ConfigError("--serve and --scheduler exclude each other: be the scheduler, or name one")
        from smlmbatch.hpc.dask_meeting import serve as serving

        with serving(serve.absolute(), interface=interface, tls=tls):
            return verb(*arguments, **options | {"scheduler": str(serve.absolute())})

    return cast(Verb, wrapped)


def _stating(section: str) -> Callable[[Verb], Verb]:
    """Hands a verb the options that are keys of a section as one table, `stated`: {section: {key: value}}, without those not given."""
    keys = {key.name for key in dataclasses.fields(getattr(Config(), section))}

    def decorate(verb: Verb) -> Verb:
        @functools.wraps(verb)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            given = {name: options.pop(name) for name in sorted(keys & options.keys())}
            values = {name: value for name, value in given.items() if value is not None}
            return verb(*arguments, stated={section: values} if values else {}, **options)

        return cast(Verb, wrapped)

    return decorate


plan_options = _stack(
    click.option("--sheet", type=folder_type, default=None, help="Sample sheet: a CSV with a column `path`."),
    click.option("--preset", default="", metavar="NAME", help="Settings for a kind of structure; `smlmbatch config --presets` lists them."),
    click.option("--config", "config_path", type=folder_type, default=None, help="Settings, TOML; over those of a preset."),
    click.option("--update", is_flag=True, help="Accept other settings than OUTPUT was made with; recompute what they change."),
    click.option("--map", "column_map", default=None, metavar="Q=COLUMN,…", help='Columns of your own tables: "x=X,y=Y,unit=um".'),
    click.option("--format", "format_name", default=None, help="Read every file with this reader."),
    click.option("--pixel-size-nm", type=float, default=None, help="Camera pixel, where files are in pixels and don't say."),
    click.option("--unit", type=click.Choice(UNITS[1:]), default=None, help="What x and y are in, where files don't say it."),
    click.option("--frame-base", type=click.IntRange(0, 1), default=None, help="Number of the first frame, where it isn't the format's."),
    click.option("--max-precision-nm", type=float, default=None, help="Drop localisations of a larger one; 0 = none.  [default: 30]"),
    click.option("--merge-nm", type=float, default=None, help="Merge blinks of following frames this near; 0 = none.  [default: 0]"),
    click.option("--merge-dark-frames", type=click.IntRange(0), default=None, help="Frames a blink may be dark.  [default: 0]"),
    click.option("--roi-nm", type=float, default=None, help="Side of a region of interest.  [default: 3000]"),
    click.option("--min-coverage", type=float, default=None, help="Share of a region inside the cell.  [default: 0.9]"),
    click.option("--min-locs", type=int, default=None, help="Fewest localisations of a region.  [default: 50]"),
    click.option("--outline", type=click.Choice(["found", "field"]), default=None, help="Find cells by density, or take the whole field."),
    click.option("--model", default=None, metavar="auto|none|FOLDER", help="Model that embeds regions; a folder is copied into OUTPUT."),
    click.option("--embed-locs", type=click.IntRange(0), default=None, help="Embed so many locs of each region; 0 = all.  [default: 0]"),
    click.option("--device", type=click.Choice(["cpu", "cuda"]), default=None, help="Where regions are embedded.  [default: cpu]"),
    click.option("--cluster-method", type=click.Choice(["miro", "dbscan", "none"]), default=None, help="Finds clusters.  [default: miro]"),
    click.option("--cluster-model", default=None, metavar="auto|FOLDER", help="Model of miro; a folder is copied into OUTPUT."),
    click.option("--eps-nm", type=float, default=None, help="Radius in which dbscan looks for neighbours.  [default: 25]"),
    click.option("--pick", default=None, type=click.Choice(PICK_SOURCES), help="What particles are picked from.  [default: none]"),
    click.option("--picks", type=folder_type, default=None, metavar="FILE", help="Centres, for --pick file: CSV, or Picasso's YAML."),
    click.option("--conditions", default=None, metavar="COLUMN,…", help="Columns whose product is compared: condition,region,channel …"),
    click.option("--reference", default=None, metavar="CONDITION", help="Compare all others with this one.  [default: every pair]"),
    click.option("--paired", default=None, metavar="COLUMN", help="What pairs values: replicate (same cells), batch or a label."),
)
work_options = _stack(
    click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes on this machine."),
    click.option("--scheduler", default="", metavar="FILE|tcp://…", help="Work on this Dask cluster instead."),
    click.option("--serve", type=folder_type, default=None, metavar="FILE", help="Let `smlmbatch worker FILE` do the work instead."),
    click.option("--interface", default="", metavar="NAME", help="With --serve: network interface.  [default: the one to other nodes]"),
    click.option("--tls/--no-tls", default=True, help="With --serve: a certificate of its own, in FILE.  [default: yes]"),
    click.option("--memory", type=Bytes(), default=None, help="Memory one process should stay within.  [default: 2GiB, or the job's]"),
    click.option("--scratch", type=folder_type, default=None, help="Folder for temporary files.  [default: inside OUTPUT]"),
    click.option("--check-inputs", is_flag=True, help="Hash input files again even if size and time are unchanged."),
    click.option("--retry-failed", is_flag=True, help="Try files again that could not be read before."),
    click.option("--force", is_flag=True, help="Make units again that are there, and compare; only damaged ones are replaced."),
    click.option("--stop-on-first-error", is_flag=True, help="Begin no further field after the first that fails; exit code 3."),
    _serving,
)
particle_options = _stack(
    click.option("--from", "source", type=click.Choice(PICK_SOURCES), default=None, help="What particles are picked from."),
    click.option("--picks", type=str, default=None, metavar="FILE", help="Centres, for --from file: CSV, or Picasso's YAML."),
    click.option("--radius-nm", type=float, default=None, help="With --picks: how far a particle reaches, where FILE doesn't say."),
    click.option("--no-group", type=int, default=None, metavar="NUMBER", help="Of groups: the one that stands for none.  [default: -1]"),
    click.option("--shape", default=None, metavar="NAME", help="Only clusters of this class."),
    click.option("--fewest-locs", "min_locs", type=click.IntRange(1), default=None, help="Only particles of so many locs."),
    click.option("--most-locs", "max_locs", type=click.IntRange(0), default=None, help="Only particles of no more locs; 0 = any."),
    click.option("--least-gyration-nm", "min_gyration_nm", type=float, default=None, help="Only particles of such a radius of gyration."),
    click.option("--most-gyration-nm", "max_gyration_nm", type=float, default=None, help="Only particles of no larger one; 0 = any."),
    click.option("--wholes/--parts", "parents", default=None, help="Of nested clusters: those that have parts, or the parts."),
    click.option("--least-distance-nm", "min_distance_nm", type=float, default=None, help="Only those with no other as near as this."),
    click.option("--margin-nm", type=float, default=None, help="Also locs in no cluster or group up to here from the hull."),
    click.option("--centre", type=click.Choice(PICK_CENTRES), default=None, help="How centres are found; given = as FILE has them."),
    _stating("pick"),
)
order_options = _stack(
    click.option("--method", type=click.Choice(["pcvae", "none"]), default=None, help="How particles are put in order."),
    click.option("--model", default=None, metavar="auto|FOLDER", help="Model of pcvae to order by, instead of a new one; it is copied."),
    click.option("--channel", type=click.IntRange(-1, 255), default=None, help="Whose particles; -1 = the channel that has most."),
    click.option("--turns", type=click.Choice(["plane", "space", "none"]), default=None, help="How copies differ in orientation."),
    click.option("--value", default=None, metavar="NAME", help="What is known of particles: a column of the sheet, or an estimate."),
    click.option("--extras", default=None, metavar="NAME,…", help="What a point tells besides its place: photons,background,psf_nm."),
    click.option("--epochs", type=click.IntRange(0), default=None, help="Of training; 0 = as the recipe says."),
    click.option("--bins", type=click.IntRange(2), default=None, help="Of equal count, along each direction."),
    click.option(
        "--axes", default=None, metavar="principal|all|none|NAME,…", help="Along which directions bins are registered: unit1,pc1."
    ),
    click.option("--device", type=click.Choice(["cpu", "cuda"]), default=None, help="Where the network learns."),
    click.option("--seed", type=click.IntRange(0), default=None, help="Of training and of all draws."),
    _stating("order"),
)
cluster_options = _stack(
    click.option("--method", type=click.Choice(["miro", "dbscan", "none"]), default=None, help="Finds clusters."),
    click.option("--model", default=None, metavar="auto|FOLDER", help="Model of miro; a folder is copied into OUTPUT."),
    click.option("--cluster-radius-nm", type=float, default=None, help="Of miro: typical radius of gyration; 0 = not known."),
    click.option("--locs-per-cluster", type=float, default=None, help="Of miro, with the radius: typical number of locs; 0 = not known."),
    click.option("--eps-nm", type=float, default=None, help="Radius in which dbscan looks for neighbours."),
    click.option("--min-locs", type=int, default=None, help="Of dbscan: neighbours within eps, the loc itself included."),
    click.option("--calibration-locs-per-molecule", type=float, default=None, help="Locs one molecule gives on average; 0 = not known."),
    _stating("cluster"),
)
select_options = _stack(
    click.option(
        "--where", default="", metavar="CONDITION", help="Only fields for which this holds: \"condition == 'EGF' and batch != '2'\"."
    ),
    click.option("--field", "fields", multiple=True, metavar="NAME|KEY|GLOB", help="Only these fields; may be given several times."),
)
stage_options = _stack(
    click.option("--only", type=Names(), default=(), help="Only these stages (`report` is one): what they need must be there."),
    click.option("--skip", type=Names(), default=(), help="All stages but these; what needs them waits unless they are there."),
    click.option("--reports-only", is_flag=True, help="Compute nothing: tables and report of what is there."),
)


# ---- what they mean


def settings_of(options: dict[str, Any], output: Path | None = None) -> Any:
    """Settings: of --preset and over it --config, else those OUTPUT was made with, else the defaults; then the options that were given."""
    from smlmbatch.campaign import CONFIG
    from smlmbatch.config import check_pick_read, override
    from smlmbatch.settings import one_merging, resolve

    stored = output / CONFIG if output is not None else None
    given = options["preset"] or options["config_path"] is not None
    base = resolve(preset=options["preset"], file=options["config_path"]) if given else _stored_settings(stored, update=options["update"])
    ingest = {name: options[name] for name in ("pixel_size_nm", "unit", "frame_base")}
    ingest |= {"map": options["column_map"], "format": options["format_name"]}
    tile = {name: options[name] for name in ("roi_nm", "min_coverage", "min_locs", "outline")}
    prepare = {name: options[name] for name in ("max_precision_nm", "merge_nm", "merge_dark_frames")}
    compare = {name: options[name] for name in ("conditions", "reference", "paired")}
    embed = {"model": options["model"], "n_locs": options["embed_locs"], "device": options["device"]}
    embed |= {"sha256": ""} if options["model"] is not None else {}  # what is stored is another model's
    cluster = {"method": options["cluster_method"], "model": options["cluster_model"], "eps_nm": options["eps_nm"]}
    cluster |= {"sha256": ""} if options["cluster_model"] is not None else {}
    pick = {"source": options["pick"], "picks": str(options["picks"]) if options["picks"] else None}
    pick |= {"picks_sha256": ""} if options["picks"] else {}
    stages = {"ingest": ingest, "prepare": prepare, "tile": tile, "embed": embed, "cluster": cluster, "pick": pick}
    config = override(base, one_merging({**stages, "compare": compare}))
    check_pick_read(config.pick, ["picks"] if options["picks"] else [])
    return config


def _stored_settings(stored: Path | None, *, update: bool) -> Any:
    """What OUTPUT was made with; with --update a stored file that can't be read is written anew."""
    from smlmbatch.config import Config, load_config

    if stored is None or not stored.is_file():
        return Config()
    try:
        return load_config(stored)
    except ConfigError:
        if not update:
            raise
        return Config()


def run_options_of(
    options: dict[str, Any],
    place: Place,
    part: Cut | None,
    *,
    stages: tuple[str, ...] | None = None,
    alone: bool = False,
    submission: str = "",
) -> Any:
    from smlmbatch.hpc.limits import process_begun
    from smlmbatch.run import ALL_STAGES, RunOptions

    return RunOptions(
        stages=ALL_STAGES if stages is None else stages,
        part=part or (1, 1),
        workers=options["workers"],
        scheduler=options["scheduler"],
        memory_bytes=options["memory"] or _memory_of_one(options["workers"] * place.local_world),
        scratch=_scratch(options["scratch"]),
        place=place,
        submission=submission,
        begun=process_begun(),
        check_inputs=options["check_inputs"],
        retry_failed=options["retry_failed"],
        selection=selection_of(options),
        alone=alone,
        force=options["force"],
        stop_on_first_error=options["stop_on_first_error"],
    )


def selection_of(options: dict[str, Any]) -> Any:
    from smlmbatch.selection import Selection

    return Selection(where=options["where"], fields=options["fields"])


def stages_of(options: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """(field stages to run, stages of the campaign, whether tables and report follow) of --only, --skip and --reports-only.

    Raises
    ------
    ConfigError
        an unknown stage, no stage left, or --reports-only beside anything that chooses
    """
    from smlmbatch.ordering import CAMPAIGN_STAGES
    from smlmbatch.run import ALL_STAGES, REPORT
    from smlmbatch.selection import choose_stages

    if options["reports_only"]:
        beside = [name for name in ("where", "only", "skip", "force", "stop_on_first_error") if options[name]]
        if beside or options["fields"]:
            raise ConfigError(
                "--reports-only looks at all that is there and computes nothing: give it without options that choose what to compute"
            )
        return (), (), True
    stages = choose_stages(options["only"], options["skip"], (*ALL_STAGES, *CAMPAIGN_STAGES, REPORT))
    of_fields, of_campaign = (tuple(name for name in stages if name in known) for known in (ALL_STAGES, CAMPAIGN_STAGES))
    return of_fields, of_campaign, REPORT in stages


def _memory_of_one(processes: int) -> int:
    """2 GiB, or less where the job or the machine allows a process less."""
    from smlmbatch.engine import LEAST_MEMORY_BYTES
    from smlmbatch.hpc.limits import memory_limit_bytes

    return max(LEAST_MEMORY_BYTES, min(_MEMORY_BYTES, int(memory_limit_bytes() * _MEMORY_SHARE / processes)))


_MEMORY_BYTES, _MEMORY_SHARE = 2 << 30, 0.7  # the rest of a job's memory is for libraries and the file system's cache


def shares_of(output: Path, place: Place, part: Cut | None, tasks: Path | None) -> list[tuple[Path, Cut | None, str]]:
    """(campaign, part, submission) to work on: OUTPUT itself, or what a submission's file gives this array task.

    Raises
    ------
    ConfigError
        both given, a file that isn't one, or no array task
    """
    if tasks is None:
        return [(output, part, "")]
    if part is not None:
        raise ConfigError("--part and --tasks exclude each other: a file of tasks names the parts itself")
    from smlmbatch.hpc.tasks import read_shares, submission_of

    return [(output / share.campaign, (share.part, share.parts), submission_of(tasks)) for share in read_shares(tasks, place)]


def _scratch(folder: Path | None) -> Path | None:
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--scratch {folder} is no folder: make it, or name another")
    return folder.absolute() if folder is not None else None
