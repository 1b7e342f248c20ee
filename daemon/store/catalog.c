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
        sqlite3 *db;
        sqlite3_stmt *upsert, *delete;
        int fd;

        pthread_t writer;
        bool running;
        pthread_mutex_t lock; /* what follows is shared with the writer */
        pthread_cond_t wake;
        Queue waiting, finished;
        bool stop;
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

static void *writer_main(void *userdata) {
        Catalog *c = userdata;

        for (;;) {
                pthread_mutex_lock(&c->lock);
                while (!c->waiting.first && !c->stop)
                        pthread_cond_wait(&c->wake, &c->lock);
                Change *batch = queue_take_all(&c->waiting);
                pthread_mutex_unlock(&c->lock);
                if (!batch)
                        return NULL;

                batch_write_or_each(c, batch);

                pthread_mutex_lock(&c->lock);
                while (batch) {
                        Change *next = batch->next;
                        queue_push(&c->finished, batch);
                        batch = next;
                }
                pthread_mutex_unlock(&c->lock);
                (void) eventfd_write(c->fd, 1);
        }
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

void catalog_dispatch(Catalog *c) {
        eventfd_t n;

        (void) eventfd_read(c->fd, &n);
        pthread_mutex_lock(&c->lock);
        Change *finished = queue_take_all(&c->finished);
        pthread_mutex_unlock(&c->lock);

        while (finished) {
                Change *change = finished;

                finished = change->next;
                change->next = NULL;
                change->done(change->err.kind == ERROR_NONE ? NULL : &change->err, change->userdata);
                changes_free(change);
        }
}

int catalog_load(Catalog *c, int (*on_volume)(Volume *volume, void *userdata), void *userdata, Error *err) {
        sqlite3_stmt *s = NULL;
        int r = 0, code;

        if (sqlite3_prepare_v2(c->db, ROW_SELECT, -1, &s, NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "read the catalog");
        while ((code = sqlite3_step(s)) == SQLITE_ROW) {
                Volume volume = {};

                r = row_to_volume(s, &volume);
                if (r < 0) {
                        r = error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN,
                                      "the catalog's row of volume %s breaks a rule",
                                      (const char *) sqlite3_column_text(s, 0));
                        break;
                }
                r = on_volume(&volume, userdata);
                volume_done(&volume);
                if (r < 0) {
                        r = error_oom(err);
                        break;
                }
        }
        if (r >= 0 && code != SQLITE_DONE)
                r = sqlite_error(c->db, err, "read the catalog");
        sqlite3_finalize(s);
        return r;
}

/* Signals are the broker's: its event loop takes them. */
static int writer_start(Catalog *c) {
        sigset_t all, before;
        int r;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&c->writer, NULL, writer_main, c);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        c->running = r == 0;
        return -r;
}

static int database_open(Catalog *c, const char *folder, Error *err) {
        _cleanup_free_ char *path = format_new("%s/catalog.db", folder);
        int r;

        if (!path)
                return error_oom(err);
        if (sqlite3_open_v2(path, &c->db,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW,
                            NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "open the catalog");
        sqlite3_extended_result_codes(c->db, 0);
        r = schema_prepare(c->db, err);
        if (r < 0)
                return r;
        if (sqlite3_prepare_v2(c->db, ROW_UPSERT, -1, &c->upsert, NULL) != SQLITE_OK ||
            sqlite3_prepare_v2(c->db, ROW_DELETE, -1, &c->delete, NULL) != SQLITE_OK)
                return sqlite_error(c->db, err, "prepare the catalog");
        return 0;
}

int catalog_open(const char *folder, Catalog **ret, Error *err) {
        _cleanup_(catalog_freep) Catalog *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return error_oom(err);
        c->fd = -EBADF;
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->wake, NULL);

        r = database_open(c, folder, err);
        if (r < 0)
                return r;
        c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->fd < 0)
                return error_errno(err, errno, "cannot make an eventfd");
        r = writer_start(c);
        if (r < 0)
                return error_errno(err, r, "cannot start the catalog's writer");
        *ret = TAKE_PTR(c);
        return 0;
}

void catalog_free(Catalog *c) {
        if (!c)
                return;
        if (c->running) {
                pthread_mutex_lock(&c->lock);
                c->stop = true;
                pthread_cond_signal(&c->wake);
                pthread_mutex_unlock(&c->lock);
                pthread_join(c->writer, NULL);
        }
        sqlite3_finalize(c->upsert);
        sqlite3_finalize(c->delete);
        if (c->db && sqlite3_close(c->db) != SQLITE_OK)
                log_error("catalog", "cannot close: %s", sqlite3_errmsg(c->db));
        changes_free(c->waiting.first);
        changes_free(c->finished.first);
        pthread_cond_destroy(&c->wake);
        pthread_mutex_destroy(&c->lock);
        if (c->fd >= 0)
                close(c->fd);
        free(c);
}
