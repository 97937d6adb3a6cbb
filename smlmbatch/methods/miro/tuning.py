"""MIRO tuned to the clusters that a user marked: a general model's weights, trained on for some minutes on fields drawn from these.

The recipe holds the sha256 of the clusters and of the model it begins with, and what a tuned model knows beforehand (`tuned`): so the
same clusters give the same model, to the bit, and others are another recipe. A tuned model says nothing of shapes: nobody told it any.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from smlmbatch.errors import ConfigError
from smlmbatch.methods.miro.context import cluster_hint
from smlmbatch.methods.miro.data import field_arrays, shard_of
from smlmbatch.methods.miro.group import Grouping, group_locs
from smlmbatch.methods.miro.recipe import Miro, MiroConfig
from smlmbatch.methods.miro.tuned import BLINKING, hint_from, rule_from, taken_from
from smlmbatch.methods.origin import conditions_said
from smlmbatch.simulate.clusters import ClusterField
from smlmbatch.simulate.templates import Templates, draw_template_field

if TYPE_CHECKING:
    import torch

    from smlmbatch.methods.miro.infer import Contracted
    from smlmbatch.methods.model import Model

_LEARNED_LOCS: Final = 4_200_000  # over all epochs: two to three minutes of one core
_FIELD_LOCS: Final = 2000  # about, of a training field
_EPOCHS: Final = 6  # over the same fields: those held out of training get better with every one
_SHARD: Final = 32
_LEARNING_RATE: Final = 3e-3  # that of the start's own training; a third of it ends up behind on fields held out, after the same time
_LEAST_SHARE: Final = 0.25  # of a small template's locs: what sums up to less is no cluster
_JUDGED: Final = 12  # fields of a seed
_SETTLED, _SETTLED_LOCS = 20, 5000  # fields to choose by, and their size: as large as a user's, for clusters at edges are others
_FIRST_SEED: Final = 2**31  # of fields to choose and to judge by; recipes' seeds are smaller
_ODDS: Final = (1.0, 0.7, 1.4, 0.45, 2.0, 0.25, 0.15, 0.1, 0.05)  # to choose from; of equally good ones the first
_REACHES: Final = (0.4, 0.3, 0.2, 0.15, 0.1)
_CORES: Final = (4, 10, 20)


def _goodness(field: ClusterField, contracted: "Contracted", *, odds: float, rule: Grouping) -> float:
    """Mean of JI_c, ARI_c and AMI where locs of these odds are as likely clustered as not."""
    from smlmbatch.score.figures import score_field

    p = contracted.belonging.astype(np.float64)
    belonging = p / (p + odds * (1.0 - p))
    labels = group_locs(contracted.xy_nm, belonging, contracted.radius_nm, rule=rule)
    scores = score_field(field.xy_nm[:, 0], field.xy_nm[:, 1], field.cluster, labels, truth_noise=0, overlap=False)
    return float(np.mean(np.nan_to_num([scores.ji_c, scores.ari_c, scores.ami])))


class TunedMiro(Miro):
    """The method with templates to draw from and a model to begin with."""

    title = "MIRO: clusters by a network that contracts them, tuned to marked ones"
    about = """
A general model of this kind, trained on for some minutes on fields drawn from clusters that a user marked. It knows beforehand how
large they are, and finds the likes of them; of other clusters it has learned nothing, and may have forgotten what it knew. Ranges of
sizes and densities in the recipe below are those that the general model had seen.
"""
    figures_caption = """
