"""Which condition each ROI belongs to: products of columns of the sample sheet, of regions and of channels.

`compare.conditions` names columns; a condition is the joint value of all of them, "EGF x periphery". A label whose sheet has
columns per channel (`dye_0`, `dye_1`) is taken per channel, as `condition_0` is. Such a label, like the column `channel`
itself, makes the channel part of the condition: rows of all channels are then compared with each other (`channel` becomes
null), otherwise each channel is compared by itself. An empty cell is a value of its own, never a row lost.

Light on purpose: a plan is checked against its columns before anything is computed.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from smlmbatch.config import CompareConfig
from smlmbatch.errors import ConfigError
from smlmbatch.samples import Field

if TYPE_CHECKING:
    import pyarrow as pa

OWN_COLUMNS: Final = ("condition", "region", "replicate", "batch", "channel")  # of every campaign; labels come on top
EMPTY: Final = "(empty)"
JOINT: Final = " \u00d7 "
CENTRE, PERIPHERY = "centre", "periphery"
_LABEL = "label_"  # prefix of a sheet's own columns in the table of fields
_PER_CHANNEL = re.compile(r"(.+)_(\d+)")


def condition_columns(config: CompareConfig) -> list[str]:
    """The columns whose product is the condition, each once.

    >>> condition_columns(CompareConfig(conditions="condition, region,condition"))
    ['condition', 'region']
    """
    return list(dict.fromkeys(name.strip().removeprefix(_LABEL) for name in config.conditions.split(",") if name.strip(" ,")))


def channels_joined(labels: Iterable[str], *, config: CompareConfig) -> bool:
    """Whether channels are part of the condition: by name, or through a label that is given per channel.

    Parameters
    ----------
    labels : names of the sheet's own columns
    """
    names = condition_columns(config)
    return "channel" in names or any(_channels_of(name, labels) for name in names if name not in OWN_COLUMNS)


def check_columns(labels: Iterable[str], *, config: CompareConfig) -> None:
    """Refuse columns that a campaign with these labels does not have.

    Raises
    ------
    ConfigError
        a column that there is not, or values paired by what is compared
    """
    labels = list(labels)
    bases = {match.group(1) for name in labels if (match := _PER_CHANNEL.fullmatch(name))} - {"condition"}
    known = [*OWN_COLUMNS, *sorted(bases | {name for name in labels if _PER_CHANNEL.fullmatch(name) is None})]
    columns, pairing = condition_columns(config), config.paired.strip().removeprefix(_LABEL)
    named = [("conditions", name) for name in columns] + [("paired", pairing)] * bool(pairing)
    for key, name in named:
        if name not in known and name not in labels:
            raise ConfigError(f"compare.{key} = {getattr(config, key)!r}: no column {name!r}; there are {', '.join(known)}")
    if pairing in columns:
        raise ConfigError(f"compare.paired = {pairing!r}: is compared itself, so nothing has a partner; name another column")


def check_plan(fields: Sequence[Field], *, config: CompareConfig) -> None:
    """Refuse, before anything is computed, comparisons that a campaign of these fields can't give.

    Raises
    ------
    ConfigError
        an unknown column, regions that nothing defines, a reference that no field can have
    """
    check_columns(sorted({name for field in fields for name, _ in field.labels}), config=config)
    columns = condition_columns(config)
    if "region" in columns and not config.periphery_nm and not any(field.cell_outline for field in fields):
        mend = "give outline files with a region per outline, or set compare.periphery_nm"
        raise ConfigError(f"compare.conditions = {config.conditions!r}: no field has an outline file with regions; {mend}")
    if config.reference and not {"region", "channel"} & set(columns):
        conditions = {_joint_value(field, channel, columns) for field in fields for channel in [None, *_channels(field)]}
        check_reference(conditions, config=config)


def check_reference(conditions: Iterable[str], *, config: CompareConfig) -> None:
    """Refuse a reference that is none of the conditions.

    Raises
    ------
    ConfigError
        names those there are
    """
    known = sorted(set(conditions))
    if config.reference and config.reference not in known:
        raise ConfigError(f"compare.reference = {config.reference!r}: no such condition; there are {'; '.join(known) or 'none'}")


def _channels(field: Field) -> list[int]:
    """Channels that any of the field's labels is given for."""
    return sorted({int(match.group(2)) for name, _ in field.labels if (match := _PER_CHANNEL.fullmatch(name))})


