"""Verbs beside the pipeline: validate, simulate, compare, export, crate, config, doctor."""

import sys
from pathlib import Path
from typing import Any

import click

from smlmbatch.analyse.fingerprint import ALL_NAMES
from smlmbatch.cli_options import folder_type, input_argument, json_option, output_argument, plan_options, settings_of
from smlmbatch.cli_talk import print_json, say, talk, tell_model
from smlmbatch.errors import EXIT_FAILED_FIELDS, ConfigError

# Of export.campaign, which takes long to import.
EXPORT_FORMATS = ("csv", "parquet", "thunderstorm", "picasso", "smap-csv", "smlm", "h5ad", "ome-zarr")


@click.command()
@input_argument
@plan_options
@json_option
def validate(input_path: Path, as_json: bool, **options: Any) -> None:
    """Look at INPUT file by file without writing anything: format, columns, extent, precision, warnings.

    \b
    smlmbatch validate data/
    """
    from smlmbatch.ingest.file_report import counts_of, summary_text
    from smlmbatch.ingest.scan import scan_input
    from smlmbatch.ingest.validate import validate_scan
    from smlmbatch.methods.chosen import settle

    config = settings_of(options)
    tell_model(settle(config).config)
    scan = scan_input(input_path.absolute(), sheet=options["sheet"], exclude=None, config=config)
    files = []
    for file in validate_scan(scan, config=config):
        files.append(file)
        if not as_json and file.kind != "ignored":
            say(file.to_text())
    if as_json:
        print_json({"summary": counts_of(files), "files": [file.to_dict() for file in files]})
    else:
        say(summary_text(files))
    if any(file.kind == "failed" for file in files):
        sys.exit(EXIT_FAILED_FIELDS)


@click.command()
@click.argument("folder", type=folder_type)
@click.option("--conditions", default="clusters", show_default=True, help="What differs: clusters, csr, fibres, wider, or null (nothing).")
@click.option("--replicates", type=int, default=6, show_default=True, help="Replicates per condition.")
@click.option("--fields", "fields_per_replicate", type=int, default=1, show_default=True, help="Fields per replicate.")
@click.option("--cell-um", type=float, default=12.0, show_default=True, help="Length of a cell; its width is 5/6 of it.")
@click.option("--density", "density_per_um2", type=float, default=400.0, show_default=True, help="Localisations per um2 in the cell.")
@click.option("--blinking", is_flag=True, help="Molecules are seen more than once.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--set", "set_name", default="", metavar="NAME", help="Instead: single ROIs that embeddings are measured on, e.g. clusters_900."
)
@click.option("--rois", "rois_per_condition", type=int, default=50, show_default=True, help="ROIs per condition of a set.")
@click.option("--particles", "kind", default="", metavar="KIND", help="Instead: copies of one structure, pores, pores3d or tetrahedra.")
@click.option("--count", type=int, default=60, show_default=True, help="Particles per field.")
@click.option("--pairs", "n_pairs", type=click.IntRange(1), default=None, help="Instead: so many pairs the contrastive method learns from.")
@click.option("--with-locs", is_flag=True, help="Pairs as localisations, too.")
@click.pass_context
def simulate(
    ctx: click.Context,
    /,
    folder: Path,
    cell_um: float,
    set_name: str,
    rois_per_condition: int,
    kind: str,
    count: int,
    n_pairs: int | None,
    with_locs: bool,
    **settings: Any,
) -> None:
    """Simulate a small campaign of known truth: two conditions, two vendors' formats, a sample sheet. Or, with --particles, copies of a
    structure to pick and to put in order; with --set, the ROIs of known architecture that a model's card is measured on, as fields to
    run; with --pairs, training pairs.

    \b
    smlmbatch simulate demo/                        then: smlmbatch run demo/input demo/output
    smlmbatch simulate pores/ --particles pores     then: smlmbatch run pores/input pores/output --pick group
    smlmbatch simulate known/ --set clusters_900    then: smlmbatch run known/input known/output
    smlmbatch simulate pairs/ --pairs 512
    """
    _refuse_others(ctx, "--set" if set_name else "--particles" if kind else "--pairs" if n_pairs else "")
    if kind:
        given = {name: settings[name] for name in ("replicates", "fields_per_replicate", "seed")}
        _simulate_particles(folder, kind=kind, count=count, **given)
        return
    if n_pairs:
        _simulate_pairs(folder, n_pairs, seed=settings["seed"], with_locs=with_locs)
        return
    if set_name:
        _simulate_set(folder, set_name, rois_per_condition=rois_per_condition, replicates=settings["replicates"], seed=settings["seed"])
        return
    from smlmbatch.simulate.campaign import simulate_campaign
    from smlmbatch.simulate.cell import SimulateConfig

    config = SimulateConfig(cell_length_um=cell_um, cell_width_um=cell_um * 5 / 6, **settings)
    made = simulate_campaign(folder, config)
    talk(f"{'simulated' if made else 'already there:'} {folder / 'input'}; the truth lies in {folder / 'truth'}")


