#include "broker/registry.h"

#include <quarry/text.h>

#include "../unit.h"

static sd_id128_t uuid_of(unsigned n) {
        sd_id128_t id = { .qwords = { 1, n } };

        return id;
}

static PoolEntry *add_pool(Registry *registry, const char *name, unsigned n) {
        PoolInfo info = { .uuid = uuid_of(n), .data_size = 100 * GIB, .vg = strdup("vg") };

        buffer_format(info.name, sizeof(info.name), "%s", name);
        PoolEntry *pool = registry_add_pool(registry, &info);
        assert_non_null(pool);
        assert_null(info.vg); /* taken over */
        return pool;
}

static VolumeEntry *try_add(Registry *registry, PoolEntry *pool, const char *tenant, const char *name, unsigned n,
                            uint32_t thin_id, Error *err) {
        Volume v = { .uuid = uuid_of(n), .thin_id = thin_id, .spec = VOLUME_SPEC_DEFAULT, .failure = strdup("why") };

        v.spec.size = GIB;
        buffer_format(v.spec.tenant, sizeof(v.spec.tenant), "%s", tenant);
        buffer_format(v.spec.name, sizeof(v.spec.name), "%s", name);
        VolumeEntry *entry = registry_add_volume(registry, pool, &v, err);
        if (entry)
                assert_null(v.failure);
        volume_done(&v);
        return entry;
}

static VolumeEntry *add(Registry *registry, PoolEntry *pool, const char *name, unsigned n, uint32_t thin_id) {
        Error err = {};
        VolumeEntry *entry = try_add(registry, pool, DEFAULT_TENANT, name, n, thin_id, &err);

        if (!entry)
                fail_msg("%s", err.text);
        return entry;
}

static VolumeEntry *try_add_snapshot(Registry *registry, VolumeEntry *origin, const char *name, unsigned n,
                                     uint64_t usec, Error *err) {
        Volume v = { .uuid = uuid_of(n), .thin_id = n, .spec = VOLUME_SPEC_DEFAULT, .created_usec = usec };

        v.spec.size = GIB;
        v.spec.role = ROLE_SNAPSHOT;
        v.spec.origin = origin->volume.uuid;
        full_name_format("0", name, v.spec.name); /* as the catalog gives it */
        return registry_add_volume(registry, origin->pool, &v, err);
}

static VolumeEntry *add_snapshot(Registry *registry, VolumeEntry *origin, const char *name, unsigned n, uint64_t usec) {
        Error err = {};
        VolumeEntry *entry = try_add_snapshot(registry, origin, name, n, usec, &err);

        if (!entry)
                fail_msg("%s", err.text);
        return entry;
}

static int collect(VolumeEntry *entry, void *userdata) {
        char *text = userdata;
        size_t n = strlen(text);

        buffer_format(text + n, 1024 - n, "%s%s", n > 0 ? " " : "", entry->volume.spec.name);
        return streq(entry->volume.spec.name, "stop") ? 7 : 0;
}

static void lists(PoolEntry *pool, const char *expected, int result) {
        char text[1024] = "";

        assert_int_equal(registry_each_volume(pool, collect, text), result);
        assert_string_equal(text, expected);
}

static void test_pools_are_found_and_kept_in_order(void **state) {
        Registry registry = {};
        PoolEntry *slow = add_pool(&registry, "slow", 1), *fast = add_pool(&registry, "fast", 2),
                  *mid = add_pool(&registry, "mid", 3);

        assert_ptr_equal(registry.pools, fast);
        assert_ptr_equal(fast->next, mid);
        assert_ptr_equal(mid->next, slow);
        assert_ptr_equal(registry_find_pool(&registry, "mid"), mid);
        assert_null(registry_find_pool(&registry, "mi"));
        assert_ptr_equal(registry_find_pool_uuid(&registry, uuid_of(1)), slow);
        assert_null(registry_find_pool_uuid(&registry, uuid_of(9)));
        registry_remove_pool(&registry, mid);
        assert_ptr_equal(fast->next, slow);
        registry_remove_pool(&registry, fast);
        assert_ptr_equal(registry.pools, slow);
        registry_done(&registry);
        assert_null(registry.pools);
}

