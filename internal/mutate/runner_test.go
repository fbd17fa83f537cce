package mutate

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestRunnerReportsSurvivors: a mutation that a test notices is killed, by the test that is named;
// one that none notices survives; one that doesn't build, and tests that are not there, are errors
// and no deaths. The file stays as it was.
func TestRunnerReportsSurvivors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const program = "package p\n\nimport _ \"embed\"\n\n//go:embed limit.txt\nvar limit string\n\nfunc Small(n int) bool { return n < 10 }\n"
	for name, text := range map[string]string{
		"go.mod": "module example.com/p\n\ngo 1.26\n", "p.go": program, "limit.txt": "10",
		"p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestSmall(t *testing.T) {\n\tif !Small(1) || Small(20) || limit != \"10\" {\n\t\tt.Error(\"wrong\")\n\t}\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &runner{root: dir, dir: t.TempDir()}
	for name, tt := range map[string]struct {
		m       mutation
		want    verdict
		by      string
		wantErr error
	}{
		"noticed":            {mutation{File: "p.go", Find: "n < 10", Replace: "n > 10"}, killed, "TestSmall", nil},
		"noticed, not in Go": {mutation{File: "limit.txt", Find: "10", Replace: "11"}, killed, "TestSmall", nil},
		"not noticed":        {mutation{File: "p.go", Find: "n < 10", Replace: "n < 9"}, survived, "", nil},
		"panics":             {mutation{File: "p.go", Find: "return n < 10", Replace: "panic(n)"}, killed, "TestSmall", nil},
		"does not build":     {mutation{File: "p.go", Find: "n < 10", Replace: "m < 10"}, "", "", errBroken},
		"no such test":       {mutation{File: "p.go", Find: "n < 10", Replace: "n > 10", Tests: map[string]string{".": "TestLarge"}}, "", "", errNoTests},
	} {
		v, by, err := r.judge(t.Context(), &tt.m)
		if v != tt.want || by != tt.by || !errors.Is(err, tt.wantErr) {
			t.Errorf("%s: %s by %q, %v; want %s by %q, %v", name, v, by, err, tt.want, tt.by, tt.wantErr)
		}
	}
	for name, m := range map[string]mutation{
		"moved": {File: "p.go", Find: "n < 11", Replace: "n"}, "ambiguous": {File: "p.go", Find: "n", Replace: "m"}, "gone": {File: "q.go"},
		"unchanged": {File: "p.go", Find: "n < 10", Replace: "n < 10"}, "no Go": {File: "p.go", Find: "n < 10", Replace: "n <"},
	} {
		if _, err := m.apply(dir); err == nil {
			t.Errorf("a mutation that is %s applies", name)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "p.go")); err != nil || string(text) != program {
		t.Errorf("the file is %q, %v", text, err)
	}
}
