"""Masks on photographs: where they lie, what they cover, and the command that puts them there."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from faceflax.degradations import facemask, tasks
from faceflax.errors import UserError
from faceflax.preprocessing import landmarks
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.restoration import masking
from tests import commands

SIZE = 64
RNG = np.random.default_rng(0)
SURGICAL = masking.Look("surgical", 0, "pleats")
ROW = "a.png,1,2,3,4,5,6,7,8,9,10"


def photograph(height=SIZE, width=SIZE):
    return Photograph(RNG.integers(0, 256, (height, width, 3), np.uint8), None)


def similarity(scale, degrees, shift):
    return SimilarityTransform(scale=scale, rotation=np.deg2rad(degrees), translation=shift)


@pytest.mark.parametrize(
    "transform", [similarity(200, 0, (0, 0)), similarity(40, 30, (10, -5)), similarity(7, 170, (0, 9))]
)
def test_a_face_is_placed_by_its_points(transform):
    placement = landmarks.fit(transform(landmarks.TEMPLATE))
    np.testing.assert_allclose(placement, transform.params[:2], atol=1e-9)


def test_points_that_fit_no_turned_template_give_the_nearest():
    points = 100 * landmarks.TEMPLATE + RNG.normal(0, 3, (5, 2))
    expected = SimilarityTransform.from_estimate(landmarks.TEMPLATE, points)
    np.testing.assert_allclose(landmarks.fit(points), expected.params[:2], atol=1e-9)


def test_points_of_no_face_are_refused():
    mirrored = landmarks.TEMPLATE * (-1, 1)
    for points in (mirrored, np.ones((5, 2))):
        with pytest.raises(ValueError, match="left eye, right eye"):
            landmarks.fit(points)


def test_an_aligned_image_gets_what_the_degradation_draws():
    key, before = jax.random.key(5), photograph()
    expected, mask = tasks.face_mask(key, jnp.asarray(before.pixels, jnp.float32) / 255, 2)
    placement = landmarks.whole_image(SIZE, SIZE)
    after, covered = masking.dress(before, placement, key, masking.Look("both", None, "pleats"))
    np.testing.assert_array_equal(covered, mask[..., 0] > 0)
    np.testing.assert_allclose(after.pixels, np.asarray(expected) * 255, atol=0.51)


@pytest.mark.parametrize("kind", ["grey", "16 bit", "alpha"])
def test_depth_channels_and_what_is_not_covered_stay(kind):
    pixels = RNG.integers(0, 65536, (SIZE, SIZE, 3), np.uint16)
    alpha = None
    if kind == "grey":
        pixels = (pixels[..., 0] >> 8).astype(np.uint8)
    if kind == "alpha":
        alpha = pixels[..., 0]
    placement = landmarks.whole_image(SIZE, SIZE)
    after, covered = masking.dress(Photograph(pixels, alpha), placement, jax.random.key(1), SURGICAL)
    assert after.pixels.dtype == pixels.dtype and after.pixels.shape == pixels.shape and after.alpha is alpha
    np.testing.assert_array_equal(after.pixels[~covered], pixels[~covered])
    assert 0.1 < covered.mean() < 0.3
    colour = np.mean(facemask.CLOTHS["blue"]) * np.iinfo(pixels.dtype).max
    assert after.pixels[covered].mean() == pytest.approx(colour, rel=0.2)


def test_the_mask_turns_and_grows_with_the_face():
    """Turned upside down and twice as large about the image's middle: so is the mask."""
    key = jax.random.key(2)
    _, upright = masking.dress(photograph(), landmarks.whole_image(SIZE, SIZE), key, SURGICAL)
    turned = similarity(2 * SIZE, 180, (1.5 * SIZE, 1.5 * SIZE)).params[:2]  # the middle stays in the middle
    _, large = masking.dress(photograph(), turned, key, SURGICAL)
    middle = upright[::-1, ::-1][SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
    expected = np.kron(middle, np.ones((2, 2), bool))
    assert (large != expected).mean() < 0.06  # the jagged edge of twice the size, and straps


mask = functools.partial(commands.run, "mask")


def test_the_command_writes_faces_and_masks_that_restore_takes(tmp_path, capsys):
    before = {name: photograph() for name in ("a", "sub/b")}
    for name, image in before.items():
        write(tmp_path / "in" / f"{name}.png", image)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no image")
    arguments = (tmp_path / "in", "--aligned", "--out", tmp_path / "out", "--seed", "3", "--texture", "random")
    assert mask(*arguments) == 1
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert written == ["faces/a.png", "faces/sub/b.png", "masks/a.png", "masks/sub/b.png"]
    captured = capsys.readouterr()
    assert captured.out == f"masked 2 of 3 images into {tmp_path / 'out'}\n"
    assert "bad.jpg" in captured.err and captured.err.count("\n") == 1
    first = {}
    for name, image in before.items():
        covered = read(tmp_path / "out" / "masks" / f"{name}.png").pixels
        first[name] = read(tmp_path / "out" / "faces" / f"{name}.png").pixels
        assert set(np.unique(covered)) == {0, 255}
        np.testing.assert_array_equal(first[name][covered == 0], image.pixels[covered == 0])
    assert mask(tmp_path / "in" / "a.png", *arguments[1:]) == 0  # alone it gets the same
    np.testing.assert_array_equal(read(tmp_path / "out" / "faces" / "a.png").pixels, first["a"])


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_landmarks_say_where_the_face_is(tmp_path, capsys, suffix):
    points = similarity(32, 0, (60, 20))(landmarks.TEMPLATE)
    write(tmp_path / "in" / "sub" / "a.png", photograph(80, 110))
    write(tmp_path / "in" / "other.png", photograph())
    file = tmp_path / f"points.{suffix}"
    if suffix == "csv":
        file.write_text("file,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4\nsub/a.png," + ",".join(map(str, points.ravel())))
    else:
        file.write_text(json.dumps({"sub/a.png": points.tolist()}))
    assert mask(tmp_path / "in", "--out", tmp_path / "out", "--landmarks", file) == 1
    assert "other.png: the landmarks file has no row for other.png" in capsys.readouterr().err
    rows, columns = np.nonzero(read(tmp_path / "out" / "masks" / "sub" / "a.png").pixels)
    assert 20 + 0.45 * 32 < rows.min() < rows.max() < 20 + 32
    assert abs(columns.mean() - (60 + 16)) < 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.png,1,2,3", "line 1: needs ten numbers"),
        ("file,x0\na.png,1,2,3,4,5,6,7,8,9,nan", "line 2: needs ten numbers"),
        (f"{ROW}\n{ROW}", "line 2: a.png has a row already; give one face of each file"),
        ("[1, 2]", "is not a JSON object"),
        ('{"a.png": [[1, 2]]}', "a.png: needs ten numbers"),
    ],
)
def test_landmarks_that_cannot_be_read_are_one_sentence(tmp_path, text, sentence):
    path = tmp_path / ("points.json" if text[0] in "[{" else "points.csv")
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        landmarks.read(path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "where is the face? pass --aligned"),
        (("--aligned", "--landmarks", "points.csv"), "where is the face? pass --aligned"),
        (("--aligned", "--cloth", "gold"), "choose one of blue, mint"),
        (("--aligned", "--texture", "fur"), "choose one of pleats, plain"),
        (("--aligned", "--wear", "hat"), "choose one of surgical, glasses, both"),
        (("--landmarks", "none.csv"), "none.csv: cannot be read"),
        (("--aligned",), "holds no images"),
    ],
)
def test_what_cannot_be_masked_is_one_sentence(tmp_path, capsys, arguments, sentence):
    assert mask(tmp_path, "--out", tmp_path / "out", *arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_masked_face_is_never_masked_in_place(tmp_path, capsys):
    write(tmp_path / "out" / "faces" / "a.png", photograph())
    before = (tmp_path / "out" / "faces" / "a.png").read_bytes()
    assert mask(tmp_path / "out" / "faces" / "a.png", "--aligned", "--out", tmp_path / "out") == 1
    assert "would overwrite an input" in capsys.readouterr().err
    assert (tmp_path / "out" / "faces" / "a.png").read_bytes() == before


def test_help_names_every_cloth_and_texture(capsys):
    assert mask("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{name}, " in shown or f"{name} or" in shown for name in (*facemask.CLOTHS, *facemask.TEXTURES))
