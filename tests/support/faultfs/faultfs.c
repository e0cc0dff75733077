/* In front of libc's write, fsync, fdatasync and ftruncate: fails or delays them, for files below one directory, as the
   control file says at that moment. See __init__.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int is_ours(int fd) {
    const char *below = getenv("FAULTFS_BELOW");
    char link[64], path[4096];
    if (!below) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, below, strlen(below)) == 0;
}

static ssize_t real_read(int fd, void *data, size_t size) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "read");
    return real(fd, data, size);
}

/* The errno with which the call shall fail, 0 when it shall not; sleeps first when it shall be slow. */
static int fault(const char *call, int fd) {
    char text[128] = "", name[32];
    int number = 0, delay = 0;
    const char *control = getenv("FAULTFS_CONTROL");
    if (!control || !is_ours(fd)) return 0;
    int file = open(control, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = real_read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0 || sscanf(text, "%31s %d %d", name, &number, &delay) < 2) return 0;
    if (strcmp(name, call) != 0 && strcmp(name, "all") != 0) return 0;
    if (delay > 0) {
        struct timespec time = {delay / 1000, (delay % 1000) * 1000000L};
        nanosleep(&time, NULL);
    }
    return number;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int number = fault("write", fd);
    if (number) {
        if (size > 1) real(fd, data, size / 2); /* a part of it reaches the disk all the same */
        errno = number;
        return -1;
    }
    return real(fd, data, size);
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    struct stat info;
    int number = fault(fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) ? "syncdir" : "sync", fd);
    if (number) { errno = number; return -1; }
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    int number = fault("sync", fd);
    if (number) { errno = number; return -1; }
    return real(fd);
}

int ftruncate(int fd, off_t length) {
    REAL(int, "ftruncate", int, off_t);
    int number = fault("truncate", fd);
    if (number) { errno = number; return -1; }
    return real(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, "ftruncate64", int, off64_t);
    int number = fault("truncate", fd);
    if (number) { errno = number; return -1; }
    return real(fd, length);
}
