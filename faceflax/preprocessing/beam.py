"""The chain as a step of an Apache Beam pipeline, for collections that outgrow one machine (`faceflax[beam]`)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import cv2

from faceflax.errors import UserError
from faceflax.preprocessing import console, images
from faceflax.preprocessing.chain import Settings, load_chain
from faceflax.preprocessing.normalising import NO_FACE

FACES, FAILURES = "faces", "failures"
"""Tags of the step's two outputs."""


class Normalise(beam.PTransform):
    """Paths below a folder, as bytes -> faces as (key, example), and failures as (path, sentence).

    An example has `image`, a PNG, RGB [size, size, 3], `name`, the path with "+2" and so on for further faces, and
    `record`, the JSON of what was measured and done. The outputs are tagged `FACES` and `FAILURES`.
    """

    def __init__(self, folder: Path, settings: Settings):
        super().__init__()
        self._folder, self._settings = str(folder), settings

    def expand(self, paths: beam.PCollection) -> Any:
        """Applies the step."""
        step = beam.ParDo(_NormaliseFile(self._folder, self._settings))
        return paths | step.with_outputs(FAILURES, main=FACES)


class _NormaliseFile(beam.DoFn):
    def __init__(self, folder: str, settings: Settings):
        self._folder, self._settings, self._chain = folder, settings, None

    def setup(self) -> None:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._chain = load_chain(self._settings)

    def process(self, path: bytes) -> Iterator[Any]:
        shown = path.decode(errors="replace")
        try:
            with console.told_of(shown):
                photograph = images.read(Path(self._folder, os.fsdecode(path)))
                found = self._chain(images.to_srgb8(photograph))
        except UserError as error:
            yield beam.pvalue.TaggedOutput(FAILURES, (shown, os.fsencode(str(error)).decode(errors="replace")))
            return
        kept = [face for face in found if face.pixels is not None]
        if not kept:
            reason = found[0].reason if found else NO_FACE
            yield beam.pvalue.TaggedOutput(FAILURES, (shown, f"{shown}: {reason}"))
        for number, face in enumerate(kept, 1):
            name = shown if number == 1 else f"{shown}+{number}"
            png = cv2.imencode(".png", face.pixels[..., ::-1])[1].tobytes()
            yield name, {"image": png, "name": name, "record": json.dumps(face.record)}
