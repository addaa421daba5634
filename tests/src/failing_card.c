/* Fails or stalls calls on the files of a store, as a card does that is full or worn out, while the fault is on.
 *   PICLOUD_CARD_CONTROL  a file that holds a `struct control`
 *   PICLOUD_CARD_STORE    how the paths of the store's files begin
 * For 64-bit systems, on which off_t and off64_t are one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum fault { NONE, READ_EIO, WRITE_ENOSPC, SYNC_EIO, SYNC_STALL };

struct control {
    uint64_t fault;
    uint64_t stall_ms;
    /* Calls that were hit: on the store itself, and on the files beside it. */
    uint64_t hits_store;
    uint64_t hits_beside;
};

static struct control *control;
static const char *store;

__attribute__((constructor)) static void prepare(void) {
    const char *path = getenv("PICLOUD_CARD_CONTROL");
    store = getenv("PICLOUD_CARD_STORE");
    if (!path || !store) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) control = page;
    close(fd);
}

static int hits(int fd, enum fault fault) {
    if (!control || __atomic_load_n(&control->fault, __ATOMIC_SEQ_CST) != fault) return 0;
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, store, strlen(store))) return 0;
    uint64_t *counter = strcmp(path, store) ? &control->hits_beside : &control->hits_store;
    __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static long fail(int error) {
    errno = error;
    return -1;
}

static int sync_with(int fd, long call) {
    if (hits(fd, SYNC_EIO)) return (int)fail(EIO);
    if (hits(fd, SYNC_STALL)) {
        uint64_t ms = control->stall_ms;
        struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
        while (nanosleep(&left, &left) && errno == EINTR) {}
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return sync_with(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_with(fd, SYS_fdatasync); }

ssize_t read(int fd, void *to, size_t n) {
    return hits(fd, READ_EIO) ? fail(EIO) : syscall(SYS_read, fd, to, n);
}
ssize_t pread(int fd, void *to, size_t n, off_t at) {
    return hits(fd, READ_EIO) ? fail(EIO) : syscall(SYS_pread64, fd, to, n, at);
}
ssize_t pread64(int fd, void *to, size_t n, off_t at) { return pread(fd, to, n, at); }

ssize_t write(int fd, const void *from, size_t n) {
    return hits(fd, WRITE_ENOSPC) ? fail(ENOSPC) : syscall(SYS_write, fd, from, n);
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    return hits(fd, WRITE_ENOSPC) ? fail(ENOSPC) : syscall(SYS_pwrite64, fd, from, n, at);
}
ssize_t pwrite64(int fd, const void *from, size_t n, off_t at) { return pwrite(fd, from, n, at); }
