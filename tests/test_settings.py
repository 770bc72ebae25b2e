"""Settings: who wins over whom, and what a wrong file says."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.settings import ROOT, RegistrySettings, Settings, subordinate

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def toml(tmp_path: Any) -> Any:
    """Write a settings file; return its path."""

    def write(text: str) -> str:
        path = tmp_path / "tiffin.toml"
        path.write_text(text)
        return str(path)

    return write


def settings(environment: dict[str, str] | None = None, **arguments: Any) -> Settings:
    return Settings.from_environment({"HOME": "/nowhere"} | (environment or {}), **arguments)


def test_the_argument_wins_then_the_environment_then_the_file(toml: Any) -> None:
    """Each source is asked only where the stronger ones say nothing."""
    path = toml('root = "/file"\nrun = "/file-run"')
    every = {"TIFFIN_CONFIG": path, "TIFFIN_ROOT": "/variable", "TIFFIN_RUN": "/variable-run"}
    assert settings(every, root="/argument", run="/argument-run").root == "/argument"
    assert settings(every, root="/argument", run="/argument-run").run == "/argument-run"
    assert (settings(every).root, settings(every).run) == ("/variable", "/variable-run")
    assert settings({"TIFFIN_CONFIG": path}).root == "/file"
    assert settings({"TIFFIN_CONFIG": path}).run == "/file-run"


def test_the_file_says_how_to_behave(toml: Any) -> None:
    """Every known setting is read with its own type."""
    path = toml('runtime = "runc"\ndurable = false\nparallel_downloads = 9')
    found = settings({"TIFFIN_CONFIG": path})
    assert (found.runtime, found.durable, found.parallel_downloads) == ("runc", False, 9)
    assert settings({"TIFFIN_CONFIG": path, "TIFFIN_DURABLE": "1"}).durable


def test_limits_of_archives_are_settings(toml: Any) -> None:
    """File and environment say what an archive may hold; nonsense is refused by its name."""
    path = toml("max_entries = 7\nmax_ratio = 8")
    found = settings({"TIFFIN_CONFIG": path, "TIFFIN_MAX_RATIO": "9", "TIFFIN_MAX_UNPACKED_BYTES": "10"})
    assert (found.max_entries, found.max_ratio, found.max_unpacked_bytes) == (7, 9, 10)
    assert found.max_name_length == settings().max_name_length == 4096
    with pytest.raises(InvalidArgument, match="TIFFIN_MAX_ENTRIES must be a whole number above 0"):
        settings({"TIFFIN_MAX_ENTRIES": "many"})


def test_registries_and_proxies_are_tables_of_the_file(toml: Any) -> None:
    """A registry's mirrors, whether its certificate is verified; proxies the environment does not name."""
    path = toml(
        '[proxies]\nhttps = "http://file:1"\nno = ".example"\n'
        '[registries."docker.io"]\nmirrors = ["m:5000", "n"]\n[registries."lab:5000"]\ntls_verify = false\n'
    )
    found = settings({"TIFFIN_CONFIG": path, "NO_PROXY": ".example"})
    assert found.registries == {
        "docker.io": RegistrySettings(mirrors=("m:5000", "n")),
        "lab:5000": RegistrySettings(tls_verify=False),
    }
    assert found.proxies == {"https": "http://file:1", "no": ".example"}


def test_offline_can_be_said_in_three_places(toml: Any) -> None:
    """The flag, the variable and the file; the variable may also say no."""
    path = toml("offline = true\ndiscard_blobs = true")
    found = settings({"TIFFIN_CONFIG": path})
    assert (found.offline, found.discard_blobs) == (True, True)
    assert not settings({"TIFFIN_CONFIG": path, "TIFFIN_OFFLINE": "0"}).offline
    assert settings({"TIFFIN_OFFLINE": "1"}).offline
    assert settings(offline=True).offline
    assert not settings().offline


@pytest.mark.skipif(not IS_ROOT, reason="the defaults of root")
def test_roots_defaults() -> None:
    """Without a word from anybody, root's store is the system's."""
    found = settings()
    assert (found.root, found.run) == ("/var/lib/tiffin", "/run/tiffin")
    assert found.privilege.rung == "root"
    assert found.docker_config == "/nowhere/.docker"
    assert found.durable
    assert not found.debug


