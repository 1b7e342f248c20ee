"""How long a writer is stopped by an automatic extension of its pool: its longest call while one runs."""
import json
import os
import statistics
import threading
import time

import measure
import ours
import peers
from measure import figure, output, run


class Steady(threading.Thread):
    """A program that writes one block over and over, and waits for each to be on the disk."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR)
        self.calls, self.ends = [], False  # (when it began, seconds)

    def run(self):
        while not self.ends:
            began = time.monotonic()
            os.pwrite(self.fd, b"x" * 4096, 0)
            os.fdatasync(self.fd)
            self.calls.append((began, time.monotonic() - began))
        os.close(self.fd)

    def longest(self, since, until):
        return max(seconds for began, seconds in self.calls if began + seconds >= since and began <= until)


def data_size(pool):
    return json.loads(output("quarry", "pool", "inspect", pool, "--json"))["pools"][0]["dataSizeBytes"]


def bench():
    rounds = min(measure.rounds, 5)  # more do not fit into the volume group
    client = ours.Client()
    peers.reset()
    run("vgcreate", "-q", "peer", "/dev/vdb")
    run("quarry", "pool", "create", "grow", "--vg", "peer", "--size", "700M")
    client.call("Create", volume="grow:steady", sizeBytes=64 << 20)
    client.call("Create", volume="grow:bulk", sizeBytes=4 * ours.GIB, filesystem="none")
    place = client.call("Mount", volume="grow:steady")["path"]
    device = client.call("Mount", volume="grow:bulk")["path"]
    writer, pauses = Steady(place + "/block"), []
    writer.start()
    with open(device, "wb", buffering=0) as bulk:
        for _ in range(rounds):
            size, limit = data_size("grow"), time.monotonic() + 120
            while data_size("grow") == size and time.monotonic() < limit:
                bulk.write(b"y" * (4 << 20))
                os.fsync(bulk.fileno())
            pauses.append(writer.longest(time.monotonic() - 3, time.monotonic()) * 1000)
    writer.ends = True
    usual = statistics.median(seconds * 1000 for _, seconds in writer.calls)
    writer.join()
    median = statistics.median(pauses)
    figure("a writer is stopped by an automatic extension", f"median {median:.0f} ms, at most {max(pauses):.0f} ms "
           f"({rounds} times; a usual synced write: {usual:.0f} ms)",
           median_ms=round(median, 1), max_ms=round(max(pauses), 1), usual_ms=round(usual, 1), rounds=rounds)
    for name in ("grow:steady", "grow:bulk"):
        client.remove(name)
    run("quarry", "pool", "rm", "--yes", "grow")
