#include "agent/domain.h"

#include "agent/xml.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define AGENT_TIMEOUT_S 2 /* for a guest's agent to answer */

static int lookup(virConnectPtr c, const char *uuid, virDomainPtr *out, struct err *e)
{
        *out = virDomainLookupByUUIDString(c, uuid);
        return *out ? 0 : virt_error(e, "domain %s", uuid);
}

/*
 * No metadata: the domain is a stranger's. Anything else that goes wrong leaves open whose it is,
 * and a guest of ours must not be taken for a stranger because libvirtd fell just then.
 */
static int read_meta(virDomainPtr dom, bool active, struct domain_facts *f, struct err *e)
{
        autofree char *xml =
                virDomainGetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, DOMXML_NS,
                                     active ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG);

        if (!xml && virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA)
                return virt_error(e, "metadata of domain %s", f->uuid);
        f->ours = xml && domain_meta_parse(xml, &f->meta);
        virResetLastError();
        return 0;
}

static void judge_paused(struct domain_facts *f)
{
        bool incoming = f->ours && f->meta.incoming;
        bool io_error = f->vir_reason == VIR_DOMAIN_PAUSED_IOERROR;

        f->own = OWN_PAUSED;
        f->state = io_error ? DOMAIN_IO_ERROR : DOMAIN_PAUSED;
        /*
         * Who reads and writes has been resumed, though the mark is still there. One that an I/O
         * error had stopped on its source arrives as "paused by user", like all the others.
         */
        if (!incoming || io_error)
                return;
        /*
         * While a guest is being received its state says "paused for migration"; libvirt changes
         * that to "paused by user" when the whole of it has arrived and the source asked for
         * VIR_MIGRATE_PAUSED.
         */
        bool whole = f->vir_reason == VIR_DOMAIN_PAUSED_USER;
        f->state = whole ? DOMAIN_RECEIVED : DOMAIN_INCOMING;
        f->own = whole ? OWN_RECEIVED : OWN_RECEIVING;
}

void domain_judge(struct domain_facts *f)
{
        f->active = f->vir_state != VIR_DOMAIN_SHUTOFF && f->vir_state != VIR_DOMAIN_CRASHED;
        f->own = OWN_CRASHED;
        f->state = DOMAIN_SHUTOFF;
        switch (f->vir_state) {
        case VIR_DOMAIN_RUNNING:
        case VIR_DOMAIN_BLOCKED:
        case VIR_DOMAIN_SHUTDOWN: /* on its way down: still runs */
        case VIR_DOMAIN_PMSUSPENDED:
                f->own = OWN_RUNNING;
                f->state = DOMAIN_RUNNING;
                break;
        case VIR_DOMAIN_PAUSED:
                judge_paused(f);
                break;
        case VIR_DOMAIN_CRASHED:
                f->state = DOMAIN_CRASHED;
                break;
        case VIR_DOMAIN_SHUTOFF:
                if (f->vir_reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN ||
                    (f->vir_reason == VIR_DOMAIN_SHUTOFF_UNKNOWN && f->ours && f->meta.ended))
                        f->own = OWN_ENDED;
                if (f->vir_reason == VIR_DOMAIN_SHUTOFF_CRASHED ||
                    f->vir_reason == VIR_DOMAIN_SHUTOFF_FAILED)
                        f->state = DOMAIN_CRASHED;
                break;
        default:
                f->own = OWN_UNSEEN;
                f->state = DOMAIN_UNKNOWN;
        }
}

static const char *paused_reason(const struct domain_facts *f)
{
        if (f->own == OWN_RECEIVING)
                return "being received by a migration";
        if (f->own == OWN_RECEIVED)
                return "received by a migration, not resumed yet";
        switch (f->vir_reason) {
        case VIR_DOMAIN_PAUSED_IOERROR:
                return "paused after an input/output error of a disk";
        case VIR_DOMAIN_PAUSED_MIGRATION:
        case VIR_DOMAIN_PAUSED_POSTCOPY:
                return "switching over to another node";
        case VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
                return "a post-copy migration broke off";
        case VIR_DOMAIN_PAUSED_USER:
                return "paused by a person at libvirt";
        case VIR_DOMAIN_PAUSED_STARTING_UP:
                return "starting";
        default:
                return "paused by libvirt";
        }
}

