#include "core/admission_rules.h"

#include <ctype.h>
#include <string.h>

#define CORES_MAX     512
#define BRIDGE_MAX    15 /* a network interface's name in Linux */
#define DOWNTIME_MAX  60000
#define BANDWIDTH_MAX 1048576
#define TIMEOUT_MAX   86400
#define GRACE_MAX     3600

/* The kube-system and drover-system namespaces, whose pods no webhook of ours sees. */
static bool exempt(const char *ns)
{
        return !strcmp(ns, "kube-system") || !strcmp(ns, DROVER_NAMESPACE);
}

/* Its pods would get no affinity, for the webhook must not stand in the way of the cluster's own.
 */
static void namespaces(struct admit *c)
{
        if (exempt(c->vm->meta.ns))
                admit_tell(c, "metadata.namespace", "there can be no virtual machines in %s",
                           c->vm->meta.ns);
}

static void name(struct admit *c)
{
        if (strlen(c->vm->meta.name) > ADMISSION_NAME_MAX)
                admit_tell(c, "metadata.name",
                           "longer than %d characters, which the names of its pods need",
                           ADMISSION_NAME_MAX);
}

#define AFFINITY "spec.affinity."

static void counts(struct admit *c)
{
        const struct placement *p = &c->vm->spec.placement;
        const struct wishes *w = c->wishes;
        const struct {
                const char *path;
                size_t n, most;
        } lists[] = {
                {"spec.disks", c->vm->spec.ndisks, ADMISSION_DEVICES_MAX},
                {"spec.networks", c->vm->spec.nnetworks, ADMISSION_DEVICES_MAX},
                {"spec.sshKeys", c->vm->spec.ssh_keys.n, ADMISSION_LIST_MAX},
                {"spec.nodeSelector", p->node_selector.n, ADMISSION_LIST_MAX},
                {"spec.tolerations", p->tolerations.n, ADMISSION_LIST_MAX},
                {"spec.topologySpreadConstraints", w->nspread, ADMISSION_POD_TERMS_MAX},
                {TERMS, p->required.n, ADMISSION_TERMS_MAX},
                {AFFINITY "nodeAffinity." PREFERRED, w->npreferred, ADMISSION_TERMS_MAX},
                {AFFINITY "podAffinity." REQUIRED, w->near.nrequired, ADMISSION_POD_TERMS_MAX},
                {AFFINITY "podAffinity." PREFERRED, w->near.npreferred, ADMISSION_POD_TERMS_MAX},
                {AFFINITY "podAntiAffinity." REQUIRED, w->apart.nrequired, ADMISSION_POD_TERMS_MAX},
                {AFFINITY "podAntiAffinity." PREFERRED, w->apart.npreferred,
                 ADMISSION_POD_TERMS_MAX},
        };

        for (size_t i = 0; i < countof(lists); i++)
                admit_count(c, spot(NULL, lists[i].path), lists[i].n, lists[i].most);
}

static void run_strategy(struct admit *c)
{
        if (c->vm->spec.run == RUN_BAD)
                admit_tell(c, "spec.runStrategy",
                           "\"%s\" is none of Always, RerunOnFailure, Halted",
                           c->vm->spec.run_text);
}

/* A domain's metadata bears it, to tell by which of them it was started. */
static void restarted_at(struct admit *c)
{
        const char *text = c->vm->spec.restarted_at;

        if (strlen(text) > ADMISSION_RESTARTED_MAX)
                admit_tell(c, "spec.restartedAt", "longer than %d bytes", ADMISSION_RESTARTED_MAX);
        for (; *text; text++)
                if (iscntrl((unsigned char)*text)) {
                        admit_tell(c, "spec.restartedAt", "has a control character");
                        return;
                }
}

/* One that is refused may have been right before: it is asked for once. */
static bool restore_changed(const struct admit *c)
{
        const struct vm_restore *now = &c->vm->spec.restore;

        return !c->old || strcmp(c->old->spec.restore.snapshot, now->snapshot) != 0 ||
               strcmp(c->old->spec.restore.requested_at, now->requested_at) != 0;
}

static void restore(struct admit *c)
{
        const struct vm_restore *r = &c->vm->spec.restore;
        const char *why;

        if (!*r->snapshot && !*r->requested_at)
                return;
        if (!is_dns_subdomain(r->snapshot))
                admit_tell(c, "spec.restore.snapshot", "\"%s\" is no name of a snapshot",
                           r->snapshot);
        else if (!*r->requested_at)
                admit_tell(c, "spec.restore.requestedAt",
                           "must say something that no earlier wish said, such as the time");
        else if (strlen(r->requested_at) > ADMISSION_RESTARTED_MAX)
                admit_tell(c, "spec.restore.requestedAt", "longer than %d bytes",
                           ADMISSION_RESTARTED_MAX);
        else if (restore_changed(c) && (why = c->f->snapshot(c->f->ctx, c->vm, r->snapshot)))
                admit_tell(c, "spec.restore.snapshot", "%s", why);
}

