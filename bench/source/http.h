/* Just enough HTTP/1.1 for the load source and the load: heads, lengths, chunks. */
#ifndef HTTP_H
#define HTTP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct head {
    size_t size;   /* of the head itself, with its empty line; 0 while it is incomplete */
    long length;   /* Content-Length, or -1 */
    int chunked, close;
};

static inline uint64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct head read_head(const char *data, size_t size) {
    struct head head = {0, -1, 0, 0};
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return head;
    head.size = (size_t)(end - data) + 4;
    for (const char *line = memchr(data, '\n', head.size); line && line < end; line = memchr(line, '\n', end - line)) {
        line++;
        if (!strncasecmp(line, "content-length:", 15)) head.length = atol(line + 15);
        else if (!strncasecmp(line, "transfer-encoding: chunked", 26)) head.chunked = 1;
        else if (!strncasecmp(line, "connection: close", 17)) head.close = 1;
    }
    return head;
}

/* The end of a chunked body that starts at data, or NULL while it is incomplete. */
static inline const char *chunked_end(const char *data, const char *end) {
    for (;;) {
        const char *line = memchr(data, '\n', (size_t)(end - data));
        if (!line) return NULL;
        long size = strtol(data, NULL, 16);
        if (end - line - 1 < size + 2) return NULL;
        data = line + 1 + size + 2;
        if (!size) return data;
    }
}

/* "name=value" in a list separated by commas, or what was there before. */
static inline long option(const char *list, size_t size, const char *name, long otherwise) {
    size_t length = strlen(name);
    for (const char *at = list; at && at < list + size; at = memchr(at, ',', (size_t)(list + size - at))) {
        if (*at == ',') at++;
        if (at + length < list + size && !strncmp(at, name, length) && at[length] == '=') return atol(at + length + 1);
    }
    return otherwise;
}

#endif
