#include "api/codec.h"
#include "core/admission.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"

#include <errno.h>

#define ARENA_MAX ((size_t)1 << 20)
#define TERMS                                                                                      \
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."               \
        "nodeSelectorTerms"
#define REQUIRED(terms)                                                                            \
        "'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"           \
        "'nodeSelectorTerms':" terms "}}}"
#define EXPRESSION(e) REQUIRED("[{'matchExpressions':[" e "]}]")
#define FIELD(e)      REQUIRED("[{'matchFields':[" e "]}]")
#define NEAR(e)                                                                                    \
        "'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[" e "]}}"
#define APART(e)                                                                                   \
        "'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[" e "]}" \
        "}"
#define ED25519 "AAAAC3NzaC1lZDI1NTE5AAAAINT7Kp7nttxSxAP5uxwR5YzPY84+6su2pzisnqD6N/uM"
#define NAME_50 "a2345678901234567890123456789012345678901234567890"

/* A spec without fault that uses every field. */
static const char GOOD[] =
        "{'runStrategy':'Always','restartedAt':'','cpu':{'cores':2,'model':'EPYC-Rome'},"
        "'memory':{'guest':'1Gi','hugePages':'2Mi'},"
        "'disks':[{'name':'root','image':{'name':'debian-12','size':'20Gi'}},"
        "{'name':'data','blank':{'size':'1Gi'},'pool':'fast'}],"
        "'networks':[{'name':'lan','bridge':'br0','mac':'52:54:00:12:34:56','model':'e1000'},"
        "{'name':'wan'}],"
        "'cloudInit':{'userData':'#cloud-config','networkData':'version: 2'},"
        "'sshKeys':['ssh-ed25519 " ED25519 " me@here'],"
        "'nodeName':'node1.example','nodeSelector':{'disktype':'ssd','topology.kubernetes.io/"
        "zone':''},"
        "'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
        "'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'In','values':['x',"
        "'']},{'key':'b','operator':'NotIn','values':['y']},{'key':'c','operator':'Exists'},"
        "{'key':'d','operator':'DoesNotExist'},{'key':'e','operator':'Gt','values':['-3']},"
        "{'key':'f','operator':'Lt','values':['7']}],'matchFields':[{'key':'metadata.name',"
        "'operator':'In','values':['node1.example']}]}]}},"
        "'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':"
        "'kubernetes.io/hostname','labelSelector':{'matchLabels':{'app':'web'},"
        "'matchExpressions':[{'key':'tier','operator':'NotIn','values':['1']}]}}]}},"
        "'tolerations':[{'operator':'Exists'},{'key':'k','value':'v','effect':'NoExecute',"
        "'tolerationSeconds':60},{'key':'k','operator':'Equal','value':'','effect':"
        "'PreferNoSchedule'}],"
        "'priorityClassName':'high.prio','migration':{'maxDowntimeMs':100,'bandwidthMiBps':50,"
        "'completionTimeoutSecondsPerGiB':10,'handover':'Fast'},'evictionStrategy':'None'}";

/* spec: members that replace those of the good one; path NULL: nothing is wrong. */
struct row {
        enum admission_rule rule;
        const char *spec, *path, *words; /* words of the message */
};

