#!/usr/bin/python3
"""Volumes that change: labels and owner, name, size; failing workers, and a quarryd that is killed. TAP on stdout."""

import errno
import sys

from tap import contains, eventually, same, test
from world import GIB, Failure, Gone, main, sealed
from worker import MIB, Gate, die_before, fail, first, last

world = None  # what the test that runs now uses


def begin(*volumes, **parameters):
    world.worker.add_pool()
    world.start()
    for name in volumes:
        world.create(name, **parameters)


def jobs(verb):
    return [job["volume"] for v, job, _ in world.worker.jobs if v == verb]


def after_kill(verb, hook, method, **parameters):
    """quarryd is killed while a job runs, and started again."""
    world.worker.rule(verb, hook(world.kill))
    try:
        world.call(method, **parameters)
    except (Gone, OSError):
        pass
    eventually(lambda: world.process is None, "quarryd is killed")
    world.start()


def size(name="v"):
    return world.inspect(name)["sizeBytes"]


@test
def labels_are_a_row_and_an_owner_is_a_job():
    begin("v", labels=["a=1", "b=2"])
    world.call("Volume.Update", volume="v", labels=["b=3", "c=4"], removeLabels=["a"])
    same(world.inspect("v")["labels"], {"b": "3", "c": "4"}, "labels")
    same(world.worker.count("volume_own"), 0, "jobs")
    volume = world.call("Volume.Update", volume="v", mode=0o700)["volume"]
    same((volume["mode"], volume["uid"]), (0o700, 0), "mode and owner")
    job = next(j for v, j, _ in world.worker.jobs if v == "volume_own")
    same((job["setMode"], job["setUid"]), (True, False), "what is to be set")
    world.worker.rule("volume_own", fail("Failed"))
    world.refused("Failed", "Volume.Update", volume="v", mode=0o755, labels=["x=1"])
    same((world.inspect("v")["mode"], world.inspect("v")["labels"]), (0o700, {"b": "3", "c": "4"}), "as before")
    same(world.refused("BadRequest", "Volume.Update", volume="v", mode=0o10000).parameters["field"], "mode", "field")
    world.restart()
    same((world.inspect("v")["mode"], world.inspect("v")["labels"]), (0o700, {"b": "3", "c": "4"}), "after a restart")


@test
def a_rename_that_fails_goes_back():
    begin("v", "w")
    world.call("Volume.Snapshot", volumes=["v@s"])
    world.call("Volume.Mount", volume="v@s", readOnly=True)
    world.refused("VolumeExists", "Volume.Rename", volume="v", name="w")
    world.refused("BadRequest", "Volume.Rename", volume="v", name="a@b")
    world.refused("NotSupported", "Volume.Rename", volume="v@s", name="x")
    same(world.call("Volume.Rename", volume="v", name="n")["volume"]["name"], "n", "name")
    same([(j["oldName"], j["name"]) for j in jobs("volume_rename")], [("v", "n"), ("v@s", "n@s")], "what moves")
    same(world.names(type="all"), ["n", "n@s", "w"], "names")
    world.worker.rule("volume_rename", fail("VolumeBusy"), name="x@s")
    world.refused("VolumeBusy", "Volume.Rename", volume="n", name="x")
    same([(j["oldName"], j["name"]) for j in jobs("volume_rename")[2:]],
         [("n", "x"), ("n@s", "x@s"), ("x", "n"), ("x@s", "n@s")], "what moves, and back")
    world.restart()
    same(world.names(type="all"), ["n", "n@s", "w"], "names")
    same(len(jobs("volume_rename")), 6, "nothing is left to be done")


@test
def a_name_is_kept_until_its_rename_has_come_to_its_end():
    begin("v")
    gate = Gate()

    def waits_and_fails(job, work):
        gate(job, lambda: None)
        fail("VolumeBusy", "no")(job, work)
    world.worker.rule("volume_rename", waits_and_fails)
    rename = world.begin("Volume.Rename", volume="v", name="w")
    gate.wait()
    contains(world.refused("VolumeExists", "Volume.Create", volume="v", sizeBytes=GIB).message, "being renamed to w")
    world.create("x")
    world.refused("VolumeExists", "Volume.Rename", volume="x", name="v")
    gate.release()
    try:
        same(rename.result(), "a failure")
    except Failure as failure:
        same(failure.kind, "VolumeBusy")
    same(world.names(), ["v", "x"])
    world.call("Volume.Rename", volume="v", name="w")
    world.create("v")
    world.check_consistent()


