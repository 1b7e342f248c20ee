#!/usr/bin/python3
"""Volumes that are not in the pool: what they take and do not, who is asked, and what is not done to them.
TAP on stdout."""

import sys

from tap import contains, same, test
from world import GIB, MIB, NOBODY, Call, Failure, as_user, main
from worker import die_before, fail

world = None  # what the test that runs now uses

ALICE = 4001


def begin(**limits):
    world.worker.add_pool()
    world.start()
    world.call("Tenant.Create", name="acme", users=[ALICE], groups=[77], **limits)


def bind(name, source="/srv/data", **parameters):
    return world.call("Volume.Create", volume=name, kind="bind", source=source, **parameters)["volume"]


def tmpfs(name, size=64 * MIB, **parameters):
    return world.call("Volume.Create", volume=name, kind="tmpfs", sizeBytes=size, **parameters)["volume"]


def last_job(verb):
    return [job for name, job, _ in world.worker.jobs if name == verb][-1]


@test
def they_take_nothing_of_the_pool():
    begin()
    before = world.pool()["provisionedBytes"]
    made = bind("d", readOnly=True), tmpfs("t", inodes=100, noswap=True)
    same([(v["kind"], v.get("source"), v.get("readOnly"), v.get("sizeBytes"), v.get("inodes"), v.get("noswap"))
          for v in made],
         [("bind", "/srv/data", True, None, None, None), ("tmpfs", None, None, 64 * MIB, 100, True)])
    same([key for v in made for key in ("filesystem", "encryption", "snapshots", "mkfsOptions") if key in v], [])
    same(world.pool()["provisionedBytes"], before)
    same([v.get("thinId") for v in (last_job("volume_create")["volume"],)], [None])
    world.create("db", GIB)  # whose thin id nobody has
    world.restart()
    same(world.names(), ["d", "db", "t"])
    same((world.inspect("t")["noswap"], world.inspect("d")["source"]), (True, "/srv/data"))
    world.call("Volume.Mount", volume="d")
    same((last_job("volume_mount")["volume"]["sourceId"], last_job("volume_mount")["mount"]["options"]), ("1-2.3", ["ro"]))
    world.check_consistent()


@test
def what_has_no_meaning_is_refused_by_name():
    begin()
    for field, parameters in {
            "source": {"kind": "bind"}, "sizeBytes": {"kind": "tmpfs"},
            "filesystem": {"kind": "tmpfs", "sizeBytes": MIB, "filesystem": "xfs"},
            "keySource": {"kind": "tmpfs", "sizeBytes": MIB, "keySource": "host"},
            "mkfsOptions": {"kind": "tmpfs", "sizeBytes": MIB, "mkfsOptions": ["-m 1"]},
            "uid": {"kind": "bind", "source": "/srv", "uid": 0}, "mode": {"kind": "bind", "source": "/srv", "mode": 0},
            "readOnly": {"sizeBytes": GIB, "readOnly": True}, "inodes": {"sizeBytes": GIB, "inodes": 5},
            "noswap": {"kind": "bind", "source": "/srv", "noswap": True}}.items():
        same(world.refused("BadRequest", "Volume.Create", volume="x", **parameters).parameters["field"], field)
    for source in ("/", "srv", "/srv/", "/srv/../etc", "/srv//x", "/srv/x\n", "/" + "x" * 5000, ""):
        refusal = world.refused("BadRequest", "Volume.Create", volume="x", kind="bind", source=source)
        same(refusal.parameters["field"], "source")
    bind("d")
    tmpfs("t")
    for name in ("d", "t"):
        for method, parameters in {"Trim": {"volume": name}, "Snapshot": {"volumes": [name]},
                                   "Clone": {"volume": name, "name": "x"}, "Rollback": {"volume": name},
                                   "Diff": {"from": name, "to": name},
                                   "Update": {"volume": name, "snapshotSchedule": "hourly keep 2"}}.items():
            contains(world.refused("NotSupported", f"Volume.{method}", **parameters).message, "for block volumes")
    contains(world.refused("NotSupported", "Volume.Resize", volume="d", addBytes=MIB).message, "take what they need")
    bind("limited", sizeBytes=MIB)
    refusal = world.refused("NotSupported", "Volume.Resize", volume="limited", addBytes=MIB)
    contains(refusal.message + refusal.parameters["hint"], "its limit is that of its creation", "quarry rm limited")
    world.refused("NotSupported", "Volume.Update", volume="d", mode=0o700)


