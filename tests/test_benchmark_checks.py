"""What would end a benchmark after hours is said before its first training, in one sentence."""

import shutil

import pytest

from faceflax import aside
from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.evaluation.benchmark import checks, plan, settings
from tests import untrained

SIZE = 32


def _make_settings():
    cnn = config_lib.default()
    cnn.data.image_size, cnn.data.batch_size, cnn.model.width = SIZE, 4, 8
    cnn.model.encoder_blocks = cnn.model.decoder_blocks = (1,)
    gan = config_lib.from_json(config_lib.to_json(cnn))
    gan.arm, gan.eval.best_metric, gan.init_from = "gan", "step", "cnn"
    gan.gan.width, gan.gan.scales = 8, 2
    config = settings.create({"cnn": cnn, "gan": gan})
    config.seeds, config.data.image_size = (0, 1), SIZE
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    return config


def _check(config, folder, monkeypatch):
    monkeypatch.setattr(aside, "call", lambda function, *arguments, platform: function(*arguments))
    settings.validate(config)
    checks.check(config, plan.runs(config, folder), dict.fromkeys(config.arms, 100))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gan.loss": "foo"}, "hinge, non_saturating, relativistic"),
        ({"gan.scales": 6}, "multiples of 128 pixels, not 32"),
        ({"gan.start": 2500}, "gan.start is 2500 steps of 2500"),
        ({"model.width": 16}, r"init_from \S*cnn-0 holds another model \(config.model.width was 8, now 16\)"),
        ({"arm": "foo"}, '"foo" does not exist'),
        ({"arm": "segmenter", "eval.best_metric": "iou"}, "segmenter"),
        ({"train.duration": "foo"}, "not a duration"),
        ({"tasks": ("foo",)}, '"foo" is not a degradation'),
        ({"optim.warmup": "2500steps"}, "make it shorter"),
        ({"optim.accumulate": 3}, "multiple of 3"),
    ],
)
def test_a_training_that_cannot_start_is_named(fields, message, tmp_path, monkeypatch):
    config = _make_settings()
    _check(config, tmp_path, monkeypatch)
    config.experiments.gan.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=rf"^gan(-0)? cannot be trained: .*{message}"):
        _check(config, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return {arm: untrained.make_workdir(folder / arm, SIZE, arm) for arm in ("cnn", "gan")}


def test_what_was_given_is_read(workdirs, tmp_path, monkeypatch):
    second = tmp_path / "second"

    def given_twice(arm):
        shutil.rmtree(second, ignore_errors=True)
        shutil.copytree(workdirs[arm], second)
        config = _make_settings()
        config.trained.gan = (str(workdirs["gan"]), str(second))
        return config

    _check(given_twice("gan"), tmp_path, monkeypatch)
    for spoil, message in (
        (lambda: (second / "config.json").write_text("{"), f"^{second}: config.json is not readable"),
        (lambda: shutil.rmtree(second / "checkpoints"), "holds no checkpoint"),
        (lambda: shutil.rmtree(second / "checkpoints" / "1" / "default"), "is damaged"),
        (lambda: shutil.rmtree(second), "no model"),
    ):
        config = given_twice("gan")
        spoil()
        with pytest.raises(UserError, match=message):
            _check(config, tmp_path, monkeypatch)
    with pytest.raises(UserError, match='holds a "cnn", and config.experiments.gan.arm is "gan"'):
        _check(given_twice("cnn"), tmp_path, monkeypatch)
    config = given_twice("gan")
    config.experiments.cnn.model.width = 16  # between these two there is nothing
    with pytest.raises(UserError, match="between cnn-0 and gan-0: .*only networks of one config.model interpolate"):
        _check(config, tmp_path, monkeypatch)


def test_another_process_answers_as_this_one_would():
    config = _make_settings()
    assert aside.call(config_lib.to_json, config.experiments.gan) == config_lib.to_json(config.experiments.gan)
    with pytest.raises(UserError, match='^"fog" is not a duration'):
        aside.call(config_lib.num_steps, "fog", 1)
    with pytest.raises(ZeroDivisionError):
        aside.call(divmod, 1, 0)
