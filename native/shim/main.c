/* Options, the start by runc, the poll loop and the end. See shim.h for the whole picture. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BORN_FDS_MAX 2
#define REAPED_MAX 16

struct options options;
struct state state;

static pid_t runc_pid;
static int signal_fd = -1, listen_fd = -1, console_fd = -1, fifo_fd = -1;
static int out_fds[2] = {-1, -1}; /* the container's output; with a terminal both in one, the first */
static int stdin_fd = -1, terminal_fd = -1;
static bool stdin_ended;
static char stdin_ring[STDIN_BYTES];
static size_t stdin_start, stdin_length;
static long long ended_at = -1;

/* Children that ended before we knew which pid is the container's. */
static struct {
    pid_t pid;
    int status;
} reaped[REAPED_MAX];
static unsigned reaped_count;

__attribute__((noreturn)) static void fail(const char *stage, int status) {
    char text[128];
    snprintf(text, sizeof text, "{\"stage\":\"%s\",\"status\":%d}", stage, status);
    peer_tell('f', text, 0);
    for (int i = 0; i < 100 && !peer_flushed(); i++) {
        struct pollfd fds[PEERS_MAX];
        int count = peer_poll(fds);
        poll(fds, (nfds_t)count, 50);
        peer_handle(fds, count);
    }
    unlink("shim.sock");
    _exit(1);
}

/* ---- what peers ask for ---- */

/* A start that the orchestrator does not wait for any longer. What runc's own children were doing ends with it. */
void give_up(void) {
    if (runc_pid > 0) {
        kill(runc_pid, SIGKILL);
        while (waitpid(runc_pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (state.pid > 0 && !state.exited) kill(state.pid, SIGKILL);
    unlink("shim.sock");
    _exit(2);
}

int container_signal(int number) {
    if (state.pid <= 0 || state.exited) return ESRCH;
    /* We are its parent and have not reaped it: the pid cannot be another's. */
    return kill(state.pid, number) < 0 ? errno : 0;
}

int container_resize(int rows, int columns) {
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    if (terminal_fd < 0) return ENOTTY;
    return ioctl(terminal_fd, TIOCSWINSZ, &size) < 0 ? errno : 0;
}

size_t stdin_space(void) {
    /* Without a taker input is swallowed, so that a writer never hangs. */
    return stdin_fd < 0 && !(options.tty && !state.running) ? STDIN_BYTES : STDIN_BYTES - stdin_length;
}

void stdin_push(const char *bytes, size_t length) {
    if ((stdin_fd < 0 && !(options.tty && !state.running)) || stdin_ended) return;
    for (size_t i = 0; i < length; i++) stdin_ring[(stdin_start + stdin_length + i) % STDIN_BYTES] = bytes[i];
    stdin_length += length;
}

static void stdin_shut(void) {
    if (stdin_fd >= 0 && stdin_fd != terminal_fd) close(stdin_fd);
    stdin_fd = -1;
    stdin_length = 0;
}

void stdin_close(void) {
    if (options.tty) return; /* a terminal has no end of input: what its keyboard sends stays open */
    stdin_ended = true;
    if (stdin_length == 0) stdin_shut();
}

static void stdin_flush(void) {
    while (stdin_length > 0) {
        size_t run = STDIN_BYTES - stdin_start;
        if (run > stdin_length) run = stdin_length;
        ssize_t written = write(stdin_fd, stdin_ring + stdin_start, run);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && errno == EAGAIN) return;
        if (written <= 0) {
            stdin_shut();
            return;
        }
        stdin_start = (stdin_start + (size_t)written) % STDIN_BYTES;
        stdin_length -= (size_t)written;
    }
    if (stdin_ended) stdin_shut();
}

/* ---- the start ---- */

static int listen_at(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, name, sizeof address.sun_path - 1);
    unlink(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 8) < 0) return -1;
    return fd;
}

