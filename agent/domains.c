/* Keeps the table of domains true: one at a time after its events, all of them now and then. */
#include "agent/agent.h"
#include "agent/facts.h"
#include "agent/landing.h"
#include "agent/nudge.h"
#include "agent/pods.h"
#include "agent/publish.h"
#include "base/log.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <string.h>

#define ALL_MS        60000 /* between looks at all domains, should an event have been lost */
#define FACTS_MS      60000
#define ADDRESSES_MS  15000
#define NO_ADDRESS_MS 2000 /* while a running guest has none */
#define NOT_CONNECTED 2000
#define CLOCK_MS      1000 /* after a landing: a guest that has just come has better things to do */

/* First run after a migration: the mark of an incoming guest comes off. */
static void clear_incoming(struct domain_facts *f, virConnectPtr c)
{
        struct domain_meta m = f->meta;
        struct err e;

        m.incoming = false;
        if (domain_set_meta(c, f->uuid, &m, true, &e))
                log_err(&e, "cannot clear the mark of an incoming guest", "uid", f->uuid, NULL);
        else
                f->meta = m;
}

/* libvirtd forgets at its own restart why a guest ended: that it ended itself is written down. */
static void mark_ended(struct domain_facts *f, virConnectPtr c)
{
        struct domain_meta m = f->meta;
        struct err e;

        m.ended = true;
        if (domain_set_meta(c, f->uuid, &m, false, &e))
                log_err(&e, "cannot note the end of a guest", "uid", f->uuid, NULL);
        else
                f->meta = m;
}

static void gone(struct agent *a, const char *uuid)
{
        struct table_entry x;
        bool known = table_get(a->table, uuid, &x);

        if (!table_drop(a->table, uuid))
                return;
        publish_soon(a->publisher);
        if (known && x.facts.ours)
                agent_domain_changed(a, x.facts.meta.ns, x.facts.meta.name);
}

/* It is the same for as long as the guest runs. */
static void know_machine(struct agent *a, virConnectPtr c, struct domain_facts *f)
{
        struct table_entry x;

        if (!f->ours || !f->active)
                return;
        if (table_get(a->table, f->uuid, &x) && x.known && x.facts.active &&
            x.facts.meta.epoch == f->meta.epoch && *x.facts.machine)
                memcpy(f->machine, x.facts.machine, sizeof(f->machine));
        else
                domain_machine(c, f->uuid, f->machine, sizeof(f->machine));
}

static void seen(struct agent *a, virConnectPtr c, struct domain_facts *f)
{
        if (f->ours && f->own == OWN_RUNNING && f->meta.incoming) {
                landing_announce(c, f->uuid);
                agent_poke(a, CLOCK_MS, "clock/%s", f->uuid);
                clear_incoming(f, c);
        }
        if (f->ours && f->own == OWN_ENDED && !f->meta.ended)
                mark_ended(f, c);
        know_machine(a, c, f);
        bool changed = table_put(a->table, f);
        if (changed)
                publish_soon(a->publisher);
        if (!f->ours)
                return;
        if (changed)
                agent_domain_changed(a, f->meta.ns, f->meta.name);
        if (changed && f->own == OWN_RUNNING) {
                agent_poke(a, 0, "addresses/%s", f->uuid);
                agent_poke(a, 0, "claims/%s/%s", f->meta.ns, f->meta.name);
        }
}

int64_t domain_work(struct agent *a, const char *uuid)
{
        struct domain_facts f;
        struct err e = {0};
        autoconnect virConnectPtr c = virt_connect(a->virt, &e);

        if (!c)
                return WORK_DONE; /* all are read when it is back */
        int rc = domain_read(c, uuid, &f, &e);
        if (rc == -ENOENT) {
                gone(a, uuid);
        } else if (rc) {
                log_err(&e, "cannot read domain", "uid", uuid, NULL);
                return WORK_RETRY;
        } else {
                seen(a, c, &f);
        }
        return WORK_DONE;
}

/* --- all */

struct walk {
        struct agent *a;
        char (*uuids)[VIR_UUID_STRING_BUFLEN];
        size_t n, cap;
        bool failed;
};

