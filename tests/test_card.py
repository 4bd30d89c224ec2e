"""Cards of models: skin tones by another library, groups and failures from results made by hand."""

import numpy as np
import pytest
from skimage import color

from faceflax.degradations import Task
from faceflax.evaluation import card
from faceflax.evaluation.results import TaskResult
from faceflax.training import monitors


@pytest.mark.parametrize("rgb", [(235, 205, 185), (190, 140, 110), (90, 60, 45)])
def test_the_typology_angle_is_that_of_the_lab_colour(rgb):
    image = np.zeros((128, 128, 3), np.uint8)
    image[55:100, 40:90] = rgb
    lightness, _, yellowness = color.rgb2lab(np.array(rgb) / 255)
    assert card.typology_angle(image) == pytest.approx(np.degrees(np.arctan2(lightness - 50, yellowness)), abs=0.5)


def result(task, model):
    values = {"psnr": np.array(model, float), "ssim": np.ones(len(model)), "hole_psnr": np.full(len(model), np.nan)}
    values["known_psnr"] = values["hole_psnr"]
    flat = values | {"psnr": np.full(len(model), 20.0)}
    scores = {"input": flat, "baseline": flat, "model": values}
    return TaskResult(task, "a method", np.arange(len(model)), scores, 0, [])


def test_groups_are_thirds_by_skin_and_the_worst_are_found():
    results = [result(Task("noise", 15), [30, 31, 32]), result(Task("noise", 50), [25, 21, 23])]
    table = card.by_skin(results, np.array([10.0, -40.0, 60.0]))
    assert [cell.split()[0] for cell in table.rows[1]] == ["noise", "1.00", "5.00", "3.00"]
    assert card.worst(results) == [(Task("noise", 50), 1)]
    manifest = {"kind": "cnn", "config": {"data": {"image_size": 128, "batch_size": 8}, "tasks": ["mixed"]}}
    manifest |= {"dataset": {"name": "x", "split": "train", "fingerprint": "0" * 12}, "step": 8000, "seed": 0}
    manifest["config"] |= {"init_from": "", "model": {"name": "encoder_decoder"}}
    manifest |= {"commit": "c0ffee", "command": "train", "licence": "free", "before": []}
    text = card.write("cnn", manifest, {"Faces": results}, np.array([10.0, -40.0, 60.0]))
    assert "8,000 steps" in text and "cnn.jpg" in text and "from random weights" in text
    assert "How the training went" not in text and "of the way" not in text
    assert "| kind | cnn, 128 pixels |" in text
    inside = manifest["config"] | {"model": {"name": "face_prior"}}
    text = card.write("prior", manifest | {"config": inside}, {"Faces": results}, np.array([10.0, -40.0, 60.0]))
    assert "| kind | prior (cnn), 128 pixels |" in text
    text = card.write("gan", manifest | {"fidelity": 0.25}, {"Faces": results}, np.array([10.0, -40.0, 60.0]))
    assert "| weights | 25% of the way from what was trained to the CNN" in text


def test_the_card_of_a_gan_tells_how_its_training_went():
    config = {"train": {"log_every": "50steps"}, "data": {"batch_size": 4}, "gan": {"start": 1500}}
    seen = [{"step": step} | dict.fromkeys(monitors.NAMES, step / 8000) for step in (50, 7000)]
    text = "\n".join(card.course({"config": config, "monitors": seen}))
    assert "**Means over train.log_every=50steps, 4 faces a step**" in text and "from step 1,500 on" in text
    cells = [line.replace(" ", "").strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    assert cells[2:] == [["50", *["0.006"] * 5], ["7000", *["0.875"] * 5]]


def test_the_card_of_a_gan_made_of_experts_tells_of_each():
    manifest = {"kind": "gan", "config": {"data": {"image_size": 128, "batch_size": 4}, "tasks": ["sr 8", "occlude"]}}
    manifest |= {"dataset": {"name": "x", "split": "train", "fingerprint": "0" * 12}, "step": 5000, "seed": 0}
    manifest["config"] |= {
        "model": {"name": "encoder_decoder"},
        "gan": {"start": 400},
        "train": {"log_every": "50steps"},
    }
    manifest |= {"commit": "c0ffee", "command": "train", "licence": "free", "before": []}
    seen = [{"step": 50} | dict.fromkeys(monitors.NAMES, 0.5)]
    manifest["experts"] = [
        {"expert": name, "step": step, "monitors": seen, "fidelity": fidelity}
        for name, step, fidelity in (("occlude", 3000, 0.3), ("sr 8", 2000, 0))
    ]
    text = card.write("gan", manifest, {"Faces": [result(Task("noise", 15), [30, 31, 32])]}, np.arange(3.0))
    assert "discriminator | occlude, 3,000 steps, 30% of the way back; sr 8, 2,000 steps; all other experts" in text
    assert text.count("Means over train.log_every=50steps") == 2 and "**sr 8. Means" in text
