#include "core/capacity.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MIB          ((int64_t)1 << 20)
#define PAGE_2MI     (2 * MIB)
#define PAGE_1GI     (1024 * MIB)
#define AMOUNT_MAX   ((int64_t)1 << 60) /* sums of what hosts say of themselves stop here */
#define AMOUNT_TEXT  32
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

/*
 * "512 MiB", "7.51 GiB". What is needed is rounded up and what is free down, so that the one never
 * reads as the other.
 */
static const char *amount(int64_t bytes, bool up, char out[AMOUNT_TEXT])
{
        int64_t mib = (at_least_0(bytes) + (up ? MIB - 1 : 0)) / MIB;
        int64_t hundredths = (mib % 1024 * 100 + (up ? 1023 : 0)) / 1024 + mib / 1024 * 100;

        if (mib < 1024)
                snprintf(out, AMOUNT_TEXT, "%lld MiB", (long long)mib);
        else if (hundredths % 100 == 0)
                snprintf(out, AMOUNT_TEXT, "%lld GiB", (long long)(hundredths / 100));
        else
                snprintf(out, AMOUNT_TEXT, "%lld.%02lld GiB", (long long)(hundredths / 100),
                         (long long)(hundredths % 100));
        return out;
}

struct rule_args {
        const struct capacity_view *v;
        const struct capacity_demand *d;
        int64_t silent_limit_ms;
        char *message;
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct rule_args *r, const char *fmt,
                                                         ...)
{
        va_list ap;
        int n = snprintf(r->message, CAPACITY_MESSAGE_MAX, "%s: ", r->v->node);

        if (n < 0 || n >= CAPACITY_MESSAGE_MAX)
                return true;
        va_start(ap, fmt);
        vsnprintf(r->message + n, CAPACITY_MESSAGE_MAX - (size_t)n, fmt, ap);
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

        return *model && !host_has_cpu_model(r->v->host, model) &&
               refuse(r, "its hypervisor cannot run CPU model %s", model);
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

static const struct {
        const char *name;
        bool unresolvable;
        bool (*refuses)(const struct rule_args *r);
} rules[CAPACITY_RULES] = {
        [CAPACITY_FITS] = {"fits", false, NULL},
        [CAPACITY_NO_HOST] = {"no-host", true, no_host},
        [CAPACITY_SILENT] = {"silent", true, is_silent},
        [CAPACITY_NOT_READY] = {"not-ready", true, not_ready},
        [CAPACITY_CPU_MODEL] = {"cpu-model", true, lacks_cpu_model},
        [CAPACITY_BRIDGE] = {"bridge", true, lacks_bridge},
        [CAPACITY_NO_POOL] = {"no-pool", true, lacks_pool},
        [CAPACITY_POOL_HEALTH] = {"pool-health", true, pool_ails},
        [CAPACITY_SLOTS] = {"slots", false, slots_taken},
        [CAPACITY_CPUS] = {"cpus", false, short_of_cpus},
        [CAPACITY_MEMORY] = {"memory", false, short_of_memory},
        [CAPACITY_HUGE_PAGES] = {"huge-pages", false, short_of_huge_pages},
};

const char *capacity_rule_name(enum capacity_rule r)
{
        return (unsigned)r < CAPACITY_RULES ? rules[r].name : "unknown";
}

bool capacity_unresolvable(enum capacity_rule r)
{
        return (unsigned)r < CAPACITY_RULES && rules[r].unresolvable;
}

enum capacity_rule capacity_check(const struct capacity_view *v, const struct capacity_demand *d,
                                  int64_t silent_limit_ms, char message[CAPACITY_MESSAGE_MAX])
{
        struct rule_args r = {v, d, silent_limit_ms, NULL};
        int end = v->holds ? CAPACITY_CPU_MODEL : CAPACITY_RULES;

        r.message = message;
        for (int i = CAPACITY_FITS + 1; i < end; i++)
                if (rules[i].refuses(&r))
                        return (enum capacity_rule)i;
        return CAPACITY_FITS;
}

int64_t capacity_free_bytes(const struct host *h, const struct capacity_demand *d)
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

int capacity_score(const struct capacity_view *v, const struct capacity_demand *d,
                   enum capacity_policy policy, int64_t migration_slots, int64_t most_free_bytes)
{
        int64_t points, idle;

        if (!v->host)
                return 0;
        idle = minus(migration_slots, plus(v->host->inbound, v->host->outbound));
        points = room(v, d);
        points = ROOM_POINTS * (policy == CAPACITY_PACK ? PERMILLE - points : points);
        points += SLOT_POINTS * share(idle, migration_slots);
        points += SPACE_POINTS * share(capacity_free_bytes(v->host, d), most_free_bytes);
        return (int)((points + PERMILLE / 2) / PERMILLE);
}
