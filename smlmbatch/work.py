"""What a stage gets to do its work on one field. Stages know this type and the store, and not each other."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from smlmbatch.config import Config
from smlmbatch.hpc.place import Place
from smlmbatch.samples import Field
from smlmbatch.store.units import Failure

if TYPE_CHECKING:  # zarr takes a third of a second to import, and most who import this module need none of it
    from numpy.typing import NDArray

    from smlmbatch.store.arrays import UnitReader, UnitWriter


class Blocks(Protocol):
    """A unit cut into blocks that can be computed anywhere, in any order. The cut follows from the field and the settings alone, and a
    block's bits from nothing but the block: so it makes no difference who computes it, nor how many share the work."""

    count: int

    def compute(self, number: int) -> "Mapping[str, NDArray[Any]]":
        """The results of one block, small enough that those of all blocks fit into memory."""
        ...


class Team(Protocol):
    """Who computes a unit's blocks."""

    def gather(self, blocks: Blocks) -> "list[Mapping[str, NDArray[Any]]]":
        """The results of all blocks, in order."""
        ...


class OneProcess:
    """A team of this process alone."""

    def gather(self, blocks: Blocks) -> "list[Mapping[str, NDArray[Any]]]":
        return [blocks.compute(number) for number in range(blocks.count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a unit is computed from: all that a rank needs that computes some of its blocks.

    Attributes
    ----------
    field : what is known of the field
    config : all settings; a stage reads its own section only
    upstream : published units of the stages before this one, by stage name
    memory_bytes : how much memory the stage should stay within
    models : folder of the campaign's own models
    place : where this process stands
    """

    field: Field
    config: Config
    upstream: "Mapping[str, UnitReader]"
    memory_bytes: int
    models: Path = Path("models")
    place: Place = dataclasses.field(default_factory=Place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Sources):
    """One unit of work: (field, stage).

    Attributes
    ----------
    source : the localisation file, absolute
    outline : the cell outline file, absolute, or None
    out : writes this unit's arrays and attributes; sealed by the engine
    scratch : a folder of this attempt's own for spill files, removed afterwards
    picks : folder of the campaign's copies of files of centres
    team : who computes the blocks, where the stage has some
    """

    source: Path
    outline: Path | None
    out: "UnitWriter"
    scratch: Path
    picks: Path = Path("picks")
    team: Team = dataclasses.field(default_factory=OneProcess)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldResult:
    """How far one field has come: its published units by stage, and the failure that stopped it, if any."""

    field: Field
    units: Mapping[str, Path]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class OrderUnits:
    """The campaign's own units that are published.

    Attributes
    ----------
    order : the unit `order`
    bins : (direction's name, bin's number) → unit `register`
    """

    order: Path
    bins: Mapping[tuple[str, int], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """All that the stages at a campaign's end (analyse, report) look at.

    Attributes
    ----------
    output : the OUTPUT folder
    config : all settings
    fields : in the order of samples.csv
    ignored : (relative path, reason) of files that are plainly no localisation table
    order : its particles in order; None where they are not
    """

    output: Path
    config: Config
    fields: tuple[FieldResult, ...]
    ignored: tuple[tuple[str, str], ...] = ()
    order: OrderUnits | None = None
