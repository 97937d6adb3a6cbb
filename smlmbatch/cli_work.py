"""Verbs that do the work: run, plan, one per stage, report."""

import sys
from pathlib import Path
from typing import Any

import click

from smlmbatch.cli_options import (
    Cut,
    cluster_options,
    input_argument,
    json_option,
    order_options,
    output_argument,
    part_option,
    particle_options,
    pass_place,
    plan_options,
    run_options_of,
    select_options,
    selection_of,
    shares_of,
    stage_options,
    stages_of,
    tasks_option,
    work_options,
)
from smlmbatch.cli_shared import (
    EVERY,
    campaign_code,
    end_campaign,
    met,
    one_by_one,
    part_code,
    plan_it,
    planned_part,
    planned_text,
    prepare,
    refuse_ranks,
    restate,
    rounds,
    tell_left_out,
    work_fields,
    work_order,
)
from smlmbatch.cli_talk import print_json, say, talk
from smlmbatch.errors import ConfigError
from smlmbatch.hpc.place import Place


@click.command()
@input_argument
@output_argument
@plan_options
@part_option
@select_options
@stage_options
@work_options
@pass_place
def run(place: Place, /, input_path: Path, output: Path, part: Cut | None, **options: Any) -> None:
    """Do everything: INPUT (a folder, a sample sheet or one file) to OUTPUT.

    \b
    smlmbatch run data/ results/ --workers 4
    smlmbatch run data/ results/ --part 2/8      (after `smlmbatch plan data/ results/`)
    smlmbatch run data/ results/ --where "condition == 'EGF' and batch in ('1', '2')"
    smlmbatch run data/ results/ --field 'egf/*' --skip quality

    Chosen fields are worked on; tables and report then show all that is there. A stage that needs one which is
    skipped and not there waits, and the run says so. --force never replaces a whole unit: one that comes out
    otherwise is named as not reproducible, exit code 3.
    """
    from smlmbatch.upkeep import standing

    stages, campaign_stages, reports = stages_of(options)
    if part is None:
        refuse_ranks(place, "tables and report of the campaign's end")
    work = run_options_of(options, place, part, stages=stages, alone=bool(options["only"] or options["skip"]))
    if part is not None:
        if options["reports_only"] or "report" in options["only"]:
            raise ConfigError("--part is a share of the fields; tables and report are of all: run without --part, or `smlmbatch report`")
        with met(place, stages) as seated, next(rounds(seated)) as seat:
            code = part_code(work_fields(planned_part(input_path, output, options), work, seat), work)
        sys.exit(code)
    plan = plan_it(input_path, output, options)
    talk(planned_text(plan))
    outcomes = work_fields(plan, work) if stages else standing(plan, trust_cache=True)
    unlike = work_order(plan, outcomes, work, campaign_stages)
    sys.exit(end_campaign(plan, outcomes, work, stages=campaign_stages, reports=reports) or unlike)


@click.command()
@input_argument
@output_argument
@plan_options
@select_options
@json_option
@pass_place
def plan(place: Place, /, input_path: Path, output: Path, as_json: bool, **options: Any) -> None:
    """Look through INPUT and freeze the campaign in OUTPUT (samples.csv, config.toml), computing nothing.

    \b
    smlmbatch plan data/ results/
    smlmbatch plan data/ results/ --where "condition == 'EGF'"      (shows what a run would choose; all are planned)
    """
    from smlmbatch.selection import choose

    refuse_ranks(place, "plans")
    planned = plan_it(input_path, output, options)
    chosen = choose(planned.fields, selection_of(options))
    fields = [field for field in planned.fields if field.key in chosen]
    if as_json:
        print_json({"fields": [{"key": f.key, "path": f.path} for f in fields], "ignored": planned.ignored})
        return
    for field in fields:
        say(f"{field.key}  {field.condition}  {field.replicate}  {field.format or 'not readable'}  {field.path}")
    talk(planned_text(planned))
    tell_left_out(len(planned.fields) - len(fields), len(planned.fields))


def _stage_verb(name: str, what: str) -> click.Command:
    """One verb per field stage; they differ in the name only.

    Each makes the stages before its own too, also those it doesn't rest on: of a chain of array jobs, a later one makes up for what
    an earlier one left undone.
    """

    @click.command(name=name, help=f"{what}\n\n\b\nsmlmbatch {name} results/ --part 2/8", short_help=what)
    @output_argument
    @part_option
    @tasks_option
    @select_options
    @work_options
    @pass_place
    def verb(place: Place, /, output: Path, part: Cut | None, tasks: Path | None, **options: Any) -> None:
        sys.exit(_run_stage(place, name, output, part, tasks, options))

    return verb


def _run_stage(place: Place, name: str, output: Path, part: Cut | None, tasks: Path | None, options: dict[str, Any]) -> int:
    """Work on a stage and all before it, for one share of the fields or what a submission gives; the exit code."""
    from smlmbatch.campaign import load_plan
    from smlmbatch.run import ALL_STAGES
    from smlmbatch.stages import stages_until

    shares = shares_of(output, place, part, tasks)
    with met(place, ALL_STAGES[: ALL_STAGES.index(name) + 1]) as seat:
        seats = rounds(seat)

        def work(campaign: Path, cut: Cut | None, submission: str) -> int:
            plan = load_plan(campaign)
            work = run_options_of(options, place, cut, stages=stages_until(name, plan.config), submission=submission)
            with next(seats) as seat:
                return part_code(work_fields(plan, work, seat), work)

        return one_by_one(shares, work)


