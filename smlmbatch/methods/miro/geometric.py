"""torch-geometric, without what its import says: 2.8 uses, in modules not needed here, a function that torch 2.13 calls deprecated."""

import warnings

from smlmbatch.errors import ConfigError

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_geometric.data import Data
        from torch_geometric.nn import MessagePassing
except ModuleNotFoundError as error:
    raise ConfigError(f"MIRO needs {error.name}, which is not installed here: pip install 'smlmbatch[learn]'") from error

__all__ = ["Data", "MessagePassing"]
