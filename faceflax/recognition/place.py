"""Where a gallery is: how its place may be written, and an embedded one's folder, which is its owner's alone."""

import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from faceflax.errors import UserError

TOKEN = "FACEFLAX_GALLERY_TOKEN"
"""The environment variable with the server's token, "user:password" or an API key."""

LAYOUT = "collections"  # what the embedded database makes in its folder
_ADDRESS = re.compile(r"[^/]*(@|:\d+(/|$))")  # host:port, user:password@host


def check(uri: str, *, create: bool = False) -> None:
    """Raises `UserError` as `store.connect`, for what can be told without the database's slow libraries."""
    if "://" in uri:
        _check_address(uri)
        return
    if _ADDRESS.match(uri):
        raise UserError(
            "--gallery looks like a server's address without its beginning: write http://host:port, without user or "
            "password, or ./NAME for a file of that name"
        )
    folder = Path(uri)
    try:
        if (folder / LAYOUT).is_dir():
            return
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UserError(f"{folder} is no gallery; choose another --gallery")
    except OSError as error:
        raise unopened(uri, error) from error
    if not create:
        raise UserError(f"there is no gallery {folder}; faceflax enroll --gallery {folder} makes one")


def _check_address(uri: str) -> None:
    """Raises `UserError` for what is no plain address of a server, without repeating what may be a secret."""
    if any(mark in uri for mark in "@?#"):  # before it is taken apart: what cannot be may hold a secret as well
        raise UserError(
            "--gallery holds more than an address: leave out user, password, query and fragment, which others can see "
            f"on the command line, and put the token into ${TOKEN}"
        )
    try:
        address = urlsplit(uri)
        is_server = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:  # brackets that hold no address, a port that is no number
        is_server = False
    if not is_server:
        raise UserError(f"--gallery {uri} is no address of a server; write http://host:port or a file's name")


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


def unopened(uri: str, error: OSError) -> UserError:
    """Says that an embedded gallery cannot be opened."""
    reason = error.strerror or one_line(str(error))
    return UserError(f"the gallery {uri} cannot be opened: {reason}; its folder and files must be yours, and writable")


def one_line(text: str) -> str:
    """What a library says, as the end of a sentence."""
    return " ".join(str(text).split())[:300]
