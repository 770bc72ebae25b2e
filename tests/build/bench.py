"""A bench to build on: a real store, a folder as context, and small real players of a build's roles."""

from __future__ import annotations

import os
import posix
import shlex
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

from tiffin.build.entry import build
from tiffin.build.events import StepDone, StepOutput
from tiffin.build.roles import BaseImage, Built, Layer, Options, RunResult
from tiffin.engine.cloning import clone
from tiffin.engine.fetching import fetch
from tiffin.errors import NotFound, StartFailed
from tiffin.layer import diff
from tiffin.settings import ROOT, Settings
from tiffin.spec import digest as digests
from tiffin.spec.container import ContainerConfig
from tiffin.spec.image import HistoryEntry, ImageConfig
from tiffin.spec.platform import Platform
from tiffin.store.store import Store

if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from tiffin.build.events import BuildEvent
    from tiffin.build.repositories import Checkout
    from tiffin.build.roles import Output, RunRequest

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1001:\nstaff:x:50:\n"
BASE = "docker.io/library/base:latest"


class Bench:
    """Plays image resolver, step runner and exporter, and remembers what they were asked."""

    def __init__(self, folder: str) -> None:
        """Make an empty store and an empty context below a folder."""
        self.folder = folder
        self.store = Store(
            Settings(root=f"{folder}/root", run=f"{folder}/run", privilege=ROOT, durable=False)
        )
        self.context = f"{folder}/context"
        os.mkdir(self.context)
        self.images: dict[str, BaseImage] = {}
        self.requests: list[RunRequest] = []
        self.resolved: list[str] = []
        self.exported: list[tuple[ImageConfig, tuple[Layer, ...]]] = []
        self.events: list[BuildEvent] = []

    # The context

    def write(self, path: str, content: str | bytes = "", mode: int = 0o644) -> str:
        """Write a file of the context; its host path."""
        place = f"{self.context}/{path}"
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
        os.chmod(place, mode)
        return place

    # Images

    def add_base(
        self, name: str = BASE, *, config: ContainerConfig | None = None, extra: str = ""
    ) -> BaseImage:
        """Put an image with busybox into the store; `extra` is a shell script run in its folder."""
        draft = self.store.snapshots.begin()
        root = draft.path
        for path in ("usr/bin", "etc", "dev", "proc", "sticky", "home/app", "run", "var"):
            os.makedirs(f"{root}/{path}")
        os.chmod(f"{root}/sticky", 0o1777)  # noqa: S103 - as a folder for everybody is
        posix.symlink("usr/bin", f"{root}/bin")
        posix.symlink("/run", f"{root}/var/run")
        shutil.copy("/usr/bin/busybox", f"{root}/usr/bin/busybox")
        for applet in (
            "sh",
            "cat",
            "echo",
            "ls",
            "touch",
            "rm",
            "mkdir",
            "id",
            "pwd",
            "env",
            "chroot",
            "true",
        ):
            os.link(f"{root}/usr/bin/busybox", f"{root}/usr/bin/{applet}")
        for path, text in (("etc/passwd", PASSWD), ("etc/group", GROUP)):
            with open(f"{root}/{path}", "w") as stream:
                stream.write(text)
        if extra:
            subprocess.run(["/bin/sh", "-ec", extra], cwd=root, check=True)
        measured = diff.measure(root, xattr="trusted.")
        chain_id = self.store.snapshots.commit(draft, parent="", diff_id=measured.diff_id, size=measured.size)
        image_config = ImageConfig.build(
            platform=Platform.here(),
            config=config or ContainerConfig(env=("PATH=/usr/bin:/bin",), cmd=("sh",)),
            diff_ids=(measured.diff_id,),
            history=(HistoryEntry(created="2024-01-02T03:04:05Z", created_by="base"),),
            created="2024-01-02T03:04:05Z",
        )
        layer = Layer(diff_id=measured.diff_id, chain_id=chain_id, size=measured.size)
        self.images[name] = BaseImage(name=name, config=image_config, layers=(layer,))
        return self.images[name]

    def keep(self, built: Built, name: str) -> None:
        """Make a built image one that others may start from."""
        self.images[name] = BaseImage(name=name, config=built.config, layers=built.layers)

    def resolve(self, reference: str, platform: Platform, *, pull: bool) -> BaseImage:
        """See ImageResolver."""
        assert platform
        self.resolved.append(reference + ("!" if pull else ""))
        if reference not in self.images:
            message = f"No such image: {reference}"
            raise NotFound(message)
        return self.images[reference]

    def fetch(self, url: str, place: str) -> int:
        """See ImageResolver."""
        return fetch(self.store.settings, url, place)

    def clone(self, wanted: Checkout, folder: str) -> str:
        """See ImageResolver: whatever the machine's git can reach."""
        return clone(self.store.settings, wanted, folder)

    # Runs

    def cancel(self) -> None:
        """See StepRunner: commands here are short, they may end by themselves."""

    def run(self, request: RunRequest, output: Output) -> RunResult:
        """See StepRunner: a real overlay mount in a mount namespace of its own, and chroot."""
        self.requests.append(request)
        key = f"step{len(self.requests)}"
        mount = self.store.snapshots.prepare(key, request.layers)
        target = mount.target
        program = self.store.stack(request.layers).stat(request.argv[0])
        if program is None and not request.files:
            self.store.snapshots.remove(key)
            message = f'exec: "{request.argv[0]}": executable file not found in $PATH'
            raise StartFailed(message, exit_code=127)
        script = [
            f"cd {mount.base}",
            f"mount -t overlay overlay -o {shlex.quote(mount.data())} {target}",
            f"mount -t tmpfs tmpfs {target}/dev",
        ]
        for path, _ in request.files:
            script.append(f"mkdir -p {target}{os.path.dirname(path)}")
            script.append(f"cat > {target}{path}; chmod 755 {target}{path}")
        user = f"--userspec={request.user}" if request.user else "--userspec=0:0"
        enter = shlex.join(["/bin/sh", "-c", 'cd "$0" && exec "$@"', request.cwd, *request.argv])
        script.append(f"exec env -i {shlex.join(request.env)} /usr/sbin/chroot {user} {target} {enter}")
        done = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "/bin/sh", "-ec", "\n".join(script)],
            input=request.files[0][1] if request.files else b"",
            capture_output=True,
            check=False,
        )
        for stream, data in ((1, done.stdout), (2, done.stderr)):
            if data:
                output(stream, data)
        draft = self.store.snapshots.adopt_upper(key) if done.returncode == 0 else None
        self.store.snapshots.remove(key)
        return RunResult(exit_code=done.returncode, draft=draft)

    # Results

    def export(self, config: ImageConfig, layers: tuple[Layer, ...]) -> str:
        """See Exporter."""
        self.exported.append((config, layers))
        return config.id

    def build(
        self,
        dockerfile: str = "",
        *,
        context: str | BinaryIO | None = "",
        file: str = "",
        options: Options | None = None,
        **words: Any,
    ) -> Built:
        """Build from the context, or from another one; `words` are options by name."""
        self.events = []
        return build(
            self.store,
            self.context if context == "" else context,
            images=self,
            runner=self,
            exporter=self,
            dockerfile=dockerfile,
            file=file,
            options=options or Options(**words),
            progress=self.events.append,
        )

    def cached(self) -> list[bool]:
        """Tell for each step of the last build that has a layer whether it was cached."""
        return [e.cached for e in self.events if isinstance(e, StepDone) and e.layer]

    def reasons(self) -> list[str]:
        """Return why steps of the last build ran."""
        return [e.reason for e in self.events if isinstance(e, StepDone) and e.reason]

    def output(self) -> str:
        """Return what RUNs wrote in the last build."""
        return b"".join(e.data for e in self.events if isinstance(e, StepOutput)).decode()

    def tree(self, built: Built, below: str = "/", *, skip: int = 0) -> dict[str, str]:
        """Show what the image holds: path -> kind, mode, owner, content. `skip` leaves lower layers out."""
        shown = {}
        chain = tuple(layer.chain_id for layer in built.layers)[skip:]
        for path, node in self.store.stack(chain).walk(below):
            info = node.info
            text = f"{stat.S_IMODE(info.st_mode):o} {info.st_uid}:{info.st_gid}"
            if stat.S_ISLNK(info.st_mode):
                text = f"-> {os.readlink(node.places[0])}"
            elif stat.S_ISREG(info.st_mode):
                with open(node.places[0], "rb") as stream:
                    text += f" {stream.read(60).decode(errors='replace')}"
            elif not stat.S_ISDIR(info.st_mode):
                text = f"{stat.S_IFMT(info.st_mode):o} {text}"
            folder = stat.S_ISDIR(info.st_mode) and path != "/"
            shown[f"{path}/" if folder else path] = text
        return shown

    def read(self, built: Built, path: str) -> str | None:
        """Return a file of the image."""
        data = self.store.stack(tuple(layer.chain_id for layer in built.layers)).read(path)
        return None if data is None else data.decode()


def digest(text: str) -> str:
    """Return a digest of a text."""
    return digests.of(text.encode())
