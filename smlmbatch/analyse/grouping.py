"""Which condition each ROI belongs to: products of columns of the sample sheet, of regions and of channels.

`compare.conditions` names columns; a condition is the joint value of all of them, "EGF x periphery". A label whose sheet has
columns per channel (`dye_0`, `dye_1`) is taken per channel, as `condition_0` is. Such a label, like the column `channel`
itself, makes the channel part of the condition: rows of all channels are then compared with each other (`channel` becomes
null), otherwise each channel is compared by itself. An empty cell is a value of its own, never a row lost, and compared with nothing.

`label_<name>` is the sheet's column <name>, whatever else is called so. Where the field's own condition is not compared, replicate 1 of
one condition is not replicate 1 of another: such replicates are called by both.

Light on purpose: a plan is checked against its columns before anything is computed.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from smlmbatch.config import CompareConfig
from smlmbatch.errors import ConfigError
from smlmbatch.samples import Field

if TYPE_CHECKING:
    import pyarrow as pa

OWN_COLUMNS: Final = ("condition", "region", "replicate", "batch", "channel")  # of every campaign; labels come on top
_OF_SHEET: Final = ("condition", "replicate", "batch")  # of these, what a sheet's columns are called that are no labels
EMPTY: Final = "(empty)"
JOINT: Final = " \u00d7 "
CENTRE, PERIPHERY = "centre", "periphery"
_LABEL = "label_"  # prefix of a sheet's own columns in the table of fields
_PER_CHANNEL = re.compile(r"(.+)_(\d+)")


class ColumnName(NamedTuple):
    """A column that conditions or pairs are made of: one that every campaign has, or a label (of the sheet alone)."""

    name: str
    label: bool = False


def condition_columns(config: CompareConfig) -> list[str]:
    """`compare.conditions` as it is written, each name once.

    >>> condition_columns(CompareConfig(conditions="condition, label_region,condition"))
    ['condition', 'label_region']
    """
    return list(dict.fromkeys(name.strip() for name in config.conditions.split(",") if name.strip(" ,")))


def resolve(name: str, labels: Iterable[str]) -> ColumnName | None:
    """The column that a written name means; None where there is none.

    Parameters
    ----------
    labels : names of the sheet's own columns

    >>> resolve("region", ["region"]), resolve("label_region", ["region"]), resolve("label_dose", ["label_dose"])
    (ColumnName(name='region', label=False), ColumnName(name='region', label=True), ColumnName(name='label_dose', label=True))
    """
    known = _label_names(labels)
    bare = name.removeprefix(_LABEL)
    if name != bare and bare in known:
        return ColumnName(bare, label=True)
    if name in OWN_COLUMNS:
        return ColumnName(name)
    if name in known:
        return ColumnName(name, label=True)
    return ColumnName(bare) if bare in _OF_SHEET else None


def _label_names(labels: Iterable[str]) -> set[str]:
    """Labels, and what those given per channel (`dye_0`, `dye_1`) are called together."""
    labels = set(labels)
    bases = {match.group(1) for name in labels if (match := _PER_CHANNEL.fullmatch(name))}
    return labels | (bases - set(_OF_SHEET))


def resolved_columns(labels: Iterable[str], *, config: CompareConfig) -> list[ColumnName]:
    """The columns whose product is the condition, each once.

    >>> resolved_columns(["dose"], config=CompareConfig(conditions="condition, dose,label_dose"))
    [ColumnName(name='condition', label=False), ColumnName(name='dose', label=True)]
    """
    labels = list(labels)
    found = (resolve(name, labels) for name in condition_columns(config))
    return list(dict.fromkeys(column for column in found if column is not None))


def channels_joined(labels: Iterable[str], *, config: CompareConfig) -> bool:
    """Whether channels are part of the condition: by name, or through a label that is given per channel.

    Parameters
    ----------
    labels : names of the sheet's own columns
    """
    labels = list(labels)
    columns = resolved_columns(labels, config=config)
    return ColumnName("channel") in columns or any(_channels_of(column.name, labels) for column in columns if column.label)


def check_columns(labels: Iterable[str], *, config: CompareConfig) -> None:
    """Refuse columns that a campaign with these labels does not have.

    Raises
    ------
    ConfigError
        a column that there is not, a name that may mean two, or values paired by what is compared
    """
    labels = list(labels)
    names = _label_names(labels)
    named = [("conditions", name) for name in condition_columns(config)] + [("paired", config.paired)] * bool(config.paired)
    for key, name in named:
        column, setting = resolve(name, labels), f"compare.{key} = {getattr(config, key)!r}"
        if column is None:
            raise ConfigError(f"{setting}: no column {name!r}; there are {', '.join(_known(labels))}")
        if not column.label and column.name in names:
            raise ConfigError(
                f"{setting}: {name!r} may be smlmbatch's own or the sheet's column; write {_LABEL}{name} for the sheet's, or rename that"
            )
    if config.paired and resolve(config.paired, labels) in resolved_columns(labels, config=config):
        raise ConfigError(f"compare.paired = {config.paired!r}: is compared itself, so nothing has a partner; name another column")


def _known(labels: Sequence[str]) -> list[str]:
    """Names that can be written, one for each column; of labels given per channel what they are called together."""
    shown = sheet_columns(labels)
    return [*OWN_COLUMNS, *(name if resolve(name, labels) == ColumnName(name, label=True) else f"{_LABEL}{name}" for name in shown)]


def sheet_columns(labels: Iterable[str]) -> list[str]:
    """Names of the sheet's own columns, those given per channel by what they are called together.

    >>> sheet_columns(["dose", "dye_0", "dye_1", "condition_0"])
    ['dose', 'dye']
    """
    labels = set(labels)
    return sorted(name for name in _label_names(labels) if name not in labels or not _PER_CHANNEL.fullmatch(name))


def check_plan(fields: Sequence[Field], *, config: CompareConfig) -> None:
    """Refuse, before anything is computed, comparisons that a campaign of these fields can't give.

    Raises
    ------
    ConfigError
        an unknown column, regions that nothing defines, a reference that no field can have
    """
    labels = sorted({name for field in fields for name, _ in field.labels})
    check_columns(labels, config=config)
    columns = resolved_columns(labels, config=config)
    if ColumnName("region") in columns and not config.periphery_nm and not any(field.cell_outline for field in fields):
        mend = "give outline files with a region per outline, or set compare.periphery_nm"
        raise ConfigError(f"compare.conditions = {config.conditions!r}: no field has an outline file with regions; {mend}")
    if config.reference and not {ColumnName("region"), ColumnName("channel")} & set(columns):
        conditions = {_joint_value(field, channel, columns) for field in fields for channel in [None, *_channels(field)]}
        _check_reference(conditions, config=config)


def _check_reference(conditions: Iterable[str], *, config: CompareConfig) -> None:
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


def _joint_value(field: Field, channel: int | None, columns: Sequence[ColumnName]) -> str:
    """The condition a field's channel has in a product of columns that the sheet alone defines."""
    labels = dict(field.labels)
    own = {"condition": field.condition if channel is None else field.condition_of(channel)}
    own |= {"replicate": field.replicate, "batch": field.batch}
    values = (labels.get(f"{name}_{channel}", "") or labels.get(name, "") if label else own[name] for name, label in columns)
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
        `condition` is the joint value of the columns, `channel` null where channels are part of it, `replicate` a name that no
        replicate of another sample has, and, where values are paired, a column `block` names what a row is paired by (null where
        that is empty)

    Raises
    ------
    ConfigError
        a column that there is not
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = labels_of(fields)
    check_columns(labels, config=config)
    columns = resolved_columns(labels, config=config)
    values = [column_values(column, rois, fields, config=config) for column in columns]
    filled = [pc.if_else(pc.equal(pc.fill_null(value, ""), ""), EMPTY, value) for value in values]
    joint = pc.binary_join_element_wise(*filled, JOINT) if len(filled) > 1 else filled[0]
    grouped = _replaced(rois, "condition", joint)
    if ColumnName("condition") not in columns and _replicates_shared(fields):
        rois = _replaced(rois, "replicate", pc.binary_join_element_wise(_of_field("condition", rois, fields), rois["replicate"], JOINT))
        grouped = _replaced(grouped, "replicate", rois["replicate"])
    pairing = resolve(config.paired, labels)
    if config.paired and pairing is not None:
        block = column_values(pairing, rois, fields, config=config)
        grouped = grouped.append_column("block", pc.if_else(pc.equal(block, ""), pa.scalar(None, pa.string()), block))
    if channels_joined(labels, config=config):
        grouped = _replaced(grouped, "channel", pa.nulls(len(rois), rois.schema.field("channel").type))
    return grouped


