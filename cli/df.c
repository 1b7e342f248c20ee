/* quarry df: how full it is, what takes most first. */

#include "client.h"
#include "must.h"
#include "overview.h"
#include "report.h"
#include "table.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/json.h>
#include <quarry/text.h>

#define FIRST 10u /* so many of each fit on a screen */

static bool arg_all;

const Option df_options[] = {
        { 'a', "all", NULL, "All volumes and tenants, not only the ten that take most", option_flag, &arg_all },
        {},
};

static char **name_texts(sd_json_variant *row) {
        _cleanup_free_ char *reference = volume_reference(row);
        char **texts = NULL;

        must(strv_append(&texts, reference));
        return texts;
}

static const char *const volume_fields[] = { "name",      "tenant",         "pool",      "uuid",
                                             "type",      "state",          "stopped",   "sizeBytes",
                                             "usedBytes", "exclusiveBytes", "snapshots", NULL };

const Column df_columns[] = {
        { "name",
          "NAME",
          "Name, with the tenant unless it is \"default\"",
          "name",
          COLUMN_TEXT,
          true,
          CUT_END,
          name_texts,
          { "tenant" } },
        { "size", "SIZE", "What it can hold", "sizeBytes", COLUMN_SIZE, true },
        { "used", "USED", "Space taken in the pool", "usedBytes", COLUMN_SIZE, true },
        { "use%",
          "USE%",
          "The same as a share of its size",
          "usedBytes",
          COLUMN_PERCENT,
          true,
          CUT_NOTHING,
          NULL,
          { "sizeBytes" } },
        { "exclusive", "EXCL", "What its removal alone would free, as last seen", "exclusiveBytes", COLUMN_SIZE, true },
        { "snapshots", "SNAPS", "How many snapshots it has", "snapshots", COLUMN_NUMBER, true },
        { "snapshots-used", "SNAPS HOLD", "What each of them has for itself, together, as last seen", "snapshotBytes",
          COLUMN_SIZE, true },
        { "total", "TOTAL", "used and snapshots-used: it takes at least so much", "totalBytes", COLUMN_SIZE, true },
        { "pool", "POOL", "Pool that it lies in", "pool", COLUMN_TEXT, true },
        { "tenant", "TENANT", "Tenant that it belongs to", "tenant" },
        { "state", "STATE", "creating, ready, removing or broken", "state",
          .values = "creating ready removing broken" },
        { "stopped", "STOPPED", "Whether it gets no new space", "stopped", COLUMN_YES },
        { "uuid", "UUID", "Identity", "uuid" },
        {},
};

/* --- what the snapshots of each hold ---------------------------------------------------------------------- */

typedef struct Row {
        sd_json_variant *volume; /* borrowed */
        const char *pool, *tenant, *name;
        size_t length; /* of the volume's name: what is before the @ */
        uint64_t held; /* what its snapshots have for themselves, */
        bool has_held; /* as far as it is known */
} Row;

static int row_compare(const void *a, const void *b) {
        const Row *x = a, *y = b;
        int c = strcmp(x->pool, y->pool) ?: strcmp(x->tenant, y->tenant);

        if (c == 0)
                c = strncmp(x->name, y->name, x->length < y->length ? x->length : y->length);
        return c ?: (x->length > y->length) - (x->length < y->length);
}

static Row row_of(sd_json_variant *volume) {
        const char *name = json_string(volume, "name");

        return (Row) {
                .volume = volume,
                .pool = json_string(volume, "pool"),
                .tenant = json_string(volume, "tenant"),
                .name = name,
                .length = strcspn(name, "@"),
        };
}

/* The volumes among them, by name; to be freed. */
static Row *rows_make(sd_json_variant *all, size_t *ret_n) {
        size_t n = 0, n_all = sd_json_variant_elements(all);
        Row *rows = must_have(calloc(n_all + 1, sizeof(Row)));

        for (size_t i = 0; i < n_all; i++) {
                sd_json_variant *v = sd_json_variant_by_index(all, i);

                if (!streq(json_string(v, "type"), "snapshot"))
                        rows[n++] = row_of(v);
        }
        qsort(rows, n, sizeof(Row), row_compare);
        for (size_t i = 0; i < n_all; i++) {
                sd_json_variant *v = sd_json_variant_by_index(all, i),
                                *own = sd_json_variant_by_key(v, "exclusiveBytes");
                Row key = row_of(v), *row = own && streq(json_string(v, "type"), "snapshot")
                                                    ? bsearch(&key, rows, n, sizeof(Row), row_compare)
                                                    : NULL;

                if (row) {
                        row->held += sd_json_variant_unsigned(own);
                        row->has_held = true;
                }
        }
        *ret_n = n;
        return rows;
}

/* Each as the daemon has it, with "snapshotBytes" and "totalBytes". */
static sd_json_variant *volumes_with_sums(sd_json_variant *all) {
        sd_json_variant *volumes = NULL;
        size_t n;
        _cleanup_free_ Row *rows = rows_make(all, &n);

        must(sd_json_variant_new_array(&volumes, NULL, 0));
        for (size_t i = 0; i < n; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = sd_json_variant_ref(rows[i].volume);
                sd_json_variant *used = sd_json_variant_by_key(v, "usedBytes");

                if (rows[i].has_held)
                        must(sd_json_variant_set_field_unsigned(&v, "snapshotBytes", rows[i].held));
                if (used)
                        must(sd_json_variant_set_field_unsigned(&v, "totalBytes",
                                                                sd_json_variant_unsigned(used) + rows[i].held));
                must(sd_json_variant_append_array(&volumes, v));
        }
        return volumes;
}

