#include "agent/xmldisk.h"

#include "agent/xml.h"

#include <string.h>

/* Whatever is within these is about other files than the disk's own. */
static bool nests(const struct xml_tag *t)
{
        return xml_is(t, "backingStore") || xml_is(t, "mirror");
}

static void begin(struct xml_disk *d, const struct xml_tag *t)
{
        char device[16];

        *d = (struct xml_disk){.writable = true};
        d->is_disk = !xml_get(t, "device", device, sizeof(device)) || !strcmp(device, "disk");
}

static void take_tag(struct xml_disk *d, const struct xml_tag *t, int *depth)
{
        char type[16];

        if (nests(t) && t->kind != XML_EMPTY)
                *depth += t->kind == XML_OPEN ? 1 : -1;
        if (xml_is(t, "backingStore") && t->kind == XML_OPEN && *depth == 1)
                d->backed |= xml_get(t, "type", type, sizeof(type));
        if (*depth || t->kind == XML_CLOSE)
                return;
        if (xml_is(t, "source"))
                xml_get(t, "file", d->file, sizeof(d->file));
        else if (xml_is(t, "readonly"))
                d->writable = false;
        else if (xml_is(t, "target"))
                xml_get(t, "dev", d->target, sizeof(d->target));
        else if (xml_is(t, "alias"))
                xml_get(t, "name", d->alias, sizeof(d->alias));
}

bool xml_disk_next(const char **xml, struct xml_disk *out)
{
        struct xml_tag t;
        bool inside = false;
        int depth = 0;

        while (xml_next(xml, &t)) {
                if (!xml_is(&t, "disk")) {
                        if (inside)
                                take_tag(out, &t, &depth);
                } else if (t.kind == XML_OPEN) {
                        begin(out, &t);
                        inside = true;
                        depth = 0;
                } else if (inside && t.kind == XML_CLOSE) {
                        return true;
                }
        }
        return false;
}
