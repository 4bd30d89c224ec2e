"""What `faceflax serve` does."""

import argparse
import importlib.util
import ipaddress
import os
import re
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

import cv2
from absl import logging

from faceflax.errors import UserError
from faceflax.restoration import subjects
from faceflax.serving import gate, limits
from faceflax.serving.limits import Limits
from faceflax.serving.restoring import Models
from faceflax.training import runtime

_KEPT = 1800.0  # seconds that pictures are kept
_EVERY = 60.0


def run(arguments: argparse.Namespace) -> int:
    """Serves the page until it is stopped by a signal; returns 0.

    Raises `UserError` when there is no model, no detector, or the address cannot be used.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio; install it with pip install 'faceflax[serve]'")
    allowed = Limits(arguments.max_megabytes, arguments.max_megapixels, arguments.per_minute, arguments.queue)
    if not all(limit > 0 for limit in vars(allowed).values()):  # what is no number is none of them either
        raise UserError("a limit of 0 or less lets nobody in; give numbers over 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what is left behind is removed then too
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own words on damaged files follow
    logging.set_verbosity(logging.ERROR)  # orbax tells of its every step otherwise
    further = _checked(arguments.allow_host or [])
    runtime.start()
    listener = _listen(arguments.host, arguments.port)
    with listener, tempfile.TemporaryDirectory(prefix="faceflax-serve-") as folder:
        models = Models(arguments.model or [])
        locate = None if arguments.aligned else subjects.load_locator()
        _keep_gradio_at_home(Path(folder))
        from faceflax.serving import page  # only now, as Gradio reads its settings when it is imported

        names = _names(arguments.host, listener, further)
        app = page.create_app(page.Site(models, locate, Path(folder), allowed, names))
        _serve(app, listener, Path(folder))
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; raises `UserError` where that is not possible."""
    if not 0 <= port <= 65535:  # which getaddrinfo takes the remainder of
        raise UserError(f"{port} is no port; choose another --port, 1 to 65535, or 0 for any that is free")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot serve at {host}:{port}: {reason}; choose another --host or --port") from error
    if not _is_loopback(listener):
        print(f"everyone who can reach {host} can use this page; it asks for no password", file=sys.stderr)
    return listener


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _names(host: str, listener: socket.socket, further: list[str]) -> frozenset[str] | None:
    """By which names browsers may ask for the page: any, None, where it is open to others and no `further` is given."""
    if not further and not _is_loopback(listener):
        return None
    return gate.LOOPBACK | {_spelt(name) for name in (host, listener.getsockname()[0], *further)}


def _checked(names: list[str]) -> list[str]:
    for name in names:
        if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", _spelt(name)):
            raise UserError(f'--allow-host "{name}" is no name; give it without scheme and port, as faces.example')
    return names


def _spelt(name: str) -> str:
    """A name or an address as browsers say it."""
    try:
        return f"[{ipaddress.IPv6Address(name.strip('[]'))}]"
    except ValueError:
        return name.lower()


def _keep_gradio_at_home(folder: Path) -> None:
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def _serve(app: object, listener: socket.socket, folder: Path) -> None:
    import uvicorn

    stopped = threading.Event()

    def clean() -> None:
        while not stopped.wait(_EVERY):
            limits.sweep(folder, _KEPT)

    threading.Thread(target=clean, daemon=True).start()
    listener.listen()  # who comes at once waits, and is not turned away
    host, port = listener.getsockname()[:2]
    print(f"serving at http://{f'[{host}]' if ':' in host else host}:{port}/; stop it with Ctrl-C", flush=True)
    try:
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)).run([listener])
    finally:
        stopped.set()
