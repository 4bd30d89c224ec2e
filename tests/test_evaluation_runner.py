"""Every image once, the same at every severity, scored as scikit-image scores the same 8-bit files."""

import json
import os
import subprocess
import sys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from faceflax import config as config_lib
from faceflax.datasets import images
from faceflax.degradations import Task, degrade_for_evaluation
from faceflax.errors import UserError
from faceflax.evaluation import validation
from faceflax.evaluation.runner import Evaluator
from faceflax.training import parallel

COUNT, SIZE = 10, 32
TASKS = ("noise 50", "occlude 25")


def make_source(count=COUNT):
    rng = np.random.default_rng(0)
    smooth = [cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (SIZE, SIZE)) for _ in range(count)]
    return [{"image": images.encode_png(image)} for image in smooth]


def make_config(batch_size=4, tasks=TASKS, max_images=0):
    config = config_lib.default()
    config.data.image_size = SIZE
    config.eval.batch_size, config.eval.tasks, config.eval.max_images = batch_size, tasks, max_images
    return config


def run(restore, params=0.0, *, baselines=True, source=None, **fields):
    config = make_config(**fields)
    devices = parallel.create(config.parallel.mesh)
    evaluator = Evaluator(restore, source or make_source(), config, devices, baselines=baselines)
    return evaluator(devices.replicate(params))


def halfway(params, degraded, mask):
    """Halfway between the input and grey."""
    return (degraded + 0.5) / 2


@pytest.fixture(scope="module")
def results():
    return run(halfway)


def test_every_image_counts_once_whatever_the_batch(results):
    for result in results:
        np.testing.assert_array_equal(result.index, np.arange(COUNT))
        assert set(result.scores) == {"input", "baseline", "model"}
        assert all(len(values) == COUNT for scores in result.scores.values() for values in scores.values())
    for other in (run(halfway, batch_size=7), run(halfway, batch_size=16)):
        for one, two in zip(results, other, strict=True):
            for method, scores in one.scores.items():
                for metric, values in scores.items():
                    np.testing.assert_allclose(values, two.scores[method][metric], rtol=1e-5, err_msg=metric)


def test_scores_are_those_of_8_bit_files(results):
    source = make_source()
    clean = np.stack([images.decode(example["image"]) for example in source])
    noise, hole = results
    degraded, _ = jax.jit(lambda x, i: degrade_for_evaluation(x, i, Task("noise", 50)))(
        clean.astype(np.float32) / 255, np.arange(COUNT)
    )
    degraded = np.round(np.asarray(degraded) * 255).astype(np.uint8)
    restored = np.round((degraded / 255 + 0.5) / 2 * 255).astype(np.uint8)
    for i in range(COUNT):
        for method, image in (("input", degraded[i]), ("model", restored[i])):
            # The device's rounding of a half may differ from numpy's in single pixels.
            assert noise.scores[method]["psnr"][i] == pytest.approx(peak_signal_noise_ratio(clean[i], image), abs=2e-3)
            expected = structural_similarity(
                *(clean[i], image), channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            assert noise.scores[method]["ssim"][i] == pytest.approx(expected, abs=1e-4)
    assert not noise.has_holes and hole.has_holes
    assert np.isnan(noise.scores["model"]["hole_psnr"]).all()


def test_hole_and_known_region_are_apart(results):
    example, scores = results[1].examples[0], results[1].scores
    _, mask = jax.jit(lambda x, i: degrade_for_evaluation(x, i, Task("occlude", 25)))(
        jnp.zeros((1, SIZE, SIZE, 3)), jnp.zeros(1, jnp.int32)
    )
    hole = np.asarray(mask)[0, ..., 0] > 0
    clean = example.clean.astype(float)
    for method in ("input", "baseline", "model"):
        error = (example.pictures[method] - clean) ** 2
        inside = 10 * np.log10(255**2 / error[hole].mean())
        assert scores[method]["hole_psnr"][0] == pytest.approx(inside, abs=1e-3)
    assert scores["baseline"]["known_psnr"][0] == 100
    outside = 10 * np.log10(255**2 / ((example.pictures["model"] - clean) ** 2)[~hole].mean())
    assert scores["model"]["known_psnr"][0] == pytest.approx(outside, abs=1e-3)


def test_the_identity_gains_nothing():
    for result in run(lambda params, degraded, mask: degraded, tasks=("noise 50",), baselines=False):
        np.testing.assert_array_equal(result.gain("psnr", "input"), np.zeros(COUNT))
        assert "baseline" not in result.scores


def test_results_that_are_not_finite_are_counted_and_kept():
    def broken(params, degraded, mask):
        is_bright = degraded.mean(axis=(1, 2, 3), keepdims=True) > params
        return jnp.where(is_bright, jnp.nan, degraded)

    sound, all_bad = run(broken, 2.0, tasks=("noise 50",)), run(broken, 0.0, tasks=("noise 50",))
    some_bad = run(broken, 0.5, tasks=("noise 50",))
    assert (sound[0].failures, all_bad[0].failures) == (0, COUNT)
    assert 0 < some_bad[0].failures < COUNT
    assert np.isfinite(all_bad[0].scores["model"]["psnr"]).all()
    assert (all_bad[0].scores["model"]["psnr"] < sound[0].scores["model"]["psnr"]).all()


def test_max_images_and_examples():
    (result,) = run(halfway, tasks=("sr 4",), max_images=2)
    np.testing.assert_array_equal(result.index, [0, 1])
    assert [example.index for example in result.examples] == [0, 1]
    assert result.examples[0].clean.base is None  # a view would keep the whole batch
    assert set(result.examples[0].pictures) == {"input", "baseline", "model"}
    np.testing.assert_array_equal(result.scores["input"]["psnr"], result.scores["baseline"]["psnr"])  # bicubic


def test_validation_gives_means_and_a_picture(results):
    validate = validation.create(halfway, make_source(), make_config())
    metrics, picture = validate({"no": np.float32(0)})
    assert set(metrics) == {"psnr", "ssim", "hole_psnr"}
    for metric in ("psnr", "ssim"):
        expected = np.mean([result.scores["model"][metric] for result in results])
        assert metrics[metric] == pytest.approx(expected, rel=1e-5)
    assert metrics["hole_psnr"] == pytest.approx(results[1].scores["model"]["hole_psnr"].mean(), rel=1e-5)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3


def test_an_unknown_task_is_named():
    with pytest.raises(UserError, match="fog"):
        run(halfway, tasks=("fog",))


_MANY_DEVICES = """
import jax
from tests.test_evaluation_runner import COUNT, halfway, run
assert jax.device_count() == 4
result = run(halfway, batch_size=5)[1]
assert result.index.tolist() == list(range(COUNT))
print([round(float(value), 3) for value in result.scores["baseline"]["hole_psnr"]])
"""


def test_four_devices_measure_the_same(results):
    flags = {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"}
    found = subprocess.run(
        [sys.executable, "-c", _MANY_DEVICES], env=os.environ | flags, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    expected = results[1].scores["baseline"]["hole_psnr"]
    np.testing.assert_allclose(json.loads(found.stdout), expected, atol=2e-3)