static void test_volumes_are_found(void **state) {
        Registry registry = {};
        PoolEntry *a = add_pool(&registry, "a", 1), *b = add_pool(&registry, "b", 2);
        Error err = {};
        VolumeEntry *db = add(&registry, a, "db", 10, 0), *web = add(&registry, b, "web", 11, 0);
        VolumeEntry *acme = try_add(&registry, b, "acme", "db", 12, 1, &err);

        assert_ptr_equal(registry_find_in_pool(a, DEFAULT_TENANT, "db"), db);
        assert_null(registry_find_in_pool(a, DEFAULT_TENANT, "web"));
        assert_null(registry_find_in_pool(a, "acme", "db"));
        assert_ptr_equal(registry_find_anywhere(&registry, DEFAULT_TENANT, "web"), web);
        assert_ptr_equal(registry_find_anywhere(&registry, "acme", "db"), acme);
        assert_null(registry_find_anywhere(&registry, "acme", "web"));
        assert_ptr_equal(registry_find_uuid(&registry, uuid_of(11)), web);
        assert_null(registry_find_uuid(&registry, uuid_of(1)));
        assert_string_equal(web->volume.spec.pool, "b");

        char name[VOLUME_NAME_MAX + 10];
        memset(name, 'x', sizeof(name) - 1);
        name[sizeof(name) - 1] = 0;
        assert_null(registry_find_in_pool(a, DEFAULT_TENANT, name)); /* never cut off to fit */
        registry_done(&registry);
}

static void test_volumes_come_in_the_order_that_people_expect(void **state) {
        static const char *const names[] = { "web10", "db", "web2", "Z", "web1", "a", "0", "web02" };
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        Error err = {};

        lists(pool, "", 0);
        for (unsigned i = 0; i < ELEMENTSOF(names); i++)
                add(&registry, pool, names[i], i, i);
        assert_non_null(try_add(&registry, pool, "acme", "stop", 50, 50, &err)); /* tenants one after the other */
        assert_non_null(try_add(&registry, pool, "acme", "zzz", 51, 51, &err));
        char text[1024] = "";
        assert_int_equal(registry_each_volume(pool, collect, text), 7);
        assert_string_equal(text, "stop");
        registry_remove_volume(&registry, registry_find_anywhere(&registry, "acme", "stop"));
        lists(pool, "zzz 0 Z a db web1 web02 web2 web10", 0);
        registry_done(&registry);
}

static void test_many_volumes_come_and_go(void **state) {
        enum { N = 2000 };
        static VolumeEntry *entries[N];
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        char name[16];

        for (unsigned i = 0; i < N; i++) {
                buffer_format(name, sizeof(name), "v%u", i * 7919 % N);
                entries[i] = add(&registry, pool, name, i, i);
        }
        assert_int_equal(pool->n_volumes, N);
        assert_int_equal(pool->provisioned, N * GIB);
        for (unsigned i = 0; i < N; i += 2)
                registry_remove_volume(&registry, entries[i]);
        assert_int_equal(pool->n_volumes, N / 2);
        assert_int_equal(pool->provisioned, N / 2 * GIB);
        for (unsigned i = 0; i < N; i++) {
                VolumeEntry *found = registry_find_uuid(&registry, uuid_of(i));

                assert_ptr_equal(found, i % 2 ? entries[i] : NULL);
                buffer_format(name, sizeof(name), "v%u", i * 7919 % N);
                assert_ptr_equal(registry_find_in_pool(pool, DEFAULT_TENANT, name), found);
        }
        registry_done(&registry);
}

static void test_what_is_taken_is_refused(void **state) {
        Registry registry = {};
        PoolEntry *a = add_pool(&registry, "a", 1), *b = add_pool(&registry, "b", 2);

        add(&registry, a, "db", 10, 5);
        static const struct {
                const char *what, *name;
                unsigned uuid;
                uint32_t thin_id;
        } rows[] = {
                { "name", "db", 11, 6 },
                { "uuid", "x", 10, 6 },
                { "thin id", "x", 11, 5 },
                { "thin id too large", "x", 11, THIN_ID_MAX + 1 },
                { "thin id far too large", "x", 11, UINT32_MAX },
        };
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Error err = {};

                assert_row(!try_add(&registry, a, DEFAULT_TENANT, rows[i].name, rows[i].uuid, rows[i].thin_id, &err),
                           rows[i].what);
                assert_row(err.kind == ERROR_POOL_UNAVAILABLE && strstr(err.text, rows[i].name), rows[i].what);
        }
        assert_int_equal(a->n_volumes, 1);
        lists(a, "db", 0);
        /* Another pool has thin ids and names of its own; identity is for all. */
        Error err = {};
        assert_null(try_add(&registry, b, DEFAULT_TENANT, "x", 10, 5, &err));
        add(&registry, b, "db", 12, 5);
        registry_done(&registry);
}