/* --- the machine */

static void cores(struct admit *c)
{
        admit_between(c, spot(NULL, "spec.cpu.cores"), c->vm->spec.shape.cores, 1, CORES_MAX);
}

/* It becomes the key of a node's label. */
static void cpu_model(struct admit *c)
{
        const char *model = c->vm->spec.shape.cpu_model;

        if (*model && !is_label_name(model))
                admit_tell(c, "spec.cpu.model", "\"%s\" is no CPU model", model);
}

static void memory(struct admit *c)
{
        if (c->vm->spec.shape.memory < ADMISSION_MEMORY_MIN)
                admit_tell(c, "spec.memory.guest", "must be at least 16Mi");
}

static void huge_pages(struct admit *c)
{
        const char *kind = c->vm->spec.shape.huge_pages;
        int64_t size = !strcmp(kind, "2Mi") ? 2 << 20 : !strcmp(kind, "1Gi") ? 1 << 30 : 0;

        if (*kind && !size)
                admit_tell(c, "spec.memory.hugePages", "\"%s\" is neither 2Mi nor 1Gi", kind);
        else if (size && c->vm->spec.shape.memory % size)
                admit_tell(c, "spec.memory.guest", "is no multiple of the huge pages of %s", kind);
}

/* --- disks and networks */

static const char *disk_name(const struct vm *vm, size_t i)
{
        return vm->spec.disks[i].name;
}

static const char *network_name(const struct vm *vm, size_t i)
{
        return vm->spec.networks[i].name;
}

static void check_names(struct admit *c, const char *list, size_t n,
                        const char *(*of)(const struct vm *vm, size_t i))
{
        for (size_t i = 0; i < n; i++) {
                const struct spot *at = spot(spot_at(NULL, list, i), "name");
                const char *own = of(c->vm, i);
                size_t k = 0;

                if (!is_dns_label(own))
                        admit_tell_at(c, at,
                                      "\"%s\" is no name of lower-case letters, digits and -", own);
                while (k < i && strcmp(of(c->vm, k), own) != 0)
                        k++;
                if (k < i)
                        admit_tell_at(c, at, "Duplicate value: \"%s\" is the name of %s[%zu] too",
                                      own, list, k);
        }
}

static void disk_names(struct admit *c)
{
        check_names(c, "spec.disks", c->vm->spec.ndisks, disk_name);
}

static void network_names(struct admit *c)
{
        check_names(c, "spec.networks", c->vm->spec.nnetworks, network_name);
}

#define disk_at(i) spot_at(NULL, "spec.disks", (i))

static void disk_sources(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_BAD)
                        admit_tell_at(
                                c, disk_at(i),
                                "must have exactly one of image, blank, persistentVolumeClaim");
                else if (d->kind == DISK_IMAGE && !is_dns_subdomain(d->image))
                        admit_tell_at(c, spot(disk_at(i), "image.name"),
                                      "\"%s\" is no name of an image", d->image);
                else if (d->kind == DISK_PVC && !is_dns_subdomain(d->claim))
                        admit_tell_at(c, spot(disk_at(i), "persistentVolumeClaim.claimName"),
                                      "\"%s\" is no name of a claim", d->claim);
        }
}

/* Two disks would write to one file, or one device. */
static void claims_twice(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++)
                for (size_t k = 0; k < i; k++) {
                        const struct vm_disk *d = &c->vm->spec.disks[i], *o = &c->vm->spec.disks[k];

                        if (d->kind == DISK_PVC && o->kind == DISK_PVC &&
                            !strcmp(d->claim, o->claim))
                                admit_tell_at(c,
                                              spot(disk_at(i), "persistentVolumeClaim.claimName"),
                                              "claim \"%s\" is disk %s already", d->claim, o->name);
                }
}

static void disk_sizes(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_BLANK && d->size <= 0)
                        admit_tell_at(c, spot(disk_at(i), "blank.size"), "must be more than zero");
                if (d->kind == DISK_IMAGE && d->size < 0)
                        admit_tell_at(c, spot(disk_at(i), "image.size"), "must not be negative");
                if (d->kind == DISK_PVC && d->size < 0)
                        admit_tell_at(c, spot(disk_at(i), "persistentVolumeClaim.size"),
                                      "must not be negative");
        }
}