static void visit(void *ctx, const char *uuid)
{
        struct walk *w = ctx;

        if (w->n == w->cap) {
                size_t cap = w->cap ? w->cap * 2 : 64;
                void *v = realloc(w->uuids, cap * sizeof(w->uuids[0]));
                if (!v) {
                        w->failed = true;
                        return;
                }
                w->uuids = v;
                w->cap = cap;
        }
        memcpy(w->uuids[w->n++], uuid, VIR_UUID_STRING_BUFLEN);
}

static bool listed(const struct walk *w, const char *uuid)
{
        for (size_t i = 0; i < w->n; i++)
                if (!strcmp(w->uuids[i], uuid))
                        return true;
        return false;
}

static bool take_in(struct agent *a, const struct walk *w)
{
        size_t n;
        autofree struct table_entry *known = table_all(a->table, &n);
        bool ok = true;

        for (size_t i = 0; i < n; i++)
                if (known[i].known && !listed(w, known[i].facts.uuid))
                        agent_poke(a, 0, "domain/%s", known[i].facts.uuid);
        for (size_t i = 0; i < w->n; i++) {
                if (a->synced)
                        agent_poke(a, 0, "domain/%s", w->uuids[i]);
                else
                        ok &= domain_work(a, w->uuids[i]) == WORK_DONE;
        }
        return ok;
}

/* The VMs that ought to be here, whatever libvirt has. */
static bool poke_vm(void *ctx, const void *object)
{
        const struct vm *vm = object;

        agent_poke(ctx, 0, "vm/%s/%s", vm->meta.ns, vm->meta.name);
        return true;
}

int64_t domains_work(struct agent *a, const char *rest)
{
        struct walk w = {.a = a};
        struct err e = {0};
        autoconnect virConnectPtr c = virt_connect(a->virt, &e);

        (void)rest;
        if (!c)
                return NOT_CONNECTED;
        int rc = domain_each(c, visit, &w, &e);
        bool ok = !rc && !w.failed && take_in(a, &w);
        free(w.uuids);
        if (rc)
                log_err(&e, "cannot list domains", NULL);
        if (!ok || !virt_connected(a->virt))
                return WORK_RETRY;
        if (!a->synced) {
                a->synced = true;
                publish_soon(a->publisher);
                log_msg(LOG_INFO, "all domains are known", NULL);
                pods_poke(a, NULL, NULL);
        }
        kube_store_each(a->vms, poke_vm, a);
        return ALL_MS;
}

/* --- addresses */

int64_t addresses_work(struct agent *a, const char *uuid)
{
        char addresses[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE] = {{0}};
        struct table_entry x;
        struct err e = {0};

        if (!table_get(a->table, uuid, &x) || !x.known || x.facts.own != OWN_RUNNING)
                return WORK_DONE;
        autoconnect virConnectPtr c = virt_connect(a->virt, &e);
        if (!c)
                return NOT_CONNECTED;
        size_t n = domain_addresses(c, uuid, addresses);
        if (!n)
                nudge_known_addresses(a, x.facts.meta.ns, x.facts.meta.name);
        else if (table_addresses(a->table, uuid, addresses, n))
                publish_soon(a->publisher);
        return n || x.naddresses ? ADDRESSES_MS : NO_ADDRESS_MS;
}

/* --- facts */

int64_t facts_work(struct agent *a, const char *rest)
{
        struct host *facts = NULL;
        struct err e = {0};
        autoconnect virConnectPtr c = virt_connect(a->virt, &e);

        (void)rest;
        if (!c)
                return NOT_CONNECTED;
        if (facts_read(c, &a->config, &facts, &e)) {
                log_err(&e, "cannot read what the hypervisor can", NULL);
                return WORK_RETRY;
        }
        a->virt_type = strcmp(facts->virt_type, "kvm") == 0 ? VIRT_KVM : VIRT_QEMU;
        publish_facts(a->publisher, facts);
        agent_poke(a, 0, "node");
        return FACTS_MS;
}
