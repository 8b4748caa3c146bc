#include "api/codec.h"
#include "core/admission.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"

#include <errno.h>

#define ARENA_MAX ((size_t)1 << 20)
#define TERMS                                                                                      \
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."               \
        "nodeSelectorTerms"
#define AFFINITY      "spec.affinity."
#define REQUIRED_LIST "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED     "preferredDuringSchedulingIgnoredDuringExecution"
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
#define LIKES "spec.affinity.nodeAffinity." PREFERRED
#define LIKE(e)                                                                                    \
        "'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{" e "}]}" \
        "}"
#define RATHER(e)                                                                                  \
        "'affinity':{'podAntiAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{" e    \
        "}]}}"
#define CONSTRAINTS "spec.topologySpreadConstraints"
#define SPREAD(e)   "'topologySpreadConstraints':[{" e "}]"
#define ANYWAY      "'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'ScheduleAnyway'"
#define ED25519     "AAAAC3NzaC1lZDI1NTE5AAAAINT7Kp7nttxSxAP5uxwR5YzPY84+6su2pzisnqD6N/uM"
#define SIXTY_FOUR  "1234567890123456789012345678901234567890123456789012345678901234"
#define NAME_50     "a2345678901234567890123456789012345678901234567890"

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
        "'operator':'In','values':['node1.example']}]}]},"
        "'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':100,'preference':{"
        "'matchExpressions':[{'key':'a','operator':'Gt','values':['1']}],'matchFields':[{'key':"
        "'metadata.name','operator':'NotIn','values':['node2']}]}},{'weight':1,'preference':{}}]},"
        "'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':"
        "'kubernetes.io/hostname','labelSelector':{'matchLabels':{'app':'web'},"
        "'matchExpressions':[{'key':'tier','operator':'NotIn','values':['1']}]},'namespaces':"
        "['shop','data'],'namespaceSelector':{},'matchLabelKeys':['version'],'mismatchLabelKeys':"
        "['tier']}]},'podAntiAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{"
        "'weight':50,'podAffinityTerm':{'topologyKey':'zone','labelSelector':{}}}]}},"
        "'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'zone','whenUnsatisfiable':"
        "'DoNotSchedule','minDomains':2,'labelSelector':{'matchLabels':{'app':'web'}},"
        "'matchLabelKeys':['version'],'nodeAffinityPolicy':'Honor','nodeTaintsPolicy':'Ignore'},{"
        "'maxSkew':3,'topologyKey':'zone','whenUnsatisfiable':'ScheduleAnyway'}],"
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
        {ADMIT_RESTARTED_AT, "'restartedAt':'a\\nb'", "spec.restartedAt", "control character"},
        {ADMIT_OK, "'restartedAt':'" SIXTY_FOUR "'", NULL, NULL},
        {ADMIT_RESTARTED_AT, "'restartedAt':'" SIXTY_FOUR "x'", "spec.restartedAt",
         "longer than 64 bytes"},
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
        {ADMIT_OK, "'restore':{'snapshot':'mine','requestedAt':'1'}", NULL, NULL},
        {ADMIT_RESTORE, "'restore':{'snapshot':'other','requestedAt':'1'}", "spec.restore.snapshot",
         "other is a snapshot of another VM"},
        {ADMIT_RESTORE, "'restore':{'snapshot':'A','requestedAt':'1'}", "spec.restore.snapshot",
         "\"A\" is no name of a snapshot"},
        {ADMIT_RESTORE, "'restore':{'requestedAt':'1'}", "spec.restore.snapshot", "is no name"},
        {ADMIT_RESTORE, "'restore':{'snapshot':'mine'}", "spec.restore.requestedAt",
         "must say something"},
        {ADMIT_RESTORE, "'restore':{'snapshot':'mine','requestedAt':'" SIXTY_FOUR "x'}",
         "spec.restore.requestedAt", "longer than 64"},
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
        {ADMIT_CLAIM_TWICE,
         "'disks':[{'name':'a','persistentVolumeClaim':{'claimName':'c'}},"
         "{'name':'b','persistentVolumeClaim':{'claimName':'c'}}]",
         "spec.disks[1].persistentVolumeClaim.claimName", "claim \"c\" is disk a already"},
        {ADMIT_OK,
         "'disks':[{'name':'a','persistentVolumeClaim':{'claimName':'c','size':'1Gi'}},"
         "{'name':'b','persistentVolumeClaim':{'claimName':'d'}}]",
         NULL, NULL},
        {ADMIT_DISK_SIZE,
         "'disks':[{'name':'a','persistentVolumeClaim':{'claimName':'c','size':'-1'}}]",
         "spec.disks[0].persistentVolumeClaim.size", "negative"},
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
        {ADMIT_AFFINITY, FIELD("{'key':'metadata.name','operator':'In','values':['Node 1']}"),
         TERMS "[0].matchFields[0].values[0]", "\"Node 1\" is no name of a node"},
        {ADMIT_AFFINITY, REQUIRED("[]"), TERMS, "at least one term"},
        {ADMIT_PREFERRED, LIKE("'preference':{}"), LIKES "[0].weight",
         "0 is not between 1 and 100"},
        {ADMIT_PREFERRED, LIKE("'weight':101"), LIKES "[0].weight", "101 is not between"},
        {ADMIT_PREFERRED, LIKE("'weight':-1"), LIKES "[0].weight", "-1 is not between"},
        {ADMIT_PREFERRED,
         LIKE("'weight':1,'preference':{'matchExpressions':[{'key':'a','operator':'In'}]}"),
         LIKES "[0].preference.matchExpressions[0].values", "In needs values"},
        {ADMIT_PREFERRED,
         LIKE("'weight':1,'preference':{'matchFields':[{'key':'spec','operator':'In','values':["
              "'a']}]}"),
         LIKES "[0].preference.matchFields[0].key", "only metadata.name"},
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
        {ADMIT_POD_AFFINITY, NEAR("{'topologyKey':'z','namespaces':['shop','Data']}"),
         "spec.affinity.podAffinity." REQUIRED_LIST "[0].namespaces[1]",
         "\"Data\" is no name of a namespace"},
        {ADMIT_POD_AFFINITY, NEAR("{'topologyKey':'z','matchLabelKeys':['a']}"),
         "spec.affinity.podAffinity." REQUIRED_LIST "[0].matchLabelKeys", "needs a labelSelector"},
        {ADMIT_POD_AFFINITY, NEAR("{'topologyKey':'z','mismatchLabelKeys':['a']}"),
         "spec.affinity.podAffinity." REQUIRED_LIST "[0].mismatchLabelKeys",
         "needs a labelSelector"},
        {ADMIT_POD_AFFINITY,
         NEAR("{'topologyKey':'z','labelSelector':{},'mismatchLabelKeys':['a','b c']}"),
         "spec.affinity.podAffinity." REQUIRED_LIST "[0].mismatchLabelKeys[1]",
         "\"b c\" is no key"},
        {ADMIT_POD_AFFINITY,
         NEAR("{'topologyKey':'z','labelSelector':{'matchLabels':{'a':'b'}},'matchLabelKeys':['x',"
              "'a']}"),
         "spec.affinity.podAffinity." REQUIRED_LIST "[0].matchLabelKeys[1]",
         "\"a\" stands in labelSelector too"},
        {ADMIT_POD_AFFINITY,
         NEAR("{'topologyKey':'z','labelSelector':{'matchExpressions':[{'key':'a','operator':"
              "'Exists'}]},'matchLabelKeys':['a']}"),
         "spec.affinity.podAffinity." REQUIRED_LIST "[0].matchLabelKeys[0]",
         "stands in labelSelector too"},
        {ADMIT_POD_AFFINITY,
         NEAR("{'topologyKey':'z','labelSelector':{},'matchLabelKeys':['a'],'mismatchLabelKeys':["
              "'b','a']}"),
         "spec.affinity.podAffinity." REQUIRED_LIST "[0].matchLabelKeys[0]",
         "\"a\" stands in mismatchLabelKeys too"},
        {ADMIT_POD_AFFINITY, RATHER("'weight':0,'podAffinityTerm':{'topologyKey':'z'}"),
         "spec.affinity.podAntiAffinity." PREFERRED "[0].weight", "0 is not between 1 and 100"},
        {ADMIT_POD_AFFINITY, RATHER("'weight':1"),
         "spec.affinity.podAntiAffinity." PREFERRED "[0].podAffinityTerm.topologyKey",
         "\"\" is no key"},
        {ADMIT_POD_AFFINITY,
         RATHER("'weight':1,'podAffinityTerm':{'topologyKey':'z','namespaces':['']}"),
         "spec.affinity.podAntiAffinity." PREFERRED "[0].podAffinityTerm.namespaces[0]",
         "is no name of a namespace"},
        {ADMIT_SPREAD, SPREAD("'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule'"),
         CONSTRAINTS "[0].maxSkew", "0 is not between"},
        {ADMIT_SPREAD,
         SPREAD("'maxSkew':1,'topologyKey':'a b','whenUnsatisfiable':"
                "'DoNotSchedule'"),
         CONSTRAINTS "[0].topologyKey", "\"a b\" is no key"},
        {ADMIT_SPREAD, SPREAD("'maxSkew':1,'topologyKey':'z'"), CONSTRAINTS "[0].whenUnsatisfiable",
         "\"\" is none of DoNotSchedule, ScheduleAnyway"},
        {ADMIT_SPREAD, SPREAD(ANYWAY ",'minDomains':2"), CONSTRAINTS "[0].minDomains",
         "needs whenUnsatisfiable: DoNotSchedule"},
        {ADMIT_SPREAD,
         SPREAD("'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule','minDomains':0"),
         CONSTRAINTS "[0].minDomains", "0 is not between"},
        {ADMIT_SPREAD, SPREAD(ANYWAY ",'nodeAffinityPolicy':'Perhaps'"),
         CONSTRAINTS "[0].nodeAffinityPolicy", "\"Perhaps\" is none of Honor, Ignore"},
        {ADMIT_SPREAD, SPREAD(ANYWAY ",'nodeTaintsPolicy':'honor'"),
         CONSTRAINTS "[0].nodeTaintsPolicy", "\"honor\" is none of"},
        {ADMIT_SPREAD,
         SPREAD(ANYWAY ",'labelSelector':{'matchExpressions':[{'key':'a','operator':'In'}]}"),
         CONSTRAINTS "[0].labelSelector.matchExpressions[0].values", "In needs values"},
        {ADMIT_SPREAD, SPREAD(ANYWAY ",'labelSelector':{'matchLabels':{'a':'b c'}}"),
         CONSTRAINTS "[0].labelSelector.matchLabels[a]", "is no value"},
        {ADMIT_SPREAD, SPREAD(ANYWAY ",'matchLabelKeys':['a']"), CONSTRAINTS "[0].matchLabelKeys",
         "needs a labelSelector"},
        {ADMIT_SPREAD, SPREAD(ANYWAY ",'labelSelector':{},'matchLabelKeys':['a b']"),
         CONSTRAINTS "[0].matchLabelKeys[0]", "is no key"},
        {ADMIT_SPREAD, SPREAD(ANYWAY "},{" ANYWAY), CONSTRAINTS "[1].topologyKey",
         "Duplicate value: spec.topologySpreadConstraints[0] has \"z\" and ScheduleAnyway too"},
        {ADMIT_TOLERATION, "'tolerations':[{'key':'a','operator':'Like'}]",
         "spec.tolerations[0].operator", "\"Like\" is none of Equal, Exists"},
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
        {ADMIT_MIGRATION, "'migration':{'storage':'Move'}", "spec.migration.storage",
         "\"Move\" is neither Shared nor Copy"},
        {ADMIT_MIGRATION, "'migration':{'storage':'Copy','handover':'Fast'}",
         "spec.migration.storage", "Copy needs handover: Proven"},
        {ADMIT_OK, "'migration':{'storage':'Copy'}", NULL, NULL},
        {ADMIT_OK, "'migration':{'storage':'Shared','handover':'Fast'}", NULL, NULL},
        {ADMIT_GRACE, "'terminationGracePeriodSeconds':-1", "spec.terminationGracePeriodSeconds",
         "-1 is not between 0 and 3600"},
        {ADMIT_GRACE, "'terminationGracePeriodSeconds':3601", "spec.terminationGracePeriodSeconds",
         "3601"},
        {ADMIT_OK, "'terminationGracePeriodSeconds':0", NULL, NULL},
        {ADMIT_OK, "'terminationGracePeriodSeconds':3600", NULL, NULL},
        {ADMIT_EVICTION, "'evictionStrategy':'Kill'", "spec.evictionStrategy",
         "\"Kill\" is neither"},
};

