"""Training pairs as files: what the contrastive method learns from, to look at or to learn from elsewhere.

    FOLDER/pairs/parameters.csv      one row per pair: what both its members were drawn with (densities times up to e^±density_jitter)
    FOLDER/pairs/rasters.npz         counts (pairs, 2, side, side) u2
    FOLDER/pairs/locs.parquet        on demand: pair, member, x_nm, y_nm; locs uniform within their pixel
    FOLDER/pairs/family.json         the family's settings; written last

Pair i is pair i % shard_pairs of shard i // shard_pairs, the same that training with this seed draws.
"""

import dataclasses
import json
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.perlin import PARAMETERS, PerlinConfig, draw_shard, scatter
from smlmbatch.store.units import appears_whole, write_whole

_SCATTER: Final = 0x5CA7  # purpose of the places within pixels


def write_pairs(folder: Path, config: PerlinConfig, *, n_pairs: int, seed: int, with_locs: bool) -> bool:
    """Write the first `n_pairs` pairs of the family; False if they are there.

    Raises
    ------
    ConfigError
        `folder` holds other pairs, or none are asked for
    """
    if n_pairs < 1:
        raise ConfigError(f"{n_pairs} pairs: wanted 1 or more")
    target = folder / "pairs"
    settings = {"n_pairs": n_pairs, "seed": seed, "with_locs": with_locs, "family": dataclasses.asdict(config)}
    text = json.dumps(settings, indent=1)
    if (target / "family.json").exists():
        if (target / "family.json").read_text() != text:
            raise ConfigError(f"{target}: holds other pairs; delete it or name another folder")
        return False
    shards = [draw_shard(config, seed=seed, shard=shard) for shard in range(-(-n_pairs // config.shard_pairs))]
    counts = np.concatenate([shard.counts for shard in shards])[:n_pairs]
    parameters = np.concatenate([shard.parameters for shard in shards])[:n_pairs]
    target.mkdir(parents=True, exist_ok=True)
    rows = [",".join([str(pair), *(f"{value:.7g}" for value in values)]) for pair, values in enumerate(parameters.tolist())]
    write_whole(target / "parameters.csv", ("\n".join([",".join(["pair", *PARAMETERS]), *rows]) + "\n").encode())
    with appears_whole(target / "rasters.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, counts=counts)
    if with_locs:
        _write_locs(target / "locs.parquet", counts, config, seed=seed)
    write_whole(target / "family.json", text.encode())
    return True


def _write_locs(path: Path, counts: NDArray[np.uint16], config: PerlinConfig, *, seed: int) -> None:
    """One row group per pattern, so that millions of locs are never in memory together."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([("pair", pa.int32()), ("member", pa.int8()), ("x_nm", pa.float32()), ("y_nm", pa.float32())])
    with appears_whole(path) as partial, parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        for pair, member in np.ndindex(counts.shape[:2]):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SCATTER, int(pair), int(member))))
            xy_nm = scatter(counts[pair, member], side_um=config.side_um, rng=rng).astype(np.float32)
            of = [np.full(len(xy_nm), value) for value in (pair, member)]
            writer.write_table(pa.table([pa.array(of[0], pa.int32()), pa.array(of[1], pa.int8()), xy_nm[:, 0], xy_nm[:, 1]], schema=schema))
