#pragma once

/* Every kind of error, declared as an error of the interface whose file includes this: a client that reads
 * the interface's description finds them all. */

#include <quarry/error.h>

#include <systemd/sd-varlink-idl.h>

#define API_DEFINE_ERROR(kind, name, number, code, http, sentence) \
        static SD_VARLINK_DEFINE_ERROR(                                                                        \
                name,                                                                                          \
                SD_VARLINK_FIELD_COMMENT("One sentence for people: what and why."),                            \
                SD_VARLINK_DEFINE_FIELD(message, SD_VARLINK_STRING, 0),                                        \
                SD_VARLINK_FIELD_COMMENT("What to run next."),                                                 \
                SD_VARLINK_DEFINE_FIELD(hint, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),                         \
                SD_VARLINK_FIELD_COMMENT("The field of the request that breaks a rule."),                      \
                SD_VARLINK_DEFINE_FIELD(field, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),                        \
                SD_VARLINK_FIELD_COMMENT("The step of the job that failed."),                                  \
                SD_VARLINK_DEFINE_FIELD(step, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),                         \
                SD_VARLINK_FIELD_COMMENT("Linux error number beneath, if there is one."),                      \
                SD_VARLINK_DEFINE_FIELD(errorNumber, SD_VARLINK_INT, SD_VARLINK_NULLABLE),                     \
                SD_VARLINK_FIELD_COMMENT("True if something was left behind that could not be undone."),       \
                SD_VARLINK_DEFINE_FIELD(undoFailed, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE));
#define API_LIST_ERROR(kind, name, number, code, http, sentence) SD_VARLINK_SYMBOL_COMMENT(sentence), &vl_error_##name,
