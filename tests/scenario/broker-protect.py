#!/usr/bin/python3
"""Volumes that are protected: what must not remove them, and what still may be done to them. TAP on stdout."""

import sys

from tap import contains, eventually, same, test
from world import GIB, Failure, main
from worker import Gate, fail

world = None  # what the test that runs now uses


def begin(*volumes, **parameters):
    world.worker.add_pool()
    world.start()
    world.call("Tenant.Create", name="acme")
    for name in volumes:
        world.create(name, **parameters)


def protect(name, protected=True):
    return world.call("Volume.Update", volume=name, protected=protected)["volume"]["protected"]


def stays(name, **parameters):
    """It is refused, with what to do, and no worker was asked to do anything."""
    def jobs():
        return {verb: world.worker.count(verb) for verb in ("volume_claim", "volume_umount", "volume_remove")}
    before = jobs()
    failure = world.refused("VolumeBusy", "Volume.Remove", volume=name, **parameters)
    contains(failure.message, "is protected from being removed")
    same(jobs(), before, f"jobs for a removal with {parameters}")
    return failure.parameters["hint"]


@test
def what_is_protected_is_removed_in_no_way():
    begin("acme/db", protected=True)
    uuid = world.inspect("acme/db")["uuid"]
    for name in ("acme/db@one", "acme/db@two"):
        world.call("Volume.Snapshot", volumes=[name])
    for mounted in (False, True):
        if mounted:
            world.call("Volume.Mount", volume="acme/db")
        for parameters in ({}, {"lazy": True}, {"snapshots": True}, {"lazy": True, "snapshots": True}):
            for name in ("acme/db", uuid):
                same(stays(name, **parameters), "quarry update --no-protect acme/db", "hint")
    same(world.inspect("acme/db")["open"], True, "it stays mounted")
    same(world.names(type="all"), ["db", "db@one", "db@two"])
    world.call("Volume.Remove", volume="acme/db@one")  # a snapshot is held, not protected
    world.call("Volume.Unmount", volume="acme/db")
    same(protect("acme/db", False), False)
    world.call("Volume.Remove", volume="acme/db", snapshots=True)
    same(world.names(type="all"), [])
    world.check_consistent()


@test
def it_is_so_from_the_answer_on_and_under_every_name():
    begin("db", "www")
    same([world.inspect(n)["protected"] for n in ("db", "www")], [False, False])
    for _ in range(2):  # again is no failure
        same(protect("db"), True)
    world.kill()
    world.start()
    same(world.inspect("db")["protected"], True)
    world.call("Volume.Rename", volume="db", name="new")
    world.call("Volume.Update", volume="new", labels=["a=1"], mode=0o700, protected=None)
    world.call("Volume.Resize", volume="new", sizeBytes=2 * GIB)
    world.restart()
    same([(v["name"], v["protected"]) for v in world.volumes(fields=["name", "protected"])],
         [("new", True), ("www", False)])
    same(stays("new"), "quarry update --no-protect new")
    protect("new", False)
    world.kill()
    world.start()
    world.call("Volume.Remove", volume="new")


@test
def it_is_judged_when_it_is_the_removals_turn():
    begin("db")
    gate = Gate()
    world.worker.rule("volume_own", gate)
    owner = world.begin("Volume.Update", volume="db", mode=0o700)
    gate.wait()
    protection = world.begin("Volume.Update", volume="db", protected=True)
    protection.wait_until_read()
    removals = [world.begin("Volume.Remove", volume="db", lazy=lazy) for lazy in (False, True)]
    for call in removals:
        call.wait_until_read()
    gate.release()
    for call in (owner, protection):
        call.result()
    for call in removals:
        try:
            same(call.result(), "a failure")
        except Failure as failure:
            contains(failure.message, "is protected")
    protect("db", False)
    gate = Gate()  # and the other way round
    world.worker.rule("volume_remove", gate)
    removal = world.begin("Volume.Remove", volume="db")
    gate.wait()
    late = world.begin("Volume.Update", volume="db", protected=True)
    late.wait_until_read()
    gate.release()
    removal.result()
    try:
        same(late.result(), "a failure")
    except Failure as failure:
        same(failure.kind, "NoSuchVolume")
    same(world.names(), [])
    world.check_consistent()


@test
def what_waits_to_be_removed_is_protected_no_more():
    begin("db")
    uuid = world.inspect("db")["uuid"]
    world.call("Volume.Mount", volume="db")
    world.worker.users[uuid] = "used by sleep (pid 7)"
    world.call("Volume.Remove", volume="db", lazy=True)
    for _ in range(2):
        same(world.inspect("db")["state"], "removing")
        contains(world.refused("VolumeBroken", "Volume.Update", volume="db", protected=True).message, "is removing")
        world.restart()
    del world.worker.users[uuid]
    eventually(lambda: world.names() == [], "it goes", 30)


@test
def its_snapshots_and_clones_are_not_and_it_can_go_back():
    begin("db", protected=True)
    world.call("Volume.Snapshot", volumes=["db@one"])
    same("protected" in world.inspect("db@one"), False)
    failure = world.refused("NotSupported", "Volume.Update", volume="db@one", protected=True)
    same(failure.parameters["hint"], "quarry hold db@one")
    same(world.call("Volume.Clone", volume="db@one", name="try")["volume"]["protected"], False)
    kept = world.call("Volume.Rollback", volume="db@one")["snapshot"]["name"]
    same(world.inspect("db")["protected"], True, "after a rollback")
    world.call("Volume.Remove", volume=kept)
    world.call("Volume.Rollback", volume="db@one", discardCurrent=True)
    world.call("Volume.Remove", volume="try")
    world.restart()
    stays("db")
    world.call("Volume.Remove", volume="db@one")
    same(world.names(type="all"), ["db"])
    world.check_consistent()


@test
def a_broken_one_can_be_unprotected():
    begin()
    world.worker.rule("volume_create", fail("Failed", "no", undoFailed=True))
    world.worker.rule("volume_remove", fail("Failed", "not this one"))
    world.refused("Failed", "Volume.Create", volume="db", sizeBytes=GIB, protected=True)
    same((world.inspect("db")["state"], world.inspect("db")["protected"]), ("broken", True))
    stays("db")
    world.refused("VolumeBroken", "Volume.Update", volume="db", protected=False, labels=["a=1"])
    same(protect("db", False), False)
    world.restart()
    same(world.inspect("db")["state"], "broken")
    world.call("Volume.Remove", volume="db")
    world.check_consistent()


@test
def a_create_that_is_repeated_is_compared():
    begin("db", protected=True)
    same(world.call("Volume.Create", volume="db", sizeBytes=GIB, ifAbsent=True, protected=True)["existed"], True)
    contains(world.refused("VolumeExists", "Volume.Create", volume="db", sizeBytes=GIB, ifAbsent=True).message,
             "different protection: on, asked for off")


@test
def a_held_snapshot_is_not_removed_as_one_with_snapshots():
    begin("db")
    world.call("Volume.Snapshot", volumes=["db@one"])
    world.call("Volume.Hold", volume="db@one")
    for lazy in (False, True):
        contains(world.refused("VolumeBusy", "Volume.Remove", volume="db@one", snapshots=True, lazy=lazy).message,
                 "is held")
    same(world.names(type="all"), ["db", "db@one"])


if __name__ == "__main__":
    sys.exit(main())
