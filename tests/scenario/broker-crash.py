#!/usr/bin/python3
"""quarryd is killed (SIGKILL) around every job of every verb, and started again. TAP on stdout.

What was answered is there, what was not is there whole or not at all, and nothing needs a hand.
"""

import os
import random
import sys
import threading
import time

from tap import contains, eventually, same, test
from world import GIB, Failure, Gone, main, sealed
from worker import Gate, Hangup, first, last

world = None  # what the test that runs now uses

def lost(job, work):
    """quarryd dies, and the job with it: no worker has read it."""
    world.kill()
    raise Hangup


MOMENTS = ("lost", "before the work", "after the work", "after the answer")


def kill_at(moment, verb):
    """Has quarryd killed at a moment of the next job with this verb."""
    if moment == "lost":
        world.worker.rule(verb, lost)
    elif moment == "before the work":  # the worker does it all the same
        world.worker.rule(verb, first(world.kill))
    elif moment == "after the work":
        world.worker.rule(verb, last(world.kill))
    else:
        world.worker.after_answer[verb] = world.kill


def answered(method, **parameters):
    """Whether the call was answered before quarryd died."""
    try:
        world.call(method, **parameters)
        return True
    except (Gone, OSError):
        eventually(lambda: world.process is None, "quarryd is killed")
        return False


def each_moment(verb, act, judge, prepare=None):
    """act() makes the worker get the verb; judge(moment, answered) looks at what is there after the restart."""
    for moment in MOMENTS:
        if prepare:
            prepare()
        kill_at(moment, verb)
        was_answered = act()
        eventually(lambda: world.process is None, f"quarryd is killed {moment}")
        same(was_answered and moment != "after the answer", False, moment)
        world.worker.forget_rules()
        world.start()
        world.check_consistent()
        judge(moment, was_answered)
        world.create("probe")
        world.call("Volume.Remove", volume="probe")
        world.check_consistent()


def begin(*volumes):
    world.worker.add_pool()
    world.start()
    for name in volumes:
        world.create(name)


@test
def killed_while_creating():
    begin("other")

    def judge(moment, was_answered):
        names = world.names()
        if was_answered:
            contains(names, "db")
        if moment != "after the answer":
            same(names, ["other"], moment)
            same(world.worker.verbs("db")[-1], "volume_remove", moment)
        if "db" in names:
            world.call("Volume.Remove", volume="db")

    each_moment("volume_create", lambda: answered("Volume.Create", volume="db", sizeBytes=GIB), judge)


@test
def killed_while_cleaning_up_behind_a_create():
    begin("other")
    for moment in MOMENTS:
        world.worker.rule("volume_create", lost)
        same(answered("Volume.Create", volume="db", sizeBytes=GIB), False)
        kill_at(moment, "volume_remove")
        world.spawn()  # may be dead again before it listens
        eventually(lambda: world.process is None, f"quarryd is killed {moment}")
        world.worker.forget_rules()
        world.start()
        world.check_consistent()
        same(world.names(), ["other"], moment)


@test
def killed_while_asking_whether_a_volume_is_in_use():
    begin("db")

    def judge(moment, was_answered):
        if moment != "after the answer":
            same((world.names(), world.inspect("db")["state"]), (["db"], "ready"), moment)
        elif not world.names():
            world.create("db")

    each_moment("volume_claim", lambda: answered("Volume.Remove", volume="db"), judge)


@test
def killed_while_removing():
    begin("other")

    def judge(moment, was_answered):
        same(world.names(), ["other"], moment)

    each_moment("volume_remove", lambda: answered("Volume.Remove", volume="db"), judge, lambda: world.create("db"))


@test
def killed_while_mounting_and_unmounting():
    begin("db")

    def mount_again(moment, was_answered):
        same(world.call("Volume.Mount", volume="db"), {"path": "/run/quarry/mnt/default/db"})
        same(world.inspect("db")["open"], True)

    def unmounted(moment, was_answered):
        if world.worker.mounted:
            world.call("Volume.Unmount", volume="db")
        same(world.inspect("db")["state"], "ready")

    each_moment("volume_mount", lambda: answered("Volume.Mount", volume="db"), mount_again)
    each_moment("volume_umount", lambda: answered("Volume.Unmount", volume="db"), unmounted,
                lambda: world.call("Volume.Mount", volume="db"))


@test
def killed_while_looking():
    begin("db")

    def there(moment, was_answered):
        same(world.names(), ["db"])

    each_moment("volume_usage", lambda: answered("Volume.Inspect", volume="db"), there)
    each_moment("pool_usage", lambda: answered("Volume.List"), there)


