"""Every verb that changes something, as it is walked; and which ones do not. tests/lint/walked compares this with
the source."""

import os
import shutil
import socket
import time

import damage
import kernel
from walk import MIB, SECONDS, SOCKET, Verb, arm, ask, call, plugin, pool, run, volume, wait, wire

# These only look.
JOBS_THAT_LOOK = {"host_calendar", "pool_usage", "pool_check", "volume_usage", "pool_watch", "pool_exclusive", "pool_union",
                  "volume_diff", "host_key_look", "host_key_derive", "volume_keys", "volume_header_backup"}
# What the broker begins by itself when a pool fills or its catalog fails. No walk brings a pool there;
# tests/system/full-pool.sh and the scenarios broker-space.py and broker-failures.py do.
JOBS_OF_FAULTS = {"pool_forget", "pool_recover", "pool_relieve", "volume_limit"}
METHODS_THAT_LOOK = {"Event.List", "Event.Subscribe", "Volume.List", "Volume.Inspect", "Pool.List", "Pool.Inspect",
                     "Volume.Diff", "Tenant.List", "Tenant.Inspect", "Key.Status", "Key.Inspect",
                     "Key.Derive", "Key.Backup", "Driver.Listen", "Stream.Send"}

NAME, PLACE = "walked", "/run/quarry/mnt/default/walked"
STORAGE = "/run/systemd/io.systemd.StorageProvider/quarry"
POOL, FILE = "second", "/var/lib/quarry/second.img"
SIZES = {"ext4": 32 * MIB, "xfs": 300 * MIB, "none": 16 * MIB}


def claim(true, text):
    if not true:
        raise AssertionError(text)


def use(fs):
    """The volume takes what is written, and keeps it."""
    if fs == "none":
        path = call("Volume.Mount", volume=NAME)["path"]
        with open(path, "r+b", buffering=0) as f:
            f.write(b"content")
            os.fsync(f)
    else:
        call("Volume.Mount", volume=NAME)
        with open(f"{PLACE}/file", "w", encoding="ascii") as f:
            f.write("content")
            f.flush()
            os.fsync(f.fileno())
    call("Volume.Unmount", volume=NAME)


class VolumeVerb(Verb):
    def __init__(self, fs="ext4", key=None):
        self.fs, self.key = fs, key
        self.title = f"{self.word} {'an encrypted' if key else 'a plain'} {fs if fs != 'none' else 'raw'} volume"

    def ready(self):
        """It is there as it is to be."""
        there = volume(NAME)
        if there and (there["filesystem"], there.get("encryption", {}).get("keySource")) != (self.fs, self.key):
            call("Volume.Remove", volume=NAME, snapshots=True)
            there = None
        if not there:
            self.create()
            use(self.fs)

    def create(self):
        key = {"keySource": self.key} if self.key else {}
        call("Volume.Create", volume=NAME, sizeBytes=SIZES[self.fs], filesystem=self.fs, **key)


class Create(VolumeVerb):
    word, method, end, jobs = "create", "Volume.Create", "answer.create.after", {"volume_create"}

    def before(self):
        if volume(NAME):
            call("Volume.Remove", volume=NAME)

    def run(self):
        self.create()

    def after(self, outcome):
        there = volume(NAME)
        claim(there or outcome, "it was answered as created, and is not there")
        if there:
            use(self.fs)
        else:
            self.create()


class CreateAhead(Create):
    """One that was made ahead is there, and taken. As long as there is another volume it stays."""

    word, jobs = "create, taking what was made ahead,", set()

    def create(self):
        key = {"keySource": self.key} if self.key else {}
        call("Volume.Create", volume=NAME, sizeBytes=SIZES[self.fs] + 16 * MIB, filesystem=self.fs, **key)

    def before(self):
        if not volume("other"):
            call("Volume.Create", volume="other", sizeBytes=16 * MIB, filesystem="none")
        super().before()
        while not kernel.made_ahead(pool("default")["uuid"], self.fs, self.key):
            self.create()
            call("Volume.Remove", volume=NAME)
            time.sleep(2)


