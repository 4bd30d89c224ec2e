"""What every request passes on its way to the page: limits of size and number, and no site but the page itself."""

import json
import math
import re
from collections.abc import Awaitable, Callable

from faceflax.serving.limits import Limits, RateLimit

# Nothing that the page shows may load from, or send to, another server. Its own scripts need the unsafe ones.
_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' data: blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})  # names of this computer, as a browser says them
_NAME = re.compile(r"(\[[^]]*\]|[^:]*)(?::\d*)?")
_FOREIGN = re.compile(r"/(file|proxy)=[^/]*:")  # Gradio would fetch such an address, and hand on what it gets
_UPLOADS = 10  # files of the largest size, that a client may send in a minute
_OVERHEAD = 1_000_000  # bytes of a form around its file


class Gate:
    """ASGI middleware."""

    def __init__(self, app: Callable[..., Awaitable], limits: Limits, names: frozenset[str] | None = LOOPBACK):
        """Makes one before `app` that is asked for by one of these `names`, with any port; None: by any name.

        Names are in small letters, and addresses of IPv6 in brackets.
        """
        self._app, self._limits, self._names = app, limits, names
        # Bytes and not requests, as the editor sends its picture anew at every stroke.
        self._uploads = RateLimit(_UPLOADS * limits.megabytes * 1e6)

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Lets a request through, or says why not: too large, of unknown size, one too many, for or from elsewhere."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: dict) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], *_HEADERS]}
            await send(message)

        refusal = self._refuse(scope)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
            return
        await _pass_over(receive, 2 * self._limits.megabytes * 1e6 + _OVERHEAD)
        status, detail = refusal
        await send_guarded(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
        )
        await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})

    def _refuse(self, scope: dict) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        if refusal := self._refuse_stranger(headers):
            return refusal
        if _FOREIGN.search(scope["path"]):
            return 403, "This page fetches nothing from other servers."
        if scope["method"] != "POST":
            return None
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            return 411, "Send the request with its length."
        if int(length) > self._limits.megabytes * 1e6 + _OVERHEAD:
            return 413, f"The file has more than the {self._limits.megabytes:g} MB that are allowed."
        if scope["path"].endswith("/upload"):
            client = scope["client"][0] if scope["client"] else ""
            if wait := self._uploads.wait(client, int(length)):
                return 429, f"You uploaded very much; wait {math.ceil(wait)} seconds."
        return None

    def _refuse_stranger(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Refuses what another site's page asks for, also where that site lets its own name lead here."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = _NAME.fullmatch(host)
        if self._names is not None and (name is None or name[1] not in self._names):
            return 403, "This page is not served by that name; start it with --allow-host and the name."
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower() not in (f"http://{host}", f"https://{host}"):
            return 403, "Another site's page may not ask for this one."
        return None


async def _pass_over(receive: Callable, most: float) -> None:
    """Receives a body of up to `most` bytes and keeps none of it: who still sends does not hear why it is refused."""
    taken = 0
    while taken <= most:
        message = await receive()
        taken += len(message.get("body", b""))
        if not message.get("more_body", False):
            return
