"""Verbs that do the work: run, plan, one per stage, report."""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from smlmbatch.cli_options import (
    Cut,
    cluster_options,
    input_argument,
    json_option,
    output_argument,
    part_option,
    particle_options,
    pass_place,
    plan_options,
    run_options_of,
    select_options,
    selection_of,
    settings_of,
    shares_of,
    stage_options,
    stages_of,
    tasks_option,
    work_options,
)
from smlmbatch.cli_talk import print_json, say, talk, tell_conditions_taken, tell_model, tell_picks
from smlmbatch.errors import EXIT_FAILED_FIELDS, EXIT_USAGE, ConfigError, Interrupted, RankLost, SmlmbatchError
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
        _refuse_ranks(place, "tables and report of the campaign's end")
    work = run_options_of(options, place, part, stages=stages, alone=bool(options["only"] or options["skip"]))
    if part is not None:
        if options["reports_only"] or "report" in options["only"]:
            raise ConfigError("--part is a share of the fields; tables and report are of all: run without --part, or `smlmbatch report`")
        with _met(place, stages) as met, next(_rounds(met)) as seat:
            code = _part_code(_run_fields(_planned_for(input_path, output, options), work, seat), work)
        sys.exit(code)
    plan = _plan(input_path, output, options)
    talk(_planned(plan))
    outcomes = _run_fields(plan, work) if stages else standing(plan, trust_cache=True)
    _run_order(plan, outcomes, work, campaign_stages)
    sys.exit(_end(plan, outcomes, work, reports=reports))


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

    _refuse_ranks(place, "plans")
    planned = _plan(input_path, output, options)
    chosen = choose(planned.fields, selection_of(options))
    fields = [field for field in planned.fields if field.key in chosen]
    if as_json:
        print_json({"fields": [{"key": f.key, "path": f.path} for f in fields], "ignored": planned.ignored})
        return
    for field in fields:
        say(f"{field.key}  {field.condition}  {field.replicate}  {field.format or 'not readable'}  {field.path}")
    talk(_planned(planned))
    _tell_left_out(len(planned.fields) - len(fields), len(planned.fields))


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
    with _met(place, ALL_STAGES[: ALL_STAGES.index(name) + 1]) as seat:
        seats = _rounds(seat)

        def work(campaign: Path, cut: Cut | None, submission: str) -> int:
            plan = load_plan(campaign)
            work = run_options_of(options, place, cut, stages=stages_until(name, plan.config), submission=submission)
            with next(seats) as seat:
                return _part_code(_run_fields(plan, work, seat), work)

        return _one_by_one(shares, work)


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
        _restate(place, "cluster", output, part, tasks, stated, options)
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
        _restate(place, "pick", output, part, tasks, stated, options)
    sys.exit(_run_stage(place, "pick", output, part, tasks, options))


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
    from smlmbatch.run import RunOptions
    from smlmbatch.upkeep import standing

    _refuse_ranks(place, "tables and report")

    def work(campaign: Path, cut: Cut | None, submission: str) -> int:
        loaded = load_plan(campaign)
        _prepare(loaded.output)
        for death in loaded.store.sweep(place):
            talk(f"left unfinished: {death.stage} of {death.field}: {death.finding}")
        return _end(loaded, standing(loaded, trust_cache=True), RunOptions())  # INPUT may be away

    sys.exit(_one_by_one(shares_of(output, place, None, tasks), work))


# ---- what the verbs share


def _restate(
    place: Place, verb: str, output: Path, part: Cut | None, tasks: Path | None, stated: dict[str, dict[str, Any]], options: dict[str, Any]
) -> None:
    """Make what was said with a verb settings of the campaign, unless the verb can't go on from there."""
    from smlmbatch.campaign import freeze_plan, load_plan, settle_files, with_picks_checked
    from smlmbatch.config import check_pick_read, override
    from smlmbatch.methods.chosen import check_read
    from smlmbatch.selection import choose

    if part is not None or tasks is not None or place.world > 1:
        raise ConfigError(f"parts, tasks and ranks work on what was planned: say new settings by `smlmbatch {verb} OUTPUT …` alone")
    plan = load_plan(output)
    choose(plan.fields, selection_of(options))
    unsettled: dict[str, dict[str, Any]] = {"cluster": {}, "pick": {}}  # what is stored is another file's
    unsettled["cluster"] |= {"sha256": ""} if "model" in stated.get("cluster", {}) else {}
    unsettled["pick"] |= {"picks_sha256": ""} if "picks" in stated.get("pick", {}) else {}
    changed = override(override(plan.config, unsettled), stated)
    check_pick_read(changed.pick, stated.get("pick", {}))
    settled, picks_source = settle_files(changed, plan.output)
    check_read(settled.config, stated.get("cluster", {}))
    plan = with_picks_checked(replace(plan, config=settled.config, model_sources=settled.sources, picks_source=picks_source))
    freeze_plan(plan)
    tell_picks(plan)


