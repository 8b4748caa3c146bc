/* What `kubectl drover snapshot` has kubectl do. */
#include "kubectl/snapshot.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct snapshot_wish wish(const char *a, const char *b, const char *c)
{
        struct snapshot_wish w = {
                .kubectl = "kubectl", .quiesce = "", .operands = {a, b, c}, .now = "NOW"};

        while (w.n < SNAPSHOT_OPERAND && w.operands[w.n])
                w.n++;
        return w;
}

static void makes(const struct snapshot_wish *w, const char *words, const char *input)
{
        autobuf struct buf b = buf_new(4096);
        struct snapshot_call c;
        struct err e;

        assert_int_equal(snapshot_call(w, &c, &e), 0);
        for (size_t i = 0; c.argv[i]; i++)
                buf_addf(&b, "%s%s", i ? " " : "", c.argv[i]);
        assert_string_equal(buf_str(&b), words);
        assert_string_equal(buf_str(&c.input), input);
        buf_free(&c.input);
        buf_free(&c.text);
}

static void refuses(const struct snapshot_wish *w, const char *words)
{
        struct snapshot_call c;
        struct err e;

        assert_int_equal(snapshot_call(w, &c, &e), -EINVAL);
        if (!strstr(e.msg, words))
                fail_msg("%s", e.msg);
        buf_free(&c.input);
        buf_free(&c.text);
}

#define HEAD "{\"metadata\":"
#define TAIL "\"apiVersion\":\"drover.dev/v1alpha1\",\"kind\":\"VirtualMachineSnapshot\"}"

static void calls(void **state)
{
        struct snapshot_wish w = wish("create", "web", NULL);

        (void)state;
        makes(&w, "kubectl create -f -",
              HEAD "{\"generateName\":\"web-\"},\"spec\":{\"vm\":\"web\"}," TAIL);
        w = wish("create", "web", "before");
        w.quiesce = "Required";
        w.ns = "shop";
        w.context = "here";
        w.kubeconfig = "/k";
        makes(&w, "kubectl --kubeconfig /k --context here --namespace shop create -f -",
              HEAD
              "{\"name\":\"before\"},\"spec\":{\"vm\":\"web\",\"quiesce\":\"Required\"}," TAIL);
        w = wish("list", NULL, NULL);
        makes(&w, "kubectl get virtualmachinesnapshots.drover.dev", "");
        w = wish("list", "web", NULL);
        makes(&w, "kubectl get virtualmachinesnapshots.drover.dev --field-selector spec.vm=web",
              "");
        w = wish("delete", "before", NULL);
        makes(&w, "kubectl delete virtualmachinesnapshots.drover.dev before", "");
        w = wish("restore", "web", "before");
        makes(&w,
              "kubectl patch virtualmachines.drover.dev web --type merge -p "
              "{\"spec\":{\"restore\":{\"snapshot\":\"before\",\"requestedAt\":\"NOW\"}}}",
              "");
        w.restart = true;
        makes(&w,
              "kubectl patch virtualmachines.drover.dev web --type merge -p "
              "{\"spec\":{\"restore\":{\"snapshot\":\"before\",\"requestedAt\":\"NOW\"},"
              "\"restartedAt\":\"NOW\"}}",
              "");
}

static void mistakes(void **state)
{
        struct snapshot_wish w = wish(NULL, NULL, NULL);

        (void)state;
        refuses(&w, "create, list, delete, restore");
        w = wish("undo", NULL, NULL);
        refuses(&w, "create, list, delete, restore");
        w = wish("create", NULL, NULL);
        refuses(&w, "usage: kubectl drover snapshot create VM [NAME]");
        w = wish("restore", "web", NULL);
        refuses(&w, "usage: kubectl drover snapshot restore VM NAME");
        w = wish("delete", "a", "b");
        refuses(&w, "usage: kubectl drover snapshot delete NAME");
        w = wish("create", "web", NULL);
        w.restart = true;
        refuses(&w, "--restart goes with restore only");
        w = wish("restore", "web", "before");
        w.quiesce = "Never";
        refuses(&w, "--quiesce goes with create only");
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(calls), cmocka_unit_test(mistakes)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
