"""The flag grammar: what docker's client accepts is read as it reads it, what it refuses in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli import docker_said
from tiffin.cli import catalogue, entry, parser
from tiffin.cli.command import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = Command(
    spellings=("try",),
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    short="",
    minimum=1,
    interspersed=False,
    flags=(
        ("interactive", "i", "bool", "", "", "done"),
        ("tty", "t", "bool", "", "", "done"),
        ("proxy", "", "bool", "", "true", "done"),
        ("publish", "p", "list", "", "", "done"),
        ("name", "", "string", "", "", "done"),
        ("count", "n", "int", "", "-1", "done"),
        ("memory", "m", "bytes", "", "", "done"),
        ("filter", "f", "filter", "", "", "done"),
        ("words", "", "strings", "", "", "done"),
        ("later", "l", "bool", "", "", "refused: not built yet"),
    ),
    hidden={"old": "name"},
)


def _parse(*words: str) -> parser.Parsed:
    return parser.parse(TABLE, "try", words)


def test_docker_spellings_are_read() -> None:
    """Groups, glued values, `=`, repeated flags and what comes after the image."""
    parsed = _parse(
        "-itp8080:80", "-p", "1", "-p=2", "--name=x", "--proxy=false", "-n5", "box", "-i", "--name", "y"
    )
    assert parsed.flag("interactive")
    assert parsed.flag("tty")
    assert not parsed.flag("proxy")
    assert parsed.many("publish") == ["8080:80", "1", "2"]
    assert parsed.text("name") == "x"
    assert parsed.number("count") == 5
    assert parsed.arguments == ["box", "-i", "--name", "y"]


def test_defaults_stand_where_nothing_was_given() -> None:
    """A flag that was not given has its default, and says that it was not given."""
    parsed = _parse("box")
    assert parsed.flag("proxy")
    assert parsed.number("count") == -1
    assert parsed.text("name") == ""
    assert parsed.many("publish") == []
    assert not parsed.given("proxy")


def test_double_dash_ends_flags() -> None:
    """`--` is dropped and everything behind it is an argument."""
    assert _parse("-i", "--", "-t", "x").arguments == ["-t", "x"]


def test_a_single_dash_is_an_argument() -> None:
    """`-` names stdin or stdout and is no flag."""
    assert _parse("-").arguments == ["-"]


def test_a_hidden_spelling_is_the_flag_it_stands_for() -> None:
    """`--net` and its like work and are not listed."""
    assert _parse("--old", "v", "box").text("name") == "v"


def test_comma_lists_are_split() -> None:
    """Docker's `strings` take several values in one word."""
    assert _parse("--words", "a,b", "--words=c", "box").many("words") == ["a", "b", "c"]


def test_filters_are_collected_by_key() -> None:
    """Values of one key are kept together; keys are trimmed and in lower case."""
    parsed = _parse("-f", "Name=a", "-f", "name = b", "-f", "label=x=y", "box")
    assert parsed.filters() == {"name": ["a", "b"], "label": ["x=y"]}


def test_a_refused_flag_is_named_with_its_reason() -> None:
    """No flag is ever ignored: what is not built yet ends the command, with exit code 125."""
    with pytest.raises(parser.UsageError) as caught:
        _parse("-l", "box")
    assert caught.value.message == "tiffin: try: --later is not supported: not built yet"
    assert caught.value.exit_code == 125


def test_a_refused_flag_among_wrong_ones_is_not_blamed_first() -> None:
    """A word that cannot be read at all is the first thing to say."""
    with pytest.raises(parser.UsageError, match="unknown flag: --nope"):
        _parse("-l", "--nope", "box")


_TEXT = st.text("abc=:,/.-1 ä", max_size=6)
_STYLES = {
    "name": lambda value: st.sampled_from([["--name", value], [f"--name={value}"], [f"--old={value}"]]),
    "publish": lambda value: st.sampled_from(
        [["-p", value], [f"-p={value}"], ["--publish", value], ["-ip", value]] if value else [["-p", ""]]
    ),
}


@given(st.lists(st.tuples(st.sampled_from(["name", "publish"]), _TEXT), max_size=6), st.data())
def test_any_spelling_of_a_value_reads_back(values: list[tuple[str, str]], data: st.DataObject) -> None:
    """However a value is attached to its flag, it comes out as it went in, in order."""
    words: list[str] = []
    for name, value in values:
        # pflag: `-p=x` drops one `=`, and `-p=` is the value "=".
        words += data.draw(_STYLES[name](value).filter(lambda style: style[0] != "-p="))
    parsed = _parse(*words, "box", "-x")
    assert parsed.many("publish") == [value for name, value in values if name == "publish"]
    names = [value for name, value in values if name == "name"]
    assert parsed.text("name") == (names[-1] if names else "")
    assert parsed.arguments == ["box", "-x"]


