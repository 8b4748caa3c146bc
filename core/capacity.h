/*
 * Can a host take one more VM, and how well? Numbered rules in one table; the first that refuses
 * decides. Nothing here knows of time or of where the facts came from.
 *
 * What a guest costs:
 * - CPUs: its cores;
 * - ordinary memory: its memory, or nothing of it when it is backed by huge pages, and what QEMU
 *   itself needs: 96 MiB, 8 MiB a core and 1/512 of the guest's memory (its page tables and dirty
 *   bitmaps). The formula is linear, so that a sum of guests may be priced as one;
 * - huge pages: its memory in pages of its kind, rounded up;
 * - slots: one.
 */
#ifndef DROVER_CORE_CAPACITY_H
#define DROVER_CORE_CAPACITY_H

#include "core/host.h"
#include "core/vm.h"

#define CAPACITY_OVERHEAD_GUEST ((int64_t)96 << 20)
#define CAPACITY_OVERHEAD_CORE  ((int64_t)8 << 20)
#define CAPACITY_OVERHEAD_SHARE 512 /* one byte for so many of the guest's */
#define CAPACITY_SILENT_MS      20000
#define CAPACITY_MESSAGE_MAX    256
#define CAPACITY_SCORE_MAX      10

/* Bytes QEMU needs beside the memory of `guests` guests with so many cores and bytes in all. */
int64_t capacity_overhead(int64_t guests, int64_t cores, int64_t memory);

enum capacity_huge { HUGE_NONE, HUGE_2MI, HUGE_1GI, HUGE_BAD };

/* What a VM asks of a host. Strings are borrowed. */
struct capacity_demand {
        int64_t cores, memory;
        enum capacity_huge huge;
        const char *cpu_model; /* "": any host has the default one */
        struct strs pools;     /* each once, in the order of the disks */
        struct strs bridges;   /* each once */
        bool copies;           /* disks in local pools come along with a move */
};
/* Of CPUs, memory and CPU model alone. */
struct capacity_demand capacity_shape_demand(const struct vm_shape *shape);
/*
 * running: the shape the guest runs with, as for a migration's target, else that of the spec.
 * Borrows from vm; arrays come from a. 0 or -ENOMEM.
 */
int capacity_demand_of(struct arena *a, const struct vm *vm, bool running,
                       struct capacity_demand *out);

/* What guests take of a host, or will: a sum of demands. */
struct capacity_load {
        int64_t guests, cores;
        int64_t memory;             /* ordinary memory, overhead included */
        int64_t huge_2mi, huge_1gi; /* pages */
};
void capacity_load_add(struct capacity_load *load, const struct capacity_demand *d);

/* A host as the judge sees it. */
struct capacity_view {
        const char *node;
        const struct host *host; /* NULL: no agent has reported one */
        int64_t silent_ms;       /* since its last heartbeat by the judge's clock; < 0: none seen */
        struct capacity_load promised; /* bound to the host but not among its domains yet */
        bool holds; /* a domain of this very VM is there: what it needs, it has already */
        /* Where the guest runs that is to be moved to this host; NULL: it is started, or not known
         */
        const struct host *guest_at;
        /* Known to who has looked at the same list of models for another host. */
        enum capacity_answer { CAPACITY_ASK, CAPACITY_HAS, CAPACITY_LACKS } cpu_model;
};

/*
 * Their numbers and names stand in messages and in docs/troubleshooting.md: they never change, a
 * new rule goes to the end. None of them can be mended by preemption: deleting a pod ends no guest,
 * and other pods are not counted here.
 */
enum capacity_rule {
        CAPACITY_FITS,
        CAPACITY_NO_HOST, /* 1 */
        CAPACITY_SILENT,
        CAPACITY_NOT_READY,
        /* the following do not bind a host that holds the guest already */
        CAPACITY_CPU_MODEL,
        CAPACITY_BRIDGE,
        CAPACITY_NO_POOL,
        CAPACITY_POOL_HEALTH,
        CAPACITY_SLOTS,
        CAPACITY_CPUS,
        CAPACITY_MEMORY,
        CAPACITY_HUGE_PAGES,
        CAPACITY_POOL_APART, /* another directory than where the guest is: core/sharing.h */
        CAPACITY_RULES
};
const char *capacity_rule_name(enum capacity_rule r); /* "fits", "pool-health" ... */

/*
 * The first rule that refuses the VM. message, unless NULL, gets a sentence that names the node and
 * the numbers and ends with the rule: "node2: it has no network bridge br9 [rule 5 bridge]";
 * CAPACITY_MESSAGE_MAX bytes, untouched when the VM fits. silent_limit_ms: a heartbeat older than
 * this makes the host Unknown.
 */
enum capacity_rule capacity_check(const struct capacity_view *v, const struct capacity_demand *d,
                                  int64_t silent_limit_ms, char *message);

enum capacity_policy { CAPACITY_SPREAD, CAPACITY_PACK };

/* What a host is worth before the candidates are known among which it stands. */
struct capacity_grade {
        int64_t points;     /* thousandths */
        int64_t free_bytes; /* in that of the VM's pools which has the least */
};
struct capacity_grade capacity_grade(const struct capacity_view *v, const struct capacity_demand *d,
                                     enum capacity_policy policy, int64_t migration_slots);
/*
 * 0 to 10, higher is better: 6 points for room (what would be free of CPUs and memory, the lesser
 * of both, for SPREAD; what would be taken for PACK), 2 for free migration slots, 2 for free space
 * in the pools against most_free_bytes, the best of the candidates. 0 for a host that is not known.
 */
int capacity_score(const struct capacity_grade *g, int64_t most_free_bytes);

#endif
