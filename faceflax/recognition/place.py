"""The folder of an embedded gallery: its owner's alone from the first moment, and taken away where it stayed empty."""

import shutil
from pathlib import Path

from faceflax.errors import UserError


def make(folder: Path) -> None:
    """Makes it, or closes the empty one that is there to others; raises `UserError` where it cannot be made."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)  # born with these permissions: whatever the umask, no moment without
        folder.chmod(0o700)  # an empty folder that was there
    except OSError as error:
        raise UserError(f"cannot make the gallery {folder}: {error.strerror}; choose another place") from error


def close_to_others(uri: str, folder: Path) -> None:
    """Makes sure that its owner alone can look into it; raises `UserError` where it is open and cannot be closed."""
    try:
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise UserError(
            f"others can look into the gallery {uri}, and it cannot be closed to them: {error.strerror}; let its owner "
            "do so with chmod 700, or move it"
        ) from error


def remove(folder: Path, *, keeps_itself: bool) -> None:
    """Removes what the engine has put into the folder, and the folder unless it is to stay."""
    for path in list(folder.iterdir()) if keeps_itself else [folder]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
