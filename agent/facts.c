#include "agent/facts.h"

#include "agent/ports.h"
#include "agent/xml.h"
#include "base/file.h"
#include "base/mono.h"
#include "core/preflight.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define FACTS_MAX     ((size_t)1 << 20)
#define NAMES_MAX     1024
#define UNRESOLVED_MS 1000 /* what a name that does not resolve counts as */
#define LOOKUPS       5    /* until one is quick */

struct names {
        struct arena *arena;
        const char **v;
        size_t n;
        bool failed;
};

static struct names names_new(struct arena *a)
{
        struct names x = {.arena = a, .v = arena_array(a, NAMES_MAX, sizeof(char *))};

        x.failed = !x.v;
        return x;
}

static void add_name(struct names *x, const char *name)
{
        struct strs have = {x->v, x->n};

        if (x->failed || x->n == NAMES_MAX || !*name || strs_has(&have, name))
                return;
        x->v[x->n] = arena_strdup(x->arena, name);
        x->failed = !x->v[x->n];
        x->n += !x->failed;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, so that an order of libvirt's making is no change. */
static int names_done(struct names *x, struct strs *out)
{
        if (x->failed)
                return -ENOMEM;
        qsort(x->v, x->n, sizeof(*x->v), compare_names);
        *out = (struct strs){x->v, x->n};
        return 0;
}

int facts_cpu_models(const char *domain_capabilities, struct arena *a, struct strs *out)
{
        struct names x = names_new(a);
        struct xml_tag tag;
        char value[128];
        bool custom = false;

        while (xml_next(&domain_capabilities, &tag)) {
                if (xml_is(&tag, "mode")) {
                        xml_get(&tag, "name", value, sizeof(value));
                        custom = tag.kind == XML_OPEN && !strcmp(value, "custom");
                } else if (custom && xml_is(&tag, "model") && tag.kind == XML_OPEN) {
                        xml_get(&tag, "usable", value, sizeof(value));
                        bool usable = !strcmp(value, "yes");
                        xml_inner(&tag, value, sizeof(value));
                        if (usable)
                                add_name(&x, value);
                }
        }
        return names_done(&x, out);
}

/* The q35 family only: no guest of ours has another board. */
int facts_machine_types(const char *capabilities, struct arena *a, struct strs *out)
{
        struct names x = names_new(a);
        struct xml_tag tag;
        char value[128];
        bool ours = false;

        while (xml_next(&capabilities, &tag)) {
                if (xml_is(&tag, "arch") && tag.kind == XML_OPEN) {
                        xml_get(&tag, "name", value, sizeof(value));
                        ours = !strcmp(value, "x86_64");
                } else if (ours && xml_is(&tag, "machine") && tag.kind == XML_OPEN) {
                        xml_inner(&tag, value, sizeof(value));
                        if (strstr(value, "q35"))
                                add_name(&x, value);
                }
        }
        return names_done(&x, out);
}

/* By the driver of each interface: /sys may be mounted from another network namespace. */
int facts_bridges(struct arena *a, struct strs *out)
{
        struct names x = names_new(a);
        struct if_nameindex *all = if_nameindex();
        autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        for (struct if_nameindex *i = all; fd >= 0 && i && i->if_index; i++) {
                struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
                struct ifreq r = {.ifr_data = (void *)&info};
                snprintf(r.ifr_name, sizeof(r.ifr_name), "%.15s", i->if_name);
                if (!ioctl(fd, SIOCETHTOOL, &r) && !strcmp(info.driver, "bridge"))
                        add_name(&x, i->if_name);
        }
        if (all)
                if_freenameindex(all);
        return names_done(&x, out);
}

static int64_t number_in(const char *path, const char *after)
{
        autobuf struct buf b = buf_new(65536);
        struct err e;

        if (file_read(path, &b, &e))
                return 0;
        const char *p = *after ? strstr(buf_str(&b), after) : buf_str(&b);
        return p ? strtoll(p + strlen(after), NULL, 10) : 0;
}

void facts_huge_pages(struct host *h)
{
        h->capacity.huge_2mi =
                number_in("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "");
        h->capacity.huge_1gi =
                number_in("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "");
}

static void read_capacity(virConnectPtr c, const struct agent_config *cfg, struct host *h)
{
        virNodeInfo info;

        if (!virNodeGetInfo(c, &info))
                h->capacity.cpus = info.cpus;
        /* libvirt counts the memory of NUMA nodes, which is not all of it on every machine. */
        h->capacity.memory = number_in("/proc/meminfo", "MemTotal:") * 1024;
        facts_huge_pages(h);
        h->capacity.slots = cfg->slots;
        h->capacity.cpu_overcommit_percent = cfg->cpu_overcommit_percent;
        h->capacity.reserved_memory = cfg->reserved_memory;
}

static const char *version_text(struct arena *a, unsigned long v)
{
        return arena_printf(a, "%lu.%lu.%lu", v / 1000000, v / 1000 % 1000, v % 1000);
}

/* The capabilities for the wished type of virtualization, and which one it came to be. */
static char *domain_capabilities(virConnectPtr c, const struct agent_config *cfg, const char **type)
{
        const char *emulator = *cfg->emulator ? cfg->emulator : NULL;
        bool wish_kvm = strcmp(cfg->virt_type, "qemu") != 0;
        char *xml = NULL;

        if (wish_kvm)
                xml = virConnectGetDomainCapabilities(c, emulator, "x86_64", "q35", "kvm", 0);
        *type = "kvm";
        if (!xml && strcmp(cfg->virt_type, "kvm") != 0) {
                xml = virConnectGetDomainCapabilities(c, emulator, "x86_64", "q35", "qemu", 0);
                *type = "qemu";
        }
        return xml;
}

/*
 * The slower of two look-ups of this node's name: ours, and the one that libvirtd makes for itself,
 * which it repeats in the middle of a migration's pause.
 */
static int64_t time_lookups_once(virConnectPtr c, const char *node)
{
        struct addrinfo *found = NULL;
        struct mono start = mono_now();
        int rc = getaddrinfo(node, NULL, NULL, &found);
        struct mono between = mono_now();
        char *name = virConnectGetHostname(c);
        struct mono end = mono_now();
        int64_t a = mono_ms_between(start, between), b = mono_ms_between(between, end);

        if (!rc)
                freeaddrinfo(found);
        free(name);
        virResetLastError();
        int64_t slower = a > b ? a : b;
        return rc && slower < UNRESOLVED_MS ? UNRESOLVED_MS : slower;
}

/* A busy machine makes one look-up slow, a bad resolver each of them: the quickest of a few. */
static int64_t time_lookups(virConnectPtr c, const char *node)
{
        int64_t quickest = time_lookups_once(c, node);

        for (int i = 1; i < LOOKUPS && quickest >= PREFLIGHT_RESOLVE_MS && quickest < UNRESOLVED_MS;
             i++) {
                int64_t ms = time_lookups_once(c, node);
                quickest = ms < quickest ? ms : quickest;
        }
        return quickest;
}

static int read_into(virConnectPtr c, const struct agent_config *cfg, struct host *h, struct err *e)
{
        unsigned long qemu = 0, lib = 0;
        autofree char *caps = virConnectGetCapabilities(c);

        if (!caps || virConnectGetVersion(c, &qemu) < 0 || virConnectGetLibVersion(c, &lib) < 0)
                return virt_error(e, "capabilities");
        autofree char *dom = domain_capabilities(c, cfg, &h->virt_type);
        if (!dom)
                return virt_error(e, "domain capabilities");
        read_capacity(c, cfg, h);
        h->resolve_ms = time_lookups(c, cfg->node);
        h->qemu_version = version_text(h->arena, qemu);
        h->libvirt_version = version_text(h->arena, lib);
        h->cannot_receive = ports_cannot_receive(cfg, h->arena);
        if (!h->qemu_version || !h->libvirt_version || !h->cannot_receive ||
            facts_cpu_models(dom, h->arena, &h->cpu_models) ||
            facts_machine_types(caps, h->arena, &h->machine_types) ||
            facts_bridges(h->arena, &h->bridges))
                return err_set(e, -ENOMEM, "out of memory");
        return 0;
}

int facts_read(virConnectPtr c, const struct agent_config *cfg, struct host **out, struct err *e)
{
        struct arena *a = arena_new(FACTS_MAX);
        struct host *h = a ? arena_alloc(a, sizeof(*h)) : NULL;
        int rc = h ? 0 : err_set(e, -ENOMEM, "out of memory");

        if (h) {
                h->arena = a;
                rc = read_into(c, cfg, h, e);
        }
        if (rc)
                arena_free(a);
        else
                *out = h;
        return rc;
}
