"""Speed of the contrastive method at 64 px: pairs, training images, embedded ROIs per CPU-second; each beside the plain way.

The plain way is what one writes first, image by image, with the paper's network: pyperlin for one pattern, numpy's Poisson for each
pixel, a DataLoader over single samples, torch's own layers and Adam, a histogram and a forward pass for each ROI. One thread; medians
of rounds in which the two take turns, so that a busy machine slows both.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PX = 64
SIDE_NM = 3000.0
ROUNDS = 5


def measure_pairs() -> dict[str, float]:
    """Pairs per CPU-second.

    Returns
    -------
    ours_per_s, theirs_per_s, ratio
    """
    import torch

    from smlmbatch.hpc.heap import keep_freed_memory
    from smlmbatch.simulate.perlin import PerlinConfig, draw_shard

    torch.set_num_threads(1)
    keep_freed_memory()
    config = PerlinConfig(side_px=PX)
    draw_shard(config, seed=0, shard=0)  # the first, compiling call
    return _compare(lambda: draw_shard(config, seed=0, shard=1), lambda: _plain_pairs(16), ours_n=config.shard_pairs, theirs_n=16)


def _plain_pairs(n: int) -> list[NDArray[np.int64]]:
    import torch
    from pyperlin import FractalPerlin2D  # type: ignore[import-untyped]

    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        cells, density, gain = 2 ** rng.integers(1, 5), np.exp(rng.uniform(np.log(20), np.log(1000))), rng.uniform(0.3, 5)
        octaves = [o for o in range(3) if cells << o <= PX // 4]
        for _ in range(2):
            noise = FractalPerlin2D((PX, PX), [(int(cells) << o,) * 2 for o in octaves], [0.5**o for o in octaves])(batch_size=1)[0]
            noise = (noise - noise.mean()) / noise.std()
            share = torch.softmax(gain * noise.flatten(), dim=0).numpy()
            found.append(rng.poisson(9 * density * share).reshape(PX, PX))
    return found


def measure_training() -> dict[str, float]:
    """Images per CPU-second of training steps at 32 pairs, reading included: our loop and default network, a plain loop and the paper's."""
    import torch

    from smlmbatch.hpc.heap import keep_freed_memory
    from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
    from smlmbatch.methods.method import Alone
    from smlmbatch.train.loop import LoopOptions, start
    from smlmbatch.train.shards import read_rows, shard_path

    torch.set_num_threads(1)
    keep_freed_memory()
    config = ContrastiveConfig(samples=1536, side_px=PX)
    with tempfile.TemporaryDirectory(prefix="smlmbatch-bench-") as folder:
        options = LoopOptions(folder=Path(folder), device=torch.device("cpu"))
        run = start(Contrastive(), config, options, Alone(), lambda said: None)
        run.model.train()
        batches = run.batches()
        pairs = np.concatenate([read_rows(shard_path(run.material.folder, shard, "counts"), 0, config.shard_samples) for shard in range(4)])
        plain = _plain_steps(pairs)
        try:
            return _compare(lambda: run.step(next(batches)), lambda: next(plain), ours_n=64, theirs_n=64, rounds=20, warm=3)
        finally:
            run.close()


def _plain_steps(pairs: NDArray[np.uint16]) -> Any:
    """A generator; each `next` is one step: DataLoader, the paper's network of torch's own layers, NT-Xent, Adam."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    few, many = 8, 16
    encoder = nn.Sequential(
        *(nn.Conv2d(1, few, 3, padding=1), nn.BatchNorm2d(few), nn.Mish(), nn.Conv2d(few, few, 2, 2), nn.BatchNorm2d(few), nn.Mish()),
        *(nn.Dropout(0.2), nn.Conv2d(few, many, 3, padding=1), nn.BatchNorm2d(many), nn.Mish(), nn.Conv2d(many, many, 2, 2)),
        *(nn.BatchNorm2d(many), nn.Mish(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(many * 16, 128)),
    )
    head = nn.Sequential(nn.Linear(128, 256), nn.Mish(), nn.Linear(256, 512), nn.Mish(), nn.Linear(512, 512), nn.Sigmoid())
    network = nn.Sequential(encoder, nn.LayerNorm(128), head)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-5, weight_decay=1e-6)
    samples: Any = [(torch.from_numpy(a.astype(np.float32)), torch.from_numpy(b.astype(np.float32))) for a, b in pairs]
    loader: Any = torch.utils.data.DataLoader(samples, batch_size=32, shuffle=True, drop_last=True)
    while True:
        for a, b in loader:
            z = normalize(network(torch.log1p(torch.cat([a, b]))[:, None]), dim=1)
            logits = (z @ z.T / 0.5).masked_fill(torch.eye(64, dtype=torch.bool), -torch.inf)
            loss = cross_entropy(logits, torch.arange(64).roll(32))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            yield loss.item()


def measure_embedding() -> dict[str, float]:
    """ROIs of 900 locs embedded per CPU-second, positions to vectors, by the shipped model; `turned_per_s` averages 8 views of each."""
    import torch

    from smlmbatch.methods.contrastive.infer import embed_counts, roi_counts
    from smlmbatch.methods.folders import shipped
    from smlmbatch.methods.model import load_model

    torch.set_num_threads(1)
    model = load_model(shipped("contrastive"))
    rng = np.random.default_rng(0)
    rois = [rng.uniform(0, SIDE_NM, (900, 2)).astype(np.float32) for _ in range(512)]

    def ours(*, turned: bool = False) -> object:
        counts = [roi_counts(xy_nm[:, 0], xy_nm[:, 1], side_nm=SIDE_NM, side_px=model.config.side_px) for xy_nm in rois]
        return embed_counts(model.network, np.stack(counts), turned=turned)

    encode: Any = model.network.encode

    def theirs() -> None:
        edges = np.linspace(0, SIDE_NM, model.config.side_px + 1)
        with torch.no_grad():
            for xy_nm in rois[:64]:
                counts = np.histogram2d(xy_nm[:, 1], xy_nm[:, 0], bins=(edges, edges))[0]
                encode(torch.from_numpy(counts[None].astype(np.float32)))

    found = _compare(ours, theirs, ours_n=len(rois), theirs_n=64)
    begun = time.process_time()
    ours(turned=True)
    return found | {"turned_per_s": len(rois) / (time.process_time() - begun)}


def _compare(
    ours: Callable[[], object], theirs: Callable[[], object], *, ours_n: int, theirs_n: int, rounds: int = ROUNDS, warm: int = 1
) -> dict[str, float]:
    """Items per CPU-second of each, taken in turns; the first rounds are not counted."""
    taken = np.empty((rounds + warm, 2))
    for number in range(rounds + warm):
        for which, function in enumerate((ours, theirs)):
            begun = time.process_time()
            function()
            taken[number, which] = time.process_time() - begun
    ours_s, theirs_s = np.median(taken[warm:], axis=0)
    found = {"ours_per_s": ours_n / ours_s, "theirs_per_s": theirs_n / theirs_s}
    return found | {"ratio": found["ours_per_s"] / found["theirs_per_s"]}
