// Package api is what a user of controller-runtime would have of drover.dev/v1alpha1: typed objects, registered in a
// scheme, with the deep copies that controller-gen would write.
package api

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	Namespace       = "drover-system"
	Migrator        = "system:serviceaccount:drover-system:drover-migrator"
	VMLabel         = "drover.dev/vm"
	VMResource      = corev1.ResourceName("drover.dev/vm")
	UIDAnnotation   = "drover.dev/vm-uid"
	HypervisorLabel = "drover.dev/hypervisor"
	CPULabelPrefix  = "cpu-model.drover.dev/"
	PoolLabelPrefix = "pool.drover.dev/"
	LeasePrefix     = "drover-node-"
)

var GroupVersion = schema.GroupVersion{Group: "drover.dev", Version: "v1alpha1"}

func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &VirtualMachine{}, &VirtualMachineList{}, &VirtualMachineHost{}, &VirtualMachineHostList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

type VirtualMachine struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              VirtualMachineSpec   `json:"spec"`
	Status            VirtualMachineStatus `json:"status,omitempty"`
}

type VirtualMachineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualMachine `json:"items"`
}

type VirtualMachineSpec struct {
	RunStrategy               string                            `json:"runStrategy,omitempty"`
	RestartedAt               string                            `json:"restartedAt,omitempty"`
	CPU                       CPU                               `json:"cpu,omitempty"`
	Memory                    Memory                            `json:"memory"`
	Disks                     []Disk                            `json:"disks,omitempty"`
	Networks                  []Network                         `json:"networks,omitempty"`
	CloudInit                 *CloudInit                        `json:"cloudInit,omitempty"`
	SSHKeys                   []string                          `json:"sshKeys,omitempty"`
	NodeName                  string                            `json:"nodeName,omitempty"`
	NodeSelector              map[string]string                 `json:"nodeSelector,omitempty"`
	Affinity                  *corev1.Affinity                  `json:"affinity,omitempty"`
	Tolerations               []corev1.Toleration               `json:"tolerations,omitempty"`
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	PriorityClassName         string                            `json:"priorityClassName,omitempty"`
	Migration                 *MigrationPolicy                  `json:"migration,omitempty"`
	EvictionStrategy          string                            `json:"evictionStrategy,omitempty"`
}

type CPU struct {
	Cores int64  `json:"cores,omitempty"`
	Model string `json:"model,omitempty"`
}

type Memory struct {
	Guest     resource.Quantity `json:"guest"`
	HugePages string            `json:"hugePages,omitempty"`
}

type Disk struct {
	Name                  string       `json:"name"`
	Pool                  string       `json:"pool,omitempty"`
	Image                 *ImageDisk   `json:"image,omitempty"`
	Blank                 *BlankDisk   `json:"blank,omitempty"`
	PersistentVolumeClaim *ClaimedDisk `json:"persistentVolumeClaim,omitempty"`
}

type ImageDisk struct {
	Name string             `json:"name"`
	Size *resource.Quantity `json:"size,omitempty"`
}

type BlankDisk struct {
	Size resource.Quantity `json:"size"`
}

type ClaimedDisk struct {
	ClaimName string `json:"claimName"`
}

type Network struct {
	Name   string `json:"name"`
	Bridge string `json:"bridge,omitempty"`
	MAC    string `json:"mac,omitempty"`
	Model  string `json:"model,omitempty"`
}

type CloudInit struct {
	UserData    string `json:"userData,omitempty"`
	NetworkData string `json:"networkData,omitempty"`
}

type MigrationPolicy struct {
	MaxDowntimeMs                  int64  `json:"maxDowntimeMs,omitempty"`
	BandwidthMiBps                 int64  `json:"bandwidthMiBps,omitempty"`
	CompletionTimeoutSecondsPerGiB int64  `json:"completionTimeoutSecondsPerGiB,omitempty"`
	AutoConverge                   *bool  `json:"autoConverge,omitempty"`
	PostCopy                       bool   `json:"postCopy,omitempty"`
	OnTimeout                      string `json:"onTimeout,omitempty"`
	Handover                       string `json:"handover,omitempty"`
}

