#!/usr/bin/env python3
"""Tenants who may take only so much of a pool: when they are counted, what follows, and its end. TAP on stdout."""

import sys
import time

from tap import contains, eventually, same, test
from world import GIB, MIB, Call, Failure, as_user, main
from worker import Gate, fail

world = None  # what the test that runs now uses


def begin(left=30 * GIB, **limits):
    """A pool of 50G that is watched, tenant acme with a mounted volume, and what the watcher sees."""
    pool = world.worker.add_pool(size=50 * GIB)
    world.start()
    world.call("Tenant.Create", name="acme", **limits)
    world.create("acme/db", 20 * GIB)
    uuid = world.call("Volume.Mount", volume="acme/db") and world.inspect("acme/db")["uuid"]
    return lambda now, used=0: world.worker.report(pool, left - now, {uuid: used or 2 * MIB})


def counts():
    return world.worker.count("pool_union")


def tenant():
    return world.call("Tenant.Inspect", name="acme")["tenant"]


def limits():
    return [(j["volume"]["name"], j["stopped"]) for v, j, _ in world.worker.jobs if v == "volume_limit"]


def over(report, together=2 * GIB, now=2 * GIB):
    world.worker.together = together
    report(now, together)
    eventually(lambda: tenant().get("usedBytes") == together, "it is counted")


def refusals():
    found = []
    for method, parameters in (("Create", {"volume": "acme/new", "sizeBytes": GIB}),
                               ("Resize", {"volume": "acme/db", "addBytes": GIB}),
                               ("Snapshot", {"volumes": ["acme/db@late"]}),
                               ("Clone", {"volume": "acme/db@one", "name": "acme/copy"}),
                               ("Rollback", {"volume": "acme/db@one"})):
        try:
            world.call(f"Volume.{method}", **parameters)
        except Failure as failure:
            found.append(failure.kind)
            contains(failure.message, "acme", "1G", "2G")
            contains(failure.parameters["hint"], "--max-used")
    return found


@test
def who_takes_more_is_refused_stopped_and_comes_back():
    report = begin(maxUsedBytes=GIB)
    world.call("Volume.Snapshot", volumes=["acme/db@one"])
    world.create("other", GIB)
    world.call("Volume.Mount", volume="other")
    over(report)
    eventually(lambda: limits() == [("db", True)], "its writers are stopped, and no other's")
    eventually(lambda: world.inspect("acme/db")["stopped"], "which is listed")
    same((world.inspect("acme/db")["stoppedBy"], tenant()["stopped"]), ("tenant", True), "with the reason")
    same("stoppedBy" in world.inspect("other"), False, "others are not")
    contains(world.log_text(), "acme: the tenant uses 2G of pool default, and may use 1G")
    same(refusals(), ["QuotaExceeded"] * 5, "nothing that grows goes")
    world.create("default/fine")
    world.worker.together = GIB
    time.sleep(1.1)
    report(GIB, GIB)
    eventually(lambda: limits()[1:] == [("db", False)], "when it takes less they are let go")
    eventually(lambda: "stoppedBy" not in world.inspect("acme/db"), "and listed so")
    same(("stopped" in tenant(), tenant()["usedBytes"]), (False, GIB), "as is the tenant")
    world.create("acme/new", GIB)


@test
def nobody_is_counted_without_need():
    report = begin(maxUsedBytes=10 * GIB)
    world.call("Tenant.Create", name="beta")
    report(0)
    eventually(lambda: counts() == 1, "once, to know it")
    same(len(next(j for v, j, _ in world.worker.jobs if v == "pool_union")["thinIds"]), 1, "only what it owns")
    time.sleep(1.1)
    report(3 * GIB, 3 * GIB)
    report(9 * GIB, 9 * GIB)
    time.sleep(0.3)
    same(counts(), 1, "not while it cannot be above")
    report(11 * GIB, 11 * GIB)
    eventually(lambda: counts() == 2, "when it can be, it is")
    world.call("Tenant.Update", name="acme", removeLimits=["maxUsedBytes"])
    time.sleep(1.1)
    report(20 * GIB, 20 * GIB)
    time.sleep(0.3)
    same(("usedBytes" in tenant(), counts()), (False, 2), "nor without a limit")


@test
def a_limit_that_is_changed_holds_at_once():
    report = begin(maxUsedBytes=3 * GIB)
    over(report)
    same(limits(), [], "below it nobody is stopped")
    refusal = world.refused("BadRequest", "Tenant.Update", name="acme", maxUsedBytes=GIB)
    same(refusal.parameters["field"], "maxUsedBytes")
    world.worker.together = 4 * GIB
    time.sleep(1.1)
    report(4 * GIB, 4 * GIB)
    eventually(lambda: limits() == [("db", True)], "above it is")
    world.call("Tenant.Update", name="acme", maxUsedBytes=5 * GIB)
    eventually(lambda: limits()[1:] == [("db", False)], "a higher one lets it go")
    world.create("acme/new", GIB)
    same(tenant()["maxUsedBytes"], 5 * GIB, "and is kept")


@test
def it_is_refused_only_if_so_configured():
    world.configure("[Tenants]\nUsedLimitAction=refuse\n")
    report = begin(maxUsedBytes=GIB)
    world.call("Volume.Snapshot", volumes=["acme/db@one"])
    over(report)
    same(refusals(), ["QuotaExceeded"] * 5, "nothing that grows goes")
    report(2 * GIB, 2 * GIB)
    time.sleep(0.2)
    same((limits(), "stopped" in tenant()), ([], False), "and nobody is stopped")


