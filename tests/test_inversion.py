"""Styles from faces: what the pairs are, what is learned of them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import config as config_lib
from faceflax import degradations
from faceflax.datasets import registry
from faceflax.datasets.synthetic_faces import recipe
from faceflax.errors import UserError
from faceflax.evaluation.benchmark import efficiency
from faceflax.models.face_prior import network, sampling
from faceflax.training import arms, inversion, parallel, prior_data, prior_styles
from faceflax.training.state import Collectives
from tests import random_networks, tiny

SIZE = 64
FIELDS = {
    "arm": "inversion",
    "model__name": "face_prior",
    "model__width": 8,
    "data__image_size": SIZE,
    "data__batch_size": 4,
    "data__flip": False,
    "inversion__damage": 0.5,
    "loss__charbonnier": 0.0,
    "tasks": ("noise 15",),
}


@pytest.fixture(autouse=True)
def _networks(monkeypatch):
    random_networks.install(monkeypatch)


@pytest.fixture
def batch():
    prior = random_networks.face_prior()
    styles = sampling.draw_styles(prior, jax.random.key(0), jnp.arange(4))
    image = sampling.make_faces(prior, styles, SIZE)
    return {"image": image, "style": styles, "index": np.arange(4, dtype=np.int32)}


def _train(batch, num_steps, **fields):
    arm = arms.create(tiny.config(**FIELDS | fields), lambda step: 4e-3)
    state, step, missed = jax.jit(arm.init)(), jax.jit(arm.step), []
    for _ in range(num_steps):
        state, sums = step(state, batch, {})
        missed.append(float(sums["style_missed"][0] / sums["style_missed"][1]))
    return missed, sums


def test_it_learns_the_styles_of_faces_from_the_mean_on(batch):
    missed, sums = _train(batch, 15)
    assert missed[0] == pytest.approx(1, abs=1e-5)
    assert missed[-1] < 0.6
    assert set(sums) == {"loss", "style_missed", "grad_norm", "lr"}


def test_terms_of_the_loss_compare_the_made_faces(batch):
    missed, sums = _train(batch, 2, inversion__style=0.0, loss__charbonnier=1.0)
    assert sums["loss_charbonnier"][0] == pytest.approx(float(sums["loss"][0]))
    assert missed[-1] != missed[0]


def test_the_share_missed_counts_every_layer_alike():
    style, mean = jax.random.normal(jax.random.key(0), (2, 5, 512))[0], jnp.full(512, 0.3)
    far, all_ = inversion.style_missed(jnp.broadcast_to(mean, (5, 23, 512)), style, mean)
    np.testing.assert_allclose(far, all_, rtol=1e-5)
    found = jnp.repeat(style[:, None], 23, axis=1)
    assert inversion.style_missed(found, style, mean)[0] == 0
    off = found.at[:, :1].set(mean)
    np.testing.assert_allclose(inversion.style_missed(off, style, mean)[0] / all_, 1 / 23, rtol=1e-5)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)])
def test_the_share_of_damaged_faces(share, least, most):
    image, index = jnp.full((200, 16, 16, 3), 0.2), jnp.arange(200)
    groups = degradations.parse(("occlude 25",))
    damage = jax.jit(
        lambda image: degradations.degrade_some(*jax.random.split(jax.random.key(0)), image, index, groups, share)
    )
    seen, mask = damage(image)
    with_hole = jnp.any(mask > 0, axis=(1, 2, 3))
    assert least <= int(with_hole.sum()) <= most
    np.testing.assert_array_equal(jnp.any(seen != image, axis=(1, 2, 3)), with_hole)


def test_a_face_of_the_box_has_the_style_of_its_number():
    source = registry.load("mini_faces", "validation")
    described = prior_styles.describe(source)
    assert len(described) == len(source) == 40
    example = described[7]
    assert example["image"] == source[7]["image"]
    z, psi = recipe.draw(2026, int(example["name"]))
    prior = random_networks.face_prior()
    expected = network.truncate(prior, network.map_to_style(prior, z), psi)[0]
    np.testing.assert_allclose(example["style"], expected, atol=1e-4)


def test_faces_that_the_steps_make_come_with_their_styles(monkeypatch):
    seen = {}
    arm = arms.create(tiny.config(**FIELDS | {"data__source": "prior"}), lambda step: 1e-3)

    def step(state, batch, networks):
        seen.update(batch)
        return state, {}

    fed = prior_data.feed(arm._replace(step=step), tiny.config(**FIELDS), Collectives())
    fed.step(
        jax.jit(arm.init)(), {"index": np.arange(2, dtype=np.int32)}, {"arm": {}, "prior": random_networks.face_prior()}
    )
    assert set(seen) == {"image", "index", "style"}
    np.testing.assert_array_equal(seen["image"], sampling.make_faces(random_networks.face_prior(), seen["style"], SIZE))
    assert fed.prepare(None) is None


@pytest.mark.slow
def test_a_step_can_be_timed():
    config = tiny.config(**FIELDS, model__encoder_blocks=(1,), model__decoder_blocks=(1,))
    program, _ = efficiency.training_program(config, parallel.one_device())
    assert program.seconds(1) > 0


@pytest.mark.slow
def test_every_face_counts_alike_in_whatever_share_it_is(batch):
    fields = FIELDS | {"inversion__damage": 0.0}
    arms_ = [arms.create(tiny.config(**fields, optim__accumulate=parts), lambda step: 1e-3) for parts in (1, 2)]
    state = jax.jit(arms_[0].init)()
    steps = [jax.jit(arm.step)(state, batch, {})[1] for arm in arms_]
    losses, norms = ([float(sums[name][0] / sums[name][1]) for sums in steps] for name in ("loss", "grad_norm"))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model__name": "encoder_decoder"}, 'set config.model.name to "face_prior", not "encoder_decoder"'),
        ({"data__flip": True}, "set config.data.flip to False"),
        ({"data__crop": 0.9}, "config.data.crop to 1"),
        ({"data__grey": 0.1}, "config.data.grey to 0"),
        ({"model__frozen": False}, "leave config.model.frozen"),
    ],
)
def test_what_has_no_style_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        arms.create(tiny.config(**FIELDS | fields), lambda step: 1e-3)


def test_faces_of_other_origin_are_refused():

    source = type("Source", (), {"info": type("Info", (), {"name": "orl_faces", "config_name": None})})()
    with pytest.raises(UserError, match="orl_faces was not made by the face prior"):
        prior_styles.describe(source)


def test_something_must_have_a_weight():
    with pytest.raises(UserError, match="give one of them a weight"):
        config_lib.validate(tiny.config(**FIELDS, inversion__style=0.0))
