"""Settings of the contrastive embedding and the method itself.

Defaults are the best that was measured; `PAPER` is that of Shirgill et al., with what they leave open set as usual for SimCLR. Two of its
settings can't both hold: early stopping and the plateau schedule share a patience of 3, so the rate would never fall before training
ends; here training stops after `stop_patience` epochs, twice the plateau's and one more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.contrastive.data import training_shard

if TYPE_CHECKING:
    import torch

    from smlmbatch.methods.method import Arrays, Batch, Ranks


_LARGEST_SIDE_PX: Final = 1024  # a batch of 64 then takes half a GiB before the first convolution
_POSITIVE: Final = (
    *("side_nm", "side_px", "samples", "shard_samples", "pool", "features", "temperature"),
    *("batch", "epochs", "learning_rate", "plateau_patience", "stop_patience"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveConfig:
    """All that the weights depend on."""

    seed: int = 0
    # data
    side_nm: float = 3000.0
    side_px: int = 64
    samples: int = 10_240  # pairs, 40 shards; more made no difference
    validation_share: float = 0.2
    shard_samples: int = 256
    density_per_um2: tuple[float, float] = (5.0, 1000.0)  # of the patterns; cells are often sparser than the paper's 20
    density_jitter: float = 0.4  # of a pair's members: density counts, but not to the last loc
    # network
    encoder: Literal["quick", "paper"] = "quick"
    counts: Literal["raw", "sqrt", "log1p", "binary"] = "log1p"
    as_if_locs: float = 20_000.0  # a second input map: the counts as if the ROI held so many locs; 0 = without it
    as_if_prior: float = 500.0  # locs added to the ROI's own when scaling: of few locs the pattern is mostly chance
    channels: tuple[int, int] = (16, 32)
    pool: int = 1  # 1 = over the whole map, 4 = the paper's way of keeping places
    features: int = 128
    dropout: float = 0.0
    head: Literal["linear", "sigmoid"] = "linear"
    # loss
    temperature: float = 0.05
    weighting: Literal["outside", "logit", "none"] = "outside"
    # optimiser
    batch: int = 32  # pairs over all ranks
    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_patience: int = 3
    stop_patience: int = 7
    least_learning_rate: float = 1e-6

    def __post_init__(self) -> None:
        if self.as_if_locs < 0 or self.as_if_prior < 1:
            raise ConfigError("contrastive: as_if_locs and as_if_prior: wanted 0 or more, and 1 or more")
        for name in ("seed", "density_jitter", "weight_decay", "least_learning_rate"):
            if getattr(self, name) < 0:
                raise ConfigError(f"contrastive: {name} = {getattr(self, name)!r}: wanted 0 or more")
        if self.side_px > _LARGEST_SIDE_PX:
            raise ConfigError(f"contrastive: side_px = {self.side_px}: wanted {_LARGEST_SIDE_PX} or fewer")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ConfigError(f"contrastive: {name} = {getattr(self, name)!r}: wanted more than 0")
        if not 0 <= self.dropout < 1 or not 0 < self.validation_share < 1:
            raise ConfigError("contrastive: dropout and validation_share: wanted shares below 1")
        low, high = self.density_per_um2
        if not 0 < low < high:
            raise ConfigError(f"contrastive: density_per_um2 = {list(self.density_per_um2)}: wanted two densities, the lower first")
        if min(self.channels) < 1:
            raise ConfigError(f"contrastive: channels = {list(self.channels)}: wanted two numbers of 1 or more")
        if self.samples // self.shard_samples < 2:
            raise ConfigError(f"contrastive: samples = {self.samples}: wanted two shards ({2 * self.shard_samples}) or more")


PAPER: Final = ContrastiveConfig(
    samples=15_000,
    shard_samples=200,
    side_px=128,
    density_per_um2=(20.0, 1000.0),
    density_jitter=0.0,
    dropout=0.2,
    encoder="paper",
    as_if_locs=0.0,
    channels=(8, 16),
    pool=4,
    head="sigmoid",
    temperature=0.5,
    epochs=100,
    learning_rate=3e-5,
    schedule="plateau",
    weighting="outside",
)


class Contrastive:
    """The method, as `methods.method.Method` asks."""

    name = "contrastive"
    title = "Contrastive embedding of ROIs"
    about = """
An ROI becomes a vector of numbers in which distance means difference of nanoscale architecture. Counts per pixel go in; where in the ROI
a structure lies should not matter, its density and form should. Trained as SimCLR on pairs of Perlin-noise patterns that share the
parameters they were drawn with. The recipe below says for which ROIs: their side (side_nm, cut into side_px pixels) and the densities of
the patterns it learned from (density_per_um2); of sparser or denser ROIs it has seen next to nothing.
"""
    material = "pairs of simulated Perlin-noise patterns, drawn from the recipe's seed; no measured data"
    figures_caption = """
K-means (k = number of conditions) on embeddings of simulated ROIs of known condition, 50 a condition, averaged over 8 flips and turns;
adjusted Rand index (ARI), mean over seeds of ROIs never trained or chosen on, and its standard deviation over them. Beside it the ARI of
the logarithm of the number of locs alone. Spearman: leading axis of the embedding against the order of the five
conditions, without its sign; five tied steps allow no more than 0.980. With a fixed number of locs a cluster, counting alone tells the
conditions apart; the default recipe is made for form, and makes less of density.
"""
    Config = ContrastiveConfig
    recipes: Mapping[str, ContrastiveConfig] = MappingProxyType({"default": ContrastiveConfig(), "paper": PAPER})
    shard_arrays: tuple[str, ...] = ("counts", "parameters")
    ragged: tuple[str, ...] = ()
    only_in_training: tuple[str, ...] = ("head.",)

    def shard(self, config: ContrastiveConfig, number: int) -> "Arrays":
        return training_shard(config, number)

    def build(self, config: ContrastiveConfig) -> "torch.nn.Module":
        from smlmbatch.methods.contrastive.network import ContrastiveNet

        return ContrastiveNet(config)

    def loss(
        self, model: "torch.nn.Module", batch: "Batch", config: ContrastiveConfig, ranks: "Ranks"
    ) -> "tuple[torch.Tensor, dict[str, torch.Tensor]]":
        import torch

        from smlmbatch.methods.contrastive.loss import weighted_nt_xent

        counts = batch["counts"].flatten(0, 1)  # partners side by side
        parameters = batch["parameters"].repeat_interleave(2, dim=0)
        projections = model(counts)
        # One message for both; each rank works out the loss of all, which is less than to send back what it says of the others' rows.
        projections, parameters = ranks.gather(torch.cat([projections, parameters], dim=1)).tensor_split([projections.shape[1]], dim=1)
        loss, top_1 = weighted_nt_xent(
            projections,
            projections,
            parameters,
            parameters,
            first=0,
            temperature=config.temperature,
            weighting=config.weighting,
        )
        return loss, {"loss": loss.detach(), "top_1": top_1}

    def settle(self, model: "torch.nn.Module", config: ContrastiveConfig) -> None:
        """Nothing is left to choose."""

    def judge(self, model: "torch.nn.Module", config: ContrastiveConfig, *, seeds: int = 5) -> dict[str, dict[str, float]]:
        from smlmbatch.methods.contrastive.judge import judge

        return judge(model, config, seeds=tuple(range(1, seeds + 1)))

    def infer(self, model: "torch.nn.Module", batch: "Batch") -> dict[str, NDArray[np.float32]]:
        encode: Any = model.encode
        return {"embedding": encode(batch["counts"]).float().cpu().numpy()}
