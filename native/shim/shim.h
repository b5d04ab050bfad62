/* The container shim: one process per container (or per exec), which outlives the orchestrator.
 *
 *   main.c    options, start by runc, the poll loop, the end
 *   log.c     the container's output as a CRI log file, with rotation
 *   peer.c    connections of the orchestrator: attach, resize, signals, state
 *   record.c  what must survive: state.json and exit.json
 *
 * Protocol, version 1. A frame is a 32-bit little-endian payload length, one byte of type, the payload. From a peer:
 *   H version flags   first frame of every connection; flags: 1 stdout, 2 stderr, 4 stdin, 8 exit
 *   i bytes           standard input;  c  end of standard input
 *   q  give up: kill what was started, and end
 *   w rows columns    (16 bits each) terminal size;  k number  (32 bits) signal;  l  reopen the log
 * From the shim:
 *   h json   answer to H, the state;  s json  the container runs;  f json  it could not be started, the shim ends
 *   1 / 2    standard output / error; an empty payload is its end
 *   o errno  (32 bits) answer to w, k and l;  x json  exit record;  e text  refusal, the connection ends
 */
#ifndef SHIM_H
#define SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define PROTOCOL_VERSION 1
#define PEERS_MAX 10
#define CHUNK_BYTES (16 * 1024)           /* one read of the container's output */
#define LINE_BYTES_MAX (16 * 1024)        /* longer lines are split into partial ones, as containerd does */
#define STDIN_BYTES (16 * 1024)
#define PEER_OUT_BYTES (64 * 1024)        /* waiting for a slow peer, beyond its socket buffer */
#define PEER_PATIENCE_MS 1000             /* the container is held back this long for a slow peer, which then goes */
#define LINGER_MS 2000                    /* after the end, for output of processes it left behind */
#define FLUSH_MS 5000                     /* after the end, for peers to take what is theirs */
#define STATE_BYTES 512
#define LOG_FILES_MAX 64
#define CGROUPS_MAX 16

enum { WANT_STDOUT = 1, WANT_STDERR = 2, GIVE_STDIN = 4, WANT_EXIT = 8 };
enum { STDOUT = 0, STDERR = 1 };

struct options {
    const char *dir, *runc, *root, *id, *exec, *log, *oom_file;
    const char *cgroups[CGROUPS_MAX];
    int cgroups_count;
    long long log_bytes_max;
    int log_files_max;
    bool tty, keep_stdin, stdin_once;
};

struct state {
    pid_t pid;
    unsigned long long start_time; /* field 22 of /proc/PID/stat: tells a reused pid */
    struct timespec created, started, finished;
    bool running, exited;
    int exit_code, signal;
    unsigned long long oom_kills;
};

extern struct options options;
extern struct state state;

/* main.c: what peers ask for */
void give_up(void) __attribute__((noreturn));
int container_signal(int number);
int container_resize(int rows, int columns);
size_t stdin_space(void);
void stdin_push(const char *bytes, size_t length);
void stdin_close(void);

/* log.c */
void log_open(void);
void log_write(int stream, const char *bytes, size_t length);
void log_end(int stream);
int log_reopen(void);

/* peer.c */
struct pollfd;
void peer_add(int fd);
int peer_poll(struct pollfd *fds);
void peer_handle(const struct pollfd *fds, int count);
void peer_output(int stream, const char *bytes, size_t length);
void peer_tell(char type, const char *text, int wanted);
void peer_farewell(const char *text);
bool peer_blocks(long long now_ms, long long *until_ms);
bool peer_flushed(void);
bool peer_control_lost(void);
long long now_ms(void);

/* record.c */
void format_time(const struct timespec *when, char *out, size_t size);
int format_state(char *out, size_t size);
int write_record(const char *name, bool durable);
unsigned long long process_start_time(pid_t pid);
unsigned long long count_oom_kills(const char *path);
long long read_number(const char *path);
int write_all(int fd, const char *bytes, size_t length);

#endif
