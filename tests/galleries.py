"""Galleries for tests: small invented vectors, in an embedded database and behind milvus-lite's server."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from faceflax.models.face_encoder import FaceEncoder
from faceflax.recognition.records import Record

ENCODER = FaceEncoder("invented", "00c0ffee", 16, 32, load=dict, embed=lambda params, images: images)


def unit_vectors(count, size=ENCODER.size, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def record(name, source="0", **changes):
    values = {"encoder": ENCODER.name, "version": ENCODER.version, "sources": (source,), "length": 1.0}
    return Record(**values | {"name": name, "consent": "", "purpose": "", "time": 1_800_000_000} | changes)


@contextlib.contextmanager
def server(folder):
    """Runs milvus-lite's own server on a free port of the loopback; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("milvus-lite")
    command = [program, "server", "--data-dir", folder, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as process:
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port, process):
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the server does not answer")
