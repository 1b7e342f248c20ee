#!/usr/bin/python3
"""io.systemd.StorageProvider: what is handed over, made, listed and refused, and to whom. TAP on stdout."""

import fcntl
import os
import stat
import sys
import time

from tap import contains, eventually, same, test
from world import ADMIN_GROUP, GIB, MIB, NOBODY, Call, Failure, as_user, main, sealed
from worker import Gate, die_after, die_before, fail
from wire import connect

world = None  # what the test that runs now uses

ALICE, BOB, BOTH = 4001, 4002, 4003
INTERFACE = "io.systemd.StorageProvider"


def begin(**limits):
    world.worker.add_pool()
    world.start()
    world.call("Tenant.Create", name="acme", users=[ALICE, BOTH], **limits)
    world.call("Tenant.Create", name="beta", users=[BOB, BOTH])


def ask(method, more=False, **parameters):
    return Call(world.storage, f"{INTERFACE}.{method}", parameters, more=more)


class Handed:
    """What Acquire hands over."""

    def __init__(self, call):
        reply = call.result()
        self.type, self.read_only = reply["type"], reply["readOnly"]
        self.base = reply.get("baseUID"), reply.get("baseGID")
        same(reply["fileDescriptorIndex"], 0)
        self.fd, = call.fds

    def close(self):
        os.close(self.fd)


def acquire(name, **parameters):
    handed = Handed(ask("Acquire", name=name, **parameters))
    handed.close()
    return handed.type, handed.read_only


def refused(error, name, **parameters):
    """With the last part of this error's name, or the number of a system error."""
    failure = ask("Acquire", name=name, **parameters).failure()
    if isinstance(error, int):
        same((failure.name, failure.parameters["errno"], failure.parameters["origin"]),
             ("io.systemd.System", error, "linux"), str(failure))
    elif "." in error:
        same(failure.name, error, str(failure))
    else:
        same((failure.name, failure.parameters), (f"{INTERFACE}.{error}", {}), str(failure))
    return failure


def listed(method, more=True, **parameters):
    """Every answer; [] if there is none."""
    call = ask(method, more, **parameters)
    try:
        last = call.result()
    except Failure as failure:
        same(failure.name, f"{INTERFACE}.NoSuch{method[4:-1]}", str(failure))
        same(call.progress, [])
        return []
    return [*call.progress, last]


def names(pattern=None):
    return [v["name"] for v in listed("ListVolumes", **({"matchName": pattern} if pattern else {}))]


def last_job(verb):
    return [job for name, job, _ in world.worker.jobs if name == verb][-1]


def by(uid, *call, groups=(), **parameters):
    """What a user gets of ask(): "done" with the answer, or the error's name."""
    def run():
        try:
            return f"done: {ask(*call, **parameters).result()}"
        except Failure as failure:
            return failure.name
    return as_user(uid, 100, list(groups), run)


@test
def the_service_describes_itself():
    begin()
    info = Call(world.storage, "org.varlink.service.GetInfo").result()
    same((info["product"], {*info["interfaces"]}), ("quarryd", {INTERFACE, "io.systemd", "org.varlink.service"}))
    contains(Call(world.storage, "org.varlink.service.GetInterfaceDescription", {"interface": INTERFACE})
             .result()["description"], "method Acquire(")
    same(Call(world.storage, "io.quarry.Volume.List").failure().name, "org.varlink.service.MethodNotFound")
    same(Call(world.storage, f"{INTERFACE}.Release").failure().name, "org.varlink.service.MethodNotFound")
    same(Call(world.socket, f"{INTERFACE}.ListTemplates", more=True).failure().name,
         "org.varlink.service.MethodNotFound")
    for _ in range(200):  # as storagectl does it, and nobody asks anything
        connect(world.storage).close()
    before = world.descriptors()
    eventually(lambda: world.descriptors() <= before, "nothing stays")
    same(names(), [])


