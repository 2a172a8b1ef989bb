/* A load: sends one request again and again over some connections, reads and checks the answers, and says what it saw.

       load PORT PATH BODY OPTIONS [HEADER...]

   BODY is a file; HEADER is a line such as "authorization: Bearer key". Options, "name=value" with commas between:

       connections=N  at once (1)       requests=N  in all (1)          seconds=S  end after this, whatever is open (60)
       stall=1  read nothing at all     text=H      what the text of each answer must hash to; 0 takes the first as right
       pause=MS between two requests of a connection (0)   check=0  framing and status only, no look at the text

   An answer is right if its status is 200, it is complete by its framing and its text is the expected one: all that
   stands in JSON strings behind "content":, as it is written there. Its bytes are compared too, but only counted.
   Prints one line of JSON. One thread, epoll. */
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
#include <unistd.h>

enum { BLOCK = 256 * 1024, HEAD = 16384 };
enum framing { SIZE, DATA, GAP, TRAILER, LENGTH, UNTIL_CLOSE, COMPLETE };

static const char MARK[] = "\"content\":";

struct link {
    int fd, busy, status, closes, in_string, escaped, connected;
    char head[HEAD];
    size_t have, matched;
    enum framing framing;
    long left;
    uint64_t text, bytes, began, first;
    size_t line;
};

static long connections, requests, seconds, stall, wanted_text, pause_ms, checks;
static struct { long sent, right, wrong, refused, broken, connects, same, stalled; unsigned long bytes; } seen;
static uint64_t text_expected, bytes_expected;
static uint64_t *firsts, *totals;
static char *request;
static size_t request_size;
static int poller, port;
static int refused_with;

static uint64_t hash(uint64_t before, unsigned char byte) { return (before ^ byte) * 1099511628211u; }

/* --- answers */

/* Reads text out of JSON without parsing it: what stands between quotes behind the mark. */
static void read_text(struct link *link, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char byte = data[i];
        if (link->in_string) {
            if (byte == '"' && !link->escaped) {
                link->in_string = 0;
                continue;
            }
            if (!link->first) link->first = now_ns();
            link->escaped = byte == '\\' && !link->escaped;
            link->text = hash(link->text, (unsigned char)byte);
        } else if (link->matched == sizeof MARK - 1) {
            if (byte == ' ') continue;
            link->in_string = byte == '"';
            link->escaped = 0;
            link->matched = 0;
        } else if (byte == MARK[link->matched]) link->matched++;
        else link->matched = byte == MARK[0];
    }
}

static void read_bytes(struct link *link, const char *data, size_t size) {
    seen.bytes += size;
    if (!link->first && !checks) link->first = now_ns();
    if (!checks) return;
    uint64_t found = link->bytes;
    for (size_t i = 0; i < size; i++) found = hash(found, (unsigned char)data[i]);
    link->bytes = found;
    read_text(link, data, size);
}

static void begin_body(struct link *link, const struct head *head) {
    link->status = atoi(link->head + 9);
    link->closes = head->close;
    link->framing = head->chunked ? SIZE : head->length > 0 ? LENGTH : head->length == 0 ? COMPLETE : UNTIL_CLOSE;
    link->left = head->chunked ? 0 : head->length;
    link->line = 0;
}

static int digit(char byte) {
    return byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

static void read_body(struct link *link, const char *data, size_t size) {
    for (size_t i = 0; i < size && link->framing != COMPLETE;) {
        size_t here = size - i;
        switch (link->framing) {
        case SIZE:
            if (data[i] == '\n') link->framing = link->left ? DATA : TRAILER, link->line = 0;
            else if (digit(data[i]) >= 0) link->left = link->left * 16 + digit(data[i]);
            i++;
            break;
        case GAP:
            if (data[i++] == '\n') link->framing = SIZE, link->left = 0;
            break;
        case TRAILER:
            if (data[i] == '\n') link->framing = link->line ? TRAILER : COMPLETE, link->line = 0;
            else if (data[i] != '\r') link->line++;
            i++;
            break;
        case DATA:
        case LENGTH:
            if (here > (size_t)link->left) here = (size_t)link->left;
            read_bytes(link, data + i, here);
            i += here;
            link->left -= (long)here;
            if (!link->left) link->framing = link->framing == DATA ? GAP : COMPLETE;
            break;
        default:
            read_bytes(link, data + i, here);
            i += here;
        }
    }
}

/* --- links */

static void send_request(struct link *link) {
    if (seen.sent >= requests) {
        link->busy = 0;
        return;
    }
    seen.sent++;
    link->busy = 1;
    link->have = link->matched = 0;
    link->status = link->in_string = link->escaped = 0;
    link->text = link->bytes = 14695981039346656037u;
    link->first = 0;
    link->began = now_ns();
    if (send(link->fd, request, request_size, 0) != (ssize_t)request_size) seen.broken++, link->busy = 0;
}

static void dial(struct link *link) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {EPOLLIN | EPOLLRDHUP, {.ptr = link}};
    int on = 1, small = 4096;
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    link->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (link->fd < 0) fail("socket");
    if (stall) setsockopt(link->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(link->fd, (struct sockaddr *)&there, sizeof there)) fail("connect");
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(link->fd, F_SETFL, O_NONBLOCK);
    if (stall) event.events = 0;
    epoll_ctl(poller, EPOLL_CTL_ADD, link->fd, &event);
    seen.connects++;
}

