#include "core/preflight.h"

#include "core/claim.h"
#include "core/placement.h"
#include "core/room.h"
#include "core/sharing.h"
#include "core/storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
        const struct vm *vm;
        const struct rec_node *source, *target;
        char *message;
};

#define refuse(c, ...) (snprintf((c)->message, PREFLIGHT_MESSAGE_MAX, __VA_ARGS__), false)

static bool source_speaks(struct check *c)
{
        if (c->source->alive && c->source->host)
                return true;
        return refuse(c, "%s: its agent is silent, so nobody can copy the guest", c->source->name);
}

static bool target_speaks(struct check *c)
{
        if (c->target->alive && c->target->host)
                return true;
        return refuse(c, "%s: its agent is silent", c->target->name);
}

static bool target_ready(struct check *c)
{
        const struct condition *ready = condition_get(&c->target->host->conditions, "Ready");

        if (ready && !strcmp(ready->status, "True"))
                return true;
        return refuse(c, "%s: hypervisor not ready: %s", c->target->name,
                      ready ? ready->message : "its agent has not said so yet");
}

static bool address(struct check *c)
{
        if (*c->target->host->libvirt_uri && *c->target->host->migration_address)
                return true;
        return refuse(c, "%s: its agent has published no address for migrations", c->target->name);
}

static bool cpu_model(struct check *c)
{
        const char *model = c->vm->status.running.cpu_model;

        if (!*model || host_has_cpu_model(c->target->host, model))
                return true;
        return refuse(c, "%s: cannot run CPU model %s", c->target->name, model);
}

static bool bridges(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.nnetworks; i++) {
                const struct vm_network *n = &c->vm->spec.networks[i];

                if (!strs_has(&c->target->host->bridges, n->bridge))
                        return refuse(c, "%s: has no bridge %s for network %s", c->target->name,
                                      n->bridge, n->name);
        }
        return true;
}

/* The first pool of the VM for which `bad` holds; NULL when none. */
static const char *find_pool(struct check *c, bool (*bad)(const struct host_mount *source,
                                                          const struct host_mount *target))
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind != DISK_PVC && bad(host_mount_of(c->source->host, d->pool),
                                               host_mount_of(c->target->host, d->pool)))
                        return d->pool;
        }
        return NULL;
}

static bool missing(const struct host_mount *source, const struct host_mount *target)
{
        return !source || !target;
}
/* A guest may leave failing storage: that both see the same disks its agent proves all the same. */
static bool unhealthy(const struct host_mount *source, const struct host_mount *target)
{
        return source->health == MOUNT_UNKNOWN || target->health != MOUNT_HEALTHY;
}

static bool pool_there(struct check *c)
{
        const char *pool = find_pool(c, missing);

        return !pool || refuse(c, "storage pool %s is not on both of %s and %s", pool,
                               c->source->name, c->target->name);
}

static bool pool_healthy(struct check *c)
{
        const char *pool = find_pool(c, unhealthy);
        const struct host_mount *m;
        const struct rec_node *where;

        if (!pool)
                return true;
        where = host_mount_of(c->target->host, pool)->health != MOUNT_HEALTHY ? c->target
                                                                              : c->source;
        m = host_mount_of(where->host, pool);
        return refuse(c, "%s: storage pool %s at %s is %s: %s", where->name, pool, m->path,
                      m->health == MOUNT_UNHEALTHY ? "unhealthy" : "not known to be healthy",
                      *m->reason ? m->reason : "no probe has answered yet");
}

/* Whether of any pool of the VM that is what its two hosts say of it, with the message why. */
static bool any_pool_is(struct check *c, enum sharing what)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind != DISK_PVC && !host_mount_of(c->source->host, d->pool)->local &&
                    sharing_pair(c->source->host, c->target->host, d->pool, c->message) == what)
                        return true;
        }
        c->message[0] = '\0';
        return false;
}

static bool pool_shared(struct check *c)
{
        return !any_pool_is(c, SHARING_NOT_SHARED);
}

static bool pool_proven(struct check *c)
{
        return !any_pool_is(c, SHARING_UNKNOWN);
}

/* Whether the VM's claims are that, as the source's agent says of its guest; with the message. */
static bool claims_are(struct check *c, enum sharing what)
{
        const struct host_domain *d = host_domain_of(c->source->host, c->vm->meta.uid);

        if (claims_sharing(c->vm, d, c->message) == what)
                return true;
        c->message[0] = '\0';
        return false;
}

