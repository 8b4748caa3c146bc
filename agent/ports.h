/* Whether this node can receive guests, by the TCP ports of its network: read, never tried. */
#ifndef DROVER_AGENT_PORTS_H
#define DROVER_AGENT_PORTS_H

#include "agent/config.h"
#include "base/arena.h"

/* libvirt's own for the memory of guests that arrive (qemu.conf: migration_port_min, _max). */
#define PORTS_FIRST 49152
#define PORTS_LAST  49215

struct ports {
        int libvirtd; /* where other nodes reach it; 0: not by a port */
        bool listens; /* somebody does there */
        bool taken[PORTS_LAST - PORTS_FIRST + 1];
};

/* The port in the URI by which other nodes reach this one's libvirtd; 0 when there is none. */
int ports_of_uri(const char *uri, const char *node);
/* Takes in what /proc/net/tcp or tcp6 says. */
void ports_read(struct ports *p, const char *table);
/* Why no guest can arrive, a sentence in a; "" when one can, or that is not known. NULL: no memory.
 */
const char *ports_trouble(const struct ports *p, struct arena *a);

/* All of that for this node, now. */
const char *ports_cannot_receive(const struct agent_config *c, struct arena *a);

#endif
