"""The site profile: every key documented, nothing wrong accepted, nothing hostile let into the shell."""

import dataclasses
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.site import (
    SHARED,
    STAGES,
    Site,
    StageAsk,
    format_time,
    load_site,
    parse_memory_mib,
    parse_time_s,
    site_from_dict,
    split_variables,
)
from smlmbatch.ordering import CAMPAIGN_STAGES
from smlmbatch.stages import FIELD_STAGES

EXAMPLE = Path(__file__).parents[2] / "jobs" / "site.example.toml"


def test_example_is_the_defaults_and_names_every_key():
    assert load_site(EXAMPLE) == Site()
    raw = tomllib.loads(EXAMPLE.read_text())
    assert set(raw) == {"software", "slurm", "stage", "dask"}
    assert list(raw["dask"]) == [f.name for f in dataclasses.fields(Site().dask)]
    for kind, table in [(Site().software, raw["software"]), (Site().slurm, raw["slurm"]), (StageAsk(), raw["stage"]["ingest"])]:
        assert set(table) == {field.name for field in dataclasses.fields(kind)}
    assert set(raw["stage"]) == set(STAGES)


def test_stages_are_those_of_the_pipeline():
    assert (*(stage.name for stage in FIELD_STAGES), *CAMPAIGN_STAGES, "report") == STAGES
    assert tuple(stage.name for stage in FIELD_STAGES if stage.shared) == SHARED


def test_empty_profile(tmp_path):
    (tmp_path / "site.toml").write_text("")
    assert load_site(tmp_path / "site.toml") == Site()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[slurm]\npartion = 'a'", "unknown key slurm.partion; known are slurm.partition, slurm.account"),
        ("[slrum]\n", "unknown key slrum; known are software, slurm, stage"),
        ("[stage.sort]\n", "unknown key stage.sort; known are stage.ingest"),
        ("stage = 3", "stage = 3: wanted a section [stage]"),
        ("[slurm]\nthrottle = '8'", "slurm.throttle = '8': wanted a int"),
        ("[slurm]\nthrottle = true", "slurm.throttle = True: wanted a int"),
        ("[slurm]\nthrottle = -1", "slurm.throttle = -1"),
        ("[slurm]\nmax_array_size = 1", "slurm.max_array_size = 1"),
        ("[slurm]\nmax_submit_jobs = 3", "slurm.max_submit_jobs = 3: wanted 0 (no limit), or 10 or more"),
        ("[slurm]\nsignal_s = 70000", "slurm.signal_s"),
        ("[slurm]\ntask_minutes = nan", "slurm.task_minutes"),
        ("[slurm]\ntask_minutes = 0", "slurm.task_minutes"),
        ("[slurm]\npartition = 'a b'", "one word"),
        ("[slurm]\npartition = '--wrap=x'", "one word"),
        ('[slurm]\naccount = "a\\nb"', "printable text on one line"),
        ("[slurm]\noptions = '--exclusive'", "wanted a list of texts"),
        ("[slurm]\noptions = [1]", "wanted a str"),
        ("[slurm]\noptions = ['exclusive']", "options of sbatch such as"),
        ("[slurm]\noptions = ['--array=1-9']", "--array is given already"),
        ("[slurm]\noptions = ['-t10']", "--time is given already; use stage.NAME.time"),
        ("[slurm]\noptions = ['--mem 4G']", "--mem is given already; use stage.NAME.memory"),
        ("[slurm]\noptions = ['--constraint avx2']", 'joined by "="'),
        ("[stage.tile]\noptions = ['--wrap=rm']", "stage.tile.options"),
        ("[stage.tile]\ntime = 'soon'", "stage.tile.time = 'soon'"),
        ("[stage.tile]\ntime = '00:00:10'", "stage.tile.time"),
        ("[stage.tile]\ntime = 4", "wanted a str"),
        ("[stage.tile]\nmemory = '4'", "stage.tile.memory"),
        ("[stage.tile]\nmemory = '4 Gig'", "stage.tile.memory"),
        ("[stage.tile]\nmemory = '100M'", "256MiB or more"),
        ("[stage.tile]\ncpus = 0", "stage.tile.cpus"),
        ("[stage.tile]\nranks = 2", "stage.tile.ranks = 2: wanted 1: several ranks can share fields of embed and cluster only"),
        ("[stage.embed]\nranks = 0", "stage.embed.ranks = 0: wanted 1 to 4096"),
        ("[stage.embed]\noptions = ['--ntasks=4']", "--ntasks is given already; use stage.NAME.cpus, or stage.NAME.ranks (embed, cluster)"),
        ("[software]\nsif = '/a.sif'\nenvironment = '/b'", "not both"),
        ("[software]\nsif = 'a.sif'", "an absolute path"),
        ("[software]\nscratch = 'tmp'", "an absolute path"),
        ("[software]\nscratch = '$(reboot)'", "$ begins $NAME"),
        ("[software]\nscratch = '/a/${X:-b}'", "$ begins $NAME"),
        ("[software]\nbinds = ['/data']", "an image (software.sif) to bind them into"),
        ("[software]\nmodules = ['-f']", "none beginning with -"),
        ('[software]\nsetup = ["a\\nb"]', "printable text on one line"),
        ("[software\n", "is not TOML"),
    ],
)
def test_what_is_refused(tmp_path, text, says):
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: can't be read"):
        load_site(tmp_path / "none.toml")


