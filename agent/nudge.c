#include "agent/nudge.h"

#include "core/vm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISCARD_PORT 9

static void send_empty(const char *address)
{
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(DISCARD_PORT)};
        bool four = inet_pton(AF_INET, address, &v4.sin_addr) == 1;

        if (!four && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
                return;
        autoclose int fd =
                socket(four ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return;
        const struct sockaddr *to = four ? (void *)&v4 : (void *)&v6;
        /* Lost or refused is fine: what counts is that the neighbour was asked for. */
        ssize_t sent = sendto(fd, "", 0, MSG_NOSIGNAL, to, four ? sizeof(v4) : sizeof(v6));
        (void)sent;
}

void nudge_known_addresses(struct agent *a, const char *ns, const char *name)
{
        char key[64 + 254 + 1];

        snprintf(key, sizeof(key), "%s/%s", ns, name);
        autoref struct kube_ref *ref = kube_store_get(a->vms, key);
        const struct vm *vm = ref ? kube_ref_object(ref) : NULL;
        for (size_t i = 0; vm && i < vm->status.addresses.n; i++)
                send_empty(vm->status.addresses.v[i]);
}
