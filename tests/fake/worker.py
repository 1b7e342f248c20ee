"""A stand-in for quarry-worker: io.quarry.Worker over a plain socket, with pools and volumes in memory.

It is there for making failures happen on purpose: rules say what goes wrong at which call of which verb. It also
watches the broker: what must never be asked for is noted in `violations`.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import sys
import threading
import time
import uuid as uuids

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import wire  # noqa: E402

MIB, GIB = 1 << 20, 1 << 30
CATALOGS = "/run/quarry/catalog"
STEPS = {
    "volume_create": ["making the thin device", "opening the thin device", "making the filesystem"],
    "volume_remove": ["looking for users", "deleting the thin device"],
    "volume_mount": ["opening the thin device", "mounting"],
    "pool_create": ["making the volume group", "making the catalog", "starting the pool"],
}


# --- what can go wrong: each is called with what follows, and decides whether it is done

class Hangup(Exception):
    """The worker dies here."""


def fail(kind, message="as asked for", **members):
    """An error reply instead of the work."""
    def rule(job, work):
        raise wire.Failure(f"io.quarry.Worker.{kind}", {"message": message, **members})
    return rule


def fail_by_name(name, parameters=None):
    def rule(job, work):
        raise wire.Failure(name, parameters)
    return rule


def die_before(job, work):
    raise Hangup


def die_after(job, work):
    work()
    raise Hangup


def answer(data, hangup=False):
    """These bytes instead of the answer to work that was done, and then the end if asked for."""
    def rule(job, work):
        work()
        return data, hangup
    return rule


def first(hook):
    """hook() before the work."""
    def rule(job, work):
        hook()
        return work()
    return rule


def last(hook):
    """hook() between the work and its answer."""
    def rule(job, work):
        result = work()
        hook()
        return result
    return rule


class Gate:
    """Holds a job back until it is released; `begun` tells that it is there."""

    def __init__(self):
        self.begun, self.opened = threading.Event(), threading.Event()

    def __call__(self, job, work):
        self.begun.set()
        self.opened.wait(60)
        return work()

    def wait(self):
        if not self.begun.wait(15):
            raise AssertionError("the job never reached the worker")

    def release(self):
        self.opened.set()


def place_of(job, volume):
    """Where the volume is in its pool; what is not there is known by its UUID."""
    return job["pool"], volume.get("thinId", volume["uuid"])


def read_key(fd):
    """The passphrase; empty if fd is no sealed memfd."""
    try:
        sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
        return os.pread(fd, 8192, 0) if sealed else b""
    except OSError:
        return b""


class Worker:
    def __init__(self, path):
        self.path = path
        self.lock = threading.RLock()
        self.pools = {}      # those that this host has: uuid -> info
        self.elsewhere = {}  # those that an import finds
        self.unopened = {}   # uuid -> why it cannot be opened
        self.damaged = {}    # uuid -> what is wrong with its metadata
        self.thin = {}       # (pool, thin id) -> volume uuid
        self.open, self.mounted = set(), set()
        self.templates = set()   # uuids: nobody sees them
        self.users = {}          # volume uuid -> who has it open besides, whatever is mounted
        self.findings = []       # what there is to be seen on the host, for the audit
        self.rules = []      # [verb, object, calls to let pass, calls to hit, rule]
        self.jobs = []       # (verb, job, passphrase or None) in the order of arrival
        self.violations = []
        self.namespaces = []  # what came along as a user namespace, in the order of arrival
        self.running = self.running_max = 0
        self.busy = set()    # (pool, thin id) of volumes that are worked on
        self.idle = threading.Condition(self.lock)  # one of them no longer is
        self.after_answer = {}  # verb: hook
        self.watchers = []      # (pool, connection of the broker that has it watched)
        self.limited = set()    # volumes whose filesystem gets no new space
        self.free = 0           # bytes that volume groups have for a pool that is extended ahead of demand
        self.ranges = 2         # in which any two volumes differ
        self.together = None    # bytes that the thin devices of any tenant take together
        self.host_keys = [{"id": "0" * 32, "source": "file"}]  # the present one first
        self.wrapped = {}       # volume uuid -> id of the host key by which its key is wrapped
        self.suspended = set()
        self.burst = False      # progress is held back and sent together with the answer
        self.listen()

    # --- steering

    def rule(self, verb, rule, after=0, times=1, name=None, role=None):
        """For calls of verb (about the volume of this name or role): lets so many pass, then hits so many."""
        with self.lock:
            self.rules.append([verb, name, role, after, times, rule])

    def forget_rules(self):
        with self.lock:
            self.rules, self.after_answer = [], {}

    def verbs(self, name=None):
        """What was asked for; questions about use, and what goes on in the background, left out."""
        with self.lock:
            return [v for v, job, _ in self.jobs
                    if not v.endswith("_usage") and v != "host_key_look" and job.get("volume", {}).get("role") != "template" and name in (None, job.get("volume", {}).get("name"))]

    def left(self):
        """Thin devices that somebody made and should know of."""
        with self.lock:
            return {place: uuid for place, uuid in self.thin.items() if uuid not in self.templates}

    def count(self, verb, name=None):
        return self.verbs(name).count(verb)

    def add_pool(self, name="default", where=None, size=100 * GIB, **changes):
        info = {"name": name, "uuid": str(uuids.uuid4()), "origin": "devices", "volumeGroup": f"quarry-{name}",
                "devices": ["/dev/fake"], "chunkSizeBytes": 65536, "dataSizeBytes": size, "dataUsedBytes": GIB,
                "metadataSizeBytes": 64 * MIB, "metadataUsedBytes": MIB, **changes}
        (self.pools if where is None else where)[info["uuid"]] = info
        return info["uuid"]

    def listen(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen(64)
        threading.Thread(target=self._accept, args=(self.socket,), daemon=True).start()

    def unlisten(self):
        """As if systemd's socket were gone."""
        os.unlink(self.path)
        self.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    # --- serving

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(wire.Connection(connection),), daemon=True).start()

    def _serve(self, connection):
        try:
            while True:
                self._run(connection, connection.receive())
        except (wire.Gone, OSError, Hangup):
            connection.close()

    def _run(self, connection, call):
        job, key = call["parameters"]["job"], None
        if job["verb"] == "pool_watch":
            self._watch(connection, job["pool"])
        if "keyFileDescriptor" in call["parameters"]:
            key = read_key(connection.fds[call["parameters"]["keyFileDescriptor"]])
        if "secondFileDescriptor" in call["parameters"] and job["verb"] == "volume_mount":
            fd = connection.fds[call["parameters"]["secondFileDescriptor"]]
            self.namespaces.append(os.readlink(f"/proc/self/fd/{fd}"))
        for fd in connection.fds:
            os.close(fd)
        connection.fds = []
        with self.lock:
            self.jobs.append((job["verb"], job, key))
            self.running += 1
            self.running_max = max(self.running, self.running_max)
        try:
            if key == b"":
                raise wire.Failure("io.quarry.Worker.BadRequest", {"message": "the key is not in a sealed memfd",
                                                                   "field": "keyFileDescriptor"})
            with self._alone(job):
                if connection.peer_is_gone():
                    raise Hangup  # as the real one does: a job that has not begun dies with its broker
                reply = self._do(connection, job, call.get("more"))
        except wire.Failure as failure:
            reply = {"error": failure.name, "parameters": failure.parameters}
        finally:
            with self.lock:
                self.running -= 1
        if isinstance(reply, tuple):
            connection.send_bytes(reply[0])
            if reply[1]:
                raise Hangup
        else:
            fd, progress = reply.pop("fd", None), reply.pop("progress", b"")
            connection.send_bytes(progress + json.dumps(reply).encode() + b"\0", () if fd is None else (fd,))
            if fd is not None:
                os.close(fd)
        hook = self.after_answer.pop(job["verb"], None)
        if hook:
            hook()

    @contextlib.contextmanager
    def _alone(self, job):
        """The real one locks volumes, too: a worker may outlive its broker."""
        volumes = [v for image in job.get("images", []) for v in (image["origin"], image)]
        if "volume" in job and job["verb"] != "volume_usage":
            volumes.append(job["volume"])
        mine = {place_of(job, v) for v in volumes}
        with self.idle:
            self.idle.wait_for(lambda: not mine & self.busy)
            self.busy |= mine
        try:
            yield
        finally:
            with self.idle:
                self.busy -= mine
                self.idle.notify_all()

    def _watch(self, connection, pool):
        """The job that does not end, until the broker goes or the connection is taken from self.watchers."""
        with self.lock:
            self.watchers.append((pool, connection))
        while (pool, connection) in self.watchers and not connection.peer_is_gone():
            time.sleep(0.02)
        with self.lock:
            self.watchers = [(p, c) for p, c in self.watchers if c is not connection]
        raise Hangup

    def _wait_for_watcher(self, pool, seconds=10):
        end = time.monotonic() + seconds
        while not any(p == pool for p, _ in self.watchers):
            assert time.monotonic() < end, f"nobody watches pool {pool}"
            time.sleep(0.005)

    def report(self, pool, left, used=None, **changes):
        """What the watcher sees: so many bytes left, and volumes by uuid with what they use. The broker has a pool
        watched a moment after it is active."""
        self._wait_for_watcher(pool)
        info = self.pools[pool]
        info["dataUsedBytes"] = info["dataSizeBytes"] - left
        space = {"uuid": pool, **{k: info[k] for k in ("dataSizeBytes", "dataUsedBytes", "metadataSizeBytes",
                                                       "metadataUsedBytes")}, **changes}
        devices = [{"uuid": v, "usedBytes": n, "stopped": v in self.limited} for v, n in (used or {}).items()]
        result = {"open": False, "usedBytes": 0, "spaces": [space], **({"devices": devices} if devices else {})}
        data = json.dumps({"parameters": {"result": result}, "continues": True}).encode() + b"\0"
        with self.lock:
            for connection in (c for p, c in self.watchers if p == pool):
                with contextlib.suppress(OSError):  # of a broker that is gone
                    connection.send_bytes(data)

    def _do(self, connection, job, more):
        def work():
            steps = STEPS.get(job["verb"], ["working"])
            progress = b"".join(
                json.dumps({"parameters": {"step": step, "position": position, "total": len(steps)}, "continues": True})
                .encode() + b"\0" for position, step in enumerate(steps if more else [], 1))
            try:
                if not self.burst:
                    connection.send_bytes(progress)
            except OSError:
                pass  # a broker that is gone does not stop the job
            with self.lock:
                result = getattr(self, job["verb"])(job)
            fd = result.pop("fd", None)
            reply = {"parameters": {"result": {"open": False, "usedBytes": 0, **result}}}
            if fd is not None:
                reply["fd"] = fd
                reply["parameters"]["mountFileDescriptor"] = 0
            if self.burst:
                reply["progress"] = progress
            return reply

        rule = self._take_rule(job)
        return rule(job, work) if rule else work()

    def _take_rule(self, job):
        with self.lock:
            for entry in self.rules:
                verb, name, role, after, times, rule = entry
                volume = job.get("volume", {})
                if verb != job["verb"] or name not in (None, volume.get("name")) or role not in (None, volume.get("role")):
                    continue
                if name is role is None and volume.get("role") == "template":  # comes and goes in the background
                    continue
                if after > 0:
                    entry[3] -= 1
                elif times > 0:
                    entry[4] -= 1
                    return rule
        return None

    # --- the verbs

    def _active(self, job):
        info = self.pools.get(job["pool"])
        if not info:
            raise wire.Failure("io.quarry.Worker.NoSuchPool", {"message": "there is no such pool on this host"})
        return info

    def _devices(self, pool):
        return [{"uuid": v, "usedBytes": 3 * MIB, "stopped": v in self.limited} for (p, _), v in self.thin.items() if p == pool and v in self.open]

    def pool_scan(self, job):
        return {"pools": list(self.pools.values())}

    def pool_open(self, job):
        if job["pool"] in self.unopened:
            raise wire.Failure("io.quarry.Worker.PoolUnavailable", {"message": self.unopened[job["pool"]]})
        if job["pool"] in self.damaged:
            raise wire.Failure("io.quarry.Worker.PoolUnavailable", {
                "message": f"the metadata is damaged: {self.damaged[job['pool']]}", "errorNumber": errno.EUCLEAN,
                "hint": f"quarry pool check {self.pools[job['pool']]['name']} --repair"})
        os.makedirs(f"{CATALOGS}/{job['pool']}", exist_ok=True)
        return {"pools": [self._active(job)], "devices": self._devices(job["pool"])}

    pool_recover = pool_open

    def pool_create(self, job):
        spec = job["poolSpec"]
        if job["pool"] in self.pools or spec["name"] in [p["name"] for p in self.pools.values()]:
            self.violations.append(f"pool {spec['name']} is made twice")
        uuid = self.add_pool(spec["name"], uuid=job["pool"])
        return self.pool_open({"pool": uuid})

    def pool_import(self, job):
        found, self.elsewhere = self.elsewhere, {}
        if not found:
            raise wire.Failure("io.quarry.Worker.NoSuchPool", {"message": "found no pool to import"})
        self.pools.update(found)
        return {"pools": list(found.values())}

    def pool_export(self, job):
        self._leave(job)
        self.elsewhere[job["pool"]] = self.pools.pop(job["pool"])
        return {}

    def pool_forget(self, job):
        del self.pools[job["pool"]]
        return {}

    def pool_remove(self, job):
        self._leave(job)
        if any(p == job["pool"] for p, _ in self.thin):
            self.violations.append("a pool with volumes is destroyed")
        del self.pools[job["pool"]]
        return {}

    def _leave(self, job):
        self._active(job)
        if any(p == job["pool"] and v in self.mounted for (p, _), v in self.thin.items()):
            raise wire.Failure("io.quarry.Worker.PoolBusy", {"message": "a volume is mounted"})

    def pool_usage(self, job):
        return {"pools": [self._active(job)], "devices": self._devices(job["pool"])}

    volume_usage = pool_usage

    def pool_extend(self, job):
        info, growth = self._active(job), job["growth"]
        if growth.get("devices"):
            info["devices"] = info["devices"] + growth["devices"]
            info["dataSizeBytes"] += 50 * GIB
        elif growth.get("sizeBytes"):
            info["dataSizeBytes"] = growth["sizeBytes"]
        else:
            info["dataSizeBytes"] += min(growth["dataBytes"], self.free)
            info["roomBytes"] = self.free = self.free - min(growth["dataBytes"], self.free)
        return {"pools": [info]}

    def pool_check(self, job):
        return {"damage": self.damaged[job["pool"]]} if job["pool"] in self.damaged else {}

    def pool_repair(self, job):
        self._leave(job)
        if job["pool"] not in self.damaged:
            return {}
        return {"damage": self.damaged.pop(job["pool"]), "kept": "vg/old"}

    def pool_relieve(self, job):
        return {"pools": [self._active(job)]}

    def volume_limit(self, job):
        self._thin(job)
        uuid = job["volume"]["uuid"]
        (self.limited.add if job["stopped"] else self.limited.discard)(uuid)
        return {"open": uuid in self.open}

    def volume_check(self, job):
        self._thin(job)
        return {"open": False}

    def volume_trim(self, job):
        self._thin(job)
        return {"open": job["volume"]["uuid"] in self.open, "usedBytes": 2 * MIB, "freedBytes": MIB}

    def _thin(self, job):
        """The place of the job's volume; None if it has none."""
        volume = job["volume"]
        place = place_of(job, volume)
        if volume["role"] == "snapshot" and self.thin.get(place) == volume["origin"]:
            self.thin[place] = volume["uuid"]  # what a volume was before it was rolled back
        if self.thin.get(place, volume["uuid"]) != volume["uuid"]:
            self.violations.append(f"{job['verb']} of {volume['name']} is about a thin id of another volume")
        return place if place in self.thin else None

    def volume_create(self, job):
        self._active(job)
        if self._thin(job):
            self.violations.append(f"thin id of {job['volume']['name']} is made twice")
        self.thin[place_of(job, job["volume"])] = job["volume"]["uuid"]
        if job["volume"].get("kind") == "bind":
            return {"sourceId": "1-2.3"}
        if job["volume"].get("kind") == "tmpfs":
            return {}
        if job["volume"]["role"] == "template":
            self.templates.add(job["volume"]["uuid"])
        if job["volume"]["keySource"] != "host":
            return {"usedBytes": 2 * MIB}
        self.wrapped[job["volume"]["uuid"]] = self.host_keys[0]["id"]
        return {"usedBytes": 2 * MIB, "keys": {"keyslots": [], "hostKey": self.host_keys[0]["id"]}}

    def volume_snapshot(self, job):
        self._active(job)
        for image in job["images"]:
            if not self._thin({**job, "volume": image["origin"]}):
                self.violations.append(f"{image['origin']['name']} is imaged and was never made")
            if (job["pool"], image["thinId"]) in self.thin:
                self.violations.append(f"thin id of an image of {image['origin']['name']} is made twice")
            self.thin[(job["pool"], image["thinId"])] = image["uuid"]
            if image["origin"]["uuid"] in self.wrapped:
                self.wrapped[image["uuid"]] = self.wrapped[image["origin"]["uuid"]]
        return {"devices": [{"uuid": image["uuid"], "usedBytes": 5 * MIB} for image in job["images"]]}

    def volume_clone(self, job):
        if not self._thin({**job, "volume": job["source"]}):
            self.violations.append(f"{job['source']['name']} is cloned and was never made")
        return self.volume_create(job)

    def volume_rollback(self, job):
        self.volume_claim(job)
        if not self._thin({**job, "volume": job["source"]}):
            self.violations.append(f"{job['volume']['name']} is to become {job['source']['name']}, which was never made")
        self.thin[(job["pool"], job["volume"]["spareThinId"])] = job["volume"]["uuid"]
        if job["source"]["uuid"] in self.wrapped:
            self.wrapped[job["volume"]["uuid"]] = self.wrapped[job["source"]["uuid"]]
        return {}

    def volume_drop_spare(self, job):
        self.thin.pop((job["pool"], job["volume"]["spareThinId"]), None)
        return {}

    def volume_claim(self, job):
        self._thin(job)
        if job["volume"]["uuid"] in self.users:
            raise wire.Failure("io.quarry.Worker.VolumeBusy", {"message": self.users[job["volume"]["uuid"]]})
        if job["volume"]["uuid"] in self.mounted:
            raise wire.Failure("io.quarry.Worker.VolumeBusy",
                                  {"message": "it is mounted at /run/quarry/mnt/x", "hint": "quarry umount x"})
        self.open.discard(job["volume"]["uuid"])
        return {}

    def volume_remove(self, job):
        self.volume_claim(job)
        place = self._thin(job)
        if place:
            del self.thin[place]
        return {}

    def volume_retire(self, job):
        return self.volume_claim(job)

    def volume_free(self, job):
        self.volume_remove(job)
        return {"offset": 1 << 62}

    def volume_mount(self, job):
        volume = job["volume"]
        if not self._thin(job):
            self.violations.append(f"{volume['name']} is mounted and was never made")
        self.open.add(volume["uuid"])
        if job["stopped"]:
            self.limited.add(volume["uuid"])
        if job["detached"]:
            return {"open": True, "fd": os.open("/", os.O_PATH)}
        if volume["filesystem"] == "none" and "kind" not in volume:
            return {"open": True, "path": f"/dev/quarry/{volume['tenant']}/{volume['name']}"}
        self.mounted.add(volume["uuid"])
        return {"open": True, "path": f"/run/quarry/mnt/{volume['tenant']}/{volume['name']}"}

    def volume_device(self, job):
        if not self._thin(job):
            self.violations.append(f"the device of {job['volume']['name']} is opened, which was never made")
        self.open.add(job["volume"]["uuid"])
        return {"open": True, "fd": os.open("/dev/null", os.O_RDONLY if job["readOnly"] else os.O_RDWR)}

    def volume_receive(self, job):
        if "source" in job and not self._thin({**job, "volume": job["source"]}):
            self.violations.append(f"{job['volume']['name']} begins as {job['source']['name']}, which was never made")
        self.volume_create(job)
        self.open.add(job["volume"]["uuid"])
        return {"open": True, "fd": os.open("/dev/null", os.O_RDWR)}

    def volume_accept(self, job):
        if not self._thin(job):
            self.violations.append(f"{job['volume']['name']} is accepted, which was never made")
        self.open.discard(job["volume"]["uuid"])
        return {"open": False, "usedBytes": 3 * MIB}

    def volume_umount(self, job):
        uuid = job["volume"]["uuid"]
        if uuid in self.users and (job["lazy"] or uuid not in self.mounted):
            self.mounted.discard(uuid)
            return {"open": True, "users": self.users[uuid]}
        if uuid not in self.mounted and not job["lazy"]:
            raise wire.Failure("io.quarry.Worker.BadRequest", {"message": "it is not mounted", "field": "volume"})
        self.mounted.discard(job["volume"]["uuid"])
        return self.volume_release(job)

    def host_audit(self, job):
        return {"findings": self.findings}

    def host_calendar(self, job):
        """Every expression elapses each minute, if it is known at all."""
        base = job["calendar"]["baseUsec"]
        for expression in job["calendar"]["expressions"]:
            if not re.fullmatch("hourly|daily|weekly|[*]:0/1", expression):
                raise wire.Failure("io.quarry.Worker.BadRequest",
                                   {"message": f"systemd does not understand \"{expression}\"",
                                    "field": "snapshotSchedule"})
        return {"elapses": [(base // 60000000 + 1) * 60000000 for _ in job["calendar"]["expressions"]]}

    def pool_audit(self, job):
        return {"thinIds": [i for p, i in self.thin if p == job["pool"] and isinstance(i, int)]}

    def pool_exclusive(self, job):
        return {"thins": [{"thinId": i, "usedBytes": 3 * MIB, "exclusiveBytes": MIB + i}
                          for p, i in self.thin if p == self._active(job)["uuid"] and isinstance(i, int)]}

    def pool_union(self, job):
        """What a test says that a tenant's thin devices take together, else a block of each."""
        return {"usedBytes": self.together if self.together is not None else len(job["thinIds"]) * 65536}

    def volume_diff(self, job):
        for volume in (job["source"], job["volume"]):
            if self.thin.get((job["pool"], volume["thinId"]), volume["uuid"]) != volume["uuid"]:
                self.violations.append(f"{volume['name']} is compared by a thin id of another volume")
        n = self.ranges
        listed = [] if job["totalOnly"] else [k for i in range(n) for k in (i * 131072, 65536)]
        return {"delta": {"chunkSizeBytes": 65536, "totalBytes": n * 65536, "count": n, "ranges": listed}}

    def _claimed(self, job):
        if not self._thin(job):
            self.violations.append(f"{job['verb']} of {job['volume']['name']}, which was never made")
        return {"open": job["volume"]["uuid"] in self.open}

    volume_own = volume_rename = volume_grow = volume_ungrow = volume_remount = _claimed

    def volume_shrink(self, job):
        self.volume_claim(job)
        self.thin[(job["pool"], job["volume"]["spareThinId"])] = job["volume"]["uuid"]
        return {}

    def volume_keys(self, job):
        uuid = job["volume"]["uuid"]
        if not self._thin(job):
            self.violations.append(f"{job['verb']} of {job['volume']['name']}, which was never made")
        keys = {"keyslots": [{"number": 0, "kind": "host" if uuid in self.wrapped else "passphrase", "kdf": "pbkdf2"}],
                "room": 3, "inKernel": uuid in self.open, "suspended": uuid in self.suspended}
        if uuid in self.wrapped:
            keys["hostKey"] = self.wrapped[uuid]
        return {"open": uuid in self.open, "keys": keys}

    volume_key_change = volume_keys

    def volume_key_add(self, job):
        if job["key"]["host"]:
            self.wrapped[job["volume"]["uuid"]] = self.host_keys[0]["id"]
        return self.volume_keys(job)

    def volume_key_remove(self, job):
        if job["key"]["host"]:
            self.wrapped.pop(job["volume"]["uuid"], None)
        return self.volume_keys(job)

    def volume_key_wrap(self, job):
        have = self.wrapped.get(job["volume"]["uuid"])
        if have and have not in [key["id"] for key in self.host_keys]:
            self.violations.append(f"{job['volume']['name']} lost its host key")
        return self.volume_key_add({**job, "key": {"host": have is not None}})

    def volume_suspend(self, job):
        self.suspended.add(job["volume"]["uuid"])
        return {"open": True}

    def volume_unlock(self, job):
        self.suspended.discard(job["volume"]["uuid"])
        self.open.add(job["volume"]["uuid"])
        return self.volume_keys(job)

    def volume_header_backup(self, job):
        return {"fd": wire.sealed(b"header")}

    def volume_header_restore(self, job):
        self.volume_claim(job)
        return self.volume_keys(job)

    def host_key_look(self, job):
        return {"hostKeys": self.host_keys}

    def host_key_derive(self, job):
        return {"hostKeys": self.host_keys[:1], "fd": wire.sealed(bytes(32))}

    def host_key_rotate(self, job):
        if job["key"]["id"] == self.host_keys[0]["id"]:
            self.host_keys = [{"id": f"{int(job['key']['id'], 16) + 1:032x}", "source": "file"},
                              {"id": job["key"]["id"], "source": "kept"}, *self.host_keys[1:]]
        return self.host_key_look(job)

    def host_key_retire(self, job):
        there = set(self.thin.values())
        if job["key"]["id"] in [key for uuid, key in self.wrapped.items() if uuid in there]:
            self.violations.append("a host key is destroyed that a volume needs")
        self.host_keys = [key for key in self.host_keys if key["id"] != job["key"]["id"]]
        return self.host_key_look(job)

    def volume_sweep(self, job):
        self.findings = [f for f in self.findings if f.get("uuid") != job["volume"]["uuid"]]
        return {}

    def volume_release(self, job):
        if job["volume"]["uuid"] in self.mounted or job["volume"]["uuid"] in self.users:
            return {"open": True}
        self.open.discard(job["volume"]["uuid"])
        return {"usedBytes": 3 * MIB}


if __name__ == "__main__":
    worker = Worker(sys.argv[1])
    worker.add_pool()
    seen = 0
    while True:
        for verb, job, _ in worker.jobs[seen:]:
            print(verb, json.dumps(job.get("volume", {})), flush=True)
            seen += 1
        time.sleep(0.1)