ingest = _stage_verb("ingest", "Read the planned files into the store.")
tile = _stage_verb("tile", "Find cells and lay the grid of regions (ingesting first what is not yet).")
quality = _stage_verb("quality", "Measure what the data are worth (doing first what comes before it).")
measure = _stage_verb("measure", "Measure the regions (doing first what comes before it).")
embed = _stage_verb("embed", "Embed the regions by a trained model (doing first what comes before it).")


@click.command()
@output_argument
@part_option
@tasks_option
@cluster_options
@select_options
@work_options
@pass_place
def cluster(place: Place, /, output: Path, part: Cut | None, tasks: Path | None, stated: dict[str, Any], **options: Any) -> None:
    """Find the clusters of whole fields (doing first what comes before it).

    \b
    smlmbatch cluster results/ --part 2/8
    smlmbatch cluster results/ --method dbscan --eps-nm 30 --min-locs 8
    smlmbatch report results/

    Options that say how become settings of the campaign ([cluster] in config.toml); only clusters, and particles picked from them,
    are computed again for them. (`run` calls --method and --model --cluster-method and --cluster-model.)
    """
    if stated:
        restate(place, "cluster", output, part, tasks, stated, options)
    sys.exit(_run_stage(place, "cluster", output, part, tasks, options))


@click.command()
@output_argument
@part_option
@tasks_option
@particle_options
@select_options
@work_options
@pass_place
def pick(place: Place, /, output: Path, part: Cut | None, tasks: Path | None, stated: dict[str, Any], **options: Any) -> None:
    """Pick copies of a structure, with their centres and locs (doing first what comes before it).

    \b
    smlmbatch pick results/ --from cluster --shape ring --fewest-locs 30
    smlmbatch pick results/ --from group                                   (Picasso's picked localisations, MATLAB's particles)
    smlmbatch pick results/ --from file --picks centres.csv --radius-nm 90
    smlmbatch pick results/ --part 2/8

    Options that say what to pick become settings of the campaign ([pick] in config.toml); no other stage is computed again for them.
    """
    if stated:
        restate(place, "pick", output, part, tasks, stated, options)
    sys.exit(_run_stage(place, "pick", output, part, tasks, options))


@click.command()
@output_argument
@tasks_option
@order_options
@work_options
@pass_place
def order(place: Place, /, output: Path, tasks: Path | None, stated: dict[str, Any], **options: Any) -> None:
    """Put the campaign's particles in order of what they differ in (doing first what comes before it).

    \b
    smlmbatch order results/
    smlmbatch order results/ --turns space --value radius
    smlmbatch register results/ --workers 4
    smlmbatch report results/

    A network (PC-VAE) learns from all particles together, by one process; `register` then makes the super-particles. Options that say how
    become settings of the campaign ([order] in config.toml).
    """
    if stated:
        restate(place, "order", output, None, tasks, stated, options)
    refuse_ranks(place, "the order of particles")

    def work(campaign: Path, cut: Cut | None, submission: str) -> int:
        from smlmbatch.campaign import load_plan
        from smlmbatch.ordering import ORDER
        from smlmbatch.stages import stages_until

        plan = load_plan(campaign)
        work = run_options_of(options | EVERY, place, None, stages=stages_until("pick", plan.config), submission=submission)
        outcomes = work_fields(plan, work)
        return campaign_code(plan, outcomes, work, stages=(ORDER,))

    sys.exit(one_by_one(shares_of(output, place, None, tasks), work))


@click.command()
@output_argument
@part_option
@tasks_option
@work_options
@pass_place
def register(place: Place, /, output: Path, part: Cut | None, tasks: Path | None, **options: Any) -> None:
    """Register the particles of each bin to each other: super-particles (doing first what comes before it, the order too).

    \b
    smlmbatch register results/ --workers 4
    smlmbatch register results/ --part 2/8
    """
    refuse_ranks(place, "super-particles")

    def work(campaign: Path, cut: Cut | None, submission: str) -> int:
        from smlmbatch.campaign import load_plan
        from smlmbatch.ordering import CAMPAIGN_STAGES, is_ordering
        from smlmbatch.stages import stages_until
        from smlmbatch.upkeep import standing

        plan = load_plan(campaign)
        work = run_options_of(options | EVERY, place, cut, stages=stages_until("pick", plan.config), submission=submission)
        outcomes = work_fields(plan, work)
        if not is_ordering(plan.config):
            return part_code(outcomes, work)
        return campaign_code(plan, standing(plan, trust_cache=True), work, stages=CAMPAIGN_STAGES)

    sys.exit(one_by_one(shares_of(output, place, part, tasks), work))


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
    from smlmbatch.ordering import CAMPAIGN_STAGES
    from smlmbatch.run import RunOptions
    from smlmbatch.upkeep import standing

    refuse_ranks(place, "tables and report")

    def work(campaign: Path, cut: Cut | None, submission: str) -> int:
        loaded = load_plan(campaign)
        prepare(loaded.output)
        for death in loaded.store.sweep(place):
            talk(f"left unfinished: {death.stage} of {death.field}: {death.finding}")
        return end_campaign(loaded, standing(loaded, trust_cache=True), RunOptions(), stages=CAMPAIGN_STAGES)  # INPUT may be away

    sys.exit(one_by_one(shares_of(output, place, None, tasks), work))


VERBS = (run, plan, ingest, tile, quality, measure, embed, cluster, pick, order, register, report)
