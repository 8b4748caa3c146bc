#include "core/room.h"

#include "core/load.h"

#define SECOND_US 1000000

/* The host as it would be without the VM's own guest, which gives its place to the new one. */
static struct host without(const struct host *h, const struct host_domain *d, const struct vm *vm)
{
        struct host out = *h;
        struct vm_shape had = vm->status.running;
        struct capacity_load freed;

        had.memory = d->memory;
        freed = load_of_shape(&had);
        out.used.domains -= 1;
        out.used.cpus -= d->cores;
        out.used.memory -= d->memory;
        out.capacity.huge_2mi += freed.huge_2mi;
        out.capacity.huge_1gi += freed.huge_1gi;
        return out;
}

enum capacity_rule room_check(const struct rec_node *n, const struct vm *vm,
                              const struct capacity_demand *d, char message[CAPACITY_MESSAGE_MAX])
{
        const struct host_domain *own = n->host ? host_domain_of(n->host, vm->meta.uid) : NULL;
        struct capacity_view v = {
                .node = n->name,
                .host = n->host,
                .silent_ms = n->alive ? 0 : REC_SILENT_MS + 1,
                .promised = n->promised,
        };
        struct host rest;

        if (own && domain_takes_room(own->state)) {
                rest = without(n->host, own, vm);
                v.host = &rest;
        }
        return capacity_check(&v, d, REC_SILENT_MS, message);
}

bool room_is_short(enum capacity_rule r)
{
        return r == CAPACITY_SLOTS || r == CAPACITY_CPUS || r == CAPACITY_MEMORY ||
               r == CAPACITY_HUGE_PAGES;
}

void room_refused(struct refusals *r, int64_t now_us)
{
        r->count++;
        r->last_us = now_us;
}

int64_t room_wait_us(const struct refusals *r, int64_t now_us)
{
        int64_t s = ROOM_WAIT_MIN_S, since = now_us - r->last_us;

        if (r->count <= 0)
                return 0;
        for (int64_t i = 1; i < r->count && s < ROOM_WAIT_MAX_S; i++)
                s *= 2;
        if (s > ROOM_WAIT_MAX_S)
                s = ROOM_WAIT_MAX_S;
        return s * SECOND_US -
               (since > 0 ? since : 0); /* a clock set back makes nobody wait longer */
}
