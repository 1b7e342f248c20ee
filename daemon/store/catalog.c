#include "store/catalog.h"

#include "store/row.h"
#include "store/run.h"
#include "store/schema.h"
#include "store/tenant.h"

#include <quarry/clock.h>
#include <quarry/failpoint.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>

#define FREE_WAIT_SECONDS 1

typedef enum ChangeKind {
        CHANGE_PUT,
        CHANGE_DELETE,
        CHANGE_CHECK,
        CHANGE_TOUCH,
        CHANGE_RUN,
        CHANGE_SETTING,
        CHANGE_TENANT
} ChangeKind;

typedef struct Change {
        struct Change *next;
        ChangeKind kind;
        Row *rows; /* CHANGE_PUT; CHANGE_DELETE: one, of which only the UUID counts */
        size_t n_rows;
        ScheduleRun run; /* CHANGE_RUN */
        Setting setting; /* CHANGE_SETTING */
        Tenant tenant;   /* CHANGE_TENANT */
        bool goes;       /* the run, or the tenant */
        CatalogDone done;
        void *userdata;
        Error err; /* kind ERROR_NONE: durable */
} Change;

typedef struct Queue {
        Change *first, **last;
} Queue;

struct Catalog {
        char *folder;
        sqlite3 *db;
        sqlite3_stmt *upsert, *delete;
        int fd;

        CatalogVolume on_volume;
        CatalogOpened on_opened;
        void *userdata;
        void (*on_closed)(void *userdata);
        void *closed_userdata;

        pthread_mutex_t lock; /* what follows is shared with the thread */
        pthread_cond_t wake;  /* the thread: something is waiting, or stop */
        pthread_cond_t end;
        VolumeList volumes;      /* read, and not handed over yet */
        RunList runs;         /* the same */
        SettingList settings;
        TenantList tenants;
        Error err;            /* of the opening */
        bool opened;          /* or failed to; to be told */
        Queue waiting, finished;
        bool stop;
        bool closed;
        uint64_t writing_since; /* CLOCK_MONOTONIC; 0: not writing */
        Error failure;          /* the first that the disk is to blame for */
        unsigned owners; /* the broker and the thread: the last one frees */
};

static void queue_push(Queue *q, Change *change) {
        change->next = NULL;
        if (!q->first)
                q->last = &q->first;
        *q->last = change;
        q->last = &change->next;
}

static Change *queue_take_all(Queue *q) {
        Change *all = q->first;

        q->first = NULL;
        return all;
}

static void change_free(Change *change) {
        for (size_t i = 0; i < change->n_rows; i++)
                row_done(&change->rows[i]);
        free(change->rows);
        schedule_run_done(&change->run);
        setting_done(&change->setting);
        tenant_done(&change->tenant);
        free(change);
}

static void changes_free(Change *change) {
        while (change) {
                Change *next = change->next;

                change_free(change);
                change = next;
        }
}

/* --- opening and closing, in the thread ----------------------------------------------------------------- */

