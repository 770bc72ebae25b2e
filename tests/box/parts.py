"""What the box's tests share: a registry in a thread, and a client that sends what it is told."""

from __future__ import annotations

import http.client
import json
import threading
from typing import TYPE_CHECKING, Any

from tiffin.box.registry import Registry
from tiffin.http.server import Server, listen
from tiffin.settings import ROOT, Settings
from tiffin.spec import digest as digests
from tiffin.spec import mediatype

if TYPE_CHECKING:
    from tiffin.box.htpasswd import Htpasswd
    from tiffin.http.connection import Served


class Answer:
    """A response, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        """Read it."""
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def code(self) -> str:
        """The code of the specification's error."""
        (error,) = json.loads(self.body)["errors"]
        return str(error["code"])

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Api:
    """A client of a registry's API on one connection; paths are sent as they are."""

    def __init__(self, port: int) -> None:
        """Connect when something is asked."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Ask; `content_range=` is the header Content-Range."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body=body, headers=named)
        return Answer(self._connection.getresponse())

    def begin(self, name: str) -> str:
        """Begin an upload and return its location."""
        answer = self("POST", f"/v2/{name}/blobs/uploads/", b"")
        assert answer.status == 202
        return answer.headers["Location"]

    def push_blob(self, name: str, data: bytes) -> dict[str, Any]:
        """Push a blob in one piece and return its descriptor."""
        digest = digests.of(data)
        answer = self("PUT", f"{self.begin(name)}?digest={digest}", data)
        assert answer.status == 201, answer.body
        return {"mediaType": mediatype.OCI_LAYER, "digest": digest, "size": len(data)}

    def push_image(self, name: str, tag: str, layer: bytes = b"layer", **more: Any) -> dict[str, Any]:
        """Push an image of one layer and return its manifest's descriptor; `more` goes into the manifest."""
        manifest = self.manifest(name, layer, **more)
        answer = self("PUT", f"/v2/{name}/manifests/{tag}", manifest, Content_Type=mediatype.OCI_MANIFEST)
        assert answer.status == 201, answer.body
        digest = answer.headers["Docker-Content-Digest"]
        return {"mediaType": mediatype.OCI_MANIFEST, "digest": digest, "size": len(manifest)}

    def manifest(self, name: str, layer: bytes = b"layer", **more: Any) -> bytes:
        """Push what a manifest needs and return it."""
        config = self.push_blob(name, b"{}") | {"mediaType": mediatype.OCI_CONFIG}
        layers = [self.push_blob(name, layer)]
        body = {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": config, "layers": layers}
        return json.dumps(body | more, indent=1).encode()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Box:
    """A registry on a free port, in a thread of this process."""

    def __init__(self, folder: str, *, users: Htpasswd | None = None) -> None:
        """Start it on a root below a folder."""
        self.settings = Settings(root=f"{folder}/root", run=f"{folder}/run", privilege=ROOT)
        self.registry = Registry(self.settings, users=users)
        self.served: list[Served] = []
        listener = listen("127.0.0.1", 0)
        self.port = int(listener.getsockname()[1])
        self._server = Server([listener], self.registry, log=self.served.append)
        self._thread = threading.Thread(target=self._server.serve)
        self._thread.start()
        self.api = Api(self.port)

    def close(self) -> None:
        """Stop it."""
        self.api.close()
        self._server.stop()
        self._thread.join()
        self.registry.close()
