#include "crew.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#define THREADS_MAX 4u /* the volume's users need processors, too */
#define PIECES_MAX (3 * THREADS_MAX)

/* Of pieces that were ever given, collected, ...: those of number n are in the place n % n_pieces. */
struct Crew {
        const Repository *repository;
        void (*work)(const Repository *r, Piece *p);
        CrewDone done;
        void *userdata;
        pthread_mutex_t lock;
        pthread_cond_t was_given, was_done;
        size_t given, taken, collected;
        bool ends, is_done[PIECES_MAX];
        Piece pieces[PIECES_MAX];
        size_t n_pieces, n_threads;
        pthread_t threads[THREADS_MAX];
};

static void *thread_run(void *userdata) {
        Crew *c = userdata;

        (void) pthread_mutex_lock(&c->lock);
        while (!c->ends) {
                if (c->taken == c->given) {
                        (void) pthread_cond_wait(&c->was_given, &c->lock);
                        continue;
                }
                size_t i = c->taken++ % c->n_pieces;
                (void) pthread_mutex_unlock(&c->lock);
                c->work(c->repository, &c->pieces[i]);
                (void) pthread_mutex_lock(&c->lock);
                c->is_done[i] = true;
                (void) pthread_cond_signal(&c->was_done);
        }
        (void) pthread_mutex_unlock(&c->lock);
        return NULL;
}

static size_t processors(void) {
        cpu_set_t set;
        int n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);

        return n < 1 ? 1 : (size_t) n < THREADS_MAX ? (size_t) n : THREADS_MAX;
}

/* Signals are for the thread that began it. */
static int threads_start(Crew *c, size_t n, Error *err) {
        sigset_t all, before;
        int r = 0;

        sigfillset(&all);
        (void) pthread_sigmask(SIG_BLOCK, &all, &before);
        while (c->n_threads < n && r == 0) {
                r = pthread_create(&c->threads[c->n_threads], NULL, thread_run, c);
                c->n_threads += r == 0;
        }
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        return c->n_threads == 0 ? error_errno(err, r, "cannot start a thread") : 0; /* fewer do it, too */
}

int crew_new(const Repository *r, void (*work)(const Repository *r, Piece *p), CrewDone done, void *userdata,
             Crew **ret, Error *err) {
        _cleanup_(crew_freep) Crew *c = calloc(1, sizeof(*c));
        size_t n = processors();
        int k;

        if (!c)
                return error_oom(err);
        c->repository = r;
        c->work = work;
        c->done = done;
        c->userdata = userdata;
        (void) pthread_mutex_init(&c->lock, NULL);
        (void) pthread_cond_init(&c->was_given, NULL);
        (void) pthread_cond_init(&c->was_done, NULL);
        for (c->n_pieces = 0; c->n_pieces < 3 * n; c->n_pieces++)
                if (!(c->pieces[c->n_pieces].data = malloc(CHUNK_SIZE)))
                        return error_oom(err);
        k = threads_start(c, n, err);
        if (k < 0)
                return k;
        *ret = TAKE_PTR(c);
        return 0;
}

void crew_free(Crew *c) {
        if (!c)
                return;
        (void) pthread_mutex_lock(&c->lock);
        c->ends = true;
        (void) pthread_cond_broadcast(&c->was_given);
        (void) pthread_mutex_unlock(&c->lock);
        for (size_t i = 0; i < c->n_threads; i++)
                (void) pthread_join(c->threads[i], NULL);
        for (size_t i = 0; i < c->n_pieces; i++) {
                free(c->pieces[i].data);
                free(c->pieces[i].sealed);
        }
        (void) pthread_cond_destroy(&c->was_done);
        (void) pthread_cond_destroy(&c->was_given);
        (void) pthread_mutex_destroy(&c->lock);
        free(c);
}

/* The oldest. */
static int collect(Crew *c, Error *err) {
        size_t i = c->collected % c->n_pieces;

        (void) pthread_mutex_lock(&c->lock);
        while (!c->is_done[i])
                (void) pthread_cond_wait(&c->was_done, &c->lock);
        (void) pthread_mutex_unlock(&c->lock);
        c->collected++;
        return c->done(&c->pieces[i], c->userdata, err);
}

int crew_next(Crew *c, Piece **ret, Error *err) {
        int r = c->given - c->collected == c->n_pieces ? collect(c, err) : 0;

        *ret = &c->pieces[c->given % c->n_pieces];
        return r;
}

void crew_give(Crew *c) {
        (void) pthread_mutex_lock(&c->lock);
        c->is_done[c->given % c->n_pieces] = false;
        c->given++;
        (void) pthread_cond_signal(&c->was_given);
        (void) pthread_mutex_unlock(&c->lock);
}

int crew_finish(Crew *c, Error *err) {
        int r = 0;

        while (r >= 0 && c->collected < c->given)
                r = collect(c, err);
        return r;
}