/* --- how they are checked */

struct subject {
        struct vm *vm;
        struct wishes *wishes;
};

static void subject_free(struct subject *x)
{
        vm_free(x->vm);
        wishes_free(x->wishes);
        free(x);
}

/* The good VM with the members of spec in place of its own. */
static struct subject *vm_with(const char *name, const char *ns, const char *spec)
{
        autojson struct json *root = json_new_object();
        autojson struct json *change = NULL;
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct json *good = json_set(root, "spec", json_of(GOOD));
        struct subject *x = calloc(1, sizeof(*x));
        struct err e;

        buf_addf(&b, "{%s}", spec);
        change = json_of(buf_str(&b));
        for (const struct json *m = json_first(change); m; m = json_next(m))
                assert_non_null(json_set(good, json_key(m), json_clone(m)));
        json_set_str(json_object_at(root, "metadata"), "name", name);
        json_set_str(json_object_at(root, "metadata"), "namespace", ns);
        json_set_str(json_object_at(root, "metadata"), "uid", "u1");
        if (vm_decode(root, &x->vm, &e) < 0 || wishes_decode(root, &x->wishes, &e) < 0)
                fail_msg("%s: %s", spec, e.msg);
        return x;
}

static bool debian_12_alone(void *ctx, const char *name)
{
        ++*(int *)ctx;
        return !strcmp(name, "debian-12");
}

