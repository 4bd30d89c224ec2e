import absl.flags
import pytest
from ml_collections import config_flags

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.training import loop, optimizer


def test_durations():
    assert config_lib.num_steps("500steps", 40) == 500
    assert config_lib.num_steps("1 step", 40) == 1
    assert config_lib.num_steps("2epochs", 40) == 80
    assert config_lib.num_steps("0.5epochs", 40) == 20
    assert config_lib.num_steps("0", 40) == config_lib.num_steps("0", None) == 0


@pytest.mark.parametrize("duration", ["", "ten", "5", "00", "0.5", "-0", "5minutes", "-1steps"])
def test_another_form_of_duration_is_refused(duration):
    with pytest.raises(UserError, match="500steps"):
        config_lib.num_steps(duration, 40)


def test_no_warmup_is_a_0_on_the_command_line(tmp_path, monkeypatch):
    holder = absl.flags.FlagValues()
    (tmp_path / "some.py").write_text("from faceflax import config\nget_config = config.default\n")
    flag = config_flags.DEFINE_config_file("config", flag_values=holder)
    command = ["train", f"--config={tmp_path / 'some.py'}", "--config.optim.warmup=0", "--config.train.log_every=0"]
    monkeypatch.setattr("sys.argv", command)  # where ml_collections looks for the fields
    holder(command)
    assert optimizer.schedule(flag.value.optim, 10, 4)(0) == pytest.approx(flag.value.optim.lr)
    with pytest.raises(UserError, match="config.train.log_every is 0, less than one step; make it longer"):
        loop.Plan.create(flag.value, 40)


def test_json_round_trip():
    config = config_lib.default()
    config.model.width = 48
    config.tasks = ("noise 50", "sr")
    restored = config_lib.from_json(config_lib.to_json(config))
    assert restored.to_dict() == config.to_dict()
    assert config_lib.fingerprint(restored) == config_lib.fingerprint(config)
    assert config_lib.fingerprint(config) != config_lib.fingerprint(config_lib.default())


def test_unknown_fields_are_refused():
    with pytest.raises(AttributeError):
        config_lib.default().model.widht = 48
    with pytest.raises(UserError, match="config.model.widht"):
        config_lib.from_json('{"model": {"widht": 48}}')
    with pytest.raises(UserError, match="not readable"):
        config_lib.from_json('{"model": ')
