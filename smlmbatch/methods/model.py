"""A trained model is a folder: weights, the settings they were made with, a card, the metrics of its training.

    model.safetensors   weights; read without executing anything
    config.toml         method and all settings of its recipe
    card.md             data, recipe, figures, licence, checksum of the weights
    metrics.jsonl       one line per epoch

A model is known by the sha256 of its weights together with its settings: that is what fingerprints of results hold.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from smlmbatch.errors import ConfigError, InputError
from smlmbatch.methods.folders import CONFIG, WEIGHTS, model_sha256
from smlmbatch.methods.method import Method
from smlmbatch.store.units import appears_whole, write_whole

if TYPE_CHECKING:
    import torch
    from torch import nn


_LARGEST = 2**31 - 1  # of a recipe's numbers


@dataclass(frozen=True, slots=True)
class Model:
    """A model read from its folder, in evaluation mode."""

    method: Method
    config: Any
    network: "nn.Module"
    sha256: str


def known_methods() -> dict[str, Method]:
    """Name → method, of all that can be trained."""
    from smlmbatch.methods.contrastive.recipe import Contrastive
    from smlmbatch.methods.miro.recipe import Miro
    from smlmbatch.methods.pcvae.recipe import Pcvae

    known: tuple[Method, ...] = (Contrastive(), Miro(), Pcvae())
    return {method.name: method for method in known}


def save_model(folder: Path, method: Method, config: Any, network: "nn.Module") -> str:
    """Write weights and settings (weights last: a folder with weights is complete); their sha256."""
    from safetensors.torch import save_file

    kept = {name: value for name, value in network.state_dict().items() if not name.startswith(method.only_in_training)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in kept.items()}
    write_whole(folder / CONFIG, settings_text(method.name, config).encode())
    with appears_whole(folder / WEIGHTS) as partial:
        save_file(tensors, partial, metadata={"method": method.name})
        partial.chmod(folder.stat().st_mode & 0o666)  # safetensors makes it readable to its owner alone
    return model_sha256(folder)


def load_model(folder: Path) -> Model:
    """Read a model folder.

    Raises
    ------
    InputError
        something is missing, damaged, or the weights don't fit the settings
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    want, mend = f"a model folder with {CONFIG} and {WEIGHTS}", "name a folder that `smlmbatch train` made"
    try:
        method, config = read_settings(folder / CONFIG, whole=True)
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise InputError(folder, f"{Path(str(error.filename)).name} is missing", want, mend) from error
    except (OSError, SafetensorError) as error:
        raise InputError(folder / WEIGHTS, f"can't be read ({error})", want, mend) from error
    finding = _unfit(method, config, tensors)
    if finding:
        raise InputError(folder / WEIGHTS, f"doesn't fit the settings beside it: {finding}", want, "copy the folder again")
    with torch.random.fork_rng(devices=[]):
        network = method.build(config)
    network.load_state_dict(tensors, strict=False)
    network.eval()
    return Model(method, config, network, model_sha256(folder))


def _unfit(method: Method, config: Any, tensors: "Mapping[str, torch.Tensor]") -> str:
    """Which tensors are not those of these settings; "" = they are. No memory is taken for what the settings ask for."""
    import torch

    try:
        with torch.device("meta"):
            built = method.build(config).state_dict()
    except (RuntimeError, OverflowError, TypeError) as error:  # larger than any memory
        return " ".join(str(error).split())[:200]
    wanted = {name: value.shape for name, value in built.items() if not name.startswith(method.only_in_training)}
    unfit = sorted(name for name in {*wanted, *tensors} if name not in wanted or name not in tensors or wanted[name] != tensors[name].shape)
    return f"{len(unfit)} tensors are missing, unknown or of another shape ({', '.join(unfit[:3])})" if unfit else ""