/* It becomes the key of a node's label. */
static void disk_pools(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++)
                if (!is_dns_label(c->vm->spec.disks[i].pool))
                        admit_tell_at(c, spot(disk_at(i), "pool"), "\"%s\" is no name of a pool",
                                      c->vm->spec.disks[i].pool);
}

/* An image may go once its disk is made, so only a new disk must find it. */
static void disk_images(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_IMAGE && is_dns_subdomain(d->image) &&
                    !admit_old_disk(c, d->name) && !c->f->image(c->f->ctx, d->image))
                        admit_tell_at(c, spot(disk_at(i), "image.name"),
                                      "there is no VirtualMachineImage \"%s\" in namespace %s",
                                      d->image, c->vm->meta.ns);
        }
}

static bool is_bridge(const char *s)
{
        size_t len = strlen(s);

        return is_label_name(s) && len <= BRIDGE_MAX;
}

#define network_at(i, member) spot(spot_at(NULL, "spec.networks", (i)), (member))

static void bridges(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.nnetworks; i++)
                if (!is_bridge(c->vm->spec.networks[i].bridge))
                        admit_tell_at(c, network_at(i, "bridge"),
                                      "\"%s\" is no name of a bridge (at most %d characters)",
                                      c->vm->spec.networks[i].bridge, BRIDGE_MAX);
}

static void network_models(struct admit *c)
{
        static const char *const models[] = {"virtio", "e1000", "e1000e", "rtl8139", NULL};

        for (size_t i = 0; i < c->vm->spec.nnetworks; i++)
                admit_one_of(c, network_at(i, "model"), c->vm->spec.networks[i].model, models);
}

static void macs(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.nnetworks; i++) {
                const char *mac = c->vm->spec.networks[i].mac;

                if (*mac && !is_mac(mac))
                        admit_tell_at(c, network_at(i, "mac"),
                                      "\"%s\" is no unicast MAC address like 52:54:00:12:34:56",
                                      mac);
        }
}

static void macs_twice(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.nnetworks; i++) {
                const char *mac = c->vm->spec.networks[i].mac;
                size_t k = 0;

                while (k < i && strcasecmp(mac, c->vm->spec.networks[k].mac) != 0)
                        k++;
                if (*mac && k < i)
                        admit_tell_at(c, network_at(i, "mac"),
                                      "Duplicate value: spec.networks[%zu] has %s too", k, mac);
        }
}

/* --- what the guest is told */

static void cloud_init(struct admit *c)
{
        if (strlen(c->vm->spec.user_data) > ADMISSION_CLOUD_INIT_MAX)
                admit_tell(c, "spec.cloudInit.userData", "longer than %d bytes",
                           ADMISSION_CLOUD_INIT_MAX);
        if (strlen(c->vm->spec.network_data) > ADMISSION_CLOUD_INIT_MAX)
                admit_tell(c, "spec.cloudInit.networkData", "longer than %d bytes",
                           ADMISSION_CLOUD_INIT_MAX);
}

static void ssh_keys(struct admit *c)
{
        size_t all = 0;

        for (size_t i = 0; i < c->vm->spec.ssh_keys.n; i++) {
                const char *key = c->vm->spec.ssh_keys.v[i];
                size_t len = strlen(key);

                all += len;
                if (len > ADMISSION_SSH_KEY_MAX)
                        admit_tell_at(c, spot_at(NULL, "spec.sshKeys", i), "longer than %d bytes",
                                      ADMISSION_SSH_KEY_MAX);
                else if (!is_ssh_public_key(key))
                        admit_tell_at(c, spot_at(NULL, "spec.sshKeys", i),
                                      "is no public key in one line like \"ssh-ed25519 AAAA... "
                                      "name\"");
        }
        if (all > ADMISSION_SSH_KEYS_MAX)
                admit_tell(c, "spec.sshKeys", "longer than %d bytes together",
                           ADMISSION_SSH_KEYS_MAX);
}

/* --- how it is moved */

#define migration_at(member) spot(spot(NULL, "spec.migration"), (member))

