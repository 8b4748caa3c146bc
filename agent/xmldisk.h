/* The disks of a domain, by its XML as libvirt prints it. */
#ifndef DROVER_AGENT_XMLDISK_H
#define DROVER_AGENT_XMLDISK_H

#include <stdbool.h>

struct xml_disk {
        char file[1024]; /* its own source; "" when it has none that is a file */
        char target[32], alias[64];
        bool is_disk; /* and no cdrom or floppy */
        bool writable;
        bool backed; /* another file stands behind its own */
};

/* The next one at or after *xml, which moves past it; false at the end of the text, and for one
 * that does not end. */
bool xml_disk_next(const char **xml, struct xml_disk *out);

#endif
