#include <quarry/thin-report.h>

#include <quarry/text.h>
#include <quarry/volume.h>

#define SECTOR UINT64_C(512)
#define CHUNK_MAX GIB /* the kernel's limit */

/* --- thin_ls ---------------------------------------------------------------------------------------------- */

/* The next number of a line, between blanks; goes on behind it. */
static int take_number(const char **line, uint64_t *ret) {
        char text[24];
        size_t n;

        *line += strspn(*line, " ");
        n = strcspn(*line, " ");
        if (n >= sizeof(text))
                return -EBADMSG;
        buffer_format(text, sizeof(text), "%.*s", (int) n, *line);
        *line += n;
        return number_parse(text, ret) < 0 ? -EBADMSG : 0;
}

int thin_usage_parse(const char *line, ThinUsage *ret) {
        uint64_t id, used, exclusive;

        if (take_number(&line, &id) < 0 || take_number(&line, &used) < 0 || take_number(&line, &exclusive) < 0)
                return -EBADMSG;
        if (line[strspn(line, " ")] || id > THIN_ID_MAX || exclusive > used || used > INT64_MAX)
                return -EBADMSG;
        *ret = (ThinUsage) { .thin_id = (uint32_t) id, .used = used, .exclusive = exclusive };
        return 0;
}

/* --- thin_delta: one element a line ----------------------------------------------------------------------- */

enum {
        PLACE_START,
        PLACE_POOL,
        PLACE_DIFF,
        PLACE_DIFF_END,
        PLACE_END,
};

void thin_delta_done(ThinDelta *delta) {
        free(delta->ranges);
        *delta = (ThinDelta) {};
}

void thin_delta_parser_done(ThinDeltaParser *p) {
        thin_delta_done(&p->delta);
}

/* Of ' name="123"' in an element. */
static int attribute(const char *element, const char *name, uint64_t *ret) {
        char key[32], text[24];
        const char *at;
        size_t n;

        buffer_format(key, sizeof(key), " %s=\"", name);
        at = strstr(element, key);
        if (!at)
                return -EBADMSG;
        at += strlen(key);
        n = strcspn(at, "\"");
        if (!at[n] || n >= sizeof(text))
                return -EBADMSG;
        buffer_format(text, sizeof(text), "%.*s", (int) n, at);
        return number_parse(text, ret) < 0 ? -EBADMSG : 0;
}

/* There are too many: the least distance that leaves half of them. */
static void join_near(ThinDeltaParser *p) {
        ThinDelta *d = &p->delta;

        while (d->n_ranges > 1 && d->n_ranges > p->keep / 2) {
                size_t n = 0;

                p->gap = p->gap > 0 ? p->gap * 2 : d->chunk_size;
                for (size_t i = 0; i < d->n_ranges; i++) {
                        ThinRange *range = &d->ranges[i], *before = n > 0 ? &d->ranges[n - 1] : NULL;

                        if (before && range->offset - (before->offset + before->length) <= p->gap)
                                before->length = range->offset + range->length - before->offset;
                        else
                                d->ranges[n++] = *range;
                }
                d->n_ranges = n;
        }
        d->count = d->n_ranges;
        d->total = 0;
        for (size_t i = 0; i < d->n_ranges; i++)
                d->total += d->ranges[i].length;
}

