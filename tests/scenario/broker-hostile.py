#!/usr/bin/python3
"""quarryd's public socket and what nobody should send there. TAP on stdout.

After each of it the daemon serves others, and has no more descriptors and not much more memory than before.
"""

import array
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

from tap import contains, eventually, same, test
from world import GIB, MIB, NOBODY, SANITIZED, Call, Gone, as_user, connect_as, main, sealed, wire
from worker import Gate

world = None  # what the test that runs now uses


def begin():
    world.worker.add_pool()
    world.start()
    world.create("db")
    world.names()


class Unharmed:
    """Descriptors and memory are afterwards what they were before."""

    def __init__(self, growth=8 * MIB):
        self.growth = growth

    def __enter__(self):
        self.descriptors, self.memory = world.descriptors(), world.memory()

    def __exit__(self, kind, value, traceback):
        if kind:
            return
        same(world.process.poll(), None, world.log_tail())
        same(world.names(), ["db"])
        eventually(lambda: world.descriptors() <= self.descriptors + 3,  # workers may have been connected
                   f"quarryd has its {self.descriptors} descriptors again, of {world.descriptors()}")
        if not SANITIZED:  # which keeps what was freed
            grown = world.memory() - self.memory
            assert grown < self.growth, f"quarryd has {grown >> 20} MiB more than before"


def answer(data, fds=()):
    """What comes back for these bytes: a reply, or None when the connection is closed."""
    connection = wire.connect(world.socket)
    try:
        connection.send_bytes(data, fds)
        return connection.receive()
    except (Gone, BrokenPipeError, ConnectionResetError):
        return None
    finally:
        connection.close()


def message(method, parameters=None, **members):
    return json.dumps({"method": method, "parameters": parameters or {}, **members}).encode() + b"\0"


def error_of(data, fds=()):
    reply = answer(data, fds)
    return reply and reply.get("error")


# --- messages

NO_CALLS = [
    b"", b"{", b"[]", b"1", b"null", b'"x"', b"{}", b"garbage", b"\xff\xfe", bytes(range(1, 256)),
    b'{"method":1}',
    b'{"method":null}',
    b'{"method":"\xc3\x28"}',
    b'{"method":"a\\u0000b"}',
    b'{"method":"x","method":"y"}',
    b'{"method":"io.quarry.Volume.List","parameters":[]}',
    b'{"method":"io.quarry.Volume.List","parameters":{},"surprise":1}',
    b'{"method":"io.quarry.Volume.List","more":1}',
    b'{"method":"io.quarry.Volume.List","more":true,"oneway":true}',
    b'{"method":"io.quarry.Volume.List"}}',
    b'{"parameters":{}}',
    b'{"error":"io.quarry.Volume.Failed"}',  # replies, where a call is due
    b'{"parameters":{},"continues":true}',
]


@test
def what_is_no_call_ends_the_connection():
    begin()
    with Unharmed():
        for data in NO_CALLS:
            for _ in range(3):
                same(answer(data + b"\0"), None, repr(data))
        for size in (1, 1000, 100000):
            same(answer(os.urandom(size).replace(b"\0", b"\1") + b"\0"), None)


@test
def unknown_methods_and_interfaces_are_named():
    begin()
    with Unharmed():
        for method in ("io.quarry.Volume.Explode", "io.quarry.Volume.list", "io.quarry.Volume.", "io.quarry.Volume",
                       "io.quarry.Nothing.List", "io.quarry.Worker.Run", "x", ""):
            same(error_of(message(method)), "org.varlink.service.MethodNotFound", method)


