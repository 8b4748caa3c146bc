/*
 * The connection to this node's libvirtd: kept up for ever, opened again with backoff when it is
 * lost, never waited for by those who use it. Owns libvirt's event loop and its thread.
 */
#ifndef DROVER_AGENT_VIRT_H
#define DROVER_AGENT_VIRT_H

#include "base/err.h"

#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

struct virt;

/* All on a thread of virt's; must be quick, and must not call libvirt. */
struct virt_hooks {
        void (*connected)(void *ctx);
        void (*lost)(void *ctx,
                     const char *why); /* also each failed attempt; why is valid during the call */
        /* A domain's life: event and detail as of virDomainEventType and its details. */
        void (*domain)(void *ctx, const char *uuid, int event, int detail);
        /* A pass over a migrating guest's memory begins. */
        void (*iteration)(void *ctx, const char *uuid, int iteration);
        void *ctx;
};

/* Starts the event loop and the thread that connects; returns at once. */
must_check int virt_start(const char *uri, const struct virt_hooks *hooks, struct virt **out,
                          struct err *e);
/* No hook is called once it has returned. */
void virt_stop(struct virt *v);

/*
 * A connection for the caller alone, to be given back with virt_release; NULL and e when there is
 * none. It is not shared, because libvirt 9.0 gives a connection up that does not answer only while
 * one call waits in it: of two, the second waits for ever, and what is left behind crashes the
 * process later (virNetClientIOEventLoop hands the dead socket on to it).
 */
virConnectPtr virt_connect(struct virt *v, struct err *e);
void virt_release(virConnectPtr c);
bool virt_connected(struct virt *v);

/*
 * Opens a connection to another libvirtd, for at most ms; -ETIMEDOUT then, and the attempt goes on
 * behind the scenes until the system gives up on it. Close with virConnectClose.
 */
must_check int virt_open_peer(const char *uri, int64_t ms, virConnectPtr *out, struct err *e);

/* The calling thread's last libvirt error as ours: -ENOENT for a missing domain, -ENOTCONN, else
 * -EIO. */
int virt_error(struct err *e, const char *fmt, ...) printf_like(2, 3);

static inline void cleanup_connect(virConnectPtr *c)
{
        if (*c)
                virt_release(*c);
}
#define autoconnect cleanup(cleanup_connect)
static inline void cleanup_domain(virDomainPtr *d)
{
        if (*d)
                virDomainFree(*d);
}
#define autodomain cleanup(cleanup_domain)

#endif
