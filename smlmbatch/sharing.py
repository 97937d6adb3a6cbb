"""Units that several ranks make together: which are large enough, what rank 0 asks of the others, and how they do their share.

A stage whose module has `blocks` can be shared. Decision: a field is shared if it has `LEAST_BLOCKS` blocks for each rank, smaller ones are
dealt out whole; that changes no result. Rank 0 makes the unit, alone decides whether it is fresh, and publishes it.
"""

import dataclasses
import importlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smlmbatch.config import Config
from smlmbatch.errors import ResourceError
from smlmbatch.hpc.place import Place
from smlmbatch.methods.chosen import MODELS
from smlmbatch.methods.letters import Seat
from smlmbatch.provenance import fingerprint
from smlmbatch.samples import Field
from smlmbatch.stages import FIELD_STAGES, Stage
from smlmbatch.store.attempts import UnitKey
from smlmbatch.store.units import Store
from smlmbatch.work import Blocks, Sources

if TYPE_CHECKING:  # numpy, which most starts don't need
    from smlmbatch.methods.team import Leader, Order

LEAST_BLOCKS: Final = 2
SEEN_S: Final = 90.0  # until a file that another node has published is seen here: NFS keeps what it knows of a folder for up to a minute


def shared_stages() -> tuple[str, ...]:
    """Names of the stages whose units ranks can share."""
    return tuple(stage.name for stage in FIELD_STAGES if stage.shared)


def is_big(stage: Stage, sources: Sources, *, ranks: int) -> bool:
    """Whether a unit has work for so many ranks."""
    cut = _blocks(stage.name, sources)
    return cut is not None and cut.count >= LEAST_BLOCKS * ranks


def _blocks(stage: str, sources: Sources) -> Blocks | None:
    module = next(known.module for known in FIELD_STAGES if known.name == stage)
    cut: Blocks | None = importlib.import_module(module).blocks(sources)
    return cut


@contextmanager
def open_sources(
    planned: Field, config: Config, upstream: Mapping[str, Path], *, store: Path, memory_bytes: int, place: Place
) -> Iterator[Sources]:
    """What a unit of the field is computed from, open."""
    from smlmbatch.store.arrays import UnitReader

    with ExitStack() as stack:
        readers = {name: stack.enter_context(UnitReader(path)) for name, path in upstream.items()}
        yield Sources(field=planned, config=config, upstream=readers, memory_bytes=memory_bytes, models=store.parent / MODELS, place=place)


def leader_of(stage: Stage, planned: Field, config: Config, keys: Mapping[str, UnitKey], *, seat: Seat, memory_bytes: int) -> "Leader":
    """The team of a unit on rank 0."""
    from smlmbatch.methods.team import Leader, Order

    return Leader(
        seat,
        Order(
            field=planned.key,
            stage=stage.name,
            upstream={name: keys[name].unit_name for name in stage.rests_on(config)},
            settings=_settings(planned, config),
            memory_bytes=memory_bytes,
        ),
    )


def _settings(planned: Field, config: Config) -> str:
    return fingerprint(field=dataclasses.asdict(planned), config=dataclasses.asdict(config))


# ---- the other ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """All that a helper's process needs to take its share of an order; small and picklable.

    Attributes
    ----------
    planned : the field, None if it is not in this rank's plan
    """

    order: "Order"
    seat: Seat
    planned: Field | None
    config: Config
    store: Path
    place: Place = field(default_factory=Place)


def process_share(share: Share) -> int:
    """Compute blocks of a unit until none is left; how many. Rank 0 hears what goes wrong."""
    from smlmbatch.methods.team import help_with

    return help_with(share.seat, share.order, lambda: _opened(share))


@contextmanager
def _opened(share: Share) -> Iterator[Blocks]:
    order, planned = share.order, share.planned
    if planned is None or _settings(planned, share.config) != order.settings:
        raise ResourceError(f"{share.seat.who}: the campaign was planned anew while the ranks started; run again")
    folder = Store(share.store).field_folder(order.field)
    upstream = {name: wait_until_seen(folder / file) for name, file in order.upstream.items()}
    with open_sources(planned, share.config, upstream, store=share.store, memory_bytes=order.memory_bytes, place=share.place) as sources:
        cut = _blocks(order.stage, sources)
        assert cut is not None, "rank 0 orders blocks only where there are some"
        yield cut


def wait_until_seen(path: Path, *, seen_s: float = SEEN_S) -> Path:
    """The path of a file that another node has published, when it is seen here.

    Raises
    ------
    ResourceError
        it doesn't appear
    """
    deadline = time.monotonic() + seen_s
    while not path.exists():
        if time.monotonic() > deadline:
            raise ResourceError(f"{os.uname().nodename} doesn't see {path.name} of {path.parent.name}, which another node has written")
        with suppress(FileNotFoundError):
            os.listdir(path.parent)  # opening a folder makes NFS ask the server for news of it
        time.sleep(min(1.0, seen_s / 10))
    return path
