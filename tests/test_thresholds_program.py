"""The program that chooses the thresholds which come with the encoders."""

import numpy as np
import pytest

from experiments import thresholds
from faceflax.datasets import images, registry
from faceflax.recognition.embedding import Embedder, whole
from tests import crowd


def test_the_strictest_set_decides_and_the_worst_is_told(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    shift = {"orl_faces train": 0.0, "mini_faces all": 0.3, "orl_faces test": 0.1}

    def measure(embedder, cut, name, split, framing):
        centre = shift[f"{name} {split}"] + (0.05 if framing == "found" else 0)
        same = np.zeros(0) if name == "mini_faces" else centre + 0.5 + 0.1 * rng.normal(size=100)
        return same, centre + 0.1 * rng.normal(size=2000)

    monkeypatch.setattr(thresholds, "measure", measure)
    threshold, scores = thresholds.choose(None, {"whole": None, "found": None}, 1e-3, 1e-2)
    assert len(scores) == 6 and threshold == round(threshold, 4)
    above = {name: np.mean(different > threshold) for name, (_, different) in scores.items()}
    assert (
        max(above.values())
        == above["synthetic faces found"]
        <= 1e-2
        < np.mean(scores["synthetic faces found"][1] > threshold - 2e-2)
    )
    made = thresholds.entry(crowd.ENCODERS["faceres"], threshold, scores)
    assert made.measured_on == "synthetic faces found (different people), ORL s1-s20 whole (one person)"
    assert made.false_accept_rate == above["synthetic faces found"] and made.different == 2000 and made.same == 100
    assert "chosen" in capsys.readouterr().out


def test_faces_that_are_not_found_are_counted_and_damaged_pictures_are_not_passed_over(monkeypatch, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    examples = [{"image": images.encode_png(each), "identity": number // 2} for number, each in enumerate(pixels)]
    monkeypatch.setattr(registry, "load", lambda name, split: examples)
    embedder = Embedder(crowd.ENCODERS["faceres"], whole(32), 2)

    def cut(picture):
        if np.array_equal(picture, pixels[1]):
            raise ValueError("no face is found in it")
        return picture

    same, different = thresholds.measure(embedder, cut, "orl_faces", "train", "found")
    assert len(same) == 1 and len(different) == 2
    assert capsys.readouterr().out == "orl_faces train found: 3 of 4 faces\n"
    examples[2] = {"image": b"damaged", "identity": 1}
    with pytest.raises(ValueError):
        thresholds.measure(embedder, cut, "orl_faces", "train", "found")
