"""Go templates: what docker's client makes of each template, checked in, is what we make of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli import listing, template
from tiffin.errors import InvalidArgument

CONTEXT: dict[str, Any] = {
    "Name": "default",
    "Metadata": {},
    "Endpoints": {"docker": {"Host": "unix:///var/run/docker.sock", "SkipTLSVerify": False}},
    "TLSMaterial": {},
    "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
}

# Answers of `docker context inspect --format TEMPLATE` (28.2.2).
DOCKERS = (
    ("{{.Name}}", "default"),
    (
        "{{json .}}",
        (
            '{"Name":"default","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///var/run/docker.sock",'
            '"SkipTLSVerify":false}},"TLSMaterial":{},'
            '"Storage":{"MetadataPath":"<IN MEMORY>","TLSPath":"<IN MEMORY>"}}'
        ),
    ),
    ("{{json .Endpoints.docker}}", '{"Host":"unix:///var/run/docker.sock","SkipTLSVerify":false}'),
    ("{{ .Endpoints.docker.Host }}", "unix:///var/run/docker.sock"),
    ('{{printf "%5d|%-5s|%05d|%x|%q|%t|%v|%.2f|%c" 3 "a" 42 255 "q\\"x" true "v" 3.14159 65}}',
     '    3|a    |00042|ff|"q\\"x"|true|v|3.14|A'),
    ('{{printf "%s %d" "a"}}', "a %!d(MISSING)"),
    ('{{printf "%d" "a"}}', "%!d(string=a)"),
    ('{{printf "%s" 3}}', "%!s(int=3)"),
    ('{{printf "%d" 3 4}}', "3%!(EXTRA int=4)"),
    ('{{printf "%%"}}', "%"),
    ('{{println "a" 1 2}}|', "a 1 2\n|"),
    ('{{print "a" 1 2 "b" 3}}', "a1 2b3"),
    ("{{print 1 2}}", "1 2"),
    ("{{len .Name}}", "7"),
    ('{{len "é"}}', "2"),
    ('{{upper .Name}} {{lower "ABC"}} {{title "hello wORLD foo-bar"}}', "DEFAULT abc Hello WORLD Foo-Bar"),
    ('{{split "a,b,c" ","}} {{join (split "a,b" ",") "-"}}', "[a b c] a-b"),
    ('{{(index .Endpoints "docker").Host}}', "unix:///var/run/docker.sock"),
    ("{{range $k, $v := .Endpoints}}{{$k}}={{$v.Host}};{{end}}", "docker=unix:///var/run/docker.sock;"),
    ("{{range .Endpoints}}{{.Host}}{{end}}", "unix:///var/run/docker.sock"),
    ('{{range split "a b c" " "}}[{{.}}]{{else}}none{{end}}', "[a][b][c]"),
    ('{{range split "" " "}}[{{.}}]{{else}}none{{end}}', "[]"),
    ('{{range $i, $e := split "a b c" " "}}{{if $i}}, {{end}}{{$e}}{{end}}', "a, b, c"),
    ('{{range split "a b c" " "}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', "ac"),
    ('{{range split "a b c" " "}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', "a"),
    ('{{if eq .Name "default"}}yes{{else}}no{{end}}', "yes"),
    ('{{if eq .Name "x" "default"}}yes{{else}}no{{end}}', "yes"),
    ('{{if ne .Name "default"}}yes{{else if eq 1 1}}mid{{else}}no{{end}}', "mid"),
    ('{{if and .Name (eq 1 1)}}A{{end}}{{if or "" .Name}}B{{end}}{{if not ""}}C{{end}}', "ABC"),
    ('{{and 1 0 2}} {{or 0 "" 3}} {{not 0}}', "0 3 true"),
    ('{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 3 2}} {{lt "a" "b"}}', "true true false true true"),
    ("{{with .Name}}<{{.}}>{{end}}", "<default>"),
    ('{{with ""}}x{{else}}empty{{end}}', "empty"),
    ('{{with $x := "abc"}}{{$x}}{{end}}', "abc"),
    ("{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}", "12"),
    ('{{$x := 1}}{{range split "a b" " "}}{{$x = .}}{{end}}{{$x}}', "b"),
    ('a {{- " b " -}} c', "a b c"),
    ("a {{/* comment */}} b", "a  b"),
    ("a {{- /* comment */ -}} b", "ab"),
    ('{{"quoted \\"x\\" \\n \\t|" }}', 'quoted "x" \n \t|'),
    ("{{`raw \\n`}}", "raw \\n"),
    ("{{'a'}}", "97"),
    ("{{1.5}} {{1e3}} {{0x1f}} {{-3}} {{1_000}}", "1.5 1000 31 -3 1000"),
    ("{{true}} {{false}}", "true false"),
    ('{{.Name | upper | printf "%s-%s" "x"}}', "x-DEFAULT"),
    ('{{ "a" | printf "%s%s" "b" }}', "ba"),
    ('{{slice "abcdef" 1 3}} {{slice "abc" 1}}', "bc bc"),
    ('{{html "<a&b>"}} {{js "it\'s"}} {{urlquery "a b&c"}}', "&lt;a&amp;b&gt; it\\'s a+b%26c"),
    ('{{index (split "a b c" " ") 1}}', "b"),
    ('{{json .Name}} {{json "<&>"}} {{json 3}}', '"default" "<&>" 3'),
    ("}}", "}}"),
    ('{{pad "x" 1 2}}|', " x  |"),
    ('{{truncate "hello" 2}} {{truncate "h" 3}}', "he h"),
    ('{{ .Name }}{{ "\\u00e9" }}', "defaulté"),
    ("{{range 3}}{{.}}{{end}}", "012"),
    ('{{printf "%v %v" true 1.0}}', "true 1"),
    ('{{printf "%6.2f|%-8v|%+d" 2.5 "ab" 7}}', "  2.50|ab      |+7"),
    ("{{.Name}} }} {", "default }} {"),
    ("{{json .Endpoints | len}}", "71"),
    ("{{- .Name -}}", "default"),
    ("{{-3}}", "-3"),
    ("{{- 3}}", "3"),
    ("{{3 -}} x", "3x"),
    ('{{range $i := split "a b" " "}}{{$i}}{{end}}', "ab"),
    ("{{.Endpoints.docker.SkipTLSVerify}}", "false"),
    ("{{if .Endpoints.docker.SkipTLSVerify}}t{{else}}f{{end}}", "f"),
    ("{{len .Endpoints}}", "1"),
    ('{{title ""}}', ""),
    ('{{"a"}}{{"b"}}', "ab"),
    ("{{print}}", ""),
    ("{{print nil}}", "<nil>"),
    ('{{"\\x41\\101"}}', "AA"),
    ('{{printf "%T %T" 1 "a"}}', "int string"),
    ('{{printf "%08.3f" 3.14159}}', "0003.142"),
    ('{{printf "%x" "hello"}}', "68656c6c6f"),
    ('{{printf "%+v" .Name}}', "default"),
)  # fmt: skip

# What docker refuses with "template parsing error: template: :1: " and these words.
REFUSED = (
    ('{{index (split "a b c" " ") 9}}', ""),
    ("{{.Foo}}", ""),
    ("{{.Name.Foo}}", ""),
    ("{{foo}}", 'function "foo" not defined'),
    ("{{.Name", "unclosed action"),
    ("{{.Name}", "bad character U+007D '}'"),
    ("{{}}", "missing value for command"),
    ("{{end}}", "unexpected {{end}}"),
    ("{{if}}x{{end}}", "missing value for if"),
    ("{{if .Name}}x", "unexpected EOF"),
    ("{{range .Name}}x{{end}}", ""),
    ("{{(.Name}}", "unclosed left paren"),
    ('{{"abc}}', "unterminated quoted string"),
    ("{{$y}}", 'undefined variable "$y"'),
    ("{{upper}}", ""),
    ("{{upper 1}}", ""),
    ('{{upper "a" "b"}}', ""),
    ("{{len 3}}", ""),
    ('{{eq 1 "a"}}', ""),
    ("{{eq 1 1.0}}", ""),
    ('{{lt 1 "a"}}', ""),
    ("{{nil}}", ""),
    ("{{1 2}}", ""),
    ("{{break}}", "{{break}} outside {{range}}"),
    ("{{else}}", "unexpected {{else}}"),
    ("{{/* unclosed }}", "unclosed comment"),
    ("{{eq .Name}}", ""),
    ('{{template "x"}}', ""),
    ("{{with $a, $b := 1}}x{{end}}", "too many declarations in with"),
    ("{{$a.b}}", 'undefined variable "$a"'),
    ("{{call .Name}}", ""),
    ("{{if nil}}a{{end}}", ""),
)  # fmt: skip

CONTAINER: dict[str, Any] = {
    "Id": "abc",
    "State": {"Running": True, "ExitCode": 0},
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"com.example.a": "x"}, "Cmd": None},
    "Mounts": [{"Source": "/a", "Destination": "/b"}, {"Source": "/c", "Destination": "/d"}],
    "NetworkSettings": {"Networks": {"none": {"IPAddress": ""}}, "Ports": {}},
}
USED = (
    ("{{.State.Running}} {{.State.ExitCode}}", "true 0"),
    ("{{range .Mounts}}{{.Source}}:{{.Destination}} {{end}}", "/a:/b /c:/d "),
    ("{{range $i, $m := .Mounts}}{{if $i}},{{end}}{{$m.Source}}{{end}}", "/a,/c"),
    ('{{index .Config.Labels "com.example.a"}}', "x"),
    ('{{index .Config.Labels "nope"}}', ""),
    ("{{.Config.Labels.nope}}", "<no value>"),
    ("{{json .Config.Env}}", '["A=1","B=2"]'),
    ('{{join .Config.Env " "}}', "A=1 B=2"),
    ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
    ("{{.Config.Cmd}}", "<no value>"),
    ("{{with .Config.Cmd}}{{.}}{{else}}none{{end}}", "none"),
    ("{{range $name, $n := .NetworkSettings.Networks}}{{$name}}{{end}}", "none"),
    ("{{len .Mounts}}", "2"),
    ("{{(index .Mounts 0).Source}}", "/a"),
    ("{{.Config.Env}}", "[A=1 B=2]"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{$s := .State}}{{$s.ExitCode}}", "0"),
    ("{{slice .Id 0 2}}", "ab"),
)


@pytest.mark.parametrize(("text", "expected"), DOCKERS)
def test_a_template_renders_as_dockers(text: str, expected: str) -> None:
    """The same characters come out."""
    assert template.parse(text).render(CONTEXT) == expected


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_a_wrong_template_is_refused_as_dockers(text: str, words: str) -> None:
    """A template that docker refuses is refused, where it has one reason in the same words."""
    with pytest.raises(InvalidArgument) as caught:
        template.parse(text).render(CONTEXT)
    assert caught.value.message.startswith("template parsing error: template: :1: ")
    assert words in caught.value.message


@pytest.mark.parametrize(("text", "expected"), USED)
def test_templates_that_people_use_on_containers(text: str, expected: str) -> None:
    """The templates of docker's manual and of scripts work on the JSON of a container."""
    assert template.parse(text).render(CONTAINER) == expected


