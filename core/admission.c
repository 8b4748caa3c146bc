#include "core/admission.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORES_MAX 512
#define HOSTNAME  "kubernetes.io/hostname"
#define REQUIRED_PATH                                                                              \
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."               \
        "nodeSelectorTerms"

struct check {
        struct arena *a;
        const struct admission_facts *f;
        const struct vm *vm;
        struct admission_report *out;
        enum admission_rule rule;
};

static const char *text(struct check *c, const char *fmt, ...) printf_like(2, 3);

static const char *text(struct check *c, const char *fmt, ...)
{
        char buf[512];
        const char *copy;
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(buf, sizeof(buf), fmt, ap);
        va_end(ap);
        copy = arena_strdup(c->a, buf);
        if (!copy)
                c->out->rc = -ENOMEM;
        return copy ? copy : "";
}

static void tell(struct check *c, const char *path, const char *message)
{
        if (c->out->n < ADMISSION_PROBLEMS_MAX)
                c->out->v[c->out->n++] = (struct admission_problem){c->rule, path, message};
}

/* A DNS label, as names inside a VM are. */
static bool is_label(const char *s)
{
        size_t len = strlen(s);

        if (!len || len > 63 || s[0] == '-' || s[len - 1] == '-')
                return false;
        for (; *s; s++)
                if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '-')
                        return false;
        return true;
}

static void name(struct check *c)
{
        if (strlen(c->vm->meta.name) > ADMISSION_NAME_MAX)
                tell(c, "metadata.name",
                     text(c, "longer than %d characters, which the names of its pods need",
                          ADMISSION_NAME_MAX));
}

static void run_strategy(struct check *c)
{
        if (c->vm->spec.run == RUN_BAD)
                tell(c, "spec.runStrategy",
                     text(c, "\"%s\" is none of Always, RerunOnFailure, Halted",
                          c->vm->spec.run_text));
}

static void cores(struct check *c)
{
        if (c->vm->spec.shape.cores < 1 || c->vm->spec.shape.cores > CORES_MAX)
                tell(c, "spec.cpu.cores",
                     text(c, "%lld is not between 1 and %d", (long long)c->vm->spec.shape.cores,
                          CORES_MAX));
}

static void memory(struct check *c)
{
        if (c->vm->spec.shape.memory < ADMISSION_MEMORY_MIN)
                tell(c, "spec.memory.guest", "must be at least 16Mi");
}

static void huge_pages(struct check *c)
{
        const char *kind = c->vm->spec.shape.huge_pages;
        int64_t size = !strcmp(kind, "2Mi") ? 2 << 20 : !strcmp(kind, "1Gi") ? 1 << 30 : 0;

        if (*kind && !size)
                tell(c, "spec.memory.hugePages", text(c, "\"%s\" is neither 2Mi nor 1Gi", kind));
        else if (size && c->vm->spec.shape.memory % size)
                tell(c, "spec.memory.guest",
                     text(c, "is no multiple of the huge pages of %s", kind));
}

static void disk_names(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const char *own = c->vm->spec.disks[i].name;
                const char *path = text(c, "spec.disks[%zu].name", i);

                if (!is_label(own))
                        tell(c, path,
                             text(c, "\"%s\" is no name of lower-case letters, digits and -", own));
                for (size_t k = 0; k < i; k++)
                        if (!strcmp(c->vm->spec.disks[k].name, own))
                                tell(c, path,
                                     text(c, "Duplicate value: \"%s\" is the name of disk %zu too",
                                          own, k));
        }
}

static void disk_sources(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++)
                if (c->vm->spec.disks[i].kind == DISK_BAD)
                        tell(c, text(c, "spec.disks[%zu]", i),
                             "must have exactly one of image, blank, persistentVolumeClaim");
}

static void disk_sizes(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_BLANK && d->size <= 0)
                        tell(c, text(c, "spec.disks[%zu].blank.size", i), "must be more than zero");
                if (d->kind == DISK_IMAGE && d->size < 0)
                        tell(c, text(c, "spec.disks[%zu].image.size", i), "must not be negative");
        }
}

static const struct vm_disk *old_disk(const struct vm *old, const char *own)
{
        for (size_t i = 0; old && i < old->spec.ndisks; i++)
                if (!strcmp(old->spec.disks[i].name, own))
                        return &old->spec.disks[i];
        return NULL;
}

