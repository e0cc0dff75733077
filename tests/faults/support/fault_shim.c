/* Faults of a disk and of a clock, for one process and its children (LD_PRELOAD).
 *
 * ARES_FAULT_CONTROL names a file that is read again at each call, lines of `name value`:
 *   fsync_delay_ms N   every fsync and fdatasync waits so long
 *   fsync_errno N      they fail with this error
 *   write_errno N      writing fails with this error (28 ENOSPC, 5 EIO, 30 EROFS)
 *   open_errno N       making a file fails with this error
 *   clock_offset_ms N  the wall clock is off by so much; the monotonic clock is left alone
 * ARES_FAULT_PATH: the files below this path are meant; others are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Raw system calls: what is intercepted below must not be used to find out what to do. */
static long setting(const char *name) {
    const char *path = getenv("ARES_FAULT_CONTROL");
    char text[512], *line;
    long fd, size;
    size_t length = strlen(name);
    if (path == NULL) return 0;
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (size <= 0) return 0;
    text[size] = 0;
    for (line = text; line != NULL && *line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) == 0 && line[length] == ' ') return atol(line + length + 1);
    }
    return 0;
}

static int meant(const char *path) {
    const char *prefix = getenv("ARES_FAULT_PATH");
    return prefix != NULL && strncmp(path, prefix, strlen(prefix)) == 0;
}

static int meant_fd(int fd) {
    char link[64], path[1024];
    ssize_t size;
    if (fd < 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return meant(path);
}

static int fails(const char *name) {
    int saved = errno;
    long number = setting(name);
    errno = number ? (int)number : saved;
    return number != 0;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int sync_fails(int fd) {
    int saved = errno;
    long delay;
    if (!meant_fd(fd)) { errno = saved; return 0; }
    delay = setting("fsync_delay_ms");
    if (delay > 0) {
        struct timespec wait = {delay / 1000, (delay % 1000) * 1000000L};
        syscall(SYS_nanosleep, &wait, NULL);
    }
    errno = saved;
    return fails("fsync_errno");
}

int fsync(int fd) { REAL(fsync); return sync_fails(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return sync_fails(fd) ? -1 : real(fd); }

static int write_fails(int fd) {
    int saved = errno;
    if (!meant_fd(fd)) { errno = saved; return 0; }
    errno = saved;
    return fails("write_errno");
}

ssize_t write(int fd, const void *data, size_t size) { REAL(write); return write_fails(fd) ? -1 : real(fd, data, size); }
ssize_t writev(int fd, const struct iovec *v, int n) { REAL(writev); return write_fails(fd) ? -1 : real(fd, v, n); }
ssize_t pwrite(int fd, const void *d, size_t s, off_t o) { REAL(pwrite); return write_fails(fd) ? -1 : real(fd, d, s, o); }
ssize_t pwrite64(int fd, const void *d, size_t s, off64_t o) { REAL(pwrite64); return write_fails(fd) ? -1 : real(fd, d, s, o); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) { REAL(pwritev); return write_fails(fd) ? -1 : real(fd, v, n, o); }
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t o) { REAL(pwritev64); return write_fails(fd) ? -1 : real(fd, v, n, o); }
int posix_fallocate(int fd, off_t o, off_t n) { REAL(posix_fallocate); return write_fails(fd) ? errno : real(fd, o, n); }
int posix_fallocate64(int fd, off64_t o, off64_t n) { REAL(posix_fallocate64); return write_fails(fd) ? errno : real(fd, o, n); }

#define OPENER(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; \
        REAL(name); \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); \
            if (meant(path) && fails("open_errno")) return -1; \
        } \
        return real(path, flags, mode); \
    }
OPENER(open)
OPENER(open64)

#define OPENER_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        mode_t mode = 0; \
        REAL(name); \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); \
            if ((meant(path) || (path[0] != '/' && meant_fd(folder))) && fails("open_errno")) return -1; \
        } \
        return real(folder, path, flags, mode); \
    }
OPENER_AT(openat)
OPENER_AT(openat64)

static int wall(clockid_t id) { return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t id, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && wall(id)) {
        int saved = errno;
        long offset = setting("clock_offset_ms");
        long long ns = (long long)now->tv_nsec + (offset % 1000) * 1000000LL;
        now->tv_sec += offset / 1000;
        while (ns < 0) { ns += 1000000000LL; now->tv_sec--; }
        while (ns >= 1000000000LL) { ns -= 1000000000LL; now->tv_sec++; }
        now->tv_nsec = (long)ns;
        errno = saved;
    }
    return (int)result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result != NULL) *result = exact.tv_sec;
    return exact.tv_sec;
}
