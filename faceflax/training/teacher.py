"""What a published face encoder says of the training faces, computed once: the targets of distillation.

faceres costs several times what a training step of a compact encoder costs, and its vector of a clean face is wanted
whatever the student is shown of that face. So each face passes it once before training, not at every step.
"""

from typing import Any

import jax
import numpy as np

from faceflax.assets import cache_folder
from faceflax.datasets import stream
from faceflax.files import atomic_path, close_folder
from faceflax.models import face_encoder
from faceflax.progress import progress_bar
from faceflax.training import parallel
from faceflax.training.described import Described

TEACHER = "faceres"
_BATCH_SIZE = 32


def describe(source: Any) -> Described:
    """Returns `source` (of `datasets.registry.load`) with `vector`, what the teacher sees in its central squares.

    A vector is the teacher's less the mean of all, at unit length again. The mean is 0.66 of the length of faceres'
    vectors; a student that learnt it alone, and nothing that tells faces apart, would be two thirds right.

    The teacher's own are kept in the cache under its version and the source's fingerprint, in half precision, readable
    by their owner alone. Of
    several processes each computes all of them, unless they share a cache that holds them. Raises `UserError` when the
    teacher cannot be fetched.
    """
    encoder = face_encoder.create(TEACHER)
    path = cache_folder() / "teacher" / f"{TEACHER}-{encoder.version}-{source.fingerprint}.npy"
    if not path.is_file():
        vectors = _embed(encoder, source)
        with atomic_path(path) as temporary:
            close_folder(path.parent)
            temporary.touch(mode=0o600)
            np.save(temporary, vectors.astype(np.float16))
    vectors = np.load(path, allow_pickle=False).astype(np.float32)
    vectors -= vectors.mean(0)
    return Described(source, "vector", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _embed(encoder: face_encoder.FaceEncoder, source: Any) -> np.ndarray:
    devices = parallel.one_device()
    params = devices.replicate(encoder.load())
    embed = devices.compile_batched(lambda params, image: encoder.embed(params, image.astype(np.float32) / 255))
    vectors = np.zeros((len(source), encoder.size), np.float32)
    with progress_bar(active=jax.process_index() == 0) as progress:
        bar = progress.add_task(f"{TEACHER} looks at the training faces", total=len(source))
        for batch in stream.eval_stream(source, image_size=encoder.image_size, batch_size=_BATCH_SIZE):
            real = batch["weight"] > 0
            vectors[batch["index"][real]] = np.asarray(embed(params, batch["image"]))[real]
            progress.advance(bar, int(real.sum()))
    return vectors