roots = st.text("ab-/.", min_size=1, max_size=400).map(lambda text: "/" + text)


@given(roots, roots)
@example("/a-/b", "/a/-b")
@example("/" + "a" * 300, "/" + "a" * 299)
def test_a_store_of_its_own_has_a_run_folder_of_its_own(one: str, other: str) -> None:
    """Two stores never share sockets, and the run folder's name fits into a folder."""
    runs = [settings(root=root).run for root in (one, other)]
    same = os.path.abspath(one).lstrip("/") == os.path.abspath(other).lstrip("/")
    assert (runs[0] == runs[1]) == same
    assert all(len(os.path.basename(run)) <= 255 for run in runs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("root = ", "Invalid value"),
        ("rot = 1", "unknown setting 'rot'"),
        ("root = 1", "root must be a string"),
        ("durable = 1", "durable must be true or false"),
        ("parallel_downloads = true", "parallel_downloads must be a whole number"),
        ("parallel_downloads = 0", "parallel_downloads must be a whole number above 0"),
        ("registries = 1", "registries must be a table"),
        ('registries."a" = 1', 'registries."a" must be a table'),
        ('[registries."a"]\nmirror = "b"', "unknown setting 'mirror'"),
        ('[registries."a"]\nmirrors = "b"', "mirrors must be a list"),
        ('[registries."a"]\nmirrors = ["http://b"]', "without a scheme"),
        ('[registries."a"]\ntls_verify = "no"', "tls_verify must be true or false"),
        ('[proxies]\nftp = "b"', "proxies.ftp is no proxy"),
        ("root = '\xff'", "utf-8"),
    ],
)
def test_a_wrong_file_is_refused_with_its_path(tmp_path: Any, text: str, message: str) -> None:
    """A misspelt or mistyped setting is never silently ignored."""
    path = tmp_path / "tiffin.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidArgument, match=message):
        settings({"TIFFIN_CONFIG": str(path)})


def test_a_file_that_is_named_must_be_there(tmp_path: Any) -> None:
    """Only the file of the default place may be missing."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidArgument, match=str(path)):
            settings({"TIFFIN_CONFIG": str(path)})


def test_proxies_are_read_in_both_spellings() -> None:
    """The lower-case variable wins, as everywhere."""
    found = settings({"http_proxy": "a", "HTTP_PROXY": "b", "HTTPS_PROXY": "c", "no_proxy": ""}).proxies
    assert dict(found) == {"http": "a", "https": "c"}


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("ann:100000:65536\n", ((1, 100000, 65536),)),
        ("bob:1:2\n7:200:3\nann:300:4\n", ((1, 200, 3), (4, 300, 4))),
        ("ann:x:1\nann:5\nann:5:\nann:5:0\nann:0:5\nann:4294967290:9\n: :\n\xff\n", ()),
        ("ann:100:50\nann:120:10\nann:1:20\nann:150:5\n", ((1, 100, 50), (51, 150, 5))),
        ("", ()),
    ],
)
def test_subordinate_ids_are_read_by_name_and_number(
    tmp_path: Any, text: str, ranges: tuple[tuple[int, int, int], ...]
) -> None:
    """Ranges follow one another inside; lines that are wrong, or somebody else's, give none."""
    path = tmp_path / "subuid"
    path.write_text(text)
    assert subordinate(str(path), "ann", 7) == ranges
    assert subordinate(str(tmp_path / "none"), "ann", 7) == ()


def test_a_mark_tells_stores_apart() -> None:
    """Owners in a store mean what its ids mean; with one id and with none they mean the same."""
    user = ROOT.replace(rung="subids", uid_map=((0, 7, 1), (1, 100, 9)))
    other = user.replace(uid_map=((0, 7, 1), (1, 200, 9)))
    alone = user.replace(rung="single", uid_map=((0, 7, 1),))
    assert len({ROOT.mark, user.mark, other.mark, alone.mark}) == 4
    assert alone.mark == alone.replace(rung="none", uid_map=()).mark
