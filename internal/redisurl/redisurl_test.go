package redisurl

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	cases := map[string]redis.UniversalOptions{
		"redis://h":                                         {Addrs: []string{"h:6379"}},
		"redis://u:p%40ss@h:1/2":                            {Addrs: []string{"h:1"}, Username: "u", Password: "p@ss", DB: 2},
		"redis://:p@[::1]:1":                                {Addrs: []string{"[::1]:1"}, Password: "p"},
		"redis://h?pool_size=7":                             {Addrs: []string{"h:6379"}, PoolSize: 7},
		"unix:///run/redis.sock?db=3":                       {Addrs: []string{"/run/redis.sock"}, DB: 3},
		"redis+cluster://u:p@a:7000,b,c":                    {Addrs: []string{"a:7000", "b:6379", "c:6379"}, Username: "u", Password: "p", IsClusterMode: true},
		"redis+cluster://a/0":                               {Addrs: []string{"a:6379"}, IsClusterMode: true},
		"redis+cluster://a,[::1]:2":                         {Addrs: []string{"a:6379", "[::1]:2"}, IsClusterMode: true},
		"redis+sentinel://[::1]:26379,[::1]:26380/mymaster": {Addrs: []string{"[::1]:26379", "[::1]:26380"}, MasterName: "mymaster"},
		"redis+sentinel://[fd00::1],[fd00::2]:7/m":          {Addrs: []string{"[fd00::1]:26379", "[fd00::2]:7"}, MasterName: "m"},
		"redis+sentinel://a:26379, b:26380/m":               {Addrs: []string{"a:26379", "b:26380"}, MasterName: "m"},
		"redis+cluster://u:p@ a , b:2 ,c\n":                 {Addrs: []string{"a:6379", "b:2", "c:6379"}, Username: "u", Password: "p", IsClusterMode: true},
		" redis://u:p@h:1/2\r\n":                            {Addrs: []string{"h:1"}, Username: "u", Password: "p", DB: 2},
		"valkey://u:p@h:1/2":                                {Addrs: []string{"h:1"}, Username: "u", Password: "p", DB: 2},
		"valkey+cluster://a,b":                              {Addrs: []string{"a:6379", "b:6379"}, IsClusterMode: true},
		"valkey+sentinel://a/m":                             {Addrs: []string{"a:26379"}, MasterName: "m"},
		"redis+sentinel://a,b:1/m":                          {Addrs: []string{"a:26379", "b:1"}, MasterName: "m"},
		"redis+sentinel://u:p@a/my%20m/4":                   {Addrs: []string{"a:26379"}, MasterName: "my m", Username: "u", Password: "p", DB: 4},
		"redis+sentinel://a/m?sentinel_username=su&sentinel_password=sp&pool_size=7": {
			Addrs: []string{"a:26379"}, MasterName: "m", SentinelUsername: "su", SentinelPassword: "sp", PoolSize: 7,
		},
	}
	for raw, want := range cases {
		got, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		same := slices.Equal(got.Addrs, want.Addrs) && got.Username == want.Username && got.Password == want.Password &&
			got.DB == want.DB && got.PoolSize == want.PoolSize && got.MasterName == want.MasterName && got.TLSConfig == nil &&
			got.SentinelUsername == want.SentinelUsername && got.SentinelPassword == want.SentinelPassword && got.IsClusterMode == want.IsClusterMode
		if !same {
			t.Errorf("%s: %+v, want %+v", raw, got, want)
		}
	}
	for raw, name := range map[string]string{"rediss://h:1": "h", "rediss+cluster://h:1": "", "rediss+sentinel://h/m": "", "valkeys://h": "h", "valkeys+cluster://h": ""} {
		if got, err := Parse(raw); err != nil || got.TLSConfig == nil || got.TLSConfig.ServerName != name {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"redis://u:p@h:1/2":                       "redis://xxxxx@h:1/2",
		"redis://h:1":                             "redis://h:1",
		"redis://u:a@b@h":                         "redis://xxxxx@h",
		"redis://u:a?b@h/0?x=y":                   "redis://xxxxx@h/0",
		"redis+sentinel://u:p@a,b/m?sentinel_p=x": "redis+sentinel://xxxxx@a,b/m",
		"password":                                "(not shown)",
		"valkeys://u:p@h:1\n":                     "valkeys://xxxxx@h:1",
	} {
		if got := Redact(raw); got != want {
			t.Errorf("Redact(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/2", "redis+sentinel://a,b/m/0", "rediss+cluster://a:1,[::1]:2", "unix:///s?db=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if o, err := Parse(raw); err == nil && len(o.Addrs) == 0 {
			t.Fatalf("%q has no address", raw)
		}
		if redacted := Redact("redis://u:hunter2@" + raw); strings.Contains(redacted, "hunter2") {
			t.Fatalf("%q shows the password", redacted)
		}
	})
}
