#include "front/docker.h"

#include "broker/audit.h"
#include "broker/find.h"
#include "broker/mount-id.h"
#include "broker/policy.h"
#include "broker/view.h"
#include "front/docker-call.h"

#include <quarry/clock.h>
#include <quarry/failpoint.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>

/* Docker forgets what it knows of a volume, its labels, when it hears that there is none. So nobody hears that before
 * every pool could be asked: who asks for one that is in none of those that are there waits so long, and is hung up on
 * then. Docker asks again within 30 s, with a request that has lost its body, and not any more after that. */
#define PATIENCE_USEC (31 * UINT64_C(1000000))
/* Nothing that another quarryd was asked comes to this one later than that. */
#define LOST_USEC (40 * UINT64_C(1000000))
#define LOOK_AGAIN_USEC (1 * UINT64_C(1000000))

/* --- answers --------------------------------------------------------------------------------------------- */

static void call_free(DockerCall *c) {
        Driver *d = c->driver;

        if (c->entered)
                server_call_leave(d->server, &c->counted);
        if (c->waits)
                mount_ids_waited(server_manager(d->server)->mount_ids);
        docker_request_done(&c->request);
        free(c->schedule);
        free(c);
        if (--d->n_calls == 0 && !d->listener)
                free(d);
}

void docker_call_end(DockerCall *c, sd_json_variant *v) {
        http_answer(c->http, v);
        call_free(c);
}

/* At least an object: nothing at all is an error for Docker. */
void docker_call_end_empty(DockerCall *c) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        (void) sd_json_variant_new_object(&v, NULL, 0);
        docker_call_end(c, v);
}

void docker_call_end_error(DockerCall *c, const Error *err) {
        http_answer_error(c->http, err);
        call_free(c);
}

void docker_call_end_refused(DockerCall *c, const VolumeEntry *entry, const Error *err) {
        audit_refusal(docker_call_manager(c)->audit, http_caller(c->http), c->route->verb, entry, err);
        docker_call_end_error(c, err);
}

static void hang_up(DockerCall *c) {
        http_hang_up(c->http);
        call_free(c);
}

static void run_again(DockerCall *c);

/* Its own hint is for who could be asked for a passphrase. */
static const Error *for_engines(const Operation *op, const Error *err, Error *buf) {
        if (!err || err->kind != ERROR_KEY_REQUIRED || op->volume->volume.spec.key_source != KEY_SOURCE_PASSPHRASE)
                return err;
        *buf = *err;
        error_hint(buf, "quarry key unlock %s", VOLUME_REFERENCE(&op->volume->volume.spec));
        return buf;
}

static void on_done(Operation *op, const Error *err, void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        HttpListener *listener;
        DockerCall *c = userdata;
        Error failure = {};
        int r;

        if (op->again) {
                run_again(c);
                return;
        }
        listener = c->driver->listener;
        r = failpoint("answer.%s.before", op->verb ?: "look");
        if (!err && r >= 0)
                r = c->reply ? c->reply(c, op, &v) : sd_json_variant_new_object(&v, NULL, 0);
        if (!err && r < 0)
                error_errno(&failure, r, "it was done, but the answer cannot be written");
        if (err || r < 0)
                docker_call_end_error(c, for_engines(op, err, &failure) ?: &failure);
        else if (v) /* else it is answered later */
                docker_call_end(c, v);
        if (FAILPOINTS_BUILT) { /* else it leaves when the loop comes to it */
                http_flush(listener);
                (void) failpoint("answer.%s.after", op->verb ?: "look");
        }
}

Watcher docker_call_watcher(DockerCall *c) {
        return (Watcher) { .on_done = on_done, .userdata = c };
}

/* --- waiting for pools ----------------------------------------------------------------------------------- */

static void hold(DockerCall *c) {
        Driver *d = c->driver;

        if (c->since == 0)
                c->since = clock_usec(CLOCK_MONOTONIC);
        c->next = d->held;
        d->held = c;
        (void) sd_event_source_set_time_relative(d->again, LOOK_AGAIN_USEC);
        (void) sd_event_source_set_enabled(d->again, SD_EVENT_ONESHOT);
}

static bool is_patient(const DockerCall *c) {
        return c->since == 0 || c->since + PATIENCE_USEC > clock_usec(CLOCK_MONOTONIC);
}

