#include "agent/domxml.h"

#include "agent/xml.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG "drover:vm"

void domain_meta_of(const struct vm *vm, struct domain_meta *out)
{
        *out = (struct domain_meta){.epoch = vm->status.owner.epoch};
        snprintf(out->ns, sizeof(out->ns), "%s", vm->meta.ns);
        snprintf(out->name, sizeof(out->name), "%s", vm->meta.name);
        snprintf(out->restarted_at, sizeof(out->restarted_at), "%s", vm_start_restarted_at(vm));
        vm_restore_token(&vm->spec.restore, out->restored);
        for (char *p = out->restarted_at; *p; p++)
                if ((unsigned char)*p < 0x20)
                        *p = '?';
}

int domain_meta_print(const struct domain_meta *m, bool prefixed, struct buf *b)
{
        buf_adds(b, prefixed ? "<" TAG " xmlns:" DOMXML_PREFIX "='" DOMXML_NS "'" : "<vm");
        xml_attr(b, "namespace", m->ns);
        xml_attr(b, "name", m->name);
        buf_addf(b, " epoch='%" PRId64 "'", m->epoch);
        xml_attr(b, "restartedAt", m->restarted_at);
        if (*m->restored)
                xml_attr(b, "restored", m->restored);
        if (m->incoming)
                buf_adds(b, " incoming='1'");
        if (*m->migration)
                xml_attr(b, "migration", m->migration);
        if (m->ended)
                buf_adds(b, " ended='1'");
        return buf_adds(b, "/>");
}

static bool find(const char *xml, struct xml_tag *tag)
{
        while (xml_next(&xml, tag))
                if (tag->kind != XML_CLOSE && (xml_is(tag, TAG) || xml_is(tag, "vm")))
                        return true;
        return false;
}

bool domain_meta_parse(const char *xml, struct domain_meta *out)
{
        struct domain_meta m = {0};
        struct xml_tag tag;
        char number[32], flag[8];

        if (!find(xml, &tag) || !xml_get(&tag, "namespace", m.ns, sizeof(m.ns)) ||
            !xml_get(&tag, "name", m.name, sizeof(m.name)) ||
            !xml_get(&tag, "epoch", number, sizeof(number)))
                return false;
        m.epoch = strtoll(number, NULL, 10);
        xml_get(&tag, "restartedAt", m.restarted_at, sizeof(m.restarted_at));
        xml_get(&tag, "restored", m.restored, sizeof(m.restored));
        m.incoming = xml_get(&tag, "incoming", flag, sizeof(flag));
        xml_get(&tag, "migration", m.migration, sizeof(m.migration));
        m.ended = xml_get(&tag, "ended", flag, sizeof(flag));
        *out = m;
        return true;
}

int domain_meta_replace(const char *xml, const struct domain_meta *m, struct buf *out,
                        struct err *e)
{
        struct xml_tag tag;

        if (!find(xml, &tag) || tag.kind != XML_EMPTY)
                return err_set(e, -EINVAL, "the domain's XML holds no <" TAG "/>");
        buf_add(out, xml, (size_t)(tag.at - xml));
        domain_meta_print(m, true, out);
        int rc = buf_adds(out, tag.end);
        return rc ? err_set(e, rc, "the domain's XML is too long") : 0;
}

int domxml_console_path(const struct agent_config *c, const struct vm *vm, struct buf *b)
{
        char name[65];

        vm_domain_name(&vm->meta, name);
        return buf_addf(b, "%s/%s.console.log", c->console_dir, name);
}

static void print_head(const struct domain_plan *p, struct buf *b)
{
        struct domain_meta m;
        char name[65];

        vm_domain_name(&p->vm->meta, name);
        domain_meta_of(p->vm, &m);
        buf_addf(b, "<domain type='%s'><name>", p->virt_type);
        xml_text(b, name);
        buf_adds(b, "</name><uuid>");
        xml_text(b, p->vm->meta.uid);
        buf_adds(b, "</uuid><metadata>");
        domain_meta_print(&m, true, b);
        buf_addf(b, "</metadata><memory unit='b'>%" PRId64 "</memory>", p->shape->memory);
        if (*p->shape->huge_pages)
                buf_addf(b,
                         "<memoryBacking><hugepages><page size='%d' unit='KiB'/></hugepages>"
                         "</memoryBacking>",
                         strcmp(p->shape->huge_pages, "1Gi") == 0 ? 1048576 : 2048);
        buf_addf(b, "<vcpu>%" PRId64 "</vcpu>", p->shape->cores);
}

