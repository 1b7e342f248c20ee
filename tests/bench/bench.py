#!/usr/bin/env python3
"""Runs in the test machine: pairs of commands in turn, medians and ratios. /dev/vda is quarry's, /dev/vdb LVM's.

bench.py [ROUNDS [CASE]]    CASE: peers or restart; both if it is missing
"""
import concurrent.futures
import glob
import json
import os
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fake"))
import wire  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
CASES = sys.argv[2:] or ["peers", "restart"]
VOLUMES = 200
MOUNTED, UNMOUNTED = 100, 1000
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
results = []


def run(*command, **options):
    subprocess.run(command, check=True, **{**QUIET, **options})


def timed(action):
    began = time.monotonic()
    action()
    return (time.monotonic() - began) * 1000


def pair(case, peer_name, ours, peer, after_ours=None, after_peer=None):
    """Both in turn, so that a slow moment of the machine hits both."""
    mine, theirs = [], []
    for i in range(ROUNDS):
        mine.append(timed(lambda: ours(i)))
        if after_ours:
            after_ours(i)
        theirs.append(timed(lambda: peer(i)))
        if after_peer:
            after_peer(i)
    a, b = statistics.median(mine), statistics.median(theirs)
    results.append({"case": case, "ours_ms": round(a, 1), "ours_min_ms": round(min(mine), 1), "ours_max_ms": round(max(mine), 1),
                    "peer": peer_name, "peer_ms": round(b, 1), "peer_min_ms": round(min(theirs), 1),
                    "peer_max_ms": round(max(theirs), 1), "ratio": round(b / a, 2), "rounds": ROUNDS})
    print(f"{case:<34} {a:9.1f} ms ({min(mine):.0f}..{max(mine):.0f})   {peer_name:<44} {b:9.1f} ms "
          f"({min(theirs):.0f}..{max(theirs):.0f})   {b / a:6.2f} times faster", flush=True)


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


def quarry_create(name, *options):
    run("quarry", "create", name, "--size", "1G", *options)
    run("quarry", "mount", name)


def quarry_remove(name):
    run("quarry", "umount", name)
    run("quarry", "rm", "--yes", name)


def lvm_create(name):
    run("lvcreate", "-q", "-V", "1G", "-T", "peer/pool", "-n", name)
    run("mkfs.ext4", "-q", f"/dev/peer/{name}")
    run("mount", f"/dev/peer/{name}", "/mnt")


def lvm_create_encrypted(name):
    run("lvcreate", "-q", "-V", "1G", "-T", "peer/pool", "-n", name)
    # The same key derivation as quarry's for a key that is random: PBKDF2 at its minimum.
    run("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
        "--sector-size", "4096", "--key-file", "/run/key", f"/dev/peer/{name}")
    run("cryptsetup", "open", "--key-file", "/run/key", f"/dev/peer/{name}", f"crypt-{name}")
    run("mkfs.ext4", "-q", f"/dev/mapper/crypt-{name}")
    run("mount", f"/dev/mapper/crypt-{name}", "/mnt")


def lvm_remove(name, encrypted=False):
    run("umount", "/mnt")
    if encrypted:
        run("cryptsetup", "close", f"crypt-{name}")
    run("lvremove", "-q", "-y", f"peer/{name}")


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

    def longest(self, since, until):
        return max(seconds for began, seconds in self.calls if began + seconds >= since and began <= until)


def data_size(pool):
    out = subprocess.run(["quarry", "pool", "inspect", pool, "--json"], check=True, capture_output=True).stdout
    return json.loads(out)["pools"][0]["dataSizeBytes"]


def extensions(rounds):
    """How long a writer is stopped by an automatic extension: its longest call while one runs."""
    run("quarry", "pool", "create", "grow", "--vg", "peer", "--size", "700M")
    run("quarry", "create", "steady", "--pool", "grow", "--size", "64M")
    run("quarry", "create", "bulk", "--pool", "grow", "--size", "4G", "--fs", "none")
    place = subprocess.run(["quarry", "mount", "steady"], check=True, capture_output=True, text=True).stdout.strip()
    device = subprocess.run(["quarry", "mount", "bulk"], check=True, capture_output=True, text=True).stdout.strip()
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
    usual = [seconds * 1000 for _, seconds in writer.calls]
    writer.join()
    results.append({"case": "writer stopped by an automatic extension", "median_ms": round(statistics.median(pauses), 1),
                    "max_ms": round(max(pauses), 1), "usual_ms": round(statistics.median(usual), 1), "rounds": rounds})
    print(f"a writer is stopped by an automatic extension: median {statistics.median(pauses):.0f} ms, at most "
          f"{max(pauses):.0f} ms ({rounds} times; a usual synced write: {statistics.median(usual):.0f} ms)", flush=True)
    for name in ("steady", "bulk"):
        quarry_remove(name)
    run("quarry", "pool", "rm", "--yes", "grow")


