"""What the servers' images are made of: Dockerfiles, entrypoints, and what else each server needs."""

from __future__ import annotations

from typing import NamedTuple

PACKAGES = ("postgresql", "redis-server", "nginx-light", "nodejs", "python3", "curl")

_POSTGRES = """\
FROM debian:1
ENV PGDATA=/var/lib/postgresql/data
RUN ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ && echo image > /var/lib/postgresql/origin
COPY --chmod=755 entrypoint /
VOLUME /var/lib/postgresql
EXPOSE 5432
STOPSIGNAL SIGINT
HEALTHCHECK --interval=1s --start-period=60s --start-interval=1s CMD ["pg_isready", "-q", "-h", "127.0.0.1"]
ENTRYPOINT ["/entrypoint"]
CMD ["postgres"]
"""
_POSTGRES_ENTRYPOINT = """\
#!/bin/bash
set -eu
if [ "$1" = postgres ]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA"
    chmod 700 "$PGDATA"
    drop="setpriv --reuid=postgres --regid=postgres --init-groups"
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        $drop initdb -A trust --no-sync >/dev/null
        echo "host all all all trust" >>"$PGDATA/pg_hba.conf"
    fi
    set -- $drop postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
fi
exec "$@"
"""
_REDIS = """\
FROM debian:1
RUN mkdir /data && echo image > /data/origin && chown redis:redis /data
COPY --chmod=755 entrypoint /
VOLUME /data
WORKDIR /data
EXPOSE 6379
HEALTHCHECK --interval=1s --start-period=60s --start-interval=1s CMD redis-cli ping | grep -q PONG
ENTRYPOINT ["/entrypoint"]
CMD ["redis-server", "--appendonly", "yes", "--protected-mode", "no", "--bind", "0.0.0.0"]
"""
_REDIS_ENTRYPOINT = """\
#!/bin/sh
set -e
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . ! -user redis -exec chown redis {} +
    exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
fi
exec "$@"
"""
_NGINX = """\
FROM debian:1
RUN ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log \\
 && rm -rf /var/www/html/* && echo image > /var/www/html/origin
COPY --chmod=755 entrypoint /
VOLUME ["/var/www/html"]
EXPOSE 80
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=1s --start-period=60s --start-interval=1s CMD curl -fsS http://127.0.0.1/origin
ENTRYPOINT ["/entrypoint"]
CMD ["nginx", "-g", "daemon off;"]
"""
_NGINX_ENTRYPOINT = """\
#!/bin/sh
chown -R www-data:www-data /var/www/html
exec "$@"
"""
_NODE = """\
FROM debian:1
RUN useradd --system app && mkdir /data && echo image > /data/origin
COPY --chmod=755 entrypoint server.js /srv/
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=1s --start-period=60s --start-interval=1s CMD curl -fsS http://127.0.0.1:3000/origin
ENTRYPOINT ["/srv/entrypoint"]
CMD ["node", "/srv/server.js"]
"""
_NODE_ENTRYPOINT = """\
#!/bin/sh
chown -R app /data
exec setpriv --reuid=app --regid=app --init-groups --no-new-privs "$@"
"""
_NODE_SERVER = """\
const http = require("http"), fs = require("fs");
const server = http.createServer((request, response) => {
  const path = "/data" + request.url;
  if (request.method === "PUT") {
    request.pipe(fs.createWriteStream(path)).on("finish", () => response.end("taken\\n"));
  } else {
    fs.createReadStream(path).on("error", () => response.writeHead(404).end()).pipe(response);
  }
});
server.listen(3000, "0.0.0.0", () => console.log("listening as " + process.getuid()));
process.on("SIGTERM", () => server.close(() => process.exit(0)) && server.closeAllConnections());
"""
_PYTHON = """\
FROM debian:1
RUN useradd --system --shell /bin/sh app && mkdir /data && echo image > /data/origin
COPY --chmod=755 entrypoint server.py /srv/
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=1s --start-period=60s --start-interval=1s CMD curl -fsS http://127.0.0.1:8000/origin
ENTRYPOINT ["/srv/entrypoint"]
CMD ["python3", "-u", "/srv/server.py"]
"""
_PYTHON_ENTRYPOINT = """\
#!/bin/sh
chown -R app /data
su app -c 'test "$(id -un)" = app' || exit 9
exec setpriv --reuid=app --regid=app --clear-groups --inh-caps=-all --bounding-set=-all "$@"
"""
_PYTHON_SERVER = """\
import http.server, signal, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory="/data")

    def do_PUT(self):
        with open("/data" + self.path, "wb") as stream:
            stream.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


class Server(NamedTuple):
    """A server; `write` and `read` are programs of its image, which find it on this host's `{port}`."""

    name: str
    files: dict[str, str]
    port: int
    volume: str
    user: str  # whom pid 1 has become
    write: tuple[str, ...]
    read: tuple[str, ...]
    said: str  # what `read` prints


_PUT = ("curl", "-fsS", "-T", "/etc/hostname", "http://127.0.0.1:{port}/kept")
_GET = ("curl", "-fsS", "http://127.0.0.1:{port}/kept")
_SQL = ("psql", "-h", "127.0.0.1", "-p", "{port}", "-U", "postgres", "-Atc")
_ROWS = "create table kept as select n from generate_series(1, 100000) n"
_CLI = ("redis-cli", "-p", "{port}")

SERVERS = (
    Server(
        "postgres",
        {"Dockerfile": _POSTGRES, "entrypoint": _POSTGRES_ENTRYPOINT},
        5432,
        "/var/lib/postgresql",
        "postgres",
        (*_SQL, _ROWS),
        (*_SQL, "select sum(n) from kept"),
        "5000050000\n",
    ),
    Server(
        "redis",
        {"Dockerfile": _REDIS, "entrypoint": _REDIS_ENTRYPOINT},
        6379,
        "/data",
        "redis",
        (*_CLI, "set", "kept", "a thing"),
        (*_CLI, "get", "kept"),
        "a thing\n",
    ),
    Server(
        "nginx",
        {"Dockerfile": _NGINX, "entrypoint": _NGINX_ENTRYPOINT},
        80,
        "/var/www/html",
        "root",  # its workers are www-data
        (),
        _GET,
        "kept\n",
    ),
    Server(
        "node",
        {"Dockerfile": _NODE, "entrypoint": _NODE_ENTRYPOINT, "server.js": _NODE_SERVER},
        3000,
        "/data",
        "app",
        _PUT,
        _GET,
        "client\n",
    ),
    Server(
        "python",
        {"Dockerfile": _PYTHON, "entrypoint": _PYTHON_ENTRYPOINT, "server.py": _PYTHON_SERVER},
        8000,
        "/data",
        "app",
        _PUT,
        _GET,
        "client\n",
    ),
)