static int database_open(Catalog *c, Error *err) {
        int r;

        r = schema_open(c->folder, &c->db, err);
        if (r < 0)
                return r;
        if (sqlite3_prepare_v2(c->db, ROW_UPSERT, -1, &c->upsert, NULL) != SQLITE_OK ||
            sqlite3_prepare_v2(c->db, ROW_DELETE, -1, &c->delete, NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "prepare the catalog");
        return 0;
}

static void database_close(Catalog *c) {
        sqlite3_finalize(TAKE_PTR(c->upsert));
        sqlite3_finalize(TAKE_PTR(c->delete));
        if (c->db && sqlite3_close(TAKE_PTR(c->db)) != SQLITE_OK)
                log_error("catalog", "cannot close %s", c->folder);
}

static int thread_open(Catalog *c) {
        VolumeList volumes = {};
        Error err = {};
        int r;

        r = database_open(c, &err);
        if (r >= 0) /* nobody else looks at these before they are told of */
                r = run_list_read(c->db, &c->runs, &c->settings, &err);
        if (r >= 0)
                r = tenant_list_read(c->db, &c->tenants, &err);
        if (r >= 0)
                r = volume_list_read(c->db, &volumes, &err);
        if (r < 0) {
                volume_list_done(&volumes);
                database_close(c); /* before it is told: who hears of it may try again */
        }
        pthread_mutex_lock(&c->lock);
        c->volumes = volumes;
        c->err = err;
        c->opened = true;
        pthread_mutex_unlock(&c->lock);
        (void) eventfd_write(c->fd, 1);
        return r;
}

/* --- writing, in the thread ----------------------------------------------------------------------------- */

static int row_write(Catalog *c, const Row *row, bool is_delete, Error *err) {
        sqlite3_stmt *s = is_delete ? c->delete : c->upsert;
        int code;

        if (is_delete)
                sqlite3_bind_text(s, 1, row->uuid, -1, SQLITE_STATIC);
        else
                row_bind(row, s);
        code = sqlite3_step(s);
        if (code != SQLITE_DONE)
                (void) sqlite_error(c->db, err, "write the catalog");
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return code == SQLITE_DONE ? 0 : -EIO;
}

static int change_write(Catalog *c, Change *change) {
        int r = 0;

        if (change->kind == CHANGE_CHECK)
                return schema_check(c->db, &change->err);
        if (change->kind == CHANGE_TOUCH)
                return schema_touch(c->db, &change->err);
        if (change->kind == CHANGE_RUN)
                return schedule_run_write(c->db, &change->run, change->goes, &change->err);
        if (change->kind == CHANGE_SETTING)
                return setting_write(c->db, &change->setting, &change->err);
        if (change->kind == CHANGE_TENANT)
                return tenant_write(c->db, &change->tenant, change->goes, &change->err);
        for (size_t i = 0; i < change->n_rows && r >= 0; i++)
                r = row_write(c, &change->rows[i], change->kind == CHANGE_DELETE, &change->err);
        return r;
}

static const char *change_name(const Change *change) {
        return change->kind == CHANGE_DELETE    ? "delete"
               : change->kind == CHANGE_PUT     ? volume_state_to_string(change->rows[0].state)
               : change->kind == CHANGE_RUN     ? "run"
               : change->kind == CHANGE_SETTING ? "setting"
               : change->kind == CHANGE_TENANT  ? "tenant"
                                                : "check";
}

static int batch_commit(Catalog *c, const char *name, Error *err) {
        int r;

        r = failpoint("catalog.%s.before", name);
        if (r >= 0 && sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "write the catalog");
        if (r >= 0) /* a commit that is said to have failed may be on the disk all the same */
                r = failpoint("catalog.%s.after", name);
        return r < 0 ? error_set(err, r == -ENOSPC ? ERROR_NO_SPACE : ERROR_FAILED, r, "cannot write the catalog: %s",
                                 strerror(-r))
                     : 0;
}

/* All or none: when one fails, each is tried again in a transaction of its own, so that only the bad one is
 * refused. */
static int batch_write(Catalog *c, Change *batch, Change *end) {
        Error err = {};
        int r = 0;

        if (sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
                r = sqlite_error(c->db, &err, "write the catalog");
        for (Change *change = batch; r >= 0 && change != end; change = change->next) {
                r = change_write(c, change);
                err = change->err;
        }
        if (r >= 0)
                r = batch_commit(c, change_name(batch), &err);
        if (r >= 0)
                return 0;

        (void) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
        for (Change *change = batch; change != end; change = change->next)
                change->err = err;
        return r;
}

static void batch_write_or_each(Catalog *c, Change *batch) {
        if (batch_write(c, batch, NULL) >= 0 || !batch->next)
                return;
        for (Change *change = batch; change; change = change->next) {
                change->err = (Error) {};
                (void) batch_write(c, change, change->next); /* its error is in the change */
        }
}

static void thread_write(Catalog *c) {
        for (;;) {
                pthread_mutex_lock(&c->lock);
                while (!c->waiting.first && !c->stop)
                        pthread_cond_wait(&c->wake, &c->lock);
                Change *batch = queue_take_all(&c->waiting);
                c->writing_since = clock_usec(CLOCK_MONOTONIC);
                pthread_mutex_unlock(&c->lock);
                if (!batch)
                        return;

                batch_write_or_each(c, batch);

                pthread_mutex_lock(&c->lock);
                c->writing_since = 0;
                while (batch) {
                        Change *next = batch->next;
                        if (batch->err.number == EIO && batch->err.kind != ERROR_NONE && c->failure.kind == ERROR_NONE)
                                c->failure = batch->err;
                        queue_push(&c->finished, batch);
                        batch = next;
                }
                pthread_mutex_unlock(&c->lock);
                (void) eventfd_write(c->fd, 1);
        }
}

/* --- both sides ----------------------------------------------------------------------------------------- */

static void catalog_unref(Catalog *c) {
        bool last;

        pthread_mutex_lock(&c->lock);
        last = --c->owners == 0;
        pthread_mutex_unlock(&c->lock);
        if (!last)
                return;
        changes_free(c->waiting.first);
        changes_free(c->finished.first);
        volume_list_done(&c->volumes);
        run_list_done(&c->runs);
        setting_list_done(&c->settings);
        tenant_list_done(&c->tenants);
        pthread_cond_destroy(&c->end);
        pthread_cond_destroy(&c->wake);
        pthread_mutex_destroy(&c->lock);
        if (c->fd >= 0)
                close(c->fd);
        free(c->folder);
        free(c);
}

static void *thread_main(void *userdata) {
        Catalog *c = userdata;

        if (thread_open(c) >= 0) {
                thread_write(c);
                database_close(c);
        }
        pthread_mutex_lock(&c->lock);
        c->closed = true;
        pthread_cond_signal(&c->end);
        pthread_mutex_unlock(&c->lock);
        (void) eventfd_write(c->fd, 1);
        catalog_unref(c);
        return NULL;
}

/* --- the broker's side ---------------------------------------------------------------------------------- */

static int change_queue(Catalog *c, Change *change) {
        pthread_mutex_lock(&c->lock);
        queue_push(&c->waiting, change);
        pthread_cond_signal(&c->wake);
        pthread_mutex_unlock(&c->lock);
        return 0;
}

/* With room for so many rows. */
static int change_new(ChangeKind kind, size_t n, CatalogDone done, void *userdata, Change **ret, Error *err) {
        Change *change = calloc(1, sizeof(*change));

        if (change)
                *change = (Change) { .kind = kind, .done = done, .userdata = userdata };
        if (change && n > 0)
                change->rows = calloc(n, sizeof(*change->rows));
        if (!change || (n > 0 && !change->rows)) {
                free(change);
                (void) error_oom(err);
                return -ENOMEM;
        }
        *ret = change;
        return 0;
}

int catalog_put_volumes(Catalog *c, const Volume *const *volumes, size_t n, CatalogDone done, void *userdata,
                        Error *err) {
        Change *change = NULL;
        int r;

        r = change_new(CHANGE_PUT, n, done, userdata, &change, err);
        if (r < 0)
                return r;
        for (; change->n_rows < n; change->n_rows++)
                if (row_from_volume(volumes[change->n_rows], &change->rows[change->n_rows]) < 0) {
                        change_free(change);
                        return error_oom(err);
                }
        return change_queue(c, change);
}

int catalog_put_volume(Catalog *c, const Volume *volume, CatalogDone done, void *userdata, Error *err) {
        return catalog_put_volumes(c, &volume, 1, done, userdata, err);
}

int catalog_delete_volume(Catalog *c, sd_id128_t uuid, CatalogDone done, void *userdata, Error *err) {
        Change *change = NULL;
        int r;

        r = change_new(CHANGE_DELETE, 1, done, userdata, &change, err);
        if (r < 0)
                return r;
        uuid_format(uuid, change->rows[0].uuid);
        change->n_rows = 1;
        return change_queue(c, change);
}

int catalog_put_run(Catalog *c, const ScheduleRun *run, bool goes, CatalogDone done, void *userdata, Error *err) {
        Change *change = NULL;
        int r;

        r = change_new(CHANGE_RUN, 0, done, userdata, &change, err);
        if (r < 0)
                return r;
        change->goes = goes;
        if (schedule_run_copy(run, &change->run) < 0) {
                change_free(change);
                return error_oom(err);
        }
        return change_queue(c, change);
}

int catalog_put_setting(Catalog *c, const char *name, const char *value, CatalogDone done, void *userdata, Error *err) {
        Change *change = NULL;
        int r;

        r = change_new(CHANGE_SETTING, 0, done, userdata, &change, err);
        if (r < 0)
                return r;
        change->setting = (Setting) { .name = strdup(name), .value = value ? strdup(value) : NULL };
        if (!change->setting.name || (value && !change->setting.value)) {
                change_free(change);
                return error_oom(err);
        }
        return change_queue(c, change);
}

int catalog_put_tenant(Catalog *c, const Tenant *tenant, bool goes, CatalogDone done, void *userdata, Error *err) {
        Change *change = NULL;
        int r;

        r = change_new(CHANGE_TENANT, 0, done, userdata, &change, err);
        if (r < 0)
                return r;
        change->goes = goes;
        if (tenant_copy(tenant, &change->tenant) < 0) {
                change_free(change);
                return error_oom(err);
        }
        return change_queue(c, change);
}

const Tenant *catalog_tenants(const Catalog *c, size_t *ret_n) {
        *ret_n = c->tenants.n;
        return c->tenants.list;
}

const char *catalog_setting(const Catalog *c, const char *name) {
        for (size_t i = 0; i < c->settings.n; i++)
                if (streq(c->settings.list[i].name, name))
                        return c->settings.list[i].value;
        return NULL;
}

const ScheduleRun *catalog_runs(const Catalog *c, size_t *ret_n) {
        *ret_n = c->runs.n;
        return c->runs.list;
}

static int question_queue(Catalog *c, ChangeKind kind, CatalogDone done, void *userdata, Error *err) {
        Change *change = NULL;
        int r;

        r = change_new(kind, 0, done, userdata, &change, err);
        return r < 0 ? r : change_queue(c, change);
}

int catalog_check(Catalog *c, CatalogDone done, void *userdata, Error *err) {
        return question_queue(c, CHANGE_CHECK, done, userdata, err);
}

int catalog_touch(Catalog *c, CatalogDone done, void *userdata, Error *err) {
        return question_queue(c, CHANGE_TOUCH, done, userdata, err);
}

int catalog_fd(const Catalog *c) {
        return c->fd;
}

static void tell_opened(Catalog *c, VolumeList *volumes, Error *err) {
        for (size_t i = 0; i < volumes->n && err->kind == ERROR_NONE; i++)
                if (c->on_volume(&volumes->list[i], c->userdata, err) < 0 && err->kind == ERROR_NONE)
                        error_oom(err);
        volume_list_done(volumes);
        c->on_opened(err->kind == ERROR_NONE ? NULL : err, c->userdata);
}

void catalog_dispatch(Catalog *c) {
        void (*on_closed)(void *userdata) = NULL;
        eventfd_t n;

        (void) eventfd_read(c->fd, &n);
        pthread_mutex_lock(&c->lock);
        Change *finished = queue_take_all(&c->finished);
        VolumeList volumes = c->volumes;
        Error err = c->err;
        bool opened = c->opened;
        c->volumes = (VolumeList) {};
        c->opened = false;
        if (c->closed)
                on_closed = TAKE_PTR(c->on_closed);
        void *closed_userdata = c->closed_userdata;
        pthread_mutex_unlock(&c->lock);

        if (opened) /* a failed one is also closed, but nobody waits for that yet */
                tell_opened(c, &volumes, &err);
        while (finished) {
                Change *change = finished;

                finished = change->next;
                change->next = NULL;
                change->done(change->err.kind == ERROR_NONE ? NULL : &change->err, change->userdata);
                changes_free(change);
        }
        if (on_closed)
                on_closed(closed_userdata);
}

int catalog_health(Catalog *c, Error *err) {
        int r = 0;

        pthread_mutex_lock(&c->lock);
        if (c->failure.kind != ERROR_NONE) {
                *err = c->failure;
                r = error_code(err);
        } else if (c->writing_since > 0 && clock_usec(CLOCK_MONOTONIC) - c->writing_since > CATALOG_PATIENCE_USEC)
                r = error_set(err, ERROR_POOL_UNAVAILABLE, ETIMEDOUT, "the catalog's disk does not answer");
        pthread_mutex_unlock(&c->lock);
        return r;
}

/* Signals are the broker's: its event loop takes them. */
static int thread_start(Catalog *c) {
        pthread_attr_t detached;
        sigset_t all, before;
        pthread_t thread;
        int r;

        c->owners = 2;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&thread, &detached, thread_main, c);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&detached);
        if (r != 0)
                c->owners = 1;
        return -r;
}

