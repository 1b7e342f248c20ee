/* New volumes, as container engines ask for them. */

#include "front/docker-call.h"

#include "broker/find.h"

#include <quarry/fd.h>
#include <quarry/schedule.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <stdio.h>

static int reply_scheduled(DockerCall *c, Operation *op, sd_json_variant **ret) {
        return sd_json_variant_new_object(ret, NULL, 0);
}

/* A new volume gets its schedule behind its creation: who asks for the same again has that done. */
static int schedule_set(DockerCall *c, VolumeEntry *entry, Error *err) {
        VolumeUpdate update = { .schedule = TAKE_PTR(c->schedule) };
        Watcher watcher = docker_call_watcher(c);

        c->reply = reply_scheduled;
        return volume_update(docker_call_manager(c), http_caller(c->http), entry, &update, -EBADF, &watcher, err);
}

static int reply_created(DockerCall *c, Operation *op, sd_json_variant **ret) {
        Error err = {};

        if (!c->schedule)
                return sd_json_variant_new_object(ret, NULL, 0);
        if (schedule_set(c, op->volume, &err) < 0)
                docker_call_end_error(c, &err);
        return 0;
}

static int check_schedule(const DockerCall *c, const VolumeEntry *entry, Error *err) {
        if (!c->schedule || streq_ptr(c->schedule, entry->volume.schedule))
                return 0;
        return error_set(err, ERROR_VOLUME_EXISTS, EEXIST,
                         "volume %s exists with a different snapshot schedule: %s, asked for %s",
                         entry->volume.spec.name, entry->volume.schedule ?: "that of its pool", c->schedule);
}

static int take_schedule(DockerCall *c, const DockerOptions *o, Error *err) {
        Schedule schedule;
        int r;

        free(TAKE_PTR(c->schedule)); /* of the time before it was asked anew */
        if (!o->schedule)
                return 0;
        r = schedule_parse(o->schedule, "snapshot-schedule", &schedule, err);
        if (r < 0)
                return r;
        c->schedule = schedule_format(&schedule);
        return c->schedule ? 0 : error_oom(err);
}

/* Who runs containers without root is root in them, and the volume shows their ids. */
static bool has_ids_of_its_own(const Caller *caller) {
        _cleanup_free_ char *map = NULL;
        unsigned inside, outside, count;
        char path[64];

        buffer_format(path, sizeof(path), "/proc/%d/uid_map", (int) caller->pid);
        return file_read(AT_FDCWD, path, 4096, &map, NULL) >= 0 &&
               !(sscanf(map, "%u %u %u", &inside, &outside, &count) == 3 && count == UINT32_MAX);
}

static int spec_complete(const DockerCall *c, DockerOptions *o, Error *err) {
        Caller owner = *http_caller(c->http);
        VolumeSpec *spec = &o->spec;
        unsigned said = (o->has_fs ? SAID_FS : 0) | (o->has_uid ? SAID_UID : 0) | (o->has_gid ? SAID_GID : 0) |
                        (o->has_mode ? SAID_MODE : 0);

        buffer_format(spec->name, sizeof(spec->name), "%s", c->request.name);
        buffer_format(spec->tenant, sizeof(spec->tenant), "%s", c->driver->tenant);
        if (!o->has_size && spec->kind == KIND_BLOCK)
                spec->size = docker_call_manager(c)->config.docker_size;
        if (!owner.admin && has_ids_of_its_own(&owner))
                owner.uid = owner.gid = 0;
        return volume_complete_spec(&owner, said, spec, err);
}

static int clone(DockerCall *c, const DockerOptions *o, Error *err) {
        char text[REFERENCE_MAX];
        Watcher watcher = docker_call_watcher(c);
        VolumeEntry *snapshot;
        Reference name = {};
        int r;

        buffer_format(text, sizeof(text), "%s/%s", c->driver->tenant, o->from);
        r = find_volume(docker_call_manager(c), http_caller(c->http), text, &snapshot, err);
        if (r < 0)
                return r;
        buffer_format(name.pool, sizeof(name.pool), "%s", o->spec.pool);
        buffer_format(name.tenant, sizeof(name.tenant), "%s", c->driver->tenant);
        buffer_format(name.name, sizeof(name.name), "%s", c->request.name);
        return volume_clone(docker_call_manager(c), http_caller(c->http), snapshot, &name, o->spec.labels, -EBADF,
                            &watcher, err);
}

void http_route_create(DockerCall *c) {
        _cleanup_(docker_options_done) DockerOptions o = DOCKER_OPTIONS_DEFAULT;
        VolumeEntry *existing = NULL;
        Error err = {};
        int r;

        c->reply = reply_created;
        r = docker_options_parse(c->request.options, &o, &err);
        if (r >= 0)
                r = take_schedule(c, &o, &err);
        if (r >= 0 && !o.from)
                r = spec_complete(c, &o, &err);
        if (r >= 0 && o.from)
                r = clone(c, &o, &err);
        else if (r >= 0) {
                Watcher watcher = docker_call_watcher(c);

                r = volume_create(docker_call_manager(c), http_caller(c->http), &o.spec, -EBADF, true, &watcher,
                                  &existing, &err);
        }
        if (existing)
                r = check_schedule(c, existing, &err);
        if (r < 0)
                docker_call_end_refused(c, existing, &err);
        else if (existing)
                docker_call_end_empty(c);
}