def _plan(input_path: Path, output: Path, options: dict[str, Any]) -> Any:
    """Look through INPUT and freeze what it holds, unless what was asked for chooses none of it."""
    from smlmbatch.campaign import freeze_plan, plan_campaign
    from smlmbatch.selection import choose

    config = settings_of(options, output)
    plan = plan_campaign(input_path, output, sheet=options["sheet"], config=config, update=options["update"], freeze=False)
    choose(plan.fields, selection_of(options))
    freeze_plan(plan)
    tell_conditions_taken(plan)
    tell_model(plan.config)
    tell_picks(plan)
    return plan


def _planned_for(input_path: Path, output: Path, options: dict[str, Any]) -> Any:
    """The plan that a part works on: as it was frozen, for this INPUT and these settings."""
    from smlmbatch.campaign import check_settings, load_plan, same_input, settle_files

    if options["sheet"] or options["update"]:
        raise ConfigError("--part works on what was planned: give --sheet and --update to `smlmbatch plan`")
    plan = load_plan(output)
    if not same_input(plan, input_path):
        raise ConfigError(f"{output} was planned for INPUT {plan.given}: give that, or plan again")
    check_settings(plan.output, settle_files(settings_of(options, output), plan.output)[0].config, update=False)
    return plan


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
        except (Interrupted, RankLost):  # of this process or launch, not of the campaign
            raise
        except (SmlmbatchError, OSError) as error:
            talk(f"campaign {share[0]}: {error}")
            codes.append(EXIT_FAILED_FIELDS)
    return EXIT_FAILED_FIELDS if any(codes) else 0


def _prepare(output: Path) -> None:
    """Caches inside OUTPUT."""
    from smlmbatch.hpc.numerics import pin_caches

    pin_caches(output / ".cache")


def _run_fields(plan: Any, work: Any, seat: Any = None) -> Any:
    from smlmbatch.run import run_fields

    _prepare(plan.output)
    place = work.place
    if place.world == 1:
        return run_fields(plan, work, talk)
    if work.scheduler:
        raise ConfigError(f"--scheduler, and {place.world} ranks started by {place.launcher}: one of them deals out the fields, not both")
    from smlmbatch.together import run_together

    return run_together(plan, work, lambda text: talk(f"rank {place.rank}: {text}"), seat=seat)


def _run_order(plan: Any, outcomes: Any, work: Any, stages: Sequence[str]) -> None:
    """Put the campaign's particles in order, where there are some."""
    from smlmbatch.ordering import is_ordering
    from smlmbatch.run import run_order, whole_campaign

    if stages and is_ordering(plan.config):
        _prepare(plan.output)
        run_order(plan, whole_campaign(plan, outcomes, work), work, talk, stages=stages)


def _met(place: Place, stages: Sequence[str]) -> AbstractContextManager[Any]:
    """The seat of this rank among those that share units of these stages; None where there is nobody, or nothing to share."""
    from smlmbatch.sharing import shared_stages

    if place.world == 1 or not set(stages) & set(shared_stages()):
        return nullcontext()
    from smlmbatch.methods.letters import all_ranks

    return all_ranks(place)


def _rounds(seat: Any) -> Iterator[AbstractContextManager[Any]]:
    """A seat for each campaign of an array task."""
    from smlmbatch.methods.letters import one_round

    for number in itertools.count():
        yield nullcontext() if seat is None else one_round(seat, number)