static void driver_look_again(Driver *d) {
        DockerCall *list = TAKE_PTR(d->held);

        while (list) {
                DockerCall *c = list;

                list = c->next;
                run_again(c);
        }
}

static int on_look_again(sd_event_source *source, uint64_t usec, void *userdata) {
        driver_look_again(userdata);
        return 0;
}

/* --- volumes --------------------------------------------------------------------------------------------- */

/* A bare name, in the tenant whose driver this is. */
static int find(const DockerCall *c, VolumeEntry **ret, Error *err) {
        char reference[REFERENCE_MAX];

        buffer_format(reference, sizeof(reference), "%s/%s", c->driver->tenant, c->request.name);
        return find_volume(docker_call_manager(c), http_caller(c->http), reference, ret, err);
}

/* Of the volume for something to be begun with it; answered if there is none. */
static VolumeEntry *find_or_end(DockerCall *c) {
        VolumeEntry *entry;
        Error err = {};

        if (find(c, &entry, &err) >= 0)
                return entry;
        docker_call_end_refused(c, NULL, &err);
        return NULL;
}

static const char *mount_point(const VolumeEntry *entry, char path[static MOUNT_PATH_MAX]) {
        volume_mount_path(entry->volume.spec.tenant, entry->volume.spec.name, path);
        for (size_t i = 0; i < entry->n_holds; i++)
                if (streq(entry->holds[i].path, path))
                        return path;
        return "";
}

/* What is shown of it, in the words of io.quarry.Volume. */
#define STATUS                                                                                                   \
        (VOLUME_MEMBERS(MEMBER_TENANT) | VOLUME_MEMBERS(MEMBER_POOL) | VOLUME_MEMBERS(MEMBER_UUID) |             \
         VOLUME_MEMBERS(MEMBER_KIND) | VOLUME_MEMBERS(MEMBER_SOURCE) | VOLUME_MEMBERS(MEMBER_READ_ONLY) |        \
         VOLUME_MEMBERS(MEMBER_STATE) | VOLUME_MEMBERS(MEMBER_FAILURE) | VOLUME_MEMBERS(MEMBER_SIZE) |           \
         VOLUME_MEMBERS(MEMBER_USED) | VOLUME_MEMBERS(MEMBER_EXCLUSIVE) | VOLUME_MEMBERS(MEMBER_FILESYSTEM) |    \
         VOLUME_MEMBERS(MEMBER_ENCRYPTION) | VOLUME_MEMBERS(MEMBER_LABELS) | VOLUME_MEMBERS(MEMBER_UID) |        \
         VOLUME_MEMBERS(MEMBER_GID) | VOLUME_MEMBERS(MEMBER_MODE) | VOLUME_MEMBERS(MEMBER_PROTECTED) |           \
         VOLUME_MEMBERS(MEMBER_STOPPED) | VOLUME_MEMBERS(MEMBER_STOPPED_BY) | VOLUME_MEMBERS(MEMBER_SNAPSHOTS) | \
         VOLUME_MEMBERS(MEMBER_SCHEDULE) | VOLUME_MEMBERS(MEMBER_LAST_SNAPSHOT) |                                \
         VOLUME_MEMBERS(MEMBER_NEXT_SNAPSHOT))

static int view(const VolumeEntry *entry, bool whole, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *status = NULL;
        char path[MOUNT_PATH_MAX], created[32];
        int r = whole ? view_volume(entry, STATUS, &status) : 0;

        view_format_time(entry->volume.created_usec, created);
        return r < 0 ? r
                     : sd_json_buildo(ret,
                                      SD_JSON_BUILD_PAIR_STRING("Name", entry->volume.spec.name),
                                      SD_JSON_BUILD_PAIR_STRING("Mountpoint", mount_point(entry, path)),
                                      SD_JSON_BUILD_PAIR_STRING("CreatedAt", created),
                                      SD_JSON_BUILD_PAIR_CONDITION(whole, "Status", SD_JSON_BUILD_VARIANT(status)));
}

/* One that is only being made is not there yet: who would make it joins that. */
static bool is_there(const VolumeEntry *entry) {
        return entry->volume.spec.role == ROLE_VOLUME && entry->volume.state != VOLUME_CREATING;
}

/* --- routes ---------------------------------------------------------------------------------------------- */