type VirtualMachineStatus struct {
	Phase              string             `json:"phase,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Owner              Owner              `json:"owner,omitempty"`
	PodName            string             `json:"podName,omitempty"`
	Addresses          []string           `json:"addresses,omitempty"`
	Running            *Shape             `json:"running,omitempty"`
	RestartedAt        string             `json:"restartedAt,omitempty"`
	Migration          *MigrationUnderWay `json:"migration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	Reason             string             `json:"reason,omitempty"`
}

type Owner struct {
	Node  string `json:"node,omitempty"`
	Epoch int64  `json:"epoch,omitempty"`
}

// Shape is what a domain was started with.
type Shape struct {
	Cores     int64  `json:"cores,omitempty"`
	CPUModel  string `json:"cpuModel,omitempty"`
	Memory    int64  `json:"memory,omitempty"`
	HugePages string `json:"hugePages,omitempty"`
}

type MigrationUnderWay struct {
	Name    string `json:"name,omitempty"`
	Phase   string `json:"phase,omitempty"`
	Target  string `json:"target,omitempty"`
	Percent int64  `json:"percent,omitempty"`
}

type VirtualMachineHost struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Status            HostStatus `json:"status,omitempty"`
}

type VirtualMachineHostList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualMachineHost `json:"items"`
}

type HostStatus struct {
	Capacity         Capacity           `json:"capacity,omitempty"`
	Used             Used               `json:"used,omitempty"`
	CPUModels        []string           `json:"cpuModels,omitempty"`
	Bridges          []string           `json:"bridges,omitempty"`
	MachineTypes     []string           `json:"machineTypes,omitempty"`
	QEMUVersion      string             `json:"qemuVersion,omitempty"`
	LibvirtVersion   string             `json:"libvirtVersion,omitempty"`
	VirtType         string             `json:"virtType,omitempty"`
	MigrationAddress string             `json:"migrationAddress,omitempty"`
	LibvirtURI       string             `json:"libvirtURI,omitempty"`
	ResolveMs        int64              `json:"resolveMs,omitempty"`
	Mounts           []Mount            `json:"mounts,omitempty"`
	Domains          []Domain           `json:"domains,omitempty"`
	Conditions       []metav1.Condition `json:"conditions,omitempty"`
	Outbound         int64              `json:"outbound,omitempty"`
	Inbound          int64              `json:"inbound,omitempty"`
}

type Capacity struct {
	CPUs                 int64 `json:"cpus,omitempty"`
	Memory               int64 `json:"memory,omitempty"`
	HugePages2Mi         int64 `json:"hugePages2Mi,omitempty"`
	HugePages1Gi         int64 `json:"hugePages1Gi,omitempty"`
	Slots                int64 `json:"slots,omitempty"`
	CPUOvercommitPercent int64 `json:"cpuOvercommitPercent,omitempty"`
	ReservedMemory       int64 `json:"reservedMemory,omitempty"`
}

type Used struct {
	CPUs    int64 `json:"cpus,omitempty"`
	Memory  int64 `json:"memory,omitempty"`
	Domains int64 `json:"domains,omitempty"`
}

type Mount struct {
	Pool            string `json:"pool"`
	Path            string `json:"path,omitempty"`
	FSType          string `json:"fstype,omitempty"`
	Source          string `json:"source,omitempty"`
	Health          string `json:"health,omitempty"`
	Reason          string `json:"reason,omitempty"`
	Identity        string `json:"identity,omitempty"`
	LatencyUs       int64  `json:"latencyUs,omitempty"`
	FreeBytes       int64  `json:"freeBytes,omitempty"`
	FreeInodes      int64  `json:"freeInodes,omitempty"`
	LockArbitration bool   `json:"lockArbitration,omitempty"`
}

type Domain struct {
	UID         string   `json:"uid"`
	Namespace   string   `json:"namespace,omitempty"`
	Name        string   `json:"name,omitempty"`
	Epoch       int64    `json:"epoch,omitempty"`
	Migration   string   `json:"migration,omitempty"`
	State       string   `json:"state,omitempty"`
	Reason      string   `json:"reason,omitempty"`
	Addresses   []string `json:"addresses,omitempty"`
	RestartedAt string   `json:"restartedAt,omitempty"`
	Cores       int64    `json:"cores,omitempty"`
	Memory      int64    `json:"memory,omitempty"`
}
