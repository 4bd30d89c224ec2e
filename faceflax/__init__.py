"""Face reconstruction from degraded photographs, in JAX.

The rooms of the package are imported where they are needed (``from faceflax import degradations``), so that
``import faceflax`` itself costs nothing.
"""

__version__ = "0.1.0"
