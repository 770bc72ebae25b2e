"""ADD of a URL: one file from a web server, within bounds, through the settings' proxies."""

from __future__ import annotations

from contextlib import closing
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from tiffin.errors import Corrupt, NotFound, Unavailable
from tiffin.layer.limits import CHANGE, Limits
from tiffin.registry.transport import Request, Transport, translate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.settings import Settings

_CHUNK = 1 << 20


def fetch(settings: Settings, url: str, place: str) -> int:
    """Write what a URL gives to a new file; return its Last-Modified as nanoseconds, 0 without one.

    Raises NotFound, Unavailable, and Corrupt for more bytes than an archive may have.
    """
    limit = Limits.of(settings).unpacked_bytes
    with closing(Transport(urlsplit(url).netloc.rpartition("@")[2], settings)) as transport:
        request = Request(method="GET", url=url)
        with closing(transport.request(request)) as answer, open(place, "xb") as stream:
            if answer.status != 200:
                message = f"invalid response status {answer.status}: {request.verb}"
                raise (NotFound if answer.status == 404 else Unavailable)(message)
            written = 0
            try:
                while data := answer.read(_CHUNK, decode_content=False):
                    written += stream.write(data)
                    if written > limit:
                        raise Corrupt(f"{request.verb}: more than {limit} bytes", hint=CHANGE)
            except (HTTPError, OSError) as error:
                raise translate(error, request.verb, url) from error
            return _moment(answer.headers.get("Last-Modified", ""))


def _moment(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except ValueError:
        return 0
