#include "source.h"

#include "client.h"
#include "must.h"

#include <quarry/json.h>

#include <inttypes.h>
#include <unistd.h>

/* The device first: as long as it is open nobody removes the snapshot. */
int source_open(const char *snapshot, const char *since, const char *what, Source *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *which = NULL, *reply = NULL;
        _cleanup_(source_done) Source source = { .device = -EBADF };
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", snapshot)));
        must(sd_json_buildo(&which, SD_JSON_BUILD_PAIR_STRING("to", snapshot),
                            SD_JSON_BUILD_PAIR_CONDITION(!!since, "from", SD_JSON_BUILD_STRING(since)),
                            SD_JSON_BUILD_PAIR_BOOLEAN("join", true)));
        Call send = { .method = API_STREAM ".Send", .parameters = parameters, .what = what };
        r = client_call(&send, NULL, &source.device, err);
        if (r < 0)
                return r;
        if (source.device < 0)
                return error_set(err, ERROR_FAILED, EPROTO, "quarryd sent no device");
        Call diff = { .method = API_VOLUME ".Diff", .parameters = which, .what = what };
        r = client_call(&diff, &reply, NULL, err);
        if (r < 0)
                return r;
        source.ranges = sd_json_variant_ref(sd_json_variant_by_key(reply, "ranges"));
        source.total = json_unsigned(reply, "totalBytes");
        *ret = source;
        source = (Source) { .device = -EBADF };
        return 0;
}

void source_done(Source *s) {
        closep(&s->device);
        sd_json_variant_unref(s->ranges);
        *s = (Source) { .device = -EBADF };
}

bool source_range(const Source *s, size_t n, uint64_t *ret_offset, uint64_t *ret_end) {
        sd_json_variant *range = n < sd_json_variant_elements(s->ranges) ? sd_json_variant_by_index(s->ranges, n)
                                                                         : NULL;

        if (!range)
                return false;
        *ret_offset = json_unsigned(range, "offsetBytes");
        *ret_end = *ret_offset + json_unsigned(range, "lengthBytes");
        return true;
}

bool source_touches(const Source *s, uint64_t offset, uint64_t end, size_t *n) {
        uint64_t from, to;

        while (source_range(s, *n, &from, &to) && to <= offset)
                (*n)++;
        return source_range(s, *n, &from, &to) && from < end;
}

int source_read(const Source *s, uint64_t offset, uint8_t *buf, size_t size, Error *err) {
        while (size > 0) {
                ssize_t n = pread(s->device, buf, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return error_errno(err, n < 0 ? errno : ENODATA, "cannot read the device at byte %" PRIu64,
                                           offset);
                buf += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }
        return 0;
}

void source_describe(sd_json_variant *volume, VolumeSpec *ret) {
        const char *key_source = json_string(sd_json_variant_by_key(volume, "encryption"), "keySource");

        ret->fs = (Filesystem) filesystem_from_string(json_string(volume, "filesystem"));
        if (*key_source)
                ret->key_source = (KeySource) key_source_from_string(key_source);
        ret->size = json_unsigned(volume, "sizeBytes");
        ret->uid = (uid_t) json_unsigned(volume, "uid");
        ret->gid = (gid_t) json_unsigned(volume, "gid");
        ret->mode = (mode_t) json_unsigned(volume, "mode");
}
