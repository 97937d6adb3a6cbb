"""The command line in this very process: what a run does, without the seconds that a new Python takes to import everything.

Pages are not drawn (that costs more than all the rest, and has tests of its own): an empty file stands for them. Numbers made
here rest on the processor's own instruction set and must only be compared with others made here.
"""

import importlib
import os
from unittest import mock

from click.testing import CliRunner

from smlmbatch.campaign import load_plan
from smlmbatch.cli import cli
from smlmbatch.errors import SmlmbatchError
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.upkeep import standing, verify_campaign

_NETWORKS = ("smlmbatch.methods.contrastive.network", "smlmbatch.methods.miro.network", "smlmbatch.methods.miro.blocks")
for module in (*(stage.module for stage in FIELD_STAGES), *_NETWORKS):
    importlib.import_module(module)  # here once, instead of in each forked child


def call(*arguments, expect=0):
    """(stdout, stderr) of a command; fails the test on another exit code than `expect`."""
    with mock.patch("smlmbatch.report.html.write_report", _no_page):
        done = CliRunner().invoke(cli, [os.fspath(argument) for argument in arguments])
    code, stderr = done.exit_code, done.stderr
    if isinstance(done.exception, SmlmbatchError):
        code, stderr = done.exception.exit_code, f"{stderr}{done.exception}"
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert code == expect, f"{arguments} ended with {code}, not {expect}:\n{done.stdout}\n{stderr}"
    return done.stdout, stderr


def _no_page(campaign, **facts):
    page = campaign.output / "report" / "index.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("")


def units_made(stderr):
    """How many units a run made, by its own telling."""
    return sum(line.split()[1:2] != ["FAILED"] and " rows " in line for line in stderr.splitlines())


def digest(output):
    """The digest of a campaign's digest set, nothing of which may be damaged or missing."""
    verdict = verify_campaign(load_plan(output))
    assert not verdict.damaged
    return verdict.digest


def fresh(output):
    """Path → stages whose unit is there."""
    return {outcome.field.path: set(outcome.fresh) for outcome in standing(load_plan(output), trust_cache=True)}


def unit_of(output, stage, *, number=0):
    """Path of the unit of one field."""
    plan = load_plan(output)
    return plan.store.unit_path(standing(plan, trust_cache=True)[number].keys[stage])
