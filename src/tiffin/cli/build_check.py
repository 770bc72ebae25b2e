"""build --check: what the build checks find, as docker prints it."""

from __future__ import annotations

import sys

from tiffin.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.build.checking import Checked
    from tiffin.build.checks import Finding
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_RULER = "-" * 20
_AROUND = 2
"""Lines that are shown above and below those that are meant."""


def wanted(parsed: Parsed) -> bool:
    """Tell whether --check, or --call=check, is given; raise for a method that is not here."""
    method = parsed.text("call").partition(",")[0].removeprefix("type=")
    if method in {"outline", "targets"}:
        raise Unsupported(f"--call={method} is not supported", hint="--call=check is")
    if method not in {"", "build", "check"}:
        message = f"invalid call type: {method}"
        raise InvalidArgument(message, hint="it is build or check")
    return parsed.flag("check") or method == "check"


def check(parsed: Parsed, session: Session, **words: Any) -> int:
    """Print the findings; the exit code is 1 if there are any, as docker's."""
    found = session.engine.images.check(
        **words,
        target=parsed.text("target"),
        platform=parsed.text("platform"),
        contexts=dict(text.partition("=")[::2] for text in parsed.many("build-context")),
    )
    if parsed.text("call").endswith("format=json"):
        _show_json(found)
    else:
        _show(found)
    if found.error is not None:
        raise found.error
    return 1 if found.findings else 0


def _show(found: Checked) -> None:
    count = len(found.findings)
    if count:
        told = "1 warning has been" if count == 1 else f"{count} warnings have been"
        sys.stdout.write(f"Check complete, {told} found!\n")
    elif found.error is None:
        sys.stdout.write("Check complete, no warnings found.\n")
    for finding in found.findings:
        title = f"\nWARNING: {finding.rule} - {finding.url}\n{finding.detail}\n"
        sys.stdout.write(title + _excerpt(found, finding))


def _excerpt(found: Checked, finding: Finding) -> str:
    first = max(1, finding.line - _AROUND)
    last = min(len(found.lines), finding.end_line + _AROUND)
    shown = [f"{found.file}:{finding.line}", _RULER]
    for number in range(first, last + 1):
        mark = ">>> " if finding.line <= number <= finding.end_line else "    "
        shown.append(f" {number:>3} | {mark}{found.lines[number - 1]}")
    return "\n".join([*shown, _RULER]) + "\n"


def _show_json(found: Checked) -> None:
    """Print the findings under the names that docker's have."""
    import base64

    from tiffin.spec import jsontext

    data = base64.b64encode("\n".join(found.lines).encode()).decode()
    warnings = [
        {
            "ruleName": finding.rule,
            "url": finding.url,
            "detail": finding.detail,
            "location": {
                "ranges": [{"start": {"line": finding.line}, "end": {"line": finding.end_line}}],
            },
        }
        for finding in found.findings
    ]
    sources = [{"fileName": found.file, "language": "Dockerfile", "data": data}]
    sys.stdout.write(jsontext.dumps({"warnings": warnings, "sources": sources}) + "\n")