static void http_route_activate(DockerCall *c) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        /* What an engine of the host forgot is not for members to say. */
        if (http_caller(c->http)->admin)
                mount_ids_activate(docker_call_manager(c)->mount_ids);
        (void) sd_json_buildo(&v, SD_JSON_BUILD_PAIR_ARRAY("Implements", SD_JSON_BUILD_STRING("VolumeDriver")));
        docker_call_end(c, v);
}

static void http_route_capabilities(DockerCall *c) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        (void) sd_json_buildo(&v, SD_JSON_BUILD_PAIR_OBJECT("Capabilities",
                                                            SD_JSON_BUILD_PAIR_STRING("Scope", "local")));
        docker_call_end(c, v);
}

static void http_route_get(DockerCall *c) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL, *v = NULL;
        VolumeEntry *entry = NULL;
        Error err = {};
        int r;

        r = find(c, &entry, &err);
        if (r >= 0 && !is_there(entry))
                r = error_set(&err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no volume %s", c->request.name);
        if (r >= 0) {
                r = view(entry, true, &volume);
                if (r >= 0)
                        r = sd_json_buildo(&v, SD_JSON_BUILD_PAIR_VARIANT("Volume", volume));
                if (r >= 0) {
                        docker_call_end(c, v);
                        return;
                }
                error_errno(&err, r, "cannot tell of volume %s", c->request.name);
        }
        if (err.kind == ERROR_NO_SUCH_VOLUME)
                docker_call_end_error(c, &err);
        else if (is_patient(c))
                hold(c);
        else {
                log_debug("docker", "%s: hung up on who asks for it: %s", c->request.name, err.text);
                hang_up(c);
        }
}

typedef struct Listing {
        const DockerCall *call;
        sd_json_variant **list;
        size_t n, room;
        int r;
} Listing;

static int list_add(VolumeEntry *entry, void *userdata) {
        Listing *l = userdata;

        if (!is_there(entry) || !streq(entry->volume.spec.tenant, l->call->driver->tenant) ||
            !policy_may_see_volume(http_caller(l->call->http), entry))
                return 0;
        if (l->n == l->room) {
                size_t room = l->room ? l->room * 2 : 64;
                sd_json_variant **list = reallocarray(l->list, room, sizeof(*list));

                if (!list)
                        return -ENOMEM;
                l->list = list;
                l->room = room;
        }
        l->r = view(entry, false, &l->list[l->n]);
        l->n += l->r >= 0;
        return l->r;
}

static void http_route_list(DockerCall *c) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL, *v = NULL;
        Listing l = { .call = c };
        Error err = {};
        int r = 0;

        for (PoolEntry *pool = docker_call_manager(c)->registry.pools; pool && r >= 0; pool = pool->next)
                r = registry_each_volume(pool, list_add, &l);
        if (r >= 0)
                r = sd_json_variant_new_array(&list, l.list, l.n);
        if (r >= 0)
                r = sd_json_buildo(&v, SD_JSON_BUILD_PAIR_VARIANT("Volumes", list));
        while (l.n > 0)
                sd_json_variant_unref(l.list[--l.n]);
        free(l.list);
        if (r >= 0) {
                docker_call_end(c, v);
                return;
        }
        error_errno(&err, r, "cannot list the volumes");
        docker_call_end_error(c, &err);
}

static void http_route_path(DockerCall *c) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        VolumeEntry *entry = find_or_end(c);
        char path[MOUNT_PATH_MAX];

        if (!entry)
                return;
        (void) sd_json_buildo(&v, SD_JSON_BUILD_PAIR_STRING("Mountpoint", mount_point(entry, path)));
        docker_call_end(c, v);
}

/* Who did not wait for it unmounts nothing. */
static int reply_mounted(DockerCall *c, Operation *op, sd_json_variant **ret) {
        if (http_is_gone(c->http))
                mount_id_give_up(op);
        return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("Mountpoint", op->path));
}

/* Of a member who runs containers without root: these have ids of their own. */
static int member_process(const DockerCall *c, int *ret, Error *err) {
        int r = http_caller(c->http)->admin ? -EBADF : http_process(c->http);

        if (r < 0 && r != -EBADF)
                return error_errno(err, r, "cannot tell which process asks");
        *ret = r;
        return 0;
}

