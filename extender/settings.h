/* Flags and environment of drover-extender. */
#ifndef DROVER_EXTENDER_SETTINGS_H
#define DROVER_EXTENDER_SETTINGS_H

#include "extender/fleet.h"
#include "http/server.h"

struct settings {
        struct fleet_config fleet;
        struct http_config https;  /* for the scheduler */
        struct http_config health; /* plain: /healthz, /readyz, /metrics; port 0: not served */
        const char *kubeconfig;    /* NULL: as kube_config_load finds it */
        const char *ns;            /* of the heartbeat Leases */
        const char *client;        /* common name of the scheduler's certificate; NULL: any */
};
/* 0, 1 when help was asked for, or -EINVAL. */
must_check int settings_parse(int argc, char **argv, struct settings *out, struct err *e);
/* What --help prints. */
int settings_help(struct buf *b);

#endif
