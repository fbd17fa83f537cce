package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

const (
	ourImages = "wardstream/"
	ourUser   = 65532
	// margin is what a pod needs of its grace period besides draining: to flush and to close.
	margin = 5 * time.Second
)

func ours(c *corev1.Container) bool { return strings.HasPrefix(c.Image, ourImages) }

// TestPodSecurity is the API server's own check for the standard "restricted".
func TestPodSecurity(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	forEachTree(t, func(t *testing.T, tr *tree) {
		for _, w := range tr.workloads() {
			for _, r := range evaluator.EvaluatePod(restricted, &w.pods.ObjectMeta, &w.pods.Spec) {
				if !r.Allowed {
					t.Errorf("%s %s: %s: %s", w.kind, w.name, r.ForbiddenReason, r.ForbiddenDetail)
				}
			}
		}
	})
}

func TestContainers(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		for _, w := range tr.workloads() {
			spec := &w.pods.Spec
			if a := spec.AutomountServiceAccountToken; a == nil || *a {
				t.Errorf("%s %s: its pods get a service account token", w.kind, w.name)
			}
			for i := range spec.Containers {
				c := &spec.Containers[i]
				for _, problem := range slices.Concat(hardening(spec, c), resources(c), image(c)) {
					t.Errorf("%s %s: container %s: %s", w.kind, w.name, c.Name, problem)
				}
			}
		}
	})
}

// hardening finds what Pod Security leaves open.
func hardening(spec *corev1.PodSpec, c *corev1.Container) (problems []string) {
	if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		problems = append(problems, "its root file system can be written to")
	}
	if u := spec.SecurityContext.RunAsUser; u == nil || *u == 0 || ours(c) && *u != ourUser {
		problems = append(problems, "runAsUser is not the image's user")
	}
	for _, e := range c.Env {
		if strings.HasSuffix(e.Name, "_URL") && e.Value != "" {
			problems = append(problems, e.Name+" stands in the manifest instead of a Secret")
		}
	}
	return problems
}

func resources(c *corev1.Container) (problems []string) {
	memory, limit := c.Resources.Requests.Memory(), c.Resources.Limits.Memory()
	if limit.IsZero() || memory.Cmp(*limit) != 0 {
		problems = append(problems, "memory request and limit differ")
	}
	if c.Resources.Requests.Cpu().IsZero() || !c.Resources.Limits.Cpu().IsZero() {
		problems = append(problems, "wants a CPU request and no CPU limit")
	}
	if !ours(c) {
		return problems
	}
	goLimit, ok := strings.CutSuffix(variable(c, "GOMEMLIMIT").Value, "MiB")
	mib, err := strconv.ParseInt(goLimit, 10, 64)
	share := float64(mib<<20) / float64(limit.Value())
	if !ok || err != nil || share < 0.88 || share > 0.91 {
		problems = append(problems, fmt.Sprintf("GOMEMLIMIT is %.0f %% of the memory limit, not 90 %%", share*100))
	}
	return problems
}

func image(c *corev1.Container) (problems []string) {
	_, tag, ok := strings.Cut(c.Image, ":")
	if !ok || tag == "" || tag == "latest" {
		problems = append(problems, "image "+c.Image+" names no version")
	}
	return problems
}

func variable(c *corev1.Container, name string) corev1.EnvVar {
	for _, e := range c.Env {
		if e.Name == name {
			return e
		}
	}
	return corev1.EnvVar{}
}

func port(c *corev1.Container, target intstr.IntOrString) int32 {
	for _, p := range c.Ports {
		if p.Name == target.StrVal || p.ContainerPort == target.IntVal {
			return p.ContainerPort
		}
	}
	return 0
}

