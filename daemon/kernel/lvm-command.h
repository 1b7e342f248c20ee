#pragma once

/* One LVM command: its words, its run. Private to lvm.c and lvm-grow.c. */

#include "kernel/lvm-report.h"

#define WORDS(...) ((const char *const[]) { __VA_ARGS__, NULL })

/* "lvm VERB" that looks at exactly these devices; an empty list is an error, since LVM would look at all. */
int lvm_command_new(const char *verb, char *const *devices, char ***ret, Error *err);

/* Adds one word (NULL: nothing), or words up to a NULL. */
int lvm_command_add(char ***argv, const char *word); /* -ENOMEM */
int lvm_command_extend(char ***argv, Error *err, const char *const *words);

/* ret_text (may be NULL): its standard output. ERROR_POOL_BUSY when LVM says that something is in use. */
int lvm_command_run(char *const *argv, char **ret_text, Error *err);

/* What `lvm pvs` says of exactly these devices. */
int lvm_report_read(char *const *devices, LvmReport *ret, Error *err);
