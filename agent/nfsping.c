#include "agent/nfsping.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nfsc/libnfs.h> /* the others build on it */

#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw.h>

#define NFS_PORT     2049
#define TURNS_MAX    16 /* in one step: a server that sends without end gets no more */
#define VERSION_SIZE 8

struct nfs_ping {
        struct rpc_context *rpc;
        enum nfs_ping_state state;
        char why[NFSPING_WHY_MAX];
};

static bool numeric(const char *address)
{
        struct in6_addr any;

        return inet_pton(AF_INET, address, &any) == 1 || inet_pton(AF_INET6, address, &any) == 1;
}

/* "4.2" is program version 4. */
static int version_of(const struct mount_entry *m)
{
        char text[VERSION_SIZE];

        if (mountinfo_option(m, "vers", text, sizeof(text)) && *text >= '2' && *text <= '4')
                return *text - '0';
        return strcmp(m->fstype, "nfs4") == 0 ? 4 : 3;
}

bool nfs_server_of(const struct mount_entry *m, struct nfs_server *out)
{
        struct nfs_server s = {.port = NFS_PORT};
        char text[16];

        if (strcmp(m->fstype, "nfs") != 0 && strcmp(m->fstype, "nfs4") != 0)
                return false;
        if (mountinfo_option(m, "proto", text, sizeof(text)) && strncmp(text, "tcp", 3) != 0)
                return false;
        if (!mountinfo_option(m, "addr", s.address, sizeof(s.address)) || !numeric(s.address))
                return false;
        if (mountinfo_option(m, "port", text, sizeof(text))) {
                long port = strtol(text, NULL, 10);
                if (port > 0 && port <= 65535)
                        s.port = (int)port;
        }
        s.version = version_of(m);
        *out = s;
        return true;
}

static void fail(struct nfs_ping *p, const char *why)
{
        if (p->state != NFS_PING_PENDING)
                return;
        p->state = NFS_PING_FAILED;
        snprintf(p->why, sizeof(p->why), "%s", why && *why ? why : "the connection ended");
        p->why[strcspn(p->why, "\n")] = '\0';
}

/* Of the connection and of the NULL procedure, which libnfs calls as soon as it has one. */
static void answered(struct rpc_context *rpc, int status, void *data, void *ctx)
{
        struct nfs_ping *p = ctx;

        (void)rpc;
        if (status == RPC_STATUS_SUCCESS && p->state == NFS_PING_PENDING)
                p->state = NFS_PING_ANSWERED;
        else if (status == RPC_STATUS_ERROR)
                fail(p, data);
        else
                fail(p, "the call was given up");
}

/* libnfs does not: children of other threads would have it. */
static void close_on_exec(const struct nfs_ping *p)
{
        int fd = rpc_get_fd(p->rpc);

        if (fd >= 0)
                (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int nfs_ping_start(const struct nfs_server *s, struct nfs_ping **out, struct err *e)
{
        struct nfs_ping *p = calloc(1, sizeof(*p));

        if (!p || !(p->rpc = rpc_init_context())) {
                free(p);
                return err_set(e, -ENOMEM, "out of memory");
        }
        if (rpc_connect_port_async(p->rpc, s->address, s->port, NFS_PROGRAM, s->version, answered,
                                   p)) {
                int rc = err_set(e, -EIO, "cannot connect to %s port %d: %s", s->address, s->port,
                                 rpc_get_error(p->rpc));
                nfs_ping_free(p);
                return rc;
        }
        close_on_exec(p);
        *out = p;
        return 0;
}

struct pollfd nfs_ping_fd(const struct nfs_ping *p)
{
        struct pollfd f = {.fd = -1};

        if (p->state == NFS_PING_PENDING) {
                f.fd = rpc_get_fd(p->rpc);
                f.events = (short)rpc_which_events(p->rpc);
        }
        return f;
}

enum nfs_ping_state nfs_ping_step(struct nfs_ping *p)
{
        for (int i = 0; i < TURNS_MAX && p->state == NFS_PING_PENDING; i++) {
                struct pollfd f = nfs_ping_fd(p);
                if (f.fd < 0) {
                        fail(p, rpc_get_error(p->rpc));
                        break;
                }
                if (poll(&f, 1, 0) <= 0)
                        break;
                if (rpc_service(p->rpc, f.revents) < 0)
                        fail(p, rpc_get_error(p->rpc));
                else
                        close_on_exec(p);
        }
        return p->state;
}

const char *nfs_ping_why(const struct nfs_ping *p)
{
        return p->why;
}

void nfs_ping_free(struct nfs_ping *p)
{
        if (!p)
                return;
        if (p->rpc)
                rpc_destroy_context(p->rpc);
        free(p);
}