static const struct row rows[] = {
        {ADMIT_OK, "", NULL, NULL},
        {ADMIT_RUN_STRATEGY, "'runStrategy':'Sometimes'", "spec.runStrategy", "\"Sometimes\""},
        {ADMIT_OK, "'runStrategy':''", NULL, NULL},
        {ADMIT_CORES, "'cpu':{'cores':0}", "spec.cpu.cores", "0 is not between 1 and 512"},
        {ADMIT_CORES, "'cpu':{'cores':-1}", "spec.cpu.cores", "-1"},
        {ADMIT_CORES, "'cpu':{'cores':513}", "spec.cpu.cores", "513"},
        {ADMIT_OK, "'cpu':{}", NULL, NULL},
        {ADMIT_CPU_MODEL, "'cpu':{'model':'no model'}", "spec.cpu.model", "no model"},
        {ADMIT_CPU_MODEL, "'cpu':{'model':'a/b'}", "spec.cpu.model", "a/b"},
        {ADMIT_MEMORY, "'memory':{'guest':'-1Gi'}", "spec.memory.guest", "at least 16Mi"},
        {ADMIT_MEMORY, "'memory':{'guest':'0'}", "spec.memory.guest", "at least 16Mi"},
        {ADMIT_MEMORY, "'memory':{'guest':'15Mi'}", "spec.memory.guest", "at least 16Mi"},
        {ADMIT_MEMORY, "'memory':{}", "spec.memory.guest", "at least 16Mi"},
        {ADMIT_OK, "'memory':{'guest':'16Mi'}", NULL, NULL},
        {ADMIT_HUGE_PAGES, "'memory':{'guest':'1Gi','hugePages':'4Mi'}", "spec.memory.hugePages",
         "\"4Mi\" is neither"},
        {ADMIT_HUGE_PAGES, "'memory':{'guest':'1537Mi','hugePages':'2Mi'}", "spec.memory.guest",
         "multiple"},
        {ADMIT_HUGE_PAGES, "'memory':{'guest':'1536Mi','hugePages':'1Gi'}", "spec.memory.guest",
         "multiple"},
        {ADMIT_DISK_NAME, "'disks':[{'name':'A','blank':{'size':'1Gi'}}]", "spec.disks[0].name",
         "\"A\" is no name"},
        {ADMIT_DISK_NAME, "'disks':[{'name':'../x','blank':{'size':'1Gi'}}]", "spec.disks[0].name",
         "is no name"},
        {ADMIT_DISK_NAME, "'disks':[{'blank':{'size':'1Gi'}}]", "spec.disks[0].name", "is no name"},
        {ADMIT_DISK_NAME, "'disks':[{'name':'-a','blank':{'size':'1Gi'}}]", "spec.disks[0].name",
         "is no name"},
        {ADMIT_DISK_NAME,
         "'disks':[{'name':'a','blank':{'size':'1Gi'}},{'name':'b','blank':{'size':'1Gi'}},"
         "{'name':'a','blank':{'size':'1Gi'}}]",
         "spec.disks[2].name", "Duplicate value: \"a\" is the name of spec.disks[0] too"},
        {ADMIT_DISK_SOURCE, "'disks':[{'name':'a'}]", "spec.disks[0]", "exactly one of"},
        {ADMIT_DISK_SOURCE,
         "'disks':[{'name':'a','blank':{'size':'1Gi'},'image':{'name':'debian-12'}}]",
         "spec.disks[0]", "exactly one of"},
        {ADMIT_DISK_SOURCE, "'disks':[{'name':'a','image':{}}]", "spec.disks[0].image.name",
         "no name of an image"},
        {ADMIT_DISK_SOURCE, "'disks':[{'name':'a','persistentVolumeClaim':{'claimName':'A'}}]",
         "spec.disks[0].persistentVolumeClaim.claimName", "\"A\" is no name of a claim"},
        {ADMIT_DISK_SIZE, "'disks':[{'name':'a','blank':{'size':'0'}}]", "spec.disks[0].blank.size",
         "more than zero"},
        {ADMIT_DISK_SIZE, "'disks':[{'name':'a','blank':{}}]", "spec.disks[0].blank.size",
         "more than zero"},
        {ADMIT_DISK_SIZE, "'disks':[{'name':'a','image':{'name':'debian-12','size':'-1'}}]",
         "spec.disks[0].image.size", "negative"},
        {ADMIT_DISK_POOL, "'disks':[{'name':'a','blank':{'size':'1Gi'},'pool':'/mnt'}]",
         "spec.disks[0].pool", "\"/mnt\" is no name of a pool"},
        {ADMIT_DISK_IMAGE, "'disks':[{'name':'a','image':{'name':'debian-13'}}]",
         "spec.disks[0].image.name",
         "there is no VirtualMachineImage \"debian-13\" in namespace shop"},
        {ADMIT_NETWORK_NAME, "'networks':[{'name':'LAN'}]", "spec.networks[0].name", "is no name"},
        {ADMIT_NETWORK_NAME, "'networks':[{'name':'n'},{'name':'n'}]", "spec.networks[1].name",
         "Duplicate value: \"n\""},
        {ADMIT_BRIDGE, "'networks':[{'name':'n','bridge':'a-bridge-too-far'}]",
         "spec.networks[0].bridge", "a-bridge-too-far"},
        {ADMIT_BRIDGE, "'networks':[{'name':'n','bridge':'br 0'}]", "spec.networks[0].bridge",
         "br 0"},
        {ADMIT_NETWORK_MODEL, "'networks':[{'name':'n','model':'ne2000'}]",
         "spec.networks[0].model", "\"ne2000\" is none of virtio"},
        {ADMIT_MAC, "'networks':[{'name':'n','mac':'xx:54'}]", "spec.networks[0].mac",
         "\"xx:54\" is no unicast MAC"},
        {ADMIT_MAC, "'networks':[{'name':'n','mac':'53:54:00:12:34:56'}]", "spec.networks[0].mac",
         "unicast"},
        {ADMIT_MAC, "'networks':[{'name':'n','mac':'ff:ff:ff:ff:ff:ff'}]", "spec.networks[0].mac",
         "unicast"},
        {ADMIT_MAC, "'networks':[{'name':'n','mac':'52:54:00:12:34:567'}]", "spec.networks[0].mac",
         "unicast"},
        {ADMIT_MAC, "'networks':[{'name':'n','mac':'52-54-00-12-34-56'}]", "spec.networks[0].mac",
         "unicast"},
        {ADMIT_MAC_TWICE,
         "'networks':[{'name':'n','mac':'52:54:00:aa:bb:cc'},{'name':'m','mac':"
         "'52:54:00:AA:bb:cc'}]",
         "spec.networks[1].mac", "spec.networks[0] has 52:54:00:AA:bb:cc too"},
        {ADMIT_OK, "'networks':[{'name':'n','mac':''},{'name':'m','mac':''}]", NULL, NULL},
        {ADMIT_SSH_KEY, "'sshKeys':['" ED25519 "']", "spec.sshKeys[0]", "no public key"},
        {ADMIT_SSH_KEY, "'sshKeys':['ssh-rsa " ED25519 "']", "spec.sshKeys[0]", "no public key"},
        {ADMIT_SSH_KEY, "'sshKeys':['ssh-ed25519 AAAA']", "spec.sshKeys[0]", "no public key"},
        {ADMIT_SSH_KEY, "'sshKeys':['ssh-ed25519 " ED25519 "A']", "spec.sshKeys[0]",
         "no public key"},
        {ADMIT_SSH_KEY, "'sshKeys':['ssh-ed25519 me@here']", "spec.sshKeys[0]", "no public key"},
        {ADMIT_SSH_KEY, "'sshKeys':['ssh-ed25519 " ED25519 " x\\nssh-ed25519 " ED25519 "']",
         "spec.sshKeys[0]", "no public key in one line"},
        {ADMIT_SSH_KEY, "'sshKeys':['ssh-ed25519 " ED25519 "','']", "spec.sshKeys[1]",
         "no public key"},
        {ADMIT_SSH_KEY, "'sshKeys':['-----BEGIN OPENSSH PRIVATE KEY-----']", "spec.sshKeys[0]",
         "no public key"},
        {ADMIT_OK,
         "'sshKeys':['ssh-ed25519 " ED25519 "','no-pty,from=\\\"a b\\\"  ssh-ed25519 " ED25519
         " x y']",
         NULL, NULL},
        {ADMIT_OK,
         "'sshKeys':['ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNW"
         "/1fs5vs0vwpXFs5KqWI0hwEQX/q+p1IUSGhSswm3nWvbErONL4lbkL96mrjWN0hiB2LbxkrP+4sMYJj4wJqc= "
         "root@vm']",
         NULL, NULL},
        {ADMIT_NODE_NAME, "'nodeName':'Node 1','affinity':{}", "spec.nodeName",
         "\"Node 1\" is no name of a node"},
        {ADMIT_NODE_NAME, "'nodeName':'a..b','affinity':{}", "spec.nodeName", "no name"},
        {ADMIT_NODE_SELECTOR, "'nodeSelector':{'a b':'c'}", "spec.nodeSelector",
         "\"a b\" is no key"},
        {ADMIT_NODE_SELECTOR, "'nodeSelector':{'Upper.case/x':'c'}", "spec.nodeSelector",
         "is no key"},
        {ADMIT_NODE_SELECTOR, "'nodeSelector':{'a/b/c':'c'}", "spec.nodeSelector", "is no key"},
        {ADMIT_NODE_SELECTOR, "'nodeSelector':{'zone':'-a'}", "spec.nodeSelector[zone]",
         "\"-a\" is no value"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'Near','values':['b']}"),
         TERMS "[0].matchExpressions[0].operator", "\"Near\" is none of In, NotIn"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','values':['b']}"),
         TERMS "[0].matchExpressions[0].operator", "\"\" is none of"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'in','values':['b']}"),
         TERMS "[0].matchExpressions[0].operator", "\"in\" is none of"},
        {ADMIT_AFFINITY, EXPRESSION("{'operator':'In','values':['b']}"),
         TERMS "[0].matchExpressions[0].key", "\"\" is no key"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'In'}"),
         TERMS "[0].matchExpressions[0].values", "In needs values"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'NotIn','values':[]}"),
         TERMS "[0].matchExpressions[0].values", "NotIn needs values"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'In','values':['b','c d']}"),
         TERMS "[0].matchExpressions[0].values[1]", "\"c d\" is no value"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'Exists','values':['b']}"),
         TERMS "[0].matchExpressions[0].values", "Exists takes no values"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'DoesNotExist','values':['b']}"),
         TERMS "[0].matchExpressions[0].values", "DoesNotExist takes no values"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'Gt','values':['many']}"),
         TERMS "[0].matchExpressions[0].values", "Gt needs one whole number, not \"many\""},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'Lt','values':['1','2']}"),
         TERMS "[0].matchExpressions[0].values", "one whole number"},
        {ADMIT_AFFINITY, EXPRESSION("{'key':'a','operator':'Lt'}"),
         TERMS "[0].matchExpressions[0].values", "one whole number, not \"\""},
        {ADMIT_AFFINITY, FIELD("{'key':'spec.podCIDR','operator':'In','values':['b']}"),
         TERMS "[0].matchFields[0].key", "only metadata.name"},
        {ADMIT_AFFINITY, FIELD("{'key':'metadata.name','operator':'Exists'}"),
         TERMS "[0].matchFields[0].operator", "\"Exists\" is neither In nor NotIn"},
        {ADMIT_AFFINITY, FIELD("{'key':'metadata.name','operator':'In','values':['a','b']}"),
         TERMS "[0].matchFields[0].values", "exactly one value"},
        {ADMIT_AFFINITY, REQUIRED("[]"), TERMS, "at least one term"},
        {ADMIT_POD_AFFINITY, NEAR("{'labelSelector':{}}"),
         "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
         "\"\" is no key"},
        {ADMIT_POD_AFFINITY,
         APART("{'topologyKey':'z','labelSelector':{'matchLabels':{'a':'b c'}}}"),
         "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]."
         "labelSelector.matchLabels[a]",
         "\"b c\" is no value"},
        {ADMIT_POD_AFFINITY,
         APART("{'topologyKey':'z','namespaceSelector':{'matchExpressions':[{'key':'a',"
               "'operator':'Gt','values':['1']}]}}"),
         "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]."
         "namespaceSelector.matchExpressions[0].operator",
         "\"Gt\" is none of In, NotIn, Exists, DoesNotExist"},
        {ADMIT_POD_AFFINITY,
         NEAR("{'topologyKey':'z','labelSelector':{'matchExpressions':[{'key':'a','operator':'In'"
              "}]}}"),
         "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]."
         "labelSelector.matchExpressions[0].values",
         "In needs values"},
        {ADMIT_TOLERATION, "'tolerations':[{'key':'a','operator':'Like'}]",
         "spec.tolerations[0].operator", "\"Like\" is neither"},
        {ADMIT_TOLERATION, "'tolerations':[{'operator':'Equal'}]", "spec.tolerations[0].operator",
         "must be Exists when key is empty"},
        {ADMIT_TOLERATION, "'tolerations':[{}]", "spec.tolerations[0].operator",
         "must be Exists when key is empty"},
        {ADMIT_TOLERATION, "'tolerations':[{'key':'a b','operator':'Exists'}]",
         "spec.tolerations[0].key", "is no key"},
        {ADMIT_TOLERATION, "'tolerations':[{'key':'a','operator':'Exists','value':'b'}]",
         "spec.tolerations[0].value", "must be empty"},
        {ADMIT_TOLERATION, "'tolerations':[{'key':'a','value':'b c'}]", "spec.tolerations[0].value",
         "is no value"},
        {ADMIT_TOLERATION, "'tolerations':[{'key':'a','effect':'Never'}]",
         "spec.tolerations[0].effect", "\"Never\" is none of"},
        {ADMIT_TOLERATION,
         "'tolerations':[{'key':'a','effect':'NoSchedule','tolerationSeconds':5}]",
         "spec.tolerations[0].effect", "must be NoExecute"},
        {ADMIT_CONTRADICTION,
         "'nodeName':'node1','affinity':{},'nodeSelector':{'kubernetes.io/hostname':'node2'}",
         "spec.nodeSelector", "node2 contradicts spec.nodeName: node1"},
        {ADMIT_OK,
         "'nodeName':'node1','affinity':{},'nodeSelector':{'kubernetes.io/hostname':'node1'}", NULL,
         NULL},
        {ADMIT_CONTRADICTION,
         "'nodeName':'node1'," FIELD("{'key':'metadata.name','operator':'In','values':['node2']}"),
         TERMS, "every term contradicts spec.nodeName: node1"},
        {ADMIT_CONTRADICTION,
         "'nodeName':'node1'," FIELD(
                 "{'key':'metadata.name','operator':'NotIn','values':['node1']}"),
         TERMS, "every term contradicts"},
        {ADMIT_CONTRADICTION,
         "'nodeName':'node1'," EXPRESSION("{'key':'kubernetes.io/hostname','operator':'NotIn',"
                                          "'values':['node1']}"),
         TERMS, "every term contradicts"},
        {ADMIT_CONTRADICTION,
         "'nodeName':'node1'," EXPRESSION(
                 "{'key':'kubernetes.io/hostname','operator':'DoesNotExist'}"),
         TERMS, "every term contradicts"},
        {ADMIT_OK,
         "'nodeName':'node1'," REQUIRED(
                 "[{'matchFields':[{'key':'metadata.name','operator':'In','values':['node2']}]},"
                 "{'matchExpressions':[{'key':'zone','operator':'In','values':['a']}]}]"),
         NULL, NULL},
        {ADMIT_PRIORITY_CLASS, "'priorityClassName':'High'", "spec.priorityClassName",
         "\"High\" is no name"},
        {ADMIT_MIGRATION, "'migration':{'maxDowntimeMs':0}", "spec.migration.maxDowntimeMs",
         "0 is not between 1 and 60000"},
        {ADMIT_MIGRATION, "'migration':{'maxDowntimeMs':60001}", "spec.migration.maxDowntimeMs",
         "60001"},
        {ADMIT_MIGRATION, "'migration':{'bandwidthMiBps':-1}", "spec.migration.bandwidthMiBps",
         "-1"},
        {ADMIT_MIGRATION, "'migration':{'completionTimeoutSecondsPerGiB':0}",
         "spec.migration.completionTimeoutSecondsPerGiB", "0 is not"},
        {ADMIT_MIGRATION, "'migration':{'handover':'Hasty'}", "spec.migration.handover",
         "\"Hasty\" is neither"},
        {ADMIT_MIGRATION, "'migration':{'postCopy':true}", "spec.migration.postCopy",
         "needs handover: Fast"},
        {ADMIT_OK, "'migration':{'postCopy':true,'handover':'Fast'}", NULL, NULL},
        {ADMIT_EVICTION, "'evictionStrategy':'Kill'", "spec.evictionStrategy",
         "\"Kill\" is neither"},
};