/* The hypervisors that there are; none are known where rooms or nodes is NULL. */
static const struct admission_room *rooms;
static const struct node *nodes;
static size_t nnodes;

static bool largest(void *ctx, struct admission_room *out)
{
        (void)ctx;
        if (rooms)
                *out = *rooms;
        return rooms;
}

static bool each_node(void *ctx, bool (*visit)(void *arg, const struct node *node), void *arg)
{
        (void)ctx;
        for (size_t i = 0; i < nnodes; i++)
                if (!visit(arg, &nodes[i]))
                        break;
        return nodes;
}

struct outcome {
        struct arena *a;
        struct admission_report r;
        int asked; /* for images */
};

static const char *of_this_vm(void *ctx, const struct vm *vm, const char *name)
{
        (void)ctx;
        (void)vm;
        return strcmp(name, "mine") ? "other is a snapshot of another VM" : NULL;
}

static struct admission_facts facts_of(const struct subject *vm, const struct subject *old,
                                       int *asked)
{
        return (struct admission_facts){.vm = vm->vm,
                                        .wishes = vm->wishes,
                                        .old = old ? old->vm : NULL,
                                        .image = debian_12_alone,
                                        .snapshot = of_this_vm,
                                        .largest = largest,
                                        .nodes = each_node,
                                        .ctx = asked};
}

static void judge(struct outcome *v, const struct subject *vm, const struct subject *old)
{
        const struct admission_facts f = facts_of(vm, old, &v->asked);

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

static void expect(const struct subject *vm, const struct subject *old, const char *what,
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
                struct subject *vm = vm_with("web", "shop", rows[i].spec);

                expect(vm, NULL, rows[i].spec, rows[i].rule, rows[i].path, rows[i].words);
                /* the same of an update that leaves it as it was: rules do not look at the past,
                 * but for what is asked for once */
                if (rows[i].rule != ADMIT_DISK_IMAGE && !strstr(rows[i].spec, "'other'"))
                        expect(vm, vm, rows[i].spec, rows[i].rule, rows[i].path, rows[i].words);
                subject_free(vm);
        }
}

static void namespaces(void **state)
{
        static const char *const exempt[] = {"kube-system", "drover-system"};

        (void)state;
        for (size_t i = 0; i < countof(exempt); i++) {
                struct subject *vm = vm_with("web", exempt[i], "");

                expect(vm, NULL, exempt[i], ADMIT_NAMESPACE, "metadata.namespace", exempt[i]);
                subject_free(vm);
        }
        struct subject *vm = vm_with("web", "kube-public", "");
        expect(vm, NULL, "kube-public", ADMIT_OK, NULL, NULL);
        subject_free(vm);
}

