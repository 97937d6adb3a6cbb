"""A field of any size through the network, in blocks that any process can compute, in any order.

Blocks are rectangles of 50,000 to 100,000 locs of one channel (`boxes`), loaded with as much around them as the network sees (`seen`): what
it says of a loc is what it would say in the uncut field, to the rounding of float32. Densities are those some um about each loc (`windows`;
of a field that is no wider, those of all). What no block can know, the hint of the clusters' size, comes from all locs of a channel of
up to 200,000, and of a larger one from six squares of about 12,000 locs between the densest and the sparsest; every process finds the
same for itself, so nothing is exchanged before the end. Groups are made of all locs of a channel at once (`group_blocks`): 80 ns and some
tens of bytes a loc.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.boxes import Boxes, cut_boxes, spread_by_density
from smlmbatch.methods.miro.context import NO_HINT, density_context, with_densities
from smlmbatch.methods.miro.depth import split_in_depth
from smlmbatch.methods.miro.family import parents_of
from smlmbatch.methods.miro.features import columns_for
from smlmbatch.methods.miro.group import Grouping, group_locs
from smlmbatch.methods.miro.infer import Contracted, Told, contract, contract_steps, features_of, hint_of, told_to
from smlmbatch.methods.miro.seen import ChannelLocs, Seen
from smlmbatch.methods.miro.unseen import unseen
from smlmbatch.methods.miro.windows import Windows, is_small
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

MOST_LOCS: Final = 100_000  # of a block
WHOLE_LOCS: Final = 200_000  # of a channel whose hint comes from all of it
_SAMPLE_LOCS: Final = 16_000  # of a square at most, half as many at least: some hundred clusters, few of which the square cuts
_SAMPLES: Final = 6
_CHILD: Final = "child_"


@dataclass(frozen=True, slots=True)
class _Cut:
    """How one channel is cut: its blocks, and where what is known of it as a whole comes from."""

    locs: ChannelLocs
    boxes: Boxes
    samples: Boxes | None  # None = from its blocks
    windows: Windows | None  # None = the field is small: one window


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a channel as a whole.

    Attributes
    ----------
    densities : (N_DENSITY,) f4; None = they differ from loc to loc
    told : (N_ACQUISITION + N_HINT,) f4
    unseen : a sentence for everything that the model was not trained on
    """

    densities: Floats | None
    told: Floats
    unseen: list[str]


