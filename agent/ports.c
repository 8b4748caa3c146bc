#include "agent/ports.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_MAX ((size_t)16 << 20)
#define LISTEN    0x0A /* a state in /proc/net/tcp */

int ports_of_uri(const char *uri, const char *node)
{
        const char *at = strstr(uri, "://");
        size_t len = strlen(node);
        int port = strstr(uri, "+tls://") ? 16514 : strstr(uri, "+tcp://") ? 16509 : 0;

        if (!port || strncmp(at + 3, node, len) != 0)
                return 0;
        return at[3 + len] == ':' ? atoi(at + 4 + len) : port; /* NOLINT(cert-err34-c) */
}

void ports_read(struct ports *p, const char *table)
{
        unsigned port, state;

        for (const char *line = strchr(table, '\n'); line && line[1];
             line = strchr(line + 1, '\n')) {
                if (sscanf(line + 1, "%*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &port, &state) !=
                    2)
                        continue;
                if (port >= PORTS_FIRST && port <= PORTS_LAST)
                        p->taken[port - PORTS_FIRST] = true;
                p->listens |= state == LISTEN && (int)port == p->libvirtd;
        }
}

const char *ports_trouble(const struct ports *p, struct arena *a)
{
        bool some = false;

        if (p->libvirtd && !p->listens)
                return arena_printf(
                        a, "nothing listens on port %d, where other nodes reach its libvirtd",
                        p->libvirtd);
        for (size_t i = 0; i < countof(p->taken); i++)
                some |= !p->taken[i];
        return some ? ""
                    : arena_printf(a, "all ports from %d to %d, by which guests arrive, are taken",
                                   PORTS_FIRST, PORTS_LAST);
}

const char *ports_cannot_receive(const struct agent_config *c, struct arena *a)
{
        static const char *const FILES[] = {"/proc/net/tcp", "/proc/net/tcp6"};
        char uri[AGENT_URI_MAX];
        struct ports p = {0};
        bool known = false;

        agent_peer_uri(c, c->node, uri);
        p.libvirtd = ports_of_uri(uri, c->node);
        for (size_t i = 0; i < countof(FILES); i++) {
                autobuf struct buf b = buf_new(TABLE_MAX);
                struct err e;

                if (file_read(FILES[i], &b, &e))
                        continue; /* no IPv6 here */
                ports_read(&p, buf_str(&b));
                known = true;
        }
        return known ? ports_trouble(&p, a) : "";
}
