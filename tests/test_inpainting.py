import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import fit_faces
from faceflax import config as config_lib
from faceflax import metrics, models
from faceflax.datasets import registry, stream
from faceflax.degradations import Task, degrade_for_evaluation
from faceflax.errors import UserError
from faceflax.evaluation.comparison import mean_face
from faceflax.evaluation.comparison.damage import Known
from faceflax.models.inpainting import FILLS, fill_holes, fill_with_face, likely


@pytest.fixture(scope="module")
def occluded():
    source = registry.load("mini_faces", "validation")
    image = next(stream.eval_stream(source, image_size=128, batch_size=16))["image"].astype(np.float32) / 255
    degraded, mask = jax.jit(degrade_for_evaluation, static_argnums=2)(image, np.arange(16), Task("occlude", 25))
    return image, np.asarray(degraded), np.asarray(mask)


@pytest.mark.parametrize("name", FILLS)
def test_known_pixels_stay_and_hidden_ones_do_not_matter(occluded, name):
    image, degraded, mask = occluded
    fill = jax.jit(FILLS[name])
    filled = np.asarray(fill(degraded, mask))
    np.testing.assert_array_equal(filled[(mask == 0)[..., 0]], degraded[(mask == 0)[..., 0]])
    np.testing.assert_array_equal(filled, fill(image, mask))
    np.testing.assert_array_equal(fill(image, jnp.zeros_like(mask)), image)


@pytest.mark.parametrize("severity", [10, 25, 50])
def test_holes_come_closer_than_by_teleas_method(severity):
    source = registry.load("mini_faces", "test")
    image = next(stream.eval_stream(source, image_size=128, batch_size=60))["image"].astype(np.float32) / 255
    degrade = jax.jit(degrade_for_evaluation, static_argnums=2)
    degraded, mask = map(np.asarray, degrade(image, np.arange(60), Task("occlude", severity)))
    as_bytes = np.round(degraded * 255).astype(np.uint8)
    holes = mask[..., 0].astype(np.uint8)
    telea = np.stack([cv2.inpaint(d, hole, 8, cv2.INPAINT_TELEA) for d, hole in zip(as_bytes, holes, strict=True)])
    ours, theirs = (
        metrics.masked_psnr(filled, image, mask).mean()
        for filled in (jax.jit(fill_holes)(degraded, mask), telea.astype(np.float32) / 255)
    )
    assert ours > theirs


@pytest.mark.parametrize("name", likely.FILES)
@pytest.mark.parametrize("rows", [(8, 24), (16, 32), (3, 32)], ids=["middle", "lower half", "most"])
def test_the_likeliest_face_is_the_mean_of_the_gaussian_given_what_is_seen(rows, name):
    """Against the textbook's formula (Bishop 2006, 2.81), by the covariance of all pixels, where cells are whole."""
    faces = likely.load(name)
    size = len(faces.mean)
    source = registry.load("mini_faces", "test")
    image = next(stream.eval_stream(source, image_size=size, batch_size=1))["image"][0] / 255
    hole = np.zeros(image.shape, bool)
    hole[slice(*(row * size // 32 for row in rows)), 2:] = True
    covariance = (faces.components * faces.variances) @ faces.components.T + 0.01 * np.eye(image.size)
    seen, hidden = ~hole.ravel(), hole.ravel()
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)], (image - faces.mean).ravel()[seen])
    expected = faces.mean.ravel()[hidden] + covariance[np.ix_(hidden, seen)] @ weights

    images, mask = (np.kron(part[None], np.ones((1, 2, 2, 1))) for part in (image, hole[..., :1]))
    found = np.asarray(likely._likeliest(faces, jnp.asarray(images, jnp.float32), jnp.asarray(mask, jnp.float32)))[0]
    assert np.sqrt(np.mean((found[hole] - expected) ** 2)) < 0.02


def test_each_image_is_filled_by_itself_and_no_gradient_passes(occluded):
    _, degraded, mask = occluded
    mask = mask * (np.arange(len(mask)) % 2)[:, None, None, None]
    together = np.asarray(jax.jit(fill_with_face)(degraded, mask))
    for number in (0, 1):
        alone = jax.jit(fill_with_face)(degraded[number : number + 1], mask[number : number + 1])
        np.testing.assert_allclose(together[number], alone[0], atol=1e-4)
    np.testing.assert_array_equal(together[::2], degraded[::2])
    assert not jax.grad(lambda images: fill_with_face(images, mask).sum())(degraded).any()


@pytest.mark.parametrize("experts", [(), ("blind", "occlude")])
def test_a_restorer_sees_holes_as_its_configuration_fills_them(occluded, experts):
    _, degraded, mask = occluded
    config = config_lib.default().model
    config.width, config.encoder_blocks, config.decoder_blocks, config.experts = 4, (1,), (1,), experts
    restored = {}
    for name, fill in FILLS.items():
        config.fill = name
        model = models.create(config)
        restored[name] = np.asarray(jax.jit(model.apply)(model.init(jax.random.key(0), 128), degraded, mask))
        np.testing.assert_allclose(restored[name], jax.jit(fill)(degraded, mask), atol=1e-5)  # it changes nothing yet
        np.testing.assert_array_equal(restored[name][(mask == 0)[..., 0]], degraded[(mask == 0)[..., 0]])
    assert np.abs(restored["smooth"] - restored["face"]).max() > 0.1
    assert np.abs(restored["coarse_face"] - restored["face"]).max() > 0.01


