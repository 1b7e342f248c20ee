"""What a load asked for and was answered, one JSON object a line, and what must be on the disk therefore.

    {"do": "create", "name": N, "filesystem": F, "encrypted": B, "mib": M}     asked
    {"do": "remove", "name": N}
    {"do": "write", "name": N, "slot": S, "number": K}
    ... each followed, when it was answered, by the same with "done": true or, refused, false
    {"do": "found", "name": N, "there": B}   how what was not answered before a cut turned out

A name is used for one volume only. A volume is written in slots: a file, or a place on the bare device. A slot whose
last write was not answered may hold anything.
"""
import json
import mmap
import os
import random
import re
import threading

SLOT_BYTES = 128 << 10
BLOCK = 4096


class Volume:
    def __init__(self, line):
        self.name, self.filesystem, self.encrypted, self.mib = (line[k] for k in ("name", "filesystem", "encrypted", "mib"))
        self.state = "open"  # there, gone, or open: asked for and not answered
        self.synced = {}  # slot -> number of the write that was answered last
        self.writes = 0

    def note(self, line):
        did, done = line["do"], line.get("done")
        if did == "write":
            self.writes = max(self.writes, line["number"])
            self.synced.pop(line["slot"], None)
            if done:
                self.synced[line["slot"]] = line["number"]
        elif did == "found":
            self.state = "there" if line["there"] else "gone"
        elif done is None:
            self.state = "open"
        else:
            self.state = "there" if (did == "create") == done else "gone"


def volumes_note(volumes, line):
    if line["do"] == "create" and line["name"] not in volumes:
        volumes[line["name"]] = Volume(line)
    volumes[line["name"]].note(line)


def lines_read(path):
    """All whole lines, as bytes: up to the first NUL on a device, and without what a cut left of the last."""
    text = b""
    with open(path, "rb") as f:
        while (part := f.read(1 << 20)) and b"\0" not in text:
            text += part
    return text[:text.partition(b"\0")[0].rfind(b"\n") + 1]


def volumes_read(path):
    """All volumes of a ledger by name."""
    volumes = {}
    for line in lines_read(path).splitlines():
        volumes_note(volumes, json.loads(line))
    return volumes


class Writer:
    """Goes on with the ledger on a device. What is noted is on the device when note() returns: that of the machine,
    whose disk does not lose it when the machine is killed."""

    def __init__(self, path):
        self.lock = threading.Lock()
        written = lines_read(path)
        self.start = len(written) // BLOCK * BLOCK
        self.pending = written[self.start:]
        self.fd = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        self.buffer = mmap.mmap(-1, 2 * BLOCK)  # aligned

    def note(self, line):
        with self.lock:
            self.pending += json.dumps(line).encode() + b"\n"
            self.buffer[:] = self.pending.ljust(2 * BLOCK, b"\0")
            os.pwrite(self.fd, self.buffer, self.start)
            if len(self.pending) >= BLOCK:
                self.start += BLOCK
                self.pending = self.pending[BLOCK:]


# --- contents ---------------------------------------------------------------------------------------------


def slot_bytes(volume, slot, number):
    """Each block says whose it is, so that one in the wrong place is told from one that is old."""
    filler = random.Random(f"{volume.name} {slot} {number}").randbytes(BLOCK)
    blocks = []
    for i in range(SLOT_BYTES // BLOCK):
        head = f"{volume.name} slot {slot} write {number} block {i}\n".encode()
        blocks.append(head + filler[len(head):])
    return b"".join(blocks)


def slot_place(volume, place, slot):
    """The file to open and where in it a slot begins."""
    return (place, slot * SLOT_BYTES) if volume.filesystem == "none" else (f"{place}/slot-{slot}", 0)


def slot_read(volume, place, slot):
    path, offset = slot_place(volume, place, slot)
    with open(path, "rb") as f:
        f.seek(offset)
        return f.read(SLOT_BYTES)


def slot_write(volume, place, slot, number):
    """Synced when it returns; so is a new file's name."""
    path, offset = slot_place(volume, place, slot)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | (0 if volume.filesystem == "none" else os.O_CREAT), 0o600)
    try:
        os.pwrite(fd, slot_bytes(volume, slot, number), offset)
        os.fsync(fd)
    finally:
        os.close(fd)
    if volume.filesystem != "none":
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def slot_difference(volume, slot, number, found):
    wanted = slot_bytes(volume, slot, number)
    if len(found) != len(wanted):
        return f"slot {slot} has {len(found)} bytes; write {number} synced {len(wanted)}"
    first = next(i for i in range(0, len(wanted), BLOCK) if found[i:i + BLOCK] != wanted[i:i + BLOCK])
    block = found[first:first + BLOCK]
    said = re.match(rb"[\w-]+ slot \d+ write \d+ block \d+\n", block)
    holds = said.group().decode().strip() if said else "zeros" if not any(block) else "something else"
    return f"slot {slot}, block {first // BLOCK}: write {number} was synced, and there is {holds}"
