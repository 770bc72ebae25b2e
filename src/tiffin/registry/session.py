"""A conversation with one registry: requests with the right Authorization, answers with bounded bodies."""

from __future__ import annotations

import threading
import time

from urllib3.exceptions import HTTPError

from tiffin.errors import Corrupt, TiffinError, Unauthorized
from tiffin.registry import address, answers, auth, transport
from tiffin.registry.credentials import Credential, Credentials
from tiffin.spec.reference import HUB
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from urllib3 import BaseHTTPResponse

    from tiffin.registry.auth import Scope
    from tiffin.registry.transport import Body, Limits
    from tiffin.settings import Settings
    from tiffin.spec.reference import Reference

_PIECE = 64 << 10
_FORM = "application/x-www-form-urlencoded"
_SMALL_BODY_SECONDS = 120


class Reply(Value):
    """An answer whose whole body is here; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class RateLimit(Value):
    """How many pulls a registry still allows, of how many, in how many seconds (0: it did not say)."""

    remaining: int
    limit: int
    seconds: int = 0

    def __str__(self) -> str:
        """Write it for a line of output."""
        span = f" in {self.seconds // 3600} hours" if self.seconds >= 3600 else ""
        return f"{self.remaining} of {self.limit} pulls left{span}"


class Session:
    """One registry as one user. Thread-safe; used by every Repository of a pull or push."""

    def __init__(
        self,
        domain: str,
        settings: Settings,
        lookup: Callable[[], Credential | None] | None = None,
        *,
        limits: Limits | None = None,
        offline: bool = False,
    ) -> None:
        """Prepare for a reference's domain; nothing is asked yet."""
        self.domain = domain
        self.transport = transport.Transport(address.api_host(domain), settings, limits)
        self._lock = threading.Lock()
        self.rate_limit: RateLimit | None = None
        credentials = Credentials(settings)
        self.authorizer = auth.Authorizer(lookup or (lambda: credentials.lookup(domain)), offline=offline)

    def send(
        self,
        method: str,
        path: str,
        *,
        scope: Scope = auth.NOTHING,
        headers: Mapping[str, str] = EMPTY,
        body: bytes | Body | None = None,
        silence: float = 0,
        retry: bool = True,
    ) -> BaseHTTPResponse:
        """Return the answer to a path of this registry, or to a URL that it gave; the body is unread.

        A 401 is answered once; the second one is returned. Authorization goes to the registry only.
        """
        url = path if "://" in path else self.transport.base() + path
        header = self._authorize(scope) if self._is_registry(url) else ""
        request = transport.Request(
            method=method, url=url, headers=headers, authorization=header, body=body, silence=silence
        )
        answer = self.transport.request(request, retry=retry)
        self._note_rate(answer)
        if answer.status != 401 or not self._is_registry(answer.url):
            return answer
        header = self._answer_challenge(answer, scope, refused=header)
        if body is not None and not isinstance(body, bytes) and not body.again():
            message = "unauthorized: authentication required"
            raise Unauthorized(message, hint="the login ended during the upload; try again")
        answer = self.transport.request(request.replace(authorization=header), retry=retry)
        self._note_rate(answer)
        return answer

    def _note_rate(self, answer: BaseHTTPResponse) -> None:
        """Remember what Docker Hub says with its manifests: `ratelimit-limit: 100;w=21600`."""
        limit, _, window = answer.headers.get("ratelimit-limit", "").partition(";w=")
        remaining = answer.headers.get("ratelimit-remaining", "").partition(";")[0]
        if limit.isdecimal() and remaining.isdecimal() and len(limit) < 10 > len(remaining):
            seconds = int(window) if window.isdecimal() and len(window) < 10 else 0
            self.rate_limit = RateLimit(remaining=int(remaining), limit=int(limit), seconds=seconds)

    def _answer_challenge(self, answer: BaseHTTPResponse, scope: Scope, *, refused: str) -> str:
        """Return another Authorization after a 401, or raise what the registry said."""
        found = auth.parse_challenges(answer.headers.getlist("WWW-Authenticate"))
        code, said = answers.first_error(read_body(answer, answers.BODY_LIMIT, cut=True))
        try:
            return self._authorize(scope, found, refused=refused)
        except Unauthorized as error:
            if said and error.message == auth.REFUSED:
                error.message = self.authorizer.redact(answers.sentence(code or "UNAUTHORIZED", said))
                error.args = (error.message,)
            raise self._with_login_hint(error) from None

    def ask(
        self,
        method: str,
        path: str,
        *,
        scope: Scope = auth.NOTHING,
        headers: Mapping[str, str] = EMPTY,
        body: bytes | None = None,
        limit: int = answers.BODY_LIMIT,
        retry: bool = True,
    ) -> Reply:
        """Return the whole answer; a body that breaks off is asked for again.

        Raises Corrupt for a body longer than `limit` bytes.
        """
        attempts = self.transport.limits.attempts if retry else 1
        for attempt in range(1, attempts + 1):
            answer = self.send(method, path, scope=scope, headers=headers, body=body, retry=retry)
            good = answer.status < 400
            try:
                data = read_body(answer, limit if good else answers.BODY_LIMIT, cut=not good)
            except transport.Broken:
                if attempt == attempts:
                    raise
                self.transport.pause(attempt)
                continue
            lower = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(status=answer.status, headers=lower, body=data, url=answer.url or "")
        raise AssertionError

    def failure(
        self,
        status: int,
        body: bytes,
        *,
        what: str,
        reference: Reference | None = None,
        push: bool = False,
        challenge: str = "",
    ) -> TiffinError:
        """Return the error for a refusal, without our secrets, with a hint about logging in."""
        error = answers.failure(status, body, what=what, reference=reference, push=push, challenge=challenge)
        error.message = self.authorizer.redact(error.message)
        error.args = (error.message,)
        if status == 429:
            error.hint = "the registry limits how often it is asked; wait, or log in for a higher limit"
        if status in {401, 403} or "access denied" in error.message:
            return self._with_login_hint(error)
        return error

    def close(self) -> None:
        """Close idle connections."""
        self.transport.close()

    def _with_login_hint(self, error: TiffinError) -> TiffinError:
        if error.hint:
            return error
        server = "" if self.domain == HUB else f" {self.domain}"
        if self.authorizer.hint:
            error.hint = self.authorizer.hint
        elif self.authorizer.has_credential:
            error.hint = f"the stored login may be wrong or lack the right; try: tiffin login{server}"
        else:
            error.hint = f"check the name, or log in first: tiffin login{server}"
        return error

    def _is_registry(self, url: str | None) -> bool:
        """Tell whether an answer is the registry's own: a challenge from elsewhere gets no credentials."""
        return bool(url) and address.origin_of(url or "") == address.origin_of(self.transport.base())

    def _authorize(
        self, scope: Scope, challenges: list[auth.Challenge] | None = None, refused: str = ""
    ) -> str:
        """Return the Authorization header; one thread at a time, so that a token is fetched once."""
        try:
            with self._lock:
                return self._drive(self.authorizer.flow(scope, challenges, refused))
        except Unauthorized as error:
            # Also where another thread was refused just before and this one did not even ask.
            raise self._with_login_hint(error) from None

    def _drive(self, flow: Generator[auth.TokenRequest, auth.TokenAnswer, str]) -> str:
        """Make the requests that the flow yields."""
        try:
            request = next(flow)
            while True:
                answer = self.transport.request(
                    transport.Request(
                        method=request.method,
                        url=request.url,
                        headers={"Content-Type": _FORM} if request.body else EMPTY,
                        authorization=request.authorization,
                        body=request.body or None,
                    )
                )
                body = read_body(answer, auth.TOKEN_LIMIT, cut=answer.status >= 400)
                request = flow.send(auth.TokenAnswer(status=answer.status, body=body))
        except StopIteration as end:
            return str(end.value)
        except TiffinError as error:
            error.message = self.authorizer.redact(error.message)
            error.args = (error.message,)
            raise


def read_body(answer: BaseHTTPResponse, limit: int, *, cut: bool = False) -> bytes:
    """Return a small body, whole; with `cut` (for refusals), what comes of its first `limit` bytes.

    Raises Corrupt when it is longer, Broken when it breaks off or drips for minutes.
    """
    pieces: list[bytes] = []
    length = 0
    deadline = time.monotonic() + _SMALL_BODY_SECONDS
    try:
        while length <= limit:
            piece = answer.read1(_PIECE, decode_content=False)
            if not piece:
                answer.release_conn()
                break
            pieces.append(piece)
            length += len(piece)
            if time.monotonic() > deadline:
                answer.close()
                message = f"{address.shown(answer.url or '')}: the answer takes too long"
                raise transport.Broken(message, again=False)
    except (HTTPError, OSError) as error:
        answer.close()
        if cut:
            return b"".join(pieces)[:limit]
        url = answer.url or ""
        raise transport.translate(error, f'Get "{address.shown(url)}"', url) from error
    if length > limit:
        answer.close()
        if not cut:
            message = f"{address.shown(answer.url or '')}: the answer is longer than {limit} bytes"
            raise Corrupt(message)
    return b"".join(pieces)[:limit]
