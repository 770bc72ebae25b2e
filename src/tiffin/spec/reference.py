"""References: `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`, as the distribution grammar and docker have them.

Written without `re`: parsing a name is on the path of every `run`. Grammar: distribution
reference.go; "familiar" names are those that docker shows (`busybox:latest` for
`docker.io/library/busybox:latest`).
"""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.spec import digest as digests
from tiffin.spec.value import Value

HUB = "docker.io"
_HUB_PREFIX = f"{HUB}/"
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ADDRESS = frozenset("0123456789abcdefABCDEF:")
_TAG_FIRST = _ALNUM | {"_"}
_TAG_REST = _TAG_FIRST | {".", "-"}
_NAME_LENGTH = 255
_TAG_LENGTH = 128


class Reference(Value):
    """A normalised name: `domain` and `path` are always set, `tag` and `digest` may be ""."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> Reference:
        """Parse what a user wrote; raise InvalidArgument with docker's sentence for anything else."""
        rest, at, digest = text.partition("@")
        if at and not digests.valid(digest):
            raise _invalid(text)
        name, tag = _split_tag(rest)
        if tag is not None and not valid_tag(tag):
            raise _invalid(text)
        if not at and tag is None and len(name) == 64 and _is_hex(name):
            message = f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"
            raise InvalidArgument(message)
        domain, path = _split_domain(name)
        if not _valid_domain(domain) or not path or len(domain) + 1 + len(path) > _NAME_LENGTH:
            raise _invalid(text)
        if path != path.lower():
            message = f"invalid reference format: repository name ({path}) must be lowercase"
            raise InvalidArgument(message)
        if not all(map(_valid_component, path.split("/"))):
            raise _invalid(text)
        return Reference(domain=domain, path=path, tag=tag or "", digest=digest)

    def tagged(self) -> Reference:
        """Return it with docker's default tag, `latest`, where it has neither tag nor digest."""
        return self if self.tag or self.digest else self.replace(tag="latest")

    @property
    def name(self) -> str:
        """The canonical repository: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as docker shows it: `busybox`, `user/app`, `localhost:5000/shop`."""
        if self.domain != HUB:
            return self.name
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def familiar(self) -> str:
        """The whole reference as docker shows it."""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    def __str__(self) -> str:
        """Return the canonical form."""
        return self.name + self._suffix()


def familiar(canonical: str) -> str:
    """Return a canonical reference (what `str` gives) as docker shows it, without parsing it again."""
    if not canonical.startswith(_HUB_PREFIX):
        return canonical
    path = canonical[len(_HUB_PREFIX) :]
    return path.removeprefix("library/") if path.count("/") == 1 else path


def valid_tag(tag: str) -> bool:
    """Tell whether this is a tag: 1 to 128 of letters, digits, `_.-`, not starting with `.` or `-`."""
    return 0 < len(tag) <= _TAG_LENGTH and tag[0] in _TAG_FIRST and _TAG_REST.issuperset(tag)


def _invalid(text: str) -> InvalidArgument:
    hint = "a name is [HOST[:PORT]/]NAME[:TAG], for example localhost:5000/shop:1"
    return InvalidArgument(
        f'invalid reference format: "{text}"' if not text else "invalid reference format", hint=hint
    )


def _split_tag(rest: str) -> tuple[str, str | None]:
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, None
    return head, tag


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not looks_like_host:
        domain, path = HUB, name
    else:
        domain, path = first, rest
    if domain == "index.docker.io":
        domain = HUB
    if domain == HUB and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _valid_domain(domain: str) -> bool:
    if domain.startswith("["):
        address, bracket, port = domain[1:].partition("]")
        return (
            bool(bracket)
            and _ADDRESS.issuperset(address)
            and address != ""
            and (not port or _valid_port(port))
        )
    host, colon, port = domain.partition(":")
    if colon and not _valid_port(":" + port):
        return False
    return all(
        part and _ALNUM.issuperset(part.replace("-", "")) and part[0] != "-" and part[-1] != "-"
        for part in host.split(".")
    )


def _valid_port(port: str) -> bool:
    return port[0] == ":" and port[1:].isascii() and port[1:].isdigit()


def _valid_component(component: str) -> bool:
    """Check alphanumeric runs separated by one `.`, one or two `_`, or any number of `-`."""
    if not component or component[0] not in _LOWER or component[-1] not in _LOWER:
        return False
    separator = ""
    for character in component:
        if character in _LOWER:
            if separator not in {"", ".", "_", "__"} and separator.strip("-"):
                return False
            separator = ""
        elif character in "._-":
            separator += character
        else:
            return False
    return True


def _is_hex(text: str) -> bool:
    return bool(text) and frozenset("0123456789abcdef").issuperset(text)
