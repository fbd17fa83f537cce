package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// A validator checks the settings against one another and makes of them what
// the detector uses.
type validator struct {
	*strictconfig.Decoder
	c *Config
}

func (v *validator) validate() {
	v.checkNames()
	v.checkRedis()
	v.checkPostgres()
	v.checkStream()
	v.checkOverload()
	v.checkEvents()
	v.checkWebhooks()
	v.checkAddr()
	v.checkSigma()
	v.checkScopes()
	v.checkPlaceholders()
	v.checkPrecedence()
	v.checkMessages()
	v.checkEscalate()
	proxies := v.checkTrustedProxies()
	v.buildRules(proxies)
	v.checkActions()
	v.checkBlockRules()
	allowlist := v.checkAllowlist()
	if v.Failures() > 0 {
		return
	}
	v.c.Policy = v.policy(allowlist)
	v.c.Decoder = v.decoderOptions()
	v.warn()
}

func (v *validator) checkNames() {
	if rediskey.CheckPrefix(v.c.KeyPrefix) != nil {
		v.Refuse("key_prefix", "%s is not a key prefix; use 1 to 128 letters, digits or any of -_.:/ and at most one {hash tag}", strictconfig.Quote(v.c.KeyPrefix))
	}
	v.checkName("stream.group", v.c.Stream.Group, 128)
	v.checkName("stream.consumer", v.c.Stream.Consumer, 128)
	v.checkName("events.service_name", v.c.Events.ServiceName, 256)
}

// checkName refuses what can't name something in Redis or in a log line.
func (v *validator) checkName(key, name string, longest int) {
	switch {
	case name == "":
		v.Refuse(key, "is empty")
	case len(name) > longest:
		v.Refuse(key, "is longer than %d bytes", longest)
	case !isPlain(name):
		v.Refuse(key, "%s holds blanks or characters that can't be printed", strictconfig.Quote(name))
	}
}

func isPlain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

func (v *validator) checkStream() {
	names := v.c.Stream.Names
	if len(names) == 0 {
		v.Refuse("stream.names", "is empty; name at least one stream")
	}
	for i, name := range names {
		key := fmt.Sprintf("stream.names[%d]", i)
		v.checkName(key, name, 256)
		if slices.Index(names, name) < i {
			v.Refuse(key, "%s is there twice; keep one", strictconfig.Quote(name))
		}
		if of, ok := strings.CutSuffix(name, rediskey.DeadSuffix); ok && slices.Contains(names, of) {
			v.Refuse(key, "is the dead-letter stream of %s; requeue dead letters with detector dead-letters requeue", strictconfig.Quote(of))
		}
	}
}

func (v *validator) checkEvents() {
	if v.c.Events.Stream != "" {
		v.checkName("events.stream", v.c.Events.Stream, 256)
	}
	for _, name := range v.c.Stream.Names {
		if v.c.Events.Stream == rediskey.DeadLetters(name) {
			v.Refuse("events.stream", "is the dead-letter stream of %s; name another", strictconfig.Quote(name))
		}
	}
	for name, value := range v.c.Events.Resource {
		key := "events.resource." + name
		switch {
		case !isPlain(name) || name == "":
			v.Refuse(key, "is not an attribute name")
		case name == "service.name":
			v.Refuse(key, "is what events.service_name sets; use that")
		case len(name) > 256 || len(value) > 1024:
			v.Refuse(key, "is too long")
		}
	}
}

func (v *validator) checkAddr() {
	if v.c.HTTP.Addr == "" {
		return
	}
	host, port, err := net.SplitHostPort(v.c.HTTP.Addr)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || n > 65535 || !isPlain(host) {
		v.Refuse("http.addr", "%s is not an address to listen on; write host:port such as 127.0.0.1:9090, or \"\" for none", strictconfig.Quote(v.c.HTTP.Addr))
	}
}

func (v *validator) checkSigma() {
	if len(v.c.Sigma) > 0 {
		v.Refuse("sigma", "sigma rules are not supported yet; remove the key or leave the list empty")
	}
}

// maxMessage bounds the text of a denial, in bytes.
const maxMessage = 1024

func (v *validator) checkMessages() {
	v.checkMessage("blocks.message", v.c.Blocks.Message)
	if v.c.Blocks.Message == "" {
		v.Refuse("blocks.message", "is empty; write the message for a denied client")
	}
}

func (v *validator) checkMessage(key, text string) {
	if len(text) > maxMessage || strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		v.Refuse(key, "is not text of up to %d bytes", maxMessage)
	}
}

func (v *validator) checkEscalate() {
	if v.c.Escalate.PermanentIP && v.c.Escalate.PermanentAfter == 0 {
		v.Refuse("escalate.permanent_ip", "does nothing without escalate.permanent_after; set both")
	}
}
