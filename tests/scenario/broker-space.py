#!/usr/bin/env python3
"""What the broker does as pools fill: extends, stops, relieves, lets go."""

import sys

from tap import eventually, same, test
from world import GIB, MIB, main
from worker import Gate

world = None  # what the test that runs now uses


def mounted(*names):
    """Volumes by name: their UUIDs."""
    uuids = {}
    for name in names:
        uuids[name] = world.create(name, 50 * GIB)["uuid"]
        world.call("Volume.Mount", volume=name)
    return uuids


def watched(**pool):
    uuid = world.worker.add_pool(**pool)
    world.start()
    eventually(lambda: world.worker.watchers, "the pools are watched")
    return uuid


def limits():
    return [(j["volume"]["name"], j["stopped"]) for v, j, _ in world.worker.jobs if v == "volume_limit"]


def space():
    return world.pool()["space"]


@test
def the_largest_growers_are_stopped_first_then_everybody():
    pool = watched(size=10 * GIB)
    uuids = mounted("db", "log", "www")
    used = {uuids["db"]: GIB, uuids["log"]: GIB, uuids["www"]: GIB}
    world.worker.report(pool, 700 * MIB, used, dirtyBytes=300 * MIB)
    used[uuids["log"]] += 3 * GIB
    used[uuids["db"]] += 100 * MIB
    world.worker.report(pool, 700 * MIB, used, dirtyBytes=300 * MIB)
    eventually(lambda: limits() == [("log", True)], "the largest grower is stopped")
    eventually(lambda: world.pool()["space"] == "stopped", "the pool says so")
    world.worker.report(pool, 200 * MIB, used)
    eventually(lambda: sorted(limits()) == [("db", True), ("log", True), ("www", True)], "everybody is stopped")
    eventually(lambda: all(v["stopped"] for v in world.volumes()), "and listed so")
    same(world.worker.count("pool_relieve"), 0, "the reserve is not touched")
    assert "make space: quarry pool extend default" in world.log_text()


@test
def what_is_removed_lazily_is_stopped_while_it_is_used():
    pool = watched(size=10 * GIB)
    uuids = mounted("db", "gone")
    world.worker.users[uuids["gone"]] = "a container"
    world.call("Volume.Remove", volume="gone", lazy=True)
    world.worker.report(pool, 100 * MIB, {u: GIB for u in uuids.values()})
    eventually(lambda: sorted(limits()) == [("db", True), ("gone", True)], "both are stopped")
    world.worker.users.clear()
    world.ends_cleanly = False


@test
def volumes_come_back_when_space_was_made():
    pool = watched(size=10 * GIB)
    uuids = mounted("db", "www")
    world.worker.report(pool, 100 * MIB, {u: GIB for u in uuids.values()})
    eventually(lambda: len(limits()) == 2, "both are stopped")
    eventually(lambda: all(v["stopped"] for v in world.volumes()), "and listed so")
    world.worker.report(pool, 150 * MIB)
    world.worker.report(pool, 3 * GIB)
    eventually(lambda: sorted(limits()[2:]) == [("db", False), ("www", False)], "both get space again")
    eventually(lambda: not any(v["stopped"] for v in world.volumes()), "and are listed so")
    eventually(lambda: space() == "ok", "the pool says so")


@test
def a_volume_that_is_mounted_in_a_full_pool_is_stopped_from_the_start():
    pool = watched(size=10 * GIB)
    mounted("db")
    world.create("late", 50 * GIB)
    world.worker.report(pool, 100 * MIB)
    eventually(lambda: limits(), "it is stopped")
    world.call("Volume.Mount", volume="late")
    same([j["stopped"] for v, j, _ in world.worker.jobs if v == "volume_mount"], [False, True], "told to the worker")
    assert world.inspect("late")["stopped"]


@test
def a_pool_that_ran_full_gets_its_reserve_and_its_filesystems_are_checked():
    pool = watched(size=10 * GIB)
    mounted("db")
    world.worker.report(pool, 0, full=True)
    eventually(lambda: world.worker.count("pool_relieve") == 1, "the reserve is given")
    eventually(lambda: limits() == [("db", True)], "and nobody gets more")
    same(space(), "full", "the pool says so")
    world.worker.report(pool, 100 * MIB, relieved=True)
    world.worker.report(pool, 5 * GIB, relieved=True)
    eventually(lambda: limits()[-1] == ("db", False), "it is let go, and checked by that")
    same(world.worker.count("pool_relieve"), 1, "the reserve is given once")


@test
def a_pool_with_room_is_extended_and_nobody_is_stopped():
    pool = watched(size=10 * GIB, roomBytes=100 * GIB)
    world.worker.free = 100 * GIB
    mounted("db")
    world.worker.report(pool, 3 * GIB)
    same(world.worker.count("pool_extend"), 0, "not before the threshold")
    world.worker.report(pool, GIB)
    eventually(lambda: world.worker.count("pool_extend") == 1, "it is extended")
    growth = next(j["growth"] for v, j, _ in world.worker.jobs if v == "pool_extend")
    assert growth["dataBytes"] >= 2 * GIB - 100 * MIB, growth
    eventually(lambda: world.pool()["dataSizeBytes"] > 11 * GIB, "it is larger")
    same(limits(), [], "and nobody was stopped")


