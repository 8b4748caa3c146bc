#include "agent/config.h"

#include "api/codec.h"
#include "base/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POOL_SOURCE_MAX 255 /* as much as of a mount's source is kept */

static bool pool_name_ok(const char *name)
{
        return *name && strlen(name) <= 63 &&
               name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* Cuts a copy up, which c owns. */
static int parse_pools(struct agent_config *c, const char *pools, struct err *e)
{
        char *text = strdup(pools), *save = NULL;

        c->pools_text = text;
        if (!text)
                return err_set(e, -ENOMEM, "out of memory");
        for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
                char *eq = strchr(p, '=');
                if (!eq || eq[1] != '/' || c->npools == AGENT_POOLS_MAX)
                        return err_set(e, -EINVAL,
                                       "--pools: \"%s\" is not NAME=/PATH, or one too many", p);
                *eq = '\0';
                for (size_t n = strlen(eq + 1); n > 1 && eq[n] == '/'; n--)
                        eq[n] = '\0';
                if (!pool_name_ok(p) || agent_pool_of(c, p))
                        return err_set(e, -EINVAL, "--pools: \"%s\" is a bad name or there twice",
                                       p);
                c->pools[c->npools++] = (struct agent_pool){.name = p, .path = eq + 1};
        }
        return c->npools ? 0 : err_set(e, -EINVAL, "--pools names none");
}

/* "NAME=SOURCE,...": likewise. */
static int parse_sources(struct agent_config *c, const char *sources, struct err *e)
{
        char *text = strdup(sources), *save = NULL;

        c->sources_text = text;
        if (!text)
                return err_set(e, -ENOMEM, "out of memory");
        for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
                struct agent_pool *pool = NULL;
                char *eq = strchr(p, '=');
                if (!eq || !eq[1] || strlen(eq + 1) > POOL_SOURCE_MAX)
                        return err_set(e, -EINVAL, "--pool-sources: \"%s\" is not NAME=SOURCE", p);
                *eq = '\0';
                for (size_t i = 0; i < c->npools; i++)
                        if (!strcmp(c->pools[i].name, p))
                                pool = &c->pools[i];
                if (!pool || pool->source)
                        return err_set(e, -EINVAL,
                                       "--pool-sources: \"%s\" is no pool, or there twice", p);
                pool->source = eq + 1;
        }
        return 0;
}

static struct agent_pool *find_pool(struct agent_config *c, const char *name, size_t len)
{
        for (size_t i = 0; i < c->npools; i++)
                if (strlen(c->pools[i].name) == len && !strncmp(c->pools[i].name, name, len))
                        return &c->pools[i];
        return NULL;
}

/* "NAME,...": nothing of it need be kept. */
static int parse_local(struct agent_config *c, const char *names, struct err *e)
{
        for (const char *p = names, *end; *p; p = end + (*end == ',')) {
                end = p + strcspn(p, ",");
                struct agent_pool *pool = find_pool(c, p, (size_t)(end - p));
                if (!pool || pool->local)
                        return err_set(e, -EINVAL,
                                       "--local-pools: \"%.*s\" is no pool, or there twice",
                                       (int)(end - p), p);
                pool->local = true;
        }
        return 0;
}

/* A template goes through printf with one string: let it hold exactly one %s and no other %. */
static bool template_ok(const char *t)
{
        const char *p = strchr(t, '%');

        return p && p[1] == 's' && !strchr(p + 1, '%');
}

/* What is left to be read of the texts. */
struct texts {
        const char *pools, *local, *sources, *reserved_memory, *migration_tls;
        const char *image_max, *image_virtual_max, *image_reserve, *image_local, *min_free;
};

static int check_images(struct agent_config *c, const struct texts *t, struct err *e)
{
        const struct {
                const char *flag, *text;
                int64_t *out;
        } sizes[] = {{"--image-max", t->image_max, &c->image_max},
                     {"--image-virtual-max", t->image_virtual_max, &c->image_virtual_max},
                     {"--image-reserve", t->image_reserve, &c->image_reserve}};

        for (size_t i = 0; i < countof(sizes); i++)
                if (quantity_parse(sizes[i].text, sizes[i].out) || *sizes[i].out < 0)
                        return err_set(e, -EINVAL, "%s: \"%s\" is not a quantity", sizes[i].flag,
                                       sizes[i].text);
        c->image_local = strcmp(t->image_local, "on") == 0;
        if (!c->image_local && strcmp(t->image_local, "off") != 0)
                return err_set(e, -EINVAL, "--image-local: \"%s\" is neither on nor off",
                               t->image_local);
        return 0;
}

