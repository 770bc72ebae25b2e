"""Go templates as docker's users write them: `{{range .Mounts}}{{.Source}} {{end}}`, pipelines, functions.

Parsed into a small tree once, rendered for each item. What Go has and nobody writes after `--format`
(`define`, `template`, `block`) is refused by name.
"""

from __future__ import annotations

from tiffin.cli import template_functions as functions
from tiffin.cli.template_lexer import Action, Token, pieces, unquote, words
from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Scope = dict[str, Any]
    Node = Callable[["Context"], None]
    Value = Callable[["Context"], Any]


class Context:
    """What a node sees: `dot`, the variables in reach, and where text goes."""

    def __init__(self, dot: Any, variables: dict[str, Any], out: list[str]) -> None:
        """Begin with one dot."""
        self.dot = dot
        self.variables = variables
        self.out = out

    def inside(self, dot: Any) -> Context:
        """Return a context with another dot, whose new variables stay inside."""
        return Context(dot, _Chain(self.variables), self.out)


class _Chain(dict[str, object]):
    """Variables of an inner block: reads fall through, an assignment changes the outer one."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__()
        self._outer = outer

    def __missing__(self, key: str) -> object:
        return self._outer[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._outer

    def assign(self, key: str, value: object) -> None:
        if super().__contains__(key):
            self[key] = value
        elif isinstance(self._outer, _Chain):
            self._outer.assign(key, value)
        else:
            self._outer[key] = value


class _Break(Exception):
    """`{{break}}`."""


class _Continue(Exception):
    """`{{continue}}`."""


class Template:
    """A parsed template."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Keep the tree."""
        self._nodes = nodes

    def render(self, dot: Any) -> str:
        """Return the text for one item; raises InvalidArgument for fields that are not there."""
        out: list[str] = []
        context = Context(dot, {"$": dot}, out)
        try:
            _run(self._nodes, context)
        except (InvalidArgument, IndexError, KeyError, TypeError, ValueError) as error:
            why = error.message if isinstance(error, InvalidArgument) else str(error)
            raise InvalidArgument(f"{_VERB}: template: :1: executing {why}") from None
        except RecursionError:
            raise InvalidArgument(f"{_VERB}: template: :1: it is nested too deep") from None
        return "".join(out)


def parse(text: str) -> Template:
    """Return the template of a text; raises InvalidArgument in Go's words."""
    try:
        parser = _Parser(pieces(text))
        nodes = parser.block(())
    except (InvalidArgument, ValueError) as error:
        why = error.message if isinstance(error, InvalidArgument) else str(error)
        raise InvalidArgument(f"{_VERB}: template: :1: {why}", hint=_HINT) from None
    except RecursionError:
        raise InvalidArgument(f"{_VERB}: template: :1: it is nested too deep") from None
    return Template(nodes)


_VERB = "template parsing error"
_HINT = "a template is text with {{.Field}} in it, for example --format '{{.ID}} {{json .}}'"


def _run(nodes: Sequence[Node], context: Context) -> None:
    for node in nodes:
        node(context)


