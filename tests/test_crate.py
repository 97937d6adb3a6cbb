"""The RO-Crate of a campaign says what is there, where it came from, and nothing that nobody said."""

import base64
import hashlib
import json
import shutil

import pytest

from smlmbatch.campaign import load_plan, note_finish, plan_campaign
from smlmbatch.config import Config
from smlmbatch.crate import write_crate
from smlmbatch.errors import ConfigError
from smlmbatch.hpc.image import image_of
from tests.conftest import smlmbatch

CRATE = "ro-crate-metadata.json"


@pytest.fixture(scope="module")
def output(small_output, tmp_path_factory):
    """A copy of the small campaign's OUTPUT that may be written to."""
    return shutil.copytree(small_output, tmp_path_factory.mktemp("crate") / "out")


@pytest.fixture(scope="module")
def entities(output):
    smlmbatch("crate", output)
    return read(output)


def read(output):
    graph = json.loads((output / CRATE).read_text())["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert len(found) == len(graph)
    return found


def ids(value):
    return [each["@id"] for each in (value if isinstance(value, list) else [value])]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_reference_leads_to_an_entity(entities):
    def references(value):
        if isinstance(value, dict):
            if set(value) == {"@id"}:
                yield value["@id"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    named = {name for entity in entities.values() for name in references(list(entity.values()))}
    assert named - set(entities) == {"https://w3id.org/ro/crate/1.1"}


def test_every_data_entity_is_a_part_of_the_crate(entities):
    reached, todo = set(), ["./"]
    while todo:
        name = todo.pop()
        reached.add(name)
        todo += [part for part in ids(entities[name].get("hasPart", [])) if part not in reached]
    assert reached == {name for name, entity in entities.items() if entity["@type"] in ("File", "Dataset")}


def test_files_have_the_content_that_is_said(entities, output):
    files = {name: entity for name, entity in entities.items() if entity["@type"] == "File" and ":" not in name}
    assert {"config.toml", "samples.csv", "failed.csv", "tables/rois.parquet", "report/index.html"} <= set(files)
    for name, entity in files.items():
        assert (output / name).stat().st_size == int(entity["contentSize"])
        if not name.startswith("store/"):
            assert entity["sha256"] == sha256(output / name)


def test_units_have_the_digests_that_verify_prints(entities, output):
    members = json.loads(smlmbatch("verify", output, "--json").stdout)["members"]
    digests = {name: digest for name, digest in members.items() if not name.startswith("tables/")}
    units = {name: entity["identifier"] for name, entity in entities.items() if name.startswith("store/fields/")}
    assert {f"{name.split('/')[2]}/{name.split('/')[3].split('-')[0]}": digest for name, digest in units.items()} == digests


def test_inputs_are_named_by_their_content(entities, small_campaign):
    inputs = [entity for name, entity in entities.items() if name.startswith("ni:///sha-256;")]
    named = {name for entity in inputs for name in [entity["name"], *([entity["alternateName"]] if "alternateName" in entity else [])]}
    sources = {path.relative_to(small_campaign).as_posix() for path in small_campaign.rglob("*_r0*") if path.is_file()}
    assert named & sources == {name for name in sources if not name.endswith(".yaml")} | {n for n in named if n.endswith(".yaml")}
    for entity in inputs:
        content = (small_campaign / entity["name"]).read_bytes()
        code = entity["@id"].partition(";")[2]
        assert base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)) == hashlib.sha256(content).digest()
        assert (entity["sha256"], int(entity["contentSize"])) == (hashlib.sha256(content).hexdigest(), len(content))
    assert {entity["@id"] for entity in inputs} <= set(ids(entities["#run"]["object"]))


def test_settings_and_software_are_those_of_the_run(entities, output):
    record = json.loads((output / "smlmbatch.json").read_text())
    settings = {entity["name"]: entity["value"] for entity in entities.values() if entity["@type"] == "PropertyValue"}
    assert (settings["tile.roi_nm"], settings["measure.seed"], settings["tile.outline"]) == (3000.0, 0, "found")
    programs = {e["name"]: e["softwareVersion"] for e in entities.values() if e["@type"] == "SoftwareApplication"}
    assert programs == record["software"]
    run = entities["#run"]
    assert (run["startTime"], run["endTime"]) == tuple(record[name].replace("Z", "+00:00") for name in ("planned", "finished"))
    assert record["planned"] <= record["finished"]


