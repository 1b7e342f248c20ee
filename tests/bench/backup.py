"""A snapshot's way out and back: as a stream beside dd | zstd of the device, as a backup beside restic of the mounted
volume. A volume of 4 GiB that holds 1 GiB, of which then 1 % changes."""
import json
import os
import random
import shutil
import subprocess
import time

import measure
import ours
import peers
from measure import compare, figure, in_turn, output, run

SIZE, HOLDS, FILES = 4 * ours.GIB, ours.GIB, 64
PIECE = HOLDS // FILES
CHANGED = HOLDS // 100
PLACE = "/mnt/backup"
ENVIRONMENT = {**os.environ, "RESTIC_PASSWORD": "cheap", "RESTIC_REPOSITORY": PLACE + "/restic",
               "RESTIC_CACHE_DIR": PLACE + "/cache"}


def fill(folder):
    for i in range(FILES):
        with open(f"{folder}/file{i}", "wb") as f:
            f.write(os.urandom(PIECE // 2) + bytes(range(256)) * (PIECE // 512))  # half of it can be compressed
    os.sync()


def change(folder, i):
    """As a database does it: pieces of 64 KiB here and there."""
    chance = random.Random(i)
    for _ in range(CHANGED // 65536):
        with open(f"{folder}/file{chance.randrange(FILES)}", "r+b") as f:
            f.seek(chance.randrange(PIECE // 65536) * 65536)
            f.write(os.urandom(65536))
    os.sync()


def forget_pages():
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def high_water(pid):
    """KiB that it had in memory at most since it was started: what wait4(2) tells is also of who started it."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return next((int(line.split()[1]) for line in f if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def peak_of(*command):
    """Milliseconds, and the most KiB that it had in memory."""
    forget_pages()
    peak, began = 0, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, high_water(process.pid))
            time.sleep(0.05)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return (time.monotonic() - began) * 1000, peak


def restic(*words):
    forget_pages()
    return measure.timed(lambda: run("restic", "--quiet", *words, timeout=1500, env=ENVIRONMENT))


def backup():
    forget_pages()
    done = {}
    ms = measure.timed(lambda: done.update(json.loads(output("quarry", "backup", "run", "db", "--json",
                                                             timeout=1500))["backups"][0]))
    return ms, done


def rate(ms):
    return f"{HOLDS / (1 << 20) / ms * 1000:.0f} MiB/s"


def streams(rounds):
    run("quarry", "snapshot", "db@whole")
    device = "/dev/mapper/" + json.loads(output("quarry", "inspect", "db", "--json"))["volumes"][0]["uuid"].join(
        ("quarry-", ""))
    peaks = []

    def send(i):
        ms, peak = peak_of("/usr/bin/quarry", "send", "db@whole", "--to", f"{PLACE}/stream")
        peaks.append(peak)
        return ms

    def dd(i):
        forget_pages()
        return measure.timed(lambda: run("sh", "-c", f"dd if={device} bs=1M status=none | zstd -q -3 -f -o {PLACE}/image",
                                         timeout=1500))
    samples = in_turn(rounds, (send, lambda i: os.unlink(f"{PLACE}/stream")), (dd, lambda i: os.unlink(f"{PLACE}/image")))
    compare("send, 4 GiB holding 1 GiB, CLI", samples[0], "dd | zstd -3 of the device", samples[1])
    figure("memory of quarry send at most", f"{max(peaks) / 1024:.1f} MiB", kib=max(peaks))
    run("quarry", "rm", "--yes", "db@whole")


def repositories(folder, rounds):
    run("quarry", "backup", "target", "add", "bench", f"file://{PLACE}/quarry")
    run("restic", "--quiet", "init", env=ENVIRONMENT)
    first, told = backup()
    compare("first backup, 1 GiB, CLI", [first], "restic backup", [restic("backup", folder)])
    figure("read for the first backup", f"{told['readBytes'] >> 20} MiB, stored {told['storedBytes'] >> 20} MiB", **told)
    times, peer, reads = [], [], []
    for i in range(rounds):
        change(folder, i)
        for who in (0, 1) if i % 2 else (1, 0):
            if who:
                peer.append(restic("backup", folder))
            else:
                ms, told = backup()
                times.append(ms)
                reads.append(told["readBytes"])
    compare("backup, 1 % changed, CLI", times, "restic backup", peer)
    compare("backup, 1 % changed, CLI", times, "the first", [first])
    figure("read when 1 % changed", f"{max(reads) >> 20} MiB of {HOLDS >> 20}", bytes=max(reads))
    figure("in the repository", f"quarry's {size_of('quarry') >> 20} MiB, restic's {size_of('restic') >> 20} MiB",
           ours=size_of("quarry"), peer=size_of("restic"))
    restores()


def size_of(name):
    return sum(os.stat(os.path.join(folder, f)).st_blocks * 512
               for folder, _, files in os.walk(f"{PLACE}/{name}") for f in files)


def restic_restore():
    """Into a volume as well, and all of it on the disk, as quarry's is when it says so."""
    run("quarry", "create", "theirs", "--size", str(SIZE))
    restic("restore", "latest", "--target", output("quarry", "mount", "theirs").strip())
    run("quarry", "umount", "theirs")
    os.sync()


def restores():
    ms, peak = peak_of("/usr/bin/quarry", "backup", "restore", "db", "back")
    theirs = measure.timed(restic_restore)
    compare("restore, 1 GiB, CLI", [ms], "restic restore", [theirs])
    figure("restore", f"{rate(ms)}; restic {rate(theirs)}; memory of quarry at most {peak / 1024:.1f} MiB", kib=peak)
    run("quarry", "rm", "--yes", "back", "theirs")


def bench():
    rounds = min(measure.rounds, 3)
    peers.reset()
    run("mkfs.ext4", "-q", "-F", "/dev/vdb")
    os.makedirs(PLACE, exist_ok=True)
    run("mount", "/dev/vdb", PLACE)
    client = ours.Client()
    client.call("Create", volume="db", sizeBytes=SIZE)
    folder = client.call("Mount", volume="db")["path"]
    try:
        fill(folder)
        streams(rounds)
        repositories(folder, rounds)
    finally:
        shutil.rmtree("/etc/quarry/backup", ignore_errors=True)
        for snapshot in json.loads(output("quarry", "ls", "--type", "snapshot", "--json"))["volumes"]:
            run("quarry", "rm", "--yes", snapshot["name"])
        run("umount", PLACE)
        run("wipefs", "-qa", "/dev/vdb")
