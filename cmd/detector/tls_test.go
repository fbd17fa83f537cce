package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

const secret = "hunter2"

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

// A certificate and its key, as PEM files.
type certificate struct{ cert, key string }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.key, a.file = key(t), filepath.Join(t.TempDir(), "ca.pem")
	template := template("authority")
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	a.cert = template
	a.cert = a.sign(t, template, a.key, a.file)
	return a
}

func key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func (a *authority) sign(t *testing.T, template *x509.Certificate, k *ecdsa.PrivateKey, file string) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, file, "CERTIFICATE", der)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate for a name, or an address.
func (a *authority) issue(t *testing.T, name string) certificate {
	t.Helper()
	dir, k, template := t.TempDir(), key(t), template(name)
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	c := certificate{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	a.sign(t, template, k, c.cert)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, c.key, "PRIVATE KEY", pkcs8)
	return c
}

// TestRedisTLS: Redis by TLS, with an authority, a name and a client certificate of one's own, for
// every program; and whatever of that is wrong is refused, without printing the password.
func TestRedisTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server, client := ca.issue(t, "redis.test"), ca.issue(t, "wardstream")
	_, port, _ := net.SplitHostPort(testenv.ClosedPort(t))
	env := testenv.PrivateRedis(t, "--tls-port", port, "--tls-cert-file", server.cert, "--tls-key-file", server.key,
		"--tls-ca-cert-file", ca.file, "--tls-auth-clients", "yes")
	if err := env.Client.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">"+secret, "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	in := install(t, &env.RedisEnv, nil, "rules: [{name: brute_force_login, threshold: 1}]\n")
	url := "rediss://app:" + secret + "@127.0.0.1:" + port + "/0"
	in.env = append(in.env, "WARDSTREAM_REDIS_URL="+url)
	type files map[string]string // by the end of their option's name
	good := files{"ca_file": ca.file, "cert_file": client.cert, "key_file": client.key, "server_name": "redis.test"}
	detector := func(f files) []string {
		vars := in.env
		for name, value := range f {
			vars = append(vars[:len(vars):len(vars)], "WARDSTREAM_REDIS_TLS_"+strings.ToUpper(name)+"="+value)
		}
		return vars
	}
	check := func(f files, ip string) run {
		args := []string{"check", "--timeout", "60s", "--key-prefix", env.Prefix, "--redis-url", url, "--ip", ip}
		for name, value := range f {
			args = append(args, "--redis-"+strings.ReplaceAll(name, "_", "-"), value)
		}
		return ingressCheck(t, args...)
	}

	plain := in.env
	in.env = detector(good)
	in.examine(0).has(t, "ok", "redis", "rediss://app:xxxxx@127.0.0.1:"+port+"/0 answers", "")
	in.publish("event_type", failed, "source.address", attacker)
	w := in.start()
	in.settled("detectors")
	in.command("blocks", "ip", attacker).answers(t, 0)
	w.stop()
	in.env = plain
	check(good, attacker).answers(t, 1)
	check(good, visitor).answers(t, 0)

	for name, bad := range map[string]struct {
		wrong files
		want  string
	}{
		"no authority":      {files{"server_name": "redis.test", "cert_file": client.cert, "key_file": client.key}, "certificate signed by unknown authority"},
		"another authority": {files{"ca_file": newAuthority(t).file, "server_name": "redis.test"}, "certificate signed by unknown authority"},
		"another name":      {files{"ca_file": ca.file, "server_name": "other.test"}, "certificate is valid for redis.test, not other.test"},
		"the host's name":   {files{"ca_file": ca.file}, "cannot validate certificate for 127.0.0.1"},
		"no certificate":    {files{"ca_file": ca.file, "server_name": "redis.test"}, ""}, // the server may cut the connection before it says so
	} {
		command(t, detector(bad.wrong), "blocks", "--config", in.file).refused(t, name, bad.want)
		check(bad.wrong, attacker).refused(t, name, bad.want)
	}
	if out := w.log.String() + w.out.String(); strings.Contains(out, secret) {
		t.Errorf("the worker prints the password: %s", out)
	}
}

// refused checks that a run failed, for the reason that it should, and without printing the
// password.
func (r run) refused(t *testing.T, name, want string) {
	t.Helper()
	if r.code != 2 || !strings.Contains(r.stderr, want) || strings.Contains(r.stdout+r.stderr, secret) {
		t.Errorf("%s: exit %d, %q; want exit 2 and %q", name, r.code, r.stdout+r.stderr, want)
	}
}

// ingressCheck runs ingress-check.
func ingressCheck(t *testing.T, args ...string) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program("ingress-check"), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{}, &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// TestPostgresTLS: Postgres by TLS with sslmode=verify-full, for every program; and a server that
// another authority vouches for, or that has another name, is refused, without printing the
// password.
func TestPostgresTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	pg := testenv.PrivatePostgres(t)
	serveTLS(t, pg, ca.issue(t, "127.0.0.1"))
	secured := func(authority string) string {
		u := strings.Replace(pg.URL, "postgres@", "postgres:"+secret+"@", 1)
		return strings.Replace(u, "sslmode=disable", "sslmode=verify-full&sslrootcert="+authority, 1)
	}
	in := install(t, testenv.Redis(t), nil, "")
	in.env = append(in.env, "WARDSTREAM_POSTGRES_URL="+secured(ca.file))
	in.command("migrate").answers(t, 0)
	in.examine(0).has(t, "ok", "postgres", "", "")
	in.command("block", "user", "42").answers(t, 0)
	ingressCheck(t, "check", "--timeout", "60s", "--postgres-url", secured(ca.file), "--user", "42").answers(t, 1)

	for name, bad := range map[string]struct{ url, want string }{
		"another authority": {secured(newAuthority(t).file), "certificate signed by unknown authority"},
		"another name":      {strings.Replace(secured(ca.file), "@127.0.0.1:", "@localhost:", 1), "not valid for any names"},
	} {
		r := command(t, append(in.env, "WARDSTREAM_POSTGRES_URL="+bad.url), "blocks", "--config", in.file) // shows what Redis has
		if r.code != 0 || !strings.Contains(r.stderr, "permanent blocks are unknown") || !strings.Contains(r.stderr, bad.want) {
			t.Errorf("%s: exit %d, %s", name, r.code, r.stderr)
		}
		ingressCheck(t, "check", "--timeout", "60s", "--postgres-url", bad.url, "--user", "42").refused(t, name, bad.want)
	}
}

// serveTLS has the server write its certificate itself, since it reads a key only if that belongs
// to it.
func serveTLS(t *testing.T, pg *testenv.PrivatePostgresEnv, c certificate) {
	t.Helper()
	for name, file := range map[string]string{"server.crt": c.cert, "server.key": c.key} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		execSQL(t, pg, fmt.Sprintf("COPY (SELECT '%s') TO PROGRAM 'umask 077; base64 -d > %s'", base64.StdEncoding.EncodeToString(raw), name))
	}
	execSQL(t, pg, "ALTER SYSTEM SET ssl = on")
	execSQL(t, pg, "SELECT pg_reload_conf()")
	testenv.Eventually(t, patience, func() error {
		var on string
		if err := pg.Pool.QueryRow(t.Context(), "SHOW ssl").Scan(&on); err != nil || on != "on" {
			return fmt.Errorf("ssl is %s, %w", on, errors.Join(err, errNotYet))
		}
		return nil
	})
}

func execSQL(t *testing.T, pg *testenv.PrivatePostgresEnv, sql string) {
	t.Helper()
	if _, err := pg.Pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%.60s: %v", sql, err)
	}
}