def test_common_options_are_accepted():
    options = ["--constraint=avx2", "--exclude=node[1-3]", "-x node4".replace(" ", ""), "--exclusive", "--mail-type=END"]
    assert site_from_dict({"slurm": {"options": options}}).slurm.options == tuple(options)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("04:00:00", 14400),
        ("1-0", 86400),
        ("2-12:30", 2 * 86400 + 45000),
        ("1-00:00:05", 86405),
        ("", -1),
        ("1:2:3:4", -1),
        ("-5", -1),
        ("UNLIMITED", -1),
        ("1.5", -1),
        ("9" * 30, -1),
    ],
)
def test_times_as_sbatch_reads_them(text, seconds):
    assert parse_time_s(text) == seconds


@given(st.integers(60, 400 * 86400))
def test_written_times_are_read_back(seconds):
    assert parse_time_s(format_time(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "mib"), [("4G", 4096), ("4GiB", 4096), ("4GB", 4096), ("512M", 512), ("1.5 GiB", 1536), ("1T", 1 << 20), ("", 0), ("4096", -1)]
)
def test_memory(text, mib):
    assert parse_memory_mib(text) == mib


@given(st.lists(st.tuples(st.sampled_from(["variable", "text"]), st.text("ABxy_", min_size=1, max_size=4)), max_size=6))
def test_variables_are_cut_out_and_nothing_is_lost(pieces):
    text = "".join(f"${{{value}}}" if kind == "variable" else f"/{value}" for kind, value in pieces)
    found = split_variables(text)
    assert "".join(f"${{{value}}}" if kind == "variable" else value for kind, value in found) == text
    assert [value for kind, value in found if kind == "variable"] == [value for kind, value in pieces if kind == "variable"]


@pytest.mark.parametrize(
    ("gres", "gpu"), [("", False), ("gpu:a100:1", True), ("gpu", True), ("lscratch:50", False), ("lscratch:50,gpu:2", True)]
)
def test_gpu_is_seen_in_gres(gres, gpu):
    assert StageAsk(gres=gres).wants_gpu is gpu


def test_gpu_is_seen_in_options():
    assert StageAsk(options=("--gpus-per-task=1",)).wants_gpu
    assert not StageAsk(options=("--constraint=gpu",)).wants_gpu


def test_shell_sees_exactly_the_values_of_a_hostile_profile(tmp_path):
    """Values with everything the shell could take for its own come out of site.sh as they went in."""
    from smlmbatch.hpc.submit import render_site

    evil = "/x'\"; touch gone #$(touch gone)`touch gone`\\ * %a"
    software = {
        "sif": evil,
        "binds": [evil, "/b b"],
        "modules": [evil],
        "setup": [evil],
        "scratch": "$FIRST/" + evil.replace("$", "") + "/${SECOND}",
    }
    (tmp_path / "site.sh").write_text(render_site(site_from_dict({"software": software})))
    show = 'source ./site.sh; printf "%s\\0" "$OUTPUT" "$sif" "${binds[@]}" "${modules[@]}" "${setup[@]}" "$scratch"'
    command = ["bash", "-euc", show, "bash", "/out put/jobs/0001"]
    environ = {"FIRST": "/f $x", "SECOND": "s", "PATH": "/usr/bin:/bin"}
    seen = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    assert seen == ["/out put", evil, evil, "/b b", evil, evil, "/f $x/" + evil.replace("$", "") + "/s"]
    assert [path.name for path in tmp_path.iterdir()] == ["site.sh"]


def test_scratch_of_an_unset_variable_stops_the_task(tmp_path):
    from smlmbatch.hpc.submit import render_site

    (tmp_path / "site.sh").write_text(render_site(site_from_dict({"software": {"scratch": "$NOWHERE/x"}})))
    command = ["bash", "-c", "source ./site.sh; echo went on", "bash", "/out/jobs/0001"]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "NOWHERE: scratch folder of the site profile: not set on this node" in done.stderr