class _Parser:
    """Recursive descent over the pieces."""

    def __init__(self, found: list[str | Action]) -> None:
        self._pieces = found
        self._position = 0
        self.ended_by: list[Token] = []
        self._loops = 0
        self._known = [{"$"}]

    def block(self, until: tuple[str, ...]) -> list[Node]:
        """Return nodes up to one of the words (or to the end); the ending action is in `ended_by`."""
        nodes: list[Node] = []
        while self._position < len(self._pieces):
            piece = self._pieces[self._position]
            self._position += 1
            if isinstance(piece, str):
                if piece:
                    nodes.append(_literal(piece))
                continue
            tokens = words(piece.source)
            if not tokens:
                raise InvalidArgument("missing value for command")
            first = tokens[0].text if tokens[0].kind == "name" else ""
            if first in {"end", "else"}:
                if first not in until:
                    raise InvalidArgument(f"unexpected {{{{{first}}}}}")
                self.ended_by = tokens
                return nodes
            nodes.append(self._action(first, tokens))
        if until:
            raise InvalidArgument("unexpected EOF")
        return nodes

    def _action(self, first: str, tokens: list[Token]) -> Node:
        if first in {"if", "with", "range"}:
            return self._control(first, tokens[1:])
        if first in {"break", "continue"} and len(tokens) == 1:
            if not self._loops:
                raise InvalidArgument(f"{{{{{first}}}}} outside {{{{range}}}}")
            return _leave(_Break if first == "break" else _Continue)
        if first in {"define", "template", "block"}:
            raise InvalidArgument(f"{{{{{first}}}}} is not supported")
        names, declares, rest = _declaration(tokens)
        value = self._pipeline(rest)
        if not names:
            return _print(value)
        if len(names) > 1:
            raise InvalidArgument("too many declarations in command")
        self._note(names, declares=declares)
        return _assign(names[0], value, declares=declares)

    def _note(self, names: list[str], *, declares: bool) -> None:
        for name in names:
            if not declares and not any(name in scope for scope in self._known):
                raise InvalidArgument(f'undefined variable "{name}"')
            self._known[-1].add(name)

    def _control(self, kind: str, tokens: list[Token]) -> Node:
        names, declares, rest = _declaration(tokens)
        self._known.append(set())
        if not rest:
            raise InvalidArgument(f"missing value for {kind}")
        value = self._pipeline(rest)
        if len(names) > 1 and kind != "range":
            raise InvalidArgument(f"too many declarations in {kind}")
        self._note(names, declares=declares)
        self._loops += kind == "range"
        body = self.block(("end", "else"))
        self._loops -= kind == "range"
        self._known.pop()
        otherwise: list[Node] = []
        ending = self.ended_by
        if ending[0].text == "else":
            if len(ending) > 1:
                if ending[1].text not in {"if", "with"} or kind == "range":
                    raise InvalidArgument(f"unexpected {ending[1].text} in else")
                otherwise = [self._control(ending[1].text, ending[2:])]
            else:
                otherwise = self.block(("end",))
        make = {"if": _if, "with": _with, "range": _range}[kind]
        return make(names, value, body, otherwise)

    def _pipeline(self, tokens: list[Token]) -> Value:
        commands = _split(tokens, "|")
        value: Value | None = None
        for command in commands:
            if not command:
                raise InvalidArgument("missing value for command")
            value = self._command(command, value)
        if value is None:
            raise InvalidArgument("missing value for command")
        return value

    def _command(self, tokens: list[Token], piped: Value | None) -> Value:
        operands = self._operands(tokens)
        head, *arguments = operands
        if piped is not None:
            arguments = [*arguments, piped]
        first = tokens[0]
        if first.kind == "name" and first.text in functions.LAZY:
            return functions.LAZY[first.text](arguments)
        if first.kind in {"string", "number", "char"} or first.text in {"true", "false", "nil"}:
            if arguments:
                raise InvalidArgument(f"can't give argument to non-function {first.text}")
            if first.text == "nil":
                raise InvalidArgument("nil is not a command")
            return head
        return _call(head, arguments, first.text)

    def _operands(self, tokens: list[Token]) -> list[Value]:
        found: list[Value] = []
        position = 0
        while position < len(tokens):
            token = tokens[position]
            if token.text == "(":
                end = _closing(tokens, position)
                found.append(self._pipeline(tokens[position + 1 : end]))
                position = end + 1
            else:
                found.append(self._operand(token))
                position += 1
            while position < len(tokens) and tokens[position].kind == "chain":
                found[-1] = _field(tokens[position].text, found[-1])
                position += 1
        return found

    def _operand(self, token: Token) -> Value:
        if token.kind == "field":
            return _field(token.text, _dot)
        if token.text == "." and token.kind == "punctuation":
            return _dot
        if token.kind == "variable":
            if not any(token.text in scope for scope in self._known):
                raise InvalidArgument(f'undefined variable "{token.text}"')
            return lambda context: context.variables[token.text]
        if token.kind in {"string", "char", "number"} or token.text in _CONSTANTS:
            return _constant(_value(token))
        if token.kind == "name":
            if token.text in functions.LAZY:
                return functions.LAZY[token.text]([])
            if token.text not in functions.FUNCTIONS:
                raise InvalidArgument(f'function "{token.text}" not defined')
            return _constant(functions.FUNCTIONS[token.text])
        raise InvalidArgument(f'unexpected "{token.text}" in operand')


_CONSTANTS = {"true": True, "false": False, "nil": None}


