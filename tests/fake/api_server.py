"""A stand-in for quarryd: io.quarry.Volume and io.quarry.Pool over a plain Varlink socket, from fixed data.

Started by hand it lets one look at the quarry command without a storage host:
    python3 tests/fake/api_server.py /tmp/quarry.sock &  QUARRY_SOCKET=/tmp/quarry.sock build/gcc/quarry ls
"""

import array
import fcntl
import json
import os
import socket
import sys
import threading
import time

GIB = 1 << 30
MIB = 1 << 20
F_GET_SEALS = 1034
ALL_SEALS = 0x0F  # seal, shrink, grow, write


class Failure(Exception):
    """An error reply: kind, message, other members."""

    def __init__(self, kind, message, interface="io.quarry.Volume", **members):
        super().__init__(message)
        self.name = kind if "." in kind else f"{interface}.{kind}"
        self.parameters = {"message": message, **members}


class Hangup(Exception):
    """The daemon dies in the middle of a call."""


def volume(name, **changes):
    found = {
        "name": name,
        "tenant": "default",
        "pool": "default",
        "uuid": "6f1c2f6e-0000-4000-8000-%012x" % (sum(name.encode()) * 7919),
        "state": "ready",
        "sizeBytes": 10 * GIB,
        "usedBytes": 1288490189,
        "kind": "block",
        "filesystem": "ext4",
        "labels": {},
        "uid": 0,
        "gid": 0,
        "mode": 0o755,
        "mkfsOptions": [],
        "createdAt": "2026-02-03T10:00:00Z",
        "open": False,
        "stopped": False,
        "holds": [],
    }
    found.update(changes)
    if found["tenant"] != "default":
        found["uuid"] = found["uuid"][:-12] + "%012x" % sum((found["tenant"] + name).encode())
    return {k: v for k, v in found.items() if v is not None}


def mounted(tenant, name, *others):
    place = f"/run/quarry/mnt/{tenant}/{name}"
    holds = [{"path": p, "readOnly": p != place} for p in (place, *others)]
    return {"open": True, "mountPoint": place, "holds": holds}


def encryption(source):
    return {"cipher": "aes-xts-plain64", "keyBits": 512, "sectorSize": 4096, "keySource": source}


def default_volumes():
    volumes = [
        volume("db", labels={"app": "db", "tier": "prod"}, encryption=encryption("host"), mkfsOptions=["-m 1"],
               **mounted("default", "db", "/srv/db")),
        volume("web10", sizeBytes=20 * GIB, usedBytes=None, labels={"app": "web"}),
        volume("web2", sizeBytes=512 * MIB, usedBytes=40 * MIB, filesystem="xfs", uid=33, gid=33, mode=0o750),
        volume("vault", encryption=encryption("passphrase"), sizeBytes=2 * GIB, usedBytes=0),
        volume("raw", filesystem="none", open=True),
        volume("hurt", exclusiveBytes=1228 << 10, exclusiveAgeSeconds=40, state="broken", failure="undo of mkfs failed"),
        volume("db", tenant="acme", sizeBytes=GIB, labels={"note": "evil\x1b[31m\nline"}),
        volume("a" * 64, **mounted("default", "a" * 64)),
    ]
    return volumes


def pool(name, **changes):
    found = {
        "name": name,
        "uuid": "0b0e7f3c-0000-4000-8000-00000000000a",
        "state": "active",
        "origin": "devices",
        "devices": ["/dev/nvme1n1"],
        "volumeGroup": f"quarry-{name}",
        "chunkSizeBytes": 65536,
        "dataSizeBytes": 100 * GIB,
        "dataUsedBytes": 25 * GIB,
        "metadataSizeBytes": 160 * MIB,
        "metadataUsedBytes": 1 * MIB,
        "space": "ok",
        "roomBytes": 0,
        "provisionedBytes": 300 * GIB,
        "provisionedMaxBytes": 1000 * GIB,
        "volumes": 8,
    }
    found.update(changes)
    return found


def default_pools():
    return [
        pool("default"),
        pool("try", origin="file", file="/var/lib/try.img", devices=["/dev/loop0"], dataSizeBytes=10 * GIB,
             dataUsedBytes=0, provisionedBytes=0, volumes=0),
    ]


def snapshot(name, **changes):
    return volume(name, type="snapshot", holds=[], held=False, **changes)


