#include "certs/turn.h"

#include <stddef.h>

/* A time that is yet to come was written by a clock that was wrong: it counts as none. */
static bool since(int64_t then, const struct turn_facts *f)
{
        return then > 0 && then <= f->now_s;
}

static bool settled(int64_t then, const struct turn_facts *f)
{
        return since(then, f) && f->now_s - then >= f->settle_s;
}

static bool just_trusted(const struct turn_facts *f)
{
        return f->staged && !since(f->trusted_s, f);
}

/* An expired CA vouches for nothing: nobody gains by waiting. */
static bool may_switch(const struct turn_facts *f)
{
        return f->staged && !f->full && (settled(f->trusted_s, f) || f->expired);
}

static bool just_replaced(const struct turn_facts *f)
{
        return f->former && !since(f->replaced_s, f);
}

/* Certificates are copied to places that no Secret knows of, and end there by their age alone. */
static bool nowhere_left(const struct turn_facts *f)
{
        return f->former && settled(f->replaced_s, f) && f->now_s - f->replaced_s >= f->leaf_s;
}

static bool said_to_be_left_nowhere(const struct turn_facts *f)
{
        return f->former && settled(f->replaced_s, f) &&
               turn_wished(f->replaced_s, f->retire_s, f->now_s);
}

static bool old(const struct turn_facts *f)
{
        return !f->staged && f->renewable && f->ageing;
}

static bool unwanted(const struct turn_facts *f)
{
        return !f->staged && f->renewable && turn_wished(f->issued_s, f->renew_s, f->now_s);
}

static const struct {
        bool (*holds)(const struct turn_facts *f);
        enum turn turn;
        const char *why;
} rules[] = {
        {just_trusted, TURN_TRUSTED, "the next CA stands in every bundle"},
        {may_switch, TURN_SWITCH, "the next CA is trusted by all: it signs from now on"},
        {just_replaced, TURN_REPLACED, "no certificate of the CA before is left in a Secret"},
        {nowhere_left, TURN_RETIRE, "all certificates of the CA before have expired"},
        {said_to_be_left_nowhere, TURN_RETIRE, "the CA before is not used any more, as was said"},
        {old, TURN_STAGE, "less than a third of its lifetime is left: the next CA is made"},
        {unwanted, TURN_STAGE, "its renewal was asked for: the next CA is made"},
};

enum turn turn_next(const struct turn_facts *f, const char **why)
{
        for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                if (!rules[i].holds(f))
                        continue;
                *why = rules[i].why;
                return rules[i].turn;
        }
        *why = "";
        return TURN_NONE;
}
