"""What all tests share: a cache of their own, and devices that are only the CPU's."""

import os
import tempfile

# Before jax is imported by any test. The cache is shared by pytest's workers and the processes that tests start, and
# ends with the session.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="faceflax-tests-")
    os.environ["FACEFLAX_CACHE"] = _CACHE.name
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{_CACHE.name}/compiled"
# Tests compile much and compute little; with this XLA compiles in about half the time.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
os.environ["WANDB_MODE"] = "disabled"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