def tenant(name, **changes):
    found = {"name": name, "pool": "default", "users": [0], "groups": [], "volumes": 1, "snapshots": 0,
             "sizeBytes": GIB, "createdAt": "2026-02-03T10:00:00Z"}
    found.update(changes)
    return found


def event(kind, message, at, **members):
    return {"type": kind, "timeUsec": at, "message": message, **members}


def default_events():
    at = 1770112800000000  # 2026-02-03T10:00:00Z
    db = {"pool": "default", "tenant": "default", "volume": "db"}
    acme = {"pool": "default", "tenant": "acme", "volume": "db", "callerRole": "member", "callerUid": 4001, "callerPid": 7}
    root = {"callerRole": "admin", "callerUid": 0, "callerPid": 8}
    return [
        event("pool", "its disks do not answer", at, pool="default", callerRole="quarryd"),
        event("changed", "create for uid 0 done", at + 10**6, verb="create", **db, **root, result="ok",
              sizeBytes=10 * GIB, durationUsec=1234567),
        event("failed", "create for uid 4001 failed: no room while making the thin device", at + 2 * 10**6, verb="create",
              **acme, result="NoSpace", errorNumber=28, error="no room", step="making the thin device", sizeBytes=GIB,
              durationUsec=35000),
        event("refused", "create for uid 4001 refused: tenant acme may have 3 volumes", at + 3 * 10**6, verb="create",
              tenant="acme", callerRole="member", callerUid=4001, callerPid=7, result="QuotaExceeded",
              error="tenant acme may have 3 volumes"),
        event("changed", "snapshot by schedule by quarryd done", at + 4 * 10**6, verb="snapshot by schedule", **db,
              snapshot="monday", callerRole="quarryd", result="ok", durationUsec=125 * 10**6),
        event("suppressed", "12 more requests of uid 4001 failed or were refused", at + 5 * 10**6, callerUid=4001,
              suppressed=12),
        event("changed", "rename for uid 0 done", at + 86400 * 10**6, verb="rename", **db, newName="evil\x1b[31m\nline",
              **root, result="ok", sizeBytes=10 * GIB, durationUsec=400),
        event("changed", "update for uid 0 done", at + 86401 * 10**6, verb="update", **db, **root, result="ok",
              changes="--label app=web --uid 7", sizeBytes=10 * GIB, durationUsec=300),
    ]


