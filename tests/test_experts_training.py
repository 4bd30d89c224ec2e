"""Training with experts: which image is whose, what is joined, and what the router learns."""

import shutil

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import config as config_lib
from faceflax import degradations, models
from faceflax.errors import UserError
from faceflax.files import write_text
from faceflax.models import experts, shipped
from faceflax.training import checkpoints, loop, trained, workdir
from faceflax.training import experts as arm
from faceflax.training.state import Collectives
from tests import tiny, untrained

SIDE = 32
NAMES = ("blind", "noise", "occlude, facemask")


def test_tasks_that_are_drawn_are_those_of_the_damage():
    groups, index = degradations.parse(("occlude", "noise 50", "facemask 1")), jnp.arange(64)
    clean = jnp.full((64, SIDE, SIDE, 3), 0.4)
    key, spare_key = jax.random.key(5), jax.random.key(6)
    degraded, mask = degradations.degrade_some(spare_key, key, clean, index, groups, 0.7)
    label = degradations.drawn(key, index, groups, arm.labels(NAMES))
    damaged = np.asarray(degradations.is_drawn(spare_key, index, 0.7))
    assert 30 < damaged.sum() < 60
    has_hole, is_clean = np.asarray(mask.any((1, 2, 3))), np.asarray((degraded == clean).all((1, 2, 3)))
    np.testing.assert_array_equal(is_clean, ~damaged)
    np.testing.assert_array_equal(has_hole[damaged], (np.asarray(label) == 2)[damaged])
    assert set(np.asarray(label)) == {1, 2}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "name the tasks"),
        (("noise", "noise"), '"noise" is for two experts'),
        (("noise", "mixed"), '"mixed" is for two experts, or for all'),
        (("blind", "haze"), '"haze" is not a degradation task'),
        (("blind", "sr 3"), '"3" is not a severity of sr'),
        (("blind", ""), '"" is not a degradation task'),
    ],
)
def test_experts_for_nothing_are_refused(names, sentence):
    with pytest.raises(UserError, match=sentence):
        arm.labels(names)


def test_an_expert_for_a_severity_comes_before_that_of_the_task():
    label = arm.labels(("blind", "sr", "sr 4", "occlude, facemask"))
    numbers = {str(task): label(task) for task in degradations.flatten(("sr", "facemask", "jpeg 10", "blind 1"))}
    assert numbers == {"sr 2": 1, "sr 4": 2, "sr 8": 1, "sr 16": 1, "facemask 1": 3, "facemask 2": 3} | {
        "jpeg 10": 0,
        "blind 1": 0,
    }


def _config(**fields):
    return tiny.config(arm="experts", model__experts=NAMES, tasks=("noise 50", "occlude 25", "jpeg 30"), **fields)


def _damaged(**shares):
    none = {"experts__undamaged": 0.0, "experts__twice": 0.0, "experts__stretched": 0.0}
    config = _config(**none | shares)
    config.model.experts = ("blind", "noise", "noise 50", "occlude, facemask")
    clean = jax.random.uniform(jax.random.key(1), (48, SIDE, SIDE, 3))
    return clean, *jax.jit(arm._Damage(config))(jax.random.key(0), clean, jnp.arange(48))


def test_what_no_expert_was_trained_on_is_the_firsts():
    clean, once, mask, expert = _damaged()
    has_hole = np.asarray(mask.any((1, 2, 3)))
    np.testing.assert_array_equal(has_hole, expert == 3)
    assert set(np.asarray(expert)) == {0, 2, 3}  # JPEG is nobody's
    _, twice, again, firsts = _damaged(experts__twice=1.0)
    np.testing.assert_array_equal(again, mask)
    changed = np.asarray((twice != once).any((1, 2, 3)))
    assert not changed[has_hole].any() and changed.sum() > 10
    assert not firsts[changed & (expert == 0)].any()
    assert set(np.asarray(firsts)[changed & (expert == 2)]) == {0, 2}  # a little more noise is noise
    _, stretched, holes, whole = _damaged(experts__stretched=1.0)
    assert set(np.asarray(whole)) == {0, 1, 3} and (np.asarray(expert == 2) == np.asarray(whole == 1)).all()
    noise = [np.std(np.asarray(each - clean)[np.asarray(whole == 1)], axis=(1, 2, 3)) for each in (once, stretched)]
    assert noise[1].std() > 2 * noise[0].std() and np.any(np.asarray(holes.mean((1, 2, 3)) != mask.mean((1, 2, 3))))
    _, shown, none, first = _damaged(experts__undamaged=1.0)
    noise = np.std(np.asarray(shown - clean), axis=(1, 2, 3))
    assert 12 < (noise == 0).sum() < 36 and 4 / 255 < noise.max() < 8 / 255  # half of them have a little
    assert not none.any() and not first.any()