static void names(void **state)
{
        struct subject *vm = vm_with(NAME_50, "shop", "");

        (void)state;
        expect(vm, NULL, "50", ADMIT_OK, NULL, NULL);
        subject_free(vm);
        vm = vm_with(NAME_50 "1", "shop", "");
        expect(vm, NULL, "51", ADMIT_NAME, "metadata.name", "longer than 50 characters");
        subject_free(vm);
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
                        struct subject *vm;

                        buf_addf(&b, "'cloudInit':{'%s':'%0*d'}", keys[i], len, 0);
                        vm = vm_with("web", "shop", buf_str(&b));
                        expect(vm, NULL, keys[i], over ? ADMIT_CLOUD_INIT : ADMIT_OK, paths[i],
                               "longer than 65536 bytes");
                        subject_free(vm);
                }
}

static struct subject *with_many(const char *begin, const char *member, int n, const char *end)
{
        autobuf struct buf b = buf_new(TEXT_MAX);

        buf_adds(&b, begin);
        for (int k = 1; k < n; k++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                buf_addf(&b, member, k);
#pragma GCC diagnostic pop
        }
        buf_adds(&b, end);
        return vm_with("web", "shop", buf_str(&b));
}

/* One of 16 KiB is taken; one byte more is not, nor are 64 that are half a MiB together. */
static void long_ssh_keys(void **state)
{
        static const struct {
                int n, len;
                const char *path, *words;
        } t[] = {
                {1, ADMISSION_SSH_KEY_MAX, NULL, NULL},
                {1, ADMISSION_SSH_KEY_MAX + 1, "spec.sshKeys[0]", "longer than 16384 bytes"},
                {64, 8192, NULL, NULL},
                {64, 8193, "spec.sshKeys", "longer than 524288 bytes together"},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                autobuf struct buf b = buf_new((size_t)4 << 20);
                struct subject *vm;

                buf_adds(&b, "'sshKeys':[");
                for (int k = 0; k < t[i].n; k++)
                        buf_addf(&b, "%s'ssh-ed25519 " ED25519 " %0*d'", k ? "," : "",
                                 t[i].len - (int)strlen("ssh-ed25519 " ED25519 " "), k);
                buf_adds(&b, "]");
                vm = vm_with("web", "shop", buf_str(&b));
                expect(vm, NULL, "keys", t[i].path ? ADMIT_SSH_KEY : ADMIT_OK, t[i].path,
                       t[i].words);
                subject_free(vm);
        }
}

/* Of lists in lists, each under the rule that it belongs to. */
static void inner_counts(void **state)
{
        static const struct {
                enum admission_rule rule;
                const char *begin, *member, *end, *path;
                int most;
        } t[] = {
                {ADMIT_AFFINITY,
                 "'affinity':{'nodeAffinity':{'" REQUIRED_LIST
                 "':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'a',"
                 "'operator':'Exists'}",
                 ",{'key':'k%d','operator':'Exists'}", "]}]}}}", TERMS "[0].matchExpressions", 32},
                {ADMIT_AFFINITY,
                 "'nodeName':'','affinity':{'nodeAffinity':{'" REQUIRED_LIST
                 "':{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
                 "'operator':'NotIn','values':['a']}",
                 ",{'key':'metadata.name','operator':'NotIn','values':['k%d']}", "]}]}}}",
                 TERMS "[0].matchFields", 8},
                {ADMIT_AFFINITY,
                 "'affinity':{'nodeAffinity':{'" REQUIRED_LIST
                 "':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'a',"
                 "'operator':'In','values':['a'",
                 ",'k%d'", "]}]}]}}}", TERMS "[0].matchExpressions[0].values", 256},
                {ADMIT_POD_AFFINITY,
                 "'affinity':{'podAffinity':{'" REQUIRED_LIST
                 "':[{'topologyKey':'z','namespaces':['a'",
                 ",'k%d'", "]}]}}", "spec.affinity.podAffinity." REQUIRED_LIST "[0].namespaces",
                 64},
                {ADMIT_POD_AFFINITY,
                 "'affinity':{'podAffinity':{'" REQUIRED_LIST
                 "':[{'topologyKey':'z','labelSelector':{'matchLabels':{'a':"
                 "'b'",
                 ",'k%d':'v'", "}}}]}}",
                 "spec.affinity.podAffinity." REQUIRED_LIST "[0].labelSelector.matchLabels", 64},
                {ADMIT_SPREAD,
                 "'topologySpreadConstraints':[{" ANYWAY
                 ",'labelSelector':{'matchExpressions':[{'key':'a','operator':"
                 "'Exists'}",
                 ",{'key':'k%d','operator':'Exists'}", "]}}]",
                 CONSTRAINTS "[0].labelSelector.matchExpressions", 16},
                {ADMIT_SPREAD,
                 "'topologySpreadConstraints':[{" ANYWAY ",'labelSelector':{},'matchLabelKeys':["
                 "'a'",
                 ",'k%d'", "]}]", CONSTRAINTS "[0].matchLabelKeys", 16},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++)
                for (int over = 0; over < 2; over++) {
                        struct subject *vm =
                                with_many(t[i].begin, t[i].member, t[i].most + over, t[i].end);

                        expect(vm, NULL, t[i].path, over ? t[i].rule : ADMIT_OK, t[i].path,
                               "are allowed");
                        subject_free(vm);
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
                 ",{'matchExpressions':[{'key':'k%d','operator':'Exists'}]}", "]}}}", TERMS, 32},
                {"'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':["
                 "{'weight':1}",
                 ",{'weight':%d}", "]}}", AFFINITY "nodeAffinity." PREFERRED, 32},
                {"'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':["
                 "{'topologyKey':'a'}",
                 ",{'topologyKey':'k%d'}", "]}}", AFFINITY "podAffinity." REQUIRED_LIST, 16},
                {"'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':["
                 "{'topologyKey':'a'}",
                 ",{'topologyKey':'k%d'}", "]}}", AFFINITY "podAntiAffinity." REQUIRED_LIST, 16},
                {"'affinity':{'podAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':["
                 "{'weight':1,'podAffinityTerm':{'topologyKey':'a'}}",
                 ",{'weight':1,'podAffinityTerm':{'topologyKey':'k%d'}}", "]}}",
                 AFFINITY "podAffinity." PREFERRED, 16},
                {"'affinity':{'podAntiAffinity':{'preferredDuringSchedulingIgnoredDuringExecution'"
                 ":[{'weight':1,'podAffinityTerm':{'topologyKey':'a'}}",
                 ",{'weight':1,'podAffinityTerm':{'topologyKey':'k%d'}}", "]}}",
                 AFFINITY "podAntiAffinity." PREFERRED, 16},
                {"'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'a','whenUnsatisfiable':"
                 "'ScheduleAnyway'}",
                 ",{'maxSkew':1,'topologyKey':'k%d','whenUnsatisfiable':'ScheduleAnyway'}", "]",
                 "spec.topologySpreadConstraints", 16},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++)
                for (int over = 0; over < 2; over++) {
                        autobuf struct buf begin = buf_new(TEXT_MAX);

                        buf_addf(&begin, "%s%s", over ? "'runStrategy':'No'," : "", t[i].begin);
                        struct subject *vm =
                                with_many(buf_str(&begin), t[i].member, t[i].most + over, t[i].end);
                        expect(vm, NULL, t[i].path, over ? ADMIT_COUNT : ADMIT_OK, t[i].path,
                               "are allowed");
                        subject_free(vm);
                }
}

