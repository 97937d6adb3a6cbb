"""What a stage gets to do its work on one field. Stages know this type and the store, and not each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smlmbatch.config import Config
from smlmbatch.samples import Field
from smlmbatch.store.units import Failure

if TYPE_CHECKING:  # zarr takes a third of a second to import, and most who import this module need none of it
    from smlmbatch.store.arrays import UnitReader, UnitWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One unit of work: (field, stage).

    Attributes
    ----------
    field : what is known of the field
    source : the localisation file, absolute
    outline : the cell outline file, absolute, or None
    config : all settings; a stage reads its own section only
    upstream : published units of the stages before this one, by stage name
    out : writes this unit's arrays and attributes; sealed by the engine
    scratch : a folder of this attempt's own for spill files, removed afterwards
    memory_bytes : how much memory the stage should stay within
    models : folder of the campaign's own models
    """

    field: Field
    source: Path
    outline: Path | None
    config: Config
    upstream: "Mapping[str, UnitReader]"
    out: "UnitWriter"
    scratch: Path
    memory_bytes: int
    models: Path = Path("models")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldResult:
    """How far one field has come: its published units by stage, and the failure that stopped it, if any."""

    field: Field
    units: Mapping[str, Path]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """All that the stages at a campaign's end (analyse, report) look at.

    Attributes
    ----------
    output : the OUTPUT folder
    config : all settings
    fields : in the order of samples.csv
    ignored : (relative path, reason) of files that are plainly no localisation table
    """

    output: Path
    config: Config
    fields: tuple[FieldResult, ...]
    ignored: tuple[tuple[str, str], ...] = ()
