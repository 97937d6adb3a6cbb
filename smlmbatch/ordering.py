"""The units of a whole campaign: its particles in order (`order`), and the bins of each direction registered (`register`).

They live in the store like a field's, under the name `campaign` in place of a field's key, and are made, published, recorded and resumed in
the same way. There are none where no particles are picked. `order` waits until every field is picked or has failed, for it learns from
all particles together; which bins there are is known when it is published. Bins are independent of each other: array tasks and Dask's
workers take them one by one.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from smlmbatch.campaign import Plan
from smlmbatch.config import Config, OrderConfig
from smlmbatch.engine import FieldOutcome, made_by, record_of
from smlmbatch.errors import ConfigError, Interrupted, was_asked_to_stop
from smlmbatch.hpc.limits import memory_limit_bytes, reset_peak
from smlmbatch.hpc.place import Place
from smlmbatch.hpc.pool import map_units
from smlmbatch.hpc.records import UnitRecord
from smlmbatch.methods.chosen import ORDER as MODEL
from smlmbatch.methods.chosen import choose
from smlmbatch.provenance import fingerprint
from smlmbatch.store.attempts import Attempt, Errand, UnitKey, scratch_prefix
from smlmbatch.store.units import Failure, Store, failure_of_error
from smlmbatch.work import Campaign, OrderUnits

CAMPAIGN: Final = "campaign"  # in place of a field's key, which always ends in eight hex digits
ORDER: Final = "order"
REGISTER: Final = "register"
CAMPAIGN_STAGES: Final = (ORDER, REGISTER)
RESULT_VERSIONS: Final = {ORDER: 2, REGISTER: 1}  # raised when a change of code changes results
_LEARNED: Final = ("method", "channel", "least_particles", "turns", "value", "extras", "epochs", "seed", "device", "bins")
_TRAINED: Final = ("extras", "epochs")  # of these, what nothing is made of by a model that is given
_REGISTERED: Final = ("turns", "most_registered", "seed")
_PRINCIPAL: Final = ("pc1", "pc2", "pc3")  # principal axes along which bins are registered where nothing is said
_LEAST_SHARE: Final = 0.01  # of all differences between particles; bins along a lesser axis are of nothing
VALUE: Final = "value"
_UNITS: Final = 8  # latent units of a model
_ALIVE_NATS: Final = 0.05  # a unit that says less has collapsed, and puts nothing in order


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of one direction: the direction's column in the unit `order`, its name, the bin's number, its unit."""

    direction: int
    name: str
    number: int
    key: UnitKey


@dataclass(frozen=True, slots=True)
class OrderState:
    """How far the campaign's own units are.

    Attributes
    ----------
    order : key of the unit `order`; None = there is none to be made, or not yet
    bins : known when `order` is published
    fresh : fingerprints of those published
    failures : of those that are not
    waiting : fields that are neither picked nor have failed
    """

    order: UnitKey | None = None
    bins: tuple[Bin, ...] = ()
    fresh: frozenset[str] = frozenset()
    failures: tuple[Failure, ...] = ()
    waiting: int = 0

    @property
    def keys(self) -> tuple[UnitKey, ...]:
        """All units that are known of."""
        return (*((self.order,) if self.order else ()), *(one.key for one in self.bins))

    @property
    def undone(self) -> tuple[UnitKey, ...]:
        """Units that are not published."""
        return tuple(key for key in self.keys if key.fingerprint not in self.fresh)


def is_ordering(config: Config) -> bool:
    """Whether there is anything to put in order with these settings."""
    return config.pick.source != "none" and config.order.method != "none"


def member_name(state: OrderState, key: UnitKey) -> str:
    """What a unit is called in lists: campaign/order, campaign/register pc1 7."""
    own = next((one for one in state.bins if one.key == key), None)
    return f"{CAMPAIGN}/{ORDER}" if own is None else f"{CAMPAIGN}/{REGISTER} {own.name} {own.number}"


