/* System calls and small composites for edgekube.native. No state; every function returns >= 0 or -errno.
 *
 * Two of them make a child that shares our memory (CLONE_VM | CLONE_VFORK): this thread sleeps until the child ends or
 * execs, so the child may write to the caller's variables, and nothing is copied however large the caller is. Such a
 * child calls only raw system calls and async-signal-safe functions, with all signals blocked: a handler of the parent
 * that ran in it would run in the parent's memory.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

#define STACK_BYTES (64 * 1024)

static int result(long value) { return value < 0 ? -errno : (int)value; }

struct open_how_v0 {
    uint64_t flags, mode, resolve;
};

int ek_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how_v0 how = {flags | O_CLOEXEC, mode, resolve};
    /* EAGAIN: a rename or mount raced with RESOLVE_IN_ROOT; openat2(2) asks to try again. */
    for (int attempt = 0; attempt < 64; attempt++) {
        long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return result(fd);
    }
    return -EAGAIN;
}

/* Only for mappings whose pages are all the file's own: a changed page would be lost. */
int ek_forget_pages(uintptr_t start, size_t bytes) { return result(madvise((void *)start, bytes, MADV_DONTNEED)); }

/* 1 when pages went back to the kernel. The extension lives in glibc's Python, so this is glibc's heap. */
int ek_trim_heap(void) { return malloc_trim(0); }

int64_t ek_fs_type(const char *path) {
    struct statfs fs;
    if (statfs(path, &fs) < 0) return -errno;
    return (int64_t)(uint32_t)fs.f_type;
}

int ek_syncfs(int fd) { return result(syncfs(fd)); }

int ek_inotify(const char *path, uint32_t events) {
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) return -errno;
    if (inotify_add_watch(fd, path, events) < 0) {
        int failure = errno;
        close(fd);
        return -failure;
    }
    return fd;
}

int ek_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return result(mount(source, target, type, flags, data));
}

int ek_umount(const char *target, int flags) { return result(umount2(target, flags)); }

int ek_setns(int fd, int kind) { return result(setns(fd, kind)); }


int ek_set_subreaper(int on) { return result(prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0)); }

/* Runs `body(argument)` in a child that shares our memory, with signals blocked; waits for its end. */
static int run_borrowing(int (*body)(void *), void *argument, int flags) {
    char *stack = malloc(STACK_BYTES);
    if (stack == NULL) return -ENOMEM;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int pid = clone(body, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD | flags, argument);
    int failure = errno, status = 0;
    if (pid > 0)
        while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {
        }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(stack);
    return pid < 0 ? -failure : 0;
}

struct mount_request {
    const char *folder, *source, *target, *type;
    unsigned long flags;
    const char *data;
    int failure;
};

static int mount_child(void *argument) {
    struct mount_request *request = argument;
    if (chdir(request->folder) < 0 ||
        mount(request->source, request->target, request->type, request->flags, request->data) < 0)
        request->failure = -errno;
    return 0;
}

/* With `folder` as the working folder of the call alone, so that options can name paths in it shortly. */
int ek_mount_from(const char *folder, const char *source, const char *target, const char *type, unsigned long flags,
                  const char *data) {
    struct mount_request request = {folder, source, target, type, flags, data, 0};
    int failure = run_borrowing(mount_child, &request, 0);
    return failure != 0 ? failure : request.failure;
}

struct pin {
    const char *net, *ipc, *uts, *hostname;
    const char *const *paths;
    const char *const *values;
    int sysctls;
    int failure;
    const char *failed_at;
};

static int write_file(const char *path, const char *value) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    size_t length = strlen(value);
    ssize_t written = write(fd, value, length);
    int failure = written < 0 ? -errno : (written == (ssize_t)length ? 0 : -EIO);
    close(fd);
    return failure;
}

static int raise_loopback(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP;
    int failure = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
    close(fd);
    return failure;
}

static int pin_child(void *argument) {
    struct pin *pin = argument;
    const char *sources[3] = {"/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/uts"};
    const char *targets[3] = {pin->net, pin->ipc, pin->uts};
#define STEP(name, call)                  \
    do {                                  \
        pin->failed_at = name;            \
        if ((pin->failure = (call)) != 0) \
            return 0;                     \
    } while (0)
    if (pin->hostname != NULL && pin->uts != NULL)
        STEP("hostname", sethostname(pin->hostname, strlen(pin->hostname)) < 0 ? -errno : 0);
    if (pin->net != NULL) STEP("loopback", raise_loopback());
    for (int i = 0; i < pin->sysctls; i++) STEP(pin->paths[i], write_file(pin->paths[i], pin->values[i]));
    for (int i = 0; i < 3; i++)
        if (targets[i] != NULL)
            STEP(targets[i], mount(sources[i], targets[i], NULL, MS_BIND, NULL) < 0 ? -errno : 0);
#undef STEP
    pin->failed_at = NULL;
    return 0;
}

