"""Ranks that share blocks, as threads of this process: who takes what, what goes wrong, what is told."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from torch.distributed import TCPStore

from smlmbatch.errors import ConfigError, InputError, Interrupted, RankLost, ResourceError, SmlmbatchError
from smlmbatch.hpc.child import WorkerDied
from smlmbatch.methods import letters
from smlmbatch.methods.letters import END, Box, Seat, one_round
from smlmbatch.methods.team import Leader, Order, fail, help_with, orders, read_error, write_error
from smlmbatch.work import OneProcess

ORDER = Order(field="f", stage="embed", upstream={}, settings="", memory_bytes=1)


@pytest.fixture
def seats():
    """Seats of three ranks at a store of this process."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    yield [Seat(host="127.0.0.1", port=store.port, launch="l", rank=rank, world=3, who=f"rank {rank} of 3 on n{rank}") for rank in range(3)]
    del store


class Squares:
    """Block k holds k² and a row of k numbers; counts who computed what."""

    def __init__(self, count, *, wait_s=0.0, error=None):
        self.count, self.wait_s, self.error, self.made = count, wait_s, error, []

    def compute(self, number):
        time.sleep(self.wait_s)
        if self.error:
            raise self.error
        self.made.append(number)
        return {"square": np.array([number**2]), "row": np.arange(number, dtype=np.float32)}


def helping(seat, blocks):
    """What a helper does, from its first order to its last; how many blocks it made for each."""

    @contextmanager
    def opened():
        yield blocks

    return [help_with(seat, order, opened) for order in orders(Box(seat))]


def check(found, count):
    assert [int(block["square"][0]) for block in found] == [number**2 for number in range(count)]
    assert all(np.array_equal(block["row"], np.arange(number)) for number, block in enumerate(found))
    assert all(block["row"].dtype == np.float32 for block in found)


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_every_block_is_made_once_and_comes_in_order(seats, count):
    shares = [Squares(count, wait_s=wait_s) for wait_s in (0.02, 0.001, 0.002)]
    with ThreadPoolExecutor() as threads:
        made = [threads.submit(helping, seat, share) for seat, share in zip(seats[1:], shares[1:], strict=True)]
        found = [Leader(seats[0], ORDER).gather(shares[0]) for _ in range(2)]  # two units, one after the other
        Box(seats[0]).put(END)
        counts = [future.result() for future in made]
    for one in found:
        check(one, count)
    check(OneProcess().gather(Squares(count)), count)
    assert sorted(number for share in shares for number in share.made) == sorted([*range(count)] * 2)
    assert [sum(of_rank) for of_rank in counts] == [len(share.made) for share in shares[1:]]
    if count == 100:
        assert all(share.made for share in shares), "a rank got nothing"


def test_rank_0_needs_nobody(seats):
    check(Leader(seats[0], ORDER).gather(Squares(5)), 5)


def test_large_results_come_in_pieces(seats):
    box, content = Box(seats[0]), np.random.default_rng(0).bytes(9_500_000)
    box.put("large", content)
    assert Box(seats[1]).read("large") == content
    assert box.take("large") == content
    assert not box.has("large")


