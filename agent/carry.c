#include "agent/carry.h"

#include "agent/domxml.h"
#include "agent/guestsnap.h"
#include "agent/xmldisk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CARRY_ARENA ((size_t)64 << 10)

/* The local pool that the file is in, and what follows its path; NULL for none. */
static const struct agent_pool *pool_of(const struct agent_config *c, const char *path,
                                        const char **rest)
{
        for (size_t i = 0; i < c->npools; i++) {
                size_t len = strlen(c->pools[i].path);

                *rest = path + len + 1;
                if (c->pools[i].local && !strncmp(path, c->pools[i].path, len) && path[len] == '/')
                        return &c->pools[i];
        }
        return NULL;
}

/* "disks/UID/NAME.qcow2" gives NAME, "seeds/UID/cidata.iso" nothing. */
static bool name_of(const char *rest, const char *uid, char name[254])
{
        char folder[64];
        int n = snprintf(folder, sizeof(folder), "disks/%.40s/", uid);
        size_t len = strlen(rest);

        name[0] = '\0';
        if (!strncmp(rest, folder, (size_t)n) && len > (size_t)n + 6 &&
            !strcmp(rest + len - 6, ".qcow2") && !strchr(rest + n, '/')) {
                snprintf(name, 254, "%.*s", (int)(len - (size_t)n - 6), rest + n);
                return true;
        }
        snprintf(folder, sizeof(folder), "seeds/%.40s/", uid);
        return !strncmp(rest, folder, strlen(folder)) &&
               !strcmp(rest + strlen(folder), "cidata.iso");
}

static int add(struct carried *out, const struct xml_disk *d, const struct agent_pool *pool,
               const char *name, struct err *e)
{
        struct transfer_disk *t = &out->v[out->n];

        if (out->n == CARRY_MAX)
                return err_set(e, -EINVAL, "more than %d disks lie in local pools", CARRY_MAX);
        *t = (struct transfer_disk){arena_strdup(out->arena, d->target),
                                    arena_strdup(out->arena, pool->name),
                                    arena_strdup(out->arena, name), 0};
        if (!t->target || !t->pool || !t->name)
                return err_set(e, -ENOMEM, "out of memory");
        out->n++;
        return 0;
}

static int take_disk(const struct agent_config *c, const char *uid, const struct xml_disk *d,
                     struct carried *out, struct err *e)
{
        const char *rest;
        const struct agent_pool *pool = pool_of(c, d->file, &rest);
        char name[254];

        if (!pool)
                return 0;
        if (!*d->target || !name_of(rest, uid, name))
                return err_set(e, -EINVAL, "%.200s in the local pool %s is no disk of the VM",
                               d->file, pool->name);
        if (d->backed)
                return err_set(e, -EINVAL,
                               "disk %s in the local pool %s is an overlay of an image, which is "
                               "not copied along",
                               name, pool->name);
        return add(out, d, pool, name, e);
}

int carry_parse(const struct agent_config *c, const char *uid, const char *xml, struct carried *out,
                struct err *e)
{
        struct carried found = {.arena = arena_new(CARRY_ARENA)};
        struct xml_disk d;
        int rc = 0;

        found.v = found.arena ? arena_array(found.arena, CARRY_MAX, sizeof(*found.v)) : NULL;
        if (!found.v)
                rc = err_set(e, -ENOMEM, "out of memory");
        while (!rc && xml_disk_next(&xml, &d))
                rc = take_disk(c, uid, &d, &found, e);
        if (rc)
                carry_free(&found);
        else
                *out = found;
        return rc;
}

static bool any_local(const struct agent_config *c)
{
        for (size_t i = 0; i < c->npools; i++)
                if (c->pools[i].local)
                        return true;
        return false;
}

static int read_sizes(virDomainPtr dom, struct carried *found, struct err *e)
{
        virDomainBlockInfo info;

        for (size_t i = 0; i < found->n; i++) {
                if (!*found->v[i].name)
                        continue;
                if (virDomainGetBlockInfo(dom, found->v[i].target, &info, 0) < 0)
                        return virt_error(e, "size of disk %s", found->v[i].name);
                found->v[i].size = (int64_t)info.capacity;
        }
        return 0;
}

static const struct transfer_disk *carried_as(const struct carried *c, const char *target)
{
        for (size_t i = 0; i < c->n; i++)
                if (*c->v[i].name && !strcmp(c->v[i].target, target))
                        return &c->v[i];
        return NULL;
}

int carry_check_snapshots(const char *xml, const struct json *blocks, const struct carried *found,
                          struct err *e)
{
        struct xml_disk d;
        size_t n = 0;

        while (xml_disk_next(&xml, &d)) {
                const struct transfer_disk *t = carried_as(found, d.target);
                int rc = t ? guest_disk_snapshots(blocks, &d, &n, e) : 0;

                if (t && !rc && n)
                        rc = err_set(e, -EINVAL,
                                     "disk %s in the local pool %s has snapshots, which are not "
                                     "copied along: it stays as long as it has them",
                                     t->name, t->pool);
                if (rc)
                        return rc;
        }
        return 0;
}

static int check_snapshots(virDomainPtr dom, const char *xml, const struct carried *found,
                           struct err *e)
{
        const struct transfer t = {.disks = found->v, .ndisks = found->n};
        autojson struct json *blocks = NULL;

        if (!carry_copies(&t))
                return 0;
        int rc = guest_blocks_read(dom, &blocks, e);
        return rc ? rc : carry_check_snapshots(xml, blocks, found, e);
}

int carry_find(struct agent *a, const struct vm *vm, struct carried *out, struct err *e)
{
        struct carried found = {0};

        *out = found;
        if (!any_local(&a->config))
                return 0;
        autoconnect virConnectPtr c = virt_connect(a->virt, e);
        if (!c)
                return e->code;
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(c, vm->meta.uid);
        autofree char *xml = dom ? virDomainGetXMLDesc(dom, 0) : NULL;
        if (!xml)
                return virt_error(e, "domain's XML");
        int rc = carry_parse(&a->config, vm->meta.uid, xml, &found, e);
        if (!rc && found.n && vm->spec.migration.storage != STORAGE_COPY)
                rc = err_set(e, -EINVAL,
                             "%s%s lies in pool %s, which is local to this node, and "
                             "spec.migration.storage is not Copy",
                             *found.v[0].name ? "disk " : "the cloud-init volume", found.v[0].name,
                             found.v[0].pool);
        if (!rc)
                rc = check_snapshots(dom, xml, &found, e);
        if (!rc)
                rc = read_sizes(dom, &found, e);
        if (rc)
                carry_free(&found);
        else
                *out = found;
        return rc;
}

void carry_free(struct carried *c)
{
        arena_free(c->arena);
        *c = (struct carried){0};
}

int64_t carry_bytes(const struct transfer *t)
{
        int64_t sum = 0;

        for (size_t i = 0; i < t->ndisks; i++)
                sum += t->disks[i].size > 0 ? t->disks[i].size : 0;
        return sum;
}

bool carry_copies(const struct transfer *t)
{
        for (size_t i = 0; i < t->ndisks; i++)
                if (*t->disks[i].name)
                        return true;
        return false;
}