static void http_route_mount(DockerCall *c) {
        VolumeEntry *entry = find_or_end(c);
        Watcher watcher = docker_call_watcher(c);
        int r, process_fd = -EBADF;
        Error err = {};

        if (!entry)
                return;
        c->reply = reply_mounted;
        r = member_process(c, &process_fd, &err);
        if (r >= 0)
                r = volume_mount_for(docker_call_manager(c), http_caller(c->http), entry, c->request.id, process_fd,
                                     &watcher, &err);
        if (r < 0)
                docker_call_end_refused(c, entry, &err);
}

/* One that got another name meanwhile is called by that which it had when it was mounted. */
static void http_route_unmount(DockerCall *c) {
        Manager *m = docker_call_manager(c);
        Watcher watcher = docker_call_watcher(c);
        VolumeEntry *entry = NULL;
        Error err = {};
        int r;

        r = find(c, &entry, &err);
        if (r < 0 && err.kind == ERROR_NO_SUCH_VOLUME)
                entry = mount_id_find(m, http_caller(c->http), c->driver->tenant, c->request.id);
        if (entry)
                r = volume_unmount_for(m, http_caller(c->http), entry, c->request.id, &watcher, &err);
        if (r < 0)
                docker_call_end_refused(c, entry, &err);
}

/* Nobody has what is gone: to ask for that again is no failure. */
static void http_route_remove(DockerCall *c) {
        Watcher watcher = docker_call_watcher(c);
        VolumeEntry *entry;
        Error err = {};

        if (find(c, &entry, &err) < 0) {
                if (err.kind == ERROR_NO_SUCH_VOLUME)
                        docker_call_end_empty(c);
                else
                        docker_call_end_refused(c, NULL, &err);
        } else if (volume_remove_idle(docker_call_manager(c), http_caller(c->http), entry, &watcher, &err) < 0)
                docker_call_end_refused(c, entry, &err);
}

static const Route routes[] = {
        { "/Plugin.Activate", "activate", http_route_activate, .at_once = true },
        { "/VolumeDriver.Capabilities", "capabilities", http_route_capabilities, .at_once = true },
        { "/VolumeDriver.Create", "create", http_route_create, .has_body = true },
        { "/VolumeDriver.Get", "inspect", http_route_get, .has_body = true, .hangs_up = true },
        { "/VolumeDriver.List", "ls", http_route_list },
        { "/VolumeDriver.Path", "inspect", http_route_path, .has_body = true },
        { "/VolumeDriver.Mount", "mount", http_route_mount, .has_body = true, .has_id = true },
        { "/VolumeDriver.Unmount", "umount", http_route_unmount, .has_body = true, .has_id = true },
        { "/VolumeDriver.Remove", "rm", http_route_remove, .has_body = true },
};

/* --- requests -------------------------------------------------------------------------------------------- */

/* Whose member somebody is, is only known once the pools are there. */
static int check_member(const Driver *d, const Caller *caller, Error *err) {
        int r;

        if (caller->admin)
                return 0;
        r = find_tenant_anywhere(server_manager(d->server), caller, d->tenant, err);
        if (r >= 0 || err->kind != ERROR_NO_SUCH_TENANT)
                return r;
        return error_set(err, ERROR_PERMISSION_DENIED, EPERM, "user %u is no member of tenant %s", caller->uid,
                         d->tenant);
}

static bool is_stranger(const Caller *caller, void *userdata) {
        const Driver *d = userdata;

        return server_manager(d->server)->ready && check_member(d, caller, &(Error) {}) < 0;
}

static void run_again(DockerCall *c) {
        Manager *m = docker_call_manager(c);
        Error err = {};
        bool waits;

        if (!c->driver->listener) { /* nobody hears it */
                hang_up(c);
                return;
        }
        waits = !m->ready && (!c->route->at_once || !http_caller(c->http)->admin);
        if (waits && is_patient(c))
                hold(c);
        else if (waits && c->route->hangs_up)
                hang_up(c);
        else if (waits) {
                error_set(&err, ERROR_POOL_UNAVAILABLE, ENODEV, "the pools are not there yet");
                error_hint(&err, "quarry pool ls");
                docker_call_end_error(c, &err);
        } else if (check_member(c->driver, http_caller(c->http), &err) < 0)
                docker_call_end_refused(c, NULL, &err);
        else
                c->route->run(c);
}

static int request_read(DockerCall *c, Error *err) {
        const char *body = http_body(c->http);
        int r;

        if (!c->route->has_body) /* whatever comes along is not needed */
                return 0;
        r = body ? docker_request_parse(body, &c->request, err)
                 : error_set(err, ERROR_BAD_REQUEST, 0, "the request is no text");
        if (r >= 0)
                r = docker_request_check_name(&c->request, err);
        return r >= 0 && c->route->has_id ? docker_request_check_id(&c->request, err) : r;
}

