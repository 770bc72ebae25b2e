"""Challenges and tokens: the flow with bytes only, and bearer tokens against a pretended token server."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.registry.parts import QUICK, described, no_progress, read_all
from tests.servers import Asked, Reply, ScriptedServer
from tiffin.errors import Corrupt, Forbidden, NotFound, Unauthorized, Unavailable
from tiffin.registry import auth
from tiffin.registry.client import Repository, check_login, login
from tiffin.registry.credentials import Credential, Credentials
from tiffin.spec import mediatype
from tiffin.spec.manifest import Manifest
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.registry.parts import Serve
    from tiffin.settings import Settings

    Hosts = tuple[ScriptedServer, ScriptedServer]

ANN = Credential(username="ann", password="se:cret")
DATA = b"layer"
MANIFEST = Manifest.build(described(b"{}", mediatype.OCI_CONFIG), [described(DATA)])
PULL = auth.pull_scope("shop")


# The flow, without I/O


def run(
    authorizer: auth.Authorizer,
    scope: auth.Scope = PULL,
    challenge: str | None = None,
    refused: str = "",
    answers: tuple[auth.TokenAnswer, ...] = (),
) -> tuple[str, list[auth.TokenRequest]]:
    """Drive a flow with prepared answers; return its header and the requests that it made."""
    found = None if challenge is None else auth.parse_challenges([challenge])
    flow = authorizer.flow(scope, found, refused)
    asked: list[auth.TokenRequest] = []
    left = list(answers)
    try:
        asked.append(next(flow))
        while True:
            asked.append(flow.send(left.pop(0)))
    except StopIteration as end:
        return end.value, asked


def token(value: str = "t1", **more: object) -> auth.TokenAnswer:
    return auth.TokenAnswer(status=200, body=json.dumps({"token": value, **more}).encode())


BEARER = 'Bearer realm="https://auth.example.com/token",service="registry",scope="repository:shop:pull"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic", [("basic", {})]),
        ('Basic realm="a b, c=\\"d\\""', [("basic", {"realm": 'a b, c="d"'})]),
        (
            'Bearer realm="r",service=s , Basic realm=x',
            [("bearer", {"realm": "r", "service": "s"}), ("basic", {"realm": "x"})],
        ),
        ('Negotiate, BEARER REALM="r"', [("negotiate", {}), ("bearer", {"realm": "r"})]),
        ('Bearer realm="unclosed', [("bearer", {"realm": "unclosed"})]),
        ("", []),
        ('="', []),
    ],
)
def test_challenges_are_read(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    """RFC 7235's grammar: several challenges in one header, quoted and bare values, any case."""
    assert [(c.scheme, c.parameters) for c in auth.parse_challenges([header])] == expected


@given(st.text(max_size=200))
def test_any_header_is_read_without_trouble(header: str) -> None:
    """Junk in a header is neither a crash nor an endless loop."""
    auth.parse_challenges([header])
    auth.parse_scope(header)


def test_a_token_is_used_for_its_scope_until_it_ends() -> None:
    """One token serves every request that it covers; another scope, or its end, needs another."""
    now = [1000.0]
    authorizer = auth.Authorizer(lambda: None, clock=lambda: now[0])
    assert run(authorizer) == ("", [])
    header, asked = run(authorizer, auth.push_scope("shop"), BEARER, answers=(token("t1", expires_in=300),))
    assert header == "Bearer t1"
    assert asked[0].url == (
        "https://auth.example.com/token?service=registry&scope=repository%3Ashop%3Apull%2Cpush"
    )
    assert run(authorizer) == ("Bearer t1", [])
    assert run(authorizer, auth.pull_scope("other"), answers=(token("t2"),))[0] == "Bearer t2"
    now[0] += 294
    assert run(authorizer)[0] == "Bearer t1"
    now[0] += 2
    assert run(authorizer, answers=(token("t3"),))[0] == "Bearer t3"


def test_a_refused_token_is_replaced_once_for_all() -> None:
    """A refused token is fetched anew; whoever comes with an older refusal gets the new one."""
    authorizer = auth.Authorizer(lambda: None)
    run(authorizer, PULL, BEARER, answers=(token("t1"),))
    assert run(authorizer, PULL, BEARER, "Bearer t1", (token("t2"),))[0] == "Bearer t2"
    assert run(authorizer, PULL, BEARER, "Bearer t1") == ("Bearer t2", [])


