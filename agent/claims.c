#include "agent/claims.h"

#include "agent/child.h"
#include "agent/publish.h"
#include "agent/tool.h"
#include "api/codec.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CSI        "kubernetes.io~csi"
#define HOST       "/host" /* where an agent in a pod has the node's /dev */
#define LOOK_MS    60000   /* between looks at claims, which nobody watches */
#define UNKNOWN_MS 5000    /* while one is not bound */

/* --- what the API server has */

static int read_claim(struct agent *a, const char *ns, const char *name, struct claim **out,
                      struct err *e)
{
        autojson struct json *j = NULL;
        int rc = kube_get(a->kube, &KUBE_CLAIMS, ns, name, &j, e);

        if (rc == -ENOENT)
                return err_set(e, -EAGAIN, "there is no PersistentVolumeClaim %s", name);
        return rc ? rc : claim_decode(j, out, e);
}

/* The pod, which must be that VM's on that node, and have its volumes. */
static int read_pod(struct agent *a, const char *ns, const char *name, const char *vm_uid,
                    const char *node, struct pod **out, struct err *e)
{
        autojson struct json *j = NULL;
        struct pod *p;
        int rc = kube_get(a->kube, &KUBE_PODS, ns, name, &j, e);

        if (rc == -ENOENT)
                return err_set(e, -EAGAIN, "pod %s is gone, for which they were mounted", name);
        if (rc || (rc = pod_decode(j, &p, e)))
                return rc;
        if (strcmp(p->vm_uid, vm_uid) != 0 || strcmp(p->node, node) != 0)
                rc = err_set(e, -EAGAIN, "pod %s is not the VM's on %s", name, node);
        else if (!pod_alive(p) || p->phase != POD_RUNNING)
                rc = err_set(e, -EAGAIN, "pod %s does not run, for which they are mounted: %s",
                             name, pod_alive(p) ? "its events may tell why" : "it is about to end");
        if (rc)
                pod_free(p);
        else
                *out = p;
        return rc;
}

int claims_target_pod(struct agent *a, const struct migration *m, char uid[CLAIM_UID_MAX],
                      struct err *e)
{
        struct pod *p;
        int rc = read_pod(a, m->meta.ns, m->status.pod, m->status.vm_uid, m->status.target, &p, e);

        if (rc)
                return err_wrap(e, "the VM's claims on %s", m->status.target);
        if (snprintf(uid, CLAIM_UID_MAX, "%s", p->meta.uid) >= CLAIM_UID_MAX)
                rc = err_set(e, -EINVAL, "pod %s has a uid that is none", p->meta.name);
        pod_free(p);
        return rc;
}

/* --- what the kubelet has */

static DIR *open_folder(int at, const char *name)
{
        int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        if (!d && fd >= 0)
                close(fd);
        return d;
}

/* By its list of names: to look at a mount itself might take for ever. */
static bool folder_has(DIR *in, const char *folder, const char *name)
{
        DIR *d = open_folder(dirfd(in), folder);
        bool found = false;
        struct dirent *entry;

        while (d && !found && (entry = readdir(d)))
                found = !strcmp(entry->d_name, name);
        if (d)
                closedir(d);
        return found;
}

int claims_plugin(const char *root, const char *pod, const char *volume, bool device,
                  char plugin[256], struct err *e)
{
        const char *kind = device ? "volumeDevices" : "volumes";
        char path[PATH_MAX];
        struct dirent *entry;
        bool found = false;

        if (!claimpath_part(pod) || !claimpath_part(volume))
                return err_set(e, -EINVAL, "\"%s\" is no name of a volume", volume);
        if (snprintf(path, sizeof(path), "%s/pods/%s/%s", root, pod, kind) >= PATH_MAX)
                return err_set(e, -ENAMETOOLONG, "%s: too long a path", root);
        DIR *d = open_folder(AT_FDCWD, path);
        while (d && !found && (entry = readdir(d))) {
                if (!claimpath_part(entry->d_name))
                        continue;
                found = folder_has(d, entry->d_name, volume);
                if (found)
                        snprintf(plugin, 256, "%s", entry->d_name);
        }
        if (d)
                closedir(d);
        return found ? 0 : err_set(e, -ENOENT, "no %s in %s", volume, path);
}