/* --- how they are checked */

/* The good VM with the members of spec in place of its own. */
static struct vm *vm_with(const char *name, const char *ns, const char *spec)
{
        autojson struct json *root = json_new_object();
        autojson struct json *change = NULL;
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct json *good = json_set(root, "spec", json_of(GOOD));
        struct err e;
        struct vm *vm = NULL;

        buf_addf(&b, "{%s}", spec);
        change = json_of(buf_str(&b));
        for (const struct json *m = json_first(change); m; m = json_next(m))
                assert_non_null(json_set(good, json_key(m), json_clone(m)));
        json_set_str(json_object_at(root, "metadata"), "name", name);
        json_set_str(json_object_at(root, "metadata"), "namespace", ns);
        if (vm_decode(root, &vm, &e) < 0)
                fail_msg("%s: %s", spec, e.msg);
        return vm;
}

static bool debian_12_alone(void *ctx, const char *name)
{
        ++*(int *)ctx;
        return !strcmp(name, "debian-12");
}

struct outcome {
        struct arena *a;
        struct admission_report r;
        int asked; /* for images */
};

static void judge(struct outcome *v, const struct vm *vm, const struct vm *old)
{
        const struct admission_facts f = {vm, old, debian_12_alone, &v->asked};

        v->asked = 0;
        v->a = arena_new(ARENA_MAX);
        admission_check(v->a, &f, &v->r);
        assert_int_equal(v->r.rc, 0);
}

