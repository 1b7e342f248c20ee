#include <quarry/failpoint.h>

#include <quarry/fd.h>
#include <quarry/text.h>

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_ROOM 128u
#define HANG_PAUSE_MS 20

static void note(int folder, const char *name) {
        _cleanup_close_ int fd = openat(folder, "log", O_WRONLY | O_APPEND | O_CLOEXEC);
        char line[NAME_ROOM + 32];

        if (fd >= 0 && buffer_format(line, sizeof(line), "%d %s\n", (int) getpid(), name))
                (void) !write(fd, line, strlen(line));
}

static void hang(int folder, const char *file) {
        while (faccessat(folder, file, F_OK, 0) >= 0)
                nanosleep(&(struct timespec) { .tv_nsec = HANG_PAUSE_MS * 1000000L }, NULL);
}

/* Of several that pass an armed point only the one that takes its file away does what it says. */
static int strike(int folder, const char *name) {
        _cleanup_free_ char *action = NULL;
        char hanging[NAME_ROOM + 8];
        int number;

        if (file_read(folder, name, 64, &action, NULL) < 0)
                return 0;
        if (strncmp(action, "hang", 4) == 0) {
                if (buffer_format(hanging, sizeof(hanging), "%s.hangs", name) &&
                    renameat(folder, name, folder, hanging) >= 0)
                        hang(folder, hanging);
                return 0;
        }
        if (unlinkat(folder, name, 0) < 0)
                return 0;
        if (strncmp(action, "die", 3) == 0)
                (void) kill(getpid(), SIGKILL);
        return sscanf(action, "fail %d", &number) == 1 ? -number : 0;
}

int failpoint_pass(const char *format, ...) {
        _cleanup_close_ int folder = open(FAILPOINT_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char name[NAME_ROOM];
        va_list ap;

        if (folder < 0)
                return 0;
        va_start(ap, format);
        (void) vsnprintf(name, sizeof(name), format, ap);
        va_end(ap);
        for (char *p = name; *p; p++)
                if (!isalnum((unsigned char) *p) && *p != '.' && *p != '_')
                        *p = '-';
        note(folder, name);
        return strike(folder, name);
}