def untrained(model: Model, *, seed: int) -> "nn.Module":
    """The same network with fresh weights of this seed, in evaluation mode: what a trained one is held against."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = model.method.build(model.config)
    return network.eval()


# ---- settings as TOML


def settings_text(method: str, config: Any) -> str:
    """The settings of a recipe as TOML, with the method's name.

    Strings, numbers and pairs of numbers are all that recipes hold.
    """
    lines = [f'method = "{method}"', "", f"[{method}]"]
    for name, value in dataclasses.asdict(config).items():
        shown = f'"{value}"' if isinstance(value, str) else list(value) if isinstance(value, tuple) else value
        lines.append(f"{name} = {str(shown).lower() if isinstance(shown, bool) else shown}")
    return "\n".join(lines) + "\n"


def read_settings(path: Path, *, whole: bool = False) -> tuple[Method, Any]:
    """Method and settings of a model's `config.toml`, or of a recipe a user wrote.

    Parameters
    ----------
    whole : refuse left-out keys: today's default need not be what a model was trained with

    Raises
    ------
    FileNotFoundError
        there is no such file
    InputError
        not TOML, an unknown method, an unknown key, a value of the wrong kind
    """
    want = "all settings of a model" if whole else "the settings of a recipe"
    mend = "copy the model's folder again, or name another" if whole else "correct the file, or leave the key out"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # TOML's and UTF-8's own are values; so is a number of 5,000 digits
        raise InputError(path, f"is not TOML ({error})", want, mend) from error
    name = raw.get("method")
    methods = known_methods()
    if not isinstance(name, str) or name not in methods:
        raise InputError(path, f"method = {name!r}", f"one of {', '.join(methods)}", mend if whole else "name the method in the first line")
    try:
        values = raw.get(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{name} = {values!r}: wanted a section [{name}]")
        stray = sorted(set(raw) - {"method", name})
        if stray:
            raise ConfigError(f"{', '.join(stray)} stands outside the section [{name}], where nothing reads it")
        config = config_of(methods[name], values)
        left_out = sorted({f.name for f in dataclasses.fields(config)} - set(values)) if whole else []
        if left_out:
            raise ConfigError(f"says nothing of {', '.join(left_out)}: another version's model, or a damaged file")
        return methods[name], config
    except ConfigError as error:
        raise InputError(path, str(error), want, mend) from error


def config_of(method: Method, values: Mapping[str, Any]) -> Any:
    """The method's settings with these values in place of the defaults.

    Raises
    ------
    ConfigError
        unknown key, value of the wrong kind, or one that can't be
    """
    kinds = {f.name: f.type for f in dataclasses.fields(method.Config)}
    unknown = sorted(set(values) - set(kinds))
    if unknown:
        raise ConfigError(f"{method.name}: unknown key {', '.join(unknown)}; known are {', '.join(kinds)}")
    return method.Config(**{name: _of_kind(method.name, name, kinds[name], value) for name, value in values.items()})


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST


def _of_kind(method: str, name: str, kind: Any, value: Any) -> Any:
    """The value if it is of the kind; whole numbers serve as floats, lists as tuples.

    No infinite number is of any kind, nor one that 32 bits don't hold.

    >>> _of_kind("m", "x", float, 3), _of_kind("m", "x", tuple[int, int], [1, 2])
    (3.0, (1, 2))
    """
    choices = get_args(kind)
    if get_origin(kind) is tuple:
        good = (
            isinstance(value, list | tuple)
            and len(value) == len(choices)
            and all(_is_number(v) and (k is float or type(v) is k) for v, k in zip(value, choices, strict=True))
        )
        value = tuple(k(v) for v, k in zip(value, choices, strict=True)) if good else value
    elif choices:
        good = value in choices
    elif kind is float:
        good = _is_number(value)
        value = float(value) if good else value
    else:
        good = type(value) is kind and (kind is not int or _is_number(value))
    if not good:
        if type(value) in (int, float) and not _is_number(value):
            raise ConfigError(f"{method}: {name}: wanted a number between {-_LARGEST:,} and {_LARGEST:,}")
        wanted = ", ".join(map(repr, choices)) if choices and get_origin(kind) is not tuple else str(getattr(kind, "__name__", kind))
        raise ConfigError(f"{method}: {name} = {value!r}: wanted {wanted}")
    return value
