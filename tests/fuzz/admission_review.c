/* Any body as an AdmissionReview of a handle pod: answered with JSON, and the patch of one that can
 * be patched is made. */
#include "api/admission.h"
#include "api/codec.h"
#include "tests/fuzz/fuzz.h"
#include "webhook/evict.h"
#include "webhook/pod.h"

static struct vm *a_vm(void)
{
        static const char text[] =
                "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},\"spec\":{\"memory\":{"
                "\"guest\":\"1Gi\"},\"nodeSelector\":{\"zone\":\"a\"},\"affinity\":{"
                "\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
                "\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"disk\",\"operator\":"
                "\"In\",\"values\":[\"ssd\"]}]},{\"matchExpressions\":[{\"key\":\"gpu\","
                "\"operator\":\"Exists\"}]}]}}},\"tolerations\":[{\"operator\":\"Exists\"}]}}";
        static struct vm *vm;
        struct json *j = NULL;
        struct err e;

        if (vm)
                return vm;
        must(json_parse(text, sizeof(text) - 1, FUZZ_TEXT_MAX, &j, &e) == 0);
        must(vm_decode(j, &vm, &e) == 0);
        json_free(j);
        return vm;
}

static void answer(const struct admission_request *req, const struct json *patch)
{
        const struct admission_answer ans = {.allowed = true, .patch = patch};
        struct buf b = buf_new((size_t)64 << 20);
        struct json *j = NULL;
        struct err e;

        must(admission_encode(req, &ans, &b) == 0);
        must(json_parse(b.data, b.len, b.len, &j, &e) == 0);
        must(!strcmp(json_str(json_get(j, "response"), "uid", "?"), req->uid));
        json_free(j);
        buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct admission_request req;
        struct json *patch = NULL;
        struct err e;

        if (admission_decode((const char *)data, size, FUZZ_TEXT_MAX, &req, &e))
                return 0;
        (void)evict_is_dry_run(&req);
        if (req.object && pod_patch(req.object, a_vm(), "second", &patch, &e) == 0) {
                must(json_type(patch) == JSON_ARRAY);
                must((pod_check(req.object, a_vm(), "second", &e) == 0) == !json_count(patch));
        }
        answer(&req, json_count(patch) ? patch : NULL);
        json_free(patch);
        admission_free(&req);
        return 0;
}
