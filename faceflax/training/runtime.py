"""How a program begins: what must be said to JAX before it touches a device."""

import os

import jax

from faceflax import assets
from faceflax.training import cluster


def start(simulated_cpus: int = 0) -> None:
    """Keeps compiled programs between runs, and joins the other processes of a run. Call it once, first of all.

    With `simulated_cpus` a CPU counts as so many devices, where the devices are CPUs.
    """
    if simulated_cpus:
        jax.config.update("jax_num_cpu_devices", simulated_cpus)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(assets.cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    cluster.initialize_distributed()
