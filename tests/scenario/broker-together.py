#!/usr/bin/python3
"""Many callers at once, slow and hanging storage. TAP on stdout."""

import os
import sys
import threading
import time

from tap import contains, eventually, same, test
from world import GIB, SANITIZED, Call, Failure, connect_as, main
from worker import Gate, fail

world = None  # what the test that runs now uses


def begin(workers=4):
    world.configure(f"[Jobs]\nWorkers={workers}\n")
    world.worker.add_pool()
    world.start()


def arrived(*calls):
    """quarryd has read these calls, and had its turn with them."""
    for call in calls:
        call.wait_until_read()
    for _ in range(3):
        world.call("Pool.List")


def outcome(call):
    try:
        call.result()
        return "done"
    except Failure as failure:
        return failure.kind


def quick(what, call, limit=10):  # what hangs hangs for longer
    began = time.monotonic()
    result = call()
    took = time.monotonic() - began
    assert took < limit, f"{what} took {took:.2f} s"
    return result


# --- the same at once

@test
def the_same_create_many_times_at_once_is_one_job():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    calls = [world.begin_create("db", labels=["b=2", "a=1"]) for _ in range(4)]
    calls += [world.begin_create("default:default/db", GIB - 5, labels=["a=1", "b=2"], ifAbsent=True) for _ in range(4)]
    arrived(*calls)
    failure = world.refused("VolumeExists", "Volume.Create", volume="db", sizeBytes=2 * GIB, ifAbsent=True)
    contains(failure.message, "size: 1G, asked for 2G")
    same(world.inspect("db")["state"], "creating")
    gate.release()
    results = [call.result() for call in calls]
    same(len({str(r) for r in results}), 1)
    same((results[0]["existed"], results[0]["volume"]["state"]), (False, "ready"))
    same(world.worker.verbs("db"), ["volume_create"])


@test
def a_create_that_fails_fails_for_all_who_joined_it():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", lambda job, work: gate(job, lambda: fail("NoSpace", "full")(job, work)))
    calls = [world.begin_create("db") for _ in range(5)]
    mount = world.begin("Volume.Mount", volume="db")
    arrived(*calls, mount)
    gate.release()
    same([outcome(call) for call in calls], ["NoSpace"] * 5)
    same(outcome(mount), "NoSuchVolume")
    same(world.names(), [])


@test
def what_is_asked_of_one_volume_is_done_in_order():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    create = world.begin_create("db")
    arrived(create)
    mounts = [world.begin("Volume.Mount", volume="db") for _ in range(2)]
    arrived(*mounts)
    unmount = world.begin("Volume.Unmount", volume="db")
    arrived(unmount)
    removes = [world.begin("Volume.Remove", volume="db") for _ in range(3)]
    arrived(*removes)
    late = world.begin("Volume.Mount", volume="db")
    arrived(late)
    same(world.worker.verbs("db"), ["volume_create"])
    gate.release()
    create.result()
    same([m.result() for m in mounts], [{"path": "/run/quarry/mnt/default/db"}] * 2)
    unmount.result()
    removes[0].result()
    same([outcome(call) for call in (*removes[1:], late)], ["NoSuchVolume"] * 3)
    same(world.worker.verbs("db"), ["volume_create", "volume_mount", "volume_mount", "volume_umount", "volume_claim",
                                    "volume_remove"])
    world.check_consistent()


@test
def what_waits_behind_a_failure_goes_on():
    begin()
    world.create("db")
    gate = Gate()
    world.worker.rule("volume_mount", lambda job, work: gate(job, lambda: fail("Failed", "no")(job, work)))
    failing = world.begin("Volume.Mount", volume="db")
    arrived(failing)
    waiting = world.begin("Volume.Mount", volume="db")
    arrived(waiting)
    gate.release()
    same((outcome(failing), outcome(waiting)), ("Failed", "done"))


@test
def a_pool_is_not_taken_away_under_a_job():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    create = world.begin_create("db")
    gate.wait()
    contains(world.refused("PoolBusy", "Pool.Export", name="default").message, "jobs are running")
    world.refused("PoolBusy", "Pool.Remove", name="default")
    gate.release()
    create.result()
    gate = Gate()
    world.worker.rule("pool_export", gate)
    export = world.begin("Pool.Export", name="default")
    gate.wait()
    for method, parameters in (("Volume.Create", {"volume": "db2", "sizeBytes": GIB}),
                               ("Pool.Export", {"name": "default"}), ("Pool.Remove", {"name": "default"})):
        contains(world.refused("PoolBusy", method, **parameters).message, "being taken away")
    gate.release()
    export.result()


@test
def two_pools_of_one_name_at_once_are_one():
    begin()
    calls = [world.begin("Pool.Create", name="new", devices=["/dev/fake"]) for _ in range(4)]
    same(sorted(outcome(call) for call in calls), ["PoolExists"] * 3 + ["done"])


