"""From campaigns to submissions: what is left to do, lists of campaigns, new folders of an archive."""

import csv
import json
import os
import shutil
import time
from dataclasses import replace

import pytest

from smlmbatch import submission
from smlmbatch.campaign import load_plan, plan_campaign
from smlmbatch.cli_shared import one_by_one
from smlmbatch.config import Config, EmbedConfig
from smlmbatch.errors import ConfigError, RankLost
from smlmbatch.hpc.site import Site, site_from_dict
from smlmbatch.submission import find_new, gpu_warning, known_campaigns, loads_of, read_list
from tests.conftest import smlmbatch


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("[slurm]\nthrottle = 2\ntask_minutes = 0.04\n")
    return path


def parts(submit_sh, stage):
    with (submit_sh.parent / f"tasks-{stage}.csv").open() as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def submitted(done):
    """The path that `submit` printed."""
    from pathlib import Path

    return Path(done.stdout.strip())


# ---- one campaign


def test_a_new_campaign(small_campaign, tmp_path, profile):
    done = smlmbatch("submit", small_campaign, tmp_path / "out", "--profile", profile)
    script = submitted(done)
    assert script == tmp_path / "out" / "jobs" / "0001" / "submit.sh"
    assert os.access(script, os.X_OK)
    assert (tmp_path / "out" / "samples.csv").is_file()
    assert parts(script, "report") == [("1", ".", "1", "1")]
    cuts = {(int(part), int(n)) for _, _, part, n in parts(script, "measure")}
    (n,) = {n for _, n in cuts}
    assert {part for part, _ in cuts} == set(range(1, n + 1))
    assert "measure" in done.stderr


def test_what_is_done_is_left_out(small_campaign, small_output, tmp_path, profile):
    output = shutil.copytree(small_output, tmp_path / "out")
    victim = sorted(output.rglob("measure-*.zarr.zip"))[1]
    victim.unlink()
    script = submitted(smlmbatch("submit", small_campaign, output, "--profile", profile))
    arrays = [line.split()[1] for line in script.read_text().splitlines() if line.startswith("array")]
    assert arrays == ["measure", "report"]
    loads = loads_of({".": load_plan(output)})
    (load,) = loads["measure"]
    fields = [field.key for field in load_plan(output).fields]
    assert [key for key, seconds in zip(fields, load.seconds, strict=True) if seconds] == [victim.parent.name]


def test_no_array_where_nothing_is_picked(small_campaign, small_output, tmp_path, profile):
    """The clusters' array makes those units along; one of its own is left only where clusters are there."""

    def arrays(*options):
        script = submitted(smlmbatch("submit", small_campaign, output, "--profile", profile, *options))
        return [line.split()[1] for line in script.read_text().splitlines() if line.startswith("array")]

    output = tmp_path / "new"
    assert arrays() == ["ingest", "tile", "quality", "measure", "embed", "cluster", "report"]
    after = ("pick", "order", "register", "report")
    assert arrays("--pick", "cluster", "--update") == ["ingest", "tile", "quality", "measure", "embed", "cluster", *after]
    output = shutil.copytree(small_output, tmp_path / "out")
    for name in ("cluster", "pick", "pick"):  # of the first field both, of the second particles only
        sorted(output.rglob(f"{name}-*.zarr.zip"))[0].unlink()
    assert arrays() == ["cluster", "pick", "report"]
    loads = loads_of({".": load_plan(output)})
    assert [sum(seconds > 0 for seconds in loads[stage][0].seconds) for stage in ("cluster", "pick")] == [1, 1]
    smlmbatch("cluster", output)
    assert arrays() == ["report"]


def test_dry_run_writes_nothing(small_campaign, tmp_path, profile):
    done = smlmbatch("submit", small_campaign, tmp_path / "out", "--profile", profile, "--dry-run")
    assert "measure" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_the_profile_does_not_ask_for(small_campaign, tmp_path):
    plan = plan_campaign(small_campaign, tmp_path / "out", sheet=None, config=Config(embed=EmbedConfig(device="cuda")), update=False)
    without = replace(plan, config=Config(embed=EmbedConfig(device="cuda", model="none")))
    plain, gpu = Site(), site_from_dict({"stage": {"embed": {"gres": "gpu:1"}}})
    assert "stage.embed.gres" in gpu_warning([without, plan], plain)
    assert gpu_warning([plan], gpu) == ""
    assert gpu_warning([without], plain) == ""
    assert gpu_warning([replace(plan, config=Config())], plain) == ""


def test_the_measured_cost_of_this_campaign_is_used(small_campaign, small_output, tmp_path, profile):
    output = shutil.copytree(small_output, tmp_path / "out")
    for unit in output.rglob("measure-*.zarr.zip"):
        unit.unlink()
    before = loads_of({".": load_plan(output)})["measure"][0]
    (log,) = (output / "logs").glob("units-*.jsonl")
    slow = [json.loads(line) | {"wall_s": 1000.0, "peak_mib": 9000} for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line) + "\n" for line in slow))
    after = loads_of({".": load_plan(output)})["measure"][0]
    assert sum(after.seconds) == pytest.approx(4000, rel=1e-3)
    assert after.peak_mib >= 9000 > before.peak_mib