@pytest.mark.parametrize("text", ["{{.Nope}}", "{{.State.nope}}", "{{.Id.x}}", "{{.Config.Cmd.x}}"])
def test_a_field_that_is_not_there_is_an_error(text: str) -> None:
    """A slip in a field's name does not look like an empty value."""
    with pytest.raises(InvalidArgument, match="template parsing error"):
        template.parse(text).render(CONTAINER)


@given(st.text("{}.$|()\"'`-/* \nabNameif ranged0123", max_size=30))
def test_no_template_makes_it_crash(text: str) -> None:
    """Junk renders or is refused with a sentence."""
    try:
        shown = template.parse("{{" + text + "}}").render(CONTEXT)
    except InvalidArgument as error:
        shown = error.message
    assert isinstance(shown, str)


ROWS = [{"name": "a", "size": "1"}, {"name": "longer", "size": "2"}]
FIELDS: Any = {
    "Name": lambda row: row["name"],
    "Size": lambda row: row["size"],
    "Label": lambda row: lambda key: f"{row['name']}.{key}",
}
HEADERS = {"Name": "NAME", "Size": "SIZE"}
LISTS = (
    ("", "NAME      SIZE\na         1\nlonger    2\n"),
    ("table", "NAME      SIZE\na         1\nlonger    2\n"),
    ("json", '{"Name":"a","Size":"1"}\n{"Name":"longer","Size":"2"}\n'),
    ("{{json .}}", '{"Name":"a","Size":"1"}\n{"Name":"longer","Size":"2"}\n'),
    ("{{.Name}}\\t{{.Size}}", "a\t1\nlonger\t2\n"),
    ("table {{.Size}}\\t{{.Name}}", "SIZE      NAME\n1         a\n2         longer\n"),
    ("table {{upper .Name}}", "NAME\nA\nLONGER\n"),
    ('table {{.Name}}\\t{{.Label "my.big-label"}}',
     "NAME      big label\na         a.my.big-label\nlonger    longer.my.big-label\n"),
    ("x", "x\nx\n"),
)  # fmt: skip


@pytest.mark.parametrize(("wanted", "expected"), LISTS)
def test_a_list_is_shown_as_format_says(wanted: str, expected: str) -> None:
    """`table`, `json` and templates, with docker's spacing and titles."""
    shown = listing.show(ROWS, wanted, columns=("Name", "Size"), fields=FIELDS, headers=HEADERS)
    assert shown == expected


def test_an_unknown_column_is_an_error() -> None:
    """A slip in a column's name is told, not printed as an empty column."""
    with pytest.raises(InvalidArgument, match="can't evaluate field Nope"):
        listing.show(ROWS, "table {{.Nope}}", columns=(), fields=FIELDS, headers=HEADERS)
