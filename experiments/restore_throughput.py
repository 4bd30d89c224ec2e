"""Measures `faceflax restore` on a folder of photographs against one photograph at a time.

python -m experiments.restore_throughput [--model=MODEL]

MODEL is what `faceflax restore --model` takes; by default the `cnn` of the package. The photographs are 640x480, with
one to three synthetic faces each. Three ways are timed: one command for the folder, a command for each photograph,
and one process that is loaded already and restores one photograph after the other, a face at a time. The first two
include starting Python, reading the model and the compiled program; run it twice, so that the second run finds the
program compiled. Of the folder's command it also prints the seconds from its start to the first result, and the most
memory that it took; of all the processor's seconds for a face, by which one sees what a machine with nothing else to
do could reach.
"""

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from experiments import program
from faceflax.datasets import registry, stream
from faceflax.preprocessing.images import Photograph, write
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import photographs, restorers, subjects

_MODEL = flags.DEFINE_string("model", "cnn", "A model's name, its workdir or an exported file.")
_COUNT = flags.DEFINE_integer("photographs", 100, "How many photographs the folder holds.")
_ALONE = flags.DEFINE_integer("alone", 10, "Of how many a command each is timed; their mean counts for all.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Faces restored at once for the folder.")
_COMMAND = (sys.executable, "-c", "from faceflax.cli import main; main()", "restore")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds, the faces that were restored in them, and the processor's seconds, user and system together."""

    seconds: float
    faces: int
    processor: float

    @property
    def rate(self) -> float:
        """Faces a second."""
        return self.faces / self.seconds

    def __str__(self) -> str:
        return f"{self.rate:.2f} faces/s, {self.processor / self.faces:.2f} processor seconds a face"


def main() -> None:
    """Prints one line for each way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _make_photographs(folder / "in", _COUNT.value)
        together, first = _folder(folder / "in", folder / "together")
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        apart = _commands(files[: _ALONE.value], folder / "apart")
        inside = _one_process(files, folder / "inside")
    print(
        f"one command for {len(files)} photographs: {together}, {together.faces} faces in "
        f"{together.seconds:.1f} s, the first photograph after {first:.1f} s, at most {memory:.0f} MB of memory"
    )
    for text, timing in (("a command for each photograph", apart), ("one loaded process, a face at a time", inside)):
        print(f"{text}: {timing}; the folder is {together.rate / timing.rate:.1f} times as fast")


def _make_photographs(folder: Path, count: int) -> list[Path]:
    source = registry.load("mini_faces", "test")
    faces = next(stream.eval_stream(source, image_size=128, batch_size=60))["image"]
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        coarse = rng.integers(60, 200, (6, 8, 3)).astype(np.uint8)
        picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        for place in range(1 + number % 3):
            side = int(rng.integers(90, 190))
            face = cv2.resize(faces[rng.integers(len(faces))], (side, side), interpolation=cv2.INTER_AREA)
            x, y = 10 + 210 * place, int(rng.integers(10, 460 - side))
            noisy = face + rng.normal(0, 25, face.shape)
            picture[y : y + side, x : x + side] = np.clip(noisy, 0, 255).astype(np.uint8)
        files.append(folder / f"{number:04d}.png")
        write(files[-1], Photograph(picture, None))
    return files


def _folder(inputs: Path, out: Path) -> tuple[Timing, float]:
    """The timing of one command for all, and the seconds until its first photograph was there."""
    start, before = time.perf_counter(), _processor_of_children()
    seen: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not seen and not ended.is_set():
            if any(out.glob("[0-9]*.png")):
                seen.append(time.perf_counter() - start)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _restore(inputs, out, _BATCH.value)
    finally:
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    return Timing(seconds, _count_faces(out), _processor_of_children() - before), seen[0] if seen else seconds


def _commands(files: list[Path], out: Path) -> Timing:
    start, before = time.perf_counter(), _processor_of_children()
    for file in files:
        _restore(file, out, 1)
    return Timing(time.perf_counter() - start, _count_faces(out), _processor_of_children() - before)


def _processor_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _restore(inputs: Path, out: Path, batch_size: int) -> None:
    options = ["--out", str(out), "--model", _MODEL.value, "--batch-size", str(batch_size)]
    subprocess.run([*_COMMAND, str(inputs), *options], check=True, stdout=subprocess.DEVNULL)


def _one_process(files: list[Path], out: Path) -> Timing:
    restorer, locate = restorers.load(_MODEL.value, None, 1), subjects.load_locator()
    jobs = [Job(file, out / file.name, None) for file in files]

    def restore(job: Job) -> int:
        return photographs.restore_files(
            [job],
            restorer,
            locate,
            batch_size=1,
            options=photographs.Options(),
            on_failure=print,
            advance=lambda: None,
        )[1]

    restore(jobs[0])  # compiles
    start, before = time.perf_counter(), time.process_time()
    faces = sum(map(restore, jobs))
    return Timing(time.perf_counter() - start, faces, time.process_time() - before)


def _count_faces(out: Path) -> int:
    reports = (json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*.json"))
    return sum(face["restored"] for report in reports for face in report["faces"])


if __name__ == "__main__":
    program.run(main)