static void judge(struct link *link) {
    uint64_t now = now_ns();
    long number = seen.right + seen.wrong + seen.refused;
    if (link->status != 200) seen.refused++;
    else {
        if (!text_expected) text_expected = link->text;
        if (!bytes_expected) bytes_expected = link->bytes;
        if (link->text == text_expected && link->first) seen.right++;
        else seen.wrong++;
        seen.same += link->bytes == bytes_expected;
    }
    firsts[number] = link->first ? link->first - link->began : 0;
    totals[number] = now - link->began;
    if (link->closes) close(link->fd), dial(link);
    if (pause_ms) usleep((useconds_t)pause_ms * 1000);
    send_request(link);
}

static void lost(struct link *link) {
    if (link->busy && link->framing == UNTIL_CLOSE && link->have) {
        link->closes = 1;
        judge(link);
        return;
    }
    close(link->fd);
    if (link->busy) seen.broken++;
    link->busy = 0;
    if (seen.sent < requests) dial(link), send_request(link);
}

static void receive(struct link *link) {
    static char block[BLOCK];
    ssize_t got = recv(link->fd, block, sizeof block, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        lost(link);
        return;
    }
    const char *data = block;
    size_t size = (size_t)got;
    if (!link->status) {
        size_t part = size < HEAD - 1 - link->have ? size : HEAD - 1 - link->have, before = link->have;
        memcpy(link->head + link->have, data, part);
        link->have += part;
        link->head[link->have] = 0;
        struct head head = read_head(link->head, link->have);
        if (!head.size) return;
        begin_body(link, &head);
        if (link->status != 200 && !refused_with) refused_with = link->status;
        data += head.size - before, size -= head.size - before;
    }
    read_body(link, data, size);
    if (link->framing == COMPLETE) judge(link);
}

/* --- the whole */

static int by_size(const void *a, const void *b) {
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return one < other ? -1 : one > other;
}

static void print_times(const char *name, uint64_t *times, long count) {
    static const int parts[] = {0, 10, 25, 50, 75, 90, 99, 100};
    qsort(times, (size_t)count, sizeof *times, by_size);
    printf(", \"%s\": {", name);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        printf("%s\"%d\": %.1f", i ? ", " : "", parts[i], count ? (double)times[(count - 1) * parts[i] / 100] / 1e3 : 0.0);
    printf("}");
}

static void print_result(double took) {
    long count = seen.right + seen.wrong + seen.refused;
    printf("{\"sent\": %ld, \"right\": %ld, \"wrong\": %ld, \"refused\": %ld, \"broken\": %ld, \"connects\": %ld, ", seen.sent,
           seen.right, seen.wrong, seen.refused, seen.broken, seen.connects);
    printf("\"same_bytes\": %ld, \"bytes\": %lu, \"seconds\": %.6f, \"text\": %ld, \"refused_with\": %d", seen.same, seen.bytes,
           took, (long)(text_expected & INT64_MAX), refused_with);
    print_times("first_us", firsts, count);
    print_times("total_us", totals, count);
    printf("}\n");
}

static void make_request(int count, char **arguments) {
    struct stat about;
    int fd = open(arguments[3], O_RDONLY);
    if (fd < 0 || fstat(fd, &about)) fail(arguments[3]);
    request = malloc((size_t)about.st_size + 65536);
    int made = sprintf(request, "POST %.1000s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n", arguments[2], port);
    for (int i = 5; i < count; i++) made += snprintf(request + made, 4096, "%s\r\n", arguments[i]);
    made += sprintf(request + made, "content-length: %ld\r\n\r\n", (long)about.st_size);
    if (read(fd, request + made, (size_t)about.st_size) != about.st_size) fail(arguments[3]);
    request_size = (size_t)made + (size_t)about.st_size;
}

int main(int count, char **arguments) {
    if (count < 5) return fprintf(stderr, "usage: load PORT PATH BODY OPTIONS [HEADER...]\n"), 2;
    const char *list = arguments[4];
    size_t size = strlen(list);
    signal(SIGPIPE, SIG_IGN);
    port = atoi(arguments[1]);
    connections = option(list, size, "connections", 1), requests = option(list, size, "requests", 1);
    seconds = option(list, size, "seconds", 60), stall = option(list, size, "stall", 0);
    wanted_text = option(list, size, "text", 0), pause_ms = option(list, size, "pause", 0);
    checks = option(list, size, "check", 1);
    if (stall) requests = connections;
    make_request(count, arguments);
    poller = epoll_create1(0);
    firsts = calloc((size_t)requests, sizeof *firsts), totals = calloc((size_t)requests, sizeof *totals);
    struct link *links = calloc((size_t)connections, sizeof *links);
    struct epoll_event events[512];
    for (long i = 0; i < connections; i++) dial(&links[i]);
    uint64_t began = now_ns(), until = began + (uint64_t)seconds * 1000000000u;
    for (long i = 0; i < connections; i++) send_request(&links[i]);
    while (seen.right + seen.wrong + seen.refused + seen.broken < requests && now_ns() < until) {
        int found = epoll_wait(poller, events, 512, 50);
        for (int i = 0; i < found; i++) receive(events[i].data.ptr);
    }
    if (wanted_text && (long)(text_expected & INT64_MAX) != wanted_text) seen.wrong += seen.right, seen.right = 0;
    print_result((double)(now_ns() - began) / 1e9);
}
