/* A load source: answers as the vLLM answered that was recorded, byte for byte, far faster than any client reads.

       source FOLDER PORT [options]

   FOLDER holds recorded answers (record.py). One thread, epoll, keep-alive. Port 0 takes a free one; the port is printed.
   Options are "name=value" with commas between; those in the request's field "user" hold for that request only, and the
   field reaches vLLM through every gateway:

       chunks=N    tokens of a stream (as recorded; those of a stream that was held to a schema can't be multiplied)
       spacing=MS  between two writes (0)           batch=N   tokens in a write (1)
       delay=MS    before anything is answered (0)  status=N  answer an error instead (0)
       error=N     after N tokens an error event inside the 200, as vLLM sends it, then [DONE] and a clean end
       reset=N     after N tokens the connection is reset       cut=N  same, closed
       stall=N     after N tokens nothing more comes            done=0 no [DONE]          finish=0  no finish reason

   GET /source tells what was done so far. */
#define _GNU_SOURCE
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { TURN = 32, PARTS = 1024, ROOM = 8192 };

struct part {
    const char *data;
    size_t size;
};

struct recording {
    struct part whole, head;
    struct part *parts; /* of a stream: role, tokens, the one with the finish reason, usage, [DONE], end */
    size_t count;
};

struct options {
    long chunks, spacing, batch, delay, status, error, reset, cut, stall, done, finish;
};

struct link {
    int fd, writable, waits, closes, streaming, usage, json;
    char *in;
    size_t have, room;
    struct options options;
    const struct recording *from;
    struct part instead; /* what is sent in place of a recorded stream, or after a part of it */
    size_t next, total, offset;
    uint64_t due;
    size_t place;  /* in the heap of timers, from 1 */
    struct link *ready;
    int is_ready;
};

static struct recording chat, chat_stream, chat_json, chat_json_stream, completion, completion_stream;
static struct recording models, health, metrics, version, openapi, refusal, error_stream, not_found;
static struct options defaults = {0, 0, 1, 0, 0, -1, -1, -1, -1, 1, 1};
static struct { unsigned long connections, requests, streams, tokens, bytes, open, aborted; } done;
static int poller;

/* --- recordings */

static struct recording load(const char *folder, const char *name) {
    char path[4096];
    struct stat about;
    struct recording found = {0};
    snprintf(path, sizeof path, "%s/%s.http", folder, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &about)) fail(path);
    char *data = malloc((size_t)about.st_size + 1);
    if (read(fd, data, (size_t)about.st_size) != about.st_size) fail(path);
    close(fd);
    found.whole = (struct part){data, (size_t)about.st_size};
    struct head head = read_head(data, found.whole.size);
    found.head = (struct part){data, head.size};
    if (!head.chunked) return found;
    found.parts = malloc(sizeof(struct part) * (found.whole.size / 5 + 1));
    for (const char *at = data + head.size, *end = data + about.st_size; at < end;) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        const char *after = line + 1 + strtol(at, NULL, 16) + 2;
        found.parts[found.count++] = (struct part){at, (size_t)(after - at)};
        at = after;
    }
    return found;
}

static void load_all(const char *folder) {
    chat = load(folder, "chat");
    chat_stream = load(folder, "chat_stream");
    chat_json = load(folder, "chat_json");
    chat_json_stream = load(folder, "chat_json_stream");
    completion = load(folder, "completion");
    completion_stream = load(folder, "completion_stream");
    models = load(folder, "models");
    health = load(folder, "health");
    metrics = load(folder, "metrics");
    version = load(folder, "version");
    openapi = load(folder, "openapi");
    refusal = load(folder, "refusal");
    error_stream = load(folder, "error_stream");
    not_found = load(folder, "not_found");
}

/* --- timers: a binary heap of links by the time they are due */

static struct link **heap;
static size_t timers, timer_room;

static void put(size_t place, struct link *link) {
    heap[place] = link;
    link->place = place;
}

static void sift(size_t place) {
    struct link *link = heap[place];
    for (; place > 1 && heap[place / 2]->due > link->due; place /= 2) put(place, heap[place / 2]);
    for (size_t child; (child = place * 2) <= timers; place = child) {
        if (child < timers && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= link->due) break;
        put(place, heap[child]);
    }
    put(place, link);
}

static void set_timer(struct link *link, uint64_t due) {
    link->due = due;
    if (!link->place) {
        if (++timers >= timer_room) heap = realloc(heap, sizeof *heap * (timer_room = timers * 2 + 64));
        put(timers, link);
    }
    sift(link->place);
}

