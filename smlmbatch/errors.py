"""The exception tree, drawn whole, with the exit code and failure class of each.

    SmlmbatchError                1   our own mistake, or a state that should not be
    ├── InputError                2   a file can't be understood         class "input"
    ├── ConfigError               2   wrong usage or configuration
    ├── ResourceError             2   memory, disk, a killed worker      class "resource"
    │   └── RankLost             75   another rank of this launch died; run it again
    └── Interrupted              75   stopped in order; run it again

Exit code 3 (the campaign's end is reached with failed fields) is no exception: it is read off the store.
"""

from pathlib import Path

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_FAILED_FIELDS = 3
EXIT_INTERRUPTED = 75
_LONGEST_CLAUSE = 1000  # 30 column names of any program's


class SmlmbatchError(Exception):
    """Base of all errors of this package; `exit_code` is what the command line returns."""

    exit_code = EXIT_INTERNAL
    failure_class = "internal"


class InputError(SmlmbatchError):
    """A file that can't be used: which file, what was found, what was wanted, how to mend it.

    Parameters
    ----------
    path : the file, as the user knows it
    finding, want, mend : one clause each, without a full stop; what a file put into them is made printable and short
    """

    exit_code = EXIT_USAGE
    failure_class = "input"

    def __init__(self, path: Path | str, finding: str, want: str, mend: str) -> None:
        super().__init__(path, finding, want, mend)  # all arguments, so that it pickles between processes
        self.path, self.finding, self.want, self.mend = str(path), _shown(finding), _shown(want), _shown(mend)

    def __str__(self) -> str:
        return f"{self.path}: {self.finding}. Wanted: {self.want}. To mend it: {self.mend}."


def _shown(clause: str) -> str:
    """A clause on one line: damaged headers hold line ends, and codes that a terminal would obey."""
    words = " ".join(clause.split())
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in words)
    return plain if len(plain) <= _LONGEST_CLAUSE else plain[: _LONGEST_CLAUSE - 1] + "\u2026"


class ConfigError(SmlmbatchError):
    """Wrong usage: an unknown key, an impossible value, an OUTPUT that belongs to another run."""

    exit_code = EXIT_USAGE
    failure_class = "config"


class ResourceError(SmlmbatchError):
    """Memory, disk or a worker ran out; the same unit may succeed next time."""

    exit_code = EXIT_USAGE
    failure_class = "resource"


class RankLost(ResourceError):
    """Another rank of this launch died or answers no more; what it died of need not come again, so a queue may start the job anew."""

    exit_code = EXIT_INTERRUPTED


class Interrupted(SmlmbatchError):
    """A signal asked to stop; everything published so far is whole, run again to go on."""

    exit_code = EXIT_INTERRUPTED
    failure_class = "resource"


def was_asked_to_stop(error: BaseException) -> bool:
    """Whether an error is what became of `Interrupted` that a signal raised within a library: numba makes a SystemError of it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, Interrupted):
            return True
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return False
