"""Where everything lies: each path below the root and the run folder has its one name here."""

from __future__ import annotations

from tiffin.spec.value import Value

_LAYER_NAME = 26
"""Hex digits of a layer folder's name: 128 of them fit into the one page of a mount's options."""


class Layout(Value):
    """Paths of one store. `root` survives reboots; `run` holds sockets and facts of the living."""

    root: str
    run: str

    @property
    def database(self) -> str:
        """Intent: names, images, containers, volumes, build cache (SQLite, WAL)."""
        return f"{self.root}/state.db"

    @property
    def content(self) -> str:
        """The content store, shaped like an OCI image layout."""
        return f"{self.root}/content"

    def blob(self, digest: str) -> str:
        """A blob's final path."""
        algorithm, _, encoded = digest.partition(":")
        return f"{self.content}/blobs/{algorithm}/{encoded}"

    @property
    def ingest(self) -> str:
        """Blobs on their way in."""
        return f"{self.content}/ingest"

    @property
    def uploads(self) -> str:
        """Blobs that arrive at a registry in several requests (see store.uploads)."""
        return f"{self.content}/uploads"

    @property
    def box(self) -> str:
        """The root of the registry in the box: a store of its own."""
        return f"{self.root}/box"

    @property
    def layers(self) -> str:
        """Committed layers, one folder each."""
        return f"{self.root}/layers"

    @staticmethod
    def layer_name(chain_id: str) -> str:
        """The folder name of a committed layer, below `layers`."""
        return chain_id.partition(":")[2][:_LAYER_NAME]

    def layer(self, chain_id: str) -> str:
        """A committed layer's folder: an overlayfs lower directory."""
        return f"{self.layers}/{self.layer_name(chain_id)}"

    def index(self, chain_id: str) -> str:
        """What a layer holds, with digests (see store.indexes)."""
        return f"{self.layer(chain_id)}.index"

    @staticmethod
    def mount_points_name(chain_id: str) -> str:
        """The folder, below `layers`, of mount points that an image lacks (see store.mountpoints)."""
        return f"{Layout.layer_name(chain_id) or 'scratch'}.points"

    @property
    def drafts(self) -> str:
        """Layers in the making; what lies here without a live lease is rubbish."""
        return f"{self.root}/drafts"

    def manifest_list(self, name: str) -> str:
        """A list of manifests that was made by hand, by its canonical name."""
        from tiffin.spec import digest

        return f"{self.root}/manifests/{digest.of(name.encode()).partition(':')[2]}"

    @property
    def cache_mounts(self) -> str:
        """Folders that build steps keep between builds (see store.cachemounts)."""
        return f"{self.root}/cachemounts"

    @property
    def containers(self) -> str:
        """One folder per container."""
        return f"{self.root}/containers"

    def container(self, container_id: str) -> str:
        """A container's bundle: config.json, upper, work, rootfs (mount point), log, exit record."""
        return f"{self.containers}/{container_id}"

    def health(self, container_id: str) -> str:
        """What the last probes of a container's health check said."""
        return f"{self.container(container_id)}/health"

    def egress(self, container_id: str) -> str:
        """What a container with an egress list has tried to reach, as last asked for."""
        return f"{self.container(container_id)}/egress"

    @property
    def volumes(self) -> str:
        """One folder per volume, its files in `_data`."""
        return f"{self.root}/volumes"

    def volume_data(self, name: str) -> str:
        """What a container sees of a volume."""
        return f"{self.volumes}/{name}/_data"

    @property
    def events(self) -> str:
        """The append-only log of what happened."""
        return f"{self.root}/events"

    @property
    def seccomp(self) -> str:
        """Compiled seccomp filters, by the digest of what they were made of."""
        return f"{self.root}/seccomp"

    @property
    def sweep_lock(self) -> str:
        """The one lock of garbage collection."""
        return f"{self.root}/sweep.lock"

    @property
    def living(self) -> str:
        """One folder per container that has, or should have, a keeper."""
        return f"{self.run}/containers"

    def live(self, container_id: str) -> str:
        """A living container's socket and facts."""
        return f"{self.living}/{container_id}"

    @property
    def step_secrets(self) -> str:
        """Bundles, secrets and sockets of build steps that run."""
        return f"{self.run}/steps"

    @property
    def networks(self) -> str:
        """One file per network that is up: who is on it, with which addresses and names."""
        return f"{self.run}/networks"

    @property
    def rules(self) -> str:
        """The name of this store's nftables table: each store of a host has its own."""
        from binascii import crc32

        return f"tiffin_{crc32(self.root.encode()):08x}"

    @property
    def runtime_root(self) -> str:
        """The state folder of the OCI runtime (`crun --root`)."""
        return f"{self.run}/crun"

    def keeper_lock(self, container_id: str) -> str:
        """What a container's keeper holds until it has given everything back."""
        return f"{self.locks}/{container_id}.keeper"

    @property
    def locks(self) -> str:
        """One lock file per container whose state changes."""
        return f"{self.run}/locks"
