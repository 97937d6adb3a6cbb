"""Settings of MIRO and the method itself.

The default is one network for clusters of all kinds, in physical units; `paper` is the published network with its features, units and
loss, on the same simulated fields (they trained one on each kind of data, from clusters that a user had marked).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.miro.features import COLUMNS
from smlmbatch.simulate.cluster_shapes import SHAPES
from smlmbatch.simulate.clusters import ClusterFields

if TYPE_CHECKING:
    import torch

    from smlmbatch.methods.method import Batch, Ranks

_POSITIVE: Final = (
    *("samples", "shard_samples", "hidden", "edge_hidden", "batch", "epochs", "learning_rate", "plateau_patience", "stop_patience"),
    *("paper_reach", "paper_eps_nm", "paper_min_locs", "graded_share"),
)
_MOST_STEPS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class MiroConfig:
    """All that the weights depend on."""

    seed: int = 0
    # data: simulate.clusters.ClusterFields says what each range means
    samples: int = 24_576  # 53 million locs; seen twice, for simulating costs half as much as learning
    validation_share: float = 0.02
    shard_samples: int = 64
    locs: tuple[int, int] = (300, 5000)
    side_um: tuple[float, float] = (0.7, 4.0)
    rms_nm: tuple[float, float] = (10.0, 120.0)
    molecules: tuple[float, float] = (5.0, 150.0)
    contrast: tuple[float, float] = (4.0, 100.0)
    coverage: tuple[float, float] = (0.003, 0.4)
    background_share: tuple[float, float] = (0.05, 0.85)
    blinking_share: float = 0.5
    blinks: tuple[float, float] = (2.0, 8.0)
    error_nm: tuple[float, float] = (5.0, 25.0)
    graded_share: float = 0.4
    nested_share: float = 0.05
    empty_share: float = 0.03
    hint_share: float = 0.6  # of fields that come with a hint of their clusters' size
    acquisition_share: float = 0.8  # of fields of which is said whether molecules blink; of half of these, how exact locs are
    # network
    network: Literal["generalist", "paper"] = "generalist"
    hidden: int = 64  # numbers of a loc's state
    edge_hidden: int = 32  # of an edge's state; 64 saw half the fields in the same time and was worse. `paper` has `hidden`
    steps: int = 16
    features: str = ""  # what it sees of a loc besides its place, with commas: frame, photons, precision (`features`)
    classes: int = 7  # 0 = none; 7 = background and the shapes of simulate.cluster_shapes
    parents_from: int = 0  # steps after which locs go on to the middle of their cluster's parent; 0 = never
    # loss
    pairs_weight: float = 1.0
    radius_weight: float = 0.2
    class_weight: float = 0.1
    paper_reach: float = 0.2  # longest edge, and unit, of `paper`; in extents of the field
    paper_eps_nm: float = 20.0  # DBSCAN after `paper`, which needs a setting; those published lie between 9.9 and 68 nm
    paper_min_locs: int = 7
    # optimiser
    batch: int = 2  # fields over all ranks
    epochs: int = 2
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_patience: int = 3
    stop_patience: int = 7
    least_learning_rate: float = 1e-6
    # of a model tuned to marked clusters (`methods.miro.tuning`): "" = it isn't
    templates: str = ""  # sha256 of the clusters
    start: str = ""  # of the model it began with
    tuned_blinking: Literal["", "yes", "no"] = ""
    tuned_hint: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)  # `context.cluster_hint` of the marked clusters
    tuned_least_sum: float = 3.0  # `group.Grouping.least_sum`

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ConfigError(f"miro: {name} = {getattr(self, name)!r}: wanted more than 0")
        for name in ("seed", "weight_decay", "least_learning_rate", "pairs_weight", "radius_weight", "class_weight", "parents_from"):
            if getattr(self, name) < 0:
                raise ConfigError(f"miro: {name} = {getattr(self, name)!r}: wanted 0 or more")
        if not 0 < self.validation_share < 1 or not 0 <= self.hint_share <= 1:
            raise ConfigError("miro: validation_share and hint_share: wanted shares")
        if not 2 <= self.steps <= _MOST_STEPS:  # with one step no state would be handed on, and weights would have no gradient
            raise ConfigError(f"miro: steps = {self.steps}: wanted 2 to {_MOST_STEPS}")
        if self.classes not in (0, len(SHAPES) + 1):
            raise ConfigError(f"miro: classes = {self.classes}: wanted 0, or {len(SHAPES) + 1} (background and {', '.join(SHAPES)})")
        self._check_features()
        if self.samples // self.shard_samples < 2:
            raise ConfigError(f"miro: samples = {self.samples}: wanted two shards ({2 * self.shard_samples}) or more")
        _ = self.family  # says what is wrong with the ranges

    def _check_features(self) -> None:
        names = self.feature_names
        if not set(names) <= set(COLUMNS) or len(set(names)) < len(names):
            raise ConfigError(f"miro: features = {self.features!r}: wanted some of {','.join(COLUMNS)}, each once")
        if self.features and (self.network == "paper" or self.parents_from or self.templates):
            raise ConfigError("miro: features: wanted with the network generalist, clusters at one scale, and no marked clusters")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What `features` names."""
        return tuple(self.features.split(",")) if self.features else ()

    @property
    def family(self) -> ClusterFields:
        """The fields it learns from."""
        renamed = {"blinking": "blinking_share", "graded": "graded_share", "nested": "nested_share", "empty": "empty_share"}
        names = [f.name for f in fields(ClusterFields) if f.name in MiroConfig.__slots__ or f.name in renamed]
        return ClusterFields(**{name: getattr(self, renamed.get(name, name)) for name in names})

    @property
    def steps_seen(self) -> int:
        """How many of the last steps the loss looks at."""
        return self.steps if self.network == "paper" or self.parents_from else (self.steps + 1) // 2


