"""docker's config.json and its helper programs: read, written, shared with docker itself."""

from __future__ import annotations

import base64
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tiffin.errors import InvalidArgument, Unavailable
from tiffin.registry.credentials import Credential, Credentials

if TYPE_CHECKING:
    from tiffin.settings import Settings

ANN = Credential(username="ann", password="se:cret")
HELPER = """#!/bin/sh
# A credential helper that keeps one file a server.
set -eu
store={store}
mkdir -p "$store"
echo "$1" >>"$store/log"
case $1 in
store) cat >"$store/pending"; key=$(sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/' "$store/pending")
  mv "$store/pending" "$store/$(echo "$key" | tr /: __)" ;;
get) read -r key || :; file="$store/$(echo "$key" | tr /: __)"
  if [ -e "$file" ]; then cat "$file"; else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) read -r key || :; rm -f "$store/$(echo "$key" | tr /: __)" ;;
esac
"""


def write(settings: Settings, config: object) -> None:
    os.makedirs(settings.docker_config, exist_ok=True)
    with open(f"{settings.docker_config}/config.json", "w") as stream:
        stream.write(config if isinstance(config, str) else json.dumps(config))


def read(settings: Settings) -> dict[str, Any]:
    with open(f"{settings.docker_config}/config.json") as stream:
        return dict(json.load(stream))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def install(settings: Settings, name: str, script: str) -> None:
    folder = settings.environment["PATH"].partition(":")[0]
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/docker-credential-{name}"
    with open(path, "w") as stream:
        stream.write(script)
    os.chmod(path, 0o700)


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("localhost:5000", "localhost:5000"),
        ("https://shop.example/v2/", "shop.example"),
        ("http://shop.example", "shop.example"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io", ""),
    ],
)
def test_an_entry_is_found_by_its_host(settings: Settings, key: str, asked: str) -> None:
    """Docker's keys come as hosts and as URLs; Docker Hub has a key of its own."""
    write(settings, {"auths": {key: {"auth": encoded("ann:se:cret")}}})
    assert Credentials(settings).lookup(asked) == ANN
    assert Credentials(settings).lookup("other.example") is None


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"username": "ann", "password": "se:cret"}, ANN),
        ({"auth": encoded("ann:"), "identitytoken": "t"}, Credential(username="ann", identity_token="t")),
        ({"registrytoken": "r"}, Credential(registry_token="r")),
        ({}, None),
        ({"auth": ""}, None),
        ("text", None),
        (None, None),
    ],
)
def test_entries_of_every_kind(settings: Settings, entry: object, expected: Credential | None) -> None:
    """Names, identity tokens and bearer tokens are read; an empty entry (a helper's mark) is none."""
    write(settings, {"auths": {"shop.example": entry}})
    assert Credentials(settings).lookup("shop.example") == expected


@pytest.mark.parametrize("text", ["", "  \n", "{}", '{"auths": null}', '{"auths": []}', None])
def test_an_empty_configuration_knows_nothing(settings: Settings, text: str | None) -> None:
    """No file, an empty file and empty members all mean: no credentials."""
    if text is not None:
        write(settings, text)
    assert Credentials(settings).lookup("shop.example") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"shop.example": {"auth": "%%%"}}}'])
def test_a_broken_configuration_is_named(settings: Settings, text: str) -> None:
    """A file that cannot be understood is an error that says which file."""
    write(settings, text)
    with pytest.raises(InvalidArgument, match=r"config\.json"):
        Credentials(settings).lookup("shop.example")


def test_a_login_is_written_beside_what_is_there(settings: Settings) -> None:
    """Other keys and other logins stay, in their order; the file is its owner's alone."""
    write(
        settings, {"zzz": {"a": [1]}, "auths": {"other.example": {"auth": encoded("x:y")}}, "psFormat": "ä"}
    )
    os.chmod(Credentials(settings).path, 0o644)
    assert Credentials(settings).store("shop.example:5000", ANN) == Credentials(settings).path
    config = read(settings)
    assert list(config) == ["zzz", "auths", "psFormat"]
    assert config["psFormat"] == "ä"
    assert config["auths"] == {
        "other.example": {"auth": encoded("x:y")},
        "shop.example:5000": {"auth": encoded("ann:se:cret")},
    }
    assert stat.S_IMODE(os.stat(Credentials(settings).path).st_mode) == 0o600
    assert os.listdir(settings.docker_config) == ["config.json"]