def test_a_fill_that_is_none_is_refused():
    config = config_lib.default().model
    config.fill = "fog"
    with pytest.raises(UserError, match='fill = "fog" is not possible here: choose one of smooth, face, coarse_face'):
        models.create(config)
    config.fill, config.name = "face", "segmenter"
    with pytest.raises(UserError, match="deblur and fill are for restorers"):
        models.create_segmenter(config)


@pytest.mark.parametrize(("name", "gain"), [("face", 1), ("coarse_face", 0.1)])
@pytest.mark.parametrize("severity", [10, 25, 50])
def test_the_likeliest_face_comes_closer_than_the_mean_face(severity, name, gain):
    source = registry.load("mini_faces", "test")
    image = next(stream.eval_stream(source, image_size=128, batch_size=60))["image"]
    degrade = jax.jit(degrade_for_evaluation, static_argnums=2)
    degraded, mask = map(np.asarray, degrade(image / np.float32(255), np.arange(60), Task("occlude", severity)))
    mean = mean_face.mean_of(registry.load("mini_faces", "train"), 128)
    blended = [mean_face.blend(mean, face, hole[..., 0], Known()) for face, hole in zip(image, mask, strict=True)]
    ours, theirs = (
        metrics.masked_psnr(filled, image / np.float32(255), mask).mean()
        for filled in (jax.jit(FILLS[name])(degraded, mask), np.float32(blended) / 255)
    )
    assert ours > theirs + gain


def test_a_face_without_colour_stays_without(occluded):
    _, degraded, mask = occluded
    grey = np.broadcast_to(degraded.mean(-1, keepdims=True), degraded.shape)
    painted = np.where(mask > 0, np.float32([0.9, 0.1, 0.4]), grey)  # what the hole shows does not count
    filled = np.asarray(jax.jit(fill_with_face)(painted, mask))
    np.testing.assert_allclose(filled, np.broadcast_to(filled[..., :1], filled.shape), atol=1e-5)


def test_a_dark_face_is_filled_better_than_smoothly(occluded):
    image, _, mask = occluded
    light = 0.5
    filled = (jax.jit(fill)(light * image, mask) for fill in (fill_with_face, fill_holes))
    ours, smooth = (metrics.masked_psnr(each / light, image, mask).mean() for each in filled)
    assert ours > smooth + 1


def test_a_face_of_which_nothing_is_known_is_the_mean_face_at_any_size():
    filled = jax.jit(fill_with_face)(jnp.ones((1, 96, 64, 3)), jnp.ones((1, 96, 64, 1)))
    mean = cv2.resize(likely.load("face").mean, (64, 96), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(filled[0], mean, atol=1e-5)


def test_components_are_those_of_the_faces_and_their_mirror_images():
    faces = np.random.default_rng(0).random((7, 4, 4, 3)) ** 3
    mean, components, variances = fit_faces.fit(faces, 9)
    both = np.concatenate([faces, faces[:, :, ::-1]]).reshape(14, -1)
    np.testing.assert_allclose(mean.ravel(), both.mean(0))
    deviations, directions = np.linalg.svd((both - both.mean(0)) / np.sqrt(14))[1:]
    np.testing.assert_allclose(variances, deviations[:9] ** 2)
    np.testing.assert_allclose(np.abs((directions[:9] * components.T).sum(1)), 1, atol=1e-6)


def test_halves_of_components_make_them_whole():
    faces = np.random.default_rng(0).random((7, 4, 4, 3)) ** 3
    components = fit_faces.fit(faces, 9)[1]
    left, signs = likely.halve(components, 4)
    assert left.shape == (24, 9) and set(signs) == {1, -1}
    left = left.reshape(4, 2, 3, 9)
    whole = np.concatenate([left, signs * left[:, ::-1]], 1).reshape(48, 9)
    np.testing.assert_allclose(whole, components, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (6, 10), (48, 32)])
def test_a_plain_colour_is_continued_at_any_size(shape):
    images = jnp.broadcast_to(jnp.array([0.2, 0.5, 0.9]), (2, *shape, 3))
    mask = jnp.asarray(np.random.default_rng(0).random((2, *shape, 1)) < 0.7, jnp.float32).at[:, 0, 0].set(0)
    np.testing.assert_allclose(fill_holes(jnp.where(mask > 0, 0.0, images), mask), images, atol=1e-6)


def test_nothing_known_gives_zeros():
    assert not fill_holes(jnp.ones((1, 8, 8, 3)), jnp.ones((1, 8, 8, 1))).any()