static void test_thin_ids(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        uint32_t id = 99;
        char name[16];

        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 0);
        for (unsigned i = 0; i < 20; i++) {
                buffer_format(name, sizeof(name), "v%u", i);
                assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
                assert_int_equal(id, i);
                add(&registry, pool, name, i, id);
        }
        registry_remove_volume(&registry, registry_find_uuid(&registry, uuid_of(13)));
        registry_remove_volume(&registry, registry_find_uuid(&registry, uuid_of(3)));
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 3); /* the lowest free one */
        add(&registry, pool, "last", 100, THIN_ID_MAX);

        /* All but the two that were given back. */
        memset(pool->thin_ids, 0xff, (THIN_ID_MAX + 1) / 8);
        assert_int_equal(pool_entry_new_thin_id(pool, &id), -ENOSPC);
        registry_remove_volume(&registry, registry_find_uuid(&registry, uuid_of(100)));
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, THIN_ID_MAX);
        registry_done(&registry);
}

static void assert_snapshots(const VolumeEntry *origin, const char *expected) {
        char text[256] = "";
        size_t count = 0;

        for (const VolumeEntry *s = origin->snapshots; s; s = s->next_snapshot, count++) {
                size_t n = strlen(text);

                assert_ptr_equal(s->origin, origin);
                buffer_format(text + n, sizeof(text) - n, "%s%s", n > 0 ? " " : "", s->volume.spec.name);
        }
        assert_string_equal(text, expected);
        assert_int_equal(origin->n_snapshots, count);
}

static void test_snapshots_belong_to_their_volume(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        Error err = {};
        VolumeEntry *db = try_add(&registry, pool, "acme", "db", 10, 0, &err),
                    *web = add(&registry, pool, "web", 11, 1);

        assert_snapshots(db, "");
        VolumeEntry *second = add_snapshot(&registry, db, "second", 21, 200);
        add_snapshot(&registry, db, "third", 22, 300);
        VolumeEntry *first = add_snapshot(&registry, db, "first", 20, 100);
        assert_snapshots(db, "db@third db@second db@first"); /* the newest first */
        assert_snapshots(web, "");
        assert_string_equal(first->volume.spec.tenant, "acme"); /* its volume's */
        assert_ptr_equal(volume_entry_find_snapshot(db, "second"), second);
        assert_null(volume_entry_find_snapshot(db, "db@second"));
        assert_null(volume_entry_find_snapshot(web, "second"));
        assert_ptr_equal(registry_find_anywhere(&registry, "acme", "db@first"), first);
        assert_null(registry_find_anywhere(&registry, DEFAULT_TENANT, "db@first"));
        lists(pool, "db db@first db@second db@third web", 0);

        /* The same name is another's in another volume, and taken in the same. */
        add_snapshot(&registry, web, "first", 30, 100);
        assert_null(try_add_snapshot(&registry, db, "first", 31, 400, &err));
        assert_int_equal(err.kind, ERROR_POOL_UNAVAILABLE);

        /* Only volumes count as volumes. */
        assert_int_equal(pool->n_volumes, 2);
        assert_int_equal(pool->n_snapshots, 4);
        assert_int_equal(pool->provisioned, 2 * GIB);
        volume_entry_resize(second, 5 * GIB);
        assert_int_equal(pool->provisioned, 2 * GIB);
        volume_entry_resize(web, 3 * GIB);
        assert_int_equal(pool->provisioned, 4 * GIB);

        registry_remove_volume(&registry, second);
        assert_snapshots(db, "db@third db@first");
        assert_int_equal(pool->n_snapshots, 3);
        registry_remove_volume(&registry, db);
        assert_null(first->origin);
        registry_remove_volume(&registry, first);
        assert_int_equal(pool->n_volumes, 1);
        registry_done(&registry);
}

static void test_a_snapshot_without_its_volume_is_refused(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        VolumeEntry gone = { .volume.uuid = uuid_of(10), .pool = pool };
        Error err = {};

        assert_null(try_add_snapshot(&registry, &gone, "monday", 20, 100, &err));
        assert_int_equal(err.kind, ERROR_POOL_UNAVAILABLE);
        lists(pool, "", 0);
        registry_done(&registry);
}