/* An image may go once its disk is made, so only a new disk must find it. */
static void disk_images(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_IMAGE && !old_disk(c->f->old, d->name) &&
                    !c->f->image(c->f->ctx, d->image))
                        tell(c, text(c, "spec.disks[%zu].image.name", i),
                             text(c, "there is no VirtualMachineImage \"%s\" in namespace %s",
                                  d->image, c->vm->meta.ns));
        }
}

static void disk_changes(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];
                const struct vm_disk *was = old_disk(c->f->old, d->name);

                if (was && (was->kind != d->kind || strcmp(was->image, d->image) != 0 ||
                            strcmp(was->claim, d->claim) != 0 || strcmp(was->pool, d->pool) != 0))
                        tell(c, text(c, "spec.disks[%zu]", i),
                             text(c,
                                  "the source of disk %s cannot change: its contents exist already",
                                  d->name));
        }
}

static void network_names(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.nnetworks; i++) {
                const char *own = c->vm->spec.networks[i].name;
                const char *path = text(c, "spec.networks[%zu].name", i);

                if (!is_label(own))
                        tell(c, path,
                             text(c, "\"%s\" is no name of lower-case letters, digits and -", own));
                for (size_t k = 0; k < i; k++)
                        if (!strcmp(c->vm->spec.networks[k].name, own))
                                tell(c, path,
                                     text(c,
                                          "Duplicate value: \"%s\" is the name of network %zu too",
                                          own, k));
        }
}

/* Six pairs of hexadecimal digits, not a group address. */
static bool is_mac(const char *s)
{
        for (int i = 0; i < 17; i++)
                if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char)s[i]))
                        return false;
        return !s[17] && !(strtoul((char[]){s[0], s[1], 0}, NULL, 16) & 1);
}

static void macs(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.nnetworks; i++) {
                const char *mac = c->vm->spec.networks[i].mac;

                if (*mac && !is_mac(mac))
                        tell(c, text(c, "spec.networks[%zu].mac", i),
                             text(c, "\"%s\" is no unicast MAC address like 52:54:00:12:34:56",
                                  mac));
        }
}

static void macs_twice(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.nnetworks; i++)
                for (size_t k = 0; k < i; k++)
                        if (*c->vm->spec.networks[i].mac &&
                            !strcasecmp(c->vm->spec.networks[i].mac, c->vm->spec.networks[k].mac))
                                tell(c, text(c, "spec.networks[%zu].mac", i),
                                     text(c, "Duplicate value: network %zu has it too", k));
}

/* --- required node affinity */

static bool whole_number(const char *s)
{
        char *end;

        if (!*s || isspace((unsigned char)*s))
                return false;
        errno = 0;
        strtoll(s, &end, 10);
        return !errno && !*end;
}

static void requirement(struct check *c, const char *path, const struct requirement *r, bool field)
{
        if (!*r->key)
                tell(c, text(c, "%s.key", path), "must not be empty");
        if (field && strcmp(r->key, "metadata.name") != 0)
                tell(c, text(c, "%s.key", path),
                     text(c, "\"%s\": of a node only metadata.name can be matched", r->key));
        switch (r->op) {
        case OP_IN:
        case OP_NOT_IN:
                if (!r->values.n || (field && r->values.n != 1))
                        tell(c, text(c, "%s.values", path),
                             text(c, "operator %s needs %s", r->op_text,
                                  field ? "exactly one value" : "values"));
                break;
        case OP_EXISTS:
        case OP_DOES_NOT_EXIST:
                if (r->values.n)
                        tell(c, text(c, "%s.values", path),
                             text(c, "operator %s takes no values", r->op_text));
                break;
        case OP_GT:
        case OP_LT:
                if (r->values.n != 1 || !whole_number(r->values.v[0]))
                        tell(c, text(c, "%s.values", path),
                             text(c, "operator %s needs one whole number, not \"%s\"", r->op_text,
                                  r->values.n ? r->values.v[0] : ""));
                break;
        default:
                tell(c, text(c, "%s.operator", path),
                     text(c, "\"%s\" is none of In, NotIn, Exists, DoesNotExist, Gt, Lt",
                          r->op_text));
        }
}

static void requirements(struct check *c, size_t term, const char *kind,
                         const struct requirements *all)
{
        for (size_t i = 0; i < all->n; i++)
                requirement(c, text(c, REQUIRED_PATH "[%zu].%s[%zu]", term, kind, i), &all->v[i],
                            !strcmp(kind, "matchFields"));
}