static bool claims_known(struct check *c)
{
        return !claims_are(c, SHARING_UNKNOWN);
}

/* Neither a claim that is one node's own nor a pool that is. */
static bool disks_leave(struct check *c)
{
        return !claims_are(c, SHARING_NOT_SHARED) &&
               !storage_keeps(c->vm, c->source->host, NULL, c->message);
}

static bool disks_fit(struct check *c)
{
        return storage_fits(c->vm, c->source->host, c->target->host, c->message);
}

static bool room(struct check *c)
{
        const struct capacity_demand d = capacity_shape_demand(&c->vm->status.running);

        return room_check(c->target, c->vm, &d, c->message) == CAPACITY_FITS;
}

static bool virt_type(struct check *c)
{
        if (!strcmp(c->source->host->virt_type, c->target->host->virt_type))
                return true;
        return refuse(c, "%s runs guests by %s, %s by %s", c->source->name,
                      c->source->host->virt_type, c->target->name, c->target->host->virt_type);
}

static bool qemu(struct check *c)
{
        const char *from = c->source->host->qemu_version, *to = c->target->host->qemu_version;

        if (version_cmp(to, from) >= 0)
                return true;
        return refuse(c, "%s: QEMU %s is older than %s on %s", c->target->name, to, from,
                      c->source->name);
}

static bool names(struct check *c)
{
        const struct rec_node *both[] = {c->source, c->target};

        for (size_t i = 0; i < countof(both); i++)
                if (both[i]->host->resolve_ms >= PREFLIGHT_RESOLVE_MS)
                        return refuse(c,
                                      "%s: looking up a node's name takes %lld ms, which would be "
                                      "part of the pause",
                                      both[i]->name, (long long)both[i]->host->resolve_ms);
        return true;
}

static bool fast_proven(struct check *c)
{
        if (c->vm->spec.migration.handover != HANDOVER_FAST)
                return true;
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_PVC)
                        return refuse(c,
                                      "handover Fast needs proven lock arbitration, which a claim "
                                      "has not (disk %s)",
                                      d->name);
                if (!sharing_locks(c->source->host, c->target->host, d->pool))
                        return refuse(c,
                                      "handover Fast needs proven lock arbitration on pool %s "
                                      "between %s and %s",
                                      d->pool, c->source->name, c->target->name);
        }
        return true;
}

/* The scheduler has seen to it, and the VM or the node may have changed since. */
static bool placement(struct check *c)
{
        if (!c->target->node)
                return refuse(c, "%s: there is no such Node", c->target->name);
        return placement_check(c->vm, c->target->node, true, c->message) == PLACE_OK;
}

/* What the source says that it runs as; where either is not told, libvirt finds out. */
static bool machine(struct check *c)
{
        const struct host_domain *d = host_domain_of(c->source->host, c->vm->meta.uid);
        const struct strs *known = &c->target->host->machine_types;

        if (!d || !*d->machine || !known->n || strs_has(known, d->machine))
                return true;
        return refuse(c, "%s: its QEMU knows no machine type %s", c->target->name, d->machine);
}

static bool port(struct check *c)
{
        const char *why = c->target->host->cannot_receive;

        return !*why || refuse(c, "%s: %s", c->target->name, why);
}

