"""Checkpoints: whole or not there, the damaged one gives way, and nothing in one is ever run."""

import hashlib
import io
import pickle

import pytest
import torch

from smlmbatch.errors import ConfigError, InputError
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.model import load_model, save_model
from smlmbatch.train.checkpoint import load_checkpoint, save_checkpoint


def state(step, **more):
    return {"step": step, "recipe": "r", "world": 1, "model": {"w": torch.full((3,), float(step))}} | more


def load(folder, recipe="r", world=1):
    return load_checkpoint(folder, recipe=recipe, world=world)


def write(path, content):
    """A file with a right checksum and any content."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


class Payload:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path):
    for step in (1, 2, 30, 4000):
        save_checkpoint(tmp_path, state(step))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step_00000030.pt", "step_00004000.pt"]
    assert load(tmp_path)["step"] == 4000
    assert load(tmp_path / "nothing") is None


@pytest.mark.parametrize("keep", [0, 1, 100, 1000])
def test_damaged_one_gives_way_to_the_one_before(tmp_path, keep):
    for step in (1, 2):
        path = save_checkpoint(tmp_path, state(step, padding=torch.zeros(1000)))
    path.write_bytes(path.read_bytes()[:keep])
    assert load(tmp_path)["step"] == 1


def test_damaged_one_takes_no_place_of_a_good_one(tmp_path):
    """Gone on from 2, as 30 can't be read: 2 and the next must both stay."""
    for step in (1, 2, 30):
        path = save_checkpoint(tmp_path, state(step))
    path.write_bytes(b"")
    save_checkpoint(tmp_path, state(10))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step_00000002.pt", "step_00000010.pt"]


def test_flipped_byte_is_noticed(tmp_path):
    """Numbers that a disk changed are not trained on."""
    for step in (1, 2):
        path = save_checkpoint(tmp_path, state(step, padding=torch.zeros(1000)))
    whole = bytearray(path.read_bytes())
    whole[whole.index(bytes(3000)) + 1500] ^= 0xFF
    path.write_bytes(whole)
    assert load(tmp_path)["step"] == 1


def test_another_recipe_or_world_is_refused(tmp_path):
    save_checkpoint(tmp_path, state(1))
    with pytest.raises(ConfigError, match="other settings"):
        load(tmp_path, recipe="other")
    with pytest.raises(ConfigError, match="made by 1 ranks, this is 2"):
        load(tmp_path, world=2)


def test_only_damaged_ones_are_an_error(tmp_path):
    (tmp_path / "step_00000001.pt").write_bytes(b"nothing")
    write(tmp_path / "step_00000002.pt", [1, 2])
    torch.save(state(3), tmp_path / "step_00000003.pt")
    with pytest.raises(InputError, match="can't be read, nor any before it"):
        load(tmp_path)


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    marker = tmp_path / "was_run"
    save_checkpoint(tmp_path, state(1, extra=Payload(marker)))
    evil = pickle.dumps(Payload(marker), protocol=2)
    (tmp_path / "step_00000002.pt").write_bytes(hashlib.sha256(evil).digest() + evil)
    with pytest.raises(InputError, match="can't be read"):
        load(tmp_path)
    assert not marker.exists()
    pickle.loads(evil).close()
    assert marker.exists(), "the payload should have worked where pickles are run"


def test_nothing_in_weights_is_run(tmp_path):
    config, marker = ContrastiveConfig(), tmp_path / "was_run"
    save_model(tmp_path, Contrastive(), config, Contrastive().build(config))
    for write in (lambda path: path.write_bytes(pickle.dumps(Payload(marker))), lambda path: torch.save(Payload(marker), path)):
        write(tmp_path / "model.safetensors")
        with pytest.raises(InputError, match="can't be read"):
            load_model(tmp_path)
    assert not marker.exists()