static int check_health(struct agent_config *c, const struct texts *t, struct err *e)
{
        if (quantity_parse(t->min_free, &c->health.min_free_bytes) || c->health.min_free_bytes < 0)
                return err_set(e, -EINVAL, "--mount-min-free: \"%s\" is not a quantity",
                               t->min_free);
        if (c->health.slow_ms > c->probe_deadline_ms)
                return err_set(e, -EINVAL,
                               "--mount-slow: %lld ms are more than --probe-deadline, %lld: "
                               "nothing could be slow",
                               (long long)c->health.slow_ms, (long long)c->probe_deadline_ms);
        return 0;
}

static int check(struct agent_config *c, const struct texts *t, struct err *e)
{
        if (!*c->node || strlen(c->node) > 253 || strchr(c->node, '/'))
                return err_set(e, -EINVAL, "--node: \"%s\" is not a node's name", c->node);
        if (strcmp(c->virt_type, "auto") != 0 && strcmp(c->virt_type, "kvm") != 0 &&
            strcmp(c->virt_type, "qemu") != 0)
                return err_set(e, -EINVAL, "--virt-type: \"%s\" is not auto, kvm or qemu",
                               c->virt_type);
        if (*c->kubelet_root != '/' || c->kubelet_root[strlen(c->kubelet_root) - 1] == '/')
                return err_set(e, -EINVAL, "--kubelet-root: \"%s\" is not a path like /a/b",
                               c->kubelet_root);
        if (!template_ok(c->peer_uri))
                return err_set(e, -EINVAL, "--peer-uri: \"%s\" must hold one %%s", c->peer_uri);
        if (quantity_parse(t->reserved_memory, &c->reserved_memory))
                return err_set(e, -EINVAL, "--reserved-memory: \"%s\" is not a quantity",
                               t->reserved_memory);
        c->migration_tls = strcmp(t->migration_tls, "on") == 0;
        if (!c->migration_tls && strcmp(t->migration_tls, "off") != 0)
                return err_set(e, -EINVAL, "--migration-tls: \"%s\" is neither on nor off",
                               t->migration_tls);
        int rc = check_images(c, t, e);
        if (!rc)
                rc = check_health(c, t, e);
        if (!rc)
                rc = parse_pools(c, t->pools, e);
        if (!rc)
                rc = parse_local(c, t->local, e);
        return rc ? rc : parse_sources(c, t->sources, e);
}

#define DEFAULTS                                                                                   \
        {                                                                                          \
                .node = "", .cpu_overcommit_percent = 100, .virt_type = "auto", .cpu_model = "",   \
                .emulator = "", .libvirt_uri = "qemu:///system", .libvirt_run = "/run/libvirt",    \
                .libvirt_log = "/var/log/libvirt/qemu", .console_dir = "/var/log/libvirt/qemu",    \
                .kubelet_root = "/var/lib/kubelet", .peer_uri = "qemu+tls://%s/system",            \
                .migration_address = "", .stop_grace_s = 30, .probe_deadline_ms = 3000,            \
                .health = HEALTH_DEFAULTS, .disk_deadline_s = 120, .copy_deadline_s = 3600,        \
                .image_stall_s = 30, .image_ca = "", .health_port = 9403                           \
        }

#define TEXT_DEFAULTS                                                                              \
        {                                                                                          \
                .pools = "default=/var/lib/drover", .local = "", .sources = "",                    \
                .reserved_memory = "512Mi", .migration_tls = "on", .image_max = "100Gi",           \
                .image_virtual_max = "16Ti", .image_reserve = "1Gi", .image_local = "off",         \
                .min_free = "64Mi"                                                                 \
        }

