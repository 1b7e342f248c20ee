#include "create-from.h"

#include "must.h"
#include "stream.h"
#include "terminal.h"
#include "transfer.h"
#include "unpack.h"
#include "volume.h"

#include <quarry/text.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE (1u << 20)
#define BLOCK_SIZE 4096u /* what is zero in so many is not written */

typedef struct Contents {
        Input *source;
        uint64_t size;       /* of the volume */
        bool is_device;
        Progress progress;
} Contents;

/* --- an archive ------------------------------------------------------------------------------------------- */

static int archive_write(Target *target, void *userdata, Error *err) {
        Contents *c = userdata;

        return unpack(target, c->source, &c->progress, err);
}

int create_filled(const Call *call, const char *reference, Input *source, sd_json_variant **ret, Error *err) {
        _cleanup_free_ char *what = must_have(format_new("filling %s", reference));
        Contents contents = { .source = source, .progress = { .what = what, .total = source->size } };

        return transfer_fill(call, archive_write, &contents, ret, err);
}

/* --- an image --------------------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *data, size_t size) {
        return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* The volume is new, and reads as zeros. */
static int data_write(Target *target, uint64_t offset, const uint8_t *data, size_t size, Error *err) {
        size_t begin = 0, end = 0;
        int r = 0;

        while (end < size && r >= 0) {
                size_t n = size - end < BLOCK_SIZE ? size - end : BLOCK_SIZE;
                bool zero = is_zero(data + end, n);

                if (zero && end > begin)
                        r = target_write(target, offset + begin, data + begin, end - begin, err);
                end += n;
                if (zero)
                        begin = end;
        }
        return end > begin && r >= 0 ? target_write(target, offset + begin, data + begin, end - begin, err) : r;
}

static int length_check(const Contents *c, Error *err) {
        char have[SIZE_TEXT_MAX], need[SIZE_TEXT_MAX];

        if (!c->source->unpacker && c->source->at < c->source->size)
                return error_set(err, ERROR_BAD_REQUEST, EBADMSG,
                                 "the image became shorter while it was read: it had %s, and has %s",
                                 size_format_exact(c->source->size, need), size_format_exact(c->source->at, have));
        if (c->is_device || c->source->at >= c->source->image.size)
                return 0;
        return error_set(err, ERROR_BAD_REQUEST, EBADMSG, "the image is cut short: it has %s, and its filesystem %s",
                         size_format_exact(c->source->at, have), size_format_exact(c->source->image.size, need));
}

static int too_long(const Contents *c, Error *err) {
        char size[SIZE_TEXT_MAX];

        error_set(err, ERROR_BAD_REQUEST, EFBIG, "the image is longer than the volume, which has %s",
                  size_format_exact(c->size, size));
        error_hint(err, "--size with that of the image");
        return error_code(err);
}

static int image_write(Target *target, void *userdata, Error *err) {
        _cleanup_free_ uint8_t *buffer = must_have(malloc(BUFFER_SIZE));
        Contents *c = userdata;
        Input *source = c->source;
        uint64_t at;
        ssize_t n;
        int r = 0;

        do {
                input_skip_hole(source);
                at = source->at;
                n = input_read(source, buffer, BUFFER_SIZE, err);
                if (n < 0)
                        r = (int) n;
                else if (n > 0)
                        r = at + (uint64_t) n > c->size ? too_long(c, err)
                                                        : data_write(target, at, buffer, (size_t) n, err);
                stream_progress(&c->progress, input_position(source));
        } while (n > 0 && r >= 0);
        progress_clear();
        return r < 0 ? r : length_check(c, err);
}

/* Of a file that is not compressed, its own; else that of the filesystem. */
static int size_choose(const ImageRequest *request, const Input *source, uint64_t *ret, Error *err) {
        uint64_t own = source->size > 0 && !source->unpacker ? source->size : source->image.size;
        char size[SIZE_TEXT_MAX], needed[SIZE_TEXT_MAX];

        if (own == 0 && request->size == 0)
                return error_field(err, "--size", "--size is missing: how large the image is, nothing says");
        if (request->size > 0 && request->size < own)
                return error_field(err, "--size", "--size: %s are less than the image has: %s",
                                   size_format_exact(request->size, size), size_format_exact(own, needed));
        if (own < source->image.size)
                return error_set(err, ERROR_BAD_REQUEST, EBADMSG,
                                 "the image is cut short: it has %s, and its filesystem %s",
                                 size_format_exact(own, size), size_format_exact(source->image.size, needed));
        *ret = request->size > 0 ? request->size : own;
        *ret = (*ret + MIB - 1) / MIB * MIB; /* as volumes have it */
        return 0;
}

static int protect(const char *reference, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", reference),
                            SD_JSON_BUILD_PAIR_BOOLEAN("protected", true)));
        Call call = { .method = API_VOLUME ".Update", .parameters = parameters };
        r = client_call(&call, NULL, NULL, err);
        if (r < 0)
                error_prefix(err, "the volume is there, and not protected");
        return r;
}

int create_imaged(const ImageRequest *request, Input *source, sd_json_variant **ret, Error *err) {
        _cleanup_free_ char *what = must_have(format_new("writing %s", request->reference));
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *made = NULL, *volume = NULL;
        Contents contents = { .source = source,
                              .is_device = request->is_device,
                              .progress = { .what = what, .total = source->size ?: source->image.size } };
        const char *fs = filesystem_to_string(request->is_device ? FILESYSTEM_NONE : source->image.fs);
        int r;

        r = size_choose(request, source, &contents.size, err);
        if (r < 0)
                return r;
        must(sd_json_buildo(
                        &parameters, SD_JSON_BUILD_PAIR_STRING("volume", request->reference),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", contents.size),
                        SD_JSON_BUILD_PAIR_STRING("filesystem", fs),
                        SD_JSON_BUILD_PAIR_CONDITION(!!request->labels, "labels",
                                                     SD_JSON_BUILD_STRV((char **) request->labels)),
                        SD_JSON_BUILD_PAIR_CONDITION(!request->is_device, "foreign", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("socketFileDescriptor", 0)));
        r = transfer_run(parameters, image_write, &contents, &made, err);
        if (r >= 0 && request->protected)
                r = protect(request->reference, err);
        if (r >= 0)
                r = volume_inspect(request->reference, &volume, err);
        if (r < 0)
                return r;
        must(sd_json_buildo(ret, SD_JSON_BUILD_PAIR_VARIANT("volume", volume)));
        return 0;
}