bool domain_io_error(const struct domain_facts *f)
{
        return f->vir_state == VIR_DOMAIN_PAUSED && f->vir_reason == VIR_DOMAIN_PAUSED_IOERROR;
}

const char *domain_reason(const struct domain_facts *f)
{
        if (f->own == OWN_RUNNING)
                return "";
        if (f->vir_state == VIR_DOMAIN_PAUSED)
                return paused_reason(f);
        if (f->own == OWN_ENDED)
                return "the guest powered itself off";
        if (f->vir_state == VIR_DOMAIN_CRASHED)
                return "the guest crashed";
        if (f->vir_state != VIR_DOMAIN_SHUTOFF)
                return "libvirt does not say";
        switch (f->vir_reason) {
        case VIR_DOMAIN_SHUTOFF_CRASHED:
                return "QEMU ended unexpectedly or the guest crashed";
        case VIR_DOMAIN_SHUTOFF_FAILED:
                return "QEMU could not be started";
        case VIR_DOMAIN_SHUTOFF_DESTROYED:
                return "ended from outside";
        default:
                return "not started";
        }
}

int domain_read(virConnectPtr c, const char *uuid, struct domain_facts *out, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        struct domain_facts f = {0};
        virDomainInfo info;
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc;
        if (virDomainGetState(dom, &f.vir_state, &f.vir_reason, 0) < 0 ||
            virDomainGetInfo(dom, &info) < 0)
                return virt_error(e, "domain %s", uuid);
        snprintf(f.uuid, sizeof(f.uuid), "%s", uuid);
        snprintf(f.libvirt_name, sizeof(f.libvirt_name), "%s", virDomainGetName(dom));
        f.cores = info.nrVirtCpu;
        f.memory = (int64_t)info.maxMem * 1024;
        domain_judge(&f);
        rc = read_meta(dom, f.active, &f, e);
        if (rc)
                return rc;
        domain_judge(&f); /* again, now knowing what the metadata says */
        *out = f;
        return 0;
}

void domain_machine(virConnectPtr c, const char *uuid, char *out, size_t size)
{
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(c, uuid);
        autofree char *xml = dom ? virDomainGetXMLDesc(dom, 0) : NULL;
        const char *at = xml;
        struct xml_tag tag;
        bool os = false;

        *out = '\0';
        while (xml && xml_next(&at, &tag)) {
                os |= xml_is(&tag, "os");
                if (os && xml_is(&tag, "type")) {
                        xml_get(&tag, "machine", out, size);
                        break;
                }
        }
        virResetLastError();
}

int domain_each(virConnectPtr c, void (*visit)(void *ctx, const char *uuid), void *ctx,
                struct err *e)
{
        virDomainPtr *all = NULL;
        int n = virConnectListAllDomains(c, &all, 0);

        if (n < 0)
                return virt_error(e, "list of domains");
        for (int i = 0; i < n; i++) {
                char uuid[VIR_UUID_STRING_BUFLEN];
                if (!virDomainGetUUIDString(all[i], uuid))
                        visit(ctx, uuid);
                virDomainFree(all[i]);
        }
        free(all);
        return 0;
}

int domain_define(virConnectPtr c, const char *xml, struct err *e)
{
        autodomain virDomainPtr dom = virDomainDefineXMLFlags(c, xml, 0);

        return dom ? 0 : virt_error(e, "define");
}

static bool is_active(virDomainPtr dom)
{
        int active = virDomainIsActive(dom);

        virResetLastError();
        return active == 1;
}

int domain_create(virConnectPtr c, const char *uuid, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc;
        if (virDomainCreate(dom) == 0)
                return 0;
        rc = virt_error(e, "start");
        return is_active(dom) ? 0 : rc;
}

int domain_resume(virConnectPtr c, const char *uuid, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        if (!rc && virDomainResume(dom) < 0)
                rc = virt_error(e, "resume");
        return rc;
}