def test_settings_of_a_submitted_campaign_stay(small_campaign, tmp_path, profile):
    smlmbatch("submit", small_campaign, tmp_path / "out", "--profile", profile, "--roi-nm", "2000")
    told = smlmbatch("submit", small_campaign, tmp_path / "out", "--profile", profile, "--roi-nm", "1000", expect=2).stderr
    assert "roi_nm" in told
    assert not (tmp_path / "out" / "jobs" / "0002").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("in",), "wanted INPUT OUTPUT"),
        (("in", "out", "--campaigns", "list.csv"), "wanted INPUT OUTPUT"),
        (("out", "--campaigns", "list.csv", "--new-in", "archive"), "wanted INPUT OUTPUT"),
        (("nowhere", "out"), "is not there"),
    ],
)
def test_wrong_usage(tmp_path, profile, arguments, word):
    assert word in smlmbatch("submit", *arguments, "--profile", profile, expect=2, cwd=tmp_path).stderr


# ---- many campaigns


def list_of(folder, text):
    path = folder / "list.csv"
    path.write_text(text)
    return path


def test_many_campaigns_share_one_submission(small_campaign, tmp_path, profile):
    for name in ("a", "b c"):
        shutil.copytree(small_campaign, tmp_path / "in" / name)
    listed = list_of(tmp_path, "campaign,input\nalpha,in/a\nbeta 2,in/b c\n")
    script = submitted(smlmbatch("submit", tmp_path / "root", "--campaigns", listed, "--profile", profile))
    assert script == tmp_path / "root" / "jobs" / "0001" / "submit.sh"
    assert {row[1] for row in parts(script, "ingest")} == {"alpha", "beta 2"}
    assert script.read_text().count("\narray ingest ") == 1  # one array, so one throttle
    found = json.loads(smlmbatch("status", tmp_path / "root", "--json").stdout)
    assert found["fields"] == 8
    assert set(found["campaigns"]) == {"alpha", "beta 2"}
    said = smlmbatch("status", tmp_path / "root").stdout
    assert "beta 2: 4 fields" in said


def test_a_campaign_that_cannot_be_planned_does_not_stop_the_others(small_campaign, tmp_path, profile):
    listed = list_of(tmp_path, f"campaign,input\ngood,{small_campaign}\nbad,nowhere\n")
    done = smlmbatch("submit", tmp_path / "root", "--campaigns", listed, "--profile", profile, expect=3)
    assert "campaign bad is left out" in done.stderr
    assert {row[1] for row in parts(submitted(done), "measure")} == {"good"}


def test_a_spoilt_campaign_does_not_stop_its_task(small_campaign, tmp_path, profile):
    """Small campaigns share an array task; one whose folder is damaged is told, the others are worked on."""
    root, listed = tmp_path / "root", list_of(tmp_path, "".join(["campaign,input\n", *(f"{n},{small_campaign}\n" for n in "abc")]))
    profile.write_text("[slurm]\ntask_minutes = 30\n")
    script = submitted(smlmbatch("submit", root, "--campaigns", listed, "--profile", profile))
    (root / "b" / "samples.csv").unlink()
    slurm = os.environ | {"SLURM_JOB_ID": "100", "SLURM_ARRAY_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": "1"}
    for stage in ("measure", "report"):
        told = smlmbatch(stage, root, "--tasks", script.parent / f"tasks-{stage}.csv", env=slurm, expect=3).stderr
        assert f"campaign {root / 'b'}: " in told
    assert all((root / name / "report" / "index.html").is_file() for name in "ac")
    done = smlmbatch("status", root)
    assert "c: 4 fields" in done.stdout
    assert "b: can't be read" in done.stderr


def test_array_tasks_take_their_lines(small_campaign, tmp_path, profile):
    """What a template does, without SLURM: the variables of an array task, and the file."""
    listed = list_of(tmp_path, f"campaign,input\none,{small_campaign}\n")
    script = submitted(smlmbatch("submit", tmp_path / "root", "--campaigns", listed, "--profile", profile))
    tasks = script.parent / "tasks-ingest.csv"
    made = []
    for number in sorted({int(row[0]) for row in parts(script, "ingest")}):
        slurm = {"SLURM_JOB_ID": str(100 + number), "SLURM_ARRAY_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": str(number)}
        smlmbatch("ingest", tmp_path / "root", "--tasks", tasks, env=os.environ | slurm)
        made.append(len(list((tmp_path / "root" / "one").rglob("ingest-*.zarr.zip"))))
    assert made == sorted(set(made))
    assert made[-1] == 4
    told = smlmbatch("ingest", tmp_path / "root", "--tasks", tasks, expect=2).stderr
    assert "SLURM_ARRAY_TASK_ID" in told