/* What a quarryd that ended was asked comes to the next one without its body. */
static bool is_lost(const DockerCall *c) {
        const char *body = http_body(c->http);

        return body && isempty(body) && c->driver->began_usec + LOST_USEC > clock_usec(CLOCK_MONOTONIC);
}

static const Route *route_find(const char *path) {
        for (size_t i = 0; i < ELEMENTSOF(routes); i++)
                if (streq(routes[i].path, path))
                        return &routes[i];
        return NULL;
}

static void on_call(HttpCall *http, void *userdata) {
        const Route *route = route_find(http_path(http));
        const Caller *caller = http_caller(http);
        Driver *d = userdata;
        DockerCall *c;
        Error err = {};
        int r;

        if (!route || !http_is_post(http)) {
                error_set(&err, ERROR_NOT_SUPPORTED, 0,
                          route ? "that is asked for with POST" : "there is no such call");
                http_answer_error_as(http, route ? 405 : 404, &err);
                return;
        }
        c = calloc(1, sizeof(*c));
        if (!c) {
                (void) error_oom(&err);
                http_answer_error(http, &err);
                return;
        }
        *c = (DockerCall) { .driver = d, .http = http, .route = route };
        d->n_calls++;
        c->counted = (Caller) { .uid = caller->uid, .admin = caller->admin };
        if (server_manager(d->server)->ready && caller->admin)
                manager_try_again(server_manager(d->server));
        r = server_call_enter(d->server, caller, &err);
        c->entered = r >= 0;
        if (route->hangs_up && is_lost(c)) {
                hang_up(c);
                return;
        }
        if (r >= 0)
                r = request_read(c, &err);
        c->waits = route->run == http_route_mount && caller->admin;
        if (c->waits)
                mount_ids_wait(server_manager(d->server)->mount_ids);
        if (r < 0)
                docker_call_end_refused(c, NULL, &err);
        else
                run_again(c);
}

/* --- drivers --------------------------------------------------------------------------------------------- */

static int driver_make(Server *server, const char *tenant, int fd, Driver *d, Error *err) {
        int r;

        d->server = server;
        d->began_usec = clock_usec(CLOCK_MONOTONIC);
        buffer_format(d->tenant, sizeof(d->tenant), "%s", tenant);
        r = sd_event_add_time(server_manager(server)->event, &d->again, CLOCK_MONOTONIC, UINT64_MAX, 0, on_look_again,
                              d);
        if (r >= 0)
                r = sd_event_source_set_enabled(d->again, SD_EVENT_OFF);
        if (r >= 0)
                return http_listener_new(
                        server, fd, &(HttpEvents) { .on_call = on_call, .is_stranger = is_stranger, .userdata = d },
                        &d->listener, err);
        close(fd);
        return error_errno(err, r, "cannot set a timer");
}

int driver_new(Server *server, const char *tenant, int fd, Driver **driver, Error *err) {
        Driver *d = calloc(1, sizeof(*d)), **list = server_drivers(server);
        int r;

        if (!d) {
                close(fd);
                return error_oom(err);
        }
        r = driver_make(server, tenant, fd, d, err);
        if (r < 0) {
                sd_event_source_disable_unref(d->again);
                free(d);
                return r;
        }
        d->next = *list;
        *list = d;
        d->sibling = *driver;
        *driver = d;
        return 0;
}

/* What it began goes on, and nobody hears how it ends. */
static void close_one(Driver *d) {
        Driver **at = server_drivers(d->server);

        while (*at && *at != d)
                at = &(*at)->next;
        if (*at)
                *at = d->next;
        d->again = sd_event_source_disable_unref(d->again);
        d->n_calls++; /* for the rest of this function */
        http_listener_free(TAKE_PTR(d->listener));
        driver_look_again(d);
        if (--d->n_calls == 0)
                free(d);
}

void driver_close(Driver *d) {
        while (d) {
                Driver *sibling = d->sibling;

                close_one(d);
                d = sibling;
        }
}

void drivers_look_again(Server *server) {
        for (Driver *d = *server_drivers(server), *next; d; d = next) {
                next = d->next;
                driver_look_again(d);
        }
}