@click.command()
@output_argument
@click.argument("others", metavar="OTHER...", nargs=-1, required=True, type=folder_type)
@click.option("--csv", "csv_file", type=folder_type, default=None, metavar="FILE", help="Write every pair of conditions, and of fields.")
@json_option
def compare(output: Path, others: tuple[Path, ...], csv_file: Path | None, as_json: bool) -> None:
    """Say which conditions of OTHER campaigns those of OUTPUT, and its fields, resemble most in the embedding.

    All must be embedded with the same model and settings. Nothing is written into OUTPUT or OTHER.

    \b
    smlmbatch compare results/ library_of_known_structures/ last_year/ --csv placed.csv
    """
    from smlmbatch.across.placing import place
    from smlmbatch.across.stored import read_campaigns
    from smlmbatch.across.wording import placements_json, placements_text, write_placements

    if csv_file is not None and any(csv_file.resolve().is_relative_to(folder.resolve()) for folder in (output, *others)):
        raise ConfigError(f"--csv {csv_file}: lies in a campaign's folder; name a file elsewhere")
    if csv_file is not None and csv_file.is_dir():
        raise ConfigError(f"--csv {csv_file}: is a folder; name a file")
    campaign, *known = read_campaigns((output, *others))
    placements = place(campaign, known)
    if csv_file is not None:
        write_placements(csv_file, placements)
    if as_json:
        print_json(placements_json(placements, campaign.making))
    else:
        say("\n".join(placements_text(placements, campaign.making)))


_BESIDE = {
    "--set": ("--set", "--rois", "--replicates", "--seed", "folder"),
    "--particles": ("--particles", "--count", "--replicates", "--fields", "--seed", "folder"),
    "--pairs": ("--pairs", "--with-locs", "--seed", "folder"),
    "": ("--conditions", "--replicates", "--fields", "--cell-um", "--density", "--blinking", "--seed", "folder"),
}


def _refuse_others(ctx: click.Context, chosen: str) -> None:
    """Options that say nothing beside the chosen one are refused, for whoever gave them meant something."""
    given = [p.opts[0] for p in ctx.command.params if ctx.get_parameter_source(p.name or "") is click.core.ParameterSource.COMMANDLINE]
    strange = [name for name in given if name not in _BESIDE[chosen]]
    if strange:
        raise ConfigError(f"{', '.join(strange)}: says nothing beside {chosen or 'a simulation of cells'}")


def _simulate_particles(folder: Path, **settings: Any) -> None:
    from smlmbatch.simulate.particle_campaign import ParticleCampaignConfig, simulate_particles

    made = simulate_particles(folder, ParticleCampaignConfig(**settings))
    talk(f"{'simulated' if made else 'already there:'} {folder / 'input'}; the truth lies in {folder / 'truth'}")


def _simulate_set(folder: Path, name: str, **settings: Any) -> None:
    from smlmbatch.simulate.evaluation import EvaluationConfig, simulate_set

    made = simulate_set(folder, EvaluationConfig(name=name, **settings))
    talk(f"{'simulated' if made else 'already there:'} {folder / 'input'}; the truth lies in {folder / 'truth'}")


