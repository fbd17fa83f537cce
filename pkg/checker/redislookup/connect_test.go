package redislookup

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestConnectRefusesWithoutPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "localhost:6379", "http://u:hunter2@h", "redis://u:hunter2@h:port", "redis://u:hun/ter2@h", "redis://u:hunter2%zz@h",
		"redis://u:hunter2@h/x", "redis://u:hunter2@h?nonsense=1", "redis+cluster://u:hunter2@h?nonsense=1", "redis+sentinel://u:hunter2@h",
		"\x00redis://u:hunter2@h",
	} {
		client, err := Connect(url)
		if err == nil {
			_ = client.Close()
			t.Errorf("Connect(%q) is accepted", url)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2") || strings.Contains(err.Error(), "hun") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Connect(%q): %v", url, err)
		}
	}
}

func TestConnectDefaults(t *testing.T) {
	t.Parallel()
	o := connect(t, "redis://h:1").(*redis.Client).Options()
	if o.MaxRetries != 0 || !o.ContextTimeoutEnabled || o.Protocol != 2 || o.DialerRetries != 1 || o.ReadTimeout != readTimeout || o.DialTimeout != dialTimeout {
		t.Fatalf("options %+v", o)
	}
	if _, ok := connect(t, "redis+sentinel://h:1/m").(*redis.Client); !ok {
		t.Fatal("redis+sentinel makes no client")
	}
	if _, ok := connect(t, "redis+cluster://h:1,i:1").(*redis.ClusterClient); !ok {
		t.Fatal("redis+cluster makes no cluster client")
	}
}
