"""A snapshot of a mounted volume with something in it."""
import os

import measure
import ours
import peers
from measure import compare, in_turn, run


def write(folder, i):
    """So that there is something new to be frozen."""
    with open(f"{folder}/file{i}", "wb") as f:
        f.write(os.urandom(1 << 20))


def bench():
    client = ours.Client()
    peers.set_up()
    place = client.create_mounted("origin")
    peers.create_mounted("origin")

    steps = []

    def mine(i):
        steps.append(ours.steps_of(client, [("Snapshot", {"volumes": [f"origin@s{i}"]})]))
        return sum(steps[-1].values())

    def lvm(i):
        return measure.timed(lambda: run("lvcreate", "-q", "-s", "peer/origin", "-n", f"s{i}"))

    def fresh(action, folder):
        def prepared(i):
            write(folder, i)
            return action(i)
        return prepared

    samples = in_turn(
        measure.rounds,
        (fresh(mine, place), lambda i: client.call("Remove", volume=f"origin@s{i}")),
        (fresh(lvm, "/mnt"), lambda i: run("lvremove", "-q", "-y", f"peer/s{i}")))
    compare("snapshot of a mounted volume", samples[0], "lvcreate -s", samples[1], 10)
    ours.tell_steps("a snapshot", steps)