@test
def volumes_are_handed_over_as_what_they_are():
    begin()
    world.create("db")
    world.create("disk", filesystem="none")
    world.call("Volume.Create", volume="mem", kind="tmpfs", sizeBytes=MIB)
    world.call("Volume.Create", volume="host", kind="bind", source="/srv", readOnly=True)
    world.call("Volume.Snapshot", volumes=["db@s", "disk@s"])
    for name, requested, answer in (
            ("db", None, ("dir", False)), ("db", "dir", ("dir", False)), ("db", "blk", ("blk", False)),
            ("disk", None, ("blk", False)), ("disk", "blk", ("blk", False)), ("mem", None, ("dir", False)),
            ("host", None, ("dir", True)), ("db@s", None, ("dir", True)), ("db@s", "blk", ("blk", True)),
            ("disk@s", None, ("blk", True)), ("default/db", None, ("dir", False)),
            ("default:default/disk", None, ("blk", False)), (world.inspect("db")["uuid"], None, ("dir", False))):
        as_what = {"requestAs": requested} if requested else {}
        # What the stand-in hands over as a directory is none of the kernel's mounts: whether it can be written to
        # is seen of what the worker was asked for.
        same(acquire(name, **as_what)[0], answer[0], f"{name} as {requested}")
        job = last_job("volume_mount" if answer[0] == "dir" else "volume_device")
        same(job["mount"]["options"] == ["ro"] if answer[0] == "dir" else job["readOnly"], answer[1], name)
        same(job.get("detached", True), True)
        for mode in ("any", "open"):
            same(acquire(name, createMode=mode, **as_what)[0], answer[0], f"{name} as {requested}, {mode}")
        refused("VolumeExists", name, createMode="new", **as_what)
    for name, requested in (("disk", "dir"), ("disk@s", "dir"), ("mem", "blk"), ("host", "blk")):
        refused("WrongType", name, requestAs=requested)
    for name in ("db", "disk", "mem", "nope"):
        refused("TypeNotSupported", name, requestAs="reg")
    refused("org.varlink.service.InvalidParameter", "db", requestAs="chr")
    refused("org.varlink.service.InvalidParameter", "db", createMode="maybe")
    same(acquire("db", requestAs=None, createMode=None, readOnly=None, template=None, createSizeBytes=None,
                 allowInteractiveAuthentication=True)[0], "dir")


@test
def writing_is_refused_where_it_cannot_be():
    begin()
    world.create("db")
    world.create("disk", filesystem="none")
    world.call("Volume.Snapshot", volumes=["db@s"])
    world.call("Volume.Create", volume="host", kind="bind", source="/srv", readOnly=True)
    for name in ("db@s", "host"):
        refused("ReadOnlyVolume", name, readOnly=False)
    refused("ReadOnlyVolume", "db@s", readOnly=False, requestAs="blk")
    handed = Handed(ask("Acquire", name="disk", readOnly=True))
    same((handed.type, handed.read_only, fcntl.fcntl(handed.fd, fcntl.F_GETFL) & os.O_ACCMODE),
         ("blk", True, os.O_RDONLY))
    handed.close()
    handed = Handed(ask("Acquire", name="disk", readOnly=False))
    same((handed.read_only, fcntl.fcntl(handed.fd, fcntl.F_GETFL) & os.O_ACCMODE), (False, os.O_RDWR))
    handed.close()
    acquire("db", readOnly=True)
    same(last_job("volume_mount")["mount"]["options"], ["ro"])
    for mode in ("any", "open"):  # what is to be read is not made
        refused("NoSuchVolume", "new", readOnly=True, createMode=mode, createSizeBytes=GIB)
    same(refused("org.varlink.service.InvalidParameter", "new", readOnly=True, createMode="new").parameters,
         {"parameter": "readOnly"})
    same(world.worker.count("volume_create", "new"), 0)


@test
def directories_tell_the_range_of_their_ids():
    begin()
    world.create("db")
    handed = Handed(ask("Acquire", name="db"))
    same((stat.S_ISDIR(os.fstat(handed.fd).st_mode), handed.base), (True, (0, 0)))
    handed.close()
    folder = "/run/scenario/shifted"
    os.mkdir(folder)
    for uid, gid, base in ((65535, 65536, (0, 65536)), (0x7ffe0000, 0x7ffe0000 + 65535, (0x7ffe0000, 0x7ffe0000)),
                           (1000, 100000, (0, 65536)), (0xfffffffe, 5, (0xffff0000, 0))):
        os.chown(folder, uid, gid)
        world.worker.rule("volume_mount", lambda job, work: {**work(), "fd": os.open(folder, os.O_PATH)})
        handed = Handed(ask("Acquire", name="db"))
        same(handed.base, base, f"{uid}:{gid}")
        handed.close()
    handed = Handed(ask("Acquire", name="db", requestAs="blk"))
    same(handed.base, (None, None))
    handed.close()