static void stop_timer(struct link *link) {
    size_t place = link->place;
    if (!place) return;
    link->place = 0;
    struct link *last = heap[timers--];
    if (last != link) {
        put(place, last);
        sift(place);
    }
}

/* --- links */

static struct link *ready_first, **ready_end = &ready_first;

static void make_ready(struct link *link) {
    if (link->is_ready) return;
    link->is_ready = 1;
    link->ready = NULL;
    *ready_end = link;
    ready_end = &link->ready;
}

static void drop(struct link *link) {
    if (link->fd < 0) return;
    if (link->streaming) done.open--, done.aborted++;
    stop_timer(link);
    close(link->fd);
    free(link->in);
    link->fd = -1;
    link->in = NULL;
    link->streaming = 0;
    if (!link->is_ready) make_ready(link); /* freed there, when no event can name it */
}

static void watch(struct link *link, int writable) {
    if (link->writable == writable) return;
    link->writable = writable;
    struct epoll_event event = {EPOLLIN | EPOLLRDHUP | (writable ? EPOLLOUT : 0), {.ptr = link}};
    epoll_ctl(poller, EPOLL_CTL_MOD, link->fd, &event);
}

static void reset(struct link *link) {
    struct linger now = {1, 0};
    setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    drop(link);
}

/* A stream is: its head, the role, the tokens but the last, the last with the finish reason, usage, [DONE], the end. */
static size_t last_token(const struct link *link) {
    long chunks = link->json ? 0 : link->options.chunks;
    return chunks > 0 ? (size_t)chunks + 1 : link->from->count - 3;
}

static struct part part_at(const struct link *link, size_t index) {
    if (link->instead.data && index == link->total - 1) return link->instead;
    const struct recording *from = link->from;
    size_t last = last_token(link), tail = from->count - 4, tokens = from->count - 5;
    if (index < 2) return index ? from->parts[0] : from->head;
    if (index < last) return from->parts[1 + (index - 2) % tokens];
    struct part none = {"", 0}, part = from->parts[tail + index - last];
    if (index == last && !link->options.finish) return none;
    if (index == last + 1 && !link->usage) return none;
    if (index == last + 2 && !link->options.done) return none;
    return part;
}

static size_t write_end(const struct link *link, size_t stop) {
    size_t last = last_token(link), end = link->next + (size_t)link->options.batch + (link->next == 1);
    if (!link->next) return 1;
    if (link->next >= last) return link->total;
    if (end > last) end = last;
    return end > stop ? stop : end;
}

/* Sends the parts from next to end. Returns 0 if the socket took them all. */
static int send_parts(struct link *link, size_t end) {
    while (link->next < end) {
        struct iovec pieces[PARTS];
        int count = 0;
        for (size_t index = link->next; index < end && count < PARTS; index++, count++) {
            struct part part = part_at(link, index);
            pieces[count] = (struct iovec){(char *)part.data, part.size};
        }
        pieces[0].iov_base = (char *)pieces[0].iov_base + link->offset;
        pieces[0].iov_len -= link->offset;
        ssize_t sent = writev(link->fd, pieces, count);
        if (sent < 0) {
            if (errno == EAGAIN) watch(link, 1);
            else drop(link);
            return 1;
        }
        done.bytes += (size_t)sent;
        for (int piece = 0; piece < count; piece++) {
            if ((size_t)sent < pieces[piece].iov_len) {
                link->offset = (piece ? 0 : link->offset) + (size_t)sent;
                watch(link, 1);
                return 1;
            }
            sent -= (ssize_t)pieces[piece].iov_len;
            done.tokens += link->streaming && link->next > 1 && link->next <= last_token(link);
            link->next++;
            link->offset = 0;
        }
    }
    watch(link, 0);
    return 0;
}

static void answer_next(struct link *link);

static void finished(struct link *link) {
    done.open -= (unsigned)link->streaming;
    link->streaming = 0;
    link->waits = 0;
    if (link->closes) drop(link);
    else if (link->have) answer_next(link);
}

/* Where a fault stops the stream, as an index of its parts. */
static size_t stop_at(const struct link *link) {
    const struct options *o = &link->options;
    long after = o->error >= 0 ? o->error : o->reset >= 0 ? o->reset : o->cut >= 0 ? o->cut : o->stall;
    return after < 0 || link->instead.data ? (size_t)-1 : after ? 2 + (size_t)after : 1;
}

static void send_error_event(struct link *link) {
    struct part first = error_stream.parts[error_stream.count - 3];
    link->instead = (struct part){first.data, error_stream.whole.data + error_stream.whole.size - first.data};
    link->total = link->next + 1;
}

