"""What docker's own client says to wrong command lines and to --help, recorded from version 28.2.2.

The client need not be installed where the tests run. To record anew, with it on PATH:

    python -m tests.cli.docker_said

Errors are kept as they are; of help pages only the digest is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess

_FILE = os.path.join(os.path.dirname(__file__), "docker-said.json")


def recorded() -> dict[str, dict[str, list[str]]]:
    """Return `errors` (line -> exit code, stdout, lines of stderr) and `pages` (command -> digest)."""
    with open(_FILE, encoding="utf-8") as stream:
        said: dict[str, dict[str, list[str]]] = json.load(stream)
    return said


def page_digest(text: str) -> str:
    """Return what a help page is compared by; blank lines at its end do not count."""
    return hashlib.sha256(text.rstrip("\n").encode()).hexdigest()


def _page(name: str) -> str:
    command = ["docker", *name.split(), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    text = re.sub(r"(?s)^DEPRECATED:.*?buildx/\n\n", "", done.stdout)
    return text.replace("docker ", "tiffin ")


def _error(line: str) -> list[str]:
    done = subprocess.run(["docker", *line.split()], capture_output=True, text=True, check=False)
    text = done.stderr.replace("docker", "tiffin").replace("SRun", "See")
    return [str(done.returncode), done.stdout, *[words for words in text.splitlines() if words]]


def main() -> None:
    """Ask the client and write the file."""
    from tests.cli.test_help import COMMANDS
    from tests.cli.test_parser import WRONG

    said = {
        "errors": {line: _error(line) for line in WRONG},
        "pages": {name: [page_digest(_page(name))] for name in COMMANDS},
    }
    with open(_FILE, "w", encoding="utf-8") as stream:
        json.dump(said, stream, indent=1, sort_keys=True)
        stream.write("\n")


if __name__ == "__main__":
    main()