Clusters found in fields drawn from the same templates, that the model was not trained on, by the model it began with and by this one. How
it does on fields that hold other clusters is not known.
"""

    def __init__(self, templates: Templates, start: "Model") -> None:
        self.templates, self.start = templates, start
        whole, n = len(templates.whole), len(templates.clusters)
        background = f"with the background of {whole} field{'s' if whole > 1 else ''}" if whole else "with backgrounds from a range"
        self.material = f"fields drawn from {n} marked cluster{'s' if n > 1 else ''} of {templates.size.sum():,} locs, {background}"
        self.material += conditions_said(templates.conditions)

    def recipe(self, *, blinking: str | None = None, seed: int = 0) -> MiroConfig:
        """The recipe for these templates.

        Raises
        ------
        ConfigError
            a start that can't be tuned: another method, the published network, one that knows parents, or was tuned itself
        """
        given = self.start.config
        if not isinstance(given, MiroConfig) or given.network != "generalist" or given.parents_from or given.templates:
            raise ConfigError("--start: wanted a general model of the method miro: not `paper`, without parents, and not tuned before")
        size, epoch_locs = self.templates.size, _LEARNED_LOCS / _EPOCHS
        drawn = [len(self._draw(seed, k, blinking or "").xy_nm) for k in range(_SHARD)]
        changes: dict[str, Any] = {
            "seed": seed,
            "classes": 0,
            "templates": self.templates.sha256,
            "start": self.start.sha256,
            "tuned_blinking": blinking or "",
            "tuned_hint": tuple(float(value) for value in cluster_hint(self.templates.rms_nm, size)),
            "tuned_least_sum": max(3.0, _LEAST_SHARE * float(np.quantile(size, 0.1))),
            "samples": _SHARD * max(4, round(epoch_locs / np.mean(drawn) / _SHARD)),
            "shard_samples": _SHARD,
            "epochs": _EPOCHS,
            "learning_rate": _LEARNING_RATE,
            "schedule": "cosine",
        }
        return replace(given, **changes)

    def shard(self, config: MiroConfig, number: int) -> dict[str, Any]:
        self.check(config)
        first, taken, hint = number * config.shard_samples, taken_from(config), hint_from(config)
        fields = [self._draw(config.seed, first + i, config.tuned_blinking) for i in range(config.shard_samples)]
        return shard_of([field_arrays(config, field, taken=taken, hint=hint) for field in fields])

    def build(self, config: MiroConfig) -> "torch.nn.Module":
        """The network with the start's weights; of its head, what isn't of classes."""
        self.check(config)
        network = super().build(config)
        wanted, given = network.state_dict(), self.start.network.state_dict()
        network.load_state_dict({name: given[name][: len(value)] if name in given else value for name, value in wanted.items()})
        return network

    def settle(self, model: "torch.nn.Module", config: MiroConfig) -> None:
        """Choose how locs are grouped by what finds clusters best in fields of which nothing was learned (mean of JI_c, ARI_c and AMI).

        First the odds of belonging, which are moved to be even: where hardly a loc is sure, none would take part. Then how far a link
        reaches and how many make a loc core: where clusters overlap, what is left between their contracted middles must not join them.
        """
        import torch

        from smlmbatch.methods.miro.infer import find_clusters
        from smlmbatch.methods.miro.network import LOGIT

        fields = [self._draw(_FIRST_SEED, number, config.tuned_blinking, most_locs=_SETTLED_LOCS) for number in range(_SETTLED)]
        contracted = [find_clusters(model, field.xy_nm).contracted for field in fields]
        network: Any = model
        usual = (Grouping().reach, Grouping().core_locs)

        def best(choices: Sequence[tuple[float, float, int]]) -> tuple[float, float, int]:
            tried = {c: rule_from(config, reach=c[1], core_locs=c[2]) for c in choices}
            found = {c: sum(map(partial(_goodness, odds=c[0], rule=rule), fields, contracted)) for c, rule in tried.items()}
            return max(found, key=found.__getitem__)

        odds, _, _ = best([(odds, *usual) for odds in _ODDS])
        odds, reach, core_locs = best([(odds, *usual), *((odds, reach, core) for reach in _REACHES for core in _CORES)])
        with torch.no_grad():
            network.head.bias[LOGIT] -= float(np.log(odds))
            network.linking.copy_(torch.tensor([reach, float(core_locs)]))

    def judge(self, model: "torch.nn.Module", config: MiroConfig, *, seeds: int = 5) -> dict[str, dict[str, float]]:
        from smlmbatch.methods.miro.context import acquisition
        from smlmbatch.methods.miro.infer import find_clusters
        from smlmbatch.methods.miro.judge import mean_figures

        keys = [(_FIRST_SEED + seed, number) for seed in range(1, seeds + 1) for number in range(_JUDGED)]
        fields = [self._draw(seed, number, config.tuned_blinking) for seed, number in keys]
        taken = acquisition(blinking=BLINKING[config.tuned_blinking])
        before = [find_clusters(self.start.network, field.xy_nm, taken=taken).labels for field in fields]
        after = [find_clusters(model, field.xy_nm).labels for field in fields]
        return {"the model it began with": mean_figures(fields, before), "this model": mean_figures(fields, after)}

    def _draw(self, seed: int, number: int, blinking: str, *, most_locs: int | None = None) -> ClusterField:
        most_locs = most_locs or _FIELD_LOCS
        return draw_template_field(self.templates, seed=seed, number=number, blinking=BLINKING[blinking], most_locs=most_locs)

    def check(self, config: MiroConfig, *, blinking: str | None = None) -> None:
        """Refuse a recipe of other clusters, of another start, or told otherwise whether molecules blink.

        Raises
        ------
        ConfigError
            says which
        """
        if blinking not in (None, config.tuned_blinking):
            raise ConfigError(f"--blinking {blinking}: the recipe says tuned_blinking = {config.tuned_blinking!r}")
        if (config.templates, config.start) != (self.templates.sha256, self.start.sha256):
            raise ConfigError("the recipe is of other clusters, or begins with another model, than --templates and --start name")
