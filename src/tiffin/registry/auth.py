"""Who may do what: Basic and Bearer challenges answered without I/O.

`Authorizer.flow` is a generator: it yields the requests that have to be made (to a token server),
takes their answers, and returns the value of the Authorization header. Sources: RFC 7235 (challenges),
RFC 7617 (Basic), distribution's token and oauth2 specifications (Bearer).
"""

from __future__ import annotations

import time
from urllib.parse import urlencode

from tiffin.errors import Corrupt, TiffinError, Unauthorized
from tiffin.registry import address, answers
from tiffin.spec import jsontext
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import Any

    from tiffin.registry.credentials import Credential

    # (resource such as "repository:library/busybox", action such as "pull")
    Scope = frozenset[tuple[str, str]]

TOKEN_LIMIT = 128 << 10
_TOKEN_SECONDS = 60
_MARGIN_SECONDS = 5
_CLIENT = "tiffin"
NOTHING: Scope = frozenset()
REFUSED = "unauthorized: authentication required"


class Challenge(Value):
    """One way in that a 401 offers; `scheme` and parameter names are lower case."""

    scheme: str
    parameters: Mapping[str, str] = EMPTY


class TokenRequest(Value):
    """What to ask the token server; `authorization` must not follow a redirect to another host."""

    method: str
    url: str
    authorization: str = ""
    body: bytes = b""

    def __repr__(self) -> str:
        """Show where, not what."""
        return f"TokenRequest({self.method} {address.shown(self.url)})"


class TokenAnswer(Value):
    """What it said; the body as far as it was read (`TOKEN_LIMIT` bytes are enough)."""

    status: int
    body: bytes


class _Token(Value):
    scope: Scope
    header: str
    until: float

    def __repr__(self) -> str:
        return "Token(...)"


def pull_scope(path: str) -> Scope:
    """Return what reading a repository needs."""
    return frozenset({(f"repository:{path}", "pull")})


def push_scope(path: str) -> Scope:
    """Return what writing a repository needs."""
    return frozenset({(f"repository:{path}", "pull"), (f"repository:{path}", "push")})


def scope_texts(scope: Scope) -> list[str]:
    """Write a scope as the token server reads it: one text a resource, actions in order."""
    resources: dict[str, list[str]] = {}
    for resource, action in sorted(scope):
        resources.setdefault(resource, []).append(action)
    return [f"{resource}:{','.join(actions)}" for resource, actions in resources.items()]


def parse_scope(text: str) -> Scope:
    """Read the `scope` parameter of a challenge; what is no scope is left out."""
    pairs = set()
    for word in text.split()[:16]:
        resource, colon, actions = word.rpartition(":")
        if colon and ":" in resource:
            pairs |= {(resource, action) for action in actions.split(",") if action}
    return frozenset(pairs)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers (each may hold several challenges); junk is left out."""
    found: list[Challenge] = []
    for header in headers:
        found += _Scanner(header[:8192]).challenges()
    return found


class _Scanner:
    """RFC 7235's `challenge` grammar: `Scheme name=value, name="quoted", Scheme ...`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def challenges(self) -> list[Challenge]:
        found: list[tuple[str, dict[str, str]]] = []
        while True:
            self._skip(" \t,")
            word = self._word()
            if not word:
                break
            self._skip(" \t")
            if self._peek() == "=" and found:
                self._at += 1
                self._skip(" \t")
                value = self._quoted() if self._peek() == '"' else self._word()
                found[-1][1].setdefault(word.lower(), value)
            else:
                found.append((word.lower(), {}))
        return [Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in found]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, characters: str) -> None:
        while self._peek() and self._peek() in characters:
            self._at += 1

    def _word(self) -> str:
        start = self._at
        while self._peek() and self._peek() not in ' \t,="':
            self._at += 1
        return self._text[start : self._at]

    def _quoted(self) -> str:
        self._at += 1
        value = ""
        while self._peek() not in {"", '"'}:
            if self._peek() == "\\":
                self._at += 1
            value += self._peek()
            self._at += 1
        self._at += 1
        return value