class MiroBlocks:
    """Blocks of one field, those of the first channel first. What is costly is computed with the first block of a channel.

    Parameters
    ----------
    unit : a published unit of stage ingest
    network : of the kind generalist
    channels : whose locs are contracted, each by itself
    taken : for each channel, as `context.acquisition` gives it; None = nothing is known
    hint : a user's, as `context.cluster_hint` gives it; None = from a first pass
    most_locs : of a block

    Attributes
    ----------
    count : blocks
    rules : of each channel, by which its locs are grouped afterwards
    """

    def __init__(
        self,
        unit: UnitReader,
        *,
        network: "nn.Module",
        channels: Sequence[int],
        taken: Sequence[Floats] | None = None,
        hint: Floats | None = None,
        most_locs: int = MOST_LOCS,
    ) -> None:
        self._network, self._channels = network, channels
        config: Any = network.config
        self._steps = int(config.steps)
        self._last = config.steps - config.parents_from + 1 if config.parents_from else 1
        self._told: list[Told] = [told_to(network, taken=None if taken is None else taken[k], hint=hint) for k in range(len(channels))]
        self.rules = [told.rule for told in self._told]
        features = features_of(network)
        self._missing = [name for name in columns_for(features) if not unit.has(name)]
        field = FieldLocs(unit, columns=("x_nm", "y_nm", "channel", *columns_for(features)))
        self._cuts = [_cut(field, channel, most_locs, features) for channel in channels]
        self._numbers = [(k, b) for k, cut in enumerate(self._cuts) for b in range(len(cut.boxes))]
        self.count = len(self._numbers)
        self._known: dict[int, _Known] = {}
        self._seen: dict[tuple[int, int], Seen] = {}  # of the first pass, for the second

    def compute(self, number: int) -> dict[str, NDArray[Any]]:
        """What the network says of the n locs of one block.

        Returns
        -------
        index : (n,) i8, place in the unit's order
        x_nm, y_nm : (n,) f4, contracted places
        belonging : (n,) f4, probability of lying in a cluster
        radius_nm : (n,) f4, rms radius of that cluster
        shape : (n,) u1, most probable class, 0 = background; where the network has classes
        child_... : the same of the step before locs go on to their parents; where the network has parents
        """
        k, b = self._numbers[number]
        known = self._known_of(k)
        seen = self._seen.pop((k, b), None) or self._see(k, self._cuts[k].boxes[b])
        context = with_densities(self._densities(k, seen.xy_nm, known.densities), known.told)
        said = [step.take(seen.own) for step in contract_steps(self._network, seen.xy_nm, seen.graph, context, last=self._last)]
        found = {"index": seen.index} | _columns(said[-1])
        return found if len(said) == 1 else found | {_CHILD + name: values for name, values in _columns(said[0]).items()}

    def told(self, k: int) -> Floats:
        """Acquisition and hint of the k-th channel, (N_ACQUISITION + N_HINT,) f4: of its locs and what is told, not of blocks."""
        return self._known_of(k).told

    def warnings(self) -> list[str]:
        """A sentence for everything in the field that the model was not trained on, or looks for and doesn't find."""
        filled = [k for k, cut in enumerate(self._cuts) if len(cut.boxes)]
        missing = [f"the model looks at {name}, which the file doesn't have: taken as unknown" for name in self._missing]
        return missing + [
            f"channel {self._channels[k]}: {sentence}" if len(self._channels) > 1 else sentence
            for k in filled
            for sentence in self._known_of(k).unseen
        ]

    def _known_of(self, k: int) -> _Known:
        if k not in self._known:
            self._known[k] = self._look(k)
        return self._known[k]

    def _look(self, k: int) -> _Known:
        told, parts = self._told[k], self._first_look(k)
        config: Any = self._network.config
        small = self._cuts[k].windows is None
        whole = density_context(np.concatenate([part.graph.local[part.own] for part in parts])) if small else None
        around = [self._densities(k, part.xy_nm, whole) for part in parts]
        hint = self._first_hint(k, parts, around) if told.hint is None else told.hint
        own = np.concatenate([found[part.own] for found, part in zip(around, parts, strict=True)]) if whole is None else whole
        return _Known(whole, np.concatenate([told.taken, hint]), unseen(with_densities(own, told.taken, hint), config))

    def _densities(self, k: int, xy_nm: NDArray[np.float64], whole: Floats | None) -> Floats:
        """Of the channel (N_DENSITY,) or around each loc at (m, 2) nm: (m, N_DENSITY)."""
        windows = self._cuts[k].windows
        if windows is not None:
            return windows.around(xy_nm)
        assert whole is not None
        return whole

    def _first_hint(self, k: int, parts: list[Seen], around: list[Floats]) -> Floats:
        """From the clusters of a first pass."""
        told = self._told[k]
        contexts = [with_densities(densities, told.taken, NO_HINT) for densities in around]
        pairs = zip(parts, contexts, strict=True)
        said = [contract(self._network, part.xy_nm, part.graph, context).take(part.own) for part, context in pairs]
        labels = group_locs(
            *(np.concatenate([getattr(one, name) for one in said]) for name in ("xy_nm", "belonging", "radius_nm")),
            row=np.concatenate([part.row for part in parts]),
            rule=told.rule,
        )
        return hint_of(np.concatenate([part.xy_nm[part.own] for part in parts]), labels)

    def _first_look(self, k: int) -> list[Seen]:
        """What the hint comes from; the blocks among it are kept, for their turn comes soon."""
        cut = self._cuts[k]
        if cut.samples is not None:
            return [self._see(k, box) for box in cut.samples]
        parts = [self._see(k, box) for box in cut.boxes]
        self._seen |= {(k, b): part for b, part in enumerate(parts)}
        return parts

    def _see(self, k: int, box: NDArray[np.float64]) -> Seen:
        return self._cuts[k].locs.see(box, hops=self._steps)


def _cut(field: FieldLocs, channel: int, most_locs: int, features: Sequence[str]) -> _Cut:
    """Reads the field once."""
    own = [(piece.x_nm[mine], piece.y_nm[mine]) for piece in field.pieces() for mine in (piece.channel == channel,)]
    x_nm, y_nm = (np.concatenate([np.empty(0, np.float32), *(piece[axis] for piece in own)]) for axis in (0, 1))
    boxes = cut_boxes(x_nm, y_nm, most_locs=most_locs)
    whole = len(x_nm) <= WHOLE_LOCS
    samples = None if whole else spread_by_density(cut_boxes(x_nm, y_nm, most_locs=_SAMPLE_LOCS), _SAMPLES)
    extent = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)]) if len(boxes) else np.zeros(4)
    locs = ChannelLocs(field, channel, extent, features=features)
    return _Cut(locs, boxes, samples, None if is_small(x_nm, y_nm) else Windows(x_nm, y_nm, locs.places))


