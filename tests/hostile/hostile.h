/*
 * The webhook and the extender as they are shipped, under attack: the programs, a client of theirs
 * that does no harm, and the attacks.
 */
#ifndef DROVER_TESTS_HOSTILE_HOSTILE_H
#define DROVER_TESTS_HOSTILE_HOSTILE_H

#include "tests/unit/program.h"

/* --- target.c: a program, with certificates, and a small cluster to know */

struct target {
        const char *name;
        const char *path, *ask;       /* what the honest client asks, */
        const char *answer;           /* and is to read in the answer */
        void (*large)(struct buf *b); /* a legal body of the size that the API server sends */
        size_t max_body;              /* bytes */
        long busy_kib;                /* what it may take to answer all that it answers at a time */
        long limit_kib;               /* the container's memory limit in manifests/ */

        struct program program;
        uint16_t port;
        SSL_CTX *tls, *tls12; /* clients that are let in; the second speaks TLS 1.2 alone */
        int lease;            /* a socket that keeps the port ours */
};

extern struct target webhook, extender;
#define LARGE_BODY ((size_t)7 << 20)

void scene_start(void); /* certificates and the API server */
void scene_stop(void);
/* Returns when it is ready. */
void target_start(struct target *t);
void target_stop(struct target *t);
long target_rss_kib(const struct target *t);
/* The most since the last call, or since its start where the kernel does not let us forget. */
long target_peak_kib(const struct target *t);
/* Open descriptors, -1: we may not know. */
int target_fds(const struct target *t);

/* --- honest.c: a client that asks one thing after the other, on a connection that it keeps */

struct latency {
        size_t n;
        double p50, p95, p99; /* ms */
};

void honest_start(const struct target *t);
void honest_stop(void);
/* Waits for so many answers from now on. */
void honest_await(size_t n);
/* Of the answers since the last call; first: of requests that were the first of a connection. */
struct latency honest_latency(bool first);

/* --- attack.c: means of those that do harm */

/* Something went otherwise than it must, on any thread. The first text is kept. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Fails the test if anybody did. */
void no_complaints(void);
/* An attacker's address, of a few. */
const char *address(size_t i);
/* n threads run it with their number, each with less claim to a CPU than the honest and the target.
 */
void gang(size_t n, void (*run)(const struct target *t, size_t number), const struct target *t);

struct attack {
        const char *name;
        void (*run)(const struct target *t);
        bool large; /* with bodies that are held in memory */
};
extern const struct attack ATTACKS[];
extern const size_t NATTACKS;

#endif
