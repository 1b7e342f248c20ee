"""The real quarryd with a stand-in for its workers: what every broker scenario begins with.

QUARRYD is the program (default build/gcc/quarryd). /run is a tmpfs of this process, whatever the host has there.
"""

import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/fake"))
import idl  # noqa: E402
import plugin  # noqa: E402, F401 - for scenarios
import wire  # noqa: E402
from tap import eventually, run, same  # noqa: E402
from wire import Call, Failure, Gone, sealed  # noqa: E402
from worker import GIB, MIB, Worker  # noqa: E402

QUARRYD = os.path.abspath(os.environ.get("QUARRYD", os.path.join(TOP, "build/gcc/quarryd")))
SANITIZED = b"__asan_init" in open(QUARRYD, "rb").read() if os.path.exists(QUARRYD) else False
FOLDER = "/run/scenario"
BAD_LINES = re.compile(r"Sanitizer|runtime error:|cannot answer|double free|corrupt")  # never in a log
libc = ctypes.CDLL(None, use_errno=True)

NOBODY = 65534
ADMIN_GROUP = 4242

world = None
interfaces = {}


class World:
    """One daemon, its workers, its files."""

    def __init__(self, title):
        shutil.rmtree("/run/quarry", ignore_errors=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.makedirs("/run/quarry")
        os.makedirs(FOLDER, mode=0o755)
        self.socket = FOLDER + "/io.quarry"
        self.storage = FOLDER + "/storage"
        self.config = FOLDER + "/quarry.conf"
        self.log = FOLDER + "/log"
        self.worker = Worker(FOLDER + "/worker")
        self.lock = threading.Lock()  # a test's rule may kill the daemon from a worker's thread
        self.process = None
        self.complaints = []
        Call.judge = self.judge
        self.ends_cleanly = True  # set to False by a test that leaves jobs behind
        self.configure("[Jobs]\nWorkers=4\n")
        open(self.log, "w").close()
        libc.prctl(15, title[:15].encode(), 0, 0, 0)  # PR_SET_NAME

    def configure(self, text):
        with open(self.config, "w") as f:
            f.write(text)

    # --- the daemon

    def spawn(self, descriptors=None, **environment):
        for path in (self.socket, self.storage):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        with self.lock, open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [QUARRYD], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                preexec_fn=descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors,) * 2)),
                env={"PATH": os.environ["PATH"], "QUARRY_SOCKET": self.socket, "QUARRY_CONFIG": self.config,
                     "QUARRY_STORAGE_SOCKET": self.storage,
                     "QUARRY_WORKER_SOCKET": self.worker.path, "QUARRY_DEBUG": "1",
                     "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=8",
                     "UBSAN_OPTIONS": "print_stacktrace=1", **environment})

    def start(self, descriptors=None, **environment):
        self.spawn(descriptors, **environment)

        def listens():
            if self.process.poll() is not None:
                raise AssertionError(f"quarryd ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                wire.connect(self.socket).close()
            except OSError:
                return False
            return True
        eventually(listens, "quarryd listens")

    def judge(self, method, reply):
        """sd-varlink sends replies that its own interface description does not allow: here they are noted."""
        interface, _, name = method.rpartition(".")
        if interface not in interfaces:
            path = self.socket if interface.startswith("io.quarry.") else self.storage
            interfaces[interface] = idl.Interface(Call(path, "org.varlink.service.GetInterfaceDescription", {
                "interface": interface}).result()["description"]) if interface != "org.varlink.service" else None
        checker = interfaces[interface]
        if checker and reply.get("error", "").rpartition(".")[0] == interface:
            self.complaints += checker.error(reply["error"].rpartition(".")[2], reply.get("parameters", {}))
        elif checker and "error" not in reply:
            self.complaints += checker.reply(name, reply.get("parameters", {}))

    def kill(self):
        with self.lock:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait_until_idle(self):
        """No job is with a worker or on its way there: the call that waits for such a job is not freed at the end."""
        def idle():
            before = len(self.worker.jobs)
            pools = self.call("Pool.List")["pools"]  # which has a worker look at every active one
            active = [p for p in pools if p["state"] == "active"]
            return len(self.worker.jobs) == before + len(active) and self.worker.running == 0
        eventually(lambda: idle() and idle(), "nothing runs")  # the first may begin something in the background

    def stop(self, wait=True):
        """As systemd does it; nothing may be wrong with how it ends."""
        if wait:
            self.wait_until_idle()
        process, self.process = self.process, None
        process.terminate()
        try:
            code = process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("quarryd does not end on SIGTERM:\n" + self.log_tail()) from None
        same(code, 0, "quarryd's exit status\n" + self.log_tail())

    def restart(self):
        self.stop()
        self.start()

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def log_tail(self):
        return "\n".join(self.log_text().splitlines()[-40:])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    # --- calls

    def begin(self, method, more=False, fds=(), timeout=15, **parameters):
        return Call(self.socket, f"io.quarry.{method}", parameters, more=more, fds=fds, timeout=timeout)

    def call(self, method, more=False, fds=(), timeout=15, **parameters):
        return self.begin(method, more, fds, timeout, **parameters).result()

    def refused(self, kind, method, /, **parameters):
        """The call fails with an error of this kind, which is returned."""
        try:
            result = self.call(method, **parameters)
        except Failure as failure:
            same(failure.name, kind if "." in kind else f"{method_interface(method)}.{kind}", str(failure))
            return failure
        raise AssertionError(f"{method} {parameters} was to fail with {kind}, and answered {result}")

    def create(self, name, size=GIB, **parameters):
        return self.call("Volume.Create", volume=name, sizeBytes=size, **parameters)["volume"]

    def begin_create(self, name, size=GIB, more=False, fds=(), **parameters):
        return self.begin("Volume.Create", more=more, fds=fds, volume=name, sizeBytes=size, **parameters)

    def volumes(self, **parameters):
        return self.call("Volume.List", **parameters)["volumes"]

    def names(self, **parameters):
        return [v["name"] for v in self.volumes(**parameters)]

    def inspect(self, name):
        return self.call("Volume.Inspect", volume=name)["volume"]

    def pool(self, name="default"):
        return self.call("Pool.Inspect", name=name)["pool"]

    # --- what must be so at any time

    def check_consistent(self):
        """Once nothing runs: every volume is whole and has its thin device, no thin device is without a volume."""
        def settled():
            return all(v["state"] not in ("creating", "removing") for v in self.volumes(type="all"))
        eventually(settled, "no volume is being created or removed")
        have = {v["uuid"] for v in self.volumes(type="all")}
        eventually(lambda: {*self.worker.left().values()} <= have,
                   "no thin device is without a volume")
        same(have - {v for v in self.worker.thin.values()}, set(), "volumes without a thin device")
        same({v["state"] for v in self.volumes(type="all")} - {"ready"}, set(), "states of volumes")
        same(self.worker.violations, [], "what the broker must not ask for")

    def close(self, failed):
        self.worker.forget_rules()
        try:
            if self.process and self.process.poll() is not None:
                raise AssertionError(f"quarryd ended with {self.process.returncode}:\n{self.log_tail()}")
            if self.process and self.ends_cleanly and not failed:
                self.stop()
            bad = [line for line in self.log_text().splitlines() if BAD_LINES.search(line)]
            if not failed:
                same(bad, [], "lines of the log" + ("\n" + self.log_tail() if SANITIZED and bad else ""))
                same(self.worker.violations, [], "what the broker must not ask for")
                same(self.complaints, [], "replies that break the interface description")
        finally:
            if self.process:
                self.kill()
            if "KEEP_LOG" in os.environ:
                shutil.copy(self.log, os.environ["KEEP_LOG"])
            self.worker.close()


def method_interface(method):
    return "io.quarry." + method.partition(".")[0]


def as_user(uid, gid, groups, function):
    """Runs function in a child with these credentials; returns what it returned as a string."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(writer, str(function()).encode())
            code = 0
        except BaseException as e:  # noqa: BLE001 - must not get back into the test
            os.write(writer, f"{type(e).__name__}: {e}".encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as f:
        text = f.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    same(status, 0, text)
    return text


def connect_as(path, uid, groups):
    """A connection of a user with these groups."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            connection = wire.connect(path)
            socket.send_fds(theirs, [b"."], [connection.socket.fileno()])
        finally:
            os._exit(0)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(mine, 1, 1)
    mine.close()
    os.waitpid(child, 0)
    connection = wire.Connection(socket.socket(fileno=fds[0]))
    connection.socket.settimeout(15)
    return connection


@contextlib.contextmanager
def around(title):
    global world
    world = sys.modules["__main__"].world = World(title)
    failed = True
    try:
        yield
        failed = False
    finally:
        world.close(failed)


def isolate():
    """Private mounts: an empty /run, and a group quarry-admin."""
    if libc.unshare(0x00020000) < 0:  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)  # MS_REC | MS_PRIVATE
    libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=0755")
    with open("/etc/group") as f:
        lines = [line for line in f if not line.startswith("quarry-admin:")]
    with open("/run/group", "w") as f:
        f.write("".join(lines) + f"quarry-admin:x:{ADMIN_GROUP}:\n")
    os.chmod("/run/group", 0o644)
    libc.mount(b"/run/group", b"/etc/group", None, 0x1000, None)  # MS_BIND


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    if not os.access(QUARRYD, os.X_OK):
        print(f"Bail out! {QUARRYD} is not there: make it first, or set QUARRYD")
        return 1
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    isolate()
    return run(around)