static void start_runc(void) {
    int out[2] = {-1, -1}, error[2] = {-1, -1}, input[2] = {-1, -1};
    if (!options.tty) {
        if (pipe2(out, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0) fail("pipe", errno);
        if (options.keep_stdin && pipe2(input, O_CLOEXEC) < 0) fail("pipe", errno);
        out_fds[STDOUT] = out[0];
        out_fds[STDERR] = error[0];
        fcntl(out[0], F_SETFL, O_NONBLOCK);
        fcntl(error[0], F_SETFL, O_NONBLOCK);
        if (options.keep_stdin) {
            stdin_fd = input[1];
            fcntl(stdin_fd, F_SETFL, O_NONBLOCK);
        }
    } else if ((console_fd = listen_at("console.sock")) < 0) {
        fail("console", errno);
    }
    const char *arguments[24];
    int count = 0;
#define ARGUMENT(value) arguments[count++] = (value)
    ARGUMENT(options.runc);
    ARGUMENT("--root");
    ARGUMENT(options.root);
    ARGUMENT("--log");
    ARGUMENT("runc.log");
    ARGUMENT("--log-format");
    ARGUMENT("json");
    ARGUMENT(options.exec != NULL ? "exec" : "create");
    ARGUMENT("--pid-file");
    ARGUMENT("pid");
    if (options.tty) {
        ARGUMENT("--console-socket");
        ARGUMENT("console.sock");
    }
    if (options.exec != NULL) {
        ARGUMENT("--detach");
        ARGUMENT("--process");
        ARGUMENT(options.exec);
    }
    ARGUMENT(options.id);
    ARGUMENT(NULL);
#undef ARGUMENT
    runc_pid = vfork();
    if (runc_pid < 0) fail("fork", errno);
    if (runc_pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (input[0] >= 0) dup2(input[0], 0);
        if (out[1] >= 0) {
            dup2(out[1], 1);
            dup2(error[1], 2);
        }
        execve(options.runc, (char *const *)arguments, environ);
        _exit(127);
    }
    if (out[1] >= 0) {
        close(out[1]);
        close(error[1]);
    }
    if (input[0] >= 0) close(input[0]);
}

static void take_terminal(void) {
    int fd = accept4(console_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    char name[256], control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {name, sizeof name};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got;
    do got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    close(fd);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS) return;
    memcpy(&terminal_fd, CMSG_DATA(header), sizeof terminal_fd);
    fcntl(terminal_fd, F_SETFL, O_NONBLOCK);
    out_fds[STDOUT] = terminal_fd;
    if (options.keep_stdin) stdin_fd = terminal_fd;
    close(console_fd);
    console_fd = -1;
    unlink("console.sock");
}

static void container_ended(int status);

static void move_to_cgroups(void) {
    for (int i = 0; i < options.cgroups_count; i++) {
        int fd = open(options.cgroups[i], O_WRONLY | O_CLOEXEC);
        if (fd < 0) continue;
        if (write(fd, "0", 1) < 0) { /* stays where it is: less tidy accounting, nothing more */
        }
        close(fd);
    }
}

static void container_runs(void) {
    char text[STATE_BYTES];
    clock_gettime(CLOCK_REALTIME, &state.started);
    state.running = true;
    if (options.exec == NULL) write_record("state.json", false);
    format_state(text, sizeof text);
    peer_tell('s', text, 0);
    move_to_cgroups();
}

static void runc_ended(int status) {
    runc_pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("runc", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (console_fd >= 0) take_terminal();
    if (options.tty && terminal_fd < 0) fail("console", ENOTTY);
    state.pid = (pid_t)read_number("pid");
    if (state.pid <= 0) fail("pid", ESRCH);
    clock_gettime(CLOCK_REALTIME, &state.created);
    state.start_time = process_start_time(state.pid);
    int early = -1;
    for (unsigned i = 0; i < reaped_count && i < REAPED_MAX; i++)
        if (reaped[i].pid == state.pid) early = reaped[i].status;
    if (options.exec != NULL) {
        container_runs();
        if (early >= 0) container_ended(early);
        return;
    }
    if (early >= 0) fail("init", WIFEXITED(early) ? WEXITSTATUS(early) : 128 + WTERMSIG(early));
    write_record("state.json", false);
    /* What `runc start` does: its init waits with open(exec.fifo, O_WRONLY), writes one byte, and execs. */
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/exec.fifo", options.root, options.id);
    fifo_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fifo_fd < 0) fail("fifo", errno);
}

static void take_fifo(void) {
    char byte;
    ssize_t got = read(fifo_fd, &byte, 1);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    close(fifo_fd);
    fifo_fd = -1;
    if (got <= 0) return; /* the init died before it wrote: its SIGCHLD is on the way */
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/exec.fifo", options.root, options.id);
    unlink(path);
    container_runs();
}

/* ---- output ---- */

static char chunk[CHUNK_BYTES];

/* False when there is nothing more for now. */
static bool pump(int stream) {
    ssize_t got;
    do got = read(out_fds[stream], chunk, sizeof chunk);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) { /* EIO is a terminal's normal end */
        log_end(stream);
        if (out_fds[stream] == terminal_fd) {
            if (stdin_fd == terminal_fd) stdin_shut();
            terminal_fd = -1;
        }
        close(out_fds[stream]);
        out_fds[stream] = -1;
        peer_output(stream, NULL, 0);
        return false;
    }
    log_write(stream, chunk, (size_t)got);
    peer_output(stream, chunk, (size_t)got);
    return true;
}