static void go_on(struct link *link) {
    size_t stop = stop_at(link);
    for (int turn = 0; turn < TURN; turn++) {
        if (link->next == stop && !link->offset) {
            if (link->options.reset >= 0) reset(link);
            else if (link->options.cut >= 0) drop(link);
            else if (link->options.error >= 0) send_error_event(link), stop = (size_t)-1;
            if (stop != (size_t)-1) return;
        }
        size_t end = link->instead.data ? link->total : write_end(link, stop);
        int head = !link->next;
        if (send_parts(link, end)) return;
        if (link->next == link->total) {
            finished(link);
            return;
        }
        if (link->options.spacing && !head) {
            uint64_t now = now_ns(), due = link->due + (uint64_t)link->options.spacing * 1000000u;
            set_timer(link, due > now ? due : now);
            return;
        }
    }
    make_ready(link);
}

/* --- requests */

static const char *field(const char *body, size_t size, const char *name) {
    size_t length = strlen(name);
    for (const char *at = body; (at = memmem(at, size - (size_t)(at - body), name, length));) {
        at += length;
        const char *end = body + size;
        while (at < end && *at == ' ') at++;
        if (at >= end || *at != ':') continue;
        for (at++; at < end && *at == ' ';) at++;
        return at < end ? at : NULL;
    }
    return NULL;
}

static int is_true(const char *body, size_t size, const char *name) {
    const char *value = field(body, size, name);
    return value && body + size - value >= 4 && !memcmp(value, "true", 4);
}

static struct options options_of(const char *list, size_t size, struct options before) {
    struct options o = before;
    o.chunks = option(list, size, "chunks", o.chunks), o.spacing = option(list, size, "spacing", o.spacing);
    o.batch = option(list, size, "batch", o.batch), o.delay = option(list, size, "delay", o.delay);
    o.status = option(list, size, "status", o.status), o.error = option(list, size, "error", o.error);
    o.reset = option(list, size, "reset", o.reset), o.cut = option(list, size, "cut", o.cut);
    o.stall = option(list, size, "stall", o.stall), o.done = option(list, size, "done", o.done);
    o.finish = option(list, size, "finish", o.finish);
    if (o.batch < 1) o.batch = 1;
    return o;
}

static void send_whole(struct link *link, struct part part) {
    link->instead = part;
    link->total = 1;
}

/* One text for each status: several links may be sending theirs. */
static void send_refusal(struct link *link) {
    static struct part texts[1000];
    long status = link->options.status;
    if (status < 100 || status > 999) status = 500;
    struct part *text = &texts[status];
    if (!text->data) {
        struct part line = {memchr(refusal.whole.data, '\r', 64), 0};
        line.size = refusal.whole.size - (size_t)(line.data - refusal.whole.data);
        char *made = malloc(line.size + 32);
        int size = snprintf(made, 32, "HTTP/1.1 %ld Error", status);
        memcpy(made + size, line.data, line.size);
        *text = (struct part){made, (size_t)size + line.size};
    }
    send_whole(link, *text);
}

static void send_counts(struct link *link) {
    static char text[1024], body[512];
    int size = snprintf(body, sizeof body,
        "{\"connections\":%lu,\"requests\":%lu,\"streams\":%lu,\"tokens\":%lu,\"bytes\":%lu,\"open\":%lu,\"aborted\":%lu}",
        done.connections, done.requests, done.streams, done.tokens, done.bytes, done.open, done.aborted);
    int made = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", size, body);
    send_whole(link, (struct part){text, (size_t)made});
}

static void generate(struct link *link, const char *body, size_t size, int is_chat) {
    static const char *const held[] = {"\"json_schema\"", "\"guided_json\"", "\"structured_outputs\""};
    const char *list = field(body, size, "\"user\"");
    link->options = defaults;
    if (list && *list == '"') {
        const char *end = memchr(list + 1, '"', (size_t)(body + size - list - 1));
        if (end) link->options = options_of(list + 1, (size_t)(end - list - 1), defaults);
    }
    link->json = 0;
    for (size_t i = 0; is_chat && i < sizeof held / sizeof *held; i++) link->json |= !!field(body, size, held[i]);
    done.requests++;
    if (link->options.status) send_refusal(link);
    else if (is_true(body, size, "\"stream\"")) {
        link->from = !is_chat ? &completion_stream : link->json ? &chat_json_stream : &chat_stream;
        link->usage = is_true(body, size, "\"include_usage\"");
        link->total = last_token(link) + 4;
        link->streaming = 1;
        done.streams++, done.open++;
    } else send_whole(link, (!is_chat ? &completion : link->json ? &chat_json : &chat)->whole);
}

