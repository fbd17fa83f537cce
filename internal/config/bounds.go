package config

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
func checkOneOf(s setting, in scalar) error {
	list := s.tag.Get("oneof")
	if list == "" || s.v.Kind() != reflect.String {
		return nil
	}
	known := strings.Split(list, "|")
	if slices.Contains(known, s.v.String()) {
		return nil
	}
	return fmt.Errorf("%s is none of %s%s", quote(in.shown), strings.Join(known, ", "), spelling.Suggestion(s.v.String(), known))
}

// checkRange holds a number or a duration to the range of its tag.
func checkRange(s setting, in scalar) error {
	bounds := s.tag.Get("range")
	if bounds == "" {
		return nil
	}
	alsoZero := strings.HasPrefix(bounds, "0,")
	low, high, ok := strings.Cut(strings.TrimPrefix(bounds, "0,"), "..")
	if !ok {
		return errors.New("has a malformed range tag")
	}
	v := number(s.v)
	if alsoZero && v == 0 || v >= bound(s.v, low) && v <= bound(s.v, high) {
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

// bound reads one end of a range in the unit of v.
func bound(v reflect.Value, text string) float64 {
	if isDuration(v) {
		d, _ := parseDuration(text) // the tests read every tag
		return float64(d)
	}
	n, _ := strconv.ParseFloat(text, 64)
	return n
}
