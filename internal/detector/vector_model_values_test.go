package detector

import (
	"encoding/json"
	"maps"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var modelNumber = regexp.MustCompile(`^([+-]?)(?:(\d+)\.?(\d*)|\.(\d+))(?:[eE]([+-]?\d+))?$`)

// modelDecimal reads a decimal number as JSON and SQL write them, and writes it
// as Python's Decimal does.
func modelDecimal(text string) (value *big.Float, written string, ok bool) {
	text = strings.TrimSpace(text)
	sign := strings.Repeat("-", strings.Count(text[:min(len(text), 1)], "-"))
	switch strings.ToLower(strings.TrimLeft(text, "+-")) {
	case "inf", "infinity":
		return new(big.Float).SetInf(sign == "-"), sign + "Infinity", len(strings.TrimLeft(text, "+-")) >= len(text)-1
	}
	p := modelNumber.FindStringSubmatch(text)
	if p == nil {
		return nil, "", false
	}
	exponent, err := strconv.ParseInt("0"+strings.TrimLeft(p[5], "+-"), 10, 64)
	if strings.HasPrefix(p[5], "-") {
		exponent = -exponent
	}
	if err != nil || max(exponent, -exponent) > 999999999999999999 { // as good as endless, and shown as it came
		return big.NewFloat(0).SetInf(sign == "-"), text, !strings.HasPrefix(p[5], "-")
	}
	digits := strings.TrimLeft(p[2]+p[3]+p[4], "0")
	if digits == "" {
		digits = "0"
	}
	exponent -= int64(len(p[3] + p[4]))
	near := min(max(exponent, -1e8), 1e8) // as good as endless, and big can read it
	value, _, _ = big.ParseFloat(sign+digits+"e"+strconv.FormatInt(near, 10), 10, 4096, big.ToNearestEven)
	return value, sign + decimalText(digits, exponent), true
}

// decimalText is how Python's Decimal writes digits·10^exponent.
func decimalText(digits string, exponent int64) string {
	left := exponent + int64(len(digits))
	point := int64(1)
	if exponent <= 0 && left > -6 {
		point = left
	}
	out := digits
	switch {
	case point <= 0:
		out = "0." + strings.Repeat("0", int(-point)) + digits
	case point < int64(len(digits)):
		out = digits[:point] + "." + digits[point:]
	}
	if left != point {
		out += "E" + strings.Replace("+"+strconv.FormatInt(left-point, 10), "+-", "-", 1)
	}
	return out
}

// modelDocument is v, or what it says as JSON.
func modelDocument(v any) any {
	text, _ := v.(string)
	numbers := json.NewDecoder(strings.NewReader(text))
	numbers.UseNumber()
	var members map[string]any
	if numbers.Decode(&members) == nil {
		return members
	}
	return v
}

func (e *modelEvent) bodyThreshold(params modelParams, out *modelMatch) bool {
	field := params.text("field", "amount")
	if e.typ != "audit.http.request.pre" || !params.on(e.slot("url.path")) {
		return false
	}
	body := modelDocument(e.get("request.body"))
	value := e.get("request.body." + field)
	if members, ok := body.(map[string]any); ok {
		value = members[field]
	} else if body != nil {
		value = nil
	} else if value == nil {
		members, _ := modelDocument(e.get("body")).(map[string]any)
		value = members[field]
	}
	number, written, ok := modelDecimal(modelText(value))
	limit, limitText, _ := modelDecimal(params.text("threshold", "10000"))
	out.Metadata = map[string]any{"field": field, "value": written, "threshold": limitText}
	return ok && number.Cmp(limit) > 0
}

func (e *modelEvent) fieldChange(params modelParams, out *modelMatch) bool {
	label := strings.ToLower(e.text("model_label"))
	labels := strings.ToLower(strings.Join(params.list("model_labels"), "\n"))
	if e.typ != "model.update" || labels != "" && !slices.Contains(strings.Split(labels, "\n"), label) {
		return false
	}
	watched := strings.Split(strings.ToLower(strings.Join(params.list("fields"), "\n")), "\n")
	changed := map[string]bool{}
	note := func(name string) {
		if name = strings.ToLower(name); slices.Contains(watched, name) {
			changed[name] = true
		}
	}
	switch v := e.get("changed_fields").(type) {
	case string:
		for name := range strings.SplitSeq(v, ",") {
			note(strings.TrimSpace(name))
		}
	case map[string]any:
		for name := range v {
			note(name)
		}
	case []any:
		for _, item := range v {
			note(modelText(item))
		}
	}
	out.Metadata = map[string]any{"changed_fields": slices.Sorted(maps.Keys(changed)), "model_label": label}
	out.Subject, out.group = e.text("object_id"), e.trimmed("user.id")+" "+e.trimmed("session.id")+" "+label
	return len(changed) > 0
}

// aboutTheClient are the recorded headers that name a client.
var aboutTheClient = regexp.MustCompile(`(?i)^(x-forwarded-for|x-real-ip|forwarded)$`)

func (e *modelEvent) proxyHeader(out *modelMatch) bool {
	headers, _ := e.get("proxy_headers").(map[string]any)
	var suspicious []string
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if aboutTheClient.MatchString(name) && modelClaim(name, headers[name], e.ip()) {
			suspicious = append(suspicious, name)
		}
	}
	out.Metadata = map[string]any{"header_count": len(headers), "suspicious_headers": suspicious}
	return len(suspicious) > 0 && e.text("trusted_route") != "true"
}

// modelClaim reports whether a header names another address. None of the
// recorded ones is a private one.
func modelClaim(header string, value any, source string) bool {
	text := modelText(value)
	if list, ok := value.([]any); ok {
		for _, item := range list {
			text += "," + modelText(item)
		}
	}
	for _, part := range regexp.MustCompile(`[,;|\s]+`).Split(text, -1) {
		name, claim, pair := strings.Cut(part, "=")
		if !pair {
			claim = part
		} else if strings.EqualFold(header, "forwarded") && !strings.EqualFold(name, "for") {
			continue
		}
		ip := modelIP(strings.Trim(claim, `"'`))
		if _, err := netip.ParseAddr(ip); err == nil && ip != source {
			return true
		}
	}
	return false
}