/* The link leads to a device, as the node sees it. In a pod, /dev is not the node's. */
static int check_device(const char *path, struct err *e)
{
        char to[PATH_MAX], host[PATH_MAX + sizeof(HOST)];
        struct stat s;
        ssize_t n = readlink(path, to, sizeof(to) - 1);

        if (n < 0)
                return err_sys(e, -errno, "cannot read the link %s", path);
        to[n] = '\0';
        snprintf(host, sizeof(host), "%s%s", !strncmp(to, "/dev/", 5) ? HOST : "", to);
        if ((stat(host, &s) && stat(to, &s)) || !S_ISBLK(s.st_mode))
                return err_set(e, -EAGAIN, "%s leads to %s, which is no block device", path, to);
        return 0;
}

static int check_folder(struct agent *a, const struct vm_disk *d, const struct claim *c,
                        const char *folder, struct err *e)
{
        char size[32], capacity[32];
        const char *const argv[] = {AGENT_SELF, "tool", "claim", folder, size, capacity, NULL};

        snprintf(size, sizeof(size), "%" PRId64, d->size);
        snprintf(capacity, sizeof(capacity), "%" PRId64, c->capacity);
        return child_run(argv, a->config.disk_deadline_s * 1000, NULL, e);
}

static int attach_bound(struct agent *a, const struct vm_disk *d, const struct claim *c,
                        const struct pod *pod, struct arena *ar, struct disk_source *out,
                        struct err *e)
{
        const char *root = a->config.kubelet_root, *uid = pod->meta.uid, *folder;
        char plugin[256];
        int rc = claims_plugin(root, uid, c->volume, c->block, plugin, e);

        if (rc == -ENOENT)
                return err_set(e, -EINVAL,
                               "volume %s is not mounted by the kubelet below %s/pods/%s: a "
                               "hostPath, or of a pod that was made before the disk; such ones "
                               "cannot be used",
                               c->volume, root, uid);
        if (rc)
                return rc;
        folder = arena_printf(ar, "%s/pods/%s/%s/%s/%s%s", root, uid,
                              c->block ? "volumeDevices" : "volumes", plugin, c->volume,
                              !c->block && !strcmp(plugin, CSI) ? "/mount" : "");
        *out = (struct disk_source){
                .path = c->block || !folder ? folder : arena_printf(ar, "%s/" CLAIM_FILE, folder),
                .raw = true,
                .block = c->block};
        if (!out->path)
                return err_set(e, -ENOMEM, "out of memory");
        return c->block ? check_device(folder, e) : check_folder(a, d, c, folder, e);
}

static int attach(struct agent *a, const struct vm *vm, const struct vm_disk *d,
                  const struct pod *pod, struct arena *ar, struct disk_source *out, struct err *e)
{
        struct claim *c;
        int rc = read_claim(a, vm->meta.ns, d->claim, &c, e);

        if (rc)
                return rc;
        rc = *c->volume ? attach_bound(a, d, c, pod, ar, out, e)
                        : err_set(e, -EAGAIN, "it is bound to no volume");
        claim_free(c);
        return rc ? err_wrap(e, "claim %s", d->claim) : 0;
}

int claims_attach(struct agent *a, const struct vm *vm, struct arena *ar, struct disk_source out[],
                  struct err *e)
{
        struct pod *pod;
        int rc;

        if (!vm_claimed_disk(vm))
                return 0;
        rc = read_pod(a, vm->meta.ns, vm->status.pod_name, vm->meta.uid, a->config.node, &pod, e);
        if (rc)
                return err_wrap(e, "the VM's claims");
        for (size_t i = 0; i < vm->spec.ndisks && !rc; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];