@pytest.mark.parametrize(
    "error",
    [
        InputError("m", "is bad", "a good one", "mend it"),
        ConfigError("no such thing"),
        ResourceError("no GPU"),
        OSError(28, "No space left on device", "/x"),
        MemoryError("too much"),
        WorkerDied("was killed by SIGKILL", True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_keep_their_kind_on_the_way(error):
    back = read_error(write_error(error, who="rank 1 of 3 on n1"))
    assert type(back) is type(error)
    if isinstance(error, InputError):
        assert back.args == error.args, "as if rank 0 had met it"
    if isinstance(error, OSError):
        assert (back.errno, back.filename) == (28, "/x")
    if isinstance(error, WorkerDied):
        assert back.for_memory
        assert str(back) == "its process of rank 1 of 3 on n1 was killed by SIGKILL"


def test_our_own_mistakes_bring_their_trace():
    try:
        _ = {}["absent"]
    except KeyError as error:
        back = read_error(write_error(error, who="rank 1"))
    assert type(back) is SmlmbatchError
    assert "KeyError: 'absent' (rank 1)" in str(back)
    assert "test_our_own_mistakes_bring_their_trace" in back.__notes__[0]


def test_a_helpers_error_is_the_units_and_the_next_unit_goes_on(seats):
    bad = InputError("m", "is bad", "a good one", "mend it")
    turns = iter([Squares(50, error=bad), Squares(50)])

    def once_badly():
        @contextmanager
        def opened():
            yield next(turns)

        return [help_with(seats[1], order, opened) for order in orders(Box(seats[1]))]

    with ThreadPoolExecutor() as threads:
        helper = threads.submit(once_badly)
        with pytest.raises(InputError, match="is bad"):
            Leader(seats[0], ORDER).gather(Squares(50, wait_s=0.2))
        check(Leader(seats[0], ORDER).gather(Squares(50, wait_s=0.02)), 50)
        Box(seats[0]).put(END)
        assert helper.result(timeout=60)[0] == 0


def test_an_error_of_rank_0_sets_the_others_free(seats):
    helpers = Squares(10_000, wait_s=0.005)
    with ThreadPoolExecutor() as threads:
        helper = threads.submit(helping, seats[1], helpers)
        with pytest.raises(ResourceError, match="no GPU"):
            Leader(seats[0], ORDER).gather(Squares(10_000, wait_s=0.2, error=ResourceError("no GPU")))
        Box(seats[0]).put(END)
        assert helper.result(timeout=60)[0] < 10_000


def test_who_sees_other_blocks_than_rank_0_is_told(seats):
    with ThreadPoolExecutor() as threads:
        threads.submit(helping, seats[1], Squares(9))
        with pytest.raises(ResourceError, match=r"rank 1 of 3 on n1: sees 9 blocks of embed of f, rank 0 sees 40"):
            Leader(seats[0], ORDER).gather(Squares(40, wait_s=0.3))
        Box(seats[0]).put(END)


def test_a_dead_process_of_a_helper_is_the_units_failure(seats):
    def die():
        box = Box(seats[1])
        for order in orders(box):
            fail(box, order, WorkerDied("was killed by SIGKILL"))

    with ThreadPoolExecutor() as threads:
        threads.submit(die)
        with pytest.raises(WorkerDied, match="rank 1 of 3 on n1 was killed"):
            Leader(seats[0], ORDER).gather(Squares(40, wait_s=0.3))
        Box(seats[0]).put(END)


def test_rounds_do_not_mix(seats):
    with one_round(seats[0], 0) as first, one_round(seats[0], 1) as second:
        Box(first).put("letter", b"1")
        assert not Box(second).has("letter")
        with one_round(seats[2], 1) as third:
            assert not Box(third).has(END)
    assert Box(first).has(END)
    assert Box(second).has(END)
    assert Box(second).has(f"{END}/2")


def test_all_end_when_one_is_asked_to_stop(seats):
    def wait():
        with pytest.raises(Interrupted, match=r"stopped with the other ranks \(rank 2 of 3 on n2: by USR1\)"):
            Box(seats[1]).wait("what never comes")

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(wait)
        Box(seats[2]).stop(Interrupted("by USR1"))
        Box(seats[0]).stop(ConfigError("too late: the first word counts"))
        waiting.result(timeout=60)
    with pytest.raises(Interrupted):
        Leader(seats[0], ORDER).gather(Squares(9))


def test_who_gives_up_hands_on_its_exit_code(seats):
    Box(seats[1]).stop(ConfigError("no such thing"))
    with pytest.raises(RankLost, match=r"rank 1 of 3 on n1: no such thing") as caught:
        Box(seats[0]).wait("what never comes")
    assert caught.value.exit_code == ConfigError.exit_code


def test_a_busy_rank_remembers_why_another_gave_up(seats, monkeypatch):
    monkeypatch.setattr(letters, "BEAT_S", 0.05)
    left, heard = threading.Event(), []
    heart = threading.Thread(target=letters._beat, args=(seats[1], left, heard))
    heart.start()
    Box(seats[0]).stop(ConfigError("no such thing"))
    deadline = time.monotonic() + 60
    while not heard and time.monotonic() < deadline:
        time.sleep(0.05)
    left.set()
    heart.join()
    assert [(type(error), error.exit_code) for error in heard] == [(RankLost, ConfigError.exit_code)]
    assert "rank 0 of 3 on n0: no such thing" in str(heard[0])


def test_ranks_that_were_suspended_together_are_not_silent(seats, monkeypatch):
    """A suspended job goes on: the first look finds beats as old as the pause."""
    box, now = Box(seats[0]), 1000.0
    monkeypatch.setattr(letters.time, "monotonic", lambda: now)
    box._raise_if_silent()
    now += 10 * letters.SILENT_S
    box._raise_if_silent()
    for _ in range(4):
        now += letters.SILENT_S / 4
        box._raise_if_silent()
    now += letters.BEAT_S
    with pytest.raises(RankLost, match="is silent"):
        box._raise_if_silent()


def test_a_round_ends_at_once_when_the_store_is_gone(capfd):
    """Rank 0 is dead: to look for it once more would take two minutes, in which no signal is heard."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    seat = Seat(host="127.0.0.1", port=store.port, launch="l", rank=1, world=2, who="rank 1 of 2 on n1")
    begun = time.monotonic()
    with pytest.raises(RankLost), one_round(seat, 0) as mine:
        box = Box(mine)
        del store
        box.wait("what never comes")
    assert time.monotonic() - begun < letters.ANSWER_S


def test_a_silent_rank_is_named(seats, monkeypatch):
    monkeypatch.setattr(letters, "BEAT_S", 0.05)
    monkeypatch.setattr(letters, "SILENT_S", 3.0)
    left = threading.Event()
    Box(seats[2]).introduce()
    hearts = [threading.Thread(target=letters._beat, args=(seat, left, [])) for seat in seats[:2]]
    for heart in hearts:
        heart.start()
    with pytest.raises(RankLost, match="rank 2 of 3 on n2 is silent"):
        Box(seats[0]).wait("what never comes")
    left.set()
    for heart in hearts:
        heart.join()


def test_a_store_that_is_gone_is_a_lost_rank(capfd):
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    box = Box(Seat(host="127.0.0.1", port=store.port, launch="l", rank=1, world=2, who="rank 1 of 2 on n1"))
    del store
    with pytest.raises(RankLost, match=r"rank 1 of 2 on n1: nobody answers any more at 127.0.0.1"):
        box.wait("what never comes")