func TestProbes(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		for _, d := range tr.deployments {
			c := &d.Spec.Template.Spec.Containers[0]
			if !ours(c) {
				continue
			}
			for name, want := range map[string]struct {
				probe *corev1.Probe
				path  string
			}{
				"startup": {c.StartupProbe, "/healthz"}, "liveness": {c.LivenessProbe, "/healthz"}, "readiness": {c.ReadinessProbe, "/readyz"},
			} {
				switch {
				case want.probe == nil || want.probe.HTTPGet == nil:
					t.Errorf("Deployment %s has no %s probe over HTTP", d.Name, name)
				case want.probe.HTTPGet.Path != want.path:
					t.Errorf("Deployment %s: %s probe asks %s, not %s", d.Name, name, want.probe.HTTPGet.Path, want.path)
				case port(c, want.probe.HTTPGet.Port) == 0:
					t.Errorf("Deployment %s: %s probe asks a port that the container does not have", d.Name, name)
				}
			}
		}
	})
}

// TestGracePeriods: Kubernetes kills no program that is still draining.
func TestGracePeriods(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		var detector struct{ Shutdown struct{ Grace string } }
		configuration(t, tr, "detector", &detector)
		var check struct{ Grace string }
		configuration(t, tr, "ingress-check", &check)
		for name, grace := range map[string]string{"detector": detector.Shutdown.Grace, "ingress-check": check.Grace} {
			drain, err := time.ParseDuration(grace)
			if err != nil {
				t.Errorf("%s: its configuration says no grace: %v", name, err)
			}
			d := deployment(t, tr, name)
			if hook := d.Spec.Template.Spec.Containers[0].Lifecycle; hook != nil {
				drain += time.Duration(hook.PreStop.Sleep.Seconds) * time.Second
			}
			period := d.Spec.Template.Spec.TerminationGracePeriodSeconds
			if period == nil || time.Duration(*period)*time.Second < drain+margin {
				t.Errorf("%s: the grace period is not %s longer than the %s of draining", name, margin, drain)
			}
		}
	})
}

func TestSelectors(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		exactly := func(what string, selector *metav1.LabelSelector, names ...string) []workload {
			var got []string
			found := tr.selected(t, selector)
			for _, w := range found {
				got = append(got, w.kind+" "+w.name)
			}
			if len(got) != 1 || len(names) > 0 && !slices.Equal(got, names) {
				t.Errorf("%s selects the pods of %v; want %v", what, got, names)
			}
			return found
		}
		for _, d := range tr.deployments {
			exactly("Deployment "+d.Name, d.Spec.Selector, "Deployment "+d.Name)
			for _, s := range d.Spec.Template.Spec.TopologySpreadConstraints {
				exactly("the spread of Deployment "+d.Name, s.LabelSelector, "Deployment "+d.Name)
			}
		}
		for _, b := range tr.budgets {
			exactly("PodDisruptionBudget "+b.Name, b.Spec.Selector, "Deployment "+b.Name)
		}
		for _, s := range tr.services {
			for _, w := range exactly("Service "+s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}) {
				for _, p := range s.Spec.Ports {
					if port(&w.pods.Spec.Containers[0], p.TargetPort) == 0 {
						t.Errorf("Service %s: its port %s leads to no port of %s", s.Name, p.Name, w.name)
					}
				}
			}
		}
		for _, p := range tr.policies {
			if len(tr.selected(t, &p.Spec.PodSelector)) == 0 {
				t.Errorf("NetworkPolicy %s selects nothing", p.Name)
			}
		}
	})
}

