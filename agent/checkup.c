#include "agent/checkup.h"

#include "core/mountopts.h"
#include "core/mountplan.h"
#include "core/preflight.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S       86400
#define EXPIRY_DAYS 30
#define SLOW_US     1000000 /* for a small write with fsync */
#define FREE_MIN    ((int64_t)5 << 30)

/* --- pools */

static void judge_option(const struct checkup_mount *m, const struct mountopt *o, const char *node,
                         struct findings *f)
{
        const char *remount = "Mount it with hard,vers=4.2 and without nolock and local_lock (a "
                              "remount does not change them: umount, then mount).";
        const char *why;

        switch (mountopts_judge(o, &why)) {
        case MOUNTOPTS_SOFT:
                findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_FAULT, remount,
                             "%s is mounted soft: guests get I/O errors when the server is slow",
                             m->path);
                break;
        case MOUNTOPTS_LOCAL_LOCKS:
                findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_FAULT, remount,
                             "%s is mounted with %s: locks do not reach the other nodes", m->path,
                             o->key);
                break;
        case MOUNTOPTS_OLD_VERSION:
                findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_WARNING, remount,
                             "%s is mounted by NFS version %s, whose locks need rpc.statd on each "
                             "node and the server",
                             m->path, o->value);
                break;
        default:
                if (!strcmp(o->key, "vers") && strtod(o->value, NULL) < 4.15)
                        findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_WARNING, remount,
                                     "%s is mounted by NFS version %s", m->path, o->value);
        }
}

static void judge_nfs(const struct checkup_mount *m, const char *node, struct findings *f)
{
        size_t before = f->n;
        struct mountopt o;

        for (const char *p = m->options; *p;)
                if (!mountopts_next(&p, &o, NULL))
                        judge_option(m, &o, node, f);
        if (f->n == before)
                findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_OK, NULL,
                             "%s is mounted safely: %.300s", m->path, m->options);
}

static bool is_local(const char *fstype)
{
        static const char *const LOCAL[] = {"ext2", "ext3",  "ext4",    "xfs",   "btrfs",
                                            "zfs",  "tmpfs", "overlay", "ramfs", "vfat"};

        for (size_t i = 0; i < countof(LOCAL); i++)
                if (!strcmp(fstype, LOCAL[i]))
                        return true;
        return false;
}

void checkup_mount(const struct checkup_mount *m, const char *node, struct findings *f)
{
        struct mountopt o;

        if (!m->mounted || m->elsewhere) {
                findings_add(f, DOCTOR_POOL_MOUNT, node, m->pool, DOCTOR_FAULT,
                             m->mounted || m->elsewhere
                                     ? "Mount it on the node, then restart the agent's pod there; "
                                       "its volume needs mountPropagation: HostToContainer."
                                     : "Mount it on the node (docs/storage.md); the agent's pod "
                                       "sees it at once.",
                             m->mounted     ? "the agent's pod sees another mount at %s than "
                                              "libvirtd does"
                             : m->elsewhere ? "%s is mounted on the node, but the agent's pod does "
                                              "not see it"
                                            : "nothing is mounted at %s",
                             m->path);
                return;
        }
        if (m->wanted && mountplan_decide(m->wanted, m->source) == MOUNTPLAN_REFUSE)
                findings_add(f, DOCTOR_POOL_MOUNT, node, m->pool, DOCTOR_FAULT,
                             "Unmount it by hand once no guest uses it: the right one is then "
                             "mounted by itself. Or correct the ConfigMap drover-pools.",
                             "%s is mounted at %s, and not %s as the ConfigMap drover-pools has it",
                             m->source, m->path, m->wanted);
        else
                findings_add(f, DOCTOR_POOL_MOUNT, node, m->pool, DOCTOR_OK, NULL, "%s is %s of %s",
                             m->path, m->source, m->fstype);
        if (mountopts_get(m->options, "ro", &o))
                findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_FAULT,
                             "Mount it read-write, and export it with rw.", "%s is read-only",
                             m->path);
        else if (!strncmp(m->fstype, "nfs", 3))
                judge_nfs(m, node, f);
        else if (is_local(m->fstype))
                findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_WARNING,
                             "Mount storage that all nodes share, such as NFS.",
                             "%s is on %s, a file system of this node alone: guests on it cannot "
                             "be moved",
                             m->path, m->fstype);
        else
                findings_add(f, DOCTOR_POOL_OPTIONS, node, m->pool, DOCTOR_OK, NULL,
                             "%s: no option of %s is known to be unsafe", m->path, m->fstype);
}

