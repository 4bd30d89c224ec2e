"""Compares restorers with what people use instead: python -m experiments.comparison --config=configs/comparison.py ...

Measures every method on every task and writes WORKDIR/report/; with --docs=docs the page docs/comparison.md as well.
The same command goes on where it was stopped, from the next method and task. A method whose package is not installed
is listed with the command that installs it.
"""

import importlib.util
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from experiments import program
from faceflax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/comparison.py, fields as --config.x=y.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for what was measured and the report.")
_DOCS = flags.DEFINE_string("docs", "", "Folder that comparison.md and its picture are written to as well.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> None:
    """Compares by the flags."""
    from faceflax.evaluation.comparison import report, runner
    from faceflax.evaluation.tables import to_text
    from faceflax.progress import progress_bar
    from faceflax.training import runtime, workdir

    config, folder = _CONFIG.value, Path(_WORKDIR.value)
    if not _WORKDIR.value:
        raise UserError("--workdir is empty; name a folder")
    if config.eval.batch_size < 1 or config.data.image_size < 32:
        raise UserError("config.eval.batch_size must be at least 1 and config.data.image_size 32")
    runtime.start()
    if "dlib" in config.eval.judges and importlib.util.find_spec("dlib") is None:
        config.eval.judges = tuple(name for name in config.eval.judges if name != "dlib")
        print("dlib, the independent judge of identity, is not installed: pip install 'faceflax[judge]'")
    comparison = runner.Comparison(config)
    with workdir.locked(folder), progress_bar() as progress:
        bar = progress.add_task("comparing", total=comparison.count)
        comparison.measure(folder, lambda count: progress.advance(bar, count))
        results, written = runner.write(comparison, folder, Path(_DOCS.value) if _DOCS.value else None)
    print(to_text(report.overview(results)))
    print(f"wrote {', '.join(path.name for path in written)} to {written[0].parent}")


if __name__ == "__main__":
    program.run(main)