static void expect_one(const struct outcome *v, const char *what, enum admission_rule rule,
                       const char *path, const char *words)
{
        const struct admission_problem *p = &v->r.v[0];

        if (v->r.n != (rule != ADMIT_OK))
                fail_msg("%s: %zu problems, the first %s: %s", what, v->r.n, v->r.n ? p->path : "",
                         v->r.n ? p->message : "");
        if (rule != ADMIT_OK &&
            (p->rule != rule || strcmp(p->path, path) != 0 || !strstr(p->message, words)))
                fail_msg("%s: rule %d, %s: %s", what, p->rule, p->path, p->message);
}

static void expect(const struct vm *vm, const struct vm *old, const char *what,
                   enum admission_rule rule, const char *path, const char *words)
{
        struct outcome v;

        judge(&v, vm, old);
        expect_one(&v, what, rule, path, words);
        arena_free(v.a);
}

static void rule_rows(void **state)
{
        (void)state;
        for (size_t i = 0; i < countof(rows); i++) {
                struct vm *vm = vm_with("web", "shop", rows[i].spec);

                expect(vm, NULL, rows[i].spec, rows[i].rule, rows[i].path, rows[i].words);
                /* the same of an update that leaves it as it was: rules do not look at the past */
                if (rows[i].rule != ADMIT_DISK_IMAGE)
                        expect(vm, vm, rows[i].spec, rows[i].rule, rows[i].path, rows[i].words);
                vm_free(vm);
        }
}

