"""What a browser sends: how much of it is kept, and which files it names."""

import collections
from typing import Any

MOST_FILES = 6  # in one request: a photograph, and of the editor its background, its one layer and both together
_MOST_PAINTED = 16  # paintings that the browser sent and did not use yet; each is a few pictures in memory


class Newest(collections.OrderedDict):
    """What browsers send of their paintings before they press a button; Gradio keeps it until then, or for ever."""

    def __setitem__(self, key: str, value: object) -> None:
        super().__setitem__(key, value)
        while len(self) > _MOST_PAINTED:
            self.popitem(last=False)


def names_url(value: Any) -> bool:
    """Whether JSON holds a file that is named by a URL; "url", which Gradio's own pages send along, is not followed."""
    if isinstance(value, dict):
        path = value.get("path")
        return isinstance(path, str) and "://" in path or any(map(names_url, value.values()))
    return isinstance(value, list) and any(map(names_url, value))


def count_files(value: Any) -> int:
    """How many files JSON names, each of which Gradio would decode into memory, all at once."""
    if isinstance(value, dict):
        return isinstance(value.get("path"), str) + sum(map(count_files, value.values()))
    return sum(map(count_files, value)) if isinstance(value, list) else 0
