#!/usr/bin/python3
"""A real S3 service, s3rver, behind a door that fails as networks and services do.

`with Service(FOLDER, BUCKET) as s3` starts both; s3.endpoint is where to go, s3.fail("503", times=2, method="PUT") says
what goes wrong next, s3.seen what was asked. As a program, for scripts of the shell: `s3_faults.py FOLDER BUCKET PORT`
runs until it is ended; what stands in FOLDER/faults, a line as "503 times=2 method=PUT path=chunks/" each, goes wrong
from when it is written; FOLDER/seen has a line for each request.

What comes through is held against its signature and against x-amz-content-sha256, as Amazon's service does and s3rver
does not: of a signature it looks at the name alone.
"""

import datetime
import hashlib
import hmac
import http.client
import os
import pathlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

TOP = pathlib.Path(__file__).resolve().parents[2]
S3RVER = TOP / "build/s3/node_modules/s3rver/bin/s3rver.js"
ACCESS_KEY_ID, SECRET_ACCESS_KEY = "S3RVER", "S3RVER"

FULL = {"507": "XMinioStorageFull", "quota": "QuotaExceeded"}
STATUS = {"quota": 403}

FAULTS = """
    500 502 503 507 429 403 404   that status, with an error in XML
    quota                         403, QuotaExceeded
    redirect                      301 to another host
    refuse                        the connection is closed before anything is read
    silent                        nothing is answered
    drip                          a byte each second
    truncate                      half of the body, and the connection is closed
    endless                       of a length that is not said, and cut
    garbage                       200, and text that is no XML
    flip                          a byte of the answer's body is another
    flip-upload                   a byte of the request's body is another
    huge                          more than any object has
"""


class Fault:
    def __init__(self, kind, times=1 << 30, method=None, path="", after=0):
        self.kind, self.times, self.method, self.path, self.after = kind, int(times), method, path, int(after)
        if kind not in FAULTS.replace("\n", " ").split():
            sys.exit(f"s3_faults: there is no fault {kind}; there are:{FAULTS}")

    def strikes(self, method, path):
        """Whether it does now; counts."""
        if self.times <= 0 or self.path not in path or self.method not in (None, method):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


def flipped(body):
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body


def complaint(code, message):
    return (f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
            f"<Message>{message}</Message></Error>").encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def signature(method, path, headers, signed, date, scope):
    """As it is described under "Signature Calculations for the Authorization Header" in the reference of Amazon S3."""
    def quote(text):
        return urllib.parse.quote(text, safe="-_.~")
    path, _, query = path.partition("?")
    pairs = sorted((quote(k), quote(v)) for k, v in urllib.parse.parse_qsl(query, keep_blank_values=True))
    lines = [method, urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"), "&".join("=".join(p) for p in pairs)]
    lines += [f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed]
    lines += ["", ";".join(signed), headers.get("x-amz-content-sha256", "")]
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope, sha256("\n".join(lines).encode())))
    key = ("AWS4" + SECRET_ACCESS_KEY).encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key.hex()


def refusal(method, path, headers, body):
    """Status, code and message, or None."""
    try:
        kind, _, rest = headers.get("Authorization", "").partition(" ")
        fields = dict(word.strip().split("=", 1) for word in rest.split(","))
        key, _, scope = fields["Credential"].partition("/")
        signed, date = fields["SignedHeaders"].split(";"), headers["x-amz-date"]
        when = datetime.datetime.strptime(date + "+0000", "%Y%m%dT%H%M%SZ%z")
    except (KeyError, TypeError, ValueError):
        return 403, "AccessDenied", "Access Denied"
    if kind != "AWS4-HMAC-SHA256" or scope != date[:8] + "/us-east-1/s3/aws4_request":
        return 400, "AuthorizationHeaderMalformed", "the scope is not " + date[:8] + "/us-east-1/s3/aws4_request"
    if key != ACCESS_KEY_ID:
        return 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
    if abs(datetime.datetime.now(datetime.timezone.utc) - when) > datetime.timedelta(minutes=15):
        return 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
    unsigned = {name.lower() for name in headers if name.lower() == "host" or name.lower().startswith("x-amz-")}
    if unsigned - set(signed) or signature(method, path, headers, signed, date, scope) != fields["Signature"]:
        return 403, "SignatureDoesNotMatch", "The request signature we calculated does not match."
    if sha256(body) != headers.get("x-amz-content-sha256"):
        return 400, "XAmzContentSHA256Mismatch", "what came is not what was signed"
    return None


