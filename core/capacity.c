#include "core/capacity.h"

#include "core/sharing.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define MIB          ((int64_t)1 << 20)
#define PAGE_2MI     (2 * MIB)
#define PAGE_1GI     (1024 * MIB)
#define AMOUNT_MAX   ((int64_t)1 << 60) /* sums of what hosts say of themselves stop here */
#define AMOUNT_TEXT  32
#define SIGN_TEXT    32 /* room for the rule behind a sentence of any length */
#define PERMILLE     1000
#define ROOM_POINTS  6
#define SLOT_POINTS  2
#define SPACE_POINTS 2

static int64_t clamp(int64_t v)
{
        return v < -AMOUNT_MAX ? -AMOUNT_MAX : v > AMOUNT_MAX ? AMOUNT_MAX : v;
}

/* Sums and products of numbers that come from elsewhere never overflow. */
static int64_t plus(int64_t a, int64_t b)
{
        return clamp(clamp(a) + clamp(b));
}

static int64_t minus(int64_t a, int64_t b)
{
        return clamp(clamp(a) - clamp(b));
}

static int64_t times(int64_t a, int64_t b)
{
        int64_t out;

        if (__builtin_mul_overflow(a, b, &out))
                return (a < 0) == (b < 0) ? AMOUNT_MAX : -AMOUNT_MAX;
        return clamp(out);
}

static int64_t pages(int64_t bytes, int64_t page)
{
        return bytes <= 0 ? 0 : (clamp(bytes) + page - 1) / page;
}

int64_t capacity_overhead(int64_t guests, int64_t cores, int64_t memory)
{
        int64_t fixed =
                plus(times(guests, CAPACITY_OVERHEAD_GUEST), times(cores, CAPACITY_OVERHEAD_CORE));

        return plus(fixed, pages(memory, CAPACITY_OVERHEAD_SHARE));
}

static enum capacity_huge huge_of(const char *text)
{
        if (!*text)
                return HUGE_NONE;
        if (strcmp(text, "2Mi") == 0)
                return HUGE_2MI;
        return strcmp(text, "1Gi") == 0 ? HUGE_1GI : HUGE_BAD;
}

static void add_once(struct strs *s, const char *value)
{
        if (!strs_has(s, value))
                s->v[s->n++] = value;
}

struct capacity_demand capacity_shape_demand(const struct vm_shape *shape)
{
        return (struct capacity_demand){
                .cores = shape->cores,
                .memory = shape->memory,
                .huge = huge_of(shape->huge_pages),
                .cpu_model = shape->cpu_model,
        };
}

int capacity_demand_of(struct arena *a, const struct vm *vm, bool running,
                       struct capacity_demand *out)
{
        struct capacity_demand d =
                capacity_shape_demand(running ? &vm->status.running : &vm->spec.shape);

        d.copies = vm->spec.migration.storage == STORAGE_COPY;
        d.pools.v = arena_array(a, vm->spec.ndisks, sizeof(*d.pools.v));
        d.bridges.v = arena_array(a, vm->spec.nnetworks, sizeof(*d.bridges.v));
        if (!d.pools.v || !d.bridges.v)
                return -ENOMEM;
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind != DISK_PVC)
                        add_once(&d.pools, vm->spec.disks[i].pool);
        for (size_t i = 0; i < vm->spec.nnetworks; i++)
                add_once(&d.bridges, vm->spec.networks[i].bridge);
        *out = d;
        return 0;
}

/* The demand's part of ordinary memory. */
static int64_t ordinary(const struct capacity_demand *d)
{
        int64_t overhead = capacity_overhead(1, d->cores, d->memory);

        return d->huge == HUGE_NONE ? plus(d->memory, overhead) : overhead;
}

void capacity_load_add(struct capacity_load *load, const struct capacity_demand *d)
{
        load->guests = plus(load->guests, 1);
        load->cores = plus(load->cores, d->cores);
        load->memory = plus(load->memory, ordinary(d));
        if (d->huge == HUGE_2MI)
                load->huge_2mi = plus(load->huge_2mi, pages(d->memory, PAGE_2MI));
        if (d->huge == HUGE_1GI)
                load->huge_1gi = plus(load->huge_1gi, pages(d->memory, PAGE_1GI));
}

static int64_t cpus_total(const struct host *h)
{
        int64_t percent = h->capacity.cpu_overcommit_percent;

        return percent > 0 ? times(h->capacity.cpus, percent) / 100 : h->capacity.cpus;
}

static int64_t cpus_free(const struct capacity_view *v)
{
        return minus(cpus_total(v->host), plus(v->host->used.cpus, v->promised.cores));
}

