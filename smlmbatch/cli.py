"""The command line: verbs in the order of the pipeline. Parses, calls one function, prints; nothing else.

Heavy modules are imported inside the verbs, so that `--help` answers at once. stdout is for results
(`--json` for machines), stderr for talk.
"""

import errno
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

import smlmbatch
from smlmbatch.cli_options import (
    PipelineOrder,
    folder_type,
    input_argument,
    json_option,
    output_argument,
    part_option,
    plan_options,
    run_options_of,
    settings_of,
    work_options,
)
from smlmbatch.errors import EXIT_FAILED_FIELDS, EXIT_INTERNAL, EXIT_USAGE, ConfigError, Interrupted, SmlmbatchError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@click.group(cls=PipelineOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(smlmbatch.__version__, prog_name="smlmbatch")
def cli() -> None:
    """Batch analysis of single-molecule localisation microscopy, reproducible to the digest.

    \b
    smlmbatch run INPUT OUTPUT      files in; tables, pictures and a report out
    smlmbatch status OUTPUT         how far it is

    Running again does only what is missing. Exit codes: 0 all done, 1 internal error, 2 wrong usage or nothing
    readable, 3 done but some fields failed (see failed.csv), 75 interrupted in order.
    """


@cli.command()
@input_argument
@output_argument
@plan_options
@part_option
@work_options
def run(input_path: Path, output: Path, part: tuple[int, int] | None, **options: Any) -> None:
    """Do everything: INPUT (a folder, a sample sheet or one file) to OUTPUT.

    \b
    smlmbatch run data/ results/ --workers 4
    smlmbatch run data/ results/ --part 2/8      (after `smlmbatch plan data/ results/`)
    """
    from smlmbatch.campaign import check_settings, load_plan, same_input

    work = run_options_of(options, part)
    if part is None:
        plan = _plan(input_path, output, options)
        _talk(_planned(plan))
        outcomes = _run_fields(plan, work)
        _finish(plan, outcomes)
    else:
        if options["sheet"] or options["update"]:
            raise ConfigError("--part works on what was planned: give --sheet and --update to `smlmbatch plan`")
        plan = load_plan(output)
        if not same_input(plan, input_path):
            raise ConfigError(f"{output} was planned for INPUT {plan.given}: give that, or plan again")
        check_settings(plan.output, settings_of(options, output), update=False)  # a part works on what was planned
        _run_fields(plan, work)


@cli.command()
@input_argument
@output_argument
@plan_options
@json_option
def plan(input_path: Path, output: Path, as_json: bool, **options: Any) -> None:
    """Look through INPUT and freeze the campaign in OUTPUT (samples.csv, config.toml), computing nothing.

    \b
    smlmbatch plan data/ results/
    """
    planned = _plan(input_path, output, options)
    if as_json:
        _print_json({"fields": [{"key": f.key, "path": f.path} for f in planned.fields], "ignored": planned.ignored})
        return
    for field in planned.fields:
        _say(f"{field.key}  {field.condition}  {field.replicate}  {field.format or 'not readable'}  {field.path}")
    _talk(_planned(planned))


def _stage_verb(name: str, what: str) -> None:
    """One verb per field stage; they differ in the name only."""

    @cli.command(name=name, help=f"{what}\n\n\b\nsmlmbatch {name} results/ --part 2/8", short_help=what)
    @output_argument
    @part_option
    @work_options
    def verb(output: Path, part: tuple[int, int] | None, **options: Any) -> None:
        from smlmbatch.campaign import load_plan

        _run_fields(load_plan(output), run_options_of(options, part, stages=(name,)))


_stage_verb("ingest", "Read the planned files into the store.")
_stage_verb("tile", "Find cells and lay the grid of regions (ingesting first what is not yet).")
_stage_verb("measure", "Measure the regions (doing first what is needed for it).")


@cli.command()
@output_argument
def report(output: Path) -> None:
    """Write tables, failed.csv and the report page of what is in OUTPUT now.

    \b
    smlmbatch report results/
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import standing

    loaded = load_plan(output)
    _prepare(loaded.output)
    _finish(loaded, standing(loaded, trust_cache=True))  # INPUT may be away


@cli.command()
@output_argument
@json_option
def status(output: Path, as_json: bool) -> None:
    """Say how far a campaign is, from its store alone.

    \b
    smlmbatch status results/
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import stage_counts, standing

    loaded = load_plan(output)
    outcomes = standing(loaded)
    counts = stage_counts(loaded, outcomes)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    if as_json:
        rows = [{"stage": c.stage, "done": c.done, "failed": c.failed, "to_do": c.to_do} for c in counts]
        _print_json({"fields": len(outcomes), "stages": rows, "failed": [{"field": f.field, "finding": f.finding} for f in failures]})
        return
    _say(f"{'stage':<10}{'done':>8}{'failed':>8}{'to do':>8}")
    for count in counts:
        _say(f"{count.stage:<10}{count.done:>8}{count.failed:>8}{count.to_do:>8}")
    for failure in failures:
        _say(f"failed: {failure.path}: {failure.finding}. To mend it: {failure.mend}.")


@cli.command()
@output_argument
@click.option("--list", "as_list", is_flag=True, help="Print the digest of every unit and table as well.")
@json_option
def verify(output: Path, as_list: bool, as_json: bool) -> None:
    """Recompute the digests of all results and print the digest of the whole set.

    Equal digests mean equal results, whatever parts, workers or restarts made them. Exit code 3 if a unit is damaged.

    \b
    smlmbatch verify results/
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import verify_campaign

    verdict = verify_campaign(load_plan(output))
    if as_json:
        _print_json({"digest": verdict.digest, "members": verdict.members, "damaged": verdict.damaged})
    else:
        for name, digest in sorted(verdict.members.items()) if as_list else ():
            _say(f"{digest}  {name}")
        _say(f"{verdict.digest}  {len(verdict.members)} units and tables")
    for name, problem in verdict.damaged.items():
        _talk(f"damaged: {name}: {problem}")
    if verdict.damaged:
        sys.exit(EXIT_FAILED_FIELDS)


@cli.command()
@output_argument
@click.argument("field")
def inspect(output: Path, field: str) -> None:
    """Print attributes and arrays of one FIELD's units (its key, path or name) as JSON.

    \b
    smlmbatch inspect results/ control/cell1.csv
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import describe_units, find_field

    loaded = load_plan(output)
    _print_json(describe_units(loaded, find_field(loaded, field)))


@cli.command()
@output_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--damaged", is_flag=True, help="Also remove current units whose digest is wrong (reads everything).")
@click.option("--stale-after", "stale_after_h", type=float, default=24.0, show_default=True, help="Hours without a heartbeat.")
def clean(output: Path, dry_run: bool, damaged: bool, stale_after_h: float) -> None:
    """Remove what no result needs: abandoned attempts, units of earlier settings, inputs or versions.

    \b
    smlmbatch clean results/ --dry-run
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import find_rubbish, remove_rubbish

    loaded = load_plan(output)
    rubbish = find_rubbish(loaded, stale_after_s=stale_after_h * 3600, damaged=damaged)
    for item in rubbish:
        _say(f"{item.path.relative_to(loaded.output)}: {item.reason}")
    if not rubbish:
        _talk("nothing to remove")
    elif not dry_run:
        _talk(f"removed {len(rubbish)}, freed {remove_rubbish(loaded, rubbish) / 2**20:.1f} MiB")


@cli.command()
@input_argument
@plan_options
@json_option
def validate(input_path: Path, as_json: bool, **options: Any) -> None:
    """Look at INPUT file by file without writing anything: format, columns, extent, precision, warnings.

    \b
    smlmbatch validate data/
    """
    from smlmbatch.ingest.scan import scan_input
    from smlmbatch.ingest.validate import validate_scan

    config = settings_of(options)
    scan = scan_input(input_path.absolute(), sheet=options["sheet"], exclude=None, config=config)
    failed, entries = False, []
    for entry in validate_scan(scan, config=config):
        failed |= entry.failed
        if as_json:
            entries.append(entry.to_dict())
        else:
            _say(entry.to_text())
    if as_json:
        _print_json(entries)
    if failed:
        sys.exit(EXIT_FAILED_FIELDS)


@cli.command()
@click.argument("folder", type=folder_type)
@click.option("--conditions", default="clusters", show_default=True, help="What differs: clusters, csr, fibres, or null (nothing).")
@click.option("--replicates", type=int, default=6, show_default=True, help="Replicates per condition.")
@click.option("--fields", "fields_per_replicate", type=int, default=1, show_default=True, help="Fields per replicate.")
@click.option("--cell-um", type=float, default=12.0, show_default=True, help="Length of a cell; its width is 5/6 of it.")
@click.option("--density", "density_per_um2", type=float, default=400.0, show_default=True, help="Localisations per um2 in the cell.")
@click.option("--blinking", is_flag=True, help="Molecules are seen more than once.")
@click.option("--seed", type=int, default=0, show_default=True)
def simulate(folder: Path, cell_um: float, **settings: Any) -> None:
    """Simulate a small campaign of known truth: two conditions, two vendors' formats, a sample sheet.

    \b
    smlmbatch simulate demo/        then: smlmbatch run demo/input demo/output
    """
    from smlmbatch.simulate.campaign import simulate_campaign
    from smlmbatch.simulate.cell import SimulateConfig

    config = SimulateConfig(cell_length_um=cell_um, cell_width_um=cell_um * 5 / 6, **settings)
    made = simulate_campaign(folder, config)
    _talk(f"{'simulated' if made else 'already there:'} {folder / 'input'}; the truth lies in {folder / 'truth'}")


@cli.command()
@output_argument
@click.argument("target", type=folder_type)
@click.option("--format", "format_name", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@click.option("--what", type=click.Choice(["fields", "rois", "locs"]), multiple=True, default=("fields", "rois", "locs"), show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def export(output: Path, target: Path, format_name: str, what: tuple[str, ...], overwrite: bool) -> None:
    """Export tables and localisations for other programs, as CSV or Parquet in nanometres.

    \b
    smlmbatch export results/ for_r/ --what rois
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.export import export_campaign
    from smlmbatch.run import collect
    from smlmbatch.upkeep import standing

    loaded = load_plan(output)
    campaign = collect(loaded, standing(loaded, trust_cache=True))
    for result in campaign.fields:
        if "locs" in what and "ingest" not in result.units:
            _talk(f"warning: no localisations of {result.field.path} in the store; `smlmbatch status {output}` says why")
    for path in export_campaign(campaign, target, format=format_name, what=what, overwrite=overwrite):
        _say(str(path))


@cli.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine offers and whether results are pinned: versions, cores, memory, processor.

    \b
    smlmbatch doctor
    """
    from smlmbatch.hpc.doctor import examine

    found = examine()
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        _say(f"{name:<22}{value if not isinstance(value, dict) else ', '.join(f'{k} {v}' for k, v in value.items())}")


# ---- what the verbs share


def _plan(input_path: Path, output: Path, options: dict[str, Any]) -> Any:
    from smlmbatch.campaign import plan_campaign

    return plan_campaign(input_path, output, sheet=options["sheet"], config=settings_of(options, output), update=options["update"])


def _planned(planned: Any) -> str:
    unreadable = sum(not field.format for field in planned.fields)
    return f"fields: {len(planned.fields)} ({unreadable} not readable); other files, ignored: {len(planned.ignored)}"


def _prepare(output: Path) -> None:
    """Caches inside OUTPUT."""
    from smlmbatch.hpc.numerics import pin_caches

    pin_caches(output / ".cache")


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(f"stopped by {signal.Signals(number).name}; run the same command again to go on")


def _run_fields(plan: Any, work: Any) -> Any:
    from smlmbatch.run import run_fields

    _prepare(plan.output)
    return run_fields(plan, work, _talk)


def _finish(plan: Any, outcomes: Any) -> None:
    """Tables, report and the exit code of a campaign's end."""
    from smlmbatch.run import finish

    finish(plan, outcomes, _talk)
    _say(str(plan.output / "report" / "index.html"))
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    if failures:
        _talk(f"{len(failures)} of {len(outcomes)} fields failed: {plan.output / 'failed.csv'} says why and how to mend it")
        unread = [failure for failure in failures if failure.stage == "ingest" and failure.kind == "input"]
        sys.exit(EXIT_USAGE if len(unread) == len(outcomes) else EXIT_FAILED_FIELDS)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _say(text: str) -> None:
    click.echo(_printable(text))


def _talk(text: str) -> None:
    click.echo(_printable(text), err=True)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ENAMETOOLONG)


def entry() -> None:
    """Run the command line; every ending has its exit code (see `errors`)."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(EXIT_INTERNAL)
    except SmlmbatchError as error:
        _talk(f"smlmbatch: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_USAGE)
    except OSError as error:
        needs = "; OUTPUT (and --scratch) must be writable and have space" if error.errno in _NO_PLACE else ""
        _talk(f"smlmbatch: {error.strerror or error}: {error.filename}{needs}")
        sys.exit(EXIT_USAGE)
    except Exception:  # noqa: BLE001 - the top of the command line
        traceback.print_exc()
        _talk("smlmbatch: internal error; please report it with the lines above")
        sys.exit(EXIT_INTERNAL)
