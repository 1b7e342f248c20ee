#include "stream.h"

#include "must.h"
#include "report.h"
#include "terminal.h"

#include <quarry/clock.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <inttypes.h>

#define SECOND_USEC UINT64_C(1000000)

int stream_uuid_of(sd_json_variant *snapshot, sd_id128_t *ret, Error *err) {
        sd_json_variant *label = sd_json_variant_by_key(sd_json_variant_by_key(snapshot, "labels"), RECEIVED_LABEL);
        const char *text = sd_json_variant_is_string(label) ? sd_json_variant_string(label)
                                                            : json_string(snapshot, "uuid");

        if (sd_id128_from_string(text, ret) < 0 || sd_id128_is_null(*ret))
                return error_set(err, ERROR_BAD_REQUEST, EINVAL, "label " RECEIVED_LABEL " of %s is no UUID",
                                 json_string(snapshot, "name"));
        return 0;
}

static void left_format(uint64_t seconds, char *buf, size_t size) {
        uint64_t minutes = (seconds + 59) / 60;

        if (seconds < 60)
                (void) buffer_format(buf, size, ", %" PRIu64 " s left", seconds > 0 ? seconds : 1);
        else if (minutes < 120)
                (void) buffer_format(buf, size, ", %" PRIu64 " min left", minutes);
        else
                (void) buffer_format(buf, size, ", %" PRIu64 " h left", (minutes + 59) / 60);
}

void stream_progress(Progress *p, uint64_t done) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC), rate = 0;
        char is[SIZE_TEXT_MAX], of[SIZE_TEXT_MAX], fast[SIZE_TEXT_MAX], left[32] = "";
        _cleanup_free_ char *step = NULL;

        if (p->began_usec == 0) {
                p->began_usec = now;
                p->began_at = done;
        }
        if (arg_json || now - p->shown_usec < SECOND_USEC)
                return;
        p->shown_usec = now;
        if (now - p->began_usec >= SECOND_USEC && done > p->began_at) /* of all of it: it is not to jump */
                rate = (uint64_t) ((double) (done - p->began_at) * SECOND_USEC / (double) (now - p->began_usec));
        if (rate > 0 && p->total > done)
                left_format((p->total - done) / rate, left, sizeof(left));
        step = must_have(format_new("%s%s%s%s%s%s%s", size_format(done, is), p->total > 0 ? " of " : "",
                                    p->total > 0 ? size_format(p->total, of) : "", rate > 0 ? ", " : "",
                                    rate > 0 ? size_format(rate, fast) : "", rate > 0 ? "/s" : "", left));
        progress_show(p->what, step, 0, 0);
}
