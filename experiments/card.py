"""Writes the card of a shipped model: python -m experiments.card --model=cnn --folder=runs/faces.

FOLDER is the one that the model was trained from, as a dataset (`face_folder`): synthetic faces that no training saw
in its `test` split, photographs of people in its `validation` split. Writes docs/models/NAME.md and NAME.jpg, which
shows synthetic faces alone.
"""

from pathlib import Path

from absl import flags

from experiments import program

_MODEL = flags.DEFINE_string("model", "cnn", "A model of `faceflax models`.")
_FOLDER = flags.DEFINE_string("folder", "runs/faces", "The folder of faces.")
_FACES = flags.DEFINE_integer("faces", 96, "How many faces of each split are used, the first; 0: all.", 0)
_OUT = flags.DEFINE_string("out", "docs/models", "Where the card goes.")
_SETS = {"Synthetic faces": "test", "Photographs of people": "validation"}


def main() -> None:
    """Writes the card by the flags."""
    import cv2
    import jax
    import numpy as np

    from faceflax import models
    from faceflax.datasets import images, registry, stream
    from faceflax.evaluation import card, grid
    from faceflax.evaluation.measure import create_step
    from faceflax.evaluation.runner import Evaluator
    from faceflax.files import atomic_path, write_text
    from faceflax.models import shipped
    from faceflax.progress import progress_bar
    from faceflax.training import parallel, runtime, trained

    runtime.start()
    manifest = shipped.manifest(_MODEL.value)
    config, params, _ = trained.load_restorer(_MODEL.value)
    config.eval.tasks, config.eval.max_images = ("mixed",), _FACES.value
    devices = parallel.create({"data": -1, "fsdp": 1})
    params, results = devices.replicate(params), {}
    sources = {title: registry.load("face_folder", split, folder=_FOLDER.value) for title, split in _SETS.items()}
    apply = models.create(config.model).apply
    for title, source in sources.items():
        evaluator = Evaluator(apply, source, config, devices, baselines=True)
        with progress_bar() as progress:
            bar = progress.add_task(title, total=stream.num_images(source, _FACES.value) * len(evaluator.tasks))
            results[title] = evaluator(params, lambda count, bar=bar: progress.advance(bar, count))
    synthetic, measured = next(iter(sources.values())), next(iter(results.values()))
    size = config.data.image_size
    count = stream.num_images(synthetic, _FACES.value)
    faces = [images.square(images.decode(synthetic[i]["image"]), size) for i in range(count)]
    skin = np.array([card.typology_angle(face) for face in faces])
    tasks, places = zip(*card.worst(measured), strict=True)
    step = devices.compile_batched(create_step(apply, tasks))
    rows = []
    for number, (task, place) in enumerate(zip(tasks, places, strict=True)):
        batch = {"image": faces[place], "index": np.int32(place), "weight": np.float32(1)}
        batch = {name: np.stack([value] * devices.num_devices) for name, value in batch.items()}
        seen = jax.device_get(step((params, np.int32(number)), devices.shard_batch(batch)))
        rows.append((str(task), [card.person(place, seen)]))
    out = Path(_OUT.value)
    with atomic_path(out / f"{_MODEL.value}.jpg") as path:
        path.write_bytes(cv2.imencode(".jpg", grid.sheet(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
    write_text(out / f"{_MODEL.value}.md", card.write(_MODEL.value, manifest, results, skin))
    print(f"wrote {out / _MODEL.value}.md and .jpg")


if __name__ == "__main__":
    program.run(main)
