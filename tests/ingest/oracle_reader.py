"""Runs in the oracles' own environment: another program's reader on one file, its columns to .npz.

    python oracle_reader.py READER FILE OUT.npz [PIXEL_SIZE_NM]

Only the readers are wanted, so what figures, windows and fits would need is not installed but stands in as a mock: 220 MB
and a quarter of a minute instead of 2.3 GB.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from unittest.mock import MagicMock

import numpy as np

NOT_INSTALLED = {
    *("asdf", "boost_histogram", "fast_histogram", "lmfit", "matplotlib", "nd2", "networkx", "numba", "playsound3", "qtpy"),
    *("ruamel", "scipy", "shapely", "skimage", "sklearn", "tifffile", "tqdm", "typing_extensions"),
}
# Reader → module, function, whether it wants the pixel size.
READERS = {
    "locan thunderstorm": ("locan.locan_io", "load_thunderstorm_file", False),
    "locan rapidstorm": ("locan.locan_io", "load_rapidSTORM_file", False),
    "locan elyra": ("locan.locan_io", "load_Elyra_file", False),
    "locan nimos": ("locan.locan_io", "load_Nanoimager_file", False),
    "locan smlm": ("locan.locan_io", "load_SMLM_file", False),
    "locan decode": ("locan.locan_io", "load_decode_file", False),
    "locan smap": ("locan.locan_io", "load_SMAP_file", False),
    "picasso picasso": ("picasso.io", "load_locs", False),
    "picasso thunderstorm": ("picasso.io", "import_ts", True),
    "picasso smap": ("picasso.io", "import_smap", True),
}


class Mocks(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what isn't installed."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in NOT_INSTALLED else None

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__, module.__spec__ = [], spec
        return module

    def exec_module(self, module):
        pass


def main(reader, file, out, pixel_nm="0"):
    sys.meta_path.append(Mocks())
    module, function, wants_pixel = READERS[reader]
    found = getattr(importlib.import_module(module), function)(file, *([float(pixel_nm)] if wants_pixel else []))
    table = found[0] if isinstance(found, tuple) else found.data  # Picasso: (table, metadata); locan: LocData
    np.savez(out, **{str(name): table[name].to_numpy() for name in table.columns if table[name].dtype.kind in "fiub"})


if __name__ == "__main__":
    main(*sys.argv[1:])