/* ---- the end ---- */

static void container_ended(int status) {
    char text[STATE_BYTES];
    clock_gettime(CLOCK_REALTIME, &state.finished);
    state.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    state.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + state.signal;
    state.oom_kills = count_oom_kills(options.oom_file);
    ended_at = now_ms();
    stdin_shut();
    if (options.exec == NULL) {
        /* What it wrote last is in the log before anybody hears of its end. A pipe holds at most 1 MiB. */
        for (int stream = 0; stream < 2; stream++)
            for (int i = 0; i < 64 && out_fds[stream] >= 0 && pump(stream); i++) {
            }
    }
    state.exited = true;
    if (options.exec == NULL) write_record("exit.json", true);
    format_state(text, sizeof text);
    peer_tell('x', text, WANT_EXIT);
}

static void reap(void) {
    struct signalfd_siginfo information[4];
    while (read(signal_fd, information, sizeof information) > 0) {
    }
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == runc_pid) {
            runc_ended(status);
        } else if (pid == state.pid && !state.exited) {
            /* It may have written to the fifo, run and ended since the last poll. */
            if (fifo_fd >= 0) take_fifo();
            if (!state.running) fail("init", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
            container_ended(status);
        } else if (state.pid == 0) {
            reaped[reaped_count % REAPED_MAX].pid = pid;
            reaped[reaped_count % REAPED_MAX].status = status;
            reaped_count++;
        }
    }
}

static bool all_output_ended(void) { return out_fds[STDOUT] < 0 && out_fds[STDERR] < 0; }

static void finish(void) {
    char text[STATE_BYTES];
    for (int stream = 0; stream < 2; stream++)
        if (out_fds[stream] >= 0) log_end(stream);
    format_state(text, sizeof text);
    peer_farewell(text);
    unlink("shim.sock");
    long long deadline = now_ms() + FLUSH_MS;
    while (!peer_flushed() && now_ms() < deadline) {
        struct pollfd fds[PEERS_MAX];
        int count = peer_poll(fds);
        poll(fds, (nfds_t)count, 100);
        peer_handle(fds, count);
    }
    _exit(0);
}

