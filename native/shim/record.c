/* State as JSON, and files that must be there whole or not at all. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return -1;
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

/* RFC 3339 with nanoseconds, UTC. */
void format_time(const struct timespec *when, char *out, size_t size) {
    struct tm tm;
    if (when->tv_sec == 0) {
        out[0] = 0;
        return;
    }
    gmtime_r(&when->tv_sec, &tm);
    snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, when->tv_nsec);
}

int format_state(char *out, size_t size) {
    char created[40], started[40], finished[40];
    format_time(&state.created, created, sizeof created);
    format_time(&state.started, started, sizeof started);
    format_time(&state.finished, finished, sizeof finished);
    return snprintf(out, size,
                    "{\"version\":%d,\"shim_pid\":%d,\"pid\":%d,\"start_time\":%llu,\"created_at\":\"%s\","
                    "\"started_at\":\"%s\",\"finished_at\":\"%s\",\"exited\":%s,\"exit_code\":%d,\"signal\":%d,"
                    "\"oom_kills\":%llu}",
                    PROTOCOL_VERSION, (int)getpid(), (int)state.pid, state.start_time, created, started, finished,
                    state.exited ? "true" : "false", state.exit_code, state.signal, state.oom_kills);
}

/* Writes the state to `name` in the working folder by rename; a durable one is synced before and after. */
int write_record(const char *name, bool durable) {
    char text[STATE_BYTES], staged[32];
    int length = format_state(text, sizeof text);
    snprintf(staged, sizeof staged, ".%s", name);
    int fd = open(staged, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    bool good = write_all(fd, text, (size_t)length) == 0 && (!durable || fsync(fd) == 0);
    close(fd);
    if (!good || rename(staged, name) < 0) return -1;
    int folder = durable ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
    return 0;
}

static ssize_t read_text(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t length;
    do length = read(fd, out, size - 1);
    while (length < 0 && errno == EINTR);
    close(fd);
    if (length >= 0) out[length] = 0;
    return length;
}

long long read_number(const char *path) {
    char text[32];
    return read_text(path, text, sizeof text) > 0 ? strtoll(text, NULL, 10) : -1;
}

unsigned long long process_start_time(pid_t pid) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_text(path, text, sizeof text) <= 0) return 0;
    /* The second field is the command in parentheses and may hold spaces and parentheses itself. */
    char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++) at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

/* `oom_kill N` in memory.oom_control (v1) and memory.events (v2). */
unsigned long long count_oom_kills(const char *path) {
    char text[1024];
    if (path == NULL || read_text(path, text, sizeof text) <= 0) return 0;
    for (char *line = text; line != NULL && *line != 0;) {
        if (strncmp(line, "oom_kill ", 9) == 0) return strtoull(line + 9, NULL, 10);
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    return 0;
}
