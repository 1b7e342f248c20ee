"""Quarry's side: calls of its API."""
import concurrent.futures
import glob
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fake"))
import wire  # noqa: E402
from measure import figure, output, run  # noqa: E402

GIB = 1 << 30
CLIENTS = 8
MOUNTS = "/run/quarry/mnt/default"


class Client:
    """One connection for all its calls."""

    def __init__(self):
        self.connection = wire.connect("/run/quarry/io.quarry", timeout=600)

    def call(self, method, **parameters):
        return self.watch(method, parameters, None)

    def watch(self, method, parameters, on_step):
        message = {"method": f"io.quarry.Volume.{method}", "parameters": parameters}
        self.connection.send({**message, "more": True} if on_step else message)
        while True:
            reply = self.connection.receive()
            if "error" in reply:
                raise wire.Failure(reply["error"], reply.get("parameters"))
            if not reply.get("continues"):
                return reply.get("parameters", {})
            on_step(reply["parameters"]["progress"]["step"])

    def create_mounted(self, name, **options):
        self.call("Create", volume=name, sizeBytes=10 * GIB, **options)
        return self.call("Mount", volume=name)["path"]

    def remove(self, name):
        self.call("Unmount", volume=name)
        self.call("Remove", volume=name)


def by_many(action, items, clients=CLIENTS):
    """action(client, item), by several clients at once."""
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        def one(part):
            client = Client()
            for item in part:
                action(client, item)
        list(pool.map(one, [items[k::clients] for k in range(clients)]))


def names():
    return [volume["name"] for volume in Client().call("List")["volumes"]]


def fill(n):
    """Makes it n volumes that only exist. One there is always: without volumes a pool keeps no templates."""
    have = [name for name in names() if name.startswith("filler")]
    by_many(lambda client, i: client.call("Create", volume=f"filler{i}", sizeBytes=GIB, filesystem="none"),
            range(len(have), n))
    by_many(lambda client, i: client.call("Remove", volume=f"filler{i}"), range(n, len(have)))


def remove_all():
    def remove(client, name):
        client.call("Unmount", volume=name)
        client.call("Remove", volume=name, snapshots=True)
    by_many(remove,
            [name for name in names() if name != "filler0"])


# So long after a create it makes the next volume of that kind ahead; what that takes is not to fall into another's turn.
AHEAD_S, AHEAD_ENCRYPTED_S = 2, 4


def warm(client, **options):
    """Until one is made without a step: of what is asked for again and again there is a template, and one more volume."""
    steps, end = ["making the filesystem"], time.monotonic() + 120
    while steps and time.monotonic() < end:
        steps = []
        client.watch("Create", {"volume": "warm", "sizeBytes": 10 * GIB, **options}, steps.append)
        client.call("Mount", volume="warm")
        removed(client, "warm", **options)


def removed(client, name, **options):
    client.remove(name)
    time.sleep(AHEAD_ENCRYPTED_S if "keySource" in options else AHEAD_S)


def pool():
    return json.loads(output("quarry", "pool", "inspect", "default", "--json"))["pools"][0]


def steps_of(client, calls):
    """Where the milliseconds of these calls go, (method, parameters) each, by what the daemon tells on the way."""
    spent = {}
    for method, parameters in calls:
        marks = [(f"{method}: before the first step", time.monotonic())]
        client.watch(method, parameters, lambda step: marks.append((f"{method}: {step}", time.monotonic())))
        marks.append(("", time.monotonic()))
        for (step, began), (_, ended) in zip(marks, marks[1:]):
            spent[step] = spent.get(step, 0) + (ended - began) * 1000
    return spent


def create_mounted_calls(name, **options):
    return ("Create", {"volume": name, "sizeBytes": 10 * GIB, **options}), ("Mount", {"volume": name})


def tell_steps(case, several):
    """The medians of what steps_of() returned."""
    steps = {step: round(statistics.median(one.get(step, 0) for one in several), 1)
             for step in dict.fromkeys(step for one in several for step in one)}
    figure(f"steps of {case}, ms", "; ".join(f"{step} {ms}" for step, ms in steps.items() if ms), steps=steps)


def breakdown(case, n=5, **options):
    client, several = Client(), []
    for i in range(n):
        several.append(steps_of(client, create_mounted_calls(f"steps{i}", **options)))
        removed(client, f"steps{i}", **options)
    tell_steps(case, several)


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def pids_of(name):
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path, encoding="utf-8") as f:
                if f.read().strip() == name[:15]:
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def memory(volumes):
    broker = resident_kib(pids_of("quarryd")[0])
    workers = sorted(resident_kib(pid) for pid in pids_of("quarry-worker"))
    figure(f"resident memory with {volumes} volumes", f"quarryd {broker / 1024:.1f} MiB (goal: below 24), workers "
           + ", ".join(f"{kib / 1024:.1f}" for kib in workers), quarryd_kib=broker, worker_kib=workers, goal_kib=24 << 10)


def set_up():
    run("quarry", "pool", "create", "default", "/dev/vda")
    fill(1)