static int64_t memory_total(const struct host *h)
{
        return minus(h->capacity.memory, h->capacity.reserved_memory);
}

/*
 * Guests on huge pages are part of used.memory, and free huge pages can serve no one else: what is
 * left of the total is right whoever uses the pages that are taken.
 */
static int64_t memory_free(const struct capacity_view *v)
{
        const struct host *h = v->host;
        int64_t taken = plus(h->used.memory,
                             capacity_overhead(h->used.domains, h->used.cpus, h->used.memory));
        int64_t huge =
                plus(times(h->capacity.huge_2mi, PAGE_2MI), times(h->capacity.huge_1gi, PAGE_1GI));

        taken = plus(plus(taken, huge), v->promised.memory);
        return minus(memory_total(h), taken);
}

static int64_t at_least_0(int64_t v)
{
        return v > 0 ? v : 0;
}

/* --- sentences, without printf: hundreds are written while the scheduler waits */

struct line {
        char *text; /* always terminated */
        size_t len, size;
};

static void add(struct line *l, const char *s, size_t n)
{
        size_t room = l->size - 1 - l->len;

        n = n < room ? n : room;
        memcpy(l->text + l->len, s, n);
        l->len += n;
        l->text[l->len] = '\0';
}

static void add_text(struct line *l, const char *s)
{
        add(l, s, strlen(s));
}

static void add_number(struct line *l, long long v)
{
        unsigned long long left = v < 0 ? 0 - (unsigned long long)v : (unsigned long long)v;
        char digits[24], *p = digits + sizeof(digits);

        do {
                *--p = (char)('0' + left % 10);
                left /= 10;
        } while (left);
        if (v < 0)
                *--p = '-';
        add(l, p, (size_t)(digits + sizeof(digits) - p));
}

/* Knows %s and %lld. */
static void add_format(struct line *l, const char *fmt, va_list ap)
{
        for (const char *mark; (mark = strchr(fmt, '%')); fmt = mark + (mark[1] == 's' ? 2 : 4)) {
                add(l, fmt, (size_t)(mark - fmt));
                if (mark[1] == 's')
                        add_text(l, va_arg(ap, const char *));
                else
                        add_number(l, va_arg(ap, long long));
        }
        add_text(l, fmt);
}

/*
 * "512 MiB", "7.51 GiB". What is needed is rounded up and what is free down, so that the one never
 * reads as the other.
 */
static const char *amount(int64_t bytes, bool up, char out[AMOUNT_TEXT])
{
        int64_t mib = (at_least_0(bytes) + (up ? MIB - 1 : 0)) / MIB;
        int64_t hundredths = (mib % 1024 * 100 + (up ? 1023 : 0)) / 1024 + mib / 1024 * 100;
        struct line l = {out, 0, AMOUNT_TEXT};

        add_number(&l, mib < 1024 ? mib : hundredths / 100);
        if (mib >= 1024 && hundredths % 100) {
                add_text(&l, hundredths % 100 < 10 ? ".0" : ".");
                add_number(&l, hundredths % 100);
        }
        add_text(&l, mib < 1024 ? " MiB" : " GiB");
        return out;
}

struct rule_args {
        const struct capacity_view *v;
        const struct capacity_demand *d;
        int64_t silent_limit_ms;
        struct line *message; /* NULL: nobody wants to know */
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct rule_args *r, const char *fmt,
                                                         ...)
{
        va_list ap;

        if (!r->message)
                return true;
        add_text(r->message, r->v->node);
        add_text(r->message, ": ");
        va_start(ap, fmt);
        add_format(r->message, fmt, ap);
        va_end(ap);
        return true;
}

static bool no_host(const struct rule_args *r)
{
        return !r->v->host && refuse(r, "no Drover agent has reported a hypervisor there");
}

/* In steps that grow, so that a reason does not change with each attempt to schedule a pod. */
static bool is_silent(const struct rule_args *r)
{
        int64_t minutes = r->v->silent_ms / 60000;

        if (r->v->silent_ms < 0)
                return refuse(r, "its Drover agent has sent no heartbeat yet");
        if (r->v->silent_ms <= r->silent_limit_ms)
                return false;
        if (minutes >= 120)
                return refuse(r, "its Drover agent has not been heard from for %lld hours",
                              (long long)(minutes / 60));
        if (minutes >= 2)
                return refuse(r, "its Drover agent has not been heard from for %lld minutes",
                              (long long)minutes);
        return refuse(r, "its Drover agent has not been heard from for more than %lld s",
                      (long long)(r->silent_limit_ms / 1000));
}