/* What there is to be told about images. */
#define IMAGE_ROWS(c, t)                                                                           \
        OPTION_NUMBER("copy-deadline", "COPY_DEADLINE_SECONDS", "S",                               \
                      "for a full clone of an image", &(c).copy_deadline_s, 1, 86400),             \
                OPTION_TEXT("image-max", "IMAGE_MAX", "QUANTITY",                                  \
                            "an imported file's size at most", &(t).image_max),                    \
                OPTION_TEXT("image-virtual-max", "IMAGE_VIRTUAL_MAX", "QUANTITY",                  \
                            "size at most of the disk that an image is of",                        \
                            &(t).image_virtual_max),                                               \
                OPTION_TEXT("image-reserve", "IMAGE_RESERVE", "QUANTITY",                          \
                            "that an import leaves free in the pool", &(t).image_reserve),         \
                OPTION_NUMBER("image-stall", "IMAGE_STALL_SECONDS", "S",                           \
                              "without progress until an import is begun again",                   \
                              &(c).image_stall_s, 1, 3600),                                        \
                OPTION_TEXT("image-local", "IMAGE_LOCAL", "on|off",                                \
                            "images may come from loopback and link-local addresses",              \
                            &(t).image_local),                                                     \
                OPTION_TEXT("image-ca", "IMAGE_CA", "FILE",                                        \
                            "CAs of the servers of images, if not the system's", &(c).image_ca)

/* ... and about the mounts and their health. */
#define HEALTH_ROWS(c, t)                                                                          \
        OPTION_TEXT("local-pools", "LOCAL_POOLS", "NAME,...",                                      \
                    "those of the pools that are the node's own, and shared with no other",        \
                    &(t).local),                                                                   \
                OPTION_TEXT("pool-sources", "POOL_SOURCES", "NAME=SOURCE,...",                     \
                            "what must be mounted, such as default=nas:/srv/drover",               \
                            &(t).sources),                                                         \
                OPTION_NUMBER("probe-deadline", "PROBE_DEADLINE_MS", "MS", "of a mount's answer",  \
                              &(c).probe_deadline_ms, 10, 60000),                                  \
                OPTION_NUMBER("mount-period", "MOUNT_PERIOD_MS", "MS",                             \
                              "between probes of a mount", &(c).health.period_ms, 100, 60000),     \
                OPTION_NUMBER("mount-bad", "MOUNT_BAD", "N",                                       \
                              "bad probes in a row that make a mount unhealthy", &(c).health.bad,  \
                              1, 100),                                                             \
                OPTION_NUMBER("mount-good", "MOUNT_GOOD", "N",                                     \
                              "good probes in a row that make it healthy again", &(c).health.good, \
                              1, 100),                                                             \
                OPTION_NUMBER("mount-slow", "MOUNT_SLOW_MS", "MS",                                 \
                              "that a small write may take, 0 for any time", &(c).health.slow_ms,  \
                              0, 60000),                                                           \
                OPTION_TEXT("mount-min-free", "MOUNT_MIN_FREE", "QUANTITY",                        \
                            "with less free the pool counts as full", &(t).min_free),              \
                OPTION_NUMBER("mount-min-inodes", "MOUNT_MIN_INODES", "N",                         \
                              "with less free the pool counts as full",                            \
                              &(c).health.min_free_inodes, 0, INT64_MAX)

static int print_help(const struct option_row *rows, size_t n)
{
        autobuf struct buf b = buf_new(65536);

        if (!options_help(&b, "drover-agent [FLAGS]", "Runs a hypervisor node's guests.", rows, n))
                fputs(buf_str(&b), stdout);
        return 1;
}