/* --- updates */

#define ROOT  "{'name':'root','image':{'name':'debian-12'}}"
#define CLAIM "{'name':'data','persistentVolumeClaim':{'claimName':'c'}}"

/* The pod that holds claims is there for as long as the VM has an owner. */
static void claims_come_and_go_while_halted(void **state)
{
        struct subject *without = vm_with("web", "shop", "'disks':[" ROOT "]");
        struct subject *with = vm_with("web", "shop", "'disks':[" ROOT "," CLAIM "]");

        (void)state;
        expect(with, without, "halted", ADMIT_OK, NULL, NULL);
        expect(without, with, "halted", ADMIT_OK, NULL, NULL);
        without->vm->status.owner.node = with->vm->status.owner.node = "node1";
        expect(with, without, "added", ADMIT_CLAIM_HELD, "spec.disks[1]",
               "disk data is a PersistentVolumeClaim, which can only be added while the VM is "
               "halted: it is on node1");
        expect(without, with, "taken away", ADMIT_CLAIM_HELD, "spec.disks",
               "disk data is a PersistentVolumeClaim, which can only be taken away");
        expect(with, with, "as before", ADMIT_OK, NULL, NULL);
        subject_free(with);
        subject_free(without);
}

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
                {DISKS("debian-12','clone':'Full", "20Gi", "1Gi", "fast"), ADMIT_DISK_CHANGED,
                 "spec.disks[0]", "source of disk root cannot change"},
                {DISKS("debian-12','clone':'Overlay", "20Gi", "1Gi", "fast"), ADMIT_OK, NULL, NULL},
                {DISKS("debian-12", "20Gi", "1Gi", "fast','reclaimPolicy':'Retain"), ADMIT_OK, NULL,
                 NULL},
                {"'disks':[{'name':'data','image':{'name':'debian-12'},'pool':'fast'}]",
                 ADMIT_DISK_CHANGED, "spec.disks[0]", "source of disk data"},
                {"'disks':[]", ADMIT_OK, NULL, NULL},
                {"'disks':[{'name':'data','blank':{'size':'1Gi'},'pool':'fast'},{'name':'new',"
                 "'image':{'name':'debian-12'}}]",
                 ADMIT_OK, NULL, NULL},
                {"'disks':[{'name':'new','image':{'name':'gone'}}]", ADMIT_DISK_IMAGE,
                 "spec.disks[0].image.name", "\"gone\""},
        };
        struct subject *old = vm_with("web", "shop", "");

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct subject *vm = vm_with("web", "shop", t[i].spec);

                expect(vm, old, t[i].spec, t[i].rule, t[i].path, t[i].words);
                subject_free(vm);
        }
        subject_free(old);
}

/* An image may be deleted when its disks are made: only new disks are looked up. */
static void image_asked_for_once(void **state)
{
        struct subject *vm =
                vm_with("web", "shop", "'disks':[{'name':'a','image':{'name':'gone'}}]");
        struct outcome v;

        (void)state;
        judge(&v, vm, vm);
        assert_int_equal(v.asked, 0);
        assert_int_equal(v.r.n, 0);
        arena_free(v.a);
        judge(&v, vm, NULL);
        assert_int_equal(v.asked, 1);
        arena_free(v.a);
        subject_free(vm);
}

/* words: what each warning begins with, in their order, with a line each; "": none. */
static void warned(const struct subject *vm, const struct subject *old, const char *words)
{
        autobuf struct buf said = buf_new(TEXT_MAX);
        const char *w = words;
        struct outcome v;
        bool right = true;

        judge(&v, vm, old);
        assert_int_equal(v.r.n, 0);
        for (size_t i = 0; i < v.r.nwarnings; i++) {
                size_t len = strcspn(w, "\n");

                right = right && len && !strncmp(v.r.warnings[i], w, len);
                w += len + (w[len] == '\n');
                buf_addf(&said, "%s\n", v.r.warnings[i]);
                assert_true(strlen(v.r.warnings[i]) < ADMISSION_WARNING_TEXT);
        }
        if (!right || *w)
                fail_msg("wanted:\n%s\nbut said:\n%s", words, buf_str(&said));
        arena_free(v.a);
}

