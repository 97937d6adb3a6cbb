"""Verbs that send a campaign to a cluster and look after it: submit, status, verify, inspect, clean."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from smlmbatch.cli_options import folder_type, json_option, output_argument, pass_place, plan_options, settings_of
from smlmbatch.cli_talk import print_json, say, talk, tell_conditions_taken, tell_model, tell_picks
from smlmbatch.errors import EXIT_FAILED_FIELDS, ConfigError, SmlmbatchError
from smlmbatch.hpc.place import Place

_MOST_NAMED = 20


@click.command()
@click.argument("paths", metavar="[INPUT] OUTPUT", nargs=-1, required=True, type=folder_type)
@click.option("--profile", required=True, type=folder_type, help="Site profile, TOML: partition, account, image, limits.")
@click.option("--campaigns", type=folder_type, default=None, help="Many at once: a CSV with the columns campaign, input (no INPUT then).")
@click.option("--new-in", "archive", type=folder_type, default=None, help="Every folder in here that is no campaign of OUTPUT yet.")
@click.option("--settled-minutes", type=float, default=30.0, show_default=True, help="With --new-in: leave out what changed since.")
@click.option("--dask", "by_dask", is_flag=True, help="One job of many workers, that deals fields out by Dask, instead of arrays.")
@click.option("--dry-run", is_flag=True, help="Write nothing; only say what would be asked of SLURM.")
@plan_options
def submit(paths: tuple[Path, ...], profile: Path, by_dask: bool, dry_run: bool, **options: Any) -> None:
    """Write the SLURM scripts that analyse INPUT by job arrays, and print the path of the one to start.

    Nothing is sent to SLURM from here (it need not be installed); start the printed submit.sh on a login node. What is
    done already is left out, so submitting again goes on.

    \b
    smlmbatch submit data/ results/ --profile site.toml
    smlmbatch submit results/ --campaigns list.csv --profile site.toml
    """
    from smlmbatch.hpc.site import load_site
    from smlmbatch.hpc.submit import SUBMIT
    from smlmbatch.submission import gpu_warning, loads_of

    site = load_site(profile)
    root, plans, wanted = _plans_of(paths, options, freeze=not dry_run)
    for campaign, plan in plans.items():
        tell_conditions_taken(plan, "" if campaign == "." else campaign)
        tell_model(plan.config, "" if campaign == "." else campaign)
        tell_picks(plan, "" if campaign == "." else campaign)
    if plans:
        if by_dask and any(plan.config.embed.device == "cuda" for plan in plans.values()):
            raise ConfigError('embed.device = "cuda" is for arrays, whose tasks have GPUs of their own: submit without --dask')
        if warning := gpu_warning(plans.values(), site):
            talk(warning)
        plan_it, describe_it, write_it = _manner_of(by_dask)
        submission = plan_it(site, loads_of(plans))
        if dry_run:
            say(describe_it(submission).rstrip("\n"))
        else:
            talk(describe_it(submission).rstrip("\n"))
            say(str(write_it(root, submission) / SUBMIT))
    elif not wanted:
        talk("nothing new")
    if len(plans) < wanted:
        talk(f"{wanted - len(plans)} of {wanted} campaigns are left out, for the reasons above")
        sys.exit(EXIT_FAILED_FIELDS)


def _manner_of(by_dask: bool) -> tuple[Callable[..., Any], Callable[..., str], Callable[..., Path]]:
    """(plan, describe, write) of a submission by arrays, or by Dask."""
    from smlmbatch.hpc import dask_job, submit

    if by_dask:
        return dask_job.plan_dask, dask_job.describe_dask, dask_job.write_dask
    return submit.plan_submission, submit.describe, submit.write_submission


def _plans_of(paths: tuple[Path, ...], options: dict[str, Any], *, freeze: bool) -> tuple[Path, dict[str, Any], int]:
    """(root, folder under it → plan, how many were wanted) of one campaign or many."""
    from smlmbatch import submission
    from smlmbatch.campaign import plan_campaign

    many = [name for name in ("campaigns", "archive") if options[name] is not None]
    if len(many) > 1 or len(paths) != (1 if many else 2):
        raise ConfigError("wanted INPUT OUTPUT, or OUTPUT with one of --campaigns and --new-in")
    root = paths[-1].absolute()
    if not many:
        config = settings_of(options, root)
        plan = plan_campaign(paths[0], root, sheet=options["sheet"], config=config, update=options["update"], freeze=freeze)
        return root, {".": plan}, 1
    if options["sheet"]:
        raise ConfigError("--sheet is for one campaign: in a list of campaigns it is a column")
    if options["campaigns"]:
        entries = submission.read_list(options["campaigns"])
    else:
        entries = submission.find_new(options["archive"], root, settled_s=options["settled_minutes"] * 60, talk=talk)

    def config_of(entry: submission.Entry) -> Any:
        return settings_of(options | {"config_path": entry.config or options["config_path"]}, root / entry.campaign)

    plans = submission.plan_entries(entries, root, config_of=config_of, update=options["update"], freeze=freeze, talk=talk)
    return root, dict(plans), len(entries)


@click.command()
@output_argument
@json_option
@pass_place
def status(place: Place, /, output: Path, as_json: bool) -> None:
    """Say how far a campaign is, or all campaigns of a folder, from the store alone.

    \b
    smlmbatch status results/
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.progress import add_up, progress_of
    from smlmbatch.run import ALL_STAGES
    from smlmbatch.submission import campaigns_under

    found, unread = [], []
    for name, folder in campaigns_under(output):
        try:
            found.append((name, progress_of(load_plan(folder), place)))
        except (SmlmbatchError, OSError) as error:
            if not name:
                raise
            unread.append(f"{name}: can't be read ({error})")
    if not found:
        raise ConfigError("; ".join(unread) or f"{output} holds no campaign")
    total = add_up([progress for _, progress in found])
    if as_json:
        campaigns = {name: _status_json(progress) for name, progress in found if name}
        print_json(_status_json(total) | ({"campaigns": campaigns} if campaigns else {}))
        return
    for name, progress in found if len(found) > 1 or found[0][0] else ():
        first, last = progress.stages[0], progress.stages[len(ALL_STAGES) - 1]
        failed = f", {len(progress.failures)} failed" if progress.failures else ""
        say(f"{name}: {progress.fields} fields, {first.done} ingested, {last.done} through{failed}")
    _say_status(total)
    for line in unread:
        talk(line)


