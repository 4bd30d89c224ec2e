"""Traces of chosen steps."""

import jax
import jax.numpy as jnp
import pytest

from faceflax.config import profiled_steps
from faceflax.errors import UserError
from faceflax.training import profile
from faceflax.training.meter import Meter


@pytest.mark.parametrize("text", ["5", "5:5", "7:3", "-1:3", "a:b", "1:2:3", "1: 3"])
def test_what_is_no_range_of_steps_is_one_sentence(text):
    with pytest.raises(UserError, match=rf'^config.profile is "{text}"; write .* as "100:110"$'):
        profiled_steps(text)


def test_ranges_of_steps():
    assert profiled_steps("") == range(0)
    assert profiled_steps("100:110") == range(100, 110)


def test_steps_after_the_end_are_refused():
    assert profile.traced_steps("9:20", 10) == range(9, 20)
    assert profile.traced_steps("", 10) == range(0)
    with pytest.raises(UserError, match='^config.profile "10:20" begins after the last step: the run has 10;'):
        profile.traced_steps("10:20", 10)


@pytest.fixture
def traced(monkeypatch, tmp_path):
    """Returns a function that runs steps, and tells which of them the trace was open for."""

    def run(text, start, total):
        is_open, traced = [False], []
        monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: is_open.__setitem__(0, True))
        monkeypatch.setattr(jax.profiler, "stop_trace", lambda: is_open.__setitem__(0, False))
        tracer, meter = profile.Profile(profiled_steps(text), tmp_path), Meter()
        for step in range(start, total):
            tracer.follow(step, meter)
            traced += [step] * is_open[0]
        tracer.close()
        assert not is_open[0]
        return traced

    return run


@pytest.mark.parametrize(
    ("text", "start", "steps"),
    [
        ("3:6", 0, [3, 4, 5]),
        ("0:2", 0, [0, 1]),
        ("3:6", 4, [4, 5]),  # taken up again within the range
        ("3:6", 6, []),  # and after it
        ("8:20", 0, [8, 9]),  # the run ends first
        ("", 0, []),
    ],
)
def test_the_trace_is_open_for_its_steps_alone(traced, text, start, steps):
    assert traced(text, start, 10) == steps


def test_a_trace_is_written(tmp_path):
    tracer, meter = profile.Profile(range(1), tmp_path / "profile"), Meter()
    tracer.follow(0, meter)
    jax.block_until_ready(jnp.ones(3) + 1)
    tracer.follow(1, meter)
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 0
