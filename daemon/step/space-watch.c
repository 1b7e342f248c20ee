/* How full a pool is, told as it changes: woken by device-mapper's events, and by the clock so often that the fastest
 * disk cannot fill it between two looks. Only looks; what is to be done is for the broker to say. While the pool has
 * much left a look costs the same however many volumes there are. */

#include "step/step.h"

#include "kernel/dm-event.h"
#include "kernel/dm.h"
#include "kernel/fs.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SPEED (4 * GIB)        /* bytes a second that nobody writes faster */
#define LOOK_MS_MIN 200u
#define LOOK_MS_MAX 5000u
#define VOLUMES_MS_NEAR 1000u /* volumes are looked at this often when the pool has little left, */
#define VOLUMES_MS 30000u     /* and else */
#define REPORT_MS 5000u       /* a report at least this often, though nothing has changed */
#define NEAR_PART 4

typedef struct Places {
        dev_t *list; /* what the filesystems of the pool's volumes are on */
        size_t n;
} Places;

static uint64_t now_ms(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}

/* Bytes that the host has not written back yet, to whatever disk. */
static uint64_t dirty_of_host(void) {
        static const char *const fields[] = { "\nDirty:", "\nWriteback:" };
        _cleanup_free_ char *text = NULL;
        uint64_t sum = 0;

        if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) < 0)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                const char *at = strstr(text, fields[i]);

                if (at)
                        sum += strtoull(at + strlen(fields[i]), NULL, 10) * 1024;
        }
        return sum;
}

/* The same for these filesystems; of_host where the kernel does not tell them apart. */
static uint64_t dirty_of(const Places *places, uint64_t of_host) {
        uint64_t sum = 0, dirty;

        for (size_t i = 0; i < places->n; i++) {
                int r = fs_dirty(places->list[i], &dirty);

                if (r == -ENOENT)
                        return of_host;
                if (r >= 0)
                        sum += dirty;
        }
        return sum;
}