def order_state(plan: Plan, outcomes: Sequence[FieldOutcome]) -> OrderState:
    """Where the campaign's own units stand, from names and the attributes of one unit.

    Parameters
    ----------
    outcomes : of all fields
    """
    if not is_ordering(plan.config):
        return OrderState()
    waiting = sum("pick" not in outcome.fresh and outcome.failure is None for outcome in outcomes)
    if waiting or not any("pick" in outcome.fresh for outcome in outcomes):
        return OrderState(waiting=waiting)
    order = _order_key(plan, outcomes)
    names = plan.store.names(CAMPAIGN)
    bins: tuple[Bin, ...] = ()
    if order.unit_name in names:
        bins = tuple(_bins_of(plan.store.unit_path(order), order, plan.config.order))
    keys = (order, *(one.key for one in bins))
    fresh = frozenset(key.fingerprint for key in keys if key.unit_name in names)
    failures = (plan.store.failure(key, names) for key in keys)
    return OrderState(order, bins, fresh, tuple(one for one in failures if one is not None))


def _order_key(plan: Plan, outcomes: Sequence[FieldOutcome]) -> UnitKey:
    return UnitKey(CAMPAIGN, ORDER, fingerprint(**_order_parts(plan, outcomes)))


def _order_parts(plan: Plan, outcomes: Sequence[FieldOutcome]) -> dict[str, Any]:
    config = plan.config.order
    model = choose(plan.config, MODEL)
    learned = [name for name in _LEARNED if not (model.name and name in _TRAINED)]
    known = [dict(outcome.field.labels).get(config.value.strip(), "") for outcome in outcomes] if config.value.strip() else []
    return {
        "stage": ORDER,
        "version": RESULT_VERSIONS[ORDER],
        "config": {"order": {name: getattr(config, name) for name in learned} | {"model_sha256": model.sha256}},
        "upstream": [[outcome.field.key, outcome.keys["pick"].fingerprint if "pick" in outcome.fresh else ""] for outcome in outcomes],
        "own": {"value": known},
    }


def _bin_parts(order: str, config: OrderConfig, name: str, number: int) -> dict[str, Any]:
    return {
        "stage": REGISTER,
        "version": RESULT_VERSIONS[REGISTER],
        "config": {"order": {key: getattr(config, key) for key in _REGISTERED}},
        "upstream": [order],
        "own": {"direction": name, "bin": number},
    }


def _bins_of(path: Path, order: UnitKey, config: OrderConfig) -> Iterator[Bin]:
    names, telling, bins = _directions_of(str(path), path.stat().st_mtime_ns)
    wanted = _wanted(config.axes, names, telling)
    for direction, name in sorted(enumerate(names), key=lambda item: item[1].startswith("unit")):  # what the report begins with first
        for number in range(bins) if name in wanted else ():
            yield Bin(
                direction, name, number, UnitKey(CAMPAIGN, REGISTER, fingerprint(**_bin_parts(order.fingerprint, config, name, number)))
            )


@lru_cache(maxsize=16)
def _directions_of(path: str, mtime_ns: int) -> tuple[tuple[str, ...], frozenset[str], int]:
    """(names of the directions, those among them that say something, bins)."""
    from smlmbatch.store.arrays import UnitReader

    with UnitReader(Path(path)) as unit:
        if unit.attrs["why_none"]:
            return (), frozenset(), 0
        names, shares = tuple(unit.attrs["directions"]), dict(zip(unit.attrs["directions"], unit.attrs["shares"], strict=True))
        units = {f"unit{number}" for number, nats in enumerate(unit.read("nats"), start=1) if nats > _ALIVE_NATS}
        axes = {name for name in _PRINCIPAL if shares.get(name, 0.0) >= _LEAST_SHARE}
        return names, frozenset({*units, *axes, VALUE}) & frozenset(names), unit.array("decoded_nm").shape[1]


def _wanted(axes: str, names: Sequence[str], telling: frozenset[str]) -> frozenset[str]:
    """Names of the directions along which bins are registered.

    Raises
    ------
    ConfigError
        `[order] axes` names one that isn't there
    """
    if axes.strip() in ("", "none"):
        return frozenset()
    if axes.strip() == "all":
        return telling
    if axes.strip() == "principal":
        return frozenset(name for name in telling if not name.startswith("unit"))
    chosen = frozenset(name.strip() for name in axes.split(",") if name.strip())
    if unknown := sorted(chosen - set(names)) if names else []:
        raise ConfigError(
            f'order.axes = {axes!r}: wanted "principal", "all", "none" or some of {", ".join(names)}; {", ".join(unknown)} is none of them'
        )
    return chosen