@test
def of_two_renames_at_once_one_says_that_it_came_too_late():
    begin("v")
    gate = Gate()
    world.worker.rule("volume_own", gate)
    update = world.begin("Volume.Update", volume="v", mode=0o700)
    gate.wait()
    waiting = []
    for name in ("a", "a", "b"):
        waiting.append(world.begin("Volume.Rename", volume="v", name=name))
        world.names()  # behind which that one is known
    one, again, other = waiting
    gate.release()
    update.result()
    same((one.result()["volume"]["name"], again.result()["volume"]["name"]), ("a", "a"), "the same, twice")
    failure = other.failure()
    same((failure.kind, failure.message), ("NoSuchVolume", "volume v was renamed to a meanwhile"), "why")
    same(world.names(), ["a"], "names")
    world.check_consistent()


@test
def a_rename_is_gone_on_with():
    begin("v")
    for number, hook in enumerate((first, last)):
        after_kill("volume_rename", hook, "Volume.Rename", volume=f"v{number or ''}", name=f"v{number + 1}")
        eventually(lambda: world.names() == [f"v{number + 1}"] and len(jobs("volume_rename")) == 2 * number + 2,
                   "it goes on")
    world.worker.rule("volume_rename", die_before, times=2)
    world.call("Volume.Rename", volume="v2", name="v3")
    world.restart()
    same(world.names(), ["v3"], "names")
    world.check_consistent()


@test
def growing_is_all_or_nothing():
    begin("v")
    same(world.call("Volume.Resize", volume="v", addBytes=GIB)["volume"]["sizeBytes"], 2 * GIB, "size")
    same([(j["sizeBytes"], j["pendingSizeBytes"]) for j in jobs("volume_grow")], [(GIB, 2 * GIB)], "what is asked for")
    same(world.pool()["provisionedBytes"], 2 * GIB, "promised")
    world.worker.rule("volume_grow", fail("NoSpace"))
    world.refused("NoSpace", "Volume.Resize", volume="v", sizeBytes=3 * GIB)
    same((size(), world.pool()["provisionedBytes"]), (2 * GIB, 2 * GIB), "as before")
    world.call("Volume.Mount", volume="v")
    same(jobs("volume_mount")[-1].get("pendingSizeBytes"), None, "nothing is pending")
    contains(world.refused("NoSpace", "Volume.Resize", volume="v", sizeBytes=1 << 49).parameters["message"], "promise")
    for wrong in ({}, {"sizeBytes": GIB, "addBytes": GIB}, {"sizeBytes": 0}, {"subtractBytes": 2 * GIB},
                  {"sizeBytes": 1 << 60}):
        world.refused("BadRequest", "Volume.Resize", volume="v", **wrong)
    world.restart()
    same(size(), 2 * GIB, "size")


@test
def what_may_have_grown_is_gone_on_with():
    begin("v")
    for hook in (first, last):
        before = size()
        after_kill("volume_grow", hook, "Volume.Resize", volume="v", addBytes=GIB)
        eventually(lambda: size() == before + GIB, "it goes on")
    world.worker.rule("volume_grow", fail("Failed", undoFailed=True))
    world.refused("Failed", "Volume.Resize", volume="v", sizeBytes=5 * GIB)
    same((size(), world.pool()["provisionedBytes"]), (3 * GIB, 5 * GIB), "it may have grown")
    world.call("Volume.Snapshot", volumes=["v@s"])
    same(size("v@s"), 5 * GIB, "and so may what its snapshot holds")
    world.worker.rule("volume_grow", fail("Failed"))
    world.call("Volume.Mount", volume="v")
    same(jobs("volume_mount")[-1]["pendingSizeBytes"], 5 * GIB, "its device is opened so")
    same(size(), 3 * GIB, "it still does not grow")
    world.call("Volume.Unmount", volume="v")
    world.call("Volume.Mount", volume="v")
    same(size(), 5 * GIB, "it has grown when it was mounted")


