"""How far a campaign is: done, running, failed and to do per stage, and how long the rest will take.

Read off the store alone: published names, failure records, the heartbeats of attempts. No scheduler is asked, so it
works inside the container, on another machine, and after the job is gone. Durations come from `logs/`.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smlmbatch.campaign import Plan
from smlmbatch.engine import FieldOutcome
from smlmbatch.hpc.place import Place
from smlmbatch.hpc.records import UnitRecord, read_records
from smlmbatch.ordering import CAMPAIGN_STAGES, OrderState, is_ordering, order_state
from smlmbatch.run import ALL_STAGES
from smlmbatch.store.attempts import LIVELY_S, Owner, UnitKey, is_dead
from smlmbatch.store.units import Failure
from smlmbatch.upkeep import standing


@dataclass(frozen=True, slots=True)
class StageCount:
    """How far one stage is over all fields. `left_s`: seconds of work on one core that remain; None if unknown."""

    stage: str
    done: int
    running: int
    failed: int
    to_do: int
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is.

    Attributes
    ----------
    running : attempts with a young heartbeat; silent : those without, whose process may be dead
    failures : what stands recorded, one per failed field
    """

    fields: int
    stages: tuple[StageCount, ...]
    running: tuple[Owner, ...]
    silent: tuple[Owner, ...]
    failures: tuple[Failure, ...]

    @property
    def left_s(self) -> float | None:
        """Seconds of work on one core that remain over all stages; None if a stage's duration is not known yet."""
        parts = [count.left_s for count in self.stages]
        return sum(part for part in parts if part is not None) if None not in parts else None

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end if as many stay at work as are now; None if nobody is, or durations are not known."""
        return self.left_s / len(self.running) if self.running and self.left_s is not None else None

    @property
    def is_finished(self) -> bool:
        return all(count.to_do == count.running == 0 for count in self.stages)


def progress_of(plan: Plan, here: Place) -> Progress:
    """Where a campaign stands now."""
    outcomes = standing(plan, trust_cache=True)  # INPUT may be away, or on another node's disk
    running, silent = _at_work(plan, here)
    units_running = {owner.errand.key for owner in running}
    seconds = _mean_seconds(read_records(plan.output / "logs"))
    stages = tuple(_count(stage, outcomes, units_running, seconds.get(stage)) for stage in ALL_STAGES)
    failures = tuple(outcome.failure for outcome in outcomes if outcome.failure is not None)
    if is_ordering(plan.config):
        state = order_state(plan, outcomes)
        stages += tuple(_count_campaign(stage, state, units_running, seconds.get(stage)) for stage in CAMPAIGN_STAGES)
        failures += state.failures
    return Progress(len(outcomes), stages, running, silent, failures)


def _at_work(plan: Plan, here: Place) -> tuple[tuple[Owner, ...], tuple[Owner, ...]]:
    """Attempts whose process lives, as far as one can tell, and those that have been silent."""
    young = time.time() - LIVELY_S
    running: list[Owner] = []
    silent: list[Owner] = []
    for owner in plan.store.owners():
        lives = owner.beat > young and not is_dead(owner.folder, here)
        (running if lives else silent).append(owner)
    return tuple(running), tuple(silent)


def _count(stage: str, outcomes: Sequence[FieldOutcome], at_work: set[UnitKey | None], mean_s: float | None) -> StageCount:
    """A stage behind a failed one counts as failed; a failed one that is being tried again as running."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        if stage in outcome.fresh:
            counts["done"] += 1
        elif outcome.keys.get(stage) in at_work and outcome.keys:
            counts["running"] += 1
        else:
            counts["failed" if outcome.failure is not None else "to_do"] += 1
    return _stage_count(stage, counts, mean_s)


def _count_campaign(stage: str, state: OrderState, at_work: set[UnitKey | None], mean_s: float | None) -> StageCount:
    """The same of the campaign's own units; how many bins there are is known when particles are in order."""
    failed = {failure.fingerprint for failure in state.failures}
    counts: Counter[str] = Counter()
    for key in (key for key in state.keys if key.stage == stage):
        done = key.fingerprint in state.fresh
        counts["done" if done else "running" if key in at_work else "failed" if key.fingerprint in failed else "to_do"] += 1
    if stage == CAMPAIGN_STAGES[0] and state.waiting:
        counts["to_do"] += 1
    return _stage_count(stage, counts, mean_s)


def _stage_count(stage: str, counts: Counter[str], mean_s: float | None) -> StageCount:
    rest = counts["to_do"] + 0.5 * counts["running"]
    left_s = rest * mean_s if mean_s is not None else (0.0 if rest == 0 else None)
    return StageCount(stage, counts["done"], counts["running"], counts["failed"], counts["to_do"], left_s)


def _mean_seconds(records: Iterable[UnitRecord]) -> dict[str, float]:
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for record in records:
        spent[record.stage][0] += record.wall_s
        spent[record.stage][1] += 1
    return {stage: total / n for stage, (total, n) in spent.items()}


def add_up(several: Sequence[Progress]) -> Progress:
    """The progress of several campaigns together."""
    by_stage: dict[str, list[StageCount]] = {}
    for count in (count for progress in several for count in progress.stages):
        by_stage.setdefault(count.stage, []).append(count)
    return Progress(
        sum(progress.fields for progress in several),
        tuple(_add_counts(counts) for counts in by_stage.values()),
        tuple(owner for progress in several for owner in progress.running),
        tuple(owner for progress in several for owner in progress.silent),
        tuple(failure for progress in several for failure in progress.failures),
    )


def _add_counts(counts: Sequence[StageCount]) -> StageCount:
    left = [count.left_s for count in counts]
    known = None if None in left else sum(s for s in left if s is not None)
    done, running, failed, to_do = (sum(getattr(count, name) for count in counts) for name in ("done", "running", "failed", "to_do"))
    return StageCount(counts[0].stage, done, running, failed, to_do, known)


def span(seconds: float) -> str:
    """A duration for people: 45 s, 12 min, 3.5 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"