#define RESTART " from the next restart of the guest on (spec.restartedAt)"
#define START   " from the next start of the guest on"
#define ONCE                                                                                       \
        ": the guest finds it at its next start, but cloud-init takes most of it at the first "    \
        "boot of a VM only"
#define LAN "{'name':'lan','bridge':'br0','mac':'52:54:00:12:34:56','model':'e1000'}"

/* Each field by its path; runs: of a guest that runs, was: of one that has run. */
static void warnings_of_what_waits(void **state)
{
        static const struct {
                const char *spec, *runs, *was;
        } t[] = {
                {"", "", ""},
                {"'cpu':{'cores':4,'model':'EPYC-Rome'}", "spec.cpu.cores: 4" RESTART, ""},
                {"'cpu':{'cores':2}", "spec.cpu.model: the default" RESTART, ""},
                {"'cpu':{'cores':3,'model':'EPYC-Rome'}", "", ""}, /* what it runs with */
                {"'memory':{'guest':'2Gi','hugePages':'2Mi'}",
                 "spec.memory.guest: 2048 MiB" RESTART, ""},
                {"'memory':{'guest':'1Gi'}", "spec.memory.hugePages: none" RESTART, ""},
                {"'memory':{'guest':'2Gi','hugePages':'1Gi'},'cpu':{'cores':4,'model':'Nehalem'}",
                 "spec.cpu.cores: 4\nspec.cpu.model: Nehalem\nspec.memory.guest: 2048 MiB\n"
                 "spec.memory.hugePages: 1Gi",
                 ""},
                {"'cpu':{'cores':4},'restartedAt':'now'", "", ""},
                {"'cpu':{'cores':4},'runStrategy':'Halted'", "", ""},
                {"'disks':[]",
                 "spec.disks: disk root, which was number 0, is gone" START
                 "\nspec.disks: disk data, which was number 1, is gone" START,
                 ""},
                {"'disks':[{'name':'data','blank':{'size':'1Gi'},'pool':'fast'},{'name':'root',"
                 "'image':{'name':'debian-12','size':'20Gi'}}]",
                 "spec.disks[0]: disk data is number 0" START
                 "\nspec.disks[1]: disk root is number 1" START,
                 ""},
                {"'disks':[{'name':'root','image':{'name':'debian-12','size':'20Gi'}},{'name':"
                 "'data','blank':{'size':'1Gi'},'pool':'fast'},{'name':'x','blank':{'size':'1Gi'}}"
                 "]",
                 "spec.disks[2]: disk x is there" START, ""},
                {"'networks':[" LAN ",{'name':'other'}]", "", ""}, /* a name is for people */
                {"'networks':[" LAN ",{'name':'wan','bridge':'br1'}]",
                 "spec.networks[1].bridge: br1" START, ""},
                {"'networks':[" LAN ",{'name':'wan','model':'rtl8139'}]",
                 "spec.networks[1].model: rtl8139" START, ""},
                {"'networks':[{'name':'lan','bridge':'br0','mac':'52:54:00:12:34:57','model':"
                 "'e1000'},{'name':'wan'}]",
                 "spec.networks[0].mac: 52:54:00:12:34:57" START, ""},
                /* its own follows from the VM's uid and its place */
                {"'networks':[{'name':'lan','bridge':'br0','model':'e1000'},{'name':'wan'}]",
                 "spec.networks[0].mac: 52:54:00:", ""},
                {"'networks':[{'name':'lan','bridge':'br0','mac':'52:54:00:12:34:56','model':"
                 "'e1000'}]",
                 "spec.networks: wan, which was number 1, is gone" START, ""},
                {"'networks':[" LAN ",{'name':'wan'},{'name':'san'}]",
                 "spec.networks[2]: san is there" START, ""},
                {"'cloudInit':{'userData':'#cloud-config\\n','networkData':'version: 2'}",
                 "spec.cloudInit.userData" ONCE, "spec.cloudInit.userData" ONCE},
                {"'cloudInit':{'userData':'#cloud-config'}", "spec.cloudInit.networkData" ONCE,
                 "spec.cloudInit.networkData" ONCE},
                {"'sshKeys':['ssh-ed25519 " ED25519 " me@here','ssh-ed25519 " ED25519 " you']",
                 "spec.sshKeys[1]" ONCE, "spec.sshKeys[1]" ONCE},
                {"'sshKeys':[]", "spec.sshKeys: the one that was number 0: cloud-init does not",
                 "spec.sshKeys: the one that was number 0: cloud-init does not"},
                /* these count at once */
                {"'nodeSelector':{},'tolerations':[],'topologySpreadConstraints':[]", "", ""},
                {"'migration':{'maxDowntimeMs':7},'evictionStrategy':'LiveMigrate'", "", ""},
                {"'priorityClassName':'low'", "", ""},
        };
        struct subject *old = vm_with("web", "shop", "");

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct subject *vm = vm_with("web", "shop", t[i].spec);

                old->vm->status.has_running = true;
                old->vm->status.running = old->vm->spec.shape;
                old->vm->status.running.cores = 3;
                old->vm->status.owner.epoch = 4;
                warned(vm, old, t[i].runs);
                old->vm->status.has_running = false;
                warned(vm, old, t[i].was);
                old->vm->status.owner.epoch = 0; /* it has never been started */
                warned(vm, old, "");
                subject_free(vm);
        }
        subject_free(old);
}