@test
def killed_while_starting():
    begin("db")
    for verb in ("pool_scan", "pool_open"):
        for moment in MOMENTS:
            world.kill()
            kill_at(moment, verb)
            world.spawn()
            eventually(lambda: world.process is None, f"quarryd is killed {moment}")
            world.worker.forget_rules()
            world.start()
            same(world.names(), ["db"])
            world.check_consistent()


@test
def killed_while_a_pool_is_made_or_taken_away():
    world.start()
    world.call("Pool.Create", name="default", devices=["/dev/fake"])
    there = lambda: sorted(p["name"] for p in world.call("Pool.List")["pools"])  # noqa: E731

    def made(moment, was_answered):
        same(there(), ["default"] if moment == "lost" else ["default", "new"], moment)
        if moment != "lost":
            world.call("Pool.Remove", name="new")

    def imported(moment, was_answered):
        if moment == "lost":
            same([p["name"] for p in world.call("Pool.Import")["pools"]], ["new"])
        same(there(), ["default", "new"], moment)
        world.call("Pool.Remove", name="new")

    def gone(moment, was_answered):
        same(there(), ["default", "new"] if moment == "lost" else ["default"], moment)
        if moment == "lost":
            world.call("Pool.Remove", name="new")
        world.worker.elsewhere.clear()

    new = {"name": "new", "devices": ["/dev/fake2"]}
    each_moment("pool_create", lambda: answered("Pool.Create", **new), made)
    each_moment("pool_import", lambda: answered("Pool.Import"), imported,
                lambda: world.worker.add_pool("new", where=world.worker.elsewhere))
    each_moment("pool_export", lambda: answered("Pool.Export", name="new"), gone,
                lambda: world.call("Pool.Create", **new))
    each_moment("pool_remove", lambda: answered("Pool.Remove", name="new"), gone,
                lambda: world.call("Pool.Create", **new))


@test
def a_job_that_outlives_the_broker_does_not_meet_its_undo():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    call = world.begin_create("db")
    gate.wait()
    world.kill()
    world.start()  # undoes a create that a worker is still doing
    eventually(lambda: world.worker.count("volume_remove", "db"), "the create is undone")
    gate.release()
    world.check_consistent()
    same(world.names(), [])
    call.abandon()


@test
def a_create_repeated_after_a_crash_succeeds():
    begin()
    world.worker.rule("volume_create", lost)
    same(answered("Volume.Create", volume="db", sizeBytes=GIB), False)
    gate = Gate()
    world.worker.rule("volume_remove", gate)
    world.start()
    gate.wait()
    memfd = sealed(b"sesame")
    calls = [world.begin_create("db", keySource="passphrase", keyFileDescriptor=0, fds=[memfd]) for _ in range(3)]
    for call in calls:
        call.wait_until_read()
    gate.release()
    same(len({call.result()["volume"]["uuid"] for call in calls}), 1)
    same([key for verb, _, key in world.worker.jobs if key], [b"sesame"])
    os.close(memfd)
    world.check_consistent()


@test
def killed_at_any_time_by_many_clients():
    begin()
    seed = time.time_ns()
    chance = random.Random(seed)
    have, lock = {}, threading.Lock()  # name: True there, False not there, None not known
    over = threading.Event()

    def client(number):
        mine = random.Random(seed + number)
        while not over.is_set():
            name = f"v{number}-{mine.randrange(3)}"
            make = not have.get(name) if have.get(name) is not None else mine.random() < 0.5
            with lock:
                before, have[name] = have.get(name), None
            try:
                if make:
                    world.call("Volume.Create", volume=name, sizeBytes=GIB, ifAbsent=True)
                elif mine.random() < 0.3:
                    world.call("Volume.Mount", volume=name)
                    world.call("Volume.Unmount", volume=name)
                    make = before
                else:
                    world.call("Volume.Remove", volume=name)
                have[name] = make
            except Failure as failure:
                if failure.kind == "NoSuchVolume":
                    have[name] = False
                elif failure.kind not in ("VolumeBroken", "VolumeBusy", "Failed", "BadRequest"):
                    world.complaints.append(f"{name}: {failure}")
            except (Gone, OSError, ValueError):
                time.sleep(0.002)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    kills = 0
    while kills < 12 or world.worker.count("volume_create") <= 30 and kills < 200:  # a slow host needs more time
        time.sleep(chance.uniform(0.02, 0.15))
        world.kill()
        world.start()
        kills += 1
    over.set()
    for thread in threads:
        thread.join()
    world.worker.mounted.clear()
    world.check_consistent()
    names = set(world.names())
    wrong = {n: h for n, h in have.items() if h is not None and h != (n in names)}
    same(wrong, {}, f"answered otherwise (seed {seed})")
    assert world.worker.count("volume_create") > 30, world.worker.count("volume_create")


if __name__ == "__main__":
    sys.exit(main())