/*
 * The CPU is always one named model, the same on every node, never the host's own: a guest must
 * find on its next node the CPU it booted on. What an emulated CPU can do does not depend on the
 * host.
 */
static void print_cpu(const struct domain_plan *p, struct buf *b)
{
        bool kvm = strcmp(p->virt_type, "kvm") == 0;
        const char *model = p->shape->cpu_model;

        if (!*model)
                model = p->config->cpu_model;
        if (!*model)
                model = kvm ? "Nehalem" : "qemu64";
        buf_addf(b, "<cpu mode='custom' match='exact' check='%s'><model fallback='forbid'>",
                 kvm ? "partial" : "none");
        xml_text(b, model);
        buf_addf(b,
                 "</model><topology sockets='1' dies='1' cores='%" PRId64 "' threads='1'/></cpu>",
                 p->shape->cores);
}

static void print_platform(const struct domain_plan *p, struct buf *b)
{
        buf_adds(b, "<os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>"
                    "<features><acpi/><apic/></features>");
        print_cpu(p, b);
        buf_adds(b,
                 "<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/>"
                 "<timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/></clock>"
                 "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>"
                 "<on_crash>destroy</on_crash>");
}

static void print_disks(const struct domain_plan *p, struct buf *b)
{
        for (size_t i = 0; i < p->vm->spec.ndisks; i++) {
                const struct disk_source *d = &p->disks[i];
                buf_addf(b,
                         "<disk type='%s' device='disk'><driver name='qemu' type='%s' "
                         "cache='none' error_policy='stop' discard='unmap'/><source",
                         d->block ? "block" : "file", d->raw ? "raw" : "qcow2");
                xml_attr(b, d->block ? "dev" : "file", d->path);
                buf_addf(b, "/><target dev='vd%c' bus='virtio'/><serial>", (int)('a' + i));
                char serial[21]; /* what virtio-blk carries */
                snprintf(serial, sizeof(serial), "%s", p->vm->spec.disks[i].name);
                xml_text(b, serial);
                buf_adds(b, "</serial></disk>");
        }
        if (p->seed) {
                buf_adds(
                        b,
                        "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source");
                xml_attr(b, "file", p->seed);
                buf_adds(b, "/><target dev='sda' bus='sata'/><readonly/></disk>");
        }
}

static void print_networks(const struct domain_plan *p, struct buf *b)
{
        for (size_t i = 0; i < p->vm->spec.nnetworks; i++) {
                const struct vm_network *n = &p->vm->spec.networks[i];
                char mac[18];
                vm_mac(p->vm, i, mac);
                buf_adds(b, "<interface type='bridge'><mac");
                xml_attr(b, "address", mac);
                buf_adds(b, "/><source");
                xml_attr(b, "bridge", n->bridge);
                buf_adds(b, "/><model");
                xml_attr(b, "type", n->model);
                buf_adds(b, "/></interface>");
        }
}

static void print_devices(const struct domain_plan *p, struct buf *b)
{
        autobuf struct buf log = buf_new(4096);

        buf_adds(b, "<devices>");
        if (*p->config->emulator) {
                buf_adds(b, "<emulator>");
                xml_text(b, p->config->emulator);
                buf_adds(b, "</emulator>");
        }
        buf_adds(b, "<controller type='usb' model='none'/>");
        print_disks(p, b);
        print_networks(p, b);
        domxml_console_path(p->config, p->vm, &log);
        buf_adds(b, "<serial type='pty'><log");
        xml_attr(b, "file", buf_str(&log));
        buf_adds(b, " append='on'/><target port='0'/></serial>"
                    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
                    "</channel><graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>"
                    "<video><model type='vga'/></video>"
                    "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
                    "<memballoon model='none'/><panic model='isa'/></devices></domain>");
}

int domxml_print(const struct domain_plan *p, struct buf *out, struct err *e)
{
        if (p->vm->spec.ndisks > DOMXML_DISKS)
                return err_set(e, -EINVAL, "%zu disks are more than %d", p->vm->spec.ndisks,
                               DOMXML_DISKS);
        print_head(p, out);
        print_platform(p, out);
        print_devices(p, out);
        return out->failed ? err_set(e, out->error, "the domain's XML is too long") : 0;
}
