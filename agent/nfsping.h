/*
 * Does an NFS server answer? A call of the NULL procedure over a connection of our own, past the
 * kernel's client and its mount, without a thread: whoever polls the descriptor gives it its turns.
 * Nothing here waits, and nothing looks a name up.
 */
#ifndef DROVER_AGENT_NFSPING_H
#define DROVER_AGENT_NFSPING_H

#include "agent/mountinfo.h"

#include <poll.h>

#define NFSPING_WHY_MAX 192

enum nfs_ping_state { NFS_PING_PENDING, NFS_PING_ANSWERED, NFS_PING_FAILED };

/* Where to ask: of the mount's source and options, as the kernel has resolved them. */
struct nfs_server {
        char address[64]; /* numeric */
        int port, version;
};

/* False when it is no NFS mount over TCP, or the options do not tell the server's address. */
bool nfs_server_of(const struct mount_entry *m, struct nfs_server *out);

struct nfs_ping;

/* Begins to connect. -ENOMEM, or why that cannot be. */
must_check int nfs_ping_start(const struct nfs_server *s, struct nfs_ping **out, struct err *e);

/* What to wait for; .fd is -1 when there is nothing any more. */
struct pollfd nfs_ping_fd(const struct nfs_ping *p);

/* Does what can be done now. */
enum nfs_ping_state nfs_ping_step(struct nfs_ping *p);

/* Why it failed, "" unless it did. Valid until it is freed. */
const char *nfs_ping_why(const struct nfs_ping *p);

/* NULL is fine. */
void nfs_ping_free(struct nfs_ping *p);

#endif
