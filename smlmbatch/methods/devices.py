"""Where torch computes: the device of a rank, and what the doctor says of it."""

import torch

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.place import Place


def choose_device(device: str, place: Place) -> torch.device:
    """The device of this rank: on a node with several GPUs, the one of its local number.

    Raises
    ------
    ConfigError
        cuda is asked for and not there
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("--device cuda: no GPU is visible here; `smlmbatch doctor` says what is. In a container: apptainer run --nv")
    number = place.local_rank % torch.cuda.device_count()  # srun --gpus-per-task shows each rank one only
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def describe_devices() -> str:
    """What `--device auto` would take here, and the GPUs that torch sees.

    A build for CUDA that sees no GPU says so: that is a driver, or a container started without its option, and no lack of cards.
    """
    cuda = torch.version.cuda
    if not torch.cuda.is_available():
        why = f"built for CUDA {cuda}, no GPU visible (in a container: apptainer run --nv)" if cuda else "built without CUDA"
        return f"cpu; torch {torch.__version__}, {why}"
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    shown = ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    return f"cuda; torch {torch.__version__}, CUDA {cuda}, driver sees {len(cards)}: {shown}"
