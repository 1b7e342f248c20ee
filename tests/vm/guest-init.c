/* The test machine's first process, in the initrd: stacks the root (quarry as installed for this
 * run, over the image of the Debian root, under a writable layer) and becomes systemd. In C because
 * each process that a shell script starts costs a slow machine 30 ms.
 *
 * SCSI disk 0 has the image of the root, 1 that of what is installed. With the kernel's argument
 * quarry.keep=1 disk 2 has the writable layer. */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel panics when this process ends, and so ends qemu: a message is all that is needed. */
static void must(int result, const char *what) {
        if (result >= 0)
                return;
        fprintf(stderr, "test machine's init: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void mount_on(const char *type, const char *source, const char *folder, unsigned long flags,
                     const char *options) {
        if (mkdir(folder, 0755) < 0 && errno != EEXIST)
                must(-1, folder);
        must(mount(source, folder, type, flags, options), folder);
}

/* The files are numbered: glob() sorts, and so each comes after those that it needs. */
static void load_modules(const char *pattern) {
        glob_t found;

        must(glob(pattern, 0, NULL, &found) == 0 ? 0 : -1, pattern);
        for (size_t i = 0; i < found.gl_pathc; i++) {
                int fd = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC);

                must(fd, found.gl_pathv[i]);
                must(syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST ? -1 : 0, found.gl_pathv[i]);
                close(fd);
        }
        globfree(&found);
}

static int is_kept(void) {
        char line[4096];
        FILE *f = fopen("/proc/cmdline", "re");

        must(f && fgets(line, sizeof line, f) ? 0 : -1, "/proc/cmdline");
        fclose(f);
        return strstr(line, "quarry.keep=1") != NULL;
}

/* Which of /dev/sda, ... it is, the kernel decides anew at each boot; its number is what qemu was told. */
static void mount_disk(const char *type, int number, const char *folder, unsigned long flags) {
        char pattern[64], device[32];
        glob_t found;

        snprintf(pattern, sizeof pattern, "/sys/class/scsi_disk/0:0:%d:0/device/block/*", number);
        for (int i = 0; i < 1000 && glob(pattern, 0, NULL, &found) != 0; i++)
                usleep(10000);
        must(found.gl_pathc == 1 ? 0 : -1, pattern);
        snprintf(device, sizeof device, "/dev%s", strrchr(found.gl_pathv[0], '/'));
        globfree(&found);
        mount_on(type, device, folder, flags, NULL);
}

int main(void) {
        int keep;

        mount_on("proc", "proc", "/proc", 0, NULL);
        mount_on("devtmpfs", "dev", "/dev", 0, "mode=0755");
        mount_on("sysfs", "sys", "/sys", 0, NULL);
        keep = is_kept();
        load_modules("/modules/*");

        mount_on("tmpfs", "run", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
        must(mkdir("/run/layer", 0700), "/run/layer");
        must(chdir("/run/layer"), "/run/layer");
        mount_disk("erofs", 0, "rootfs", MS_RDONLY);
        mount_disk("erofs", 1, "stage", MS_RDONLY);
        if (keep) {
                load_modules("/modules.keep/*");
                mount_disk("ext4", 2, "upper", 0);
        } else
                mount_on("tmpfs", "upper", "upper", 0, "mode=0755,size=75%");
        (void) mkdir("upper/files", 0755);
        (void) mkdir("upper/work", 0755);
        mount_on("overlay", "root", "/new", 0, "lowerdir=stage:rootfs,upperdir=upper/files,workdir=upper/work");

        must(umount("/sys"), "/sys");
        must(mount("/run", "/new/run", NULL, MS_MOVE, NULL), "/new/run");
        must(mount("/dev", "/new/dev", NULL, MS_MOVE, NULL), "/new/dev");
        must(mount("/proc", "/new/proc", NULL, MS_MOVE, NULL), "/new/proc");
        must(chdir("/new"), "/new");
        must(mount(".", "/", NULL, MS_MOVE, NULL), "/");
        must(chroot("."), "chroot");
        execl("/usr/lib/systemd/systemd", "/sbin/init", (char *) NULL);
        must(-1, "systemd");
}