@pytest.mark.slow
def test_the_router_learns_and_the_experts_stay():
    made = arm.create(
        _config(experts__undamaged=0.0, experts__twice=0.0, experts__stretched=0.0), lambda step: 3e-3, Collectives()
    )
    state = made.init()
    experts_before = state.params[experts.EXPERTS]
    step = jax.jit(made.step)
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    seen = []
    for number in range(60):
        state, sums = step(state, {"image": images, "index": np.arange(16) + 16 * number}, None)
        seen.append(float(sums["accuracy"][0] / sums["accuracy"][1]))
    assert np.mean(seen[-10:]) > 0.9 > np.mean(seen[:5]) + 0.2
    jax.tree.map(np.testing.assert_array_equal, state.params[experts.EXPERTS], experts_before)


def test_what_an_experts_training_starts_from(tmp_path):
    folders = [untrained.make_workdir(tmp_path / str(number), SIDE) for number in range(3)]
    config = workdir.read_config(folders[0])
    config.arm, config.model.experts, config.experts.start = "experts", NAMES, tuple(map(str, folders))
    model = models.create(config.model)
    abstract = jax.eval_shape(lambda: model.init(jax.random.key(0), SIDE))
    start = checkpoints.load_first_params(config, abstract).params
    assert set(start) == {experts.SHARED, experts.EXPERTS}
    plain = checkpoints.load_for_inference(folders[1]).params
    jax.tree.map(np.testing.assert_array_equal, experts.select(start, 1), plain)
    config.experts.start = config.experts.start[:2]
    with pytest.raises(UserError, match="names 2 networks for 3"):
        checkpoints.load_first_params(config, abstract)
    config.experts.start, config.init_from = tuple(map(str, folders)), str(folders[0])
    with pytest.raises(UserError, match=r"0 has no router between config.model.experts"):
        checkpoints.load_first_params(config, abstract)
    config.experts.start = ()
    with pytest.raises(UserError, match=r"init_from .*0 holds another model \(config.model.experts was"):
        checkpoints.load_first_params(config, abstract)
    config.experts.start, config.init_from, config.model.width = tuple(map(str, folders)), "", 16
    abstract = jax.eval_shape(lambda: models.create(config.model).init(jax.random.key(0), SIDE))
    with pytest.raises(UserError, match=r"experts.start holds another model \(config.model.width was 8, now 16\)"):
        checkpoints.load_first_params(config, abstract)


def test_one_expert_of_a_trained_restorer_is_trained_on_and_takes_its_place():
    names = tuple(shipped.read("tiny")[0].model.experts)
    whole = trained.load_restorer("tiny")
    one = trained.load_plain(f"tiny:{names[2]}")
    jax.tree.map(np.testing.assert_array_equal, one.params, experts.select(whole.params, 2))
    assert one.config.model.experts == () and one.config.model.deblur == whole.config.model.deblur[2:3]
    with pytest.raises(UserError, match=f"tiny has no expert \"fog\"; it has 'blind', '{names[1]}'"):
        trained.load_plain("tiny:fog")

    config = whole.config.copy_and_resolve_references()
    config.init_from, config.experts.start = "tiny", tuple(f"tiny:{name}" for name in (*names[1:], names[0]))
    config.model.deblur = (*whole.config.model.deblur[1:], "")
    abstract = jax.eval_shape(lambda: models.create(config.model).init(jax.random.key(0), config.data.image_size))
    start = checkpoints.load_first_params(config, abstract).params
    jax.tree.map(np.testing.assert_array_equal, start[experts.ROUTER], whole.params[experts.ROUTER])
    jax.tree.map(np.testing.assert_array_equal, experts.select(start, 1), one.params)


def test_what_blur_a_start_undid_is_undone_on(tmp_path):
    folders = [untrained.make_workdir(tmp_path / str(number), SIDE) for number in range(3)]
    config = workdir.read_config(folders[2])
    config.model.deblur = ("motion",)
    write_text(folders[2] / "config.json", config_lib.to_json(config))

    def start(**fields):
        config = workdir.read_config(folders[0])
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
        params = jax.eval_shape(lambda: models.create(config.model).init(jax.random.key(0), SIDE))
        return checkpoints.load_first_params(config, params)

    joined = {"arm": "experts", "model__experts": NAMES, "experts__start": tuple(map(str, folders))}
    assert start(**joined, model__deblur=("", "", "motion")).config.model.deblur == ("", "", "motion")
    assert trained.load_plain(folders[2]).config.model.deblur == ("motion",)
    with pytest.raises(UserError, match=r"deblur is \(\), but what training starts from undoes \('', '', 'motion'\)"):
        start(**joined)
    with pytest.raises(UserError, match=r"undoes \('motion',\) first"):
        start(init_from=str(folders[2]))
    start(init_from=str(folders[1]), model__deblur=("motion",))  # what is sharp is easier: one may begin so
    plain, deblurring = (trained.load_restorer(folder) for folder in folders[1:])
    with pytest.raises(UserError, match="the two networks undo different blurs"):
        trained.between(plain, deblurring, 0.5)