/* New namespaces, bound onto the given (existing) files; a NULL path means: not that one. On failure `failed` tells
 * which step or path it was; the caller unmounts what was bound. */
int ek_pin_namespaces(const char *net, const char *ipc, const char *uts, const char *hostname,
                      const char *const *sysctl_paths, const char *const *sysctl_values, int sysctls, char *failed,
                      int failed_size) {
    struct pin pin = {net, ipc, uts, hostname, sysctl_paths, sysctl_values, sysctls, 0, NULL};
    int flags = (net ? CLONE_NEWNET : 0) | (ipc ? CLONE_NEWIPC : 0) | (uts ? CLONE_NEWUTS : 0);
    pin.failed_at = "clone";
    int failure = run_borrowing(pin_child, &pin, flags);
    if (failure == 0) failure = pin.failure;
    if (failure != 0 && failed_size > 0) {
        strncpy(failed, pin.failed_at ? pin.failed_at : "", (size_t)failed_size - 1);
        failed[failed_size - 1] = 0;
    }
    return failure;
}

struct socket_request {
    int netns_fd, family, type, protocol, result;
};

static void *socket_thread(void *argument) {
    struct socket_request *request = argument;
    if (setns(request->netns_fd, CLONE_NEWNET) < 0)
        request->result = -errno;
    else
        request->result = result(socket(request->family, request->type | SOCK_CLOEXEC, request->protocol));
    return NULL;
}

/* The thread that entered the namespace ends there: no way back that could fail. */
int ek_socket_in_netns(int netns_fd, int family, int type, int protocol) {
    struct socket_request request = {netns_fd, family, type, protocol, -EIO};
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&thread, &attributes, socket_thread, &request);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failure != 0) return -failure;
    pthread_join(thread, NULL);
    return request.result;
}

struct spawn {
    const char *path;
    const char *const *argv;
    const char *const *envp;
    const int *fds;
    int fds_count;
    char *stack;
    int pid;
    int failure;
};

#define SPAWN_FDS_MAX 8

static int spawn_exec(void *argument) {
    struct spawn *spawn = argument;
    int moved[SPAWN_FDS_MAX];
    sigset_t none;
    spawn->pid = (int)syscall(SYS_getpid);
    /* First out of the way of the numbers they shall have, then onto them (dup3 clears FD_CLOEXEC). */
    for (int i = 0; i < spawn->fds_count; i++) {
        moved[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, 64);
        if (moved[i] < 0) goto failed;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) goto failed;
    for (int i = 0; i < 3; i++)
        if (dup2(null, i) < 0) goto failed;
    if (null > 2) close(null);
    for (int i = 0; i < spawn->fds_count; i++)
        if (dup3(moved[i], 3 + i, 0) < 0) goto failed;
    /* What the caller itself inherited without close-on-exec. Best effort: the call is as old as Linux 5.9. */
    syscall(SYS_close_range, 3 + spawn->fds_count, ~0U, 0);
    /* Ignored signals survive an exec; a caller's SIG_IGN must not reach containers. */
    struct sigaction standard;
    memset(&standard, 0, sizeof standard);
    standard.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(spawn->path, (char *const *)spawn->argv, (char *const *)spawn->envp);
failed:
    spawn->failure = errno;
    _exit(127);
}

/* The child of the middle one is nobody's child once the middle one has ended: init (or a subreaper) reaps it. */
static int spawn_middle(void *argument) {
    struct spawn *spawn = argument;
    if (setsid() < 0) {
        spawn->failure = errno;
        return 0;
    }
    if (clone(spawn_exec, spawn->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, spawn) < 0)
        spawn->failure = errno;
    return 0;
}

/* Starts a program that is not our child, in its own session, with fds[0] as descriptor 3 and so on, 0-2 on /dev/null.
 * Returns its pid. */
int ek_spawn_detached(const char *path, const char *const *argv, const char *const *envp, const int *fds,
                      int fds_count) {
    if (fds_count > SPAWN_FDS_MAX) return -EINVAL;
    struct spawn spawn = {path, argv, envp, fds, fds_count, malloc(STACK_BYTES), 0, 0};
    if (spawn.stack == NULL) return -ENOMEM;
    int failure = run_borrowing(spawn_middle, &spawn, 0);
    free(spawn.stack);
    if (failure != 0) return failure;
    return spawn.failure != 0 ? -spawn.failure : spawn.pid;
}