# --- clients that go away

@test
def a_client_that_goes_away_does_not_end_its_create():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    call = world.begin_create("db", more=True)
    gate.wait()
    joined = world.begin_create("db", more=True)
    arrived(joined)
    call.abandon()
    gate.release()
    same(joined.result()["volume"]["name"], "db")
    for method, verb in (("Mount", "volume_mount"), ("Unmount", "volume_umount"), ("Remove", "volume_remove")):
        call = world.begin(f"Volume.{method}", volume="db", more=True)
        arrived(call)
        call.abandon()
        eventually(lambda: world.worker.count(verb), verb)
    eventually(lambda: not world.names(), "the volume is gone")
    world.check_consistent()


@test
def a_call_without_answer_is_done_and_disturbs_no_other():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    call = world.begin("Volume.List")
    connection = call.connection
    connection.receive()
    create = {"method": "io.quarry.Volume.Create", "parameters": {"volume": "db", "sizeBytes": GIB}}
    connection.send({**create, "oneway": True})
    gate.wait()
    second = Gate()
    world.worker.rule("volume_create", second)
    connection.send({"method": "io.quarry.Volume.Create", "parameters": {"volume": "db2", "sizeBytes": GIB}})
    second.wait()
    gate.release()
    eventually(lambda: world.inspect("db")["state"] == "ready", "the volume is made")
    second.release()
    same(connection.receive()["parameters"]["volume"]["name"], "db2")
    connection.send({"method": "io.quarry.Volume.List", "parameters": {}, "oneway": True})
    connection.send({"method": "io.quarry.Volume.Remove", "parameters": {"volume": "none"}, "oneway": True})
    connection.send({"method": "io.quarry.Volume.Inspect", "parameters": {"volume": "db"}})
    same(connection.receive()["parameters"]["volume"]["name"], "db")
    connection.close()


# --- progress

@test
def progress_comes_in_order_and_only_when_asked_for():
    begin()
    for name, more in (("a", True), ("b", False)):
        for method, parameters, steps in (("Create", {"sizeBytes": GIB}, 3), ("Mount", {}, 2), ("Unmount", {}, 1),
                                          ("Remove", {}, 3)):
            call = world.begin(f"Volume.{method}", more=more, volume=name, **parameters)
            call.result()
            progress = [p["progress"] for p in call.progress]
            same(len(progress), steps if more else 0, method)
            if more and method != "Remove":  # which is two jobs
                same([p["position"] for p in progress], list(range(1, steps + 1)))
                same({p["total"] for p in progress}, {steps})
    world.call("Volume.Create", volume="c", sizeBytes=GIB)
    call = world.begin("Volume.Mount", more=True, volume="c", detached=True)
    same((call.result(), len(call.fds)), ({"mountFileDescriptor": 0}, 1))
    os.close(call.fds[0])
    call = world.begin("Pool.Create", more=True, name="new", devices=["/dev/fake"])
    call.result()
    same([p["progress"]["step"] for p in call.progress],
         ["making the volume group", "making the catalog", "starting the pool"])


@test
def a_descriptor_is_not_lost_behind_progress_that_came_with_it():
    begin()
    world.create("db")

    for _ in range(20):
        world.worker.burst = True
        call = world.begin("Volume.Mount", more=True, volume="db", detached=True)
        call.result()
        same(len(call.fds), 1)
        os.close(call.fds[0])


# --- slow and hanging storage

@test
def more_jobs_than_workers_wait_and_all_are_done():
    begin(workers=2)
    for verb in ("volume_create", "volume_remove"):
        world.worker.rule(verb, lambda job, work: (time.sleep(0.005), work())[1], times=999)
    calls = [world.begin_create(f"v{i}") for i in range(60)]
    for call in calls:
        call.result()
    same(len(world.names()), 60)
    same(world.worker.running_max, 2)
    calls = [world.begin("Volume.Remove", volume=f"v{i}") for i in range(60)]
    for call in calls:
        call.result()
    same(world.names(), [])
    world.check_consistent()


@test
def one_worker_is_enough():
    begin(workers=1)
    for i in range(10):
        world.worker.rule("volume_create", fail("Failed", "no", undoFailed=True), name=f"v{i}-0")  # the worker is let go
        calls = [world.begin_create(f"v{i}-{j}") for j in range(3)]
        same(sorted(outcome(call) for call in calls), ["Failed", "done", "done"])
    world.check_consistent()