def labels_of(fields: "pa.Table") -> list[str]:
    """Names of the sheet's own columns in the table of fields."""
    return [name.removeprefix(_LABEL) for name in fields.column_names if name.startswith(_LABEL)]


def _replicates_shared(fields: "pa.Table") -> bool:
    """Whether replicates of different conditions have one name."""
    samples = fields.select(["condition", "replicate"]).group_by(["condition", "replicate"]).aggregate([])
    return len(samples) > len(samples["replicate"].unique())


def _of_field(name: str, rois: "pa.Table", fields: "pa.Table") -> "pa.ChunkedArray":
    """A column of the table of fields, for every ROI row."""
    import pyarrow.compute as pc

    return pc.take(fields[name], pc.index_in(rois["key"], value_set=fields["key"].combine_chunks()))


def _replaced(table: "pa.Table", name: str, values: "pa.Array | pa.ChunkedArray") -> "pa.Table":
    return table.set_column(table.schema.get_field_index(name), name, values)


def column_values(column: ColumnName, rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig) -> "pa.ChunkedArray":
    """One column's value of every ROI row, strings; null where there is none. Columns of fields alone (`format`) are those of the row's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name, label = column
    if label:
        return _label(name, rois, fields)
    if name == "region" and config.periphery_nm:
        return pc.if_else(pc.less(rois["distance_to_edge_nm"], config.periphery_nm), PERIPHERY, CENTRE)
    if name == "channel":
        return pc.binary_join_element_wise("channel", pc.cast(rois["channel"], pa.string()), " ")
    return rois[name] if name in rois.column_names else _of_field(name, rois, fields)


def _label(name: str, rois: "pa.Table", fields: "pa.Table") -> "pa.ChunkedArray":
    """A label of the sheet: that of the row's channel where it has one, else that of the field."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = labels_of(fields)
    values = _of_field(f"{_LABEL}{name}", rois, fields) if name in labels else pa.nulls(len(rois), pa.string())
    for channel in _channels_of(name, labels):
        own = _of_field(f"{_LABEL}{name}_{channel}", rois, fields)
        wins = pc.and_(pc.equal(rois["channel"], channel), pc.not_equal(pc.fill_null(own, ""), ""))
        values = pc.if_else(wins, own, values)
    return values
