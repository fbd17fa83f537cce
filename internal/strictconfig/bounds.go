package strictconfig

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/wardstream/wardstream/internal/spelling"
)

// checkOneOf holds text to the values its tag lists.
func checkOneOf(s Setting, in scalar) error {
	list := s.Tag.Get("oneof")
	if list == "" || s.V.Kind() != reflect.String {
		return nil
	}
	known := strings.Split(list, "|")
	if slices.Contains(known, s.V.String()) {
		return nil
	}
	return fmt.Errorf("%s is not one of %s%s", Quote(in.shown), strings.Join(known, ", "), spelling.Suggestion(s.V.String(), known))
}

// checkRange holds a number or a duration to the range of its tag.
func checkRange(s Setting, in scalar) error {
	bounds := s.Tag.Get("range")
	if bounds == "" {
		return nil
	}
	alsoZero := strings.HasPrefix(bounds, "0,")
	low, high, ok := strings.Cut(strings.TrimPrefix(bounds, "0,"), "..")
	if !ok {
		return errors.New("has a malformed range tag")
	}
	v := number(s.V)
	if alsoZero && v == 0 || v >= Bound(s.V, low) && v <= Bound(s.V, high) {
		return nil
	}
	if alsoZero {
		return fmt.Errorf("%s is neither 0 nor between %s and %s", in.text, low, high)
	}
	return fmt.Errorf("%s is not between %s and %s", in.text, low, high)
}

func number(v reflect.Value) float64 {
	if v.Kind() == reflect.Float64 {
		return v.Float()
	}
	return float64(v.Int())
}

// Bound reads one end of a range in the unit of v.
func Bound(v reflect.Value, text string) float64 {
	if isDuration(v) {
		d, _ := ParseDuration(text) // the tests read every tag
		return float64(d)
	}
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

// InRange reports whether the range tag allows the value, a number or a duration.
func InRange(v reflect.Value, tag reflect.StructTag) bool {
	return checkRange(Setting{V: v, Tag: tag}, scalar{}) == nil
}
