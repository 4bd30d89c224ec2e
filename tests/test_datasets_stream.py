import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceflax.config import default
from faceflax.datasets import images
from faceflax.datasets.stream import eval_stream, train_stream
from faceflax.errors import UserError

COUNT = 10


def plain_faces(count=COUNT, side=16):
    """Images told apart by their value: number i is grey level i."""
    return [{"image": images.encode_png(np.full((side, side, 3), i, np.uint8))} for i in range(count)]


def data(**changes):
    config = default().data
    config.update({"image_size": 16, "batch_size": 4, "flip": False, **changes})
    return config


def take(stream, count):
    batches = [{name: np.array(value) for name, value in next(stream).items()} for _ in range(count)]
    stream.close()
    return batches


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name])


def levels(batches):
    return np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches])


def test_a_batch_has_the_agreed_shapes():
    (batch,) = take(train_stream(plain_faces(side=40), data(), seed=0), 1)
    assert batch["image"].shape == (4, 16, 16, 3)
    assert batch["image"].dtype == np.uint8
    assert batch["index"].dtype == np.int32
    np.testing.assert_array_equal(batch["index"], [0, 1, 2, 3])


def test_a_batch_may_be_one_image():
    one, four = (take(train_stream(plain_faces(), data(batch_size=size), seed=0), 8 // size) for size in (1, 4))
    np.testing.assert_array_equal(levels(one), levels(four))
    assert [batch["index"].tolist() for batch in one] == [[0]] * 8


@pytest.mark.parametrize("start", [1, 3, 7])
def test_a_stream_started_late_goes_on_as_one_that_never_stopped(start):
    config = data(flip=True, crop=0.5)
    whole = take(train_stream(plain_faces(), config, seed=3), 9)
    assert_same(take(train_stream(plain_faces(), config, seed=3, start_step=start), 9 - start), whole[start:])


def test_two_processes_share_what_one_would_read():
    faces, config = ramps(), data(flip=True, crop=0.5)
    whole = take(train_stream(faces, config, seed=3, start_step=2), 4)
    shares = [
        take(train_stream(faces, config, seed=3, start_step=2, process_index=p, process_count=2), 4) for p in (0, 1)
    ]
    together = [
        {name: np.stack([first[name], second[name]], 1).reshape(whole[0][name].shape) for name in first}
        for first, second in zip(*shares, strict=True)
    ]
    assert_same(together, whole)


def test_each_epoch_holds_each_image_once_in_an_order_of_its_own():
    seen = levels(take(train_stream(plain_faces(), data(), seed=0), 10)).reshape(4, COUNT)
    np.testing.assert_array_equal(np.sort(seen), np.tile(np.arange(COUNT), (4, 1)))
    assert len({tuple(epoch) for epoch in seen}) == 4


def test_another_seed_gives_another_order():
    orders = {tuple(levels(take(train_stream(plain_faces(), data(), seed=seed), 20))) for seed in (0, 1, 2, -1)}
    assert len(orders) == 4
    seed_0_later = levels(take(train_stream(plain_faces(), data(), seed=0, start_step=5), 5))
    assert not np.array_equal(seed_0_later, levels(take(train_stream(plain_faces(), data(), seed=1), 5)))


def ramps():
    """Images whose value is the column (red) and the row (green)."""
    ramp = np.zeros((64, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(64)[None, :] * 4, np.arange(64)[:, None] * 4
    return [{"image": images.encode_png(ramp)}] * COUNT


def test_half_of_the_images_are_mirrored():
    batches = take(train_stream(ramps(), data(flip=True), seed=0), 50)
    mirrored = np.concatenate([batch["image"][:, 0, 0, 0] > batch["image"][:, 0, -1, 0] for batch in batches])
    assert 0.35 < mirrored.mean() < 0.65


def test_crops_are_squares_of_at_least_the_smallest_side_anywhere():
    batches = np.concatenate([b["image"] for b in take(train_stream(ramps(), data(crop=0.5), seed=0), 50)]).astype(int)
    width = (batches[:, 0, -1, 0] - batches[:, 0, 0, 0]) / (15 / 16 * 256)
    height = (batches[:, -1, 0, 1] - batches[:, 0, 0, 1]) / (15 / 16 * 256)
    np.testing.assert_allclose(width, height, atol=0.03)
    assert 0.47 < width.min() < 0.55
    assert 0.9 < width.max() <= 1.03
    assert np.corrcoef(batches[:, 0, 0, 0], batches[:, 0, 0, 1])[0, 1] < 0.9


def test_tones_change_a_share_of_the_images_by_one_curve_a_channel():
    plain = take(train_stream(ramps(), data(), seed=0), 50)[0]["image"][0].astype(int)
    toned = np.concatenate([b["image"] for b in take(train_stream(ramps(), data(tones=0.5), seed=0), 50)]).astype(int)
    changed = np.array([not np.array_equal(image, plain) for image in toned])
    assert 0.35 < changed.mean() < 0.65
    assert (np.diff(toned[..., 0], axis=2) >= 0).all()  # the ramps stay ramps
    assert (np.diff(toned[..., 1], axis=1) >= 0).all()
    middle = toned[changed][:, 8, 8]
    assert middle[:, :2].min() < 0.5 * plain[8, 8, :2].max() < plain[8, 8, :2].max() < middle[:, :2].max()
    assert np.std(middle[:, 0] - middle[:, 1]) > 5  # a cast: the channels part


def test_grey_takes_the_colour_of_a_share_of_the_images():
    stream = train_stream(ramps(), data(grey=0.5, flip=True), seed=0)
    made = np.concatenate([batch["image"] for batch in take(stream, 50)])
    is_grey = (made == made[..., :1]).all((1, 2, 3))
    assert 0.35 < is_grey.mean() < 0.65
    ramp = images.decode(ramps()[0]["image"])
    luminance = np.asarray(Image.fromarray(ramp).convert("L").resize((16, 16), Image.BOX)).astype(int)
    found = made[is_grey][..., 0].astype(int)
    assert all(min(np.abs(g - luminance).max(), np.abs(g[:, ::-1] - luminance).max()) <= 1 for g in found)


def test_a_photograph_is_cut_to_its_central_square_and_shrunk_by_averaging():
    photo = np.random.default_rng(0).integers(0, 256, (64, 100, 3), dtype=np.uint8)
    expected = Image.fromarray(photo).crop((18, 0, 82, 64)).resize((16, 16), Image.BOX)
    (batch,) = take(eval_stream([{"image": images.encode_png(photo)}], image_size=16, batch_size=1), 1)
    np.testing.assert_allclose(batch["image"][0].astype(int), np.asarray(expected), atol=1)


@pytest.mark.parametrize(("count", "processes", "limit"), [(10, 1, 0), (10, 2, 0), (10, 3, 0), (3, 4, 0), (10, 2, 7)])
def test_evaluation_counts_every_image_once(count, processes, limit):
    options = {"image_size": 16, "batch_size": 4, "max_images": limit, "process_count": processes}
    shares = [list(eval_stream(plain_faces(count), process_index=p, **options)) for p in range(processes)]
    assert len({tuple(batch["weight"].shape for batch in share) for share in shares}) == 1
    weight, index, value = (
        np.concatenate([read(batch) for share in shares for batch in share])
        for read in (lambda b: b["weight"], lambda b: b["index"], lambda b: b["image"][:, 0, 0, 0])
    )
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(np.sort(index[weight == 1]), np.arange(limit or count))
    np.testing.assert_array_equal(value[weight == 1], index[weight == 1])
    assert set(np.unique(weight)) <= {0, 1}


class Watched:
    """A source that refuses to be read by a process that loaded TensorFlow or started JAX."""

    def __init__(self):
        self.home, self.faces = os.getpid(), plain_faces()

    def __len__(self):
        return len(self.faces)

    def __getitem__(self, index):
        if os.getpid() != self.home:
            assert "tensorflow" not in sys.modules
            assert not sys.modules["jax"]._src.xla_bridge._backends
        return self.faces[index]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_read_the_same(workers):
    config = data(flip=True, crop=0.5)
    here = take(train_stream(Watched(), config, seed=3, start_step=2), 7)
    config.workers = workers
    assert_same(take(train_stream(Watched(), config, seed=3, start_step=2), 7), here)


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import multiprocessing, time
        import numpy as np
        from faceflax.config import default
        from faceflax.datasets import images
        from faceflax.datasets.stream import train_stream
        if __name__ == "__main__":
            data = default().data
            data.workers, data.image_size = 1, 16
            faces = [{"image": images.encode_png(np.zeros((16, 16, 3), np.uint8))}] * 32
            stream = train_stream(faces, data, seed=0)
            next(stream)
            print(multiprocessing.active_children()[0].pid, flush=True)
            time.sleep(60)
        """)
    )
    parent = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert is_running(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(worker)


def is_running(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_cannot_be_streamed_says_so():
    with pytest.raises(UserError, match="does not divide among 3"):
        train_stream(plain_faces(), data(), seed=0, process_count=3)
    with pytest.raises(UserError, match="no images"):
        train_stream([], data(), seed=0)
    with pytest.raises(UserError, match="no images"):
        eval_stream([], image_size=16, batch_size=4)