def _status_json(progress: Any) -> dict[str, Any]:
    return {
        "fields": progress.fields,
        "stages": [dataclasses.asdict(count) for count in progress.stages],
        "running": [owner.errand.path for owner in progress.running],
        "left_s": progress.left_s,
        "eta_s": progress.eta_s,
        "failed": [{"field": f.field, "finding": f.finding} for f in progress.failures],
    }


def _say_status(progress: Any) -> None:
    from smlmbatch.progress import span

    say(f"{'stage':<10}{'done':>8}{'running':>9}{'failed':>8}{'to do':>8}{'work left':>14}")
    for count in progress.stages:
        left = "" if count.left_s is None else "-" if count.left_s == 0 else span(count.left_s)
        say(f"{count.stage:<10}{count.done:>8}{count.running:>9}{count.failed:>8}{count.to_do:>8}{left:>14}")
    if progress.eta_s is not None and not progress.is_finished:
        say(f"about {span(progress.eta_s)} to go with {len(progress.running)} running")
    elif not progress.is_finished:
        known = f"; about {span(progress.left_s)} of work on one core is left" if progress.left_s is not None else ""
        say(f"nothing is running{known}: run or submit again to go on")
    for owner in progress.silent[:_MOST_NAMED]:
        say(f"silent: {owner.errand.path or 'the campaign'} on {owner.host}: it may be dead; the next run or `clean` looks after it")
    for failure in progress.failures:
        say(f"failed: {failure.path or f'{failure.stage} of the campaign'}: {failure.finding}. To mend it: {failure.mend}.")