static bool not_ready(const struct rule_args *r)
{
        const struct condition *c = condition_get(&r->v->host->conditions, "Ready");

        if (!c)
                return refuse(r, "its Drover agent has not said that it is Ready");
        if (strcmp(c->status, "True") == 0)
                return false;
        return refuse(r, "its hypervisor is not Ready: %s",
                      *c->message  ? c->message
                      : *c->reason ? c->reason
                                   : "no reason given");
}

static bool lacks_cpu_model(const struct rule_args *r)
{
        const char *model = r->d->cpu_model;
        bool lacks = r->v->cpu_model == CAPACITY_ASK ? !host_has_cpu_model(r->v->host, model)
                                                     : r->v->cpu_model == CAPACITY_LACKS;

        return *model && lacks && refuse(r, "its hypervisor cannot run CPU model %s", model);
}

static bool lacks_bridge(const struct rule_args *r)
{
        for (size_t i = 0; i < r->d->bridges.n; i++)
                if (!strs_has(&r->v->host->bridges, r->d->bridges.v[i]))
                        return refuse(r, "it has no network bridge %s", r->d->bridges.v[i]);
        return false;
}

static bool lacks_pool(const struct rule_args *r)
{
        for (size_t i = 0; i < r->d->pools.n; i++)
                if (!host_mount_of(r->v->host, r->d->pools.v[i]))
                        return refuse(r, "storage pool %s is not mounted there", r->d->pools.v[i]);
        return false;
}

static bool pool_ails(const struct rule_args *r)
{
        for (size_t i = 0; i < r->d->pools.n; i++) {
                const struct host_mount *m = host_mount_of(r->v->host, r->d->pools.v[i]);

                if (m->health == MOUNT_HEALTHY)
                        continue;
                if (m->health == MOUNT_UNKNOWN && !*m->reason)
                        return refuse(r, "storage pool %s at %s has not been probed yet", m->pool,
                                      m->path);
                return refuse(r, "storage pool %s at %s is %s: %s", m->pool, m->path,
                              m->health == MOUNT_UNKNOWN ? "in unknown health" : "unhealthy",
                              *m->reason ? m->reason : "no reason given");
        }
        return false;
}

static bool slots_taken(const struct rule_args *r)
{
        int64_t slots = r->v->host->capacity.slots;

        return slots > 0 && plus(r->v->host->used.domains, r->v->promised.guests) >= slots &&
               refuse(r, "all of its %lld VM slots are taken", (long long)slots);
}

static bool short_of_cpus(const struct rule_args *r)
{
        int64_t spare = cpus_free(r->v);

        return r->d->cores > spare &&
               refuse(r, "%lld CPUs are asked for, %lld of %lld are free", (long long)r->d->cores,
                      (long long)at_least_0(spare), (long long)cpus_total(r->v->host));
}

static bool short_of_memory(const struct rule_args *r)
{
        int64_t spare = memory_free(r->v), need = ordinary(r->d);
        char text[3][AMOUNT_TEXT];

        return need > spare &&
               refuse(r, "%s of memory are needed (%s of it for QEMU itself), %s are free",
                      amount(need, true, text[0]),
                      amount(capacity_overhead(1, r->d->cores, r->d->memory), true, text[1]),
                      amount(spare, false, text[2]));
}

static bool short_of_huge_pages(const struct rule_args *r)
{
        bool big = r->d->huge == HUGE_1GI;
        int64_t need = pages(r->d->memory, big ? PAGE_1GI : PAGE_2MI);
        int64_t spare = big ? minus(r->v->host->capacity.huge_1gi, r->v->promised.huge_1gi)
                            : minus(r->v->host->capacity.huge_2mi, r->v->promised.huge_2mi);

        if (r->d->huge == HUGE_NONE)
                return false;
        if (r->d->huge == HUGE_BAD)
                return refuse(r, "huge pages of the size that the VM asks for do not exist");
        return need > spare &&
               refuse(r, "%lld huge pages of %s are asked for, %lld are free", (long long)need,
                      big ? "1Gi" : "2Mi", (long long)at_least_0(spare));
}

/* That it is not proven is for preflight to find: evidence may only be late. */
static bool pool_apart(const struct rule_args *r)
{
        const struct host *from = r->v->guest_at;

        for (size_t i = 0; from && i < r->d->pools.n; i++) {
                const struct host_mount *here = host_mount_of(r->v->host, r->d->pools.v[i]);
                const struct host_mount *there = host_mount_of(from, r->d->pools.v[i]);

                if (there && r->d->copies && here->local && there->local)
                        continue;
                if (there && sharing_refuted(here, r->v->node, there, from->meta.name))
                        return refuse(r, "storage pool %s is not the one of %s, where the guest is",
                                      here->pool, from->meta.name);
        }
        return false;
}

