"""What a load asked for and was answered, one JSON object a line, and what must be on the disk therefore.

    {"do": "create", "name": V, "filesystem": F, "encrypted": B, "mib": M}     asked
    {"do": "write", "name": V, "slot": S, "number": K}
    {"do": "snapshot", "names": [V@S, ...]}
    {"do": "clone", "snapshot": V@S, "name": N}
    {"do": "rollback", "name": V, "snapshot": V@S, "keep": B}                   answered: and "kept": V@K
    {"do": "resize", "name": V, "mib": M}
    {"do": "rename", "name": V, "to": N}
    {"do": "protect", "name": V, "on": B}
    {"do": "remove", "name": V or V@S, "snapshots": B}
    {"do": "tenant", "name": T, "there": B, "limit": N}                         of volumes
    {"do": "target"}                                                            where backups go
    {"do": "backup", "name": V}                                                 answered: and "id": I
    {"do": "forget", "keep": N}                                                 old backups; answered: and "removed": [I, ...]
    {"do": "restore", "id": I, "name": N}
    ... each followed, when it was answered, by the same with "done": true or, refused, false. What was not answered
    before a cut gets its answer when it is seen how it turned out.

A volume of a tenant is called TENANT/NAME. The name of a volume is used once only, that of a tenant again. A volume is written in slots: a file, or a place on the bare device. A slot whose last write
was not answered may hold anything.
"""
import json
import mmap
import os
import random
import re
import threading

SLOTS = 6
SLOT_BYTES = 128 << 10
BLOCK = 4096


class Image:
    """A volume, or a snapshot of one, which has the contents that the volume had."""

    def __init__(self, filesystem, encrypted, mib, synced):
        self.filesystem, self.encrypted, self.mib = filesystem, encrypted, mib
        self.synced = dict(synced)  # slot -> the write that was answered last, as (name of then, number); None: none was
        self.there = True
        self.protected = False

    def has_of(self, other):
        """It is what another is."""
        self.synced, self.mib = dict(other.synced), other.mib

    def copy(self):
        return Image(self.filesystem, self.encrypted, self.mib, self.synced)


class Volume(Image):
    def __init__(self, *what):
        super().__init__(*what)
        self.writes = 0
        self.snapshots = {}  # by the name behind the '@'; also those that are gone

    def snapshots_there(self):
        return [name for name, snapshot in self.snapshots.items() if snapshot.there]


def subject(line):
    return line["do"], line.get("name"), line.get("names")


class Ledger:
    def __init__(self):
        self.volumes = {}  # by name; also those that are gone
        self.tenants = {}  # by name: how many volumes it may have; None: it is not there
        self.has_target = False
        self.backups = {}  # by ID, the oldest first: what the volume was then; also those that are gone
        self.open = []  # asked for and not answered

    def images(self):
        for name, volume in self.volumes.items():
            yield name, volume
            for snapshot_name, snapshot in volume.snapshots.items():
                yield f"{name}@{snapshot_name}", snapshot

    def image(self, name):
        volume, _, snapshot = name.partition("@")
        return self.volumes[volume].snapshots[snapshot] if snapshot else self.volumes[volume]

    def note(self, line):
        if line["do"] == "found":  # as it was noted before there were snapshots
            asked = next((a for a in self.open if a.get("name") == line["name"]), None)
            if not asked:
                return
            line = {**asked, "done": line["there"] == (asked["do"] == "create")}
        asked = next((a for a in self.open if subject(a) == subject(line)), None)
        if "done" not in line and line["do"] != "write":
            self.open.append(line)
        elif asked:
            self.open.remove(asked)
        line = {**(asked or {}), **line}
        getattr(self, "note_" + line["do"])(line, line.get("done"))

    def note_write(self, line, done):
        volume = self.volumes[line["name"]]
        volume.writes = max(volume.writes, line["number"])
        volume.synced.pop(line["slot"], None)
        if done:
            volume.synced[line["slot"]] = line["name"], line["number"]

    def note_create(self, line, done):
        if done is not None:
            self.volumes[line["name"]] = Volume(line["filesystem"], line["encrypted"], line["mib"], dict.fromkeys(range(SLOTS)))
            self.volumes[line["name"]].there = done

    def note_clone(self, line, done):
        if done is not None:
            self.made_of(self.image(line["snapshot"]), line["name"], done)

    def made_of(self, origin, name, done):
        self.volumes[name] = Volume(origin.filesystem, origin.encrypted, origin.mib, origin.synced)
        self.volumes[name].there = done

    def note_snapshot(self, line, done):
        for name in line["names"] if done is not None else ():
            volume, _, snapshot = name.partition("@")
            self.volumes[volume].snapshots[snapshot] = self.volumes[volume].copy()
            self.volumes[volume].snapshots[snapshot].there = done

    def note_rollback(self, line, done):
        if done:
            volume = self.volumes[line["name"]]
            if line["keep"]:
                volume.snapshots[line["kept"].partition("@")[2]] = volume.copy()
            volume.has_of(self.image(line["snapshot"]))

    def note_resize(self, line, done):
        if done:
            self.volumes[line["name"]].mib = line["mib"]

    def note_protect(self, line, done):
        if done:
            self.volumes[line["name"]].protected = line["on"]

    def note_tenant(self, line, done):
        self.tenants.setdefault(line["name"], None)
        if done:
            self.tenants[line["name"]] = line["limit"] if line["there"] else None

    def note_target(self, _line, done):
        self.has_target = self.has_target or bool(done)

    def backups_there(self):
        return [name for name, backup in self.backups.items() if backup.there]

    def note_backup(self, line, done):
        if done:
            self.backups[line["id"]] = self.volumes[line["name"]].copy()

    def note_forget(self, line, done):
        for name in line["removed"] if done else ():
            self.backups[name].there = False

    def note_restore(self, line, done):
        if done is not None:
            self.made_of(self.backups[line["id"]], line["name"], done)

    def note_rename(self, line, done):
        """Both names were used."""
        if done is not None:
            volume = self.volumes[line["name"]]
            nothing = Volume(volume.filesystem, volume.encrypted, volume.mib, {})
            nothing.there = False
            self.volumes[line["to"]] = volume if done else nothing
            if done:
                self.volumes[line["name"]] = nothing

    def note_remove(self, line, done):
        if done:
            image = self.image(line["name"])
            for gone in (image, *(image.snapshots.values() if line.get("snapshots") else ())):
                gone.there = False