@given(st.lists(st.text("-=abip1 ", max_size=5), max_size=5))
def test_no_words_make_it_crash(words: Sequence[str]) -> None:
    """Junk is understood or refused with a sentence, never with a traceback."""
    try:
        said = " ".join(_parse(*words).arguments)
    except (parser.UsageError, parser.HelpAsked) as error:
        said = str(error)
    assert isinstance(said, str)


WRONG = (
    "run", "run --x", "run --x=y z", "run -z", "run -itx y", "ps -zq a", "ps --last=x", "ps a", "rm",
    "rm -f=false", "run -d --rm=maybe x", "run --rm= x", "run --name", "run -e", "run -u",
    "run --memory=x a", "run --memory -5 x", "run --cpus=x a", "run --cpus 1.0000000001 x",
    "run --pids-limit a x", "run --privileged=2 x", "run --=x y", "run -=x y", "run --attach foo x",
    "run --label =x y", "run -e =x y", "run --mount foo a", "run --mount type=tmpfs x",
    "run --mount type=bind,target=/x,foo=bar x", "ps -f x", "tag a", "rename a", "inspect", "push",
    "push a b", "exec", "logs --tail", "stop -t x y", "rmm", "image foo", "foo bar", "--foo", "network foo",
    "run --mount type=bind,readonly=foo,target=/x,source=/y a", "--config",
    "run --mount type=volume,source=a,target=/x,bind-propagation=rshared x", "run --stop-timeout x y",
    "run --expose a x", "run --expose 99999 x", "run --pull foo x", "run --env-file /nonexistent x",
    "run --security-opt foo x", "run --security-opt seccomp=/nonexistent x", "run -m 1.2.3 x",
    "run -m 5x x", "run -m 5kbb x", "run --cpus 1/0 x", "run -n x", "images a b c", "login a b", "create",
)  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_errors_are_dockers(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What docker's client refuses by itself is refused in the same words, with the same exit code."""
    exit_code, output, *expected = docker_said.recorded()["errors"][line]
    code = entry.run(line.split())
    mine = capfd.readouterr()
    lines = [
        text for text in mine.err.splitlines() if not text.startswith(("Did you mean", "write ", "give "))
    ]
    ours = [text for text in lines if text]
    if not expected[0].startswith("tiffin: unknown command"):
        # Docker points to --help after every error of `run`; a hint of our own may stand there instead.
        ours, wanted = ours[:2], expected[:2]
        if "Run 'tiffin" in wanted[1]:
            ours, wanted = ours[:1], wanted[:1]
        assert ours == wanted
    else:
        assert ours == expected
    assert code == int(exit_code)
    assert mine.out == output


def test_refused_commands_say_why(capfd: pytest.CaptureFixture[str]) -> None:
    """A command that is not built yet is refused by name, whatever its flags, but its help is shown."""
    for name, command in catalogue.commands().items():
        if command.handler is None:
            assert entry.run([*name.split(), "--nonsense"]) == 1
            assert capfd.readouterr().err.startswith(f"tiffin: tiffin {name.split()[0]}")
    assert entry.run(["swarm", "init", "--help"]) == 0
    assert capfd.readouterr().out.startswith("Usage:  tiffin swarm init [OPTIONS]\n")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "prune",
            ", ".join(
                f"tiffin {noun} prune"
                for noun in ("image", "container", "builder", "system", "network", "volume")
            ),
        ),
        ("imgaes", "tiffin images"),
        ("biuld", "tiffin build"),
        ("container strat", "tiffin container start"),
    ],
)
def test_what_may_have_been_meant_is_named(said: str, meant: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A verb without its noun names the nouns; a slip of the fingers names the nearest command."""
    assert entry.run(said.split()) == 1
    assert f"Did you mean: {meant}?" in capfd.readouterr().err


def test_a_host_without_a_name_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    """`localhost:shop` is a repository with a tag, and the user is told how a registry is written."""
    assert entry.run(["push", "localhost:shop"]) == 1
    said = capfd.readouterr().err
    assert 'that is the repository "localhost" with the tag "shop"' in said
    assert "localhost:5000/shop" in said
