/* The test machine's first process, in the initrd: mounts the checkout from the host, stacks the
 * root (quarry as installed for this run, over the image of the Debian root, under a writable
 * layer) and becomes systemd. In C because each process that a shell script starts costs a slow
 * machine 30 ms, and because busybox cannot mount an erofs image without a loop device.
 *
 * Kernel arguments: quarry.run=NAME is the folder below build/vm that holds this run's stage,
 * quarry.keep=1 says that /dev/sda has the writable layer. */

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

static void read_command_line(char *ret_run, size_t size, int *ret_keep) {
        static char line[4096];
        FILE *f = fopen("/proc/cmdline", "re");

        must(f && fgets(line, sizeof line, f) ? 0 : -1, "/proc/cmdline");
        fclose(f);
        for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
                if (strncmp(word, "quarry.run=", 11) == 0)
                        snprintf(ret_run, size, "checkout/build/vm/%s", word + 11);
                else if (strcmp(word, "quarry.keep=1") == 0)
                        *ret_keep = 1;
}

int main(void) {
        char run[256] = "";
        int keep = 0;

        mount_on("proc", "proc", "/proc", 0, NULL);
        mount_on("devtmpfs", "dev", "/dev", 0, "mode=0755");
        read_command_line(run, sizeof run, &keep);
        load_modules("/modules/*");

        mount_on("tmpfs", "run", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
        must(mkdir("/run/layer", 0700), "/run/layer");
        must(chdir("/run/layer"), "/run/layer");
        mount_on("9p", "checkout", "checkout", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose");
        mount_on("erofs", "checkout/build/boot/rootfs.erofs", "rootfs", MS_RDONLY, NULL);
        mount_on(NULL, run, "run", MS_BIND, NULL);
        if (keep) {
                load_modules("/modules.keep/*");
                for (int i = 0; i < 1000 && access("/dev/sda", F_OK) < 0; i++)
                        usleep(10000);
                mount_on("ext4", "/dev/sda", "upper", 0, NULL);
        } else
                mount_on("tmpfs", "upper", "upper", 0, "mode=0755,size=75%");
        (void) mkdir("upper/files", 0755);
        (void) mkdir("upper/work", 0755);
        mount_on("overlay", "root", "/new", 0, "lowerdir=run/stage:rootfs,upperdir=upper/files,workdir=upper/work");

        must(mount("/run", "/new/run", NULL, MS_MOVE, NULL), "/new/run");
        must(mount("/dev", "/new/dev", NULL, MS_MOVE, NULL), "/new/dev");
        must(mount("/proc", "/new/proc", NULL, MS_MOVE, NULL), "/new/proc");
        must(chdir("/new"), "/new");
        must(mount(".", "/", NULL, MS_MOVE, NULL), "/");
        must(chroot("."), "chroot");
        execl("/usr/lib/systemd/systemd", "/sbin/init", (char *) NULL);
        must(-1, "systemd");
}
