"""The evaluation that training asks for now and then: few numbers and a picture, without classical methods."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from faceflax.evaluation import grid
from faceflax.evaluation.measure import Restore
from faceflax.evaluation.results import TaskResult
from faceflax.evaluation.runner import Evaluator
from faceflax.training import parallel


def create(
    restore: Restore, source: Sequence, config: ConfigDict
) -> Callable[[Any], tuple[dict[str, float], np.ndarray]]:
    """Returns `validate(params) -> (metrics, picture)` on `config.eval.tasks` and the images of `source`.

    Args:
      restore: `(params, degraded, mask) -> restored`; `params` may be sharded over the mesh of `config.parallel`.
      source: the validation split; its first `config.eval.max_images` images are used.
      config: the experiment.

    Metrics are the model's, over all images of all tasks: those of `means`. The picture is uint8 RGB [H, W, 3], one
    row a task. Raises `UserError` for a task that does not exist.
    """
    devices = parallel.create(config.parallel.mesh)
    evaluator = Evaluator(restore, source, config, devices, baselines=False)

    def validate(params: Any) -> tuple[dict[str, float], np.ndarray]:
        results = evaluator(params)
        return means(results), grid.draw(results)

    return validate


def means(results: Sequence[TaskResult]) -> dict[str, float]:
    """Returns the model's mean `psnr` and `ssim` over all images of all tasks, `hole_psnr` over those with holes."""
    found = {}
    for metric in ("psnr", "ssim", "hole_psnr"):
        values = np.concatenate([result.scores["model"][metric] for result in results])
        if not np.isnan(values).all():
            found[metric] = float(np.nanmean(values))
    return found
