/* Counts each fsync and fdatasync of the program that it is loaded into, and can make each slower: a card on a fast
 * disk. Delays queue behind one another, as on a card.
 *   PICLOUD_SYNC_COUNT     a file of 8 bytes that is counted up in
 *   PICLOUD_SYNC_DELAY_US  microseconds that each call takes longer
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static uint64_t *count;
static useconds_t delay;

__attribute__((constructor)) static void prepare(void) {
    const char *us = getenv("PICLOUD_SYNC_DELAY_US");
    const char *path = getenv("PICLOUD_SYNC_COUNT");
    if (us) delay = (useconds_t)atoi(us);
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) count = page;
    close(fd);
}

static void before(void) {
    if (count) __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    if (!delay) return;
    pthread_mutex_lock(&one_at_a_time);
    usleep(delay);
    pthread_mutex_unlock(&one_at_a_time);
}

int fsync(int fd) { before(); return (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { before(); return (int)syscall(SYS_fdatasync, fd); }
