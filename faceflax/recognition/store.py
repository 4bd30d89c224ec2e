"""The database behind a gallery: Milvus, embedded in a folder or on a server. The only user of pymilvus.

An embedded gallery is served to this process over a socket that only its owner can open.
"""

import contextlib
import json
import logging
import logging.config
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from faceflax.errors import UserError
from faceflax.recognition import place
from faceflax.recognition.place import LAYOUT, TOKEN, one_line

_ATTEMPTS = 3
_CONNECT_SECONDS = 5
_RESTART_SECONDS = (2, 6)  # between the attempts where a server that was there has gone
_SECONDS = 60
_SLOW_SECONDS = 3600
_PAGE = 8192  # rows; the engine sorts all of them anew for every page
_SLOW = {"create_index", "load_collection", "flush", "compact"}  # they grow with the gallery
_CONNECT_FAILED = 2  # pymilvus's code where it cannot connect again
_READS = {"describe_alias", "describe_collection", "describe_index", "has_collection", "list_aliases"}
_READS |= {"list_collections", "query", "search"}
# A server that went away may have done what it was asked: these may be done twice.
_REPEATABLE = _READS | {"upsert", "flush", "load_collection"}
_LONGEST_PLACE = 70  # bytes: a socket's path has 107, and its folder's name and its own take 33


class UnavailableError(UserError):
    """The database's server cannot be reached, where a refusal is a `UserError` of no further kind."""


