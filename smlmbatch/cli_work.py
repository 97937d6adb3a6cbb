"""Verbs that do the work: run, plan, one per stage, report."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from smlmbatch.cli_options import (
    Cut,
    input_argument,
    json_option,
    output_argument,
    part_option,
    pass_place,
    plan_options,
    run_options_of,
    settings_of,
    shares_of,
    tasks_option,
    work_options,
)
from smlmbatch.cli_talk import print_json, say, talk
from smlmbatch.errors import EXIT_FAILED_FIELDS, EXIT_USAGE, ConfigError, Interrupted, SmlmbatchError
from smlmbatch.hpc.place import Place


@click.command()
@input_argument
@output_argument
@plan_options
@part_option
@work_options
@pass_place
def run(place: Place, /, input_path: Path, output: Path, part: Cut | None, **options: Any) -> None:
    """Do everything: INPUT (a folder, a sample sheet or one file) to OUTPUT.

    \b
    smlmbatch run data/ results/ --workers 4
    smlmbatch run data/ results/ --part 2/8      (after `smlmbatch plan data/ results/`)
    """
    from smlmbatch.campaign import check_settings, load_plan, same_input

    work = run_options_of(options, place, part)
    if part is None:
        plan = _plan(input_path, output, options)
        talk(_planned(plan))
        outcomes = _run_fields(plan, work)
        sys.exit(_finish(plan, outcomes))
    else:
        if options["sheet"] or options["update"]:
            raise ConfigError("--part works on what was planned: give --sheet and --update to `smlmbatch plan`")
        plan = load_plan(output)
        if not same_input(plan, input_path):
            raise ConfigError(f"{output} was planned for INPUT {plan.given}: give that, or plan again")
        check_settings(plan.output, settings_of(options, output), update=False)  # a part works on what was planned
        _run_fields(plan, work)


@click.command()
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
        print_json({"fields": [{"key": f.key, "path": f.path} for f in planned.fields], "ignored": planned.ignored})
        return
    for field in planned.fields:
        say(f"{field.key}  {field.condition}  {field.replicate}  {field.format or 'not readable'}  {field.path}")
    talk(_planned(planned))


def _stage_verb(name: str, what: str) -> click.Command:
    """One verb per field stage; they differ in the name only."""

    @click.command(name=name, help=f"{what}\n\n\b\nsmlmbatch {name} results/ --part 2/8", short_help=what)
    @output_argument
    @part_option
    @tasks_option
    @work_options
    @pass_place
    def verb(place: Place, /, output: Path, part: Cut | None, tasks: Path | None, **options: Any) -> None:
        from smlmbatch.campaign import load_plan

        def work(campaign: Path, cut: Cut | None, submission: str) -> int:
            _run_fields(load_plan(campaign), run_options_of(options, place, cut, stages=(name,), submission=submission))
            return 0

        sys.exit(_one_by_one(shares_of(output, place, part, tasks), work))

    return verb


ingest = _stage_verb("ingest", "Read the planned files into the store.")
tile = _stage_verb("tile", "Find cells and lay the grid of regions (ingesting first what is not yet).")
measure = _stage_verb("measure", "Measure the regions (doing first what is needed for it).")


@click.command()
@output_argument
@tasks_option
@pass_place
def report(place: Place, /, output: Path, tasks: Path | None) -> None:
    """Write tables, failed.csv and the report page of what is in OUTPUT now: the campaign's end.

    Exit code 3 if fields failed, or are not finished.

    \b
    smlmbatch report results/
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import standing

    def work(campaign: Path, cut: Cut | None, submission: str) -> int:
        loaded = load_plan(campaign)
        _prepare(loaded.output)
        for death in loaded.store.sweep(place):
            talk(f"left unfinished: {death.stage} of {death.field}: {death.finding}")
        return _finish(loaded, standing(loaded, trust_cache=True))  # INPUT may be away

    sys.exit(_one_by_one(shares_of(output, place, None, tasks), work))


# ---- what the verbs share


def _plan(input_path: Path, output: Path, options: dict[str, Any]) -> Any:
    from smlmbatch.campaign import plan_campaign

    return plan_campaign(input_path, output, sheet=options["sheet"], config=settings_of(options, output), update=options["update"])


def _planned(planned: Any) -> str:
    unreadable = sum(not field.format for field in planned.fields)
    return f"fields: {len(planned.fields)} ({unreadable} not readable); other files, ignored: {len(planned.ignored)}"


def _one_by_one(shares: Sequence[tuple[Path, Cut | None, str]], work: Callable[[Path, Cut | None, str], int]) -> int:
    """Work through the campaigns of one array task: one that can't be worked on is told, and the others go on."""
    if len(shares) == 1:
        return work(*shares[0])
    codes = []
    for share in shares:
        try:
            codes.append(work(*share))
        except Interrupted:
            raise
        except (SmlmbatchError, OSError) as error:
            talk(f"campaign {share[0]}: {error}")
            codes.append(EXIT_FAILED_FIELDS)
    return EXIT_FAILED_FIELDS if any(codes) else 0


def _prepare(output: Path) -> None:
    """Caches inside OUTPUT."""
    from smlmbatch.hpc.numerics import pin_caches

    pin_caches(output / ".cache")


def _run_fields(plan: Any, work: Any) -> Any:
    from smlmbatch.run import run_fields

    _prepare(plan.output)
    return run_fields(plan, work, talk)


def _finish(plan: Any, outcomes: Any) -> int:
    """Tables, report and the exit code of a campaign's end."""
    from smlmbatch.run import ALL_STAGES, finish

    finish(plan, outcomes, talk)
    say(str(plan.output / "report" / "index.html"))
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    unfinished = [o.field.path for o in outcomes if o.failure is None and not o.fresh.issuperset(ALL_STAGES)]
    for path in unfinished[:_MOST_NAMED]:
        talk(f"not finished: {path}")
    if unfinished:
        talk(f"{len(unfinished)} of {len(outcomes)} fields are not finished: run or submit again to go on")
    if failures:
        talk(f"{len(failures)} of {len(outcomes)} fields failed: {plan.output / 'failed.csv'} says why and how to mend it")
        unread = [failure for failure in failures if failure.stage == "ingest" and failure.kind == "input"]
        return EXIT_USAGE if len(unread) == len(outcomes) else EXIT_FAILED_FIELDS
    return EXIT_FAILED_FIELDS if unfinished else 0


_MOST_NAMED = 20
VERBS = (run, plan, ingest, tile, measure, report)
