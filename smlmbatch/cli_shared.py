"""What the verbs that do the work share: plans, ranks, the campaign's end, and how all of it is told."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from smlmbatch.cli_options import Cut, selection_of, settings_of
from smlmbatch.cli_talk import say, talk, tell_conditions_taken, tell_model, tell_picks
from smlmbatch.errors import EXIT_FAILED_FIELDS, EXIT_USAGE, ConfigError, Interrupted, RankLost, SmlmbatchError
from smlmbatch.hpc.place import Place

MOST_NAMED = 20
EVERY: dict[str, Any] = {"where": "", "fields": ()}  # what is made of all particles together knows no selection


def restate(
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
    choose(plan.fields, selection_of(EVERY | options))
    unsettled: dict[str, dict[str, Any]] = {"cluster": {}, "order": {}, "pick": {}}  # what is stored is another file's
    for section in ("cluster", "order"):
        unsettled[section] |= {"sha256": ""} if "model" in stated.get(section, {}) else {}
    unsettled["pick"] |= {"picks_sha256": ""} if "picks" in stated.get("pick", {}) else {}
    changed = override(override(plan.config, unsettled), stated)
    check_pick_read(changed.pick, stated.get("pick", {}))
    settled, picks_source = settle_files(changed, plan.output)
    check_read(settled.config, stated.get("cluster", {}))
    plan = with_picks_checked(replace(plan, config=settled.config, model_sources=settled.sources, picks_source=picks_source))
    freeze_plan(plan)
    tell_picks(plan)


def plan_it(input_path: Path, output: Path, options: dict[str, Any]) -> Any:
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


def planned_part(input_path: Path, output: Path, options: dict[str, Any]) -> Any:
    """The plan that a part works on: as it was frozen, for this INPUT and these settings."""
    from smlmbatch.campaign import check_settings, load_plan, same_input, settle_files

    if options["sheet"] or options["update"]:
        raise ConfigError("--part works on what was planned: give --sheet and --update to `smlmbatch plan`")
    plan = load_plan(output)
    if not same_input(plan, input_path):
        raise ConfigError(f"{output} was planned for INPUT {plan.given}: give that, or plan again")
    check_settings(plan.output, settle_files(settings_of(options, output), plan.output)[0].config, update=False)
    return plan


def planned_text(planned: Any) -> str:
    unreadable = sum(not field.format for field in planned.fields)
    return f"fields: {len(planned.fields)} ({unreadable} not readable); other files, ignored: {len(planned.ignored)}"


def one_by_one(shares: Sequence[tuple[Path, Cut | None, str]], work: Callable[[Path, Cut | None, str], int]) -> int:
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


def prepare(output: Path) -> None:
    """Caches inside OUTPUT."""
    from smlmbatch.hpc.numerics import pin_caches

    pin_caches(output / ".cache")


def work_fields(plan: Any, work: Any, seat: Any = None) -> Any:
    from smlmbatch.run import run_fields

    prepare(plan.output)
    place = work.place
    if place.world == 1:
        return run_fields(plan, work, talk)
    if work.scheduler:
        raise ConfigError(f"--scheduler, and {place.world} ranks started by {place.launcher}: one of them deals out the fields, not both")
    from smlmbatch.together import run_together

    return run_together(plan, work, lambda text: talk(f"rank {place.rank}: {text}"), seat=seat)


def work_order(plan: Any, outcomes: Any, work: Any, stages: Sequence[str]) -> int:
    """Put the campaign's particles in order, where there are some; the exit code of units that came out otherwise."""
    from smlmbatch.ordering import is_ordering
    from smlmbatch.run import run_order, whole_campaign

    if stages and is_ordering(plan.config):
        prepare(plan.output)
        _, unlike = run_order(plan, whole_campaign(plan, outcomes, work), work, talk, stages=stages)
        return EXIT_FAILED_FIELDS if unlike else 0
    return 0


def campaign_code(plan: Any, outcomes: Any, work: Any, *, stages: Sequence[str]) -> int:
    """Make units of the campaign; exit code of a share of the work: what failed is recorded, and must not cancel a chain."""
    from smlmbatch.ordering import is_ordering
    from smlmbatch.run import run_order

    if not is_ordering(plan.config):
        talk("nothing is to be put in order: no particles are picked (smlmbatch pick), or order.method is none")
        return 0
    prepare(plan.output)
    state, unlike = run_order(plan, outcomes, work, talk, stages=stages)
    if state.waiting:
        talk(f"waits: fields that are not picked yet: {state.waiting}")
    return EXIT_FAILED_FIELDS if unlike or (work.stop_on_first_error and state.failures) else 0


