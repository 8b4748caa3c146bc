/* What the agent is told: flags, or environment variables of the same meaning. */
#ifndef DROVER_AGENT_CONFIG_H
#define DROVER_AGENT_CONFIG_H

#include "base/err.h"
#include "core/health.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_POOLS_MAX 128
#define AGENT_URI_MAX   512

struct agent_pool {
        const char *name, *path;
        const char *source; /* that must be mounted there; NULL: any */
        bool local;         /* the node's own file system: its disks are on no other node */
};

struct agent_config {
        const char *node;
        struct agent_pool pools[AGENT_POOLS_MAX];
        size_t npools;
        int64_t slots, cpu_overcommit_percent, reserved_memory;
        const char *virt_type;         /* "auto", "kvm" or "qemu" */
        const char *cpu_model;         /* "" picks by virt_type */
        const char *emulator;          /* "" leaves it to libvirt */
        const char *libvirt_uri;       /* of this node */
        const char *libvirt_run;       /* where libvirtd keeps qemu/NAME.pid */
        const char *kubelet_root;      /* its --root-dir, the same on all nodes */
        const char *libvirt_log;       /* ... and its log of each domain, NAME.log */
        const char *console_dir;       /* on the node, as QEMU sees it */
        const char *peer_uri;          /* template with one %s for the node's name */
        const char *migration_address; /* "": the Node's InternalIP */
        bool migration_tls;
        int64_t stop_grace_s;        /* between asking a guest to shut down and insisting */
        int64_t probe_deadline_ms;   /* of a mount probe */
        struct health_limits health; /* .period_ms 0: HEALTH_DEFAULTS */
        int64_t disk_deadline_s;     /* of qemu-img and genisoimage */
        int64_t copy_deadline_s;     /* of a full clone of an image */
        int64_t image_max;           /* bytes of an image's file that is imported */
        int64_t image_virtual_max;   /* bytes of the disk that an image is of */
        int64_t image_reserve;       /* bytes that an import leaves free in a pool */
        int64_t image_stall_s;       /* a transfer that stands still so long is given up */
        bool image_local;            /* loopback and link-local addresses may be asked */
        const char *image_ca;        /* CAs of the servers of images, "": the system's */
        int64_t health_port;
        int64_t migration_bandwidth_mibps; /* of all guests that leave, together; 0: no limit */
        const char *kubeconfig;            /* NULL: in cluster, or $KUBECONFIG */
        char *pools_text, *sources_text;   /* back the pools' strings */
};

/* 0; 1 when help was asked for and printed; -EINVAL. Strings point into argv or the environment. */
must_check int agent_config_parse(int argc, char **argv, struct agent_config *out, struct err *e);
void agent_config_free(struct agent_config *c);

/* Where the libvirtd of that node is: the template with its name, by which TLS knows it. */
void agent_peer_uri(const struct agent_config *c, const char *node, char out[AGENT_URI_MAX]);

/* The pool of that name, NULL when this node has none. */
const struct agent_pool *agent_pool_of(const struct agent_config *c, const char *name);

#endif