def test_a_login_makes_the_folder(settings: Settings) -> None:
    """The first login makes a folder that only its owner can look into."""
    Credentials(settings).store("https://index.docker.io/v1/", ANN)
    assert stat.S_IMODE(os.stat(settings.docker_config).st_mode) == 0o700
    assert list(read(settings)["auths"]) == ["https://index.docker.io/v1/"]
    assert Credentials(settings).lookup("docker.io") == ANN


def test_a_linked_configuration_stays_a_link(settings: Settings) -> None:
    """A config.json that is a symbolic link is written where it points to."""
    os.makedirs(settings.docker_config)
    os.symlink("real.json", Credentials(settings).path)
    Credentials(settings).store("shop.example", ANN)
    assert os.readlink(Credentials(settings).path) == "real.json"
    assert Credentials(settings).lookup("shop.example") == ANN


def test_a_logout_forgets_every_form(settings: Settings) -> None:
    """A logout removes the host's entry however its key is written, says whether there was one."""
    auth = {"auth": encoded("ann:se:cret")}
    write(settings, {"auths": {"https://shop.example/v1/": auth, "other.example": auth}, "k": 1})
    assert Credentials(settings).erase("shop.example")
    assert not Credentials(settings).erase("shop.example")
    assert read(settings) == {"auths": {"other.example": auth}, "k": 1}


@pytest.mark.parametrize("member", ["credsStore", "credHelpers"])
def test_a_helper_keeps_the_login(settings: Settings, tmp_path: object, member: str) -> None:
    """Store, get and erase go to the helper; the file holds no secret."""
    install(settings, "tests", HELPER.format(store=f"{tmp_path}/kept"))
    write(settings, {member: "tests" if member == "credsStore" else {"shop.example": "tests"}})
    credentials = Credentials(settings)
    assert credentials.lookup("shop.example") is None
    assert credentials.store("shop.example", ANN) == "docker-credential-tests"
    assert credentials.lookup("shop.example") == ANN
    assert read(settings)["auths"] == {"shop.example": {}}
    token = Credential(identity_token="t")
    credentials.store("shop.example", token)
    assert credentials.lookup("shop.example") == token
    assert credentials.erase("shop.example")
    assert credentials.lookup("shop.example") is None
    assert not credentials.erase("shop.example")


def test_a_helper_of_one_host_is_for_that_host(settings: Settings) -> None:
    """CredHelpers goes before credsStore; an empty name there means the file."""
    write(
        settings,
        {
            "credsStore": "missing",
            "credHelpers": {"shop.example": ""},
            "auths": {"shop.example": {"auth": encoded("ann:se:cret")}},
        },
    )
    assert Credentials(settings).lookup("shop.example") == ANN
    with pytest.raises(Unavailable, match=r"docker-credential-missing.*not found in \$PATH"):
        Credentials(settings).lookup("other.example")


@pytest.mark.parametrize("script", ["echo se:cret; exit 3", "echo not json se:cret"])
def test_what_a_broken_helper_says_is_not_repeated(settings: Settings, script: str) -> None:
    """A helper's output may hold the secret: it is in no error."""
    install(settings, "tests", f"#!/bin/sh\n{script}\n")
    write(settings, {"credsStore": "tests"})
    with pytest.raises(Unavailable) as caught:
        Credentials(settings).lookup("shop.example")
    assert "se:cret" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    assert "docker-credential-tests" in caught.value.message


def test_a_helper_is_a_name_not_a_path(settings: Settings) -> None:
    """A configuration cannot make us run a program from anywhere."""
    write(settings, {"credsStore": "/../../bin/sh"})
    with pytest.raises(Unavailable, match="not found"):
        Credentials(settings).lookup("shop.example")


@pytest.mark.parametrize("server", ["http://", "user@shop.example", "a b", "x\x1b[2J"])
def test_an_impossible_server_is_refused(settings: Settings, server: str) -> None:
    """What cannot be a host is told before anything is written."""
    with pytest.raises(InvalidArgument):
        Credentials(settings).store(server, ANN)
    assert not os.path.exists(settings.docker_config)