int agent_config_parse(int argc, char **argv, struct agent_config *out, struct err *e)
{
        struct agent_config c = DEFAULTS;
        struct texts t = TEXT_DEFAULTS;
        const struct option_row rows[] = {
                OPTION_TEXT("node", "NODE_NAME", "NAME", "of this node", &c.node),
                OPTION_TEXT("pools", "POOLS", "NAME=PATH,...", "mounted storage pools", &t.pools),
                OPTION_NUMBER("slots", "SLOTS", "N", "VMs at most, 0 for no bound", &c.slots, 0,
                              100000),
                OPTION_NUMBER("cpu-overcommit", "CPU_OVERCOMMIT", "PERCENT",
                              "of the machine's CPUs for guests", &c.cpu_overcommit_percent, 1,
                              10000),
                OPTION_TEXT("reserved-memory", "RESERVED_MEMORY", "QUANTITY", "for the host itself",
                            &t.reserved_memory),
                OPTION_TEXT("virt-type", "VIRT_TYPE", "TYPE", "auto, kvm or qemu", &c.virt_type),
                OPTION_TEXT("cpu-model", "CPU_MODEL", "MODEL",
                            "of guests that ask for none (Nehalem, without KVM qemu64)",
                            &c.cpu_model),
                OPTION_TEXT("emulator", "EMULATOR", "PATH", "of QEMU, if not libvirt's choice",
                            &c.emulator),
                OPTION_TEXT("libvirt-uri", "LIBVIRT_URI", "URI", "of this node", &c.libvirt_uri),
                OPTION_TEXT("libvirt-run", "LIBVIRT_RUN", "PATH", "libvirtd's run folder",
                            &c.libvirt_run),
                OPTION_TEXT("libvirt-log", "LIBVIRT_LOG", "PATH", "libvirtd's logs of the domains",
                            &c.libvirt_log),
                OPTION_TEXT("kubelet-root", "KUBELET_ROOT", "PATH",
                            "the kubelet's --root-dir, the same on all nodes", &c.kubelet_root),
                OPTION_TEXT("console-dir", "CONSOLE_DIR", "PATH", "for console logs, on the node",
                            &c.console_dir),
                OPTION_TEXT("peer-uri", "PEER_URI", "URI", "of a node's libvirtd, %s is its name",
                            &c.peer_uri),
                OPTION_TEXT("migration-address", "MIGRATION_ADDRESS", "IP",
                            "to receive guests at, if not the Node's", &c.migration_address),
                OPTION_TEXT("migration-tls", "MIGRATION_TLS", "on|off", "encrypt the memory stream",
                            &t.migration_tls),
                OPTION_NUMBER("migration-bandwidth", "MIGRATION_BANDWIDTH", "MIB/S",
                              "of all guests that leave, together, 0 for no limit",
                              &c.migration_bandwidth_mibps, 0, 1048576),
                OPTION_NUMBER("stop-grace", "STOP_GRACE_SECONDS", "S",
                              "from asking a guest to shut down to ending it, "
                              "unless its VM says otherwise",
                              &c.stop_grace_s, 0, 3600),
                HEALTH_ROWS(c, t),
                OPTION_NUMBER("disk-deadline", "DISK_DEADLINE_SECONDS", "S", "for making a disk",
                              &c.disk_deadline_s, 1, 86400),
                IMAGE_ROWS(c, t),
                OPTION_NUMBER("health-port", "HEALTH_PORT", "PORT", "/healthz, /readyz, /metrics",
                              &c.health_port, 0, 65535),
                OPTION_TEXT("kubeconfig", NULL, "FILE", "outside of a pod", &c.kubeconfig),
        };
        int rc = options_parse(argc, argv, rows, countof(rows), NULL, e);

        if (rc > 0)
                return print_help(rows, countof(rows));
        if (!rc)
                rc = check(&c, &t, e);
        if (rc) {
                agent_config_free(&c);
                return rc;
        }
        *out = c;
        return 0;
}

void agent_config_free(struct agent_config *c)
{
        free(c->pools_text);
        free(c->sources_text);
        c->pools_text = c->sources_text = NULL;
}

void agent_peer_uri(const struct agent_config *c, const char *node, char out[AGENT_URI_MAX])
{
        const char *at = strstr(c->peer_uri, "%s"); /* there is one: see template_ok */

        snprintf(out, AGENT_URI_MAX, "%.*s%s%s", (int)(at - c->peer_uri), c->peer_uri, node,
                 at + 2);
}

const struct agent_pool *agent_pool_of(const struct agent_config *c, const char *name)
{
        for (size_t i = 0; i < c->npools; i++)
                if (!strcmp(c->pools[i].name, name))
                        return &c->pools[i];
        return NULL;
}