static void migration(struct admit *c)
{
        const struct vm_migration_policy *m = &c->vm->spec.migration;

        admit_between(c, migration_at("maxDowntimeMs"), m->max_downtime_ms, 1, DOWNTIME_MAX);
        admit_between(c, migration_at("bandwidthMiBps"), m->bandwidth_mibps, 0, BANDWIDTH_MAX);
        admit_between(c, migration_at("completionTimeoutSecondsPerGiB"),
                      m->completion_timeout_s_per_gib, 1, TIMEOUT_MAX);
        if (m->on_timeout == TIMEOUT_BAD)
                admit_tell_at(c, migration_at("onTimeout"), "\"%s\" is neither Abort nor Pause",
                              c->vm->spec.on_timeout_text);
        if (m->handover == HANDOVER_BAD)
                admit_tell_at(c, migration_at("handover"), "\"%s\" is neither Proven nor Fast",
                              c->vm->spec.handover_text);
        else if (m->post_copy && m->handover != HANDOVER_FAST)
                admit_tell_at(c, migration_at("postCopy"), "needs handover: Fast");
        if (m->storage == STORAGE_BAD)
                admit_tell_at(c, migration_at("storage"), "\"%s\" is neither Shared nor Copy",
                              c->vm->spec.storage_text);
        else if (m->storage == STORAGE_COPY && m->handover == HANDOVER_FAST)
                admit_tell_at(c, migration_at("storage"),
                              "Copy needs handover: Proven, for local disks have no locks that "
                              "keep two guests apart");
}

static void eviction(struct admit *c)
{
        if (c->vm->spec.eviction == EVICTION_BAD)
                admit_tell(c, "spec.evictionStrategy", "\"%s\" is neither LiveMigrate nor None",
                           c->vm->spec.eviction_text);
}

static void grace(struct admit *c)
{
        if (c->vm->spec.stop_grace_s != VM_GRACE_DEFAULT)
                admit_between(c, spot(NULL, "spec.terminationGracePeriodSeconds"),
                              c->vm->spec.stop_grace_s, 0, GRACE_MAX);
}

static const struct {
        enum admission_rule rule;
        void (*check)(struct admit *c);
} rules[] = {
        {ADMIT_NAMESPACE, namespaces},
        {ADMIT_NAME, name},
        {ADMIT_COUNT, counts},
        {ADMIT_RUN_STRATEGY, run_strategy},
        {ADMIT_RESTARTED_AT, restarted_at},
        {ADMIT_RESTORE, restore},
        {ADMIT_CORES, cores},
        {ADMIT_CPU_MODEL, cpu_model},
        {ADMIT_MEMORY, memory},
        {ADMIT_HUGE_PAGES, huge_pages},
        {ADMIT_DISK_NAME, disk_names},
        {ADMIT_DISK_SOURCE, disk_sources},
        {ADMIT_DISK_SIZE, disk_sizes},
        {ADMIT_DISK_POOL, disk_pools},
        {ADMIT_DISK_IMAGE, disk_images},
        {ADMIT_NETWORK_NAME, network_names},
        {ADMIT_BRIDGE, bridges},
        {ADMIT_NETWORK_MODEL, network_models},
        {ADMIT_MAC, macs},
        {ADMIT_MAC_TWICE, macs_twice},
        {ADMIT_CLOUD_INIT, cloud_init},
        {ADMIT_SSH_KEY, ssh_keys},
        {ADMIT_NODE_NAME, admit_node_name},
        {ADMIT_NODE_SELECTOR, admit_node_selector},
        {ADMIT_AFFINITY, admit_affinity},
        {ADMIT_PREFERRED, admit_preferred},
        {ADMIT_POD_AFFINITY, admit_pod_affinity},
        {ADMIT_SPREAD, admit_spread},
        {ADMIT_TOLERATION, admit_tolerations},
        {ADMIT_CONTRADICTION, admit_contradiction},
        {ADMIT_PRIORITY_CLASS, admit_priority_class},
        {ADMIT_MIGRATION, migration},
        {ADMIT_EVICTION, eviction},
        {ADMIT_GRACE, grace},
        {ADMIT_DISK_CHANGED, admit_disk_changes},
        {ADMIT_CLAIM_TWICE, claims_twice},
        {ADMIT_CLAIM_HELD, admit_claim_changes},
};
_Static_assert(countof(rules) == ADMISSION_RULES - 1, "a row for each rule");

void admission_check(struct arena *a, const struct admission_facts *f, struct admission_report *out)
{
        struct admit c = {
                .a = a, .f = f, .vm = f->vm, .old = f->old, .wishes = f->wishes, .out = out};

        *out = (struct admission_report){0};
        for (size_t i = 0; i < countof(rules); i++) {
                c.rule = rules[i].rule;
                rules[i].check(&c);
                if (c.rule == ADMIT_COUNT && out->n && out->v[out->n - 1].rule == ADMIT_COUNT)
                        return;
        }
        if (out->n) /* nobody is shown warnings of what is refused */
                return;
        admit_warn_of_waiting(&c);
        admit_warnings(&c);
        admit_count_warnings(&c);
}
