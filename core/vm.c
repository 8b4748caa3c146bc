#include "core/vm.h"

#include "base/cleanup.h"
#include "base/fnv.h"
#include "core/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DOMAIN_NAME_MAX 64
#define DIGEST_LEN      17 /* "-" and 16 hex digits */

static const char *const RUN[] = {"Always", "RerunOnFailure", "Halted"};
static const char *const HANDOVER[] = {"Proven", "Fast"};
static const char *const ON_TIMEOUT[] = {"Abort", "Pause"};
static const char *const STORAGE[] = {"Shared", "Copy"};
static const char *const EVICTION[] = {"LiveMigrate", "None"};
static const char *const PHASES[] = {"Pending",  "Starting", "Running", "Paused", "Migrating",
                                     "Stopping", "Halted",   "Failed",  "Unknown"};

_Static_assert(countof(RUN) == RUN_BAD, "a name each");
_Static_assert(countof(HANDOVER) == HANDOVER_BAD, "a name each");
_Static_assert(countof(ON_TIMEOUT) == TIMEOUT_BAD, "a name each");
_Static_assert(countof(STORAGE) == STORAGE_BAD, "a name each");
_Static_assert(countof(EVICTION) == EVICTION_BAD, "a name each");
_Static_assert(countof(PHASES) == VM_UNKNOWN + 1, "a name each");

enum run_strategy run_strategy_parse(const char *s)
{
        return *s ? name_index(RUN, countof(RUN), s, RUN_BAD) : RUN_ALWAYS;
}

const char *run_strategy_name(enum run_strategy r)
{
        return name_at(RUN, countof(RUN), r);
}

enum handover handover_parse(const char *s)
{
        return *s ? name_index(HANDOVER, countof(HANDOVER), s, HANDOVER_BAD) : HANDOVER_PROVEN;
}

const char *handover_name(enum handover h)
{
        return name_at(HANDOVER, countof(HANDOVER), h);
}

enum on_timeout on_timeout_parse(const char *s)
{
        return *s ? name_index(ON_TIMEOUT, countof(ON_TIMEOUT), s, TIMEOUT_BAD) : TIMEOUT_ABORT;
}

const char *on_timeout_name(enum on_timeout t)
{
        return name_at(ON_TIMEOUT, countof(ON_TIMEOUT), t);
}

enum storage_move storage_move_parse(const char *s)
{
        return *s ? name_index(STORAGE, countof(STORAGE), s, STORAGE_BAD) : STORAGE_SHARED;
}

const char *storage_move_name(enum storage_move m)
{
        return name_at(STORAGE, countof(STORAGE), m);
}

enum eviction eviction_parse(const char *s)
{
        return *s ? name_index(EVICTION, countof(EVICTION), s, EVICTION_BAD)
                  : EVICTION_LIVE_MIGRATE;
}

const char *eviction_name(enum eviction v)
{
        return name_at(EVICTION, countof(EVICTION), v);
}

const char *vm_phase_name(enum vm_phase p)
{
        return name_at(PHASES, countof(PHASES), p);
}

enum vm_phase vm_phase_parse(const char *s)
{
        return *s ? name_index(PHASES, countof(PHASES), s, VM_UNKNOWN) : VM_PENDING;
}

bool vm_same_shape(const struct vm_shape *x, const struct vm_shape *y)
{
        return x->cores == y->cores && x->memory == y->memory &&
               !strcmp(x->cpu_model, y->cpu_model) && !strcmp(x->huge_pages, y->huge_pages);
}

const struct vm_grant *vm_granted(const struct vm *vm)
{
        const struct vm_grant *g = &vm->status.granted;

        return g->epoch && g->epoch == vm->status.owner.epoch ? g : NULL;
}

const struct vm_shape *vm_start_shape(const struct vm *vm)
{
        const struct vm_grant *g = vm_granted(vm);

        if (g)
                return &g->shape;
        return vm->status.has_running ? &vm->status.running : &vm->spec.shape;
}

const char *vm_start_restarted_at(const struct vm *vm)
{
        const struct vm_grant *g = vm_granted(vm);

        if (g)
                return g->restarted_at;
        return vm->status.has_running ? vm->status.restarted_at : vm->spec.restarted_at;
}

void vm_restore_token(const struct vm_restore *r, char out[VM_RESTORE_TOKEN])
{
        uint64_t h = fnv64(fnv64(fnv64(FNV64_START, r->snapshot), "/"), r->requested_at);

        *out = '\0';
        if (*r->snapshot) /* a name has no slash: no two wishes are spelt alike */
                snprintf(out, VM_RESTORE_TOKEN, "%016" PRIx64, h);
}

bool vm_restore_pending(const struct vm *vm)
{
        const struct vm_restore *wish = &vm->spec.restore, *done = &vm->status.restored;

        return *wish->snapshot && (strcmp(wish->snapshot, done->snapshot) != 0 ||
                                   strcmp(wish->requested_at, done->requested_at) != 0);
}

bool vm_retains(const struct vm *vm)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].retain && vm->spec.disks[i].kind != DISK_PVC)
                        return true;
        return false;
}

const struct vm_disk *vm_claimed_disk(const struct vm *vm)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind == DISK_PVC)
                        return &vm->spec.disks[i];
        return NULL;
}

size_t vm_claims(const struct vm *vm)
{
        size_t n = 0;

        for (size_t i = 0; i < vm->spec.ndisks; i++)
                n += vm->spec.disks[i].kind == DISK_PVC;
        return n;
}

const char *meta_key(struct arena *a, const struct meta *m)
{
        return arena_printf(a, "%s%s%s", m->ns, *m->ns ? "/" : "", m->name);
}

/* Spreads the bits that FNV leaves in its low end. */
static uint64_t mix(uint64_t h)
{
        h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdU;
        h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53U;
        return h ^ (h >> 33);
}

void vm_mac(const struct vm *vm, size_t i, char out[18])
{
        char index[24];

        if (*vm->spec.networks[i].mac) {
                snprintf(out, 18, "%.17s", vm->spec.networks[i].mac);
                return;
        }
        snprintf(index, sizeof(index), "/%zu", i);
        uint64_t h = mix(fnv64(fnv64(FNV64_START, vm->meta.uid), index));
        snprintf(out, 18, "52:54:00:%02x:%02x:%02x", (unsigned)(h >> 16 & 0xff),
                 (unsigned)(h >> 8 & 0xff), (unsigned)(h & 0xff));
}

void vm_domain_name(const struct meta *m, char out[65])
{
        int n = snprintf(out, DOMAIN_NAME_MAX + 1, "%s_%s", m->ns, m->name);

        if (n <= DOMAIN_NAME_MAX)
                return;
        uint64_t h = mix(fnv64(fnv64(fnv64(FNV64_START, m->ns), "_"), m->name));
        snprintf(out + DOMAIN_NAME_MAX - DIGEST_LEN, DIGEST_LEN + 1, "-%016" PRIx64, h);
}