void checkup_space(const char *pool, const struct checkup_space *s, const char *node,
                   struct findings *f)
{
        bool inodes = s->inodes_total > 0 && s->inodes_free < s->inodes_total / 50;
        bool full = s->free == 0 || (s->inodes_total > 0 && !s->inodes_free);
        bool low = full || inodes || (s->free < FREE_MIN && s->free < s->total / 20);

        findings_add(f, DOCTOR_POOL_SPACE, node, pool,
                     full  ? DOCTOR_FAULT
                     : low ? DOCTOR_WARNING
                           : DOCTOR_OK,
                     "Remove what is not needed in the pool, or let the storage grow.",
                     "%.1f of %.1f GiB are free%s", (double)s->free / (1 << 30),
                     (double)s->total / (1 << 30), inodes ? ", and hardly any inodes" : "");
}

void checkup_write(const char *pool, const char *error, int64_t us, const char *node,
                   struct findings *f)
{
        if (error)
                findings_add(f, DOCTOR_POOL_WRITE, node, pool, DOCTOR_FAULT,
                             "Is the server up, and does it export the directory to this node with "
                             "rw and no_root_squash? Ask it first.",
                             "a test file cannot be written and read: %s", error);
        else
                findings_add(f, DOCTOR_POOL_WRITE, node, pool,
                             us > SLOW_US ? DOCTOR_WARNING : DOCTOR_OK,
                             "Look at the load of the server and of the network between.",
                             "a test file was written, synced and read back in %.1f ms",
                             (double)us / 1e3);
}

/* --- the hypervisor */

void checkup_hypervisor(const struct host *h, bool kvm_device, bool nested, const char *node,
                        struct findings *f)
{
        bool kvm = !strcmp(h->virt_type, "kvm");
        bool loses = !kvm && version_cmp(h->qemu_version, "9.0") < 0;

        findings_add(f, DOCTOR_LIBVIRT, node, "",
                     version_cmp(h->libvirt_version, "9.0") < 0 ? DOCTOR_WARNING : DOCTOR_OK,
                     "Drover is tested with libvirt 9.0 and newer.", "libvirtd %s answers",
                     h->libvirt_version);
        if (kvm)
                findings_add(f, DOCTOR_KVM, node, "", DOCTOR_OK, NULL, "guests run under KVM%s",
                             nested ? ", and may be hypervisors themselves" : "");
        else
                findings_add(f, DOCTOR_KVM, node, "", DOCTOR_WARNING,
                             "Switch virtualisation on in the firmware and load kvm_intel or "
                             "kvm_amd; VIRT_TYPE of the agent must not be qemu.",
                             "guests are emulated, which is slow: %s",
                             kvm_device ? "/dev/kvm is there, but not used"
                                        : "there is no "
                                          "/dev/kvm");
        findings_add(f, DOCTOR_QEMU, node, "", loses ? DOCTOR_WARNING : DOCTOR_OK,
                     "Install QEMU 9.0 or newer, or use KVM.",
                     loses ? "QEMU %s, which before 9.0 can lose guest writes when an emulated "
                             "guest is moved"
                           : "QEMU %s",
                     h->qemu_version);
}

void checkup_pki(const struct checkup_cert *c, size_t n, int64_t now_s, const char *node,
                 struct findings *f)
{
        const char *mend = "Make the certificate anew and put it there (docs/install.md, libvirt "
                           "with TLS).";
        int64_t first = INT64_MAX;
        size_t before = f->n;