def met(place: Place, stages: Sequence[str]) -> AbstractContextManager[Any]:
    """The seat of this rank among those that share units of these stages; None where there is nobody, or nothing to share."""
    from smlmbatch.sharing import shared_stages

    if place.world == 1 or not set(stages) & set(shared_stages()):
        return nullcontext()
    from smlmbatch.methods.letters import all_ranks

    return all_ranks(place)


def rounds(seat: Any) -> Iterator[AbstractContextManager[Any]]:
    """A seat for each campaign of an array task."""
    from smlmbatch.methods.letters import one_round

    for number in itertools.count():
        yield nullcontext() if seat is None else one_round(seat, number)


def refuse_ranks(place: Place, what: str) -> None:
    """What one process does for the whole campaign."""
    if place.world > 1:
        how = "Several ranks work on fields: smlmbatch plan, then `smlmbatch embed OUTPUT` by all of them, then smlmbatch report"
        raise ConfigError(f"{place.launcher} started {place.world} ranks, and {what} are made by one: start one. {how}")


def part_code(outcomes: Any, work: Any) -> int:
    """Exit code of a share of the fields: 0 although some failed (that must not cancel a chain), unless it was asked to stop at that."""
    failed = work.stop_on_first_error and any(outcome.failure is not None for outcome in outcomes)
    return EXIT_FAILED_FIELDS if failed or tell_unlike(outcomes) else 0


def tell_unlike(outcomes: Any) -> bool:
    """Name the units that, made again, came out otherwise."""
    unlike = [unit for outcome in outcomes for unit in outcome.made if unit.again == "differs"]
    for unit in unlike[:MOST_NAMED]:
        talk(f"not reproducible: {unit.stage} of {unit.field}")
    if unlike:
        mend = "run into a new OUTPUT; `smlmbatch verify NEW --against OLD` shows what that changes"
        talk(f"{len(unlike)} units came out otherwise and were dropped: {mend}")
    return bool(unlike)


def tell_left_out(n: int, total: int) -> None:
    if n:
        talk(f"left out by the selection: {n} of {total} fields")


def end_campaign(plan: Any, outcomes: Any, work: Any, *, stages: Sequence[str], reports: bool = True) -> int:
    """Tables and report of the whole campaign; the exit code of what was worked on."""
    from smlmbatch.run import finish, whole_campaign

    whole = whole_campaign(plan, outcomes, work)
    if reports:
        finish(plan, whole, talk, force=work.force)
        say(str(plan.output / "report" / "index.html"))
    code = tell_end(plan, outcomes, work) or tell_order(plan, whole, stages)
    code = EXIT_FAILED_FIELDS if tell_unlike(outcomes) and code == 0 else code
    tell_left_out(len(plan.fields) - len(outcomes), len(plan.fields))
    return code


def tell_end(plan: Any, outcomes: Any, work: Any) -> int:
    """Say which of the fields worked on are not finished, or failed; the exit code of that."""
    from smlmbatch.run import ALL_STAGES

    wanted = work.stages or ALL_STAGES
    undone = [o for o in outcomes if not o.fresh.issuperset(wanted) or (o.failure is not None and o.failure.stage in wanted)]
    failures = [outcome.failure for outcome in undone if outcome.failure is not None]
    unfinished = [outcome for outcome in undone if outcome.failure is None]
    for outcome in unfinished[:MOST_NAMED]:
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


def tell_order(plan: Any, outcomes: Any, stages: Sequence[str]) -> int:
    """Say what of the campaign's own units of these stages failed, or is not there; the exit code of that."""
    from smlmbatch.ordering import member_name, order_state

    state = order_state(plan, outcomes)
    failures = [failure for failure in state.failures if failure.stage in stages]
    for failure in failures[:MOST_NAMED]:
        talk(f"failed: {failure.stage} of the campaign: {failure.finding}. To mend it: {failure.mend}")
    failed = {failure.fingerprint for failure in failures}
    left = [member_name(state, key) for key in state.undone if key.fingerprint not in failed and key.stage in stages]
    if left:
        talk(f"not finished: {', '.join(left[:3])}{f' and {len(left) - 3} more' if left[3:] else ''}: run or submit again to go on")
    return EXIT_FAILED_FIELDS if failed or left else 0
