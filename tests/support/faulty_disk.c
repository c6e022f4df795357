/* A disk that hangs or refuses, for a program that is started with this library in LD_PRELOAD. It concerns files below
 * FAULTY_DISK_DIR and obeys the word in the file FAULTY_DISK_CONTROL: `hang` blocks until the word is another, `full` and
 * `readonly` fail as a disk does, `lie` claims to have written more than it was given. Folders that are synced are listed in
 * FAULTY_DISK_SYNCED. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum word { NONE, HANG, FULL, READONLY, LIE };

static enum word word(void) {
    char text[16] = {0};
    const char *control = getenv("FAULTY_DISK_CONTROL");
    if (!control) return NONE;
    int fd = REAL(open)(control, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NONE;
    ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    if (count < 0) return NONE;
    if (!strcmp(text, "hang")) return HANG;
    if (!strcmp(text, "full")) return FULL;
    if (!strcmp(text, "readonly")) return READONLY;
    if (!strcmp(text, "lie")) return LIE;
    return NONE;
}

static int is_below(const char *path) {
    const char *dir = getenv("FAULTY_DISK_DIR");
    return dir && !strncmp(path, dir, strlen(dir));
}

static const char *path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

/* The error of a use of this path, or 0. `grows` tells whether a full disk refuses it. */
static int fault(const char *path, int grows) {
    if (!is_below(path)) return 0;
    enum word now = word();
    while (now == HANG) {
        usleep(10000);
        now = word();
    }
    if (now == FULL && grows) return ENOSPC;
    return now == READONLY ? EROFS : 0;
}

static int fault_of(int fd, int grows) {
    char path[PATH_MAX];
    return fault(path_of(fd, path), grows);
}

static int lies(int fd) {
    char path[PATH_MAX];
    return is_below(path_of(fd, path)) && word() == LIE;
}

#define REFUSE(error)       \
    do {                    \
        int failed = error; \
        if (failed) {       \
            errno = failed; \
            return -1;      \
        }                   \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    REFUSE(fault_of(fd, 1));
    ssize_t written = REAL(write)(fd, bytes, count);
    return written > 0 && lies(fd) ? written + 1 : written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REFUSE(fault_of(fd, 1));
    ssize_t written = REAL(pwrite64)(fd, bytes, count, at);
    return written > 0 && lies(fd) ? written + 1 : written;
}

static void list(int fd) {
    char path[PATH_MAX];
    struct stat facts;
    const char *synced = getenv("FAULTY_DISK_SYNCED");
    if (!synced || fstat(fd, &facts) || !S_ISDIR(facts.st_mode)) return;
    int out = REAL(open)(synced, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0) return;
    dprintf(out, "%s\n", path_of(fd, path));
    close(out);
}

int fsync(int fd) {
    REFUSE(fault_of(fd, 1));
    list(fd);
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    REFUSE(fault_of(fd, 1));
    return REAL(fdatasync)(fd);
}

int ftruncate64(int fd, off64_t length) {
    REFUSE(fault_of(fd, 0));
    return REAL(ftruncate64)(fd, length);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    if ((flags & O_ACCMODE) != O_RDONLY) REFUSE(fault(path, flags & O_CREAT));
    return REAL(open64)(path, flags, mode);
}

int rename(const char *from, const char *to) {
    REFUSE(fault(to, 1));
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    REFUSE(fault(path, 0));
    return REAL(unlink)(path);
}
