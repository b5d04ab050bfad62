/* LD_PRELOAD library: appends every change of a file below $RECORD_DIR to $RECORD_LOG, in the order issued.
 *
 * One record: u32 kind, u32 flags, u64 inode, u64 offset, u64 data size, u64 path size, path, data.
 * A file is its inode; names come and go by CREATE, RENAME and UNLINK records. Syncs are recorded when they begin and
 * when they have returned, so that a reader knows what was durable when.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, SIZE, SYNC_BEGIN, SYNC_END, FOLDER_SYNC, RENAME, UNLINK };
enum { FLAG_DSYNC = 1 };

struct head { uint32_t kind, flags; uint64_t inode, offset, size, path_size; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static char folder[PATH_MAX];
static size_t folder_size;

static void start(void) {
    if (out >= 0) return;
    const char *dir = getenv("RECORD_DIR"), *log = getenv("RECORD_LOG");
    if (!dir || !log) abort();
    snprintf(folder, sizeof folder, "%s", dir);
    folder_size = strlen(folder);
    out = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0) abort();
}

static int inside(const char *path) {
    start();
    return strncmp(path, folder, folder_size) == 0 && (path[folder_size] == '/' || path[folder_size] == 0);
}

/* Path of an open file if it lies below the folder, else 0. */
static int place(int fd, char *path, struct stat *st) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return inside(path) && fstat(fd, st) == 0;
}

static void put(uint32_t kind, uint32_t flags, uint64_t inode, uint64_t offset, const char *path,
                const struct iovec *data, int count) {
    struct head head = {kind, flags, inode, offset, 0, path ? strlen(path) : 0};
    struct iovec all[66] = {{&head, sizeof head}, {(void *)path, head.path_size}};
    if (count > 64) abort();
    size_t whole = sizeof head + head.path_size;
    for (int i = 0; i < count; i++) {
        all[i + 2] = data[i];
        head.size += data[i].iov_len;
        whole += data[i].iov_len;
    }
    pthread_mutex_lock(&lock);
    if (syscall(SYS_writev, out, all, count + 2) != (ssize_t)whole) abort();
    pthread_mutex_unlock(&lock);
}

static void wrote(int fd, const struct iovec *data, int count, off_t offset) {
    char path[PATH_MAX];
    struct stat st;
    if (!place(fd, path, &st) || !S_ISREG(st.st_mode)) return;
    int flags = fcntl(fd, F_GETFL);
    if (offset < 0) offset = flags & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
    put(WRITE, flags & O_DSYNC ? FLAG_DSYNC : 0, st.st_ino, offset, path, data, count);
}

static int opened(int fd, int flags) {
    char path[PATH_MAX];
    struct stat st;
    if (fd >= 0 && flags & O_CREAT && place(fd, path, &st)) {
        put(CREATE, 0, st.st_ino, 0, path, 0, 0);
        if (flags & O_TRUNC) put(SIZE, 0, st.st_ino, 0, path, 0, 0);
    }
    return fd;
}

#define MODE(flags) va_list ap; va_start(ap, flags); int mode = flags & O_CREAT ? va_arg(ap, int) : 0; va_end(ap)

int open(const char *path, int flags, ...) { MODE(flags); return opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags); }
int open64(const char *path, int flags, ...) { MODE(flags); return opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags); return opened(syscall(SYS_openat, dir, path, flags, mode), flags); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags); return opened(syscall(SYS_openat, dir, path, flags, mode), flags); }

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    struct iovec one = {(void *)data, size};
    wrote(fd, &one, 1, offset);
    return syscall(SYS_pwrite64, fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }

ssize_t pwritev(int fd, const struct iovec *data, int count, off_t offset) {
    wrote(fd, data, count, offset);
    return syscall(SYS_pwritev, fd, data, count, offset, 0);
}
ssize_t pwritev64(int fd, const struct iovec *data, int count, off_t offset) { return pwritev(fd, data, count, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    struct iovec one = {(void *)data, size};
    wrote(fd, &one, 1, -1);
    return syscall(SYS_write, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    wrote(fd, data, count, -1);
    return syscall(SYS_writev, fd, data, count);
}

static int synced(int fd, int number) {
    char path[PATH_MAX];
    struct stat st;
    int ours = place(fd, path, &st);
    if (ours && S_ISREG(st.st_mode)) put(SYNC_BEGIN, 0, st.st_ino, 0, path, 0, 0);
    int result = syscall(number, fd);
    if (ours && result == 0) put(S_ISDIR(st.st_mode) ? FOLDER_SYNC : SYNC_END, 0, st.st_ino, 0, path, 0, 0);
    return result;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static void sized(int fd, off_t size) {
    char path[PATH_MAX];
    struct stat st;
    if (place(fd, path, &st)) put(SIZE, 0, st.st_ino, size, path, 0, 0);
}
int ftruncate(int fd, off_t size) { sized(fd, size); return syscall(SYS_ftruncate, fd, size); }
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int posix_fallocate(int fd, off_t offset, off_t size) {
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size < offset + size) sized(fd, offset + size);
    return syscall(SYS_fallocate, fd, 0, offset, size) ? 28 : 0;
}
int posix_fallocate64(int fd, off_t offset, off_t size) { return posix_fallocate(fd, offset, size); }

int rename(const char *from, const char *to) {
    struct iovec data = {(void *)to, strlen(to)};
    if (inside(from)) put(RENAME, 0, 0, 0, from, &data, 1);
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path) {
    if (inside(path)) put(UNLINK, 0, 0, 0, path, 0, 0);
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* What would escape the recording must not happen unseen. */
int msync(void *address, size_t size, int flags) { (void)address; (void)size; (void)flags; abort(); }
