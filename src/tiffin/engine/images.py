"""The verbs of images: one method each, the longer stories in a file of their own."""

from __future__ import annotations

from tiffin.engine.image_views import HistoryView, ImageView, image_inspect, image_view
from tiffin.errors import BuildFailed, InvalidArgument, NotFound, Unsupported
from tiffin.spec.reference import Reference, familiar
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, BinaryIO

    from tiffin.build.checking import Checked
    from tiffin.build.events import BuildEvent
    from tiffin.build.explain import Explanation
    from tiffin.build.failure import Kept
    from tiffin.build.roles import Built
    from tiffin.engine.anatomy import Blame, Tree
    from tiffin.engine.debugging import Executed
    from tiffin.engine.engine import Engine
    from tiffin.engine.filters import Filters
    from tiffin.engine.packing import Packing
    from tiffin.engine.planning import PullPlan
    from tiffin.engine.progress import Report
    from tiffin.engine.prune import Doomed, Plan
    from tiffin.engine.pull import Pulled
    from tiffin.engine.push import Pushed
    from tiffin.keeper.client import Connection
    from tiffin.spec.container import HostConfig
    from tiffin.store.compare import Difference
    from tiffin.store.images import ImageRecord


class Removed(Value):
    """One line of `rmi`: a name that was taken away, or an image or layer that went."""

    untagged: str = ""
    deleted: str = ""


class ImagesPruned(Value):
    """What a prune removed, and how many bytes that freed."""

    removed: tuple[Removed, ...]
    reclaimed: int


def removed_lines(items: Sequence[Doomed]) -> tuple[Removed, ...]:
    """Return docker's lines for images that a prune took: each name, then the id."""
    lines: list[Removed] = []
    for item in items:
        lines += [Removed(untagged=familiar(name)) for name in item.names]
        lines.append(Removed(deleted=item.id))
    return tuple(lines)


