"""What training by up to 64 GPUs should give, on paper: docs/scaling.md, from the networks themselves and the figures of `ranks`.

Bytes and messages are read from networks and recipes, compute is what was measured here on a core; how much faster a GPU is, and what its
network does, is assumed, and stated in the document beside what follows from it.

    python -m benchmarks.scaling        # from benchmarks/results.json; `python -m benchmarks.run ranks` does it as well
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

HERE: Final = Path(__file__).parent
DOCUMENT: Final = HERE.parent / "docs" / "scaling.md"
WORLDS: Final = (1, 2, 4, 8, 16, 32, 64)
FLOAT: Final = 4  # bytes
# Assumed. Of one hop within a node (NVLink) and between nodes (200 Gb/s): round figures, as nccl-tests gives them on such clusters.
GPUS_A_NODE: Final = 4
LATENCY_US: Final = {"node": 8.0, "nodes": 15.0}
GB_PER_S: Final = {"node": 100.0, "nodes": 20.0}
FASTER: Final = 100.0  # a GPU against one AVX2 core, on the images of a step
LAUNCH_US: Final = 6.0  # the host's time for an operation, eager torch
TERA_PER_S: Final = 20.0  # float32 products and sums of the loss, whose matrix is images x images on every rank
MESSAGES: Final = ("batch norms", "gather", "gradients")


@dataclass(frozen=True)
class Step:
    """What a training step of a recipe computes and sends."""

    pairs: int  # of a batch
    parameters: int
    operations: int  # dispatched in a step of one rank
    norm_channels: tuple[int, ...]
    row_bytes: int  # gathered for each image
    image_ms: float  # on one core


class Listening:
    """One rank that notes how wide the rows are that it is asked to gather."""

    rank, world, width = 0, 1, 0

    def gather(self, values: "torch.Tensor") -> "torch.Tensor":
        self.width += values.shape[1]
        return values

    def sum(self, values: "torch.Tensor") -> "torch.Tensor":
        return values


def read_step(recipe: str, measured: Mapping[str, float]) -> Step:
    """From the recipe's network, a step of it that is listened to, and the measured steps of a whole and of half a batch."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from smlmbatch.methods.contrastive.recipe import Contrastive
    from smlmbatch.methods.layers import BatchNorm
    from smlmbatch.simulate.perlin import PARAMETERS

    class Counted(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.n += not func.is_view
            return func(*args, **(kwargs or {}))

    method = Contrastive()
    config = method.recipes[recipe]
    network, listening = method.build(config), Listening()
    batch = {"counts": torch.ones(2, 2, config.side_px, config.side_px), "parameters": torch.rand(2, len(PARAMETERS))}
    with Counted() as counted:
        loss, _ = method.loss(network, batch, config, listening)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.optim.Adam(network.parameters(), fused=True).step()
    return Step(
        pairs=config.batch,
        parameters=sum(p.numel() for p in network.parameters()),
        operations=counted.n,
        norm_channels=tuple(len(layer.weight) for layer in network.modules() if isinstance(layer, BatchNorm)),
        row_bytes=FLOAT * listening.width,
        image_ms=(measured["one_ms"] - measured["compute_ms"]) / config.batch,  # half a batch has as many images as the whole has pairs
    )


def all_reduce_ms(n_bytes: float, world: int) -> float:
    """A tree for the latency, a ring for the bytes, at the slowest link's pace."""
    where = "node" if world <= GPUS_A_NODE else "nodes"
    return 2 * math.log2(world) * LATENCY_US[where] / 1e3 + 2 * (world - 1) / world * n_bytes / GB_PER_S[where] / 1e6


def gather_ms(n_bytes: float, world: int) -> float:
    """`n_bytes` of all ranks together, to each of them."""
    where = "node" if world <= GPUS_A_NODE else "nodes"
    return math.log2(world) * LATENCY_US[where] / 1e3 + (world - 1) / world * n_bytes / GB_PER_S[where] / 1e6


def spent_ms(step: Step, world: int, pairs: int) -> dict[str, float]:
    """Milliseconds of a step of `pairs` pairs on so many ranks; the host launches while the GPU computes, so the longer of both counts."""
    norms = [all_reduce_ms(n, world) for c in step.norm_channels for n in (FLOAT * (2 * c + 1), FLOAT * 2 * c)]
    return {
        "launches": step.operations * LAUNCH_US / 1e3,
        "network": 2 * pairs / world * step.image_ms / FASTER,
        "loss": 6 * (2 * pairs) ** 2 * step.row_bytes / FLOAT / TERA_PER_S / 1e9,  # forward once, backward twice
        "batch norms": sum(norms),
        "gather": gather_ms(2 * pairs * step.row_bytes, world),
        "gradients": all_reduce_ms(FLOAT * step.parameters, world),
    }


def step_ms(spent: Mapping[str, float]) -> float:
    return max(spent["launches"], spent["network"] + spent["loss"]) + sum(spent[name] for name in MESSAGES)


def _table(step: Step, *, grows: bool) -> list[str]:
    """A row for each number of GPUs: of one batch, or of a batch that grows with them."""
    alone = step_ms(spent_ms(step, 1, step.pairs))
    lines = [
        "| GPUs | pairs | launches | network | loss | batch norms | gather | gradients | step, ms | images/s | efficiency | most time |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for world in WORLDS:
        pairs = step.pairs * (world if grows else 1)
        if pairs % world:
            continue
        spent = spent_ms(step, world, pairs)
        total = step_ms(spent)
        efficiency = pairs / step.pairs * alone / (world * total)
        cells = [*(f"{ms:.2f}" for ms in spent.values()), f"{total:.2f}", f"{2e3 * pairs / total:,.0f}", f"{efficiency:.2f}"]
        lines.append(f"| {world} | {pairs} | {' | '.join(cells)} | {max(spent, key=lambda name: spent[name])} |")
    return lines


def _section(recipe: str, measured: Mapping[str, float]) -> list[str]:
    step = read_step(recipe, measured)
    norm_bytes = sum(FLOAT * (4 * c + 1) for c in step.norm_channels)
    return [
        f"## Recipe `{recipe}`",
        "",
        f"- gradients: {step.parameters:,} numbers, {FLOAT * step.parameters / 1e6:.2f} MB a step, one message",
        f"- batch norms: {len(step.norm_channels)} layers, two messages each, {norm_bytes} bytes in all",
        f"- gather: {step.row_bytes:,} bytes an image, {2 * step.pairs * step.row_bytes / 1e6:.2f} MB for {step.pairs} pairs, one message",
        f"- {step.operations:,} operations a step; {step.image_ms:.2f} ms for an image on a core",
        f"- measured: {measured['one_per_s']:,.0f} images/s on one core, {measured['joined_per_s']:,.0f} by 2 ranks on 2 cores, efficiency "
        f"{measured['efficiency']:.2f}; of a step's {measured['joined_ms']:.1f} ms, {measured['compute_ms']:.1f} are compute and "
        f"{measured['communication_ms']:.1f} communication and waiting",
        "",
        f"The recipe's batch, shared by all (on more GPUs than {step.pairs} there would be none for some):",
        "",
        *_table(step, grows=False),
        "",
        "A batch that grows with the GPUs (another recipe: it learns otherwise):",
        "",
        *_table(step, grows=True),
        "",
        _saturates(step),
        "",
    ]


def _saturates(step: Step) -> str:
    """What stands in the way first, and at the end."""
    largest = {}
    for world in (2, WORLDS[-1]):
        spent = spent_ms(step, world, step.pairs * world)
        largest[world] = max(spent, key=lambda name: spent[name]), max(MESSAGES, key=lambda name: spent[name])
    (first, first_message), (last, last_message) = largest.values()
    return f"On 2 GPUs most time goes to: {first} (of messages: {first_message}); on {WORLDS[-1]}: {last} (of messages: {last_message})."


def document(measured: Mapping[str, Mapping[str, float]]) -> str:
    """The Markdown document."""
    text = f"""# Training on many GPUs, on paper

Written by `python -m benchmarks.scaling`. Nothing here was run on a GPU. Bytes, messages and operations are read from the networks, a
core's time from `python -m benchmarks.run ranks`; the rest is assumed: a GPU {FASTER:.0f} times as fast as one core, {LAUNCH_US:.0f} us
of the host for each operation (while the GPU computes: the longer of both counts), {TERA_PER_S:.0f} TFLOP/s for the loss, {GPUS_A_NODE}
GPUs a node, {GB_PER_S["node"]:.0f} GB/s and {LATENCY_US["node"]:.0f} us a hop within it, {GB_PER_S["nodes"]:.0f} GB/s and
{LATENCY_US["nodes"]:.0f} us between nodes. Messages are taken one after the other, none hidden behind compute. Columns from launches to
gradients are milliseconds.

What follows: these networks are small, and one core or one GPU trains the shipped model in minutes. On a GPU a step of the recipe's batch
is little more than launching its operations, of which a second GPU has as many; several GPUs are of use for batches that grow with them.
To try many recipes, give each a GPU of its own.
"""
    return "\n".join([text, *(line for recipe, found in measured.items() for line in _section(recipe, found))]).rstrip() + "\n"


def write(results: Mapping[str, Any]) -> None:
    """The document, from the results of all benchmarks."""
    DOCUMENT.write_text(document({recipe: found for recipe, found in results["ranks"].items() if isinstance(found, dict)}))


if __name__ == "__main__":
    write(json.loads((HERE / "results.json").read_text()))
