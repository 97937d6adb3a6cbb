"""The verb that lends a machine to a run: worker."""

from pathlib import Path

import click

from smlmbatch.cli_options import folder_type
from smlmbatch.cli_talk import talk


@click.command()
@click.argument("scheduler", metavar="FILE|tcp://…")
@click.option("--scratch", type=folder_type, default=None, help="Folder for Dask's files, made if it isn't there.  [default: beside FILE]")
@click.option("--interface", default="", metavar="NAME", help="Network interface to be reached at.  [default: the one to the scheduler]")
@click.option("--lifetime-s", type=click.FloatRange(0), default=0, metavar="SECONDS", help="Leave after this time.  [default: never]")
@click.option("--stagger-s", type=click.FloatRange(0), default=0, metavar="SECONDS", help="So much sooner or later, at random.")
@click.option("--wait-s", type=click.FloatRange(0), default=600, show_default=True, metavar="SECONDS", help="Wait so long for FILE.")
def worker(scheduler: str, scratch: Path | None, **options: float | str) -> None:
    """Work for a run that deals its fields out by Dask: one process, one field at a time, until the run ends.

    \b
    smlmbatch run data/ results/ --serve meeting.json      and, on any machines that see data/ and results/:
    smlmbatch worker meeting.json

    Exit code 0 when the run has ended or the lifetime is over, 75 when a signal asked to leave. Either way the field in
    work is dropped in order, and another worker takes it.
    """
    from smlmbatch.hpc.dask_worker import work_for

    work_for(scheduler, scratch=scratch.absolute() if scratch else None, talk=talk, **options)  # type: ignore[arg-type]


VERBS = (worker,)
