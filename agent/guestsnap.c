#include "agent/guestsnap.h"

#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)4 << 20)
#define ARENA_MAX  ((size_t)1 << 20)
#define QUIET_S    10 /* for a guest's agent to freeze or to thaw all file systems */
#define SUFFIX     ".qcow2"

/* --- which disks */

/* The alias stands in the path of the device: /machine/peripheral/ALIAS/virtio-backend. */
static bool is_device(const char *qdev, const char *alias)
{
        size_t n = strlen(alias);

        for (const char *p = n ? strstr(qdev, alias) : NULL; p; p = strstr(p + 1, alias))
                if ((p == qdev || p[-1] == '/') && (!p[n] || p[n] == '/'))
                        return true;
        return false;
}

static const struct json *inserted(const struct json *answer, const char *alias)
{
        for (const struct json *b = json_first(json_get(answer, "return")); b; b = json_next(b))
                if (is_device(json_str(b, "qdev", ""), alias))
                        return json_get(b, "inserted");
        return NULL;
}

static int add_disk(const struct xml_disk *x, struct guest_disks *out, struct err *e)
{
        const struct json *in = inserted(out->answer, x->alias);
        const struct json *image = json_get(in, "image");
        const char *base = strrchr(x->file, '/'), *node = json_str(in, "node-name", "");
        size_t len = base ? strlen(++base) : 0, end = strlen(SUFFIX);

        if (!in || !*node)
                return err_set(e, -EAGAIN, "QEMU does not speak of the disk %s", x->target);
        if (strcmp(json_str(in, "drv", ""), "qcow2") != 0 || len <= end ||
            strcmp(base + len - end, SUFFIX) != 0)
                return err_set(e, -EINVAL,
                               "the guest's disk %s is no qcow2 of a pool, and has no snapshots of "
                               "its own: take one with what holds it, such as a VolumeSnapshot",
                               x->target);
        if (out->n == DOMXML_DISKS)
                return err_set(e, -EINVAL, "more than %d disks", DOMXML_DISKS);
        struct guest_disk *d = &out->v[out->n++];
        d->name = arena_printf(out->arena, "%.*s", (int)(len - end), base);
        d->node = node;
        d->size = json_int(image, "virtual-size", 0);
        d->snapshots = json_get(image, "snapshots");
        return d->name ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int guest_disks_parse(const char *xml, struct json *answer, struct guest_disks *out, struct err *e)
{
        struct guest_disks d = {.arena = arena_new(ARENA_MAX), .answer = answer};
        struct xml_disk x;
        int rc = d.arena ? 0 : err_set(e, -ENOMEM, "out of memory");

        while (!rc && xml_disk_next(&xml, &x))
                if (x.is_disk && x.writable)
                        rc = add_disk(&x, &d, e);
        if (!rc && !d.n)
                rc = err_set(e, -EINVAL, "the guest has no disk that it can write to");
        if (rc)
                guest_disks_free(&d);
        else
                *out = d;
        return rc;
}

void guest_disks_free(struct guest_disks *d)
{
        json_free(d->answer);
        arena_free(d->arena);
        *d = (struct guest_disks){0};
}

/* --- QEMU */

static int lookup(virConnectPtr c, const char *uuid, virDomainPtr *out, struct err *e)
{
        *out = virDomainLookupByUUIDString(c, uuid);
        return *out ? 0 : virt_error(e, "domain %s", uuid);
}

/* Takes command over. */
static int ask(virDomainPtr dom, struct json *command, struct json **out, struct err *e)
{
        autojson struct json *mine = command;
        autobuf struct buf text = buf_new(ANSWER_MAX);
        autofree char *said = NULL;
        struct json *answer;

        if (!mine || json_print(mine, &text))
                return err_set(e, -ENOMEM, "out of memory");
        if (virDomainQemuMonitorCommand(dom, buf_str(&text), &said, 0) < 0)
                return virt_error(e, "QEMU cannot be asked");
        int rc = json_parse(said, strlen(said), ANSWER_MAX, &answer, e);
        if (rc)
                return rc;
        const struct json *error = json_get(answer, "error");
        if (error)
                rc = err_set(e, -EIO, "QEMU: %s", json_str(error, "desc", "an error"));
        if (rc || !out)
                json_free(answer);
        else
                *out = answer;
        return rc;
}

static struct json *command(const char *name, struct json **arguments)
{
        struct json *j = json_new_object();

        json_set_str(j, "execute", name);
        *arguments = json_object_at(j, "arguments");
        return j;
}

int guest_blocks_read(virDomainPtr dom, struct json **out, struct err *e)
{
        struct json *arguments;

        return ask(dom, command("query-block", &arguments), out, e);
}

int guest_disks_read(virConnectPtr c, const char *uuid, struct guest_disks *out, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        struct json *answer;
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc;
        autofree char *xml = virDomainGetXMLDesc(dom, 0);
        if (!xml)
                return virt_error(e, "the domain's XML");
        rc = guest_blocks_read(dom, &answer, e);
        return rc ? rc : guest_disks_parse(xml, answer, out, e);
}

int guest_disk_snapshots(const struct json *blocks, const struct xml_disk *d, size_t *out,
                         struct err *e)
{
        const struct json *in = inserted(blocks, d->alias);

        if (!in)
                return err_set(e, -EAGAIN, "QEMU does not speak of the disk %s", d->target);
        *out = json_count(json_get(json_get(in, "image"), "snapshots"));
        return 0;
}

int guest_snapshot_take(virConnectPtr c, const char *uuid, const struct guest_disks *d,
                        const char *tag, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        struct json *arguments, *whole = command("transaction", &arguments);
        struct json *actions = json_array_at(arguments, "actions"), *last = actions;
        int rc = lookup(c, uuid, &dom, e);

        for (size_t i = 0; i < d->n; i++) {
                struct json *action = json_add(actions, json_new_object());
                json_set_str(action, "type", "blockdev-snapshot-internal-sync");
                struct json *data = json_object_at(action, "data");
                json_set_str(data, "device", d->v[i].node);
                last = last ? json_set_str(data, "name", tag) : NULL;
        }
        if (rc || !last) {
                json_free(whole);
                return rc ? rc : err_set(e, -ENOMEM, "out of memory");
        }
        return ask(dom, whole, NULL, e);
}

static int drop_one(virDomainPtr dom, const char *node, const char *name, struct err *e)
{
        struct json *arguments;
        struct json *whole = command("blockdev-snapshot-delete-internal-sync", &arguments);

        json_set_str(arguments, "device", node);
        if (!json_set_str(arguments, "name", name)) {
                json_free(whole);
                return err_set(e, -ENOMEM, "out of memory");
        }
        return ask(dom, whole, NULL, e);
}

int guest_snapshot_drop(virConnectPtr c, const char *uuid, const struct guest_disks *d,
                        const char *prefix, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        for (size_t i = 0; i < d->n && !rc; i++)
                for (const struct json *s = json_first(d->v[i].snapshots); s && !rc;
                     s = json_next(s)) {
                        const char *name = json_str(s, "name", "");
                        if (!strncmp(name, prefix, strlen(prefix)))
                                rc = drop_one(dom, d->v[i].node, name, e);
                }
        return rc;
}

/* --- the guest's agent */

static int quiet(virConnectPtr c, const char *uuid, bool freeze, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc;
        (void)virDomainAgentSetResponseTimeout(dom, QUIET_S, 0);
        rc = freeze ? virDomainFSFreeze(dom, NULL, 0, 0) : virDomainFSThaw(dom, NULL, 0, 0);
        return rc < 0 ? virt_error(e, freeze ? "the guest's agent does not freeze its file systems"
                                             : "the guest's agent does not thaw its file systems")
                      : rc;
}

int guest_freeze(virConnectPtr c, const char *uuid, struct err *e)
{
        return quiet(c, uuid, true, e);
}

int guest_thaw(virConnectPtr c, const char *uuid, struct err *e)
{
        return quiet(c, uuid, false, e);
}