@test
def volumes_are_made_by_templates():
    begin()
    templates = {t["name"]: t["type"] for t in listed("ListTemplates")}
    same(templates, {"ext4": "dir", "ext4-encrypted": "dir", "raw": "blk", "raw-encrypted": "blk", "xfs": "dir",
                     "xfs-encrypted": "dir"})
    for name, type_ in templates.items():
        for requested in (None, "blk", *(["dir"] if type_ == "dir" else [])):
            volume = f"{name}-{requested}"
            as_what = {"requestAs": requested} if requested else {}
            same(acquire(volume, template=name, createSizeBytes=GIB, **as_what)[0], requested or type_, volume)
            made = world.inspect(volume)
            same((made["filesystem"], "encryption" in made, made["sizeBytes"], made["tenant"], made["uid"], made["mode"]),
                 ("none" if name.startswith("raw") else name.partition("-")[0], name.endswith("encrypted"), GIB,
                  "default", 0, 0o755), volume)
    for requested, fs in ((None, "ext4"), ("dir", "ext4"), ("blk", "none")):
        for template in ({}, {"template": ""}):
            acquire(f"plain-{requested}-{len(template)}", createSizeBytes=GIB, **template,
                    **({"requestAs": requested} if requested else {}))
            same(world.inspect(f"plain-{requested}-{len(template)}")["filesystem"], fs)
    refused("BadTemplate", "new", template="raw", requestAs="dir", createSizeBytes=GIB)
    refused("NoSuchTemplate", "new", template="zfs", createSizeBytes=GIB)
    refused("NoSuchTemplate", "ext4-None", template="zfs")
    same(acquire("ext4-None", template="raw", createSizeBytes=5)[0], "dir")  # it is there: they have no effect
    for mode in ("any", "new"):
        refused("CreateSizeRequired", "new", createMode=mode)
        refused("CreateSizeRequired", "new", createMode=mode, requestAs="blk", template="raw")
    refused("NoSuchVolume", "new", createMode="open", createSizeBytes=GIB)
    refused("NoSuchVolume", "new@s", createSizeBytes=GIB)
    refused("NoSuchVolume", "none:new", createSizeBytes=GIB)
    refused("NoSuchVolume", "gone/new", createSizeBytes=GIB)
    for size in (0, 1, 1 << 60):
        failure = refused("org.varlink.service.InvalidParameter", "new", createSizeBytes=size)
        same(failure.parameters, {"parameter": "createSizeBytes"})
    for size in (-1, 1.5, "1G"):
        refused("org.varlink.service.InvalidParameter", "new", createSizeBytes=size)
    for name in ("", "..", "a b", "/", "/dev/sda", "acme//x", "x@", "x" * 129, "a:b:c", "x\n"):
        same(refused("org.varlink.service.InvalidParameter", name, createSizeBytes=GIB).parameters, {"parameter": "name"})
    same(world.worker.count("volume_create", "new"), 0)
    same(acquire("new", createMode="new", createSizeBytes=GIB)[0], "dir")
    refused("VolumeExists", "new", createMode="new", createSizeBytes=GIB)


