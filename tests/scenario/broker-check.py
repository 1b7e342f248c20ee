#!/usr/bin/python3
"""Metadata of pools, checked and repaired. TAP on stdout."""

import sys

from tap import contains, eventually, same, test
from world import main
from worker import Gate, die_after, die_before, fail

world = None  # what the test that runs now uses

DAMAGE = "bad checksum in superblock"


def damaged(name="default"):
    pool = world.worker.add_pool(name)
    world.worker.damaged[pool] = DAMAGE
    return pool


def state(name="default"):
    return world.call("Pool.Inspect", name=name)["pool"]["state"]


def check(name="default", **parameters):
    return world.call("Pool.Check", name=name, **parameters)


@test
def a_pool_in_use_is_checked_and_nobody_is_stopped():
    pool = world.worker.add_pool()
    world.start()
    world.create("db")
    world.call("Volume.Mount", volume="db")
    same(check(), {"sound": True}, "sound")
    world.worker.damaged[pool] = DAMAGE
    same(check(), {"sound": False, "damage": DAMAGE}, "damaged")
    same((state(), world.worker.count("pool_repair")), ("active", 0), "nothing is done about it")


@test
def a_damaged_pool_stays_away_says_what_to_do_and_comes_back_repaired():
    damaged()
    world.worker.add_pool("other")
    world.start()
    world.create("other:db")
    pool = world.call("Pool.Inspect", name="default")["pool"]
    same((pool["state"], pool["advice"]), ("unavailable", "quarry pool check default --repair"), "the pool")
    failure = world.refused("PoolUnavailable", "Volume.Create", volume="db", sizeBytes=1 << 30)
    contains(failure.message, DAMAGE)
    same(failure.parameters["hint"], "quarry pool check default --repair", "the hint")
    hints = [f["hint"] for f in world.call("Doctor.Examine")["findings"] if f["object"] == "default"]
    same(hints, ["quarry pool check default --repair"], "what the doctor says")
    same(check(), {"sound": False, "damage": DAMAGE}, "it is looked at")
    same(state(), "unavailable", "and stays away")
    same(check(repair=True), {"sound": True, "damage": DAMAGE, "keptMetadata": "vg/old"}, "it is repaired")
    pool = world.call("Pool.Inspect", name="default")["pool"]
    same((pool["state"], pool.get("advice")), ("active", None), "and is back")
    world.create("new")
    contains(world.log_text(), "vg/old")
    same(check(repair=True), {"sound": True}, "again: nothing to repair")
    same(state(), "active", "and it is open again")
    world.check_consistent()


def removals():
    return [job for verb, job, _ in world.worker.jobs if verb == "volume_remove"]


@test
def what_was_cut_short_is_gone_on_with_behind_a_repair():
    world.worker.add_pool()
    world.start()
    for name in ("one", "two"):
        world.create(name)
    eventually(lambda: world.worker.templates, "there is a template")
    world.worker.rule("volume_remove", fail("Failed"), after=2)
    for name in ("one", "two"):
        world.call("Volume.Remove", volume=name)
    eventually(lambda: len(removals()) == 3, "with the last volume the template goes, and that fails")
    world.create("three")
    world.worker.rule("volume_remove", fail("Failed"))
    world.refused("Failed", "Volume.Remove", volume="three")
    same(check(repair=True), {"sound": True}, "it is repaired")
    eventually(lambda: not world.worker.thin, "nothing is left")
    same((world.names(), world.worker.count("pool_repair")), ([], 1), "once")
    same(state(), "active", "it is open")


@test
def what_cannot_be_repaired_stays_as_it_was():
    damaged()
    world.start()
    world.worker.rule("pool_repair", fail("NoSpace", "no room", hint="lvremove vg/old"))
    same(world.refused("NoSpace", "Pool.Check", name="default", repair=True).parameters["hint"], "lvremove vg/old")
    pool = world.call("Pool.Inspect", name="default")["pool"]
    same((pool["state"], pool["advice"]), ("unavailable", "quarry pool check default --repair"), "the pool")


@test
def a_sound_pool_comes_back_with_its_volumes_when_the_repair_fails():
    world.worker.add_pool()
    world.start()
    world.create("db")
    world.worker.rule("pool_repair", fail("Failed"))
    world.refused("Failed", "Pool.Check", name="default", repair=True)
    same((state(), world.names()), ("active", ["db"]), "as before")
    world.check_consistent()


@test
def a_worker_that_dies_is_followed_by_another_that_goes_on():
    for rule in die_before, die_after:
        pool = damaged() if not world.worker.pools else next(iter(world.worker.pools))
        if not world.worker.jobs:
            world.start()
        world.worker.damaged[pool] = DAMAGE
        world.worker.rule("pool_repair", rule)
        same(check(repair=True)["sound"], True, "sound")
        same(state(), "active", "and open")


@test
def a_repair_needs_the_pool_for_itself():
    world.worker.add_pool()
    world.start()
    world.create("db")
    world.call("Volume.Mount", volume="db")
    world.refused("PoolBusy", "Pool.Check", name="default", repair=True)
    same(state(), "active", "it stays open")
    world.call("Volume.Unmount", volume="db")
    gate = Gate()
    world.worker.rule("pool_repair", gate)
    repairing = world.begin("Pool.Check", name="default", repair=True)
    gate.wait()
    world.refused("PoolBusy", "Volume.Mount", volume="db")
    world.refused("PoolBusy", "Pool.Check", name="default")
    gate.release()
    same(repairing.result(), {"sound": True}, "nothing to repair")
    world.call("Volume.Mount", volume="db")
    eventually(lambda: state() == "active", "it is open")


if __name__ == "__main__":
    sys.exit(main())
