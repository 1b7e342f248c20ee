"""A container engine, as far as a volume driver sees it: HTTP over a Unix socket. As a program:
`plugin.py SOCKET CALL [JSON]` prints the status and the answer."""

import http.client
import json
import socket
import sys


class Client(http.client.HTTPConnection):
    """One connection, kept alive."""

    def __init__(self, path, timeout=20):
        super().__init__("plugin.moby.localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def send_call(self, name, body=None, method="POST", **headers):
        """body: an object, or what is sent instead of one."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        self.request(method, "/" + name, data, {"Accept": "application/vnd.docker.plugins.v1.2+json", **headers})

    def receive(self):
        """(status, answer)"""
        response = self.getresponse()
        kind, data = response.getheader("Content-Type"), response.read()
        if kind != "application/vnd.docker.plugins.v1.2+json":
            raise AssertionError(f"an answer of type {kind}: {data}")
        return response.status, json.loads(data)

    def call(self, name, body=None, **headers):
        self.send_call(name, body, **headers)
        return self.receive()


def call(path, name, body=None, **options):
    client = Client(path, **options)
    try:
        return client.call(name, body)
    finally:
        client.close()


if __name__ == "__main__":
    try:
        status, answer = call(sys.argv[1], sys.argv[2], sys.argv[3].encode() if len(sys.argv) > 3 else None, timeout=120)
        print(status, json.dumps(answer))
    except (OSError, http.client.HTTPException) as e:
        sys.exit(f"{sys.argv[1]}: {e!r}")