static void other_warnings(void **state)
{
        struct subject *old = vm_with("web", "shop", "");
        struct subject *post =
                vm_with("web", "shop", "'migration':{'postCopy':true,'handover':'Fast'}");
        struct subject *nobody = vm_with("web", "shop", "'cloudInit':{},'sshKeys':[]");
        struct subject *keys = vm_with("web", "shop", "'cloudInit':{}");
        struct subject *script = vm_with("web", "shop", "'sshKeys':[]");

        (void)state;
        warned(post, NULL, "spec.migration.postCopy");
        warned(post, old, "spec.migration.postCopy");
        warned(post, post, "");
        warned(nobody, NULL, "spec.sshKeys, spec.cloudInit.userData: neither is given");
        warned(nobody, old, "spec.sshKeys, spec.cloudInit.userData");
        warned(nobody, nobody, "");
        warned(keys, NULL, "");
        warned(script, NULL, "");
        subject_free(script);
        subject_free(keys);
        subject_free(nobody);
        subject_free(post);
        subject_free(old);
}

/* 2 cores and 1 GiB, which take 114 MiB more for QEMU itself. */
static void larger_than_every_host(void **state)
{
        static const int64_t mib = 1 << 20;
        static const struct {
                struct admission_room room;
                const char *words;
        } t[] = {
                {{2, 2048 * mib}, ""},
                {{2, 1024 * mib + 114 * mib}, ""},
                {{2, 1024 * mib + 114 * mib - 1},
                 "spec.memory.guest: 1024 MiB and 114 MiB for QEMU itself, but no hypervisor "
                 "offers "
                 "more than 1137 MiB"},
                {{1, 2048 * mib}, "spec.cpu.cores: 2, but no hypervisor offers more than 1"},
                {{0, 0},
                 "spec.cpu.cores: 2, but no hypervisor offers more than 0\nspec.memory.guest: "},
        };
        struct subject *vm = vm_with("web", "shop", ""),
                       *smaller = vm_with("web", "shop", "'cpu':{'cores':1,'model':'EPYC-Rome'}");

        (void)state;
        warned(vm, NULL, ""); /* nothing is known of hosts */
        for (size_t i = 0; i < countof(t); i++) {
                rooms = &t[i].room;
                warned(vm, NULL, t[i].words);
                warned(vm, smaller, t[i].words);
                warned(vm, vm, ""); /* as it was */
        }
        rooms = NULL;
        subject_free(smaller);
        subject_free(vm);
}

#define ON_NODE1(more) "'cpu':{},'disks':[],'tolerations':[],'nodeName':'node1'," more
#define BY_HOST(op, host)                                                                          \
        ON_NODE1("'nodeSelector':{},")                                                             \
        EXPRESSION("{'key':'kubernetes.io/hostname','operator':'" op "','values':['" host "']}")

/* A kubelet with --hostname-override, or a cloud's: the label is not the Node's name. */
static void a_nodes_host_name_label_may_be_another(void **state)
{
        static struct kv labels[] = {{"drover.dev/hypervisor", "true"},
                                     {"kubernetes.io/hostname", "ip-10-0-0-1"}};
        const struct node cluster[] = {{.meta = {.name = "node2"}},
                                       {.meta = {.name = "node1", .labels = {labels, 2}}}};
        static const struct {
                const char *spec;
                enum admission_rule rule;
        } ROWS[] = {
                {ON_NODE1("'affinity':{},'nodeSelector':{}"), ADMIT_OK},
                {ON_NODE1("'affinity':{},'nodeSelector':{'kubernetes.io/hostname':'ip-10-0-0-1'}"),
                 ADMIT_OK},
                {ON_NODE1("'affinity':{},'nodeSelector':{'kubernetes.io/hostname':'node1'}"),
                 ADMIT_CONTRADICTION},
                {BY_HOST("In", "ip-10-0-0-1"), ADMIT_OK},
                {BY_HOST("NotIn", "node1"), ADMIT_OK},
                {BY_HOST("In", "node1"), ADMIT_CONTRADICTION},
        };

        (void)state;
        nodes = cluster;
        nnodes = 2;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct subject *vm = vm_with("web", "shop", ROWS[i].spec);
                struct outcome v;

                judge(&v, vm, NULL);
                if (ROWS[i].rule == ADMIT_OK ? v.r.n != 0
                                             : v.r.n != 1 || v.r.v[0].rule != ROWS[i].rule)
                        fail_msg("%s: %zu problems: %s", ROWS[i].spec, v.r.n,
                                 v.r.n ? v.r.v[0].message : "");
                arena_free(v.a);
                subject_free(vm);
        }
        nodes = NULL;
        nnodes = 0;
}

static void no_node_satisfies(void **state)
{
        static struct kv fits[] = {{"drover.dev/hypervisor", "true"}, {"zone", "a"}},
                         elsewhere[] = {{"drover.dev/hypervisor", "true"}, {"zone", "b"}};
        static struct taint taint = {"k", "", "NoSchedule"};
        struct node cluster[2] = {{.meta = {.name = "node1", .labels = {elsewhere, 2}}},
                                  {.meta = {.name = "node2", .labels = {fits, 2}}}};
        const char *plain = "'cpu':{},'disks':[],'nodeName':'','affinity':{},'tolerations':[],"
                            "'nodeSelector':{'zone':'a'}";
        struct subject *vm = vm_with("web", "shop", plain), *old = vm_with("web", "shop", "");

        (void)state;
        warned(vm, NULL, ""); /* nothing is known of nodes */
        nodes = cluster;
        nnodes = 0;
        warned(vm, NULL,
               "no node is a hypervisor (drover.dev/hypervisor=true) now, the guest "
               "waits for one");
        nnodes = 1;
        warned(vm, NULL,
               "no node satisfies the placement now, the guest waits for one: node1: "
               "label zone is \"b\", spec.nodeSelector wants \"a\"");
        warned(vm, vm, ""); /* as it was */
        warned(vm, old, "no node satisfies the placement now");
        nnodes = 2;
        warned(vm, NULL, "");
        cluster[1].unschedulable = true; /* it gets further than node1 */
        warned(vm, NULL,
               "no node satisfies the placement now, the guest waits for one: node2: is "
               "cordoned (the nearest node)");
        cluster[1].taints = &taint;
        cluster[1].ntaints = 1;
        vm->vm->status.owner.node = "node2"; /* where it runs already */
        warned(vm, NULL, "");
        vm->vm->status.owner.node = "node1";
        warned(vm, NULL,
               "no node satisfies the placement now, the guest stays where it is: "
               "node2: is cordoned");
        nodes = NULL;
        nnodes = 0;
        subject_free(old);
        subject_free(vm);
}

