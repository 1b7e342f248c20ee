"""The quarry command against a stand-in for the daemon: what every CLI scenario begins with.

QUARRY is the program (default build/gcc/quarry). Needs no storage; as root it also attaches a mount, in a mount
namespace of its own.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/fake"))
import api_server  # noqa: E402
from tap import run, same  # noqa: E402

QUARRY = os.path.abspath(os.environ.get("QUARRY", os.path.join(TOP, "build/gcc/quarry")))
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
libc = ctypes.CDLL(None, use_errno=True)

world = None  # what the test that runs now uses


@contextlib.contextmanager
def own_host(conf=""):
    """A copy of /etc that nobody else sees, with this for quarry.conf and no backup targets, and a /run/quarry. Takes
    root."""
    etc = os.path.join(world.public, "etc")
    shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns("quarry"))
    os.mkdir(etc + "/quarry")
    with open(etc + "/quarry/quarry.conf", "w", encoding="utf-8") as f:
        f.write(conf)
    if (libc.mount(etc.encode(), b"/etc", None, 0x1000, None) < 0 or  # MS_BIND
            libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=0755") < 0):
        raise OSError(ctypes.get_errno(), "mount")
    os.mkdir("/run/quarry")
    try:
        yield
    finally:
        libc.umount2(b"/run", 2)  # MNT_DETACH
        libc.umount2(b"/etc", 2)
        shutil.rmtree(etc)


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    @property
    def json(self):
        return json.loads(self.out)


class World:
    """A daemon with fresh data, and a folder."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="quarry-cli-")
        self.public = tempfile.mkdtemp(prefix="quarry-cli-public-")
        os.chmod(self.public, 0o755)
        self.socket = os.path.join(self.folder, "sock")
        self.server = api_server.Server(self.socket)
        self.environment = {
            "PATH": os.path.dirname(QUARRY) + ":" + os.environ["PATH"],
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "QUARRY_SOCKET": self.socket,
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def close(self):
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.public, ignore_errors=True)

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def sent(self, method):
        return [r for r in self.server.requests if r[0] == method]


def program_for(user):
    """Another user may not reach the checkout: it gets a copy beside the socket."""
    if user is None:
        return QUARRY
    copy = os.path.join(world.public, "quarry")
    if not os.path.exists(copy):
        shutil.copy(QUARRY, copy)
    return copy


def quarry(*arguments, stdin=b"", env=None, stdout=subprocess.PIPE, user=None):
    done = subprocess.run(
        [program_for(user), *arguments], input=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=20, user=user,
        env={**world.environment, **(env or {})})
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


class Terminal:
    """quarry on a terminal of its own."""

    def __init__(self, *arguments, columns=80, env=None, program=QUARRY):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
        self.slave = slave
        self.text = ""

        def setup():
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs the tests in the background ignores it
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([program, *arguments], stdin=slave, stdout=slave, stderr=slave,
                                        preexec_fn=setup, env={**world.environment, **(env or {})})

    def _read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.text += os.read(self.master, 65536).decode(errors="replace")
        return True

    def expect(self, text):
        end = time.monotonic() + 10
        while text not in self.text:
            assert time.monotonic() < end, f"waited for {text!r}, got {self.text!r}"
            self._read(0.1)
        return self

    def answer(self, prompt, text):
        """Types once the prompt is there; what was shown before is forgotten."""
        self.expect(prompt)
        self.shown = self.text
        self.text = self.text.split(prompt, 1)[1]
        os.write(self.master, text.encode())
        return self

    def finish(self):
        code = self.process.wait(timeout=20)
        while self._read(0.05):
            pass
        os.close(self.slave)
        os.close(self.master)
        return Result(code, self.text.replace("\r\n", "\n"), "")


def usage(result, *parts):
    same(result.code, 2, str(result))
    same(result.out, "")
    for part in parts:
        assert part in result.err, f"{part!r} is not in {result.err!r}"


@contextlib.contextmanager
def around(title):
    global world
    world = sys.modules["__main__"].world = World()
    try:
        yield
    finally:
        os.chdir("/")
        world.close()


def main():
    if not os.access(QUARRY, os.X_OK):
        print(f"Bail out! {QUARRY} is not there: make it first, or set QUARRY")
        return 1
    if os.geteuid() == 0 and libc.unshare(0x00020000) == 0:  # CLONE_NEWNS
        libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)  # MS_REC | MS_PRIVATE
    return run(around)