class Store:
    """An open database. Calls go through `call`; `close` it, so that the next process can open it.

    Attributes:
      uri: as the user wrote it.
      is_embedded: whether this process alone has it.
      is_lite: whether it is milvus-lite, embedded or a server.
      compacts: whether it has compaction on demand, which milvus-lite has not.
    """

    def __init__(self, uri: str, folder: Path | None, client: Any, close: Callable[[], None]):
        """`folder` is that of an embedded database."""
        self.uri, self.is_embedded, self._folder = uri, folder is not None, folder
        self._client, self._close, self._is_gone = client, close, False
        self.is_lite = "lite" in self.call("get_server_version")
        self.compacts = not self.is_lite

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Calls the client's `method`; raises `UserError` where the database does not answer, or refuses.

        A server that went away is asked again, as often as `connect` asks, for what may be done twice; after that, and
        at once for anything else, it is an `UnavailableError`.
        """
        seconds = _SLOW_SECONDS if method in _SLOW else _SECONDS
        is_asked_again = method in _REPEATABLE and not self.is_embedded and not self._is_gone
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._answering():
                    done = getattr(self._client, method)(*arguments, timeout=seconds, **options)
            except UnavailableError as error:
                if not is_asked_again:
                    raise
                if attempt == _ATTEMPTS:
                    self._is_gone = True  # what is still asked, to end in order, does not wait as long again
                    raise _unanswered(self.uri, attempt) from error
                time.sleep(_RESTART_SECONDS[attempt - 1])
                self._reconnect()
            else:
                self._is_gone = False
                return done
        raise AssertionError

    def _reconnect(self) -> None:
        """Waits for the server for as long as `connect` does once; the next call finds whether it is there."""
        import grpc
        from pymilvus import MilvusException

        with contextlib.suppress(MilvusException, grpc.RpcError):
            client = _client(self.uri, os.environ.get(TOKEN, ""))
            self._client.close()
            self._client = client

    def pages(self, collection: str, condition: str, fields: list[str]) -> Iterator[list[dict]]:
        """Yields all rows that fulfil the condition, some thousands at a time."""
        rows = self.call("query_iterator", collection, batch_size=_PAGE, filter=condition, output_fields=fields)
        try:
            while True:
                with self._answering():
                    page = rows.next()
                if not page:
                    return
                yield page
        finally:
            rows.close()

    def is_whole(self, collection: str) -> bool:
        """Whether no file of an embedded collection is missing: the engine would show one without its list as empty."""
        if self._folder is None:
            return True
        below = self._folder / LAYOUT / collection
        try:
            parts = json.loads((below / "manifest.json").read_text(encoding="utf-8"))["partitions"]
            files = [Path("partitions", name, file) for name, part in parts.items() for file in part["data_files"]]
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return False
        return all((below / file).is_file() for file in files)

    def create_collection(self, name: str, size: int, texts: Mapping[str, int], others: Mapping[str, str]) -> None:
        """Makes an empty collection of vectors [size], keyed by the text `id`.

        `texts` are further fields by name, with their most bytes; `others` by name, with Milvus's name of their type.
        """
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
        for field, length in texts.items():
            schema.add_field(field, DataType.VARCHAR, max_length=length)
        for field, kind in others.items():
            schema.add_field(field, DataType[kind])
        self.call("create_collection", name, schema=schema, consistency_level="Strong")

    def create_index(self, name: str, kind: str, build: Mapping[str, int], *, waits: bool = True) -> None:
        """Makes the index of Milvus's `kind` over the vectors of a collection, for cosines; `waits` until it is built.

        The client asks only every half second whether it is, which an empty one is at once.
        """
        from pymilvus.milvus_client import IndexParams

        params = IndexParams()
        params.add_index("vector", index_type=kind, metric_type="COSINE", params=dict(build))
        self.call("create_index", name, params, sync=waits)

    def drop(self, collection: str) -> None:
        """Drops a collection, its aliases before: Milvus refuses to drop one that has any."""
        for alias in self.call("list_aliases", collection)["aliases"]:
            self.call("drop_alias", alias)
        self.call("drop_collection", collection)

    def close(self) -> None:
        """Closes the database. What was acknowledged is in it already."""
        self._client.close()
        self._close()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        import grpc
        from pymilvus import MilvusException

        try:
            yield
        except MilvusException as error:
            if error.code in (_CONNECT_FAILED, grpc.StatusCode.UNAVAILABLE):
                raise _unanswered(self.uri, 1) from error
            raise UserError(f"the gallery {self.uri} did not do as asked: {one_line(error.message)}") from error
        except grpc.RpcError as error:  # a server that hangs
            raise UserError(f"the gallery {self.uri} did not answer in time; see to its server") from error

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def connect(uri: str, *, create: bool = False) -> Store:
    """Opens the database at `uri`: http(s)://host:port[/database] is a server, anything else an embedded one's folder.

    Args:
      uri: of the gallery. It holds no credentials: the token is $FACEFLAX_GALLERY_TOKEN.
      create: makes an embedded gallery that is not there, readable and writable by its owner alone; it is removed when
        the store is closed and nothing was put into it, but for an empty folder that was there. One that others could
        read by now is closed to them.

    Raises:
      UserError: it is not there, is no gallery, is in use by another process, does not answer, can be read by others
        and not be closed to them, or `uri` holds more than an address.
    """
    place.check(uri, create=create)
    _prepare_libraries()
    if "://" in uri:
        return _connect_to_server(uri)
    folder = Path(uri)
    is_new, was_there = not (folder / LAYOUT).is_dir(), folder.is_dir()
    if is_new:
        place.make(folder)
    else:
        place.close_to_others(uri, folder)
    return _open_folder(uri, folder, is_new, was_there)


def _prepare_libraries() -> None:
    """Silences libraries that log every refusal with its traceback, and calls with their arguments."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        with _logging_as_it_is():
            import milvus_lite  # noqa: F401
            import pymilvus  # noqa: F401
    except ImportError as error:
        raise UserError("a gallery needs Milvus: pip install 'faceflax[recognition]'") from error
    for name in ("pymilvus", "milvus_lite", "grpc"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _logging_as_it_is() -> Iterator[None]:
    """Keeps pymilvus, on its first import, from configuring logging for the whole process, which closes handlers."""
    configure, logging.config.dictConfig = logging.config.dictConfig, lambda config: None
    try:
        yield
    finally:
        logging.config.dictConfig = configure


def _open_folder(uri: str, folder: Path, is_new: bool, was_there: bool) -> Store:
    from milvus_lite.adapter.grpc.server import start_server_in_thread
    from milvus_lite.exceptions import DataDirLockedError

    # Not a port, as the library would have it by default: on a port every user of the machine could read the gallery.
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_PLACE:
        raise UserError("the path in $TMPDIR is too long for a socket below it; set a shorter one, such as /tmp")
    sockets = Path(tempfile.mkdtemp(prefix="faceflax-gallery-"))
    try:
        server, database, _ = start_server_in_thread(str(folder.resolve()), host="unix", port=str(sockets / "socket"))
    except DataDirLockedError as error:
        shutil.rmtree(sockets, ignore_errors=True)
        raise UserError(f"the gallery {uri} is in use by another process; try again when that has ended") from error
    except OSError as error:
        shutil.rmtree(sockets, ignore_errors=True)
        raise place.unopened(uri, error) from error
    except (ValueError, RuntimeError) as error:
        shutil.rmtree(sockets, ignore_errors=True)
        raise UserError(f"the gallery {uri} cannot be opened: {one_line(str(error))}") from error

    def close() -> None:
        server.stop(grace=None).wait()
        if is_new and not database.list_collections():  # while it is locked: nobody else can put anything into it
            place.remove(folder, keeps_itself=was_there)
        database.close()
        shutil.rmtree(sockets, ignore_errors=True)

    try:
        return Store(uri, folder, _client(f"unix:{sockets}/socket", ""), close)
    except BaseException:
        close()
        raise


def _connect_to_server(uri: str) -> Store:
    import grpc
    from pymilvus import MilvusException

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Store(uri, None, _client(uri, os.environ.get(TOKEN, "")), lambda: None)
        except (MilvusException, grpc.RpcError) as error:
            if "unauthenticated" in str(error).lower() or "auth check failure" in str(error).lower():
                raise UserError(f"the gallery server {uri} refuses the token in ${TOKEN}; correct it") from error
            if attempt == _ATTEMPTS:
                raise _unanswered(uri, attempt) from error
            time.sleep(attempt)
    raise AssertionError


def _unanswered(uri: str, attempts: int) -> UnavailableError:
    tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return UnavailableError(f"the gallery server {uri} did not answer in {tried}; start it, or correct --gallery")


def _client(uri: str, token: str) -> Any:
    from pymilvus import MilvusClient

    # Of its own: a connection that clients share is never closed, and what is wrong with it stays.
    return MilvusClient(uri, token=token, timeout=_CONNECT_SECONDS, dedicated=True)