// TestScaling: whatever serves has a scaler that can scale and a budget that lets nodes drain.
func TestScaling(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		for _, d := range tr.deployments {
			if !ours(&d.Spec.Template.Spec.Containers[0]) {
				continue
			}
			if d.Spec.Replicas != nil {
				t.Errorf("Deployment %s sets replicas: each apply would undo the scaler", d.Name)
			}
			if n := d.Spec.Strategy.RollingUpdate.MaxUnavailable; n == nil || n.IntValue() != 0 {
				t.Errorf("Deployment %s: a rolling deploy takes pods away before the new ones are ready", d.Name)
			}
			scalers, budgets := 0, 0
			for _, s := range tr.scalers {
				if s.Spec.ScaleTargetRef.Kind == "Deployment" && s.Spec.ScaleTargetRef.Name == d.Name {
					scalers++
				}
			}
			for _, b := range tr.budgets {
				if b.Name == d.Name {
					budgets++
				}
			}
			if scalers != 1 || budgets != 1 {
				t.Errorf("Deployment %s has %d scalers and %d budgets", d.Name, scalers, budgets)
			}
		}
		for _, s := range tr.scalers {
			if s.Spec.MinReplicas == nil || *s.Spec.MinReplicas < 1 || *s.Spec.MinReplicas >= s.Spec.MaxReplicas {
				t.Errorf("HorizontalPodAutoscaler %s: minReplicas is not below maxReplicas", s.Name)
			}
			if !slices.ContainsFunc(tr.workloads(), func(w workload) bool { return w.name == s.Spec.ScaleTargetRef.Name }) {
				t.Errorf("HorizontalPodAutoscaler %s scales %s, which is not there", s.Name, s.Spec.ScaleTargetRef.Name)
			}
		}
		for _, b := range tr.budgets {
			one := intstr.FromInt32(1)
			if b.Spec.MinAvailable != nil || b.Spec.MaxUnavailable == nil || *b.Spec.MaxUnavailable != one {
				t.Errorf("PodDisruptionBudget %s: want maxUnavailable 1 and no minAvailable", b.Name)
			}
			if p := b.Spec.UnhealthyPodEvictionPolicy; p == nil || *p != policyv1.AlwaysAllow {
				t.Errorf("PodDisruptionBudget %s: a broken pod would hold up the draining of its node", b.Name)
			}
		}
	})
}

// TestMigration: the Job runs the very version that it migrates for, says so in its name, and goes
// away.
func TestMigration(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		if len(tr.jobs) != 1 {
			t.Fatalf("%d Jobs, want 1", len(tr.jobs))
		}
		job := tr.jobs[0]
		c := &job.Spec.Template.Spec.Containers[0]
		_, tag, _ := strings.Cut(c.Image, ":")
		if want := "detector-migrate-" + strings.ReplaceAll(tag, ".", "-"); job.Name != want {
			t.Errorf("the Job of %s is called %s, want %s: a Job can't be changed, so each version has its own", c.Image, job.Name, want)
		}
		if job.Spec.TTLSecondsAfterFinished == nil {
			t.Error("the Job has no TTL")
		}
		if !slices.Equal(c.Args, []string{"migrate"}) {
			t.Errorf("the Job runs %q", c.Args)
		}
		for _, d := range tr.deployments {
			if d.Name == "detector" && d.Spec.Template.Spec.Containers[0].Image != c.Image {
				t.Errorf("the Job migrates with %s, the detector is %s", c.Image, d.Spec.Template.Spec.Containers[0].Image)
			}
		}
	})
}

// TestReferences: what pods refer to is there, but for the Secrets that operators bring.
func TestReferences(t *testing.T) {
	brought := map[string]bool{"wardstream-detector": true, "wardstream-ingress-check": true}
	forEachTree(t, func(t *testing.T, tr *tree) {
		has := map[string]bool{}
		for _, d := range tr.documents {
			has[d.kind+" "+d.name] = true
		}
		for _, w := range tr.workloads() {
			spec := w.pods.Spec
			if spec.ServiceAccountName != "" && !has["ServiceAccount "+spec.ServiceAccountName] {
				t.Errorf("%s %s runs as %s, which is not there", w.kind, w.name, spec.ServiceAccountName)
			}
			for _, v := range spec.Volumes {
				if v.ConfigMap != nil && !has["ConfigMap "+v.ConfigMap.Name] {
					t.Errorf("%s %s mounts ConfigMap %s, which is not there", w.kind, w.name, v.ConfigMap.Name)
				}
			}
			for _, e := range spec.Containers[0].Env {
				if e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil {
					continue
				}
				ref := e.ValueFrom.SecretKeyRef
				if !brought[ref.Name] && !has["Secret "+ref.Name] {
					t.Errorf("%s %s reads Secret %s, which no page tells operators to create", w.kind, w.name, ref.Name)
				}
				optional := ref.Optional != nil && *ref.Optional
				if want := e.Name == "WARDSTREAM_POSTGRES_URL" && w.kind == "Deployment"; optional != want {
					t.Errorf("%s %s: %s optional: %t, want %t", w.kind, w.name, e.Name, optional, want)
				}
			}
		}
	})
}

