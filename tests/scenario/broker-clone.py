#!/usr/bin/python3
"""Clones and rollbacks: what is left of one that fails, and after a restart. TAP on stdout."""

import sys

from tap import contains, eventually, same, test
from world import GIB, Failure, main
from worker import Gate, die_after, die_before, fail

world = None  # what the test that runs now uses


def begin():
    world.worker.add_pool()
    world.start()
    world.create("db")
    world.call("Volume.Snapshot", volumes=["db@s"])


def rollback(**parameters):
    return world.call("Volume.Rollback", volume="db@s", **parameters)


def snapshots():
    return world.names(type="snapshot")


def thin_devices():
    return len(world.worker.thin)


def at_rest(n):
    eventually(lambda: thin_devices() == n, f"{n} thin devices")


@test
def a_clone_that_fails_leaves_nothing():
    begin()
    for what, rule, kind in (("fails", fail("WrongKey", "no"), "WrongKey"), ("dies before", die_before, "WorkerDied"),
                             ("dies after", die_after, "WorkerDied")):
        world.worker.rule("volume_clone", rule)
        world.refused(kind, "Volume.Clone", volume="db@s", name="new")
        same((world.names(), thin_devices()), (["db"], 2), what)
    same(world.call("Volume.Clone", volume="db@s", name="new")["volume"]["name"], "new")
    world.refused("VolumeExists", "Volume.Clone", volume="db@s", name="new")
    world.check_consistent()


@test
def a_create_does_not_get_a_clone():
    begin()
    gate = Gate()
    world.worker.rule("volume_clone", gate)
    clone = world.begin("Volume.Clone", volume="db@s", name="new")
    gate.wait()
    for parameters in ({}, {"ifAbsent": True}):
        contains(world.refused("VolumeExists", "Volume.Create", volume="new", sizeBytes=GIB, **parameters).message, "clone")
    gate.release()
    clone.result()
    world.check_consistent()


@test
def a_snapshot_that_is_cloned_stays_until_then():
    begin()
    gate = Gate()
    world.worker.rule("volume_clone", gate)
    clone = world.begin("Volume.Clone", volume="db@s", name="new")
    gate.wait()
    removal = world.begin("Volume.Remove", volume="db@s")
    late = world.begin("Volume.Clone", volume="db@s", name="late")
    gate.release()
    clone.result()
    removal.result()
    try:
        late.result()
    except Exception as failure:  # noqa: BLE001 - begun before the snapshot went, or behind it
        contains(str(failure), "NoSuchVolume")
    same(snapshots(), [])
    world.check_consistent()


@test
def a_clone_waits_for_what_is_being_removed():
    begin()
    gate = Gate()
    world.worker.rule("volume_remove", gate)
    removal = world.begin("Volume.Remove", volume="db@s")
    gate.wait()
    late = world.begin("Volume.Clone", volume="db@s", name="late")
    eventually(lambda: "late" in world.names(), "the clone to wait")
    gate.release()
    removal.result()
    try:
        raise AssertionError(f"what is gone was cloned: {late.result()}")
    except Failure as failure:
        contains(failure.name, "NoSuchVolume")
    same((world.names(), snapshots()), (["db"], []))
    world.check_consistent()


@test
def a_rollback_that_fails_leaves_the_volume_as_it_was():
    begin()
    for what, rule, kind in (("fails", fail("NoSpace", "full"), "NoSpace"),
                             ("could not undo", fail("Failed", "no", undoFailed=True), "Failed")):
        world.worker.rule("volume_rollback", rule)
        world.refused(kind, "Volume.Rollback", volume="db@s")
        same((snapshots(), thin_devices()), (["db@s"], 2), what)
    world.worker.rule("volume_rollback", die_after)  # what may be repeated is
    kept = rollback()["snapshot"]["name"]
    same((snapshots(), thin_devices()), (sorted([kept, "db@s"]), 3))
    world.call("Volume.Mount", volume=kept, readOnly=True)
    world.call("Volume.Unmount", volume=kept)
    world.restart()
    same(snapshots(), sorted([kept, "db@s"]))
    world.check_consistent()


@test
def what_is_discarded_goes_behind_the_answer_or_with_the_next_start():
    begin()
    same("snapshot" in rollback(discardCurrent=True), False)
    at_rest(2)
    world.worker.rule("volume_drop_spare", fail("Failed", "not yet"))
    rollback(discardCurrent=True)
    eventually(lambda: world.worker.count("volume_drop_spare") == 2, "the second try")
    same(thin_devices(), 3)
    rollback(discardCurrent=True)  # gets rid of it first
    at_rest(2)
    world.worker.rule("volume_drop_spare", fail("Failed", "not yet"))
    rollback(discardCurrent=True)
    eventually(lambda: world.worker.count("volume_drop_spare") == 5, "the next")
    world.restart()
    at_rest(2)
    world.check_consistent()


@test
def a_restart_in_the_middle_of_a_rollback_goes_back():
    begin()
    gate = Gate()
    world.worker.rule("volume_rollback", gate)
    world.begin("Volume.Rollback", volume="db@s")
    gate.wait()
    world.kill()
    gate.release()
    world.start()
    at_rest(2)
    same(snapshots(), ["db@s"])
    eventually(lambda: "removal of a spare thin device by quarryd done" in world.log_text(), "its row is written, too")
    world.check_consistent()


@test
def what_is_not_known_is_not_discarded():
    begin()
    for name in ("r", "t"):
        world.call("Volume.Snapshot", volumes=[f"db@{name}"])
    before = world.worker.count("volume_rollback")
    failure = world.refused("NotSupported", "Volume.Rollback", volume="db@s", discardCurrent=True, known=["db@r", "db@t"])
    contains(failure.message, "db is not as it was any more")
    same(world.worker.count("volume_diff"), 2, "it was compared with both")
    same([world.worker.count("volume_rollback") - before, world.names(type="all")], [0, ["db", "db@r", "db@s", "db@t"]])
    world.worker.ranges = 0
    held = Gate()
    world.worker.rule("volume_diff", held)
    rollback = world.begin("Volume.Rollback", volume="db@s", discardCurrent=True, known=["db@r", "db@t"])
    held.wait()
    mount = world.begin("Volume.Mount", volume="db")  # who comes now comes behind it
    held.release()
    same("snapshot" in rollback.result(), False)
    mount.result()
    same([j["source"]["name"] for v, j, _ in world.worker.jobs if v == "volume_rollback"][-1], "db@s")
    same(world.names(type="all"), ["db", "db@r", "db@s", "db@t"])
    world.call("Volume.Unmount", volume="db")
    world.create("other")
    world.call("Volume.Snapshot", volumes=["other@x"])
    for known, more in ((["other@x"], {"discardCurrent": True}), (["db@r"], {}), (["db"], {"discardCurrent": True})):
        world.refused("BadRequest", "Volume.Rollback", volume="db@s", known=known, **more)
    world.check_consistent()


if __name__ == "__main__":
    sys.exit(main())
