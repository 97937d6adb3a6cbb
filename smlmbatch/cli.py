"""The command line: verbs in the order of the pipeline. Verbs parse, call one function, print; nothing else.

Heavy modules are imported inside the verbs, so that `--help` answers at once. stdout is for results
(`--json` for machines), stderr for talk.
"""

import errno
import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

import smlmbatch
from smlmbatch import cli_learn, cli_pool, cli_score, cli_tools, cli_watch, cli_work
from smlmbatch.cli_options import PipelineOrder
from smlmbatch.cli_talk import talk
from smlmbatch.errors import EXIT_INTERNAL, EXIT_USAGE, Interrupted, SmlmbatchError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@click.group(cls=PipelineOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(smlmbatch.__version__, prog_name="smlmbatch")
def cli() -> None:
    """Batch analysis of single-molecule localisation microscopy, reproducible to the digest.

    \b
    smlmbatch run INPUT OUTPUT                           files in; tables, pictures and a report out
    smlmbatch submit INPUT OUTPUT --profile site.toml    the same by SLURM arrays
    smlmbatch status OUTPUT                              how far it is

    Running again does only what is missing. Exit codes: 0 all done, 1 internal error, 2 wrong usage or nothing
    readable, 3 done but some fields failed (see failed.csv), 75 interrupted in order.
    """


for verb in (*cli_work.VERBS, *cli_watch.VERBS, *cli_pool.VERBS, *cli_learn.VERBS, *cli_score.VERBS, *cli_tools.VERBS):
    cli.add_command(verb)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(f"stopped by {signal.Signals(number).name}; run the same command again to go on")


def _deafen() -> None:
    """An ending is found, and its exit code stays: srun and torchrun end the ranks of a launch by TERM when the first of them fails.

    First a handler of our own takes what is pending, for Python complains aloud of a pending signal whose handler became SIG_IGN. Then
    SIG_IGN: when the interpreter ends, which takes torch a while, Python puts handlers back to the default, and that alone it leaves.
    """
    for handler in (lambda number, frame: None, signal.SIG_IGN):
        for number in STOP_SIGNALS:
            signal.signal(number, handler)


_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ENAMETOOLONG)


def entry() -> None:
    """Run the command line; every ending has its exit code (see `errors`)."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(EXIT_INTERNAL)
    except SmlmbatchError as error:
        _deafen()
        talk(f"smlmbatch: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_USAGE)
    except OSError as error:
        _deafen()
        needs = "; OUTPUT (and --scratch) must be writable and have space" if error.errno in _NO_PLACE else ""
        talk(f"smlmbatch: {error.strerror or error}: {error.filename}{needs}")
        sys.exit(EXIT_USAGE)
    except Exception:  # noqa: BLE001 - the top of the command line
        _deafen()
        traceback.print_exc()
        talk("smlmbatch: internal error; please report it with the lines above")
        sys.exit(EXIT_INTERNAL)
