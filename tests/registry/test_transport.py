"""TLS, proxies and names: who is asked how, and what is told when it fails."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.registry.parts import QUICK, described
from tests.servers import (
    Asked,
    Certificate,
    ConnectProxy,
    DockerRegistry,
    Reply,
    ScriptedServer,
    make_certificate,
)
from tiffin.errors import Forbidden, InvalidArgument, Unavailable
from tiffin.registry import address
from tiffin.registry.client import Repository, login
from tiffin.registry.credentials import Credential, Credentials
from tiffin.settings import RegistrySettings
from tiffin.spec import mediatype
from tiffin.spec.manifest import Manifest
from tiffin.spec.reference import Reference

if TYPE_CHECKING:
    from tiffin.settings import Settings

HUB = "registry-1.docker.io"
MANIFEST = Manifest.build(described(b"{}", mediatype.OCI_CONFIG), [])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Make a certificate for the names that the tests' servers play."""
    folder = str(tmp_path_factory.mktemp("certificate"))
    return make_certificate(folder, HUB, "auth.docker.io", "shop.example", "127.0.0.1")


def trust(settings: Settings, certificate: Certificate, host: str) -> None:
    folder = f"{settings.docker_config}/certs.d/{host}"
    os.makedirs(folder)
    shutil.copy(certificate.ca, f"{folder}/ca.crt")


def manifest(_asked: Asked) -> Reply:
    return Reply(200, MANIFEST.raw, {"Content-Type": MANIFEST.media_type})


def repository(name: str, settings: Settings) -> Repository:
    return Repository(Reference.parse(name), settings, limits=QUICK)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.255.3.4", True),
        ("::1", True),
        ("[::1]", True),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("128.0.0.1", False),
        ("127.1", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_what_counts_as_this_machine(host: str, *, expected: bool) -> None:
    """Plain HTTP is for names that cannot be anybody else's."""
    assert address.is_loopback(host) is expected


def test_a_local_registry_may_speak_tls(
    tmp_path: object, certificate: Certificate, settings: Settings
) -> None:
    """A loopback registry that answers as TLS is asked by TLS; nobody has to trust its certificate."""
    with DockerRegistry(f"{tmp_path}/registry", certificate=certificate) as registry:
        reference = Reference.parse(f"{registry.host}/shop:1")
        with Repository(reference, settings, limits=QUICK) as client:
            assert not client.has_blob(described(b"x"))
            assert client.session.transport.base() == f"https://{registry.host}"
    with (
        ScriptedServer(manifest, certificate=certificate) as server,
        repository(f"{server.host}/shop", settings) as client,
    ):
        assert client.resolve()[1] == MANIFEST.raw


def test_elsewhere_is_asked_by_tls_through_the_proxy(certificate: Certificate, settings: Settings) -> None:
    """A registry on another machine gets TLS, verified, by way of https_proxy; its password is not shown."""
    trust(settings, certificate, "shop.example")
    with (
        ScriptedServer(manifest, certificate=certificate) as server,
        ConnectProxy({"shop.example:443": server.port}) as proxy,
    ):
        url = proxy.url.replace("//", "//me:pr0xy@")
        with repository("shop.example/x", settings.replace(proxies={"https": url})) as client:
            assert client.resolve()[1] == MANIFEST.raw
        assert proxy.asked == ["shop.example:443"]
        assert (
            b"Proxy-Authorization: Basic" in proxy.headers[0].title()
            or b"proxy-authorization" in proxy.headers[0].lower()
        )
        assert "proxy-authorization" not in server.asked[0].headers
        through = settings.replace(proxies={"all": url})
        with repository("other.example/x", through) as client, pytest.raises(Unavailable) as caught:
            client.resolve()
        assert "pr0xy" not in f"{caught.value!r} {caught.value.hint}"


def test_no_proxy_is_obeyed(settings: Settings) -> None:
    """Names that no_proxy lists, and this machine always, are asked directly."""
    with ConnectProxy({}) as proxy:
        proxies = {"https": proxy.url, "http": proxy.url, "no": "other.example, .invalid,10.0.0.0/8"}
        through = settings.replace(proxies=proxies)
        with ScriptedServer(manifest) as server, repository(f"{server.host}/x", through) as client:
            client.resolve()
        for name in ("nosuch.invalid", "deep.nosuch.invalid"):
            with repository(f"{name}/x", through) as client, pytest.raises(Unavailable, match="lookup"):
                client.resolve()
        assert proxy.asked == []


def test_a_certificate_nobody_vouches_for_is_refused(certificate: Certificate, settings: Settings) -> None:
    """An unknown authority is docker's sentence, and the hint says where its certificate would go."""
    with (
        ScriptedServer(manifest, certificate=certificate) as server,
        ConnectProxy({"shop.example:443": server.port, "wrong.example:443": server.port}) as proxy,
    ):
        through = settings.replace(proxies={"https": proxy.url})
        with repository("shop.example/x", through) as client, pytest.raises(Unavailable) as caught:
            client.resolve()
        assert "tls: failed to verify certificate: x509:" in caught.value.message
        assert "shop.example:443/ca.crt" in caught.value.hint
        trust(settings, certificate, "wrong.example")
        with repository("wrong.example/x", through) as client, pytest.raises(Unavailable, match="x509: "):
            client.resolve()
        assert server.asked == []


def test_plain_http_elsewhere_is_refused(settings: Settings) -> None:
    """A registry on another machine without TLS is told apart from a broken one."""
    with ScriptedServer(manifest) as server, ConnectProxy({"shop.example:443": server.port}) as proxy:
        through = settings.replace(proxies={"https": proxy.url})
        with repository("shop.example/x", through) as client, pytest.raises(Unavailable) as caught:
            client.resolve()
        assert "http: server gave HTTP response to HTTPS client" in caught.value.message


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/", "http://localhost:1/", "http://shop.example/"])
def test_a_far_registry_cannot_point_us_at_ourselves(
    certificate: Certificate, settings: Settings, location: str
) -> None:
    """A redirect from TLS to plain HTTP is refused, above all to this machine's own servers."""
    trust(settings, certificate, "shop.example")
    away = Reply(307, headers={"Location": location})
    with (
        ScriptedServer(lambda _: away, certificate=certificate) as server,
        ConnectProxy({"shop.example:443": server.port}) as proxy,
    ):
        through = settings.replace(proxies={"https": proxy.url})
        with repository("shop.example/x", through) as client, pytest.raises(Forbidden):
            client.resolve()


def test_a_name_that_does_not_exist_is_dockers_sentence(settings: Settings) -> None:
    """An unknown host is not tried again for long."""
    with repository("nosuch.invalid/x", settings) as client, pytest.raises(Unavailable) as caught:
        client.resolve()
    assert caught.value.message.startswith(
        'Get "https://nosuch.invalid/v2/x/manifests/latest": dial tcp: lookup'
    )


def test_docker_hub_is_asked_at_its_own_hosts(certificate: Certificate, settings: Settings) -> None:
    """It has an API host, a token host and a credentials key that no name tells."""
    for host in (HUB, "auth.docker.io"):
        trust(settings, certificate, host)

    def hub(asked: Asked) -> Reply:
        if asked.headers["host"] == "auth.docker.io":
            return Reply.json({"token": "t"})
        if asked.headers.get("authorization") != "Bearer t":
            realm = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
            return Reply.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=realm)
        return manifest(asked)

    with (
        ScriptedServer(hub, certificate=certificate) as server,
        ConnectProxy({f"{HUB}:443": server.port, "auth.docker.io:443": server.port}) as proxy,
    ):
        through = settings.replace(proxies={"https": proxy.url})
        assert login("", "ann", "se:cret", through, limits=QUICK) == Credentials(settings).path
        assert Credentials(settings).lookup("docker.io") == Credential(username="ann", password="se:cret")
        with repository("busybox", through) as client:
            assert client.resolve()[1] == MANIFEST.raw
        paths = [a.path for a in server.asked]
        assert "/v2/library/busybox/manifests/latest" in paths
        asked = next(a for a in server.asked if "scope=repository%3Alibrary%2Fbusybox%3Apull" in a.path)
        assert asked.headers["authorization"].startswith("Basic ")