static void namespaces(void **state)
{
        static const char *const exempt[] = {"kube-system", "drover-system"};

        (void)state;
        for (size_t i = 0; i < countof(exempt); i++) {
                struct vm *vm = vm_with("web", exempt[i], "");

                assert_true(admission_exempt(exempt[i]));
                expect(vm, NULL, exempt[i], ADMIT_NAMESPACE, "metadata.namespace", exempt[i]);
                vm_free(vm);
        }
        assert_false(admission_exempt("shop"));
        assert_false(admission_exempt("kube-public"));
}

static void names(void **state)
{
        struct vm *vm = vm_with(NAME_50, "shop", "");

        (void)state;
        expect(vm, NULL, "50", ADMIT_OK, NULL, NULL);
        vm_free(vm);
        vm = vm_with(NAME_50 "1", "shop", "");
        expect(vm, NULL, "51", ADMIT_NAME, "metadata.name", "longer than 50 characters");
        vm_free(vm);
}

static void cloud_init(void **state)
{
        static const char *const keys[] = {"userData", "networkData"};
        static const char *const paths[] = {"spec.cloudInit.userData",
                                            "spec.cloudInit.networkData"};

        (void)state;
        for (size_t i = 0; i < countof(keys); i++)
                for (int over = 0; over < 2; over++) {
                        int len = ADMISSION_CLOUD_INIT_MAX + over;
                        autobuf struct buf b = buf_new(TEXT_MAX);
                        struct vm *vm;

                        buf_addf(&b, "'cloudInit':{'%s':'%0*d'}", keys[i], len, 0);
                        vm = vm_with("web", "shop", buf_str(&b));
                        expect(vm, NULL, keys[i], over ? ADMIT_CLOUD_INIT : ADMIT_OK, paths[i],
                               "longer than 65536 bytes");
                        vm_free(vm);
                }
}