@test
def one_user_leaves_a_place_to_others():
    begin(workers=2)
    gates = [Gate() for _ in range(2)]
    for number, gate in enumerate(gates):
        world.call("Tenant.Create", name=f"t{number}", users=[4001 + number])
        world.worker.rule("volume_create", gate, name=f"v{number}")

    def create(number, name):
        return Call(world.socket, "io.quarry.Volume.Create", {"volume": f"t{number}/{name}", "sizeBytes": GIB},
                    connection=connect_as(world.socket, 4001 + number, []))
    calls = [create(0, "v0"), create(0, "v1"), create(0, "v2")]
    gates[0].wait()
    arrived(*calls)
    same((gates[1].begun.is_set(), world.worker.running), (False, 1))
    quick("another's create", create(1, "v").result)
    for gate in gates:
        gate.release()
    for call in calls:
        call.result()
    world.check_consistent()


@test
def a_hanging_volume_does_not_hold_up_the_others():
    begin()
    world.create("stuck")
    world.create("db")
    gate = Gate()
    world.worker.rule("volume_mount", gate, name="stuck")
    hanging = world.begin("Volume.Mount", volume="stuck")
    gate.wait()
    queued = world.begin("Volume.Remove", volume="stuck")
    arrived(queued)
    quick("List", world.names)
    quick("Inspect", lambda: world.inspect("stuck"))
    quick("Inspect", lambda: world.inspect("db"))
    quick("Mount", lambda: world.call("Volume.Mount", volume="db"))
    quick("Create", lambda: world.create("new"))
    quick("Remove", lambda: world.call("Volume.Remove", volume="new"))
    contains(world.refused("PoolBusy", "Pool.Export", name="default").message, "jobs are running")
    gate.release()
    hanging.result()
    same(outcome(queued), "VolumeBusy")
    world.check_consistent()


@test
def when_everything_hangs_one_still_can_look():
    begin(workers=2)
    gates = [Gate() for _ in range(2)]
    for i, gate in enumerate(gates):
        world.create(f"stuck{i}")
        world.worker.rule("volume_mount", gate, name=f"stuck{i}")
    hanging = [world.begin("Volume.Mount", volume=f"stuck{i}") for i in range(2)]
    for gate in gates:
        gate.wait()
    queued = world.begin_create("db")
    arrived(queued)
    for _ in range(20):
        quick("List", world.names)
        same(quick("Inspect", lambda: world.inspect("db"))["state"], "creating")
        quick("Pool.Inspect", world.pool)
    for gate in gates:
        gate.release()
    for call in (*hanging, queued):
        call.result()
    usage = [v for v, _, _ in world.worker.jobs if v.endswith("_usage")]
    assert len(usage) < 15, f"{len(usage)} looks were queued behind what hung"
    world.check_consistent()


@test
def a_look_at_a_pool_that_hangs_has_a_limit():
    begin(workers=2)
    world.create("db")
    gate = Gate()
    world.worker.rule("pool_usage", gate, times=99)
    world.worker.rule("volume_usage", gate, times=99)
    same(quick("Inspect", lambda: world.inspect("db"), 2.0)["name"], "db")
    quick("Inspect", lambda: world.inspect("db"), 0.3)  # nobody waits for it again
    world.create("db2")
    gate.release()
    eventually(lambda: world.worker.running == 0, "the look ends")
    same(world.inspect("db")["state"], "ready")


@test
def it_ends_at_once_while_jobs_run():
    begin()
    world.stop()
    world.start(ASAN_OPTIONS="detect_leaks=0:exitcode=99")  # what belongs to the jobs is not freed
    world.create("db")
    gate = Gate()
    world.worker.rule("volume_mount", gate)
    call = world.begin("Volume.Mount", volume="db")
    gate.wait()
    queued = world.begin("Volume.Remove", volume="db")
    arrived(queued)
    quick("SIGTERM", lambda: world.stop(wait=False))
    gate.release()
    call.abandon()
    world.start()
    world.check_consistent()


# --- everything at once

@test
def many_clients_do_many_things():
    begin()
    wrong, made, over, end = [], [], time.monotonic() + 1.5, time.monotonic() + 30

    def client(number):
        turn = 0
        while time.monotonic() < (over if len(made) > 20 else end):
            turn += 1
            name = f"v{(number + turn) % 5}"
            method, parameters = (("Create", {"sizeBytes": GIB, "ifAbsent": True}), ("Mount", {}), ("Inspect", {}),
                                  ("Unmount", {}), ("Remove", {}))[turn * (number + 1) % 5]
            try:
                world.call(f"Volume.{method}", volume=name, more=number % 2 == 0 and method != "Inspect", **parameters)
                if method == "Create":
                    made.append(name)
            except Failure as failure:
                if failure.kind not in ("NoSuchVolume", "VolumeBusy", "BadRequest", "VolumeBroken"):
                    wrong.append(f"{method}: {failure}")
            except Exception as e:  # noqa: BLE001 - whatever it is, it is wrong
                wrong.append(f"{method}: {e!r}")

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(wrong, [])
    world.worker.mounted.clear()
    world.check_consistent()
    assert len(made) > 20, len(made)


if __name__ == "__main__":
    sys.exit(main())