def test_a_proxy_of_another_kind_is_refused(settings: Settings) -> None:
    """A SOCKS proxy is told apart, not silently left out."""
    through = settings.replace(proxies={"all": "socks5://127.0.0.1:1"})
    with repository("shop.example/x", through) as client, pytest.raises(InvalidArgument, match="socks5"):
        client.resolve()


def test_a_broken_certificate_file_is_named(settings: Settings) -> None:
    """A CA file that is no certificate is an error that names it."""
    os.makedirs(f"{settings.docker_config}/certs.d/shop.example")
    with open(f"{settings.docker_config}/certs.d/shop.example/ca.crt", "w") as stream:
        stream.write("nothing")
    with repository("shop.example/x", settings) as client, pytest.raises(InvalidArgument, match=r"ca\.crt"):
        client.resolve()


def test_a_client_shows_its_certificate(settings: Settings, certificate: Certificate) -> None:
    """A registry that lets in known clients only gets the certificate of its folder in certs.d."""
    with (
        ScriptedServer(manifest, certificate=certificate, known_clients=True) as server,
        ConnectProxy({"shop.example:443": server.port}) as proxy,
    ):
        through = settings.replace(proxies={"https": proxy.url})
        trust(settings, certificate, "shop.example")
        with repository("shop.example/x", through) as client, pytest.raises(Unavailable):
            client.resolve()
        folder = f"{settings.docker_config}/certs.d/shop.example"
        shutil.copy(certificate.chain, f"{folder}/client.cert")
        shutil.copy(certificate.key, f"{folder}/client.key")
        with repository("shop.example/x", through) as client:
            assert client.resolve()[1] == MANIFEST.raw


def test_a_certificate_need_not_be_verified(settings: Settings, certificate: Certificate) -> None:
    """With tls_verify = false an unknown certificate will do, for that registry and no other."""
    with (
        ScriptedServer(manifest, certificate=certificate) as server,
        ConnectProxy({"shop.example:443": server.port, f"{HUB}:443": server.port}) as proxy,
    ):
        said = {"shop.example": RegistrySettings(tls_verify=False)}
        through = settings.replace(proxies={"https": proxy.url}, registries=said)
        with repository("shop.example/x", through) as client:
            assert client.resolve()[1] == MANIFEST.raw
        with repository("busybox", through) as client, pytest.raises(Unavailable, match="x509"):
            client.resolve()


def test_plain_http_where_the_settings_allow_it(settings: Settings) -> None:
    """A registry without TLS is asked in the clear if its settings say that nothing need be verified."""
    with ScriptedServer(manifest) as server:
        far = {"http": f"http://{server.host}", "https": f"http://{server.host}"}
        through = settings.replace(
            proxies=far, registries={"lab.example:5000": RegistrySettings(tls_verify=False)}
        )
        with repository("lab.example:5000/x", through) as client:
            assert client.resolve()[1] == MANIFEST.raw
        assert server.asked[-1].path == "http://lab.example:5000/v2/x/manifests/latest"
        with repository("other.example:5000/x", through) as client, pytest.raises(Unavailable):
            client.resolve()
        with pytest.raises(Forbidden):
            address.check_url("http://other.example:5000/v2/", local=False, plain={"lab.example:5000"})
