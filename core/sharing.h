/*
 * Proof that two nodes see the same directory behind a pool, kept fresh.
 *
 * Every node writes a word of its own into the pool again and again, with a number that grows, and
 * holds a lock on a file of its own there. Every other node reads the word and asks for the lock.
 * That new words arrive shows that the directory is in some way the same now. It is no proof: a
 * copy that something keeps in step shows them, too. That the lock is *refused* is one: no copy of
 * a directory has the locks of another. Both within the last SHARING_FRESH_MS make the pool Shared,
 * as this node sees that one; a guest may move only between nodes that each say so of the other,
 * but for one that leaves failing storage: see sharing_pair.
 *
 * A lock that is granted speaks against it only between two words that claim it: after one word its
 * writer may have died, and its lock with it.
 *
 * Pure: times and numbers are passed in, nothing is read.
 */
#ifndef DROVER_CORE_SHARING_H
#define DROVER_CORE_SHARING_H

#include "core/host.h"

#define SHARING_PEERS_MAX    512    /* nodes in a pool that one of them looks at */
#define SHARING_PERIOD_MS    3000   /* between two looks, for up to SHARING_AT_ONCE other nodes */
#define SHARING_AT_ONCE      32     /* with more of them there is more time between looks */
#define SHARING_FRESH_MS     10000  /* a word, or a refusal, counts so long; or for three looks */
#define SHARING_FORGET_MS    600000 /* a node that writes nothing for so long is no more told of */
#define SHARING_INSTANCE_MAX 17
#define SHARING_MESSAGE_MAX  256

/* For a pool with so many other nodes. */
int64_t sharing_period_ms(size_t peers);
int64_t sharing_fresh_ms(size_t peers);

/* What one look at another node's word and lock has shown. */
struct sharing_look {
        bool word; /* there is a whole one; if not, the rest says nothing */
        char instance[SHARING_INSTANCE_MAX]; /* of who writes it: another one after a restart */
        int64_t number;                      /* grows with every word of an instance */
        bool holds;                          /* it says that its node holds its lock */
        enum sharing_lock { SHARING_NO_LOCK, SHARING_REFUSED, SHARING_GRANTED } lock;
};

/* Why it is not Shared; sharing_reason has the sentence. */
enum sharing_flaw {
        SHARING_FINE,
        SHARING_SILENT,    /* its word is there, and no new one comes */
        SHARING_GONE,      /* its word was here, and is not any more */
        SHARING_BACKWARDS, /* an older word has taken the place of a newer one */
        SHARING_LOCKLESS,  /* it holds no lock that could be refused */
        SHARING_LOCAL,     /* our mount keeps locks to itself, as its options say */
        SHARING_OPEN,      /* its lock is granted to us */
        SHARING_FLAWS
};
const char *sharing_reason(enum sharing_flaw f);

/* What is remembered of another node. Zero but for the name, before the first look. */
struct sharing_track {
        char node[254];
        struct sharing_look last;
        bool seen, backwards;
        bool moving;                 /* a new word has come since the first one */
        int64_t word_ms, refused_ms; /* when there was a new word, and a refusal, last; 0: never */
        unsigned granted;  /* new words in a row that claim the lock, which was granted to us */
        int64_t looked_ms; /* the look taken in last */
        enum sharing state;
        enum sharing_flaw flaw;
        bool locks;
        int64_t since_us;
};

/* This node's part of what a look depends on. */
struct sharing_clock {
        int64_t now_ms;   /* monotonic, above 0 */
        int64_t now_us;   /* wall clock, for since_us alone */
        int64_t fresh_ms; /* sharing_fresh_ms */
        bool local_locks; /* core/mountopts.h */
};

/* Takes a look in; true when state, flaw or locks have changed. */
bool sharing_step(struct sharing_track *t, const struct sharing_look *l,
                  const struct sharing_clock *c);
/* Nothing was heard for so long that the node is to be forgotten. */
bool sharing_forgotten(const struct sharing_track *t, int64_t now_ms);

/*
 * Both nodes' words on a pool that both have: Shared when each says so of the other and both have
 * found the same identity. Where the pool is unhealthy on a, which writes no words then, b need not
 * have heard of it: what a reads and is refused is proof. If not, message names the pool, both
 * nodes and what was found. That both agents live is for the caller to know: what a silent one has
 * said counts for nothing.
 */
enum sharing sharing_pair(const struct host *a, const struct host *b, const char *pool,
                          char message[SHARING_MESSAGE_MAX]);
/* One of two nodes' mounts of a pool shows that the other is another directory: by its identity, or
 * by what the node says of the other. */
bool sharing_refuted(const struct host_mount *a, const char *node_a, const struct host_mount *b,
                     const char *node_b);
/* The lock of each is refused to the other, and no mount option of either is against it. */
bool sharing_locks(const struct host *a, const struct host *b, const char *pool);

#endif
