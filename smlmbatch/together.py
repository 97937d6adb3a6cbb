"""Works through a part's fields with several ranks: fields are dealt out whole, and those too large for that are shared.

Every rank takes every W-th field of the part, as parts are cut, and runs it as a process alone would. What it leaves is told to rank 0,
which then makes these units one by one, the other ranks helping with their blocks. Stages that can't be shared need no meeting: ranks just
take their fields.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace

from smlmbatch.campaign import Plan
from smlmbatch.engine import FieldOutcome
from smlmbatch.errors import ResourceError
from smlmbatch.hpc.child import WorkerDied, map_in_children
from smlmbatch.methods.letters import END, Box, Seat
from smlmbatch.run import RunOptions, Talk, field_tasks, run_fields
from smlmbatch.sharing import Share, process_share, shared_stages, wait_until_seen


def run_together(plan: Plan, options: RunOptions, talk: Talk, *, seat: Seat | None) -> list[FieldOutcome]:
    """Bring the part's fields through the wanted stages; outcomes of the fields that this rank had to do with.

    Parameters
    ----------
    options : `place` says which of how many ranks this is
    seat : where the ranks met, None = nothing is shared

    Raises
    ------
    Interrupted
        a rank was asked to stop
    ResourceError
        a rank is lost
    """
    place = options.place
    options = options if options.submission else replace(options, submission=f"run-{secrets.token_hex(4)}")
    mine = frozenset(task.field.key for task in field_tasks(plan, options)[place.rank :: place.world])
    outcomes = run_fields(plan, replace(options, keys=mine, ranks=place.world if seat else 1), talk)
    if seat is None:
        return outcomes
    box, stopped = Box(seat), options.stop_on_first_error and any(outcome.failure is not None for outcome in outcomes)
    box.put(_left_by(seat.rank), json.dumps(None if stopped else _left(outcomes, options)).encode())
    if seat.rank:
        _serve(plan, options, box, talk)
        return outcomes
    told = [json.loads(box.read(box.wait(_left_by(rank), f"{END}/{rank}")) or "{}") for rank in range(seat.world)]
    left = {} if None in told else {key: names for of_rank in told for key, names in of_rank.items()}
    return _merge(outcomes, _make_shared(plan, options, left, talk, seat=seat))


def _left_by(rank: int) -> str:
    return f"left_by/{rank}"


def _left(outcomes: Sequence[FieldOutcome], options: RunOptions) -> dict[str, list[str]]:
    """Fields whose unit is to be shared → file names of what is there of them."""
    wanted = set(shared_stages()) & set(options.stages)
    left = {}
    for outcome in outcomes:
        done = {unit.stage for unit in outcome.made} if options.force else outcome.fresh
        if outcome.keys and outcome.failure is None and not wanted.issubset(done):
            left[outcome.field.key] = [outcome.keys[stage].unit_name for stage in sorted(outcome.fresh)]
    return left


def _make_shared(plan: Plan, options: RunOptions, left: dict[str, list[str]], talk: Talk, *, seat: Seat) -> list[FieldOutcome]:
    """Rank 0: make the units that were left, with the others' help."""
    if not left:
        return []
    talk(f"fields to share among {seat.world} ranks: {len(left)}")
    for key, names in left.items():
        for name in names:
            try:
                wait_until_seen(plan.store.field_folder(key) / name)
            except ResourceError as error:
                talk(f"warning: {error}; made here again")
                break
    stages = tuple(name for name in options.stages if name in shared_stages())
    return run_fields(plan, replace(options, keys=frozenset(left), stages=stages, workers=1, seat=seat), talk)


def _serve(plan: Plan, options: RunOptions, box: Box, talk: Talk) -> None:
    """The others: help with what rank 0 makes, in as many processes as each rank may have, until there is no more."""
    from smlmbatch.methods.team import fail, orders

    planned = {one.key: one for one in plan.fields}
    for order in orders(box):
        share = Share(
            order=order, seat=box.seat, planned=planned.get(order.field), config=plan.config, store=plan.store.root, place=options.place
        )
        made = 0
        for _, outcome in map_in_children(process_share, [share] * options.workers, workers=options.workers):
            if isinstance(outcome, WorkerDied):
                fail(box, order, outcome)
            elif isinstance(outcome, int):
                made += outcome
        talk(f"helped   {order.stage:<8} {order.field}  {made} of {order.count} blocks")


def _merge(outcomes: Sequence[FieldOutcome], later: Sequence[FieldOutcome]) -> list[FieldOutcome]:
    """The outcomes, those of a field worked on again replaced, others' fields added."""
    by_field = {outcome.field.key: outcome for outcome in (*outcomes, *later)}
    return list(by_field.values())