def told(uid):
    """What this user is told of space."""
    def listed():
        events = Call(world.socket, "io.quarry.Event.List", {}).result()["events"]
        return [(e["tenant"], e["message"].split(":")[0]) for e in events if e["type"] == "space"]
    return as_user(uid, uid, [], listed)


@test
def its_members_are_told_and_no_others():
    world.configure("[Tenants]\nUsedLimitAction=refuse\n")
    report = begin(maxUsedBytes=GIB, users=[4001])
    world.call("Tenant.Create", name="beta", users=[4002])
    over(report)
    above = ("acme", "the tenant uses 2G of pool default, and may use 1G")
    eventually(lambda: told(4001) == str([above]), "an event says that it is above its limit")
    world.worker.together = GIB
    time.sleep(1.1)
    report(GIB, GIB)
    below = ("acme", "the tenant uses no more of pool default than it may")
    eventually(lambda: told(4001) == str([above, below]), "and that it is not any more")
    same((told(0), told(4002)), (str([above, below]), "[]"), "so it is to administrators, and to no other tenant")


@test
def what_is_mounted_meanwhile_is_stopped_from_the_start():
    report = begin(maxUsedBytes=GIB)
    world.create("acme/late", GIB)
    over(report)
    world.call("Volume.Mount", volume="acme/late")
    same([j["stopped"] for v, j, _ in world.worker.jobs if v == "volume_mount"], [False, True], "told to the worker")
    same(world.inspect("acme/late")["stoppedBy"], "tenant", "and listed")


@test
def a_restart_stops_nobody_else_and_lets_nobody_go_before_it_knows():
    report = begin(maxUsedBytes=GIB)
    over(report)
    eventually(lambda: limits() == [("db", True)], "stopped")
    world.kill()
    gate = Gate()
    world.worker.rule("pool_union", gate)
    eventually(lambda: not world.worker.watchers, "whom nobody hears watches no more")
    world.start()
    eventually(lambda: world.worker.watchers, "the pool is watched again")
    same((world.pool()["space"], world.inspect("acme/db")["stoppedBy"]), ("ok", "tenant"), "as before")
    report(2 * GIB, 2 * GIB)
    gate.wait()
    same(limits(), [("db", True)], "nobody is let go before it is counted")
    world.worker.together = MIB
    gate.release()
    eventually(lambda: limits()[1:] == [("db", False)], "then it is")


@test
def a_pool_that_has_space_again_lets_go_only_whose_tenant_may():
    report = begin(maxUsedBytes=GIB)
    world.create("other", GIB)
    world.call("Volume.Mount", volume="other")
    over(report)
    eventually(lambda: limits() == [("db", True)], "the tenant is stopped")
    report(30 * GIB - 100 * MIB, 2 * GIB)
    eventually(lambda: sorted(limits()) == [("db", True), ("other", True)], "so is everybody, by the pool")
    same(world.inspect("acme/db")["stoppedBy"], "pool", "which is the first reason then")
    report(2 * GIB, 2 * GIB)
    eventually(lambda: limits()[2:] == [("other", False)], "who may is let go")
    same(world.inspect("acme/db")["stoppedBy"], "tenant", "the tenant's is not")


@test
def a_count_that_fails_is_said_once_and_tried_again():
    report = begin(maxUsedBytes=GIB)
    world.worker.rule("pool_union", fail("NoSpace", "the metadata is nearly full"))
    world.worker.together = 2 * GIB
    report(2 * GIB, 2 * GIB)
    eventually(lambda: "cannot count what the tenant uses" in world.log_text(), "it is said")
    world.create("acme/new", GIB)
    time.sleep(3.1)
    report(3 * GIB, 2 * GIB)
    eventually(lambda: limits() == [("db", True)], "and the next one tells")


@test
def who_is_removed_and_made_anew_begins_with_nothing():
    begin_report = begin(maxUsedBytes=GIB)
    gate = Gate()
    world.worker.rule("pool_union", gate)
    world.worker.together = 5 * GIB
    begin_report(5 * GIB, 5 * GIB)
    gate.wait()
    world.call("Volume.Unmount", volume="acme/db")
    world.call("Volume.Remove", volume="acme/db")
    world.call("Tenant.Remove", name="acme")
    world.call("Tenant.Create", name="acme", maxUsedBytes=GIB)
    gate.release()
    eventually(lambda: world.worker.running == 0, "the count ends")
    world.create("acme/db", GIB)
    same("usedBytes" in tenant(), False, "it was another's")


@test
def nobody_puts_it_off_by_comparing():
    report = begin(maxUsedBytes=GIB)
    world.call("Volume.Snapshot", volumes=["acme/db@a"])
    gate = Gate()
    world.worker.rule("volume_diff", gate)
    calls = [world.begin("Volume.Diff", **{"from": "acme/db@a", "to": "acme/db"})]
    gate.wait()
    calls += [world.begin("Volume.Diff", **{"from": "acme/db@a", "to": "acme/db"}) for _ in range(5)]
    time.sleep(0.3)  # they wait
    report(2 * GIB, 2 * GIB)
    time.sleep(0.3)
    gate.release()
    for call in calls:
        call.result()
    same([v for v, _, _ in world.worker.jobs if v in ("volume_diff", "pool_union")][:3],
         ["volume_diff", "pool_union", "volume_diff"], "it is next")


if __name__ == "__main__":
    sys.exit(main())
