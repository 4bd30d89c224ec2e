"""Batches of square faces as numpy uint8, for training and for evaluation.

A batch of either stream is a pure function of its number. So a stream's position is a step, and the same images meet
the same randomness whatever the number of processes: process p of P holds the positions p, p + P, ... of each batch.
"""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import cv2
import grain
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from faceflax.datasets import augmentation, images
from faceflax.errors import UserError

Batch = dict[str, np.ndarray]
_THREADS = 2  # enough to keep a step on the CPU fed: one thread decodes thousands of faces a second
_AHEAD = 4  # batches decoded before they are asked for


def train_stream(
    source: Sequence[dict[str, Any]],
    data: ConfigDict,
    *,
    seed: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    features: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Batch]:
    """Yields without end this process's share of each batch, from step `start_step` on.

    The images are shuffled anew each epoch, a random square of at least `data.crop` of the side is cut out of the
    central one, half of them are mirrored when `data.flip`, the share `data.tones` is shown in another light, and the
    share `data.grey` loses its colour. Epochs follow each other without a gap, so a batch may hold the end of one and
    the beginning of the next. Arguments: `data`, the configuration's `data`.

    A batch holds `image`, uint8 [b, S, S, 3] RGB with b = batch_size / process_count, and `index`, int32 [b], the
    positions in the whole batch; and for each of `features`, name in the batch: name in the examples, that feature as
    it is, `label` as int32 [b]. With `data.workers` > 0 that many processes decode, else threads of this one.
    Raises `UserError` when the source is empty, an example lacks a feature, or the batch does not divide among the
    processes.
    """
    if data.batch_size % process_count:
        raise UserError(
            f"a batch of {data.batch_size} does not divide among {process_count} processes; change batch_size"
        )
    if not len(source):
        raise UserError("the training split holds no images; choose another split or dataset")
    check_features(source[0], features)
    prepare = functools.partial(_prepare, data=data, features=features)
    number = functools.partial(_number, batch_size=data.batch_size)
    faces = grain.MapDataset.source(source).seed(seed % 2**32).shuffle().repeat()
    faces = faces.random_map(prepare).map_with_index(number)
    # Nothing remains of a stream without end; but grain would count the batches of one image, rounded up, past an int.
    batches = faces[process_index::process_count].batch(data.batch_size // process_count, drop_remainder=True)
    return _read(batches[start_step:], data.workers)


def eval_stream(
    source: Sequence[dict[str, Any]],
    *,
    image_size: int,
    batch_size: int,
    max_images: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields this process's share of each batch of the first `max_images` images (0: of all), every one once.

    A batch holds `image`, uint8 [b, S, S, 3] RGB with b = batch_size / process_count rounded up, `weight`, float32 [b],
    and `index`, int32 [b], the image's number in the split. What the last batch lacks is filled with image 0 at weight
    0; every process yields as many batches. Raises `UserError` when the source is empty.
    """
    count = num_images(source, max_images)
    if not count:
        raise UserError("the split to evaluate on holds no images; choose another split or dataset")
    share = -(-batch_size // process_count)
    total = -(-count // (share * process_count)) * share * process_count
    read = functools.partial(_numbered, source=source, count=count, size=image_size)
    return _read(grain.MapDataset.range(total)[process_index::process_count].map(read).batch(share), workers=0)


def num_images(source: Sequence, max_images: int) -> int:
    """Returns how many images `eval_stream` yields of `source`."""
    return min(len(source), max_images or len(source))


def check_features(example: Mapping[str, Any], features: Mapping[str, str]) -> None:
    """Raises `UserError` where an example lacks one of `features` (see `train_stream`), or its label is no number."""
    for feature in features.values():
        if feature not in example:
            raise UserError(f"the examples have no feature {feature!r}; they have {', '.join(sorted(example))}")
    if "label" in features and not isinstance(example[features["label"]], int | np.integer):
        raise UserError(f"the feature {features['label']!r} is not a class label; name one that is")


def _read(batches: grain.MapDataset, workers: int) -> Iterator[Batch]:
    if not workers:
        return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)))
    if not flags.FLAGS.is_parsed():  # grain reads its flags here, also in a program that has none
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_AHEAD)
    in_worker = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    return iter(batches.to_iter_dataset(in_worker).mp_prefetch(options, worker_init_fn=_start_worker))


def _start_worker(index: int, count: int) -> None:
    cv2.setNumThreads(0)  # the workers are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the training program's to handle
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Ends this worker when its parent was killed, for grain would leave it waiting for ever."""
    multiprocessing.parent_process().join()
    os._exit(0)


def _prepare(
    example: dict[str, Any], rng: np.random.Generator, *, data: ConfigDict, features: Mapping[str, str]
) -> Batch:
    image = images.decode(example["image"])
    if data.crop < 1:
        image = augmentation.random_square(image, rng, data.crop)
    image = images.square(image, data.image_size)
    if data.flip and rng.random() < 0.5:
        image = image[:, ::-1]
    if data.tones and rng.random() < data.tones:
        image = augmentation.random_tones(image, rng)
    if data.grey and rng.random() < data.grey:
        image = augmentation.without_colour(image)
    besides = {name: example[feature] for name, feature in features.items()}
    if "label" in besides:
        besides["label"] = np.int32(besides["label"])
    return {"image": image, **besides}


def _number(index: int, example: Batch, *, batch_size: int) -> Batch:
    return {**example, "index": np.int32(index % batch_size)}


def _numbered(number: int, *, source: Sequence[dict[str, Any]], count: int, size: int) -> Batch:
    is_padding = number >= count
    index = 0 if is_padding else number
    image = images.square(images.decode(source[index]["image"]), size)
    return {"image": image, "weight": np.float32(not is_padding), "index": np.int32(index)}