class Images:
    """Images of one engine. Names are NAME[:TAG], NAME@DIGEST, ids or unique prefixes of ids."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._store = engine.store

    def get(self, name: str) -> ImageRecord:
        """Return an image's record; raises NotFound."""
        return self._store.images.resolve(name)

    def list(self, *, all: bool = False, filters: Filters = EMPTY) -> tuple[ImageView, ...]:  # noqa: ARG002
        """Return images, newest first. There are no intermediate images, so `all` changes nothing."""
        need_labels = "label" in filters
        views = tuple(
            image_view(record, labels=self._labels(record) if need_labels else EMPTY)
            for record in self._store.images.list()
        )
        if not filters:
            return views
        import time

        from tiffin.engine import filters as filtering

        found = filtering.images(
            views, filters, find=lambda name: image_view(self.get(name)), now_ns=time.time_ns()
        )
        return tuple(found)

    def _labels(self, record: ImageRecord) -> Mapping[str, str]:
        return self._store.images.config(record).config.labels

    def size(self, image_id: str) -> int:
        """Return an image's unpacked bytes, 0 if it is gone."""
        try:
            return self.get(image_id).size
        except NotFound:
            return 0

    def family(self, image_id: str) -> set[str]:
        """Return the ids of an image and of all images built on it (whose layers begin with its)."""
        layers = self.get(image_id).layers
        return {r.id for r in self._store.images.list() if r.layers[: len(layers)] == layers}

    def inspect(self, name: str) -> dict[str, Any]:
        """Return docker's JSON of an image."""
        record = self.get(name)
        images = self._store.images
        layout, driver = self._store.layout, self._engine.settings.driver
        return image_inspect(record, images.config(record), images.manifest(record), layout, driver)

    def diff(self, old: str, new: str) -> tuple[Difference, ...]:
        """Return the paths that were added, changed or removed from one image to another, with sizes."""
        if self._engine.outside():
            return self._engine.inside("images.diff", old, new)  # type: ignore[no-any-return]
        from tiffin.engine.anatomy import differences

        return differences(self._engine, old, new)

    def blame(self, name: str, path: str) -> tuple[Blame, ...]:
        """Return every instruction that wrote or deleted a path, newest first; raises NotFound."""
        if self._engine.outside():
            return self._engine.inside("images.blame", name, path)  # type: ignore[no-any-return]
        from tiffin.engine.anatomy import blame

        return blame(self._engine, name, path)

    def tree(self, *, all: bool = False, filters: Filters = EMPTY) -> tuple[Tree, ...]:
        """Return images as `list` does, each with the platforms that its name stands for."""
        from tiffin.engine.anatomy import tree

        return tuple(tree(self._engine, self.list(all=all, filters=filters)))

    def history(self, name: str, *, waste: bool = False) -> tuple[HistoryView, ...]:
        """Return how an image was made, newest first; sizes in bytes, 0 where no layer was made.

        With `waste` each says how many of its bytes a later layer hides.
        """
        if waste and self._engine.outside():
            return self._engine.inside("images.history", name, waste=True)  # type: ignore[no-any-return]
        from tiffin.spec.image import HistoryEntry

        record = self.get(name)
        config = self._store.images.config(record)
        unseen = self._wasted(record) if waste else (-1,) * len(record.layers)
        layers = [
            (self._store.snapshots.size(chain), hidden, diff_id)
            for chain, hidden, diff_id in zip(record.layers, unseen, config.diff_ids, strict=True)
        ]
        nothing = (0, 0 if waste else -1, "")
        made = [
            (entry, nothing if entry.empty_layer or not layers else layers.pop(0)) for entry in config.history
        ]
        # Images made without history still have layers; docker shows one line for each.
        made += [(HistoryEntry(created=config.created), layer) for layer in layers]
        views = [
            HistoryView(
                id="",
                created=entry.created,
                created_by=entry.created_by,
                size=size,
                comment=entry.comment,
                wasted=hidden,
                layer=diff_id,
            )
            for entry, (size, hidden, diff_id) in made
        ]
        views.reverse()
        if views:
            views[0] = views[0].replace(id=record.id, tags=tuple(map(familiar, record.tags)))
        return tuple(views)

    def _wasted(self, record: ImageRecord) -> tuple[int, ...]:
        from tiffin.engine.anatomy import wasted

        return wasted(self._engine, record)

    def tag(self, source: str, target: str) -> None:
        """Give an image one more name; a name that another image had moves here."""
        record = self.get(source)
        name = Reference.parse(target)
        if name.digest:
            message = "refusing to create a tag with a digest reference"
            raise InvalidArgument(message)
        self._store.images.tag(record.id, name.tagged())
        self._store.events.append("image", "tag", record.id, {"name": name.tagged().familiar})

    def remove(self, name: str, *, force: bool = False, prune: bool = True) -> tuple[Removed, ...]:
        """Take a name away; the last one takes the image and what only it used (kept if not `prune`).

        Raises NotFound, and Conflict where a container uses the image or an id has several names.
        """
        if self._engine.outside():
            return self._engine.inside("images.remove", name, force=force, prune=prune)  # type: ignore[no-any-return]
        from tiffin.engine.rmi import remove

        return tuple(remove(self._engine, name, force=force, prune=prune))

    def plan_remove(self, names: Sequence[str], *, force: bool = False, prune: bool = True) -> Plan:
        """Return what removing these, one after the other, would do, and the errors that it would meet."""
        if self._engine.outside():
            return self._engine.inside("images.plan_remove", names, force=force, prune=prune)  # type: ignore[no-any-return]
        from tiffin.engine.removal import Removal

        plan = Removal(self._engine)
        return plan.each(names, lambda name: plan.image(name, force=force, prune=prune))

    def plan_prune(self, *, all: bool = False, filters: Filters = EMPTY) -> Plan:
        """Return what a prune would remove: untagged images, or `all` that no container uses."""
        if self._engine.outside():
            return self._engine.inside("images.plan_prune", all=all, filters=filters)  # type: ignore[no-any-return]
        from tiffin.engine.prune import Planner

        planner = Planner(self._engine)
        planner.images(every=all, filters=filters)
        return planner.plan()

    def prune(self, *, all: bool = False, filters: Filters = EMPTY, plan: Plan | None = None) -> ImagesPruned:
        """Remove untagged images, or `all` that no container uses, or what a plan lists.

        What came into use after the plan was made stays.
        """
        if self._engine.outside():
            return self._engine.inside("images.prune", all=all, filters=filters, plan=plan)  # type: ignore[no-any-return]
        from tiffin.engine.prune import carry_out
        from tiffin.store.usage import IMAGE

        carried = carry_out(self._engine, plan or self.plan_prune(all=all, filters=filters))
        return ImagesPruned(removed=removed_lines(carried.of(IMAGE)), reclaimed=carried.reclaimed)

    def pull(self, name: str, *, platform: str = "", progress: Report | None = None) -> Pulled:
        """Fetch an image from its registry."""
        if self._engine.outside():
            return self._engine.inside("images.pull", name, platform=platform, progress=progress)  # type: ignore[no-any-return]
        from tiffin.engine.pull import pull

        return pull(self._engine, name, platform=platform, report=progress)

    def plan_pull(self, name: str, *, platform: str = "") -> PullPlan:
        """Return what a pull would fetch, layer by layer; nothing is written."""
        from tiffin.engine.planning import plan

        return plan(self._engine, name, platform=platform)

    def pull_all(
        self, name: str, *, platform: str = "", progress: Report | None = None
    ) -> tuple[Pulled, ...]:
        """Fetch every tag of a repository."""
        if self._engine.outside():
            return self._engine.inside("images.pull_all", name, platform=platform, progress=progress)  # type: ignore[no-any-return]
        from tiffin.engine.pull import pull
        from tiffin.registry.client import Repository

        reference = Reference.parse(name)
        if reference.tag or reference.digest:
            message = "tag can't be used with --all-tags/-a"
            raise InvalidArgument(message)
        with Repository(reference, self._engine.settings) as repository:
            tags = repository.tags()
        return tuple(
            pull(self._engine, f"{reference.familiar_name}:{tag}", platform=platform, report=progress)
            for tag in tags
        )

    def push(
        self,
        name: str,
        *,
        all_tags: bool = False,
        packing: Packing | None = None,
        progress: Report | None = None,
    ) -> tuple[Pushed, ...]:
        """Send an image to the registry that its name says; with `packing`, its layers packed in that way."""
        options = {"all_tags": all_tags, "packing": packing}
        if self._engine.outside():
            return self._engine.inside("images.push", name, progress=progress, **options)  # type: ignore[no-any-return]
        from tiffin.engine.push import push

        return tuple(push(self._engine, name, all_tags=all_tags, packing=packing, report=progress))

    def save(self, names: Sequence[str], out: BinaryIO) -> None:
        """Write images, with their names, as one tar that docker, podman and skopeo read."""
        if self._engine.outside():
            self._engine.inside("images.save", names, out)
            return
        from tiffin.engine.archives import save

        save(self._engine, names, out)

    def load(self, source: BinaryIO | str, *, progress: Report | None = None) -> tuple[str, ...]:
        """Read what `save` (of any engine) wrote; return a line per image: `Loaded image: NAME`.

        `source` is a stream, or the path of a folder that is an OCI image layout.
        """
        if self._engine.outside():
            return self._engine.inside("images.load", source, progress=progress)  # type: ignore[no-any-return]
        from tiffin.engine.archives import load

        return tuple(load(self._engine, source, report=progress))

    def import_tar(
        self,
        source: BinaryIO | str,
        *,
        name: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        platform: str = "",
    ) -> str:
        """Make an image of a tar of files (a stream or a URL) and return its id.

        `changes` are instructions for its config.
        """
        if self._engine.outside():
            return self._engine.inside(  # type: ignore[no-any-return]
                "images.import_tar", source, name=name, changes=changes, message=message, platform=platform
            )
        from tiffin.engine.importing import import_image

        return import_image(
            self._engine, source, name=name, changes=changes, message=message, platform=platform
        )

    def build(
        self,
        context: str | BinaryIO | None = None,
        *,
        dockerfile: str = "",
        file: str = "",
        tags: Sequence[str] = (),
        build_args: Mapping[str, str] = EMPTY,
        target: str = "",
        no_cache: bool = False,
        no_cache_filter: Sequence[str] = (),
        pull: bool = False,
        labels: Mapping[str, str] = EMPTY,
        platform: str = "",
        network: str = "",
        secrets: Mapping[str, bytes] = EMPTY,
        ssh: Mapping[str, str] = EMPTY,
        allow: Sequence[str] = (),
        contexts: Mapping[str, str] = EMPTY,
        host: HostConfig | None = None,
        annotations: Mapping[str, str] = EMPTY,
        progress: Callable[[BuildEvent], None] | None = None,
    ) -> Built:
        """Build an image from a folder, a tar (a binary stream), or only `dockerfile`, a text.

        With the build argument SOURCE_DATE_EPOCH (seconds since 1970) nothing that is built is younger than
        that, and the same input gives the same digest. `secrets` are what `RUN --mount=type=secret` may read,
        by id; `ssh` are sockets of agents, by id ("default"). Stages in `no_cache_filter` are built anew.
        `contexts` are what names stand for: a folder, docker-image://REFERENCE, oci-layout://FOLDER or a URL.
        `allow` are entitlements: "security.insecure" and "device" are what a RUN may ask for only then.
        `host` has names of hosts and limits for its commands; `annotations` are the manifest's.
        Raises DockerfileError, BuildFailed (a RUN that fails; the previous image stays), NotFound.
        """
        naming: dict[str, Any] = {"dockerfile": dockerfile, "file": file, "tags": tags, "progress": progress}
        naming["annotations"] = annotations
        words: dict[str, Any] = {"build_args": build_args, "target": target, "labels": labels}
        words |= {"no_cache": no_cache, "pull": pull, "secrets": secrets, "ssh": ssh, "allow": tuple(allow)}
        words["contexts"] = dict(contexts)
        if host is not None:
            words["host"] = host
        words["no_cache_filter"] = tuple(name.lower() for name in no_cache_filter)
        words["network"] = network or "default"
        words["platform"] = platform
        try:
            return self._build(context, naming, words)
        except BuildFailed as error:
            if error.step is not None and error.step.id:
                from tiffin.engine.debugging import KeptStep

                fields = {name: getattr(error.step, name) for name in type(error.step)._fields}
                error.step = KeptStep(**{**fields, "engine": self._engine})
            raise

    def _build(
        self, context: str | BinaryIO | None, naming: Mapping[str, Any], words: dict[str, Any]
    ) -> Built:
        if self._engine.outside():
            return self._engine.inside("images.build", context, **naming, **words)  # type: ignore[no-any-return]
        from tiffin.build.roles import Options
        from tiffin.engine.building import build
        from tiffin.spec.platform import Platform

        platform = words.pop("platform")
        options = Options(**words, platform=Platform.parse(platform) if platform else None)
        return build(self._engine, context, options=options, **naming)

    def check(
        self,
        context: str | BinaryIO | None = None,
        *,
        dockerfile: str = "",
        file: str = "",
        build_args: Mapping[str, str] = EMPTY,
        target: str = "",
        platform: str = "",
        contexts: Mapping[str, str] = EMPTY,
    ) -> Checked:
        """Tell what the build checks find in a Dockerfile; nothing is built, base images are fetched.

        Raises DockerfileError for what cannot be read; what cannot be planned is the answer's `error`.
        """
        words: dict[str, Any] = {"dockerfile": dockerfile, "file": file}
        named: dict[str, Any] = {"build_args": build_args, "target": target, "contexts": dict(contexts)}
        if self._engine.outside():
            return self._engine.inside("images.check", context, platform=platform, **words, **named)  # type: ignore[no-any-return]
        from tiffin.build.roles import Options
        from tiffin.engine.building import check
        from tiffin.spec.platform import Platform

        options = Options(**named, platform=Platform.parse(platform) if platform else None)
        return check(self._engine, context, options=options, **words)

    def write_files(self, name: str, out: BinaryIO) -> None:
        """Write the files of an image as one tar."""
        if self._engine.outside():
            self._engine.inside("images.write_files", name, out)
            return
        from tiffin.engine.outputs import write_files

        write_files(self._engine, name, out)

    def unpack_files(self, name: str, folder: str) -> int:
        """Write the files of an image into a folder of the host; return their bytes."""
        if self._engine.outside():
            return self._engine.inside("images.unpack_files", name, folder)  # type: ignore[no-any-return]
        from tiffin.engine.outputs import unpack_files

        return unpack_files(self._engine, name, folder)

    def write_archive(self, name: str, tags: Sequence[str], out: BinaryIO) -> None:
        """Write an image as `save` does, under names that it need not have here."""
        if self._engine.outside():
            self._engine.inside("images.write_archive", name, tags, out)
            return
        from tiffin.engine.outputs import write_archive

        write_archive(self._engine, name, tags, out)

    def forget_built(self, image_id: str, since: int) -> None:
        """Remove a build's image that was not wanted here: nameless, and younger than a moment (ns)."""
        from tiffin.engine.outputs import forget

        forget(self._engine, image_id, since)

    def failed(self, step: str = "") -> Kept:
        """Return a failed step that was kept, by its id, or the last one; raises NotFound."""
        from tiffin.engine.debugging import find

        return find(self._engine, step)

    def open_failed(
        self, step: Kept, argv: Sequence[str] = (), **options: Any
    ) -> AbstractContextManager[Connection]:
        """Start a command, or a shell, to talk with in a failed step: see `debugging.opened`.

        Raises Unsupported where only another process can become root inside: use `exec_failed` then.
        """
        if self._engine.outside():
            message = "a program with threads cannot talk with a failed step"
            raise Unsupported(message, hint="use error.step.exec, or tiffin builder debug")
        from tiffin.engine.debugging import opened

        return opened(self._engine, step, argv, **options)

    def exec_failed(self, step: str, argv: Sequence[str], *, stdin: bytes = b"") -> Executed:
        """Run a command in a failed step of a build, by its id (or "", the last); raises NotFound."""
        if self._engine.outside():
            return self._engine.inside("images.exec_failed", step, argv, stdin=stdin)  # type: ignore[no-any-return]
        from tiffin.engine.debugging import execute

        return execute(self._engine, step, argv, stdin)

    def explain(self, name: str) -> Explanation:
        """Tell how an image was built here: each step, why it ran, and what it cost; raises NotFound."""
        from tiffin.build.cache import explanation

        image_id = self.get(name).id
        found = explanation(self._engine.store.buildcache, image_id)
        if found is None:
            message = f"{name} was not built here, or how it was is forgotten"
            raise NotFound(message, hint="build it again with --explain")
        return found
