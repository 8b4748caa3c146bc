#include "agent/tool.h"

#include "agent/disktool.h"
#include "agent/fetch.h"
#include "agent/locks.h"
#include "agent/offers.h"
#include "agent/place.h"
#include "agent/pool.h"
#include "agent/probe.h"
#include "agent/snaptool.h"
#include "agent/words.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

struct verb {
        const char *name;
        int args; /* the pool's path and what the verb wants to know */
        int (*run)(char **argv);
        bool enters; /* by itself, since it has more to say of a pool that cannot be entered */
};

static int run_in_pool(const struct verb *v, char **argv)
{
        struct err e;

        if (!v->enters && enter_pool(argv[0], &e)) {
                printf("%s\n", e.msg);
                return 1;
        }
        return v->run(argv);
}

int agent_tool(int argc, char **argv)
{
        static const struct verb VERBS[] = {{"probe", 2, probe_tool, true},
                                            {"have", 2, disk_tool_have, false},
                                            {"blank", 3, disk_tool_blank, false},
                                            {"clone", 6, disk_tool_clone, false},
                                            {"copy", 6, disk_tool_copy, false},
                                            {"seed", 3, disk_tool_seed, false},
                                            {"remove", 2, disk_tool_remove, false},
                                            {"retain", 3, disk_tool_retain, false},
                                            {"fetch", 7, fetch_tool, false},
                                            {"place", 3, place_tool, false},
                                            {"drop", 3, place_tool_drop, false},
                                            {"unplace", 3, place_tool_remove, false},
                                            {"hold", 2, lock_tool_hold, false},
                                            {"refused", 2, lock_tool_refused, false},
                                            {"offer", 3, offer_tool_write, false},
                                            {"seen", 4, offer_tool_seen, false},
                                            {"words", 5, words_tool, false},
                                            {"snap-take", 4, snap_tool_take, false},
                                            {"snap-drop", 3, snap_tool_drop, false},
                                            {"snap-has", 3, snap_tool_has, false},
                                            {"snap-apply", 3, snap_tool_apply, false},
                                            {"marked", 2, snap_tool_marked, false},
                                            {"mark", 3, snap_tool_mark, false},
                                            {"new", 3, disk_tool_new, false},
                                            {"folders", 2, disk_tool_folders, false},
                                            {"sweep", 2, disk_tool_sweep, false},
                                            {"claim", 3, disk_tool_claim, false}};

        setvbuf(stdout, NULL, _IOLBF, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* what nobody waits for has no business on the pool */
        for (size_t i = 0; i < countof(VERBS); i++)
                if (argc > 0 && !strcmp(argv[0], VERBS[i].name) && argc - 1 == VERBS[i].args)
                        return run_in_pool(&VERBS[i], argv + 1);
        printf("tool VERB POOL ARGUMENT...: see agent/tool.h\n");
        return 2;
}
