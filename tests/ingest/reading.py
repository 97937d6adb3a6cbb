"""Read a file as ingest does, without a store; and what random damage may do to a reader."""

from dataclasses import dataclass

import numpy as np

from smlmbatch.errors import InputError
from smlmbatch.ingest.clean import Tally, clean_batches
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.readers import open_source
from smlmbatch.ingest.recognise import recognised_format
from smlmbatch.ingest.source import Source


@dataclass
class Read:
    """All locs of a file in its own order, positions absolute in nm."""

    source: Source
    tally: Tally
    columns: dict

    def __getattr__(self, name):
        return self.columns[name]


def read(path, **overrides):
    """Recognise, open, stream."""
    said = Overrides(**overrides)
    source = open_source(path, recognised_format(path, overrides=said), said)
    tally = Tally()
    batches = list(clean_batches(source, tally))
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return Read(source, tally, columns)


def damage_is_told(path, rng, *, n_times=60, **overrides):
    """Cut a file and change bytes at random places: it is read, or refused with an InputError. Returns how often it was read."""
    whole = path.read_bytes()
    n_read = 0
    for k in range(n_times):
        raw = bytearray(whole)
        if k % 2:
            del raw[rng.integers(len(raw)) :]
        else:
            for at in rng.integers(len(raw), size=rng.integers(1, 8)):
                raw[at] = rng.integers(256)
        path.write_bytes(raw)
        try:
            tally = read(path, **overrides).tally
        except InputError:
            continue
        n_read += 1
        assert tally.n + sum(tally.dropped.values()) == tally.n_read
    path.write_bytes(whole)
    return n_read
