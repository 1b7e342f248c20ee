#include "overview.h"

#include "client.h"
#include "must.h"

#include <quarry/config.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <ctype.h>
#include <grp.h>

void overview_done(Overview *o) {
        sd_json_variant_unref(o->pools);
        sd_json_variant_unref(o->tenants);
        sd_json_variant_unref(o->volumes);
        sd_json_variant_unref(o->missing);
}

bool overview_sees_all(void) {
        const struct group *group = getgrnam(ADMIN_GROUP);

        return geteuid() == 0 || (group && group_member(group->gr_gid));
}

static int check_sight(const Overview *o, Error *err) {
        if (sd_json_variant_elements(o->pools) + sd_json_variant_elements(o->tenants) > 0 || overview_sees_all())
                return 0;
        error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                  "you are a member of no tenant, and what there is besides only administrators see");
        error_hint(err, "run it as root or as a member of group " ADMIN_GROUP);
        return error_code(err);
}

int overview_ask(const char *const *fields, Overview *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *last = NULL;
        _cleanup_(overview_done) Overview o = {};
        int r;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("type", "all"),
                        SD_JSON_BUILD_PAIR("fields", SD_JSON_BUILD_STRV((char **) fields))));
        Call pools = { .method = API_POOL ".List", .collect = "pools" };
        Call tenants = { .method = API_TENANT ".List", .collect = "tenants" };
        Call volumes = {
                .method = API_VOLUME ".List",
                .parameters = parameters,
                .collect = "volumes",
                .last = &last,
        };
        r = client_call(&pools, &o.pools, NULL, err);
        if (r >= 0)
                r = client_call(&tenants, &o.tenants, NULL, err);
        if (r >= 0)
                r = client_call(&volumes, &o.volumes, NULL, err);
        if (r >= 0)
                r = check_sight(&o, err);
        if (r < 0)
                return r;
        o.missing = sd_json_variant_ref(sd_json_variant_by_key(last, "missingPools"));
        *ret = o;
        o = (Overview) {};
        return 0;
}

/* --- pools ------------------------------------------------------------------------------------------------ */

char *overview_full_in(sd_json_variant *pool) {
        sd_json_variant *lasts = sd_json_variant_by_key(pool, "fullInSeconds");
        uint64_t hours = sd_json_variant_unsigned(lasts) / 3600;

        if (!lasts)
                return NULL;
        return must_have(hours < 1 ? strdup("<1h")
                                   : format_new("%llu%s", (unsigned long long) (hours < 48 ? hours : hours / 24),
                                                hours < 48 ? "h" : "d"));
}

static char **full_in_texts(sd_json_variant *pool) {
        _cleanup_free_ char *text = overview_full_in(pool);
        char **texts = NULL;

        if (text)
                must(strv_append(&texts, text));
        return texts;
}

static char **free_texts(sd_json_variant *pool) {
        sd_json_variant *size = sd_json_variant_by_key(pool, "dataSizeBytes"),
                        *used = sd_json_variant_by_key(pool, "dataUsedBytes");
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *left = NULL;
        char **texts = NULL;

        if (!size || !used)
                return NULL;
        must(sd_json_variant_new_unsigned(&left, sd_json_variant_unsigned(size) - sd_json_variant_unsigned(used)));
        _cleanup_free_ char *text = table_size(left);
        must(strv_append(&texts, text));
        return texts;
}

/* How it stands with its space, or why that does not matter. */
static char **state_texts(sd_json_variant *pool) {
        const char *state = json_string(pool, "state"), *space = json_string(pool, "space");
        char **texts = NULL;

        if (!streq(state, "active") || isempty(space))
                must(strv_append(&texts, state));
        if (!streq(space, "ok") && !isempty(space))
                must(strv_append(&texts, space));
        if (!texts)
                must(strv_append(&texts, "ok"));
        return texts;
}

const Column overview_pool_columns[] = {
        { "pool", "POOL", "Name", "name", COLUMN_TEXT, true, CUT_END },
        { "size", "SIZE", "Space for the contents of volumes", "dataSizeBytes", COLUMN_SIZE, true },
        { "used", "USED", "How much of it is taken", "dataUsedBytes", COLUMN_SIZE, true },
        { "free", "FREE", "How much is not", "dataSizeBytes", COLUMN_SIZE, true, CUT_NOTHING, free_texts },
        { "use%",
          "USE%",
          "Share taken",
          "dataUsedBytes",
          COLUMN_PERCENT,
          true,
          CUT_NOTHING,
          NULL,
          { "dataSizeBytes" } },
        { "promised", "PROMISED", "Sum of the sizes of its volumes", "provisionedBytes", COLUMN_SIZE, true },
        { "full-in", "FULL IN", "When it is full, if it fills as within the last day", "fullInSeconds", COLUMN_NUMBER,
          true, CUT_NOTHING, full_in_texts },
        { "volumes", "VOLUMES", "How many volumes it holds", "volumes", COLUMN_NUMBER, true },
        { "state", "STATE", "ok, or what is not", "state", COLUMN_TEXT, true, CUT_NOTHING, state_texts },
        {},
};

/* --- tenants ---------------------------------------------------------------------------------------------- */

bool overview_limit(sd_json_variant *tenant, const char *limit, uint64_t *ret_use, uint64_t *ret_limit) {
        sd_json_variant *most = sd_json_variant_by_key(tenant, limit);

        if (!sd_json_variant_is_unsigned(most))
                return false;
        /* "maxSizeBytes" is for "sizeBytes" */
        _cleanup_free_ char *use = must_have(strdup(limit + strlen("max")));
        *use = (char) tolower(*use);
        *ret_use = json_unsigned(tenant, use);
        *ret_limit = sd_json_variant_unsigned(most);
        return true;
}
