#include "broker/space-link.h"

#include "broker/link.h"

#include <quarry/log.h>

#define PAUSE_USEC UINT64_C(1000000) /* before the next worker is asked */

struct SpaceLink {
        sd_event *event;
        SpaceReport on_report;
        void *userdata;
        Link *link; /* NULL between two */
        Task task;
        sd_event_source *pause;
};

static void try_again(SpaceLink *s) {
        (void) sd_event_source_set_time_relative(s->pause, PAUSE_USEC);
        (void) sd_event_source_set_enabled(s->pause, SD_EVENT_ONESHOT);
}

static void on_ended(Link *link, Task *task, JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        SpaceLink *s = userdata;

        log_warning("space", "nobody watches a pool: %s; the next worker is asked to", err ? err->text : "it ended");
        try_again(s);
}

static void on_gone(Link *link, void *userdata) {
        SpaceLink *s = userdata;

        s->link = NULL;
        link_free(link);
}

static int connect_watch(SpaceLink *s, Error *err) {
        int r;

        link_free(s->link);
        s->link = NULL;
        r = link_new(s->event, on_ended, on_gone, s, &s->link, err);
        return r < 0 ? r : link_send(s->link, &s->task, err);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        SpaceLink *s = userdata;
        Error err = {};

        if (connect_watch(s, &err) < 0) {
                log_debug("space", "cannot have a pool watched: %s", err.text);
                try_again(s);
        }
        return 0;
}

int space_link_new(sd_event *event, sd_id128_t pool, SpaceReport on_report, void *userdata, SpaceLink **ret,
                   Error *err) {
        const Job job = { .verb = JOB_POOL_WATCH, .pool = pool };
        SpaceLink *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return error_oom(err);
        *s = (SpaceLink) {
                .event = sd_event_ref(event),
                .on_report = on_report,
                .userdata = userdata,
                .task = { .key_fd = -EBADF, .second_fd = -EBADF, .on_report = on_report, .userdata = userdata }
        };
        r = job_to_json(&job, &s->task.job);
        if (r >= 0)
                r = sd_event_add_time(event, &s->pause, CLOCK_MONOTONIC, 0, 0, on_pause_over, s);
        if (r < 0) {
                space_link_free(s);
                return error_errno(err, r, "cannot set up the watch of the pool");
        }
        *ret = s;
        return 0;
}

void space_link_free(SpaceLink *s) {
        if (!s)
                return;
        sd_event_source_disable_unref(s->pause);
        link_free(s->link);
        sd_json_variant_unref(s->task.job);
        sd_event_unref(s->event);
        free(s);
}
