"""Thin devices of nobody's in quarry's own pool: the floor, and what fio is held against. Their ids are far above those
that quarry gives, and they are gone when a group of cases ends."""
import json
import os
import statistics

import ours
from measure import figure, output, run

TEMPLATE, COPY, DISK = 16000000, 16000001, 16000002
FLOOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/gcc/tests/bench/floor")
TARGET = "/run/bench"
MKFS = {"ext4": ("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "nodiscard,lazy_itable_init=1", "-O", "^orphan_file"),
        "xfs": ("mkfs.xfs", "-q", "-f", "-K")}


def pool_name():
    return f"quarry-{ours.pool()['uuid']}"


def message(text):
    run("dmsetup", "message", pool_name(), "0", text)


def open_thin(name, thin_id, size):
    run("dmsetup", "create", name, "--table", f"0 {size // 512} thin /dev/mapper/{pool_name()} {thin_id}")
    return f"/dev/mapper/{name}"


def make(name, thin_id, size):
    message(f"create_thin {thin_id}")
    return open_thin(name, thin_id, size)


def drop(name, thin_id):
    run("dmsetup", "remove", "--retry", name)
    message(f"delete {thin_id}")


class Floor:
    """tests/bench/floor.c on a template of this filesystem."""

    def __init__(self, fs="ext4", size=10 * ours.GIB):
        self.fs, self.size, self.steps = fs, size, {}
        self.pool = pool_name()
        self.file = f"/run/quarry/catalog/{ours.pool()['uuid']}/bench"
        os.makedirs(TARGET, exist_ok=True)
        device = make("bench-template", TEMPLATE, size)
        run(*MKFS[fs], device)
        run("mount", device, TARGET)  # what the kernel does once to a new filesystem is done
        os.mkdir(TARGET + "/data")
        run("umount", TARGET)
        run("dmsetup", "remove", "--retry", "bench-template")

    def run(self, _):
        told = json.loads(output(FLOOR, self.pool, str(TEMPLATE), str(COPY), str(self.size // 512), self.file, self.fs,
                                 TARGET))
        for step, ms in told["steps"].items():
            self.steps.setdefault(step, []).append(ms)
        return told["ms"]

    def clean(self, _):
        run("umount", TARGET)
        drop("bench-floor", COPY)

    def end(self):
        message(f"delete {TEMPLATE}")
        os.unlink(self.file)
        medians = {step: round(statistics.median(ms), 1) for step, ms in self.steps.items()}
        figure(f"steps of the floor, {self.fs}, ms", "; ".join(f"{step} {ms}" for step, ms in medians.items()),
               steps=medians)


def reset():
    """What a group of cases that failed has left."""
    for target in (TARGET, TARGET + "-disk"):
        if os.path.ismount(target):
            run("umount", target)
    for name in ("bench-crypt", "bench-template", "bench-floor", "bench-disk"):
        if os.path.exists(f"/dev/mapper/{name}"):
            run("dmsetup", "remove", "--retry", name)
    for thin_id in (TEMPLATE, COPY, DISK):
        try:
            message(f"delete {thin_id}")
        except RuntimeError:
            pass  # there is none
