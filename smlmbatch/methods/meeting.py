"""How ranks meet, take leave and die audibly: a few keys in the store that rank 0 (or torchrun) keeps at the meeting point.

The point is the first host of the job's list and a port made of the job's and the step's numbers, so that neither two jobs nor two steps of
one job meet each other. Each rank says where it is; rank 0 waits for all, and gives one verdict that all end with alike. A rank that gives
up leaves a last word, so that the others tell an error, which comes again, from a loss, after which the job is worth starting again.
"""

import datetime
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # absent from its __all__

from smlmbatch.errors import Interrupted, RankLost, ResourceError
from smlmbatch.hpc.network import Network, address_of, is_loopback, on_one_machine
from smlmbatch.hpc.place import Place

# An image read cold from a busy file system takes a minute or two until the last rank has imported torch.
MEETING_S = 180.0
_ROLL_CALL_S = 2.0  # survivors notice a closed connection at once; below SLURM's KillWait (30 s, seldom less than 5)
LOOK_S = 2.0  # how often ranks look for others' last words
_LEAVE_S = 60.0  # ranks leave at the same step, and what lies between is less than a step
_POLL_S = 0.1
_STORE_S = 60.0  # for the store to answer one question: a thread that nothing blocks, on a machine that may be overloaded
# Above the ports of services, below those that Linux gives to outgoing connections (32768 ...), which are taken at random.
_FIRST_PORT, _N_PORTS = 10_000, 22_000
_STEP_STRIDE = 4_999  # jobs have neighbours in number, and steps of one job must not get theirs

Stop = Callable[[], bool]


def never() -> bool:
    """Nobody asks to stop."""
    return False


def meeting_point(place: Place) -> str:
    """host:port for the ranks to meet: torchrun's, else the first host and a port of the step's own."""
    if place.master:
        return place.master
    digits = "".join(c for c in place.job if c.isdigit())
    port = _FIRST_PORT + (int(digits or 0) + _STEP_STRIDE * place.step) % _N_PORTS
    return f"{place.head() or '127.0.0.1'}:{port}"


def name_of(place: Place) -> str:
    """How a rank calls itself in what it says."""
    return f"rank {place.rank} of {place.world} on {place.host or socket.gethostname()}"


class Roll:
    """Who came, who left, and last words. Made by `meet`."""

    def __init__(self, store: Store, place: Place, meet_at: str) -> None:
        self.store, self.place, self.meet_at = store, place, meet_at
        self.others = [rank for rank in range(place.world) if rank != place.rank]
        self.heard: ResourceError | None = None  # what ended another rank, where a thread has heard it already

    def again(self) -> "Roll":
        """The same over a connection of its own."""
        return Roll(_open_store(self.place, self.meet_at, listens=False), self.place, self.meet_at)

    # ---- to meet

    def arrive(self, where: str, *, wait_s: float, should_stop: Stop) -> None:
        """Say where this rank is, and wait until all have come.

        Raises
        ------
        ResourceError
            not all came in time, or two came as one rank; the same on every rank that came
        """
        if self.store.add(f"came/{self.place.rank}", 1) > 1:
            self.store.set("verdict", f"two processes came as rank {self.place.rank}, the second on {self.place.host}")
        self.store.set(f"host/{self.place.rank}", where)
        if self.place.rank == 0:
            self._wait_for_others(wait_s, should_stop)
        for _ in _polls(wait_s + _STORE_S, should_stop):
            if self.store.check(["verdict"]):
                break
        else:
            raise ResourceError(f"{name_of(self.place)}: rank 0 at {self.meet_at} gave no verdict in {wait_s:.0f} s")
        if verdict := self.store.get("verdict").decode():
            self._part(self._asked("host"), "told", seconds=_ROLL_CALL_S)
            raise ResourceError(f"{name_of(self.place)}: {verdict}")

    def _wait_for_others(self, wait_s: float, should_stop: Stop) -> None:
        missing = self.others
        for _ in _polls(wait_s, should_stop):
            missing = [rank for rank in missing if not self.store.check([f"host/{rank}"])]
            if not missing or self.store.check(["verdict"]):
                break
        who = self._named(missing) + self._silent_nodes(missing)
        late = f"waited {wait_s:.0f} s at {self.meet_at} for {who}. {_LOOK_AT}" if missing else ""
        self.store.compare_set("verdict", "", late)

    def _named(self, ranks: list[int]) -> str:
        """Ranks by number, and where they are as far as they have said so."""
        known = [f"rank {rank}" + (f" ({self._host(rank)})" if self._host(rank) else "") for rank in ranks[:8]]
        more = [f"{len(ranks) - 8} more"] if len(ranks) > 8 else []
        return ", ".join(known + more)

    def _host(self, rank: int) -> str:
        return self.store.get(f"host/{rank}").decode() if self.store.check([f"host/{rank}"]) else ""

    def _silent_nodes(self, missing: list[int]) -> str:
        seen = {self._host(rank).partition(" ")[0] for rank in range(self.place.world) if rank not in missing}
        silent = [host for host in self.place.hosts if host not in seen]
        return f"; nobody came from {', '.join(silent[:8])}" if silent else ""

    # ---- to leave

    def leave(self) -> None:
        """In order, all together: whoever left first would break off what the others still send. Nobody waits for ever."""
        with suppress(RuntimeError, dist.DistError):  # what was to be done together is done
            self._part(self.others, "left")

    def last_word(self, text: str) -> None:
        """Why this rank gives up; for those that lose it."""
        with suppress(RuntimeError, dist.DistError):
            self.store.set(f"word/{self.place.rank}", text)
            self.store.set("words", "")
            if self.place.rank == 0:  # with it goes the store
                self._asked("roll", seconds=2 * LOOK_S + _ROLL_CALL_S)

    def lost(self, reason: str) -> ResourceError:
        """The error to end with when ranks don't answer any more: another's last word, else who is silent."""
        if self.heard:
            return self.heard
        try:
            self.answer()
            silent = self._silent()
            said = self.words()
            self._part(self._asked("roll"), "called", seconds=_ROLL_CALL_S)
        except (RuntimeError, dist.DistError):
            return self.heard or self.deserted(reason)
        if said:
            return self.given_up(said)
        who = f"no word within {_ROLL_CALL_S:g} s from {self._named(silent)}" if silent else "all of them still answer at the meeting point"
        return RankLost(f"{name_of(self.place)}: lost another rank: {who} ({reason}); run it again to go on")

    def given_up(self, said: str) -> ResourceError:
        """Another rank's error: it would come again."""
        return ResourceError(f"{name_of(self.place)}: {said}")

    def deserted(self, reason: str) -> RankLost:
        """The store doesn't answer: it went with its process."""
        gone = "torchrun" if self.place.agent else "rank 0"
        return RankLost(f"{name_of(self.place)}: lost {gone} at {self.meet_at}, where the ranks met ({reason}); run it again to go on")

    def answer(self) -> None:
        """To the roll call: this rank lives, and knows."""
        self.store.set(f"roll/{self.place.rank}", "")

    def words(self) -> str:
        """Last words of others; "" while there are none."""
        if not self.store.check(["words"]):
            return ""
        found = [rank for rank in self.others if self.store.check([f"word/{rank}"])]
        return "; ".join(f"rank {rank} ({self._host(rank)}) gave up: {self.store.get(f'word/{rank}').decode()}" for rank in found[:3])

    def _silent(self) -> list[int]:
        missing = self.others
        for _ in _polls(_ROLL_CALL_S, never):
            missing = [rank for rank in missing if not self.store.check([f"roll/{rank}"])]
            if not missing or self.store.check(["words"]):
                break
        return missing

    def _asked(self, key: str, *, seconds: float = 0.0) -> list[int]:
        """The others that set a key, after waiting so long for all of them."""
        for _ in _polls(seconds, never):
            if self.store.check([f"{key}/{rank}" for rank in self.others]):
                break
        return [rank for rank in self.others if self.store.check([f"{key}/{rank}"])]

    def _part(self, others: list[int], key: str, *, seconds: float = _LEAVE_S) -> None:
        """Wait until the others have come to this point too; rank 0 until they know it, for with it goes the store."""
        for stage in (key, f"{key} and gone"):
            self.store.set(f"{stage}/{self.place.rank}", "")
            if stage == key or self.place.rank == 0:
                for _ in _polls(seconds, never):
                    if not others or self.store.check([f"{stage}/{rank}" for rank in others]):
                        break


