#pragma once

/* A store in memory that fails when it is told to, and a repository in it that is cheap to open. */

#include "../../../repo/repository.h"

#include <quarry/text.h>

#include "../unit.h"

#define MEMORY_OBJECTS_MAX 64u

typedef enum Fault {
        FAULT_BEFORE,   /* the call does nothing, */
        FAULT_AFTER,    /* or all, and fails */
        FAULT_FOR_GOOD, /* as all that follow */
        _FAULT_MAX,
} Fault;

typedef struct Memory {
        struct {
                char name[STORE_NAME_MAX];
                uint8_t *data;
                size_t size;
        } objects[MEMORY_OBJECTS_MAX];
        size_t n, room, objects_max; /* of how many bytes and objects it has no more; 0: there is no end of it */
        bool is_read_only;
        unsigned calls, fail_at; /* fail_at: the number of a call, from 1 on; 0: none fails */
        Fault fault;
} Memory;

typedef struct MemoryStore {
        Store store; /* first */
        Memory *memory;
} MemoryStore;

static Memory *memory_of(Store *store) {
        return ((MemoryStore *) store)->memory;
}

static size_t memory_find(const Memory *m, const char *name) {
        size_t i = 0;

        while (i < m->n && !streq(m->objects[i].name, name))
                i++;
        return i;
}

static size_t memory_count(const Memory *m, const char *prefix) {
        size_t n = 0;

        for (size_t i = 0; i < m->n; i++)
                n += !!startswith(m->objects[i].name, prefix);
        return n;
}

static size_t memory_used(const Memory *m) {
        size_t n = 0;

        for (size_t i = 0; i < m->n; i++)
                n += m->objects[i].size;
        return n;
}

static void memory_done(Memory *m) {
        for (size_t i = 0; i < m->n; i++)
                free(m->objects[i].data);
        *m = (Memory) {};
}

static bool memory_fails(Memory *m, Fault fault) {
        return m->fail_at && m->fault == fault &&
               (fault == FAULT_FOR_GOOD ? m->calls >= m->fail_at : m->calls == m->fail_at);
}

static int memory_begin(Store *store, Error *err) {
        Memory *m = memory_of(store);

        m->calls++;
        return memory_fails(m, FAULT_BEFORE) || memory_fails(m, FAULT_FOR_GOOD)
                       ? error_set(err, ERROR_FAILED, EREMOTEIO, "the store fails")
                       : 0;
}

static int memory_end(Store *store, int result, Error *err) {
        return memory_fails(memory_of(store), FAULT_AFTER) ? error_set(err, ERROR_FAILED, EREMOTEIO, "the store fails")
                                                           : result;
}

static void memory_free(Store *store) {
        free(store);
}

static int memory_put(Store *store, const char *name, const void *data, size_t size, Error *err) {
        Memory *m = memory_of(store);
        size_t i = memory_find(m, name);
        int r = memory_begin(store, err);

        if (r < 0)
                return r;
        if (m->is_read_only)
                return error_set(err, ERROR_FAILED, EROFS, "the store may only be read");
        if (m->room && memory_used(m) + size > m->room)
                return error_set(err, ERROR_NO_SPACE, ENOSPC, "the store is full");
        if (m->objects_max && i == m->n && m->n >= m->objects_max)
                return error_set(err, ERROR_NO_SPACE, ENOSPC, "the store has no place for more objects");
        assert_true(i < MEMORY_OBJECTS_MAX);
        if (i == m->n)
                m->objects[m->n++].data = NULL;
        free(m->objects[i].data);
        buffer_format(m->objects[i].name, STORE_NAME_MAX, "%s", name);
        m->objects[i].data = malloc(size + 1);
        memcpy(m->objects[i].data, data, size);
        m->objects[i].size = size;
        return memory_end(store, 0, err);
}

static int memory_get(Store *store, const char *name, uint8_t **ret, size_t *ret_size, Error *err) {
        Memory *m = memory_of(store);
        size_t i = memory_find(m, name);
        int r = memory_begin(store, err);

        if (r >= 0)
                r = memory_end(store, i < m->n, err);
        if (r <= 0)
                return r;
        *ret = malloc(m->objects[i].size + 1);
        memcpy(*ret, m->objects[i].data, m->objects[i].size);
        *ret_size = m->objects[i].size;
        return 1;
}

static int memory_has(Store *store, const char *name, Error *err) {
        Memory *m = memory_of(store);
        int r = memory_begin(store, err);

        return r < 0 ? r : memory_end(store, memory_find(m, name) < m->n, err);
}

static int memory_list(Store *store, const char *kind, int (*each)(const char *name, void *userdata), void *userdata,
                       Error *err) {
        Memory *m = memory_of(store);
        size_t n = strlen(kind);
        int r = memory_begin(store, err);

        for (size_t i = 0; i < m->n && r >= 0; i++)
                if (startswith(m->objects[i].name, kind) && m->objects[i].name[n] == '/')
                        r = each(m->objects[i].name, userdata);
        return r < 0 ? r : memory_end(store, 0, err);
}

static int memory_remove(Store *store, const char *name, Error *err) {
        Memory *m = memory_of(store);
        size_t i = memory_find(m, name);
        int r = memory_begin(store, err);

        if (r < 0)
                return r;
        if (m->is_read_only)
                return error_set(err, ERROR_FAILED, EROFS, "the store may only be read");
        if (i < m->n) {
                free(m->objects[i].data);
                m->objects[i] = m->objects[--m->n];
        }
        return memory_end(store, 0, err);
}

static int memory_sync(Store *store, Error *err) {
        int r = memory_begin(store, err);

        return r < 0 ? r : memory_end(store, 0, err);
}

static Store *memory_store(Memory *m) {
        static const StoreOps ops = {
                .free = memory_free,
                .put = memory_put,
                .get = memory_get,
                .has = memory_has,
                .list = memory_list,
                .remove = memory_remove,
                .sync = memory_sync,
        };
        MemoryStore *s = malloc(sizeof(*s));

        *s = (MemoryStore) { { &ops }, m };
        return &s->store;
}

static const RepositoryKeySource cheap_key = {
        .passphrase = "correct horse",
        .passphrase_size = 13,
        .argon2_memory = 8192,
        .argon2_iterations = 1,
};

static inline Repository *memory_repository(Memory *m) {
        Repository *r = NULL;
        Error err = {};

        if (repository_make(memory_store(m), &cheap_key, &r, &err) < 0)
                fail_msg("%s", err.text);
        return r;
}

/* Lets each call of act() fail in each way, the first, the second and so on, until it comes to its end without; after
 * each failure it must have said why, and check() sees that all is well. prepare() comes before. */
static inline void fail_each(Memory *m, void (*prepare)(void), int (*act)(Error *err), void (*check)(bool done)) {
        for (unsigned fault = 0; fault < _FAULT_MAX; fault++)
                for (unsigned n = 1;; n++) {
                        Error err = {};
                        unsigned calls;
                        int r;

                        prepare();
                        m->fault = (Fault) fault;
                        m->calls = 0;
                        m->fail_at = n;
                        r = act(&err);
                        m->fail_at = 0;
                        calls = m->calls;
                        check(r >= 0);
                        if (calls < n) {
                                assert_true(r >= 0);
                                assert_true(n > 1);
                                break;
                        }
                        if (r >= 0 || err.number != EREMOTEIO)
                                fail_msg("call %u, fault %u: %d, %s", n, fault, r, err.text);
                }
}