def test_a_lost_rank_ends_the_task_and_not_one_campaign_of_it(tmp_path):
    """What is wrong with one campaign is told, and the next has its turn; without a rank, no campaign can be worked on."""
    begun = []

    def work(output, cut, submission):
        begun.append(output.name)
        raise RankLost("gone") if output.name == "b" else ConfigError("no such thing")

    with pytest.raises(RankLost):
        one_by_one([(tmp_path / name, None, "") for name in "abc"], work)
    assert begun == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "columns campaign, input"),
        ("campaign,input\n", "columns campaign, input"),
        ("campaign,path\na,b\n", "columns campaign, input"),
        ("campaign,input\n../a,b\n", "no name for a campaign"),
        ("campaign,input\njobs,b\n", "no name for a campaign"),
        ("campaign,input\nsmlmbatch.json,b\n", "no name for a campaign"),
        ("campaign,input\nCampaigns.csv,b\n", "no name for a campaign"),
        ("campaign,input\n,b\n", "no name for a campaign"),
        ("campaign,input\na,\n", "no input"),
        ("campaign,input\na,b\na,c\n", "two campaigns are called"),
        ("campaign,input\na,b,c\n", "columns campaign, input"),
    ],
)
def test_lists_that_are_refused(tmp_path, text, word):
    with pytest.raises(ConfigError, match=word):
        read_list(list_of(tmp_path, text))


def test_lists_are_relative_to_themselves(tmp_path):
    (entry,) = read_list(list_of(tmp_path, "campaign,input,sheet,config\na,in/x,s.csv,\n"))
    assert (entry.input_path, entry.sheet, entry.config) == (tmp_path / "in/x", tmp_path / "s.csv", None)


# ---- new folders of an archive


def test_every_night_takes_what_is_new_and_settled(small_campaign, tmp_path, profile):
    archive, root = tmp_path / "archive", tmp_path / "root"
    shutil.copytree(small_campaign, archive / "day 1")
    os.utime(archive / "day 1")  # a copy keeps the dates of its source
    night = ("submit", root, "--new-in", archive, "--profile", profile, "--settled-minutes")
    still_written = smlmbatch(*night, "30")
    assert (still_written.stdout, "nothing new" in still_written.stderr) == ("", True)
    first = submitted(smlmbatch(*night, "0"))
    shutil.copytree(small_campaign, archive / "jobs")  # a name that OUTPUT needs itself
    second = submitted(smlmbatch(*night, "0"))
    assert {row[1] for row in parts(first, "ingest")} == {"day 1"}
    assert {row[1] for row in parts(second, "ingest")} == {"c_jobs"}
    assert smlmbatch(*night, "0").stdout == ""
    assert set(known_campaigns(root)) == {"day 1", "c_jobs"}


def test_a_change_anywhere_in_a_folder_is_seen(tmp_path):
    deep = tmp_path / "archive" / "new" / "a" / "b"
    deep.mkdir(parents=True)
    old = time.time() - 7200
    for path in (deep, *deep.parents[:3]):
        os.utime(path, (old, old))
    assert [entry.campaign for entry in find_new(tmp_path / "archive", tmp_path / "root", settled_s=3600, talk=print)] == ["new"]
    (deep / "f.csv").touch()
    os.utime(deep, (old, old))
    assert find_new(tmp_path / "archive", tmp_path / "root", settled_s=3600, talk=print) == ()


def test_what_waits_is_told(tmp_path, capsys):
    archive, old = tmp_path / "archive", time.time() - 7200
    for name in ("dangling", "future"):
        (archive / name).mkdir(parents=True)
    (archive / "dangling" / "link").symlink_to("nowhere")  # is no change that goes on for ever
    os.utime(archive / "dangling" / "link", (old, old), follow_symlinks=False)
    os.utime(archive / "dangling", (old, old))
    os.utime(archive / "future", (time.time() + 9e5,) * 2)
    found = find_new(archive, tmp_path / "root", settled_s=3600, talk=print)
    assert [entry.campaign for entry in found] == ["dangling"]
    assert "future: waits" in (told := capsys.readouterr().out)
    assert "lies in the future" in told


def test_two_folders_never_get_one_name(tmp_path):
    for name in ("x:1", "x?1", "x_1"):
        (tmp_path / "archive" / name).mkdir(parents=True)
    found = find_new(tmp_path / "archive", tmp_path / "root", settled_s=-1, talk=print)
    assert sorted(entry.campaign for entry in found) == ["x_1", "x_1-2", "x_1-3"]


def test_archive_may_hold_the_root(tmp_path):
    (tmp_path / "results" / "deep").mkdir(parents=True)
    for root in ("results", "results/deep"):
        assert find_new(tmp_path, tmp_path / root, settled_s=-1, talk=print) == ()
    assert submission.campaigns_under(tmp_path) == [("", tmp_path)]
