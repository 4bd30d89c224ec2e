"""Between two networks: their weights interpolated (network interpolation, Wang et al., ESRGAN, ECCVW 2018, eq. 12)."""

from typing import Any

import jax
import numpy as np

from faceflax.errors import UserError


def interpolate(cnn_params: Any, gan_params: Any, fidelity: float) -> Any:
    """Returns `fidelity * cnn_params + (1 - fidelity) * gan_params`, leaf by leaf.

    Args:
      cnn_params: what fidelity 1 gives: closest to the original in pixels.
      gan_params: what fidelity 0 gives: most like a photograph. It must have been trained from `cnn_params` (or from
        what these were trained from): between networks that were trained apart there is nothing of use.
      fidelity: 0 to 1.

    Raises:
      UserError: `fidelity` lies outside of 0 to 1, or the two are not of one architecture.
    """
    if not 0 <= fidelity <= 1:
        raise UserError(f"fidelity is {fidelity}; it must be between 0 and 1")
    check_pair(cnn_params, gan_params)
    if fidelity in (0, 1):  # exactly, whatever rounding would do
        return cnn_params if fidelity == 1 else gan_params
    return jax.tree.map(lambda cnn, gan: fidelity * cnn + (1 - fidelity) * gan, cnn_params, gan_params)


def check_pair(cnn_params: Any, gan_params: Any) -> None:
    """Raises `UserError` unless the two, trees of anything that has a shape, are of one architecture."""
    if jax.tree.map(np.shape, cnn_params) != jax.tree.map(np.shape, gan_params):
        raise UserError("the two networks have different parameters; only networks of one config.model interpolate")