class Door(socketserver.BaseRequestHandler):
    """One connection."""

    def setup(self):
        self.service = self.server.service
        self.request.settimeout(60)

    def handle(self):
        stream = self.request.makefile("rb")
        try:
            while self.answer_one(stream):
                pass
        except OSError:
            pass  # who asked has gone

    def read_request(self, stream):
        line = stream.readline().decode()
        if not line.strip():
            return None
        method, path, _ = line.split()
        headers = http.client.parse_headers(stream)
        return method, path, headers, stream.read(int(headers.get("Content-Length", 0)))

    def answer_one(self, stream):
        request = self.read_request(stream)
        if not request:
            return False
        method, path, headers, body = request
        kind = self.service.note(method, path, headers, body)
        if kind == "refuse":
            return False
        if kind == "silent":
            self.service.ended.wait(60)
            return False
        if kind == "flip-upload":
            body = flipped(body)
        status, fields, data = self.answer_of(kind, method, path, headers, body)
        return self.send(kind, method, status, fields, data)

    def answer_of(self, kind, method, path, headers, body):
        if kind == "redirect":
            return 301, {"Location": "http://127.0.0.2:9/"}, complaint("PermanentRedirect", "go elsewhere")
        if kind and (kind == "quota" or kind.isdigit()):
            return int(STATUS.get(kind, kind)), {}, complaint(FULL.get(kind, "Fault" + kind), "as it was told to fail")
        if kind == "garbage":
            return 200, {}, b"<html><p>Welcome to the proxy!"
        refused = refusal(method, path, headers, body)
        if refused:
            status, code, message = refused
            return status, {}, complaint(code, message)
        status, fields, data = self.service.pass_on(method, path, headers, body)
        if kind == "flip":
            data = flipped(data)
        if kind == "huge":
            data = data + bytes(5 << 20)
        return status, fields, data

    def send(self, kind, method, status, fields, data):
        length = fields.pop("Content-Length", len(data)) if method == "HEAD" else len(data)
        if kind != "endless":
            fields["Content-Length"] = str(length)
        head = f"HTTP/1.1 {status} -\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        data = b"" if method == "HEAD" else data
        if kind in ("truncate", "endless"):
            data = data[:len(data) // 2]
        if kind == "drip":
            self.request.sendall(head.encode())
            for byte in data:
                self.request.sendall(bytes([byte]))
                if self.service.ended.wait(1):
                    return False
            return True
        self.request.sendall(head.encode() + data)
        return kind not in ("truncate", "endless")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, service, port, certificate):
        self.service = service
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        super().__init__(("127.0.0.1", port), Door)

    def get_request(self):
        connection, address = super().get_request()
        if self.context:  # the handshake is done by the thread of the connection
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request, client_address):
        pass  # of one who has gone


class Service:
    """certificate: of TLS, with its key, in one file."""

    def __init__(self, folder, bucket, port=0, certificate=None):
        self.folder, self.bucket = pathlib.Path(folder), bucket
        self.faults, self.seen, self.stamp = [], [], None
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.door = Server(self, port, certificate)
        self.port = self.door.server_address[1]
        self.endpoint = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self.process = None

    def __enter__(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.inner = s.getsockname()[1]
        self.folder.mkdir(parents=True, exist_ok=True)
        node = shutil.which("node")
        if not node or not S3RVER.exists():
            raise FileNotFoundError(f"node or {S3RVER}: run tests/vm/setup")
        self.process = subprocess.Popen(
            # its tokens for lists are encrypted with DES
            [node, "--openssl-legacy-provider", S3RVER, "--directory", self.folder / "objects", "--port", str(self.inner), "--address", "127.0.0.1",
             "--no-vhost-buckets", "--configure-bucket", self.bucket, "--silent"],
            stdin=subprocess.DEVNULL, stdout=open(self.folder / "log", "wb"), stderr=subprocess.STDOUT)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.inner)).close()
                break
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
        threading.Thread(target=self.door.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.door.shutdown()
        self.door.server_close()
        self.process.kill()
        self.process.wait()

    def fail(self, kind, **rule):
        """From now on, and nothing else."""
        with self.lock:
            self.faults, self.seen = [Fault(kind, **rule)], []

    def heal(self):
        with self.lock:
            self.faults, self.seen = [], []

    def faults_read(self):
        """Of the file, if it has changed."""
        try:
            stat = os.stat(self.folder / "faults")
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self.stamp:
                lines = [line.split() for line in (self.folder / "faults").read_text().splitlines() if line.strip()]
                self.faults = [Fault(kind, **dict(word.split("=", 1) for word in rule)) for kind, *rule in lines]
                self.stamp = stamp
        except FileNotFoundError:
            pass

    def note(self, method, path, headers, body):
        """Returns what is to go wrong with it, or None."""
        with self.lock:
            self.faults_read()
            kind = next((f.kind for f in self.faults if f.strikes(method, path)), None)
            self.seen.append((method, path, headers, sha256(body)))
            with open(self.folder / "seen", "a") as f:
                print(method, path, len(body), kind or "-", file=f)
            return kind

    def pass_on(self, method, path, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.inner, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if name.lower() != "connection":
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        fields = {name: value for name, value in answer.getheaders()
                  if name.lower() not in ("connection", "transfer-encoding", "content-length", "keep-alive")}
        if method == "HEAD" and answer.getheader("Content-Length"):
            fields["Content-Length"] = answer.getheader("Content-Length")
        data = answer.read()
        connection.close()
        return answer.status, fields, data


if __name__ == "__main__":
    with Service(sys.argv[1], sys.argv[2], int(sys.argv[3])) as service:
        print(f"endpoint {service.endpoint}", flush=True)
        threading.Event().wait()
