#pragma once

/* What the programs in this folder share. They need root and an empty disk, $QUARRY_DISK or /dev/vda, whose
 * contents are lost: for the test machine only, see tests/system/kernel-room.sh. */

#include "kernel/dm.h"
#include "kernel/luks.h"
#include "kernel/probe.h"
#include "kernel/spawn.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static const char *disk;

static inline int shell(const char *format, ...) _printf_(1, 2);
static inline int shell(const char *format, ...) {
        char text[1024];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        char *argv[] = { (char *) "sh", (char *) "-c", text, NULL };
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        int r = spawn_run(argv, 120, &output);
        if (r != 0)
                print_message("# %s: %d %s %s\n", text, r, output.out ?: "", output.err ?: "");
        return r;
}

#define assert_shell(...) assert_int_equal(shell(__VA_ARGS__), 0)

static inline void assert_done(int r, const Error *err) {
        if (r < 0)
                fail_msg("%s (%s)", err->text, strerror(-r));
}

static inline double now_ms(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static inline int compare_double(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;
        return (x > y) - (x < y);
}

static inline double median(double *samples, size_t n) {
        qsort(samples, n, sizeof(*samples), compare_double);
        return samples[n / 2];
}

/* Bytes of the disk's start and end, where all signatures lie. */
static inline char *disk_bytes(void) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        char text[256];

        snprintf(text, sizeof(text), "(head -c 8M %s; tail -c 2M %s) | sha256sum", disk, disk);
        char *argv[] = { (char *) "sh", (char *) "-c", text, NULL };
        assert_int_equal(spawn_run(argv, 60, &output), 0);
        return TAKE_PTR(output.out);
}

static inline void assert_refused(const char *path, const char *why) {
        _cleanup_free_ char *before = disk_bytes(), *after = NULL;
        Error err = {};
        int r;

        r = probe_device_is_free(path, &err);
        assert_true(r < 0);
        assert_int_equal(err.kind, ERROR_DEVICE_UNUSABLE);
        print_message("# %s%s%s\n", err.text, err.hint[0] ? " | " : "", err.hint);
        if (!strstr(err.text, why))
                fail_msg("\"%s\" does not say \"%s\"", err.text, why);
        after = disk_bytes();
        assert_string_equal(before, after);
}

static inline void wipe(void) {
        assert_shell("wipefs -qa %s && udevadm settle", disk);
}

static inline void begin(void) {
        disk = getenv("QUARRY_DISK") ?: "/dev/vda";
        log_open("kernel-room");
        dm_init();
        luks_init();
        cmocka_set_message_output(CM_OUTPUT_TAP);
        if (getenv("QUARRY_SKIP"))
                cmocka_set_skip_filter(getenv("QUARRY_SKIP"));
}
