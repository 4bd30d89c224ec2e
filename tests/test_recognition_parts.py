"""The parts of recognition that need no files: thresholds, averages, recall, the classifier, whose face is cut out."""

import itertools

import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.preprocessing import landmarks
from faceflax.preprocessing.detection import Face
from faceflax.recognition import averages, calibration, classifier, embedding, recall, store
from faceflax.recognition.gallery import Gallery
from tests import crowd
from tests.galleries import ENCODER, record, unit_vectors


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.0333, 0.5])
def test_a_threshold_is_the_lowest_that_keeps_the_rate(rate):
    scores = np.random.default_rng(0).normal(size=3000).round(2)  # many are equal
    threshold = calibration.threshold_at(scores, rate)
    assert np.mean(scores > threshold) <= rate < np.mean(scores > np.nextafter(threshold, -1))


@pytest.mark.parametrize(
    ("rate", "sentence"),
    [(1e-4, "needs 10,000 pairs"), *((rate, "is no share") for rate in (0, 1.5, float("nan"), float("inf")))],
)
def test_a_rate_that_cannot_be_measured_is_refused(rate, sentence):
    with pytest.raises(UserError, match=sentence):
        calibration.threshold_at(np.zeros(9999), rate)


def test_pairs_are_counted_once_and_told_apart():
    vectors, people = unit_vectors(6), np.array(["a", "b", "a", "c", "b", "a"])
    same, different = calibration.pair_scores(vectors, people)
    pairs = list(itertools.combinations(range(6), 2))
    expected = {True: [], False: []}
    for one, other in pairs:
        expected[people[one] == people[other]].append(float(vectors[one] @ vectors[other]))
    np.testing.assert_allclose(sorted(same), sorted(expected[True]), atol=1e-6)
    np.testing.assert_allclose(sorted(different), sorted(expected[False]), atol=1e-6)


def test_pairs_of_many_photographs_are_compared_in_blocks(monkeypatch):
    vectors, people = unit_vectors(50), np.arange(50) % 7
    whole = calibration.pair_scores(vectors, people)
    monkeypatch.setattr(calibration, "_BLOCK", 8)
    for blocks, expected in zip(calibration.pair_scores(vectors, people), whole, strict=True):
        np.testing.assert_allclose(np.sort(blocks), np.sort(expected), atol=1e-12)
    assert [len(each) for each in whole] == [154, 50 * 49 // 2 - 154]


def test_an_average_does_not_depend_on_the_order():
    vectors = unit_vectors(5)
    photographs = [(record("Ann", str(i)), vector) for i, vector in enumerate(vectors)]
    mean = vectors.mean(0)
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        merged = None
        for index in order:
            merged = averages.merge(merged, [photographs[index], photographs[order[0]]])
        found, vector = merged
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
        assert found.length == pytest.approx(float(np.linalg.norm(mean)), abs=1e-6)
        assert sorted(found.sources) == ["0", "1", "2", "3", "4"] and found.is_average


def test_brute_force_is_brute_force():
    vectors, queries = unit_vectors(700), unit_vectors(600, seed=1)
    found = recall.nearest(vectors, queries, 5)
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :5]
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))
    assert recall.overlap([["a", "b"], ["c", "x"]], np.array([["a", "b"], ["c", "d"]])) == 0.75


def test_a_search_that_misses_lowers_the_recall(tmp_path, monkeypatch):
    with store.connect(str(tmp_path / "faces.db"), create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record(f"p{i}", str(i)) for i in range(50)], unit_vectors(50))
        assert recall.measure(gallery, 30).recall == 1
        search = gallery.search
        monkeypatch.setattr(gallery, "search", lambda vectors, k: [row[1:] for row in search(vectors, k)])
        assert recall.measure(gallery, 30).recall == pytest.approx(0.9)


def test_a_classifier_beats_the_nearest_neighbour_where_single_photographs_mislead():
    rng = np.random.default_rng(0)
    centres = unit_vectors(30, 64)

    def photographs(count):
        labels = np.repeat(np.arange(30), count).astype(np.int32)
        noise = rng.normal(size=(len(labels), 64)) * 1.3 / 8
        vectors = centres[labels] + noise
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels

    vectors, labels = photographs(8)
    names = tuple(f"p{i:02}" for i in range(30))
    head = classifier.fit(vectors, labels, names)
    np.testing.assert_allclose(np.linalg.norm(head.weights, axis=1), 1, atol=1e-5)
    asked, truth = photographs(20)
    right = np.mean([names[t] == row[0] for t, row in zip(truth, head.likeliest(asked, 3), strict=True)])
    nearest = np.mean(labels[np.argmax(asked @ vectors.T, axis=1)] == truth)
    assert right > nearest + 0.03
    again = classifier.fit(vectors, labels, names)
    np.testing.assert_array_equal(head.weights, again.weights)


def test_a_classifier_of_one_person_is_refused():
    with pytest.raises(UserError, match="needs two people or more"):
        classifier.fit(unit_vectors(3), np.zeros(3, np.int32), ("Ann",))


def face_at(left, top, side):
    points = landmarks.TEMPLATE * side + (left, top)
    return Face(np.array([left, top, left + side, top + side], np.float64), points, 0.9)


def test_the_face_is_cut_out_as_ffhq_frames_it():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    cut = embedding.photographed(lambda shown: [face_at(120, 50, 64)], 64, largest=False)
    np.testing.assert_array_equal(cut(pixels), pixels[50:114, 120:184])


def test_of_several_faces_the_largest_is_taken_only_when_that_is_asked_for():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    faces = [face_at(120, 50, 64), face_at(10, 10, 32)]
    with pytest.raises(ValueError, match=r"2 faces are in it and one is meant; crop it to that, or pass --largest"):
        embedding.photographed(lambda shown: faces, 64, largest=False)(pixels)
    chosen = embedding.photographed(lambda shown: faces, 64, largest=True)(pixels)
    np.testing.assert_array_equal(chosen, pixels[50:114, 120:184])


def test_a_close_crop_is_shown_to_the_detector_with_a_margin():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    shown = []

    def detect(image):
        shown.append(image.shape)
        return [face_at(30, 30, 60)] if image.shape[0] > 100 else []

    crop = embedding.photographed(detect, 60, largest=False)(pixels)
    assert shown == [(90, 60, 3), (150, 120, 3)]
    np.testing.assert_array_equal(crop, pixels[:60])
    with pytest.raises(ValueError, match="no face is found in it; if it is a cropped face already, pass --aligned"):
        embedding.photographed(lambda image: [], 60, largest=False)(pixels)


def test_a_photograph_is_counted_once_use_was_made_of_it(tmp_path):
    paths = [crowd.face(tmp_path / f"{number}.png", number) for number in range(5)] + [tmp_path / "gone.png"]
    embedder = embedding.Embedder(crowd.ENCODERS["faceres"], embedding.whole(32), 2)
    used, counted = [], []
    for faces in embedder.files(paths, lambda path, sentence: None, lambda: counted.append(len(used))):
        used.extend(faces)
    assert counted == [2, 2, 4, 4, 4, 5]  # the last but one is the file that is gone
