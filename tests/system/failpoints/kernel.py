"""What is there, as the kernel, the pool's metadata and the catalog say it: quarryd is not asked."""

import ctypes
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import time

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
MOUNTS, CATALOGS, POOLS = "/run/quarry/mnt", "/run/quarry/catalog", "/var/lib/quarry/pools"
TOOLS = {"mke2fs", "mkfs.xfs", "e2fsck", "lvm", "thin_check"}

DM_TABLE_STATUS, DM_TARGET_MSG = 12, 14
libc = ctypes.CDLL(None, use_errno=True)


def read(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:  # it went away meanwhile
        return default


# --- device-mapper

def dm_devices():
    """Names of all devices."""
    return {read(path) for path in glob.glob("/sys/block/dm-*/dm/name")} - {""}


def dm_number(name):
    """dm-0 and so on."""
    return next(os.path.basename(os.path.dirname(os.path.dirname(path)))
                for path in glob.glob("/sys/block/dm-*/dm/name") if read(path) == name)


def dm_ioctl(number, name, payload=b"", room=4096):
    """One call on a device; returns what the kernel puts behind the header."""
    header = struct.pack("=10IQ128s129s7x", 4, 0, 0, 312 + room, 312, 0, 0, 0, 0, 0, 0, name.encode(), b"")
    buffer = bytearray(header + payload + bytes(room - len(payload)))
    with open("/dev/mapper/control", "rb") as control:
        fcntl.ioctl(control, 3 << 30 | 312 << 16 | 0xFD << 8 | number, buffer)
    return bytes(buffer[312:])


def dm_message(name, text):
    dm_ioctl(DM_TARGET_MSG, name, struct.pack("=Q", 0) + text.encode() + b"\0")


def pool_status(pool):
    """The words of the thin-pool's status."""
    return dm_ioctl(DM_TABLE_STATUS, f"quarry-{pool}")[40:].split(b"\0")[0].decode().split()


def metadata_nodes(pool):
    """Of its metadata, and of what repairs have left of it."""
    doubled = pool.replace("-", "--")
    return glob.glob(f"/dev/mapper/quarry--{doubled}-quarry--{doubled}--metadata*")


def metadata_of(pool):
    """The device that the pool uses as its metadata."""
    below = {os.path.basename(path) for path in glob.glob(f"/sys/block/{dm_number(f'quarry-{pool}')}/slaves/*")}
    return next(path for path in metadata_nodes(pool) if os.path.basename(os.path.realpath(path)) in below)


def forget_old_metadata(pool):
    """What was kept by repairs is removed: one more needs the room."""
    used = os.path.basename(metadata_of(pool)).rpartition("-quarry--")[2].replace("--", "-")
    listed = subprocess.run(["lvs", "--noheadings", "-o", "lv_name", f"quarry-{pool}"], check=True,
                            capture_output=True, text=True).stdout.split()
    for name in listed:
        if "-metadata" in name and name != f"quarry-{used}":
            subprocess.run(["lvremove", "-qq", "-y", f"quarry-{pool}/{name}"], check=True)


def thin_ids(pool):
    """The thin devices that are in the pool."""
    metadata = metadata_of(pool)
    for tries_left in range(100, -1, -1):  # there is one snapshot, and quarry takes it from whoever has it
        try:
            dm_message(f"quarry-{pool}", "reserve_metadata_snap")
            dump = subprocess.run(["thin_dump", "--metadata-snap", "--skip-mappings", metadata], check=True,
                                  capture_output=True, text=True)
            dm_message(f"quarry-{pool}", "release_metadata_snap")
            break
        except (OSError, subprocess.CalledProcessError):
            if not tries_left:
                raise
            time.sleep(0.1)
    return sorted(int(n) for n in re.findall(r'dev_id="(\d+)"', dump.stdout))


# --- the catalog

def query(pool, *questions):
    """The rows that answer each, of a copy: quarryd has the database for itself."""
    with tempfile.TemporaryDirectory() as folder:
        for path in glob.glob(f"{CATALOGS}/{pool}/catalog.db*"):
            shutil.copy(path, folder)
        db = sqlite3.connect(f"{folder}/catalog.db")
        try:
            return [db.execute(question).fetchall() for question in questions]
        finally:
            db.close()


def catalog(pool):
    """Rows {uuid: (thin id, name, state, failure)} of what is listed, and all thin ids that rows have."""
    integrity, rows, ids = query(
        pool, "PRAGMA integrity_check",
        "SELECT v.uuid, v.thin_id, coalesce(o.name || '@', '') || v.name, v.state, v.failure "
        "FROM volume v LEFT JOIN volume o ON o.uuid = v.origin WHERE v.role != 'template'",
        "SELECT thin_id FROM volume UNION SELECT spare_thin_id FROM volume")
    if integrity != [("ok",)]:
        raise AssertionError(f"the catalog is damaged: {integrity}")
    return {uuid: rest for uuid, *rest in rows}, {thin_id for thin_id, in ids if thin_id is not None}


def made_ahead(pool, fs, key):
    names, = query(pool, "SELECT name FROM volume WHERE role = 'template' AND name LIKE 'ready-%' AND state = 'ready' "
                   f"AND filesystem = '{fs}' AND key_source = '{key or 'none'}'")
    return [name for name, in names]


# --- mounts and all the rest

def mounts():
    """{target: device's name} of what is mounted below /run/quarry."""
    found = {}
    for line in read("/proc/self/mountinfo").splitlines():
        words = line.split()
        if words[4].startswith("/run/quarry/"):
            source = words[words.index("-") + 2]
            found[words[4]] = read(f"/sys/dev/block/{words[2]}/dm/name") or source
    return found


def loop_files():
    return {read(path) for path in glob.glob("/sys/block/loop*/loop/backing_file")} - {""}


def listed_pools():
    """{uuid: entry} of the list that root keeps."""
    return {os.path.basename(path): json.loads(read(path, "{}") or "{}") for path in glob.glob(f"{POOLS}/*")}


def unfinished(pool):
    """Whether its creation or removal was begun and did not end."""
    return bool(listed_pools().get(pool, {}).get("unfinished"))


def tools():
    """Programs that only a worker starts."""
    return {read(path) for path in glob.glob("/proc/[0-9]*/comm")} & TOOLS


def kill(program):
    """All processes of that name, at once."""
    for path in glob.glob("/proc/[0-9]*/comm"):
        if read(path) == program:
            os.kill(int(path.split("/")[2]), signal.SIGKILL)


def runs(program):
    return any(read(path) == program for path in glob.glob("/proc/[0-9]*/comm"))


def crypt_keys():
    """UUIDs whose volume key the kernel's keyrings hold."""
    return set(re.findall(rf"cryptsetup:({UUID})", read("/proc/keys")))


def physical_volume(path):
    """Whether LVM's label is on a device or file."""
    try:
        with open(path, "rb", buffering=0) as f:
            return b"LABELONE" in f.read(4096)
    except FileNotFoundError:
        return False


def stir():
    """Something is mounted and unmounted: quarryd looks whether volumes are open that nobody has mounted."""
    if libc.mount(b"none", b"/mnt", b"tmpfs", 0, None) < 0 or libc.umount2(b"/mnt", 0) < 0:
        raise OSError(ctypes.get_errno(), "cannot mount on /mnt")


def unmount(path):
    if libc.umount2(path.encode(), 0) < 0:
        raise OSError(ctypes.get_errno(), f"cannot unmount {path}")