static void test_a_new_name_is_one_for_snapshots_too(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1), *other = add_pool(&registry, "b", 2);
        VolumeEntry *db = add(&registry, pool, "db", 10, 0);
        Error err = {};

        add(&registry, pool, "web", 11, 1);
        add(&registry, other, "far", 12, 0);
        add_snapshot(&registry, db, "monday", 20, 100);
        VolumeEntry *tuesday = add_snapshot(&registry, db, "tuesday", 21, 200);
        assert_true(registry_rename_volume(&registry, db, "web", &err) < 0);
        assert_int_equal(err.kind, ERROR_VOLUME_EXISTS);
        assert_true(registry_rename_volume(&registry, db, "far", &err) < 0); /* names are of all pools */
        lists(pool, "db db@monday db@tuesday web", 0);
        assert_int_equal(registry_rename_volume(&registry, db, "zoo", &err), 0);
        lists(pool, "web zoo zoo@monday zoo@tuesday", 0);
        assert_snapshots(db, "zoo@tuesday zoo@monday");
        assert_ptr_equal(registry_find_in_pool(pool, DEFAULT_TENANT, "zoo@tuesday"), tuesday);
        assert_null(registry_find_in_pool(pool, DEFAULT_TENANT, "db"));
        assert_null(registry_find_in_pool(pool, DEFAULT_TENANT, "db@tuesday"));
        add(&registry, pool, "db", 13, 2);
        assert_int_equal(registry_rename_volume(&registry, db, "zoo", &err), 0); /* as it is called already */
        registry_done(&registry);
}

static void test_spare_thin_ids(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        VolumeEntry *db = add(&registry, pool, "db", 10, 0);
        uint32_t id;

        volume_entry_drop_spare(db); /* there is none: 0 stays taken */
        assert_int_equal(volume_entry_take_spare(db), 0);
        assert_true(db->volume.has_spare);
        assert_int_equal(db->volume.spare_thin_id, 1);
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 2);
        volume_entry_swap_spare(db);
        assert_int_equal(db->volume.thin_id, 1);
        assert_int_equal(db->volume.spare_thin_id, 0);
        volume_entry_drop_spare(db);
        assert_false(db->volume.has_spare);
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 0);

        /* One that comes from the catalog is taken as well, and goes with its volume. */
        Volume v = { .uuid = uuid_of(11), .thin_id = 2, .spec = VOLUME_SPEC_DEFAULT, .has_spare = true };
        Error err = {};
        v.spec.size = GIB;
        buffer_format(v.spec.name, sizeof(v.spec.name), "web");
        v.spare_thin_id = 1; /* of db */
        assert_null(registry_add_volume(&registry, pool, &v, &err));
        v.spare_thin_id = 0;
        VolumeEntry *web = registry_add_volume(&registry, pool, &v, &err);
        assert_non_null(web);
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 3);
        registry_remove_volume(&registry, web);
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 0);
        registry_done(&registry);
}

static void test_a_spare_thin_id_becomes_a_snapshots(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        VolumeEntry *db = add(&registry, pool, "db", 10, 0), *kept;
        Volume v = { .uuid = uuid_of(20), .spec = VOLUME_SPEC_DEFAULT };
        Error err = {};
        uint32_t id;

        v.spec.role = ROLE_SNAPSHOT;
        v.spec.origin = uuid_of(10);
        v.spec.size = GIB;
        buffer_format(v.spec.name, sizeof(v.spec.name), "db@before");
        assert_int_equal(volume_entry_take_spare(db), 0);
        volume_entry_swap_spare(db);
        v.uuid = uuid_of(10); /* taken: then it has its spare one as before */
        assert_null(registry_give_spare(&registry, db, &v, &err));
        assert_true(db->volume.has_spare);
        assert_int_equal(db->volume.spare_thin_id, 0);
        v.uuid = uuid_of(20);
        kept = registry_give_spare(&registry, db, &v, &err);
        assert_non_null(kept);
        assert_int_equal(kept->volume.thin_id, 0);
        assert_int_equal(db->volume.thin_id, 1);
        assert_false(db->volume.has_spare);
        assert_snapshots(db, "db@before");
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 2);
        registry_remove_volume(&registry, kept);
        volume_entry_set_spare(db, 0);
        volume_entry_swap_spare(db);
        assert_int_equal(db->volume.thin_id, 0);
        volume_entry_drop_spare(db);
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 1);
        registry_done(&registry);
}

