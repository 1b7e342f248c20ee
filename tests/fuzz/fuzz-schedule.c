/* Schedules as people type them. */

#include "fuzz.h"

#include <quarry/schedule.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = input_string(data, size), *text = NULL, *again = NULL;
        Schedule schedule, back;
        Error err = {};

        if (schedule_parse(s, "schedule", &schedule, &err) < 0) {
                assert(err.kind == ERROR_BAD_REQUEST && text_is_printable(err.text));
                return 0;
        }
        assert(schedule.n <= SCHEDULE_RULES_MAX);
        for (size_t i = 0; i < schedule.n; i++) {
                const ScheduleRule *rule = &schedule.rules[i];
                char prefix[SCHEDULE_PREFIX_MAX + 1];

                assert(schedule_expression_is_valid(rule->expression) && rule->expression[0] != '-');
                assert(rule->keep >= 1 && rule->keep <= SCHEDULE_KEEP_MAX);
                assert(*schedule_prefix(rule->expression, prefix));
        }
        text = schedule_format(&schedule);
        assert(text && schedule_parse(text, "schedule", &back, &err) == 0);
        again = schedule_format(&back);
        assert(again && streq(text, again));
        return 0;
}