def test_holes_are_filled_as_they_were_in_training(tmp_path):
    folders = [untrained.make_workdir(tmp_path / str(number), SIDE) for number in range(3)]
    config = workdir.read_config(folders[2])
    config.model.fill = "face"
    write_text(folders[2] / "config.json", config_lib.to_json(config))

    def start(names, **fields):
        config = workdir.read_config(folders[0])
        config.update(fields)
        config.model.experts, config.model.fill = names, "face" if names else "smooth"
        abstract = jax.eval_shape(lambda: models.create(config.model).init(jax.random.key(0), SIDE))
        return checkpoints.load_first_params(config, abstract)

    joined = {"arm": "experts", "experts": {"start": tuple(map(str, folders))}}
    start(("blind", "sr", "occlude"), **joined)  # the others never see a hole
    with pytest.raises(UserError, match=r'fill is "face", but \S*1, from which training starts, was trained with "sm'):
        start(("blind", "occlude", "facemask"), **joined)
    with pytest.raises(UserError, match=r'fill is "face", but \S*0, from which training starts, was trained with "sm'):
        start(("blind", "sr", "noise"), **joined)  # where none is for holes, they are the first's
    start(("blind", "sr", "noise"), arm="experts", experts={"start": tuple(map(str, reversed(folders)))})
    with pytest.raises(UserError, match=r'fill is "smooth", but \S*2, from which training starts, was trained with "f'):
        start((), arm="gan", init_from=str(folders[2]))
    start((), init_from=str(folders[2]))
    config = shipped.read("cnn")[0]
    config.init_from, config.experts.start, config.model.fill = "cnn", (), "smooth"
    abstract = jax.eval_shape(lambda: models.create(config.model).init(jax.random.key(0), config.data.image_size))
    with pytest.raises(UserError, match='fill is "smooth", but cnn, from which'):  # its first takes no holes
        checkpoints.load_first_params(config, abstract)
    with pytest.raises(UserError, match="the two networks fill holes differently"):
        trained.between(*map(trained.load_restorer, folders[1:]), 0.5)


class _Source(list):
    fingerprint = "0" * 12


@pytest.mark.slow
def test_the_command_joins_them_and_goes_on_when_they_are_gone(tmp_path):
    folders = [untrained.make_workdir(tmp_path / str(number), SIDE) for number in range(3)]
    config = workdir.read_config(folders[0])
    config.arm, config.model.experts, config.experts.start = "experts", NAMES, tuple(map(str, folders))
    config.tasks, config.data.batch_size, config.optim.warmup = ("noise 50", "occlude 25"), 4, "1steps"
    config.train.duration, config.train.checkpoint_every, config.train.log_every = "2steps", "2steps", "1steps"
    config.parallel.mesh.data = -1
    faces = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8)
    source = _Source({"image": cv2.imencode(".png", face)[1].tobytes()} for face in faces)
    config_lib.validate(config)
    out = tmp_path / "joined"
    for steps in (2, 3):
        config.train.duration = f"{steps}steps"
        write_text(out / "config.json", config_lib.to_json(config))
        loop.train(config, out, source, lambda arm: lambda params: ({"psnr": 0.0}, np.zeros((4, 4, 3), np.uint8)))
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    params = checkpoints.load_for_inference(out, 3).params
    assert all(np.all(leaf == leaf[:1]) for leaf in jax.tree.leaves(params[experts.EXPERTS]))
    earlier = checkpoints.load_for_inference(out, 2).params
    jax.tree.map(np.testing.assert_array_equal, earlier[experts.SHARED], params[experts.SHARED])
    assert np.abs(earlier[experts.ROUTER]["logits"]["kernel"] - params[experts.ROUTER]["logits"]["kernel"]).max() > 0


def test_the_config_says_what_joins():
    with pytest.raises(UserError, match="name them in config.experts.start"):
        config_lib.validate(_config())
    for fields in ({"experts__start": ("cnn",)}, {"model__experts": NAMES}):
        with pytest.raises(UserError, match='leave config.experts.start and config.model.experts empty for arm = "'):
            config_lib.validate(tiny.config(**fields))
    config_lib.validate(_config(experts__start=("cnn",) * 3))
    config = tiny.config(model__experts=NAMES, model__name="face_prior")
    with pytest.raises(UserError, match='"face_prior" has none'):
        models.create(config.model)