static int append_place(Places *places, sd_id128_t volume, dev_t thin) {
        char crypt[KERNEL_NAME_MAX];
        DmInfo info;
        dev_t *list;

        list = reallocarray(places->list, places->n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        places->list = list;
        volume_crypt_name(volume, crypt);
        list[places->n++] = dm_info(crypt, &info) < 0 ? thin : info.device;
        return 0;
}

static int append_volume(JobResult *report, sd_id128_t volume) {
        JobDevice device = { .uuid = volume, .stopped = limit_is_set(volume) }, *list;

        if (dm_thin_used(volume, &device.used) < 0)
                return 0; /* gone, or not ready */
        list = reallocarray(report->devices, report->n_devices + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        report->devices = list;
        list[report->n_devices++] = device;
        return 0;
}

/* The volumes of the pool that the kernel has. */
static int look_at_volumes(sd_id128_t of, Places *places, JobResult *report) {
        _cleanup_free_ DmInfo *list = NULL;
        size_t n = 0;
        int r;

        r = dm_list(&list, &n);
        places->n = 0;
        for (size_t i = 0; i < n && r >= 0; i++) {
                sd_id128_t pool, id;
                char kind[8];

                if (kernel_uuid_parse(list[i].uuid, &pool, kind, &id) < 0 || !streq(kind, "thin") ||
                    !sd_id128_equal(pool, of))
                        continue;
                r = append_volume(report, id);
                if (r >= 0)
                        r = append_place(places, id, list[i].device);
        }
        return r;
}

static int look_at_pool(sd_id128_t pool, JobResult *report) {
        DmPoolStatus status;
        uint64_t reserve = 0;

        if (dm_pool_status(pool, &status) < 0 || dm_pool_reserve(pool, &reserve) < 0)
                return 0; /* not there now, or in an error that others report */
        report->spaces = calloc(1, sizeof(*report->spaces));
        if (!report->spaces)
                return -ENOMEM;
        report->n_spaces = 1;
        report->spaces[0] = (JobSpace) {
                .uuid = pool,
                .data_size = status.data_size,
                .data_used = status.data_used,
                .metadata_size = status.metadata_size,
                .metadata_used = status.metadata_used,
                .dirty = dirty_of_host(), /* at most */
                .full = status.out_of_data_space,
                .relieved = reserve < POOL_CHUNK_SIZE_MIN,
                .read_only = status.read_only || status.needs_check,
                .failed = status.failed,
        };
        return 0;
}

static bool takes_nothing(const JobSpace *s) {
        return s->failed || s->read_only;
}

/* Whether it has little left, or would have if all that the host has to write back went into it. */
static bool is_near(const JobResult *report) {
        for (size_t i = 0; i < report->n_spaces; i++) {
                const JobSpace *s = &report->spaces[i];
                uint64_t left = s->data_size - s->data_used;

                if (!takes_nothing(s) && (left < s->data_size / NEAR_PART || s->dirty > left / NEAR_PART))
                        return true;
        }
        return false;
}

/* Until when the pool cannot run full. */
static unsigned look_again_in(const JobResult *report) {
        uint64_t least = LOOK_MS_MAX;

        for (size_t i = 0; i < report->n_spaces; i++) {
                const JobSpace *s = &report->spaces[i];
                uint64_t ms = (s->data_size - s->data_used) / (SPEED / 1000);

                if (!takes_nothing(s) && ms < least)
                        least = ms;
        }
        return least < LOOK_MS_MIN ? LOOK_MS_MIN : (unsigned) least;
}

static bool is_news(const JobResult *report, const JobResult *last, uint64_t reported) {
        if (now_ms() >= reported + REPORT_MS || report->n_devices > 0 || report->n_spaces != last->n_spaces)
                return true;
        return report->n_spaces > 0 &&
               memcmp(report->spaces, last->spaces, report->n_spaces * sizeof(*report->spaces)) != 0;
}

/* Returns 1 after an event, 0 after the time; -ECONNRESET when nobody listens any more. */
static int wait_for_news(StepContext *c, int events, unsigned ms) {
        struct pollfd polled[] = { { .fd = events, .events = POLLIN }, { .fd = c->hangup_fd, .events = POLLRDHUP } };
        int r = RET_NERRNO(poll(polled, ELEMENTSOF(polled), (int) ms));

        if (r < 0)
                return r == -EINTR ? 0 : r;
        if (polled[1].revents)
                return -ECONNRESET;
        return polled[0].revents ? 1 : 0;
}

static int look(sd_id128_t pool, Places *places, uint64_t *volumes_due, JobResult *report, bool *ret_near) {
        bool near;
        int r;

        r = look_at_pool(pool, report);
        if (r < 0)
                return r;
        near = is_near(report);
        if (near && *volumes_due > now_ms() + VOLUMES_MS_NEAR)
                *volumes_due = 0;
        if (now_ms() >= *volumes_due) {
                r = look_at_volumes(pool, places, report);
                if (r < 0)
                        return r;
                *volumes_due = now_ms() + (near ? VOLUMES_MS_NEAR : VOLUMES_MS);
        }
        if (near)
                report->spaces[0].dirty = dirty_of(places, report->spaces[0].dirty);
        *ret_near = near;
        return 0;
}

static int watch(StepContext *c, int events, Places *places, JobResult *last) {
        uint64_t volumes_due = 0, reported = 0;

        for (;;) {
                _cleanup_(job_result_done) JobResult report = {};
                bool near;
                int r;

                r = dm_event_arm(events); /* first: what comes while we look wakes us again */
                if (r >= 0)
                        r = look(c->job->pool, places, &volumes_due, &report, &near);
                if (r < 0)
                        return r;
                if (is_news(&report, last, reported)) {
                        c->on_report(&report, c->userdata);
                        reported = now_ms();
                }
                unsigned ms = look_again_in(&report);
                job_result_done(last);
                *last = report;
                report = (JobResult) {};
                r = wait_for_news(c, events, ms);
                if (r < 0)
                        return r;
                if (r > 0 && near)
                        volumes_due = 0; /* a volume may have come or gone */
                else if (r > 0)
                        (void) usleep(LOOK_MS_MIN * 1000); /* where one comes or goes there are several events */
        }
}

static int space_watch_run(StepContext *c, Error *err) {
        _cleanup_(job_result_done) JobResult last = {};
        _cleanup_close_ int events = -EBADF;
        Places places = {};
        int r;

        events = r = dm_event_open();
        if (r >= 0)
                r = watch(c, events, &places, &last);
        free(places.list);
        return error_errno(err, r, "cannot watch the pool");
}

const Step step_space_watch = { "watching the pool", NULL, space_watch_run, NULL };
