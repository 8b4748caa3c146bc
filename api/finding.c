#include "api/finding.h"

struct json *finding_encode(const struct finding *x)
{
        struct json *j = json_new_object();

        if (!json_set_int(j, "check", x->check) ||
            !json_set_str(j, "name", doctor_check_name(x->check)) ||
            !json_set_str(j, "node", x->node) || !json_set_str(j, "subject", x->subject) ||
            !json_set_str(j, "verdict", doctor_verdict_name(x->verdict)) ||
            !json_set_str(j, "says", x->says) || !json_set_str(j, "mend", x->mend)) {
                json_free(j);
                return NULL;
        }
        return j;
}

bool finding_decode(const struct json *j, struct findings *f)
{
        int64_t check = json_int(j, "check", 0);
        const char *says = json_str(j, "says", NULL);

        if (check < 1 || check > INT32_MAX || !says)
                return false;
        findings_add(f, (unsigned)check, json_str(j, "node", ""), json_str(j, "subject", ""),
                     doctor_verdict_parse(json_str(j, "verdict", "")), json_str(j, "mend", ""),
                     "%s", says);
        return true;
}
