"""Whether a restored face still passes for the same person: verification at a fixed rate of false acceptance."""

import numpy as np

FALSE_ACCEPTANCE_RATES = (1e-2, 1e-3)
"""The rates that tables show."""


def verification(clean: np.ndarray, restored: np.ndarray, far: float, person: np.ndarray | None = None) -> np.ndarray:
    """Returns which restored images are accepted as their own at the false acceptance rate `far`: 1 or 0, [N].

    The mean is the true acceptance rate. `clean` and `restored` are unit vectors [N, D].

    Each clean image is compared with each restored one by the cosine. Pairs of one image are genuine, N; all others,
    N * (N - 1), are impostors, but for those of two images of one `person` [N], which are not compared; without that no
    two images may show the same person. Accepted is what scores above a threshold: with floor(far * impostors) allowed
    to pass, the score of the next best impostor. Scores are not interpolated. With the degraded images for `restored`
    this is the rate before restoration.

    All NaN where not one impostor may pass, since so low a rate cannot be told from 0: at 1e-3 with less than 33
    images. Raises `ValueError` when the sets' shapes differ.
    """
    if clean.shape != restored.shape:
        raise ValueError(f"vectors of {clean.shape} and {restored.shape} are not those of the same images")
    cosines = np.asarray(clean, np.float64) @ np.asarray(restored, np.float64).T
    own = np.eye(len(cosines), dtype=bool)
    others = ~own if person is None else person[:, None] != person
    genuine, impostors = cosines[own], np.sort(cosines[others])
    accepted = int(far * len(impostors) + 1e-9)  # 0.01 * 100 must not come to 0.99...
    if not accepted:
        return np.full(len(cosines), np.nan)
    return (genuine > impostors[-accepted - 1]).astype(np.float64)
