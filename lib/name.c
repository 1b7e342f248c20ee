/* The rules for names, references as people type them, and the names derived from uuids. */

#include <quarry/volume.h>

#include <quarry/pool.h>
#include <quarry/text.h>

#include <stdio.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* First character out of one set, the rest out of another. */
static bool name_is_made_of(const char *s, const char *first, const char *rest, size_t max) {
        if (!s || !*s || !strchr(first, *s))
                return false;

        size_t n = strlen(s);
        return n <= max && strspn(s, rest) == n;
}

bool volume_name_is_valid(const char *name) {
        return name_is_made_of(name, LOWER UPPER DIGITS, LOWER UPPER DIGITS "_.-", VOLUME_NAME_MAX);
}

bool snapshot_name_is_valid(const char *name) {
        return volume_name_is_valid(name) && strlen(name) <= SNAPSHOT_NAME_MAX;
}

bool full_name_is_valid(const char *name) {
        const char *snapshot = snapshot_name_of(name);
        char volume[VOLUME_NAME_MAX + 1];

        return snapshot && snapshot_name_is_valid(snapshot) &&
               buffer_format(volume, sizeof(volume), "%.*s", (int) (snapshot - 1 - name), name) &&
               volume_name_is_valid(volume);
}

void full_name_format(const char *name, const char *snapshot, char buf[static FULL_NAME_MAX + 1]) {
        (void) buffer_format(buf, FULL_NAME_MAX + 1, "%s%s%s", name, *snapshot ? "@" : "", snapshot);
}

const char *reference_format(const char *tenant, const char *full_name, char buf[static REFERENCE_MAX]) {
        bool is_default = isempty(tenant) || streq(tenant, DEFAULT_TENANT);

        (void) buffer_format(buf, REFERENCE_MAX, "%s%s%s", is_default ? "" : tenant, is_default ? "" : "/", full_name);
        return buf;
}

const char *snapshot_name_of(const char *full_name) {
        const char *at = strchr(full_name, '@');

        return at ? at + 1 : NULL;
}

bool tenant_name_is_valid(const char *name) {
        return name_is_made_of(name, LOWER, LOWER DIGITS "-", TENANT_NAME_MAX);
}

bool pool_name_is_valid(const char *name) {
        return name_is_made_of(name, LOWER, LOWER DIGITS "-", POOL_NAME_MAX);
}

bool label_key_is_valid(const char *key) {
        return name_is_made_of(key, LOWER UPPER DIGITS, LOWER UPPER DIGITS "_./-", LABEL_KEY_MAX);
}

bool label_value_is_valid(const char *value) {
        return value && strlen(value) <= LABEL_VALUE_MAX && text_is_printable(value);
}

int volume_name_check(const char *name, const char *field, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (volume_name_is_valid(name))
                return 0;
        return error_field(
                err, field,
                "volume name \"%s\" is not valid: 1 to %d of A-Z a-z 0-9 _ . -, beginning with a letter or digit",
                text_echo(name, echo), VOLUME_NAME_MAX);
}

int snapshot_name_check(const char *name, const char *field, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (snapshot_name_is_valid(name))
                return 0;
        return error_field(
                err, field,
                "snapshot name \"%s\" is not valid: 1 to %d of A-Z a-z 0-9 _ . -, beginning with a letter or digit",
                text_echo(name, echo), SNAPSHOT_NAME_MAX);
}

/* Pools and tenants have the same rule. */
static int short_name_refuse(const char *what, const char *name, const char *field, Error *err) {
        char echo[TEXT_ECHO_MAX];

        return error_field(err, field, "%s name \"%s\" is not valid: 1 to %d of a-z 0-9 -, beginning with a letter",
                           what, text_echo(name, echo), POOL_NAME_MAX);
}

int tenant_name_check(const char *name, const char *field, Error *err) {
        return tenant_name_is_valid(name) ? 0 : short_name_refuse("tenant", name, field, err);
}

int pool_name_check(const char *name, const char *field, Error *err) {
        return pool_name_is_valid(name) ? 0 : short_name_refuse("pool", name, field, err);
}

int reference_parse(const char *s, const char *field, Reference *ret, Error *err) {
        _cleanup_free_ char *copy = strdup(s);
        char *name = copy, *separator;
        Reference reference = {};
        int r;

        if (!copy)
                return error_oom(err);

        separator = strchr(name, '@');
        if (separator) {
                *separator = 0;
                r = snapshot_name_check(separator + 1, field, err);
                if (r < 0)
                        return r;
                (void) buffer_format(reference.snapshot, sizeof(reference.snapshot), "%s", separator + 1);
        }

        separator = strchr(name, ':');
        if (separator) {
                *separator = 0;
                r = pool_name_check(name, field, err);
                if (r < 0)
                        return r;
                (void) buffer_format(reference.pool, sizeof(reference.pool), "%s", name);
                name = separator + 1;
        }

        separator = strchr(name, '/');
        if (separator) {
                *separator = 0;
                r = tenant_name_check(name, field, err);
                if (r < 0)
                        return r;
                (void) buffer_format(reference.tenant, sizeof(reference.tenant), "%s", name);
                name = separator + 1;
        }

        r = volume_name_check(name, field, err);
        if (r < 0)
                return r;
        (void) buffer_format(reference.name, sizeof(reference.name), "%s", name);

        *ret = reference;
        return 0;
}

