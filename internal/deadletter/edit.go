package deadletter

import "slices"

// An Edit changes the fields of a dead letter on its way back into its stream.
// The zero value changes nothing.
type Edit struct {
	// Unset removes all fields of these names.
	Unset []string
	// Set gives a name one value, in the place of the first field of that name,
	// else at the end.
	Set [][2]string
}

// apply returns the changed fields, names and values in turn.
func (e Edit) apply(fields []string) []string {
	for _, name := range e.Unset {
		fields = replace(fields, name, nil)
	}
	for _, f := range e.Set {
		fields = replace(fields, f[0], f[:])
	}
	return fields
}

// replace puts one field, if any, in the place of all fields of the name.
func replace(fields []string, name string, with []string) []string {
	out := make([]string, 0, len(fields)+len(with))
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != name {
			out = append(out, fields[i], fields[i+1])
			continue
		}
		out, with = append(out, with...), nil
	}
	return slices.Concat(out, with)
}
