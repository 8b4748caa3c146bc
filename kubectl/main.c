/* kubectl-drover: what `kubectl drover VERB` runs, on a user's machine. */
#include "base/cleanup.h"
#include "kubectl/doctor.h"
#include "kubectl/snapshot.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
        const char *name, *about;
        int (*run)(int argc, char **argv);
} VERBS[] = {
        {"doctor", "examines Drover, its hypervisors and their storage", doctor_main},
        {"snapshot", "makes, lists and deletes snapshots of VMs, and goes back to one",
         snapshot_main},
};

int main(int argc, char **argv)
{
        bool help = argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"));
        FILE *out = help ? stdout : stderr;

        for (size_t i = 0; i < countof(VERBS); i++)
                if (argc > 1 && !strcmp(argv[1], VERBS[i].name))
                        return VERBS[i].run(argc - 1, argv + 1);
        fputs("Usage: kubectl drover VERB [FLAGS]\n\n", out);
        for (size_t i = 0; i < countof(VERBS); i++)
                fprintf(out, "  %-8s %s\n", VERBS[i].name, VERBS[i].about);
        return help ? 0 : 2;
}
