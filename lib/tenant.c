#include <quarry/tenant.h>

#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>

static const char *const limit_words[_TENANT_LIMIT_MAX] = {
#define LIMIT_WORD(limit, member, word, option) [TENANT_LIMIT_##limit] = #member,
        TENANT_LIMITS(LIMIT_WORD)
#undef LIMIT_WORD
};

const char *tenant_limit_to_string(TenantLimit limit) {
        return limit_words[limit];
}

int tenant_limit_from_string(const char *s) {
        for (int i = 0; i < _TENANT_LIMIT_MAX; i++)
                if (streq_ptr(limit_words[i], s))
                        return i;
        return -EINVAL;
}

/* --- sets ----------------------------------------------------------------------------------------------- */

/* Where it is, or would be. */
static size_t id_set_place(const IdSet *set, uint32_t id) {
        size_t low = 0, high = set->n;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (set->list[middle] < id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

bool id_set_has(const IdSet *set, uint32_t id) {
        size_t at = id_set_place(set, id);

        return at < set->n && set->list[at] == id;
}

int id_set_add(IdSet *set, uint32_t id) {
        size_t at = id_set_place(set, id);
        uint32_t *more;

        if (at < set->n && set->list[at] == id)
                return 0;
        if (set->n >= TENANT_MEMBERS_MAX)
                return -E2BIG;
        more = reallocarray(set->list, set->n + 1, sizeof(*more));
        if (!more)
                return -ENOMEM;
        set->list = more;
        memmove(more + at + 1, more + at, (set->n - at) * sizeof(*more));
        more[at] = id;
        set->n++;
        return 0;
}

void id_set_remove(IdSet *set, uint32_t id) {
        size_t at = id_set_place(set, id);

        if (at == set->n || set->list[at] != id)
                return;
        set->n--;
        memmove(set->list + at, set->list + at + 1, (set->n - at) * sizeof(*set->list));
}

static void id_set_done(IdSet *set) {
        free(set->list);
        *set = (IdSet) {};
}

static int id_set_copy(const IdSet *from, IdSet *ret) {
        uint32_t *list = NULL;

        if (from->n > 0) {
                list = reallocarray(NULL, from->n, sizeof(*list));
                if (!list)
                        return -ENOMEM;
                memcpy(list, from->list, from->n * sizeof(*list));
        }
        *ret = (IdSet) { .list = list, .n = from->n };
        return 0;
}

/* --- tenants -------------------------------------------------------------------------------------------- */

void tenant_init(const char *name, Tenant *ret) {
        *ret = (Tenant) {};
        buffer_format(ret->name, sizeof(ret->name), "%s", name);
        for (int i = 0; i < _TENANT_LIMIT_MAX; i++)
                ret->limits[i] = TENANT_UNLIMITED;
}

void tenant_done(Tenant *tenant) {
        id_set_done(&tenant->users);
        id_set_done(&tenant->groups);
        free(tenant->schedule);
        *tenant = (Tenant) {};
}

int tenant_copy(const Tenant *from, Tenant *ret) {
        _cleanup_(tenant_done) Tenant copy = *from;

        copy.users = copy.groups = (IdSet) {};
        copy.schedule = from->schedule ? strdup(from->schedule) : NULL;
        if ((from->schedule && !copy.schedule) || id_set_copy(&from->users, &copy.users) < 0 ||
            id_set_copy(&from->groups, &copy.groups) < 0)
                return -ENOMEM;
        *ret = copy;
        copy = (Tenant) {};
        return 0;
}

void tenant_update_done(TenantUpdate *update) {
        id_set_done(&update->add_users);
        id_set_done(&update->remove_users);
        id_set_done(&update->add_groups);
        id_set_done(&update->remove_groups);
        *update = (TenantUpdate) {};
}

static int members_apply(IdSet *set, const IdSet *add, const IdSet *remove, const char *field, Error *err) {
        int r = 0;

        for (size_t i = 0; i < remove->n; i++) {
                if (id_set_has(add, remove->list[i]))
                        return error_field(err, field, "%" PRIu32 " is both to be added and to be removed",
                                           remove->list[i]);
                id_set_remove(set, remove->list[i]);
        }
        for (size_t i = 0; i < add->n && r >= 0; i++) {
                if (add->list[i] == UINT32_MAX)
                        return error_field(err, field, "%" PRIu32 " is nobody's", add->list[i]);
                r = id_set_add(set, add->list[i]);
        }
        if (r == -E2BIG)
                return error_field(err, field, "a tenant has at most %u of them; a group can hold more",
                                   TENANT_MEMBERS_MAX);
        return r < 0 ? error_oom(err) : 0;
}

static bool id_sets_are_equal(const IdSet *a, const IdSet *b) {
        return a->n == b->n && (a->n == 0 || memcmp(a->list, b->list, a->n * sizeof(*a->list)) == 0);
}

const char *tenant_difference(const Tenant *a, const Tenant *b) {
        if (!id_sets_are_equal(&a->users, &b->users))
                return "users";
        if (!id_sets_are_equal(&a->groups, &b->groups))
                return "groups";
        for (int i = 0; i < _TENANT_LIMIT_MAX; i++)
                if (a->limits[i] != b->limits[i])
                        return tenant_limit_to_string((TenantLimit) i);
        return streq_ptr(a->schedule, b->schedule) ? NULL : "snapshotSchedule";
}

int tenant_apply(Tenant *tenant, const TenantUpdate *update, Error *err) {
        int r;

        r = members_apply(&tenant->users, &update->add_users, &update->remove_users, "users", err);
        if (r >= 0)
                r = members_apply(&tenant->groups, &update->add_groups, &update->remove_groups, "groups", err);
        for (int i = 0; i < _TENANT_LIMIT_MAX && r >= 0; i++)
                if (update->has_limit[i])
                        tenant->limits[i] = update->limits[i];
        return r;
}