@test
def a_growth_that_does_not_end_is_given_up():
    begin("v")
    world.worker.rule("volume_grow", fail("Failed", undoFailed=True), times=2)
    world.refused("Failed", "Volume.Resize", volume="v", sizeBytes=5 * GIB)
    contains(world.refused("Failed", "Volume.Resize", volume="v", sizeBytes=5 * GIB).parameters["hint"],
             "quarry resize v 1G")
    world.call("Volume.Snapshot", volumes=["v@s"])
    contains(world.refused("VolumeBusy", "Volume.Rollback", volume="v@s").parameters["hint"], "quarry resize v 1G")
    same(world.call("Volume.Resize", volume="v", sizeBytes=GIB)["volume"]["sizeBytes"], GIB, "as it was")
    same([(j["sizeBytes"], j["pendingSizeBytes"]) for j in jobs("volume_ungrow")], [(GIB, 5 * GIB)], "what is asked for")
    world.call("Volume.Remove", volume="v@s")
    same(world.pool()["provisionedBytes"], GIB, "promised")
    world.restart()
    same((size(), world.worker.count("volume_grow")), (GIB, 2), "and stays so")
    world.worker.rule("volume_grow", fail("Failed", undoFailed=True))
    world.refused("Failed", "Volume.Resize", volume="v", sizeBytes=2 * GIB)
    world.worker.rule("volume_ungrow", fail("Failed", "it has taken some", errorNumber=errno.EBUSY))
    world.call("Volume.Resize", volume="v", sizeBytes=GIB)
    same((size(), world.worker.count("volume_grow"), world.worker.count("volume_shrink")), (GIB, 4, 1),
         "what cannot be given up goes on, and shrinks then")


@test
def growing_takes_the_passphrase():
    begin()
    world.create("v", keySource="passphrase", keyFileDescriptor=0, fds=(sealed(b"secret"),))
    world.refused("KeyRequired", "Volume.Resize", volume="v", sizeBytes=2 * GIB)
    same((world.worker.count("volume_grow"), size()), (0, GIB), "nothing was begun")
    world.call("Volume.Resize", volume="v", sizeBytes=2 * GIB, keyFileDescriptor=0, fds=(sealed(b"secret"),))
    same([key for v, _, key in world.worker.jobs if v == "volume_grow"], [b"secret"], "what the worker got")


@test
def shrinking_takes_a_copy():
    begin("v")
    world.worker.rule("volume_shrink", fail("NoSpace"))
    world.refused("NoSpace", "Volume.Resize", volume="v", sizeBytes=512 * MIB)
    same((size(), world.worker.count("volume_drop_spare")), (GIB, 1), "as before, and the copy is gone")
    world.check_consistent()
    before = jobs("volume_create")[0]["thinId"]
    world.call("Volume.Resize", volume="v", subtractBytes=512 * MIB)
    same((size(), world.pool()["provisionedBytes"]), (512 * MIB, 512 * MIB), "size")
    world.call("Volume.Mount", volume="v")
    same(jobs("volume_mount")[-1]["thinId"] != before, True, "another thin device")
    world.call("Volume.Unmount", volume="v")
    world.check_consistent()
    for hook in (first, last):
        now = size()
        after_kill("volume_shrink", hook, "Volume.Resize", volume="v", subtractBytes=64 * MIB)
        eventually(lambda: len(world.worker.thin) == 1, "the copy is gone")
        same(size(), now, "as before")
        world.check_consistent()
    after_kill("volume_drop_spare", first, "Volume.Resize", volume="v", subtractBytes=64 * MIB)
    eventually(lambda: len(world.worker.thin) == 1, "what it was before is gone")
    same(size(), 448 * MIB, "it is smaller")
    world.refused("NoSpace", "Volume.Resize", volume="v", sizeBytes=MIB)
    world.create("x", filesystem="xfs")
    world.create("r", filesystem="none")
    for name in "xr":
        contains(world.refused("NotSupported", "Volume.Resize", volume=name, sizeBytes=512 * MIB).parameters["hint"],
                 "quarry create NAME --size 512M")


if __name__ == "__main__":
    sys.exit(main())
