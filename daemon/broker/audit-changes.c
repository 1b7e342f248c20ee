/* What an update asks for, as one line: the words of the options of the command. */

#include "broker/audit-changes.h"

#include <quarry/schedule.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Of more, what fits is told, and that there is more. */
#define MORE " ..."

typedef struct Changes {
        char text[AUDIT_CHANGES_MAX];
        size_t n;
        bool is_full;
} Changes;

_printf_(2, 3) static void add(Changes *c, const char *format, ...) {
        size_t room = sizeof(c->text) - sizeof(MORE) - c->n;
        const char *lead = c->n > 0 ? " " : "";
        char text[AUDIT_CHANGES_MAX];
        va_list ap;
        int n;

        if (c->is_full)
                return;
        va_start(ap, format);
        n = vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        c->is_full = n < 0 || (size_t) n + strlen(lead) > room;
        c->n += (size_t) snprintf(c->text + c->n, sizeof(c->text) - c->n, "%s%s", c->is_full ? MORE : lead,
                                  c->is_full ? "" : text);
}

static void add_schedule(Changes *c, const char *schedule) {
        if (schedule)
                add(c, "--snapshot-schedule %s", schedule);
}

static void add_volume(Changes *c, const VolumeUpdate *update) {
        for (char **label = update->labels; label && *label; label++)
                add(c, "--label %s", *label);
        for (char **key = update->remove_labels; key && *key; key++)
                add(c, "--label %s-", *key);
        if (update->has_uid)
                add(c, "--uid %u", update->uid);
        if (update->has_gid)
                add(c, "--gid %u", update->gid);
        if (update->has_mode)
                add(c, "--mode %04o", update->mode);
        if (update->has_protected)
                add(c, "%s", update->protected ? "--protect" : "--no-protect");
        add_schedule(c, update->schedule);
}

static const char *const limit_options[] = {
#define LIMIT_OPTION(limit, member, word, option) [TENANT_LIMIT_##limit] = (option),
        TENANT_LIMITS(LIMIT_OPTION)
#undef LIMIT_OPTION
};

/* Without what it takes. */
static int option_length(TenantLimit limit) {
        return (int) strcspn(limit_options[limit], " ");
}

static void add_members(Changes *c, const char *option, const IdSet *members) {
        for (size_t i = 0; i < members->n; i++)
                add(c, "%s %" PRIu32, option, members->list[i]);
}

static void add_tenant(Changes *c, const TenantUpdate *update) {
        add_members(c, "--user", &update->add_users);
        add_members(c, "--remove-user", &update->remove_users);
        add_members(c, "--group", &update->add_groups);
        add_members(c, "--remove-group", &update->remove_groups);
        for (int i = 0; i < _TENANT_LIMIT_MAX; i++)
                if (update->has_limit[i] && update->limits[i] == TENANT_UNLIMITED)
                        add(c, "%.*s none", option_length((TenantLimit) i), limit_options[i]);
                else if (update->has_limit[i])
                        add(c, "%.*s %" PRIu64, option_length((TenantLimit) i), limit_options[i], update->limits[i]);
}

/* Of a pool or tenant: one that was written is the pool's. */
static const char *schedule_of(const Operation *op) {
        if (op->schedule || !streq_ptr(op->verb, "pool update"))
                return op->schedule;
        return op->pool->schedule ?: SCHEDULE_NONE;
}

const char *audit_changes(const Operation *op, char buf[static AUDIT_CHANGES_MAX]) {
        Changes changes = {};

        add_volume(&changes, &op->update);
        add_tenant(&changes, &op->tenant_update);
        if (!op->volume)
                add_schedule(&changes, schedule_of(op));
        buffer_format(buf, AUDIT_CHANGES_MAX, "%s", changes.text);
        return changes.n > 0 ? buf : NULL;
}
