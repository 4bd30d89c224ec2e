"""Whose turn it is to write to a gallery: one process at a time, on a server as well, where no lock of a file says so.

Turns are numbered. The turn N is the alias faceflax_turnN of a small collection that its holder made for it. A database
gives an alias once, so that of those who want a turn one gets it. The holder counts a number up in its collection, and
makes it `_ENDED` when it is done. Where the number stands still for so many looks of who waits, the holder is taken for
dead, and the next turn begins. No number comes twice: a holder that was only suspended finds that its turn is gone,
never that it takes another's for its own. The last turn stays, ended, until the next.
"""

import contextlib
import dataclasses
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from faceflax.errors import UserError
from faceflax.recognition.store import Store

BEAT = 5.0
"""Seconds from one count of the holder to the next."""

LOOK = 0.5
"""Seconds from one look of who waits to the next."""

SILENCE = 60
"""Looks that find the same count after which the holder is dead. No clock is compared with another machine's, and a
server that stands still for long, so that nobody can count, is one look."""

PATIENCE = 600.0
"""Seconds until who waits gives up."""

_COUNT = "collection.ttl.seconds"  # the one property of a collection that is a number; it does nothing to an empty one
_ENDED = 0
_ALIAS = "faceflax_turn"  # with the number
_NAME = re.compile(rf"{_ALIAS}(\d+)_[0-9a-f]+")


@dataclasses.dataclass(frozen=True)
class Turn:
    """A turn that this process holds; `name` is of its collection, none for an embedded gallery, which it has alone."""

    store: Store
    number: int = 0
    name: str = ""

    @property
    def alias(self) -> str:
        """What shows everybody whose turn it is."""
        return _alias(self.number)

    def is_own(self) -> bool:
        """Whether it is this process' turn still."""
        if not self.name:
            return True
        return _last(self.store) == self.number and _holder(self.store, self.number) == self.name

    def check(self) -> None:
        """Raises `UserError` where it is not: call it before what others must not find done in their turn."""
        if not self.is_own():
            raise UserError(
                f"this process stood still for so long that another has written to {self.store.uri} since; do it again"
            )

    def count(self, number: int) -> None:
        """Shows that the holder lives."""
        self.store.call("alter_collection_properties", self.name, {_COUNT: number})


@contextlib.contextmanager
def take(store: Store, say: Callable[[str], None]) -> Iterator[Turn]:
    """Waits for the gallery's turn, and holds it; says once that it waits.

    Raises `UserError` where others write for longer than `PATIENCE`.
    """
    if store.is_embedded:
        yield Turn(store)
        return
    turn = _wait(store, say)
    is_done = threading.Event()
    beats = threading.Thread(target=_beat, args=(turn, is_done), daemon=True)
    beats.start()
    try:
        yield turn
    except UserError:  # it may be that what it wrote to was dropped in another's turn
        turn.check()
        raise
    finally:
        is_done.set()
        beats.join()
        with contextlib.suppress(UserError):  # a turn that was lost, a server that went away: others wait it out
            turn.count(_ENDED)


def _beat(turn: Turn, is_done: threading.Event) -> None:
    number = 1
    while not is_done.wait(BEAT):
        number += 1
        with contextlib.suppress(UserError):  # the next one may come through
            turn.count(number)


def _wait(store: Store, say: Callable[[str], None]) -> Turn:
    deadline, seen, looks, is_said = time.monotonic() + PATIENCE, None, 0, False
    while True:
        last = _last(store)
        now = (last, _counted(store, last))
        looks = looks + 1 if now == seen else 0
        seen = now
        if not last or now[1] == _ENDED or looks >= SILENCE:
            turn = _claim(store, last + 1)
            if turn:
                return turn
            continue
        if time.monotonic() > deadline:
            raise UserError(f"other processes write to {store.uri} without end; try again when they have ended")
        if not is_said:
            say(f"waiting for another process that writes to {store.uri}")
            is_said = True
        time.sleep(LOOK)


def _claim(store: Store, number: int) -> Turn | None:
    """Returns the turn of this number; None where another process got it, or a later one."""
    turn = Turn(store, number, f"{_alias(number)}_{uuid.uuid4().hex[:12]}")
    try:
        store.create_collection(turn.name, 2, {}, {})
        turn.count(1)
        store.call("create_alias", turn.name, turn.alias)
    except UserError:  # the alias was given, or who got it cleared this collection away
        if _last(store) < number:
            raise
    is_own = turn.is_own()
    for name in store.call("list_collections"):
        match = _NAME.fullmatch(name)
        if (name == turn.name and not is_own) or (is_own and match and name != turn.name and int(match[1]) <= number):
            with contextlib.suppress(UserError):  # another process drops it just now
                store.drop(name)
    return turn if is_own else None


def _alias(number: int) -> str:
    return f"{_ALIAS}{number}"


def _last(store: Store) -> int:
    """The number of the last turn that was taken; 0 before the first."""
    matches = (re.fullmatch(rf"{_ALIAS}(\d+)", alias) for alias in store.call("list_aliases", "")["aliases"])
    return max((int(match[1]) for match in matches if match), default=0)


def _holder(store: Store, number: int) -> str | None:
    """The name of the collection of the turn's holder; None where a later turn has come."""
    try:
        return store.call("describe_alias", _alias(number))["collection_name"]
    except UserError:
        if _last(store) == number:
            raise
        return None


def _counted(store: Store, number: int) -> int | None:
    """What the holder of the turn has counted to; None where that cannot be read."""
    if not number:
        return None
    try:
        return int(store.call("describe_collection", _alias(number))["properties"][_COUNT])
    except (UserError, KeyError, ValueError):
        return None
