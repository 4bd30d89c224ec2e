"""What devices send each other in a step, read from the compiled program."""

import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_OPERATION = re.compile(rf" = (?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\(")
_ARRAY = re.compile(r"(?P<letter>[a-z]+)(?P<bits>\d*)(?:e\d+m\d+\w*)?\[(?P<sides>[\d,]*)\]")


class Traffic(NamedTuple):
    """Collective operations of one kind: how many, and the bytes of their results on one device."""

    count: int
    result_bytes: int


def count(program: str) -> dict[str, Traffic]:
    """Returns the collectives of an HLO `program` by kind, those that occur; what a loop repeats counts once."""
    found: dict[str, Traffic] = {}
    for match in _OPERATION.finditer(program):
        arrays = [_bytes(array) for array in _ARRAY.finditer(match["result"])]
        if match["start"] and match["kind"] != "all-reduce":  # gives what was sent, then what came of it
            arrays = arrays[len(arrays) // 2 :]
        before = found.get(match["kind"], Traffic(0, 0))
        found[match["kind"]] = Traffic(before.count + 1, before.result_bytes + sum(arrays))
    return found


def _bytes(array: re.Match) -> int:
    size = 1
    for side in filter(None, array["sides"].split(",")):
        size *= int(side)
    return size * int(array["bits"] or 8) // 8  # "pred" has a byte