/* The longest list is fine, one more is told, and nothing else then. */
static void counts(void **state)
{
        static const struct {
                const char *begin, *member, *end, *path;
                int most;
        } t[] = {
                {"'disks':[{'name':'a','blank':{'size':'1Gi'}}",
                 ",{'name':'d%d','blank':{'size':'1Gi'}}", "]", "spec.disks", 16},
                {"'networks':[{'name':'a'}", ",{'name':'d%d'}", "]", "spec.networks", 16},
                {"'sshKeys':['ssh-ed25519 " ED25519 "'", ",'ssh-ed25519 " ED25519 " k%d'", "]",
                 "spec.sshKeys", 64},
                {"'nodeSelector':{'a':'b'", ",'k%d':'v'", "}", "spec.nodeSelector", 64},
                {"'tolerations':[{'operator':'Exists'}", ",{'key':'k%d','operator':'Exists'}", "]",
                 "spec.tolerations", 64},
                {"'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
                 "'nodeSelectorTerms':[{}",
                 ",{'matchExpressions':[{'key':'k%d','operator':'Exists'}]}", "]}}}",
                 "spec.affinity.nodeAffinity", 32},
                {"'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':["
                 "{'topologyKey':'a'}",
                 ",{'topologyKey':'k%d'}", "]}}", "spec.affinity.podAffinity", 32},
                {"'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':["
                 "{'topologyKey':'a'}",
                 ",{'topologyKey':'k%d'}", "]}}", "spec.affinity.podAntiAffinity", 32},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++)
                for (int over = 0; over < 2; over++) {
                        autobuf struct buf b = buf_new(TEXT_MAX);
                        struct vm *vm;

                        buf_addf(&b, "%s%s", over ? "'runStrategy':'No'," : "", t[i].begin);
                        for (int k = 1; k < t[i].most + over; k++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                                buf_addf(&b, t[i].member, k);
#pragma GCC diagnostic pop
                        }
                        buf_adds(&b, t[i].end);
                        vm = vm_with("web", "shop", buf_str(&b));
                        expect(vm, NULL, t[i].path, over ? ADMIT_COUNT : ADMIT_OK, t[i].path,
                               "are allowed");
                        vm_free(vm);
                }
}

/* --- updates */

#define DISKS(image, size, blank, pool)                                                            \
        "'disks':[{'name':'root','image':{'name':'" image "','size':'" size "'}},{'name':'data',"  \
        "'blank':{'size':'" blank "'},'pool':'" pool "'}]"

