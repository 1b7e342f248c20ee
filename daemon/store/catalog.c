#include "store/catalog.h"

#include "store/row.h"
#include "store/schema.h"

#include <quarry/failpoint.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>

#define FREE_PATIENCE 2 /* seconds */

typedef struct Change {
        struct Change *next;
        bool is_delete;
        Row row;
        CatalogDone done;
        void *userdata;
        Error err; /* kind ERROR_NONE: durable */
} Change;

typedef struct Queue {
        Change *first, **last;
} Queue;

struct Catalog {
        /* the writer's own, once it runs */
        char *folder;
        sqlite3 *db;
        sqlite3_stmt *upsert, *delete;

        /* the broker's own */
        int fd;
        pthread_t writer;
        CatalogOpened on_opened;
        CatalogDone on_closed;
        void *opened_userdata, *closed_userdata;
        bool is_told; /* that it is open, or why not */

        pthread_mutex_t lock; /* what follows is shared */
        pthread_cond_t wake, end;
        Queue waiting, finished;
        CatalogVolumes volumes;
        Error open_err; /* kind ERROR_NONE: it could be opened */
        uint64_t busy_since;
        bool was_opened, stop, has_ended, is_abandoned;
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

static void changes_free(Change *change) {
        while (change) {
                Change *next = change->next;

                row_done(&change->row);
                free(change);
                change = next;
        }
}

/* --- the writer ----------------------------------------------------------------------------------------- */

static int change_write(Catalog *c, Change *change) {
        sqlite3_stmt *s = change->is_delete ? c->delete : c->upsert;
        int code;

        if (change->is_delete)
                sqlite3_bind_text(s, 1, change->row.uuid, -1, SQLITE_STATIC);
        else
                row_bind(&change->row, s);
        code = sqlite3_step(s);
        if (code != SQLITE_DONE)
                (void) sqlite_error(c->db, &change->err, "write the catalog");
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return code == SQLITE_DONE ? 0 : -EIO;
}

static const char *change_name(const Change *change) {
        return change->is_delete ? "delete" : volume_state_to_string(change->row.state);
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

/* --- opening and closing it: may take as long as the disk likes ------------------------------------------- */

void catalog_volumes_done(CatalogVolumes *volumes) {
        for (size_t i = 0; i < volumes->n; i++)
                volume_done(&volumes->list[i]);
        free(volumes->list);
        *volumes = (CatalogVolumes) {};
}

static int row_load(sqlite3_stmt *s, CatalogVolumes *volumes, Error *err) {
        Volume *list;
        int r;

        list = reallocarray(volumes->list, volumes->n + 1, sizeof(*list));
        if (!list)
                return error_oom(err);
        volumes->list = list;
        list[volumes->n] = (Volume) {};
        r = row_to_volume(s, &list[volumes->n]);
        if (r == -ENOMEM)
                return error_oom(err);
        if (r < 0)
                return error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "the catalog's row of volume %s breaks a rule",
                                 (const char *) sqlite3_column_text(s, 0));
        volumes->n++;
        return 0;
}

static int database_load(Catalog *c, CatalogVolumes *ret, Error *err) {
        _cleanup_(catalog_volumes_done) CatalogVolumes volumes = {};
        sqlite3_stmt *s = NULL;
        int r = 0, code = SQLITE_DONE;

        if (sqlite3_prepare_v2(c->db, ROW_SELECT, -1, &s, NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "read the catalog");
        while (r >= 0 && (code = sqlite3_step(s)) == SQLITE_ROW)
                r = row_load(s, &volumes, err);
        if (r >= 0 && code != SQLITE_DONE)
                r = sqlite_error(c->db, err, "read the catalog");
        sqlite3_finalize(s);
        if (r < 0)
                return r;
        *ret = volumes;
        volumes = (CatalogVolumes) {};
        return 0;
}

static int database_open(Catalog *c, Error *err) {
        _cleanup_free_ char *path = format_new("%s/catalog.db", c->folder);
        int r;

        if (!path)
                return error_oom(err);
        if (sqlite3_open_v2(path, &c->db,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW,
                            NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "open the catalog");
        sqlite3_extended_result_codes(c->db, 0);
        r = schema_prepare(c->db, c->folder, err);
        if (r < 0)
                return r;
        if (sqlite3_prepare_v2(c->db, ROW_UPSERT, -1, &c->upsert, NULL) != SQLITE_OK ||
            sqlite3_prepare_v2(c->db, ROW_DELETE, -1, &c->delete, NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "prepare the catalog");
        return 0;
}

static void database_close(Catalog *c) {
        sqlite3_finalize(c->upsert);
        sqlite3_finalize(c->delete);
        if (c->db && sqlite3_close(c->db) != SQLITE_OK)
                log_error("catalog", "cannot close: %s", sqlite3_errmsg(c->db));
        c->db = NULL;
}

static void catalog_destroy(Catalog *c) {
        changes_free(c->waiting.first);
        changes_free(c->finished.first);
        catalog_volumes_done(&c->volumes);
        pthread_cond_destroy(&c->wake);
        pthread_cond_destroy(&c->end);
        pthread_mutex_destroy(&c->lock);
        if (c->fd >= 0)
                close(c->fd);
        free(c->folder);
        free(c);
}

/* --- the writer's life ---------------------------------------------------------------------------------- */

static uint64_t now_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static int writer_open(Catalog *c) {
        CatalogVolumes volumes = {};
        Error err = {};
        int r;

        r = database_open(c, &err);
        if (r >= 0)
                r = database_load(c, &volumes, &err);
        pthread_mutex_lock(&c->lock);
        c->volumes = volumes;
        c->open_err = err;
        c->was_opened = true;
        c->busy_since = 0;
        pthread_mutex_unlock(&c->lock);
        (void) eventfd_write(c->fd, 1);
        return r;
}

/* The next batch; NULL when it is to end, and nothing is left to write. */
static Change *writer_wait(Catalog *c) {
        pthread_mutex_lock(&c->lock);
        while (!c->waiting.first && !c->stop)
                pthread_cond_wait(&c->wake, &c->lock);
        Change *batch = queue_take_all(&c->waiting);
        c->busy_since = now_usec();
        pthread_mutex_unlock(&c->lock);
        return batch;
}

static void writer_hand_back(Catalog *c, Change *batch) {
        pthread_mutex_lock(&c->lock);
        while (batch) {
                Change *next = batch->next;
                queue_push(&c->finished, batch);
                batch = next;
        }
        c->busy_since = 0;
        pthread_mutex_unlock(&c->lock);
        (void) eventfd_write(c->fd, 1);
}

static void *writer_main(void *userdata) {
        Catalog *c = userdata;
        Change *batch;

        if (writer_open(c) >= 0)
                while ((batch = writer_wait(c))) {
                        batch_write_or_each(c, batch);
                        writer_hand_back(c, batch);
                }
        database_close(c);

        pthread_mutex_lock(&c->lock);
        bool is_abandoned = c->is_abandoned;
        c->has_ended = true;
        c->busy_since = 0;
        (void) eventfd_write(c->fd, 1);
        pthread_cond_signal(&c->end);
        pthread_mutex_unlock(&c->lock);
        if (is_abandoned)
                catalog_destroy(c);
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

int catalog_put_volume(Catalog *c, const Volume *volume, CatalogDone done, void *userdata, Error *err) {
        Change *change = calloc(1, sizeof(*change));

        if (!change || row_from_volume(volume, &change->row) < 0) {
                free(change);
                return error_oom(err);
        }
        change->done = done;
        change->userdata = userdata;
        return change_queue(c, change);
}

int catalog_delete_volume(Catalog *c, sd_id128_t uuid, CatalogDone done, void *userdata, Error *err) {
        Change *change = calloc(1, sizeof(*change));

        if (!change)
                return error_oom(err);
        change->is_delete = true;
        uuid_format(uuid, change->row.uuid);
        change->done = done;
        change->userdata = userdata;
        return change_queue(c, change);
}

int catalog_fd(const Catalog *c) {
        return c->fd;
}

uint64_t catalog_busy_since(Catalog *c) {
        pthread_mutex_lock(&c->lock);
        uint64_t since = c->busy_since;
        pthread_mutex_unlock(&c->lock);
        return since;
}

static void changes_dispatch(Change *finished) {
        while (finished) {
                Change *change = finished;

                finished = change->next;
                change->next = NULL;
                change->done(change->err.kind == ERROR_NONE ? NULL : &change->err, change->userdata);
                changes_free(change);
        }
}

void catalog_dispatch(Catalog *c) {
        eventfd_t n;

        (void) eventfd_read(c->fd, &n);
        pthread_mutex_lock(&c->lock);
        Change *finished = queue_take_all(&c->finished);
        CatalogVolumes volumes = c->volumes;
        Error err = c->open_err;
        bool is_over = c->has_ended;
        /* Of a failure only when the writer has ended: then to free it is no waiting. */
        bool tell = c->was_opened && !c->is_told && (err.kind == ERROR_NONE || is_over);
        c->volumes = (CatalogVolumes) {};
        pthread_mutex_unlock(&c->lock);

        if (tell) {
                bool failed = err.kind != ERROR_NONE;

                c->is_told = true;
                c->on_opened(&volumes, failed ? &err : NULL, c->opened_userdata);
                catalog_volumes_done(&volumes);
                if (failed)
                        return; /* it is gone now */
        }
        changes_dispatch(finished);
        if (is_over && c->on_closed) /* it may be gone afterwards */
                c->on_closed(NULL, c->closed_userdata);
}

/* Signals are the broker's: its event loop takes them. */
static int writer_start(Catalog *c) {
        sigset_t all, before;
        int r;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&c->writer, NULL, writer_main, c);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

int catalog_open(const char *folder, CatalogOpened on_opened, void *userdata, Catalog **ret, Error *err) {
        Catalog *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return error_oom(err);
        c->fd = -EBADF;
        c->on_opened = on_opened;
        c->opened_userdata = userdata;
        c->busy_since = now_usec();
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->wake, NULL);
        pthread_cond_init(&c->end, NULL);

        c->folder = strdup(folder);
        if (!c->folder)
                r = error_oom(err);
        else if ((c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
                r = error_errno(err, errno, "cannot make an eventfd");
        else {
                r = writer_start(c);
                if (r < 0)
                        error_errno(err, r, "cannot start the catalog's writer");
        }
        if (r < 0) {
                catalog_destroy(c);
                return r;
        }
        *ret = c;
        return 0;
}

static void writer_stop(Catalog *c) {
        c->stop = true;
        pthread_cond_signal(&c->wake);
}

void catalog_close(Catalog *c, CatalogDone on_closed, void *userdata) {
        pthread_mutex_lock(&c->lock);
        c->on_closed = on_closed;
        c->closed_userdata = userdata;
        writer_stop(c);
        if (c->has_ended)
                (void) eventfd_write(c->fd, 1);
        pthread_mutex_unlock(&c->lock);
}

void catalog_free(Catalog *c) {
        struct timespec until;

        if (!c)
                return;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += FREE_PATIENCE;
        pthread_mutex_lock(&c->lock);
        writer_stop(c);
        while (!c->has_ended && pthread_cond_timedwait(&c->end, &c->lock, &until) == 0)
                ;
        bool has_ended = c->has_ended;
        c->is_abandoned = !has_ended;
        pthread_t writer = c->writer;
        pthread_mutex_unlock(&c->lock);
        if (!has_ended) {
                (void) pthread_detach(writer); /* it frees what is left when the disk lets it */
                return;
        }
        (void) pthread_join(writer, NULL);
        catalog_destroy(c);
}
