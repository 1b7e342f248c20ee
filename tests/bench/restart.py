"""From the moment the broker is told to end until a client that asks meanwhile has its answer."""
import statistics

import measure
import ours
from measure import figure, run, spread, timed

MOUNTED, UNMOUNTED = 100, 1000


def mount_one(client, i):
    client.call("Create", volume=f"m{i}", sizeBytes=32 << 20, **({"keySource": "host"} if i % 10 == 0 else {}))
    client.call("Mount", volume=f"m{i}")


def first_answer(*command):
    run("systemctl", "restart", "quarryd.service")  # also: how long systemd waits grows with each death
    run("quarry", "ls")

    def action():
        run("systemctl", *command, "quarryd.service")
        run("quarry", "ls")
    return timed(action)


def bench():
    ours.fill(UNMOUNTED)
    ours.by_many(mount_one, range(MOUNTED))
    for case, command in (("restart", ["restart"]), ("kill -9", ["kill", "--signal=KILL", "--kill-whom=main"])):
        times = [first_answer(*command) for _ in range(measure.rounds)]
        figure(f"first answer after {case}", f"{spread(times)} with {MOUNTED} mounted and {UNMOUNTED} unmounted volumes",
               ms=round(statistics.median(times), 1), min_ms=round(min(times), 1), max_ms=round(max(times), 1),
               mounted=MOUNTED, unmounted=UNMOUNTED, rounds=len(times))
    ours.memory(MOUNTED + UNMOUNTED)