def bench_peers():
    run("vgcreate", "-q", "peer", "/dev/vdb")
    run("lvcreate", "-q", "-T", "peer/pool", "-L", "10G", "--poolmetadatasize", "128M")
    with open("/run/key", "wb") as f:
        f.write(os.urandom(64))

    print(f"medians of {ROUNDS} rounds, in turn; in parentheses the smallest and the largest\n")
    pair("create + mount, ext4 1 GiB", "lvcreate -V + mkfs.ext4 + mount",
         lambda i: quarry_create(f"v{i}"), lambda i: lvm_create(f"v{i}"),
         lambda i: quarry_remove(f"v{i}"), lambda i: lvm_remove(f"v{i}"))
    pair("create + mount, encrypted", "lvcreate + luksFormat + open + mkfs + mount",
         lambda i: quarry_create(f"e{i}", "--encrypt"), lambda i: lvm_create_encrypted(f"e{i}"),
         lambda i: quarry_remove(f"e{i}"), lambda i: lvm_remove(f"e{i}", encrypted=True))

    for i in range(VOLUMES):
        run("quarry", "create", f"n{i}", "--size", "1G", "--fs", "none")
        run("lvcreate", "-q", "-an", "-V", "1G", "-T", "peer/pool", "-n", f"n{i}")
    pair(f"ls of {VOLUMES} volumes", "lvs", lambda i: run("quarry", "ls"), lambda i: run("lvs", "peer"))
    extensions(min(ROUNDS, 5))  # more do not fit into the volume group
    report_memory(VOLUMES)
    for i in range(VOLUMES):
        run("quarry", "rm", "--yes", f"n{i}")


def in_parallel(action, n):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(action, range(n)))


def call(method, **parameters):
    """Without a process, which is most of what it would cost."""
    return wire.Call("/run/quarry/io.quarry", f"io.quarry.Volume.{method}", parameters, timeout=300).result()


def mount_one(i):
    call("Create", volume=f"m{i}", sizeBytes=32 << 20, **({"keySource": "host"} if i % 10 == 0 else {}))
    call("Mount", volume=f"m{i}")


def first_answer(*command):
    """From the moment the broker is told to end until a client that asks meanwhile has its answer."""
    run("systemctl", "restart", "quarryd.service")  # also: how long systemd waits grows with each death
    run("quarry", "ls")

    def action():
        run("systemctl", *command, "quarryd.service")
        run("quarry", "ls")
    return timed(action)


def bench_restart():
    in_parallel(lambda i: call("Create", volume=f"u{i}", sizeBytes=1 << 30, filesystem="none"), UNMOUNTED)
    in_parallel(mount_one, MOUNTED)
    for case, command in (("restart", ["restart"]), ("kill -9", ["kill", "--signal=KILL", "--kill-whom=main"])):
        times = [first_answer(*command) for _ in range(ROUNDS)]
        median = statistics.median(times)
        results.append({"case": f"first answer after {case}", "ms": round(median, 1), "min_ms": round(min(times), 1),
                        "max_ms": round(max(times), 1), "mounted": MOUNTED, "unmounted": UNMOUNTED, "rounds": ROUNDS})
        print(f"first answer after {case:<15} {median:9.1f} ms ({min(times):.0f}..{max(times):.0f})   with {MOUNTED} "
              f"mounted and {UNMOUNTED} unmounted volumes", flush=True)


def report_memory(volumes):
    memory = {"quarryd_kib": resident_kib(pids_of("quarryd")[0]),
              "worker_kib": sorted(resident_kib(pid) for pid in pids_of("quarry-worker"))}
    results.append({"case": f"resident memory with {volumes} volumes", **memory})
    print(f"\nresident memory with {volumes} volumes: quarryd {memory['quarryd_kib']} KiB, workers "
          f"{memory['worker_kib']} KiB", flush=True)


def main():
    run("quarry", "pool", "create", "default", "/dev/vda")
    if "peers" in CASES:
        bench_peers()
    if "restart" in CASES:
        bench_restart()
        report_memory(MOUNTED + UNMOUNTED)
    print("results: " + json.dumps(results))


main()