/* --- the report */

static void all_that_is_wrong_is_told(void **state)
{
        struct subject *vm = vm_with(
                "web", "shop", "'cpu':{'cores':0},'memory':{'guest':'1Mi'},'runStrategy':'No'");
        struct outcome v;

        (void)state;
        judge(&v, vm, NULL);
        assert_int_equal(v.r.n, 3);
        assert_int_equal(v.r.v[0].rule, ADMIT_RUN_STRATEGY); /* in the order of the rules */
        assert_int_equal(v.r.v[1].rule, ADMIT_CORES);
        assert_int_equal(v.r.v[2].rule, ADMIT_MEMORY);
        arena_free(v.a);
        subject_free(vm);
}

static void more_than_can_be_told(void **state)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct outcome v;
        struct subject *vm;

        (void)state;
        buf_adds(&b, "'disks':[{}");
        for (int i = 0; i < 15; i++)
                buf_addf(&b, ",{'name':'D%d','persistentVolumeClaim':{'claimName':'C'}}", i);
        buf_adds(&b, "]");
        vm = vm_with("web", "shop", buf_str(&b));
        judge(&v, vm, NULL);
        assert_int_equal(v.r.n, ADMISSION_PROBLEMS_MAX);
        assert_int_equal(v.r.nwarnings, 0); /* nobody would be shown them */
        arena_free(v.a);
        subject_free(vm);
}

static void more_warnings_than_are_shown(void **state)
{
        struct subject *old = vm_with("web", "shop", "");
        struct subject *vm = with_many("'disks':[{'name':'d0','blank':{'size':'1Gi'}}",
                                       ",{'name':'d%d','blank':{'size':'1Gi'}}", 16, "]");
        struct outcome v;

        (void)state;
        old->vm->status.has_running = true;
        old->vm->status.running = old->vm->spec.shape;
        judge(&v, vm, old);
        assert_int_equal(v.r.n, 0);
        assert_int_equal(v.r.nwarnings, ADMISSION_WARNINGS_MAX);
        assert_string_equal(v.r.warnings[ADMISSION_WARNINGS_MAX - 1],
                            "3 more warnings are not shown"); /* of 18 */
        arena_free(v.a);
        subject_free(vm);
        subject_free(old);
}

/* Texts of a user's are cut, not trusted. */
static void long_texts_are_cut(void **state)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct outcome v;
        struct subject *vm;

        (void)state;
        buf_addf(&b, "'runStrategy':'%010000d'", 0);
        vm = vm_with("web", "shop", buf_str(&b));
        judge(&v, vm, NULL);
        assert_int_equal(v.r.n, 1);
        assert_true(strlen(v.r.v[0].message) < 512);
        arena_free(v.a);
        subject_free(vm);
}

static void every_rule_has_a_row(void **state)
{
        bool seen[ADMISSION_RULES] = {[ADMIT_NAMESPACE] = true,
                                      [ADMIT_NAME] = true,
                                      [ADMIT_COUNT] = true,
                                      [ADMIT_CLOUD_INIT] = true,
                                      [ADMIT_CLAIM_HELD] = true,
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
        struct subject *vm =
                vm_with("web", "shop",
                        "'disks':[{},{},{'name':'x','image':{'name':'gone'}}],"
                        "'tolerations':[{}],'networks':[{'name':'a','mac':'b'}],"
                        "'sshKeys':[''],'topologySpreadConstraints':[{}],"
                        "'affinity':{'podAffinity':{'" REQUIRED_LIST "':[{'namespaces':['A']}]}}");
        size_t room, told = 0;

        (void)state;
        for (room = 64;; room += 64) {
                struct arena *a autoarena = arena_new(room);
                struct admission_report r;
                int asked = 0;
                const struct admission_facts f = facts_of(vm, NULL, &asked);

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
        subject_free(vm);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rule_rows),
                cmocka_unit_test(every_rule_has_a_row),
                cmocka_unit_test(namespaces),
                cmocka_unit_test(names),
                cmocka_unit_test(cloud_init),
                cmocka_unit_test(long_ssh_keys),
                cmocka_unit_test(counts),
                cmocka_unit_test(inner_counts),
                cmocka_unit_test(changes_of_disks),
                cmocka_unit_test(claims_come_and_go_while_halted),
                cmocka_unit_test(image_asked_for_once),
                cmocka_unit_test(warnings_of_what_waits),
                cmocka_unit_test(other_warnings),
                cmocka_unit_test(larger_than_every_host),
                cmocka_unit_test(a_nodes_host_name_label_may_be_another),
                cmocka_unit_test(no_node_satisfies),
                cmocka_unit_test(all_that_is_wrong_is_told),
                cmocka_unit_test(more_than_can_be_told),
                cmocka_unit_test(more_warnings_than_are_shown),
                cmocka_unit_test(long_texts_are_cut),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
