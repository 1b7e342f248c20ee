#include "stream.h"

#include "describe.h"
#include "must.h"
#include "report.h"
#include "terminal.h"

#include <quarry/clock.h>
#include <quarry/text.h>

#define SECOND_USEC UINT64_C(1000000)

int stream_uuid_of(sd_json_variant *snapshot, sd_id128_t *ret, Error *err) {
        sd_json_variant *label = sd_json_variant_by_key(sd_json_variant_by_key(snapshot, "labels"), RECEIVED_LABEL);
        const char *text = sd_json_variant_is_string(label) ? sd_json_variant_string(label)
                                                            : describe_string(snapshot, "uuid");

        if (sd_id128_from_string(text, ret) < 0 || sd_id128_is_null(*ret))
                return error_set(err, ERROR_BAD_REQUEST, EINVAL, "label " RECEIVED_LABEL " of %s is no UUID",
                                 describe_string(snapshot, "name"));
        return 0;
}

void stream_progress(Progress *p, uint64_t done) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC), passed = now - p->shown_usec;
        char is[SIZE_TEXT_MAX], of[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX];
        _cleanup_free_ char *step = NULL;

        if (arg_json || passed < SECOND_USEC)
                return;
        if (p->shown_usec > 0) {
                size_format((done - p->shown_done) * SECOND_USEC / passed, rate);
                size_format(done, is);
                step = must_have(p->total > 0 ? format_new("%s of %s, %s/s", is, size_format(p->total, of), rate)
                                              : format_new("%s, %s/s", is, rate));
                progress_show(p->what, step, 0, 0);
        }
        p->shown_usec = now;
        p->shown_done = done;
}