_LOOK_AT = (
    "Look whether they started, whether that name leads to the same machine from every node, and whether a firewall between nodes lets TCP "
    "through (docs/cluster.md, GPUs and several nodes)"
)


def meet(place: Place, network: Network, *, wait_s: float = MEETING_S, should_stop: Stop = never) -> Roll:
    """Come to the meeting point and wait there for the others.

    Raises
    ------
    ResourceError
        nobody answers there, the port is taken, or not all came in time
    Interrupted
        asked to stop while waiting
    """
    meet_at = meeting_point(place)
    listens = place.rank == 0 and not place.agent
    if not listens:
        _wait_for_listener(place, meet_at, wait_s=wait_s, should_stop=should_stop)
    try:
        roll = Roll(_open_store(place, meet_at, listens=listens), place, meet_at)
        roll.arrive(f"{place.host} {network}", wait_s=wait_s, should_stop=should_stop)
    except (RuntimeError, dist.DistError) as error:
        reason = str(error).partition("\n")[0]  # below it stands a trace through C++
        raise ResourceError(f"{name_of(place)}: no meeting at {meet_at}: {reason}") from error
    return roll


def _open_store(place: Place, meet_at: str, *, listens: bool) -> Store:
    """The store at the meeting point. Its keys begin with what is this launch's alone: strangers at the port are never taken for ours."""
    host, _, port = meet_at.rpartition(":")
    store = TCPStore(host, int(port), place.world, listens, datetime.timedelta(seconds=_STORE_S), wait_for_workers=False)
    return PrefixStore(f"smlmbatch/{place.job}.{place.step}.{place.restart}.{place.attempt}", store)


def _wait_for_listener(place: Place, meet_at: str, *, wait_s: float, should_stop: Stop) -> None:
    """Until rank 0 listens; what stood in the way last is told."""
    host, _, port = meet_at.rpartition(":")
    trouble = "no time to try"
    for _ in _polls(wait_s, should_stop):
        try:
            socket.create_connection((host, int(port)), timeout=5.0).close()
            return
        except OSError as error:
            trouble = error.strerror or str(error)
    address = address_of(host)
    seen = f"{host} resolves to {address} here" if address else f"{host} resolves to nothing here"
    if is_loopback(address) and not on_one_machine(place):
        seen += ", which is this machine itself: mend /etc/hosts"
    raise ResourceError(f"{name_of(place)}: nobody answers at {meet_at} after {wait_s:.0f} s ({trouble}; {seen}). {_LOOK_AT}")


def _polls(seconds: float, should_stop: Stop) -> Iterator[None]:
    """Again and again for so long, at least once.

    Raises
    ------
    Interrupted
        asked to stop
    """
    end_s = time.monotonic() + seconds
    yield
    while time.monotonic() < end_s:
        if should_stop():
            raise Interrupted("stopped before the ranks had met; run it again to go on")
        time.sleep(_POLL_S)
        yield