# Refused by the interface description: the library names the member.
WRONG_TYPES = [
    ("surprise", 1), ("existed", True),
    ("sizeBytes", "big"), ("sizeBytes", -1), ("sizeBytes", 1.5),
    ("sizeBytes", "1073741824"), ("uid", "0"), ("mode", "0700"),
    ("volume", 5), ("volume", None), ("labels", "a=1"), ("labels", [1]), ("filesystem", "ntfs"), ("filesystem", 1),
    ("keySource", "none"), ("uid", 1 << 32), ("mode", -1), ("ifAbsent", 1), ("mkfsOptions", {}),
    ("keyFileDescriptor", "x"), ("keyFileDescriptor", -1),
]
# Refused by our rules: the error says why.
WRONG_VALUES = [
    ("volume", ""), ("volume", "../etc"), ("volume", "a" * 129), ("volume", "a" * 100000), ("volume", "T/x"),
    ("volume", "p:q:x"), ("volume", "x\ny"),
    ("sizeBytes", None), ("sizeBytes", 0), ("sizeBytes", 1), ("sizeBytes", (1 << 50) + 1), ("sizeBytes", (1 << 64) - 1),
    ("uid", (1 << 32) - 1), ("gid", (1 << 32) - 1), ("mode", 0o10000),
    ("labels", ["a=1", "a=2"]), ("labels", ["novalue"]), ("labels", ["a=\n"]),
    ("labels", [f"l{i}=1" for i in range(65)]),
    ("mkfsOptions", ["-d /etc"]), ("mkfsOptions", ["-m 1"] * 17),
    ("keyFileDescriptor", 0), ("keyFileDescriptor", 253), ("keyFileDescriptor", 2147483647),
]
WRONG_POOLS = [
    {}, {"devices": []}, {"devices": ["relative"]}, {"devices": ["/dev/a", "/dev/a"]},
    {"devices": [f"/dev/{i}" for i in range(65)]}, {"devices": ["/dev/a"], "sizeBytes": GIB},
    {"devices": ["/dev/a"], "chunkSizeBytes": 1}, {"devices": ["/dev/a"], "metadataSizeBytes": 1},
    {"devices": ["/dev/a"], "file": "/x", "sizeBytes": GIB}, {"file": "/x"}, {"file": "/x/../y", "sizeBytes": GIB},
    {"volumeGroup": "-rf", "sizeBytes": GIB},
]


@test
def wrong_members_are_named():
    begin()
    create = {"volume": "x", "sizeBytes": GIB}
    with Unharmed():
        for field, value in WRONG_TYPES:
            failure = world.refused("org.varlink.service.InvalidParameter", "Volume.Create", **{**create, field: value})
            same(failure.parameters, {"parameter": field}, repr(value))
        for method, parameters, field in (("Create", {"sizeBytes": GIB}, "volume"), ("Inspect", {}, "volume"),
                                          ("List", {"pool": 1}, "pool"),
                                          ("Mount", {"volume": "db", "readOnly": "yes"}, "readOnly")):
            failure = world.refused("org.varlink.service.InvalidParameter", f"Volume.{method}", **parameters)
            same(failure.parameters, {"parameter": field})
        for field, value in WRONG_VALUES:
            failure = world.refused("BadRequest", "Volume.Create", **{**create, field: value})
            same(failure.parameters["field"], field, str(failure))
            assert len(failure.message) < 512 and failure.message.isprintable(), failure.message
        contains(world.refused("NotSupported", "Volume.Create", volume="x@snap", sizeBytes=GIB).message, "snapshot")
        same(world.refused("BadRequest", "Volume.List", tenant="A").parameters["field"], "tenant")
        for name in ("", "a/b", "A", "a" * 33, "\u202e"):
            same(world.refused("BadRequest", "Pool.Inspect", name=name).parameters["field"], "name")
            same(world.refused("BadRequest", "Pool.Create", name=name, devices=["/dev/x"]).parameters["field"], "name")
        for parameters in WRONG_POOLS:
            world.refused("BadRequest", "Pool.Create", name="p", **parameters)
    same((world.worker.count("volume_create"), world.worker.count("pool_create")), (1, 0))