def lines_read(path):
    """All whole lines, as bytes: up to the first NUL on a device, and without what a cut left of the last."""
    text = b""
    with open(path, "rb") as f:
        while (part := f.read(1 << 20)) and b"\0" not in text:
            text += part
    return text[:text.partition(b"\0")[0].rfind(b"\n") + 1]


def read(path):
    ledger = Ledger()
    for line in lines_read(path).splitlines():
        ledger.note(json.loads(line))
    return ledger


class Writer:
    """Goes on with the ledger on a device. What is noted is on the device when note() returns: that of the machine,
    whose disk does not lose it when the machine is killed."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.ledger = read(path)
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
            self.ledger.note(line)


# --- contents ---------------------------------------------------------------------------------------------


def slot_bytes(slot, name, number):
    """Each block says whose it is, so that one in the wrong place is told from one that is old."""
    filler = random.Random(f"{name} {slot} {number}").randbytes(BLOCK)
    blocks = []
    for i in range(SLOT_BYTES // BLOCK):
        head = f"{name} slot {slot} write {number} block {i}\n".encode()
        blocks.append(head + filler[len(head):])
    return b"".join(blocks)


def slot_place(image, place, slot):
    """The file to open and where in it a slot begins."""
    return (place, slot * SLOT_BYTES) if image.filesystem == "none" else (f"{place}/slot-{slot}", 0)


def slot_write(volume, place, slot, name, number):
    """Synced when it returns; so is a new file's name."""
    path, offset = slot_place(volume, place, slot)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | (0 if volume.filesystem == "none" else os.O_CREAT), 0o600)
    try:
        os.pwrite(fd, slot_bytes(slot, name, number), offset)
        os.fsync(fd)
    finally:
        os.close(fd)
    if volume.filesystem != "none":
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def slot_difference(image, place, slot):
    """What is wrong with a slot, as a sentence, or nothing."""
    path, offset = slot_place(image, place, slot)
    if image.synced[slot] is None:  # what nobody wrote may be anything on a bare device
        return f"slot {slot} is there, and was never written" if image.filesystem != "none" and os.path.exists(path) else ""
    name, number = image.synced[slot]
    wanted = slot_bytes(slot, name, number)
    with open(path, "rb") as f:
        f.seek(offset)
        found = f.read(SLOT_BYTES)
    if found == wanted:
        return ""
    if len(found) != len(wanted):
        return f"slot {slot} has {len(found)} bytes; write {number} of {name} synced {len(wanted)}"
    first = next(i for i in range(0, len(wanted), BLOCK) if found[i:i + BLOCK] != wanted[i:i + BLOCK])
    block = found[first:first + BLOCK]
    said = re.match(rb"[\w/-]+ slot \d+ write \d+ block \d+\n", block)
    holds = said.group().decode().strip() if said else "zeros" if not any(block) else "something else"
    return f"slot {slot}, block {first // BLOCK}: write {number} of {name} was synced, and there is {holds}"


def contents_differences(image, place):
    return list(filter(None, (slot_difference(image, place, slot) for slot in sorted(image.synced))))