class Server:
    """Serves until close(). requests holds (method, parameters, texts of passed descriptors, seals)."""

    def __init__(self, path):
        self.volumes, self.pools = default_volumes(), default_pools()
        self.tenants = []
        self.findings = []
        self.events = default_events()
        self.follow = None  # a threading.Event that ends Subscribe
        self.missing = []         # pools that a list of volumes lacks
        self.damaged = None  # what is wrong with the metadata of pools
        self.requests = []
        self.passphrase = b"sesame"
        self.mount_source = None  # a function that gives a detached mount as descriptor
        self.before_remove = None  # a function that is called with the reference of what is to be removed
        self.pause = 0.0          # seconds a step of a long call takes
        self.burst = False        # all replies of a call are written at once
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(64)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def close(self):
        """Nobody accepts behind this: the next server may get the same descriptor."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        pending, fds = b"", []
        with connection:
            while True:
                try:
                    data, control, _, _ = connection.recvmsg(65536, 4096)
                except ConnectionError:  # it did not wait for its answer
                    return
                for level, kind, payload in control:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        numbers = array.array("i")
                        numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                        fds += list(numbers)
                if not data:
                    return
                pending += data
                while b"\0" in pending:
                    message, pending = pending.split(b"\0", 1)
                    try:
                        self._answer(connection, json.loads(message), fds)
                    except (Hangup, ConnectionError):  # of this side, or of the other
                        return
                    fds = []

    def _answer(self, connection, call, fds):
        texts, seals = [], []
        for fd in fds:
            texts.append(os.pread(fd, 65536, 0))
            seals.append(fcntl.fcntl(fd, F_GET_SEALS))
            os.close(fd)
        method, parameters = call["method"], call.get("parameters") or {}
        self.requests.append((method, parameters, texts, seals))

        unsent = []

        def send(reply, passed=()):
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", passed))] if passed else []
            unsent.append(json.dumps(reply).encode() + b"\0")
            if not self.burst or not reply.get("continues"):
                connection.sendmsg(unsent, control)
                unsent.clear()

        def notify(members):
            if call.get("more"):
                send({"parameters": members, "continues": True})

        interface, name = method.rsplit(".", 1)
        handler = getattr(self, f"{interface.rsplit('.', 1)[-1].lower()}_{name.lower()}", None)
        try:
            if not handler:
                raise Failure("org.varlink.service.MethodNotFound", "", method=method)
            members, passed = handler(parameters, texts, notify)
        except Failure as failure:
            send({"error": failure.name, "parameters": failure.parameters})
            return
        send({"parameters": members}, passed)
        for fd in passed:
            os.close(fd)

    def _steps(self, notify, *names):
        for position, name in enumerate(names, 1):
            notify({"progress": {"step": name, "position": position, "total": len(names)}})
            time.sleep(self.pause)

    def _find(self, reference):
        tenant, _, name = reference.rpartition("/")
        for v in self.volumes:
            if v["uuid"] == reference or (v["name"] == name and v["tenant"] == (tenant or "default")):
                return v
        if reference == "dropped":
            raise Hangup
        raise Failure("NoSuchVolume", f"there is no volume {reference}", hint="quarry ls")

    # --- io.quarry.Volume

    def volume_list(self, parameters, texts, notify):
        kind = parameters.get("type", "volume")
        chosen = [v for v in self.volumes if kind in ("all", v.get("type", "volume"))
                  and parameters.get("tenant", v["tenant"]) == v["tenant"]
                  and parameters.get("pool", v["pool"]) == v["pool"]]
        if "fields" in parameters:
            chosen = [{name: v[name] for name in parameters["fields"] if name in v} for v in chosen]
        for v in chosen[:-1]:
            notify({"volumes": [v]})
        return {"volumes": chosen[-1:], **({"missingPools": self.missing} if self.missing else {})}, ()

    def volume_inspect(self, parameters, texts, notify):
        return {"volume": self._find(parameters["volume"])}, ()

    def volume_create(self, parameters, texts, notify):
        tenant, _, name = parameters["volume"].rpartition("/")
        if name.startswith("error-"):  # any error by its name
            raise Failure(name[len("error-"):], "as asked for")
        if name == "nopool":
            raise Failure("NoPool", "There is no pool yet",
                          hint="quarry pool create default --file /var/lib/quarry.img --size 10G")
        if name == "huge":
            raise Failure("BadRequest", "size 9P is more than the pool can promise", field="sizeBytes")
        if name == "unlucky":
            raise Failure("Failed", "mkfs.ext4 failed: Input/output error", step="making the filesystem",
                          errorNumber=5)
        known = [v for v in self.volumes if v["name"] == name]
        if known and not parameters.get("ifAbsent"):
            raise Failure("VolumeExists", f"volume {name} exists already")
        self._steps(notify, "making the thin device", "making the filesystem", "making the root directory")
        made = known[0] if known else volume(name, tenant=tenant or "default", sizeBytes=parameters["sizeBytes"])
        return {"volume": made, "existed": bool(known)}, ()

    def volume_remove(self, parameters, texts, notify):
        if self.before_remove:
            self.before_remove(parameters["volume"])
        v = self._find(parameters["volume"])
        if v.get("protected"):
            raise Failure("VolumeBusy", f"volume {v['name']} is protected from being removed",
                          hint=f"quarry update --no-protect {v['name']}")
        if v["holds"] and parameters.get("lazy"):
            return {"users": "mounted at " + v["holds"][-1]["path"]}, ()
        if v["holds"]:
            raise Failure("VolumeBusy", f"it is in use: mounted at {v['holds'][-1]['path']}",
                          hint=f"quarry umount {v['name']}", step="looking for users")
        self._steps(notify, "looking for users", "deleting the thin device")
        self.volumes.remove(v)
        return {}, ()

    def volume_mount(self, parameters, texts, notify):
        v = self._find(parameters["volume"])
        if v.get("encryption", {}).get("keySource") == "passphrase":
            if "keyFileDescriptor" not in parameters:
                raise Failure("KeyRequired", f"volume {v['name']} is encrypted with a passphrase and none was given")
            if texts[parameters["keyFileDescriptor"]] != self.passphrase:
                raise Failure("WrongKey", f"that passphrase does not open volume {v['name']}")
        self._steps(notify, "unlocking", "mounting")
        if parameters.get("detached") and self.mount_source:
            return {"mountFileDescriptor": 0}, (self.mount_source(),)
        if v["filesystem"] == "none":
            return {"path": f"/dev/quarry/{v['tenant']}/{v['name']}"}, ()
        return {"path": f"/run/quarry/mnt/{v['tenant']}/{v['name']}"}, ()

    def volume_check(self, parameters, texts, notify):
        self._find(parameters["volume"])
        return {}, ()

    def volume_trim(self, parameters, texts, notify):
        self._find(parameters["volume"])
        return {"freedBytes": 120 * MIB}, ()

    def volume_diff(self, parameters, texts, notify):
        volumes = [self._find(parameters[side] or parameters["to"]) if side in parameters else self._find(parameters["to"])
                   for side in ("from", "to")]
        sizes = [v["sizeBytes"] for v in volumes]
        ranges = [] if volumes[0] is volumes[1] else [{"offsetBytes": 65536, "lengthBytes": 131072},
                                                      {"offsetBytes": 1048576, "lengthBytes": 65536}]
        return {**({} if parameters.get("totalOnly") else {"ranges": ranges}), "rangeCount": len(ranges),
                "totalBytes": sum(r["lengthBytes"] for r in ranges), "chunkSizeBytes": 65536, "dataOffsetBytes": 0,
                "fromSizeBytes": sizes[0], "toSizeBytes": sizes[1], "live": volumes[0] is not volumes[1]}, ()

    def stream_send(self, parameters, texts, notify):
        self._find(parameters["volume"])
        return {"deviceFileDescriptor": 0}, (os.open("/dev/zero", os.O_RDONLY),)

    def volume_unmount(self, parameters, texts, notify):
        v = self._find(parameters["volume"])
        if not v["holds"]:
            raise Failure("BadRequest", f"volume {v['name']} is not mounted", field="volume")
        return {"users": "used by sleep (pid 7)"} if parameters.get("lazy") else {}, ()

    def volume_snapshot(self, parameters, texts, notify):
        made = []
        for reference in parameters["volumes"]:
            name, _, own = reference.partition("@")
            v = self._find(name)
            made.append(snapshot(f"{v['name']}@{own or parameters.get('name', '20261126T153000Z')}",
                                 tenant=v["tenant"]))
        self._steps(notify, "freezing the filesystem", "making the snapshot")
        self.volumes += made
        return {"snapshots": made}, ()

    def volume_hold(self, parameters, texts, notify):
        self._find(parameters["volume"])["held"] = True
        return {}, ()

    def volume_release(self, parameters, texts, notify):
        self._find(parameters["volume"])["held"] = False
        return {}, ()

    def volume_update(self, parameters, texts, notify):
        v = self._find(parameters["volume"])
        for label in parameters.get("labels", []):
            key, _, value = label.partition("=")
            v["labels"][key] = value
        return {"volume": v}, ()

    def volume_rename(self, parameters, texts, notify):
        return {"volume": {**self._find(parameters["volume"]), "name": parameters["name"]}}, ()

    def volume_resize(self, parameters, texts, notify):
        v = self._find(parameters["volume"])
        size = parameters.get("sizeBytes",
                              v["sizeBytes"] + parameters.get("addBytes", 0) - parameters.get("subtractBytes", 0))
        return {"volume": {**v, "sizeBytes": size}}, ()

    def volume_clone(self, parameters, texts, notify):
        self._find(parameters["volume"])
        tenant_name, _, name = parameters["name"].rpartition("/")
        return {"volume": volume(name, tenant=tenant_name or "default")}, ()

    def volume_rollback(self, parameters, texts, notify):
        v = self._find(parameters["volume"])
        name = v["name"].partition("@")[0]
        kept = {} if parameters.get("discardCurrent") else {
            "snapshot": snapshot(f"{name}@before-rollback-20261126T153000Z")}
        return {"volume": volume(name), **kept}, ()

    # --- io.quarry.Key: only whether the volume is there

    def _key_of(self, parameters, texts, notify):
        self._find(parameters["volume"])
        return {}, ()

    key_lock = key_unlock = key_change = key_restore = _key_of

    # --- io.quarry.Tenant

    def _find_tenant(self, name):
        for t in self.tenants:
            if t["name"] == name:
                return t
        raise Failure("NoSuchTenant", f"there is no tenant {name}", "io.quarry.Tenant", hint="quarry tenant ls")

    def tenant_list(self, parameters, texts, notify):
        return {"tenants": self.tenants}, ()

    def tenant_inspect(self, parameters, texts, notify):
        return {"tenant": self._find_tenant(parameters["name"])}, ()

    def tenant_create(self, parameters, texts, notify):
        if parameters["name"] in [t["name"] for t in self.tenants]:
            raise Failure("TenantExists", f"there is a tenant {parameters['name']} already", "io.quarry.Tenant")
        made = tenant(parameters["name"], volumes=0, sizeBytes=0,
                      **{k: v for k, v in parameters.items() if k in ("users", "groups") or k.startswith("max")})
        self.tenants.append(made)
        return {"tenant": made}, ()

    def tenant_update(self, parameters, texts, notify):
        return {"tenant": self._find_tenant(parameters["name"])}, ()

    def tenant_remove(self, parameters, texts, notify):
        t = self._find_tenant(parameters["name"])
        if t["volumes"]:
            raise Failure("TenantBusy", f"tenant {t['name']} owns {t['volumes']} volumes", "io.quarry.Tenant")
        self.tenants.remove(t)
        return {}, ()

    # --- io.quarry.Pool

    def _find_pool(self, name):
        for p in self.pools:
            if p["name"] == name:
                return p
        raise Failure("NoSuchPool", f"there is no pool {name}", "io.quarry.Pool", hint="quarry pool ls")

    def pool_list(self, parameters, texts, notify):
        return {"pools": self.pools}, ()

    def pool_inspect(self, parameters, texts, notify):
        return {"pool": self._find_pool(parameters["name"])}, ()

    def pool_create(self, parameters, texts, notify):
        if parameters.get("devices") == ["/dev/used"]:
            raise Failure("DeviceUnusable", "/dev/used bears a signature: ext4", "io.quarry.Pool",
                          hint="to give it to quarry anyway: wipefs --all /dev/used")
        self._steps(notify, "making the volume group", "making the catalog")
        return {"pool": pool(parameters["name"])}, ()

    def pool_extend(self, parameters, texts, notify):
        p = {**self._find_pool(parameters["name"]), "dataSizeBytes": parameters.get("sizeBytes", 200 * GIB)}
        return {"pool": p}, ()

    def pool_check(self, parameters, texts, notify):
        self._find_pool(parameters["name"])
        self._steps(notify, "checking the metadata")
        damage = {"damage": self.damaged} if self.damaged else {}
        if damage and parameters.get("repair"):
            return {"sound": True, "keptMetadata": "vg0/old", **damage}, ()
        return {"sound": not damage, **damage}, ()

    def pool_update(self, parameters, texts, notify):
        return {"pool": self._find_pool(parameters["name"])}, ()

    def pool_remove(self, parameters, texts, notify):
        p = self._find_pool(parameters["name"])
        if p["volumes"]:
            raise Failure("PoolBusy", f"it holds {p['volumes']} volumes", "io.quarry.Pool")
        self.pools.remove(p)
        return {}, ()

    def pool_import(self, parameters, texts, notify):
        return {"pools": [pool("moved")] if parameters.get("devices") else []}, ()

    def pool_export(self, parameters, texts, notify):
        self._find_pool(parameters["name"])
        return {}, ()

    # --- io.quarry.Event

    def _events(self, parameters):
        if parameters.get("tenant") == "secret":
            raise Failure("PermissionDenied", "events are for administrators and members of tenants", "io.quarry.Event",
                          hint="see whose member you are: quarry tenant ls")
        return [e for e in self.events if parameters.get("tenant", e.get("tenant")) == e.get("tenant")
                and parameters.get("pool", e.get("pool")) == e.get("pool")
                and ("volumes" not in parameters or e.get("volume") in parameters["volumes"])]

    def event_list(self, parameters, texts, notify):
        return {"events": self._events(parameters)}, ()

    def event_subscribe(self, parameters, texts, notify):
        """What there is, of which some were lost; then the daemon goes, unless it is to go on."""
        events = self._events(parameters)
        notify({})
        for number, e in enumerate(events):
            notify({"event": e, **({"lost": 3} if number == 1 else {})})
        if self.follow:
            self.follow.wait()
        raise Hangup

    # --- io.quarry.Doctor

    def doctor_examine(self, parameters, texts, notify):
        findings = [{**f, "fixed": f["fixable"] and parameters.get("fix", False)} for f in self.findings]
        return {"findings": findings, "pools": len(self.pools), "volumes": len(self.volumes)}, ()


if __name__ == "__main__":
    server = Server(sys.argv[1])
    server.pause = 0.5
    threading.Event().wait()