int catalog_open(const char *folder, CatalogVolume on_volume, CatalogOpened on_opened, void *userdata, Catalog **ret,
                 Error *err) {
        Catalog *c = malloc(sizeof(*c));
        int r;

        if (!c)
                return error_oom(err);
        *c = (Catalog) { .folder = strdup(folder),
                         .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                         .owners = 1,
                         .on_volume = on_volume,
                         .on_opened = on_opened,
                         .userdata = userdata };
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->wake, NULL);
        pthread_cond_init(&c->end, NULL);
        r = !c->folder ? error_oom(err) : c->fd < 0 ? error_errno(err, errno, "cannot make an eventfd") : 0;
        if (r >= 0) {
                r = thread_start(c);
                if (r < 0)
                        error_errno(err, r, "cannot start the catalog's thread");
        }
        if (r < 0) {
                catalog_unref(c);
                return r;
        }
        *ret = c;
        return 0;
}

static void stop(Catalog *c) {
        c->stop = true;
        pthread_cond_signal(&c->wake);
}

void catalog_close(Catalog *c, void (*on_closed)(void *userdata), void *userdata) {
        pthread_mutex_lock(&c->lock);
        c->on_closed = on_closed;
        c->closed_userdata = userdata;
        stop(c);
        pthread_mutex_unlock(&c->lock);
        (void) eventfd_write(c->fd, 1); /* it may be closed already, and told so */
}

void catalog_free(Catalog *c) {
        struct timespec limit;

        if (!c)
                return;
        pthread_mutex_lock(&c->lock);
        if (!c->stop) {
                stop(c);
                clock_gettime(CLOCK_REALTIME, &limit);
                limit.tv_sec += FREE_WAIT_SECONDS;
                while (!c->closed && pthread_cond_timedwait(&c->end, &c->lock, &limit) != ETIMEDOUT)
                        ;
        }
        pthread_mutex_unlock(&c->lock);
        catalog_unref(c);
}