def test_nothing_is_invented(entities, output, small_campaign):
    assert not {"license", "author"} & set(entities["./"])
    assert not {"agent", "containerImage"} & set(entities["#run"])
    text = (output / CRATE).read_text()
    assert str(output) not in text
    assert str(small_campaign.parent) not in text


def test_what_is_said_is_kept(output, entities):
    before = (output / CRATE).read_bytes()
    orcid, licence = "https://orcid.org/0000-0000-0000-0000", "https://spdx.org/licenses/CC-BY-4.0"
    smlmbatch("crate", output, "--licence", licence, "--agent", orcid, "--agent-name", "A. User")
    found = read(output)
    assert (found["./"]["license"], found["./"]["author"]) == ({"@id": licence}, {"@id": orcid})
    assert (found["#run"]["agent"], found[orcid]["name"]) == ({"@id": orcid}, "A. User")
    write_crate(load_plan(output))
    assert (output / CRATE).read_bytes() == before  # the same campaign, the same crate


def test_the_image_is_told_where_it_is_known(output, tmp_path):
    copy = shutil.copytree(output, tmp_path / "out")
    record = json.loads((copy / "smlmbatch.json").read_text())
    record["image"] = image_of({"SMLMBATCH_IMAGE": f"smlmbatch:1@sha256:{'ab' * 32}"})
    (copy / "smlmbatch.json").write_text(json.dumps(record))
    write_crate(load_plan(copy))
    found = read(copy)
    assert found["#image"] == {"@id": "#image", "@type": "ContainerImage", "name": "smlmbatch:1", "sha256": "ab" * 32}
    assert found["#run"]["containerImage"] == {"@id": "#image"}


def test_a_crate_is_made_of_what_is_finished(small_campaign, tmp_path):
    plan = plan_campaign(small_campaign, tmp_path / "out", sheet=None, config=Config(), update=False)
    with pytest.raises(ConfigError, match="the campaign is not finished"):
        write_crate(plan)
    assert not (tmp_path / "out" / CRATE).exists()


def test_a_run_notes_its_end(small_output):
    record = json.loads((small_output / "smlmbatch.json").read_text())
    assert "2026" < record["planned"] <= record["finished"]
    assert record["image"] == image_of()


def test_the_record_keeps_the_first_plan_s_date(small_campaign, tmp_path):
    output, path = tmp_path / "out", tmp_path / "out" / "smlmbatch.json"
    plan_campaign(small_campaign, output, sheet=None, config=Config(), update=False)
    first = json.loads(path.read_text())
    assert first["finished"] == ""
    path.write_text(json.dumps(first | {"planned": "2020-01-01T00:00:00Z", "finished": "2020-01-02T00:00:00Z"}))
    plan = plan_campaign(small_campaign, output, sheet=None, config=Config(), update=False)
    again = json.loads(path.read_text())
    assert again == first | {"planned": "2020-01-01T00:00:00Z", "finished": "2020-01-02T00:00:00Z"}
    note_finish(plan.output)
    last = json.loads(path.read_text())
    assert last["finished"] > first["planned"][:4]
    assert last | {"finished": again["finished"]} == again


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, {}),
        ({"SINGULARITY_NAME": "a.sif"}, {"name": "a.sif"}),
        ({"APPTAINER_NAME": "b.sif", "SINGULARITY_NAME": "a.sif", "APPTAINER_CONTAINER": "/b.sif"}, {"name": "b.sif", "file": "/b.sif"}),
        ({"SMLMBATCH_IMAGE": "x@sha256:1", "APPTAINER_NAME": "b.sif"}, {"name": "x@sha256:1"}),
    ],
)
def test_an_image_is_known_by_the_environment(environ, found):
    assert image_of(environ) == found
