"""Ranks that come late, twice or not at all, that die or give up: how long the others take to end, and what they say."""

import re
import socket
import threading
from dataclasses import replace

import pytest

from smlmbatch.errors import Interrupted, RankLost, ResourceError
from smlmbatch.hpc.network import Network
from smlmbatch.hpc.place import Place
from smlmbatch.methods.meeting import meet, meeting_point
from tests.methods.launching import Launch
from tests.slurm.cluster import free_ports

HERE = Network("lo", "127.0.0.1", "a test")


@pytest.fixture
def place():
    """Rank 0 of 4 on two nodes, at a port nobody else listens on."""
    (port,) = free_ports(1)
    hosts = ("localhost", "node2.invalid")
    return Place(world=4, local_world=2, hosts=hosts, host="localhost", job="7", launcher="srun", master=f"127.0.0.1:{port}")


def together(*meetings):
    """Run each in a thread of its own; what each gave or raised."""
    found = [None] * len(meetings)

    def run(number):
        try:
            found[number] = meetings[number]()
        except (ResourceError, Interrupted) as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(meetings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_all_meet_and_leave_together(place):
    rolls = together(*(lambda r=rank: meet(replace(place, rank=r), HERE, wait_s=60) for rank in range(4)))
    assert [roll.store.get(f"host/{rank}").decode() for rank, roll in enumerate(rolls)] == ["localhost lo 127.0.0.1 (a test)"] * 4
    assert together(*(roll.leave for roll in rolls)) == [None] * 4


def test_missing_ranks_are_named_and_all_that_came_say_so(place):
    """Ranks 2 and 3 of the second node never come; ranks 0 and 1 end alike, at once after the time."""
    errors = together(*(lambda r=rank: meet(replace(place, rank=r), HERE, wait_s=6.0) for rank in range(2)))
    said = re.escape(f"waited 6 s at {place.master} for rank 2, rank 3; nobody came from node2.invalid. Look whether")
    for rank, error in enumerate(errors):
        assert type(error) is ResourceError
        assert re.match(f"rank {rank} of 4 on localhost: {said}", str(error)), error


def test_nobody_at_the_meeting_point(place):
    with pytest.raises(ResourceError, match=rf"rank 3 of 4 on n2: nobody answers at {place.master} after 1 s \(Connection refused; 127"):
        meet(replace(place, rank=3, host="n2"), HERE, wait_s=1.0)


def test_a_head_that_resolves_to_this_machine_itself(place):
    """On node 2, the name of node 1 leads to node 2: what /etc/hosts of that node says is told, and what to mend."""
    mistaken = replace(place, rank=3, host="node2.invalid", master="", job="")
    with pytest.raises(
        ResourceError, match=r"localhost:10000 .* localhost resolves to 127\.0\.0\.1 here, which is this machine itself: mend"
    ):
        meet(mistaken, HERE, wait_s=1.0)


def test_unknown_name_of_the_head(place):
    with pytest.raises(ResourceError, match=r"head\.invalid resolves to nothing here\)"):
        meet(replace(place, rank=1, master="head.invalid:12345"), HERE, wait_s=1.0)


def test_a_port_that_another_program_has(place):
    with socket.socket() as other:
        other.bind(("", int(place.master.rpartition(":")[2])))
        other.listen()
        with pytest.raises(ResourceError, match=rf"rank 0 of 4 on localhost: no meeting at {place.master}: .*EADDRINUSE"):
            meet(place, HERE, wait_s=1.0)


def test_two_processes_of_one_rank(place):
    """As under two launches that were given the same numbers."""
    ranks = (0, 1, 2, 3, 3)
    errors = together(*(lambda r=rank: meet(replace(place, rank=r), HERE, wait_s=60) for rank in ranks))
    said = [error for error in errors if isinstance(error, ResourceError)]
    assert said
    assert all("two processes came as rank 3" in str(error) for error in said)


def test_stopped_while_waiting(place):
    with pytest.raises(Interrupted, match="before the ranks had met"):
        meet(place, HERE, wait_s=600, should_stop=lambda: True)


def test_neither_jobs_nor_steps_meet_each_other():
    at = {
        (job, step): meeting_point(Place(world=2, job=str(job), step=step, hosts=("n1", "n2")))
        for job in range(1000, 1300)
        for step in range(4)
    }
    assert len(set(at.values())) == len(at)
    ports = [int(point.removeprefix("n1:")) for point in at.values()]
    assert min(ports) >= 10_000
    assert max(ports) < 32_768, "from there on Linux gives ports to outgoing connections"
    assert meeting_point(Place(world=2, local_world=2, host="n7")) == "n7:10000"
    assert meeting_point(Place(world=2, master="10.0.0.1:29500")) == "10.0.0.1:29500"


@pytest.mark.slow
def test_an_interface_that_is_not_there(tmp_path):
    """They meet, and then can't connect: what the site has set is told, and where."""
    with Launch(2, tmp_path, GLOO_SOCKET_IFNAME="nosuch0") as launch:
        launch.start("-m", "smlmbatch", "doctor", "--distributed", "--device", "cpu")
        assert launch.codes() == [2, 2], launch.said()
        for rank in range(2):
            said = rf"smlmbatch: rank {rank} of 2 on .*: met at 127\.0\.0\.1:\d+ and can't reach the other ranks by gloo over nosuch0 "
            assert re.search(said + r"\(GLOO_SOCKET_IFNAME is set\) \(.*\)\. If that is the wrong interface, export", launch.text(rank))


# ---- ranks that die on the way


def act(folder, name, *, world=3):
    with Launch(world, folder) as launch:
        launch.start("-m", "tests.methods.acts", name, folder)
        codes = launch.codes(timeout_s=200)  # the time-out of a collective is 600 s
        return codes, [launch.said(rank) for rank in range(world)]


@pytest.mark.slow
def test_a_killed_rank_is_missed_at_once(tmp_path):
    codes, said = act(tmp_path, "kill 1")
    assert codes == [75, -9, 75], said
    for rank in (0, 2):
        assert re.search(rf"RankLost: rank {rank} of 3 on .*: lost another rank: no word within 2 s from .*rank 1 \(", said[rank]), said


@pytest.mark.slow
def test_a_rank_that_hangs_is_given_up(tmp_path):
    """After `answer_s`, 20 s here: whoever waits for it directly counts them, and the other sees that one leave."""
    with Launch(3, tmp_path) as launch:
        launch.start("-m", "tests.methods.acts", "hang 1", tmp_path)
        assert [launch.ranks[rank].wait(timeout=200) for rank in (0, 2)] == [75, 75], launch.said()
        assert "Timed out waiting 20000ms" in launch.said(), launch.said()
        for rank in (0, 2):
            assert re.search(r"lost another rank: no word within 2 s from .*rank 1 \(", launch.text(rank)), launch.said()
        assert launch.ranks[1].poll() is None


@pytest.mark.slow
def test_without_rank_0_nobody_has_a_meeting_point(tmp_path):
    codes, said = act(tmp_path, "kill 0")
    assert codes == [-9, 75, 75], said
    assert all(re.search(r"RankLost: rank \d of 3 on .*: lost (torchrun at|another rank: .*rank 0)", text) for text in said[1:]), said


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_what_a_rank_gives_up_for_ends_the_others_as_an_error(tmp_path, failing):
    """Rank 2 looks at nothing for ten minutes, and hears it all the same."""
    codes, said = act(tmp_path, f"fail alone {failing}")
    assert codes == [2, 2, 2], said
    for rank in {0, 1, 2} - {failing}:
        assert re.search(rf"rank {rank} of 3 on .*: rank {failing} \(.*\) gave up: .*No space left on device", said[rank]), said


@pytest.mark.slow
def test_who_shares_work_ends_with_the_first_ones_exit_code(tmp_path):
    """Though both hear TERM: 75 would send the job back into the queue, to fail again."""
    codes, said = act(tmp_path, "share", world=2)
    assert codes == [2, 2], said
    assert re.search(r"RankLost: given up with the other ranks \(rank 1 of 2 on .*: no such thing\)", said[0]), said
    assert "ConfigError: no such thing" in said[1], said


@pytest.mark.slow
def test_ranks_leave_together(tmp_path):
    codes, said = act(tmp_path, "nothing 0", world=4)
    assert codes == [0] * 4, said
    assert said == [f"rank{rank}.log: " for rank in range(4)]


def test_a_lost_rank_is_worth_another_try():
    assert (RankLost.exit_code, ResourceError.exit_code) == (75, 2)
