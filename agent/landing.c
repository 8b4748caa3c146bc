#include "agent/landing.h"

#include "agent/domain.h"
#include "base/log.h"
#include "base/mono.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUEST_AGENT_S  5
#define CLOCK_AGAIN_MS 2000 /* a guest's agent may take a moment to be heard again */
#define CLOCK_TRIES    5

/* Milliseconds: the first at once, as QEMU does by itself when a copy has arrived, before it runs.
 */
#define ANNOUNCE                                                                                   \
        "{\"execute\":\"announce-self\",\"arguments\":"                                            \
        "{\"initial\":20,\"max\":500,\"rounds\":5,\"step\":100}}"

void landing_announce(virConnectPtr c, const char *uuid)
{
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(c, uuid);
        char *answer = NULL;
        struct err e;

        if (!dom)
                return;
        if (virDomainQemuMonitorCommand(dom, ANNOUNCE, &answer, 0) < 0 &&
            virGetLastErrorCode() != VIR_ERR_NO_SUPPORT &&
            virGetLastErrorCode() != VIR_ERR_INVALID_CONN) {
                virt_error(&e, "announce-self");
                log_err(&e, "guest is not announced anew", "uid", uuid, NULL);
        }
        virResetLastError();
        free(answer);
}

/* The host's time, which NTP keeps. -1 when the guest's agent does not take it. */
static int set_clock(virDomainPtr dom)
{
        int64_t now_us;

        (void)virDomainAgentSetResponseTimeout(dom, GUEST_AGENT_S, 0);
        now_us = wall_us();
        return virDomainSetTime(dom, now_us / 1000000, (unsigned)(now_us % 1000000) * 1000, 0);
}

/* "UUID" or "UUID/TRY". A guest without an agent keeps its own time. */
int64_t clock_work(struct agent *a, const char *rest)
{
        char uuid[VIR_UUID_STRING_BUFLEN];
        struct err e;
        autoconnect virConnectPtr c = virt_connect(a->virt, &e);
        size_t n = strcspn(rest, "/");
        int try = rest[n] ? rest[n + 1] - '0' : 0;

        if (!c || n >= sizeof(uuid))
                return WORK_DONE;
        snprintf(uuid, sizeof(uuid), "%.*s", (int)n, rest);
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(c, uuid);
        if (dom && set_clock(dom) < 0 && virGetLastErrorCode() == VIR_ERR_AGENT_UNRESPONSIVE &&
            try < CLOCK_TRIES)
                agent_poke(a, CLOCK_AGAIN_MS, "clock/%s/%d", uuid, try + 1);
        virResetLastError();
        return WORK_DONE;
}
