/* Connections of the orchestrator: frames in, output and answers out. Nothing here blocks. */
#include "shim.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER 5
#define SMALL_PAYLOAD_MAX 16

static struct peer {
    int fd; /* 0: a free slot (0 is /dev/null) */
    bool greeted;
    uint8_t flags;
    uint8_t head[HEADER + SMALL_PAYLOAD_MAX]; /* the frame being read; of standard input only the header */
    size_t head_length;
    size_t stdin_left;
    char *out;
    size_t out_start, out_length;
    long long blocked_since;
} peers[PEERS_MAX];
static int control_fd = -1; /* the connection we were born with */
static bool control_lost;

long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool peer_control_lost(void) { return control_lost; }

static void drop(struct peer *peer) {
    if (peer->fd == 0) return;
    if (peer->fd == control_fd) {
        control_lost = true;
        control_fd = -1;
    }
    close(peer->fd);
    free(peer->out);
    bool fed = peer->flags & GIVE_STDIN;
    memset(peer, 0, sizeof *peer);
    if (fed && options.stdin_once) stdin_close();
}

static void send_frame(struct peer *peer, char type, const char *bytes, size_t length);

void peer_add(int fd) {
    for (int i = 0; i < PEERS_MAX; i++)
        if (peers[i].fd == 0) {
            memset(&peers[i], 0, sizeof peers[i]);
            peers[i].fd = fd;
            if (control_fd < 0 && !control_lost) control_fd = fd;
            return;
        }
    struct peer refused = {.fd = fd, .greeted = true};
    static const char words[] = "too many connections";
    send_frame(&refused, 'e', words, sizeof words - 1);
    free(refused.out);
    close(fd);
}