/* The numbers are those of enum capacity_rule, as texts. */
#define RULE(number, name, refuses)                                                                \
        {                                                                                          \
                name, " [rule " number " " name "]", refuses                                       \
        }
static const struct {
        const char *name, *sign;
        bool (*refuses)(const struct rule_args *r);
} rules[CAPACITY_RULES] = {
        [CAPACITY_FITS] = {"fits", "", NULL},
        [CAPACITY_NO_HOST] = RULE("1", "no-host", no_host),
        [CAPACITY_SILENT] = RULE("2", "silent", is_silent),
        [CAPACITY_NOT_READY] = RULE("3", "not-ready", not_ready),
        [CAPACITY_CPU_MODEL] = RULE("4", "cpu-model", lacks_cpu_model),
        [CAPACITY_BRIDGE] = RULE("5", "bridge", lacks_bridge),
        [CAPACITY_NO_POOL] = RULE("6", "no-pool", lacks_pool),
        [CAPACITY_POOL_HEALTH] = RULE("7", "pool-health", pool_ails),
        [CAPACITY_SLOTS] = RULE("8", "slots", slots_taken),
        [CAPACITY_CPUS] = RULE("9", "cpus", short_of_cpus),
        [CAPACITY_MEMORY] = RULE("10", "memory", short_of_memory),
        [CAPACITY_HUGE_PAGES] = RULE("11", "huge-pages", short_of_huge_pages),
        [CAPACITY_POOL_APART] = RULE("12", "pool-apart", pool_apart),
};

const char *capacity_rule_name(enum capacity_rule r)
{
        return (unsigned)r < CAPACITY_RULES ? rules[r].name : "unknown";
}

enum capacity_rule capacity_check(const struct capacity_view *v, const struct capacity_demand *d,
                                  int64_t silent_limit_ms, char *message)
{
        struct line line = {message, 0, CAPACITY_MESSAGE_MAX - SIGN_TEXT};
        struct rule_args r = {v, d, silent_limit_ms, message ? &line : NULL};
        int end = v->holds ? CAPACITY_CPU_MODEL : CAPACITY_RULES;

        for (int i = CAPACITY_FITS + 1; i < end; i++) {
                if (!rules[i].refuses(&r))
                        continue;
                line.size += SIGN_TEXT;
                if (message)
                        add_text(&line, rules[i].sign);
                return (enum capacity_rule)i;
        }
        return CAPACITY_FITS;
}

/* The least free space among the pools; 0 when none is asked for or one is missing. */
static int64_t free_bytes(const struct host *h, const struct capacity_demand *d)
{
        int64_t least = INT64_MAX;

        for (size_t i = 0; i < d->pools.n; i++) {
                const struct host_mount *m = host_mount_of(h, d->pools.v[i]);

                if (!m || m->free_bytes <= 0)
                        return 0;
                if (m->free_bytes < least)
                        least = m->free_bytes;
        }
        return d->pools.n ? least : 0;
}

/* part of whole in thousandths, within 0 and 1000; nothing of nothing is nothing. */
static int64_t share(int64_t part, int64_t whole)
{
        if (whole <= 0 || part <= 0)
                return 0;
        return part >= whole ? PERMILLE : times(part, PERMILLE) / clamp(whole);
}

static int64_t room(const struct capacity_view *v, const struct capacity_demand *d)
{
        int64_t cores = v->holds ? 0 : d->cores, memory = v->holds ? 0 : ordinary(d);
        int64_t cpu = share(minus(cpus_free(v), cores), cpus_total(v->host));
        int64_t mem = share(minus(memory_free(v), memory), memory_total(v->host));

        return cpu < mem ? cpu : mem;
}

struct capacity_grade capacity_grade(const struct capacity_view *v, const struct capacity_demand *d,
                                     enum capacity_policy policy, int64_t migration_slots)
{
        struct capacity_grade g = {0, 0};
        int64_t spare, idle;

        if (!v->host)
                return g;
        spare = room(v, d);
        idle = minus(migration_slots, plus(v->host->inbound, v->host->outbound));
        g.points = ROOM_POINTS * (policy == CAPACITY_PACK ? PERMILLE - spare : spare);
        g.points += SLOT_POINTS * share(idle, migration_slots);
        g.free_bytes = free_bytes(v->host, d);
        return g;
}

int capacity_score(const struct capacity_grade *g, int64_t most_free_bytes)
{
        int64_t points = g->points + SPACE_POINTS * share(g->free_bytes, most_free_bytes);

        return (int)((points + PERMILLE / 2) / PERMILLE);
}