        for (size_t i = 0; i < n; i++) {
                const char *why = c[i].error;
                enum doctor_verdict v = DOCTOR_FAULT;

                if (!why && c[i].facts.until_s <= now_s)
                        why = "has expired";
                if (!why && c[i].facts.from_s > now_s)
                        why = "is not valid yet: is this node's clock right?";
                if (!why && c[i].names_node && !c[i].facts.names)
                        why = "does not name this node";
                if (!why && !c[i].ca && !c[i].facts.signed_by)
                        why = "is not signed by the CA that lies beside it";
                if (!why && c[i].facts.until_s - now_s < (int64_t)EXPIRY_DAYS * DAY_S) {
                        why = "expires in less than 30 days";
                        v = DOCTOR_WARNING;
                }
                if (why)
                        findings_add(f, DOCTOR_PKI, node, c[i].path, v, mend, "%s %s", c[i].path,
                                     why);
                else if (c[i].facts.until_s < first)
                        first = c[i].facts.until_s;
        }
        if (f->n == before && n)
                findings_add(f, DOCTOR_PKI, node, "", DOCTOR_OK, NULL,
                             "%zu certificates of libvirt and QEMU are good, for %" PRId64
                             " days at least",
                             n, (first - now_s) / DAY_S);
}

void checkup_dh_params(bool there, const char *path, const char *node, struct findings *f)
{
        if (!there)
                findings_add(f, DOCTOR_PKI, node, path, DOCTOR_WARNING,
                             "Put it there (docs/install.md, libvirt with TLS).",
                             "%s is missing: QEMU makes such parameters anew for every guest that "
                             "arrives, which delays each move by some tenths of a second or more",
                             path);
}

void checkup_bridges(const struct strs *have, const struct strs *needed, const char *node,
                     struct findings *f)
{
        size_t missing = 0;

        for (size_t i = 0; i < needed->n; i++) {
                if (strs_has(have, needed->v[i]))
                        continue;
                missing++;
                findings_add(f, DOCTOR_BRIDGES, node, needed->v[i], DOCTOR_WARNING,
                             "Make the bridge on this node (docs/install.md, The bridge), or let "
                             "no VM with it come here.",
                             "there is no bridge %s, which VMs ask for", needed->v[i]);
        }
        if (!needed->n)
                findings_add(f, DOCTOR_BRIDGES, node, "", DOCTOR_OK, NULL,
                             "no VM asks for a bridge");
        else if (!missing)
                findings_add(f, DOCTOR_BRIDGES, node, "", DOCTOR_OK, NULL,
                             "the bridges that VMs ask for are there: %zu", needed->n);
}

void checkup_name(const char *peer, int64_t ms, const char *address, const char *back,
                  const char *node, struct findings *f)
{
        const char *mend = "Put the names of all hypervisors into /etc/hosts of each, with files "
                           "before dns in /etc/nsswitch.conf.";

        if (!*address)
                findings_add(f, DOCTOR_NAMES, node, peer, DOCTOR_FAULT, mend,
                             "the name %s does not resolve", peer);
        else if (ms >= PREFLIGHT_RESOLVE_MS)
                findings_add(f, DOCTOR_NAMES, node, peer, DOCTOR_FAULT, mend,
                             "looking up %s takes %" PRId64 " ms, at most %d are good: libvirt "
                             "does it while a guest is paused",
                             peer, ms, PREFLIGHT_RESOLVE_MS);
        else if (!*back)
                findings_add(f, DOCTOR_NAMES, node, peer, DOCTOR_WARNING, mend,
                             "%s is %s, but that address has no name", peer, address);
        else
                findings_add(f, DOCTOR_NAMES, node, peer, DOCTOR_OK, NULL,
                             "%s is %s (%" PRId64 " ms), and back %s", peer, address, ms, back);
}