def ticks():
    """What the daemon has used of the processor, see proc_pid_stat(5)."""
    with open(f"/proc/{world.process.pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))


@test
def deep_and_large_messages_do_no_harm():
    begin()
    with Unharmed(growth=128 * MIB):  # the library's, for the largest message, and not once more for the next
        for depth in (100, 2047, 2048, 100000):
            for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
                nested = opening * depth + b"1" + closing * depth
                contains(str(error_of(b'{"method":"io.quarry.Volume.List","parameters":{"pool":' + nested + b"}}\0")),
                         "None" if depth > 2000 else "InvalidParameter")
        # An unprivileged user may send all this: what the daemon has to do for it grows with its length, not faster.
        for method, field, required in (("Volume.Create", "labels", {"volume": "x", "sizeBytes": GIB}),
                                        ("Volume.Create", "mkfsOptions", {"volume": "x", "sizeBytes": GIB}),
                                        ("Pool.Create", "devices", {"name": "x"}), ("Pool.Import", "devices", {})):
            costs = []
            for count in (50000, 400000):
                before = ticks()
                refused = error_of(message(f"io.quarry.{method}", {**required, field: ["a=1"] * count}))
                same(refused, "org.varlink.service.InvalidParameter")
                costs.append(ticks() - before)
            assert costs[1] < 20 * costs[0] + 20, f"{method}: {costs} ticks of the processor"
        keys = {f"k{i}": 1 for i in range(100000)}
        same(error_of(message("io.quarry.Volume.List", keys)), "org.varlink.service.InvalidParameter")
        long = message("io.quarry.Volume.Inspect", {"volume": "a" * (15 * MIB)})
        same(error_of(long), "io.quarry.Volume.BadRequest")
        # The library closes at 16 MiB that lie in its buffer, which it looks at before it reads. While the sender goes
        # on writing, one read brings in whatever the buffer has room for, up to twice as much: then it is answered.
        beyond = error_of(message("io.quarry.Volume.Inspect", {"volume": "a" * (17 * MIB)}))
        assert beyond in (None, "io.quarry.Volume.BadRequest"), beyond
        same(answer(message("io.quarry.Volume.Inspect", {"volume": "a" * (40 * MIB)})), None)
        same(answer(b" " * (40 * MIB)), None)


@test
def half_a_message_and_then_silence_holds_up_nobody():
    begin()
    with Unharmed():
        silent = []
        for size in (1, 10, 100000):
            for _ in range(10):
                connection = wire.connect(world.socket)
                connection.send_bytes((b'{"method":"' + b"x" * size)[:size])
                silent.append(connection)
        same(world.names(), ["db"])
        world.inspect("db")
        for connection in silent:
            connection.close()


@test
def many_calls_on_one_connection_are_answered_in_order():
    begin()
    with Unharmed():
        connection = wire.connect(world.socket)
        for _ in range(10):
            for i in range(50):
                connection.send_bytes(message("io.quarry.Volume.Inspect", {"volume": "db" if i % 2 else "none"}))
            for i in range(50):
                reply = connection.receive()
                same("error" in reply, i % 2 == 0, str(reply))
        connection.close()


@test
def who_does_not_read_its_answers_is_no_burden():
    begin()
    describe = message("org.varlink.service.GetInterfaceDescription", {"interface": "io.quarry.Volume"})
    with Unharmed(growth=32 * MIB):
        deaf = []
        for _ in range(2):
            connection = wire.connect(world.socket, timeout=0.3)
            try:
                for _ in range(3000):
                    connection.send_bytes(describe)
            except (TimeoutError, BrokenPipeError, ConnectionResetError):
                pass
            deaf.append(connection)
        same(world.names(), ["db"])
        for connection in deaf:
            connection.close()


# --- descriptors

@test
def descriptors_where_none_belong_are_closed():
    begin()
    with Unharmed():
        for _ in range(20):
            fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
            answer(message("io.quarry.Volume.Inspect", {"volume": "db"}), fds)
            answer(message("io.quarry.Volume.Create", {"volume": "x"}), fds)
            answer(message("io.quarry.Volume.Create", {"volume": "x", "sizeBytes": GIB, "keyFileDescriptor": 50}), fds)
            answer(message("io.quarry.Volume.Create", {"volume": "x", "sizeBytes": GIB, "keyFileDescriptor": 7}), fds)
            answer(message("x"), fds)
            answer(b"garbage\0", fds)
            for fd in fds:
                os.close(fd)
        half = wire.connect(world.socket)
        half.send_bytes(b"{", [0] * 200)
        half.close()


@test
def a_key_that_is_no_sealed_memfd_is_refused():
    begin()
    reader, writer = os.pipe()
    plain = os.memfd_create("key")
    os.write(plain, b"sesame")
    create = {"volume": "x", "sizeBytes": GIB, "keySource": "passphrase", "keyFileDescriptor": 0}
    with Unharmed():
        for fd in (reader, plain, os.open("/etc/passwd", os.O_RDONLY)):
            same(error_of(message("io.quarry.Volume.Create", create), [fd]), "io.quarry.Volume.BadRequest")
    os.close(reader)
    os.close(writer)
    os.close(plain)


@test
def descriptors_of_people_without_rights_do_not_use_up_ours():
    begin()
    with Unharmed():
        def flood():
            connections = [wire.connect(world.socket) for _ in range(20)]
            sent = 0
            for _ in range(200):
                for connection in connections:
                    try:
                        connection.send_bytes(b" ", [0] * 100)
                        sent += 100
                    except OSError:  # so many may not be on their way
                        time.sleep(0.001)
            time.sleep(0.1)
            return sent

        def watch():
            while not over.is_set():
                most.append(world.descriptors())
                time.sleep(0.005)

        over, most, before = threading.Event(), [], world.descriptors()
        watcher = threading.Thread(target=watch)
        watcher.start()
        sent = as_user(NOBODY, NOBODY, [], flood)
        over.set()
        watcher.join()
        assert int(sent) > 1000, sent  # and not more of the others: they are paced
        assert max(most) < before + 100, max(most)


def lingering(port):
    """A socket whose last close waits for a minute: nobody takes what was sent to it."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(1 << 20))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    return sock


LINGERING = {
    "a call": (message("io.quarry.Volume.Inspect", {"volume": "db"}), 0),
    "a call that takes one": (message("io.quarry.Volume.Mount", {"volume": "acme/own", "keyFileDescriptor": 0}), 0),
    "a method that is not there": (message("x"), 0),
    "no call": (b"garbage\0", 0),
    "half a call": (b"{", 0),
    "what is sent out of band": (b"{", socket.MSG_OOB),
}


@test
def whoever_sends_a_descriptor_waits_for_its_end_alone():
    begin()
    member = 4001
    world.call("Tenant.Create", name="acme", users=[member])
    world.create("acme/own")
    listener = socket.create_server(("127.0.0.1", 0))
    for uid in (NOBODY, member):
        for what, (data, flags) in LINGERING.items():
            def send():
                kept = lingering(listener.getsockname()[1])
                control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [kept.fileno()]))]
                wire.connect(world.socket).socket.sendmsg([data], control, flags)  # noqa: B023
                os._exit(0)
            world.process.send_signal(signal.SIGSTOP)
            as_user(uid, uid, [], send)
            world.process.send_signal(signal.SIGCONT)
            began = time.monotonic()
            same(sorted(world.names()), ["db", "own"], what)
            took = time.monotonic() - began
            assert took < 5, f"{what} of user {uid} holds up the daemon for {took:.0f} s"
    listener.close()


@test
def a_tenant_of_many_users_keeps_no_passphrase_from_others():
    begin()
    world.call("Tenant.Create", name="acme", groups=[4000])
    world.call("Tenant.Create", name="beta", users=[4001])
    kept, secret = [], sealed(b"sesame")
    for n in range(156):  # a child that reads for each, and waits: what follows events is read no further
        connection = connect_as(world.socket, 60100 + n // 12, [4000])
        connection.send({"method": "io.quarry.Event.Subscribe", "more": True})
        connection.receive()
        connection.socket.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            for _ in range(12):
                connection.send_bytes(b" " * 60000, [secret])
        kept.append(connection)
    create = {"volume": "x", "sizeBytes": GIB, "keySource": "passphrase", "keyFileDescriptor": 0}
    contains(as_user(4001, 4001, [], lambda: Call(world.socket, "io.quarry.Volume.Create", create,
                                                  fds=[sealed(b"sesame")]).result()), "'name': 'x'")
    for connection in kept:
        connection.close()


@test
def a_tenant_of_many_users_leaves_room_for_others():
    world.worker.add_pool()
    world.start(descriptors=400)
    world.call("Tenant.Create", name="acme", groups=[4000])
    world.call("Tenant.Create", name="beta", users=[4001])
    world.create("beta/db")
    kept = []
    with contextlib.suppress(OSError, Gone):  # of the one that is too much
        for n in range(100):
            kept.append(connect_as(world.socket, 60100 + n // 12, [4000]))
            kept[-1].send({"method": "io.quarry.Event.Subscribe", "more": True})
            kept[-1].receive()
    assert len(kept) > 20, len(kept)
    contains(as_user(4001, 4001, [], lambda: Call(world.socket, "io.quarry.Volume.List").result()), "'name': 'db'")
    for connection in kept:
        connection.close()


@test
def what_a_member_sends_with_a_call_comes_with_it():
    begin()
    world.call("Tenant.Create", name="acme", users=[4001])

    def calls():
        answers = []
        for fds in ([sealed(b"sesame")], [os.open("/dev/null", os.O_RDONLY)], [sealed(b"sesame"), 0], []):
            connection = wire.connect(world.socket)
            for _ in range(2):  # as often as one likes
                connection.send({"method": "io.quarry.Volume.Create", "parameters": {
                    "volume": f"v{len(answers)}", "sizeBytes": GIB, "keySource": "passphrase",
                    "keyFileDescriptor": 0}}, fds)
                reply = connection.receive()
                answers.append(f"{reply.get('error')} {'memfds' in str(reply)}")
            connection.close()
        return answers
    same(as_user(4001, 4001, [], calls), str(["None False"] * 2 + ["io.quarry.Volume.BadRequest True"] * 6))


# --- connections

@test
def idle_connections_are_closed_and_calls_in_progress_never():
    begin()
    with Unharmed():
        gate = Gate()
        world.worker.rule("volume_create", gate)
        create = world.begin_create("slow", more=True)
        gate.wait()
        busy = wire.connect(world.socket)  # old, but used again and again
        idle = []
        for i in range(2000):
            idle.append(wire.connect(world.socket))
            if i % 50 == 0:
                idle[-1].send_bytes(message("org.varlink.service.GetInfo"))
                idle[-1].receive()  # all before it have been accepted, too
                busy.send_bytes(message("org.varlink.service.GetInfo"))
                contains(str(busy.receive()), "quarryd")
                busy.send_bytes(message("io.quarry.Volume.Inspect", {"volume": "db"}))
                contains(str(busy.receive()), "db")
        same(world.names(), ["db", "slow"])
        assert world.descriptors() < 250, world.descriptors()
        gate.release()
        same(create.result()["volume"]["name"], "slow")
        for connection in idle:
            connection.close()
        busy.close()
        world.call("Volume.Remove", volume="slow")


@test
def many_connections_of_many_users_leave_room_for_root():
    begin()
    with Unharmed(growth=24 * MIB):
        def crowd():
            kept = []
            try:
                for _ in range(1500):
                    kept.append(wire.connect(world.socket, timeout=2))
            except OSError:
                pass
            Call(world.socket, "io.quarry.Volume.List").result()
            return len(kept)
        for uid in (60001, 60002, 60003):
            as_user(uid, uid, [], crowd)
        same(world.names(), ["db"])


@test
def many_users_together_have_few_idle_connections():
    begin()

    def crowd():
        kept = []
        for uid in range(60100, 60120):
            os.setresuid(uid, uid, 0)
            kept += [wire.connect(world.socket) for _ in range(10)]
            os.setresuid(0, 0, 0)
        Call(world.socket, "io.quarry.Volume.List").result()
        return world.descriptors()
    before = world.descriptors()
    descriptors = int(as_user(0, 0, [], crowd))
    assert descriptors < before + 158, (before, descriptors)  # three for each that stays
    same(world.names(), ["db"])


@test
def a_message_of_somebody_without_rights_is_not_read_to_its_end():
    begin()
    with Unharmed():
        def flood():
            connection = wire.connect(world.socket, timeout=10)
            sent = 0
            try:
                connection.send_bytes(b'{"method":"io.quarry.Volume.List","parameters":{"x":[')
                while sent < 15 * MIB:
                    connection.send_bytes(b"0," * 4096)
                    sent += 8192
            except OSError:
                pass
            return sent
        assert int(as_user(NOBODY, NOBODY, [], flood)) < MIB

        def many_calls():  # who asks often has no such end, and waits
            connection = wire.connect(world.socket, timeout=10)
            began = time.monotonic()
            for _ in range(350):
                connection.send_bytes(message("io.quarry.Volume.Inspect", {"volume": "x" * 1000}))
                connection.receive()
            return time.monotonic() - began
        took = float(as_user(NOBODY, NOBODY, [], many_calls))
        assert 1 < took < 20, took


@test
def it_is_not_deaf_when_descriptors_run_out():
    world.worker.add_pool()
    world.start(descriptors=100)
    world.create("db")
    gate = Gate()
    world.worker.rule("volume_mount", gate)
    calls = []
    for _ in range(150):  # those that get in are in progress, and may not be closed
        with contextlib.suppress(OSError):
            calls.append(world.begin("Volume.Mount", volume="db"))
    gate.wait()
    time.sleep(0.1)
    gate.release()
    answered = 0
    for call in calls:
        try:
            call.result()
            answered += 1
        except (Gone, OSError):
            pass
    assert answered >= 50, answered
    same(world.names(), ["db"])


@test
def clients_that_come_and_go_leave_nothing():
    begin()
    for _ in range(200):
        wire.connect(world.socket).close()
    with Unharmed():
        for i in range(300):
            call = world.begin("Volume.Inspect", volume="db")
            if i % 3:
                call.result()
            else:
                call.abandon()
            wire.connect(world.socket).close()
            half = wire.connect(world.socket)
            half.send_bytes(b'{"method":')
            half.socket.shutdown(socket.SHUT_WR)
            half.close()


if __name__ == "__main__":
    sys.exit(main())
