"""`smlmbatch train`: from settings to a model folder, bare, under torchrun or under srun.

A model folder that is complete for these settings is left as it is; one of other settings is refused. While training runs, the folder
holds `checkpoints/` and `material/` as well; both are removed at the end. Ranks part when training has ended: rank 0 alone measures the
model and writes it, which takes longer than ranks wait for one another.
"""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from smlmbatch.errors import ConfigError, RankLost
from smlmbatch.hpc.place import Place
from smlmbatch.methods.devices import choose_device
from smlmbatch.methods.folders import CARD, CONFIG, WEIGHTS, model_sha256
from smlmbatch.methods.method import Method
from smlmbatch.methods.model import read_settings, save_model
from smlmbatch.methods.ranks import joined
from smlmbatch.store.units import write_whole
from smlmbatch.train.card import card_text
from smlmbatch.train.checkpoint import CHECKPOINTS
from smlmbatch.train.loop import LoopOptions, Talk, Trained, train
from smlmbatch.train.material import MATERIAL


def train_model(
    method: Method,
    config: Any,
    folder: Path,
    *,
    place: Place,
    device: str = "auto",
    checkpoint_s: float = 120.0,
    judge_seeds: int = 5,
    talk: Talk,
) -> bool:
    """Train into `folder`; False if the model is there already.

    Parameters
    ----------
    device : "cpu", "cuda", or "auto" = cuda where there is one
    judge_seeds : how many times the finished model is measured, each on data of its own; 0 = a card without figures

    Raises
    ------
    ConfigError
        the folder holds another model, or no such device
    Interrupted
        asked to stop; run again to go on
    ResourceError
        the ranks didn't meet, or one gave up; RankLost: one died, run again to go on
    """
    if _is_complete(folder, method, config):
        return False
    chosen = choose_device(device, place)
    try:
        with stop_asked() as asked, joined(place, chosen, should_stop=asked) as ranks:
            told = talk if ranks.rank == 0 else _say_nothing
            options = LoopOptions(folder=folder, device=chosen, checkpoint_s=checkpoint_s, should_stop=asked)
            trained = train(method, config, options, ranks, told)
    except RankLost as error:
        raise RankLost(f"{error}; {_where_it_goes_on(folder)}") from error
    if place.rank == 0:
        _write_model(folder, method, config, trained, world=place.world, judge_seeds=judge_seeds, talk=talk)
    return True


def _where_it_goes_on(folder: Path) -> str:
    steps = [int(path.stem.removeprefix("step_")) for path in (folder / CHECKPOINTS).glob("step_*.pt")]
    return f"the newest checkpoint is of step {max(steps):,}" if steps else "there is no checkpoint yet"


def _write_model(folder: Path, method: Method, config: Any, trained: Trained, *, world: int, judge_seeds: int, talk: Talk) -> None:
    """Weights, then figures, then the card: a folder with a card is complete. Killed in between, the next run does it again."""
    model = trained.model.cpu()
    method.settle(model, config)
    save_model(folder, method, config, model)
    if judge_seeds:
        talk("measures the model")
    figures = method.judge(model, config, seeds=judge_seeds) if judge_seeds else {}
    text = card_text(method, config, trained, figures, sha256=model_sha256(folder), world=world, seeds=judge_seeds)
    write_whole(folder / CARD, text.encode())
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Remove what training made on its way, by its names: a folder given as --out may have a `material` of the user's own in it."""
    for shards in (folder / MATERIAL).glob("[0-9a-f]" * 12):
        shutil.rmtree(shards, ignore_errors=True)
    found = [path for pattern in ("step_*.pt", ".step_*") for path in (folder / CHECKPOINTS).glob(pattern)]
    for path in (*found, folder / CHECKPOINTS, folder / MATERIAL):
        with suppress(OSError):  # a folder that isn't empty or not there; a file system that keeps what is open
            path.rmdir() if path.is_dir() else path.unlink()


def _say_nothing(_: str) -> None:
    """What the other ranks say."""


def _is_complete(folder: Path, method: Method, config: Any) -> bool:
    if not (folder / CONFIG).exists():
        return False
    found, settings = read_settings(folder / CONFIG, whole=True)
    if (found.name, settings) != (method.name, config):
        raise ConfigError(f"{folder}: holds a model of other settings; give another folder, or the same settings")
    return (folder / WEIGHTS).exists() and (folder / CARD).exists()


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """While the block runs, TERM, INT and USR1 only raise a flag, which the loop looks at between two steps."""
    raised: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        raised.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(raised)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
