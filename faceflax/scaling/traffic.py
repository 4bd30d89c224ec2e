"""What devices send each other in a step, read from the compiled program."""

import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_OPERATION = re.compile(rf" = (?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\((?P<rest>.*)")
_ARRAY = re.compile(r"(?P<letter>[a-z]+)(?P<bits>\d*)(?:e\d+m\d+\w*)?\[(?P<sides>[\d,]*)\]")
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_COUNTED = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")
_DEVICES = re.compile(r"(?:replica_count|num_partitions)=(\d+)")


class Traffic(NamedTuple):
    """Collective operations of one kind: how many, and the bytes that one device sends for them in rings."""

    count: int
    sent_bytes: float


def count(program: str) -> dict[str, Traffic]:
    """Returns the collectives of an HLO `program` by kind, those that occur; what a loop repeats counts once.

    Where n devices do it together each sends, of the bytes of the result, 2 (n-1)/n in an all-reduce, (n-1)/n in an
    all-gather or all-to-all, n-1 times as many in a reduce-scatter, and all in a permutation.
    """
    devices = math.prod(map(int, _DEVICES.findall(program.partition("\n")[0])))
    found: dict[str, Traffic] = {}
    for match in _OPERATION.finditer(program):
        kind, group = match["kind"], _group_size(match["rest"], devices)
        before = found.get(kind, Traffic(0, 0.0))
        found[kind] = Traffic(before.count + 1, before.sent_bytes + _share_sent(kind, group) * _result_bytes(match))
    return found


def _group_size(attributes: str, devices: int) -> int:
    """How many devices an operation joins; an empty list of groups means all."""
    if listed := _LISTED.search(attributes):
        return len(listed[1].split(","))
    counted = _COUNTED.search(attributes)
    return int(counted[1]) if counted else devices


def _share_sent(kind: str, group: int) -> float:
    others = (group - 1) / group
    shares = {"all-reduce": 2 * others, "reduce-scatter": group - 1.0, "collective-permute": 1.0}
    return shares.get(kind, others)


def _result_bytes(match: re.Match) -> int:
    arrays = list(_ARRAY.finditer(match["result"]))
    if match["start"] and match["kind"] != "all-reduce":  # gives what was sent, what came of it, and perhaps two marks
        if len(arrays) > 2 and all(array[0] == "u32[]" for array in arrays[-2:]):
            arrays = arrays[:-2]
        arrays = arrays[len(arrays) // 2 :]
    return sum(map(_bytes, arrays))


def _bytes(array: re.Match) -> int:
    size = math.prod(int(side) for side in filter(None, array["sides"].split(",")))
    return size * int(array["bits"] or 8) // 8  # "pred" has a byte