def _simulate_pairs(folder: Path, n_pairs: int, *, seed: int, with_locs: bool) -> None:
    """Of the family that the default recipe learns from."""
    from smlmbatch.methods.contrastive.data import perlin_family
    from smlmbatch.methods.contrastive.recipe import ContrastiveConfig
    from smlmbatch.simulate.pair_files import write_pairs

    made = write_pairs(folder, perlin_family(ContrastiveConfig()), n_pairs=n_pairs, seed=seed, with_locs=with_locs)
    talk(f"{'simulated' if made else 'already there:'} {folder / 'pairs'}")


@click.command()
@output_argument
@click.argument("target", type=folder_type)
@click.option("--format", "format_name", type=click.Choice(EXPORT_FORMATS), default="csv", show_default=True)
@click.option("--what", type=click.Choice([*ALL_NAMES, "locs", "images"]), multiple=True, help="[default: all that the format is for]")
@click.option(
    "--where",
    default="",
    metavar="CONDITION",
    help='Only the particles for which this holds, and their locs: "unit1 > 0 and n_locs >= 50".',
)
@click.option("--pixel-nm", type=float, default=20.0, show_default=True, help="Pixel of density images (ome-zarr).")
@click.option("--labels", is_flag=True, help="With locs as csv or parquet: also the cluster, belonging and particle of each.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def export(
    output: Path, target: Path, format_name: str, what: tuple[str, ...], where: str, pixel_nm: float, labels: bool, overwrite: bool
) -> None:
    """Export tables and localisations: CSV or Parquet in nanometres, localisations as another program writes them, ROIs as
    AnnData (h5ad), or density images for napari (ome-zarr). With --where: some particles as localisation files (csv, parquet,
    picasso, smap-csv), each loc with its record in the source and its particle's number as group.

    \b
    smlmbatch export results/ for_r/ --what rois
    smlmbatch export results/ for_picasso/ --format picasso
    smlmbatch export results/ for_napari/ --format ome-zarr --pixel-nm 10
    smlmbatch export results/ labelled/ --what locs --labels
    smlmbatch export results/ wide/ --format picasso --where "pc1 > 1.5 and condition == 'EGF'"
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.export.campaign import export_campaign, unfit_fields
    from smlmbatch.run import collect
    from smlmbatch.upkeep import standing

    if where and labels:
        raise ConfigError("--labels says nothing beside --where, which writes the particle of each loc as its group")
    if where:
        _export_particles(output, target, format_name, what, where=where, overwrite=overwrite)
        return
    loaded = load_plan(output)
    campaign = collect(loaded, standing(loaded, trust_cache=True))
    if not what or {"locs", "images"} & set(what):
        for name, reason in unfit_fields(campaign, format_name, pixel_nm=pixel_nm).items() if format_name != "h5ad" else ():
            talk(f"warning: {name} is left out: it {reason}")
    for path in export_campaign(campaign, target, format=format_name, what=what, overwrite=overwrite, pixel_nm=pixel_nm, labels=labels):
        say(str(path))


def _export_particles(output: Path, target: Path, format_name: str, what: tuple[str, ...], *, where: str, overwrite: bool) -> None:
    """A field that the format can't hold is named and left out, as without a condition."""
    from smlmbatch.campaign import load_plan
    from smlmbatch.export.particles import PARTICLE_FORMATS, PARTICLES, choose_particles, export_particles, unfit_choices
    from smlmbatch.run import collect, tables_are_current
    from smlmbatch.upkeep import standing

    if strange := [name for name in what if name != PARTICLES]:
        raise ConfigError(f"--where chooses particles: say --what {PARTICLES}, not {', '.join(strange)}")
    if format_name not in PARTICLE_FORMATS:
        raise ConfigError(f"--where with --format {format_name}: wanted one that holds groups and records: {', '.join(PARTICLE_FORMATS)}")
    loaded = load_plan(output)
    outcomes = standing(loaded, trust_cache=True)
    campaign = collect(loaded, outcomes)
    if not tables_are_current(loaded, outcomes):
        talk("warning: tables are older than what is in the store now; `smlmbatch report` writes them anew")
    chosen = choose_particles(output, where)
    for name, reason in unfit_choices(campaign, chosen, format_name).items():
        talk(f"warning: {name} is left out: it {reason}")
    for path in export_particles(campaign, target, chosen, format=format_name, overwrite=overwrite):
        say(str(path))