def most_bins(config: Config) -> int:
    """How many bins there are at most, before it is known."""
    named = len([name for name in config.order.axes.split(",") if name.strip()])
    principal = len(_PRINCIPAL) + bool(config.order.value.strip())
    directions = {"all": _UNITS + principal, "principal": principal, "none": 0}.get(config.order.axes.strip(), named)
    return directions * config.order.bins


def order_units(plan: Plan, state: OrderState) -> OrderUnits | None:
    """What analysis and report look at; None where nothing is in order yet."""
    if state.order is None or state.order.fingerprint not in state.fresh:
        return None
    bins = {(one.name, one.number): plan.store.unit_path(one.key) for one in state.bins if one.key.fingerprint in state.fresh}
    return OrderUnits(plan.store.unit_path(state.order), bins)


# ---- making them


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTask:
    """All a worker needs to make one of the campaign's own units; picklable.

    Attributes
    ----------
    key : which unit; bin : which bin it is of, None = it is `order`
    parts : what its fingerprint hashes
    campaign : for `order` with all fields, for a bin without
    order : the published unit `order`, for a bin
    store, memory_bytes, scratch, place, submission, force : see `engine.FieldTask`
    """

    key: UnitKey
    parts: dict[str, Any]
    campaign: Campaign
    bin: Bin | None
    order: Path
    store: Path
    memory_bytes: int
    scratch: Path | None = None
    place: Place = field(default_factory=Place)
    submission: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one unit."""

    record: UnitRecord | None
    failure: Failure | None = None
    trace: str = ""


def process_campaign_unit(task: CampaignTask) -> Made:
    """Make one unit; never raises for what is wrong with it."""
    store, attempt_name = Store(task.store), ""
    told, limit = task.memory_bytes >> 20, memory_limit_bytes() >> 20
    errand = Errand(key=task.key, submission=task.submission, place=task.place, memory_mib=told, limit_mib=limit)
    try:
        with store.attempt(errand) as attempt:
            attempt_name = attempt.name
            return Made(_make(task, store, attempt))
    except Interrupted:
        raise
    except Exception as error:
        if was_asked_to_stop(error):
            raise Interrupted(str(error)) from error
        failure = failure_of_error(task.key, error, path="", attempt=attempt_name)
        failure = _with_mend(failure, error, task.submission)
        if not store.is_fresh(task.key):
            failure = store.record_failure(failure)
        return Made(None, failure, "" if failure.kind == "input" else traceback.format_exc())


def _with_mend(failure: Failure, error: Exception, submission: str) -> Failure:
    if isinstance(error, ConfigError):  # a setting that the campaign's particles don't fit
        want, mend = "settings that the particles fit", "correct [order] (smlmbatch order OUTPUT --…), then run again"
        return replace(failure, kind="input", finding=str(error), want=want, mend=mend, submission=submission)
    return replace(failure, submission=submission)


def _make(task: CampaignTask, store: Store, attempt: Attempt) -> UnitRecord:
    from smlmbatch.store.arrays import UnitReader, unit_writer

    started, wall, cpu = time.time(), time.perf_counter(), time.process_time()
    reset_peak()
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(dir=task.scratch or attempt.folder, prefix=f"{scratch_prefix()}{attempt.name}-"))
        out = stack.enter_context(unit_writer(attempt.unit, task.key.stage))
        out.made_of, out.made_by = task.parts, made_by()
        if task.bin is None:
            from smlmbatch.order.learn import learn

            locs = learn(task.campaign, out, Path(scratch), train=_trainer(task))
        else:
            from smlmbatch.order.bins import register_bin

            order = stack.enter_context(UnitReader(task.order))
            locs = register_bin(order, out, direction=task.bin.direction, number=task.bin.number, config=task.campaign.config.order)
        rows = out.rows
    if task.force:
        again = store.publish_again(task.key, attempt)
        published = again in ("", "replaced")
    else:
        again, published = "", store.publish(task.key, attempt)
    spent = {"started": started, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    own = {"locs": locs, "rows": rows, "attempt": attempt.name, "published": published, "again": again, "submission": task.submission}
    return record_of(task.key, place=task.place, memory_bytes=task.memory_bytes, **spent, **own)


def _trainer(task: CampaignTask) -> Callable[..., None]:
    """Training by this process alone, whatever others the job has."""

    def train(method: Any, recipe: Any, folder: Path) -> None:
        from smlmbatch.train.session import train_model

        device = task.campaign.config.order.device
        train_model(method, recipe, folder, place=Place(), device=device, judge_seeds=0, talk=lambda said: None)

    return train


def make_order(plan: Plan, campaign: Campaign, state: OrderState, **how: Any) -> Iterator[tuple[CampaignTask, Made]]:
    """Make the unit `order`, if there is one to be made; see `make_bins`."""
    if state.order is None or not _is_to_do(state, state.order, how["options"]):
        return
    task = _task(plan, campaign, state, None, _order_parts(plan, how["outcomes"]), how["options"])
    yield from _map(plan, [task], how["options"], how["talk"], workers=1)


def bins_to_make(state: OrderState, options: Any) -> list[Bin]:
    """Those of a part that are neither published nor given up; of a part every n-th bin is taken."""
    first, n = options.part
    return [one for one in state.bins[first - 1 :: n] if _is_to_do(state, one.key, options)]


def make_bins(
    plan: Plan, campaign: Campaign, state: OrderState, *, options: Any, talk: Callable[[str], None]
) -> Iterator[tuple[CampaignTask, Made]]:
    """Make the bins of a part that are not published; yields each as it ends.

    Parameters
    ----------
    options : `run.RunOptions`
    """
    if state.order is None:
        return
    light = Campaign(output=campaign.output, config=campaign.config, fields=())
    tasks = [
        _task(plan, light, state, one, _bin_parts(state.order.fingerprint, plan.config.order, one.name, one.number), options)
        for one in bins_to_make(state, options)
    ]
    yield from _map(plan, tasks, options, talk, workers=options.workers)


def _is_to_do(state: OrderState, key: UnitKey, options: Any) -> bool:
    if key.fingerprint in state.fresh:
        return bool(options.force)
    known = next((one for one in state.failures if one.fingerprint == key.fingerprint), None)
    return known is None or not known.given_up(options.submission) or (known.kind == "input" and options.retry_failed)


def _task(plan: Plan, campaign: Campaign, state: OrderState, own: Bin | None, parts: dict[str, Any], options: Any) -> CampaignTask:
    assert state.order is not None
    return CampaignTask(
        key=state.order if own is None else own.key,
        parts=parts,
        campaign=campaign,
        bin=own,
        order=plan.store.unit_path(state.order),
        store=plan.store.root,
        memory_bytes=options.memory_bytes,
        scratch=options.scratch,
        place=options.place,
        submission=options.submission,
        force=options.force,
    )


def _map(
    plan: Plan, tasks: Sequence[CampaignTask], options: Any, talk: Callable[[str], None], *, workers: int
) -> Iterator[tuple[CampaignTask, Made]]:
    with ExitStack() as stack:
        scratch = options.scratch or plan.output
        if tasks and options.scheduler:
            scratch = stack.enter_context(plan.store.attempt(Errand(submission=options.submission, place=options.place))).folder
        needs = [path for path in (plan.store.root, options.scratch) if path is not None]
        scheduler = options.scheduler
        units = map_units(process_campaign_unit, tasks, workers=workers, scheduler=scheduler, scratch=scratch, needs=needs, talk=talk)
        for task, result in stack.enter_context(closing(units)):
            yield task, _died(plan, task, result, options) if isinstance(result, BaseException) else result


def _died(plan: Plan, task: CampaignTask, error: BaseException, options: Any) -> Made:
    """What became of a unit whose process did not come back."""
    found = plan.store.sweep(options.place, scratch=options.scratch, manner=str(getattr(error, "manner", f"ended: {error}")))
    own = next((death for death in found if death.fingerprint == task.key.fingerprint), None)
    own = own or plan.store.failure(task.key) or plan.store.record_failure(failure_of_error(task.key, error, path="", attempt=""))
    return Made(None, own, repr(error))