@test
def what_fails_says_so_as_any_service_of_systemd():
    begin(maxVolumes=1)
    world.create("db")
    key = sealed(b"sesame")
    world.call("Volume.Create", fds=[key], volume="vault", sizeBytes=GIB, keySource="passphrase", keyFileDescriptor=0)
    os.close(key)
    world.worker.rule("volume_mount", fail("KeyRequired"))
    same(refused(126, "vault").message, "as asked for")  # ENOKEY
    world.worker.rule("volume_device", fail("VolumeBusy", "in use by postgres", hint="quarry umount db"))
    same(refused(16, "db", requestAs="blk").parameters["hint"], "quarry umount db")
    world.call("Key.Lock", volume="vault")
    refused(126, "vault", requestAs="blk")
    world.create("acme/one")
    refused(122, "acme/two", createSizeBytes=GIB)  # EDQUOT
    world.worker.rule("volume_create", fail("NoSpace"))
    refused(28, "big", createSizeBytes=GIB)
    same("big" in world.names(), False)
    world.worker.rule("volume_device", lambda job, work: {**work(), "fd": None})
    contains(refused(71, "db", requestAs="blk").message, "did not hand it over")
    before = world.descriptors()
    for _ in range(20):
        world.worker.rule("volume_mount", fail("Failed"))
        refused(5, "db")
        acquire("db", requestAs="blk")
    eventually(lambda: world.descriptors() <= before, "descriptors are closed")


@test
def members_have_what_is_their_tenants():
    begin()
    for name in ("acme/db", "beta/db", "db"):
        world.create(name)
        world.create(f"{name}-disk", filesystem="none")
        world.call("Volume.Snapshot", volumes=[f"{name}@s"])
    denied = "org.varlink.service.PermissionDenied"
    for caller, groups, sees in ((ALICE, [], {"acme"}), (BOB, [], {"beta"}), (BOTH, [], {"acme", "beta"}),
                                 (NOBODY, [], set()), (NOBODY, [ADMIN_GROUP], {"acme", "beta", "default"})):
        admin = ADMIN_GROUP in groups

        def mine(name, **parameters):
            return by(caller, "Acquire", name=name, groups=groups, **parameters)
        for tenant in ("acme", "beta", "default", "gone"):
            for mode in ("any", "open", "new"):
                there = mine(f"{tenant}/db", createMode=mode)
                missing = mine(f"{tenant}/none", createMode=mode)
                if tenant not in sees:  # nothing tells it from one that is not there
                    same(there, missing, f"{tenant} by {caller}")
                    same(there.rpartition(".")[2], "NoSuchVolume" if mode == "open" else "CreateSizeRequired")
                    same(mine(f"{tenant}/db", createMode=mode, createSizeBytes=GIB),
                         f"{INTERFACE}.NoSuchVolume" if mode == "open" or admin else denied)
                else:
                    same(there.startswith("done") if mode != "new" else there,
                         True if mode != "new" else f"{INTERFACE}.VolumeExists", f"{tenant} by {caller}")
            if tenant in sees:
                same(mine(f"{tenant}/db-disk").startswith("done"), True)
                # Its bytes are read by the kernel, and by root.
                same(mine(f"{tenant}/db", requestAs="blk").startswith("done") or denied, True if admin else denied)
                same(mine(f"{tenant}/db@s", requestAs="blk").startswith("done") or denied, True if admin else denied)
                same(mine(f"{tenant}/made", requestAs="blk", template="ext4", createSizeBytes=GIB).startswith("done")
                     or denied, True if admin else denied)
                world.call("Volume.Remove", volume=f"{tenant}/made") if admin else None
                same(mine(f"{tenant}/made", requestAs="blk", createSizeBytes=GIB).startswith("done"), True)
                made = world.inspect(f"{tenant}/made")
                same((made["uid"], made["mode"]), (0, 0o755) if admin else (caller, 0o700))
                world.call("Volume.Remove", volume=f"{tenant}/made")
        # A name without tenant is that of the only one.
        same(mine("db").partition(":")[0], "done" if len(sees) == 1 or admin else
             "org.varlink.service.InvalidParameter" if sees else f"{INTERFACE}.CreateSizeRequired")
        shown = by(caller, "ListVolumes", True, groups=groups)
        same(shown.startswith("done"), bool(sees), shown)
    same(acquire("db")[0], "dir")
    same(last_job("volume_mount")["volume"]["tenant"], "default")