class Authorizer:
    """Remembers one registry's challenge and tokens. Not thread-safe: the caller holds its lock."""

    def __init__(
        self,
        lookup: Callable[[], Credential | None],
        *,
        offline: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep how to find the credential, asked for once and only when a registry wants one.

        `offline` also asks for an identity token (a login does); it is then in `identity_token`.
        """
        self._lookup = lookup
        self._offline = offline
        self._clock = clock
        self._known = False
        self._credential: Credential | None = None
        self._challenge: Challenge | None = None
        self._tokens: list[_Token] = []
        self._problem: TiffinError | None = None
        self.identity_token = ""

    @property
    def hint(self) -> str:
        """What may be wrong with the credentials, "" when nothing is known."""
        return self._problem.message if self._problem else ""

    @property
    def has_credential(self) -> bool:
        """Whether one was found (and so, when we are refused, it is a wrong one)."""
        return self._credential is not None

    def redact(self, text: str) -> str:
        """Return the text without any secret that this object knows: a registry may echo what it got."""
        secrets = list(self._credential.secrets()) if self._credential else []
        secrets += [token.header.partition(" ")[2] for token in self._tokens]
        secrets.append(self.identity_token)
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text

    def flow(
        self,
        scope: Scope,
        challenges: list[Challenge] | None = None,
        refused: str = "",
    ) -> Generator[TokenRequest, TokenAnswer, str]:
        """Return the Authorization header for a scope, "" while no challenge is known.

        `challenges` are those of a 401 that answered the header `refused`. Raises Unauthorized when
        there is no (other) way in.
        """
        if challenges is not None:
            self._tokens = [t for t in self._tokens if t.header != refused]
            self._challenge = _choose(challenges)
            if self._challenge.scheme == "bearer":
                scope |= parse_scope(self._challenge.parameters.get("scope", ""))
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            return self._basic(refused)
        now = self._clock()
        for token in self._tokens:
            if token.scope >= scope and token.until > now:
                return token.header
        return (yield from self._bearer(self._challenge, scope, now, refused))

    def _find(self) -> Credential | None:
        if not self._known:
            try:
                self._credential = self._lookup()
            except TiffinError as error:
                # A broken helper does not stop public images; if we are refused, the hint names it.
                self._problem = error
            self._known = True
        return self._credential

    def _basic(self, refused: str) -> str:
        credential = self._find()
        if credential is None or not credential.username:
            message = "no basic auth credentials"
            raise Unauthorized(message)
        header = f"Basic {credential.basic()}"
        if header == refused:
            raise Unauthorized(REFUSED)
        return header

    def _bearer(
        self, challenge: Challenge, scope: Scope, now: float, refused: str
    ) -> Generator[TokenRequest, TokenAnswer, str]:
        credential = self._find()
        if credential and credential.registry_token:
            header = f"Bearer {credential.registry_token}"
            if header == refused:
                raise Unauthorized(REFUSED)
            return header
        realm = challenge.parameters.get("realm", "")
        service = challenge.parameters.get("service", "")
        answer = yield _token_request(realm, service, scope, credential, offline=self._offline)
        if answer.status != 200:
            raise answers.failure(answer.status, answer.body, what="token")
        token, seconds, identity = _read_token(answer.body)
        self.identity_token = identity or self.identity_token
        # A token that lives shorter than the margin still serves the request it was fetched for.
        until = now + max(seconds - _MARGIN_SECONDS, 1)
        self._tokens.append(_Token(scope=scope, header=f"Bearer {token}", until=until))
        self._tokens = [t for t in self._tokens if t.until > now][-64:]
        return f"Bearer {token}"


def _choose(challenges: list[Challenge]) -> Challenge:
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or challenge.parameters.get("realm")):
                return challenge
    offered = ", ".join(c.scheme for c in challenges[:4]) or "none"
    raise Unauthorized(REFUSED, hint=f"the registry offers no scheme known here (it offers: {offered})")


def _token_request(
    realm: str, service: str, scope: Scope, credential: Credential | None, *, offline: bool
) -> TokenRequest:
    scopes = scope_texts(scope)
    if credential and credential.identity_token:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": _CLIENT,
            "scope": " ".join(scopes),
            "refresh_token": credential.identity_token,
        }
        return TokenRequest(method="POST", url=realm, body=urlencode(form).encode())
    query = [("service", service)] if service else []
    query += [("scope", text) for text in scopes]
    authorization = ""
    if credential and credential.username:
        query.append(("account", credential.username))
        authorization = f"Basic {credential.basic()}"
        if offline:
            query += [("offline_token", "true"), ("client_id", _CLIENT)]
    url = address.with_query(realm, urlencode(query))
    return TokenRequest(method="GET", url=url, authorization=authorization)


def _read_token(body: bytes) -> tuple[str, float, str]:
    """Return token, seconds it lives, and the identity token ("" if none)."""
    if len(body) > TOKEN_LIMIT:
        message = "the token server's answer is too long"
        raise Corrupt(message)
    try:
        value = jsontext.load_object(body)
    except Corrupt as error:
        message = "the token server's answer is no JSON"
        raise Corrupt(message) from error
    token: Any = value.get("token") or value.get("access_token")
    # Only visible ASCII may stand in a header.
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        message = "authorization server did not include a token in the response"
        raise Corrupt(message)
    seconds = value.get("expires_in")
    lives = float(seconds) if isinstance(seconds, (int, float)) and seconds > 0 else _TOKEN_SECONDS
    identity = value.get("refresh_token")
    return token, min(lives, 86400.0), identity if isinstance(identity, str) else ""