def _joint_value(field: Field, channel: int | None, columns: Sequence[str]) -> str:
    """The condition a field's channel has in a product of columns that the sheet alone defines."""
    labels = dict(field.labels)
    own = {"condition": field.condition if channel is None else field.condition_of(channel)}
    own |= {"replicate": field.replicate, "batch": field.batch}
    values = (own[name] if name in own else labels.get(f"{name}_{channel}", "") or labels.get(name, "") for name in columns)
    return JOINT.join(value or EMPTY for value in values)


def _channels_of(name: str, labels: Iterable[str]) -> list[int]:
    """Channels that a label has a column for."""
    return sorted(int(match.group(2)) for other in labels if (match := _PER_CHANNEL.fullmatch(other)) and match.group(1) == name)


# ---- tables


def group_rois(rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig) -> "pa.Table":
    """The table of ROIs with the conditions that are compared: what superplots and comparisons alike start from.

    Parameters
    ----------
    rois, fields : as `tables.read_tables` gives them

    Returns
    -------
    pa.Table
        `condition` is the joint value of the columns, `channel` null where channels are part of it, and, where values are
        paired, a column `block` names what a row is paired by (null where that is empty)

    Raises
    ------
    ConfigError
        a column that there is not
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = [name.removeprefix(_LABEL) for name in fields.column_names if name.startswith(_LABEL)]
    check_columns(labels, config=config)
    values = [_column(name, rois, fields, config=config) for name in condition_columns(config)]
    filled = [pc.if_else(pc.equal(pc.fill_null(value, ""), ""), EMPTY, value) for value in values]
    joint = pc.binary_join_element_wise(*filled, JOINT) if len(filled) > 1 else filled[0]
    grouped = _replaced(rois, "condition", joint)
    if config.paired:
        block = _column(config.paired.strip().removeprefix(_LABEL), rois, fields, config=config)
        grouped = grouped.append_column("block", pc.if_else(pc.equal(block, ""), pa.scalar(None, pa.string()), block))
    if channels_joined(labels, config=config):
        grouped = _replaced(grouped, "channel", pa.nulls(len(rois), rois.schema.field("channel").type))
    return grouped


def _replaced(table: "pa.Table", name: str, values: "pa.Array | pa.ChunkedArray") -> "pa.Table":
    return table.set_column(table.schema.get_field_index(name), name, values)


def _column(name: str, rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig) -> "pa.ChunkedArray":
    """One column's value of every ROI row, strings; null where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name == "region" and config.periphery_nm:
        return pc.if_else(pc.less(rois["distance_to_edge_nm"], config.periphery_nm), PERIPHERY, CENTRE)
    if name == "channel":
        return pc.binary_join_element_wise("channel", pc.cast(rois["channel"], pa.string()), " ")
    return rois[name] if name in OWN_COLUMNS else _label(name, rois, fields)


def _label(name: str, rois: "pa.Table", fields: "pa.Table") -> "pa.ChunkedArray":
    """A label of the sheet: that of the row's channel where it has one, else that of the field."""
    import pyarrow as pa
    import pyarrow.compute as pc

    place = pc.index_in(rois["key"], value_set=fields["key"].combine_chunks())
    none = pa.nulls(len(fields), pa.string())
    of_field = fields[f"{_LABEL}{name}"] if f"{_LABEL}{name}" in fields.column_names else none
    values = pc.take(of_field, place)
    labels = (column.removeprefix(_LABEL) for column in fields.column_names if column.startswith(_LABEL))
    for channel in _channels_of(name, labels):
        own = pc.take(fields[f"{_LABEL}{name}_{channel}"], place)
        wins = pc.and_(pc.equal(rois["channel"], channel), pc.not_equal(pc.fill_null(own, ""), ""))
        values = pc.if_else(wins, own, values)
    return values