static void affinity(struct check *c)
{
        const struct placement *p = &c->vm->spec.placement;

        if (p->has_required && !p->required.n)
                tell(c, REQUIRED_PATH, "must have at least one term: without any no node matches");
        for (size_t i = 0; i < p->required.n; i++) {
                requirements(c, i, "matchExpressions", &p->required.v[i].exprs);
                requirements(c, i, "matchFields", &p->required.v[i].fields);
        }
}

/* What can be judged of a node of which only the name is known: its fields and its host-name label.
 */
static bool term_allows(const struct selector_term *t, const char *node)
{
        for (size_t i = 0; i < t->fields.n; i++)
                if (!requirement_matches(&t->fields.v[i], node))
                        return false;
        for (size_t i = 0; i < t->exprs.n; i++)
                if (!strcmp(t->exprs.v[i].key, HOSTNAME) &&
                    !requirement_matches(&t->exprs.v[i], node))
                        return false;
        return true;
}

static void node_name(struct check *c)
{
        const struct placement *p = &c->vm->spec.placement;
        const char *host = kvs_get(&p->node_selector, HOSTNAME);
        size_t i = 0;

        if (!*p->node_name)
                return;
        if (host && strcmp(host, p->node_name) != 0)
                tell(c, "spec.nodeSelector",
                     text(c, "%s: %s contradicts spec.nodeName: %s", HOSTNAME, host, p->node_name));
        while (i < p->required.n && !term_allows(&p->required.v[i], p->node_name))
                i++;
        if (p->required.n && i == p->required.n)
                tell(c, REQUIRED_PATH,
                     text(c, "every term contradicts spec.nodeName: %s", p->node_name));
}

static void migration(struct check *c)
{
        const struct vm_migration_policy *m = &c->vm->spec.migration;

        if (m->max_downtime_ms < 1 || m->max_downtime_ms > 2000000)
                tell(c, "spec.migration.maxDowntimeMs", "is not between 1 and 2000000");
        if (m->bandwidth_mibps < 0)
                tell(c, "spec.migration.bandwidthMiBps", "must not be negative");
        if (m->completion_timeout_s_per_gib < 1)
                tell(c, "spec.migration.completionTimeoutSecondsPerGiB", "must be at least 1");
        if (m->handover == HANDOVER_BAD)
                tell(c, "spec.migration.handover",
                     text(c, "\"%s\" is neither Proven nor Fast", c->vm->spec.handover_text));
}

static void eviction(struct check *c)
{
        if (c->vm->spec.eviction == EVICTION_BAD)
                tell(c, "spec.evictionStrategy",
                     text(c, "\"%s\" is neither LiveMigrate nor None", c->vm->spec.eviction_text));
}

static void ssh_keys(struct check *c)
{
        for (size_t i = 0; i < c->vm->spec.ssh_keys.n; i++) {
                const char *key = c->vm->spec.ssh_keys.v[i];

                if (!strchr(key, ' ') || strchr(key, '\n'))
                        tell(c, text(c, "spec.sshKeys[%zu]", i),
                             "is no public key in one line like \"ssh-ed25519 AAAA... name\"");
        }
}

static const struct {
        enum admission_rule rule;
        void (*check)(struct check *c);
} rules[] = {
        {ADMIT_NAME, name},
        {ADMIT_RUN_STRATEGY, run_strategy},
        {ADMIT_CORES, cores},
        {ADMIT_MEMORY, memory},
        {ADMIT_HUGE_PAGES, huge_pages},
        {ADMIT_DISK_NAME, disk_names},
        {ADMIT_DISK_SOURCE, disk_sources},
        {ADMIT_DISK_SIZE, disk_sizes},
        {ADMIT_DISK_IMAGE, disk_images},
        {ADMIT_NETWORK_NAME, network_names},
        {ADMIT_MAC, macs},
        {ADMIT_MAC_TWICE, macs_twice},
        {ADMIT_AFFINITY, affinity},
        {ADMIT_NODE_NAME, node_name},
        {ADMIT_MIGRATION, migration},
        {ADMIT_EVICTION, eviction},
        {ADMIT_SSH_KEY, ssh_keys},
        {ADMIT_DISK_CHANGED, disk_changes},
};
_Static_assert(countof(rules) == ADMISSION_RULES - 1, "a row for each rule");

void admission_check(struct arena *a, const struct admission_facts *f, struct admission_report *out)
{
        struct check c = {.a = a, .f = f, .vm = f->vm, .out = out};

        *out = (struct admission_report){0};
        for (size_t i = 0; i < countof(rules); i++) {
                c.rule = rules[i].rule;
                rules[i].check(&c);
        }
}
