"""Times one model in several forms: python -m experiments.export_speed --models=runs/cnn,cnn.onnx,cnn.stablehlo

Each is a workdir or a file of `faceflax export`, all of one size. They take turns; medians are printed as Markdown, in
milliseconds an image, with the range of the rounds. Nothing is written.
"""

import time

from absl import flags

from experiments import program

_MODELS = flags.DEFINE_list("models", None, "Workdirs and exported files, of one size.")
_BATCHES = flags.DEFINE_list("batches", ["1", "8"], "Images restored at once.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Timings of each.", lower_bound=1)
flags.mark_flag_as_required("models")


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    import numpy as np

    from faceflax.evaluation.tables import Table, to_markdown
    from faceflax.restoration import restorers

    rows = []
    for count in map(int, _BATCHES.value):
        loaded = {name: restorers.load(name, None, count) for name in _MODELS.value}
        size = next(iter(loaded.values())).size
        image, mask = np.full((count, size, size, 3), 0.5, np.float32), np.zeros((count, size, size, 1), np.float32)
        times = {name: [] for name in loaded}
        for _ in range(_ROUNDS.value + 1):  # the first compiles
            for name, restorer in loaded.items():
                start = time.perf_counter()
                restorer.restore(image, mask)
                times[name].append(1e3 * (time.perf_counter() - start) / count)
        for name, taken in times.items():
            kept = taken[1:]
            rows.append([name, str(count), f"{np.median(kept):.1f}", f"{min(kept):.1f} to {max(kept):.1f}"])
    header = ["model", "images at once", "ms an image", "range"]
    print(to_markdown(Table(f"Medians of {_ROUNDS.value} rounds that take turns", header, rows)))
    return 0


if __name__ == "__main__":
    program.run(main)
