package backends

import "testing"

// TestServerVersionFromINFO: INFO as each product has it, cut to the fields that are read.
func TestServerVersionFromINFO(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]Server{
		"redis_version:7.0.15\r\nredis_mode:standalone\r\n":                                              {"Redis", "7.0.15", "7.0.15", "standalone"},
		"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\nserver_mode:cluster\r\n":   {"Valkey", "8.0.1", "7.2.4", "cluster"},
		"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\nredis_mode:standalone\r\n": {"Valkey", "9.1.2", "7.2.4", "standalone"},
		"redis_version:7.4.0\r\ndragonfly_version:df-v1.23.0\r\nredis_mode:standalone\r\n":               {"Dragonfly", "1.23.0", "7.4.0", "standalone"},
		"redis_version:6.3.4\r\nredis_mode:standalone\r\nexecutable:/usr/bin/keydb-server\r\n":           {"KeyDB", "6.3.4", "6.3.4", "standalone"},
		"upstash_version:1.0.0\r\nredis_version:6.2.6\r\nredis_mode:standalone\r\n":                      {"Upstash", "1.0.0", "6.2.6", "standalone"},
		"redis_version:7.2.5\r\nredis_mode:sentinel\r\n":                                                 {"Redis", "7.2.5", "7.2.5", "sentinel"},
		"": {"Redis", "", "", ""},
	} {
		if got := ReadServer(info); got != want {
			t.Errorf("%q: %+v, want %+v", info, got, want)
		}
	}
}
