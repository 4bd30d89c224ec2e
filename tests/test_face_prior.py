"""The face prior: agreement with the published network as OpenVINO runs it, its short ways, its random faces."""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.models import face_prior
from faceflax.models.face_prior import conversion, heads, network, sampling, synthesis

GOLDEN = Path(__file__).parent / "golden" / "face_prior.json"


@pytest.fixture(scope="module")
def params():
    """The published network from the user's own cache, where it is fetched to; skips where neither is possible."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FACEFLAX_CACHE", str(Path("~/.cache/faceflax").expanduser()))
    try:
        yield jax.device_put(face_prior.load())
    except UserError as error:
        if "SHA-256" in str(error):
            raise
        pytest.skip(str(error))
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def styles(params):
    z = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)
    return network.truncate(params, network.map_to_style(params, z), 0.8)


make = jax.jit(synthesis.synthesise, static_argnums=2)


def decibels(a, b):
    return 10 * np.log10(4 / np.square(np.asarray(a) - np.asarray(b)).mean())


def blocks(images, size):
    images = np.asarray(images)
    factor = images.shape[1] // size
    return images.reshape(len(images), size, factor, size, factor, 3).mean((2, 4))


@pytest.fixture(scope="module")
def whole(params, styles):
    return make(params, styles[:1], 1024)


def test_faces_are_those_of_openvino(params, styles, whole):
    golden = json.loads(GOLDEN.read_text())
    style = network.map_to_style(params, np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32))
    np.testing.assert_allclose(style[:, :16], golden["styles"], atol=1e-4)
    np.testing.assert_allclose(params["mean"][:16], golden["mean"], atol=1e-4)
    np.testing.assert_allclose(blocks(whole, 16)[0], golden["means"], atol=0.002)
    np.testing.assert_allclose(whole[0, 500:508, 500:508], golden["pixels"], atol=0.01)


def test_a_style_for_each_layer_may_be_the_same_one(params, styles):
    repeated = jnp.repeat(styles[:1, None], network.NUM_STYLES, axis=1)
    np.testing.assert_array_equal(make(params, repeated, 64), make(params, styles[:1], 64))


def test_half_the_size_is_the_mean_of_four_pixels(params, styles, whole):
    np.testing.assert_allclose(make(params, styles[:1], 512), blocks(whole, 512), atol=1e-4)


@pytest.mark.parametrize(("size", "least"), [(64, 30), (128, 35), (256, 35)])
def test_the_short_ways_lead_to_the_same_face(params, styles, whole, size, least):
    assert decibels(make(params, styles[:1], size), blocks(whole, size)) > least


def test_the_short_ways_heed_the_styles_of_levels_left_out(params, styles):
    mixed = sampling.mix(styles[:1], styles[1:2], first_fine=16)
    assert decibels(make(params, mixed, 64), make(params, styles[:1], 64)) < 30
    assert decibels(make(params, mixed, 64), blocks(make(params, mixed, 512), 64)) > 28


@pytest.mark.slow
def test_unfitted_heads_follow_from_the_network(params, styles, whole):
    """Their closed form is right: a wrong sign of a wavelet band or a shifted tap costs more than 10 dB."""
    unfitted = params | heads.initial(params, 256)
    assert decibels(make(unfitted, styles[:1], 256), blocks(whole, 256)) > 35


def test_wavelet_bands_are_those_of_haar():
    bands = np.random.default_rng(0).normal(size=(1, 3, 5, 8)).astype(np.float32)
    images = np.asarray(network.inverse_haar(bands)).reshape(1, 3, 2, 5, 2, 2)
    signs = {0: (1, 1, 1, 1), 1: (1, 1, -1, -1), 2: (1, -1, 1, -1), 3: (1, -1, -1, 1)}
    for band, sign in signs.items():
        sums = np.einsum("byvxuc,vu->byxc", images, np.reshape(sign, (2, 2)) / 2)
        np.testing.assert_allclose(sums, bands[..., 2 * band : 2 * band + 2], atol=1e-6)


@pytest.mark.slow
def test_spatial_features_change_what_they_should(params, styles):
    channels = synthesis.channels(params, 32)
    nothing = {32: (jnp.zeros((1, 32, 32, channels)), jnp.zeros((1, 32, 32, channels)))}
    spatial = jax.jit(lambda given: synthesis.synthesise(params, styles[:1], 64, given))
    plain = make(params, styles[:1], 64)
    np.testing.assert_allclose(spatial(nothing), plain, atol=1e-5)
    left = jnp.zeros((1, 32, 32, channels)).at[:, :, :8].set(0.5)
    changed = np.abs(np.asarray(spatial({32: (left, nothing[32][1])}) - plain)).mean((0, 1, 3))
    assert changed[:16].min() > 0.01
    assert changed[32:].max() < 1e-4
    gradient = jax.grad(lambda shift: synthesis.synthesise(params, styles[:1], 64, {32: (left, shift)}).sum())
    assert np.abs(gradient(left)).max() > 0


def test_sizes_that_have_no_way_are_refused(params, styles):
    with pytest.raises(UserError, match="64, 128, 256, 512, 1024 pixels, not 96"):
        synthesis.synthesise(params, styles, 96)


def test_a_face_is_a_function_of_its_key_alone(params):
    draw = jax.jit(
        lambda index: sampling.make_faces(params, sampling.draw_styles(params, jax.random.key(3), index), 64)
    )
    both, alone = draw(jnp.array([5, 9])), draw(jnp.array([9]))
    np.testing.assert_array_equal(both[1], alone[0])
    assert both.dtype == jnp.uint8
    assert np.abs(both[0].astype(int) - both[1]).mean() > 10


def test_pictures_of_a_person_differ_in_colour_and_keep_the_shape(params):
    person, picture = jnp.array([4, 4, 6]), jnp.array([0, 1, 0])
    faces = jax.jit(lambda: sampling.draw_people(params, jax.random.key(3), person, picture, 64))()
    grey = np.asarray(faces, np.float32).mean(-1).reshape(3, -1)
    same, other = np.corrcoef(grey[0], grey[1])[0, 1], np.corrcoef(grey[0], grey[2])[0, 1]
    assert same > 0.7 > other
    assert np.abs(faces[0].astype(int) - faces[1]).mean() > 2


@pytest.mark.slow
def test_agrees_with_openvino_itself(params, styles, whole):
    openvino = pytest.importorskip("openvino", reason="needs faceflax[synth]")
    from faceflax import assets

    cache = Path("~/.cache/faceflax").expanduser() / assets.SYNTHESIS_XML.path.relative_to(os.environ["FACEFLAX_CACHE"])
    core = openvino.Core()
    theirs = core.compile_model(core.read_model(cache), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = theirs(np.asarray(styles[:1]))[0].transpose(0, 2, 3, 1)
    assert np.abs(np.asarray(whole) - expected).mean() < 1e-4


def test_the_conversion_refuses_another_network(tmp_path):
    from faceflax import assets

    cache = Path("~/.cache/faceflax").expanduser() / assets.SYNTHESIS_XML.path.relative_to(os.environ["FACEFLAX_CACHE"])
    if not cache.exists():
        pytest.skip("the published network is not in the cache")
    text = cache.read_text()
    (tmp_path / "net.xml").write_text(text.replace("m.layers.3.up.modulation.weight", "m.layers.9.up"))
    paths = [cache.with_name(f"MappingNetwork.{end}") for end in ("xml", "bin")]
    with pytest.raises(KeyError):
        conversion._convert(*paths, tmp_path / "net.xml", cache.with_suffix(".bin"))
