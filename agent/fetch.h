/*
 * Fetches an image over HTTP or HTTPS into a part (agent/part.h), and judges it. Runs as a tool
 * (agent/tool.h): it says on standard output how far it is, a line about once a second and one when
 * all is good, and may be killed at any time.
 *
 * A server is trusted with nothing: redirects are few and lead to http(s) only (to https only,
 * where no checksum would notice what stands in between), loopback and link-local addresses
 * (metadata services) are out of bounds, a transfer that stalls is given up, no more is taken than
 * the pool can spare. What has come is kept and the rest asked for, as long as the server says that
 * it is of the same version.
 */
#ifndef DROVER_AGENT_FETCH_H
#define DROVER_AGENT_FETCH_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct fetch {
        const char *folder; /* made when missing */
        const char *uid;
        int64_t epoch;
        const char *url, *sha256; /* 64 hex digits, "": none */
        int64_t max_bytes;        /* of the file */
        int64_t max_virtual;      /* of the disk that it is of */
        int64_t reserve_bytes;    /* stay free in the pool */
        int64_t stall_s;          /* below FETCH_STALL_BYTES a second for so long: given up */
        bool local;               /* loopback and link-local addresses may be asked */
        const char *ca;           /* file of CAs to be trusted, "": the system's */
};

#define FETCH_STALL_BYTES   1024
#define FETCH_REDIRECTS_MAX 5

/*
 * 0: the part is whole and good, or the image is in its place already. -EINVAL: refused for good,
 * and nothing is left of it. Anything else may be tried again and goes on from where it was.
 */
must_check int fetch_run(const struct fetch *f, struct err *e);

/* The verb `fetch POOL UID EPOCH URL SHA256 LIMITS`, see agent/import.c, which calls it. */
#define FETCH_REFUSED 3 /* exit code for -EINVAL */
int fetch_tool(char **argv);

/* How far a line of its says it is: "fetching DONE TOTAL" or "checking DONE TOTAL". False when it
 * says something else. */
bool fetch_line(const char *line, bool *checking, int64_t *done, int64_t *total);

#endif
