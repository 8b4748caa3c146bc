#include "http/internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static int bound_socket(const struct addrinfo *ai)
{
        int on = 1, off = 0;
        int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        if (ai->ai_family == AF_INET6) /* "::" takes IPv4 too */
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
            bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
                return fd;
        int rc = -errno;
        close(fd);
        return rc;
}

static int try_address(const char *address, uint16_t port)
{
        const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
                                       .ai_socktype = SOCK_STREAM};
        struct addrinfo *ai;
        char service[8];

        snprintf(service, sizeof(service), "%u", port);
        if (getaddrinfo(address, service, &hints, &ai) != 0)
                return -EADDRNOTAVAIL;
        int fd = bound_socket(ai);
        freeaddrinfo(ai);
        return fd;
}

static uint16_t port_of(int fd)
{
        union {
                struct sockaddr sa;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_storage any;
        } u = {.any = {0}};
        socklen_t len = sizeof(u);

        getsockname(fd, &u.sa, &len);
        return ntohs(u.sa.sa_family == AF_INET6 ? u.in6.sin6_port : u.in.sin_port);
}

/* The listening descriptor or a negative errno. */
int listen_socket(const char *address, uint16_t port, uint16_t *bound, struct err *e)
{
        int fd = try_address(address ? address : "::", port);

        if (!address && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) /* a node without IPv6 */
                fd = try_address("0.0.0.0", port);
        if (fd < 0)
                return err_sys(e, fd, "listen on %s port %u", address ? address : "any address",
                               port);
        *bound = port_of(fd);
        return fd;
}