def test_an_identity_token_is_exchanged_by_post() -> None:
    """An identity token goes to the token server in a form (oauth2), never in a URL."""
    credential = Credential(username="ann", identity_token="refresh&me")
    header, asked = run(auth.Authorizer(lambda: credential), PULL, BEARER, answers=(token(),))
    assert header == "Bearer t1"
    assert (asked[0].method, asked[0].url) == ("POST", "https://auth.example.com/token")
    form = parse_qs(asked[0].body.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["refresh&me"]
    assert form["scope"] == ["repository:shop:pull"]
    assert "refresh" not in repr(asked[0])


def test_a_registry_token_is_used_as_it_is() -> None:
    """A ready bearer token of the configuration is sent without asking anybody."""
    credential = Credential(registry_token="ready")
    authorizer = auth.Authorizer(lambda: credential)
    assert run(authorizer, PULL, BEARER) == ("Bearer ready", [])
    with pytest.raises(Unauthorized):
        run(authorizer, PULL, BEARER, "Bearer ready")


def test_a_broken_helper_does_not_stop_public_images() -> None:
    """Without a readable credential the flow goes on anonymously, and remembers what was wrong."""

    def broken() -> Credential | None:
        message = "error getting credentials - err: docker-credential-x: exit status 1"
        raise Unavailable(message)

    authorizer = auth.Authorizer(broken)
    assert run(authorizer, PULL, BEARER, answers=(token(),))[0] == "Bearer t1"
    assert "docker-credential-x" in authorizer.hint


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 7}',
        b'{"token": "a b"}',
        b'{"token": "a\\r\\nX: y"}',
        '{"token": "\u00e4"}'.encode(),
        b'{"token": "' + b"x" * (auth.TOKEN_LIMIT + 1) + b'"}',
    ],
)
def test_a_token_that_cannot_be_a_header_is_corrupt(body: bytes) -> None:
    """What a token server says goes into a header only if it is one visible word."""
    with pytest.raises(Corrupt):
        run(auth.Authorizer(lambda: None), PULL, BEARER, answers=(auth.TokenAnswer(status=200, body=body),))


def test_no_known_scheme_is_unauthorized() -> None:
    """A registry that wants something else says what it wants in the hint."""
    with pytest.raises(Unauthorized) as caught:
        run(auth.Authorizer(lambda: ANN), PULL, 'Negotiate, Digest realm="x"')
    assert "negotiate, digest" in caught.value.hint


# Against servers


class TokenRegistry:
    """A registry with bearer tokens and its token server: gives each scope a token, remembers them all."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.realm = ""
        self.tokens: dict[str, str] = {}
        self.lifetime = 300
        self.known = {"ann": "se:cret"}
        self.revoked: set[str] = set()

    def issue(self, asked: Asked) -> Reply:
        """Be the token server."""
        query = parse_qs(urlsplit(asked.path).query)
        if asked.method == "POST":
            query = parse_qs(asked.body.decode())
            if query["refresh_token"] != ["identity-of-ann"]:
                return Reply.json({"details": "bad refresh token"}, 401)
        elif "authorization" in asked.headers:
            user, _, password = (
                base64.b64decode(asked.headers["authorization"].split()[1]).decode().partition(":")
            )
            if self.known.get(user) != password:
                return Reply.json({"details": f"incorrect username or password {password}"}, 401)
        value = f"token-{len(self.tokens)}"
        self.tokens[value] = " ".join(query.get("scope", []))
        answer: dict[str, object] = {"access_token": value, "expires_in": self.lifetime}
        if query.get("offline_token"):
            answer["refresh_token"] = "identity-of-ann"
        return Reply.json(answer)

    def serve(self, asked: Asked) -> Reply:
        """Be the registry."""
        given = asked.headers.get("authorization", "").removeprefix("Bearer ")
        action = "pull" if asked.method in {"GET", "HEAD"} else "pull,push"
        scope = "" if asked.path == "/v2/" else f"repository:shop:{action}"
        granted = self.tokens.get(given, "")
        if given not in self.tokens or given in self.revoked or not _covers(granted, scope):
            challenge = f'Bearer realm="{self.realm}",service="tests"' + (
                f',scope="{scope}"' if scope else ""
            )
            return Reply.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        if asked.method == "POST":
            return Reply(202, headers={"Location": "/v2/shop/uploads/1"})
        if asked.method == "PUT":
            return Reply(201)
        if "/manifests/" in asked.path:
            return Reply(200, MANIFEST.raw, {"Content-Type": MANIFEST.media_type})
        return Reply(200, DATA)


def _covers(granted: str, wanted: str) -> bool:
    return not wanted or wanted in granted or wanted.replace("pull", "pull,push") in granted


@pytest.fixture
def script() -> TokenRegistry:
    return TokenRegistry()


@pytest.fixture
def hosts(script: TokenRegistry) -> Iterator[Hosts]:
    with ScriptedServer(script.issue) as tokens, ScriptedServer(script.serve) as registry:
        script.realm = f"http://{tokens.host}/token"
        yield registry, tokens


@pytest.fixture
def repository(hosts: Hosts, settings: Settings) -> Iterator[Repository]:
    with Repository(Reference.parse(f"{hosts[0].host}/shop:1"), settings, limits=QUICK) as client:
        yield client


def test_one_token_serves_a_whole_pull(hosts: Hosts, repository: Repository) -> None:
    """An anonymous pull asks the token server once, and the registry has one request too many: the first."""
    repository.resolve()
    assert read_all(repository.open_blob(described(DATA))) == DATA
    assert read_all(repository.open_blob(described(DATA))) == DATA
    registry, tokens = hosts
    assert len(tokens.asked) == 1
    assert "authorization" not in tokens.asked[0].headers
    assert registry.count("GET", "/manifests/") == 2
    assert registry.count("GET", "/blobs/") == 2


def test_a_push_token_is_asked_for_with_the_login(
    hosts: Hosts,
    repository: Repository,
    settings: Settings,
    script: TokenRegistry,
) -> None:
    """A push asks for pull and push together, as the stored user; the token serves all of its requests."""
    Credentials(settings).store(hosts[0].host, ANN)
    assert repository.has_blob(described(DATA))
    repository.put_blob(described(DATA), _stream(DATA), no_progress)
    repository.put_manifest(MANIFEST.raw, MANIFEST.media_type, "1")
    assert list(script.tokens.values()) == ["repository:shop:pull,push"]
    assert parse_qs(urlsplit(hosts[1].asked[0].path).query)["account"] == ["ann"]
    assert "se:cret" not in hosts[1].asked[0].path


def _stream(data: bytes) -> Unseekable:
    return Unseekable(data)


class Unseekable:
    """A stream that can be read once."""

    def __init__(self, data: bytes) -> None:
        """Hold the bytes."""
        self._data = data

    def read(self, _size: int = -1, /) -> bytes:
        """Return all, once."""
        data, self._data = self._data, b""
        return data

    def close(self) -> None:
        """Nothing to close."""


def test_a_token_that_is_revoked_early_is_replaced(
    hosts: Hosts, repository: Repository, script: TokenRegistry
) -> None:
    """A 401 in the middle is answered with a fresh token, once."""
    repository.resolve()
    script.revoked.add("token-0")
    repository.resolve()
    assert len(hosts[1].asked) == 2
    script.revoked |= {f"token-{n}" for n in range(9)}
    with pytest.raises(Unauthorized, match="unauthorized: authentication required"):
        repository.resolve()
    assert len(hosts[1].asked) == 3


def test_a_login_keeps_the_identity_token_not_the_password(hosts: Hosts, settings: Settings) -> None:
    """Where the token server gives an identity token, that is stored, and the password is not."""
    host = hosts[0].host
    assert login(host, "ann", "se:cret", settings, limits=QUICK) == Credentials(settings).path
    kept = Credentials(settings).lookup(host)
    assert kept == Credential(username="ann", identity_token="identity-of-ann")
    with Repository(Reference.parse(f"{host}/shop:1"), settings, limits=QUICK) as client:
        client.resolve()
    assert hosts[1].asked[-1].method == "POST"
    with open(Credentials(settings).path) as stream:
        text = stream.read()
    assert ANN.password not in text
    assert ANN.basic() not in text


def test_a_token_server_that_echoes_the_password_is_not_repeated(hosts: Hosts, settings: Settings) -> None:
    """A refusal's own words are shown without the password, even if the server wrote it there."""
    wrong = Credential(username="ann", password="hunter22")
    with pytest.raises(Unauthorized) as caught:
        check_login(hosts[0].host, wrong, settings, limits=QUICK)
    assert caught.value.message == "unauthorized: incorrect username or password ***"


