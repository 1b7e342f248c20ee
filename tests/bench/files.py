"""What a filesystem on a volume gives, beside one on a bare thin device of the same pool: by fio, in a file that is all
written already."""
import json
import os
import time

import bare
import measure
import ours
import peers
from measure import compare, in_turn, output, run

SIZE, FILE = 2 * ours.GIB, "256M"
SECONDS = 4
PLACE = bare.TARGET + "-disk"
JOBS = (("4k random read", "read", ("--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=8")),
        ("4k random write with fsync", "write", ("--rw=randwrite", "--bs=4k", "--ioengine=psync", "--fsync=1")),
        ("1 MiB sequential read", "read", ("--rw=read", "--bs=1M", "--ioengine=libaio", "--iodepth=4")),
        ("1 MiB sequential write", "write", ("--rw=write", "--bs=1M", "--ioengine=libaio", "--iodepth=4")))


def fio(folder, *options):
    return json.loads(output("fio", "--name=bench", f"--filename={folder}/file", f"--size={FILE}", "--direct=1",
                             "--output-format=json", *options))["jobs"][0]


def per_operation(folder, direction, options):
    told = fio(folder, "--time_based", f"--runtime={SECONDS}", *options)
    return 1000 / told[direction]["iops"]


def quiet():
    """The kernel has written the tables that mkfs left to it."""
    end = time.monotonic() + 120
    while ours.pids_of("ext4lazyinit") and time.monotonic() < end:
        time.sleep(0.5)


def held_against(kind, folder, peer, target):
    for place in (folder, PLACE):
        fio(place, "--rw=write", "--bs=1M", "--end_fsync=1")
    quiet()
    rounds = min(measure.rounds, 5)
    for name, direction, options in JOBS:
        a, b = in_turn(rounds, (lambda i: per_operation(folder, direction, options), None),
                       (lambda i: per_operation(PLACE, direction, options), None))
        compare(f"{name}, {kind}", a, peer, b, target)


def bench():
    client = ours.Client()
    os.makedirs(PLACE, exist_ok=True)
    with open(peers.KEY, "wb") as f:
        f.write(os.urandom(64))
    for kind, options, peer, target in (
            ("plain", {}, "bare thin device", 0.97),
            ("encrypted", {"keySource": "host"}, "bare thin device + cryptsetup open", 1.0)):
        client.call("Create", volume="fio", sizeBytes=SIZE, **options)
        folder = client.call("Mount", volume="fio")["path"]
        device = bare.make("bench-disk", bare.DISK, SIZE)
        if options:
            device = peers.encrypt(device, "bench-crypt")
        run(*bare.MKFS["ext4"], device)
        run("mount", "-o", "nosuid,nodev", device, PLACE)
        held_against(kind, folder, peer, target)
        run("umount", PLACE)
        if options:
            run("cryptsetup", "close", "bench-crypt")
        bare.drop("bench-disk", bare.DISK)
        client.remove("fio")
