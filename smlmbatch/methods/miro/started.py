"""Training that begins with another model's weights: two scales on top of a network that finds clusters already.

What a network learned of clusters is what it needs for the corners; what is new are the steps that go on to the parent. Begun anew, the
recipe `multiscale` takes several times as long to come as far.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from smlmbatch.errors import ConfigError
from smlmbatch.methods.miro.recipe import Miro, MiroConfig

if TYPE_CHECKING:
    import torch

    from smlmbatch.methods.model import Model

_SAME = ("network", "hidden", "edge_hidden", "features")  # settings that weights must have in common


class StartedMiro(Miro):
    """The method with a model to begin with."""

    def __init__(self, start: "Model") -> None:
        self.start = start

    def recipe(self, config: MiroConfig) -> MiroConfig:
        """The recipe, with what it begins with on record.

        Raises
        ------
        ConfigError
            a start whose weights don't fit, or that was tuned to clusters of one kind
        """
        given = self.start.config
        if not isinstance(given, MiroConfig) or given.templates or any(getattr(given, name) != getattr(config, name) for name in _SAME):
            raise ConfigError(f"--start: wanted a general model of the method miro, of the recipe's {', '.join(_SAME)}")
        if config.start not in ("", self.start.sha256):
            raise ConfigError("--start: the recipe begins with another model")
        return replace(config, start=self.start.sha256)

    def build(self, config: MiroConfig) -> "torch.nn.Module":
        """The network with the start's weights; what that didn't have begins anew, what the recipe doesn't have is left out."""
        network = super().build(self.recipe(config))
        given = self.start.network.state_dict()
        network.load_state_dict(
            {name: given[name][: len(value)] if name in given else value for name, value in network.state_dict().items()}
        )
        return network