class CreateFilled(Create):
    """By its caller, who says when all is there."""

    word, jobs = "create and fill", {"volume_create", "volume_mount"}

    def create(self):
        create = wire.Call(SOCKET, "io.quarry." + self.method, {
            "volume": NAME, "sizeBytes": SIZES[self.fs], "filesystem": self.fs, "keySource": self.key, "fill": True},
            more=True, timeout=SECONDS)
        reply = create.connection.receive()
        while reply.get("continues") and "mountFileDescriptor" not in reply["parameters"]:
            reply = create.connection.receive()
        if "error" in reply:
            raise wire.Failure(reply["error"], reply.get("parameters"))
        (place, done), create.connection.fds = create.connection.fds, []
        try:
            with open("file", "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, dir_fd=place)) as f:
                f.write("content")
                f.flush()
                os.fsync(f.fileno())
        finally:
            os.close(place)
        with open(done, "wb", buffering=0) as pipe:
            pipe.write(b"x")
            create.result()

    def after(self, outcome):
        there = volume(NAME)
        claim(there or outcome, "it was answered as created, and is not there")
        if not there:
            self.create()
        have = kernel.read(call("Volume.Mount", volume=NAME)["path"] + "/file")
        claim(have == "content", f"its file holds {have!r}")
        call("Volume.Unmount", volume=NAME)


class Remove(VolumeVerb):
    word, method, end, jobs = "remove", "Volume.Remove", "answer.rm.after", {"volume_claim", "volume_remove"}

    def before(self):
        self.ready()

    def run(self):
        call("Volume.Remove", volume=NAME)

    def after(self, outcome):
        there = volume(NAME)
        claim(outcome or not there, "it was answered as removed, and is there")
        if there:
            call("Volume.Remove", volume=NAME)
        claim(not volume(NAME), "it was removed again, and is there")


class RemoveLarge(Remove):
    """Nothing is in it; it could be, as far as is known: its space is given back behind the answer."""

    word, end, jobs = "remove a large one,", "catalog.delete.after", {"volume_claim", "volume_retire", "volume_free"}

    def create(self):
        call("Volume.Create", volume=NAME, sizeBytes=2048 * MIB, filesystem=self.fs)

    def ready(self):
        if not volume(NAME):
            self.create()


class KindVerb(Verb):
    """On a volume that is not in the pool."""

    source = "/srv/walked"

    def __init__(self, kind):
        self.kind = kind
        self.title = f"{self.word} a {kind} volume"

    def create(self):
        if self.kind == "tmpfs":
            call("Volume.Create", volume=NAME, kind="tmpfs", sizeBytes=16 * MIB)
        else:
            call("Volume.Create", volume=NAME, kind="bind", source=self.source)

    def ready(self):
        there = volume(NAME)
        if there and there["kind"] != self.kind:
            call("Volume.Remove", volume=NAME, snapshots=True)
            there = None
        if self.kind == "bind" and not os.path.exists(self.source):
            os.makedirs(self.source)
            with open("/etc/quarry/quarry.conf", "a", encoding="ascii") as f:
                f.write("[Bind]\nAllowedRoots=/srv\n")
            kernel.kill("quarry-worker")
            wait(lambda: not kernel.runs("quarry-worker"), "the end of the workers that do not know of it")
        if not there:
            self.create()

    def use(self):
        call("Volume.Mount", volume=NAME)
        with open(f"{PLACE}/file", "w", encoding="ascii") as f:
            f.write("content")
        call("Volume.Unmount", volume=NAME)
        claim(self.kind == "tmpfs" or kernel.read(f"{self.source}/file") == "content", "its source has not its file")


class CreateOfKind(KindVerb):
    word, method, end, jobs = "create", "Volume.Create", "answer.create.after", {"volume_create"}

    def before(self):
        self.ready()
        call("Volume.Remove", volume=NAME)

    def run(self):
        self.create()

    def after(self, outcome):
        there = volume(NAME)
        claim(there or outcome, "it was answered as created, and is not there")
        if not there:
            self.create()
        self.use()


class RemoveOfKind(KindVerb):
    word, method, end, jobs = "remove", "Volume.Remove", "answer.rm.after", {"volume_claim", "volume_remove"}

    def before(self):
        self.ready()
        self.use()

    def run(self):
        call("Volume.Remove", volume=NAME)

    def after(self, outcome):
        there = volume(NAME)
        claim(outcome or not there, "it was answered as removed, and is there")
        if there:
            call("Volume.Remove", volume=NAME)
        claim(not volume(NAME), "it was removed again, and is there")
        claim(self.kind == "tmpfs" or kernel.read(f"{self.source}/file") == "content", "its source has not its file")


class MountOfKind(KindVerb):
    word, method, end, jobs = "mount", "Volume.Mount", "answer.mount.after", {"volume_mount"}

    def before(self):
        self.ready()
        if volume(NAME)["holds"]:
            call("Volume.Unmount", volume=NAME)

    def run(self):
        call("Volume.Mount", volume=NAME)

    def after(self, outcome):
        if outcome:
            call("Volume.Mount", volume=NAME)
        claim(PLACE in kernel.mounts(), "it is not mounted")
        self.unmount()

    @staticmethod
    def unmount():
        call("Volume.Unmount", volume=NAME)
        claim(PLACE not in kernel.mounts(), "it was unmounted, and is mounted")


class ResizeOfTmpfs(KindVerb):
    word, method, end, jobs = "resize", "Volume.Resize", "answer.resize.after", {"volume_remount"}

    def before(self):
        self.ready()
        call("Volume.Mount", volume=NAME)
        call("Volume.Resize", volume=NAME, sizeBytes=16 * MIB)

    def run(self):
        call("Volume.Resize", volume=NAME, sizeBytes=32 * MIB)

    def after(self, outcome):
        if outcome:
            self.run()
        there = os.statvfs(PLACE)
        claim((volume(NAME)["sizeBytes"], there.f_blocks * there.f_frsize) == (32 * MIB, 32 * MIB),
              f"it has {volume(NAME)['sizeBytes']}, and what is mounted {there.f_blocks * there.f_frsize}")
        call("Volume.Unmount", volume=NAME)


class Mounting(VolumeVerb):
    """On a volume that stays from point to point, with a file in it."""

    def before(self):
        self.ready()

    def content(self):
        if self.fs == "none":
            with open(f"/dev/quarry/default/{NAME}", "rb", buffering=0) as f:
                have = f.read(4096).rstrip(b"\0").decode()
        else:
            claim(kernel.mounts().get(PLACE, "").startswith(f"quarry-{volume(NAME)['uuid']}"), "it is not mounted")
            have = kernel.read(f"{PLACE}/file")
        claim(have == "content", f"its file holds {have!r}")


class Mount(Mounting):
    word, method, end, jobs = "mount", "Volume.Mount", "answer.mount.after", {"volume_mount"}

    def before(self):
        super().before()
        if volume(NAME)["open"]:
            call("Volume.Unmount", volume=NAME)

    def run(self):
        options = ["noexec", "noatime"] if self.fs != "none" else []
        call("Volume.Mount", volume=NAME, options=options)

    def after(self, outcome):
        if outcome:
            self.run()
        self.content()
        call("Volume.Unmount", volume=NAME)


class MountElsewhere(Mount):
    """A mount with other ids is passed, and let go; then the volume is closed."""

    word, end, jobs = "mount elsewhere", "volume_release.answer.after", {"volume_mount", "volume_release"}
    failed_end = "answer.mount.after"

    def run(self):
        asked = wire.Call(SOCKET, "io.quarry.Volume.Mount", {"volume": NAME, "detached": True, "options": ["ro"],
                                                             "idmap": [{"uid": 5, "gid": 6, "count": 7}]})
        asked.result()
        for fd in asked.fds:
            owner = os.stat(fd)
            os.close(fd)
            claim((owner.st_uid, owner.st_gid) == (5, 6), f"it is shown as of {owner.st_uid}:{owner.st_gid}")

    def after(self, outcome):
        if outcome:
            self.run()
        use(self.fs)


class Acquire(Mounting):
    """Its device is passed, and let go; then the kernel closes it, whoever of us is there."""

    word, end, jobs = "hand over the device of", "answer.acquire.after", {"volume_device"}

    def before(self):
        super().before()
        if volume(NAME)["open"]:
            call("Volume.Unmount", volume=NAME)

    def run(self):
        asked = wire.Call(STORAGE, "io.systemd.StorageProvider.Acquire", {"name": NAME})
        asked.result()
        for fd in asked.fds:
            have = os.pread(fd, 7, 0)
            os.close(fd)
            claim(have == b"content", f"it holds {have!r}")

    def after(self, outcome):
        if outcome:
            self.run()
        uuid = volume(NAME)["uuid"]
        wait(lambda: not {f"quarry-{uuid}", f"quarry-{uuid}-crypt"} & kernel.dm_devices(), "its devices to be closed")
        use(self.fs)


class Unmount(Mounting):
    word, method, end, jobs = "unmount", "Volume.Unmount", "answer.umount.after", {"volume_umount"}

    def before(self):
        super().before()
        call("Volume.Mount", volume=NAME)

    def run(self):
        call("Volume.Unmount", volume=NAME)

    def after(self, outcome):
        claim(outcome or PLACE not in kernel.mounts(), "it was answered as unmounted, and is mounted")
        if outcome:
            call("Volume.Unmount", volume=NAME)
            claim(PLACE not in kernel.mounts(), "it was unmounted again, and is mounted")


class ForEngine(Mounting):
    """By way of the Docker volume plugin. What is asked again is answered as if it had been asked once."""

    socket, mount_id = "/run/docker/plugins/quarry.sock", "1" * 64

    def ask(self, name, **body):
        status, answer = plugin.call(self.socket, f"VolumeDriver.{name}", {"Name": NAME, **body}, timeout=SECONDS)
        if status != 200:
            raise wire.Failure(f"HTTP.{status}", {"message": answer["Err"]})
        return answer

    def mount(self):
        claim(self.ask("Mount", ID=self.mount_id)["Mountpoint"] == PLACE, "it is mounted elsewhere")

    def unmount(self):
        self.ask("Unmount", ID=self.mount_id)
        claim(PLACE not in kernel.mounts(), "it was unmounted, and is mounted")

    def before(self):
        super().before()
        self.ask("Unmount", ID=self.mount_id)
        if volume(NAME)["open"]:
            call("Volume.Unmount", volume=NAME)

    def after(self, outcome):
        """It can be mounted, which is no more than asked for, and unmounted behind the one for whom it is."""
        self.mount()
        self.content()
        self.unmount()


class MountForEngine(ForEngine):
    word, end, jobs = "mount for an engine", "answer.mount.after", {"volume_mount"}

    def run(self):
        self.mount()


class UnmountForEngine(ForEngine):
    word, end, jobs = "unmount for an engine", "answer.umount.after", {"volume_umount"}

    def before(self):
        super().before()
        self.mount()

    def run(self):
        self.unmount()


class CreateForEngine(ForEngine):
    word, end, jobs = "create for an engine", "answer.create.after", {"volume_create"}

    def before(self):
        if volume(NAME):
            call("Volume.Remove", volume=NAME, snapshots=True)

    def create(self):
        key = {"key": self.key} if self.key else {}
        self.ask("Create", Opts={"size": f"{SIZES[self.fs] // MIB}M", "fs": self.fs, **key})

    def run(self):
        self.create()

    def after(self, outcome):
        self.create()
        use(self.fs)


class RemoveForEngine(ForEngine):
    """While it is mounted for an ID that nobody remembers."""

    word, end = "remove for an engine", "answer.rm.after"
    jobs = {"volume_umount", "volume_claim", "volume_remove"}

    def before(self):
        super().before()
        self.mount()

    def run(self):
        self.ask("Remove")

    def after(self, outcome):
        self.ask("Remove")
        claim(not volume(NAME), "it was removed, and is there")


class Release(Mounting):
    """Somebody unmounts it without asking quarryd, which then closes it."""

    word, end, jobs = "close", "volume_release.answer.after", {"volume_release"}

    def before(self):
        super().before()
        call("Volume.Mount", volume=NAME)

    def run(self):
        kernel.unmount(PLACE)


class Check(Mounting):
    word, method, end, jobs = "check", "Volume.Check", "answer.check.after", {"volume_check"}

    def before(self):
        super().before()
        if volume(NAME)["open"]:
            call("Volume.Unmount", volume=NAME)

    def run(self):
        call("Volume.Check", volume=NAME)

    def after(self, outcome):
        if outcome:
            self.run()
        use(self.fs)


class Trim(Mounting):
    word, method, end, jobs = "trim", "Volume.Trim", "answer.trim.after", {"volume_trim"}

    def before(self):
        super().before()
        if volume(NAME)["open"]:
            call("Volume.Unmount", volume=NAME)

    def run(self):
        call("Volume.Trim", volume=NAME)

    def after(self, outcome):
        if outcome:
            self.run()
        use(self.fs)


class Update(Mounting):
    word, method, end, jobs = "update", "Volume.Update", "answer.update.after", {"volume_own"}

    def before(self):
        super().before()
        if volume(NAME)["open"]:
            call("Volume.Unmount", volume=NAME)
        call("Volume.Update", volume=NAME, labels=["walk=before"], mode=0o755, protected=True)

    def run(self):
        call("Volume.Update", volume=NAME, labels=["walk=after"], mode=0o700, protected=False)

    def after(self, outcome):
        if outcome:
            self.run()
        there = volume(NAME)
        claim((there["labels"], there["mode"], there["protected"]) == ({"walk": "after"}, 0o700, False), f"it is {there}")
        call("Volume.Mount", volume=NAME)
        claim(os.stat(PLACE).st_mode & 0o7777 == 0o700, "its folder has not the mode")
        self.content()
        call("Volume.Unmount", volume=NAME)


class Scheduled(Mounting):
    """quarryd makes snapshots by itself, and keeps one. Asked for is only when."""

    word, end, jobs = "make snapshots by schedule of", "catalog.run.after", {"volume_snapshot"}
    asks = {"host_calendar"}

    def before(self):
        super().before()
        call("Volume.Update", volume=NAME, snapshotSchedule="none")
        for name in self.snapshots():
            call("Volume.Remove", volume=name)

    @staticmethod
    def snapshots():
        there = ask("Volume.List", type="snapshot")
        return [v["name"] for v in there["volumes"]] if there else []

    def run(self):
        call("Volume.Update", volume=NAME, snapshotSchedule="*:*:0/2 keep 1")
        wait(self.snapshots, "a snapshot")

    def after(self, outcome):
        if outcome:
            call("Volume.Update", volume=NAME, snapshotSchedule="*:*:0/2 keep 1")
        first = self.snapshots()
        use(self.fs)
        wait(lambda: (now := self.snapshots()) and now != first and len(now) == 1, "another, and only that")
        call("Volume.Update", volume=NAME, snapshotSchedule="none")


class Rename(Mounting):
    """There and back, while it is mounted and a snapshot of it, too."""

    word, method, end, jobs = "rename", "Volume.Rename", "answer.rename.after", {"volume_rename"}
    other, place = NAME + "-2", PLACE + "-2"

    def back(self):
        if volume(self.other):
            call("Volume.Rename", volume=self.other, name=NAME)

    def before(self):
        self.back()
        super().before()
        call("Volume.Mount", volume=NAME)
        if not volume(NAME)["snapshots"]:
            call("Volume.Snapshot", volumes=[NAME + "@s"])
        call("Volume.Mount", volume=NAME + "@s", readOnly=True)

    def run(self):
        call("Volume.Rename", volume=NAME, name=self.other)

    def after(self, outcome):
        there = volume(self.other)
        claim(outcome or there, "it was answered as renamed, and is not")
        place, gone = (self.place, PLACE) if there else (PLACE, self.place)
        for snapshot in ("", "@s"):
            claim(kernel.read(f"{place}{snapshot}/file") == "content", f"{place}{snapshot} has not its file")
            claim(not os.path.exists(gone + snapshot), f"{gone}{snapshot} is there")
        self.back()
        call("Volume.Unmount", volume=NAME + "@s")
        call("Volume.Unmount", volume=NAME)
        call("Volume.Remove", volume=NAME + "@s")


class Resize(Mounting):
    word, method, end = "resize", "Volume.Resize", "answer.resize.after"

    def __init__(self, fs="ext4", key=None, change=16 * MIB):
        super().__init__(fs, key)
        self.change = change
        self.title = self.title.replace("resize", "grow" if change > 0 else "shrink", 1)
        self.jobs = {"volume_grow"} if change > 0 else {"volume_shrink", "volume_drop_spare"}

    def before(self):
        super().before()
        if volume(NAME)["sizeBytes"] > SIZES[self.fs] + 128 * MIB:
            call("Volume.Remove", volume=NAME)
            super().before()
        if self.change < 0:
            call("Volume.Resize", volume=NAME, addBytes=-self.change)
        elif not volume(NAME)["open"]:
            call("Volume.Mount", volume=NAME)
        self.size = volume(NAME)["sizeBytes"]

    def run(self):
        call("Volume.Resize", volume=NAME, sizeBytes=self.size + self.change)

    def after(self, outcome):
        if outcome:
            self.run()
        size = volume(NAME)["sizeBytes"]
        claim(size == self.size + self.change, f"it has {size}, and had {self.size}")
        call("Volume.Mount", volume=NAME)
        self.content()
        if self.fs != "none":
            fs = os.statvfs(PLACE)
            have, least = fs.f_blocks * fs.f_frsize, size * 3 // 4
            claim(least <= have <= size, f"its filesystem has {have} of {size}")
        call("Volume.Unmount", volume=NAME)


class GiveUpGrowth(Resize):
    """Of a filesystem that took nothing."""

    def __init__(self, fs="ext4", key=None):
        super().__init__(fs, key)
        self.title = self.title.replace("grow", "give up growing", 1)
        self.jobs = {"volume_ungrow"}

    def before(self):
        super().before()
        for point in ("growing-the-filesystem.run", "growing-the-thin-device.undo"):
            arm(f"volume_grow.{point}", "fail 5")
        try:
            call("Volume.Resize", volume=NAME, sizeBytes=self.size + self.change)
        except wire.Failure:
            return
        raise AssertionError("it has grown")

    def run(self):
        call("Volume.Resize", volume=NAME, sizeBytes=self.size)

    def after(self, outcome):
        if outcome:  # it may have gone on: then it shrinks, which nobody may use meanwhile
            call("Volume.Unmount", volume=NAME)
            self.run()
        size = volume(NAME)["sizeBytes"]
        claim(size == self.size, f"it has {size}, and had {self.size}")
        call("Volume.Mount", volume=NAME)
        self.content()
        call("Volume.Unmount", volume=NAME)


class Start(Mounting):
    """quarryd itself is killed while a volume is mounted, and started by systemd."""

    word, end, jobs = "start with", "pool_open.answer.after", {"pool_scan", "pool_open"}

    def before(self):
        super().before()
        call("Volume.Mount", volume=NAME)

    def run(self):
        kernel.kill("quarryd")
        ask("Pool.List")

    def after(self, outcome):
        self.content()


class Close(Mounting):
    """The host stops: what systemd runs then closes the pools."""

    word, end, jobs = "stop the host with", "pool_close.all.done", {"pool_close", "pool_scan", "pool_open"}

    def before(self):
        super().before()
        call("Volume.Mount", volume=NAME)

    def run(self):
        run("systemctl", "stop", "quarryd.socket", "quarry-worker.socket", "quarryd.service")
        try:
            if run("/usr/lib/quarry/quarry-worker", "--close-pools") < 0:
                raise wire.Gone("it was killed")
        finally:
            run("systemctl", "start", "quarry-worker.socket", "quarryd.socket", "quarryd.service")
            ask("Pool.List")

    def after(self, outcome):
        if PLACE not in kernel.mounts():
            call("Volume.Mount", volume=NAME)
        self.content()


class RemoveInUse(Mounting):
    """With --lazy, while this program has a file of it open."""

    word, method, end = "remove while it is in use", "Volume.Remove", "catalog.delete.after"
    jobs = {"volume_umount", "volume_claim", "volume_remove"}

    def before(self):
        super().before()
        call("Volume.Mount", volume=NAME)

    def run(self):
        with open(f"{PLACE}/file", encoding="ascii"):
            call("Volume.Remove", volume=NAME, lazy=True)

    def after(self, outcome):
        there = volume(NAME)
        claim(outcome or not there or there["state"] == "removing", f"it was answered as going, and is {there}")
        if there:
            kernel.mounts().get(PLACE) and call("Volume.Unmount", volume=NAME)
            call("Volume.Remove", volume=NAME)


class Doctor(Mounting):
    """Repairs what it finds: an empty mount point that belongs to nobody."""

    word, method, end = "examine the host with", "Doctor.Examine", "answer.doctor---fix.after"
    jobs = {"host_audit", "pool_audit", "volume_sweep"}
    stray = "/run/quarry/mnt/default/stray"

    def before(self):
        super().before()
        os.makedirs(self.stray, exist_ok=True)

    def run(self):
        try:
            found = call("Doctor.Examine", fix=True)["findings"]
            if os.path.exists(self.stray):
                raise wire.Failure("Unfixed", {"message": str(found)})
        except (wire.Failure, wire.Gone, ConnectionError):
            wait(lambda: ask("Doctor.Examine", fix=True) and not os.path.exists(self.stray), "the repair")
            raise

    def after(self, outcome):
        found = [f["message"] for f in call("Doctor.Examine")["findings"]]
        claim(not found, f"there is still found: {found}")


def snapshots():
    return [v["name"] for v in ask("Volume.List", type="snapshot")["volumes"]]


class FromSnapshot(VolumeVerb):
    """Of a volume that stays from point to point; nothing of its snapshots does."""

    image, clone = f"{NAME}@s", "cloned"

    def before(self):
        self.ready()
        call("Volume.Snapshot", volumes=[self.image])

    def content(self, name):
        path = call("Volume.Mount", volume=name)["path"]
        have = kernel.read(f"{path}/file")
        call("Volume.Unmount", volume=name)
        return have

    def clean(self):
        for name in snapshots():
            call("Volume.Remove", volume=name)


class Snapshot(FromSnapshot):
    """Of two volumes at one instant, one of them mounted."""

    word, method, end, jobs = "make a snapshot of", "Volume.Snapshot", "answer.snapshot.after", {"volume_snapshot"}
    other = "beside"

    def before(self):
        self.ready()
        if not volume(self.other):
            call("Volume.Create", volume=self.other, sizeBytes=16 * MIB, filesystem="none")
        call("Volume.Mount", volume=NAME)

    def run(self):
        call("Volume.Snapshot", volumes=[self.image, f"{self.other}@s"])

    def after(self, outcome):
        there = snapshots()
        claim(sorted(there) in ([], sorted([self.image, f"{self.other}@s"])), f"of the group there are {there}")
        claim(there or outcome, "it was answered as made, and is not there")
        with open(f"{PLACE}/writes", "w", encoding="ascii") as f:  # nobody is held up
            os.fsync(f.fileno())
        os.unlink(f"{PLACE}/writes")
        if not there:
            self.run()
        path = call("Volume.Mount", volume=self.image, readOnly=True)["path"]
        have = kernel.read(f"{path}/file")
        claim(have == "content", f"the snapshot's file holds {have!r}")
        call("Volume.Unmount", volume=self.image)
        call("Volume.Unmount", volume=NAME)
        self.clean()


class Hold(FromSnapshot):
    word, method, end, jobs, held = "hold a snapshot of", "Volume.Hold", "answer.hold.after", set(), True

    def run(self):
        call(self.method, volume=self.image)

    def after(self, outcome):
        def is_held():
            return next(v["held"] for v in ask("Volume.List", type="snapshot")["volumes"] if v["name"] == self.image)
        claim(outcome or is_held() == self.held, "it was answered, and is not so")
        if outcome:
            self.run()
        claim(is_held() == self.held, "it was asked for again, and is not so")
        call("Volume.Release", volume=self.image)
        self.clean()


class ReleaseHeld(Hold):
    word, method, end, held = ("release a held snapshot of", "Volume.Release",
                               "answer.release.after", False)

    def before(self):
        super().before()
        call("Volume.Hold", volume=self.image)


class Clone(FromSnapshot):
    word, method, end, jobs = "clone", "Volume.Clone", "answer.clone.after", {"volume_clone"}

    def run(self):
        call("Volume.Clone", volume=self.image, name=self.clone)

    def after(self, outcome):
        there = volume(self.clone)
        claim(there or outcome, "it was answered as made, and is not there")
        if not there:
            self.run()
        claim(self.content(self.clone) == self.content(NAME) == "content", "the two differ")
        call("Volume.Remove", volume=self.clone)
        self.clean()


class Receive(FromSnapshot):
    """From an image of the device, as quarry receive does it."""

    word, method, end = "receive", "Stream.Receive", "answer.receive.after"
    jobs, stored = {"volume_receive", "volume_accept"}, "/run/walked.img"

    def before(self):
        super().before()
        if os.path.exists(self.stored):
            os.unlink(self.stored)
        claim(run("quarry", "send", self.image, "--format", "raw", "--to", self.stored) == 0, "there is no image")

    def what(self):
        return {"sizeBytes": volume(NAME)["sizeBytes"], "filesystem": self.fs, "keySource": self.key}

    def run(self):
        ours, theirs = socket.socketpair()
        receive = wire.Call(SOCKET, "io.quarry." + self.method, {
            "volume": self.clone, **self.what(), "socketFileDescriptor": 0}, fds=[theirs.fileno()], timeout=SECONDS)
        theirs.close()
        with ours:
            for device in socket.recv_fds(ours, 1, 1)[1]:
                with open(device, "wb", buffering=0) as to, open(self.stored, "rb") as image:
                    shutil.copyfileobj(image, to, MIB)
                    os.fsync(to.fileno())
                ours.send(b"x")
            receive.result()

    def after(self, outcome):
        there = volume(self.clone)
        claim(there or outcome, "it was answered as received, and is not there")
        if not there:
            self.run()
        claim(self.content(self.clone) == self.content(NAME) == "content", "the two differ")
        call("Volume.Remove", volume=self.clone)
        self.clean()


class ReceiveForeign(Receive):
    """From an image that somebody else made, smaller than the volume."""

    word, folder = "receive an image as", "/run/walked.folder"

    def before(self):
        FromSnapshot.before(self)
        if not os.path.exists(self.folder):
            os.mkdir(self.folder)
            with open(f"{self.folder}/file", "w", encoding="ascii") as f:
                f.write("content")
        claim(run("mkfs.ext4", "-q", "-F", "-d", self.folder, self.stored, "16M") == 0, "there is no image")

    def what(self):
        return {"sizeBytes": 24 * MIB, "filesystem": self.fs, "foreign": True}


class Rollback(FromSnapshot):
    word, method, end = "roll back", "Volume.Rollback", "answer.rollback.after"
    jobs, discard = {"volume_claim", "volume_rollback"}, False

    def before(self):
        super().before()
        with open(call("Volume.Mount", volume=NAME)["path"] + "/file", "w", encoding="ascii") as f:
            f.write("changed")
        call("Volume.Unmount", volume=NAME)

    def run(self):
        call("Volume.Rollback", volume=self.image, discardCurrent=self.discard)

    def after(self, outcome):
        have, kept = self.content(NAME), [name for name in snapshots() if name != self.image]
        claim(have == "content" or outcome and have == "changed", f"its file holds {have!r}")
        claim(len(kept) == (have == "content" and not self.discard), f"what it was is kept as {kept}")
        if have == "changed":
            self.run()
            claim(self.content(NAME) == "content", "it was rolled back again, and is not as it was")
        self.clean()


class RollbackDiscarding(Rollback):
    """What it was goes behind the answer."""

    word, end, discard = "discard all in, and roll back,", "volume_drop_spare.answer.after", True
    failed_end = "answer.rollback.after"
    jobs = {"volume_claim", "volume_rollback", "volume_drop_spare"}


class KeyVerb(Mounting):
    """Of a volume that the host key opens, and a passphrase."""

    def sealed(self, secret=b"sesame"):
        return wire.sealed(secret)

    def slots(self):
        return sorted(slot["kind"] for slot in call("Key.Inspect", volume=NAME)["keys"]["keyslots"])

    def before(self):
        if volume(NAME) and volume(NAME)["encryption"]["locked"]:
            call("Key.Unlock", volume=NAME)
        super().before()
        if volume(NAME)["open"]:
            call("Volume.Unmount", volume=NAME)

    def opens(self):
        call("Volume.Mount", volume=NAME)
        self.content()
        call("Volume.Unmount", volume=NAME)


class KeyAdd(KeyVerb):
    """The host key, which is there already in half of all walks, and then a passphrase."""

    word, method, end, jobs = "add a key to", "Key.Add", "answer.key-add.after", {"volume_key_add"}

    def before(self):
        super().before()
        if len(self.slots()) > 1:
            call("Key.Remove", fds=[self.sealed()], volume=NAME, removedKeyFileDescriptor=0)

    def run(self):
        call("Key.Add", fds=[self.sealed()], volume=NAME, newKeyFileDescriptor=0)

    def after(self, outcome):
        claim(outcome or len(self.slots()) == 2, "it was answered as added, and is not there")
        if outcome:
            self.run()
        claim(self.slots() == ["host", "passphrase"], f"there are {self.slots()}")
        self.opens()


class KeyAddHost(KeyAdd):
    word = "add the host key to"

    def before(self):
        super().before()
        call("Key.Add", fds=[self.sealed()], volume=NAME, newKeyFileDescriptor=0)
        call("Key.Remove", fds=[self.sealed()], volume=NAME, host=True, keyFileDescriptor=0)

    def run(self):
        call("Key.Add", fds=[self.sealed()], volume=NAME, host=True, keyFileDescriptor=0)


class KeyRemove(KeyVerb):
    word, method, end, jobs = "remove a key of", "Key.Remove", "answer.key-remove.after", {"volume_key_remove"}

    def before(self):
        super().before()
        if len(self.slots()) < 2:
            call("Key.Add", fds=[self.sealed()], volume=NAME, newKeyFileDescriptor=0)

    def run(self):
        call("Key.Remove", fds=[self.sealed()], volume=NAME, removedKeyFileDescriptor=0)

    def after(self, outcome):
        claim(outcome or self.slots() == ["host"], "it was answered as removed, and is there")
        if outcome and len(self.slots()) > 1:
            self.run()
        claim(self.slots() == ["host"], f"there are {self.slots()}")
        self.opens()


class KeyChange(KeyVerb):
    word, method, end, jobs = "change a key of", "Key.Change", "answer.key-change.after", {"volume_key_change"}

    def opened_by(self, secret):
        try:
            call("Key.Add", fds=[self.sealed(secret), self.sealed(secret)], volume=NAME, keyFileDescriptor=0,
                 newKeyFileDescriptor=1)
        except wire.Failure:
            return False
        return True

    def before(self):
        super().before()
        for secret in (b"new", b"sesame"):
            if len(self.slots()) > 1 and self.opened_by(secret):
                call("Key.Remove", fds=[self.sealed(secret)], volume=NAME, removedKeyFileDescriptor=0)
        call("Key.Add", fds=[self.sealed()], volume=NAME, newKeyFileDescriptor=0)

    def run(self):
        call("Key.Change", fds=[self.sealed(), self.sealed(b"new")], volume=NAME, keyFileDescriptor=0,
             newKeyFileDescriptor=1)

    def after(self, outcome):
        old, new = self.opened_by(b"sesame"), self.opened_by(b"new")
        claim(old or new, "neither opens it")
        claim(outcome or (not old and new), "it was answered as changed, and is not")
        if old:
            self.run()
        claim(self.slots() == ["host", "passphrase"] and not self.opened_by(b"sesame"), f"there are {self.slots()}")
        self.opens()


class KeyLock(KeyVerb):
    word, method, end, jobs, suspend = "lock", "Key.Lock", "answer.key-lock.after", {"volume_claim"}, False

    def run(self):
        call("Key.Lock", volume=NAME, suspend=self.suspend)

    def after(self, outcome):
        claim(outcome or volume(NAME)["encryption"]["locked"], "it was answered as locked, and is not")
        if outcome:
            self.run()
        keys = call("Key.Inspect", volume=NAME)["keys"]
        claim(keys["locked"] and not keys["inKernel"] and keys["suspended"] == self.suspend, f"it is {keys}")
        call("Key.Unlock", volume=NAME)
        self.opens()


class KeySuspend(KeyLock):
    word, jobs, suspend = "lock while it is mounted", {"volume_suspend"}, True

    def before(self):
        super().before()
        call("Volume.Mount", volume=NAME)


class KeyUnlock(KeySuspend):
    word, method, end, jobs = "unlock", "Key.Unlock", "answer.key-unlock.after", {"volume_unlock"}

    def before(self):
        super().before()
        call("Key.Lock", volume=NAME, suspend=True)

    def run(self):
        call("Key.Unlock", volume=NAME)

    def after(self, outcome):
        if outcome:
            self.run()
        self.opens()


class KeyRestore(KeyVerb):
    word, method, end, jobs = "restore the header of", "Key.Restore", "answer.key-restore.after", {
        "volume_header_restore"}

    def before(self):
        super().before()
        self.header = run_backup(NAME)

    def run(self):
        call("Key.Restore", fds=[wire.sealed(self.header)], volume=NAME, headerFileDescriptor=0)

    def after(self, outcome):
        if outcome:
            self.run()
        self.opens()


class KeyRotate(KeyVerb):
    """With a snapshot."""

    word, method, end = "rotate the host key of", "Key.Rotate", "answer.key-rotate.after"
    jobs = {"host_key_rotate", "host_key_retire", "volume_key_wrap"}

    @staticmethod
    def done():
        status = ask("Key.Status")
        return len(status["keys"]) == 1 and not status["rotating"] and not status["unknown"] and status["keys"][0]["id"]

    def before(self):
        super().before()
        if not volume(NAME)["snapshots"]:
            call("Volume.Snapshot", volumes=[NAME + "@s"])
        self.id = wait(self.done, "the end of what was rotated before")

    def run(self):
        answer = call("Key.Rotate")
        if answer["left"]:
            raise wire.Failure("left", {"message": answer.get("failure", "")})

    def after(self, outcome):
        claim(outcome or self.done() not in (False, self.id), "it was answered as rotated, and is not")
        if isinstance(outcome, wire.Failure):  # what was only cut short goes on by itself
            self.run()
        self.opens()
        call("Volume.Mount", volume=NAME + "@s", readOnly=True)
        call("Volume.Unmount", volume=NAME + "@s")
        wait(self.done, "the end of the rotation")


def run_backup(name):
    path = "/run/walk.header"
    if os.path.exists(path):
        os.unlink(path)
    claim(run("quarry", "key", "backup", name, "--to", path) == 0, "there is no backup")
    with open(path, "rb") as f:
        return f.read()


class PoolVerb(Verb):
    def __init__(self):
        self.title = f"{self.word} a pool in a file"

    def create(self):
        call("Pool.Create", name=POOL, file=FILE, sizeBytes=512 * MIB)

    def take(self):
        call("Pool.Import", devices=[FILE])

    def before(self):
        if pool(POOL):
            return
        if os.path.exists(FILE):
            self.take()
        else:
            self.create()

    def works(self):
        there = pool(POOL)
        claim(there and there["state"] == "active", f"the pool is {there}")
        call("Volume.Create", volume=f"{POOL}:v", sizeBytes=16 * MIB, filesystem="none")
        call("Volume.Remove", volume=f"{POOL}:v")


TENANT = "walked"


def tenant():
    return next((t for t in call("Tenant.List")["tenants"] if t["name"] == TENANT), None)


class TenantVerb(Verb):
    def __init__(self):
        self.title = f"{self.word} a tenant"

    def before(self):
        if not tenant():
            call("Tenant.Create", name=TENANT, users=[1], maxVolumes=1)

    def works(self):
        """Its limit is kept."""
        call("Volume.Create", volume=f"{TENANT}/v", sizeBytes=16 * MIB, filesystem="none")
        outcome = None
        try:
            call("Volume.Create", volume=f"{TENANT}/w", sizeBytes=16 * MIB, filesystem="none")
        except wire.Failure as failure:
            outcome = failure.kind
        call("Volume.Remove", volume=f"{TENANT}/v")
        claim(outcome == "QuotaExceeded", f"a volume above the limit: {outcome}")


class TenantCreate(TenantVerb):
    word, method, end = "create", "Tenant.Create", "answer.tenant-create.after"
    asks = {"host_calendar"}

    def before(self):
        if tenant():
            call("Tenant.Remove", name=TENANT)

    def run(self):
        call("Tenant.Create", name=TENANT, users=[1], maxVolumes=1, snapshotSchedule="daily keep 3")

    def after(self, outcome):
        claim(outcome or tenant(), "it was answered as created, and is not there")
        if not tenant():
            self.run()
        claim(tenant()["users"] == [1] and tenant()["snapshotSchedule"] == "daily keep 3", f"it is {tenant()}")
        self.works()


class TenantRemove(TenantVerb):
    word, method, end = "remove", "Tenant.Remove", "answer.tenant-rm.after"

    def run(self):
        call("Tenant.Remove", name=TENANT)

    def after(self, outcome):
        claim(outcome or not tenant(), "it was answered as removed, and is there")
        if tenant():
            self.works()
            self.run()
        claim(not tenant(), "it was removed again, and is there")


class TenantUpdate(TenantVerb):
    word, method, end = "update", "Tenant.Update", "answer.tenant-update.after"

    def before(self):
        super().before()
        call("Tenant.Update", name=TENANT, removeUsers=[2], maxVolumes=2)

    def run(self):
        call("Tenant.Update", name=TENANT, addUsers=[2], maxVolumes=1)

    def after(self, outcome):
        done = tenant()["maxVolumes"] == 1
        claim(outcome or done, "it was answered as changed, and is not")
        claim((2 in tenant()["users"]) == done, f"half of it was done: {tenant()}")
        if not done:
            self.run()
        self.works()


class PoolCreate(PoolVerb):
    word, method, end, jobs = "create", "Pool.Create", "answer.pool-create.after", {"pool_create"}

    def before(self):
        if pool(POOL):
            call("Pool.Remove", name=POOL)

    def run(self):
        self.create()

    def after(self, outcome):
        there = pool(POOL)
        claim(there or outcome, "it was answered as created, and is not there")
        claim(there or not os.path.exists(FILE), "its file was left behind")
        if not there:
            self.create()
        self.works()


class PoolRemove(PoolVerb):
    word, method, end, jobs = "remove", "Pool.Remove", "answer.pool-rm.after", {"pool_remove"}

    def run(self):
        call("Pool.Remove", name=POOL)

    def after(self, outcome):
        there = pool(POOL)
        claim(outcome or not there, "it was answered as removed, and is there")
        if there:
            call("Pool.Remove", name=POOL)
        claim(not pool(POOL) and not os.path.exists(FILE), "it was removed again, and is there")


class PoolExtend(PoolVerb):
    """By a little each time."""

    word, method, end, jobs = "extend", "Pool.Extend", "answer.pool-extend.after", {"pool_extend"}

    def before(self):
        super().before()
        self.size = pool(POOL)["dataSizeBytes"]

    def run(self):
        call("Pool.Extend", name=POOL, sizeBytes=os.stat(FILE).st_size + 16 * MIB)

    def after(self, outcome):
        if outcome:
            self.run()
        claim(pool(POOL)["dataSizeBytes"] > self.size, "the pool is not larger than it was")


class PoolUpdate(PoolVerb):
    word, method, end = "update", "Pool.Update", "answer.pool-update.after"
    asks = {"host_calendar"}

    def before(self):
        super().before()
        call("Pool.Update", name=POOL, snapshotSchedule="none")

    def run(self):
        call("Pool.Update", name=POOL, snapshotSchedule="daily keep 3")

    def after(self, outcome):
        claim(outcome or pool(POOL).get("snapshotSchedule") == "daily keep 3", "it was answered as set, and is not")
        if outcome:
            self.run()
        claim(pool(POOL).get("snapshotSchedule") == "daily keep 3", f"the pool is {pool(POOL)}")
        self.works()


class PoolRepair(PoolVerb):
    """Of metadata that is damaged under the pool, which is open."""

    word, method, end, jobs = "repair", "Pool.Check", "answer.pool-check---repair.after", {
        "pool_repair", "pool_open"}

    def before(self):
        super().before()
        there = pool(POOL)
        if not volume("kept"):  # of a pool that never held one thin_repair finds no roots
            call("Volume.Create", volume=f"{POOL}:kept", sizeBytes=16 * MIB)
        kernel.forget_old_metadata(there["uuid"])
        damage.chunk_map(kernel.metadata_of(there["uuid"]))

    def run(self):
        claim(call("Pool.Check", name=POOL, repair=True)["sound"], "it was answered as damaged")

    def after(self, outcome):
        if outcome:
            self.run()
        claim(call("Pool.Check", name=POOL)["sound"], "it is damaged")
        claim(volume("kept"), "its volume is gone")
        self.works()


class PoolExport(PoolVerb):
    word, method, end, jobs = "export", "Pool.Export", "answer.pool-export.after", {"pool_export"}

    def run(self):
        call("Pool.Export", name=POOL)

    def after(self, outcome):
        there = pool(POOL)
        claim(outcome or not there, "it was answered as exported, and is there")
        if there:
            call("Pool.Export", name=POOL)
        claim(not pool(POOL), "it was exported again, and is there")


class PoolImport(PoolVerb):
    word, method, end, jobs = "import", "Pool.Import", "answer.pool-import.after", {"pool_import", "pool_open"}

    def before(self):
        if not pool(POOL) and not os.path.exists(FILE):
            self.create()
        if pool(POOL):
            call("Pool.Export", name=POOL)

    def run(self):
        self.take()

    def after(self, outcome):
        there = pool(POOL)
        claim(there or outcome, "it was answered as imported, and is not there")
        if not there or there["state"] != "active":
            self.take()
        self.works()


# Those of a group are walked in turn.
ENCRYPTED = {"fs": "xfs", "key": "host"}
VOLUMES = [[Create(), Remove()], [Create(**ENCRYPTED), Remove(**ENCRYPTED)], [CreateFilled(key="host")],
           [Mount(key="host"), Unmount(key="host")], [Release(key="host"), Start(key="host")],
           [RemoveLarge("none")], [Trim(key="host")], [Check(key="host")], [Doctor(key="host")], [Close(key="host")], [RemoveInUse(key="host")]]
VOLUMES += [[CreateForEngine(key="host"), RemoveForEngine(key="host")],
            [MountForEngine(key="host"), UnmountForEngine(key="host")]]
VOLUMES += [[Rename(key="host")], [Resize(key="host")], [GiveUpGrowth(key="host")], [Resize(key="host", change=-16 * MIB)]]
VOLUMES += [[Update(key="host")]]
VOLUMES += [[CreateOfKind("bind"), RemoveOfKind("bind")], [CreateOfKind("tmpfs"), RemoveOfKind("tmpfs")],
            [MountOfKind("bind")], [MountOfKind("tmpfs")], [ResizeOfTmpfs("tmpfs")]]
VOLUMES += [[Scheduled()]]
VOLUMES += [[Snapshot(key="host")], [Hold(), ReleaseHeld()], [Clone(key="host")], [Receive(key="host")],
            [ReceiveForeign()], [Rollback()], [RollbackDiscarding()]]
VOLUMES += [[KeyAdd(key="host"), KeyRemove(key="host")], [KeyAddHost(key="host")], [KeyChange(key="host")],
            [KeyLock(key="host")], [KeySuspend(key="host")], [KeyUnlock(key="host")], [KeyRestore(key="host")],
            [KeyRotate(key="host")]]
VOLUMES += [[CreateAhead()], [CreateAhead(**ENCRYPTED)]]
VOLUMES += [[TenantCreate(), TenantRemove()], [TenantUpdate()]]
VOLUMES += [[Acquire("none", "host")]]
# The same steps on other volumes.
MORE_VOLUMES = [[Resize("xfs")], [Resize("none")], [Create("xfs")], [Create("ext4", "host")], [Create("none", "host"), Remove("none", "host")],
                [Mount(), Unmount()], [MountElsewhere()], [Mount("none"), Unmount("none")]]
POOLS = [[PoolCreate(), PoolRemove()], [PoolExport(), PoolImport()], [PoolExtend()], [PoolRepair()], [PoolUpdate()]]
