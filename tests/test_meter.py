"""What the loop measures of itself, by a clock that the tests turn."""

import numpy as np
import pytest

from faceflax.training import meter


class Clock:
    """Stands for the module `time`; its days are as long as a test says."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self):
        return self.now

    def time(self):
        return 5e8 + self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(meter, "time", clock)
    return clock


def _sums(loss=1.0, count=4.0):
    return {"loss": (np.float64(loss * count), np.float64(count)), "grad_norm": (np.float64(1), np.float64(1))}


def _step(measured, clock, step, sums, wait=1.0, dispatch=2.0, device=3.0):
    """One turn of the loop; the device is waited for in the turn after."""

    def batches():
        clock.now += wait
        yield None

    measured.next_batch(batches())
    with measured.timed("dispatch"):
        clock.now += dispatch

    def fetched(value):
        clock.now += device
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter.jax, "device_get", fetched)
        measured.add(step, sums)


def test_the_parts_of_a_step_are_shares_of_all_the_time(clock):
    measured = meter.Meter()
    _step(measured, clock, 1, _sums(), dispatch=60)  # compiles
    _step(measured, clock, 2, _sums())  # the clock starts within, when step 1 is done
    _step(measured, clock, 3, _sums(2.0))
    with measured.timed("evaluation"):
        clock.now += 10
    with measured.timed("checkpoint"):
        clock.now += 4
    means = measured.read()
    total = 6 + 10 + 4  # seconds since the clock started: one step, and the pauses
    expected = {"input_wait": 1, "dispatch": 2, "device_wait": 3, "evaluation": 10, "checkpoint": 4, "profile": 0}
    assert {name: means[name] * total for name in expected} == pytest.approx(expected)
    assert means["seconds_per_step"] == pytest.approx(6 / 2)  # steps 2 and 3; reading did not wait for the device
    assert means["loss"] == pytest.approx((1 + 1 + 2) / 3)
    assert measured.is_empty


def test_goodput_leaves_out_compilation_pauses_lost_steps_and_the_time_between_runs(clock):
    started = clock.time() - 1000  # an earlier run, of which steps of 100 seconds were kept
    measured = meter.Meter(started, kept_seconds=100.0)
    for step in (1, 2, 3):
        _step(measured, clock, step, _sums(), wait=0, dispatch=0, device=10)
    with measured.timed("evaluation"):
        clock.now += 30
    means = measured.read()
    assert means["kept_seconds"] == pytest.approx(100 + 10)
    assert means["goodput"] == pytest.approx(110 / (1000 + 20 + 30))
    with measured.timed("checkpoint"):
        clock.now += 50
    closing = measured.read()  # no step since
    assert "loss" not in closing and "seconds_per_step" not in closing
    assert closing["checkpoint"] == pytest.approx(1)
    assert closing["goodput"] == pytest.approx(110 / (1000 + 20 + 30 + 50))


def test_a_clock_that_was_set_back_gives_no_goodput_above_one(clock):
    measured = meter.Meter(started=clock.time() + 500)
    for step in (1, 2, 3):
        _step(measured, clock, step, _sums())
    assert measured.read()["goodput"] == 1


def test_before_the_first_step_is_done_there_are_no_times(clock):
    measured = meter.Meter()
    assert measured.is_empty
    _step(measured, clock, 1, _sums())
    assert not measured.is_empty
    assert set(measured.read()) == {"loss", "grad_norm"}


def test_a_step_that_is_not_finite_is_named_when_the_next_was_dispatched(clock):
    measured = meter.Meter()
    _step(measured, clock, 7, _sums(np.nan))
    with pytest.raises(meter.NotFiniteError) as raised:
        _step(measured, clock, 8, _sums())
    assert raised.value.step == 7


class Device:
    def __init__(self, stats):
        self._stats = stats

    def memory_stats(self):
        return self._stats


def test_memory_is_that_of_the_fullest_device_and_nothing_where_none_tells():
    devices = [Device({"bytes_in_use": 5, "peak_bytes_in_use": 9}), Device({"bytes_in_use": 7}), Device(None)]
    assert meter.device_memory(devices) == {"memory_bytes": 7.0, "memory_peak_bytes": 9.0}
    assert meter.device_memory([Device(None)]) == {}