static void route(struct link *link, const char *data, const char *body, size_t size) {
    static const struct { const char *line; const struct recording *answer; } known[] = {
        {"GET /v1/models ", &models}, {"GET /health ", &health}, {"GET /ping ", &health}, {"GET /metrics ", &metrics},
        {"GET /version ", &version}, {"GET /openapi.json ", &openapi},
    };
    link->options = defaults;
    link->options.spacing = 0;
    if (!strncmp(data, "POST /v1/chat/completions ", 26)) {
        generate(link, body, size, 1);
        return;
    }
    if (!strncmp(data, "POST /v1/completions ", 21)) {
        generate(link, body, size, 0);
        return;
    }
    if (!strncmp(data, "GET /source ", 12)) {
        send_counts(link);
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(data, known[i].line, strlen(known[i].line))) {
            send_whole(link, known[i].answer->whole);
            return;
        }
    send_whole(link, not_found.whole);
}

/* Starts on the request at the front of what came in, if it is complete. */
static void answer_next(struct link *link) {
    struct head head = read_head(link->in, link->have);
    if (!head.size) return;
    const char *body = link->in + head.size, *end = link->in + link->have, *after;
    if (head.chunked) after = chunked_end(body, end);
    else after = end - body >= (head.length > 0 ? head.length : 0) ? body + (head.length > 0 ? head.length : 0) : NULL;
    if (!after) return;
    link->waits = 1;
    link->closes = head.close;
    link->instead = (struct part){0};
    link->next = link->offset = 0;
    route(link, link->in, body, (size_t)(after - body));
    link->have = (size_t)(end - after);
    memmove(link->in, after, link->have);
    link->in[link->have] = 0;
    link->due = now_ns() + (uint64_t)link->options.delay * 1000000u;
    if (link->options.delay) set_timer(link, link->due);
    else make_ready(link);
}

static void receive(struct link *link) {
    for (;;) {
        if (link->room - link->have < ROOM / 2) {
            link->room = link->room * 2 + ROOM;
            link->in = realloc(link->in, link->room + 1);
        }
        ssize_t got = recv(link->fd, link->in + link->have, link->room - link->have, 0);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) {
            drop(link);
            return;
        }
        link->have += (size_t)got;
        link->in[link->have] = 0;
        if (link->have < link->room) break;
    }
    if (!link->waits && link->have) answer_next(link);
}

static void welcome(int listener) {
    for (int fd, on = 1; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        struct link *link = calloc(1, sizeof *link);
        struct epoll_event event = {EPOLLIN | EPOLLRDHUP, {.ptr = link}};
        link->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        done.connections++;
    }
}

static int listen_on(int port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof here;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&here, size) || listen(fd, 8192)) fail("listen");
    getsockname(fd, (struct sockaddr *)&here, &size);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    return fd;
}

static void run_ready(void) {
    struct link *link = ready_first;
    ready_first = NULL;
    ready_end = &ready_first;
    while (link) {
        struct link *after = link->ready;
        link->is_ready = 0;
        if (link->fd < 0) free(link);
        else if (link->waits && !link->writable) go_on(link);
        link = after;
    }
}

int main(int count, char **arguments) {
    if (count < 3) return fprintf(stderr, "usage: source FOLDER PORT [options]\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    load_all(arguments[1]);
    if (count > 3) defaults = options_of(arguments[3], strlen(arguments[3]), defaults);
    poller = epoll_create1(0);
    int listener = listen_on(atoi(arguments[2]));
    struct epoll_event events[512] = {{EPOLLIN, {.ptr = NULL}}};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, events);
    for (;;) {
        int wait = -1;
        if (timers) {
            uint64_t now = now_ns(), due = heap[1]->due;
            wait = due > now ? (int)((due - now + 999999) / 1000000) : 0;
        }
        int found = epoll_wait(poller, events, 512, ready_first ? 0 : wait);
        for (int i = 0; i < found; i++) {
            struct link *link = events[i].data.ptr;
            if (!link) welcome(listener);
            else if (link->fd >= 0) {
                if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) receive(link);
                if (link->fd >= 0 && events[i].events & EPOLLOUT) watch(link, 0), make_ready(link);
            }
        }
        for (uint64_t now = now_ns(); timers && heap[1]->due <= now;) {
            struct link *link = heap[1];
            stop_timer(link);
            make_ready(link);
        }
        run_ready();
    }
}