static void test_what_is_being_freed_has_no_name(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        VolumeEntry *db = add(&registry, pool, "db", 10, 0), *freeing[2];
        uint32_t id;

        freeing[0] = add_snapshot(&registry, db, "monday", 20, 100);
        freeing[1] = db;
        for (size_t i = 0; i < ELEMENTSOF(freeing); i++)
                volume_entry_set_freeing(freeing[i]);
        lists(pool, "", 0);
        assert_null(registry_find_anywhere(&registry, DEFAULT_TENANT, "db"));
        assert_int_equal(db->n_snapshots, 0);
        assert_null(freeing[0]->origin);
        assert_ptr_equal(pool->freeing, freeing[0]);
        volume_entry_free_last(freeing[0]);
        assert_ptr_equal(pool->freeing, freeing[1]);
        assert_ptr_equal(pool->freeing->next_freeing, freeing[0]);
        assert_null(freeing[0]->next_freeing);
        assert_int_equal(pool->n_volumes, 0);
        assert_int_equal(pool->n_snapshots, 1); /* its blocks are there */
        assert_int_equal(pool->provisioned, 0);
        assert_int_equal(pool_entry_new_thin_id(pool, &id), 0);
        assert_int_equal(id, 1); /* as its thin id is */
        assert_ptr_equal(registry_find_uuid(&registry, uuid_of(10)), db);

        VolumeEntry *again = add(&registry, pool, "db", 11, 1);
        add_snapshot(&registry, again, "monday", 21, 300);
        lists(pool, "db db@monday", 0);
        registry_remove_volume(&registry, db);
        assert_null(registry_find_uuid(&registry, uuid_of(10)));
        lists(pool, "db db@monday", 0);

        /* So it comes from the catalog, whether its volume is there or not. */
        Volume v = { .uuid = uuid_of(12), .thin_id = 40, .spec = VOLUME_SPEC_DEFAULT, .state = VOLUME_FREEING };
        Error err = {};
        v.spec.size = GIB;
        v.spec.role = ROLE_SNAPSHOT;
        v.spec.origin = uuid_of(10);
        buffer_format(v.spec.name, sizeof(v.spec.name), "db@monday");
        assert_non_null(registry_add_volume(&registry, pool, &v, &err));
        lists(pool, "db db@monday", 0);
        registry_forget_volumes(&registry, pool);
        assert_null(pool->freeing);
        assert_null(registry_find_uuid(&registry, uuid_of(12)));
        assert_int_equal(pool->n_snapshots, 0);
        registry_done(&registry);
}

static void test_holds_are_taken_over(void **state) {
        Registry registry = {};
        VolumeEntry *entry = add(&registry, add_pool(&registry, "a", 1), "db", 10, 0);

        for (unsigned i = 0; i < 3; i++) {
                Hold *holds = calloc(2, sizeof(*holds));

                holds[0].path = strdup("/a");
                holds[1].path = strdup("/b");
                volume_entry_set_holds(entry, holds, 2);
        }
        assert_int_equal(entry->n_holds, 2);
        volume_entry_set_holds(entry, NULL, 0);
        assert_int_equal(entry->n_holds, 0);
        registry_done(&registry);
}

static void test_pools_that_cannot_be_worked_with_say_why(void **state) {
        Registry registry = {};
        PoolEntry *pool = add_pool(&registry, "a", 1);
        Error err = {};

        assert_int_equal(pool_entry_check(pool, &err), -EAGAIN);
        assert_non_null(strstr(err.text, "still being activated"));
        pool_entry_set_state(pool, POOL_UNAVAILABLE, "a disk is missing");
        assert_true(pool_entry_check(pool, &err) < 0);
        assert_int_equal(err.kind, ERROR_POOL_UNAVAILABLE);
        assert_non_null(strstr(err.text, "a disk is missing"));
        pool_entry_set_state(pool, POOL_UNAVAILABLE, NULL);
        assert_true(pool_entry_check(pool, &err) < 0);
        assert_non_null(strstr(err.text, "it could not be activated"));
        pool_entry_set_state(pool, POOL_ACTIVE, NULL);
        assert_int_equal(pool_entry_check(pool, &err), 0);
        pool->operation = (Operation *) &registry;
        assert_true(pool_entry_check(pool, &err) < 0);
        assert_int_equal(err.kind, ERROR_POOL_BUSY);
        registry_done(&registry);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pools_are_found_and_kept_in_order),
                cmocka_unit_test(test_volumes_are_found),
                cmocka_unit_test(test_volumes_come_in_the_order_that_people_expect),
                cmocka_unit_test(test_many_volumes_come_and_go),
                cmocka_unit_test(test_what_is_taken_is_refused),
                cmocka_unit_test(test_thin_ids),
                cmocka_unit_test(test_snapshots_belong_to_their_volume),
                cmocka_unit_test(test_a_snapshot_without_its_volume_is_refused),
                cmocka_unit_test(test_a_new_name_is_one_for_snapshots_too),
                cmocka_unit_test(test_spare_thin_ids),
                cmocka_unit_test(test_a_spare_thin_id_becomes_a_snapshots),
                cmocka_unit_test(test_what_is_being_freed_has_no_name),
                cmocka_unit_test(test_holds_are_taken_over),
                cmocka_unit_test(test_pools_that_cannot_be_worked_with_say_why),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
