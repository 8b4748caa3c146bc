package api

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func (in *Disk) DeepCopyInto(out *Disk) {
	*out = *in
	if in.Image != nil {
		out.Image = &ImageDisk{Name: in.Image.Name}
		if in.Image.Size != nil {
			size := in.Image.Size.DeepCopy()
			out.Image.Size = &size
		}
	}
	if in.Blank != nil {
		out.Blank = &BlankDisk{Size: in.Blank.Size.DeepCopy()}
	}
	if in.PersistentVolumeClaim != nil {
		claim := *in.PersistentVolumeClaim
		out.PersistentVolumeClaim = &claim
	}
}

func (in *VirtualMachineSpec) DeepCopyInto(out *VirtualMachineSpec) {
	*out = *in
	out.Memory.Guest = in.Memory.Guest.DeepCopy()
	if in.Disks != nil {
		out.Disks = make([]Disk, len(in.Disks))
		for i := range in.Disks {
			in.Disks[i].DeepCopyInto(&out.Disks[i])
		}
	}
	out.Networks = slices.Clone(in.Networks)
	if in.CloudInit != nil {
		init := *in.CloudInit
		out.CloudInit = &init
	}
	out.SSHKeys = slices.Clone(in.SSHKeys)
	out.NodeSelector = maps.Clone(in.NodeSelector)
	out.Affinity = in.Affinity.DeepCopy()
	if in.Tolerations != nil {
		out.Tolerations = make([]corev1.Toleration, len(in.Tolerations))
		for i := range in.Tolerations {
			in.Tolerations[i].DeepCopyInto(&out.Tolerations[i])
		}
	}
	if in.TopologySpreadConstraints != nil {
		out.TopologySpreadConstraints = make([]corev1.TopologySpreadConstraint, len(in.TopologySpreadConstraints))
		for i := range in.TopologySpreadConstraints {
			in.TopologySpreadConstraints[i].DeepCopyInto(&out.TopologySpreadConstraints[i])
		}
	}
	if in.Migration != nil {
		policy := *in.Migration
		if policy.AutoConverge != nil {
			converge := *policy.AutoConverge
			policy.AutoConverge = &converge
		}
		out.Migration = &policy
	}
}

func (in *VirtualMachineStatus) DeepCopyInto(out *VirtualMachineStatus) {
	*out = *in
	out.Addresses = slices.Clone(in.Addresses)
	if in.Running != nil {
		running := *in.Running
		out.Running = &running
	}
	if in.Migration != nil {
		migration := *in.Migration
		out.Migration = &migration
	}
	out.Conditions = slices.Clone(in.Conditions)
}

func (in *VirtualMachine) DeepCopyInto(out *VirtualMachine) {
	out.TypeMeta = in.TypeMeta
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	in.Spec.DeepCopyInto(&out.Spec)
	in.Status.DeepCopyInto(&out.Status)
}

func (in *VirtualMachine) DeepCopyObject() runtime.Object {
	out := new(VirtualMachine)
	in.DeepCopyInto(out)
	return out
}

func (in *VirtualMachineList) DeepCopyObject() runtime.Object {
	out := &VirtualMachineList{TypeMeta: in.TypeMeta, Items: make([]VirtualMachine, len(in.Items))}
	in.ListMeta.DeepCopyInto(&out.ListMeta)
	for i := range in.Items {
		in.Items[i].DeepCopyInto(&out.Items[i])
	}
	return out
}

func (in *VirtualMachineHost) DeepCopyInto(out *VirtualMachineHost) {
	*out = *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.CPUModels = slices.Clone(in.Status.CPUModels)
	out.Status.Bridges = slices.Clone(in.Status.Bridges)
	out.Status.MachineTypes = slices.Clone(in.Status.MachineTypes)
	out.Status.Mounts = slices.Clone(in.Status.Mounts)
	out.Status.Domains = slices.Clone(in.Status.Domains)
	for i := range out.Status.Domains {
		out.Status.Domains[i].Addresses = slices.Clone(in.Status.Domains[i].Addresses)
	}
	out.Status.Conditions = slices.Clone(in.Status.Conditions)
}

func (in *VirtualMachineHost) DeepCopyObject() runtime.Object {
	out := new(VirtualMachineHost)
	in.DeepCopyInto(out)
	return out
}

func (in *VirtualMachineHostList) DeepCopyObject() runtime.Object {
	out := &VirtualMachineHostList{TypeMeta: in.TypeMeta, Items: make([]VirtualMachineHost, len(in.Items))}
	in.ListMeta.DeepCopyInto(&out.ListMeta)
	for i := range in.Items {
		in.Items[i].DeepCopyInto(&out.Items[i])
	}
	return out
}
