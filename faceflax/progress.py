"""How a program shows that it is getting on."""

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress


def progress_bar(*, active: bool = True) -> Progress:
    """Returns a display for bars on a terminal's stderr; it shows nothing elsewhere, nor when it is not `active`."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    return Progress(*columns, console=console, disable=not (active and console.is_terminal))