/* The range that is last has its end. */
static int last_keep(ThinDeltaParser *p) {
        ThinDelta *d = &p->delta;

        if (p->last.length == 0)
                return 0;
        if (p->join && d->n_ranges == p->keep)
                join_near(p);
        d->count++;
        d->total += p->last.length;
        if (d->n_ranges == p->keep)
                return 0;
        if ((d->n_ranges & (d->n_ranges - 1)) == 0) { /* as many as there is room for: a power of 2 */
                ThinRange *more = reallocarray(d->ranges, d->n_ranges ? d->n_ranges * 2 : 1, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                d->ranges = more;
        }
        d->ranges[d->n_ranges++] = p->last;
        return 0;
}

static int range_add(ThinDeltaParser *p, uint64_t begin, uint64_t end) {
        int r;

        if (p->last.length > 0 && begin - (p->last.offset + p->last.length) <= p->gap) {
                p->last.length = end - p->last.offset;
                return 0;
        }
        r = last_keep(p);
        if (r >= 0)
                p->last = (ThinRange) { .offset = begin, .length = end - begin };
        return r;
}

static uint64_t size_common(const ThinDeltaParser *p) {
        return p->sizes[0] < p->sizes[1] ? p->sizes[0] : p->sizes[1];
}

static int range_parse(ThinDeltaParser *p, const char *element, bool differs) {
        uint64_t begin, length, end, common = size_common(p);

        if (attribute(element, "begin", &begin) < 0 || attribute(element, "length", &length) < 0 || length == 0 ||
            __builtin_mul_overflow(begin, p->delta.chunk_size, &begin) ||
            __builtin_mul_overflow(length, p->delta.chunk_size, &length) ||
            __builtin_add_overflow(begin, length, &end) || begin < p->next)
                return -EBADMSG;
        p->next = end;
        /* The last chunk may reach behind the end, and what is behind it differs anyway. */
        if ((!differs && !p->mapped) || begin >= common)
                return 0;
        return range_add(p, begin, end < common ? end : common);
}

static int pool_parse(ThinDeltaParser *p, const char *element) {
        uint64_t sectors;

        if (attribute(element, "data_block_size", &sectors) < 0 || sectors == 0 || sectors > CHUNK_MAX / SECTOR)
                return -EBADMSG;
        p->delta.chunk_size = sectors * SECTOR;
        return 0;
}

int thin_delta_parse(ThinDeltaParser *p, const char *line) {
        static const struct {
                const char *begin;
                unsigned place, next;
                bool is_range, differs;
        } elements[] = {
                { "<superblock ", PLACE_START, PLACE_POOL },
                { "<diff ", PLACE_POOL, PLACE_DIFF },
                { "<same ", PLACE_DIFF, PLACE_DIFF, true },
                { "<different ", PLACE_DIFF, PLACE_DIFF, true, true },
                { "<left_only ", PLACE_DIFF, PLACE_DIFF, true, true },
                { "<right_only ", PLACE_DIFF, PLACE_DIFF, true, true },
                { "</diff>", PLACE_DIFF, PLACE_DIFF_END },
                { "</superblock>", PLACE_DIFF_END, PLACE_END },
        };

        line += strspn(line, " ");
        for (size_t i = 0; i < ELEMENTSOF(elements); i++) {
                if (elements[i].place != p->place || !startswith(line, elements[i].begin))
                        continue;
                p->place = elements[i].next;
                return elements[i].is_range     ? range_parse(p, line, elements[i].differs)
                       : p->place == PLACE_POOL ? pool_parse(p, line)
                                                : 0;
        }
        return -EBADMSG;
}

int thin_delta_finish(ThinDeltaParser *p, ThinDelta *ret) {
        uint64_t common = size_common(p), whole = p->sizes[0] + p->sizes[1] - common;
        int r = 0;

        if (p->place != PLACE_END)
                return -EBADMSG;
        if (whole > common)
                r = range_add(p, common, whole);
        if (r >= 0)
                r = last_keep(p);
        if (r < 0)
                return r;
        *ret = p->delta;
        p->delta = (ThinDelta) {};
        return 0;
}

/* --- thin_dump: one element a line ------------------------------------------------------------------------ */

void thin_union_done(ThinUnion *u) {
        free(u->seen);
        *u = (ThinUnion) {};
}

static int union_begin(ThinUnion *u, const char *element) {
        uint64_t sectors;

        if (u->is_open || attribute(element, "data_block_size", &sectors) < 0 || sectors == 0 ||
            sectors > CHUNK_MAX / SECTOR)
                return -EBADMSG;
        u->is_open = true;
        if (u->seen) /* the next dump is of the same pool */
                return sectors * SECTOR == u->chunk_size ? 0 : -EBADMSG;
        u->chunk_size = sectors * SECTOR;
        u->seen = calloc(u->data_size / u->chunk_size / 8 + 1, 1); /* the kernel gives pages as they are used */
        return u->seen ? 0 : -ENOMEM;
}

static int union_add(ThinUnion *u, uint64_t begin, uint64_t length) {
        uint64_t n = u->data_size / u->chunk_size;

        if (begin >= n || length > n - begin)
                return -EBADMSG;
        for (uint64_t i = begin; i < begin + length; i++) {
                uint8_t bit = (uint8_t) (1u << i % 8);

                u->n_seen += (u->seen[i / 8] & bit) == 0;
                u->seen[i / 8] |= bit;
        }
        return 0;
}

static int union_element(ThinUnion *u, const char *element) {
        /* What several devices share may stand before them, once, and is referred to. */
        static const char *const others[] = { "<device ", "</device>", "<def ", "</def>", "<ref " };
        uint64_t begin, length;

        if (startswith(element, "<single_mapping "))
                return attribute(element, "data_block", &begin) < 0 ? -EBADMSG : union_add(u, begin, 1);
        if (startswith(element, "<range_mapping "))
                return attribute(element, "data_begin", &begin) < 0 || attribute(element, "length", &length) < 0
                               ? -EBADMSG
                               : union_add(u, begin, length);
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                if (startswith(element, others[i]))
                        return 0;
        return -EBADMSG;
}

int thin_union_parse(ThinUnion *u, const char *line) {
        line += strspn(line, " ");
        if (startswith(line, "<superblock "))
                return union_begin(u, line);
        if (!u->is_open)
                return -EBADMSG;
        if (streq(line, "</superblock>")) {
                u->is_open = false;
                return 0;
        }
        return *line ? union_element(u, line) : 0;
}
