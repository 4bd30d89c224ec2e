"""Clean faces to degraded faces, inside jit: nine tasks at several severities, and a random mixture of them."""

from faceflax.degradations.batch import degrade, degrade_for_evaluation, degrade_some, drawn, is_drawn
from faceflax.degradations.tasks import OCCLUDING, TASKS, Task, flatten, parse

__all__ = [
    "OCCLUDING",
    "TASKS",
    "Task",
    "degrade",
    "degrade_for_evaluation",
    "degrade_some",
    "drawn",
    "flatten",
    "is_drawn",
    "parse",
]
