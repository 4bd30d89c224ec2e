"""Judges: what the networks' descriptions give, and the scores of whole sets."""

import jax
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.evaluation import judges
from faceflax.models import mobilenet, perceptual
from faceflax.models.face_encoder import faceres
from tests import random_networks
from tests.golden import inputs


@pytest.fixture
def networks(monkeypatch):
    random_networks.install(monkeypatch)
    return judges.load(judges.NAMES)


def test_scores_are_those_of_the_networks(networks):
    clean = np.stack([face[32:96, 32:96] for face in inputs.faces()]).astype(np.float32) / 255
    restored = np.clip(clean + np.random.default_rng(0).normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    del networks["kid"]  # which is not compared

    @jax.jit
    def judge(networks, clean, restored):
        described = judges.describe(networks, clean), judges.describe(networks, restored)
        scores, equal = judges.compare(*described), judges.compare(described[0], described[0])
        distance = perceptual.distance(networks["perceptual"], clean, restored)
        return described[0]["identity"], described[1]["identity"], distance, scores, equal

    before, after, distance, scores, equal = judge(networks, clean, restored)
    np.testing.assert_allclose(scores["perceptual"], distance, rtol=1e-4)
    np.testing.assert_allclose(scores["identity"], np.diag(before @ after.T), rtol=1e-4)
    np.testing.assert_array_equal(equal["perceptual"], 0)
    np.testing.assert_allclose(equal["identity"], 1, rtol=1e-5)
    assert (scores["perceptual"] > 0).all() and (scores["identity"] < 1).all()


def test_descriptions_have_the_shapes_promised(networks):
    described = jax.eval_shape(judges.describe, networks, np.zeros((3, 48, 64, 3), np.float32))
    assert set(described) == set(judges.NAMES)
    assert described["kid"].shape == (3, mobilenet.DIMENSION)
    assert described["identity"].shape == (3, faceres.DIMENSION)
    assert set(jax.eval_shape(judges.compare, described, described)) == {"perceptual", "identity"}


def test_only_the_networks_asked_for_are_loaded_and_compared(networks, monkeypatch):
    assert set(judges.load(("identity",))) == {"identity"}
    assert judges.load(()) == judges.describe({}, np.zeros((1, 32, 32, 3))) == judges.compare({}, {}) == {}
    with pytest.raises(UserError, match="no judge 'fid'.*perceptual, identity, kid"):
        judges.load(("fid",))

    def unreachable():
        raise UserError("cannot fetch it")

    monkeypatch.setattr(mobilenet, "load", unreachable)
    with pytest.raises(UserError, match=r"cannot fetch it, .*--config.eval.judges='\(\)'"):
        judges.load(judges.NAMES)


def test_kid_is_the_mean_over_pairs_of_different_images():
    rng = np.random.default_rng(0)
    real, fake = rng.random((7, 5)), rng.random((7, 5))

    def kernel(x, y):
        return (np.dot(x, y) / 5 + 1) ** 3

    total = sum(
        kernel(real[i], real[j]) + kernel(fake[i], fake[j]) - kernel(real[i], fake[j]) - kernel(fake[i], real[j])
        for i in range(7)
        for j in range(7)
        if i != j
    )
    assert judges.kid(real, fake) == pytest.approx(total / 42, rel=1e-9)
    assert judges.kid(real, real) == pytest.approx(0, abs=1e-12)
    assert np.isnan(judges.kid(real[:1], fake[:1]))
    with pytest.raises(ValueError, match="same images"):
        judges.kid(real, fake[:6])


def test_kid_has_no_bias_though_images_and_restorations_belong_together():
    # Of one-dimensional features the cubic kernel compares the first three moments: 1 + 3xy + 3(xy)^2 + (xy)^3.
    rng = np.random.default_rng(1)
    real = rng.normal(0, 1, (2000, 12, 1))
    fake = 0.9 * real + rng.normal(0, 0.3, real.shape) + 0.2
    variance = 0.9**2 + 0.3**2
    moments = 0.2, 0.2**2 + variance - 1, 0.2**3 + 3 * 0.2 * variance
    expected = 3 * moments[0] ** 2 + 3 * moments[1] ** 2 + moments[2] ** 2
    estimates = [judges.kid(r, f) for r, f in zip(real, fake, strict=True)]
    assert np.mean(estimates) == pytest.approx(expected, abs=4 * np.std(estimates) / np.sqrt(2000))


def test_kid_gain_is_paired_and_covers_its_own_value():
    rng = np.random.default_rng(2)
    real = rng.random((60, 16))
    near, far = real + rng.normal(0, 0.1, real.shape), 1.3 * real + rng.normal(0, 0.1, real.shape)
    gain = interval(real, near, far)
    assert gain.mean == pytest.approx(judges.kid(real, near) - judges.kid(real, far))
    assert gain.low < gain.mean < gain.high < 0
    assert interval(real, far, far) == pytest.approx((0, 0, 0), abs=1e-12)
    assert interval(real, far, near) == pytest.approx((-gain.mean, -gain.high, -gain.low))
    assert gain == interval(real, near, far) != interval(real, near, far, seed=1)
    assert np.isnan(interval(real[:1], near[:1], far[:1])).all()


def interval(*sets, level=0.95, **options):
    return judges.mean_interval([judges.kid_gain(*sets, **options)], level=level)


def test_the_interval_of_a_mean_of_kid_gains_is_that_of_the_mean():
    rng = np.random.default_rng(5)
    real = rng.random((60, 16))
    sets = [(real + rng.normal(0, 0.1, real.shape), 1.3 * real + rng.normal(0, 0.1, real.shape)) for _ in range(8)]
    gains = [judges.kid_gain(real, *pair) for pair in sets]
    mean, low, high = judges.mean_interval(gains)
    assert mean == pytest.approx(np.mean([gain.mean for gain in gains]))
    rng, means = np.random.default_rng(6), []
    for _ in range(300):  # each draw of images by itself, every task by the estimate of unbiased pairs
        drawn = rng.integers(60, size=60)
        others = drawn[:, None] != drawn[None]
        means.append(np.mean([terms(real, near)[np.ix_(drawn, drawn)][others].mean() for near, _ in sets]))
        means[-1] -= np.mean([terms(real, far)[np.ix_(drawn, drawn)][others].mean() for _, far in sets])
    np.testing.assert_allclose((low, high), np.quantile(means, [0.025, 0.975]), atol=0.2 * (high - low))


def terms(real, fake):
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3  # noqa: E731
    return kernel(real, real) + kernel(fake, fake) - kernel(real, fake) - kernel(fake, real)


def test_the_interval_of_a_kid_gain_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)

    def draw(count):
        real = rng.normal(0, 1, (count, 4))
        return real, real + 0.3 + 0.3 * rng.normal(size=real.shape), 1.3 * real + 0.3 * rng.normal(size=real.shape)

    truth = judges.kid_gain(*draw(2000), resamples=1).mean
    intervals = [interval(*draw(60), level=0.8, resamples=100) for _ in range(100)]
    assert np.mean([low < truth < high for _, low, high in intervals]) == pytest.approx(0.8, abs=0.12)


def test_verification_counts_the_genuine_pairs_above_the_best_impostors():
    rng = np.random.default_rng(4)
    clean, restored = (rng.normal(size=(40, 8)) for _ in range(2))
    restored += 0.7 * clean
    clean, restored = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (clean, restored))
    impostors = sorted((clean[i] @ restored[j] for i in range(40) for j in range(40) if i != j), reverse=True)
    genuine = [clean[i] @ restored[i] for i in range(40)]
    for far, allowed in ((1e-2, 15), (1e-3, 1), (0.1, 156)):
        threshold = impostors[allowed]
        assert sum(score > threshold for score in impostors) == allowed <= far * len(impostors)
        accepted = judges.verification(clean, restored, far)
        np.testing.assert_array_equal(accepted, [score > threshold for score in genuine])
        assert 0 < accepted.mean() < 1
    assert judges.verification(clean, clean, 1e-2).all()
    assert np.isnan(judges.verification(clean[:32], restored[:32], 1e-3)).all()
    assert not np.isnan(judges.verification(clean[:33], restored[:33], 1e-3)).any()
    with pytest.raises(ValueError, match="same images"):
        judges.verification(clean, restored[:6], 1e-2)