@test
def lists_have_what_may_be_had():
    begin()
    for name in ("db", "web-1", "web-2", "acme/db", "beta/x"):
        world.create(name)
    world.create("disk", 2 * GIB, filesystem="none")
    world.call("Volume.Create", volume="host", kind="bind", source="/srv", readOnly=True)
    world.call("Volume.Snapshot", volumes=["db@s", "acme/db@t"])
    same(names(), ["acme/db", "beta/x", "db", "disk", "host", "web-1", "web-2"])
    rows = {v["name"]: v for v in listed("ListVolumes")}
    same((rows["disk"]["type"], rows["disk"]["readOnly"], rows["disk"]["sizeBytes"]), ("blk", False, 2 * GIB))
    same((rows["host"]["type"], rows["host"]["readOnly"], "sizeBytes" in rows["host"]), ("dir", True, False))
    same(rows["db"]["type"], "dir")
    same([v for v in rows.values() if "aliases" in v], [])
    for pattern, found in (("web-*", ["web-1", "web-2"]), ("*", names()), ("web-?", ["web-1", "web-2"]), ("d[bi]*", ["db", "disk"]),
                           ("acme/*", ["acme/db"]), ("*db", ["acme/db", "db"]), ("", []), ("nope", []), ("\\*", []),
                           ("*@*", ["acme/db@t", "db@s"]), ("db@s", ["db@s"])):
        same(names(pattern) if pattern else [v["name"] for v in listed("ListVolumes", matchName="")], found, pattern)
    same(len(listed("ListTemplates", matchName="*-encrypted")), 3)
    same(listed("ListTemplates", matchName="zfs*"), [])
    for method in ("ListVolumes", "ListTemplates"):
        same(ask(method).failure().name, "org.varlink.service.ExpectedMore")
        same(ask(method, True, matchName="*" * 600).failure().name, "org.varlink.service.InvalidParameter")

    def theirs(uid, **parameters):
        return as_user(uid, 100, [], lambda: [(v["name"], v.get("aliases")) for v in listed("ListVolumes", **parameters)])
    same(theirs(ALICE), str([("acme/db", ["db"])]))
    same(theirs(ALICE, matchName="d*"), str([("acme/db", ["db"])]))
    same(theirs(BOTH), str([("acme/db", None), ("beta/x", None)]))
    same(theirs(NOBODY), "[]")
    began = time.monotonic()  # a pattern that is made to take long
    same(names("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"), [])
    same(time.monotonic() - began < 5, True)


@test
def a_thousand_volumes_are_listed():
    begin()
    for i in range(1000):
        world.create(f"v{i:04}")
    same(names(), [f"v{i:04}" for i in range(1000)])
    ask("ListVolumes", more=True).abandon()
    same(names("v0001"), ["v0001"])


@test
def who_goes_away_leaves_nothing():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    call = ask("Acquire", name="disk", requestAs="blk", createSizeBytes=GIB)
    gate.wait()
    call.abandon()
    joined = ask("Acquire", name="disk", requestAs="blk", createSizeBytes=GIB)
    refused("VolumeExists", "disk", createMode="new", createSizeBytes=GIB)
    before = world.descriptors()
    gate.release()
    Handed(joined).close()
    eventually(lambda: world.descriptors() <= before, "descriptors are closed")
    world.check_consistent()


@test
def a_worker_that_dies_is_cleaned_up_behind():
    begin()
    world.create("disk", filesystem="none")
    for rule in (die_before, die_after):
        released = world.worker.count("volume_release")
        world.worker.rule("volume_device", rule)
        refused(104, "disk")
        eventually(lambda: world.worker.count("volume_release") > released, "it is closed")
    acquire("disk")
    world.call("Volume.Mount", volume="disk")
    released = world.worker.count("volume_release")
    world.worker.rule("volume_device", die_after)  # while it is to stay open for somebody else
    refused(104, "disk")
    acquire("disk")
    same(world.worker.count("volume_release"), released)
    world.worker.rule("volume_create", die_before, times=1)
    failure = ask("Acquire", name="new", createSizeBytes=GIB).failure()
    same(failure.name, "io.systemd.System", str(failure))
    same("new" in world.names(), False)
    world.check_consistent()


@test
def early_calls_wait_for_the_pools():
    world.worker.add_pool()
    gate = Gate()
    world.worker.rule("pool_open", gate)
    world.start()
    gate.wait()
    call, list_ = ask("Acquire", name="nope", createMode="open"), ask("ListVolumes", more=True)
    gate.release()
    same(call.failure().kind, "NoSuchVolume")
    same(list_.failure().kind, "NoSuchVolume")


if __name__ == "__main__":
    sys.exit(main())