char *uuid_format(sd_id128_t id, char buf[static UUID_TEXT_MAX]) {
        return sd_id128_to_uuid_string(id, buf);
}

/* Only the one way in which uuid_format() writes it. */
static int uuid_parse(const char *s, sd_id128_t *ret) {
        char canonical[UUID_TEXT_MAX];
        sd_id128_t id;

        if (sd_id128_from_string(s, &id) < 0 || sd_id128_is_null(id) || !streq(uuid_format(id, canonical), s))
                return -EINVAL;
        *ret = id;
        return 0;
}

void volume_thin_name(sd_id128_t volume, char buf[static KERNEL_NAME_MAX]) {
        char uuid[UUID_TEXT_MAX];

        snprintf(buf, KERNEL_NAME_MAX, "quarry-%s", uuid_format(volume, uuid));
}

void volume_crypt_name(sd_id128_t volume, char buf[static KERNEL_NAME_MAX]) {
        char uuid[UUID_TEXT_MAX];

        snprintf(buf, KERNEL_NAME_MAX, "quarry-%s-crypt", uuid_format(volume, uuid));
}

int volume_uuid_from_kernel_name(const char *name, sd_id128_t *ret) {
        const char *rest = startswith(name, "quarry-");
        char uuid[UUID_TEXT_MAX];

        if (!rest || strnlen(rest, UUID_TEXT_MAX - 1) < UUID_TEXT_MAX - 1)
                return -EINVAL;
        (void) buffer_format(uuid, sizeof(uuid), "%.*s", UUID_TEXT_MAX - 1, rest);

        rest += UUID_TEXT_MAX - 1;
        if (*rest && !streq(rest, "-crypt"))
                return -EINVAL;
        return uuid_parse(uuid, ret);
}

void volume_mount_path(const char *tenant, const char *name, char buf[static MOUNT_PATH_MAX]) {
        snprintf(buf, MOUNT_PATH_MAX, MOUNT_ROOT "/%s/%s", tenant, name);
}

void volume_device_link(const char *tenant, const char *name, char buf[static MOUNT_PATH_MAX]) {
        snprintf(buf, MOUNT_PATH_MAX, DEVICE_LINK_ROOT "/%s/%s", tenant, name);
}

void pool_kernel_name(sd_id128_t pool, char buf[static KERNEL_NAME_MAX]) {
        volume_thin_name(pool, buf); /* the same form; a uuid is never both a pool's and a volume's */
}

void pool_catalog_path(sd_id128_t pool, char buf[static CATALOG_PATH_MAX]) {
        char uuid[UUID_TEXT_MAX];

        snprintf(buf, CATALOG_PATH_MAX, CATALOG_ROOT "/%s", uuid_format(pool, uuid));
}

void kernel_uuid_format(sd_id128_t pool, const char *kind, sd_id128_t id, char buf[static KERNEL_UUID_MAX]) {
        char pool_uuid[UUID_TEXT_MAX], uuid[UUID_TEXT_MAX];

        snprintf(buf, KERNEL_UUID_MAX, KERNEL_UUID_PREFIX "%s-%.7s-%s", uuid_format(pool, pool_uuid), kind,
                 uuid_format(id, uuid));
}

int kernel_uuid_parse(const char *s, sd_id128_t *ret_pool, char ret_kind[static 8], sd_id128_t *ret_id) {
        const size_t n = UUID_TEXT_MAX - 1;
        char pool_uuid[UUID_TEXT_MAX];
        sd_id128_t pool, id;

        s = startswith(s, KERNEL_UUID_PREFIX);
        if (!s || strnlen(s, n + 1) < n + 1 || s[n] != '-')
                return -EINVAL;
        (void) buffer_format(pool_uuid, sizeof(pool_uuid), "%.*s", (int) n, s);
        s += n + 1;

        size_t kind = strcspn(s, "-");
        if (kind == 0 || kind > 7 || s[kind] != '-' || strspn(s, LOWER) != kind)
                return -EINVAL;
        if (uuid_parse(pool_uuid, &pool) < 0 || uuid_parse(s + kind + 1, &id) < 0)
                return -EINVAL;

        *ret_pool = pool;
        *ret_id = id;
        *(char *) mempcpy(ret_kind, s, kind) = 0;
        return 0;
}
