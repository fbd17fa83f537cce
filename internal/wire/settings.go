package wire

import (
	"encoding/json"
	"fmt"
)

// Settings are what ingress must agree upon with detection. Detectors write them beside the
// blocks, with a TTL.
type Settings struct {
	// Allowlist is what the detectors' configuration never blocks, as it is written there.
	Allowlist []string `json:"allowlist"`
	// IPv6Prefix is how many bits of an IPv6 address make one scope; 128: all.
	IPv6Prefix int `json:"ipv6_prefix"`
}

// MaxSettings bounds encoded settings, in bytes.
const MaxSettings = 1 << 20

// Encode writes the settings as JSON.
func (s Settings) Encode() ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	if len(raw) > MaxSettings {
		return nil, fmt.Errorf("encode settings: %d bytes are more than %d: shorten the allowlist", len(raw), MaxSettings)
	}
	return raw, nil
}

// DecodeSettings reads what Encode wrote.
func DecodeSettings(raw string) (Settings, error) {
	var s Settings
	if len(raw) > MaxSettings {
		return s, fmt.Errorf("decode settings: %d bytes are more than %d", len(raw), MaxSettings)
	}
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return Settings{}, fmt.Errorf("decode settings: %w", err)
	}
	return s, nil
}
