"""From files to vectors: decoded in threads, faces cut out of them, embedded in batches."""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.models.face_encoder import FaceEncoder
from faceflax.preprocessing import alignment, images
from faceflax.preprocessing.console import reported
from faceflax.preprocessing.detection import Detect, Face
from faceflax.restoration.ahead import submit_ahead
from faceflax.restoration.networks import create_runner
from faceflax.training import parallel

# RGB uint8 [H, W, 3] -> the crop [S, S, 3] of the face in it; raises ValueError where there is none, or more than one
Cut = Callable[[np.ndarray], np.ndarray]


class Found(NamedTuple):
    """A face in a photograph: its crop uint8 [S, S, 3], and its box x0, y0, x1, y1 in pixels; None of a crop."""

    crop: np.ndarray
    box: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True)
class Embedded:
    """A face in a file.

    Attributes:
      path: of the file.
      sha256: of its bytes.
      box: the face's, as in `Found`.
      vector: unit vector float32 [D].
    """

    path: Path
    sha256: str
    box: tuple[int, ...] | None
    vector: np.ndarray


class Embedder:
    """An encoder, ready for files. Raises `UserError` where its parameters cannot be had."""

    def __init__(
        self,
        encoder: FaceEncoder,
        cut: Cut,
        batch_size: int,
        find: Callable[[np.ndarray], list[Found]] | None = None,
    ):
        """`find` gives all faces of a file that are meant, raising as `cut`; by default the one that `cut` gives."""
        self.encoder, self._cut, self._batch_size = encoder, cut, batch_size
        self._find = find or (lambda pixels: [Found(cut(pixels), None)])
        self._run = create_runner(
            lambda params, batch: encoder.embed(params, batch["image"].astype("float32") / 255),
            encoder.load(),
            parallel.create({"data": -1, "fsdp": 1}),
            batch_size,
        )

    def files(
        self, paths: Sequence[Path], on_failure: Callable[[Path, str], None], advance: Callable[[], None]
    ) -> Iterator[list[Embedded]]:
        """Yields the files' faces, a batch at a time, in order; those of one file may be in two batches.

        Args:
          paths: the files.
          on_failure: called with the path and one sentence for each file that gave no face; the rest goes on.
          advance: called once for every file; for those that gave a face when the caller asks for the batch after.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:

            def crops() -> Iterator[tuple[Path, str, Found, bool]]:
                for path, future in submit_ahead(pool, self._read, paths, 2 * self._batch_size):
                    read = None
                    with reported(lambda sentence, path=path: on_failure(path, sentence)):
                        read = future.result()
                    if read is None:
                        advance()
                        continue
                    digest, faces = read
                    for number, face in enumerate(faces, 1):
                        yield path, digest, face, number == len(faces)

            found = crops()
            while batch := list(itertools.islice(found, self._batch_size)):
                vectors = self._run({"image": np.stack([face.crop for _, _, face, _ in batch])})
                yield [
                    Embedded(path, digest, face.box, vector)
                    for (path, digest, face, _), vector in zip(batch, vectors, strict=True)
                ]
                for *_, is_last in batch:  # what is counted is what the caller is done with
                    if is_last:
                        advance()

    def pixels(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the unit vectors [N, D] of faces, each RGB uint8 [H, W, 3] of any size."""
        crops = [self._cut(face) for face in faces]
        parts = [crops[start : start + self._batch_size] for start in range(0, len(crops), self._batch_size)]
        return np.concatenate([self._run({"image": np.stack(part)}) for part in parts])

    def _read(self, path: Path) -> tuple[str, list[Found]]:
        encoded = images.read_bytes(path)  # once: what is hashed is what is embedded, whoever replaces the file
        photograph = images.decode(path, encoded)
        try:
            faces = self._find(images.to_srgb8(photograph))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        return hashlib.sha256(encoded).hexdigest(), faces


def photographed(detect: Detect, size: int, *, largest: bool) -> Cut:
    """Finds the face, and cuts it out as FFHQ frames faces; `largest` says to take that one of several.

    Where a cropped face fills an image so closely that the detector does not see it, it is shown with a margin.
    """
    find = every_face(detect, size)

    def cut(pixels: np.ndarray) -> np.ndarray:
        faces = find(pixels)
        if len(faces) > 1 and not largest:
            raise ValueError(f"{len(faces)} faces are in it and one is meant; crop it to that, or pass --largest")
        return faces[0].crop

    return cut


def every_face(detect: Detect, size: int) -> Callable[[np.ndarray], list[Found]]:
    """As `photographed`, for all faces, the largest first; raises ValueError where there is none."""

    def find(pixels: np.ndarray) -> list[Found]:
        faces = detect(pixels) or _detect_with_margin(detect, pixels)
        if not faces:
            raise ValueError("no face is found in it; if it is a cropped face already, pass --aligned")
        return [
            Found(alignment.align(face.points, size).crop(pixels), tuple(map(int, face.box.round()))) for face in faces
        ]

    return find


def _detect_with_margin(detect: Detect, pixels: np.ndarray) -> list[Face]:
    height, width = pixels.shape[:2]
    margin = max(height, width) // 3
    shown = cv2.copyMakeBorder(pixels, *[margin] * 4, cv2.BORDER_REPLICATE)
    return [face.moved(np.array([[1.0, 0, -margin], [0, 1.0, -margin]])) for face in detect(shown)]


def whole(size: int) -> Cut:
    """Takes each image for a crop already, and stretches it to `size` x `size`: see docs/recognition.md, framing."""

    def cut(pixels: np.ndarray) -> np.ndarray:
        shrinks = max(pixels.shape[:2]) > size
        return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)

    return cut
