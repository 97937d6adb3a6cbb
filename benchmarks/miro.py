"""What MIRO costs: locs per CPU-second from a published field to labels, memory per loc, two workers against one, training.

Fields are mosaics of simulated ones (about 170 locs per um2, half of them in clusters). One thread; each field in a fresh process, after a
first call that compiles. The published architecture (recipe `paper`, weights of chance: its cost doesn't hang on them) takes its turn on
the smallest field in the same process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SIZES: Final = (4_000, 50_000, 200_000, 1_000_000)
SHARED: Final = (400_000, 1_000_000)  # locs of fields that two workers share; each makes the first pass for itself, of up to 200,000 locs
_TILE_NM: Final = 1000.0
_WINDOW_NM: Final = 4000.0
_KINDS: Final = 24  # simulated fields that a mosaic is made of
_STEPS: Final = 60
_CHILD: Final = "import json, sys; from benchmarks import miro; print(json.dumps(getattr(miro, sys.argv[1])(*json.loads(sys.argv[2]))))"


def measure(folder: Path) -> dict[str, Any]:
    """All figures.

    Returns
    -------
    fields : for each size: n_locs, locs_per_s, bytes_per_loc (peak beyond what the process held before), peak_mib, clusters
    paper_per_s, ratio : locs per CPU-second of the published architecture on the smallest field, and ours over it
    shared : for each of some sizes n_locs; one_s, two_s, speedup: wall time of all blocks of a field by one process and by two
    training_fields_per_s, training_locs_per_s : per CPU-second, reading included, drawing not
    """
    paths = {n: write_field(folder / f"{n}.zip", n) for n in {*SIZES, *SHARED}}
    fields = [_ask("whole", str(paths[n])) for n in SIZES]
    against = _ask("both", str(paths[SIZES[0]]))
    shared = [_by_one_and_two(paths[n], n) for n in SHARED]
    return {"fields": fields, **against, "shared": shared, **_ask("training", str(folder / "training"))}


def _by_one_and_two(path: Path, n: int) -> dict[str, float]:
    one_s, two_s = (max(_ask_all("share", [(str(path), part, parts) for part in range(parts)])) for parts in (1, 2))
    return {"n_locs": n, "one_s": one_s, "two_s": two_s, "speedup": one_s / two_s}


def write_field(path: Path, n: int) -> Path:
    """A published unit of stage ingest that holds a mosaic of so many locs."""
    from smlmbatch.store.arrays import unit_writer

    x, y = mosaic(n).T
    column, row = (np.floor(values / _TILE_NM).astype(np.int64) for values in (x, y))
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    tile = row * columns + column
    order = np.argsort(tile, kind="stable")
    with unit_writer(path, "ingest") as out:
        out.write("x_nm", x[order])
        out.write("y_nm", y[order])
        out.write("channel", np.zeros(n, np.uint8))
        out.write("row", order)
        out.write("tile_start", np.searchsorted(tile[order], np.arange(rows * columns + 1)))
        out.attrs.update(tile_nm=_TILE_NM, tile_grid=[rows, columns])
    return path


def mosaic(n: int) -> NDArray[np.float32]:
    """Simulated fields side by side: (n, 2) f4, nm."""
    from smlmbatch.simulate.clusters import ClusterFields, draw_cluster_field

    family = ClusterFields(locs=(1500, 5000), side_um=(3.0, 4.0), empty=0.0, blinking=0.3)
    kinds = [draw_cluster_field(0, number, family).xy_nm % _WINDOW_NM for number in range(_KINDS)]
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(n,)))
    chosen: list[NDArray[np.float32]] = []
    while sum(map(len, chosen)) < n:
        chosen.append(kinds[rng.integers(_KINDS)])
    wide = int(np.ceil(np.sqrt(len(chosen))))
    places = [xy + np.float32(_WINDOW_NM) * np.array(divmod(number, wide), np.float32) for number, xy in enumerate(chosen)]
    return np.concatenate(places)[:n].astype(np.float32)


# ---- in processes of their own


def whole(path: str) -> dict[str, float]:
    """One field from its unit to labels."""
    from smlmbatch.methods.miro.blocks import MiroBlocks, group_blocks
    from smlmbatch.store.arrays import UnitReader

    network, unit = _ready(), UnitReader(Path(path))
    n, held, begun = unit.length("x_nm"), _memory("VmRSS"), time.process_time()
    cut = MiroBlocks(unit, network=network, channels=[0])
    clusters = group_blocks(unit, [cut.compute(number) for number in range(cut.count)], channels=[0], rules=cut.rules)
    seconds, peak = time.process_time() - begun, _memory("VmHWM")
    said = {"n_locs": n, "locs_per_s": n / seconds, "bytes_per_loc": (peak - held) / n, "peak_mib": peak / 2**20}
    return said | {"clusters": len(clusters.parent)}


def both(path: str) -> dict[str, float]:
    """Ours and the published architecture in turns, both in memory; medians of three."""
    import torch

    from smlmbatch.methods.miro.infer import find_clusters, group_paper
    from smlmbatch.methods.miro.recipe import PAPER, Miro
    from smlmbatch.store.arrays import UnitReader

    network, unit = _ready(), UnitReader(Path(path))
    torch.manual_seed(0)  # type: ignore[no-untyped-call]
    paper = Miro().build(PAPER)
    xy_nm = np.column_stack([unit.read("x_nm"), unit.read("y_nm")])
    group_paper(paper, xy_nm[:200], PAPER)
    seconds = np.empty((3, 2))
    for turn in range(3):
        for which, find in enumerate((lambda: find_clusters(network, xy_nm), lambda: group_paper(paper, xy_nm, PAPER))):
            begun = time.process_time()
            find()
            seconds[turn, which] = time.process_time() - begun
    ours_s, paper_s = np.median(seconds, axis=0)
    return {"in_memory_per_s": len(xy_nm) / ours_s, "paper_per_s": len(xy_nm) / paper_s, "ratio": paper_s / ours_s}


def share(path: str, part: int, parts: int) -> float:
    """Wall seconds of every so many-th block, what is common to all included."""
    from smlmbatch.methods.miro.blocks import MiroBlocks
    from smlmbatch.store.arrays import UnitReader

    network, unit = _ready(), UnitReader(Path(path))
    begun = time.perf_counter()
    cut = MiroBlocks(unit, network=network, channels=[0])
    for number in range(part, cut.count, parts):
        cut.compute(number)
    return time.perf_counter() - begun


def training(folder: str) -> dict[str, float]:
    """Steps of the default recipe on fields that are drawn beforehand."""
    import torch

    from smlmbatch.hpc.heap import keep_freed_memory
    from smlmbatch.methods.method import Alone
    from smlmbatch.methods.miro.recipe import Miro, MiroConfig
    from smlmbatch.train.loop import LoopOptions, start

    torch.set_num_threads(1)
    keep_freed_memory()
    config = MiroConfig(samples=192)
    Path(folder).mkdir()
    begun = time.process_time()
    run = start(Miro(), config, LoopOptions(folder=Path(folder), device=torch.device("cpu")), Alone(), lambda said: None)
    drawn_s = time.process_time() - begun
    run.model.train()
    batches, n_locs, seconds = run.batches(), 0, 0.0
    try:
        for step in range(_STEPS + 3):
            begun = time.process_time()
            batch = next(batches)
            run.step(batch)
            if step >= 3:  # the first ones compile
                seconds += time.process_time() - begun
                n_locs += int(batch["xy_nm_sizes"].sum())
    finally:
        run.close()
    fields = _STEPS * config.batch
    return {
        "training_fields_per_s": fields / seconds,
        "training_locs_per_s": n_locs / seconds,
        "drawn_fields_per_s": config.samples / drawn_s,
    }


def _ready() -> Any:
    """The shipped network, in a process that has compiled what it needs."""
    import torch

    from smlmbatch.methods.folders import shipped
    from smlmbatch.methods.miro.infer import find_clusters
    from smlmbatch.methods.model import load_model

    torch.set_num_threads(1)
    network = load_model(shipped("miro")).network
    find_clusters(network, np.random.default_rng(0).uniform(0, 1000, (2000, 2)))
    return network


def _memory(what: str) -> int:
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(what))


def _ask(function: str, *arguments: object) -> Any:
    return _ask_all(function, [arguments])[0]


def _ask_all(function: str, many: Iterable[tuple[object, ...]]) -> list[Any]:
    """What a function of this module gives in fresh processes, all at the same time."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, "-c", _CHILD, function, json.dumps(arguments)] for arguments in many]
    processes = [subprocess.Popen(command, env=one_thread, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{function}: a process failed")
    return [json.loads(one) for one in said]


def shown(found: dict[str, Any]) -> str:
    """Locs per CPU-second at every size."""
    return "; ".join(f"{of['n_locs']:,} locs: {of['locs_per_s']:,.0f}" for of in found["fields"])