def _value(token: Token) -> Any:
    if token.kind == "string":
        return unquote(token.text)
    if token.kind == "char":
        return ord(unquote('"' + token.text[1:-1] + '"'))
    if token.kind == "number":
        return functions.number(token.text)
    return _CONSTANTS[token.text]


def _constant(value: Any) -> Value:
    return lambda _context: value


def _dot(context: Context) -> Any:
    return context.dot


def _declaration(tokens: list[Token]) -> tuple[list[str], bool, list[Token]]:
    """Split `$k, $v := pipeline` into names, whether it declares (`:=`), and the pipeline."""
    for index, token in enumerate(tokens[:4]):
        if token.text in {":=", "="} and token.kind == "punctuation":
            names = [t.text for t in tokens[:index] if t.kind == "variable"]
            if len(names) in {1, 2} and all(t.kind == "variable" or t.text == "," for t in tokens[:index]):
                return names, token.text == ":=", tokens[index + 1 :]
    return [], True, tokens


def _split(tokens: list[Token], mark: str) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "punctuation":
            depth += (token.text == "(") - (token.text == ")")
            if token.text == mark and depth == 0:
                parts.append([])
                continue
        parts[-1].append(token)
    if depth:
        raise InvalidArgument("unclosed left paren" if depth > 0 else "unexpected right paren")
    return parts


def _closing(tokens: list[Token], start: int) -> int:
    depth = 0
    for index in range(start, len(tokens)):
        token = tokens[index]
        if token.kind == "punctuation":
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0:
                return index
    raise InvalidArgument("unclosed left paren")


def _literal(text: str) -> Node:
    return lambda context: context.out.append(text)


def _print(value: Value) -> Node:
    return lambda context: context.out.append(functions.show(value(context)))


def _assign(name: str, value: Value, *, declares: bool) -> Node:
    def node(context: Context) -> None:
        variables = context.variables
        if declares or not isinstance(variables, _Chain):
            variables[name] = value(context)
        else:
            variables.assign(name, value(context))

    return node


def _leave(signal: type[Exception]) -> Node:
    def node(_context: Context) -> None:
        raise signal

    return node


def _if(names: list[str], value: Value, body: Sequence[Node], otherwise: Sequence[Node]) -> Node:
    def node(context: Context) -> None:
        inner = context.inside(context.dot)
        found = value(inner)
        for name in names:
            inner.variables[name] = found
        _run(body if functions.truth(found) else otherwise, inner)

    return node


def _with(names: list[str], value: Value, body: Sequence[Node], otherwise: Sequence[Node]) -> Node:
    def node(context: Context) -> None:
        inner = context.inside(context.dot)
        found = value(inner)
        for name in names:
            inner.variables[name] = found
        if functions.truth(found):
            inner.dot = found
            _run(body, inner)
        else:
            _run(otherwise, inner)

    return node


def _range(names: list[str], value: Value, body: Sequence[Node], otherwise: Sequence[Node]) -> Node:
    def node(context: Context) -> None:
        found = list(_pairs(value(context)))
        if not found:
            _run(otherwise, context.inside(context.dot))
        for key, item in found:
            inner = context.inside(item)
            for name, given in zip(reversed(names), (item, key), strict=False):
                inner.variables[name] = given
            try:
                _run(body, inner)
            except _Continue:
                continue
            except _Break:
                break

    return node


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if value is None:
        return iter(())
    if isinstance(value, dict):
        return iter(sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return iter(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return iter((n, n) for n in range(value))
    raise InvalidArgument(f'"" at <range>: range can\'t iterate over {functions.show(value)}')


def _field(path: str, owner: Value) -> Value:
    names = path.split(".")[1:]

    def value(context: Context) -> Any:
        found, above = owner(context), ""
        for name in names:
            found, above = functions.field(found, name, path, above), name
        return found

    return value


def _call(head: Value, arguments: Sequence[Value], shown: str) -> Value:
    def value(context: Context) -> Any:
        function = head(context)
        if not callable(function):
            if arguments:
                raise InvalidArgument(f'"" at <{shown}>: {shown} is not a method but has arguments')
            return function
        try:
            return function(*[argument(context) for argument in arguments])
        except (AttributeError, TypeError, ValueError):
            raise InvalidArgument(f'"" at <{shown}>: wrong number or type of args for {shown}') from None

    return value
