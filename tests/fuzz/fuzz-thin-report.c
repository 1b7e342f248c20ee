/* What thin_ls, thin_delta and thin_dump print, line by line. */

#include "fuzz.h"

#include <quarry/thin-report.h>
#include <quarry/volume.h>

#define SIZE (INT64_C(3) << 19)
#define OTHER (INT64_C(1) << 20)

static void check_delta(const ThinDelta *d, size_t keep, bool join) {
        uint64_t total = 0, end = 0;

        assert(d->chunk_size > 0 && d->n_ranges == (d->count < keep ? d->count : keep));
        assert(!join || d->n_ranges == d->count);
        for (size_t i = 0; i < d->n_ranges; i++) {
                assert(d->ranges[i].length > 0 && (i == 0 || d->ranges[i].offset > end));
                end = d->ranges[i].offset + d->ranges[i].length;
                total += d->ranges[i].length;
        }
        assert(end <= SIZE && total <= d->total && d->total <= SIZE);
        assert(d->count > keep || (total == d->total && end == SIZE)); /* one is larger than the other */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size);
        _cleanup_(thin_delta_parser_done) ThinDeltaParser parser = { .keep = size % 8,
                                                                     .sizes = { SIZE, OTHER },
                                                                     .mapped = size % 5 == 0 };
        _cleanup_(thin_union_done) ThinUnion u = { .data_size = (uint64_t) SIZE };
        ThinDelta delta = {};
        char *rest = text, *line;
        bool join = parser.keep > 1 && size % 3 == 0;
        ThinUsage usage;
        int r = 0, of_union = 0;

        parser.join = join;
        while ((line = strsep(&rest, "\n"))) {
                if (thin_usage_parse(line, &usage) >= 0)
                        assert(usage.thin_id <= THIN_ID_MAX && usage.exclusive <= usage.used);
                if (r >= 0)
                        r = thin_delta_parse(&parser, line);
                if (of_union >= 0)
                        of_union = thin_union_parse(&u, line);
        }
        if (r >= 0 && thin_delta_finish(&parser, &delta) >= 0)
                check_delta(&delta, parser.keep, join);
        thin_delta_done(&delta);
        assert(u.n_seen == 0 || u.n_seen * u.chunk_size <= (uint64_t) SIZE);
        return 0;
}
