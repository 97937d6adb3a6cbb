"""What is done for a GPU, asked for on a CPU: batches made ahead and pinned, half precision, arithmetic that doesn't change."""

import threading

import pytest
import torch
from torch import nn

from smlmbatch.methods.devices import Compute, HalfPrecision, compute_on, made_ahead, steady
from smlmbatch.methods.method import Alone

CPU = torch.device("cpu")


def batches(n, fail_at=None):
    for number in range(n):
        if number == fail_at:
            raise OSError("a disk")
        yield {"value": torch.full((2,), float(number)), "index": torch.tensor([number])}


def test_a_gpu_is_given_what_a_cpu_is_spared():
    cuda, cpu = compute_on(torch.device("cuda", 1)), compute_on(CPU)
    assert (cuda.ahead > 0, cuda.half, cuda.pin) == (True, True, torch.Tensor.pin_memory)
    assert (cpu.ahead, cpu.half, cpu.pin) == (0, False, None)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_batches_arrive_in_order_each_tensor_pinned_once(ahead):
    pinned = []

    def pin(values):
        pinned.append(threading.current_thread() is threading.main_thread())
        return values + 100

    found = list(Compute(device=CPU, ahead=ahead, pin=pin).deliver(batches(5)))
    assert [int(batch["value"][0]) for batch in found] == [100, 101, 102, 103, 104]
    assert [batch["index"].tolist() for batch in found] == [[100], [101], [102], [103], [104]]
    assert pinned == [ahead == 0] * 10, "by the thread, so that the steps need not wait for it"


def test_so_many_are_made_ahead_and_no_more():
    made, asked = [], threading.Event()

    def items():
        for number in range(10):
            made.append(number)
            if number == 3:
                asked.set()
            yield number

    found = made_ahead(items(), 3)
    assert next(found) == 0
    assert asked.wait(timeout=60), "the thread goes on while the first is worked on"
    assert made == [0, 1, 2, 3]
    assert list(found) == list(range(1, 10))


def test_an_error_of_the_thread_comes_in_its_turn():
    found = made_ahead(batches(5, fail_at=3), 2)
    assert [int(next(found)["index"]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="a disk"):
        next(found)


def test_letting_go_in_the_middle_ends_the_thread():
    before = threading.active_count()
    found = made_ahead(batches(1000), 2)
    next(found)
    found.close()
    assert threading.active_count() == before


def test_half_precision_widens_all_that_a_network_gives():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3, bias=False)

        def forward(self, values, more):
            product = self.layer(values)
            seen.append(product.dtype)
            return {"product": product, "index": more, "pair": (product, product)}

    seen = []
    found = HalfPrecision(Several())(torch.ones(2, 4), torch.tensor([1, 2]))
    assert seen == [torch.bfloat16]
    assert (found["product"].dtype, found["index"].dtype, found["pair"][1].dtype) == (torch.float32, torch.int64, torch.float32)


def test_the_learner_of_one_rank_is_the_network_itself_or_in_half_precision():
    network = nn.Linear(2, 2)
    assert Compute(device=CPU).learner(network, Alone()) is network
    half = Compute(device=CPU, half=True).learner(network, Alone())
    assert isinstance(half, HalfPrecision)
    assert half.network is network


def test_inference_is_steady_and_leaves_things_as_they_were():
    def state():
        cudnn = torch.backends.cudnn
        return (torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, torch.get_num_threads())

    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        torch.set_num_threads(2)
        before = state()
        with pytest.raises(KeyError), steady():
            assert state() == (False, False, False, True, 1)
            raise KeyError
        assert state() == before
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.set_num_threads(1)
