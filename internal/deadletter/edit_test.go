package deadletter

import (
	"slices"
	"testing"
)

func TestEdit(t *testing.T) {
	t.Parallel()
	fields := []string{"a", "1", "b", "2", "a", "3"}
	for name, tt := range map[string]struct {
		edit Edit
		want []string
	}{
		"nothing":          {Edit{}, fields},
		"one of a name":    {Edit{Set: [][2]string{{"b", "x"}}}, []string{"a", "1", "b", "x", "a", "3"}},
		"two of a name":    {Edit{Set: [][2]string{{"a", "x"}}}, []string{"a", "x", "b", "2"}},
		"a new name":       {Edit{Set: [][2]string{{"c", ""}}}, []string{"a", "1", "b", "2", "a", "3", "c", ""}},
		"the last counts":  {Edit{Set: [][2]string{{"b", "x"}, {"b", "y"}}}, []string{"a", "1", "b", "y", "a", "3"}},
		"removed":          {Edit{Unset: []string{"a", "z"}}, []string{"b", "2"}},
		"removed, and set": {Edit{Unset: []string{"a"}, Set: [][2]string{{"a", "x"}}}, []string{"b", "2", "a", "x"}},
		"nothing is left":  {Edit{Unset: []string{"a", "b"}}, nil},
	} {
		if got := tt.edit.apply(slices.Clone(fields)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