                if (d->kind == DISK_PVC && (rc = attach(a, vm, d, pod, ar, &out[i], e)))
                        err_wrap(e, "disk %s", d->name);
        }
        pod_free(pod);
        return rc;
}

/* --- what is told of them */

/* Of all claims of the VM what is worst. 0, or what the API server's failure is. */
static int look(struct agent *a, const struct vm *vm, enum sharing *out,
                char reason[CLAIM_MESSAGE_MAX], struct err *e)
{
        char why[CLAIM_MESSAGE_MAX];

        *out = SHARING_SHARED;
        reason[0] = '\0';
        for (size_t i = 0; i < vm->spec.ndisks && *out != SHARING_NOT_SHARED; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                enum sharing one = SHARING_UNKNOWN;
                struct claim *c;

                if (d->kind != DISK_PVC)
                        continue;
                int rc = read_claim(a, vm->meta.ns, d->claim, &c, e);
                if (rc && rc != -EAGAIN)
                        return err_wrap(e, "claim %s", d->claim);
                if (rc) {
                        snprintf(why, sizeof(why), "disk %.63s: %.180s", d->name, e->msg);
                } else {
                        one = claim_sharing(c, d->name, why);
                        claim_free(c);
                }
                if (one != SHARING_SHARED) {
                        *out = one;
                        memcpy(reason, why, sizeof(why));
                }
        }
        return 0;
}

static bool is_there(const char *link)
{
        struct stat s;

        return !lstat(link, &s) || errno != ENOENT;
}

/*
 * QEMU opens a disk by its name once more when it hands a guest over. That of a device is a link
 * which the kubelet takes away with the pod that it was made for, though the guest runs on.
 */
static int find_lost(struct agent *a, const struct vm *vm, enum sharing *sharing,
                     char reason[CLAIM_MESSAGE_MAX], struct err *e)
{
        autoconnect virConnectPtr c = virt_connect(a->virt, e);
        autodomain virDomainPtr dom = c ? virDomainLookupByUUIDString(c, vm->meta.uid) : NULL;
        autofree char *xml = dom ? virDomainGetXMLDesc(dom, 0) : NULL;
        char path[PATH_MAX];

        if (!xml)
                return c ? virt_error(e, "domain") : e->code;
        if (!claimpath_lost(a->config.kubelet_root, xml, is_there, path))
                return 0;
        *sharing = SHARING_NOT_SHARED;
        snprintf(reason, CLAIM_MESSAGE_MAX,
                 "the device %.60s was opened by a link of a former pod, which has gone with it: "
                 "restart the guest (spec.restartedAt) to have it movable again",
                 strrchr(path, '/') + 1);
        return 0;
}

int64_t claims_work(struct agent *a, const char *rest)
{
        autoref struct kube_ref *ref = kube_store_get(a->vms, rest);
        const struct vm *vm = ref ? kube_ref_object(ref) : NULL;
        char reason[CLAIM_MESSAGE_MAX];
        enum sharing sharing;
        struct table_entry x;
        struct err e = {0};

        if (!vm || !vm_claimed_disk(vm) || !table_get(a->table, vm->meta.uid, &x) || !x.known)
                return WORK_DONE;
        if (look(a, vm, &sharing, reason, &e)) {
                log_err(&e, "cannot look at the claims of a VM", "vm", rest, NULL);
                return WORK_RETRY;
        }
        if (sharing == SHARING_SHARED && find_lost(a, vm, &sharing, reason, &e))
                return UNKNOWN_MS; /* what is said of it stays said */
        if (table_claims(a->table, vm->meta.uid, sharing, reason))
                publish_soon(a->publisher);
        return sharing == SHARING_UNKNOWN ? UNKNOWN_MS : LOOK_MS;
}
