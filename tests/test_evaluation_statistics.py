import numpy as np
import pytest
import scipy.stats

from faceflax.evaluation.statistics import bootstrap


def test_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    interval = bootstrap(values)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert interval.mean == pytest.approx(values.mean())
    width = expected.high - expected.low
    assert interval.low == pytest.approx(expected.low, abs=0.03 * width)
    assert interval.high == pytest.approx(expected.high, abs=0.03 * width)


def test_agrees_with_the_normal_approximation_for_many_images():
    values = np.random.default_rng(3).normal(5.0, 2.0, size=5000)
    interval = bootstrap(values, level=0.9, resamples=4000)
    error = values.std() / np.sqrt(len(values))
    low, high = scipy.stats.norm.interval(0.9, values.mean(), error)
    assert interval.low == pytest.approx(low, abs=0.1 * error)
    assert interval.high == pytest.approx(high, abs=0.1 * error)


def test_pairing_removes_what_makes_an_image_hard():
    rng = np.random.default_rng(4)
    hardness = rng.normal(0, 5, size=50)
    a, b = hardness + 1 + rng.normal(0, 0.1, 50), hardness + rng.normal(0, 0.1, 50)
    interval = bootstrap(a - b)
    assert interval.low > 0.9 and interval.high < 1.1


def test_nan_is_left_out_and_nothing_gives_nan():
    values = np.array([1.0, 2.0, 4.0])
    assert bootstrap(np.append(values, np.nan)) == bootstrap(values)
    assert np.isnan(bootstrap(np.array([np.nan]))).all()


def test_is_a_function_of_its_arguments():
    values = np.random.default_rng(5).normal(size=30)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)
    assert bootstrap(np.full(7, 0.25)) == (0.25, 0.25, 0.25)
