"""LVM's side: its commands, on a volume group of its own on /dev/vdb."""
import contextlib
import ctypes
import os
import random
import re
import shutil
import string
import time

from measure import output, run

POOL = "peer-pool-tpool"  # the thin pool as device-mapper knows it
KEY = "/run/bench-key"


def set_up():
    reset()
    run("vgcreate", "-q", "peer", "/dev/vdb")
    run("lvcreate", "-q", "-T", "peer/pool", "-L", "10G", "--poolmetadatasize", "128M")
    with open(KEY, "wb") as f:
        f.write(os.urandom(64))


def reset():
    """Whatever is left of it goes; LVM itself would take its time for a thousand volumes."""
    while os.path.ismount("/mnt"):
        run("umount", "/mnt")
    with udev_stopped():
        for _ in range(10):  # who looks at one of them because it was closed is gone soon
            if not devices():
                break
            try:
                run("dmsetup", "remove", "--noudevsync", *devices())
            except RuntimeError:
                time.sleep(0.5)
    if devices():
        raise RuntimeError(f"LVM's devices do not go: {devices()}")
    shutil.rmtree("/dev/peer", ignore_errors=True)  # nobody else clears up udev's links
    run("wipefs", "-q", "-a", "/dev/vdb")
    run("blkdiscard", "-f", "/dev/vdb")


def devices():
    """The pool below what uses it, and its parts below the pool."""
    names = [line.split()[0] for line in output("dmsetup", "ls").splitlines() if line.startswith(("crypt-", "peer-"))]
    layers = ("crypt-", "peer-(?!pool)", "peer-pool$", POOL + "$", "peer-pool_")
    return [name for layer in layers for name in names if re.match(layer, name)]


def create(name, size="10G"):
    run("lvcreate", "-q", "-V", size, "-T", "peer/pool", "-n", name)
    return f"/dev/peer/{name}"


def create_formatted(name, fs="ext4"):
    device = create(name)
    run(f"mkfs.{fs}", "-q", device)
    return device


def create_mounted(name, fs="ext4"):
    run("mount", create_formatted(name, fs), "/mnt")


def encrypt(device, name):
    """The same key derivation as quarry's for a key that is random: PBKDF2 at its minimum."""
    run("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
        "--key-file", KEY, device)
    run("cryptsetup", "open", "--key-file", KEY, device, name)
    return f"/dev/mapper/{name}"


def create_encrypted(name):
    device = encrypt(create(name), f"crypt-{name}")
    run("mkfs.ext4", "-q", device)
    run("mount", device, "/mnt")


def remove(name, encrypted=False):
    run("umount", "/mnt")
    if encrypted:
        run("cryptsetup", "close", f"crypt-{name}")
    run("lvremove", "-q", "-y", f"peer/{name}")


def remove_all(names):
    run("lvremove", "-q", "-y", *(f"peer/{name}" for name in names))


# --- many ---------------------------------------------------------------------------------------------------

def random_uuid():
    return "-".join("".join(random.choices(string.ascii_letters + string.digits, k=n)) for n in (6, 4, 4, 4, 4, 4, 6))


def another(section, i):
    """The metadata of filler0, as that of another thin volume."""
    section = section.replace("filler0 {", f"filler{i} {{", 1)
    section = re.sub(r'id = "[^"]*"', lambda _: f'id = "{random_uuid()}"', section, count=1)
    return re.sub(r"device_id = \d+", f"device_id = {i + 1}", section, count=1)


def send(messages):
    """As dmsetup message does, without a process for each."""
    dm = ctypes.CDLL("libdevmapper.so.1.02.1")
    dm.dm_task_create.restype = ctypes.c_void_p
    for message in messages:
        task = ctypes.c_void_p(dm.dm_task_create(17))  # DM_DEVICE_TARGET_MSG
        if not (task and dm.dm_task_set_name(task, POOL.encode()) and dm.dm_task_set_message(task, message.encode())
                and dm.dm_task_run(task)):
            raise RuntimeError(f"{POOL} does not take '{message}'")
        dm.dm_task_destroy(task)


@contextlib.contextmanager
def udev_stopped():
    """A thousand devices at once are minutes of work for it, and all it would do is to look into each."""
    units = ("systemd-udevd-kernel.socket", "systemd-udevd-control.socket", "systemd-udevd.service")
    run("udevadm", "settle", "--timeout=300")
    run("systemctl", "stop", *units)
    try:
        yield
    finally:
        run("systemctl", "start", *units)


def fill(n, have):
    """Makes it n active thin volumes, of which there are some. lvcreate would take a second for each: the thin devices
    are made by messages, and the volume group is told of all of them at once."""
    if have == 0:
        create("filler0", "1G")
        have = 1
    send(f"create_thin {i + 1}" for i in range(have, n))
    run("vgcfgbackup", "-q", "-f", "/run/peer.metadata", "peer")
    with open("/run/peer.metadata", encoding="utf-8") as f:
        metadata = f.read()
    section = re.search(r"^\t\tfiller0 \{.*?^\t\t\}\n", metadata, re.M | re.S).group()
    more = "".join("\n" + another(section, i) for i in range(have, n))
    with open("/run/peer.metadata", "w", encoding="utf-8") as f:
        f.write(metadata.replace(section, section + more, 1))
    run("vgcfgrestore", "-q", "--yes", "--force", "-f", "/run/peer.metadata", "peer")
    with udev_stopped():
        run("vgchange", "-q", "-ay", "--noudevsync", "--config", "activation/udev_sync=0 activation/udev_rules=0", "peer")
    active = output("lvs", "--noheadings", "-S", "lv_name=~^filler && lv_active=active", "-o", "lv_name", "peer").split()
    if len(active) != n:
        raise RuntimeError(f"{len(active)} thin volumes are active, not {n}")