@click.command()
@output_argument
@click.option("--list", "as_list", is_flag=True, help="Print the digest of every unit and table as well.")
@click.option("--against", "other", type=folder_type, default=None, help="Say what differs from this OUTPUT (the older one), and why.")
@click.option(
    "--effects", type=folder_type, default=None, metavar="FILE", help="With --against: write what that does to the numbers, a CSV."
)
@json_option
def verify(output: Path, as_list: bool, other: Path | None, effects: Path | None, as_json: bool) -> None:
    """Recompute the digests of all results and print the digest of the whole set.

    Equal digests mean equal results, whatever parts, workers or restarts made them. Exit code 3 if a unit is damaged, or
    with --against if results differ.

    \b
    smlmbatch verify results/
    smlmbatch verify results/ --against results_of_last_year/ --effects effects.csv
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import verify_campaign

    if other is not None:
        sys.exit(_compare(output, other, effects, as_json=as_json))
    if effects is not None:
        raise ConfigError("--effects compares two campaigns: name the other by --against")
    verdict = verify_campaign(load_plan(output))
    if as_json:
        print_json({"digest": verdict.digest, "members": verdict.members, "damaged": verdict.damaged})
    else:
        for name, digest in sorted(verdict.members.items()) if as_list else ():
            say(f"{digest}  {name}")
        say(f"{verdict.digest}  {len(verdict.members)} units and tables")
    for name, problem in verdict.damaged.items():
        talk(f"damaged: {name}: {problem}")
    if verdict.damaged:
        sys.exit(EXIT_FAILED_FIELDS)


def _compare(output: Path, other: Path, effects: Path | None, *, as_json: bool) -> int:
    from smlmbatch.against.difference import compare, to_json
    from smlmbatch.against.effects import compare_rois, short_table, write_effects
    from smlmbatch.against.wording import difference_text
    from smlmbatch.campaign import load_plan

    here, there = load_plan(output), load_plan(other)
    difference = compare(here, there)
    found = to_json(difference)
    lines = list(difference_text(difference))
    if effects is not None:
        old, new = (plan.output / "tables" / "rois.parquet" for plan in (there, here))
        effect = compare_rois(old, new, min_locs=(there.config.tile.min_locs, here.config.tile.min_locs))
        write_effects(effects, effect)
        found["effects"] = [dataclasses.asdict(row) for row in effect.rows]
        lines[-1:] = [*short_table(effect, most=_MOST_NAMED), f"all of them: {effects}", "", lines[-1]]
    if as_json:
        print_json(found)
    else:
        say("\n".join(lines))
    return 0 if difference.equal else EXIT_FAILED_FIELDS


@click.command()
@output_argument
@click.argument("field")
def inspect(output: Path, field: str) -> None:
    """Print attributes and arrays of one FIELD's units (its key, path or name) as JSON.

    \b
    smlmbatch inspect results/ control/cell1.csv
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import describe_units, find_field

    loaded = load_plan(output)
    print_json(describe_units(loaded, find_field(loaded, field)))


@click.command()
@output_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--damaged", is_flag=True, help="Also remove current units whose digest is wrong (reads everything).")
@click.option("--stale-after", "stale_after_h", type=float, default=24.0, show_default=True, help="Hours without a heartbeat.")
@pass_place
def clean(place: Place, /, output: Path, dry_run: bool, damaged: bool, stale_after_h: float) -> None:
    """Remove what no result needs: abandoned attempts, units of earlier settings, inputs or versions.

    \b
    smlmbatch clean results/ --dry-run
    """
    from smlmbatch.campaign import load_plan
    from smlmbatch.upkeep import find_rubbish, remove_rubbish

    loaded = load_plan(output)
    rubbish = find_rubbish(loaded, here=place, stale_after_s=stale_after_h * 3600, damaged=damaged)
    for item in rubbish:
        say(f"{item.path.relative_to(loaded.output)}: {item.reason}")
    if not rubbish:
        talk("nothing to remove")
    elif not dry_run:
        talk(f"removed {len(rubbish)}, freed {remove_rubbish(loaded, rubbish) / 2**20:.1f} MiB")


VERBS = (submit, status, verify, inspect, clean)
