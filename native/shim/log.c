/* The container's output in the CRI log format: `<RFC 3339 time> stdout|stderr F|P <text>`, one line a record.
 *
 * Nothing here may hold the container up: what cannot be written (full disk, missing folder) is dropped and counted,
 * a record that was written in part is cut off again, and a line in the log tells of the gap once writing works.
 */
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PARTS_MAX 96
#define HEADER_BYTES 64

static int log_fd = -1;
static long long log_size;
static unsigned long long dropped;

static struct {
    char bytes[LINE_BYTES_MAX];
    size_t length;
} pending[2]; /* the unfinished line of each stream */

static struct iovec parts[PARTS_MAX];
static int parts_count, records_count;
static size_t parts_bytes;

void log_open(void) {
    if (options.log == NULL) return;
    log_fd = open(options.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    struct stat info;
    log_size = log_fd >= 0 && fstat(log_fd, &info) == 0 ? info.st_size : 0;
}

int log_reopen(void) {
    if (options.log == NULL) return ENOENT;
    if (log_fd >= 0) close(log_fd);
    log_open();
    return log_fd >= 0 ? 0 : errno;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Deletes the oldest rotated copies (their suffix sorts by time) until `keep` are left. */
static void prune(int keep) {
    char folder[4096], *names[LOG_FILES_MAX];
    const char *base = strrchr(options.log, '/');
    base = base != NULL ? base + 1 : options.log;
    size_t prefix = strlen(base), folder_length = (size_t)(base - options.log);
    if (folder_length >= sizeof folder) return;
    memcpy(folder, options.log, folder_length);
    memcpy(folder + folder_length, folder_length > 0 ? "" : ".", folder_length > 0 ? 1 : 2);
    DIR *listing = opendir(folder);
    if (listing == NULL) return;
    int count = 0;
    for (struct dirent *entry; count < LOG_FILES_MAX && (entry = readdir(listing)) != NULL;)
        if (strncmp(entry->d_name, base, prefix) == 0 && entry->d_name[prefix] == '.')
            if ((names[count] = strdup(entry->d_name)) != NULL) count++;
    qsort(names, (size_t)count, sizeof names[0], by_name);
    for (int i = 0; i < count; i++) {
        if (i < count - keep) unlinkat(dirfd(listing), names[i], 0);
        free(names[i]);
    }
    closedir(listing);
}

/* LOG -> LOG.20060102-150405.000000000. */
static void rotate(void) {
    char rotated[4096];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    int length = snprintf(rotated, sizeof rotated, "%s.%04d%02d%02d-%02d%02d%02d.%09ld", options.log, tm.tm_year + 1900,
                          tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec);
    if (length >= (int)sizeof rotated) return;
    if (options.log_files_max <= 1)
        unlink(options.log);
    else if (rename(options.log, rotated) < 0 && errno != ENOENT)
        return;
    close(log_fd);
    log_open();
    if (options.log_files_max > 1) prune(options.log_files_max - 1);
}

static bool write_parts(struct iovec *from, int count, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t written = writev(log_fd, from, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) break;
        done += (size_t)written;
        while (count > 0 && (size_t)written >= from->iov_len) {
            written -= (ssize_t)from->iov_len;
            from++;
            count--;
        }
        if (count > 0) {
            from->iov_base = (char *)from->iov_base + written;
            from->iov_len -= (size_t)written;
        }
    }
    if (done == bytes) {
        log_size += (long long)bytes;
        return true;
    }
    if (done > 0 && ftruncate(log_fd, log_size) < 0) log_size += (long long)done;
    return false;
}

static void flush_parts(void) {
    if (parts_count == 0) return;
    if (log_fd < 0) log_open();
    if (log_fd >= 0 && options.log_bytes_max > 0 && log_size > 0 &&
        log_size + (long long)parts_bytes > options.log_bytes_max)
        rotate();
    if (log_fd >= 0 && dropped > 0) {
        char note[160], when[40];
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        format_time(&now, when, sizeof when);
        int length = snprintf(note, sizeof note, "%s stderr F [edgekube: %llu log lines could not be written and are lost]\n",
                              when, dropped);
        struct iovec part = {note, (size_t)length};
        if (write_parts(&part, 1, (size_t)length)) dropped = 0;
    }
    if (log_fd < 0 || dropped > 0 || !write_parts(parts, parts_count, parts_bytes))
        dropped += (unsigned long long)records_count;
    parts_count = records_count = 0;
    parts_bytes = 0;
}

static void add(const char *bytes, size_t length) {
    if (length == 0) return;
    parts[parts_count].iov_base = (char *)bytes;
    parts[parts_count].iov_len = length;
    parts_count++;
    parts_bytes += length;
}

static void add_record(const char *header, size_t header_length, const char *first, size_t first_length,
                       const char *rest, size_t rest_length, bool newline) {
    if (parts_count + 4 > PARTS_MAX) flush_parts();
    add(header, header_length);
    add(first, first_length);
    add(rest, rest_length);
    if (newline) add("\n", 1);
    records_count++;
}

void log_write(int stream, const char *bytes, size_t length) {
    if (options.log == NULL) return;
    char full[HEADER_BYTES], partial[HEADER_BYTES], when[40];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    format_time(&now, when, sizeof when);
    size_t header = (size_t)snprintf(full, sizeof full, "%s %s F ", when, stream == STDOUT ? "stdout" : "stderr");
    memcpy(partial, full, header);
    partial[header - 2] = 'P';

    while (length > 0) {
        size_t room = LINE_BYTES_MAX - pending[stream].length;
        const char *end = memchr(bytes, '\n', length < room ? length : room);
        size_t taken = end != NULL ? (size_t)(end - bytes) + 1 : (length < room ? length : room);
        if (end != NULL) {
            add_record(full, header, pending[stream].bytes, pending[stream].length, bytes, taken, false);
        } else if (taken == room) {
            add_record(partial, header, pending[stream].bytes, pending[stream].length, bytes, taken, true);
        } else {
            break;
        }
        /* The pending bytes are referred to by the first record only, which must be out before they are replaced. */
        if (pending[stream].length > 0) {
            flush_parts();
            pending[stream].length = 0;
        }
        bytes += taken;
        length -= taken;
    }
    flush_parts();
    memcpy(pending[stream].bytes + pending[stream].length, bytes, length);
    pending[stream].length += length;
}

/* The end of a stream: a last line without its newline is a partial record, so that readers add none either. */
void log_end(int stream) {
    if (options.log == NULL || pending[stream].length == 0) return;
    char header[HEADER_BYTES], when[40];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    format_time(&now, when, sizeof when);
    int length = snprintf(header, sizeof header, "%s %s P ", when, stream == STDOUT ? "stdout" : "stderr");
    add_record(header, (size_t)length, pending[stream].bytes, pending[stream].length, NULL, 0, true);
    flush_parts();
    pending[stream].length = 0;
}
