"""Letters between the ranks of a launch that work together but not in step.

Decision: a key-value store (torch's TCPStore: on rank 0's host, or torchrun's own) instead of collectives. Whatever passes is small, a
forked child can take part by itself, waiting is polling, which a signal ends at once, and no network interface needs choosing. Nothing is
pickled, for the store believes whoever reaches its port.

Ranks beat like the attempts of units do: who is silent is lost, and named. A rank that is asked to stop tells the others.
"""

import datetime
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from smlmbatch.errors import EXIT_INTERNAL, Interrupted, RankLost, ResourceError, SmlmbatchError
from smlmbatch.hpc.child import ignore_signals
from smlmbatch.hpc.place import Place

if TYPE_CHECKING:  # torch
    from smlmbatch.methods.meeting import Roll

BEAT_S: Final = 5.0
SILENT_S: Final = 180.0  # a beat takes milliseconds, but a machine may be overloaded
ANSWER_S: Final = 60.0  # for the store, a thread that nothing blocks
END: Final = "end"
_STOP: Final = "stop"
_PIECE: Final = 4 << 20  # bytes; TCPStore takes 8 MiB at once
_PAUSES_S: Final = (0.005, 0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a rank sits; small and picklable: a child takes the seat of its parent.

    Attributes
    ----------
    host, port : of the store
    launch : a name; the store may outlive a launch
    rank, world : of this process
    who : this rank, in messages
    round : letters of different rounds don't mix, see `one_round`
    """

    host: str
    port: int
    launch: str
    rank: int
    world: int
    who: str
    round: int = 0


class Box:
    """The letters of one round, seen by all ranks. A process that was forked opens one of its own."""

    def __init__(self, seat: Seat) -> None:
        from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

        self.seat = seat
        with _reached(seat):
            store = TCPStore(seat.host, seat.port, is_master=False, wait_for_workers=False, timeout=datetime.timedelta(seconds=ANSWER_S))
        self._launch = PrefixStore(seat.launch, store)
        self._round = PrefixStore(f"{seat.launch}/{seat.round}", store)
        self._heard: dict[int, tuple[int, float]] = {}  # rank → (beats, since when so many)
        self._listened_at = 0.0

    def put(self, name: str, content: bytes = b"") -> None:
        """Leave a letter; it is there when it is there whole."""
        with _reached(self.seat):
            for at in range(0, len(content), _PIECE):
                self._round.set(f"{name}.{at}", content[at : at + _PIECE])  # type: ignore[arg-type]  # bytes do as well as text
            self._round.set(name, str(len(content)))

    def has(self, name: str) -> bool:
        with _reached(self.seat):
            return bool(self._round.check([name]))

    def read(self, name: str) -> bytes:
        """The content of a letter that is there."""
        with _reached(self.seat):
            return b"".join(self._round.get(piece) for piece in self._pieces(name))

    def take(self, name: str) -> bytes:
        """The same, and the letter is there no more."""
        content = self.read(name)
        with _reached(self.seat):
            for gone in (*self._pieces(name), name):
                self._round.delete_key(gone)
        return content

    def _pieces(self, name: str) -> list[str]:
        return [f"{name}.{at}" for at in range(0, int(self._round.get(name)), _PIECE)]

    def count(self, name: str) -> int:
        """1 for the first who counts here, 2 for the second …"""
        with _reached(self.seat):
            return int(self._round.add(name, 1))

    def wait(self, *names: str) -> str:
        """The first of these letters that is there.

        Raises
        ------
        Interrupted
            a rank was asked to stop
        RankLost
            a rank gave up, or is silent
        """
        pause_s = _PAUSES_S[0]
        while True:
            found = next((name for name in names if self.has(name)), None)
            if found is not None:
                return found
            self.raise_if_stopped()
            self._raise_if_silent()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSES_S[1])

    # ---- across rounds

    def stop(self, error: BaseException) -> None:
        """Let the others stop as well, with the same exit code; the first word counts."""
        code = error.exit_code if isinstance(error, SmlmbatchError) else EXIT_INTERNAL
        word = {"asked": isinstance(error, Interrupted), "code": code, "why": f"{self.seat.who}: {error or type(error).__name__}"}
        with _reached(self.seat):
            self._launch.compare_set(_STOP, "", json.dumps(word))

    def stopped(self) -> SmlmbatchError | None:
        """The error to end with because a rank has ended; None while all go on."""
        with _reached(self.seat):
            word = json.loads(self._launch.get(_STOP)) if self._launch.check([_STOP]) else None
        if word is None:
            return None
        if word["asked"]:
            return Interrupted(f"stopped with the other ranks ({word['why']})")
        lost = RankLost(f"given up with the other ranks ({word['why']})")
        lost.exit_code = word["code"]
        return lost

    def raise_if_stopped(self) -> None:
        if error := self.stopped():
            raise error

    def _raise_if_silent(self) -> None:
        now = time.monotonic()
        if now - self._listened_at < BEAT_S:
            return
        if now - self._listened_at > SILENT_S / 2:  # busy, or suspended with all the others: who may have beaten meanwhile
            self._heard.clear()
        self._listened_at = now
        with _reached(self.seat):
            beats = {rank: int(self._launch.add(f"beat/{rank}", 0)) for rank in range(self.seat.world)}
        for rank, count in beats.items():
            known, since = self._heard.get(rank, (-1, now))
            self._heard[rank] = (count, since if count == known else now)
            if now - self._heard[rank][1] > SILENT_S:
                raise RankLost(f"{self._name_of(rank)} is silent: its process ended, or its node hangs; run again to go on")

    def _name_of(self, rank: int) -> str:
        with _reached(self.seat):
            return self._launch.get(f"who/{rank}").decode() if self._launch.check([f"who/{rank}"]) else f"rank {rank}"

    def beat(self) -> None:
        with _reached(self.seat):
            self._launch.add(f"beat/{self.seat.rank}", 1)

    def introduce(self) -> None:
        """Give one's name, for the messages of others."""
        with _reached(self.seat):
            self._launch.set(f"who/{self.seat.rank}", self.seat.who)


@contextmanager
def _reached(seat: Seat) -> Iterator[None]:
    """Around every word with the store."""
    try:
        yield
    except RuntimeError as error:  # torch's DistError is one
        reason = str(error).partition("\n")[0]  # below it stands a trace through C++
        raise RankLost(f"{seat.who}: nobody answers any more at {seat.host}:{seat.port}, where the ranks met ({reason})") from error


# ---- meeting and parting


@contextmanager
def all_ranks(place: Place) -> Iterator[Seat]:
    """All ranks of this launch, met. Whatever ends one of them by an error ends all; they leave together.

    A launcher stops the others by a signal when the first has ended: a rank too busy to hear of the error then ends with its exit code, and
    none is disturbed while it leaves. Interrupted, all would go back into the queue, to meet the same error again.

    Raises
    ------
    ResourceError
        they didn't meet in time
    """
    from smlmbatch.hpc.network import settle_network
    from smlmbatch.methods.meeting import meet, name_of

    roll = meet(place, settle_network(place))
    seat = _seat(roll, name_of(place))
    box, left = Box(seat), threading.Event()
    heard: list[SmlmbatchError] = []
    box.introduce()
    heart = threading.Thread(target=_beat, args=(seat, left, heard), daemon=True)
    heart.start()
    try:
        yield seat
    except Exception as error:
        ignore_signals()
        with suppress(ResourceError):
            if first := box.stopped():
                heard.append(first)
            box.stop(error)
        if heard and isinstance(error, Interrupted | RankLost):
            raise heard[0] from error
        raise
    finally:
        ignore_signals()
        roll.leave()
        left.set()
        heart.join()


def _seat(roll: "Roll", who: str) -> Seat:
    """The store's keys begin with a name of this launch's own."""
    try:
        if roll.place.rank == 0:
            roll.store.set("launch", secrets.token_hex(4))
        launch = roll.store.get("launch").decode()
    except RuntimeError as error:
        raise roll.deserted(str(error).partition("\n")[0]) from error
    host, _, port = roll.meet_at.rpartition(":")
    return Seat(host=host, port=int(port), launch=launch, rank=roll.place.rank, world=roll.place.world, who=who)


def _beat(seat: Seat, left: threading.Event, heard: list[SmlmbatchError]) -> None:
    """Show life, and remember what ended the others: if it was rank 0, the store is gone when this rank looks up from its work."""
    with suppress(ResourceError):  # told by whoever next has a letter for it
        box = Box(seat)
        while not left.wait(BEAT_S):
            box.beat()
            if not heard and (error := box.stopped()):
                heard.append(error)


@contextmanager
def one_round(seat: Seat, number: int) -> Iterator[Seat]:
    """A seat for one piece of work of several. At its end, however it comes, no rank waits for this one any longer."""
    mine = replace(seat, round=number)
    box = Box(mine)  # now: at the end the store may be gone, and to find that out anew takes two minutes that no signal ends
    try:
        yield mine
    finally:
        with suppress(ResourceError):
            box.put(END if seat.rank == 0 else f"{END}/{seat.rank}")