int domain_shutdown(virConnectPtr c, const char *uuid, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc;
        (void)virDomainAgentSetResponseTimeout(dom, AGENT_TIMEOUT_S, 0);
        if (virDomainShutdownFlags(dom, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) == 0)
                return 0;
        if (virDomainShutdownFlags(dom, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0)
                return virt_error(e, "shutdown");
        return 0;
}

static int destroy(virDomainPtr dom, struct err *e)
{
        if (virDomainDestroy(dom) == 0)
                return 0;
        int rc = virt_error(e, "destroy");
        return virDomainIsActive(dom) == 0 ? 0 : rc;
}

int domain_destroy(virConnectPtr c, const char *uuid, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        return rc ? rc : destroy(dom, e);
}

/* With all that libvirt keeps beside the definition, as far as this libvirt knows of it. */
static int undefine(virDomainPtr dom)
{
        static const unsigned BASIC =
                VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;

        if (virDomainUndefineFlags(dom, BASIC | VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA) == 0)
                return 0;
        return virGetLastErrorCode() == VIR_ERR_INVALID_ARG ? virDomainUndefineFlags(dom, BASIC)
                                                            : -1;
}

static int undefine_inactive(virDomainPtr dom, struct err *e)
{
        if (undefine(dom) == 0)
                return 0;
        int rc = virt_error(e, "undefine");
        return rc == -ENOENT || virDomainIsPersistent(dom) != 1
                       ? 0
                       : rc; /* a transient one is gone by now */
}

int domain_undefine(virConnectPtr c, const char *uuid, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc == -ENOENT ? 0 : rc;
        if (virDomainIsActive(dom) == 1)
                return err_set(e, -EBUSY, "the domain is active");
        return undefine_inactive(dom, e);
}

int domain_remove(virConnectPtr c, const char *uuid, struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc == -ENOENT ? 0 : rc;
        rc = destroy(dom, e);
        if (rc)
                return rc;
        return undefine_inactive(dom, e);
}

int domain_set_meta(virConnectPtr c, const char *uuid, const struct domain_meta *m, bool live,
                    struct err *e)
{
        autodomain virDomainPtr dom = NULL;
        autobuf struct buf xml = buf_new(4096);
        int rc = lookup(c, uuid, &dom, e);

        if (rc)
                return rc;
        if ((rc = domain_meta_print(m, false, &xml)))
                return err_set(e, rc, "metadata is too long");
        if (virDomainSetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, buf_str(&xml), DOMXML_PREFIX,
                                 DOMXML_NS,
                                 live ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG) < 0)
                return virt_error(e, "metadata");
        return 0;
}

static bool worth_telling(const virDomainIPAddress *a)
{
        return a->addr && strncmp(a->addr, "127.", 4) != 0 && strcmp(a->addr, "::1") != 0 &&
               strncasecmp(a->addr, "fe80:", 5) != 0;
}

static size_t addresses_from(virDomainPtr dom, unsigned source,
                             char out[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE])
{
        virDomainInterfacePtr *ifaces = NULL;
        size_t n = 0;
        int count = virDomainInterfaceAddresses(dom, &ifaces, source, 0);

        for (int i = 0; i < count; i++) {
                for (unsigned k = 0; k < ifaces[i]->naddrs; k++)
                        if (n < DOMAIN_ADDRESSES_MAX && worth_telling(&ifaces[i]->addrs[k]))
                                snprintf(out[n++], DOMAIN_ADDRESS_SIZE, "%.47s",
                                         ifaces[i]->addrs[k].addr);
                virDomainInterfaceFree(ifaces[i]);
        }
        free(ifaces);
        virResetLastError();
        return n;
}

size_t domain_addresses(virConnectPtr c, const char *uuid,
                        char out[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE])
{
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(c, uuid);

        if (!dom) {
                virResetLastError();
                return 0;
        }
        (void)virDomainAgentSetResponseTimeout(dom, AGENT_TIMEOUT_S, 0);
        size_t n = addresses_from(dom, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, out);
        return n ? n : addresses_from(dom, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, out);
}
