/*
 * Sets of enum values, for tables of rules of which the first that fits decides. Bit v is set when
 * the rule fits value v; ANY fits all.
 */
#ifndef DROVER_CORE_RULES_H
#define DROVER_CORE_RULES_H

#include <stdbool.h>

#define IN1(a)          (1U << (a))
#define IN2(a, b)       (IN1(a) | IN1(b))
#define IN3(a, b, c)    (IN2(a, b) | IN1(c))
#define IN4(a, b, c, d) (IN3(a, b, c) | IN1(d))
#define ANY             0U
#define YES             IN1(1)
#define NO              IN1(0)

static inline bool rule_fits(unsigned set, unsigned value)
{
        return set == ANY || (set & IN1(value));
}

#endif
