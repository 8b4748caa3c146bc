/* Any body as ExtenderArgs: whatever is said of its nodes, the answer is JSON that names them. */
#include "api/extender.h"
#include "tests/fuzz/fuzz.h"

#define NODES 64

static void answer(const struct extender_args *args)
{
        size_t fit[NODES], n = args->names.n < NODES ? args->names.n : NODES;
        struct extender_failure failures[NODES];
        struct extender_filter_result r = {.fit = fit, .failures = failures};
        struct buf b = buf_new((size_t)64 << 20);
        struct json *j = NULL;
        int scores[NODES];
        struct err e;

        for (size_t i = 0; i < n; i++) {
                scores[i] = (int)(i % 11);
                if (i % 3)
                        fit[r.nfit++] = i;
                else
                        failures[r.nfailures++] = (struct extender_failure){
                                args->names.v[i], "its storage does not answer", i % 2};
        }
        must(extender_filter_encode(args, &r, &b) == 0);
        must(json_parse(b.data, b.len, b.len, &j, &e) == 0);
        must(args->has_names ? json_count(json_get(j, "NodeNames")) == r.nfit
                             : json_count(json_path(j, "Nodes", "items", NULL)) == r.nfit);
        json_free(j);
        buf_reset(&b);
        if (args->names.n <= NODES) {
                must(extender_priorities_encode(args, scores, &b) == 0);
                must(json_parse(b.data, b.len, b.len, &j, &e) == 0 && json_count(j) == n);
                json_free(j);
        }
        buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct extender_args args;
        struct err e;

        if (extender_args_decode((const char *)data, size, FUZZ_TEXT_MAX, &args, &e))
                return 0;
        must(args.pod);
        answer(&args);
        extender_args_free(&args);
        return 0;
}
