"""The document of formats is up to date, and says nothing that isn't so."""

from pathlib import Path

import pytest

from smlmbatch.export.campaign import LOCS_FORMATS
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.evidence import EVIDENCE
from smlmbatch.ingest.formats_document import document
from smlmbatch.ingest.readers import READERS
from smlmbatch.ingest.recognise import recognise
from smlmbatch.ingest.vendors import TEXT_FORMATS
from tests.ingest.fuzz_seeds import all_seeds, containers_of
from tests.ingest.reading import read

TEXT = {form.name for form in TEXT_FORMATS}
BINARY = [name for name in READERS if name not in TEXT]


def test_the_document_is_up_to_date():
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    assert text == document(), "run: python -m smlmbatch.ingest.formats_document > docs/formats.md"


def test_every_reader_stands_there_and_everything_that_is_written():
    assert set(EVIDENCE) == set(READERS)
    written = [name for evidence in EVIDENCE.values() for name in evidence.written]
    assert sorted(written) == sorted(LOCS_FORMATS)


@pytest.mark.parametrize("reader", EVIDENCE)
def test_containers_are_those_that_are_read(tmp_path, reader):
    """Every seed of the fuzzer is a whole file that is recognised and read."""
    assert set(containers_of(reader)) == set(EVIDENCE[reader].containers)
    for seed in all_seeds()[reader]:
        (tmp_path / seed.name).write_bytes(seed.content)
        if seed.sidecar:
            (tmp_path / seed.sidecar[0]).write_bytes(seed.sidecar[1])
        row = {name: float(value) if name == "pixel_size_nm" else value for name, value in seed.row.items()}
        found = read(tmp_path / seed.name, map_wins="map" in row, **row)
        assert found.source.format == reader
        assert found.tally.n > 0


@pytest.mark.parametrize("reader", [name for name in BINARY if name != "table"])
def test_conventions_of_binary_formats(tmp_path, reader):
    """What the document says of units, frames and pixels is what the reader does."""
    evidence = EVIDENCE[reader]
    for seed in all_seeds()[reader]:
        (tmp_path / seed.name).write_bytes(seed.content)
        row = {name: float(value) if name == "pixel_size_nm" else value for name, value in seed.row.items()}
        source = read(tmp_path / seed.name, **{"pixel_size_nm": 100.0} | row).source
        resolved, quantities = source.resolved, {use.quantity for use in source.resolved.uses}
        assert resolved.unit in evidence.unit
        assert (resolved.pixel_offset_px != 0) == bool(evidence.pixel)
        if "frame" in quantities:
            assert evidence.frames == ("0 if a frame 0 occurs, else 1" if resolved.frame_base is None else str(resolved.frame_base))
        assert ("frame" in quantities) or evidence.frames == "none" or source.notes
        assert bool(source.filters) == bool(evidence.dropped)


SAMPLES = [(reader, pattern) for reader, evidence in EVIDENCE.items() for pattern in evidence.samples]
NEEDS = {"xyz": {"unit": "nm"}, "table": {"unit": "nm"}}


@pytest.mark.parametrize(("reader", "pattern"), SAMPLES)
def test_real_samples_are_of_their_reader(data_folder, reader, pattern):
    paths = sorted((data_folder / "real").glob(pattern))
    assert paths, f"no file {pattern}"
    for path in paths:
        assert recognise(path, overrides=Overrides(**NEEDS.get(reader, {}))).format == reader


@pytest.mark.parametrize(
    ("reader", "pattern"), [(reader, pattern) for reader, evidence in EVIDENCE.items() for _, pattern in evidence.oracles]
)
def test_oracles_have_samples(data_folder, reader, pattern):
    assert {*(data_folder / "real").glob(pattern)} <= {
        path for mine in EVIDENCE[reader].samples for path in (data_folder / "real").glob(mine)
    }