@click.command()
@output_argument
@click.option("--licence", "--license", default="", metavar="URL", help="Licence of the results, where there is one.")
@click.option("--agent", default="", metavar="URL", help="Who ran it: an ORCID or another address.")
@click.option("--agent-name", default="", metavar="NAME", help="What the agent is called.")
def crate(output: Path, **said: str) -> None:
    """Write OUTPUT/ro-crate-metadata.json: inputs, settings, software and results of the run as an RO-Crate (Process Run Crate).

    \b
    smlmbatch crate results/ --licence https://spdx.org/licenses/CC-BY-4.0
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.crate import write_crate

    say(str(write_crate(load_plan(output), **said)))


@click.command()
@click.argument("output", required=False, type=folder_type)
@click.option("--presets", "list_presets", is_flag=True, help="List the presets instead.")
@plan_options
def config(output: Path | None, list_presets: bool, **options: Any) -> None:
    """Print all settings as TOML, with what each means: the defaults, those of OUTPUT, of a preset, or of given options.

    \b
    smlmbatch config --preset receptors > settings.toml     then: smlmbatch run data/ results/ --config settings.toml
    smlmbatch config results/
    smlmbatch config --presets
    """
    from smlmbatch.campaign import CONFIG
    from smlmbatch.settings import documented, preset_names, preset_title

    if output is not None and not (output / CONFIG).is_file():
        raise ConfigError(f"{output} holds no campaign (no {CONFIG})")
    if list_presets:
        for name in preset_names():
            say(f"{name:<16}{preset_title(name)}")
    else:
        say(documented(settings_of(options, output), preset=options["preset"]).rstrip("\n"))


def _devices() -> str:
    try:
        from smlmbatch.methods.devices import describe_devices
    except (ImportError, OSError) as error:  # a torch whose libraries don't load is what the doctor is asked about
        return f"BROKEN: {error}"
    return describe_devices()


@click.command()
@click.option(
    "--distributed", is_flag=True, help="Instead: let all ranks of this launch meet, and say what each sees and how fast they talk."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Of the ranks.")
@json_option
def doctor(distributed: bool, device: str, as_json: bool) -> None:
    """Say what this machine offers and whether results are pinned: versions, cores, memory, processor, GPUs.

    \b
    smlmbatch doctor
    srun --nodes=2 --ntasks=4 smlmbatch doctor --distributed
    """
    from smlmbatch.hpc.doctor import examine

    if distributed:
        _say_ranks(device, as_json=as_json)
        return
    found = examine() | {"device": _devices()}
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        say(f"{name:<22}{value if not isinstance(value, dict) else ', '.join(f'{k} {v}' for k, v in value.items())}")


def _say_ranks(device: str, *, as_json: bool) -> None:
    """Rank 0 speaks for all."""
    from smlmbatch.hpc.doctor import differences, table_text
    from smlmbatch.hpc.place import read_place
    from smlmbatch.methods.probe import probe

    place = read_place()
    found = probe(place, device=device)
    if place.rank:
        return
    warnings = differences(found["ranks"])
    if as_json:
        print_json(found | {"warnings": warnings})
        return
    say(table_text(found["ranks"]))
    if speeds := found["all_reduce"]:
        rates = ", ".join(f"{rate:,.0f} MiB/s at {size} MiB" for size, rate in speeds["mib_per_s"].items())
        say(f"all-reduce            {speeds['round_trip_ms']} ms there and back, {rates}")
    for warning in warnings:
        say(f"warning: {warning}")


VERBS = (validate, simulate, compare, export, crate, config, doctor)
