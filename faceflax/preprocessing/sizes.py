"""How large an image file says that its image is, for those who ask before they decode it."""

from pathlib import Path

from faceflax.preprocessing import headers, pillow

MAX_BYTES = 10**9  # of a file; 100 million pixels of 16 bits, with alpha and not compressed, take 0.8 of it
_FIRST_BYTES = 1 << 18  # enough for most headers


def claimed(path: Path) -> tuple[int, int]:
    """Returns (width, height) in pixels of an image file of any kind that `images.read` takes, by its header.

    Most files are read up to there; those whose header lies behind metadata or at the end are read whole. Raises
    `OSError` where the file cannot be read, and `ValueError` with what is wrong where it does not say.
    """
    with path.open("rb") as file:
        encoded = file.read(_FIRST_BYTES)
        if not pillow.needs_pillow(encoded):
            try:
                return headers.size(encoded)
            except ValueError:
                if not headers.is_known(encoded):
                    raise
        encoded += file.read(MAX_BYTES)
    return pillow.size(encoded) if pillow.needs_pillow(encoded) else headers.size(encoded)
