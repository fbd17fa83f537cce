// Package deploy checks what is deployed: it renders the Kubernetes manifests, validates them
// against the API's schemas and against rules of our own, and builds the binaries as the
// Dockerfiles do. It is a module of its own, so that Wardstream's doesn't depend on Kubernetes'
// libraries.
package deploy

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kubectl-validate/pkg/openapiclient"
	"sigs.k8s.io/kubectl-validate/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kubernetesVersion is the newest whose schemas kubectl-validate carries.
const kubernetesVersion = "1.30"

// A tree is one rendered set of manifests.
type tree struct {
	documents []document

	deployments []appsv1.Deployment
	jobs        []batchv1.Job
	services    []corev1.Service
	configMaps  []corev1.ConfigMap
	secrets     []corev1.Secret
	accounts    []corev1.ServiceAccount
	namespaces  []corev1.Namespace
	scalers     []autoscalingv2.HorizontalPodAutoscaler
	budgets     []policyv1.PodDisruptionBudget
	policies    []networkingv1.NetworkPolicy
}

type document struct {
	kind, name, namespace string
	text                  []byte
}

// render does what kubectl kustomize does in the folder k8s/dir, and decodes what comes out.
func render(t *testing.T, dir string) *tree {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "k8s/"+dir)
	if err != nil {
		t.Fatalf("render %s: %v", dir, err)
	}
	out := &tree{}
	for _, r := range rendered.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		d := document{kind: r.GetKind(), name: r.GetName(), namespace: r.GetNamespace(), text: text}
		out.documents = append(out.documents, d)
		out.decode(t, d)
	}
	return out
}

func (tr *tree) decode(t *testing.T, d document) {
	t.Helper()
	switch d.kind {
	case "Deployment":
		decode(t, d, &tr.deployments)
	case "Job":
		decode(t, d, &tr.jobs)
	case "Service":
		decode(t, d, &tr.services)
	case "ConfigMap":
		decode(t, d, &tr.configMaps)
	case "Secret":
		decode(t, d, &tr.secrets)
	case "ServiceAccount":
		decode(t, d, &tr.accounts)
	case "Namespace":
		decode(t, d, &tr.namespaces)
	case "HorizontalPodAutoscaler":
		decode(t, d, &tr.scalers)
	case "PodDisruptionBudget":
		decode(t, d, &tr.budgets)
	case "NetworkPolicy":
		decode(t, d, &tr.policies)
	default:
		t.Errorf("%s %s: no test looks at this kind yet", d.kind, d.name)
	}
}

func decode[T any](t *testing.T, d document, into *[]T) {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict(d.text, &object); err != nil {
		t.Errorf("%s %s: %v", d.kind, d.name, err)
	}
	*into = append(*into, object)
}

// A workload is something that makes pods.
type workload struct {
	kind, name string
	pods       corev1.PodTemplateSpec
}

func (tr *tree) workloads() []workload {
	var out []workload
	for _, d := range tr.deployments {
		out = append(out, workload{"Deployment", d.Name, d.Spec.Template})
	}
	for _, j := range tr.jobs {
		out = append(out, workload{"Job", j.Name, j.Spec.Template})
	}
	return out
}

// selected lists the workloads whose pods a selector picks.
func (tr *tree) selected(t *testing.T, selector *metav1.LabelSelector) []workload {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	var out []workload
	for _, w := range tr.workloads() {
		if s.Matches(labelSet(w.pods.Labels)) {
			out = append(out, w)
		}
	}
	return out
}

type labelSet map[string]string

func (l labelSet) Has(label string) bool   { _, ok := l[label]; return ok }
func (l labelSet) Get(label string) string { return l[label] }
func (l labelSet) Lookup(label string) (value string, ok bool) {
	value, ok = l[label]
	return value, ok
}

// forEachTree runs check on every directory that an operator may apply.
func forEachTree(t *testing.T, check func(t *testing.T, tr *tree)) {
	t.Helper()
	for _, dir := range []string{"base", "overlays/dev", "overlays/prod"} {
		t.Run(strings.ReplaceAll(dir, "/", "-"), func(t *testing.T) { check(t, render(t, dir)) })
	}
}

// TestSchema is kubectl-validate: unknown fields, wrong types, missing fields, bad names, removed
// APIs.
func TestSchema(t *testing.T) {
	v, err := validator.New(openapiclient.NewHardcodedBuiltins(kubernetesVersion))
	if err != nil {
		t.Fatal(err)
	}
	forEachTree(t, func(t *testing.T, tr *tree) {
		for _, d := range tr.documents {
			_, object, err := v.Parse(d.text)
			if err == nil {
				err = v.Validate(object)
			}
			if err != nil {
				t.Errorf("%s %s: %v", d.kind, d.name, err)
			}
		}
	})
}

// TestSchemaFindsMistakes makes sure that TestSchema can fail.
func TestSchemaFindsMistakes(t *testing.T) {
	v, err := validator.New(openapiclient.NewHardcodedBuiltins(kubernetesVersion))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: x}\nautomountServiceAccountTokens: false\n")
	if _, _, err := v.Parse(text); err == nil {
		t.Error("an unknown field passed")
	}
}
