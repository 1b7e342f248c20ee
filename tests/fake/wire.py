"""Varlink over a plain socket: JSON with a NUL behind it, descriptors beside it. For both ends."""

import array
import fcntl
import json
import os
import select
import socket
import struct
import termios
import time


class Failure(Exception):
    """An error reply."""

    def __init__(self, name, parameters):
        super().__init__(f"{name} {parameters}")
        self.name, self.parameters = name, parameters or {}
        self.kind = name.rpartition(".")[2]
        self.message = self.parameters.get("message", "")


class Gone(Exception):
    """The other end closed the connection."""


class Connection:
    def __init__(self, sock):
        self.socket, self.pending, self.fds = sock, b"", []

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.socket.close()

    def peer_is_gone(self):
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def send_bytes(self, data, fds=()):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.socket.sendmsg([data], control)
        self.socket.sendall(data[sent:])

    def send(self, message, fds=()):
        self.send_bytes(json.dumps(message).encode() + b"\0", fds)

    def receive_bytes(self):
        """The next message without its NUL; raises Gone at the end, TimeoutError after the socket's timeout."""
        while b"\0" not in self.pending:
            data, control, _, _ = self.socket.recvmsg(1 << 20, 4096)
            for level, kind, payload in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                    self.fds += list(numbers)
            if not data:
                raise Gone("closed in the middle of a message" if self.pending else "closed")
            self.pending += data
        message, self.pending = self.pending.split(b"\0", 1)
        return message

    def receive(self):
        return json.loads(self.receive_bytes())


def connect(path, timeout=15):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return Connection(sock)


def sealed(secret):
    """A descriptor that holds a secret, as passphrases travel."""
    fd = os.memfd_create("secret", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, secret)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


class Call:
    """One call, on a connection of its own unless one is given. Nothing is waited for until it is asked."""

    judge = None  # a function that looks at each reply: judge(method, reply)

    def __init__(self, path, method, parameters=None, more=False, fds=(), timeout=15, connection=None):
        self.method = method
        self.connection = connection or connect(path, timeout)
        message = {"method": method, "parameters": parameters or {}}
        if more:
            message["more"] = True
        self.connection.send(message, fds)
        self.progress = []  # parameters of the replies before the last

    def result(self):
        """The last reply's parameters, or raises Failure."""
        try:
            while True:
                reply = self.connection.receive()
                if Call.judge:
                    Call.judge(self.method, reply)
                if "error" in reply:
                    raise Failure(reply["error"], reply.get("parameters"))
                if not reply.get("continues"):
                    return reply.get("parameters", {})
                self.progress.append(reply["parameters"])
        finally:
            self.fds, self.connection.fds = self.connection.fds, []
            self.connection.close()

    def failure(self):
        """The Failure that it ends with."""
        try:
            result = self.result()
        except Failure as failure:
            return failure
        raise AssertionError(f"{self.method} was to fail, and answered {result}")

    def abandon(self):
        self.connection.close()

    def wait_until_read(self):
        """Until the other end has taken the call off its socket."""
        while struct.unpack("i", fcntl.ioctl(self.connection.socket, termios.TIOCOUTQ, bytes(4)))[0] > 0:
            time.sleep(0.001)