/* --- those that were named -------------------------------------------------------------------------------- */

static sd_json_variant *find(sd_json_variant *rows, const char *member, const char *value) {
        for (size_t i = 0; i < sd_json_variant_elements(rows); i++)
                if (streq(json_string(sd_json_variant_by_index(rows, i), member), value))
                        return sd_json_variant_by_index(rows, i);
        return NULL;
}

/* What a name means is the daemon's to say. */
static sd_json_variant *choose(char **names, sd_json_variant *volumes, Report *report) {
        sd_json_variant *chosen = NULL;

        must(sd_json_variant_new_array(&chosen, NULL, 0));
        for (char **name = names; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL;
                Error err = {};

                if (volume_inspect(*name, &volume, &err) < 0) {
                        report_failure(report, *name, &err);
                        continue;
                }
                sd_json_variant *row = find(volumes, "uuid", json_string(volume, "uuid"));
                must(sd_json_variant_append_array(&chosen, row ?: volume));
        }
        return chosen;
}

/* Of pools or tenants those that own one of the volumes. */
static sd_json_variant *owners(sd_json_variant *all, const char *member, sd_json_variant *volumes) {
        sd_json_variant *kept = NULL;

        must(sd_json_variant_new_array(&kept, NULL, 0));
        for (size_t i = 0; i < sd_json_variant_elements(all); i++) {
                sd_json_variant *owner = sd_json_variant_by_index(all, i);

                if (find(volumes, member, json_string(owner, "name")))
                        must(sd_json_variant_append_array(&kept, owner));
        }
        return kept;
}

/* --- telling ---------------------------------------------------------------------------------------------- */

static void tell_rest(size_t n, const char *what) {
        if (n == 0)
                return;
        fflush(stdout);
        fprintf(stderr, "and %zu more %s: quarry df --all\n", n, what);
}

static void print(sd_json_variant *pools, sd_json_variant *tenants, sd_json_variant *volumes, bool all) {
        size_t n = all ? SIZE_MAX : FIRST;
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *first = table_first(volumes, n);

        if (sd_json_variant_elements(pools) > 0)
                (void) table_print_beside(overview_pool_columns, pools, "pool", SIZE_MAX);
        if (sd_json_variant_elements(tenants) > 0) {
                fputs(sd_json_variant_elements(pools) > 0 ? "\n" : "", stdout);
                tell_rest(table_print_beside(tenant_columns, tenants, "-size", n), "tenants");
        }
        if (sd_json_variant_elements(volumes) == 0)
                return;
        fputs(sd_json_variant_elements(pools) + sd_json_variant_elements(tenants) > 0 ? "\n" : "", stdout);
        table_print(df_columns, first);
        tell_rest(sd_json_variant_elements(volumes) - sd_json_variant_elements(first), "volumes");
}

static bool used_is_known(sd_json_variant *volumes) {
        for (size_t i = 0; i < sd_json_variant_elements(volumes); i++) {
                sd_json_variant *v = sd_json_variant_by_index(volumes, i);

                if (streq(json_string(v, "state"), "ready") && !sd_json_variant_by_key(v, "usedBytes"))
                        return false;
        }
        return true;
}

/* What a closed volume takes is not known before the pool's maps were read, which the first question begins. */
static int ask(Overview *ret, Error *err) {
        _cleanup_(overview_done) Overview first = {};
        int r;

        r = overview_ask(volume_fields, &first, err);
        if (r >= 0 && !used_is_known(first.volumes)) {
                (void) usleep(500 * 1000);
                return overview_ask(volume_fields, ret, err);
        }
        if (r >= 0) {
                *ret = first;
                first = (Overview) {};
        }
        return r;
}

int verb_df(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volumes = NULL, *rows = NULL, *pools = NULL, *tenants = NULL;
        _cleanup_(report_done) Report report = { .action = "cannot tell how full is" };
        _cleanup_(overview_done) Overview o = {};
        Error err = {};

        table_options.sort = table_options.sort ?: "-total";
        int r = table_check_options(df_columns, &err);
        if (r == 0)
                r = ask(&o, &err);
        if (r != 0)
                return r < 0 ? report_error("cannot tell how full it is", NULL, &err) : EXIT_DONE;

        volumes = volumes_with_sums(o.volumes);
        if (*arguments) {
                sd_json_variant *chosen = choose(arguments, volumes, &report);

                sd_json_variant_unref(volumes);
                volumes = chosen;
        }
        pools = *arguments ? owners(o.pools, "pool", volumes) : sd_json_variant_ref(o.pools);
        tenants = *arguments ? owners(o.tenants, "tenant", volumes) : sd_json_variant_ref(o.tenants);
        rows = table_select(df_columns, volumes);
        if (arg_json) {
                for (size_t i = 0; i < sd_json_variant_elements(rows); i++)
                        report_add(&report, sd_json_variant_by_index(rows, i));
                must(sd_json_buildo(
                                &report.members,
                                SD_JSON_BUILD_PAIR_VARIANT("pools", pools),
                                SD_JSON_BUILD_PAIR_VARIANT("tenants", tenants)));
        } else if (!*arguments && sd_json_variant_elements(o.pools) + sd_json_variant_elements(o.tenants) == 0)
                puts(OVERVIEW_EMPTY);
        else
                print(pools, tenants, rows, arg_all || *arguments);
        if (!*arguments)
                volume_report_missing(&report, o.missing);
        return report_finish(&report, "volumes");
}
