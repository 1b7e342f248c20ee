"""What a create and a mount cost a member of one tenant while a member of another asks as fast as it can, beside what
they cost while nobody else asks."""
import contextlib
import itertools
import json
import os
import signal
import threading
import time

import measure
import ours
import wire
from measure import compare, figure, in_turn

HAMMERER, VICTIM = 60001, 60002
CONNECTIONS = 48
SOCKET = "/run/quarry/io.quarry"


def call(method, **parameters):
    """By root."""
    return wire.Call(SOCKET, f"io.quarry.{method}", parameters, timeout=600).result()


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def as_user(uid, function):
    """What it returns, of a process of that user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            become(uid)
            os.write(writer, json.dumps(function()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as f:
        text = f.read()
    os.waitpid(child, 0)
    return json.loads(text)


def asks(k):
    """What one connection asks for, again and again: work, all that there is, or nonsense."""
    if k % 3 == 0:
        create = {"volume": f"hammer/v{k}", "sizeBytes": ours.GIB}
        return itertools.cycle([("io.quarry.Volume.Create", create),
                                ("io.quarry.Volume.Mount", {"volume": create["volume"]}),
                                ("io.quarry.Volume.Unmount", {"volume": create["volume"]}),
                                ("io.quarry.Volume.Remove", {"volume": create["volume"]})])
    if k % 3 == 1:
        return itertools.cycle([("io.quarry.Volume.List", {})])
    return itertools.cycle([("io.quarry.Volume.Explode", {}), ("io.quarry.Volume.Create", {"volume": "../x"}),
                            ("io.quarry.Volume.Inspect", {"volume": "victim/v0"})])


def hammer(writer):
    """Never returns."""
    answers = [0] * CONNECTIONS

    def strike(k):
        connection = wire.connect(SOCKET, timeout=600)
        for method, parameters in asks(k):
            try:
                connection.send({"method": method, "parameters": parameters})
                connection.receive()
                answers[k] += 1
            except (OSError, wire.Gone):  # it was idle
                connection = wire.connect(SOCKET, timeout=600)
    for k in range(CONNECTIONS):
        threading.Thread(target=strike, args=(k,), daemon=True).start()
    while True:
        time.sleep(0.5)
        os.write(writer, f"{sum(answers)}\n".encode())


class Hammer:
    def __enter__(self):
        reader, writer = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            become(HAMMERER)
            hammer(writer)
        os.close(writer)
        self.told = os.fdopen(reader)
        self.began = time.monotonic()
        self.count = 0
        while self.count < 2 * CONNECTIONS:
            self.count = int(self.told.readline())
        return self

    def __exit__(self, *_):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        self.rate = int((self.told.read().split() or [self.count])[-1]) / (time.monotonic() - self.began)
        self.told.close()


def volumes(tenant):
    return [v for v in call("Volume.List", type="all")["volumes"] if v["tenant"] == tenant]


def clear(tenant):
    """What it has asked for is over then, too."""
    end = time.monotonic() + 300
    while there := volumes(tenant):
        for v in there:
            for method in ("Unmount", "Remove"):
                with contextlib.suppress(wire.Failure):
                    call(f"Volume.{method}", volume=f"{tenant}/{v['name']}")
        if time.monotonic() > end:
            raise RuntimeError(f"{tenant} still has {there}")


def create_and_mount(i):
    return ours.steps_of(ours.Client(), ours.create_mounted_calls(f"victim/v{i}"))


def bench():
    for tenant, uid in (("hammer", HAMMERER), ("victim", VICTIM)):
        call("Tenant.Create", name=tenant, users=[uid])
    ours.warm(ours.Client())
    rates, steps = [], {"hammered": [], "alone": []}

    def asked(i, how):
        steps[how].append(as_user(VICTIM, lambda: create_and_mount(i)))
        return sum(steps[how][-1].values())

    def loaded(i):
        with Hammer() as other:
            ms = asked(i, "hammered")
        rates.append(other.rate)
        return ms

    def alone(i):
        return asked(i, "alone")

    def clean(_):
        clear("victim")
        clear("hammer")
        time.sleep(ours.AHEAD_S)

    a, b = in_turn(measure.rounds, (loaded, clean), (alone, clean))
    compare("create + mount, another tenant hammers", a, "the same, nobody else asks", b, 3, at_least=False)
    figure("what the other asks for meanwhile, per second", f"{min(rates):.0f} to {max(rates):.0f}, over {CONNECTIONS} connections",
           per_s=[round(rate) for rate in rates])
    for how, several in steps.items():
        ours.tell_steps(f"create + mount, {how}", several)
    for tenant in ("hammer", "victim"):
        call("Tenant.Remove", name=tenant)