static void loop(void) {
    enum { SIGNALS, LISTEN, CONSOLE, FIFO, INPUT, OUT, ERROR, FIXED };
    struct pollfd fds[FIXED + PEERS_MAX];
    for (;;) {
        if (ended_at >= 0 && (all_output_ended() || now_ms() >= ended_at + LINGER_MS)) finish();
        if (options.exec != NULL && peer_control_lost() && !state.exited) {
            /* Nobody is left to hear of it: an exec ends with its caller. */
            if (state.pid > 0) kill(state.pid, SIGKILL);
            if (runc_pid > 0) kill(runc_pid, SIGKILL);
        }
        long long now = now_ms(), until = now + 3600 * 1000;
        bool held = peer_blocks(now, &until);
        if (ended_at >= 0 && ended_at + LINGER_MS < until) until = ended_at + LINGER_MS;
        /* Before the start succeeded the pipes carry only runc's own words, which its log file has too. */
        bool reads = state.running && !held;
        fds[SIGNALS] = (struct pollfd){signal_fd, POLLIN, 0};
        fds[LISTEN] = (struct pollfd){listen_fd, POLLIN, 0};
        fds[CONSOLE] = (struct pollfd){console_fd, POLLIN, 0};
        fds[FIFO] = (struct pollfd){fifo_fd, POLLIN, 0};
        fds[INPUT] = (struct pollfd){stdin_length > 0 ? stdin_fd : -1, POLLOUT, 0};
        fds[OUT] = (struct pollfd){reads ? out_fds[STDOUT] : -1, POLLIN, 0};
        fds[ERROR] = (struct pollfd){reads ? out_fds[STDERR] : -1, POLLIN, 0};
        int count = peer_poll(fds + FIXED);
        int timeout = (int)(until - now);
        if (poll(fds, (nfds_t)(FIXED + count), timeout) < 0 && errno != EINTR) _exit(1);
        if (fds[CONSOLE].revents) take_terminal();
        if (fds[FIFO].revents) take_fifo();
        if (fds[OUT].revents && out_fds[STDOUT] >= 0) pump(STDOUT);
        if (fds[ERROR].revents && out_fds[STDERR] >= 0) pump(STDERR);
        if (fds[INPUT].revents && stdin_fd >= 0) stdin_flush();
        if (fds[LISTEN].revents) {
            int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0) peer_add(fd);
        }
        peer_handle(fds + FIXED, count);
        if (fds[SIGNALS].revents) reap();
    }
}

static void parse(int argc, char **argv) {
    options.log_files_max = 5;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--tty") == 0) {
            options.tty = true;
            continue;
        }
        if (strcmp(name, "--stdin") == 0) {
            options.keep_stdin = true;
            continue;
        }
        if (strcmp(name, "--stdin-once") == 0) {
            options.stdin_once = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        if (value == NULL) _exit(64);
        if (strcmp(name, "--dir") == 0) options.dir = value;
        else if (strcmp(name, "--runc") == 0) options.runc = value;
        else if (strcmp(name, "--root") == 0) options.root = value;
        else if (strcmp(name, "--id") == 0) options.id = value;
        else if (strcmp(name, "--exec") == 0) options.exec = value;
        else if (strcmp(name, "--log") == 0) options.log = value;
        else if (strcmp(name, "--log-size") == 0) options.log_bytes_max = strtoll(value, NULL, 10);
        else if (strcmp(name, "--log-files") == 0) options.log_files_max = atoi(value);
        else if (strcmp(name, "--oom") == 0) options.oom_file = value;
        else if (strcmp(name, "--cgroup") == 0 && options.cgroups_count < CGROUPS_MAX)
            options.cgroups[options.cgroups_count++] = value;
        else _exit(64);
    }
    if (options.dir == NULL || options.runc == NULL || options.root == NULL || options.id == NULL) _exit(64);
    if (options.log_files_max > LOG_FILES_MAX) options.log_files_max = LOG_FILES_MAX;
}

/* Descriptors 3 and 4 are connections of the orchestrator, made before we were: control, and an exec's streams. */
static void adopt_connections(void) {
    for (int fd = 3; fd < 3 + BORN_FDS_MAX; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0) continue;
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        peer_add(fd);
    }
    syscall(SYS_close_range, 3 + BORN_FDS_MAX, ~0U, 0);
    /* Their greetings were written before we were started: read them before anything can happen worth telling. */
    for (int round = 0; round < 4; round++) {
        struct pollfd fds[PEERS_MAX];
        int count = peer_poll(fds);
        if (poll(fds, (nfds_t)count, 0) > 0) peer_handle(fds, count);
    }
}

int main(int argc, char **argv) {
    parse(argc, argv);
    if (chdir(options.dir) < 0) _exit(65);
    umask(022);
    adopt_connections();
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    signal_fd = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signal_fd < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) _exit(66);
    prctl(PR_SET_NAME, options.exec != NULL ? "edgekube-exec" : "edgekube-shim", 0, 0, 0);
    if (options.exec == NULL && (listen_fd = listen_at("shim.sock")) < 0) _exit(67);
    log_open();
    start_runc();
    loop();
}