static const struct {
        enum preflight_rule rule;
        bool (*passes)(struct check *c);
        bool transient;
} rules[] = {
        {PREFLIGHT_SOURCE_SILENT, source_speaks, true},
        {PREFLIGHT_TARGET_SILENT, target_speaks, true},
        {PREFLIGHT_TARGET_NOT_READY, target_ready, true},
        {PREFLIGHT_NO_ADDRESS, address, true},
        {PREFLIGHT_CPU_MODEL, cpu_model, false},
        {PREFLIGHT_BRIDGE, bridges, false},
        {PREFLIGHT_POOL_MISSING, pool_there, false},
        {PREFLIGHT_POOL_UNHEALTHY, pool_healthy, true},
        {PREFLIGHT_POOL_NOT_SHARED, pool_shared, false},
        {PREFLIGHT_POOL_UNPROVEN, pool_proven,
         true}, /* before Fast, which goes by the same looks */
        {PREFLIGHT_LOCAL_DISK, disks_leave, false},
        {PREFLIGHT_CLAIM_UNKNOWN, claims_known, true},
        {PREFLIGHT_COPY, disks_fit, false},
        {PREFLIGHT_ROOM, room, false},
        {PREFLIGHT_VIRT_TYPE, virt_type, false},
        {PREFLIGHT_QEMU_OLDER, qemu, false},
        {PREFLIGHT_NAMES_SLOW, names, false},
        {PREFLIGHT_FAST_UNPROVEN, fast_proven, false},
        {PREFLIGHT_PLACEMENT, placement, false},
        {PREFLIGHT_MACHINE, machine, false},
        {PREFLIGHT_NO_PORT, port, true},
};
_Static_assert(PLACEMENT_MESSAGE_MAX == PREFLIGHT_MESSAGE_MAX, "one buffer for both");
_Static_assert(SHARING_MESSAGE_MAX == PREFLIGHT_MESSAGE_MAX, "and for it");
_Static_assert(STORAGE_MESSAGE_MAX == PREFLIGHT_MESSAGE_MAX, "and for this");
_Static_assert(CLAIM_MESSAGE_MAX == PREFLIGHT_MESSAGE_MAX, "and for that");
_Static_assert(CAPACITY_MESSAGE_MAX == PREFLIGHT_MESSAGE_MAX, "and for these");
_Static_assert(countof(rules) == PREFLIGHT_RULES - 1, "a row for each rule");

enum preflight_rule preflight(const struct vm *vm, const struct rec_node *source,
                              const struct rec_node *target, bool *transient,
                              char message[PREFLIGHT_MESSAGE_MAX])
{
        struct check c = {.vm = vm, .source = source, .target = target, .message = message};

        message[0] = 0;
        *transient = false;
        for (size_t i = 0; i < countof(rules); i++)
                if (!rules[i].passes(&c)) {
                        *transient = rules[i].transient;
                        return rules[i].rule;
                }
        return PREFLIGHT_OK;
}

/* As a target that is yet to be chosen: placement first, with the taints of the moment. */
static enum preflight_rule candidate(const struct vm *vm, const struct rec_node *source,
                                     const struct rec_node *n, char message[PREFLIGHT_MESSAGE_MAX])
{
        bool transient;

        if (n->node && placement_check(vm, n->node, false, message) != PLACE_OK)
                return PREFLIGHT_PLACEMENT;
        return preflight(vm, source, n, &transient, message);
}

bool preflight_suits(const struct vm *vm, const struct rec_node *source, const struct rec_node *n)
{
        char message[PREFLIGHT_MESSAGE_MAX];

        return strcmp(n->name, source->name) != 0 &&
               candidate(vm, source, n, message) == PREFLIGHT_OK;
}

/* In which order they are told: what fits, then what the placement would allow. */
static int rank(enum preflight_rule r)
{
        return r == PREFLIGHT_OK ? 0 : r == PREFLIGHT_PLACEMENT ? 2 : 1;
}

struct verdict *preflight_all(struct arena *a, const struct vm *vm, const struct rec_node *source,
                              const struct rec_node *nodes, size_t nnodes, size_t *n, size_t *more)
{
        struct verdict *v = arena_array(a, PREFLIGHT_VERDICTS_MAX, sizeof(*v));
        unsigned char *ranks = arena_array(a, nnodes, sizeof(*ranks));
        char message[PREFLIGHT_MESSAGE_MAX];
        size_t all = 0;

        *n = *more = 0;
        if (!v || !ranks)
                return NULL;
        for (size_t i = 0; i < nnodes; i++)
                ranks[i] = (unsigned char)rank(candidate(vm, source, &nodes[i], message));
        for (int pass = 0; pass < 3; pass++)
                for (size_t i = 0; i < nnodes; i++) {
                        enum preflight_rule rule;

                        if (ranks[i] != pass || !strcmp(nodes[i].name, source->name))
                                continue;
                        if (++all > PREFLIGHT_VERDICTS_MAX)
                                continue;
                        rule = candidate(vm, source, &nodes[i], message);
                        v[*n] = (struct verdict){nodes[i].name, rule, arena_strdup(a, message)};
                        if (!v[(*n)++].message)
                                return NULL;
                }
        *more = all - *n;
        return v;
}