@test
def a_pool_that_cannot_be_extended_is_not_waited_for():
    pool = watched(size=10 * GIB, roomBytes=100 * GIB)
    mounted("db")
    world.worker.report(pool, 100 * MIB)
    eventually(lambda: world.worker.count("pool_extend") == 1, "it is tried")
    eventually(lambda: world.pool()["dataSizeBytes"] == 10 * GIB and world.worker.running == 0, "in vain")
    world.worker.report(pool, 99 * MIB)
    eventually(lambda: limits() == [("db", True)], "then the writers are stopped")
    for left in range(98, 90, -1):
        world.worker.report(pool, left * MIB)
    eventually(lambda: world.pool()["dataUsedBytes"] == 10 * GIB - 91 * MIB, "all is seen")
    assert world.worker.count("pool_extend") <= 2, "it is not tried all the time"


@test
def maps_that_fill_are_extended():
    pool = watched(size=10 * GIB, roomBytes=10 * GIB)
    world.worker.free = 10 * GIB
    world.worker.report(pool, 9 * GIB, metadataUsedBytes=60 * MIB)
    eventually(lambda: world.worker.count("pool_extend") == 1, "they are")
    growth = next(j["growth"] for v, j, _ in world.worker.jobs if v == "pool_extend")
    same((growth["dataBytes"], growth["metadataBytes"]), (0, 64 * MIB), "by as much as there is")


@test
def nothing_is_extended_when_that_is_turned_off():
    world.configure("[Pool]\nAutoExtendThreshold=100\n")
    pool = watched(size=10 * GIB, roomBytes=100 * GIB)
    world.worker.free = 100 * GIB
    mounted("db")
    world.worker.report(pool, 100 * MIB)
    eventually(lambda: limits() == [("db", True)], "the writers are stopped")
    same(world.worker.count("pool_extend"), 0, "and nothing extended")


@test
def a_restart_takes_over_what_was_stopped():
    pool = watched(size=10 * GIB)
    mounted("db")
    world.worker.report(pool, 100 * MIB)
    eventually(lambda: limits() == [("db", True)], "stopped")
    world.kill()
    eventually(lambda: not world.worker.watchers, "whom nobody hears watches no more")
    world.start()
    eventually(lambda: world.worker.watchers, "the pools are watched again")
    eventually(lambda: space() == "stopped", "the pool is stopped as before")
    assert world.inspect("db")["stopped"]
    world.worker.report(pool, 5 * GIB)
    eventually(lambda: limits()[-1] == ("db", False), "and let go by the new one")


@test
def a_watcher_that_dies_is_followed_by_another():
    pool = watched(size=10 * GIB)
    mounted("db")
    for connection in list(world.worker.watchers):
        world.worker.watchers.remove(connection)
    eventually(lambda: world.worker.watchers, "another watches")
    world.worker.report(pool, 100 * MIB)
    eventually(lambda: limits() == [("db", True)], "and is listened to")


@test
def each_pool_has_a_watcher_of_its_own():
    silent = world.worker.add_pool("silent")
    pool = watched(size=10 * GIB)
    eventually(lambda: sorted(p for p, _ in world.worker.watchers) == sorted([silent, pool]), "one each")
    mounted("default:db")
    world.worker.report(pool, 100 * MIB)
    eventually(lambda: limits() == [("db", True)], "the other's is not waited for")
    world.call("Pool.Export", name="silent")
    eventually(lambda: [p for p, _ in world.worker.watchers] == [pool], "it ends with its pool")


@test
def the_watcher_takes_no_place_from_jobs():
    world.configure("[Jobs]\nWorkers=1\n")
    pool = watched(size=10 * GIB)
    mounted("db")
    world.worker.report(pool, 100 * MIB)
    eventually(lambda: limits() == [("db", True)], "stopped with one worker")


@test
def extending_is_for_administrators_and_says_one_thing():
    watched(size=10 * GIB)
    world.refused("BadRequest", "Pool.Extend", name="default")
    world.refused("BadRequest", "Pool.Extend", name="default", sizeBytes=GIB, devices=["/dev/vdb"])
    world.refused("BadRequest", "Pool.Extend", name="default", devices=["vdb"])
    world.refused("NoSuchPool", "Pool.Extend", name="other", sizeBytes=GIB)
    pool = world.call("Pool.Extend", name="default", devices=["/dev/vdb"])["pool"]
    same((pool["dataSizeBytes"], pool["devices"]), (60 * GIB, ["/dev/fake", "/dev/vdb"]), "the pool")


@test
def a_pool_is_not_taken_away_while_it_is_extended():
    watched(size=10 * GIB)
    gate = Gate()
    world.worker.rule("pool_extend", gate)
    extending = world.begin("Pool.Extend", name="default", devices=["/dev/vdb"])
    gate.wait()
    world.refused("PoolBusy", "Pool.Export", name="default")
    world.create("db")
    gate.release()
    same(extending.result()["pool"]["dataSizeBytes"], 60 * GIB, "extended")


@test
def trimming_says_what_came_back():
    watched(size=10 * GIB)
    world.create("db")
    same(world.call("Volume.Trim", volume="db"), {"freedBytes": MIB}, "the answer")
    world.create("raw", filesystem="none")
    world.refused("NotSupported", "Volume.Trim", volume="raw")


if __name__ == "__main__":
    sys.exit(main())