def _refuse_ranks(place: Place, what: str) -> None:
    """What one process does for the whole campaign."""
    if place.world > 1:
        how = "Several ranks work on fields: smlmbatch plan, then `smlmbatch embed OUTPUT` by all of them, then smlmbatch report"
        raise ConfigError(f"{place.launcher} started {place.world} ranks, and {what} are made by one: start one. {how}")


def _part_code(outcomes: Any, work: Any) -> int:
    """Exit code of a share of the fields: 0 although some failed (that must not cancel a chain), unless it was asked to stop at that."""
    failed = work.stop_on_first_error and any(outcome.failure is not None for outcome in outcomes)
    return EXIT_FAILED_FIELDS if failed or _tell_unlike(outcomes) else 0


def _tell_unlike(outcomes: Any) -> bool:
    """Name the units that, made again, came out otherwise."""
    unlike = [unit for outcome in outcomes for unit in outcome.made if unit.again == "differs"]
    for unit in unlike[:_MOST_NAMED]:
        talk(f"not reproducible: {unit.stage} of {unit.field}")
    if unlike:
        mend = "run into a new OUTPUT; `smlmbatch verify NEW --against OLD` shows what that changes"
        talk(f"{len(unlike)} units came out otherwise and were dropped: {mend}")
    return bool(unlike)


def _tell_left_out(n: int, total: int) -> None:
    if n:
        talk(f"left out by the selection: {n} of {total} fields")


def _end(plan: Any, outcomes: Any, work: Any, *, reports: bool = True) -> int:
    """Tables and report of the whole campaign; the exit code of what was worked on."""
    from smlmbatch.run import finish, whole_campaign

    whole = whole_campaign(plan, outcomes, work)
    if reports:
        finish(plan, whole, talk, force=work.force)
        say(str(plan.output / "report" / "index.html"))
    code = _tell_end(plan, outcomes, work) or _tell_order(plan, whole)
    code = EXIT_FAILED_FIELDS if _tell_unlike(outcomes) and code == 0 else code
    _tell_left_out(len(plan.fields) - len(outcomes), len(plan.fields))
    return code


def _tell_end(plan: Any, outcomes: Any, work: Any) -> int:
    """Say which of the fields worked on are not finished, or failed; the exit code of that."""
    from smlmbatch.run import ALL_STAGES

    wanted = work.stages or ALL_STAGES
    undone = [o for o in outcomes if not o.fresh.issuperset(wanted) or (o.failure is not None and o.failure.stage in wanted)]
    failures = [outcome.failure for outcome in undone if outcome.failure is not None]
    unfinished = [outcome for outcome in undone if outcome.failure is None]
    for outcome in unfinished[:_MOST_NAMED]:
        talk(f"not finished: {outcome.field.path}")
    if unfinished:
        left_out = [stage for stage in ALL_STAGES if stage not in wanted and any(stage not in o.fresh for o in unfinished)]
        mend = f"they wait for {', '.join(left_out)}, which was left out" if left_out else "run or submit again to go on"
        talk(f"{len(unfinished)} of {len(outcomes)} fields are not finished: {mend}")
    if failures:
        talk(f"{len(failures)} of {len(outcomes)} fields failed: {plan.output / 'failed.csv'} says why and how to mend it")
        unread = [failure for failure in failures if failure.stage == "ingest" and failure.kind == "input"]
        return EXIT_USAGE if len(unread) == len(outcomes) else EXIT_FAILED_FIELDS
    return EXIT_FAILED_FIELDS if unfinished else 0


def _tell_order(plan: Any, outcomes: Any) -> int:
    """Say what of the campaign's own units failed, or is not there; the exit code of that."""
    from smlmbatch.ordering import member_name, order_state

    state = order_state(plan, outcomes)
    for failure in state.failures[:_MOST_NAMED]:
        talk(f"failed: {failure.stage} of the campaign: {failure.finding}. To mend it: {failure.mend}")
    failed = {failure.fingerprint for failure in state.failures}
    left = [member_name(state, key) for key in state.undone if key.fingerprint not in failed]
    if left:
        talk(f"not finished: {', '.join(left[:3])}{f' and {len(left) - 3} more' if left[3:] else ''}: run or submit again to go on")
    return EXIT_FAILED_FIELDS if failed or left else 0


_MOST_NAMED = 20
VERBS = (run, plan, ingest, tile, quality, measure, embed, cluster, pick, report)
