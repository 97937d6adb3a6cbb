"""The scaling on paper: what is read from a network, and times of messages by hand."""

import pytest

from benchmarks.scaling import GB_PER_S, LATENCY_US, all_reduce_ms, document, gather_ms, read_step, spent_ms, step_ms

MEASURED = {"one_ms": 26.0, "compute_ms": 14.0, "joined_ms": 16.0, "communication_ms": 2.0, "one_per_s": 2460, "joined_per_s": 4000}


def test_a_step_is_read_from_its_network():
    step = read_step("default", MEASURED)
    assert step.parameters == 13_280 + 428_032, "as the shipped model's card counts them"
    assert (step.norm_channels, step.row_bytes) == ((16, 32), 4 * (512 + 5))
    assert step.image_ms == pytest.approx((26 - 14) / 32)
    assert 100 < step.operations < 1000
    assert read_step("paper", MEASURED).norm_channels == (8, 8, 16, 16)


def test_messages_cost_hops_and_bytes():
    assert all_reduce_ms(1e6, 1) == gather_ms(1e6, 1) == 0
    assert all_reduce_ms(1e6, 4) == pytest.approx(4 * LATENCY_US["node"] * 1e-3 + 1.5 * 1e6 / (GB_PER_S["node"] * 1e9) * 1e3)
    assert gather_ms(1e6, 64) == pytest.approx(6 * LATENCY_US["nodes"] * 1e-3 + 63 / 64 * 1e6 / (GB_PER_S["nodes"] * 1e9) * 1e3)


def test_a_shared_batch_is_shared_and_a_growing_one_is_not():
    step = read_step("default", MEASURED)
    one, shared, grown = spent_ms(step, 1, 32), spent_ms(step, 8, 32), spent_ms(step, 8, 256)
    assert shared["network"] == pytest.approx(one["network"] / 8)
    assert grown["network"] == pytest.approx(one["network"])
    assert grown["loss"] == pytest.approx(64 * one["loss"])
    assert step_ms(one) == max(one["launches"], one["network"] + one["loss"])


def test_the_document_has_both_recipes():
    text = document(dict.fromkeys(("default", "paper"), MEASURED | {"efficiency": 0.8}))
    assert text.count("| 64 | 2048 |") == 2
    assert "efficiency 0.80" in text