static void flush_peer(struct peer *peer) {
    while (peer->out_length > 0) {
        ssize_t sent = send(peer->fd, peer->out + peer->out_start, peer->out_length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (sent <= 0) {
            drop(peer);
            return;
        }
        peer->out_start += (size_t)sent;
        peer->out_length -= (size_t)sent;
    }
    free(peer->out);
    peer->out = NULL;
    peer->out_start = 0;
    peer->blocked_since = 0;
}

/* Appends to what waits; a peer that lets more than its share wait is dropped. */
static bool queue(struct peer *peer, const char *bytes, size_t length) {
    if (peer->out == NULL) {
        peer->out = malloc(PEER_OUT_BYTES);
        peer->out_start = 0;
        peer->blocked_since = now_ms();
    }
    if (peer->out == NULL || peer->out_length + length > PEER_OUT_BYTES) {
        drop(peer);
        return false;
    }
    if (peer->out_start + peer->out_length + length > PEER_OUT_BYTES) {
        memmove(peer->out, peer->out + peer->out_start, peer->out_length);
        peer->out_start = 0;
    }
    memcpy(peer->out + peer->out_start + peer->out_length, bytes, length);
    peer->out_length += length;
    return true;
}

static void send_frame(struct peer *peer, char type, const char *bytes, size_t length) {
    uint8_t header[HEADER] = {length & 0xff, length >> 8 & 0xff, length >> 16 & 0xff, length >> 24 & 0xff, (uint8_t)type};
    size_t sent = 0;
    if (peer->out_length == 0) {
        struct iovec parts[2] = {{header, HEADER}, {(char *)bytes, length}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t result;
        do result = sendmsg(peer->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (result < 0 && errno == EINTR);
        if (result < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            drop(peer);
            return;
        }
        sent = result > 0 ? (size_t)result : 0;
    }
    if (sent < HEADER) {
        if (!queue(peer, (char *)header + sent, HEADER - sent)) return;
        sent = HEADER;
    }
    if (sent - HEADER < length) queue(peer, bytes + (sent - HEADER), length - (sent - HEADER));
}

void peer_output(int stream, const char *bytes, size_t length) {
    for (int i = 0; i < PEERS_MAX; i++)
        if (peers[i].fd != 0 && peers[i].flags & (stream == STDOUT ? WANT_STDOUT : WANT_STDERR))
            send_frame(&peers[i], stream == STDOUT ? '1' : '2', bytes, length);
}

/* To all that have introduced themselves and asked for any of `wanted` (0: to all). */
void peer_tell(char type, const char *text, int wanted) {
    for (int i = 0; i < PEERS_MAX; i++)
        if (peers[i].fd != 0 && peers[i].greeted && (wanted == 0 || peers[i].flags & wanted))
            send_frame(&peers[i], type, text, strlen(text));
}

/* The exit record, to those who were not told at once because they wanted all output first. */
void peer_farewell(const char *text) {
    for (int i = 0; i < PEERS_MAX; i++)
        if (peers[i].fd != 0 && peers[i].greeted && !(peers[i].flags & WANT_EXIT))
            send_frame(&peers[i], 'x', text, strlen(text));
}

static void answer(struct peer *peer, int failure) {
    uint8_t code[4] = {failure & 0xff, failure >> 8 & 0xff, 0, 0};
    send_frame(peer, 'o', (char *)code, sizeof code);
}

static void refuse(struct peer *peer, const char *words) {
    send_frame(peer, 'e', words, strlen(words));
    drop(peer);
}

static void handle_frame(struct peer *peer) {
    const uint8_t *payload = peer->head + HEADER;
    size_t length = peer->head_length - HEADER;
    char text[STATE_BYTES];
    switch (peer->head[4]) {
        case 'H':
            if (length != 2 || payload[0] != PROTOCOL_VERSION) {
                refuse(peer, "unknown protocol version");
                return;
            }
            peer->flags = payload[1];
            peer->greeted = true;
            format_state(text, sizeof text);
            send_frame(peer, 'h', text, strlen(text));
            break;
        case 'q':
            give_up();
        case 'c':
            /* Without stdin_once the next attacher shall find it open. */
            if (peer->flags & GIVE_STDIN && options.stdin_once) stdin_close();
            break;
        case 'w':
            if (length == 4)
                answer(peer, container_resize(payload[0] | payload[1] << 8, payload[2] | payload[3] << 8));
            break;
        case 'k':
            if (length == 4) answer(peer, container_signal(payload[0]));
            break;
        case 'l':
            answer(peer, log_reopen());
            break;
        default:
            refuse(peer, "unknown frame");
            return;
    }
    peer->head_length = 0;
}

static ssize_t take(struct peer *peer, void *into, size_t length) {
    ssize_t got;
    do got = recv(peer->fd, into, length, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return -1;
    if (got <= 0) {
        drop(peer);
        return -1;
    }
    return got;
}

/* One frame, or one piece of standard input; poll brings us back for the rest. */
static void read_peer(struct peer *peer) {
    if (peer->stdin_left > 0) {
        static char input[4096];
        size_t room = stdin_space();
        size_t wanted = peer->stdin_left < room ? peer->stdin_left : room;
        if (wanted > sizeof input) wanted = sizeof input;
        ssize_t got = wanted > 0 ? take(peer, input, wanted) : -1;
        if (got <= 0) return;
        stdin_push(input, (size_t)got);
        peer->stdin_left -= (size_t)got;
        return;
    }
    size_t wanted = HEADER;
    if (peer->head_length >= HEADER) wanted += peer->head[0];
    ssize_t got = take(peer, peer->head + peer->head_length, wanted - peer->head_length);
    if (got <= 0) return;
    peer->head_length += (size_t)got;
    if (peer->head_length < HEADER) return;
    uint32_t length = peer->head[0] | peer->head[1] << 8 | peer->head[2] << 16 | (uint32_t)peer->head[3] << 24;
    char type = (char)peer->head[4];
    if (type == 'i' && peer->flags & GIVE_STDIN) {
        peer->stdin_left = length;
        peer->head_length = 0;
    } else if (length > SMALL_PAYLOAD_MAX || (!peer->greeted && type != 'H')) {
        refuse(peer, "bad frame");
    } else if (peer->head_length == HEADER + length) {
        handle_frame(peer);
    }
}

int peer_poll(struct pollfd *fds) {
    for (int i = 0; i < PEERS_MAX; i++) {
        fds[i].fd = peers[i].fd != 0 ? peers[i].fd : -1;
        bool hungry = peers[i].stdin_left == 0 || stdin_space() > 0;
        fds[i].events = (short)((hungry ? POLLIN : 0) | (peers[i].out_length > 0 ? POLLOUT : 0));
        fds[i].revents = 0;
    }
    return PEERS_MAX;
}

void peer_handle(const struct pollfd *fds, int count) {
    for (int i = 0; i < count; i++) {
        if (fds[i].fd < 0 || peers[i].fd != fds[i].fd) continue;
        if (fds[i].revents & POLLOUT) flush_peer(&peers[i]);
        if (peers[i].fd == fds[i].fd && fds[i].revents & POLLIN)
            read_peer(&peers[i]);
        else if (peers[i].fd == fds[i].fd && fds[i].revents & (POLLHUP | POLLERR | POLLNVAL))
            drop(&peers[i]);
    }
}

/* Whether the container's output should wait for a slow peer. Without a log the peer is all there is: it waits long.
 * With one, up to PEER_PATIENCE_MS; after that the peer's buffer fills and it is dropped. */
bool peer_blocks(long long now, long long *until) {
    bool blocks = false;
    for (int i = 0; i < PEERS_MAX; i++) {
        if (peers[i].fd == 0 || peers[i].out_length == 0) continue;
        long long end = peers[i].blocked_since + PEER_PATIENCE_MS;
        if (options.log == NULL) {
            blocks = true;
        } else if (now < end) {
            blocks = true;
            if (end < *until) *until = end;
        }
    }
    return blocks;
}

bool peer_flushed(void) {
    for (int i = 0; i < PEERS_MAX; i++)
        if (peers[i].fd != 0 && peers[i].out_length > 0) return false;
    return true;
}