def _columns(said: Contracted) -> dict[str, NDArray[Any]]:
    x_nm, y_nm = np.ascontiguousarray(said.xy_nm.T)
    columns: dict[str, NDArray[Any]] = {"x_nm": x_nm, "y_nm": y_nm, "belonging": said.belonging, "radius_nm": said.radius_nm}
    return columns if said.shape is None else columns | {"shape": said.shape}


# ---- the end: groups of all


@dataclass(frozen=True, slots=True)
class FieldClusters:
    """The clusters of a field of n locs, in the order of the ingest unit.

    Attributes
    ----------
    label : (n,) i4, number of a loc's cluster, -1 = in none; never that of a parent
    channel : (c,) u1, of each cluster. Those of the first channel come first; of a channel, clusters by their smallest row, then parents
    parent : (c,) i4, number of the cluster's parent, -1 = none
    x_nm, y_nm, belonging : (n,) f4, contracted places, and probability of lying in a cluster; NaN for locs of other channels
    shape : (n,) u1, most probable class, 0 = background; None where the network has none
    """

    label: Labels
    channel: NDArray[np.uint8]
    parent: Labels
    x_nm: Floats
    y_nm: Floats
    belonging: Floats
    shape: NDArray[np.uint8] | None


def group_blocks(
    unit: UnitReader, found: Sequence[Mapping[str, NDArray[Any]]], *, channels: Sequence[int], rules: Sequence[Grouping]
) -> FieldClusters:
    """Clusters of a field from what all of its blocks gave, in whatever order these come.

    Parameters
    ----------
    unit : the ingest unit; where it has z, clusters are split along it (`depth`)
    rules : `MiroBlocks.rules`
    """
    n = unit.length("x_nm")
    columns = {name: _scattered(found, name, n) for name in (found[0] if found else ()) if name != "index"}
    own = {name.removeprefix(_CHILD): values for name, values in columns.items() if name.startswith(_CHILD)} or columns
    label, of_channel, row = np.full(n, -1, dtype=np.int32), unit.read("channel"), unit.read("row")
    of_cluster, parents, n_before = [], [], 0
    for channel, rule in zip(channels, rules, strict=True):
        mine = np.flatnonzero(of_channel == channel)
        leaf = _grouped(unit, own, mine, row, rule)
        n_leaves = int(leaf.max(initial=-1)) + 1
        above = parents_of(leaf, _grouped(unit, columns, mine, row, rule), row=row[mine]) if own is not columns else np.full(n_leaves, -1)
        n_own = n_leaves + int(above.max(initial=-1)) + 1
        label[mine] = np.where(leaf >= 0, leaf + n_before, -1)
        parents.append(np.concatenate([np.where(above >= 0, above + n_leaves + n_before, -1), np.full(n_own - n_leaves, -1)]))
        of_cluster.append(np.full(n_own, channel, dtype=np.uint8))
        n_before += n_own
    x_nm, y_nm, belonging = (own.get(name, np.full(n, np.nan, np.float32)) for name in ("x_nm", "y_nm", "belonging"))
    all_parents = np.concatenate([*parents, np.empty(0, np.int64)]).astype(np.int32)
    channel_of = np.concatenate([*of_cluster, np.empty(0, np.uint8)])
    return FieldClusters(label, channel_of, all_parents, x_nm, y_nm, belonging, own.get("shape"))


def _scattered(found: Sequence[Mapping[str, NDArray[Any]]], name: str, n: int) -> NDArray[Any]:
    """One column of all blocks in the unit's order."""
    dtype = found[0][name].dtype
    whole = np.full(n, np.nan if dtype.kind == "f" else 0, dtype=dtype)
    for block in found:
        whole[block["index"]] = block[name]
    return whole


def _grouped(
    unit: UnitReader, columns: Mapping[str, NDArray[Any]], mine: NDArray[np.int64], row: NDArray[np.int64], rule: Grouping
) -> Labels:
    """Labels of the locs of one channel, from 0."""
    if len(mine) == 0:
        return np.empty(0, dtype=np.int32)
    xy_nm = np.column_stack([columns["x_nm"][mine], columns["y_nm"][mine]])
    labels = group_locs(xy_nm, columns["belonging"][mine], columns["radius_nm"][mine], row=row[mine], rule=rule)
    return split_in_depth(unit, labels, mine, row=row[mine], rule=rule) if unit.has("z_nm") else labels