PAPER: Final = MiroConfig(
    network="paper",
    hidden=256,
    steps=12,
    classes=0,
    samples=1536,
    epochs=30,
    batch=4,
    learning_rate=1e-4,
    schedule="plateau",
    plateau_patience=30,
)

# Two scales: corners, then the pores they make up. No hint: it would have to say of which of the two it speaks, and one pass costs half.
MULTISCALE: Final = MiroConfig(
    steps=16,
    parents_from=7,
    classes=0,
    nested_share=0.75,
    hint_share=0.0,
    empty_share=0.01,
    locs=(300, 2000),  # fields half as large teach as much each; checked on nuclei of 60,000
    samples=4096,
    epochs=2,
)


class Miro:
    """The method, as `methods.method.Method` asks."""

    name = "miro"
    title = "MIRO: clusters by a network that contracts them"
    about = """
Locs become a graph, and a network moves each of them towards the middle of its cluster; contracted clusters are told apart where the
clusters themselves overlap or differ in density. Each loc also learns whether it lies in a cluster, and how large that is, so that grouping
needs no setting. Trained on simulated fields of many shapes, sizes and densities, with and without blinking; the recipe below says
which. Of others it has seen nothing.
"""
    material = "simulated fields of clusters, drawn from the recipe's seed; no measured data"
    figures_caption = """
Clusters found in simulated fields that no model was trained on: adjusted Rand index over clustered locs (ARI_c) and over all (ARI),
adjusted mutual information (AMI), Jaccard index of clusters found (JI_c) and overlap of their hulls (IoU); means over fields.
"""
    Config = MiroConfig
    recipes: Mapping[str, MiroConfig] = MappingProxyType({"default": MiroConfig(), "paper": PAPER, "multiscale": MULTISCALE})
    shard_arrays: tuple[str, ...] = ("xy_nm", "local", "degree", "source", "cluster", "truth", "context", "unit_nm")
    ragged: tuple[str, ...] = ("xy_nm", "local", "degree", "source", "cluster", "truth")
    only_in_training: tuple[str, ...] = ()

    def shard(self, config: MiroConfig, number: int) -> dict[str, Any]:
        from smlmbatch.methods.miro.data import training_shard

        return training_shard(config, number)

    def build(self, config: MiroConfig) -> "torch.nn.Module":
        from smlmbatch.methods.miro.network import build

        network: torch.nn.Module = build(config)
        return network

    def loss(
        self, model: "torch.nn.Module", batch: "Batch", config: MiroConfig, ranks: "Ranks"
    ) -> "tuple[torch.Tensor, dict[str, torch.Tensor]]":
        from smlmbatch.methods.miro.data import batch_graph
        from smlmbatch.methods.miro.loss import generalist_loss, paper_loss
        from smlmbatch.methods.miro.network import outputs_of

        graph, truth = batch_graph(batch, config)
        outputs = outputs_of(model, graph, last=config.steps_seen)
        if config.network == "paper":
            return paper_loss(outputs, graph, truth, config, ranks)
        return generalist_loss(outputs, graph, truth, config)

    def settle(self, model: "torch.nn.Module", config: MiroConfig) -> None:
        """Nothing is left to choose."""

    def judge(self, model: "torch.nn.Module", config: MiroConfig, *, seeds: int = 5) -> dict[str, dict[str, float]]:
        from smlmbatch.methods.miro.judge import judge
        from smlmbatch.methods.miro.judge_scales import judge_scales

        chosen = tuple(range(1, seeds + 1))
        found = judge(model, config, seeds=chosen)
        return found | judge_scales(model, seeds=chosen) if config.parents_from else found

    def infer(self, model: "torch.nn.Module", batch: "Batch") -> dict[str, NDArray[np.float32]]:
        import torch

        from smlmbatch.methods.miro.data import batch_graph
        from smlmbatch.methods.miro.network import outputs_of

        config: Any = model.config
        with torch.inference_mode():
            graph, _ = batch_graph(batch, config)
            return {"outputs": outputs_of(model, graph)[0].float().cpu().numpy()}