static void changes_of_disks(void **state)
{
        static const struct {
                const char *spec;
                enum admission_rule rule;
                const char *path, *words;
        } t[] = {
                {DISKS("debian-12", "20Gi", "1Gi", "fast"), ADMIT_OK, NULL, NULL},
                {DISKS("debian-12", "20480Mi", "1024Mi", "fast"), ADMIT_OK, NULL, NULL},
                {DISKS("other", "20Gi", "1Gi", "fast"), ADMIT_DISK_CHANGED, "spec.disks[0]",
                 "source of disk root cannot change"},
                {DISKS("debian-12", "30Gi", "1Gi", "fast"), ADMIT_DISK_CHANGED, "spec.disks[0]",
                 "size of disk root cannot change"},
                {DISKS("debian-12", "20Gi", "2Gi", "fast"), ADMIT_DISK_CHANGED, "spec.disks[1]",
                 "size of disk data"},
                {DISKS("debian-12", "20Gi", "1Gi", "slow"), ADMIT_DISK_CHANGED, "spec.disks[1]",
                 "source of disk data"},
                {"'disks':[{'name':'data','image':{'name':'debian-12'},'pool':'fast'}]",
                 ADMIT_DISK_CHANGED, "spec.disks[0]", "source of disk data"},
                {"'disks':[]", ADMIT_OK, NULL, NULL},
                {"'disks':[{'name':'data','blank':{'size':'1Gi'},'pool':'fast'},{'name':'new',"
                 "'image':{'name':'debian-12'}}]",
                 ADMIT_OK, NULL, NULL},
                {"'disks':[{'name':'new','image':{'name':'gone'}}]", ADMIT_DISK_IMAGE,
                 "spec.disks[0].image.name", "\"gone\""},
        };
        struct vm *old = vm_with("web", "shop", "");

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct vm *vm = vm_with("web", "shop", t[i].spec);

                expect(vm, old, t[i].spec, t[i].rule, t[i].path, t[i].words);
                vm_free(vm);
        }
        vm_free(old);
}

/* An image may be deleted when its disks are made: only new disks are looked up. */
static void image_asked_for_once(void **state)
{
        struct vm *vm = vm_with("web", "shop", "'disks':[{'name':'a','image':{'name':'gone'}}]");
        struct outcome v;

        (void)state;
        judge(&v, vm, vm);
        assert_int_equal(v.asked, 0);
        assert_int_equal(v.r.n, 0);
        arena_free(v.a);
        judge(&v, vm, NULL);
        assert_int_equal(v.asked, 1);
        arena_free(v.a);
        vm_free(vm);
}

static void warned(const struct vm *vm, const struct vm *old, size_t n, const char *words)
{
        struct outcome v;

        judge(&v, vm, old);
        if (v.r.nwarnings != n || (n && !strstr(v.r.warnings[0], words)))
                fail_msg("%zu warnings, the first: %s; wanted: %s", v.r.nwarnings,
                         v.r.nwarnings ? v.r.warnings[0] : "", words);
        arena_free(v.a);
}

static void warnings_of_what_waits_for_a_restart(void **state)
{
        static const struct {
                const char *spec, *words; /* "": none */
        } t[] = {
                {"", ""},
                {"'cpu':{'cores':4}", "spec.cpu, spec.memory"},
                {"'memory':{'guest':'2Gi'}", "spec.cpu, spec.memory"},
                {"'cpu':{'cores':4},'restartedAt':'now'", ""},
                {"'cpu':{'cores':4},'runStrategy':'Halted'", ""},
                {"'disks':[]", "spec.disks, spec.networks"},
                {"'networks':[{'name':'lan'},{'name':'wan'}]", "spec.disks, spec.networks"},
                {"'networks':[{'name':'x'},{'name':'wan'}]", "spec.disks, spec.networks"},
                {"'networks':[]", "spec.disks, spec.networks"},
                {"'disks':[{'name':'x','blank':{'size':'1Gi'}},{'name':'data','blank':{'size':"
                 "'1Gi'},'pool':'fast'}]",
                 "spec.disks, spec.networks"},
                {"'nodeSelector':{}", ""},
        };
        struct vm *old = vm_with("web", "shop", "");

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct vm *vm = vm_with("web", "shop", t[i].spec);

                vm->status.has_running = true;
                warned(vm, old, *t[i].words != 0, t[i].words);
                vm->status.has_running = false;
                warned(vm, old, 0, "");
                vm_free(vm);
        }
        vm_free(old);
}

