"""What a build is given: where images come from, who runs a RUN, who names the result.

The engine plays these roles; tests play them with real parts or small ones of their own. Everything
else (layers, cache) a build takes from the store itself.
"""

from __future__ import annotations

from tiffin.spec.container import HostConfig
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from tiffin.build.events import Step
    from tiffin.build.explain import Explanation
    from tiffin.build.repositories import Checkout
    from tiffin.spec.descriptor import Descriptor
    from tiffin.spec.image import ImageConfig
    from tiffin.spec.platform import Platform
    from tiffin.store.snapshots import Draft

    # (stream 1 or 2, bytes)
    Output = Callable[[int, bytes], None]
else:
    Protocol = object


class Layer(Value):
    """One layer of an image. `blob` is the compressed one it came as, None for a layer that was built."""

    diff_id: str
    chain_id: str
    size: int
    blob: Descriptor | None = None


class BaseImage(Value):
    """An image that is in the store, layers bottom first. `fetched` says that it was pulled just now."""

    name: str
    config: ImageConfig
    layers: tuple[Layer, ...]
    fetched: bool = False


class ImageResolver(Protocol):
    """Brings images into the store."""

    def resolve(self, reference: str, platform: Platform, *, pull: bool) -> BaseImage:
        """Return an image, pulled where it is not here (or always, with `pull`).

        Raises NotFound, Unavailable, Unauthorized... Its layers must be held by a lease of this process.
        """

    def fetch(self, url: str, place: str) -> int:
        """Write what a URL gives to a new file; return its time of change (ns), 0 if that is not known."""

    def clone(self, wanted: Checkout, folder: str) -> str:
        """Check a repository out into an empty folder, without anything of Git's but what is wanted.

        Return the commit; raise NotFound, Unavailable, Corrupt (another commit than the checksum's).
        """


class StepMount(Value):
    """What is mounted while a RUN runs, and is in no layer.

    `kind`: bind (`place` on the host), image (`place` is a path in `layers`), tmpfs (`size`), secret
    (a file of `data`), ssh (a socket that leads to the one at `place`).
    """

    kind: str
    target: str
    place: str = ""
    read_only: bool = False
    layers: tuple[str, ...] = ()
    data: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0


class RunRequest(Value):
    """One RUN. `layers` are chain ids, bottom first; `user` is as USER wrote it, "" for root.

    `env` is complete but for what every process gets (HOME, PATH where missing); `network` is
    default, none or host; `files` are to be readable and executable at these paths while it runs,
    and must not be in the result. `insecure` is without any sandbox; `devices` are names of CDI, each with
    whether it is required.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...]
    user: str
    cwd: str
    layers: tuple[str, ...]
    network: str = "default"
    files: tuple[tuple[str, bytes], ...] = ()
    mounts: tuple[StepMount, ...] = ()
    insecure: bool = False
    devices: tuple[tuple[str, bool], ...] = ()


class RunResult(Value):
    """How a RUN ended; `draft` is what it changed (its upper folder), needed only for exit code 0."""

    exit_code: int
    draft: Draft | None = None


class StepRunner(Protocol):
    """Runs commands in containers that leave nothing but a draft."""

    def run(self, request: RunRequest, output: Output) -> RunResult:
        """Run to the end, passing on what is written; raise StartFailed where nothing could be started."""

    def cancel(self) -> None:
        """End every command that runs now, in whatever thread: the build has failed elsewhere."""


class Exporter(Protocol):
    """Makes an image of the result."""

    def export(self, config: ImageConfig, layers: tuple[Layer, ...]) -> str:
        """Commit the image with its names and return its id. The build's lease still holds the layers."""


class Built(Value):
    """A build that worked. `image_id` is the config's digest; `layers` are bottom first.

    `explanation` says of each step why it was cached or ran.
    """

    image_id: str
    config: ImageConfig
    layers: tuple[Layer, ...]
    steps: tuple[Step, ...]
    explanation: Explanation
    warnings: tuple[str, ...] = ()
    platform: Platform | None = None


class Options(Value):
    """The words of `docker build` that decide what is built."""

    build_args: Mapping[str, str] = EMPTY
    target: str = ""
    platform: Platform | None = None
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()  # names of stages that are built anew
    pull: bool = False
    labels: Mapping[str, str] = EMPTY
    network: str = "default"
    host: HostConfig = HostConfig()  # names of hosts and limits of commands
    secrets: Mapping[str, bytes] = EMPTY
    ssh: Mapping[str, str] = EMPTY  # id -> path of an agent's socket
    contexts: Mapping[str, str] = EMPTY  # named contexts: folder, docker-image://, oci-layout://, URL
    allow: tuple[str, ...] = ()  # entitlements: security.insecure, network.host, device
