"""Work done in threads ahead of those who wait for it, and never more of it than memory should hold."""

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_PATIENCE = 0.5  # seconds after an interrupt


@contextlib.contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Yields a pool of threads that is done with all its work afterwards; after an error it begins no more of it.

    An interrupt does not wait for what is under way either.
    """
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
        pool.shutdown()
    except BaseException as error:
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise


def submit_ahead(
    pool: ThreadPoolExecutor,
    function: Callable,
    items: Iterable[Item],
    ahead: int,
    weigh: Callable[[Item], float] = lambda item: 0,
    most: float = 0,
) -> Iterator[tuple[Item, Future]]:
    """Yields each item with the future of `function(item)`, in order.

    At most `ahead` are under way or done and not taken, and no more than weigh `most` together, or one.
    """
    queue: collections.deque[tuple[Item, Future, float]] = collections.deque()
    load = 0.0
    for item in items:
        weight = weigh(item)
        while queue and (len(queue) >= ahead or load + weight > most):
            first, future, taken = queue.popleft()
            load -= taken
            yield first, future
        queue.append((item, pool.submit(function, item), weight))
        load += weight
    for item, future, _ in queue:
        yield item, future


class Behind:
    """Work in threads whose results nobody waits for until there is too much of it: results being written."""

    def __init__(self, pool: ThreadPoolExecutor, settle: Callable[[Future], None], ahead: int, most: float):
        """Makes one that lets `settle` look at each future, in order, before it exceeds `ahead` or weighs `most`."""
        self._pool, self._settle, self._ahead, self._most = pool, settle, ahead, most
        self._queue: collections.deque[tuple[Future, float]] = collections.deque()
        self._load = 0.0

    def submit(self, weight: float, function: Callable, *arguments: object) -> None:
        """Begins `function(*arguments)`, after what is needed of the former work is done."""
        while self._queue and (len(self._queue) >= self._ahead or self._load + weight > self._most):
            self._finish_first()
        self._queue.append((self._pool.submit(function, *arguments), weight))
        self._load += weight
        while self._queue and self._queue[0][0].done():  # so that progress and failures show early
            self._finish_first()

    def close(self) -> None:
        """Waits for all that is left."""
        while self._queue:
            self._finish_first()

    def give_up(self) -> None:
        """Begins nothing more, and lets `settle` look at what is done, or is within half a second."""
        left = [future for future, _ in self._queue if not future.cancel()]
        self._queue.clear()
        done = futures.wait(left, _PATIENCE).done
        for future in left:
            if future in done:
                self._settle(future)

    def _finish_first(self) -> None:
        future, weight = self._queue[0]
        futures.wait([future])  # an interrupt here leaves it to `give_up`
        self._queue.popleft()
        self._load -= weight
        self._settle(future)


@contextlib.contextmanager
def behind(pool: ThreadPoolExecutor, settle: Callable[[Future], None], ahead: int, most: float = 0) -> Iterator[Behind]:
    """Yields a `Behind` of these arguments that is closed afterwards.

    After an interrupt it gives up, so that `settle` has seen what was done by then.
    """
    work = Behind(pool, settle, ahead, most)
    try:
        yield work
        work.close()
    except KeyboardInterrupt:
        work.give_up()
        raise