@pytest.mark.parametrize(
    "realm", ["http://elsewhere.example/token", "file:///etc/passwd", "nonsense", "//[bad"]
)
def test_a_realm_in_a_forbidden_place_is_not_asked(
    serve: Serve,
    settings: Settings,
    realm: str,
) -> None:
    """The login goes to token servers over TLS (or on this machine) only."""
    client, server = serve(lambda _: Reply(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'}))
    Credentials(settings).store(server.host, ANN)
    with pytest.raises(Forbidden):
        client.resolve()


def test_a_form_with_a_secret_is_not_sent_on(serve: Serve, settings: Settings) -> None:
    """A token server that redirects the identity token to another host does not get it there."""
    with ScriptedServer(lambda _: Reply.json({"token": "x"})) as other:
        away = Reply(307, headers={"Location": f"http://{other.host}/token"})
        with ScriptedServer(lambda _: away) as tokens:
            challenge = f'Bearer realm="http://{tokens.host}/token"'
            client, server = serve(lambda _: Reply(401, headers={"WWW-Authenticate": challenge}))
            Credentials(settings).store(server.host, Credential(identity_token="refresh-me"))
            with pytest.raises(Forbidden, match="redirects a request with secrets"):
                client.resolve()
        assert other.asked == []


def test_a_denied_repository_reads_like_docker_hubs(serve: Serve, script: TokenRegistry) -> None:
    """A token that does not help: pull access denied, with a way to go on."""
    with ScriptedServer(script.issue) as tokens:
        challenge = f'Bearer realm="http://{tokens.host}/token",error="insufficient_scope"'
        denied = "requested access to the resource is denied"
        client, _ = serve(lambda _: Reply.error(401, "DENIED", denied, WWW_Authenticate=challenge))
        with pytest.raises(NotFound) as caught:
            client.resolve()
    assert caught.value.message == (
        f"pull access denied for {client.reference.name}, repository does not exist or may require "
        f"'docker login': denied: {denied}"
    )
    assert "tiffin login" in caught.value.hint