static void other_warnings(void **state)
{
        struct vm *old = vm_with("web", "shop", "");
        struct vm *claim = vm_with("web", "shop",
                                   "'disks':[{'name':'a','persistentVolumeClaim':{'claimName':'c'"
                                   "}}]");
        struct vm *post = vm_with("web", "shop", "'migration':{'postCopy':true,'handover':'Fast'}");

        (void)state;
        warned(claim, NULL, 1, "spec.disks[0].persistentVolumeClaim");
        warned(claim, old, 1, "spec.disks[0].persistentVolumeClaim");
        warned(claim, claim, 0, "");
        warned(post, NULL, 1, "spec.migration.postCopy");
        warned(post, old, 1, "spec.migration.postCopy");
        warned(post, post, 0, "");
        vm_free(post);
        vm_free(claim);
        vm_free(old);
}

/* --- the report */

static void all_that_is_wrong_is_told(void **state)
{
        struct vm *vm = vm_with("web", "shop",
                                "'cpu':{'cores':0},'memory':{'guest':'1Mi'},'runStrategy':'No'");
        struct outcome v;

        (void)state;
        judge(&v, vm, NULL);
        assert_int_equal(v.r.n, 3);
        assert_int_equal(v.r.v[0].rule, ADMIT_RUN_STRATEGY); /* in the order of the rules */
        assert_int_equal(v.r.v[1].rule, ADMIT_CORES);
        assert_int_equal(v.r.v[2].rule, ADMIT_MEMORY);
        arena_free(v.a);
        vm_free(vm);
}

static void more_than_can_be_told(void **state)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct outcome v;
        struct vm *vm;

        (void)state;
        buf_adds(&b, "'disks':[{}");
        for (int i = 0; i < 15; i++)
                buf_addf(&b, ",{'name':'D%d','persistentVolumeClaim':{'claimName':'C'}}", i);
        buf_adds(&b, "]");
        vm = vm_with("web", "shop", buf_str(&b));
        judge(&v, vm, NULL);
        assert_int_equal(v.r.n, ADMISSION_PROBLEMS_MAX);
        assert_int_equal(v.r.nwarnings, ADMISSION_WARNINGS_MAX);
        arena_free(v.a);
        vm_free(vm);
}

/* Texts of a user's are cut, not trusted. */
static void long_texts_are_cut(void **state)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct outcome v;
        struct vm *vm;

        (void)state;
        buf_addf(&b, "'runStrategy':'%010000d'", 0);
        vm = vm_with("web", "shop", buf_str(&b));
        judge(&v, vm, NULL);
        assert_int_equal(v.r.n, 1);
        assert_true(strlen(v.r.v[0].message) < 512);
        arena_free(v.a);
        vm_free(vm);
}

static void every_rule_has_a_row(void **state)
{
        bool seen[ADMISSION_RULES] = {[ADMIT_NAMESPACE] = true,
                                      [ADMIT_NAME] = true,
                                      [ADMIT_COUNT] = true,
                                      [ADMIT_CLOUD_INIT] = true,
                                      [ADMIT_DISK_CHANGED] = true}; /* have tests of their own */

        (void)state;
        for (size_t i = 0; i < countof(rows); i++)
                seen[rows[i].rule] = true;
        for (int i = 0; i < ADMISSION_RULES; i++)
                if (!seen[i])
                        fail_msg("rule %d has no row", i);
}

static void without_memory(void **state)
{
        struct vm *vm = vm_with("web", "shop",
                                "'disks':[{},{},{'name':'x','image':{'name':'gone'}}],"
                                "'tolerations':[{}],'networks':[{'name':'a','mac':'b'}],"
                                "'sshKeys':['']");
        size_t room, told = 0;

        (void)state;
        for (room = 64;; room += 64) {
                struct arena *a autoarena = arena_new(room);
                struct admission_report r;
                int asked = 0;
                const struct admission_facts f = {vm, NULL, debian_12_alone, &asked};

                admission_check(a, &f, &r);
                assert_true(r.rc == 0 || r.rc == -ENOMEM);
                for (size_t i = 0; i < r.n; i++) {
                        assert_non_null(r.v[i].path);
                        assert_non_null(r.v[i].message);
                }
                told = r.n;
                if (r.rc == 0)
                        break;
        }
        assert_true(room > 1024);
        assert_true(told > 6);
        vm_free(vm);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rule_rows),
                cmocka_unit_test(every_rule_has_a_row),
                cmocka_unit_test(namespaces),
                cmocka_unit_test(names),
                cmocka_unit_test(cloud_init),
                cmocka_unit_test(counts),
                cmocka_unit_test(changes_of_disks),
                cmocka_unit_test(image_asked_for_once),
                cmocka_unit_test(warnings_of_what_waits_for_a_restart),
                cmocka_unit_test(other_warnings),
                cmocka_unit_test(all_that_is_wrong_is_told),
                cmocka_unit_test(more_than_can_be_told),
                cmocka_unit_test(long_texts_are_cut),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
