#!/usr/bin/python3
"""What volumes have for themselves, and comparing them. TAP on stdout."""

import sys
import time

from tap import contains, eventually, same, test
from world import GIB, MIB, Call, Failure, main
from worker import Gate, die_before, fail

world = None  # what the test that runs now uses


def looks():
    return world.worker.count("pool_exclusive")


def snapshot(*names):
    return [s["name"] for s in world.call("Volume.Snapshot", volumes=list(names))["snapshots"]]


@test
def inspect_waits_for_what_a_volume_has_for_itself_and_list_does_not():
    world.worker.add_pool()
    world.start()
    world.create("db")
    seen = world.inspect("db")
    same((seen["usedBytes"], seen["exclusiveBytes"] // MIB), (3 * MIB, 1), "at once")
    assert seen["exclusiveAgeSeconds"] < 10, seen
    same(looks(), 1, "one look")
    time.sleep(1.1)
    same(world.inspect("db")["exclusiveAgeSeconds"] >= 1, True, "it grows old")
    world.volumes()
    same(looks(), 1, "and is not looked at again within a minute")
    gate = Gate()
    world.worker.rule("pool_exclusive", gate)
    world.create("new")
    begun = time.monotonic()
    same("exclusiveBytes" in world.inspect("new"), False, "nothing is known of a new one while the pool stalls")
    same(0.4 < time.monotonic() - begun < 5, True, "which is waited for half a second")
    same(world.inspect("db")["exclusiveBytes"] // MIB, 1, "of the other it is")
    world.inspect("new")
    same(looks(), 2, "one at a time")
    gate.release()
    eventually(lambda: "exclusiveBytes" in world.inspect("new"), "it arrives")


@test
def a_look_that_took_long_is_not_repeated_soon():
    world.worker.add_pool()
    world.start()
    world.create("db")
    gate = Gate()
    world.worker.rule("pool_exclusive", gate)
    world.inspect("db")
    time.sleep(0.6)
    gate.release()
    eventually(lambda: "exclusiveBytes" in world.inspect("db"), "it arrives")
    world.create("new")
    time.sleep(1)
    same("exclusiveBytes" in world.inspect("new"), False, "ten times what it took is not over")
    same(looks(), 1, "so nobody looks")


@test
def what_fails_leaves_what_was_seen():
    world.worker.add_pool()
    world.start()
    world.create("db")
    was = world.inspect("db")["exclusiveBytes"]
    world.worker.rule("pool_exclusive", fail("NoSpace", "it is full"))
    world.create("new")
    time.sleep(0.5)
    same("exclusiveBytes" in world.inspect("new"), False, "nothing is made up")
    same(world.inspect("db")["exclusiveBytes"], was, "what was seen stays")
    world.worker.rule("pool_exclusive", die_before)
    time.sleep(1)
    world.inspect("new")
    time.sleep(1)
    eventually(lambda: "exclusiveBytes" in world.inspect("new"), "and it is looked at again")


@test
def two_are_compared():
    world.worker.add_pool()
    world.worker.add_pool("other")
    world.start()
    world.create("db")
    world.create("fs", filesystem="xfs")
    world.create("vault", keySource="host")
    world.create("other:far")
    snapshot("db@a", "vault@a")
    snapshot("db@b")
    found = world.call("Volume.Diff", **{"from": "db@a", "to": "db@b"})
    same(found, {"ranges": [{"offsetBytes": 0, "lengthBytes": 65536}, {"offsetBytes": 131072, "lengthBytes": 65536}],
                 "totalBytes": 131072, "rangeCount": 2, "chunkSizeBytes": 65536, "dataOffsetBytes": 0,
                 "fromSizeBytes": GIB, "toSizeBytes": GIB, "live": False}, "two snapshots")
    same(world.call("Volume.Diff", **{"from": "db@a", "to": "db"})["live"], True, "with a volume")
    found = world.call("Volume.Diff", **{"from": "vault@a", "to": "vault", "totalOnly": True})
    same(("ranges" in found, found["totalBytes"], found["dataOffsetBytes"], found["toSizeBytes"]),
         (False, 131072, 4 * MIB, GIB + 4 * MIB), "encrypted, the total only")
    for other, kind, words in (("other:far", "NotSupported", "in pool other"), ("fs", "NotSupported", "one volume"),
                               ("vault", "NotSupported", "one volume"), ("none", "NoSuchVolume", "none"),
                               ("db@none", "NoSuchVolume", "none")):
        contains(world.refused(kind, "Volume.Diff", **{"from": "db@a", "to": other}).message, words)
        contains(world.refused(kind, "Volume.Diff", **{"from": other, "to": "db@a"}).message, words)
    same(world.worker.count("volume_diff"), 3, "no worker is asked what is refused")


@test
def many_ranges_fit_into_one_answer():
    world.worker.add_pool()
    world.start()
    world.create("db")
    snapshot("db@a")
    world.worker.ranges = 200000
    judge, Call.judge = Call.judge, None  # which takes its time with so many
    try:
        found = world.call("Volume.Diff", timeout=60, **{"from": "db@a", "to": "db"})
    finally:
        Call.judge = judge
    same((len(found["ranges"]), found["rangeCount"]), (200000, 200000), "all of them")
    same(found["ranges"][-1], {"offsetBytes": 199999 * 131072, "lengthBytes": 65536}, "up to the last")


@test
def one_that_is_removed_meanwhile_is_not_told_about():
    world.worker.add_pool()
    world.start()
    world.create("db")
    snapshot("db@a")
    gate = Gate()
    world.worker.rule("volume_diff", gate)
    call = world.begin("Volume.Diff", **{"from": "db@a", "to": "db"})
    gate.wait()
    second = world.begin("Volume.Diff", **{"from": "db@a", "to": "db"})
    world.refused("PoolBusy", "Pool.Export", name="default")
    world.call("Volume.Remove", volume="db@a")
    gate.release()
    for answer in (call, second):
        try:
            raise AssertionError(f"it was answered: {answer.result()}")
        except Failure as failure:
            same(failure.name, "io.quarry.Volume.NoSuchVolume", "the kind")
            contains(failure.message, "meanwhile")
    same(world.worker.count("volume_diff"), 1, "the one that waited was not begun")


if __name__ == "__main__":
    sys.exit(main())