// TestOverlaysUseOneNamespace: an overlay puts everything into the namespace it makes, which
// enforces Pod Security; base names none.
func TestOverlaysUseOneNamespace(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		want := ""
		for _, n := range tr.namespaces {
			want = n.Name
			if n.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
				t.Errorf("namespace %s does not enforce Pod Security", n.Name)
			}
		}
		for _, d := range tr.documents {
			if d.kind != "Namespace" && d.namespace != want {
				t.Errorf("%s %s is in namespace %q, want %q", d.kind, d.name, d.namespace, want)
			}
		}
	})
}

// TestManifestsHoldNoSecrets: only the overlay for trying it out carries any.
func TestManifestsHoldNoSecrets(t *testing.T) {
	for _, dir := range []string{"base", "overlays/prod"} {
		if n := len(render(t, dir).secrets); n != 0 {
			t.Errorf("%s carries %d Secrets", dir, n)
		}
	}
}

// TestListeners: programs listen where the probes and Services look for them, on every interface.
func TestListeners(t *testing.T) {
	forEachTree(t, func(t *testing.T, tr *tree) {
		var detector struct {
			Stream struct{ Consumer string }
			HTTP   struct{ Addr string }
		}
		configuration(t, tr, "detector", &detector)
		listens(t, tr, "detector", map[string]string{"http": detector.HTTP.Addr})

		var check struct {
			Addr     string
			HTTPAddr string `json:"http_addr"`
		}
		configuration(t, tr, "ingress-check", &check)
		listens(t, tr, "ingress-check", map[string]string{"http": check.Addr, "ops": check.HTTPAddr})

		hostname := variable(container(t, tr, "detector"), "HOSTNAME")
		if detector.Stream.Consumer != "${HOSTNAME}" || hostname.ValueFrom == nil || hostname.ValueFrom.FieldRef == nil ||
			hostname.ValueFrom.FieldRef.FieldPath != "metadata.name" {
			t.Error("the detector's consumer is not called after its pod")
		}
	})
}

func listens(t *testing.T, tr *tree, name string, addrs map[string]string) {
	t.Helper()
	want := map[string]string{}
	for _, p := range container(t, tr, name).Ports {
		want[p.Name] = fmt.Sprintf("0.0.0.0:%d", p.ContainerPort)
	}
	if !maps.Equal(addrs, want) {
		t.Errorf("%s listens on %v, its container has the ports %v", name, addrs, want)
	}
}

func container(t *testing.T, tr *tree, name string) *corev1.Container {
	t.Helper()
	return &deployment(t, tr, name).Spec.Template.Spec.Containers[0]
}

func deployment(t *testing.T, tr *tree, name string) *appsv1.Deployment {
	t.Helper()
	for i := range tr.deployments {
		if tr.deployments[i].Name == name {
			return &tr.deployments[i]
		}
	}
	t.Fatalf("no Deployment %s", name)
	return nil
}

// configText is the configuration file that the program is started with: --config names a file
// in the folder where its ConfigMap is mounted.
func configText(t *testing.T, tr *tree, name string) string {
	t.Helper()
	file := name + ".yaml"
	if c := container(t, tr, name); !slices.Contains(c.Args, "--config="+c.VolumeMounts[0].MountPath+"/"+file) {
		t.Errorf("%s is not started with the mounted configuration: %q", name, c.Args)
	}
	for _, m := range tr.configMaps {
		if strings.HasPrefix(m.Name, "wardstream-"+name+"-") && m.Data[file] != "" {
			return m.Data[file]
		}
	}
	t.Fatalf("no ConfigMap has %s", file)
	return ""
}

func configuration(t *testing.T, tr *tree, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(configText(t, tr, name)), into); err != nil {
		t.Fatal(err)
	}
}