@test
def no_schedule_plans_them():
    begin()
    world.call("Pool.Update", name="default", snapshotSchedule="hourly keep 3")
    bind("d")
    tmpfs("t")
    same([name for name in ("d", "t") if "scheduleRules" in world.inspect(name)], [])


@test
def memory_is_counted_for_the_tenant():
    begin(maxTmpfsBytes=100 * MIB, maxSizeBytes=GIB, maxVolumes=3)
    tmpfs("acme/a")
    contains(world.refused("QuotaExceeded", "Volume.Create", volume="acme/b", kind="tmpfs", sizeBytes=64 * MIB).message,
             "may have 100M in tmpfs volumes, has 64M")
    world.refused("QuotaExceeded", "Volume.Resize", volume="acme/a", addBytes=64 * MIB)
    same(world.call("Volume.Resize", volume="acme/a", sizeBytes=100 * MIB)["volume"]["sizeBytes"], 100 * MIB)
    world.worker.rule("volume_remount", fail("NoSpace"))
    world.refused("NoSpace", "Volume.Resize", volume="acme/a", sizeBytes=10 * MIB)
    have = world.call("Tenant.Inspect", name="acme")["tenant"]
    same((have["tmpfsBytes"], have["sizeBytes"], have["volumes"]), (100 * MIB, 0, 1))
    world.create("acme/db", GIB)
    bind("acme/d")
    world.refused("QuotaExceeded", "Volume.Create", volume="acme/e", kind="bind", source="/srv/data")
    same(world.refused("BadRequest", "Tenant.Update", name="acme", maxTmpfsBytes=MIB).parameters["field"],
         "maxTmpfsBytes")
    world.call("Volume.Remove", volume="acme/a")
    same(world.call("Tenant.Inspect", name="acme")["tenant"]["tmpfsBytes"], 0)


@test
def a_source_is_looked_at_with_the_rights_of_who_asks():
    begin()
    bind("root")
    same("members" in last_job("volume_create"), False)
    bind("acme/by-root")
    same(last_job("volume_create")["members"],
         [{"uid": ALICE, "gid": 65534, "groups": []}, {"uid": 65534, "gid": 77, "groups": []}])
    as_user(ALICE, 100, [5, 6], lambda: Call(world.socket, "io.quarry.Volume.Create",
                                             {"volume": "by-alice", "kind": "bind", "source": "/srv/x"}).result())
    member, = last_job("volume_create")["members"]
    same((member["uid"], member["gid"], {5, 6} <= set(member["groups"])), (ALICE, 100, True))
    world.call("Volume.Mount", volume="acme/by-alice")
    same(len(last_job("volume_mount")["members"]), 2, "of root's mount for the tenant")
    world.worker.rule("volume_create", fail("PermissionDenied"))
    world.refused("PermissionDenied", "Volume.Create", volume="acme/not", kind="bind", source="/srv/x")
    same(world.names(tenant="acme"), ["by-alice", "by-root"])


@test
def one_that_was_cut_short_is_undone():
    begin()
    for kind, parameters in {"bind": {"source": "/srv/data"}, "tmpfs": {"sizeBytes": MIB}}.items():
        world.worker.rule("volume_create", die_before)
        world.refused("WorkerDied", "Volume.Create", volume="x", kind=kind, **parameters)
        same(world.names(), [])
        world.call("Volume.Create", volume="x", kind=kind, **parameters)
        world.call("Volume.Remove", volume="x")
    world.check_consistent()


if __name__ == "__main__":
    sys.exit(main())
