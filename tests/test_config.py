import pytest

from faceflax import config as config_lib
from faceflax.errors import UserError


def test_durations():
    assert config_lib.num_steps("500steps", 40) == 500
    assert config_lib.num_steps("1 step", 40) == 1
    assert config_lib.num_steps("2epochs", 40) == 80
    assert config_lib.num_steps("0.5epochs", 40) == 20


@pytest.mark.parametrize("duration", ["", "ten", "5", "5minutes", "-1steps"])
def test_another_form_of_duration_is_refused(duration):
    with pytest.raises(UserError, match="500steps"):
        config_lib.num_steps(duration, 40)


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
